"""A grid that the Launch form brings: its runs, and its tables in the W&B run that Launch has made."""

from __future__ import annotations

import tempfile
import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from jglue_app import messages, wandb_sink
from jglue_app.backends.pool import ModelPool
from jglue_app.data.files import Progress
from jglue_app.errors import EXIT_INCOMPLETE, EXIT_INTERRUPTED, InputError
from jglue_app.grid.grid_file import GridFile, read_grid
from jglue_app.grid.grid_plan import GridPlan, plan_grid
from jglue_app.grid.grid_run import Failures, is_complete, one_after_other, run_grid
from jglue_app.launch.form import Form, defaults
from jglue_app.launch.shutdown import ShutdownHandler
from jglue_app.messages import Joined, Message
from jglue_app.runs.progress import ProgressView
from jglue_app.settings import Settings
from jglue_app.wandb_sink.payload import GRID

if TYPE_CHECKING:  # W&B's client is imported only when an evaluation starts.
    from jglue_app.wandb_sink.client.launched_run import LaunchedRun


def read(text: str, model: str) -> GridFile:
    """The grid of the form.

    Args:
        text: the path of a TOML file, or its content.
        model: the form's model, empty for none: that of all runs where the grid names none.

    Raises:
        InputError: it is no grid; there is no model, or one that the grid does not have.
    """
    if "\n" in text or "=" in text:
        with tempfile.TemporaryDirectory(prefix="jglue-grid-") as folder:
            path = Path(folder) / "grid.toml"
            path.write_text(text, "utf-8")
            grid = read_grid(path)
    else:
        grid = read_grid(Path(text).expanduser())
    factor = next((factor for factor in grid.factors if factor.name == "model"), None)
    named = [str(grid.common["model"])] if "model" in grid.common else list(factor.levels) if factor else []
    if not named and not model:
        raise InputError("The grid names no model, and model_name is empty. Fill in one of them.")
    if named and model and model not in named:
        raise InputError(
            "The grid names its models itself: {models}. Leave model_name empty, or give one of them.",
            models=Joined(", ", named[:20]),
        )
    return grid if named else replace(grid, common={**grid.common, "model": model})


def plan(form: Form, settings: Settings, progress: Progress | None = None) -> GridPlan:
    """The runs of the form's grid; raises as `read` and `plan_grid`."""
    model = str(form.values["model_name"])
    return plan_grid(read(form.grid, model), settings, progress=progress)


def protocol_of(form: Form, planned: GridPlan) -> str:
    """Whose scores stand first: the form's protocol, or the grid's own where that field is as it was.

    W&B's form has no empty fields, so that the default is what says nothing.
    """
    return planned.grid.protocol if form.protocol == defaults()["protocol"] else form.protocol


def evaluate(
    run: LaunchedRun,
    form: Form,
    planned: GridPlan,
    settings: Settings,
    shutdown: ShutdownHandler,
    view: ProgressView,
    stop: threading.Event,
) -> int:
    """Make the runs of a grid, send each to W&B, and put the grid's tables into the launched run.

    Returns:
        The exit code, as `__main__.evaluate`.
    """
    name = planned.grid.name
    failures: Failures = dict(planned.failures)
    for error in {str(error): error for error in failures.values()}.values():
        view.say(error.message)
    with ModelPool(settings, device=form.device) as pool:
        execute = one_after_other(settings, pool, stop.is_set, budget=planned.grid.budget, failures=failures)
        for event in run_grid(planned, settings, execute):
            view.show(event)
            if event.kind == "done":
                view.say(Message("{run}: complete.", run=event.run))
                run.log({"progress/runs": sum(is_complete(one, settings) for one in planned.plans)})
        pool.clear()
    missing = sum(not is_complete(one, settings) for one in planned.plans) + len(planned.failures)
    if missing and stop.is_set():
        shutdown.stop(
            Message(
                "Stopped with {done:,} of {planned:,} runs complete. They are kept in JGLUE_RUNS_DIR: if that is on a "
                "volume, launch the same again to go on.",
                done=len(planned.runs) - missing,
                planned=len(planned.runs),
            )
        )
        return EXIT_INTERRUPTED
    if failures and missing == len(planned.runs):
        raise next(iter(failures.values()))
    entity, project, _ = run.path.split("/")
    login = wandb_sink.log_in(wandb_sink.target(project, entity))
    protocol = protocol_of(form, planned)
    chosen = wandb_sink.stored_grid(settings, name, protocol)
    pushed = wandb_sink.push_runs(
        list(chosen.runs),
        login,
        protocol=protocol,
        grid=chosen,
        runs_dir=settings.runs_dir,
        on_message=view.say,
        should_stop=stop.is_set,
        tables=False,
    )
    for folder, error in pushed.failed.items():
        view.say(Message("Not sent: {run}. {message}", run=folder, message=messages.of(error)))
    run.fill(chosen.payload, settings.runs_dir, view.say)
    if missing:
        message = Message(
            "{missing:,} runs are not complete. Launch the same again to go on with them.", missing=missing
        )
        shutdown.fail(EXIT_INCOMPLETE, message, state="complete")
    else:
        shutdown.finish()
    run.confirm(chosen.payload)
    run.file_as(GRID, name)
    return EXIT_INCOMPLETE if missing or pushed.failed else 0
