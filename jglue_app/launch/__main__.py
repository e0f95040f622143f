"""What W&B Launch starts: `python -m jglue_app.launch` evaluates the model that the Launch form names.

    python -m jglue_app.launch --schema      # the form as JSON schema

The run is the one that Launch has made. Its config is what came of the form (`form.py`); progress is logged as it goes,
and at the end it is filled as a push fills it. What is finished lies in `JGLUE_RUNS_DIR`: on a volume that outlives the
container, the same form goes on where an earlier start of it was stopped.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from jglue_app.backends.pool import ModelPool
from jglue_app.errors import InputError, JglueAppError, first_line
from jglue_app.launch import form
from jglue_app.messages import Message
from jglue_app.runs.plan import Plan
from jglue_app.runs.progress import ProgressView
from jglue_app.runs.runner import run_plans
from jglue_app.runs.store import RunStore
from jglue_app.settings import load_settings
from jglue_app.wandb_sink.live_run import Pace
from jglue_app.wandb_sink.login import DEFAULT_PROJECT, base_url
from jglue_app.wandb_sink.payload import EVALUATION, run_payload

if TYPE_CHECKING:
    import wandb

INCOMPLETE, INTERRUPTED = 6, 130
"""Exit codes of the command line."""
GRACE_S = 15.0
"""From a signal to the end of the process, however long a model still loads: Kubernetes kills after 30 seconds."""
LAST_WORD_S = 10.0
"""How long W&B may take to hear of that end."""
ASKED = "launch"
"""Config key of the form as it was read: a resumed run finds it there, under its other keys what came of it."""


def main() -> None:
    """Print the form, or evaluate what it asks for; exit codes are those of the command line."""
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
    """Evaluate what the W&B run's config asks for and send it to that run.

    Returns:
        The exit code. The W&B run has failed with it unless it is 0, and says why in its summary under `push/error`.

    Raises:
        InputError: W&B does not accept the key, entity or project.
        NetworkError: W&B was not reached, or not all has arrived there.
    """
    import wandb

    from jglue_app.wandb_sink.client import send

    os.environ.setdefault("WANDB_BASE_URL", base_url())
    os.environ.setdefault("WANDB_PROJECT", DEFAULT_PROJECT)
    where = "/".join(filter(None, (os.environ.get("WANDB_ENTITY"), os.environ["WANDB_PROJECT"])))
    settings = send.settings(offline=False)
    settings.console = "wrap"  # Whoever launched it sees W&B's page alone.
    with send.mapped(where):
        wandb.setup(settings=settings)  # Else it warns of locked keys, which are put right at the end.
        run = wandb.init(job_type=EVALUATION, config=form.defaults(), settings=settings)
    ending = Ending(run, view)
    with _stopping(ending) as stop:
        try:
            return _evaluated(run, where, ending, view, stop)
        except JglueAppError as e:
            ending.failed(e.exit_code, str(e))
            return e.exit_code
        except KeyboardInterrupt:
            ending.stopped("Interrupted twice. Launch the same again to go on.")
            return INTERRUPTED
        except Exception as e:
            traceback.print_exc()
            ending.failed(1, f"{type(e).__name__}: {first_line(e)}")
            return 1


def _evaluated(run: wandb.Run, where: str, ending: Ending, view: ProgressView, stop: threading.Event) -> int:
    from jglue_app.wandb_sink.client import send

    config: Any = run.config  # The client gives no type.
    asked = form.read((config.get(ASKED) if run.resumed else None) or dict(config))
    settings = load_settings()
    if asked.memory:
        settings = replace(settings, memory_bytes=int(asked.memory * 2**30))
    plan = form.plan(asked, settings, view.download)
    if not os.environ.get("WANDB_NAME"):
        run.name = plan.spec.label
    run.tags = tuple(dict.fromkeys((*(run.tags or ()), "jglue")))
    model = {"model": plan.spec.model.id, "files_sha256": plan.spec.model.files_sha256}
    config.update({**model, "planned": plan.total, ASKED: dict(asked.values)}, allow_val_change=True)
    run.define_metric("progress/*", step_metric="progress/items")
    view.say(Message("Progress is at {url}", url=run.url))

    pace = Pace(plan, settings.runs_dir, asked.protocol)
    with ModelPool(settings, device=asked.device) as pool:
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
            if log := pace.due(event):
                run.log(log)
    store = RunStore.of(settings.runs_dir, plan.spec)
    left = _left(store, plan)
    if left and stop.is_set():
        ending.stopped(
            f"Stopped with {plan.total - left:,} of {plan.total:,} items done. They are kept in JGLUE_RUNS_DIR: "
            "if that is on a volume, launch the same again to go on."
        )
        return INTERRUPTED

    payload = run_payload(store.data(), store.manifest(), asked.protocol)
    path = f"{run.entity}/{run.project}/{run.id}"
    with send.mapped(where):
        send.fill(run, payload, store.path, view.say)
    code = INCOMPLETE if left else 0
    if left:
        ending.failed(
            code, f"{left:,} items have no output. Launch the same again to try them again.", state="complete"
        )
    else:
        with send.mapped(where):
            ending.finish(code)
    send.arrived(path, payload)
    with send.mapped(where):
        _put_right(path, payload.config)
    return code


def _left(store: RunStore, plan: Plan) -> int:
    return plan.total - len(store.finished_of(plan.items))


def _put_right(path: str, config: Mapping[str, Any]) -> None:
    """Give a finished run the config that came of the form.

    W&B locks overridden keys against the run itself: `tasks` would stay "all", and `style` "auto".
    """
    import wandb

    found = wandb.Api().run(path)
    if any(found.config.get(key) != value for key, value in config.items()):
        found.config.update(config)
        found.update()


# --- how it ends ----------------------------------------------------------------------------------------


class Ending:
    """The end of the W&B run. It comes once: from the evaluation, or from the clock that a signal has set."""

    def __init__(self, run: wandb.Run, view: ProgressView) -> None:
        self._run, self._view = run, view
        self._lock = threading.RLock()
        self._over = False

    def finish(self, code: int) -> None:
        """End the run with an exit code; anything but 0 is a failed run.

        Raises:
            NetworkError: W&B does not answer.
        """
        from jglue_app.wandb_sink.client import send

        with self._lock:
            if not self._over:
                self._over = True
                send.finish(self._run, code)

    def failed(self, code: int, sentence: str, *, state: str = "failed", tags: tuple[str, ...] = ()) -> None:
        """Say what is wrong, here and in the W&B run, and end that. Never raises."""
        with self._lock, contextlib.suppress(Exception):
            self._view.say(Message("error: {sentence}", sentence=sentence))
            if not self._over:
                summary: Any = self._run.summary  # The client gives no type.
                summary.update({"push/state": state, "push/error": sentence})
                self._run.tags = tuple(dict.fromkeys((*(self._run.tags or ()), *tags)))
                self.finish(code)

    def stopped(self, sentence: str) -> None:
        """As `failed`, of a run that was told to stop."""
        self.failed(INTERRUPTED, sentence, state="stopped", tags=("jglue", "unfinished"))

    def at_last(self) -> None:
        """End run and process where the evaluation has not come to a stop; without W&B, when it does not answer."""
        last = threading.Timer(LAST_WORD_S, os._exit, (INTERRUPTED,))
        last.daemon = True
        last.start()
        self.stopped(
            "Stopped while the model was loading or a long step was under way. Launch the same again to go on."
        )
        os._exit(INTERRUPTED)


@contextlib.contextmanager
def _stopping(ending: Ending) -> Iterator[threading.Event]:
    """SIGTERM or Ctrl-C asks the run to stop after the current token; a second one ends at once."""
    stop = threading.Event()
    clock = threading.Timer(GRACE_S, ending.at_last)
    clock.daemon = True

    def ask(number: int, frame: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()
        clock.start()

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        clock.cancel()
        for number, handler in before.items():
            signal.signal(number, handler)


if __name__ == "__main__":
    main()
