"""`grid`: the runs of many combinations of settings, and what each of these settings moves."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from jglue_app.backends.pool import ModelPool
from jglue_app.cli.counts import counted
from jglue_app.cli.effect_tables import effect_parts
from jglue_app.cli.options import DeviceOption, JsonOption, MemoryOption, RunsOption, settings_of
from jglue_app.cli.paying import YesOption, approved_grid, budget_option
from jglue_app.cli.ray_options import RayCpusOption, RayOption, RayWorkersOption, ray_options
from jglue_app.cli.runs import stop_on_signal, tell_failure
from jglue_app.cli.tables import print_json, print_lines, print_parts
from jglue_app.cluster import NOTHING_LEFT, RayOptions, over_workers
from jglue_app.errors import EXIT_INCOMPLETE, EXIT_INTERRUPTED, InputError
from jglue_app.grid import members
from jglue_app.grid.grid_estimate import GridEstimate, estimate_grid
from jglue_app.grid.grid_file import read_grid
from jglue_app.grid.grid_plan import GridPlan, plan_grid
from jglue_app.grid.grid_run import Failures, one_after_other, run_grid, unfinished
from jglue_app.messages import Message
from jglue_app.results.grid_effects import effect_table
from jglue_app.results.library import Library
from jglue_app.runs.progress import ProgressView
from jglue_app.scoring.protocols import get_protocol
from jglue_app.settings import Settings


def grid(
    file: Annotated[
        str | None,
        typer.Argument(
            metavar="[FILE.toml|NAME]",
            help="The grid: a TOML file, such as assets/grids/wordings.toml; or the name of one that was begun, whose "
            "table is shown; without it, those that were begun.",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what it takes (runs, items, memory, time, cost), and run nothing.")
    ] = False,
    budget: Annotated[
        float | None,
        budget_option("Most that all paid requests may cost; without it, the file's, or it is asked about"),
    ] = None,
    yes: YesOption = False,
    protocol: Annotated[
        str | None, typer.Option(help="Scoring protocol of the table; without it, that of the grid.")
    ] = None,
    device: DeviceOption = "auto",
    memory: MemoryOption = None,
    runs_dir: RunsOption = None,
    ray: RayOption = None,
    ray_workers: RayWorkersOption = None,
    ray_cpus: RayCpusOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run every combination of several settings (a TOML file), and say what each of them moves: means, shares of
    variance, and how far each model's score depends on how it is asked. The same command again goes on where it
    stopped; what is complete is not run again."""
    settings = settings_of(runs_dir, memory)
    over = ray_options(ray, ray_workers, ray_cpus, device)
    if protocol is not None:
        get_protocol(protocol)
    if file is None:
        _list(settings, as_json=as_json)
        return
    if not file.endswith(".toml"):
        if dry_run:
            raise InputError("--dry-run takes the file of a grid (.toml), and {name} is not one.", name=file[:100])
        show_effects(file, settings, protocol, as_json=as_json)
        return
    raise typer.Exit(
        _run(Path(file), settings, device, protocol, budget, over, dry_run=dry_run, yes=yes, as_json=as_json)
    )


def _list(settings: Settings, *, as_json: bool) -> None:
    """The grids that were begun."""
    found = members.names(settings)
    if as_json:
        print_json([members.summary(members.read(settings, name)) for name in found.names])
    else:
        for name in found.names:
            one = members.read(settings, name)
            factors = " × ".join(f"{len(factor.levels)} {factor.name}" for factor in one.factors)
            print_lines(
                [f"{name}: {counted(len(one.runs), 'run')} ({factors or 'one'}), {one.created[:16].replace('T', ' ')}"]
            )
        if not found.names and not found.damaged:
            print_lines(["There is no grid yet. `python -m jglue_app grid FILE.toml` begins one."])
    for name, why in found.damaged.items():
        print(f"damaged: {name}: {why}", file=sys.stderr)


def _run(
    file: Path,
    settings: Settings,
    device: str,
    protocol: str | None,
    budget: float | None,
    over: RayOptions | None,
    *,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> int:
    """Make the runs of a grid and show its table; returns the exit code."""
    view = ProgressView()
    with view, stop_on_signal() as stop, ModelPool(settings, device=device) as pool:
        described = read_grid(file)
        given = described.budget_with(budget)
        planned = plan_grid(described, settings, progress=view.download, should_stop=stop.is_set)
        failures: Failures = dict(planned.failures)
        estimate = estimate_grid(planned, settings, pool, device)
        sentences = estimate.sentences
        if over is not None:
            sentences = [*sentences, _of_one_worker() if estimate.left else NOTHING_LEFT]
        if dry_run:
            view.still()
            print_json(estimate.plain()) if as_json else print_lines(sentences)
            return 0
        for sentence in sentences:
            view.say(sentence)
        allowed = approved_grid(estimate, view, budget=given, yes=yes)
        if over is None:
            execute = one_after_other(settings, pool, stop.is_set, budget=allowed, failures=failures)
        else:
            execute = over_workers(settings, pool, over, stop.is_set, failures=failures)
        finished, out_of_budget = 0, False
        for event in run_grid(planned, settings, execute, estimate.left, failures):
            view.show(event)
            tell_failure(event, view)
            if event.kind == "done":
                finished += 1
                view.say(Message("{run}: complete.", run=event.run))
            out_of_budget = out_of_budget or event.kind == "stopped"
        pool.clear()
        view.still()
        code = (
            EXIT_INTERRUPTED
            if stop.is_set()
            else _tell_missing(planned, estimate, settings, view, silent=out_of_budget)
        )
    if failures and not finished and code != EXIT_INTERRUPTED and not estimate.complete:
        raise next(iter(failures.values()))
    show_effects(planned.grid.name, settings, protocol, as_json=as_json)
    return code


def _tell_missing(
    planned: GridPlan, estimate: GridEstimate, settings: Settings, view: ProgressView, *, silent: bool
) -> int:
    """Say how many runs are not complete; the exit code says whether there are any."""
    missing = len(unfinished(estimate.left, settings)) + len(planned.failures)
    if missing and not silent:
        view.say(
            Message(
                "{missing:,} of {all:,} runs are not complete. Start the same command again to go on with them.",
                missing=missing,
                all=estimate.runs,
            )
        )
    return EXIT_INCOMPLETE if missing else 0


def _of_one_worker() -> Message:
    return Message("With --ray, time and memory are those of one worker, on a machine like this one.")


def show_effects(name: str, settings: Settings, protocol: str | None, *, as_json: bool) -> None:
    """The table of a stored grid; raises as `members.read` does."""
    stored = members.read(settings, name)
    table = effect_table(stored, Library(settings.runs_dir, settings.cache_dir), protocol or stored.protocol)
    if as_json:
        print_json(table)
    else:
        print_parts(effect_parts(table))
