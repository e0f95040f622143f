"""The search of the list of runs, which can always be seen where it leaves runs out."""

from __future__ import annotations

from collections.abc import Iterator

import gradio as gr
import pytest
from gradio.components import Component

from jglue_app.settings import Settings
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
