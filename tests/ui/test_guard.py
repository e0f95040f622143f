"""Faults of ours on the page."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
from collections.abc import Iterator

import gradio as gr
import pytest

from jglue_app.ui.guard import guarded

ENGLISH = gr.Request(headers={"accept-language": "en"}, cookies={})


def fails(request: gr.Request, number: int) -> float:
    return 1 / number


def fails_later(request: gr.Request, number: int) -> Iterator[float]:
    yield 0.5
    yield 1 / number


def test_a_fault_becomes_a_sentence_with_the_number_under_which_the_log_has_the_rest(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.ERROR), pytest.raises(gr.Error) as told:
        guarded(fails)(ENGLISH, 0)
    found = re.fullmatch(
        r"An unexpected fault\. Please report it with the number ([0-9a-f]{8})\. What was finished is kept\.",
        told.value.message,
    )
    assert found
    assert f"incident {found[1]}" in caplog.text
    assert "ZeroDivisionError" in caplog.text


def test_a_generator_gives_what_it_has_before_its_fault_is_told() -> None:
    steps = guarded(fails_later)(ENGLISH, 0)
    assert next(steps) == 0.5
    with pytest.raises(gr.Error, match="unexpected fault"):
        next(steps)


def test_what_works_is_left_as_it_is_and_so_is_an_error_meant_for_people() -> None:
    assert guarded(fails)(ENGLISH, 4) == 0.25
    assert list(guarded(fails_later)(ENGLISH, 4)) == [0.5, 0.25]

    def refuses() -> None:
        raise gr.Error("Ask for fewer.")

    with pytest.raises(gr.Error, match=r"Ask for fewer\."):
        guarded(refuses)()


LIST_UNGUARDED = """
from jglue_app.settings import load_settings
from jglue_app.ui.page import browser_words, build


functions = [event.fn for event in build(load_settings(), browser_words()).fns.values() if event.fn is not None]
print(len(functions), [fn.__name__ for fn in functions if not hasattr(fn, "__wrapped__")])
"""


def test_every_function_of_the_page_is_under_guard() -> None:
    # In a process of its own: gradio leaves event loops open.
    told = subprocess.run([sys.executable, "-c", LIST_UNGUARDED], capture_output=True, text=True, check=True)
    count, rest = told.stdout.split(maxsplit=1)
    assert int(count) > 30
    assert rest.strip() == "[]"
