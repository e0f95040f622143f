"""The comparisons that are there before anything has been run."""

from __future__ import annotations

import re

import pytest

from jglue_app.data.files import load
from jglue_app.results import showcase
from jglue_app.runs.store import RunStore
from jglue_app.scoring.comparison import compare_runs
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


def test_each_pair_teaches_something() -> None:
    for pair in showcase.PAIRS:
        a, b = (RunStore(showcase.run_folder(name)).data() for name in (pair.a, pair.b))
        found = compare_runs(a, b)
        assert any(flips["strict"].changed >= 10 for flips in found.flips.values())
    base = RunStore(showcase.run_folder("base-0-shot")).data()
    assert compare_runs(base, base).a.tasks["marc_ja"].knows
