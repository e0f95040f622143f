"""A score beside those that were published. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from jglue_app.audit import apart
from jglue_app.audit.asked import Asked
from jglue_app.audit.facts import MEANS, SHARES, SYSTEMS
from jglue_app.audit.printed import MOST_SHOWN, Printed
from jglue_app.audit.published import Published
from jglue_app.audit.wording import Found, finding

NAMED = 4
"""Published scores that a sentence names."""
OWN_KIND = (*MEANS, "exact_match")
"""Metrics that each system computes in its own way."""
CLOSE = 1e-4
"""Within which two prints of one model under one system are taken for one score, rounded and cut."""


@dataclass(frozen=True, slots=True)
class Compared:
    """A published score beside the one that was asked about."""

    published: Published
    p: float | None
    """Two-sided p of both being equal; None where it cannot be had."""
    apart: bool | None
    """Whether they can be told apart at 5 %."""


def compare(asked: Asked, n: int, rows: Sequence[Published]) -> list[Compared]:
    """Published scores of the same subset and metric on dev items, the nearest first.

    Of a score that was published twice it takes the print with more digits. With a system, metrics that systems
    compute in their own ways are compared with that system's scores alone. Where a published score does not say of how
    many items it is, it is taken to be of as many as the one asked about. Where no metric was said, accuracies by
    summed and by length-normalised log-likelihood are both compared: either is a share of right answers.
    """
    metrics = (asked.taken, "acc_norm") if asked.metric is None and asked.taken == "accuracy" else (asked.taken,)
    chosen: list[Published] = []
    for row in rows:
        if row.task != asked.of.name or row.metric not in metrics or row.split == "test":
            continue
        if asked.system and asked.taken in OWN_KIND and row.system != asked.system:
            continue
        twin = next((i for i, other in enumerate(chosen) if _same(other, row)), None)
        if twin is None:
            chosen.append(row)
        elif chosen[twin].printed.unit > row.printed.unit:
            chosen[twin] = row
    found = []
    for row in sorted(chosen, key=lambda row: abs(row.value - asked.value)):
        p = apart.p_value(asked.taken, asked.value, n, row.value, row.n or n, asked.sizes(n))
        found.append(Compared(row, p, None if p is None else p < apart.LEVEL))
    return found


def findings(asked: Asked, n: int, compared: Sequence[Compared]) -> Iterator[Found]:
    """What the published scores say about one."""
    printed = asked.printed
    if not compared:
        yield finding("published_empty", "info")
        return
    twins = [c.published for c in compared if printed.digits > 2 and printed.rounds(c.published.printed.value)]
    models = tuple(dict.fromkeys(named(row, printed) for row in twins))
    if twins:
        yield finding("same_digits", who=models[: 2 * NAMED] + (("…",) if len(models) > 2 * NAMED else ()))
    others = [c.published for c in compared if c.published not in twins]
    near = tuple(dict.fromkeys(named(row, printed) for row in others))[:NAMED] or models[:NAMED]
    if compared[0].apart is None:
        yield finding("published_untested", all=len(compared), who=near)
        return
    same = sum(not c.apart for c in compared)
    yield finding("published" if same else "published_none", same=same, all=len(compared), who=near)
    if others and asked.taken in SHARES:
        nearest = others[0]
        low, high = apart.newcombe(asked.value, n, nearest.value, nearest.n or n)
        yield finding(
            "published_difference",
            "info",
            who=named(nearest, printed),
            difference=printed.gap(asked.value - nearest.value),
            low=printed.gap(low),
            high=printed.gap(high),
        )
    of = asked.of
    if of.relabelled and asked.taken in SHARES and n == of.editions[0].n:
        old, new = of.editions[:2]
        share = printed.gap(of.relabelled / n).removeprefix("+")
        yield finding(
            "relabelled", "info", edition=old.name, other=new.name, share=share, k=of.relabelled, n=of.editions[0].n
        )


def named(row: Published, like: Printed) -> str:
    """A published score in a list: model, score on the scale of another, system."""
    system = SYSTEMS[row.system].title if row.system in SYSTEMS else row.system
    times, fewer = (100, 2) if like.scale == "percent" else (1, 0)
    decimals = min(row.printed.digits, max(like.digits, 4), MOST_SHOWN) - fewer
    how = ", acc_norm" if row.metric == "acc_norm" else ""
    return f"{_short(row.model)} {row.value * times:.{max(1, decimals)}f} ({system}{how})"


def _short(model: str) -> str:
    return model.rsplit("/", 1)[-1]


def _same(a: Published, b: Published) -> bool:
    """Whether two rows may be two prints of one score: of one source, no two are."""
    if (_short(a.model), a.system, a.metric) != (_short(b.model), b.system, b.metric) or a.source == b.source:
        return False
    return a.printed.rounds(b.printed.value) or b.printed.rounds(a.printed.value) or abs(a.value - b.value) < CLOSE
