"""A cluster that answers many runs, event by event: GPUs that load models, answer batches, and die.

What is simulated is who answers which batch when. Loading, answering and dying take the times that are given; nothing
is said of networks and disks that many share.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Model:
    """A model and what it is to answer."""

    name: str
    load_s: float
    """Seconds from a free GPU to the first batch: weights, self-checks."""
    runs: tuple[tuple[float, ...], ...]
    """Of each run, the seconds of each of its batches on one GPU."""
    items: tuple[tuple[int, ...], ...] = ()
    """Of each subset of a run, the items of each of its batches; nothing where a batch is one item of one subset."""

    @property
    def seconds(self) -> float:
        """Of all batches on one GPU, without loading."""
        return sum(map(sum, self.runs))

    def stretches(self, run: int) -> Iterator[tuple[tuple[int, float], ...]]:
        """Of each subset of a run, the items and the seconds of each of its batches."""
        seconds = iter(self.runs[run])
        for items in self.items or ((1,) * len(self.runs[run]),):
            yield tuple(zip(items, seconds, strict=False))


@dataclass(frozen=True, slots=True)
class Cluster:
    """The GPUs, one actor each."""

    gpus: int
    start_s: float = 12.0
    """Seconds to start an actor: a process and its imports."""
    deaths_per_hour: float = 0.0
    """Of each GPU's actor, at random moments."""
    notice_s: float = 5.0
    """Seconds until a death is noticed."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How it went."""

    makespan: float
    bound: float
    """No order is faster: all work, every model loaded once, on GPUs that are never idle; or one model's load and its
    longest batch."""
    idle: float
    """Share of all GPU time in which a GPU neither answers nor loads."""
    loading: float
    """Share in which it starts an actor or loads."""
    loads: int
    deaths: int
    again: int
    """Batches that were answered again."""
    done: int
    """Batches whose answers were stored; items, with the package's scheduler."""
    preparing: float = 0.0
    """Share in which a worker makes prompts."""
    driver_s: float = 0.0
    """CPU seconds of this machine for the package's decisions, for each batch."""


@dataclass(slots=True)
class Stage:
    """Batches of one model that share its actors: one dataset."""

    model: Model
    left: list[float]
    """Seconds of the batches that nobody has taken, the next one last."""
    seconds_left: float
    """Of all of them."""
    running: int = 0
    actors: int = 0

    def take(self) -> float:
        """The seconds of the next batch."""
        seconds = self.left.pop()
        self.running, self.seconds_left = self.running + 1, self.seconds_left - seconds
        return seconds

    def give_back(self, seconds: float) -> None:
        """Put a batch back as the next one: its actor died."""
        self.left.append(seconds)
        self.seconds_left += seconds


@dataclass(slots=True)
class Gpu:
    number: int
    stage: Stage | None = None
    resident: str = ""
    dies_at: float = float("inf")


Choose = Callable[[list[Stage], Gpu, "Cluster"], Stage | None]
"""Which stage a GPU without work is to join; None to wait."""


def one_after_another(stages: list[Stage], gpu: Gpu, cluster: Cluster) -> Stage | None:
    """All GPUs answer the first stage that is not done; the next begins when its last batch is stored."""
    first = next((stage for stage in stages if stage.left or stage.running), None)
    return first if first is not None and first.left else None


def one_gpu_a_stage(stages: list[Stage], gpu: Gpu, cluster: Cluster) -> Stage | None:
    """A GPU takes the next stage that nobody has, and stays until it is done; nobody helps."""
    return next((stage for stage in stages if stage.left and not stage.actors), None)


def helping(stages: list[Stage], gpu: Gpu, cluster: Cluster) -> Stage | None:
    """The next stage that nobody has; else the one with the most work left for each of its actors, where what another
    actor saves is more than it takes to load."""
    if (alone := one_gpu_a_stage(stages, gpu, cluster)) is not None:
        return alone
    open_stages = [stage for stage in stages if stage.left]
    if not open_stages:
        return None
    most = max(open_stages, key=lambda stage: stage.seconds_left / (stage.actors or 1))
    return most if most.seconds_left / (most.actors or 1) > most.model.load_s + cluster.start_s else None


POLICIES: dict[str, tuple[str, bool, bool, Choose]] = {
    "runs in turn, on all GPUs": ("run", False, False, one_after_another),
    "models in turn, on all GPUs": ("model", False, False, one_after_another),
    "a GPU for each run": ("run", False, True, helping),
    "a GPU for each model, alone": ("model", False, False, one_gpu_a_stage),
    "a GPU for each model": ("model", False, False, helping),
    "longest model first, alone": ("model", True, False, one_gpu_a_stage),
    "longest model first": ("model", True, False, helping),
}
"""Name → what a stage is (`run` or `model`), whether the longest goes first, whether weights stay resident between
stages of one model, and which stage a GPU takes."""


@dataclass(slots=True)
class _Tally:
    busy: float = 0.0
    loading: float = 0.0
    loads: int = 0
    deaths: int = 0
    again: int = 0
    done: int = 0
    events: list[tuple[float, int, int]] = field(default_factory=list)


def stages_of(models: list[Model], by: str, longest_first: bool) -> list[Stage]:
    """The stages in their order; batches of a model stay in the order of its runs."""
    stages = [
        Stage(model, [seconds for run in runs for seconds in run][::-1], sum(map(sum, runs)))
        for model in models
        for runs in ([[run] for run in model.runs] if by == "run" else [list(model.runs)])
    ]
    return sorted(stages, key=lambda stage: -stage.seconds_left) if longest_first else stages


def simulate(models: list[Model], cluster: Cluster, policy: str, seed: int = 0) -> Outcome:
    """Answer everything under a policy, a key of `POLICIES`."""
    by, longest_first, stays, choose = POLICIES[policy]
    stages = stages_of(models, by, longest_first)
    rng = random.Random(seed)
    tally = _Tally()
    gpus = [Gpu(number) for number in range(cluster.gpus)]
    for gpu in gpus:
        _live(gpu, 0.0, cluster, rng)
    waiting = list(gpus)
    now = 0.0
    taken: dict[int, tuple[Stage, float]] = {}
    """GPU → stage, and seconds of its batch."""

    def begin(gpu: Gpu) -> bool:
        if gpu.dies_at <= now:  # While it had nothing to do.
            gpu.resident = ""
            _live(gpu, now, cluster, rng)
        stage = gpu.stage if gpu.stage is not None and gpu.stage.left else None
        loads = 0.0
        if stage is None:
            _leave(gpu)
            stage = choose(stages, gpu, cluster)
            if stage is None:
                return False
            gpu.stage, stage.actors = stage, stage.actors + 1
            if not stays or gpu.resident != stage.model.name:
                gpu.resident = ""
        if not gpu.resident:
            loads, gpu.resident, tally.loads = cluster.start_s + stage.model.load_s, stage.model.name, tally.loads + 1
        seconds = stage.take()
        end = now + loads + seconds
        taken[gpu.number] = stage, seconds
        heapq.heappush(tally.events, (min(end, gpu.dies_at), gpu.number, int(gpu.dies_at < end)))
        if gpu.dies_at >= end:
            tally.busy += seconds
            tally.loading += loads
        return True

    while True:
        waiting = [gpu for gpu in waiting if not begin(gpu)]
        if not tally.events:
            break
        now, number, kind = heapq.heappop(tally.events)
        gpu = gpus[number]
        waiting.append(gpu)
        if kind == 2:  # Its actor may start again.
            continue
        stage, seconds = taken.pop(number)
        stage.running -= 1
        if kind == 0:
            tally.done += 1
            continue
        # Whatever it was answering is given to somebody again: at least once.
        stage.give_back(seconds)
        tally.deaths, tally.again = tally.deaths + 1, tally.again + 1
        _leave(gpu)
        gpu.resident = ""
        waiting.remove(gpu)
        _live(gpu, now + cluster.notice_s, cluster, rng)
        heapq.heappush(tally.events, (now + cluster.notice_s, number, 2))
    return _outcome(models, cluster, tally, now)


def _leave(gpu: Gpu) -> None:
    if gpu.stage is not None:
        gpu.stage.actors -= 1
        gpu.stage = None


def _live(gpu: Gpu, now: float, cluster: Cluster, rng: random.Random) -> None:
    if cluster.deaths_per_hour > 0:
        gpu.dies_at = now + rng.expovariate(cluster.deaths_per_hour / 3_600)


def _outcome(models: list[Model], cluster: Cluster, tally: _Tally, makespan: float) -> Outcome:
    starts = [cluster.start_s + model.load_s for model in models]
    work = sum(model.seconds for model in models) + sum(starts)
    chain = max(start + max(map(max, model.runs)) for start, model in zip(starts, models, strict=True))
    total = makespan * cluster.gpus
    return Outcome(
        makespan,
        max(work / cluster.gpus, chain),
        1 - (tally.busy + tally.loading) / total,
        tally.loading / total,
        tally.loads,
        tally.deaths,
        tally.again,
        tally.done,
    )
