"""What a W&B run belongs to: any number of comparisons and grids. Pure.

W&B puts a run into one group, so the group is that of the first comparison or grid, and stays. All of them are in lists
of the run's config, `comparisons` and `grids`, and are tags, by which W&B's own tables filter. The W&B run of a
comparison, and that of a grid, names its members in the same way under `members`.

Pushes of earlier versions have no such lists: there the group and the tags say it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

COMPARISON_PREFIX = "jglue-vs-"
"""Beginning of the id of a comparison."""
COMPARISONS, GRIDS = "comparisons", "grids"
"""Config keys of the lists."""
Membership = Mapping[str, tuple[str, ...]]
"""Config key → ids, in the order in which they were joined."""


def membership_of_group(group: str | None) -> dict[str, tuple[str, ...]]:
    """The membership that a push into a group adds: that of a comparison, whose id the group has."""
    return {COMPARISONS: (group,)} if group and group.startswith(COMPARISON_PREFIX) else {}


def membership_of_run(config: Mapping[str, Any], group: str | None, tags: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """What a W&B run belongs to, also where an earlier version pushed it.

    Args:
        config: its config.
        group: its group.
        tags: its tags.
    """
    stored = {key: _ids(config.get(key)) for key in (COMPARISONS, GRIDS)}
    named = [name for name in (group or "", *tags) if name.startswith(COMPARISON_PREFIX)]
    stored[COMPARISONS] = tuple(dict.fromkeys((*stored[COMPARISONS], *named)))
    return {key: ids for key, ids in stored.items() if ids}


def united(*memberships: Membership) -> dict[str, tuple[str, ...]]:
    """All of several memberships, each id once."""
    keys = dict.fromkeys(key for membership in memberships for key in membership)
    return {
        key: tuple(dict.fromkeys(id_ for membership in memberships for id_ in membership.get(key, ()))) for key in keys
    }


def members_of(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Ids of the W&B runs that the W&B run of a comparison or grid joins, from its config."""
    if members := _ids(config.get("members")):
        return members
    return tuple(str(config[side]["run_id"]) for side in ("a", "b"))  # As an earlier version pushed it.


def _ids(value: Any) -> tuple[str, ...]:
    """A list of names; people may have put anything there."""
    if not isinstance(value, Sequence) or isinstance(value, str):
        return ()
    return tuple(dict.fromkeys(id_ for id_ in value if isinstance(id_, str) and id_))
