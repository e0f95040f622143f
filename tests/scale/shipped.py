"""The cluster of `cluster` with the scheduler of the package: `batches` chooses, as `distribution` asks it to.

Parts, batch sizes, which part comes next and how many workers there are come from the package's own functions. What is
written again here is what `distribution` does around them with Ray: workers start, load, prepare, answer and die, each
of which is an event. That a run is refused after several deaths in turn is left out.
"""

from __future__ import annotations

import heapq
import itertools
import math
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar, cast

from jglue_app.cluster.batches import Part, batch_size, choose_part, items_left, workers_wanted
from jglue_app.types import ModelSpec, Prompt
from tests.scale.cluster import Cluster, Model, Outcome

LOST_S = 0.5
"""Answers of so many seconds are lost with a worker: `serving.GROUP_S`."""

_T = TypeVar("_T")


@dataclass(slots=True, eq=False)
class Worker:
    dies_at: float
    state: Literal["starting", "idle", "busy"] = "starting"
    model: ModelSpec | None = None
    loaded: bool = False
    job: Literal["start", "load", "prepare", "answer"] = "start"
    part: Part | None = None
    sent: tuple[float, ...] = ()
    """Seconds of each item of its batch: they stand for its prompts."""
    since: float = 0.0


class Shipped:
    """Answers everything.

    Args:
        models: in the order of the grid's file.
        cluster: its GPUs, one worker each at most.
        at_once: runs that are open at the same time; the next ones begin when all of them are done.
        prepare_items_s: prompts that a worker makes in a second.
    """

    def __init__(
        self, models: Sequence[Model], cluster: Cluster, at_once: int, prepare_items_s: float, seed: int = 0
    ) -> None:
        self._models = {ModelSpec(model.name, files_sha256="0" * 64): model for model in models}
        self._cluster, self._at_once, self._prepare_items_s = cluster, at_once, prepare_items_s
        self._rng = random.Random(seed)
        self._numbers = itertools.count()
        self._events: list[tuple[float, int, Worker, bool]] = []
        """Time, a number, and whether it is a death."""
        self._now = 0.0
        self._parts: dict[Part, tuple[tuple[int, float], ...]] = {}
        """What is left → items and seconds of each, of each stretch of its items."""
        self._workers: list[Worker] = []
        self._speeds: dict[ModelSpec, float] = {}
        self._started = False
        self._spent = dict.fromkeys(("start", "load", "prepare", "answer"), 0.0)
        self._loads = self._deaths = self._again = self._done = self._batches = 0
        self._driver_s = 0.0

    def outcome(self) -> Outcome:
        """Run it."""
        runs = [(spec, run) for spec, model in self._models.items() for run in range(len(model.runs))]
        for first in range(0, len(runs), self._at_once):
            self._together(runs[first : first + self._at_once])
        cluster, models = self._cluster, self._models.values()
        work = sum(model.seconds + model.load_s for model in models)
        chain = max(cluster.start_s + model.load_s for model in models)
        total = self._now * cluster.gpus
        return Outcome(
            self._now,
            max(cluster.start_s + work / cluster.gpus, chain),
            1 - sum(self._spent.values()) / total,
            (self._spent["start"] + self._spent["load"]) / total,
            self._loads,
            self._deaths,
            self._again,
            self._done,
            self._spent["prepare"] / total,
            self._driver_s / max(1, self._batches),
        )

    def _together(self, runs: Sequence[tuple[ModelSpec, int]]) -> None:
        """One call of `run_plans_on_ray`, with workers of its own."""
        for spec, run in runs:
            for stretches in self._models[spec].stretches(run):
                self._parts[Part(spec, sum(items for items, _ in stretches))] = stretches
        self._workers, self._started = [], False
        self._events.clear()
        while self._parts:
            self._scale()
            for worker in [w for w in self._workers if w.state == "idle"]:
                self._assign(worker)
            self._now, _, worker, dies = heapq.heappop(self._events)
            if worker in self._workers:
                (self._died if dies else self._end)(worker)

    def _driver(self, function: Callable[[], _T]) -> _T:
        """What the driver decides, with the time that it takes."""
        begun = time.process_time()
        result = function()
        self._driver_s += time.process_time() - begun
        return result

    def _scale(self) -> None:
        wanted = min(self._cluster.gpus, max(1, self._driver(lambda: workers_wanted(self._parts, self._cluster.gpus))))
        for _ in range(wanted - len(self._workers)):
            rate = self._cluster.deaths_per_hour / 3_600
            worker = Worker(self._now + self._rng.expovariate(rate) if rate else math.inf)
            self._workers.append(worker)
            self._begin(worker, "start", self._cluster.start_s)
        spare = [w for state in ("starting", "idle") for w in self._workers if w.state == state]
        for worker in spare[: max(0, len(self._workers) - wanted)]:
            self._workers.remove(worker)

    def _begin(
        self,
        worker: Worker,
        job: Literal["start", "load", "prepare", "answer"],
        seconds: float,
        part: Part | None = None,
    ) -> None:
        worker.job, worker.part, worker.since = job, part, self._now
        worker.state = "starting" if job == "start" else "busy"
        end = self._now + seconds
        dies = worker.dies_at < end
        at = max(worker.dies_at, self._now) + self._cluster.notice_s if dies else end
        heapq.heappush(self._events, (at, next(self._numbers), worker, dies))

    def _assign(self, worker: Worker) -> None:
        loading = any(w.job == "load" and w.state == "busy" for w in self._workers)
        self._started = self._started or (worker.loaded and not loading)
        part = self._driver(lambda: self._choose(worker))
        if part is None:
            return
        if worker.model != part.model:
            worker.model, worker.loaded = part.model, False
            self._loads += 1
            self._begin(worker, "load", self._models[part.model].load_s, part)
        elif part.state == "ready":
            there = sum(w.state != "starting" for w in self._workers)
            speed = self._speeds.get(part.model, 0.0)
            size = self._driver(lambda: batch_size(items_left(self._parts), there, speed))
            worker.sent = cast("tuple[float, ...]", part.take(size))
            self._batches += 1
            self._begin(worker, "answer", sum(worker.sent), part)
        else:
            part.state = "preparing"
            self._begin(worker, "prepare", part.items / self._prepare_items_s, part)

    def _choose(self, worker: Worker) -> Part | None:
        holders = Counter(w.model for w in self._workers if w is not worker and w.model is not None)
        return choose_part(list(self._parts), worker.model, holders, lambda _: self._started)

    def _end(self, worker: Worker) -> None:
        """Its job is done."""
        part, seconds = worker.part, self._now - worker.since
        self._spent[worker.job] += seconds
        worker.state = "idle"
        if worker.job == "load":
            worker.loaded = True
        elif worker.job == "prepare":
            assert part is not None
            stretches = self._parts[part]
            prompts = [seconds / items for items, seconds in stretches for _ in range(items)]
            part.set_prompts(cast("Sequence[Prompt]", prompts), {})
        elif worker.job == "answer":
            assert part is not None
            self._done += len(worker.sent)
            self._speeds[part.model] = len(worker.sent) / seconds
            self._give_back(part, ())

    def _died(self, worker: Worker) -> None:
        self._workers.remove(worker)
        self._deaths += 1
        part = worker.part
        if part is None:
            return
        if worker.job == "prepare":
            part.state = "new"
        elif worker.job == "answer":
            ends = itertools.accumulate(worker.sent)
            until = worker.dies_at - worker.since - LOST_S
            stored = sum(1 for _ in itertools.takewhile(lambda end: end <= until, ends))
            self._spent["answer"] += sum(worker.sent[:stored])
            self._done += stored
            self._again += 1
            self._give_back(part, worker.sent[stored:])

    def _give_back(self, part: Part, left: tuple[float, ...]) -> None:
        part.give_back(cast("tuple[Prompt, ...]", left))
        if part.is_done:
            del self._parts[part]
