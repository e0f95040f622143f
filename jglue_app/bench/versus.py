"""One workload here and in another harness: who is faster, and whether both say the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jglue_app.bench.measure import Workload
from jglue_app.bench.peers import Answer, Peer
from jglue_app.types import Output, Prompt, RunError

PART = 4
"""Every so manieth item is used to find the best batch size, and at least `LEAST` items."""
LEAST = 8


@dataclass(frozen=True, slots=True)
class Versus:
    """What a workload cost in another harness, and how its answers compare with ours."""

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
    """Greatest difference of a choice's log-likelihood; None where texts were written."""
    equal_texts: int | None
    """Items with the same text; None where choices were ranked."""
    peak_bytes: int
    """Most memory that the harness has held."""


def run_peer(peer: Peer, work: Workload) -> tuple[int, dict[int, float], Answer]:
    """The best batch size, what was tried for it, and the run over all items.

    Raises:
        PeerError: the harness fails.
    """
    some = sample(work.prompts)
    _ask(peer, work, some[:2], 1)  # The first call of a kind is slow.
    tried: dict[int, float] = {}
    if len(peer.kind.batch_sizes) > 1:
        for size in peer.kind.batch_sizes:
            tried[size] = len(some) / _ask(peer, work, some, size).seconds
    batch = max(tried, key=lambda size: tried[size]) if tried else peer.kind.batch_sizes[0]
    return batch, tried, _ask(peer, work, work.prompts, batch)


def sample(prompts: Sequence[Prompt]) -> Sequence[Prompt]:
    """A part of the items, from all over."""
    return prompts[:: max(1, min(PART, len(prompts) // LEAST))]


def compare(
    peer: Peer,
    work: Workload,
    run: tuple[int, dict[int, float], Answer],
    seconds: Sequence[float],
    results: Mapping[int, Output | RunError],
) -> Versus:
    """Put a harness's run beside ours.

    Args:
        peer: the harness.
        work: what both ran.
        run: what `run_peer` found.
        seconds: of our runs before and after it.
        results: what we answered, by the number of the prompt.
    """
    batch, tried, answer = run
    items = len(work.prompts)
    ours, theirs = items * len(seconds) / sum(seconds), items / answer.seconds
    choosing = work.method == "choose"
    return Versus(
        peer=peer.name,
        version=peer.version,
        task=work.task,
        method=work.method,
        shots=work.shots,
        items=items,
        batch=batch,
        tried=tried,
        items_per_s=theirs,
        ours_per_s=ours,
        ratio=ours / theirs,
        most_apart=most_apart(results, answer.found) if choosing else None,
        equal_texts=None if choosing else equal_texts(work, results, answer.found),
        peak_bytes=answer.peak_bytes,
    )


def most_apart(ours: Mapping[int, Output | RunError], theirs: Sequence[Sequence[float]]) -> float:
    """Greatest difference between two log-likelihoods of the same answer; infinite where only one side has any."""
    worst = 0.0
    for i, scores in enumerate(theirs):
        own = ours.get(i)
        found = own.choice_logprobs if isinstance(own, Output) else None
        if found is None or len(found) != len(scores):
            return float("inf")
        worst = max([worst, *(abs(a - b) for a, b in zip(found, scores, strict=True))])
    return worst


def equal_texts(work: Workload, ours: Mapping[int, Output | RunError], theirs: Sequence[str]) -> int:
    """How many texts are the same up to the first stop string, white space at their ends aside."""
    equal = 0
    for i, (prompt, text) in enumerate(zip(work.prompts, theirs, strict=True)):
        own = ours.get(i)
        for stop in prompt.stop:
            text = text.split(stop)[0]
        equal += isinstance(own, Output) and (own.text or "").strip() == text.strip()
    return equal


def _ask(peer: Peer, work: Workload, prompts: Sequence[Prompt], batch: int) -> Answer:
    if work.method == "choose":
        return peer.choose(prompts, batch)
    return peer.generate(prompts, work.max_new_tokens, batch)
