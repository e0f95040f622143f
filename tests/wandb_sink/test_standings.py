"""The ranking of a W&B project beside that of the runs stored here."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from jglue_app import wandb_sink
from jglue_app.errors import InputError, JglueAppError, NetworkError, UnknownNameError
from jglue_app.results.library import Library
from jglue_app.scoring.leaderboard import Entry, leaderboard
from jglue_app.wandb_sink import Login, Standings
from tests.wandb_server import WandbServer
from tests.wandb_sink.conftest import Board, Cli
from tests.wandb_sink.known import login, spec_id, together


@pytest.fixture(scope="module")
def found(board: Board) -> Standings:
    return wandb_sink.standings(board.login)


@pytest.fixture(scope="module")
def library(board: Board, tmp_path_factory: pytest.TempPathFactory) -> Library:
    """The same four runs, stored here."""
    folder = tmp_path_factory.mktemp("here")
    for run in (board.ada, board.ben, board.gemma, board.half):
        spec = json.loads((run / "manifest.json").read_text("utf-8"))["spec_id"]
        (folder / spec).symlink_to(run)
    return Library(folder)


def by_name(entries: list[Entry]) -> dict[str, Entry]:
    return {entry.name.removeprefix("jglue-"): replace(entry, name="") for entry in entries}


@pytest.mark.parametrize("protocol", ["official", "stability-jp", "flexeval", "lm-eval-ja", "wandb-2023-0shot"])
@pytest.mark.parametrize("tasks", [["jnli"], ["jnli", "jsquad"]])
def test_the_runs_at_wandb_rank_as_they_do_here(
    found: Standings, library: Library, protocol: str, tasks: list[str]
) -> None:
    here = leaderboard(library.reports(protocol, "sample"), library.reports("official", "sample"), tasks)
    there = found.ranked(protocol, "official", "sample", tasks)
    assert len(there) == 4
    assert by_name(there) == by_name(here)
    assert [entry.rank for entry in there] == [entry.rank for entry in here]
    assert all(entry.average.low is not None for entry in there)
    assert all(entry.usual_rank is not None for entry in there)


def test_a_run_without_a_subset_has_no_rank_there_either(found: Standings, library: Library) -> None:
    tasks = ["marc_ja", "jnli"]
    here = leaderboard(library.reports("official", "sample"), library.reports("official", "sample"), tasks)
    there = found.ranked("official", "official", "sample", tasks)
    assert by_name(there) == by_name(here)
    assert [entry.missing for entry in there] == [(), *[("marc_ja",)] * 3]


def test_runs_that_no_push_has_completed_are_left_out_and_counted(found: Standings, board: Board) -> None:
    assert {run["id"] for run in found.runs} == {board.sent[name].id for name in ("a", "b", "gemma", "half")}
    # One that a push began and never ended, one of a newer version of this application.
    assert found.left_out == 2


def test_runs_over_official_data_are_another_ranking(found: Standings) -> None:
    assert found.ranked("official", "official", "official", ["jnli"]) == []
    with pytest.raises(UnknownNameError):
        found.ranked("oficial", "official", "sample", ["jnli"])


def test_the_command_ranks_a_project_and_tells_what_it_left_out(board: Board, library: Library, cli: Cli) -> None:
    options = ("leaderboard", "--data", "sample", "--tasks", "jnli,jsquad", "--protocol", "flexeval")
    there = cli(*options, "--json", "--wandb", "team/jglue", server=board.server)
    here = cli(*options, "--json", "--runs-dir", library.runs_dir)
    assert (there.code, here.code) == (0, 0)
    lists = [
        {entry["name"].removeprefix("jglue-"): entry | {"name": ""} for entry in told.json()["entries"]}
        for told in (there, here)
    ]
    assert lists[0] == lists[1]
    plain = cli(*options, "--wandb", "team/jglue", server=board.server)
    assert "2 runs of team/jglue are left out" in plain.out
    assert "日本語-モデル" in plain.out
    other = cli("leaderboard", "--tasks", "jnli", "--wandb", "team/jglue", server=board.server)
    assert "There is no run over official data yet. 4 runs are over sample data: --data sample." in other.out


def test_a_project_that_is_not_there_and_a_server_that_is_not_there_are_told_apart(board: Board) -> None:
    with WandbServer() as gone:
        nowhere = login(gone)

    def told(to: Login) -> Callable[[], JglueAppError]:
        def ask() -> JglueAppError:
            with pytest.raises(JglueAppError) as found:
                wandb_sink.standings(to)
            return found.value

        return ask

    first, second = together(told(login(board.server, project="nothing")), told(nowhere))
    assert (type(first), "team/nothing" in str(first)) == (InputError, True)
    assert (type(second), "could not be reached" in str(second)) == (NetworkError, True)


def test_a_second_wandb_run_of_the_same_run_does_not_count_twice(found: Standings, board: Board) -> None:
    copies = [
        run for run in board.server.runs.values() if run.config.get("jglue", {}).get("spec_id") == spec_id(board.ada)
    ]
    assert {run.id for run in copies} == {"jglue-copy", board.sent["a"].id}
    assert [run["id"] for run in found.runs if run["spec_id"] == spec_id(board.ada)] == [board.sent["a"].id]
