"""A run folder comes back from W&B as it was."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from jglue_app import wandb_sink
from jglue_app.api import open_run
from jglue_app.errors import InputError, JglueAppError, StoreError
from jglue_app.results.library import Library
from jglue_app.wandb_sink import RunPath, parse_run_path
from tests.unsealed import unsealed
from tests.wandb_server import WandbServer
from tests.wandb_sink.conftest import Board, Cli
from tests.wandb_sink.known import files, spec_id, together


@dataclass(frozen=True)
class Pulled:
    """What came of some pulls."""

    folder: Path
    one: list[Path] | JglueAppError
    both: list[Path] | JglueAppError
    """Of the comparison, into a folder that had one of the two."""
    again: list[Path] | JglueAppError
    """Of the one, into the same folder."""
    changed: list[Path] | JglueAppError
    """And where what is here is not what is there."""
    half: list[Path] | JglueAppError
    """Of the comparison, where what is here of one run is not what is there."""
    lone: list[Path] | JglueAppError
    nothing: list[Path] | JglueAppError
    nowhere: list[Path] | JglueAppError
    copy: list[Path] | JglueAppError
    """Of a W&B run whose folder an earlier one has logged."""
    said: list[str]


@pytest.fixture(scope="module")
def pulled(board: Board, tmp_path_factory: pytest.TempPathFactory) -> Pulled:
    folder = tmp_path_factory.mktemp("pulled")
    shutil.copytree(board.ben, folder / "both" / spec_id(board.ben))
    said: list[str] = []

    def pull(path: str, into: str) -> list[Path] | JglueAppError:
        try:
            return wandb_sink.pull(parse_run_path(path), board.login, folder / into, on_message=said.append)
        except JglueAppError as error:
            return error

    def calls(*some: tuple[str, str]) -> Callable[[], list[list[Path] | JglueAppError]]:
        return lambda: [pull(*call) for call in some]

    cut = Path(shutil.copytree(board.ben, folder / "half" / spec_id(board.ben)))
    (unsealed(cut) / "records.jsonl").write_text("", "utf-8")
    gemma = f"{board.server.url}/{board.sent['gemma'].path}?nw=nwuser"
    other = Path(shutil.copytree(board.gemma, folder / "changed" / spec_id(board.gemma)))
    (unsealed(other) / "records.jsonl").write_text("", "utf-8")
    (one, again, changed), (both, lone), (nothing, nowhere), (copy, half) = together(
        calls(
            (gemma.replace("jglue/jglue-", "jglue/runs/jglue-"), "one"),
            *((board.sent["gemma"].path, into) for into in ("one", "changed")),
        ),
        calls((board.sent["both"].path, "both"), (board.lone, "lone")),
        calls(("team/jglue/jglue-nothing", "nothing"), ("team/nowhere/jglue-nothing", "nothing")),
        calls(("team/jglue/jglue-copy", "copy"), (board.sent["both"].path, "half")),
        at_once=3,
    )
    return Pulled(folder, one, both, again, changed, half, lone, nothing, nowhere, copy, said)


def paths(found: list[Path] | JglueAppError) -> list[Path]:
    assert isinstance(found, list), found
    return found


def error(found: list[Path] | JglueAppError) -> JglueAppError:
    assert isinstance(found, JglueAppError)
    return found


def test_the_folder_of_a_run_comes_back_to_the_byte_from_the_address_of_its_page(board: Board, pulled: Pulled) -> None:
    (path,) = paths(pulled.one)
    assert path == pulled.folder / "one" / spec_id(board.gemma)
    assert files(path) == files(board.gemma)
    assert open_run(path).report("official") == open_run(board.gemma).report("official")
    assert [run.name for run in Library(pulled.folder / "one").all()] == [path.name]


def test_of_a_comparison_both_come_and_one_that_is_here_already_is_named(board: Board, pulled: Pulled) -> None:
    a, b = paths(pulled.both)
    assert (a.name, b.name) == (spec_id(board.ada), spec_id(board.ben))
    assert files(a) == files(board.ada)
    assert files(b) == files(board.ben)


def test_a_folder_that_an_earlier_run_has_logged_is_found_by_its_name(board: Board, pulled: Pulled) -> None:
    (path,) = paths(pulled.copy)
    assert files(path) == files(board.ada)


def test_what_is_here_already_is_not_brought_again(board: Board, pulled: Pulled) -> None:
    assert paths(pulled.again) == paths(pulled.one)
    assert f"{paths(pulled.one)[0]} is here already, and was left as it is." in pulled.said
    assert files(paths(pulled.one)[0]) == files(board.gemma)
    assert [line for line in pulled.said if "is here already" in line and spec_id(board.ben) in line]


def test_another_state_of_a_run_that_is_here_is_not_touched(board: Board, pulled: Pulled) -> None:
    found = error(pulled.changed)
    assert isinstance(found, StoreError)
    assert f"The run {spec_id(board.gemma)} is here already." in str(found)
    assert (pulled.folder / "changed" / spec_id(board.gemma) / "records.jsonl").read_bytes() == b""
    found = error(pulled.half)
    assert isinstance(found, StoreError)
    assert f"The run {spec_id(board.ben)} is here already." in str(found)


def test_a_run_without_a_folder_is_told_from_one_that_is_not_there(pulled: Pulled) -> None:
    lone, nothing, nowhere = (error(found) for found in (pulled.lone, pulled.nothing, pulled.nowhere))
    assert {type(found) for found in (lone, nothing, nowhere)} == {InputError}
    assert "jglue-lone holds no run folder" in str(lone)
    assert "team/jglue/jglue-nothing" in str(nothing)
    assert "team/nowhere/jglue-nothing" in str(nowhere)


def test_what_is_downloaded_is_told_with_its_size(board: Board, pulled: Pulled) -> None:
    assert f"Downloading team/jglue/jglue-run-{spec_id(board.gemma)}:v0 (0.5 MiB)." in pulled.said


def test_nothing_stays_of_a_download_that_failed_or_ended(pulled: Pulled) -> None:
    left = [path.name for path in pulled.folder.glob("*/*") if path.name.startswith(".")]
    assert left == []
    assert list((pulled.folder / "lone").iterdir()) == []


# --- how a run is named ---------------------------------------------------------------------------------

WANTED = RunPath("team", "jglue", "jglue-0123")


@pytest.mark.parametrize(
    "text",
    [
        "team/jglue/jglue-0123",
        "team/jglue/runs/jglue-0123",
        "https://wandb.ai/team/jglue/runs/jglue-0123",
        "https://wandb.ai/team/jglue/runs/jglue-0123/",
        "https://wandb.ai/team/jglue/runs/jglue-0123/overview",
        "https://wandb.ai/team/jglue/runs/jglue-0123?nw=nwuser#charts",
        "http://127.0.0.1:8080/team/jglue/runs/jglue-0123",
    ],
)
def test_a_run_is_named_by_three_parts_or_by_an_address(text: str) -> None:
    assert parse_run_path(text) == WANTED


def test_an_address_may_spell_japanese_in_its_own_way() -> None:
    assert parse_run_path("https://wandb.ai/team/%E6%97%A5%E6%9C%AC/runs/jglue-0123").project == "日本"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/",
        "jglue-0123",
        "jglue/jglue-0123",
        "team//jglue-0123",
        "a/b/c/d",
        "https://wandb.ai/team/jglue",
        "runs/",
        "//",
    ],
)
def test_anything_else_is_refused_before_anything_is_asked(cli: Cli, text: str) -> None:
    with WandbServer() as server:
        told = cli("pull", text, server=server)
        assert told.code == 2
        assert "names no run at W&B. Write ENTITY/PROJECT/RUN" in told.err
        assert server.requests == []


def test_the_command_prints_where_the_folder_is(board: Board, cli: Cli, tmp_path: Path) -> None:
    told = cli("pull", board.sent["a"].path, "--runs-dir", tmp_path / "runs", server=board.server)
    assert (told.code, told.out.strip()) == (0, str(tmp_path / "runs" / spec_id(board.ada)))
    assert files(tmp_path / "runs" / spec_id(board.ada)) == files(board.ada)
