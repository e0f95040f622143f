"""A score beside those that were published. No I/O."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from jglue_app.audit import intervals
from jglue_app.audit.benchmarks import MEANS, SHARES, system_title
from jglue_app.audit.published import Published, model_title
from jglue_app.audit.query import AuditQuery
from jglue_app.audit.reported_score import MAX_DECIMALS, ReportedScore
from jglue_app.audit.sentences import Finding, finding
from jglue_app.messages import Joined, Message

MAX_NAMED = 4
"""Published scores that a sentence names."""
SYSTEM_SPECIFIC_METRICS = (*MEANS, "exact_match")
"""Metrics that each system computes in its own way."""
MAX_REPRINT_DIFFERENCE = 1e-4
"""Within which two prints of one model under one system are taken for one score, rounded and cut."""


@dataclass(frozen=True, slots=True)
class PublishedComparison:
    """A published score beside the one that was asked about."""

    published: Published
    p: float | None
    """Two-sided p of both being equal; None where it cannot be had."""
    differs: bool | None
    """Whether they can be told apart at 5 %."""


def compare(query: AuditQuery, n: int, rows: Sequence[Published]) -> list[PublishedComparison]:
    """Published scores of the same subset and metric on dev items, the nearest first.

    Of a score that was published twice it takes the print with more digits. With a system, metrics that systems
    compute in their own ways are compared with that system's scores alone. Where a published score does not say of how
    many items it is, it is taken to be of as many as the one asked about.
    """
    comparisons = []
    for row in sorted(
        _without_reprints(query, rows, query.effective_metric), key=lambda row: abs(row.value - query.value)
    ):
        p = intervals.p_value(query.effective_metric, query.value, n, row.value, row.n or n, query.sizes(n))
        comparisons.append(PublishedComparison(row, p, None if p is None else p < intervals.SIGNIFICANCE_LEVEL))
    return comparisons


def _without_reprints(query: AuditQuery, rows: Sequence[Published], metric: str) -> list[Published]:
    """The published scores of one metric, each score once."""
    chosen: list[Published] = []
    for row in rows:
        if row.task != query.of.name or row.metric != metric or row.split == "test":
            continue
        if query.system and query.effective_metric in SYSTEM_SPECIFIC_METRICS and row.system != query.system:
            continue
        twin = next((i for i, other in enumerate(chosen) if _is_reprint(other, row)), None)
        if twin is None:
            chosen.append(row)
        elif chosen[twin].score.unit > row.score.unit:
            chosen[twin] = row
    return chosen


def comparison_findings(
    query: AuditQuery, n: int, compared: Sequence[PublishedComparison], rows: Sequence[Published]
) -> Iterator[Finding]:
    """What the published scores say about one.

    Args:
        asked: the score.
        n: its items.
        compared: what `compare` gives.
        rows: all published scores. Where no metric was said, those by length-normalised log-likelihood with the same
            digits are named too, as such: they are shares of the same items, and a constant answer scores the same.
    """
    score = query.score
    twins = [c.published for c in compared if _has_same_digits(score, c.published)]
    if query.metric is None and query.effective_metric == "accuracy":
        known = {_run(row) for row in twins}
        twins += [
            r for r in _without_reprints(query, rows, "acc_norm") if _has_same_digits(score, r) and _run(r) not in known
        ]
    if twins:
        yield finding("same_digits", who=_named(twins, score, 2 * MAX_NAMED))
    if not compared:
        yield finding("published_empty", "info")
        return
    tested = [c for c in compared if c.differs is not None]
    others = [c.published for c in compared if c.published not in twins]
    if not tested:
        near = others or twins
        yield finding("published_untested", all=len(compared), who=_named(near[:MAX_NAMED], score, MAX_NAMED))
        return
    same = [c.published for c in tested if not c.differs]
    test = intervals.test_of(query.effective_metric)
    if same:
        # Those with the same digits have been named.
        same.sort(key=lambda row: row in twins)
        yield finding("published", same=len(same), all=len(tested), who=_named(same, score, MAX_NAMED), test=test)
    else:
        near = [c.published for c in tested][:MAX_NAMED]
        yield finding("published_none", all=len(tested), who=_named(near, score, MAX_NAMED), test=test)
    if others and query.effective_metric in SHARES:
        nearest = others[0]
        low, high = intervals.newcombe(query.value, n, nearest.value, nearest.n or n)
        yield finding(
            "published_difference",
            "info",
            who=named(nearest, score),
            difference=score.gap(query.value - nearest.value),
            low=score.gap(low),
            high=score.gap(high),
        )
    subset = query.of
    if subset.relabelled and query.effective_metric in SHARES and n == subset.editions[0].n:
        old, new = subset.editions[:2]
        share = score.gap(subset.relabelled / n).removeprefix("+")
        yield finding(
            "relabelled",
            "info",
            edition=old.name,
            other=new.name,
            share=share,
            k=subset.relabelled,
            n=subset.editions[0].n,
        )


def named(row: Published, like: ReportedScore, prompted: bool = False) -> Message:
    """A published score in a list: model, score on the scale of another, system, and its prompt if asked for."""
    system = system_title(row.system)
    times, fewer = (100, 2) if like.scale == "percent" else (1, 0)
    decimals = min(row.score.digits, max(like.digits, 4), MAX_DECIMALS) - fewer
    settings = (["acc_norm"] if row.metric == "acc_norm" else []) + ([row.prompt] if prompted and row.prompt else [])
    score, by = f"{row.value * times:.{max(1, decimals)}f}", Joined(", ", [system, *settings])
    model = model_title(_short(row.model))
    if isinstance(model, Message):  # In Japanese it ends with a bracket, after which there is no space.
        return Message("{annotated_model} {score} ({system})", annotated_model=model, score=score, system=by)
    return Message("{model} {score} ({system})", model=model, score=score, system=by)


def _named(rows: Sequence[Published], like: ReportedScore, limit: int) -> tuple[Message, ...]:
    """The first published scores of a list, and how many more there are."""
    models = Counter((_short(row.model), row.system) for row in rows)
    # Only the prompt tells two runs of one model under one system.
    listed = list(dict.fromkeys(named(row, like, models[_short(row.model), row.system] > 1) for row in rows))
    return (
        (*listed[:limit], Message("… (+{count})", count=len(listed) - limit)) if len(listed) > limit else tuple(listed)
    )


def _has_same_digits(score: ReportedScore, row: Published) -> bool:
    return score.digits > 2 and score.rounds(row.score.value)


def _run(row: Published) -> tuple[str, str, str]:
    return _short(row.model), row.system, row.prompt


def _short(model: str) -> str:
    return model.rsplit("/", 1)[-1]


def _is_reprint(a: Published, b: Published) -> bool:
    """Whether two rows are two prints of one score: of one model, system, metric and prompt, as far as they are said.

    Without a prompt in both only prints that agree are: of one source, no two are.
    """
    if (_short(a.model), a.system, a.metric) != (_short(b.model), b.system, b.metric):
        return False
    if a.prompt and b.prompt:
        return (a.prompt, a.shots, a.n) == (b.prompt, b.shots, b.n)
    if a.source == b.source:
        return False
    return (
        a.score.rounds(b.score.value)
        or b.score.rounds(a.score.value)
        or abs(a.value - b.value) < MAX_REPRINT_DIFFERENCE
    )
