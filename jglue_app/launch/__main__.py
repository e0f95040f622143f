"""What W&B Launch starts: `python -m jglue_app.launch` evaluates the model that the Launch form names.

    python -m jglue_app.launch --schema      # the form as JSON schema

The W&B run is the one that Launch has made. Its config is the filled-in form (`form.py`); progress is logged to it,
and at the end it is filled as a push fills it. Answers are stored in `JGLUE_RUNS_DIR`: on a volume that outlives the
container, a second launch of the same form continues where the first was stopped.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import traceback
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from jglue_app import messages
from jglue_app.backends.pool import ModelPool
from jglue_app.errors import EXIT_INCOMPLETE, EXIT_INTERRUPTED, InputError, JglueAppError, first_line
from jglue_app.launch import form, grid
from jglue_app.launch.shutdown import ShutdownHandler, stop_on_signal
from jglue_app.messages import Message
from jglue_app.runs.plan import Plan
from jglue_app.runs.progress import ProgressView
from jglue_app.runs.runner import run_plans
from jglue_app.runs.store import RunStore
from jglue_app.settings import Settings, load_settings
from jglue_app.wandb_sink.live_run import ProgressLog
from jglue_app.wandb_sink.run_payload import run_payload

if TYPE_CHECKING:  # W&B's client is imported only when an evaluation starts.
    from jglue_app.wandb_sink.client.launched_run import LaunchedRun

FORM_KEY = "launch"
"""Config key of the form as it was read, for a resumed run: other keys then hold the values that were used."""


def main() -> None:
    """Print the form, or evaluate the model that it names; exit codes are those of the command line."""
    if sys.argv[1:] == ["--schema"]:
        print(json.dumps(form.schema(), indent=2))
        return
    code = 1
    try:
        if sys.argv[1:]:
            raise InputError("The job takes no arguments but --schema: settings are overrides of its run_config.")
        with ProgressView() as view:
            code = evaluate(view)
    except JglueAppError as e:
        print(f"error: {e}", file=sys.stderr)
        code = e.exit_code
    except Exception:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    # W&B's client has an exit hook that would wait for a server that is not there.
    os._exit(code)


def evaluate(view: ProgressView) -> int:
    """Evaluate the model that the W&B run's config names and send the result to that run.

    Returns:
        The exit code. The W&B run has failed with it unless it is 0, and says why in its summary under `push/error`.

    Raises:
        InputError: W&B does not accept the key, entity or project.
        NetworkError: W&B was not reached, or not all has arrived there.
    """
    from jglue_app.wandb_sink.client.launched_run import LaunchedRun

    run = LaunchedRun(form.defaults())
    shutdown = ShutdownHandler(run, view)
    with stop_on_signal(shutdown) as stop:
        try:
            return _evaluate(run, shutdown, view, stop)
        except JglueAppError as e:
            shutdown.fail(e.exit_code, messages.of(e))
            return e.exit_code
        except KeyboardInterrupt:
            shutdown.stop(Message("Interrupted twice. Launch the same again to go on."))
            return EXIT_INTERRUPTED
        except Exception as e:
            traceback.print_exc()
            shutdown.fail(1, f"{type(e).__name__}: {first_line(e)}")
            return 1


def _evaluate(run: LaunchedRun, shutdown: ShutdownHandler, view: ProgressView, stop: threading.Event) -> int:
    config = run.config
    answers = form.read((config.get(FORM_KEY) if run.resumed else None) or config)
    settings = load_settings()
    if answers.memory:
        settings = replace(settings, memory_bytes=int(answers.memory * 2**30))
    if answers.grid:
        planned = grid.plan(answers, settings, view.download)
        run.describe(f"grid {planned.grid.name}", ["jglue", "grid"], {FORM_KEY: dict(answers.values)})
        view.say(Message("Progress is at {url}", url=run.url))
        return grid.evaluate(run, answers, planned, settings, shutdown, view, stop)
    plan = form.plan(answers, settings, view.download)
    run.describe(plan.spec.label, ["jglue"], _config(plan, answers.values))
    view.say(Message("Progress is at {url}", url=run.url))

    _run_plan(run, plan, settings, answers.device, answers.protocol, view, stop)
    store = RunStore.of(settings.runs_dir, plan.spec)
    missing = plan.total - len(store.finished_of(plan.items))
    if missing and stop.is_set():
        shutdown.stop(
            Message(
                "Stopped with {done:,} of {planned:,} items done. They are kept in JGLUE_RUNS_DIR: if that is on a "
                "volume, launch the same again to go on.",
                done=plan.total - missing,
                planned=plan.total,
            )
        )
        return EXIT_INTERRUPTED

    payload = run_payload(store.data(), store.manifest(), answers.protocol)
    run.fill(payload, store.path, view.say)
    if missing:
        message = Message("{missing:,} items have no output. Launch the same again to try them again.", missing=missing)
        shutdown.fail(EXIT_INCOMPLETE, message, state="complete")
    else:
        shutdown.finish()
    run.confirm(payload)
    run.correct_config(payload.config)
    return EXIT_INCOMPLETE if missing else 0


def _config(plan: Plan, answers: Mapping[str, Any]) -> dict[str, Any]:
    model = plan.spec.model
    return {"model": model.id, "files_sha256": model.files_sha256, "planned": plan.total, FORM_KEY: dict(answers)}


def _run_plan(
    run: LaunchedRun,
    plan: Plan,
    settings: Settings,
    device: str,
    protocol: str,
    view: ProgressView,
    stop: threading.Event,
) -> None:
    """Run what is not stored yet, show it, and log its progress."""
    log = ProgressLog(plan, settings.runs_dir, protocol)
    with ModelPool(settings, device=device) as pool:
        for event in run_plans([("a", plan)], pool, settings.runs_dir, stop.is_set):
            view.show(event)
            if event.record and event.record.error:
                view.say(
                    Message(
                        "{task} {item_id}: {message}",
                        task=event.task,
                        item_id=event.record.item_id,
                        message=event.record.error.message,
                    )
                )
            if values := log.values_after(event):
                run.log(values)


if __name__ == "__main__":
    main()
