"""A grid → its runs: every combination that is not left out, identical runs once, in the order in which they run."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from jglue_app.data.files import Progress
from jglue_app.errors import InputError, JglueAppError, StoreError, UnknownNameError
from jglue_app.grid import members
from jglue_app.grid.factors import PROTOCOL
from jglue_app.grid.grid_file import GridFile
from jglue_app.messages import Joined
from jglue_app.runs import presets
from jglue_app.runs.plan import Plan, SharedFiles
from jglue_app.runs.request import RunRequest, Side
from jglue_app.runs.request_options import options
from jglue_app.runs.store import RunStore
from jglue_app.settings import Settings
from jglue_app.types import ModelSpec, RunSpec

Levels = Mapping[str, str | None]
"""Factor → level; None where the run is the same at several levels, or the factor does not concern it."""


@dataclass(frozen=True, slots=True)
class GridRun:
    """One run of a grid."""

    levels: Levels
    plan: Plan
    failure: JglueAppError | None = None
    """Why it cannot be made now: it cannot be told which model would answer, such as where its server is silent. The
    plan has then the checksum of what was stored of the run in this grid, or none."""


@dataclass(frozen=True, slots=True)
class GridPlan:
    """The runs of a grid, ready to start."""

    grid: GridFile
    runs: tuple[GridRun, ...]
    """In the order in which they run: those of the same weights after one another."""
    combinations: int
    """Combinations that are not left out; some may be one run."""

    @property
    def plans(self) -> list[Plan]:
        """The plans of all runs that can be made."""
        return [run.plan for run in self.runs if run.failure is None]

    @property
    def failures(self) -> dict[str, JglueAppError]:
        """Run → why it cannot be made."""
        return {run.plan.spec.spec_id: run.failure for run in self.runs if run.failure is not None}

    @property
    def models(self) -> list[ModelSpec]:
        """The models, in the order in which they are loaded."""
        return list(dict.fromkeys(run.plan.spec.model for run in self.runs))


def combinations(grid: GridFile) -> list[dict[str, int]]:
    """Factor → number of its level, of every combination that is not left out.

    Raises:
        InputError: none is left, or more than `max_runs`.
    """
    names = [factor.name for factor in grid.factors]
    found: list[dict[str, int]] = []
    for places in itertools.product(*(range(len(factor.levels)) for factor in grid.factors)):
        levels = {factor.name: factor.levels[place] for factor, place in zip(grid.factors, places, strict=True)}
        if grid.is_excluded(levels):
            continue
        if len(found) >= grid.max_runs:
            raise InputError(
                "The grid {name} has more than {most:,} runs, also without what is excluded. Name fewer levels, or "
                "raise max_runs.",
                name=grid.name,
                most=grid.max_runs,
            )
        found.append(dict(zip(names, places, strict=True)))
    if not found:
        raise InputError(
            "The exclusions of the grid {name} leave none of its {count:,} combinations. Take some of them out.",
            name=grid.name,
            count=grid.combinations,
        )
    return found


def plan_grid(
    grid: GridFile,
    settings: Settings,
    *,
    progress: Progress | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> GridPlan:
    """Check every run of a grid and gather what it needs but the model; nothing is loaded.

    Raises:
        InputError: none or too many are left, or a combination cannot be run; the sentence names it.
        JglueAppError: another of its kinds, as `plan.make_plan`; but a model that cannot be looked at now, such as one
            whose server is silent, keeps no other's runs from being planned (`GridRun.failure`).
    """
    unavailable: dict[ModelSpec, JglueAppError] = {}
    shared = SharedFiles(unavailable=unavailable)
    by_run: dict[str, list[Levels]] = {}
    plans: dict[str, Plan] = {}
    places = combinations(grid)
    for chosen in places:
        if should_stop():
            raise KeyboardInterrupt
        values = {factor.name: factor.values[chosen[factor.name]] for factor in grid.factors}
        levels: dict[str, str | None] = {f.name: f.levels[chosen[f.name]] for f in grid.factors}
        try:
            request, idle = without_idle_options(request_of(grid, values))
            ((_, plan),) = request.plans(settings, progress=progress, shared=shared)
        except InputError as e:
            raise _of_combination(grid, levels, e) from e
        run = plan.spec.spec_id
        plans.setdefault(run, plan)
        by_run.setdefault(run, []).append({name: None if name in idle else level for name, level in levels.items()})
    runs = [
        GridRun(_common(alike), plans[run], unavailable.get(plans[run].spec.model)) for run, alike in by_run.items()
    ]
    if unavailable:
        runs = _as_stored(grid, runs, settings)
    return GridPlan(grid, tuple(_by_weights(runs)), len(places))


def _as_stored(grid: GridFile, runs: Sequence[GridRun], settings: Settings) -> list[GridRun]:
    """The same where a run that cannot be made now is the one that the grid has stored, if it has: one with all its
    answers needs its model no more."""
    stored: dict[str, RunSpec] = {}
    with contextlib.suppress(UnknownNameError, StoreError):
        for member in members.members(settings, grid.name):
            with contextlib.suppress(StoreError):
                spec = RunStore(settings.runs_dir / member.run).spec()
                stored[_without_checksum(spec).spec_id] = spec
    found = []
    for run in runs:
        before = stored.get(run.plan.spec.spec_id) if run.failure is not None else None
        if before is None:
            found.append(run)
            continue
        model = replace(run.plan.spec.model, files_sha256=before.model.files_sha256)
        plan = replace(run.plan, spec=replace(run.plan.spec, model=model))
        store = RunStore.of(settings.runs_dir, plan.spec)
        is_complete = store.has_records() and len(store.finished_of(plan.items)) == plan.total
        found.append(replace(run, plan=plan, failure=None if is_complete else run.failure))
    return found


def _without_checksum(spec: RunSpec) -> RunSpec:
    return replace(spec, model=replace(spec.model, files_sha256=None))


def _of_combination(grid: GridFile, levels: Levels, error: InputError) -> InputError:
    """An error of one run of a grid, with its levels."""
    if not levels:
        return error
    return InputError(
        "The grid {name}, {levels}: {sentence} Leave this combination out with [[exclude]].",
        name=grid.name,
        levels=Joined(", ", (f"{name} {level}" for name, level in levels.items())),
        sentence=error.message,
    )


def request_of(grid: GridFile, values: Mapping[str, object]) -> RunRequest:
    """The request of one combination; options that are not named are as the protocol's own system has them.

    Args:
        grid: with the options that all runs share.
        values: factor → value.
    """
    given = {**grid.common, **values}
    protocol = str(given.pop(PROTOCOL, grid.protocol))
    common = {name: given.get(name) for name in options(RunRequest)}
    side = {name: given.get(name) for name in options(Side)}
    if side["model"] is None:
        side["model"] = Side.__dataclass_fields__["model"].default
    return presets.request(protocol, common, side)


def without_idle_options(request: RunRequest) -> tuple[RunRequest, frozenset[str]]:
    """The same run without options that change nothing in it, and their names: without examples, how they are chosen
    changes nothing, nor does the setting for thinking, which only a chat template is told, in another format. They
    would only give the same run another name."""
    idle: tuple[str, ...] = ()
    if not any(request.a.prompt.for_task(name).shots for name in request.tasks):
        idle += ("shot_seed", "shot_selection")
    if request.a.prompt.format != "chat":
        idle += ("thinking",)
    usual = {name: options(Side)[name].default for name in idle}
    return replace(request, a=replace(request.a, **usual)), frozenset(idle)


def _common(alike: Sequence[Levels]) -> Levels:
    """The levels that all combinations of one run share; None where they differ."""
    return {
        name: level if all(other[name] == level for other in alike[1:]) else None for name, level in alike[0].items()
    }


def _by_weights(runs: Sequence[GridRun]) -> Iterator[GridRun]:
    """The runs in an order in which every model is loaded once: those of the same weights after one another, and of
    these those of one adapter."""
    order: dict[ModelSpec, int] = {}
    adapters: dict[ModelSpec, int] = {}
    for run in runs:
        order.setdefault(weights_of(run.plan), len(order))
        adapters.setdefault(run.plan.spec.model, len(adapters))
    yield from sorted(runs, key=lambda run: (order[weights_of(run.plan)], adapters[run.plan.spec.model]))


def weights_of(plan: Plan) -> ModelSpec:
    """The weights that a plan needs: its model without an adapter."""
    return replace(plan.spec.model, adapter=None, files_sha256=None)
