"""Grids run, stopped, gone on with, and shown: the models are tables of answers."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from jglue_app import api, effects
from jglue_app.backends.model_facts import lacks_template
from jglue_app.backends.openai_api import client
from jglue_app.backends.pool import ModelPool
from jglue_app.cli import main
from jglue_app.cli.effect_tables import effect_parts
from jglue_app.errors import InputError, StoreError, UnknownNameError
from jglue_app.grid import members
from jglue_app.grid.grid_estimate import estimate_grid, notices_of
from jglue_app.grid.grid_file import read_grid
from jglue_app.grid.grid_plan import GridPlan, plan_grid
from jglue_app.grid.grid_run import one_after_other, run_grid
from jglue_app.grid.rates import measured
from jglue_app.results.grid_effects import effect_table
from jglue_app.results.library import Library
from jglue_app.results.run_folds import folds
from jglue_app.runs.events import Event
from jglue_app.runs.plan import Plan
from jglue_app.settings import ASSETS, Settings
from jglue_app.types import ModelSpec
from jglue_app.ui.state import AppState
from jglue_app.ui.tabs.grid_panel import effects_html, grid_names, grid_runs
from jglue_app.wandb_sink import stored_grid
from tests.api_server import ApiServer
from tests.served_models import with_endpoints

TASKS = ("jnli", "jcommonsenseqa")
WORDS = {"entailment": "含意", "contradiction": "矛盾", "neutral": "中立"}


def answers(path: Path, wrong_every: int, **more: Any) -> Path:
    """Answers to the sample items, right but for two of every so many pairs, in the words of the style ja-labels."""
    rows = []
    for task in TASKS:
        lines = (ASSETS / "samples" / task / "valid.json").read_text("utf-8").splitlines()
        for number, row in enumerate(map(json.loads, lines)):
            wrong = number // 2 % wrong_every == 0
            label = row["label"]
            if task == "jnli":
                item_id, text, place = row["sentence_pair_id"], WORDS[label], list(WORDS).index(label)
            else:
                item_id, text, place = str(row["q_id"]), row[f"choice{label}"], int(label)
            count = 3 if task == "jnli" else 5
            best = (place + wrong) % count
            logprobs = [-0.1 if i == best else -3.0 for i in range(count)]
            rows.append({"task": task, "item_id": item_id, "text": "？" if wrong else text, **more})
            rows[-1]["choice_logprobs"] = logprobs
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    return path


@pytest.fixture
def grid(tmp_path: Path) -> Path:
    """Two models, one of them right more often, in two wordings, without and with examples by two seeds."""
    good, bad = answers(tmp_path / "good.jsonl", 50), answers(tmp_path / "bad.jsonl", 2)
    path = tmp_path / "two-models.toml"
    path.write_text(
        f"[run]\ntasks = {list(TASKS)}\ndata = 'sample'\nlimit = 6\nmethod = 'both'\n"
        f"[factors]\nmodel = ['{good}', '{bad}']\nstyle = ['ja-labels', 'en-labels']\nshots = [0, 2]\n"
        "shot_seed = [0, 1]\n",
        "utf-8",
    )
    return path


@dataclass(frozen=True)
class Told:
    code: int
    out: str
    err: str


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., Told]:
    def call(*arguments: object, command: str = "grid") -> Told:
        monkeypatch.setattr(sys, "argv", ["jglue_app", command, *map(str, arguments)])
        capfd.readouterr()
        code: object = 0
        try:
            main()
        except SystemExit as e:
            code = e.code or 0
        out, err = capfd.readouterr()
        assert "Traceback" not in err
        assert isinstance(code, int)
        return Told(code, out, err)

    return call


def planned_of(grid: Path, settings: Settings) -> GridPlan:
    return plan_grid(read_grid(grid), settings)


def test_a_grid_is_run_once_and_its_table_is_shown_again(
    grid: Path, settings: Settings, here: Callable[..., Told]
) -> None:
    dry = here(grid, "--dry-run", "--json")
    assert json.loads(dry.out) | {"models": [], "notices": []} == {
        **{"name": "two-models", "combinations": 16, "runs": 12, "complete": 0, "begun": 0, "items": 144},
        **{"items_left": 144, "seconds": None, "costs": [], "models": [], "notices": []},
    }
    sentence = "time and memory are those of one worker"
    assert [sentence in here(grid, "--dry-run", *over).out for over in ((), ("--ray", "local"))] == [False, True]
    assert not settings.runs_dir.exists()
    told = here(grid)
    assert told.code == 0
    assert "combinations 16, different runs 12 (complete 0, begun 0), items 144 (left 144)." in told.err
    assert "Data sample" in told.err and "; subsets JNLI, JCommonsenseQA." in told.err
    assert "time unknown" in told.err
    assert "\nJNLI: 6/6 items" in told.err
    assert told.err.count("Preparing") == 2  # Each table of answers is read once.
    stored = {path.name for path in settings.runs_dir.iterdir() if path.is_dir()} - {"grids"}
    assert len(stored) == 12
    assert {member.run for member in members.members(settings, "two-models")} == stored
    of_runs = [path for path in settings.runs_dir.glob("*/*.json*") if path.parent.name != "grids"]
    before = {path: path.stat().st_mtime_ns for path in of_runs}
    again = here(grid)
    assert (again.code, again.out) == (0, told.out)
    assert "(complete 12, begun 0)" in again.err
    assert {path: path.stat().st_mtime_ns for path in before} == before
    shown = here("two-models", "--json")
    table = json.loads(shown.out)
    assert (table["grid"], len(table["runs"]), table["left_out"]) == ("two-models", 12, [])
    accuracy = next(m for m in table["metrics"] if (m["task"], m["reading"]) == ("jnli", "choose"))
    # Nothing but the model moves a table of answers: all the variance that is not the items' is the model's.
    assert accuracy["by_group"]["prompt"] == pytest.approx(0)
    levels = {level["level"][-10:]: level["mean"]["value"] for level in accuracy["levels"]["model"]}
    assert levels["good.jsonl"] > levels["/bad.jsonl"]
    assert [one["spread"] for one in accuracy["stability"]] == pytest.approx([0, 0])
    assert [one["best"] for one in accuracy["stability"]] == [1, 0]
    # A protocol that ranks the choices has no reading of the text.
    ranked = here("two-models", "--protocol", "stability-jp").out
    assert "JNLI accuracy (log-likelihood)" in ranked
    assert "Means of levels, log-likelihood" in ranked
    assert "(text)" not in ranked
    # Runs that differ in a seed alone have other labels in the list of all runs.
    rows = [line for line in here("--data", "sample", command="leaderboard").out.splitlines() if "2-shot" in line]
    assert sum("shot seed 0" in row for row in rows) == sum("shot seed 1" in row for row in rows) == 4
    listed = here()
    assert listed.out.startswith("two-models: 12 runs (2 model × 2 style × 2 shots × 2 shot_seed)")


def test_the_scores_of_a_table_are_those_of_the_reports(grid: Path, settings: Settings) -> None:
    planned = planned_of(grid, settings)
    with ModelPool(settings) as pool:
        for _ in run_grid(planned, settings, one_after_other(settings, pool)):
            pass
    library = Library(settings.runs_dir)
    table = effect_table(members.read(settings, "two-models"), library)
    for metric in (one for one in table.metrics if one.task in TASKS):
        values = []
        for run in table.runs:
            report = library.report(settings.runs_dir / run).tasks[metric.task]
            scores = {"strict": report.metrics, "lenient": report.lenient, "choose": report.choose}[metric.reading]
            values.append(scores[metric.metric].value)
        assert metric.mean == pytest.approx(sum(v or 0.0 for v in values) / len(values))
        lowest = [one for one in metric.stability if one.lowest == min(v for v in values if v is not None)]
        assert lowest


def test_from_python_a_grid_is_run_and_its_effects_are_read(grid: Path, settings: Settings) -> None:
    said: list[str] = []
    found = api.grid(grid, notify=said.append)
    assert (found.grid, len(found.runs)) == ("two-models", 12)
    assert sum(sentence.startswith("Preparing") for sentence in said) == 2
    again = effects("two-models", "stability-jp")
    assert (again.protocol, again.runs) == ("stability-jp", found.runs)
    with closing(AppState(settings)) as state:
        html = effects_html(state, "two-models", "official", "ja")
    assert "問題の選ばれ方" in html
    assert "good.jsonl" in html
    assert "自由生成（厳密な読み取り）" in html
    assert "対数尤度で順位づけ" in html
    with closing(AppState(settings)) as state:
        html = effects_html(state, "two-models", "stability-jp", "en")
        # In the list of all runs those of the grid stand in one line, also with others around them.
        stored = state.runs("")
        (fold,) = folds({**stored, "another": next(iter(stored.values()))}, grid_runs(state))
    assert (fold.kind, fold.grid, set(fold.names)) == ("grid", "two-models", set(found.runs))
    assert "Log-likelihood ranking" in html
    assert "Generated text" not in html
    assert str(grid.parent) not in html


def test_a_public_server_shows_no_grids(settings: Settings) -> None:
    with closing(AppState(replace(settings, public=True))) as state:
        assert grid_names(state) == []
        with pytest.raises(InputError):
            effects_html(state, "two-models", "official", "ja")


def test_a_stopped_grid_goes_on_and_unfinished_runs_are_named(grid: Path, settings: Settings) -> None:
    planned, seen = planned_of(grid, settings), list[Event]()
    with ModelPool(settings) as pool:
        for event in run_grid(planned, settings, one_after_other(settings, pool, lambda: len(seen) >= 30)):
            seen.extend([event] if event.kind == "record" else [])
        estimate = estimate_grid(planned, settings, pool)
        assert (estimate.complete, estimate.begun, estimate.items_left) == (2, 1, 144 - 30)
        table = effect_table(members.read(settings, "two-models"), Library(settings.runs_dir))
        assert (len(table.runs), len(table.left_out)) == (2, 10)
        assert table.left_out[0].why == "6 items have no output."
        assert table.notices[0].startswith("10 of 12 runs are not in these tables")
        # Those that have not begun are counted, and none of them is called deleted.
        assert [out.begun for out in table.left_out] == [True] + [False] * 9
        assert {out.why for out in table.left_out[1:]} == {"It has not begun."}
        assert table.notices[1] == "9 of 12 runs have not begun."
        told = [part for part in effect_parts(table) if isinstance(part, str)]
        assert sum(part.startswith("left out:") for part in told) == 1
        assert sum("9 of 12 runs have not begun." in part for part in told) == 1
        passed: list[Sequence[Plan]] = []

        def execute(plans: Sequence[Plan]) -> Iterator[Event]:
            passed.append(plans)
            yield from one_after_other(settings, pool)(plans)

        records = [event for event in run_grid(planned, settings, execute) if event.kind == "record"]
    assert len(records) == 144 - 30
    assert [len(plans) for plans in passed] == [10]
    shutil.rmtree(settings.runs_dir / planned.plans[0].spec.spec_id)
    table = effect_table(members.read(settings, "two-models"), Library(settings.runs_dir))
    assert [out.why for out in table.left_out] == ["It was deleted. Start the same grid again to make it anew."]


def test_a_model_that_cannot_be_loaded_stops_no_other(
    grid: Path, settings: Settings, here: Callable[..., Told]
) -> None:
    (grid.parent / "bad.jsonl").unlink()
    told = here(grid)
    assert told.code == 6
    assert told.err.count("cannot be read (No such file or directory)") == 1
    assert "6 of 12 runs are not complete. Start the same command again" in told.err
    assert "Grid two-models: 6 runs" in told.out
    # Why the others could not be made is remembered, and no one is told to start them again as they are.
    table = json.loads(here("two-models", "--json").out)
    assert len(table["left_out"]) == 6
    assert all("cannot be read (No such file or directory)" in out["why"] for out in table["left_out"])
    assert len(table["notices"]) == 1
    assert table["notices"][0].startswith("6 of 12 runs could not be made, for the reasons given.")
    assert "deleted" not in told.out
    answers(grid.parent / "bad.jsonl", 2)
    assert here(grid).code == 0
    assert json.loads(here("two-models", "--json").out)["left_out"] == []
    assert all(member.failed is None and member.begun for member in members.members(settings, "two-models"))


def test_a_silent_server_is_named_once_and_stops_no_other_run(
    grid: Path, settings: Settings, here: Callable[..., Told], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its runs are made by the same command once it is back; those that are stored need it no more."""
    monkeypatch.setattr(client, "FIRST_WAIT_S", 0.01)
    with ApiServer() as server:
        entry = {"base_url": server.base_url, "deadline": 1, "timeout": 5}
        monkeypatch.setenv("JGLUE_ENDPOINTS", str(with_endpoints(settings, own=entry).endpoints_file))
        text = grid.read_text("utf-8").replace(str(grid.parent / "bad.jsonl"), "own:tiny").partition("style")[0]
        grid.write_text(text.replace("'both'", "'generate'").replace("limit = 6", "limit = 1"), "utf-8")
        grid.write_text(grid.read_text("utf-8") + "format = ['plain', 'alpaca']\n", "utf-8")
        server.down()
        told = here(grid)
        assert told.code == 6
        assert told.err.count("cannot be reached") == 1
        assert "own:tiny: its runs are left out for now (2). The endpoint own at" in told.err
        assert "2 of 4 runs are not complete. Start the same command again" in told.err
        assert "Grid two-models: 2 runs" in told.out
        table = json.loads(here("two-models", "--json").out)
        assert [out["levels"]["model"] for out in table["left_out"]] == ["own:tiny"] * 2
        assert all("cannot be reached" in out["why"] for out in table["left_out"])
        payload = stored_grid(settings, "two-models").payload
        assert len(payload.config["members"]) == 2 and len(payload.tables["grid/runs"].rows) == 4
        assert "cannot be reached" in str(payload.tables["grid/runs"].rows) and str(grid.parent) not in str(payload)
        server.up()
        assert here(grid).code == 0
        assert all(member.begun and member.failed is None for member in members.members(settings, "two-models"))
        server.down()
        for path in (settings.cache_dir / "endpoints").glob("*.json"):
            path.unlink()  # As after a day.
        again = here(grid)
        assert (again.code, json.loads(here("two-models", "--json").out)["left_out"]) == (0, [])
        assert "(complete 4, begun 0)" in again.err
        # An item more is none that is stored.
        grid.write_text(grid.read_text("utf-8").replace("limit = 1", "limit = 2"), "utf-8")
        more = here(grid)
        assert more.code == 6 and "2 of 4 runs are not complete" in more.err
        left_out = json.loads(here("two-models", "--json").out)["left_out"]
        assert {out["run"] for out in left_out} <= {path.name for path in settings.runs_dir.iterdir()}


def test_a_grid_of_which_no_run_can_be_made_fails_as_a_run_does(tmp_path: Path, here: Callable[..., Told]) -> None:
    path = tmp_path / "none.toml"
    path.write_text("[run]\ntasks = ['jnli']\ndata = 'sample'\nmodel = 'none.jsonl'\n", "utf-8")
    told = here(path)
    assert (told.code, told.out) == (3, "")
    assert told.err.splitlines()[-1].startswith("error: The table of answers 'none.jsonl' cannot be read")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("no-such",), "Unknown grid 'no-such'."),
        (("no-such", "--dry-run"), "--dry-run takes the file of a grid"),
        (("x.toml",), "x.toml: cannot be read"),
        (("no-such", "--protocol", "oficial"), "Did you mean 'official'?"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(
    here: Callable[..., Told], arguments: tuple[str, ...], sentence: str
) -> None:
    told = here(*arguments)
    assert told.code == 2
    assert sentence in told.err
    assert told.err.count("\n") == 1


def test_a_grid_with_one_item_has_means_without_intervals(grid: Path, here: Callable[..., Told]) -> None:
    text = f"[run]\ntasks = ['jnli']\ndata = 'sample'\nlimit = 1\n{grid.read_text('utf-8').partition('method')[2]}"
    grid.write_text(text.replace(" = 'both'", "method = 'generate'").partition("shots")[0], "utf-8")
    told = here(grid)
    assert told.code == 0
    assert "There is nothing to compare" not in told.out
    assert "One item is no sample: there are no intervals. (JNLI accuracy (text))" in told.out
    (accuracy,) = json.loads(here("two-models", "--json").out)["metrics"][:1]
    assert (accuracy["runs"], accuracy["items"], accuracy["undefined"]) == (4, 1, [])
    (only,) = {level["mean"]["low"] for level in accuracy["levels"]["model"]}
    assert only is None


def test_no_column_of_the_shares_is_called_as_another(grid: Path, here: Callable[..., Told]) -> None:
    (head,) = (line for line in here(grid).out.splitlines() if line.startswith("metric"))
    columns = re.split(r"  +", head.strip())
    assert "all of model" in columns and "model" in columns
    assert len(set(columns)) == len(columns)


def test_where_nothing_in_a_damaged_grid_is_to_blame_no_place_is_named(settings: Settings) -> None:
    folder = members.folder_of(settings)
    folder.mkdir(parents=True)
    (folder / "broken.json").write_text("[]", "utf-8")
    with pytest.raises(StoreError, match=r"broken\.json cannot be read \(Input should be "):
        members.read(settings, "broken")
    (folder / "broken.json").write_text('{"format": 2}', "utf-8")
    with pytest.raises(StoreError, match=r"cannot be read \(format: Input should be 1\)"):
        members.read(settings, "broken")


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"format": 2}', "[" * 100_000])
def test_a_damaged_grid_is_a_sentence_and_hides_no_other(settings: Settings, content: str) -> None:
    folder = members.folder_of(settings)
    folder.mkdir(parents=True)
    (folder / "broken.json").write_text(content, "utf-8")
    with pytest.raises(StoreError, match=r"broken\.json cannot be read"):
        members.read(settings, "broken")
    assert list(members.names(settings).damaged) == ["broken"]


@pytest.mark.parametrize("name", ["../runs", "a/b", "", ".", "x\x00"])
def test_a_name_leads_nowhere_else(settings: Settings, name: str) -> None:
    with pytest.raises(UnknownNameError):
        members.read(settings, name)


def test_time_is_of_stored_runs_of_the_same_model(tmp_path: Path, settings: Settings) -> None:
    model = answers(tmp_path / "slow.jsonl", 3)
    path = tmp_path / "slow.toml"
    text = f"[run]\ntasks = ['jnli']\ndata = 'sample'\nmodel = '{model}'\nlimit = 4\nmethod = 'generate'\n"
    path.write_text(text, "utf-8")
    planned = planned_of(path, settings)
    with ModelPool(settings) as pool:
        for _ in run_grid(planned, settings, one_after_other(settings, pool)):
            pass
        # A table of answers takes no time: that each took two seconds is written into its records.
        file = settings.runs_dir / planned.plans[0].spec.spec_id / "records.jsonl"
        rows = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
        for row in rows:
            row.pop("crc32", None)
            row["output"]["seconds"] = 2.0
        file.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
        path.write_text(text.replace("limit = 4", "limit = 10") + "style = 'number'\n", "utf-8")
        estimate = estimate_grid(planned_of(path, settings), settings, pool)
    assert estimate.seconds == pytest.approx(20.0)
    assert any("about 20 s, as measured (stored runs: 1)" in sentence for sentence in estimate.sentences)
    # The same of a model that is loaded here: on another kind of device it is as fast as was measured there alone.
    manifest = file.with_name("manifest.json")
    table = json.loads(manifest.read_text("utf-8"))
    table["spec"]["model"] |= {"id": "some-model", "backend": "hf", "files_sha256": None}
    for device, rates in (("cpu", [2.0]), ("cuda:0", []), ("mps", [])):
        table["model"]["device"] = device
        manifest.write_text(json.dumps(table), "utf-8")
        found = measured([ModelSpec("some-model")], settings.runs_dir, "cpu")
        assert [one.of("generate", "jnli", 0) for one in found.values()] == rates


def test_what_a_file_leaves_open_is_said_before_anything_runs(tmp_path: Path, settings: Settings) -> None:
    """Which data and subsets it has, that it is a single run, and that a format needs a template that is not here."""
    folder = tmp_path / "base-model"
    folder.mkdir()
    for name in ("config.json", "tokenizer_config.json"):
        (folder / name).write_text("{}", "utf-8")
    spec = ModelSpec(str(folder))
    assert lacks_template(spec, settings)
    path = tmp_path / "one.toml"
    path.write_text(f"[run]\ntasks = ['jnli']\ndata = 'sample'\nmodel = '{folder}'\nformat = 'chat'\n", "utf-8")
    planned = planned_of(path, settings)
    said = [str(notice) for notice in notices_of(planned, settings)]
    assert said[0].startswith("Data sample")
    assert said[0].endswith("; subsets JNLI.")
    assert said[1] == "The file has no [factors], so this is a single run."
    assert said[2].startswith(f"{folder} has no chat template, so its runs in the format chat (1) cannot be made.")
    (folder / "chat_template.jinja").write_text("x", "utf-8")
    assert not lacks_template(spec, settings)
    assert len(list(notices_of(planned, settings))) == 2
