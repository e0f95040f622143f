"""The table of the page's tabs."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

ADD_ONE = """
import json

import gradio as gr

from jglue_app.settings import load_settings
from jglue_app.ui import page


def build(state, t):
    number = gr.Number(elem_id="number")
    half = gr.Number(elem_id="half")
    number.change(lambda value: value / 2, number, half, api_visibility="private")


before = [*page.TABS]
page.TABS["halves"] = build
built = page.build(load_settings(), page.browser_words())
tabs = [block.id for block in built.blocks.values() if isinstance(block, gr.Tab)]
ids = {block.elem_id for block in built.blocks.values()}
handler = next(event.fn for event in built.fns.values() if [b.elem_id for b in event.outputs] == ["half"])
print(json.dumps([before, [tab for tab in tabs if tab in page.TABS], "half" in ids, hasattr(handler, "__wrapped__")]))
"""
RESULTS = """
import json

from jglue_app.settings import load_settings
from jglue_app.ui import page
from jglue_app.ui.address import from_query
from jglue_app.ui.tabs.results import ResultsTab

tabs = []
connect = ResultsTab.connect
ResultsTab.connect = lambda tab: (tabs.append(tab), connect(tab))[1]
page.build(load_settings(), page.browser_words())
(tab,) = tabs
begins = {part: part.value for part in (tab.protocol, tab.against, tab.data, tab.tasks)}
query = "tab=results&protocol=nejumi-4&against=swallow-202411&results_data=test&results_subsets=jnli,jsts"
restored = tab.restore("", from_query(dict(part.split("=") for part in query.split("&"))))
written = [tab._address(begins), tab._address(begins | restored)]
print(json.dumps([{part.elem_id: value for part, value in restored.items()}, *written]))
"""


def test_the_results_tab_writes_its_protocols_data_and_subsets_into_the_address_and_restores_them() -> None:
    # In a process of its own, as above.
    run = subprocess.run([sys.executable, "-c", RESULTS], capture_output=True, text=True, check=True)
    restored, begins, written = json.loads(run.stdout)
    assert restored == {
        "protocol": "nejumi-4",
        "against": "swallow-202411",
        "results-data": "test",
        "results-tasks": ["jnli", "jsts"],
    }
    assert begins == {"protocol": None, "against": None, "results_data": None, "results_subsets": None}
    assert written == {
        "protocol": "nejumi-4",
        "against": "swallow-202411",
        "results_data": "test",
        "results_subsets": "jsts,jnli",
    }


def test_a_new_tab_costs_one_line_and_its_handlers_are_guarded() -> None:
    # In a process of its own: gradio leaves event loops open.
    run = subprocess.run([sys.executable, "-c", ADD_ONE], capture_output=True, text=True, check=True)
    before, built, has_content, is_guarded = json.loads(run.stdout)
    assert before[0] == "compare"
    assert built == [*before, "halves"]
    assert (has_content, is_guarded) == (True, True)


BUILT = """
import json

from jglue_app.settings import load_settings
from jglue_app.ui import model_box, page

built = page.build(load_settings(), page.browser_words())
boxes = [b for b in built.blocks.values() if str(getattr(b, "elem_id", "")).endswith("-model")]
boxes = [b for b in boxes if b.elem_id != "import-model"]  # a text without a list
chosen = [
    [event.trigger_mode, *(str(built.blocks[block].elem_id) for block, name in event.targets if name == "input")]
    for event in built.fns.values()
    if event.fn is not None and any(name in ("input", "change") for _, name in event.targets)
]
print(json.dumps([[[b.elem_id, b.value, b.js_on_load == model_box.ON_LOAD] for b in boxes], chosen]))
"""


@pytest.fixture(scope="module")
def built() -> tuple[list[tuple[str, str, bool]], list[list[str]]]:
    """The boxes of models of the page, and its events that come when something is chosen."""
    run = subprocess.run([sys.executable, "-c", BUILT], capture_output=True, text=True, check=True)
    boxes, chosen = json.loads(run.stdout)
    return [tuple(box) for box in boxes], chosen


def test_every_box_of_a_model_keeps_what_is_typed(built: tuple[list[tuple[str, str, bool]], list[list[str]]]) -> None:
    # A dropdown of Gradio takes its first match instead.
    boxes = {name: (value, is_ours) for name, value, is_ours in built[0]}
    first = ("gemma-3-270m", True)
    assert boxes == {
        "a-model": first,
        "b-model": ("=", True),
        "lab-model": first,
        "sweep-model": first,
        "full-model": first,
    }


def test_of_quick_choices_the_last_one_counts(built: tuple[list[tuple[str, str, bool]], list[list[str]]]) -> None:
    # Gradio's default drops what is chosen while the choice before is still being drawn.
    places = {place for mode, *places in built[1] for place in places if mode == "always_last"}
    assert {"results-tasks", "protocol", "tasks", "limit"} <= places
    assert [places for mode, *places in built[1] if mode == "once"] == []
