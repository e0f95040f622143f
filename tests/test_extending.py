"""What one file and one line add: a copy of the package is extended as `.github/CONTRIBUTING.md` says, and then used.

Nothing is patched: files are written and lines inserted, as somebody would who adds to the package.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]

SUBSET = '''
"""Colours: which colour does a sentence name?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jglue_app.messages import mark
from jglue_app.tasks.rows import id_field, json_lines, label_field, text_field
from jglue_app.types import Item, Task

LABELS = ("red", "blue")


def item(row: Mapping[str, Any]) -> Item:
    fields = {"remark": text_field(row, "remark")}
    return Item("colours", id_field(row, "id"), fields, (label_field(row, LABELS),), LABELS)


TASK = Task(
    name="colours",
    title="Colours",
    question=mark("Which colour does a sentence name?"),
    kind="choice",
    labels=LABELS,
    metrics=("accuracy",),
    fields=("remark",),
    rows=json_lines,
    item=item,
    aliases=lambda _: {"red": ("赤",), "blue": ("青",)},
    stratum=lambda i: str(i.gold),
)
'''

BACKEND = '''
"""A backend that always answers "red"."""

from __future__ import annotations

from typing import Any

from jglue_app.types import ModelInfo, Output


def open_model(spec: Any, settings: Any, device: Any, notify: Any, *, needs_template: bool = False) -> Any:
    return Constant()


def memory_needed(spec: Any, settings: Any, device: str = "auto") -> int | None:
    return 0


def memory_free(device: str) -> int:
    return 1


class Constant:
    info = ModelInfo("constant", "1", "none", "none", None, "", False, "", False, 0)

    def render_chat(self, messages: Any, thinking: str = "off") -> str:
        raise NotImplementedError

    def generate(self, prompts: Any, max_new_tokens: int, should_stop: Any, repetition_penalty: float = 1.0) -> Any:
        for i, prompt in enumerate(prompts):
            yield i, Output("red", "stop", len(prompt.text), 1, 0.0)

    def choose(self, prompts: Any, should_stop: Any) -> Any:
        for i, prompt in enumerate(prompts):
            yield i, Output(None, "scored", len(prompt.text), 0, 0.0, (-0.1, -2.5))

    def count_tokens(self, text: str) -> int:
        return len(text)

    def close(self) -> None:
        pass
'''

STYLE = """
title = "色"
note = "色を答える言い回しです。"

[colours]
instruction = "Name the colour."
question = "Sentence: $remark"
cue = "Colour: "
stop = ["\\n"]
max_new_tokens = 4
[colours.answers]
red = "red"
blue = "blue"
"""

PROTOCOL = '''
"""`exact-colours`: exact match."""

from __future__ import annotations

from jglue_app.scoring.protocols.decisions import protocol
from jglue_app.scoring.types import Preset, Rules

PROTOCOL = protocol("exact-colours", {"colours": Rules(metrics=("exact_match",))}, {}, {}, Preset("colour-words"))
'''

TAB = '''
"""A tab with one sentence."""

from __future__ import annotations

from typing import Any

import gradio as gr


def build(*_: Any) -> None:
    gr.Markdown("Hello from the new tab.", elem_id="greeting")
'''

ROWS = [("c1", "空が赤い。", "red"), ("c2", "海が青い。", "blue"), ("c3", "The apple is red.", "red")]

DRIVER = """
import json

from typer.testing import CliRunner

from jglue_app.cli import app
from jglue_app.messages import Message, say, word


def call(*words):
    result = CliRunner().invoke(app, words, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


found = {}
run = ["run", "--model", "anything", "--backend", "constant", "--tasks", "colours", "--data", "sample", "--json"]
call(*run, "--style", "colour-words", "--method", "both")
(run_id,) = [row["id"] for row in json.loads(call("runs", "--json"))]
found["rescored"] = json.loads(call("rescore", run_id, "--json"))
found["protocols"] = [row["protocol"] for row in json.loads(call("protocols", "--json"))]
found["data"] = [row["title"] for row in json.loads(call("data", "list", "--json"))]

from jglue_app.runs.store import RunStore
from jglue_app.settings import load_settings
from jglue_app.wandb_sink.run_payload import run_payload

settings = load_settings()
store = RunStore(settings.runs_dir / run_id)
payload = run_payload(store.data(), store.manifest(), "official")
found["summary"] = {key: value for key, value in payload.summary.items() if isinstance(value, int | float | str)}
found["tables"] = {name: [list(row) for row in table.rows] for name, table in payload.tables.items()}

from jglue_app.ui.page import browser_words, build

page = build(settings, browser_words())
found["page"] = json.dumps(page.get_config_file(), ensure_ascii=False, default=str)

from jglue_app.ui.state import AppState
from jglue_app.ui.views import comparison

state = AppState(settings)
pair = comparison.Pair(run_id)
found["board"] = comparison.board_html(state, "anybody", pair, "ja")
found["items"] = [
    comparison.item_html(state, "anybody", {"a": run_id}, "colours", "valid-c2", lang) for lang in ("ja", "en")
]
found["item"] = found["items"][0]

found["label"] = [word("tab_greeting", "en"), word("tab_greeting", "ja")]
found["sentence"] = say(Message("Which colour does a sentence name?"), "ja")
print("FOUND" + json.dumps(found, ensure_ascii=False, default=str))
"""


def insert(path: Path, before: str, line: str) -> None:
    """Put a line before another one of a file."""
    text = path.read_text("utf-8")
    assert text.count(before) == 1, (path, before)
    path.write_text(text.replace(before, line + before), "utf-8")


def append(path: Path, text: str) -> None:
    path.write_text(path.read_text("utf-8") + text, "utf-8")


@pytest.fixture(scope="module")
def extended(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a copy of the package gives to which one of each has been added."""
    folder = tmp_path_factory.mktemp("extended")
    for name in ("jglue_app", "assets"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "screenshots"))
    package = folder / "jglue_app"

    (package / "tasks" / "colours.py").write_text(SUBSET, "utf-8")
    insert(package / "tasks" / "__init__.py", '    "jcola": jcola.TASK,\n', '    "colours": colours.TASK,\n')
    insert(package / "tasks" / "__init__.py", "from jglue_app.tasks import", "from jglue_app.tasks import colours\n")
    for split in ("train", "valid"):
        path = folder / "assets" / "samples" / "colours" / f"{split}.json"
        path.parent.mkdir(exist_ok=True)
        rows = [{"id": f"{split}-{id_}", "remark": f"{text}{split}", "label": label} for id_, text, label in ROWS]
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    append(
        package / "messages" / "ja" / "tasks.po",
        '\n#: tasks/colours.py\nmsgid "Which colour does a sentence name?"\nmsgstr "文が挙げているのはどの色か"\n',
    )

    (package / "backends" / "constant.py").write_text(BACKEND, "utf-8")
    insert(
        package / "backends" / "__init__.py",
        '    "scripted": "jglue_app.backends.scripted",\n',
        '    "constant": "jglue_app.backends.constant",\n',
    )

    (folder / "assets" / "prompts" / "colour-words.toml").write_text(STYLE, "utf-8")

    (package / "scoring" / "protocols" / "exact_colours.py").write_text(PROTOCOL, "utf-8")
    protocols = package / "scoring" / "protocols" / "__init__.py"
    insert(protocols, "        lm_eval_ja.PROTOCOL,\n", "        exact_colours.PROTOCOL,\n")
    insert(protocols, "from jglue_app.scoring.types import", "from jglue_app.scoring.protocols import exact_colours\n")

    (package / "ui" / "tabs" / "greeting.py").write_text(TAB, "utf-8")
    page = package / "ui" / "page.py"
    insert(page, '    "about": about.build,\n', '    "greeting": greeting.build,\n')
    insert(page, "from jglue_app.ui.tabs import", "from jglue_app.ui.tabs import greeting\n")

    insert(package / "messages" / "labels.py", '    "title":', '    "tab_greeting": "Greeting",\n')
    append(
        package / "messages" / "ja" / "labels.po",
        '\nmsgctxt "tab_greeting"\nmsgid "Greeting"\nmsgstr "あいさつ"\n',
    )

    environment = {**os.environ, "PYTHONPATH": str(folder), "JGLUE_RUNS_DIR": str(folder / "runs")}
    environment["JGLUE_CACHE_DIR"] = str(folder / "cache")
    command = [sys.executable, "-c", DRIVER]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.partition("FOUND")[2])
    return found


def test_a_subset_a_backend_and_a_style_are_run_from_the_command_line(extended: dict[str, Any]) -> None:
    colours = extended["rescored"]
    # "red" is the answer to two of the three, written and ranked first.
    assert colours["protocols"]["official"]["metrics"]["accuracy"]["value"] == pytest.approx(2 / 3)
    assert colours["protocols"]["official"]["outcomes"] == {"correct": 2, "wrong": 1}
    assert extended["rescored"]["averages"]["official"]["average"]["value"] == pytest.approx(2 / 3)
    assert "Colours" in extended["data"]


def test_a_protocol_scores_what_is_stored(extended: dict[str, Any]) -> None:
    assert "exact-colours" in extended["protocols"]
    score = extended["rescored"]["protocols"]["exact-colours"]["metrics"]["exact_match"]
    assert (score["value"], score["n"]) == (pytest.approx(2 / 3), 3)


def test_wandb_is_given_the_new_subsets_scores_and_rows(extended: dict[str, Any]) -> None:
    assert any("colours" in key for key in extended["summary"])
    rows = [row for table in extended["tables"].values() for row in table]
    assert any("valid-c2" in row for row in rows)


def test_the_page_has_the_tab_the_subset_the_style_and_the_protocol(extended: dict[str, Any]) -> None:
    page = extended["page"]
    assert "Hello from the new tab." in page
    assert all(name in page for name in ("Colours", "colour-words", "exact-colours", "jg_tab_greeting"))


def test_the_page_shows_its_score_and_opens_its_items(extended: dict[str, Any]) -> None:
    assert "Colours" in extended["board"]
    item = extended["item"]
    # The field and the protocol have no labels of their own.
    assert all(text in item for text in ("remark", "海が青い。", "文が挙げているのはどの色か", "exact-colours"))


def test_a_label_and_a_sentence_are_said_in_both_languages(extended: dict[str, Any]) -> None:
    assert extended["label"] == ["Greeting", "あいさつ"]
    assert extended["sentence"] == "文が挙げているのはどの色か"


def test_the_page_shows_an_item_whose_fields_have_no_label(extended: dict[str, Any]) -> None:
    for html in extended["items"]:
        assert "remark" in html and "海が青い。valid" in html and "exact-colours" in html
