"""When something breaks: a sentence here, nothing half-done that looks whole there, and the next push completes it."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest

from jglue_app import wandb_sink
from jglue_app.errors import InputError, NetworkError, RunBusyError, StoreError
from jglue_app.messages import say
from jglue_app.wandb_sink.client.connection import translate
from tests.wandb_server import Run, WandbServer
from tests.wandb_sink.known import (
    LONG_S,
    ROOT,
    Later,
    asked,
    files,
    login,
    run_of,
    spec_id,
    together,
    until,
)

PYTHON = sys.executable
CANARY = "canary" * 8
SILENT = ("graphql:CreateArtifact$", "PUT /blobs", "CommitArtifact", "PUT /run-files", "file_stream")
"""What a server may stop answering in the middle of a push."""


class Server(WandbServer):
    """Can be told how patient its clients are, and to be well again."""

    patience: Path

    def hurry(self) -> Server:
        """Clients try once more and no further: a test does not wait for the rest."""
        (self.patience / self.url.rpartition(":")[2]).write_text("1")
        return self

    def heal(self) -> None:
        """No more faults; the clients are as patient as usual."""
        self._faults.clear()
        (self.patience / self.url.rpartition(":")[2]).unlink(missing_ok=True)

    @property
    def mine(self) -> list[psutil.Process]:
        """The processes that talk to it."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get("WANDB_BASE_URL") == self.url and "push" not in process.cmdline():
                    found.append(process)
            except psutil.Error:
                continue
        return found

    @property
    def worker(self) -> psutil.Process:
        (found,) = [process for process in self.mine if process.name() != "wandb-core"]
        return found


class State(NamedTuple):
    """What the server says of the run after the trouble."""

    there: bool
    push_state: str | None
    state: str | None


@dataclass
class Trouble:
    """A push that went wrong, and the one after it."""

    server: Server
    error: BaseException | None = None
    then: State | None = None
    """What stood at the server before the second push."""
    extra: list[object] = field(default_factory=list)

    def push(self, run: Path) -> Trouble:
        try:
            wandb_sink.push(run, login(self.server))
        except Exception as error:
            self.error = error
        return self

    def note(self, run: Path) -> Trouble:
        found = self.server.runs.get(f"team/jglue/jglue-{spec_id(run)}")
        self.then = State(True, found.summary.get("push/state"), found.state) if found else State(False, None, None)
        return self

    def again(self, run: Path) -> Trouble:
        self.server.heal()
        wandb_sink.push(run, login(self.server))
        return self


@dataclass(frozen=True)
class Troubles:
    """All at once, each with a server of its own: they are mostly waiting."""

    run: Path
    middle: Trouble
    end: Trouble
    files: Trouble
    stream: Trouble
    silent: dict[str, Trouble]
    """Of what the server says nothing any more."""
    hiccups: Trouble
    slow: Trouble
    worker: Trouble
    parent: Trouble
    nobody: subprocess.CompletedProcess[str]
    """A command that finds no server at `nowhere`."""
    nowhere: str
    full: subprocess.CompletedProcess[str]
    """A command whose disk is full; it may have reached `fullest`."""
    fullest: WandbServer
    before: dict[str, bytes]
    """The run's folder before all of it."""


def limited() -> None:
    """No file of this process and its children may grow beyond this."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_048, 2_048))


def command(run: Path, url: str, folder: Path, *, full: bool = False) -> subprocess.CompletedProcess[str]:
    """A push as a script starts it, perhaps with a disk that is full."""
    own = {"WANDB_API_KEY": CANARY, "WANDB_BASE_URL": url, "PYTHONPATH": str(ROOT)}
    own |= {"HOME": str(folder / "home"), "WANDB_DIR": str(folder / "copies"), "COLUMNS": "200"}
    return subprocess.run(
        [PYTHON, "-m", "jglue_app", "push", run, "--project", "team/jglue"],
        env={**os.environ, **own},
        cwd=folder,
        capture_output=True,
        text=True,
        preexec_fn=limited if full else None,
        timeout=LONG_S,
    )


@pytest.fixture(scope="module")
def troubles(made: Path, temporary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Troubles]:
    folder = tmp_path_factory.mktemp("troubles")
    run = run_of(made / "ada.jsonl", folder / "runs", limit=3)
    Server.patience = folder / "patience"
    Server.patience.mkdir()
    script = folder / "python"
    retries = f'retries=$(cat "{Server.patience}/${{WANDB_BASE_URL##*:}}" 2>/dev/null || echo 6)'
    worker = (
        "from jglue_app.wandb_sink.client import connection, wait, worker; connection.RETRIES = $retries; "
        "wait.MAX_WAIT_S = 120 if $retries > 1 else 8; wait.SHORT_WAIT_S = 4; "
        "worker.main()"
    )
    script.write_text(f'#!/bin/sh\n{retries}\nexec {PYTHON} -P -c "{worker}"\n')
    script.chmod(0o755)

    def going_down(pattern: str) -> Trouble:
        server = Server().hurry()
        server.slow(pattern, LONG_S)
        trouble = Trouble(server)
        pushing = Later(lambda: trouble.push(run))
        until(lambda: asked(server, pattern), pattern)
        server.down()
        pushing.join()
        trouble.note(run)
        server.up()
        return trouble.again(run)

    def without(pattern: str) -> Trouble:
        trouble = Trouble(Server().hurry())
        trouble.server.fail(pattern, 500, 1_000)
        return trouble.push(run).note(run).again(run)

    def silence(pattern: str) -> Trouble:
        trouble = Trouble(Server().hurry())
        trouble.server.slow(pattern, 10 * LONG_S)
        began = time.monotonic()
        trouble.push(run)
        trouble.extra.append(time.monotonic() - began)
        return trouble.note(run).again(run)

    def hiccups() -> Trouble:
        trouble = Trouble(Server())
        for pattern, status in (
            ("RunResumeStatus", 429),
            ("UpsertBucket", 500),
            ("CreateArtifact$", 502),
            ("PUT /blobs", 503),
            ("CommitArtifact", 500),
            ("file_stream", 429),
            ("PUT /run-files", 500),
            ("graphql:Run$", 500),
        ):
            trouble.server.fail(pattern, status)
        return trouble.push(run)

    def slow() -> Trouble:
        trouble = Trouble(Server())
        trouble.server.slow("", 0.15)
        return trouble.push(run)

    def worker_killed() -> Trouble:
        trouble = Trouble(Server())
        trouble.server.slow("CommitArtifact", LONG_S)
        pushing = Later(lambda: trouble.push(run))
        until(lambda: asked(trouble.server, "CommitArtifact"))
        trouble.extra += [Later(lambda: wandb_sink.push(run, login(trouble.server))).join().error]
        trouble.server.worker.kill()
        pushing.join()
        until(lambda: not trouble.server.mine, "the end of the client")
        return trouble.note(run).again(run)

    def parent_killed() -> Trouble:
        trouble = Trouble(Server())
        trouble.server.slow("CommitArtifact", LONG_S)
        own = {"WANDB_API_KEY": CANARY, "WANDB_BASE_URL": trouble.server.url, "PYTHONPATH": str(ROOT)}
        own |= {"HOME": str(folder / "home"), "TMPDIR": str(folder / "tmp")}
        (folder / "tmp").mkdir()
        process = subprocess.Popen(
            [PYTHON, "-m", "jglue_app", "push", run, "--project", "team/jglue"],
            env={**os.environ, **own},
            cwd=folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        until(lambda: asked(trouble.server, "CommitArtifact"))
        trouble.extra.append(len(trouble.server.mine))
        process.send_signal(signal.SIGKILL)
        process.wait()
        until(lambda: not trouble.server.mine, "the end of the client")
        return trouble.note(run).again(run)

    before = files(run)
    with WandbServer() as gone:
        nowhere = gone.url
    fullest = WandbServer()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "executable", str(script))
        commands = Later(
            lambda: (command(run, nowhere, folder), command(run, fullest.url, folder, full=True)),
        )
        found = together(
            lambda: going_down("CreateRunFiles"),
            lambda: going_down("CommitArtifact"),
            lambda: without("PUT /run-files/.*media/table"),
            lambda: without("file_stream"),
            *(partial(silence, pattern) for pattern in SILENT),
            parent_killed,
            worker_killed,
            hiccups,
            slow,
            at_once=8,
        )
    end, middle, unfiled, unstreamed, *mute, parent, worker_, hiccup, sluggish = found
    nobody, full = commands.join().value or pytest.fail(str(commands.error))
    yield Troubles(
        run,
        middle,
        end,
        unfiled,
        unstreamed,
        dict(zip(SILENT, mute, strict=True)),
        hiccup,
        sluggish,
        worker_,
        parent,
        nobody,
        nowhere,
        full,
        fullest,
        before,
    )
    for server in (fullest, *(trouble.server for trouble in found)):
        server.close()


def whole(trouble: Trouble, run: Path) -> Run:
    """The only W&B run, with all of it, once."""
    server = trouble.server
    (found,) = server.runs.values()
    assert found.id == f"jglue-{spec_id(run)}"
    assert (found.summary["push/state"], found.state) == ("complete", "finished")
    assert found.history == []
    tables = [key for key, value in found.summary.items() if isinstance(value, dict) and key[0] != "_"]
    assert {key: len(server.table(found, key)) for key in tables}["predictions/jnli"] == 3
    committed = [(a.name, a.version) for a in server.artifacts if a.state == "COMMITTED"]
    assert len(committed) == len(set(committed)) == len(tables) + 1
    assert {version for _, version in committed} == {0}
    assert server.artifact(f"jglue-run-{spec_id(run)}").files == files(run)
    assert server.unknown == []
    return found


# --- the server -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["middle", "end"])
@pytest.mark.harness
def test_a_server_that_goes_away_is_told_as_the_network_and_the_next_push_completes_it(
    troubles: Troubles, name: str
) -> None:
    trouble: Trouble = getattr(troubles, name)
    assert isinstance(trouble.error, NetworkError), trouble.error
    assert "push it again" in str(trouble.error)
    assert trouble.then is not None
    assert trouble.then.there
    assert trouble.then.push_state in (None, "sending")
    whole(trouble, troubles.run)


@pytest.mark.parametrize("part", ["files", "stream"])
@pytest.mark.harness
def test_a_run_of_which_a_part_has_not_arrived_does_not_say_that_it_is_complete(troubles: Troubles, part: str) -> None:
    trouble: Trouble = getattr(troubles, part)
    assert isinstance(trouble.error, NetworkError), trouble.error
    assert "does not confirm that all of team/jglue/" in str(trouble.error)
    assert trouble.then is not None
    assert trouble.then.push_state != "complete"


@pytest.mark.parametrize("part", ["files", "stream"])
@pytest.mark.harness
def test_the_part_arrives_with_the_next_push(troubles: Troubles, part: str) -> None:
    whole(getattr(troubles, part), troubles.run)


@pytest.mark.parametrize("part", SILENT)
@pytest.mark.harness
def test_a_server_that_falls_silent_ends_the_push_in_time_and_the_next_one_completes_it(
    troubles: Troubles, part: str
) -> None:
    trouble = troubles.silent[part]
    assert isinstance(trouble.error, NetworkError), trouble.error
    assert "push it again" in str(trouble.error)
    (seconds,) = trouble.extra
    assert isinstance(seconds, float)
    # Eight for what hangs and eight or four for the end of the run; the rest is a busy machine's.
    assert seconds < 60
    assert trouble.then is not None
    assert trouble.then.push_state != "complete"
    whole(trouble, troubles.run)


@pytest.mark.harness
def test_errors_that_pass_are_not_noticed(troubles: Troubles) -> None:
    assert troubles.hiccups.error is None
    whole(troubles.hiccups, troubles.run)
    refused = [request.status for request in troubles.hiccups.server.requests if request.status != 200]
    assert sorted(refused) == [429, 429, 500, 500, 500, 500, 502, 503]


@pytest.mark.harness
def test_a_slow_server_is_waited_for(troubles: Troubles) -> None:
    assert troubles.slow.error is None
    whole(troubles.slow, troubles.run)


@pytest.mark.harness
def test_a_server_that_is_not_there_is_told_soon_and_the_command_leaves_copies(troubles: Troubles) -> None:
    told, url = troubles.nobody, troubles.nowhere
    assert (told.returncode, told.stdout) == (4, "")
    assert f"{url} could not be reached (Connection refused)" in told.stderr
    last = told.stderr.strip().splitlines()[-1]
    assert last.startswith(f"error: {url} could not be reached")
    assert "An offline copy is sent by: wandb sync /" in last
    assert Path(last.rpartition(" ")[2]).is_dir()
    assert CANARY not in told.stderr


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("middle", "もう一度送ると、足りない分が同じ実行に届きます。"),
        (
            "worker",
            "結果を返さずに終了しました（終了コード -9）。システムに強制終了されました。おそらくメモリが足りなく"
            "なったためです。ここの実行結果はそのままです。メモリを空けて、もう一度送ってください。",
        ),
    ],
)
@pytest.mark.harness
def test_an_error_of_the_other_process_is_whole_in_japanese(troubles: Troubles, name: str, sentence: str) -> None:
    error = getattr(troubles, name).error
    assert isinstance(error, NetworkError)
    assert say(error.message, "ja").endswith(sentence)
    assert "untouched" not in say(error.message, "ja")


# --- processes that are killed --------------------------------------------------------------------------


@pytest.mark.harness
def test_a_client_that_is_killed_is_told_and_the_next_push_completes_it(troubles: Troubles) -> None:
    assert isinstance(troubles.worker.error, NetworkError)
    assert "exited without a result (exit code -9): the system killed it" in str(troubles.worker.error)
    assert troubles.worker.then is not None
    assert troubles.worker.then.push_state in (None, "sending")
    whole(troubles.worker, troubles.run)


@pytest.mark.harness
def test_whoever_is_killed_takes_the_client_along_and_the_next_push_completes_it(troubles: Troubles) -> None:
    (busy,) = troubles.parent.extra
    assert busy == 2, "the client and its core were at work"
    assert troubles.parent.then is not None
    assert troubles.parent.then.there
    assert troubles.parent.then.push_state in (None, "sending")
    whole(troubles.parent, troubles.run)


@pytest.mark.harness
def test_what_a_killed_push_leaves_behind_holds_no_key(troubles: Troubles) -> None:
    folder = troubles.run.parent.parent
    assert [path for path in folder.rglob("*") if path.is_file() and CANARY.encode() in path.read_bytes()] == []


@pytest.mark.harness
def test_of_two_pushes_of_one_run_at_once_one_is_refused(troubles: Troubles) -> None:
    (error,) = troubles.worker.extra
    assert isinstance(error, RunBusyError), error
    assert str(error) == f"jglue-{spec_id(troubles.run)} is being pushed to team/jglue already. Wait for its end."


# --- the disk -------------------------------------------------------------------------------------------


@pytest.mark.harness
def test_a_temporary_folder_that_is_too_small_is_told_before_anything_is_sent(
    troubles: Troubles, monkeypatch: pytest.MonkeyPatch, temporary: Path
) -> None:
    usage = psutil.disk_usage(str(temporary))
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage._replace(free=1 << 20))
    with WandbServer() as server:
        with pytest.raises(StoreError, match=rf"MiB are needed in {temporary}, which has 1 MiB"):
            wandb_sink.push(troubles.run, login(server))
        assert server.requests == []


@pytest.mark.harness
def test_a_disk_that_fills_up_on_the_way_is_told_and_the_run_is_untouched(troubles: Troubles) -> None:
    told = troubles.full
    assert told.returncode == 5, told.stderr
    assert "There is no room to prepare what is sent to W&B." in told.stderr
    assert "Traceback" not in told.stderr
    assert all(run.summary.get("push/state") != "complete" for run in troubles.fullest.runs.values())
    assert files(troubles.run) == troubles.before


# --- words ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "said",
    [
        "POST http://127.0.0.1:40123/graphql giving up after 7 attempt(s): dial tcp 127.0.0.1:40123: refused",
        'Post "http://127.0.0.1:40401/graphql": unexpected EOF',
        "failed to upsert run jglue-401a403b404c0000: returned error 500",
        "run team/jglue/jglue-4030000000000404: returned error 502: Bad Gateway",
    ],
)
def test_digits_of_ports_ids_and_counts_are_no_status(said: str) -> None:
    assert type(translate(RuntimeError(said), "team/jglue")) is NetworkError


def test_a_key_that_could_not_be_checked_because_a_process_died_is_no_wrong_key() -> None:
    from wandb.errors import AuthenticationError

    def failed(cause: Exception | None) -> Exception:
        error = AuthenticationError("An error occurred while verifying credentials with http://127.0.0.1: ")
        error.__cause__ = cause
        return error

    assert type(translate(failed(ConnectionResetError()), "team/jglue")) is NetworkError
    assert type(translate(failed(None), "team/jglue")) is InputError
