"""Whose runs are whose, after the server was started anew."""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from jglue_app.errors import StoreError
from jglue_app.results.showcase import run_folder
from jglue_app.runs.store import RunStore
from jglue_app.settings import Settings, load_settings
from jglue_app.ui.jobs import Job, PlannedRun
from jglue_app.ui.remembered_access import DAY_S, FOLDER, KEPT_DAYS, RememberedAccess
from jglue_app.ui.state import AppState

ANNA, BEN = "a" * 22, "b" * 22


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Of a public server with one stored run."""
    runs = tmp_path / "runs"
    data = RunStore(run_folder("base-3-shot")).data()
    with RunStore(runs / "some-run").writing() as writer:
        writer.items(item for of in data.items.values() for item in of.values())
        writer.append(data.records)
        writer.manifest(RunStore(run_folder("base-3-shot")).manifest())
    return replace(load_settings(), public=True, runs_dir=runs)


def requested(owner: str, *ids: str) -> Job:
    """A job of an owner that asks for items of JNLI."""
    return Job("id", owner, "compare", runs={"a": PlannedRun("some-run", {"jnli": frozenset(ids)})})


def test_a_visitor_who_comes_back_after_a_restart_sees_what_they_requested_and_nobody_else_does(
    settings: Settings,
) -> None:
    first = AppState(settings)
    first.grant_access(requested(ANNA, "sn001", "sn002"))
    first.grant_access(requested(ANNA, "sn003"))
    first.close()
    again = AppState(settings)
    assert list(again.runs(ANNA, shipped=False)) == ["some-run"]
    assert set(again.data(ANNA, "some-run").items["jnli"]) == {"sn001", "sn002", "sn003"}
    assert again.runs(BEN, shipped=False) == {}
    with pytest.raises(StoreError):
        again.data(BEN, "some-run")
    # What is asked for now is added to it.
    again.grant_access(requested(ANNA, "sn004"))
    again.close()
    later = AppState(settings)
    assert len(later.data(ANNA, "some-run").items["jnli"]) == 4
    later.close()


def test_the_files_let_nobody_act_as_a_visitor(settings: Settings) -> None:
    state = AppState(settings)
    state.grant_access(requested(ANNA, "sn001"))
    (file,) = (settings.runs_dir / FOLDER).iterdir()
    assert ANNA not in file.name + file.read_text("utf-8")
    assert file.stat().st_mode & 0o077 == 0
    assert file.parent.stat().st_mode & 0o077 == 0
    # It is no run, and a program without a cookie leaves none.
    state.grant_access(requested("s3ss10n", "sn001"))
    assert [file] == list((settings.runs_dir / FOLDER).iterdir())
    assert set(state.library.damaged()) == set()
    state.close()


def test_nothing_is_kept_where_everyone_sees_all(settings: Settings) -> None:
    state = AppState(replace(settings, public=False))
    state.grant_access(requested(ANNA, "sn001"))
    assert not (settings.runs_dir / FOLDER).exists()
    state.close()


@pytest.mark.parametrize(
    "text", ["", "[", "[]", '{"r": []}', '{"r": {"jnli": "sn001"}}', '{"r": {"jnli": [1]}}', "[" * 9_000]
)
def test_a_damaged_file_is_as_none(tmp_path: Path, text: str) -> None:
    memory = RememberedAccess(tmp_path)
    memory.save(ANNA, {"r": {"jnli": frozenset({"あ", "a"})}})
    assert memory.load(ANNA) == {"r": {"jnli": {"あ", "a"}}}
    (file,) = (tmp_path / FOLDER).iterdir()
    assert json.loads(file.read_text("utf-8")) == {"r": {"jnli": ["a", "あ"]}}
    file.write_text(text, "utf-8")
    assert memory.load(ANNA) == {}


def test_visitors_who_stay_away_are_forgotten(tmp_path: Path) -> None:
    memory = RememberedAccess(tmp_path)
    for owner in (ANNA, BEN):
        memory.save(owner, {"r": {"jnli": frozenset({"a"})}})
        if owner == ANNA:
            (file,) = (tmp_path / FOLDER).iterdir()
            long_ago = time.time() - (KEPT_DAYS + 1) * DAY_S
            os.utime(file, (long_ago, long_ago))
    again = RememberedAccess(tmp_path)
    assert again.load(ANNA) == {}
    assert again.load(BEN) == {"r": {"jnli": frozenset({"a"})}}


def test_a_folder_that_cannot_be_written_costs_nobody_their_run(tmp_path: Path, settings: Settings) -> None:
    (settings.runs_dir / FOLDER).write_text("in the way", "utf-8")
    state = AppState(settings)
    state.grant_access(requested(ANNA, "sn001"))
    assert set(state.data(ANNA, "some-run").items["jnli"]) == {"sn001"}
    state.close()
