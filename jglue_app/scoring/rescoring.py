"""One run under several protocols: reports, the items they disagree about, and both as a plain table. No I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from jglue_app.data.known_items import CURRENT_LABELS
from jglue_app.scoring import notices
from jglue_app.scoring.disagreement import Disagreement, find_disagreements
from jglue_app.scoring.item_groups import GROUPS, GroupScore, with_and_without
from jglue_app.scoring.judged import judge_run
from jglue_app.scoring.protocols import get_protocol
from jglue_app.scoring.references import references_of
from jglue_app.scoring.report import report_run
from jglue_app.scoring.rules import explain
from jglue_app.scoring.types import Report, TaskReport
from jglue_app.types import Notice, RunData

LONGEST_TEXT = 1_000
"""Characters of an output in the table; the run itself holds all of it."""


@dataclass(frozen=True, slots=True)
class Rescoring:
    """What several protocols make of the same outputs."""

    reports: Mapping[str, Report]
    """Protocol → report."""
    disagreements: Mapping[str, Sequence[Disagreement]]
    """Subset → items about which the protocols disagree."""
    items: Mapping[str, int]
    """Subset → items that have a record."""
    groups: Mapping[str, Sequence[GroupScore]] = field(default_factory=dict)
    """Protocol → scores with and without the items of each group."""
    labels: str = CURRENT_LABELS
    """Version of the JNLI dev labels that the outputs were scored against."""


def rescore(data: RunData, protocols: Sequence[str]) -> Rescoring:
    """Score a run under every named protocol, judging each record once.

    Raises:
        UnknownNameError: one of the protocols does not exist.
    """
    judged = {name: judge_run(data, name) for name in protocols}
    answered = {(r.task, r.item_id) for r in data.records}
    return Rescoring(
        reports={name: report_run(data, name, judged[name]) for name in protocols},
        disagreements=find_disagreements(judged) if len(protocols) > 1 else {},
        items={task: sum((task, id_) in answered for id_ in items) for task, items in data.items.items()},
        groups={name: with_and_without(data, name, judged[name]) for name in protocols},
    )


def table(rescoring: Rescoring, task: str) -> dict[str, Any]:
    """One subset as plain values: `n`, `protocols` → metrics, floors and counts, and `disagreements`."""
    out: dict[str, Any] = {
        "n": rescoring.items[task],
        "protocols": {name: _protocol(report.tasks[task]) for name, report in rescoring.reports.items()},
    }
    first = next(iter(rescoring.reports.values()))
    references = references_of(first.tasks[task], first.split)
    # They were measured against the present labels.
    if references and not (task == "jnli" and rescoring.labels != CURRENT_LABELS):
        out["references"] = references
    if groups := _groups(rescoring, task):
        out["groups"] = groups
    if first.tasks[task].source == "official" and task == "jnli" and first.split == "valid":
        for name in rescoring.reports:
            out["protocols"][name]["label_version"] = _label_version(name, rescoring.labels)
    if len(rescoring.reports) > 1:
        out["disagreements"] = [_disagreement(disagreement) for disagreement in rescoring.disagreements.get(task, ())]
    return out


def run_notices(rescoring: Rescoring) -> dict[str, list[dict[str, str]]]:
    """Protocol → what concerns the whole run, as `kind` and `text`; those of one subset stand in its `table`."""
    return {name: _notices(report.notices) for name, report in rescoring.reports.items()}


def _label_version(protocol: str, given: str) -> str:
    """The version of the JNLI labels that a protocol holds answers against: its system's, else that of the items."""
    rules = get_protocol(protocol).rules.get("jnli")
    return given if rules is None or rules.labels == "file" else rules.labels


def _groups(rescoring: Rescoring, task: str) -> dict[str, dict[str, Any]]:
    """Group → what it is, and protocol → metric → scores with and without its items."""
    out: dict[str, dict[str, Any]] = {}
    for protocol, rows in rescoring.groups.items():
        for row in rows:
            if row.task == task:
                group = out.setdefault(row.group, {"what": GROUPS[row.group], "items": row.items, "protocols": {}})
                scores = {"items": row.items, "all": row.all, "without": row.without}
                scores |= {"labels": row.labels} if row.labels else {}
                group["protocols"].setdefault(protocol, {})[row.metric] = scores
    return out


def _notices(given: Sequence[Notice]) -> list[dict[str, str]]:
    return [{"kind": notice.kind, "text": notices.sentence(notice)} for notice in given]


def _protocol(row: TaskReport) -> dict[str, Any]:
    out: dict[str, Any] = {
        "metrics": row.metrics,
        "unreadable": row.unreadable,
        "floors": {"constant": row.floors, "default": row.default_floors}
        | ({"constant_choose": row.choose_floors} if row.choose_floors else {}),
        "outcomes": row.outcomes,
        "notices": _notices(row.notices),
    }
    if row.lenient:
        out |= {"lenient": row.lenient, "unreadable_lenient": row.unreadable_lenient, "imputed": row.imputed}
    if row.choose:
        out["choose"] = row.choose
    if row.knows is not None:
        out["knows"] = row.knows
    if row.unscored:
        out["unscored"] = row.unscored
    return out


def _disagreement(disagreement: Disagreement) -> dict[str, Any]:
    output = disagreement.record.output
    return {
        "item_id": disagreement.item.id,
        "gold": disagreement.item.gold,
        "text": _cut(output.text) if output else None,
        "verdicts": [
            {
                "protocols": v.protocols,
                "value": _cut(v.value),
                "right": v.right,
                "rule": v.rule,
                "because": explain(v.rule),
            }
            for v in disagreement.verdicts
        ],
    }


def _cut(value: str | float | None) -> str | float | None:
    """A value, cut and with the number of characters that are missing if it is a very long text."""
    if not isinstance(value, str) or len(value) <= LONGEST_TEXT:
        return value
    return f"{value[:LONGEST_TEXT]}… ({len(value) - LONGEST_TEXT:,} more characters)"
