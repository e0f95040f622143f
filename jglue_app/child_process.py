"""A child process that is sent JSON lines on standard input and answers in JSON lines on standard output.

    {"message": …, "kind": "notice" | "progress"}       any number of them, while it works
    {"result": {…}}                                      the result of a request
    {"error": …, "class": name of a class of errors.py}  instead of a result

Messages are written as `messages.as_json` writes them, so that this side can say them in another language. A child in
another Python environment, which cannot import this package, writes results alone.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from jglue_app import errors
from jglue_app.errors import JglueAppError
from jglue_app.messages import Message, as_json, from_json

OnMessage = Callable[[str], None]
"""Takes the messages of a child on the way to its result."""
INHERITED_ENV = (
    *("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "SYSTEMROOT", "APPDATA", "LD_LIBRARY_PATH"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"),
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "all_proxy", "no_proxy"),
)
"""Variables that a child gets which must not see the secrets of this process."""
SIGKILL = 9
"""Python's `signal` has it only where there are signals."""
EXIT_TIMEOUT_S = 20.0
"""How long a child may take to exit once its standard input is closed."""
POLL_S = 0.2
"""How often a wait looks whether it is to stop."""
TAIL_BYTES = 65_536
"""How much of the end of standard error is read."""
ERROR_CLASSES: Mapping[str, type[JglueAppError]] = {
    name: value for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, JglueAppError)
} | {"UnknownNameError": errors.InputError}  # Its arguments are not a message.


class ProgressMessage(Message):
    """A message about what is going on at the moment: it need not be shown once that is over. Others are notices."""

    __slots__ = ()

    def __new__(cls, message: Message) -> Self:
        """The same sentence with this kind."""
        self = str.__new__(cls, message)
        self.template, self.values = message.template, message.values
        return self


class ChildExitError(Exception):
    """The child exited, or closed its standard output, without a result."""

    def __init__(self, code: int | None, stderr: Sequence[str]) -> None:
        super().__init__(f"exit code {code}")
        self.code = code
        """None if it is still there."""
        self.stderr = tuple(stderr)
        """The last lines that it wrote to standard error, without empty ones."""

    @property
    def killed(self) -> bool:
        """Whether SIGKILL ended it: the system sends that to a process when memory runs out."""
        return self.code == -SIGKILL


class ChildStoppedError(Exception):
    """The child was killed because its caller wanted to stop."""


class ChildProcess:
    """One child process. Use it in a `with`: the child has exited, or was killed with all that it started, after that.

    Args:
        command: the program and its arguments.
        env: its whole environment.
        stderr: file that takes its standard error; the caller deletes it.
        cwd: its working folder; None for that of this process.
        clean: removes secrets from a text before it leaves this object.

    Raises:
        OSError: it cannot be started.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        env: Mapping[str, str],
        stderr: Path,
        cwd: Path | None = None,
        clean: Callable[[str], str] = str,
    ) -> None:
        self._clean = clean
        self._stderr = stderr
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        with stderr.open("wb") as file:
            self._process = subprocess.Popen(
                list(command),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                cwd=cwd,
                env=dict(env),
                encoding="utf-8",
                errors="surrogatepass",
                start_new_session=True,  # A group of its own, which can be killed as a whole.
            )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Ctrl-C does not wait for the child.
        self.close(0 if kind is not None and not issubclass(kind, Exception) else EXIT_TIMEOUT_S)

    @property
    def alive(self) -> bool:
        """Whether it has not exited."""
        return self._process.poll() is None

    def send(self, message: Mapping[str, Any]) -> bool:
        """Write a line to it; returns False if it reads no more."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(message) + "\n")
            self._process.stdin.flush()
        except (OSError, ValueError):
            return False
        return True

    def result(
        self,
        on_message: OnMessage = lambda _: None,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> dict[str, Any]:
        """Wait for the result of what was sent.

        Args:
            on_message: takes the messages that come before it.
            should_stop: called a few times a second; the child is killed when it returns true.

        Raises:
            JglueAppError: the error that the child sent.
            ChildExitError: there will be no result.
            ChildStoppedError: `should_stop` returned true.
        """
        while True:
            answer = self.next_message(should_stop)
            if not isinstance(answer, str):
                return answer
            on_message(answer)

    def next_message(self, should_stop: Callable[[], bool] = lambda: False) -> str | dict[str, Any]:
        """Wait for one line: returns a message, or the result. Raises as `result` does."""
        answer: dict[str, Any] | None = None
        while answer is None:
            line = self._next_line(should_stop)
            if line is None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(EXIT_TIMEOUT_S)
                raise ChildExitError(self._process.poll(), self.stderr_tail())
            answer = _answer(line)
        if "error" in answer:
            raise ERROR_CLASSES.get(answer["class"], errors.NetworkError)(self._message(answer["error"]))
        if "message" in answer:
            message = self._message(answer["message"])
            return ProgressMessage(message) if answer["kind"] == "progress" else message
        result: dict[str, Any] = answer["result"]
        return result

    def stderr_tail(self, lines: int = 5) -> list[str]:
        """The last lines that it wrote to standard error, without empty ones."""
        try:
            with self._stderr.open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL_BYTES))
                text = file.read().decode("utf-8", "replace")
        except OSError:
            return []
        return [self._clean(line) for line in text.splitlines() if line.strip()][-lines:]

    def kill(self) -> None:
        """Kill it and what it has started."""
        with contextlib.suppress(ProcessLookupError, PermissionError):  # The second: macOS, of a group that has ended.
            if hasattr(os, "killpg"):
                os.killpg(self._process.pid, SIGKILL)
            else:
                self._process.kill()
        self._process.wait()

    def close(self, timeout_s: float = EXIT_TIMEOUT_S) -> None:
        """Close its standard input and wait for its exit; after `timeout_s` kill it."""
        assert self._process.stdin is not None and self._process.stdout is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
        self._reader.join(EXIT_TIMEOUT_S)
        self._process.stdout.close()

    def _next_line(self, should_stop: Callable[[], bool]) -> str | None:
        """The next line; None at the end of its standard output."""
        while True:
            try:
                line = self._lines.get(timeout=POLL_S)
            except queue.Empty:
                if should_stop():
                    self.kill()
                    raise ChildStoppedError from None
                continue
            if line is None:
                self._lines.put(None)  # For the next call.
            return line

    def _message(self, value: Any) -> Message:
        text = from_json(_cleaned(value, self._clean))
        return text if isinstance(text, Message) else Message(text)

    def _read(self) -> None:
        assert self._process.stdout is not None
        with contextlib.suppress(ValueError):  # Closed meanwhile.
            for line in self._process.stdout:
                if line.endswith("\n"):  # Else the child died while it wrote.
                    self._lines.put(line)
        self._lines.put(None)


def _answer(line: str) -> dict[str, Any] | None:
    """The answer in a line; None for what something else printed, such as Python's own start-up files."""
    try:
        answer = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return answer if isinstance(answer, dict) and answer.keys() & {"error", "message", "result"} else None


def message_line(text: str) -> dict[str, Any]:
    """What a child writes for a message."""
    return {"message": as_json(text), "kind": "progress" if isinstance(text, ProgressMessage) else "notice"}


def error_line(error: JglueAppError) -> dict[str, Any]:
    """What a child writes for an error."""
    return {"error": as_json(error.message), "class": type(error).__name__}


def inherited_environment(*more: str) -> dict[str, str]:
    """The variables of `INHERITED_ENV`, and of `more`, that are set here."""
    return {name: os.environ[name] for name in (*INHERITED_ENV, *more) if name in os.environ}


def _cleaned(value: Any, clean: Callable[[str], str]) -> Any:
    """A message as JSON, with every text in it cleaned. A template that has values is text of this package."""
    if isinstance(value, str):
        return clean(value)
    if not isinstance(value, dict):
        return value
    if "separator" in value:
        return {**value, "parts": [_cleaned(part, clean) for part in value["parts"]]}
    values = {name: _cleaned(item, clean) for name, item in value["values"].items()}
    texts = {
        name: text if values and name == "template" else clean(text) for name, text in value.items() if name != "values"
    }
    return {**texts, "values": values}
