"""A child process that answers in JSON lines: real Python processes of a few lines."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from jglue_app.child_process import (
    ChildExitError,
    ChildProcess,
    ChildStoppedError,
    ProgressMessage,
    error_line,
    inherited_environment,
    message_line,
)
from jglue_app.errors import DataError, InputError, NetworkError, UnknownNameError
from jglue_app.messages import Message, say

ROOT = Path(__file__).resolve().parent.parent
Start = Callable[..., ChildProcess]


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """`start(code)`: a child that runs it, with `send(line)` and `requests` (an iterator of what it is sent)."""
    prelude = (
        "import json, os, subprocess, sys, time\n"
        "def send(line): print(json.dumps(line), flush=True)\n"
        "requests = (json.loads(line) for line in sys.stdin)\n"
    )

    def call(code: str, **more: Callable[[str], str]) -> ChildProcess:
        env = inherited_environment() | {"PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-c", prelude + code]
        return ChildProcess(command, env=env, stderr=tmp_path / "stderr", cwd=tmp_path, **more)

    return call


def test_requests_are_answered_in_order_after_their_messages(start: Start) -> None:
    code = """
for request in requests:
    send({"message": f"at {request['n']}", "kind": "notice"})
    send({"result": {"double": 2 * request["n"]}})
"""
    said: list[str] = []
    with start(code) as child:
        child.send({"n": 3})
        assert child.result(said.append) == {"double": 6}
        child.send({"n": 4})
        assert child.result(said.append) == {"double": 8}
        assert child.alive
    assert said == ["at 3", "at 4"]
    assert not child.alive
    assert not child.send({"n": 5})


def test_a_message_keeps_its_values_and_its_kind(start: Start) -> None:
    sentence = Message("Loading {model}.", model="m")
    lines = [message_line(sentence), message_line(ProgressMessage(sentence)), {"result": {}}]
    said: list[str] = []
    with start(f"for line in {lines!r}: send(line)") as child:
        child.result(said.append)
    assert said == ["Loading m.", "Loading m."]
    assert [type(text) for text in said] == [Message, ProgressMessage]
    assert all(isinstance(text, Message) and text.values == {"model": "m"} for text in said)


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (DataError("{file} is bad.", file="a"), DataError),
        (UnknownNameError("task", "jnl", ["jnli"]), InputError),
    ],
)
def test_an_error_arrives_as_it_was_raised(start: Start, error: InputError, raised: type[InputError]) -> None:
    with start(f"send({error_line(error)!r})") as child, pytest.raises(raised) as caught:
        child.result()
    assert type(caught.value) is raised
    assert str(caught.value) == str(error)
    assert say(caught.value.message, "ja") == say(error.message, "ja")


def test_an_unknown_class_of_error_is_one_of_the_network(start: Start) -> None:
    with start('send({"error": "gone", "class": "NewError"})') as child, pytest.raises(NetworkError, match="gone"):
        child.result()


@pytest.mark.parametrize("line", ["Loading…", "", "5", "[1]", "{}", "[" * 100_000, '{"result": '])
def test_what_something_else_prints_is_no_answer(start: Start, line: str) -> None:
    with start(f"print({line!r}, flush=True); send({{'result': {{'n': 1}}}})") as child:
        assert child.result() == {"n": 1}


def test_a_child_that_exits_without_a_result_leaves_its_code_and_its_last_lines(start: Start) -> None:
    code = "print('one\\n\\ntwo', file=sys.stderr); sys.stdout.write('{\"result\": '); sys.exit(7)"
    with start(code) as child:
        for _again in range(2):
            with pytest.raises(ChildExitError) as caught:
                child.result()
            assert (caught.value.code, caught.value.stderr) == (7, ("one", "two"))
            assert not caught.value.killed


def test_a_child_that_the_system_kills_is_told_from_one_that_exits(start: Start) -> None:
    with start("import os; os.kill(os.getpid(), 9)") as child, pytest.raises(ChildExitError) as caught:
        child.result()
    assert (caught.value.code, caught.value.killed) == (-9, True)


def test_a_secret_is_taken_out_of_whatever_is_told(start: Start) -> None:
    sentence = Message("{reason} ({place})", reason=Message("bad key-1 here"), place="key-1")
    lines = [message_line(sentence), message_line("plain key-1")]
    said: list[str] = []
    code = f"for line in {lines!r}: send(line)\nprint('key-1 in stderr', file=sys.stderr); sys.exit(1)"
    hide = start(code, clean=lambda text: text.replace("key-1", "[key]"))
    with hide as child, pytest.raises(ChildExitError) as caught:
        child.result(said.append)
    assert said == ["bad [key] here ([key])", "plain [key]"]
    assert [say(text, "ja") for text in said] == said
    assert caught.value.stderr == ("[key] in stderr",)


def test_a_caller_that_wants_to_stop_ends_the_child_and_all_that_it_has_started(start: Start) -> None:
    code = """
grandchild = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
send({"message": str(grandchild.pid), "kind": "notice"})
time.sleep(600)
"""
    pids: list[int] = []
    with start(code) as child:
        with pytest.raises(ChildStoppedError):
            child.result(lambda text: pids.append(int(text)), should_stop=lambda: bool(pids))
        assert not child.alive
    deadline = time.monotonic() + 10
    while psutil.pid_exists(pids[0]) and psutil.Process(pids[0]).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_after_an_interrupt_nobody_waits_for_the_child(start: Start) -> None:
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt), start("time.sleep(600)") as child:
        raise KeyboardInterrupt
    assert not child.alive
    assert time.monotonic() - began < 10


def test_a_program_that_is_not_there_raises_and_leaves_no_process(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        ChildProcess([str(tmp_path / "python")], env={}, stderr=tmp_path / "stderr")


def test_no_secret_of_this_process_is_inherited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "secret")
    monkeypatch.setenv("JGLUE_DATA_DIR", "/data")
    inherited = inherited_environment("JGLUE_DATA_DIR")
    assert inherited["PATH"] == os.environ["PATH"]
    assert inherited["JGLUE_DATA_DIR"] == "/data"
    assert "HF_TOKEN" not in inherited
