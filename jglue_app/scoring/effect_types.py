"""What a grid of runs says about its factors: frozen records. What they mean and how they are computed is in
`effects`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from jglue_app.messages import Message
from jglue_app.scoring.metrics import Floats
from jglue_app.scoring.protocols import get_protocol
from jglue_app.scoring.types import Estimate

Levels = Mapping[str, str | None]
"""Factor → level of a run; None where the factor does not concern it."""
AVERAGE = "average"
"""In place of a subset: the mean over all subsets."""
SIGNED = ("pearson", "spearman", "mcc")
"""Metrics from −1 to 1; the others begin at 0."""


@dataclass(frozen=True, slots=True)
class EffectFactor:
    """An option that the runs of a grid differ in."""

    name: str
    group: Literal["model", "prompt", "answering", "questions"]
    levels: tuple[str, ...]
    replicate: bool
    """Whether its levels stand for others that might have been taken (wordings, seeds)."""


@dataclass(frozen=True, slots=True, eq=False)
class GridScores:
    """One metric of every run."""

    task: str
    """A subset, or `AVERAGE`."""
    metric: str
    reading: Literal["strict", "lenient", "choose"]
    values: Floats
    """Shape (runs,); NaN where it is undefined."""
    without: Floats
    """Shape (runs, groups): the same without one group of the items each."""
    n: int
    """Items; the fewest of any run that has more than one, as a run with a single one among others is not usable."""
    unseen: Floats | None = None
    """Shape (runs, columns): standard errors that leaving out items cannot show, as all answers of a run are right, or
    all wrong; errors in one column go together, those in two are independent. Above 0 where the value could only be
    higher, below 0 where it could only be lower. None for none."""

    averaged: tuple[str, ...] = ()
    """Of an average: the metrics of its subsets."""

    @property
    def low(self) -> float:
        """Least value that the metric can have; of an average the mean of what its metrics can have."""
        metrics = self.averaged or (self.metric,)
        return -sum(metric in SIGNED for metric in metrics) / len(metrics)

    @property
    def covariance(self) -> Floats:
        """Of the values over samples of items, as leaving out items shows it, shape (runs, runs): the delete-a-group
        jackknife (Shao and Tu 1995, section 2.3). Runs answer the same items, so that their errors go together."""
        groups = self.without.shape[1]
        deviations = self.without - self.without.mean(axis=1, keepdims=True)
        found: Floats = (groups - 1) / groups * (deviations @ deviations.T)
        return found

    @property
    def usable(self) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        """Whether the metric of a run is defined, with all items and without any group of them."""
        return np.asarray(np.isfinite(self.values) & np.isfinite(self.without).all(axis=1))


@dataclass(frozen=True, slots=True)
class Share:
    """How much of the variance between runs one factor, or two together, account for."""

    term: tuple[str, ...]
    """One factor, or two for what they do beyond the sum of both; empty for what is left (three or more together)."""
    group: str
    """That of the factors; `mixed` where they have two, `rest` of what is left."""
    df: int
    """Degrees of freedom; 0 where it cannot be told from other terms."""
    observed: float
    """η²: its sum of squares (type II) as a share of the total."""
    of_items: float
    """What the sampling of items alone would give of it."""
    beyond_items: float
    """η² without that; from 0 to what the sampling of items leaves of the whole."""
    omega: float | None
    """ω² (Hays 1963): η² without what the rest of the variance would give; None where nothing is left to tell."""


@dataclass(frozen=True, slots=True)
class LevelMean:
    """A level of a factor."""

    level: str
    runs: int
    mean: Estimate
    """Least-squares mean: over equally many runs of every level of the other factors."""
    effect: Estimate
    """The same less the mean over the levels."""


@dataclass(frozen=True, slots=True)
class Stability:
    """How far the score of one model depends on how it is asked."""

    model: str
    """Its levels of the factors that concern the model; empty where all runs are of one."""
    runs: int
    mean: Estimate
    spread: float | None
    """Standard deviation over its prompts (wordings, formats, examples, seeds), of runs that differ in nothing else;
    None for a single one."""
    items: float | None
    """The standard deviation that the sampling of items alone would give; None where it cannot be seen: of one item,
    and where all answers of all runs count alike."""
    beyond_items: float | None
    """What is left of the spread without that, not below 0."""
    lowest: float
    lowest_run: int
    """Number of the run that has it."""
    highest: float
    highest_run: int
    best: float | None
    """Share of the prompts under which it scores highest, ties divided; None without other models."""


@dataclass(frozen=True, slots=True)
class MetricEffects:
    """What the factors do to one metric."""

    task: str
    metric: str
    reading: str
    runs: int
    """Runs that it rests on."""
    items: int
    low: float
    """Least value that the metric can have."""
    mean: float
    deviation: float
    """Standard deviation between runs."""
    items_share: float | None
    """The part of their variance that the sampling of items alone would give, at most 1; None without variance."""
    shares: tuple[Share, ...]
    by_group: Mapping[str, float]
    """`model`, `prompt`, `answering`, `questions`, `mixed` or `rest` → what its terms account for beyond items."""
    levels: Mapping[str, tuple[LevelMean, ...]]
    """Factor → its levels."""
    stability: tuple[Stability, ...]
    undefined: tuple[int, ...]
    """Numbers of the runs without a value."""
    notices: tuple[Message, ...]


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A run of a grid that no table rests on."""

    run: str
    levels: Levels
    why: str
    begun: bool = True
    """Whether it was ever tried: of others their number says all."""


@dataclass(frozen=True, slots=True)
class EffectTable:
    """What the factors of a grid do to every metric of a protocol."""

    grid: str
    protocol: str
    factors: tuple[EffectFactor, ...]
    runs: tuple[str, ...]
    """Folders of the runs that it rests on, by their numbers."""
    levels: tuple[Levels, ...]
    """Of these runs."""
    left_out: tuple[LeftOut, ...]
    metrics: tuple[MetricEffects, ...]
    notices: tuple[Message, ...]

    def main(self, reading: str = "strict") -> list[MetricEffects]:
        """The first metric of every subset in one reading, and their average."""
        first: dict[str, MetricEffects] = {}
        for effects in self.metrics:
            if effects.reading == reading:
                first.setdefault(effects.task, effects)
        return list(first.values())

    def evidence(self, shown: Sequence[MetricEffects]) -> str:
        """What decided the answers that some metrics count: `text`, `log_likelihood` (also in the strict reading of a
        protocol that ranks the choices), or `both`, in several subsets."""
        ranked = get_protocol(self.protocol).ranked
        kinds: set[str] = set()
        for effects in shown:
            averaged = [one.task for one in self.main(effects.reading) if one.task != AVERAGE]
            tasks = averaged if effects.task == AVERAGE else [effects.task]
            by_rank = (effects.reading == "choose" or task in ranked for task in tasks)
            kinds |= {"log_likelihood" if each else "text" for each in by_rank}
        return "both" if len(kinds) > 1 else next(iter(kinds), "text")
