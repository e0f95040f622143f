"""The comparisons that are there before anything has been run."""

from __future__ import annotations

import dataclasses
import re

import pytest

from jglue_app.data.files import load
from jglue_app.results import showcase
from jglue_app.runs.request import RunRequest
from jglue_app.runs.store import RunStore
from jglue_app.scoring.comparison import compare_runs
from jglue_app.scoring.report import report_run
from jglue_app.settings import Settings
from jglue_app.tasks import DEFAULT_TASKS

RUNS = sorted({name for pair in showcase.PAIRS for name in (pair.a, pair.b)})


@pytest.mark.parametrize("name", RUNS)
def test_a_shipped_run_holds_all_our_sample_items_and_nothing_else(settings: Settings, name: str) -> None:
    data = RunStore(showcase.run_folder(name)).data()
    assert sum(len(items) for items in data.items.values()) == 44 + 48 + 45 + 45 + 45
    assert set(data.sources.values()) == {"sample"}
    for task in DEFAULT_TASKS:
        own = load(settings, task, data="sample").items
        assert data.items[task] == {item.id: item for item in own}
        answered = {record.item_id for record in data.records if record.task == task and record.output}
        assert answered == {item.id for item in own}


@pytest.mark.parametrize("name", RUNS)
def test_a_shipped_run_says_where_it_came_from_and_names_no_path(name: str) -> None:
    manifest = RunStore(showcase.run_folder(name)).manifest()
    assert re.match(r"\d{4}-\d\d-\d\dT", manifest["created"])
    assert manifest["machine"]
    assert manifest["model"]["commit"]
    for file in showcase.run_folder(name).iterdir():
        assert not re.search(r'"(/|~/|[A-Z]:\\\\)[\w.]', file.read_text("utf-8")), file


@pytest.mark.parametrize("name", RUNS)
def test_a_shipped_run_was_made_with_what_would_make_it_again(name: str) -> None:
    spec = RunStore(showcase.run_folder(name)).data().spec
    side = showcase.sides("SmolLM2-135M-Instruct.Q4_1.gguf")[name]
    again = RunRequest(limit=None, a=side)
    assert spec.prompt == side.prompt
    assert spec.decoding == again.decoding_of(side)
    assert dataclasses.replace(spec.model, files_sha256=None) == again.model_of(side)
    assert (spec.tasks, spec.limit, spec.split, spec.seed) == (DEFAULT_TASKS, None, "valid", 0)


def test_every_run_that_is_made_is_in_a_pair() -> None:
    assert set(showcase.sides("chat.gguf")) == set(showcase.run_names()) == set(RUNS)


def test_each_pair_teaches_something() -> None:
    for pair in showcase.PAIRS:
        a, b = (RunStore(showcase.run_folder(name)).data() for name in (pair.a, pair.b))
        found = compare_runs(a, b)
        assert any(flips["strict"].changed >= 10 for flips in found.flips.values())


def above_floor(run: str, task: str, metric: str, reading: str) -> bool:
    """Whether the whole interval of a shipped run's score lies above that of the best constant answer."""
    report = report_run(RunStore(showcase.run_folder(run)).data(), "official").tasks[task]
    score = {"strict": report.metrics, "choose": report.choose}[reading][metric]
    assert score.low is not None
    return score.low > report.floors[metric]


def test_what_the_page_opens_with_stands_above_the_floor_on_two_subsets() -> None:
    first = showcase.PAIRS[0]
    assert above_floor(first.b, "marc_ja", "accuracy", "strict")
    assert above_floor(first.b, "jsquad", "exact_match", "strict")
    assert above_floor(first.b, "jsquad", "f1", "strict")


def test_what_the_page_opens_with_shows_a_model_that_ranks_right_what_it_does_not_write() -> None:
    first = showcase.PAIRS[0]
    assert above_floor(first.a, "marc_ja", "accuracy", "choose")
    reports = [
        report_run(RunStore(showcase.run_folder(run)).data(), "official").tasks["marc_ja"] for run in (first.a, first.b)
    ]
    assert [report.metrics["accuracy"].value for report in reports] == [0, 37 / 44]
    assert [report.choose["accuracy"].value for report in reports] == [30 / 44, 37 / 44]
    assert reports[0].floors == {"accuracy": 0.5}
    assert reports[0].knows == 30
