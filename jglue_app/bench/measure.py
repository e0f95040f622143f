"""The project's own benchmark: how fast an evaluation is, as a fraction of what the machine could do.

The bound is the rate at which this machine multiplies large matrices in the model's dtype, measured at the start. What
is compared with it is the least work that is needed: every distinct token once through the layers' weights, and the
vocabulary at the positions that are scored. Attention, memory access and Python count as loss.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jglue_app.backends import Notify
from jglue_app.errors import InputError
from jglue_app.prompts.formats import format_info
from jglue_app.runs.plan import build_prompts, make_plan
from jglue_app.settings import Settings
from jglue_app.tasks import TASKS
from jglue_app.types import ModelSpec, Output, Prompt, PromptSpec, RunError

if TYPE_CHECKING:  # torch takes seconds to import
    from jglue_app.backends.hf.backend import HFBackend

WARM_UP_ITEMS = 4
SAMPLE_EVERY = 4
"""Every n-th item is used to warm up, and to find the best batch size of another harness, so that there are at least
`MIN_SAMPLE` items."""
MIN_SAMPLE = 8


@dataclass(frozen=True, slots=True)
class Workload:
    """What is timed: some items of a subset in the order of the file, as in a full run."""

    task: str
    method: str
    """`choose` or `generate`."""
    shots: int
    prompts: tuple[Prompt, ...]
    max_new_tokens: int


def sample(prompts: Sequence[Prompt], at_least: int = 0) -> Sequence[Prompt]:
    """A part of the items, spread evenly; so many at least, if there are."""
    return prompts[:: max(1, min(SAMPLE_EVERY, len(prompts) // max(MIN_SAMPLE, at_least)))]


@dataclass(frozen=True, slots=True)
class Measurement:
    """What a run of a workload cost: one, or the median of those that were repeated, and how they spread."""

    task: str
    method: str
    shots: int
    items: int
    failed: int
    """Items without an output."""
    seconds: float
    items_per_s: float
    naive_tokens: int
    """Tokens of a run without sharing: of every prompt with every answer."""
    distinct_tokens: int
    """Tokens that went through the model's layers."""
    sharing: float
    """Naive over distinct."""
    naive_tokens_per_s: float
    distinct_tokens_per_s: float
    scored_rows: int
    """Positions at which the vocabulary was scored."""
    parts: dict[str, float]
    """Seconds in `tokenize`, `prefill`, `decode`, `head` and `other`."""
    gflop: float
    """Multiplications and additions with weights, in 10⁹."""
    fraction: float
    """Of the measured bound."""
    precision: str = ""
    """Of the weights, as it was requested."""
    run_seconds: tuple[float, ...] = ()
    """Of all runs in their order."""
    spread: float | None = None
    """(slowest − fastest) ÷ median of the last runs; None for a single run."""
    steady: bool = False
    """Whether the spread is small enough."""


def workloads(
    settings: Settings,
    backend: HFBackend,
    model: ModelSpec,
    tasks: Sequence[str],
    shots: Sequence[int],
    limit: int,
    *,
    method: str = "both",
    data_kind: str = "official",
    style: str = "ja-labels",
) -> Iterator[Workload]:
    """All workloads: every subset × number of examples × method that it has.

    Raises:
        InputError: a subset has no items; or as `plan.make_plan`.
        NetworkError: as `plan.make_plan`.
    """
    info = backend.info
    text = format_info(info, backend.render_chat)
    for name in tasks:
        for count in shots:
            # The model is loaded already, and nothing is stored: its files need not be checked each time.
            prompt = PromptSpec(style, shots=count)
            plan = make_plan(settings, model, [name], data_kind=data_kind, prompt=prompt, answers=False)
            prompts = tuple(build_prompts(plan, name, plan.items[name][:limit], text))
            if not prompts:
                raise InputError("{task} has no items to time. Leave it out of --tasks.", task=name)
            new = plan.style.of(name).max_new_tokens
            if method != "generate" and TASKS[name].kind == "choice":
                yield Workload(name, "choose", count, prompts, new)
            if method != "choose":
                yield Workload(name, "generate", count, prompts, new)


def measure(backend: HFBackend, work: Workload, gflops: float) -> tuple[Measurement, dict[int, Output | RunError]]:
    """Run a workload once. Nothing of earlier runs is used: the cached prefix is dropped.

    Returns:
        What it cost, and the results by the number of the prompt.
    """
    backend.drop_prefix()
    counters = backend.counters
    counters.reset()
    counters.synchronize = True
    started = time.perf_counter()
    if work.method == "choose":
        results = dict(backend.choose(work.prompts, lambda: False))
    else:
        results = dict(backend.generate(work.prompts, work.max_new_tokens, lambda: False))
    seconds = time.perf_counter() - started
    counters.synchronize = False
    body, head = backend.weight_multiplications()
    gflop = 2e-9 * (body * counters.forward_tokens + head * counters.scored_positions)
    parts: dict[str, float] = {name: round(value, 4) for name, value in counters.seconds.items()}
    parts["other"] = round(max(0.0, seconds - sum(counters.seconds.values())), 4)
    measurement = Measurement(
        task=work.task,
        method=work.method,
        shots=work.shots,
        items=len(work.prompts),
        failed=sum(not isinstance(r, Output) or r.finish == "overflow" for r in results.values()),
        seconds=seconds,
        items_per_s=len(work.prompts) / seconds,
        naive_tokens=counters.naive_tokens,
        distinct_tokens=counters.forward_tokens,
        sharing=counters.naive_tokens / max(1, counters.forward_tokens),
        naive_tokens_per_s=counters.naive_tokens / seconds,
        distinct_tokens_per_s=counters.forward_tokens / seconds,
        scored_rows=counters.scored_positions,
        parts=parts,
        gflop=gflop,
        fraction=gflop / seconds / gflops,
    )
    return measurement, results


def open_for_bench(
    settings: Settings,
    spec: ModelSpec,
    *,
    device: str = "auto",
    notify: Notify = lambda _: None,
    methods: Collection[str] = ("choose", "generate"),
    leave_out: Sequence[str] = (),
) -> tuple[HFBackend, float]:
    """Load a model and warm it up for these methods.

    Returns:
        The backend, and the seconds that loading took.

    Raises:
        InputError: it is not a transformers model.
        UnknownNameError: there is no such optimization to leave out.
        ModelError, NetworkError: it cannot be loaded.
    """
    if spec.backend != "hf":
        raise InputError("{model} is a table of answers: there is nothing to time. Name a model.", model=spec.id)
    from jglue_app.backends.hf.ablation import without
    from jglue_app.backends.hf.load import open_model  # torch takes seconds to import

    optimizations = without(leave_out)
    started = time.perf_counter()
    backend = open_model(spec, settings, device, notify, optimizations)
    seconds = time.perf_counter() - started
    text = "一回目は時間がかかります。" * 8
    prompts = [Prompt("", str(k), f"{k}{text}", None, (), ("はい", "いいえ"), "", (), "") for k in range(WARM_UP_ITEMS)]
    if "choose" in methods:
        list(backend.choose(prompts, lambda: False))
    if "generate" in methods:
        list(backend.generate(prompts, 4, lambda: False))
    return backend, seconds


def peak_resident() -> int:
    """Peak of this process's memory in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1_024)
