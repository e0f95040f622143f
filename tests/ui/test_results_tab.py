"""The Results tab as its handlers draw it: the search of the list, and the lists of runs to choose from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gradio as gr
import pytest
from gradio.components import Component

from jglue_app.settings import Settings
from jglue_app.ui.events import dropdown_update
from jglue_app.ui.state import AppState
from jglue_app.ui.tabs import results
from tests.ui.event_loops import run_in_thread

REQUEST = gr.Request(headers={"accept-language": "en"}, cookies={}, session_hash="page")


async def built(state: AppState) -> results.ResultsTab:
    """Where an event loop runs, Gradio leaves none of its own behind."""
    with gr.Blocks():
        return results.build(state, lambda key: key)


@pytest.fixture
def tab(settings: Settings) -> Iterator[results.ResultsTab]:
    """Over the six runs that come with the application: too few to be searched."""
    state = AppState(settings, "cpu")
    yield run_in_thread(built(state))
    state._scratch.cleanup()


@pytest.mark.parametrize(("text", "seen", "rows"), [("", False, 6), ("SmolLM2", True, 2), ("no such run", True, 0)])
def test_a_search_is_seen_as_long_as_it_leaves_runs_out(
    tab: results.ResultsTab, text: str, seen: bool, rows: int
) -> None:
    values = {block: block.value for block in tab.inputs if isinstance(block, Component)} | {tab.search: text}
    found = tab.refresh(REQUEST, values)
    assert found[tab.search]["visible"] is seen
    assert found[tab.table].count("data-run=") >= rows
    assert ("0 of 6 runs are listed" in found[tab.table]) is (rows == 0)


def test_what_is_pasted_or_deleted_as_a_whole_is_searched_too(tab: results.ResultsTab) -> None:
    # Gradio's `input` of a text comes with keys alone.
    page = tab.search.parent
    while page is not None and page.parent is not None:
        page = page.parent
    assert isinstance(page, gr.Blocks)
    assert any(
        (tab.search._id, "change") in event.targets and tab.table in event.outputs for event in page.fns.values()
    )


# --- lists to choose from --------------------------------------------------------------------------------


def lists_of(tab: results.ResultsTab) -> dict[str, Component]:
    """Every list of runs on the tab."""
    slices = dict(zip(("part", "part against"), tab.slices.components, strict=True))
    one = {"A": tab.a, "B": tab.b, "run": tab.manage.run, "baseline": tab.matrix.baseline}
    return {**one, **slices, "matrix": tab.matrix.runs}


def test_what_is_chosen_is_not_chosen_again(tab: results.ResultsTab) -> None:
    values: dict[Any, Any] = {block: block.value for block in tab.inputs if isinstance(block, Component)}
    names = list(tab.state.runs(""))
    values[tab.matrix.runs] = names[:3]
    first = tab.refresh(REQUEST, values)
    for name, box in lists_of(tab).items():
        assert first[box]["choices"], name
        values[box] = first[box].get("value", values[box])
    assert values[tab.a] and values[tab.b] and values[tab.a] != values[tab.b]

    # By the time this arrives a visitor may have chosen another one.
    again = tab.refresh(REQUEST, values)
    assert {name for name, box in lists_of(tab).items() if "value" in again[box]} == set()

    for name, box in lists_of(tab).items():
        gone = values | {box: ["no such run"] if box is tab.matrix.runs else "no such run"}
        assert tab.refresh(REQUEST, gone)[box]["value"] != gone[box], name


def test_a_choice_that_has_to_be_another_is_set() -> None:
    assert dropdown_update(["x", "y"], "x", "x") == gr.update(choices=["x", "y"])
    assert dropdown_update(["x", "y"], "z", "x") == gr.update(choices=["x", "y"], value="x")
    assert dropdown_update([], "z", None) == gr.update(choices=[], value=None)
