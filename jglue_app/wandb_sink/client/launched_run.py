"""The W&B run of a launched evaluation, in the process of the evaluation itself.

W&B Launch creates the run before it starts the process, with its key in the environment.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import wandb

from jglue_app.child_process import OnMessage
from jglue_app.wandb_sink.client import send, wait
from jglue_app.wandb_sink.client.connection import settings, translated_errors
from jglue_app.wandb_sink.login import DEFAULT_PROJECT, base_url
from jglue_app.wandb_sink.paths import project_path
from jglue_app.wandb_sink.payload import EVALUATION, Payload


class LaunchedRun:
    """An open run of W&B.

    Args:
        defaults: config of a run that was not launched from a form.

    Raises:
        InputError: W&B does not accept the key, entity or project.
        NetworkError: W&B was not reached.
    """

    def __init__(self, defaults: Mapping[str, Any]) -> None:
        os.environ.setdefault("WANDB_BASE_URL", base_url())
        os.environ.setdefault("WANDB_PROJECT", DEFAULT_PROJECT)
        self._project = project_path(os.environ.get("WANDB_ENTITY"), os.environ["WANDB_PROJECT"])
        run_settings = settings(offline=False)
        run_settings.console = "wrap"  # People who launch it see only W&B's page.
        with translated_errors(self._project):
            wandb.setup(settings=run_settings)  # Otherwise it warns of locked keys, which `correct_config` sets.
            self._run = wandb.init(job_type=EVALUATION, config=dict(defaults), settings=run_settings)
        self.path = send.run_path(self._run)
        """`entity/project/id`."""

    @property
    def url(self) -> str:
        """The address of its page."""
        return self._run.url or ""

    @property
    def resumed(self) -> bool:
        """Whether an earlier process has written to it."""
        return self._run.resumed

    @property
    def config(self) -> dict[str, Any]:
        """Its config, as it is now."""
        config: Any = self._run.config  # The client gives no type.
        return dict(config)

    def describe(self, name: str, tags: Sequence[str], config: Mapping[str, Any]) -> None:
        """Name it, unless `WANDB_NAME` does, and add tags and config."""
        if not os.environ.get("WANDB_NAME"):
            self._run.name = name
        self._add_tags(tags)
        run_config: Any = self._run.config
        run_config.update(dict(config), allow_val_change=True)
        self._run.define_metric("progress/*", step_metric="progress/items")

    def _add_tags(self, tags: Sequence[str]) -> None:
        self._run.tags = tuple(dict.fromkeys((*(self._run.tags or ()), *tags)))

    def log(self, values: Mapping[str, float | int]) -> None:
        """Add a row to its history."""
        self._run.log(dict(values))

    def fill(self, payload: Payload, folder: Path, on_message: OnMessage) -> None:
        """Put a payload into it, as `send.fill`, with the same errors."""
        with translated_errors(self._project):
            send.fill(self._run, payload, folder, on_message)

    def finish(self) -> None:
        """End it as finished.

        Raises:
            NetworkError: W&B does not answer.
        """
        with translated_errors(self._project):
            wait.finish(self._run)

    def fail(self, code: int, state: str, message: str, tags: Sequence[str] = ()) -> None:
        """End it as failed, with an exit code, tags, and in its summary what went wrong.

        Raises:
            NetworkError: W&B does not answer in `wait.MAX_WAIT_S`.
        """
        summary: Any = self._run.summary  # The client gives no type.
        summary.update({"push/state": state, "push/error": str(message)})
        self._add_tags(tags)
        wait.finish(self._run, code)

    def confirm(self, payload: Payload) -> None:
        """Wait until W&B shows the summary of the finished run; raises NetworkError if it does not."""
        wait.confirm_summary(self.path, payload)

    def file_as(self, job_type: str, group: str) -> None:
        """Set the job type and group of the finished run, which were not known when it began."""
        with translated_errors(self._project):
            stored: Any = wandb.Api().run(self.path)
            stored.job_type, stored.group = job_type, group
            stored.update()

    def correct_config(self, config: Mapping[str, Any]) -> None:
        """Set keys of the config of the finished run.

        W&B locks overridden keys against the run itself: `tasks` would stay "all", and `style` "auto".
        """
        with translated_errors(self._project):
            stored = wandb.Api().run(self.path)
            if any(stored.config.get(key) != value for key, value in config.items()):
                stored.config.update(config)
                stored.update()
