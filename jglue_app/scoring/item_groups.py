"""Scores with and without the items that are faulty, repeated, leaked or relabelled. No I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from jglue_app.data.known_items import LABEL_VERSIONS, LEAKS, check_label_version, is_faulty, question_text, relabelled
from jglue_app.data.known_items import with_labels_of as relabel
from jglue_app.scoring.judged import Judged, ScoredItem
from jglue_app.scoring.protocols import get_protocol
from jglue_app.scoring.protocols.judging import judge
from jglue_app.scoring.report import metrics_of
from jglue_app.scoring.types import Estimate, Judgement, ScoringProtocol
from jglue_app.tasks import TASKS
from jglue_app.types import Item, Record, RunData

GROUPS: Mapping[str, str] = {
    "faulty": "questions about a damaged paragraph",
    "repeated": "items that ask what an earlier item asks",
    "leaked": "items that are also in a train file",
    "relabelled": "items whose label changed between v1.1 and v1.2",
}
"""Group → what is in it."""

NO_DATA = Estimate(None, None, None, 0)


@dataclass(frozen=True, slots=True)
class GroupScore:
    """One metric of a subset with and without the items of a group."""

    group: str
    """A key of `GROUPS`."""
    task: str
    metric: str
    items: int
    """Items of the group that have an answer."""
    all: Estimate
    """Over every item, as the report has it."""
    without: Estimate
    """Over the items that are not of the group; no data if there are none."""
    labels: Mapping[str, Estimate] = field(default_factory=dict)
    """Version of the labels → the score over every item under these; empty but for `relabelled`."""


def groups(data: RunData) -> dict[str, dict[str, frozenset[str]]]:
    """Group → task → ids, of the items that a run is to answer; groups and tasks without any are left out.

    `faulty`, `leaked` and `relabelled` are facts about the official dev files (see `known_items`). `repeated` are, in
    whatever data, the items whose texts an earlier item of the run has too: without them each stands once.
    """
    by_group: dict[str, dict[str, frozenset[str]]] = {}
    for task, items in data.items.items():
        for group, ids in _groups_of(data, task, items).items():
            if ids:
                by_group.setdefault(group, {})[task] = ids
    return {group: by_group[group] for group in GROUPS if group in by_group}


def _groups_of(data: RunData, task: str, items: Mapping[str, Item]) -> dict[str, frozenset[str]]:
    first: dict[str, str] = {}
    repeated = frozenset(id_ for id_, item in items.items() if first.setdefault(question_text(item), id_) != id_)
    if data.sources[task] != "official" or data.spec.split != "valid":
        return {"repeated": repeated}
    leak = LEAKS.get(task)
    official = leak is not None and data.spec.data_sha256.get(f"{task}/valid") == leak.sha256
    return {
        "faulty": frozenset(id_ for id_, item in items.items() if is_faulty(item)),
        "repeated": repeated,
        "leaked": leak.ids & set(items) if leak is not None and official else frozenset(),
        "relabelled": frozenset(id_ for id_, item in items.items() if relabelled(item)),
    }


def with_and_without(data: RunData, protocol: str, judged: Judged) -> tuple[GroupScore, ...]:
    """Every metric of every subset with and without the items of each group that the run has answered.

    Args:
        data: what is stored of the run.
        protocol: a key of `PROTOCOLS`.
        judged: what `judge_run` has made of it under this protocol.

    Raises:
        UnknownNameError: no such protocol.
    """
    scoring = get_protocol(protocol)
    by_group = groups(data)
    out: list[GroupScore] = []
    for task, rows in judged.items():
        mine = {group: by_group[group][task] & set(rows) for group in by_group if task in by_group[group]}
        if any(mine.values()):
            whole = metrics_of(scoring, TASKS[task], list(rows.values()))
            for group, ids in mine.items():
                out += _scores(scoring, task, rows, group, ids, whole) if ids and whole else []
    return tuple(out)


def _scores(
    scoring: ScoringProtocol,
    task: str,
    rows: Mapping[str, ScoredItem],
    group: str,
    ids: frozenset[str],
    whole: Mapping[str, Estimate],
) -> list[GroupScore]:
    without = metrics_of(scoring, TASKS[task], [row for id_, row in rows.items() if id_ not in ids])
    versions = LABEL_VERSIONS if group == "relabelled" else ()
    labels = {v: metrics_of(scoring, TASKS[task], _under(scoring, rows, v)) for v in versions}
    return [
        GroupScore(
            group,
            task,
            metric,
            len(ids),
            score,
            without.get(metric, NO_DATA),
            {version: estimates[metric] for version, estimates in labels.items() if metric in estimates},
        )
        for metric, score in whole.items()
    ]


def _under(scoring: ScoringProtocol, rows: Mapping[str, ScoredItem], version: str) -> Sequence[ScoredItem]:
    """The rows as they are judged under the labels of a version, whichever the system itself has; only the relabelled
    ones are judged again."""
    out = []
    for row in rows.values():
        item = relabel(row.item, version)
        out.append(row if item == row.item else ScoredItem(item, row.record, _judge(scoring, item, row.record)))
    return out


def _judge(scoring: ScoringProtocol, item: Item, record: Record) -> Judgement:
    """What a protocol makes of a record if it takes the item's label as it is."""
    task, rules = TASKS[item.task], scoring.rules.get(item.task)
    if rules is None or rules.labels == "file":
        return scoring.judge(task, item, record)
    return judge(scoring.name, replace(rules, labels="file"), task, item, record)


def with_labels(data: RunData, version: str) -> RunData:
    """A run whose official JNLI dev items bear the labels of a version. Outputs are the same; so are other data.

    Raises:
        UnknownNameError: a version whose labels are not known.
    """
    check_label_version(version)
    if "jnli" not in data.items or data.sources["jnli"] != "official":
        return data
    items = {id_: relabel(item, version) for id_, item in data.items["jnli"].items()}
    return replace(data, items={**data.items, "jnli": items})
