"""Many runs at once, and a grid with its tables."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from jglue_app.errors import InputError
from jglue_app.grid.members import Member, StoredFactor, StoredGrid
from jglue_app.messages import Message
from jglue_app.scoring.design import design_of
from jglue_app.scoring.effect_types import EffectFactor, EffectTable, GridScores, LeftOut
from jglue_app.scoring.effects import metric_effects
from jglue_app.wandb_sink.client.existing import joined, reject_other_grid
from jglue_app.wandb_sink.grid_payload import grid_id, grid_payload, in_grid
from jglue_app.wandb_sink.payload import Payload
from tests.wandb_server import WandbServer
from tests.wandb_sink.conftest import Cli
from tests.wandb_sink.known import run_of, spec_id, steady

FACTORS = (
    StoredFactor("style", "prompt", True, ("ja-labels", "number")),
    StoredFactor("shots", "prompt", False, ("0", "4")),
)
LEVELS = [{"style": style, "shots": shots} for style in FACTORS[0].levels for shots in FACTORS[1].levels]
SCORES = [0.5, 0.7, 0.5, 0.7]
"""Of four runs: examples add 0.2, the style nothing."""


def stored(runs: list[str], levels: list[dict[str, Any]]) -> StoredGrid:
    members = tuple(Member(run, level, begun=True) for run, level in zip(runs, levels, strict=True))
    return StoredGrid(
        1, "wordings v1.2", "2026-01-01T00:00:00+00:00", "official", FACTORS, ({"jnli": ("1",)},), members
    )


def effects() -> EffectTable:
    factors = tuple(EffectFactor(f.name, f.group, f.levels, f.replicate) for f in FACTORS)
    values = np.array(SCORES)
    scores = GridScores("jnli", "accuracy", "strict", values, np.repeat(values[:, None], 4, axis=1), 20)
    design_of(factors, LEVELS)
    found = metric_effects(factors, LEVELS, scores)
    assert found is not None
    gone = LeftOut("r5", LEVELS[0], Message("{count:,} items have no output.", count=3))
    return EffectTable(
        "wordings v1.2", "official", factors, ("r1", "r2", "r3", "r4"), tuple(LEVELS), (gone,), (found,), ()
    )


def rows(payload: Payload, name: str) -> list[dict[str, Any]]:
    table = payload.tables[f"grid/{name}"]
    return [dict(zip(table.columns, row, strict=True)) for row in table.rows]


def test_a_grid_is_sent_with_what_its_factors_move() -> None:
    grid = stored(["r1", "r2", "r3", "r4", "r5"], [*LEVELS, LEVELS[0]])
    payload = grid_payload(grid, effects())
    assert (payload.id, payload.group, payload.job_type) == (grid_id("wordings v1.2"), "wordings v1.2", "grid")
    assert payload.config["members"] == [f"jglue-r{number}" for number in range(1, 6)]
    assert payload.config["factors"] == {"style": ["ja-labels", "number"], "shots": ["0", "4"]}
    at = "grid/jnli/accuracy"
    expected = {f"{at}/mean": 0.6, f"{at}/runs": 4, f"{at}/share/shots": 1.0, f"{at}/share/style": 0.0}
    assert {key: payload.summary[key] for key in expected} == pytest.approx(expected)
    levels = {(row["factor"], row["level"]): (row["mean"], row["effect"]) for row in rows(payload, "levels")}
    assert levels["shots", "4"] == pytest.approx((0.7, 0.1))
    assert levels["style", "number"] == pytest.approx((0.6, 0.0))
    (stability,) = rows(payload, "stability")
    assert (stability["subset"], stability["lowest"], stability["highest"]) == ("JNLI", 0.5, 0.7)
    assert [row["in_tables"] for row in rows(payload, "runs")] == [True] * 4 + [False]
    assert rows(payload, "runs")[4]["left_out_because"] == "3 items have no output."
    assert Payload.from_json(json.loads(json.dumps(asdict(payload)))).digest == payload.digest


def test_a_grid_does_not_replace_the_tables_of_another_one_of_its_name_unless_it_is_told_to() -> None:
    payload = grid_payload(stored(["r1", "r2", "r3", "r4"], LEVELS), effects())
    there = SimpleNamespace(config={"members": ["jglue-r1", "jglue-r8", "jglue-r9"]})
    with pytest.raises(InputError, match=r"the name wordings v1\.2 with 2 runs that are not in this one\. Nothing was"):
        reject_other_grid(there, payload, {})
    reject_other_grid(there, payload, {"replace": True})
    # The grid itself, when it had fewer levels; what is not of this application; nothing.
    for config in ({"members": ["jglue-r1"]}, {"members": "some"}, {}):
        reject_other_grid(SimpleNamespace(config=config), payload, {})
    reject_other_grid(None, payload, {})


def test_a_stopped_grid_that_goes_on_meets_itself_whatever_becomes_of_its_runs() -> None:
    grid = stored(["r1", "r2", "r3", "r4"], LEVELS)
    # Two were begun when it was stopped; then a server fell silent, and the ids of its runs are not known.
    stopped = replace(grid, runs=(*grid.runs[:2], *(replace(run, begun=False) for run in grid.runs[2:])))
    failed = replace(grid.runs[3], run="r4-of-a-silent-server", begun=False, failed=Message("x"))
    later = grid_payload(replace(grid, runs=(*grid.runs[:3], failed)), effects())
    reject_other_grid(SimpleNamespace(config=dict(grid_payload(stopped, effects()).config)), later, {})
    assert later.config["members"] == ["jglue-r1", "jglue-r2", "jglue-r3"]


def test_a_push_after_an_offline_copy_brings_the_tags_of_all_that_the_run_belongs_to() -> None:
    one = in_grid(Payload("jglue-r1", "r1", "evaluation", None, ("jglue",), {}, {}), "new", {"shots": "4"})
    config = {"grids": ["old"], "member_of": {"grids": {"new": True}, "comparisons": {"jglue-vs-1": True}}}
    there = SimpleNamespace(config=config, group="new", tags=["jglue", "new"])
    found = joined(one, there)
    assert found.joins == {"grids": ("old", "new"), "comparisons": ("jglue-vs-1",)}
    assert sorted(found.tags) == ["jglue", "jglue-vs-1", "new", "old"]
    assert joined(one, None) == one


@pytest.mark.parametrize(
    ("level", "value"),
    [("4", 4), ("0.5", 0.5), ("-1", -1), ("ja-labels", "ja-labels"), ("nan", "nan"), ("1_0", "1_0"), ("04", "04")],
)
def test_a_level_that_is_a_number_is_one_for_the_axes_of_panels(level: str, value: object) -> None:
    one = Payload("jglue-r1", "r1", "evaluation", None, ("jglue",), {"shots": 4}, {})
    found = in_grid(one, "g", {"factor": level, "idle": None}).config["factors"]
    assert found == {"factor": value} and type(found["factor"]) is type(value)


@pytest.mark.slow
def test_all_runs_of_a_grid_are_one_group_with_their_levels_and_the_same_again_sends_none(
    cli: Cli, tmp_path: Path
) -> None:
    runs_dir = tmp_path / "runs"
    runs = [run_of(steady(tmp_path / f"{name}.jsonl"), runs_dir, limit=3) for name in ("one", "two")]
    levels = [{"model": f"{name}.jsonl", "shots": "0"} for name in ("one", "two")]
    factors = [
        {"name": "model", "group": "model", "replicate": False, "levels": ["one.jsonl", "two.jsonl"]},
        {"name": "shots", "group": "prompt", "replicate": False, "levels": ["0"]},
    ]
    ids = [line["id"] for line in map(json.loads, (runs[0] / "items.jsonl").read_text("utf-8").splitlines())]
    members = [
        {"run": name, "levels": level, "questions": 0, "begun": True}
        for name, level in zip((*(run.name for run in runs), "gone"), (*levels, levels[0]), strict=True)
    ]
    table = {"format": 1, "name": "models", "created": "2026-01-01T00:00:00+00:00", "protocol": "official"}
    (runs_dir / "grids").mkdir()
    (runs_dir / "grids" / "models.json").write_text(
        json.dumps(table | {"factors": factors, "questions": [{"jnli": ids}], "runs": members}), "utf-8"
    )
    with WandbServer() as server:
        command = ("push", "--grid", "models", "--project", "team/jglue", "--runs-dir", runs_dir, "--json")
        told = cli(*command, server=server)
        assert told.code == 0, told.err
        assert "1 of 3 runs of the grid models are not in" in told.err
        sent = told.json()
        assert [one["id"] for one in sent] == [*(f"jglue-{spec_id(run)}" for run in runs), grid_id("models")]
        found = [server.run(one["path"]) for one in sent]
        assert [run.group for run in found] == ["models"] * 3
        assert [run.config["grids"] for run in found] == [["models"]] * 3
        assert [run.config["factors"] for run in found[:2]] == [
            {"model": f"{n}.jsonl", "shots": 0} for n in ("one", "two")
        ]
        assert found[2].job_type == "grid" and found[2].config["members"][2] == "jglue-gone"
        assert server.table(found[2], "grid/levels")[0]["mean"] == pytest.approx(
            found[0].summary["jglue/jnli/accuracy"]
        )
        before = len(server.requests)
        again = cli("push", "--all", "--match", "ONE", *command[3:], server=server)
        assert again.code == 0, again.err
        assert [(one["id"], one["unchanged"]) for one in again.json()] == [(sent[0]["id"], True)]
        # Another grid of the name: without the second run.
        path = runs_dir / "grids" / "models.json"
        path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | {"runs": members[:1]}), "utf-8")
        other = cli(*command, server=server)
        assert (other.code, other.out) == (2, "")
        assert "a grid of the name models with 2 runs that are not in this one. Nothing was sent." in other.err
        assert not any("file_stream" in request.path for request in server.requests[before:])
        assert server.unknown == []


def test_runs_are_chosen_in_one_way(cli: Cli, tmp_path: Path) -> None:
    for chosen in ((), ("--all", "a-run"), ("--all", "--grid", "g"), ("--match", "x", "a-run")):
        told = cli("push", *chosen, "--runs-dir", tmp_path)
        assert (told.code, told.out) == (2, "")
        assert "one of the three" in told.err or "--match belongs to --all" in told.err
    assert "There is no such run to send" in cli("push", "--all", "--runs-dir", tmp_path).err
    assert "Unknown grid 'g'" in cli("push", "--grid", "g", "--runs-dir", tmp_path).err
