"""The items of plans, over the workers of a cluster. Only this process writes to run folders."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields

from jglue_app.cluster.batches import Part, batch_size, choose_part, items_left, workers_wanted
from jglue_app.cluster.deaths import MAX_FRUITLESS, Deaths
from jglue_app.cluster.failures import FailedRuns
from jglue_app.cluster.jobs import (
    Answer,
    JobError,
    Load,
    LoadedModel,
    LoadingNotice,
    Prepare,
    Records,
    Reply,
    SubsetPrompts,
)
from jglue_app.cluster.options import LOCAL, RayOptions, WorkerSize
from jglue_app.cluster.subsets import Subset, Subsets
from jglue_app.cluster.versions import require_same_versions
from jglue_app.cluster.worker import process_facts
from jglue_app.cluster.workers import RemoteWorker, WorkerEvent, Workers
from jglue_app.errors import JglueAppError, ModelError, error_at
from jglue_app.messages import Message
from jglue_app.runs.ends import OpenSubset
from jglue_app.runs.events import Event
from jglue_app.runs.sessions import Session
from jglue_app.settings import Settings
from jglue_app.types import ModelInfo, ModelSpec

LOOK_S = 0.2
"""How often it is asked whether to stop."""
STOP_S = 3.0
"""How long records of a stopped batch are waited for."""
GATHER_S = 20.0
"""How long those that are always kept are waited for, once the first has loaded a model."""
WAIT_NOTICE_S = 10.0
"""After so long without a worker it is said what is waited for."""
OF_THE_MACHINE = ("device", "memory_bytes", "engine", "engine_reason", "answered_by")
"""What may differ between two workers with one model."""


class Distribution:
    """Answers what is left of some plans.

    Args:
        subsets: of which items are left, in the order in which they are to be answered.
        sessions: by the `id` of a plan.
        workers: none of which is started.
        size: how many there may be.
        options, settings: of this process.
        should_stop: asked a few times a second.
        failures: takes runs that cannot be made, if the others are to go on.
    """

    def __init__(
        self,
        subsets: Sequence[OpenSubset],
        sessions: Mapping[int, Session],
        workers: Workers,
        size: WorkerSize,
        options: RayOptions,
        settings: Settings,
        should_stop: Callable[[], bool],
        failures: FailedRuns | None = None,
    ) -> None:
        self._subsets = Subsets(subsets, sessions)
        self._workers, self._size = workers, size
        self._options, self._settings, self._should_stop = options, settings, should_stop
        self._failures = failures or FailedRuns()
        self._here = process_facts()
        self._most = size.most
        self._infos: dict[ModelSpec, ModelInfo] = {}
        self._speeds: dict[ModelSpec, float] = {}
        self._started = False
        """Whether items may be answered."""
        self._first_loaded = 0.0
        self._deaths = Deaths()
        self._notices: set[str] = set()

    def events(self) -> Iterator[Event]:
        """Notices and records, each record once it is stored."""
        seen, told = time.monotonic(), False
        try:
            while self._subsets.parts and not self._should_stop():
                self._scale()
                for worker in [w for w in self._workers.all if w.state == "idle"]:
                    yield from self._assign(worker)
                if not self._subsets.parts:
                    return
                for event in self._workers.events(LOOK_S):
                    yield from self._handle(event)
                    if not self._subsets.parts:
                        return  # What others say of a model that they still load concerns nobody.
                if any(worker.state != "starting" for worker in self._workers.all):
                    seen, told = time.monotonic(), False
                elif time.monotonic() - seen > WAIT_NOTICE_S:
                    self._workers.require_machines()
                    if not told:
                        told = True
                        yield self._notice(self._waiting_notice())
            if self._should_stop():
                yield from self._end_early()
        finally:
            self._workers.close()
            self._subsets.close()

    def _scale(self) -> None:
        """Start workers for what waits, and end those beyond the smallest number that have nothing to do."""
        wanted = min(self._most, max(self._size.least, workers_wanted(self._subsets.parts, self._most)))
        for _ in range(wanted - len(self._workers.all)):
            self._workers.start()
        spare = [w for w in self._workers.all if w.state == "starting"] + [
            w for w in self._workers.all if w.state == "idle"
        ]
        for worker in spare[: max(0, len(self._workers.all) - wanted)]:
            self._workers.remove(worker)

    def _assign(self, worker: RemoteWorker) -> Iterator[Event]:
        """Send an idle worker what comes next, if there is anything for it; notices of runs that cannot be begun."""
        self._started = self._started or self._may_start(worker)
        while True:
            holders = Counter(w.model for w in self._workers.all if w is not worker and w.model is not None)
            part = choose_part(self._subsets.parts, worker.model, holders, lambda _: self._started)
            if part is None:
                return
            subset = self._subsets.of(part)
            spec = subset.open.plan.spec
            if worker.model != part.model or worker.info is None:
                worker.model, worker.info = part.model, None
                own_folders = self._options.address != LOCAL
                device = "auto" if self._size.gpus else "cpu"
                chat = spec.prompt.format == "chat"
                self._workers.send(worker, Load(part.model, self._settings, own_folders, device, chat), part)
                return
            if part.state == "ready":
                there = sum(w.state != "starting" for w in self._workers.all)
                size = batch_size(items_left(self._subsets.parts), there, self._speeds.get(part.model, 0.0))
                prompts = part.take(size)
                limits = {prompt.item_id: part.limits[prompt.item_id] for prompt in prompts}
                job = Answer(spec, subset.open.name, prompts, limits)
                self._workers.send(worker, job, part, prompts)
                return
            try:
                begun = self._subsets.begin(subset)
            except JglueAppError as e:
                yield from self._leave_out(part, e)
                continue
            if begun:
                part.state = "preparing"
                assert subset.run is not None
                items = tuple(subset.run.remaining)
                self._workers.send(worker, Prepare.of(subset.open.plan, subset.open.name, items), part)
                return

    def _may_start(self, worker: RemoteWorker) -> bool:
        """Whether items may be answered: the first workers, as many as are always kept, have all loaded a model, so
        that one which cannot is told of before."""
        if worker.info is None:
            return False
        self._first_loaded = self._first_loaded or time.monotonic()
        if any(isinstance(w.job, Load) and w.state == "busy" for w in self._workers.all):
            return False
        loaded = sum(w.info is not None for w in self._workers.all)
        return loaded >= self._size.least or time.monotonic() - self._first_loaded > GATHER_S

    # --- what comes from workers ---

    def _handle(self, event: WorkerEvent) -> Iterator[Event]:
        worker, kind, value = event
        if kind == "facts":
            try:
                require_same_versions(self._here, value)
            except JglueAppError as e:
                yield from self._refuse(worker, e)
            return
        try:
            if kind == "died":
                yield from self._died(worker, value)
            elif kind == "failed":
                raise value
            elif kind == "reply":
                yield from self._reply(worker, value)
            elif isinstance(worker.job, Answer):
                self._end_of_batch(worker)
        except JglueAppError as e:
            yield from self._leave_out(worker.part, e)

    def _reply(self, worker: RemoteWorker, reply: Reply) -> Iterator[Event]:
        if isinstance(worker.job, Load):
            yield from self._loading(worker, reply)
        elif (subset := self._subsets.find(worker.part)) is None:
            return  # Its run is left out.
        elif isinstance(reply, SubsetPrompts):
            assert worker.info is not None
            yield from subset.set_prompts(reply, worker.info, worker.machine)
        elif isinstance(reply, Records):
            yield from self._answered(worker, subset, reply)
        elif isinstance(reply, JobError):
            raise reply.error

    def _loading(self, worker: RemoteWorker, reply: Reply) -> Iterator[Event]:
        """What a worker says while it loads a model. Others may have answered meanwhile what it was loaded for."""
        if isinstance(reply, LoadingNotice) and reply.message not in self._notices:
            self._notices.add(reply.message)  # Of several workers that load one model the first is enough.
            assert worker.part is not None
            yield self._notice(reply.message, self._subsets.for_notice(worker.part))
        elif isinstance(reply, JobError):
            yield from self._refuse_model(worker, error_at(worker.host, reply.error))
        elif isinstance(reply, LoadedModel):
            worker.info, worker.machine = reply.info, dict(reply.machine)
            try:
                self._require_same_model(worker)
            except JglueAppError as e:
                yield from self._refuse_model(worker, e)

    def _require_same_model(self, worker: RemoteWorker) -> None:
        """Refuse a worker whose model is not that of the others; raises ModelError."""
        assert worker.info is not None and worker.model is not None
        first = self._infos.setdefault(worker.model, worker.info)
        for name in (f.name for f in fields(ModelInfo) if f.name not in OF_THE_MACHINE):
            if getattr(first, name) != getattr(worker.info, name):
                raise ModelError(
                    "{model} is not the same on all machines of the cluster: on {host} its {name} is {there!r}, not "
                    "{here!r}. Use machines of one kind, or name what differs (--dtype).",
                    model=worker.model.id,
                    host=worker.host,
                    name=name,
                    there=getattr(worker.info, name),
                    here=getattr(first, name),
                )

    def _answered(self, worker: RemoteWorker, subset: Subset, reply: Records) -> Iterator[Event]:
        records = [record for record in reply.records if record.item_id in worker.sent]
        subset.store(records, reply.info, worker.machine)
        self._deaths.in_a_row = 0
        worker.answered += len(records)
        for record in records:
            del worker.sent[record.item_id]
        yield from subset.count(records)

    def _end_of_batch(self, worker: RemoteWorker) -> None:
        """All replies to a batch are there; what it has not answered is handed out again."""
        left, worker.job, worker.sent = list(worker.sent.values()), None, {}
        if (subset := self._subsets.find(worker.part)) is None:
            return  # Its run is left out.
        subset.sync()
        subset.part.give_back(left)
        seconds = time.monotonic() - worker.since
        if worker.answered and seconds > 0:
            self._speeds[subset.part.model] = worker.answered / seconds
        elif left:
            self._fruitless_batch(subset, Message("no answer"))
        if subset.part.is_done:
            self._subsets.finish(subset)

    def _died(self, worker: RemoteWorker, reason: str) -> Iterator[Event]:
        """Hand out again what a worker had that has ended by itself, or with its machine."""
        another = self._deaths.is_another(worker)
        if isinstance(worker.job, Answer) and worker.state == "busy":
            if (subset := self._subsets.find(worker.part)) is not None:
                yield from self._lost_batch(worker, subset, reason if another else None)
            return
        if worker.part is not None and isinstance(worker.job, Prepare) and worker.state == "busy":
            worker.part.state = "new"
        if another and worker.state != "idle":
            self._deaths.count(reason)

    def _lost_batch(self, worker: RemoteWorker, subset: Subset, reason: str | None) -> Iterator[Event]:
        """Hand out again what is left of the batch of a worker that has died; `reason` if that counts."""
        subset.part.give_back(worker.sent.values())
        if not worker.answered and reason is not None:
            self._fruitless_batch(subset, reason)
        message = Message(
            "A worker on {host} has ended; {count} items that it had are answered by another.",
            host=worker.host,
            count=len(worker.sent),
        )
        yield self._notice(message, subset.open)
        if subset.part.is_done:
            self._subsets.finish(subset)

    def _fruitless_batch(self, subset: Subset, reason: str) -> None:
        """Count a batch without an answer; raises ModelError once there are too many in a row."""
        subset.part.fruitless += 1
        if subset.part.fruitless >= MAX_FRUITLESS:
            raise ModelError(
                "{count} workers in a row have ended over the same items of {task} with {model} ({reason}). Most often "
                "memory is short: start fewer on a machine (--ray-workers, --ray-cpus), or set --memory.",
                count=subset.part.fruitless,
                task=subset.open.name,
                model=subset.part.model.id,
                reason=reason,
            )

    # --- what cannot be used ---

    def _refuse(self, worker: RemoteWorker, error: JglueAppError) -> Iterator[Event]:
        """Leave out a worker that cannot be used; raises the error where none has answered anything yet."""
        if not self._started or self._most <= 1:
            raise error
        yield self._remove(worker, error)

    def _remove(self, worker: RemoteWorker, error: JglueAppError) -> Event:
        self._workers.remove(worker)
        self._most -= 1
        return self._notice(Message("A worker is left out. {reason}", reason=error.message))

    def _refuse_model(self, worker: RemoteWorker, error: JglueAppError) -> Iterator[Event]:
        """Leave out a worker that cannot use the model that it was sent; or the model, where runs may be left out and
        no other worker has it."""
        if self._failures.end_the_call:
            yield from self._refuse(worker, error)
        elif worker.model in self._infos and self._most > 1:
            yield self._remove(worker, error)
        else:
            worker.model, worker.info = None, None
            yield from self._leave_out(worker.part, error)

    def _leave_out(self, part: Part | None, error: JglueAppError) -> Iterator[Event]:
        """Go on without a run that cannot be made, and without the others of its model where that is at fault; raises
        the error where the first one ends the call, or it is of no run."""
        if part is None or self._failures.end_the_call:
            raise error
        if (subset := self._subsets.find(part)) is not None:
            yield self._failures.note(subset.open.side, subset.open.plan, error)
            self._failures.run_ids |= self._subsets.leave_out(subset, of_model=isinstance(error, ModelError))

    def _end_early(self) -> Iterator[Event]:
        """Stop what workers are doing, and keep what they have answered."""
        self._workers.ask_to_stop()
        until = time.monotonic() + STOP_S
        while time.monotonic() < until and any(isinstance(w.job, Answer) for w in self._workers.all):
            for event in self._workers.events(LOOK_S):
                if event.kind == "reply" and isinstance(event.value, Records):
                    yield from self._reply(event.worker, event.value)
                elif event.kind in ("end", "died"):
                    event.worker.job = None

    # --- sentences ---

    def _notice(self, message: str, subset: OpenSubset | None = None) -> Event:
        side, plan, name = subset or self._subsets.first
        return Event("notice", plan.spec.label, side, message=message, task=name if subset else "")

    def _waiting_notice(self) -> Message:
        return Message(
            "The Ray cluster has no room for a worker yet, which takes {cpus} CPUs and {gpus} GPUs: waiting.",
            cpus=self._size.cpus,
            gpus=self._size.gpus,
        )
