"""Without a network: copies on the disk, and `wandb sync` sends them later."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from jglue_app import wandb_sink
from jglue_app.errors import StoreError
from jglue_app.messages import say
from jglue_app.wandb_sink import Target
from jglue_app.wandb_sink.membership import membership_of_run
from tests.wandb_server import Run, WandbServer
from tests.wandb_sink.conftest import Board
from tests.wandb_sink.known import ROOT, Json, files, spec_id

pytestmark = pytest.mark.harness

CANARY = "c0ffee" * 7
WANDB = str(Path(sys.executable).with_name("wandb"))


@dataclass(frozen=True)
class Synced:
    """Copies of two runs and their comparison, and the server that `wandb sync` has sent them to."""

    folder: Path
    commands: list[str]
    """What the command printed."""
    server: WandbServer
    said: str


@pytest.fixture(scope="module")
def synced(board: Board, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Synced]:
    folder = tmp_path_factory.mktemp("offline")
    usual = {name: value for name, value in os.environ.items() if not name.startswith(("WANDB_", "JGLUE_"))}
    # A server that is not there, and a key that must not be used.
    lost = {"WANDB_BASE_URL": "http://127.0.0.1:9", "WANDB_API_KEY": CANARY, "WANDB_DIR": str(folder)}
    command = [sys.executable, "-m", "jglue_app", "push"]
    wrote = subprocess.run(
        [*command, board.ada, board.ben, "--compare", "--offline", "--project", "team/jglue"],
        env={**usual, **lost, "PYTHONPATH": str(ROOT)},
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert wrote.returncode == 0, wrote.stderr
    commands = [line for line in wrote.stdout.splitlines() if line.startswith("wandb sync ")]
    copies = [line.removeprefix("wandb sync ") for line in commands]
    with WandbServer() as server:
        there = {"WANDB_BASE_URL": server.url, "WANDB_API_KEY": board.login.key, "HOME": str(folder / "home")}
        sent = subprocess.run(
            [WANDB, "sync", *copies], env={**usual, **there}, cwd=folder, capture_output=True, text=True
        )
        assert sent.returncode == 0, sent.stdout + sent.stderr
        yield Synced(folder, commands, server, wrote.stdout + wrote.stderr)


def plain(run: Run) -> Json:
    """A summary but for what differs from push to push: times and the client's names of table files."""
    values = {key: value for key, value in run.summary.items() if key[0] != "_"}
    return {key: (v["sha256"], v["nrows"], v["path"]) if isinstance(v, dict) else v for key, v in values.items()}


def test_every_copy_is_named_with_the_command_that_sends_it(synced: Synced) -> None:
    assert len(synced.commands) == 3
    assert all(Path(line.removeprefix("wandb sync ")).is_dir() for line in synced.commands)
    assert "Offline copies" in synced.said


@pytest.mark.parametrize("name", ["a", "b", "both"])
def test_a_copy_that_is_sent_later_arrives_as_a_push_does(board: Board, synced: Synced, name: str) -> None:
    pushed, later = board.run(name), synced.server.run(board.sent[name].path)
    # The digest is of all that is sent; of a comparison that is links too, which a copy has not.
    same = plain(pushed) | ({"push/digest": plain(later)["push/digest"]} if name == "both" else {})
    assert plain(later) == same
    for key in board.sent[name].tables:
        assert synced.server.table(later, key) == board.server.table(pushed, key)
    assert (later.display_name, later.group, later.job_type, later.tags, later.state) == (
        pushed.display_name,
        pushed.group,
        pushed.job_type,
        pushed.tags,
        pushed.state,
    )
    assert later.history == []
    assert synced.server.unknown == []


@pytest.mark.parametrize("name", ["a", "b"])
def test_its_config_and_its_folder_arrive_too(board: Board, synced: Synced, name: str) -> None:
    later = synced.server.run(board.sent[name].path)
    both = board.sent["both"].id
    # A copy has no lists, which would replace those at W&B.
    assert later.config | {"comparisons": [both]} == board.run(name).config
    assert later.config["member_of"] == {"comparisons": {both: True}}
    run = board.ada if name == "a" else board.ben
    folder, usual = (server.artifact(f"jglue-run-{spec_id(run)}") for server in (synced.server, board.server))
    assert folder.files == files(run)
    assert folder.metadata == usual.metadata


def test_of_a_comparison_all_but_the_addresses_arrives(board: Board, synced: Synced) -> None:
    later, pushed = synced.server.run(board.sent["both"].path).config, board.run("both").config
    for side in ("a", "b"):
        assert later[side] == pushed[side] | {"url": ""}
    assert later | {"a": 0, "b": 0} == pushed | {"a": 0, "b": 0}


def test_a_copy_takes_a_run_that_is_there_out_of_nothing_and_replaces_what_is_told(
    board: Board, synced: Synced
) -> None:
    sent, both = board.sent["a"], board.sent["both"].id
    earlier = {"comparisons": ["jglue-vs-1"], "grids": ["wordings"], "factors": {"shots": 4}}
    earlier["member_of"] = {"comparisons": {"jglue-vs-1": True}, "grids": {"wordings": True, "v1.2": True}}
    copy = next(line for line in synced.commands if line.endswith(sent.id)).removeprefix("wandb sync ")
    with WandbServer() as server:
        entity, project, id_ = sent.path.split("/")
        run = server.add_run(Run(entity, project, id_, "mine", "wordings", "evaluation", ["jglue", "mine"], "a note"))
        run.raw_config = {key: {"value": value} for key, value in earlier.items()}
        there = {"WANDB_BASE_URL": server.url, "WANDB_API_KEY": board.login.key, "HOME": str(synced.folder / "home")}
        told = subprocess.run(
            [WANDB, "sync", "--include-synced", copy],
            env={**os.environ, **there},
            cwd=synced.folder,
            capture_output=True,
            text=True,
        )
        assert told.returncode == 0, told.stdout + told.stderr
        found = server.run(sent.path)
    assert membership_of_run(found.config, found.group, found.tags) == {
        "comparisons": ("jglue-vs-1", both),
        "grids": ("wordings", "v1.2"),
    }
    assert (found.config["comparisons"], found.config["factors"]) == (["jglue-vs-1"], {"shots": 4})
    assert found.config["protocol"] == "official" and found.notes == "a note"
    pushed = board.run("a")
    assert (found.display_name, found.group, found.tags) == (pushed.display_name, both, pushed.tags)
    assert "Where W&B has the same run already, `wandb sync` replaces its name" in synced.said


def test_no_key_and_no_other_secret_lies_in_the_copies(synced: Synced) -> None:
    found = [path for path in synced.folder.rglob("*") if path.is_file() and "home" not in path.parts]
    assert len(found) > 6
    assert [path for path in found if CANARY.encode() in path.read_bytes()] == []
    assert CANARY not in synced.said


def test_what_a_copy_holds_is_told(synced: Synced) -> None:
    # The models failed at items of JNLI.
    assert synced.said.count("it is sent as it is and tagged 'unfinished'") == 2
    assert synced.said.count("predictions/jnli 45") == 2


def test_a_folder_that_cannot_be_made_is_told(board: Board, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"cannot be made .* WANDB_DIR"):
        wandb_sink.write_offline((board.ada,), Target("", "jglue"), tmp_path / "file" / "below")


def test_messages_come_from_the_other_process_with_their_kind_and_in_both_languages(
    board: Board, tmp_path: Path
) -> None:
    messages: list[str] = []
    wandb_sink.write_offline((board.ada,), Target("", "jglue"), tmp_path, on_message=messages.append)
    sending = next(message for message in messages if isinstance(message, wandb_sink.ProgressMessage))
    replaces, unfinished, folder = (message for message in messages if message is not sending)
    # The run's model is a file of this machine.
    assert folder.startswith("The run's folder is sent unchanged") and "変更せずに送ります" in say(folder, "ja")
    assert "`wandb sync` replaces its name, its tags" in replaces
    assert "名前とタグ" in say(replaces, "ja")
    assert unfinished.startswith("This run has ") and sending.startswith("Sending ")
    assert say(unfinished, "ja").endswith("問中）までです。そのまま送り、「unfinished」と印を付けました。")
    assert say(sending, "ja").endswith(" MiB）を送っています。")
