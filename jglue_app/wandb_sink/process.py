"""The short-lived process in which W&B's client runs.

W&B keeps the last key as its whole process's session key: a later call without a key would use that of somebody else.
So every push has a process of its own, with the key in its environment alone and a HOME that is deleted with it.
The process is given one JSON line on standard input and answers in JSON lines; see `worker.py`.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import shutil
import site
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from jglue_app import environment, errors
from jglue_app.errors import JglueAppError, NetworkError
from jglue_app.wandb_sink.login import Login

PASSED_ON = (
    *("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "SYSTEMROOT", "APPDATA", "LD_LIBRARY_PATH"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"),
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "all_proxy", "no_proxy"),
    *("WANDB_HTTP_TIMEOUT", "WANDB_INIT_TIMEOUT", "WANDB_FILE_PUSHER_TIMEOUT", "WANDB_INSECURE_DISABLE_SSL"),
    *("JGLUE_DATA_DIR", "JGLUE_CACHE_DIR"),
)
"""What of this process's environment that one gets: no secret of anything else."""
HOME_OF_WORKER = "JGLUE_WORKER_HOME"
"""Variable that names the folder which ends with the process."""
MIN_PIECE = 8
"""Characters of a piece of a key that is not repeated to anybody."""
PATIENCE_S = 20.0
"""How long a process that was told to end may take."""
FAULTS = {
    name: found for name, found in vars(errors).items() if isinstance(found, type) and issubclass(found, JglueAppError)
} | {"UnknownNameError": errors.InputError}  # It is made from other arguments than a sentence.


class Worker:
    """One process at work. Use it in a `with`: its folder is deleted at the end, and so is the process."""

    def __init__(self, job: Mapping[str, Any], login: Login | None, keep: Path | None = None) -> None:
        """Start it.

        Args:
            job: what to do; the table that `worker.py` takes.
            login: where, and the key; None to write an offline copy, which needs none.
            keep: folder for an offline copy; None for what is deleted at the end.
        """
        if login:
            environment.check_network(login.target.base_url, requests=True)
        self._key = login.key if login else ""
        self._home = Path(tempfile.mkdtemp(prefix="jglue-wandb-"))
        (self._home / "tmp").mkdir()
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._noise = (self._home / "stderr").open("w+", encoding="utf-8", errors="replace")
        try:
            self._process = subprocess.Popen(
                # -P: a file of that name in the working folder is not ours.
                [sys.executable, "-P", "-m", "jglue_app.wandb_sink.client.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._noise,
                cwd=self._home,
                env=_environment(self._home, login, keep),
                encoding="utf-8",
                errors="surrogatepass",
                start_new_session=True,
            )
        except BaseException:
            self._noise.close()
            shutil.rmtree(self._home, ignore_errors=True)
            raise
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.send(job)

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        assert self._process.stdin is not None
        if kind is not None and not issubclass(kind, Exception):  # Ctrl-C: nobody wants to wait.
            self.kill()
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(PATIENCE_S if self._process.poll() is None else 0)
        except subprocess.TimeoutExpired:
            self.kill()
        self._reader.join(PATIENCE_S)
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._noise.close()
        self._key = ""  # An error that somebody keeps holds this object by its traceback.
        # W&B's own core may still be closing its log there.
        for _attempt in range(10):
            shutil.rmtree(self._home, ignore_errors=True)
            if not self._home.exists():
                break
            time.sleep(0.1)

    def kill(self) -> None:
        """End the process and what it has started, at once."""
        with contextlib.suppress(ProcessLookupError, PermissionError):  # The second: macOS, of a group that has ended.
            if hasattr(os, "killpg"):
                os.killpg(self._process.pid, 9)
            else:
                self._process.kill()
        self._process.wait()

    @property
    def alive(self) -> bool:
        """Whether the process is there."""
        return self._process.poll() is None

    def send(self, message: Mapping[str, Any]) -> bool:
        """Hand it a line; False when it is not there any more."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(message) + "\n")
            self._process.stdin.flush()
        except (OSError, ValueError):
            return False
        return True

    def result(
        self, say: Callable[[str], None] = lambda _: None, should_stop: Callable[[], bool] = lambda: False
    ) -> dict[str, Any]:
        """Wait for what came of the job.

        Raises:
            JglueAppError: it failed, as the process tells it; NetworkError when the process ended without a word, or
                was stopped.
        """
        while (found := self._next(say, should_stop)) is None:
            pass
        return found

    def _next(
        self, say: Callable[[str], None], should_stop: Callable[[], bool] = lambda: False
    ) -> dict[str, Any] | None:
        """The result, or None after a sentence."""
        while True:
            try:
                line = self._lines.get(timeout=0.2)
                break
            except queue.Empty:
                if should_stop():
                    self.kill()
                    raise NetworkError(
                        "The push was stopped. What had arrived stays; push again to complete it."
                    ) from None
        if line is None:
            code = self._process.wait()
            raise NetworkError(
                "The process that talks to W&B ended without a word (exit {code}). {last_words}The "
                "run here is untouched: push it again.",
                code=code,
                last_words=self.last_words(),
            )
        message = json.loads(line)
        if "error" in message:
            raise FAULTS.get(message["kind"], NetworkError)(self._clean(message["error"]))
        if "say" in message:
            say(self._clean(message["say"]))
            return None
        found: dict[str, Any] = message["done"]
        return found

    def first_sentence(self, should_stop: Callable[[], bool] = lambda: False) -> str:
        """Wait for the first thing it says; raises as `result` does."""
        said: list[str] = []
        return said[0] if self._next(said.append, should_stop) is None else ""

    def last_words(self) -> str:
        """The last line that the process wrote to standard error, if any."""
        self._noise.flush()
        with contextlib.suppress(OSError):
            lines = (self._home / "stderr").read_text("utf-8", errors="replace").strip().splitlines()
            return f"Its last line: {self._clean(lines[-1])[:300]} " if lines else ""
        return ""

    def _clean(self, text: str) -> str:
        """A text without the key, whatever the client has put into it."""
        return without(self._key, text)

    def _read(self) -> None:
        assert self._process.stdout is not None
        with contextlib.suppress(ValueError):  # Closed meanwhile.
            for line in self._process.stdout:
                self._lines.put(line)
        self._lines.put(None)


def without(key: str, text: str) -> str:
    """A text in which `[key]` stands for a key and for every piece of it of `MIN_PIECE` characters or more: servers
    shorten what they repeat."""
    out, at = [], 0
    while at < len(text):
        length = 0
        while at + length < len(text) and text[at : at + length + 1] in key:
            length += 1
        out.append("[key]" if length >= MIN_PIECE else text[at])
        at += length if length >= MIN_PIECE else 1
    return "".join(out)


def _environment(home: Path, login: Login | None, keep: Path | None) -> dict[str, str]:
    kept = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    code = str(Path(__file__).resolve().parents[2])
    own = {
        HOME_OF_WORKER: str(home),
        "HOME": str(home),
        # The client leaves copies of tables in temporary folders when it is ended.
        **dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(home / "tmp")),
        # Packages may lie where pip puts those of a user, which follows HOME.
        "PYTHONUSERBASE": site.getuserbase(),
        "USERPROFILE": str(home),
        "NETRC": str(home / "netrc"),
        "PYTHONPATH": os.pathsep.join(filter(None, (code, os.environ.get("PYTHONPATH")))),
        "PYTHONUTF8": "1",
        "WANDB_DIR": str(keep or home),
        "WANDB_CONFIG_DIR": str(home / "config"),
        "WANDB_CACHE_DIR": str(home / "cache"),
        # An offline copy refers to files that lie there until it is synchronised.
        "WANDB_DATA_DIR": str(keep / "wandb" / "offline-files" if keep else home / "data"),
        "WANDB_ERROR_REPORTING": "false",
        "WANDB_SILENT": "true",
    }
    if login is not None:
        own |= {"WANDB_API_KEY": login.key, "WANDB_BASE_URL": login.target.base_url}
    return {**kept, **own}
