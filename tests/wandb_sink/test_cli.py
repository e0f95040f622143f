"""`push`, `run --wandb` and their options, as a script meets them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.wandb_server import WandbServer
from tests.wandb_sink.conftest import Cli
from tests.wandb_sink.known import KEY, run_of, spec_id, steady


@pytest.fixture
def ada(made: Path) -> Path:
    return (made / "ada").resolve()


def test_a_push_prints_the_page_and_how_much_arrived(made: Path, cli: Cli, tmp_path: Path) -> None:
    run = run_of(made / "ada.jsonl", tmp_path / "runs", limit=3)
    with WandbServer({KEY: "hanako"}) as server:
        # By its id, to whom the key belongs.
        told = cli("push", run.name, "--runs-dir", run.parent, "--json", server=server)
        assert told.code == 0, told.err
        (found,) = server.runs.values()
        assert found.path == f"hanako/jglue/jglue-{spec_id(run)}"
        (sent,) = told.json()
        assert sent["path"] == found.path
        assert sent["url"] == f"{server.url}/hanako/jglue/runs/jglue-{spec_id(run)}"
        assert sent["tables"]["predictions/jnli"] == 3


def test_a_run_may_be_written_for_later_without_a_key_and_without_a_server(cli: Cli, tmp_path: Path) -> None:
    model = steady(tmp_path / "steady.jsonl")
    command = ("run", "--model", model, "--tasks", "jnli", "--data", "sample", "--limit", 3)
    # As for all that W&B's client does; `--offline` says it for one command.
    own = {"WANDB_DIR": str(tmp_path / "copies"), "WANDB_MODE": "offline"}
    told = cli(*command, "--wandb", "--project", "team/jglue", server=None, **own)
    assert told.code == 0, told.err
    (copy,) = (tmp_path / "copies" / "wandb").glob("offline-run-*")
    assert f"wandb sync {copy}" in told.err


# --- refused before anything is sent --------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a/b/c", "a\\b", "a#b", "a?b", "a%b", "a:b", "a b", "x" * 129, "/jglue", "team/"])
def test_a_project_name_that_wandb_does_not_take_is_refused(ada: Path, cli: Cli, name: str) -> None:
    with WandbServer() as server:
        told = cli("push", ada, "--project", name, server=server)
        assert (told.code, told.out) == (2, "")
        assert "W&B takes no project named" in told.err or "names no entity" in told.err
        assert server.requests == []


@pytest.mark.parametrize("name", ["", " "])
def test_an_empty_project_name_is_none(ada: Path, cli: Cli, name: str) -> None:
    told = cli("push", ada, "--project", name, WANDB_API_KEY="", WANDB_PROJECT="a?b")
    assert (told.code, "'a?b'" in told.err) == (2, True)


@pytest.mark.parametrize("entity", ["no/body", "nobody?", "だれか"])
def test_an_entity_that_wandb_cannot_have_is_refused(ada: Path, cli: Cli, entity: str) -> None:
    with WandbServer() as server:
        told = cli("push", ada, "--entity", entity, server=server)
        assert (told.code, "W&B has no entity named" in told.err) == (2, True)
        assert server.requests == []


def test_an_entity_that_is_not_there_is_named(ada: Path, cli: Cli) -> None:
    with WandbServer(entities={"team"}) as server:
        told = cli("push", ada, "--entity", "nobody", server=server)
        assert told.code == 2
        assert "W&B knows no nobody/jglue. Check entity and project" in told.err
        assert server.runs == {}


def test_a_comparison_is_of_two_runs(ada: Path, made: Path, cli: Cli) -> None:
    with WandbServer() as server:
        for runs in ([ada], [ada, made / "ben", ada]):
            told = cli("push", *runs, "--compare", server=server)
            assert (told.code, told.err) == (2, "error: --compare takes exactly two runs.\n")
        same = cli("push", ada, ada, "--compare", server=server)
        assert (same.code, "are the same run" in same.err) == (2, True)
        assert server.requests == []


def test_a_run_that_is_not_there_is_told(cli: Cli, tmp_path: Path, ada: Path) -> None:
    with WandbServer() as server:
        told = cli("push", ada, tmp_path / "nothing", server=server)
        assert told.code == 5
        assert "nothing. `python -m jglue_app runs` lists" in told.err
        assert cli("push", "0123456789abcdef", server=server).code == 5
        assert server.requests == []


def test_a_protocol_that_is_not_there_is_told_with_the_nearest(ada: Path, cli: Cli) -> None:
    with WandbServer() as server:
        told = cli("push", ada, "--protocol", "stability", server=server)
        assert (told.code, "Did you mean 'stability-jp'?" in told.err) == (2, True)
        assert server.requests == []


@pytest.mark.parametrize("option", [("--project", "jglue"), ("--entity", "team"), ("--offline",)])
def test_options_that_would_do_nothing_are_refused(cli: Cli, tmp_path: Path, option: tuple[str, ...]) -> None:
    model = steady(tmp_path / "steady.jsonl")
    told = cli("run", "--model", model, "--tasks", "jnli", "--data", "sample", *option)
    assert (told.code, "belong to --wandb" in told.err) == (2, True)
    assert not (tmp_path / "runs").exists()


def test_a_run_whose_every_item_failed_is_told_as_that_and_not_as_a_push_that_failed(cli: Cli, tmp_path: Path) -> None:
    model = tmp_path / "silent.jsonl"
    model.write_text('{"task": "jsts", "item_id": "none", "text": "1.0"}\n', "utf-8")
    command = ("run", "--model", model, "--tasks", "jnli", "--data", "sample", "--limit", 3, "--wandb")
    with WandbServer() as server:
        told = cli(*command, "--project", "team/jglue", server=server, JGLUE_RUNS_DIR=str(tmp_path / "runs"))
        assert told.code == 6
        assert "3 items have no output" in told.err
        assert "has no answer yet" in told.err
        (run,) = server.runs.values()
        assert (run.state, run.exit_code, "push/state" in run.summary) == ("failed", 6, False)


def test_where_wandb_is_turned_off_nothing_is_pushed(ada: Path, cli: Cli) -> None:
    with WandbServer() as server:
        told = cli("push", ada, server=server, WANDB_MODE="disabled")
        assert (told.code, "WANDB_MODE=disabled turns W&B off" in told.err) == (2, True)
        assert server.requests == []


def test_a_report_needs_a_project(cli: Cli) -> None:
    told = cli("leaderboard", "--data", "sample", "--report")
    assert (told.code, "--report belongs to --wandb" in told.err) == (2, True)


def test_an_address_that_is_none_is_refused_without_being_repeated(ada: Path, cli: Cli) -> None:
    told = cli("push", ada, WANDB_API_KEY=KEY, WANDB_BASE_URL="https://hanako:secret@wandb.example.org")
    assert told.code == 2
    assert "secret" not in told.err
