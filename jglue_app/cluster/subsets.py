"""The subsets of runs whose items workers answer, and the folders that they are stored in."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from jglue_app.cluster.batches import Part
from jglue_app.cluster.jobs import SubsetPrompts
from jglue_app.errors import StoreError
from jglue_app.runs.ends import OpenSubset
from jglue_app.runs.events import Event
from jglue_app.runs.sessions import Session
from jglue_app.runs.subset_run import SubsetRun
from jglue_app.runs.writer import RunWriter
from jglue_app.types import ModelInfo, ModelSpec, Record


class RemoteModel(NamedTuple):
    """A model on another machine, for the manifest."""

    info: ModelInfo


@dataclass(slots=True, eq=False)
class Subset:
    """A subset of one run: its items as they are handed out, and the folder that their records go to."""

    open: OpenSubset
    """With the plan that it is of."""
    part: Part
    """Its items, as far as they are handed out."""
    run_id: str
    run: SubsetRun | None = None
    """Once it has been begun."""
    _engines: set[tuple[object, ...]] = field(default_factory=set)
    """Ways in which prompts have gone through the model, as far as the manifest has them."""

    def set_prompts(self, reply: SubsetPrompts, info: ModelInfo, machine: Mapping[str, Any]) -> Iterator[Event]:
        """Its prompts are there: the manifest is written, and what has to be known of them is said."""
        assert self.run is not None
        self.part.set_prompts(reply.prompts, reply.limits)
        self.run.describe(RemoteModel(info), reply.prompts[0], machine)
        self._engines.add(_engine(info))
        yield from self.run.notes(reply.prompts[0])
        self.run.start()

    def store(self, records: Sequence[Record], info: ModelInfo, machine: Mapping[str, Any]) -> None:
        """Append records that a worker has sent; `sync` makes them durable."""
        assert self.run is not None
        self.run.writer.append(records)
        if _engine(info) not in self._engines:
            self._engines.add(_engine(info))
            self.run.describe(RemoteModel(info), machine=machine)
        self.part.fruitless = 0

    def count(self, records: Sequence[Record]) -> Iterator[Event]:
        """The events of records that are stored."""
        assert self.run is not None
        yield from map(self.run.count, records)

    def sync(self) -> None:
        """Make everything that was appended durable."""
        assert self.run is not None
        self.run.writer.sync()


class Subsets:
    """Those of which something is left, in the order in which they are to be answered.

    Args:
        subsets: with the plans that they are of.
        sessions: by the `id` of a plan.
    """

    def __init__(self, subsets: Sequence[OpenSubset], sessions: Mapping[int, Session]) -> None:
        self._sessions = sessions
        parts = [Part(subset.plan.spec.model, len(subset.plan.items[subset.name])) for subset in subsets]
        run_ids = {id(subset.plan): subset.plan.spec.spec_id for subset in subsets}
        self._left = {
            id(part): Subset(subset, part, run_ids[id(subset.plan)])
            for subset, part in zip(subsets, parts, strict=True)
        }
        self._writers: dict[str, tuple[RunWriter, contextlib.ExitStack]] = {}
        """Run id → the writer that holds its folder."""

    @property
    def parts(self) -> list[Part]:
        """What is left of each; where plans are of one run, of the first: what it answers, the others need not."""
        parts: dict[tuple[str, str], Part] = {}
        for subset in self._left.values():
            parts.setdefault((subset.run_id, subset.open.name), subset.part)
        return list(parts.values())

    @property
    def first(self) -> OpenSubset:
        """The first one, for what has to be said of all; something must be left."""
        return next(iter(self._left.values())).open

    def of(self, part: Part) -> Subset:
        """The subset of a part of which something is left."""
        return self._left[id(part)]

    def find(self, part: Part | None) -> Subset | None:
        """The subset of a part; None if nothing is left of it, or it is left out."""
        return self._left.get(id(part))

    def for_notice(self, part: Part) -> OpenSubset:
        """What a notice about a part names: its subset, or the first one where nothing is left of that; something must
        be left."""
        subset = self._left.get(id(part))
        return subset.open if subset is not None else self.first

    def begin(self, subset: Subset) -> bool:
        """Hold the run's folder and see what is left; whether there is anything.

        Raises:
            RunBusyError: another process writes to it.
        """
        side, plan, name = subset.open
        session = self._sessions[id(plan)]
        if subset.run_id not in self._writers:
            stack = contextlib.ExitStack()
            self._writers[subset.run_id] = stack.enter_context(session.store.writing()), stack
        subset.run = SubsetRun.begin(side, plan, name, session, self._writers[subset.run_id][0])
        if subset.run.remaining:
            return True
        self.finish(subset)
        return False

    def finish(self, subset: Subset) -> None:
        """Nothing is left of a subset; with the last one of a run its folder is given free."""
        del self._left[id(subset.part)]
        if all(other.run_id != subset.run_id for other in self._left.values()):
            self._writers.pop(subset.run_id)[1].close()

    def leave_out(self, subset: Subset, *, of_model: bool) -> set[str]:
        """Take away all that is left of a run, and of the others with its model in its format if the model is at fault;
        the ids of these runs."""
        needs = _needs(subset)
        left_out = {
            other.run_id
            for other in self._left.values()
            if other.run_id == subset.run_id or (of_model and _needs(other) == needs)
        }
        self._left = {key: other for key, other in self._left.items() if other.run_id not in left_out}
        for run_id in left_out & self._writers.keys():
            # What has kept the run from being made may keep its last records from being written, too.
            with contextlib.suppress(StoreError):
                self._writers.pop(run_id)[1].close()
        return left_out

    def close(self) -> None:
        """Give all folders free; what was appended is made durable."""
        with contextlib.ExitStack() as stack:
            for _, opened in self._writers.values():
                stack.push(opened)


def _needs(subset: Subset) -> tuple[ModelSpec, str]:
    """What a worker loads for it."""
    spec = subset.open.plan.spec
    return spec.model, spec.prompt.format


def _engine(info: ModelInfo) -> tuple[object, ...]:
    return info.engine, info.engine_reason, info.answered_by
