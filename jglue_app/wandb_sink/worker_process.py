"""The short-lived process in which W&B's client runs, seen from the process that starts it.

W&B keeps the last key as its whole process's session key: a later call without a key would use another person's.
So every push runs in a separate process, with the key only in its environment and a HOME that is deleted with it. The
code in that process is `client/worker.py`.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import site
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from jglue_app import environment
from jglue_app.child_process import ChildExitError, ChildProcess, ChildStoppedError, OnMessage, inherited_environment
from jglue_app.errors import NetworkError, redact_key
from jglue_app.wandb_sink.login import Login

WORKER_MODULE = "jglue_app.wandb_sink.client.worker"
INHERITED_ENV = (
    *("WANDB_HTTP_TIMEOUT", "WANDB_INIT_TIMEOUT", "WANDB_FILE_PUSHER_TIMEOUT", "WANDB_INSECURE_DISABLE_SSL"),
    *("JGLUE_DATA_DIR", "JGLUE_CACHE_DIR"),
)
"""Variables that it inherits besides `child_process.INHERITED_ENV`: no unrelated secrets."""
WORKER_HOME_ENV = "JGLUE_WORKER_HOME"
"""Variable with the path of the folder that is deleted with the process."""
MAX_STDERR_CHARS = 300
"""Characters of the last line of standard error that an error quotes."""


class WorkerProcess:
    """A worker process. Use as a context manager: on exit the process has ended and its folder is deleted.

    Args:
        job: the job for `client/worker.py`.
        login: where, and the key; None to write an offline copy, which needs none.
        offline_folder: where an offline copy is written; None for a folder that is deleted at the end.

    Raises:
        InputError: the proxy or certificates that the environment names cannot be used.
    """

    def __init__(self, job: Mapping[str, Any], login: Login | None, offline_folder: Path | None = None) -> None:
        if login:
            environment.check_network(login.target.base_url, requests=True)
        self._key = login.key if login else ""
        self._home = Path(tempfile.mkdtemp(prefix="jglue-wandb-"))
        try:
            (self._home / "tmp").mkdir()
            self._process = ChildProcess(
                # -P: do not import a module of that name from the working folder.
                [sys.executable, "-P", "-m", WORKER_MODULE],
                env=_environment(self._home, login, offline_folder),
                stderr=self._home / "stderr",
                cwd=self._home,
                clean=lambda text: redact_key(self._key, text),
            )
        except BaseException:
            shutil.rmtree(self._home, ignore_errors=True)
            raise
        self.send(job)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.__exit__(kind, error, trace)
        self._key = ""  # The traceback of an error that is kept holds this object.
        # W&B's core process may still be closing its log there.
        for _attempt in range(10):
            shutil.rmtree(self._home, ignore_errors=True)
            if not self._home.exists():
                break
            time.sleep(0.1)

    def send(self, message: Mapping[str, Any]) -> bool:
        """Write a line to it; returns False if it has exited."""
        return self._process.send(message)

    def result(
        self,
        on_message: OnMessage = lambda _: None,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> dict[str, Any]:
        """Wait for the result of the job.

        Raises:
            JglueAppError: the job failed, as the process reports it.
            NetworkError: the process exited without a result, or was stopped.
        """
        with _translated_exit():
            return self._process.result(on_message, should_stop)

    def first_message(self, should_stop: Callable[[], bool] = lambda: False) -> str:
        """Wait for the first message, empty if there is a result before one. Raises as `result` does."""
        with _translated_exit():
            message = self._process.next_message(should_stop)
            return message if isinstance(message, str) else ""


@contextlib.contextmanager
def _translated_exit() -> Iterator[None]:
    """Turn an exit of the process without a result into a NetworkError."""
    try:
        yield
    except ChildStoppedError:
        raise NetworkError("The push was stopped. What had arrived stays; push again to complete it.") from None
    except ChildExitError as e:
        if e.killed:
            raise NetworkError(
                "The process that talks to W&B exited without a result (exit code {code}): the system killed it, most "
                "likely because memory ran out. The run here is untouched: free some memory and push it again.",
                code=e.code,
            ) from None
        if not e.stderr:
            raise NetworkError(
                "The process that talks to W&B exited without a result (exit code {code}). The run here is untouched: "
                "push it again.",
                code=e.code,
            ) from None
        raise NetworkError(
            "The process that talks to W&B exited without a result (exit code {code}). Its last line: {line} The run "
            "here is untouched: push it again.",
            code=e.code,
            line=e.stderr[-1][:MAX_STDERR_CHARS],
        ) from None


def _environment(home: Path, login: Login | None, offline_folder: Path | None) -> dict[str, str]:
    package_parent = str(Path(__file__).resolve().parents[2])
    variables = {
        WORKER_HOME_ENV: str(home),
        "HOME": str(home),
        # The client leaves copies of tables in temporary folders when it is ended.
        **dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(home / "tmp")),
        # Where pip installs packages of a user depends on HOME.
        "PYTHONUSERBASE": site.getuserbase(),
        "USERPROFILE": str(home),
        "NETRC": str(home / "netrc"),
        "PYTHONPATH": os.pathsep.join(filter(None, (package_parent, os.environ.get("PYTHONPATH")))),
        "PYTHONUTF8": "1",
        "WANDB_DIR": str(offline_folder or home),
        "WANDB_CONFIG_DIR": str(home / "config"),
        "WANDB_CACHE_DIR": str(home / "cache"),
        # An offline copy refers to files in there until it is synchronised.
        "WANDB_DATA_DIR": str(offline_folder / "wandb" / "offline-files" if offline_folder else home / "data"),
        "WANDB_ERROR_REPORTING": "false",
        "WANDB_SILENT": "true",
    }
    if login is not None:
        variables |= {"WANDB_API_KEY": login.key, "WANDB_BASE_URL": login.target.base_url}
    return {**inherited_environment(*INHERITED_ENV), **variables}
