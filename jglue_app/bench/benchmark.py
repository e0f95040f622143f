"""All workloads of one call of `bench`: here, in other harnesses, and in other precisions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from jglue_app.backends import Notify
from jglue_app.bench.harness_comparison import HarnessComparison, compare_with
from jglue_app.bench.harnesses import Harness
from jglue_app.bench.measure import Measurement, Workload
from jglue_app.bench.precision_comparison import PrecisionComparison, compare_precisions
from jglue_app.bench.repetition import Rule, repeated
from jglue_app.bench.workload_runs import WorkloadRuns
from jglue_app.errors import PeerError
from jglue_app.messages import Message

if TYPE_CHECKING:  # torch takes seconds to import
    from jglue_app.backends.hf.backend import HFBackend
    from jglue_app.backends.hf.machine import Machine


@dataclass(frozen=True, slots=True)
class OpenModel:
    """The model in one precision."""

    precision: str
    """As it was requested; empty where none was."""
    backend: HFBackend
    machine: Machine
    """With its rate in that precision."""
    load_seconds: float


@dataclass(slots=True)
class Findings:
    """Everything that was measured."""

    workloads: list[Measurement] = field(default_factory=list)
    """One for each workload and precision."""
    peers: list[HarnessComparison] = field(default_factory=list)
    precisions: list[PrecisionComparison] = field(default_factory=list)
    failed: bool = False
    """Whether another harness has failed."""

    def spreads(self) -> list[float | None]:
        """All spreads."""
        spreads = [row.spread for row in self.workloads]
        spreads += [s for peer in self.peers for s in (peer.spread, peer.ours_spread, peer.ratio_spread)]
        spreads += [s for other in self.precisions for s in (other.spread, other.base_spread, other.ratio_spread)]
        return spreads


def run_benchmark(
    models: Sequence[OpenModel], harnesses: Sequence[Harness], works: Iterable[Workload], rule: Rule, notify: Notify
) -> Findings:
    """Run every workload.

    Args:
        models: the model; in each precision, if it is compared with itself.
        harnesses: other harnesses. One that fails is left out from there on.
        works: the workloads.
        rule: how often each runs.
        notify: takes what goes on.
    """
    findings = Findings()
    left = list(harnesses)
    for work in works:
        notify(
            Message(
                "{task}, {method}, {shots} examples: {count} items.",
                task=work.task,
                method=work.method,
                shots=work.shots,
                count=len(work.prompts),
            )
        )
        runs = [WorkloadRuns(model.backend, work, model.machine.gflops, model.precision) for model in models]
        for warmed in runs:
            warmed.warm_up()
        able = [harness for harness in left if work.method in harness.spec.methods]
        peers, failures = _in_harnesses(runs[0], able, rule, notify)
        precisions = [compare_precisions(runs[0], other, rule) for other in runs[1:]]
        if not peers and not precisions:
            repeated(runs[0], rule)
        left = [harness for harness in left if harness not in failures]
        findings.failed = findings.failed or bool(failures)
        findings.peers += peers
        findings.precisions += precisions
        findings.workloads += [measured.measurement(rule) for measured in runs]
    return findings


def _in_harnesses(
    runs: WorkloadRuns, harnesses: Sequence[Harness], rule: Rule, notify: Notify
) -> tuple[list[HarnessComparison], list[Harness]]:
    """The comparison with each harness, and the harnesses that failed."""
    comparisons: list[HarnessComparison] = []
    failures: list[Harness] = []
    for harness in harnesses:
        notify(Message("The same in {other}.", other=harness.name))
        try:
            comparisons.append(compare_with(harness, runs, rule))
        except PeerError as e:
            notify(e.message)
            failures.append(harness)
    return comparisons, failures
