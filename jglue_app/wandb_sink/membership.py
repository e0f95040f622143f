"""What a W&B run belongs to: any number of comparisons and grids. Pure.

W&B puts a run into one group, so the group is that of the first comparison or grid, and stays. All of them are in lists
of the run's config, `comparisons` and `grids`, and are tags, by which W&B's own tables filter. The W&B run of a
comparison, and that of a grid, names its members in the same way under `members`.

    member_of: {"comparisons": {ID: true}, "grids": {NAME: true}}

has the same as mappings. An offline copy has these alone: it is written without a look at W&B, and `wandb sync`, which
replaces a list and all tags, adds to a mapping. What a run belongs to is what any of them names.

Pushes of earlier versions have none of them: there the group and the tags say it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

COMPARISON_PREFIX = "jglue-vs-"
"""Beginning of the id of a comparison."""
COMPARISONS, GRIDS = "comparisons", "grids"
"""Config keys of the lists."""
MEMBER_OF = "member_of"
"""Config key of the mappings."""
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
    stored = {COMPARISONS: (), **membership_of_config(config)}
    named = [name for name in (group or "", *tags) if name.startswith(COMPARISON_PREFIX)]
    stored[COMPARISONS] = tuple(dict.fromkeys((*stored[COMPARISONS], *named)))
    return {key: ids for key, ids in stored.items() if ids}


def membership_of_config(config: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """What the lists of a config name, and then what only its mappings do."""
    lists = {key: _ids(config.get(key)) for key in (COMPARISONS, GRIDS)}
    mappings = {key: _keys_of(config.get(MEMBER_OF), key) for key in (COMPARISONS, GRIDS)}
    return {key: ids for key, ids in united(lists, mappings).items() if ids}


def as_mappings(membership: Membership) -> dict[str, Any]:
    """The part of a config that `wandb sync` only adds to."""
    mappings = {key: dict.fromkeys(ids, True) for key, ids in membership.items() if ids}
    return {MEMBER_OF: mappings} if mappings else {}


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


def _keys_of(mappings: Any, key: str) -> tuple[str, ...]:
    """The ids of a mapping, sorted, as W&B keeps no order of keys; people may have put anything there."""
    ids = mappings.get(key) if isinstance(mappings, Mapping) else None
    return tuple(sorted(id_ for id_, is_in in ids.items() if id_ and is_in is True)) if isinstance(ids, Mapping) else ()


def _ids(value: Any) -> tuple[str, ...]:
    """A list of names; people may have put anything there."""
    if not isinstance(value, Sequence) or isinstance(value, str):
        return ()
    return tuple(dict.fromkeys(id_ for id_ in value if isinstance(id_, str) and id_))
