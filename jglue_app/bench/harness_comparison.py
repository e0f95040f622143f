"""One workload here and in another harness: which is faster, and whether both did the same."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from jglue_app.bench.harnesses import Harness, HarnessResults
from jglue_app.bench.measure import Workload, sample
from jglue_app.bench.repetition import Pairs, Rule, taking_turns
from jglue_app.bench.token_comparison import TokenComparison, compare_tokens, tokens_here
from jglue_app.bench.workload_runs import WorkloadRuns
from jglue_app.messages import Message
from jglue_app.types import Output, Prompt, RunError

MAX_OTHER_WORK = 0.02
"""Where numbers of prompt tokens differ by more than this part, no ratio is given."""
MAX_OTHER_LENGTH = 0.05
"""Where numbers of generated tokens differ by more than this part, the ratio is marked."""


@dataclass(frozen=True, slots=True)
class HarnessComparison:
    """What a workload cost in another harness, and how its results compare with ours; printed with `--json`."""

    peer: str
    version: str
    weights: str
    """Their precision there."""
    task: str
    method: str
    shots: int
    items: int
    batch: int
    """The fastest of the batch sizes that were tried."""
    tried: Mapping[int, float]
    """Batch size → items/s on a part of the items; empty where there was nothing to choose."""
    items_per_s: float
    """Of the median of the last runs there."""
    spread: float | None
    """(slowest − fastest) ÷ median of these; None for a single run."""
    ours_per_s: float
    """Of the median of our runs around them."""
    ours_spread: float | None
    ratio: float | None
    """Median of our speed over theirs, pair by pair. None where the work was not the same."""
    ratio_spread: float | None
    """(largest − smallest) ÷ median of the last pairs; None for a single pair."""
    steady: bool
    """Whether the spread of the ratio is small enough."""
    pairs: Pairs
    """Seconds of all runs."""
    tokens: TokenComparison
    new_tokens: tuple[int, int] | None
    """Tokens of our texts and of theirs up to the first stop string; None where choices were ranked."""
    doubts: tuple[Message, ...]
    """Why the ratio is not that of the same work, or is not given."""
    most_apart: float | None
    """Greatest difference of a choice's log-likelihood; None where texts were generated."""
    equal_texts: int | None
    """Items with the same text; None where choices were ranked."""
    peak_bytes: int
    """Most memory that the harness has held."""


def best_batch(harness: Harness, work: Workload) -> tuple[int, dict[int, float]]:
    """Warm a harness up for a workload, and find its fastest batch size on a sample.

    Returns:
        The batch size; and each that was tried with its items/s, empty where there was nothing to choose.

    Raises:
        PeerError: the harness fails.
    """
    _run(harness, work, sample(work.prompts)[:2], 1)  # The first call of a kind is slow.
    speeds: dict[int, float] = {}
    for size in harness.spec.batch_sizes:
        if speeds and max(speeds) >= len(work.prompts):
            break  # A larger one would be the same batch.
        sampled = sample(work.prompts, size)
        speeds[size] = len(sampled) / _run(harness, work, sampled, size).seconds
    batch = max(speeds, key=lambda size: speeds[size])
    return batch, speeds if len(harness.spec.batch_sizes) > 1 else {}


def compare_with(harness: Harness, runs: WorkloadRuns, rule: Rule) -> HarnessComparison:
    """Run a workload here and in a harness in turn, and compare speed, tokens and results.

    Raises:
        PeerError: the harness fails.
    """
    work = runs.work
    theirs: list[HarnessResults] = []

    def run_there() -> float:
        theirs.append(_run(harness, work, work.prompts, batch))
        return theirs[-1].seconds

    tokens = compare_tokens(work, tokens_here(runs.backend, work), harness.tokens(work.prompts, work.method))
    batch, tried = best_batch(harness, work)
    pairs = taking_turns(runs, run_there, rule)
    results = theirs[-1].results
    ranked = work.method == "choose"
    new_tokens = None if ranked else count_new_tokens(runs, results)
    doubts = tuple(_doubts(tokens, new_tokens, runs.failed))
    refused = runs.failed > 0 or abs(tokens.theirs - tokens.ours) > MAX_OTHER_WORK * tokens.ours
    here, there, ratio = rule.summary(pairs.ours), rule.summary(pairs.theirs), rule.summary(pairs.ratios)
    items = len(work.prompts)
    return HarnessComparison(
        peer=harness.name,
        version=harness.version,
        weights=harness.weights,
        task=work.task,
        method=work.method,
        shots=work.shots,
        items=items,
        batch=batch,
        tried=tried,
        items_per_s=items / there.median,
        spread=there.spread,
        ours_per_s=items / here.median,
        ours_spread=here.spread,
        ratio=None if refused else ratio.median,
        ratio_spread=None if refused else ratio.spread,
        steady=ratio.steady,
        pairs=pairs,
        tokens=tokens,
        new_tokens=new_tokens,
        doubts=doubts,
        most_apart=max_logprob_difference(runs.results, results) if ranked else None,
        equal_texts=None if ranked else count_equal_texts(work, runs.results, results),
        peak_bytes=max(run.peak_bytes for run in theirs),
    )


def _doubts(tokens: TokenComparison, new_tokens: tuple[int, int] | None, failed: int) -> Iterator[Message]:
    """Why the work was not the same."""
    if tokens.same < tokens.items:
        yield Message(
            "{count} of {items} prompts have other tokens there ({theirs:,} tokens for {ours:,} here; the first is "
            "item {item})",
            count=tokens.items - tokens.same,
            items=tokens.items,
            theirs=tokens.theirs,
            ours=tokens.ours,
            item=tokens.first_other,
        )
    if failed:
        yield Message("{count} items have no output here, and took no time", count=failed)
    if new_tokens is not None and abs(new_tokens[1] - new_tokens[0]) > MAX_OTHER_LENGTH * max(1, new_tokens[0]):
        yield Message("its texts have {theirs:,} tokens, those here {ours:,}", theirs=new_tokens[1], ours=new_tokens[0])


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
        equal += isinstance(output, Output) and (output.text or "").strip() == until_stop(prompt, text).strip()
    return equal


def count_new_tokens(runs: WorkloadRuns, theirs: Sequence[str]) -> tuple[int, int]:
    """Tokens of our texts and of theirs, up to the first stop string."""
    texts = [output.text or "" for output in runs.results.values() if isinstance(output, Output)]
    count = runs.backend.count_tokens
    others = [until_stop(prompt, text) for prompt, text in zip(runs.work.prompts, theirs, strict=True)]
    return sum(map(count, texts)), sum(map(count, others))


def until_stop(prompt: Prompt, text: str) -> str:
    """A text up to the first of the prompt's stop strings."""
    for stop in prompt.stop:
        text = text.split(stop)[0]
    return text


def _run(harness: Harness, work: Workload, prompts: Sequence[Prompt], batch: int) -> HarnessResults:
    if work.method == "choose":
        return harness.choose(prompts, batch)
    return harness.generate(prompts, work.max_new_tokens, batch)
