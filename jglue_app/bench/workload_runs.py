"""The runs of one workload here: what each cost, and the results of the last."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from jglue_app.bench.measure import Measurement, Workload, measure, sample
from jglue_app.bench.repetition import Rule
from jglue_app.types import Output, RunError

if TYPE_CHECKING:  # torch takes seconds to import
    from jglue_app.backends.hf.backend import HFBackend


class WorkloadRuns:
    """Runs a workload here, again and again; call it for one run.

    Args:
        backend: the loaded model.
        work: the workload.
        gflops: rate of matrix products of the machine in the model's precision, 10⁹ operations per second.
        precision: what to call the precision of the weights; empty for the dtype.
    """

    def __init__(self, backend: HFBackend, work: Workload, gflops: float, precision: str = "") -> None:
        self.backend, self.work = backend, work
        self.precision = precision or backend.info.dtype
        self._gflops = gflops
        self._measurements: list[Measurement] = []
        self.results: Mapping[int, Output | RunError] = {}
        """Of the last run, by the number of the prompt."""

    def warm_up(self) -> None:
        """Run a part of the items, without counting it: the first run of a kind is slow."""
        measure(self.backend, replace(self.work, prompts=tuple(sample(self.work.prompts))), self._gflops)

    def __call__(self) -> float:
        """Run all items once; returns seconds."""
        measured, self.results = measure(self.backend, self.work, self._gflops)
        self._measurements.append(measured)
        return measured.seconds

    @property
    def failed(self) -> int:
        """Items without an output in the last run."""
        return self._measurements[-1].failed

    def measurement(self, rule: Rule) -> Measurement:
        """What the last runs cost: the one in the middle, or the mean of the two in the middle; with their spread."""
        last = sorted(self._measurements[-rule.runs :], key=lambda measured: measured.seconds)
        seconds = tuple(measured.seconds for measured in self._measurements)
        summary = rule.summary(seconds)
        middle = last[(len(last) - 1) // 2 : len(last) // 2 + 1]
        one = middle[0]  # What is counted is the same in all runs.
        slower = summary.median / one.seconds
        return replace(
            one,
            seconds=summary.median,
            items_per_s=one.items_per_s / slower,
            naive_tokens_per_s=one.naive_tokens_per_s / slower,
            distinct_tokens_per_s=one.distinct_tokens_per_s / slower,
            parts={name: statistics.fmean(run.parts[name] for run in middle) for name in one.parts},
            fraction=one.fraction / slower,
            precision=self.precision,
            run_seconds=seconds,
            spread=summary.spread,
            steady=summary.steady,
        )
