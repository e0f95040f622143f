"""One workload here and in another harness: which is faster, and whether the results are the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jglue_app.bench.harnesses import Harness, HarnessResults
from jglue_app.bench.measure import Workload
from jglue_app.types import Output, Prompt, RunError

SAMPLE_EVERY = 4
"""Every n-th item is used to find the best batch size, so that there are at least `MIN_SAMPLE` items."""
MIN_SAMPLE = 8


@dataclass(frozen=True, slots=True)
class HarnessComparison:
    """What a workload cost in another harness, and how its results compare with ours; printed with `--json`."""

    peer: str
    version: str
    task: str
    method: str
    shots: int
    items: int
    batch: int
    """The fastest of the batch sizes that were tried."""
    tried: Mapping[int, float]
    """Batch size → items/s on a part of the items; empty where there was nothing to choose."""
    items_per_s: float
    ours_per_s: float
    ratio: float
    """Ours over theirs."""
    most_apart: float | None
    """Greatest difference of a choice's log-likelihood; None where texts were generated."""
    equal_texts: int | None
    """Items with the same text; None where choices were ranked."""
    peak_bytes: int
    """Most memory that the harness has held."""


@dataclass(frozen=True, slots=True)
class HarnessRun:
    """A workload in another harness."""

    batch: int
    """The fastest batch size."""
    tried: Mapping[int, float]
    """Batch size → items/s on a sample; empty where there was nothing to choose."""
    results: HarnessResults
    """Of all items."""


def run_harness(harness: Harness, work: Workload) -> HarnessRun:
    """Find the fastest batch size on a sample, and run all items with it.

    Raises:
        PeerError: the harness fails.
    """
    sampled = sample(work.prompts)
    _run(harness, work, sampled[:2], 1)  # The first call of a kind is slow.
    speeds: dict[int, float] = {}
    if len(harness.spec.batch_sizes) > 1:
        for size in harness.spec.batch_sizes:
            speeds[size] = len(sampled) / _run(harness, work, sampled, size).seconds
    batch = max(speeds, key=lambda size: speeds[size]) if speeds else harness.spec.batch_sizes[0]
    return HarnessRun(batch, speeds, _run(harness, work, work.prompts, batch))


def sample(prompts: Sequence[Prompt]) -> Sequence[Prompt]:
    """A part of the items, spread evenly."""
    return prompts[:: max(1, min(SAMPLE_EVERY, len(prompts) // MIN_SAMPLE))]


def compare(
    harness: Harness,
    work: Workload,
    run: HarnessRun,
    seconds: Sequence[float],
    results: Mapping[int, Output | RunError],
) -> HarnessComparison:
    """Compare a harness's run with ours.

    Args:
        harness: the harness.
        work: the workload of both.
        run: of `run_harness`.
        seconds: of our runs before and after it.
        results: of our run, by the number of the prompt.
    """
    items = len(work.prompts)
    ours, theirs = items * len(seconds) / sum(seconds), items / run.results.seconds
    ranked = work.method == "choose"
    return HarnessComparison(
        peer=harness.name,
        version=harness.version,
        task=work.task,
        method=work.method,
        shots=work.shots,
        items=items,
        batch=run.batch,
        tried=run.tried,
        items_per_s=theirs,
        ours_per_s=ours,
        ratio=ours / theirs,
        most_apart=max_logprob_difference(results, run.results.results) if ranked else None,
        equal_texts=None if ranked else count_equal_texts(work, results, run.results.results),
        peak_bytes=run.results.peak_bytes,
    )


def max_logprob_difference(ours: Mapping[int, Output | RunError], theirs: Sequence[Sequence[float]]) -> float:
    """Greatest difference between two log-likelihoods of the same answer; infinite where only one side has any."""
    worst = 0.0
    for i, scores in enumerate(theirs):
        output = ours.get(i)
        logprobs = output.choice_logprobs if isinstance(output, Output) else None
        if logprobs is None or len(logprobs) != len(scores):
            return float("inf")
        worst = max([worst, *(abs(a - b) for a, b in zip(logprobs, scores, strict=True))])
    return worst


def count_equal_texts(work: Workload, ours: Mapping[int, Output | RunError], theirs: Sequence[str]) -> int:
    """How many texts are the same up to the first stop string, white space at their ends aside."""
    equal = 0
    for i, (prompt, text) in enumerate(zip(work.prompts, theirs, strict=True)):
        output = ours.get(i)
        for stop in prompt.stop:
            text = text.split(stop)[0]
        equal += isinstance(output, Output) and (output.text or "").strip() == text.strip()
    return equal


def _run(harness: Harness, work: Workload, prompts: Sequence[Prompt], batch: int) -> HarnessResults:
    if work.method == "choose":
        return harness.choose(prompts, batch)
    return harness.generate(prompts, work.max_new_tokens, batch)
