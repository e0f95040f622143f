"""One command in a process of its own, with a fault: forked from a process that has imported the command line."""

from __future__ import annotations

import atexit
import contextlib
import functools
import importlib.metadata
import io
import json
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import typer

from jglue_app import cli
from jglue_app.cli import runs as cli_runs
from jglue_app.errors import JglueAppError
from jglue_app.runs import runner
from jglue_app.runs.events import Event
from tests.faults import shim
from tests.faults.shim import Call, Fault

TIME_LIMIT_S = 60


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    """Its exit code; minus the signal that ended it."""
    out: str
    err: str
    acknowledged: frozenset[tuple[str, str]]
    """(Task, item id) of the answers that were shown as stored."""
    calls: Mapping[Call, int] = field(default_factory=dict)
    """How many calls of each kind there were; empty if it was killed."""
    log: Path | None = None

    @property
    def killed(self) -> bool:
        return self.code == -signal.SIGKILL

    @property
    def table(self) -> Any:
        """What it printed as JSON; None if it is none."""
        try:
            return json.loads(self.out)
        except ValueError:
            return None


@dataclass
class Settings:
    """What else is special about the process."""

    watched: Path
    """The folder whose files the fault concerns."""
    fault: Fault = field(default_factory=Fault)
    with_log: bool = False
    on_stop: Callable[[int], None] | None = None
    """Called with the process's id when it was stopped, before it goes on."""
    in_child: Callable[[], None] | None = None
    """Called in the process before the command."""
    instead: Callable[[], None] | None = None
    """Called instead of the command line."""
    env: Mapping[str, str] = field(default_factory=dict)
    limits: Mapping[int, int] = field(default_factory=dict)
    """Limit of the `resource` module → its value."""
    while_running: Callable[[int], None] | None = None
    """Called again and again with the process's id while it runs."""


def call(arguments: Sequence[str], scratch: Path, settings: Settings) -> Ended:
    """Run `python -m jglue_app ARGUMENTS`; its output goes to files in `scratch`."""
    scratch.mkdir(parents=True, exist_ok=True)
    files = {name: scratch / name for name in ("out", "err", "ledger", "calls", "log")}
    for path in files.values():
        path.unlink(missing_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if not child:
        _child(arguments, files, settings)
    try:
        status = _wait(child, settings)
    except BaseException:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        raise
    code = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)

    def text(name: str) -> str:
        return files[name].read_text("utf-8", "replace") if files[name].exists() else ""

    rows = [tuple(json.loads(line)) for line in text("ledger").splitlines()]
    counted = {Call(int(kind)): count for kind, count in json.loads(text("calls") or "{}").items()}
    return Ended(code, text("out"), text("err"), frozenset(rows), counted, files["log"])


def _wait(child: int, settings: Settings) -> int:
    """The status of a child at its end; one that takes too long is killed."""
    deadline = time.monotonic() + TIME_LIMIT_S
    while True:
        found, status = os.waitpid(child, os.WUNTRACED | os.WNOHANG)
        if found and os.WIFSTOPPED(status):
            if settings.on_stop:
                settings.on_stop(child)
            os.kill(child, signal.SIGCONT)
        elif found:
            return status
        elif time.monotonic() > deadline:
            os.kill(child, signal.SIGABRT)
        else:
            if settings.while_running:
                settings.while_running(child)
            time.sleep(0.001)


def _child(arguments: Sequence[str], files: Mapping[str, Path], settings: Settings) -> None:
    """Never returns."""
    code = 1
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        for number, name in ((1, "out"), (2, "err")):
            os.dup2(os.open(files[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
        ledger = os.open(files["ledger"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        calls = os.open(files["calls"], os.O_WRONLY | os.O_CREAT)
        log = os.open(files["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND) if settings.with_log else -1
        os.environ.update(settings.env)
        vars(cli_runs)["run_plans"] = _with_ledger(runner.run_plans, ledger)
        sys.argv = ["jglue_app", *arguments]
        if settings.in_child:
            settings.in_child()
        for limit, value in settings.limits.items():
            resource.setrlimit(limit, (value, resource.getrlimit(limit)[1]))
        shim.arm(settings.watched, settings.fault, log)
        try:
            _do(settings)
            code = 0
        except SystemExit as e:
            code = e.code if isinstance(e.code, int) else int(e.code is not None)
        except BaseException:
            traceback.print_exc()
        atexit._run_exitfuncs()
        counted = {kind.value: shim.loaded().jf_count(kind) for kind in Call}
        shim.loaded().jf_disarm()
        for limit in settings.limits:
            resource.setrlimit(limit, (resource.getrlimit(limit)[1],) * 2)
        os.write(calls, json.dumps(counted).encode())
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


def _do(settings: Settings) -> None:
    if settings.instead is None:
        cli.main()
        return
    try:
        settings.instead()
    except JglueAppError as e:
        print(f"error: {e}", file=sys.stderr)
        sys.exit(e.exit_code)


def _with_ledger(run_plans: Callable[..., Iterator[Event]], ledger: int) -> Callable[..., Iterator[Event]]:
    """Note every answer that is shown as stored, where no fault reaches."""

    def noting(*args: Any, **kwargs: Any) -> Iterator[Event]:
        for event in run_plans(*args, **kwargs):
            if event.kind == "record" and event.record and event.record.output is not None:
                os.write(ledger, (json.dumps([event.record.task, event.record.item_id]) + "\n").encode())
            yield event

    return noting


def warm_up(command: Sequence[str]) -> None:
    """Give a command in this process, so that what it loads once need not be loaded by every process that is forked
    from here."""
    import pyarrow.parquet  # noqa: F401

    # The same in every process, and half of the time of a small command.
    importlib.metadata.version = functools.cache(importlib.metadata.version)
    typer.main.get_command = functools.cache(typer.main.get_command)
    sys.argv = ["jglue_app", *command]
    out, err = contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO())
    with out, err, contextlib.suppress(SystemExit):
        cli.main()
