"""The words of the page."""

from __future__ import annotations

import ast
from pathlib import Path

import gradio as gr
import pytest

from jglue_app.ui import words

UI = Path(words.__file__).parent


def test_every_word_stands_in_japanese_and_in_english() -> None:
    for key, (ja, en) in words.WORDS.items():
        assert bool(ja) == bool(en), key
        assert ja.count("{}") == en.count("{}"), key


def used_keys(function: str) -> set[str]:
    """First arguments of all calls of a function in the page's files, where they are plain texts."""
    found = set()
    for path in UI.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == function:
                found |= {a.value for a in node.args[:1] if isinstance(a, ast.Constant) and isinstance(a.value, str)}
    return found


@pytest.mark.parametrize("function", ["word", "t"])
def test_every_word_that_is_asked_for_exists(function: str) -> None:
    used = used_keys(function)
    assert len(used) >= 10
    assert used <= set(words.WORDS)


@pytest.mark.parametrize(
    ("header", "lang"),
    [("ja-JP,ja;q=0.9", "ja"), ("en-US,en;q=0.9,ja;q=0.8", "en"), ("EN", "en"), ("fr-FR,ja;q=0.8", "en"), ("", "ja")],
)
def test_the_language_is_japanese_where_it_is_asked_for_first_and_english_elsewhere(header: str, lang: str) -> None:
    request = gr.Request(headers={"accept-language": header})
    assert words.language(request) == lang


def test_without_a_request_the_language_is_japanese() -> None:
    assert words.language(None) == "ja"
