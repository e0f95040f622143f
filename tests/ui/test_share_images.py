"""What an image to share shows: texts that fit, signs for what cannot be seen, and the same answers as the page."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from jglue_app.settings import Settings
from jglue_app.ui import views
from jglue_app.ui.state import AppState
from jglue_app.ui.views import comparison
from jglue_app.ui.views.comparison import Pair
from jglue_app.ui.views.share import LABEL, OUTPUT, QUESTION
from tests.ui.reading_reports import Parts, report, store

BASE, SHOTS = "shipped:base-0-shot", "shipped:base-3-shot"


@pytest.mark.parametrize("lang", ["ja", "en"])
def test_an_image_of_an_item_says_what_was_answered_and_read(settings: Settings, lang: str, tmp_path: Path) -> None:
    run = store(tmp_path, "a", ("含意", "長い" * 400, "\u202e 含意 \u202c\nです"))
    _, contents = report(settings, run)
    rows = contents.runs[run.name].judged["jnli"]
    for id_, row in rows.items():
        share = contents.item(0, "jnli", id_, lang)["share"]
        (side,) = share["sides"]
        assert row.record.output is not None and row.record.output.text is not None
        assert len(share["lead"]) <= QUESTION and len(side["label"]) <= LABEL
        assert share["name"] == f"jnli-{id_}" and side["outcome"] == row.judgement.outcome
        if row.record.output.text == "含意":
            assert side["text"] == "含意"
            assert side["read"].endswith(": entailment")
        elif row.record.output.text.startswith("長い"):
            assert len(side["text"]) == OUTPUT and side["text"].endswith("…")
        else:
            assert side["text"] == "‹U+202E› 含意 ‹U+202C› ⏎ です"
        assert side["text"] in share["alt"] and side["outcome_text"] in share["alt"]
        assert share["foot"].endswith({"ja": "見本", "en": "sample"}[lang])


def test_an_image_of_a_comparison_has_the_strips_of_the_first_card(settings: Settings) -> None:
    state = AppState(settings)
    card = comparison.first_html(state, "", Pair(BASE, SHOTS), "en", protocol="llm-jp-eval")
    state.close()
    (button,) = [attributes for _, attributes in Parts(card).elements if "data-jg-share" in attributes]
    image = json.loads(str(button["data-jg-share"]))
    assert [strip["title"] for strip in image["strips"]] == ["MARC-ja", "JSTS", "JNLI", "JSQuAD", "JCommonsenseQA"]
    assert [line["tag"] for strip in image["strips"] for line in strip["lines"]] == ["A", "B"] * 5
    assert all(re.fullmatch(r"\d+ items", strip["n"]) for strip in image["strips"])
    assert image["foot"] == "JGLUE side by side · sample · llm-jp-eval"
    assert image["alt"].startswith(image["title"]) and "JSQuAD A strict" in image["alt"]
    assert json.loads(str(button["data-jg-share-words"]))["save"] == "Save PNG"


def test_a_button_holds_any_text(settings: Settings, tmp_path: Path) -> None:
    run = store(tmp_path, "a")
    _, contents = report(settings, run)
    for task, id_ in contents.keys:
        payload = contents.item(0, task, id_, "ja")
        (button,) = [
            attributes
            for _, attributes in Parts(views.render("item", payload, "ja")).elements
            if "data-jg-share" in attributes
        ]
        assert json.loads(str(button["data-jg-share"])) == payload["share"]
