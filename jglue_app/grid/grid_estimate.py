"""What a grid takes, before its first run: runs and items, memory, time from measured rates; money is counted where
models on servers are opened."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from jglue_app.backends import SERVERS, backend_module
from jglue_app.backends.model_facts import lacks_template
from jglue_app.backends.pool import ModelPool
from jglue_app.errors import InputError, ModelError, NetworkError
from jglue_app.grid.grid_plan import GridPlan, weights_of
from jglue_app.grid.rates import measured, model_key, seconds_for
from jglue_app.messages import Joined, Message
from jglue_app.money import money_text
from jglue_app.runs.estimate import CostEstimate, total
from jglue_app.runs.paying import estimate_plans
from jglue_app.runs.plan import Plan
from jglue_app.runs.store import RunStore
from jglue_app.settings import Settings
from jglue_app.tasks import TASKS
from jglue_app.types import ModelSpec


@dataclass(frozen=True, slots=True)
class ModelEstimate:
    """What the runs of one model take."""

    model: ModelSpec
    """Without an adapter."""
    runs: int
    """Runs with items that are left."""
    items_left: int
    memory: int | None
    """Bytes of its weights; None if not known, or if it is on a server."""
    fits: bool | None
    """Whether so much is free now; None if not known."""
    seconds: float | None
    """For the items that are left, without loading; None where nothing like some of them was measured here."""
    measured_on: int
    """Stored runs that the rate is of."""


@dataclass(frozen=True, slots=True)
class GridEstimate:
    """What a grid takes."""

    name: str
    combinations: int
    runs: int
    """Different runs."""
    complete: int
    """Those that have all their answers: nothing of them is run again."""
    begun: int
    """Those that have some."""
    items: int
    """Of the runs that can be made."""
    items_left: int
    models: tuple[ModelEstimate, ...]
    """In the order in which they are loaded, those of which something is left."""
    costs: tuple[CostEstimate, ...] = ()
    """Of each paid model, at most."""
    notices: tuple[Message, ...] = ()
    """What data it is over, and what in it a reader may not have meant, or cannot be run."""
    left: tuple[Plan, ...] = ()
    """The plans of which something is left, in the order in which they run."""

    @property
    def seconds(self) -> float | None:
        """For all that is left, without loading; None where the time of a model is not known."""
        times = [model.seconds for model in self.models]
        return None if None in times else sum(time for time in times if time is not None)

    @property
    def price(self) -> float:
        """Most that all costs together come to."""
        return sum(cost.price for cost in self.costs)

    def plain(self) -> dict[str, Any]:
        """The same for programs; times in seconds, memory in bytes."""
        names = ("name", "combinations", "runs", "complete", "begun", "items", "items_left", "seconds")
        models = [
            {"model": _name(one.model), "runs": one.runs, "items_left": one.items_left, "memory": one.memory}
            | {"fits": one.fits, "seconds": one.seconds, "measured_on": one.measured_on}
            for one in self.models
        ]
        costs = [{"model": one.model, "price": one.price, "currency": one.currency} for one in self.costs]
        return {name: getattr(self, name) for name in names} | {
            "models": models,
            "costs": costs,
            "notices": list(self.notices),
        }

    @property
    def sentences(self) -> list[Message]:
        """The same for people, one sentence on each."""
        said = [
            Message(
                "Grid {name}: combinations {combinations:,}, different runs {runs:,} (complete {complete:,}, begun "
                "{begun:,}), items {items:,} (left {left:,}).",
                name=self.name,
                combinations=self.combinations,
                runs=self.runs,
                items=self.items,
                complete=self.complete,
                begun=self.begun,
                left=self.items_left,
            )
        ]
        said += [*self.notices, *(_of_model(model) for model in self.models)]
        if len(self.models) > 1:
            said.append(Message("Together: {time}, without loading.", time=time_text(self.seconds)))
        said += [Message("{model}: {facts}.", model=cost.model, facts=cost.facts) for cost in self.costs]
        if len(self.costs) > 1:
            price = money_text(self.price, self.costs[0].currency, up=True)
            said.append(Message("All paid models together: up to about {price}.", price=price))
        return said


def _of_model(model: ModelEstimate) -> Message:
    if model.memory is None:
        memory = Message("on a server") if model.model.backend in SERVERS else Message("memory unknown")
    elif model.fits is False:
        memory = Message("about {gib:.1f} GiB of weights, more than is free now", gib=model.memory / 2**30)
    else:
        memory = Message("about {gib:.1f} GiB of weights", gib=model.memory / 2**30)
    return Message(
        "{model}: runs {runs:,}, items {left:,}; {memory}; {time}.",
        model=_name(model.model),
        runs=model.runs,
        left=model.items_left,
        memory=memory,
        time=Message("time unknown: nothing like it was measured on this machine")
        if model.seconds is None
        else Message(
            "about {time}, as measured (stored runs: {runs:,})", time=time_text(model.seconds), runs=model.measured_on
        ),
    )


def _name(model: ModelSpec) -> str:
    more = [part for part in (model.revision, model.quantization, model.dtype) if part not in (None, "none", "auto")]
    return " · ".join((model.id, *map(str, more)))


def time_text(seconds: float | None) -> Message:
    """A time in the unit that suits it."""
    if seconds is None:
        return Message("time unknown")
    if seconds < 90:
        return Message("{n:.0f} s", n=seconds)
    if seconds < 90 * 60:
        return Message("{n:.0f} min", n=seconds / 60)
    return Message("{n:.1f} h", n=seconds / 3600)


def estimate_grid(planned: GridPlan, settings: Settings, pool: ModelPool, device: str = "auto") -> GridEstimate:
    """What a grid takes. Models on servers are opened, to count what they cost; no other is.

    Raises:
        InputError: paid models have their prices in several currencies.
    """
    stores = [RunStore.of(settings.runs_dir, plan.spec) for plan in planned.plans]
    left = [_left(plan, store) for plan, store in zip(planned.plans, stores, strict=True)]
    counts = [sum(of.values()) for of in left]
    open_ = [i for i, count in enumerate(counts) if count]
    rates = measured([planned.plans[i].spec.model for i in open_], settings.runs_dir, device) if open_ else {}
    by_weights: dict[ModelSpec, list[int]] = {}
    for i in open_:
        by_weights.setdefault(weights_of(planned.plans[i]), []).append(i)
    models = []
    for weights, places in by_weights.items():
        times = [
            seconds_for(planned.plans[i], left[i], rates.get(model_key(planned.plans[i].spec.model))) for i in places
        ]
        memory, fits = _memory(weights, settings, device)
        known = [time for time in times if time is not None]
        runs = {model_key(planned.plans[i].spec.model) for i in places}
        models.append(
            ModelEstimate(
                model=weights,
                runs=len(places),
                items_left=sum(counts[i] for i in places),
                memory=memory,
                fits=fits,
                seconds=sum(known) if len(known) == len(times) else None,
                measured_on=sum(rates[key].runs for key in runs if key in rates),
            )
        )
    return GridEstimate(
        name=planned.grid.name,
        combinations=planned.combinations,
        runs=len(planned.runs),
        complete=sum(count == 0 for count in counts),
        begun=sum(0 < count < plan.total for count, plan in zip(counts, planned.plans, strict=True)),
        items=sum(plan.total for plan in planned.plans),
        items_left=sum(counts),
        models=tuple(models),
        notices=tuple(notices_of(planned, settings)),
        left=tuple(planned.plans[i] for i in open_),
        costs=tuple(_costs([planned.plans[i] for i in open_], [stores[i] for i in open_], pool)),
    )


def notices_of(planned: GridPlan, settings: Settings) -> Iterator[Message]:
    """What data a grid is over, and what in it a reader may not have meant, or cannot be run."""
    specs = [run.plan.spec for run in planned.runs]
    yield Message(
        "Data {data}; subsets {subsets}.",
        data=Joined(", ", dict.fromkeys(spec.data_version for spec in specs)),
        subsets=Joined(", ", dict.fromkeys(TASKS[name].title for spec in specs for name in spec.tasks)),
    )
    failures: dict[str, list[str]] = {}
    for run in planned.runs:
        if run.failure is not None:
            failures.setdefault(run.plan.spec.model.id, []).append(run.failure.message)
    for model_id, sentences in failures.items():
        yield Message(
            "{model}: its runs are left out for now ({count:,}). {message}",
            model=model_id,
            count=len(sentences),
            message=sentences[0],
        )
    if not planned.grid.factors:
        yield Message("The file has no [factors], so this is a single run.")
    chats = Counter(replace(spec.model, files_sha256=None) for spec in specs if spec.prompt.format == "chat")
    for model, count in chats.items():
        if lacks_template(model, settings):
            yield Message(
                "{model} has no chat template, so its runs in the format chat ({count:,}) cannot be made. Leave them "
                "out with [[exclude]].",
                model=model.id,
                count=count,
            )


def _left(plan: Plan, store: RunStore) -> dict[str, int]:
    """Subset → items without an output."""
    done = store.finished_of(plan.items) if store.has_records() else set()
    return {task: sum((task, item.id) not in done for item in items) for task, items in plan.items.items()}


def _memory(model: ModelSpec, settings: Settings, device: str) -> tuple[int | None, bool | None]:
    """Bytes of a model's weights, and whether they are free."""
    if model.backend in SERVERS:
        return None, None
    module = backend_module(model)
    needed = module.memory_needed(model, settings, device)
    return needed, None if needed is None else needed <= module.memory_free(device)


def _costs(plans: Sequence[Plan], stores: Sequence[RunStore], pool: ModelPool) -> list[CostEstimate]:
    """What is left costs, one estimate for each paid model; raises InputError for several currencies."""
    by_model: dict[str, list[CostEstimate]] = {}
    unavailable: set[ModelSpec] = set()
    for plan, store in zip(plans, stores, strict=True):
        if plan.spec.model in unavailable:
            continue
        try:
            (estimate,) = estimate_plans([plan], pool, [store])
        except (ModelError, NetworkError):  # Said where the run is made, which keeps no other from being made.
            unavailable.add(plan.spec.model)
            continue
        if estimate is not None:
            by_model.setdefault(estimate.model, []).append(estimate)
    found = [total(estimates) for estimates in by_model.values()]
    currencies = list(dict.fromkeys(cost.currency.upper() for cost in found))
    if len(currencies) > 1:
        raise InputError(
            "The paid models of this grid have prices in {currencies}, which one budget cannot add. Make a grid for "
            "each currency.",
            currencies=Joined(", ", currencies),
        )
    return found
