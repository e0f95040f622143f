"""A score that is asked about, the sets of items it may be over, and the constant answers to these. No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from jglue_app.audit import grim, intervals
from jglue_app.audit.benchmarks import SHARES, Benchmark, Edition, scope
from jglue_app.audit.reported_score import ReportedScore
from jglue_app.audit.sentences import Finding, finding

MAX_FITTING_SHARE = 0.02
"""Of all numbers of right answers, the share that a score may fit for a constant among them to be worth a sentence."""


@dataclass(frozen=True, slots=True)
class AuditQuery:
    """A score and what is known of it."""

    of: Benchmark
    score: ReportedScore
    metric: str | None = None
    """A key of `benchmarks.METRICS`; None if it was not said."""
    n: int | None = None
    system: str | None = None
    """A key of `benchmarks.SYSTEMS`."""

    @property
    def editions(self) -> tuple[Edition, ...]:
        """The sets of items that it may be over."""
        return scope(self.of, self.system, self.n)

    @property
    def effective_metric(self) -> str:
        """The metric, the usual one of the subset if none was said."""
        return self.metric or self.of.metrics[0]

    @property
    def value(self) -> float:
        """As a fraction of 1."""
        return float(self.score.value)

    def items(self) -> tuple[int, Edition, bool]:
        """The number of items that intervals are for, its edition, and whether it follows from what is known."""
        if self.n is not None:
            return self.n, self.editions[0], True
        fitting = [e for e in self.editions if grim.counts(self.score, e.n)] if self.effective_metric in SHARES else []
        candidates = fitting if fitting and grim.is_distinctive(self.score, fitting[0].n) else list(self.editions)
        return candidates[0].n, candidates[0], len({e.n for e in candidates}) == 1

    def interval(self, n: int) -> tuple[float, float] | None:
        """The 95 % interval for n items; None where value and n give none."""
        return intervals.interval(self.effective_metric, self.value, n, self.sizes(n))

    def sizes(self, n: int) -> dict[str, int] | None:
        """Label → items among n, if that is known."""
        return next((dict(e.counts) for e in self.editions if e.n == n and e.counts), None)


@dataclass(frozen=True, slots=True)
class Constant:
    """One answer to every item of an edition."""

    edition: Edition
    answer: str

    @property
    def right(self) -> int:
        """Right answers."""
        return self.edition.counts[self.answer]

    @property
    def share(self) -> Fraction:
        """Its accuracy."""
        return Fraction(self.right, self.edition.n)


def constants(editions: Sequence[Edition]) -> list[Constant]:
    """Every constant answer of editions whose label counts are known."""
    return [Constant(edition, answer) for edition in editions for answer in edition.counts]


def match_constant(score: ReportedScore, constant: Constant) -> Finding | None:
    """Whether a share of right answers has the digits of a constant answer's: exactly, among others, or cut off."""
    edition, k = constant.edition, constant.right
    fitting = grim.counts(score, edition.n)
    if k in fitting:
        # What fits a good part of all numbers of right answers says nothing.
        if len(fitting) > max(1, MAX_FITTING_SHARE * edition.n):
            return None
        kind, weight = ("constant", "alert") if len(fitting) == 1 else ("constant_among", "note")
    elif k in grim.truncated_counts(score, edition.n):
        kind, weight = "constant_cut", "alert"
    else:
        return None
    return finding(
        kind,
        "alert" if weight == "alert" else "note",
        score=score.text,
        k=k,
        n=edition.n,
        answer=constant.answer,
        edition=edition.name,
        low=fitting[0] if fitting else k,
        high=fitting[-1] if fitting else k,
        full=score.show(constant.share, 2),
        rounded=rounded_as(score, constant.share),
    )


def rounded_as(score: ReportedScore, number: Fraction) -> str:
    """A number rounded to the digits of a printed score, on its scale."""
    decimals = max(0, score.digits - (2 if score.scale == "percent" else 0))
    return f"{float(number) * (100 if score.scale == 'percent' else 1):.{decimals}f}"


def numbers(values: Sequence[int]) -> tuple[str, ...]:
    """Numbers of items as a list of texts."""
    return tuple(f"{value:,}" for value in values)
