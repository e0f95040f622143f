"""What the Compare tab shows of an address, before a browser is asked."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from jglue_app.results import showcase
from tests.ui.conftest import ROOT

FIRST, SECOND = "base-0-shot", "base-3-shot"
OWNER, OTHER = "a" * 22, "b" * 22
ANSWER = """
import dataclasses, json, sys
import gradio as gr
from jglue_app.settings import load_settings
from jglue_app.ui.state import AppState
from jglue_app.ui.tabs import compare
from jglue_app.ui.visitor import VISITOR_COOKIE
with gr.Blocks(analytics_enabled=False):
    settings = [dataclasses.replace(load_settings(), public=public) for public in (False, True)]
    tabs = [compare.build(AppState(one), lambda key: key) for one in settings]
for line in sys.stdin:
    query, owner, public = json.loads(line)
    tab = tabs[public]
    cookies = {VISITOR_COOKIE: owner}
    request = gr.Request(headers={"accept-language": "en"}, cookies=cookies, query_params=query, session_hash="s")
    updates = tab.on_load(request)
    names = ("status", "pairs", "board", "items", "item")
    print(json.dumps({name: updates[getattr(tab.panel, name)] for name in names}), flush=True)
"""


class Tab:
    """The tab of a server on which two runs are stored, in a process of its own: gradio leaves event loops open."""

    def __init__(self, runs: Path) -> None:
        self.runs = runs
        for name in (FIRST, SECOND):
            shutil.copytree(showcase.run_folder(name), runs / f"stored-{name}")
        env = os.environ | {"JGLUE_RUNS_DIR": str(runs)}
        self._process = subprocess.Popen(
            [sys.executable, "-c", ANSWER], cwd=ROOT, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def opened(self, query: Mapping[str, str], owner: str = OWNER, *, public: bool = False) -> dict[str, Any]:
        """Name of a component → its value on a page that is opened with this query, of a local or a public server."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps([query, owner, public]), file=self._process.stdin, flush=True)
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    def close(self) -> None:
        """End the process."""
        self._process.communicate(timeout=20)


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    """One for all tests; the last deletes a run."""
    opened = Tab(tmp_path_factory.mktemp("runs"))
    yield opened
    opened.close()


def is_first_visit(shown: Mapping[str, Any]) -> bool:
    return shown["pairs"]["value"] == showcase.PAIRS[0].name and len(shown["items"]["rows"]) == 227


def test_without_an_address_the_first_shipped_pair_is_shown(tab: Tab) -> None:
    shown = tab.opened({})
    assert is_first_visit(shown)
    assert (shown["status"], shown["items"]["link"]) == ("", "")


def test_two_stored_runs_with_an_item_and_the_state_of_the_list(tab: Tab) -> None:
    query = {"run_a": f"stored-{FIRST}", "run_b": f"stored-{SECOND}", "item": "jsts/ss003", "filter": "disagree"}
    shown = tab.opened(query)
    assert shown["status"] == ""
    assert (shown["items"]["a"], shown["items"]["b"]) == (f"stored-{FIRST}", f"stored-{SECOND}")
    assert shown["items"]["link"] == f"?run_a=stored-{FIRST}&run_b=stored-{SECOND}"
    assert shown["items"]["open"] == {"task": "jsts", "id": "ss003"}
    assert shown["items"]["view"] == {
        "filter": "disagree",
        "task": "",
        "search": "",
        "open": {"task": "jsts", "id": "ss003"},
    }
    assert 'data-item="jsts/ss003"' in shown["item"]
    assert shown["pairs"]["value"] == "own"


def test_one_run_alone(tab: Tab) -> None:
    shown = tab.opened({"run_a": f"stored-{FIRST}", "subset": "jnli", "search": "犬"})
    assert (shown["items"]["a"], shown["items"]["b"]) == (f"stored-{FIRST}", "")
    assert (shown["items"]["view"]["task"], shown["items"]["view"]["search"]) == ("jnli", "犬")


def test_a_shipped_pair_by_its_address(tab: Tab) -> None:
    pair = showcase.PAIRS[1]
    shown = tab.opened({"run_a": f"shipped:{pair.a}", "run_b": f"shipped:{pair.b}"})
    assert (shown["status"], shown["pairs"]["value"]) == ("", pair.name)
    assert shown["items"]["link"] == f"?run_a=shipped:{pair.a}&run_b=shipped:{pair.b}"


def test_an_item_of_the_first_pair_needs_no_runs_in_the_address(tab: Tab) -> None:
    shown = tab.opened({"item": "jnli/sn007"})
    assert shown["items"]["open"] == {"task": "jnli", "id": "sn007"}
    assert 'data-item="jnli/sn007"' in shown["item"]


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ({"run_a": "0123456789abcdef"}, "There is no run &#39;0123456789abcdef&#39; here."),
        ({"run_a": "../stored-base-0-shot"}, "There is no run &#39;../stored-base-0-shot&#39; here."),
        (
            {"run_a": "stored-base-0-shot", "run_b": "shipped:nothing"},
            "There is no run &#39;shipped:nothing&#39; here.",
        ),
        ({"run_b": "stored-base-0-shot"}, "The address names run_b and no run_a."),
        ({"tab": "elsewhere"}, "Unknown tab &#39;elsewhere&#39;."),
        ({"b-shots": "3"}, "The link has b-shots but names no model B."),
        ({"run_a": "<img src=x onerror=alert(1)>"}, "&lt;img src=x onerror=alert(1)&gt;"),
        ({"search": "x" * 201}, "“search” in the address has 201 characters"),
    ],
)
def test_what_an_address_cannot_show_is_a_sentence_above_the_first_visit(
    tab: Tab, query: Mapping[str, str], sentence: str
) -> None:
    shown = tab.opened(query)
    assert sentence in shown["status"]
    assert "<img" not in shown["status"]
    assert is_first_visit(shown)


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ({"item": "jnli/none"}, "This comparison has no item jnli/none."),
        ({"filter": "worst"}, "Unknown filter &#39;worst&#39;."),
        ({"run_a": "stored-base-0-shot", "filter": "only_b"}, "Unknown filter &#39;only_b&#39;."),
        ({"item": "jnli/<script>alert(1)</script>"}, "jnli/&lt;script&gt;alert(1)&lt;/script&gt;"),
    ],
)
def test_what_is_not_in_the_list_is_a_sentence_above_the_comparison(
    tab: Tab, query: Mapping[str, str], sentence: str
) -> None:
    shown = tab.opened(query)
    assert sentence in shown["status"]
    assert len(shown["items"]["rows"]) == 227
    assert shown["items"]["open"]


def test_a_public_server_shows_nobody_the_run_of_another_visitor(tab: Tab) -> None:
    for owner in (OWNER, OTHER):
        shown = tab.opened({"run_a": f"stored-{FIRST}", "item": "jnli/sn007"}, owner, public=True)
        assert "There is no run &#39;stored-base-0-shot&#39; here." in shown["status"]
        assert is_first_visit(shown)
        assert shown["items"]["a"] == f"shipped:{showcase.PAIRS[0].a}"


def test_a_request_of_a_link_fills_the_form_and_its_address_stays(tab: Tab) -> None:
    shown = tab.opened({"tasks": "jnli", "a": "gemma-3-270m", "limit": "3"})
    assert "The settings of the link are filled in." in shown["status"]
    assert "link" not in shown["items"]


def test_a_run_that_is_deleted_is_no_longer_shown(tab: Tab) -> None:
    query = {"run_a": f"stored-{FIRST}"}
    assert tab.opened(query)["status"] == ""
    tab.runs.joinpath(f"stored-{FIRST}").rename(tab.runs / ".deleted")
    shown = tab.opened(query)
    assert "There is no run &#39;stored-base-0-shot&#39; here." in shown["status"]
    assert is_first_visit(shown)
