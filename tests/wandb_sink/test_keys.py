"""A key is used for one push, by whoever it belongs to, and stays nowhere."""

from __future__ import annotations

import base64
import json
import os
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import psutil
import pytest

from jglue_app import wandb_sink
from jglue_app.errors import JglueAppError
from jglue_app.wandb_sink import Login, Target
from tests.wandb_server import WandbServer
from tests.wandb_sink.conftest import Cli, Told
from tests.wandb_sink.known import Json, run_of, spec_id, together

MANY = 6
CANARIES = tuple(f"canary{number:02}" + f"{number:02}xyzzy" * 5 for number in range(MANY + 2))
"""The last two belong to people who name no entity: their own one is meant."""
WORKER = "jglue_app.wandb_sink.client.worker"
STRANGERS = {"HF_TOKEN": "hf_stranger", "OPENAI_API_KEY": "sk-stranger", "WANDB_API_KEY": "parent-" + "s" * 40}
"""Secrets of whoever started all this, which are nobody's business."""


def traces(key: str) -> tuple[bytes, ...]:
    """The key, as it is and as it stands in a header."""
    return key.encode(), base64.b64encode(f"api:{key}".encode())


def with_key(folder: Path, *keys: str) -> list[Path]:
    """The files below a folder that hold one of some keys."""
    wanted = [trace for key in keys for trace in traces(key)]
    found = []
    for parent, _, names in os.walk(folder):  # What goes meanwhile is passed over.
        for path in (Path(parent, name) for name in names):
            try:
                data = path.read_bytes() if path.is_file() else b""
            except OSError:
                continue
            if any(trace in data for trace in wanted):
                found.append(path)
    return found


@dataclass
class Looked:
    """What could be seen while pushes were under way."""

    commands: set[str] = field(default_factory=set)
    environments: dict[int, dict[str, str]] = field(default_factory=dict)
    """By number of the process: those that push, and what they start."""
    files: set[Path] = field(default_factory=set)
    looks: int = 0

    def look(self, *folders: Path) -> None:
        # Other tests' servers and browser are children of this process, too.
        for child in psutil.Process().children():
            try:
                if WORKER not in child.cmdline():
                    continue
                for one in (child, *child.children(recursive=True)):
                    self.commands.add(" ".join(one.cmdline()))
                    self.environments[one.pid] = one.environ()
            except psutil.Error:
                continue
        self.files |= {path for folder in folders for path in with_key(folder, *CANARIES)}
        self.looks += 1


@dataclass(frozen=True)
class Crowd:
    """Many people who have pushed the same run at the same time."""

    server: WandbServer
    run: Path
    errors: list[BaseException | None]
    said: list[str]
    seen: Looked
    environment: dict[str, str]
    """Of this process, afterwards."""
    home: Path
    before: set[Path]
    """What lay in the temporary folder already."""


@pytest.fixture(scope="module")
def crowd(made: Path, temporary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crowd]:
    home, before = tmp_path_factory.mktemp("home"), set(temporary.iterdir())
    run = run_of(made / "ada.jsonl", home / "runs", limit=3)
    said: list[str] = []
    seen, over = Looked(), threading.Event()
    with WandbServer({key: f"team{number:02}" for number, key in enumerate(CANARIES)}) as server:

        def push(number: int) -> BaseException | None:
            entity = f"team{number:02}" if number < MANY else ""
            try:
                wandb_sink.push(
                    run, Login(Target(entity, "jglue", server.url), CANARIES[number]), on_message=said.append
                )
            except Exception as error:
                return error
            return None

        def watch() -> None:
            while not over.wait(0.5):
                seen.look(temporary, home)

        with pytest.MonkeyPatch.context() as patch:
            for name, value in {**STRANGERS, "HOME": str(home)}.items():
                patch.setenv(name, value)
            watching = threading.Thread(target=watch)
            watching.start()
            try:
                errors = together(*(lambda n=n: push(n) for n in range(MANY + 2)), at_once=MANY + 2)
            finally:
                over.set()
                watching.join()
            yield Crowd(server, run, errors, said, seen, dict(os.environ), home, before)


@pytest.mark.slow
def test_people_push_at_once_and_each_run_is_written_with_its_owners_key_alone(crowd: Crowd) -> None:
    assert crowd.errors[:MANY] == [None] * MANY
    for number in range(MANY):
        run = crowd.server.run(f"team{number:02}/jglue/jglue-{spec_id(crowd.run)}")
        assert run.keys == {CANARIES[number]}
        assert run.summary["push/state"] == "complete"
        assert len(crowd.server.table(run, "predictions/jnli")) == 3
        folder = crowd.server.artifact(f"team{number:02}/jglue/jglue-run-{spec_id(crowd.run)}")
        assert folder.run == run.id
    assert crowd.server.unknown == []


@pytest.mark.slow
def test_two_people_who_name_no_entity_do_not_stand_in_each_others_way(crowd: Crowd) -> None:
    assert crowd.errors[MANY:] == [None, None]
    for number in (MANY, MANY + 1):
        assert crowd.server.run(f"team{number:02}/jglue/jglue-{spec_id(crowd.run)}").keys == {CANARIES[number]}


@pytest.mark.slow
def test_every_key_belongs_to_one_of_the_runs(crowd: Crowd) -> None:
    assert {request.key for request in crowd.server.requests} <= {*CANARIES, None}
    assert all(len(run.keys) == 1 for run in crowd.server.runs.values())


@pytest.mark.slow
def test_no_process_has_a_key_in_its_command_line(crowd: Crowd) -> None:
    assert any(WORKER in command for command in crowd.seen.commands)
    assert any("wandb-core" in command for command in crowd.seen.commands)
    assert [command for command in crowd.seen.commands if "canary" in command] == []


@pytest.mark.slow
def test_a_process_has_one_key_in_its_environment_and_no_secret_of_anybody_else(crowd: Crowd) -> None:
    environments = [found for found in crowd.seen.environments.values() if found]
    assert len(environments) >= MANY
    for found in environments:
        assert found["WANDB_API_KEY"] in CANARIES
        assert [name for name, value in found.items() if value in CANARIES] == ["WANDB_API_KEY"]
        assert [name for name, value in found.items() if "stranger" in value or "s" * 40 in value] == []
        assert "HF_TOKEN" not in found
        assert found["HOME"] != str(crowd.home)


@pytest.mark.slow
def test_the_environment_of_this_process_has_none_of_them(crowd: Crowd) -> None:
    assert {name: crowd.environment[name] for name in STRANGERS} == STRANGERS
    assert [name for name, value in crowd.environment.items() if "canary" in value] == []


@pytest.mark.slow
def test_no_file_holds_a_key_neither_on_the_way_nor_afterwards(crowd: Crowd, temporary: Path) -> None:
    assert crowd.seen.looks > 3
    assert crowd.seen.files == set()
    assert with_key(temporary, *CANARIES) + with_key(crowd.home, *CANARIES) == []


@pytest.mark.slow
def test_what_is_told_on_the_way_holds_no_key(crowd: Crowd) -> None:
    assert len(crowd.said) >= MANY
    assert [line for line in crowd.said if "canary" in line] == []


@pytest.mark.slow
def test_nothing_that_the_server_keeps_holds_a_key(crowd: Crowd) -> None:
    kept: list[Json] = [
        {"config": run.raw_config, "summary": run.raw_summary, "tags": run.tags, "metadata": run.metadata}
        for run in crowd.server.runs.values()
    ]
    assert "canary" not in json.dumps([*kept, *(artifact.metadata for artifact in crowd.server.artifacts)])
    held = [data for run in crowd.server.runs.values() for data in run.files.values()]
    held += [data for artifact in crowd.server.artifacts for data in artifact.files.values()]
    assert len(held) > 5 * MANY
    assert [data for data in held if b"canary" in data] == []


@pytest.mark.slow
def test_nothing_stays_in_the_temporary_folder_but_the_locks(crowd: Crowd, temporary: Path) -> None:
    left = {path for path in temporary.iterdir() if not path.name.startswith("jglue-app-")} - crowd.before
    assert [path.name for path in left] == []


# --- when it fails --------------------------------------------------------------------------------------

KEY = CANARIES[0]


class Parrot(WandbServer):
    """Lets nobody begin a run, in a text that repeats the key, over and over."""

    def __init__(self, status: int) -> None:
        super().__init__()
        self.status = status

    def answer(self, method: str, path: str, body: bytes, key: str | None) -> tuple[int, Mapping[str, str], bytes]:
        if b"UpsertBucket" not in body:
            return super().answer(method, path, body, key)
        told = {"errors": [{"message": f"the key {key} is bad: " + f"{key} " * 20}], "data": None}
        return self.status, {}, json.dumps(told).encode()


def pieces_in(text: str) -> list[str]:
    """Parts of the key that are long enough to help somebody."""
    return [KEY[start : start + 10] for start in range(len(KEY) - 9) if KEY[start : start + 10] in text]


def clean(told: Told, *folders: Path) -> None:
    """Nothing of the key has come out."""
    assert pieces_in(told.out + told.err) == [], told.err
    assert [path for folder in folders for path in with_key(folder, KEY)] == []


@pytest.fixture
def run(made: Path) -> Path:
    return (made / "ada").resolve()


def test_no_part_of_a_key_that_a_server_repeats_is_told(run: Path, temporary: Path) -> None:
    said: list[str] = []

    def refused(status: int) -> str:
        with Parrot(status) as server:
            to = Login(Target("", "jglue", server.url), KEY)
            with pytest.raises(JglueAppError) as found:
                # Not the same project: two pushes of one run to one place would stand in each other's way.
                wandb_sink.push(
                    run, replace(to, target=replace(to.target, project=f"p{status}")), on_message=said.append
                )
            assert server.requests[0].key == KEY
            assert server.runs == {}
            return str(found.value)

    errors = together(*(lambda status=status: refused(status) for status in (200, 401, 403)), at_once=3)
    assert all("[key]" in text or "does not accept this key" in text for text in errors)
    assert [piece for text in (*errors, *said) for piece in pieces_in(text)] == [], errors
    assert with_key(temporary, KEY) == []


def test_a_wrong_key_is_told_and_not_repeated(run: Path, cli: Cli, tmp_path: Path, temporary: Path) -> None:
    with WandbServer({"another": "team"}) as server:
        told = cli("push", run, server=server, WANDB_API_KEY=KEY)
        assert (told.code, told.out) == (2, "")
        assert "W&B does not accept this key" in told.err
        assert server.runs == {}
    clean(told, tmp_path, temporary)


def test_an_empty_key_is_refused_before_anything_is_sent(run: Path, cli: Cli, tmp_path: Path) -> None:
    netrc = tmp_path / "keys"
    netrc.write_text(f"machine 127.0.0.1\n  login user\n  password {KEY}\n", "utf-8")
    with WandbServer() as server:
        for command in (
            ("push", run),
            ("pull", "team/jglue/jglue-0"),
            ("leaderboard", "--wandb", "team/jglue"),
            ("run", "--model", run.parent.parent / "ada.jsonl", "--tasks", "jnli", "--data", "sample", "--wandb"),
            ("compare", run, run, "--wandb"),
        ):
            told = cli(*command, "--runs-dir", tmp_path / "runs", server=server, WANDB_API_KEY="", NETRC=str(netrc))
            assert (told.code, told.out) == (2, "")
            assert f"There is no key for {server.url}" in told.err
            nothing = "Nothing was read." if command[0] in ("pull", "leaderboard") else "Nothing was sent."
            assert nothing in told.err
        assert server.requests == []
    assert not (tmp_path / "runs").exists()


def test_what_looks_like_no_key_is_refused_before_anything_is_sent(run: Path, cli: Cli) -> None:
    with WandbServer() as server:
        told = cli("push", run, server=server, WANDB_API_KEY=KEY[:30])
        assert told.code == 2
        assert "This is no W&B key" in told.err
        assert server.requests == []
    clean(told)


def test_a_key_that_wandb_login_has_stored_is_used_and_not_copied(
    run: Path, cli: Cli, tmp_path: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / ".netrc").write_text(f"machine 127.0.0.1\n  login user\n  password {KEY}\n", "utf-8")
    with WandbServer({"another": "team"}) as server:
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        told = cli("push", run, HOME=str(home), NETRC=str(home / ".netrc"))
        assert told.code == 2
        assert {request.key for request in server.requests} == {KEY}
    clean(told, temporary)
    assert with_key(tmp_path, KEY) == [home / ".netrc"]
