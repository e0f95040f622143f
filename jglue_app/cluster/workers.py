"""The workers as the driver sees them: actors that are started, sent jobs, and lost."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from jglue_app.cluster import worker as worker_module
from jglue_app.cluster.batches import Part
from jglue_app.cluster.connection import node_sizes
from jglue_app.cluster.jobs import Job, Reply
from jglue_app.cluster.options import WorkerSize
from jglue_app.errors import ModelError, NetworkError, first_line
from jglue_app.types import ModelInfo, ModelSpec, Prompt


@dataclass(slots=True, eq=False)
class RemoteWorker:
    """One actor."""

    actor: Any
    pending: Any
    """What is waited for: its facts, or the stream of replies to a job; None while it is idle."""
    state: Literal["starting", "idle", "busy"] = "starting"
    host: str = ""
    model: ModelSpec | None = None
    """The model that it holds, or was told to load."""
    info: ModelInfo | None = None
    """Of that model, once it is loaded."""
    machine: dict[str, Any] = field(default_factory=dict)
    job: Job | None = None
    part: Part | None = None
    """What its job is for."""
    sent: dict[str, Prompt] = field(default_factory=dict)
    """Item id → prompt of its batch, as far as it has not been answered."""
    answered: int = 0
    """Records of its batch that have arrived."""
    since: float = 0.0
    """When its job was sent."""
    started: float = field(default_factory=time.monotonic)


class WorkerEvent(NamedTuple):
    """Something about a worker: its facts, a reply to its job, the job's end, an error that is none of ours (`failed`),
    or its own end (`died`). The worker of the last two is removed."""

    worker: RemoteWorker
    kind: Literal["facts", "reply", "end", "failed", "died"]
    value: Any = None


class Workers:
    """The actors of one call.

    Args:
        ray: the module, connected.
        size: what each actor takes.
    """

    def __init__(self, ray: Any, size: WorkerSize) -> None:
        self._ray, self._size = ray, size
        self.all: list[RemoteWorker] = []
        # By its code and not by its name, so that it can say of any machine which versions are there.
        ray.cloudpickle.register_pickle_by_value(worker_module)
        methods = ray.remote(concurrency_groups={"control": 1})
        self._actor_class = methods(worker_module.Worker).options(
            num_cpus=size.cpus, num_gpus=size.gpus, max_restarts=0, max_task_retries=0
        )

    def start(self) -> None:
        """Ask for one more."""
        actor = self._actor_class.remote()
        self.all.append(RemoteWorker(actor, actor.facts.remote()))

    def send(self, worker: RemoteWorker, job: Job, part: Part | None = None, prompts: tuple[Prompt, ...] = ()) -> None:
        """Give an idle worker a job."""
        worker.job, worker.part, worker.answered, worker.since = job, part, 0, time.monotonic()
        worker.sent = {prompt.item_id: prompt for prompt in prompts}
        worker.state, worker.pending = "busy", worker.actor.work.options(num_returns="streaming").remote(job)

    def ask_to_stop(self) -> None:
        """Tell those that have a job to end it as soon as they can."""
        for worker in self.all:
            if worker.state == "busy":
                worker.actor.stop.options(concurrency_group="control").remote()

    def remove(self, worker: RemoteWorker) -> None:
        """End a worker, whatever it does."""
        self.all.remove(worker)
        with contextlib.suppress(Exception):  # It may be gone, and so may the cluster.
            self._ray.kill(worker.actor)

    def close(self) -> None:
        """End all of them."""
        for worker in list(self.all):
            self.remove(worker)

    def require_machines(self) -> None:
        """Raise NetworkError where nothing is left on which a worker could start."""
        if not node_sizes(self._ray):
            raise NetworkError(
                "No machine of the Ray cluster is left. What was answered is kept: start the same command again to go "
                "on."
            )

    def events(self, timeout_s: float) -> Iterator[WorkerEvent]:
        """What workers have to say, waiting for it at most so long."""
        waited = {worker.pending: worker for worker in self.all if worker.pending is not None}
        if not waited:
            time.sleep(timeout_s)
            return
        ready, _ = self._ray.wait(list(waited), num_returns=1, timeout=timeout_s, fetch_local=False)
        if ready:  # And all others that are ready as well, so that none waits for the first again and again.
            ready, _ = self._ray.wait(list(waited), num_returns=len(waited), timeout=0, fetch_local=False)
        for reference in ready:
            if (worker := waited[reference]) in self.all:  # What came before may have ended it.
                yield self._next(worker)

    def _next(self, worker: RemoteWorker) -> WorkerEvent:
        errors = self._ray.exceptions
        try:
            if worker.state == "starting":
                facts = self._ray.get(worker.pending)
                worker.state, worker.pending, worker.host = "idle", None, facts["host"]
                return WorkerEvent(worker, "facts", facts)
            reply: Reply = self._ray.get(next(worker.pending))
            return WorkerEvent(worker, "reply", reply)
        except StopIteration:
            worker.state, worker.pending = "idle", None
            return WorkerEvent(worker, "end")
        except errors.RayTaskError as e:
            self.remove(worker)
            error = ModelError(
                "A worker on {host} has failed ({reason}).", host=worker.host, reason=first_line(e.cause or e)
            )
            return WorkerEvent(worker, "failed", error)
        except errors.RayError as e:
            self.remove(worker)
            return WorkerEvent(worker, "died", first_line(e))
