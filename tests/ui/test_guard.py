"""Faults of ours on the page."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
from collections.abc import Iterator

import gradio as gr
import pytest

from jglue_app.errors import InputError
from jglue_app.ui.guard import errors_shown_in, guarded

ENGLISH = gr.Request(headers={"accept-language": "en"}, cookies={})
JAPANESE = gr.Request(headers={"accept-language": "ja"}, cookies={})


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


def test_half_a_character_in_a_result_is_replaced_and_everything_else_is_left_as_it_is() -> None:
    component = object()
    result = {component: "a\ud83d", "rows": [("b", "\udfffc", 1, None)], "whole": "\U0001f600"}

    def answers() -> object:
        return result

    def streams() -> Iterator[object]:
        yield ["\ud800"]
        yield 2

    assert guarded(answers)() == {component: "a\ufffd", "rows": [("b", "\ufffdc", 1, None)], "whole": "\U0001f600"}
    assert list(guarded(streams)()) == [["\ufffd"], 2]


def test_half_a_character_in_an_error_is_replaced() -> None:
    def refuses(request: gr.Request) -> None:
        raise InputError("There is no run {name}.", name="x\ud800")

    with pytest.raises(gr.Error) as raised:
        guarded(refuses)(JAPANESE)
    assert raised.value.message == "There is no run x\ufffd."


def test_a_stream_that_nobody_reads_any_more_ends_its_handler() -> None:
    ended = []

    def streams() -> Iterator[int]:
        try:
            yield 1
            yield 2
        finally:
            ended.append(True)

    stream = guarded(streams)()
    assert next(stream) == 1
    stream.close()
    assert ended == [True]


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


# --- our own errors ---------------------------------------------------------------------------------------


def refuses(request: gr.Request, number: int) -> str:
    raise InputError("Choose at least one subset.")


def gives_and_refuses(request: gr.Request, number: int) -> Iterator[str]:
    yield "first"
    raise InputError("Choose at least one subset.")


def test_an_error_of_ours_is_shown_where_its_handler_says_in_the_visitors_language() -> None:
    status, box = gr.HTML(), gr.Textbox()
    for request, sentence in (
        (ENGLISH, "Choose at least one subset."),
        (JAPANESE, "サブセットを一つ以上選んでください。"),
    ):
        updates = errors_shown_in(status, refuses, {box: ""})(request, 1)
        assert list(updates) == [status, box]
        assert sentence in updates[status]
        assert updates[box] == ""
    steps = errors_shown_in(status, gives_and_refuses)(ENGLISH, 1)
    assert next(steps) == "first"
    assert list(next(steps)) == [status]


def test_what_is_no_error_of_ours_is_left_to_the_guard_of_the_page() -> None:
    with pytest.raises(ZeroDivisionError):
        errors_shown_in(gr.HTML(), fails)(ENGLISH, 0)


def test_elsewhere_it_is_an_error_of_gradio_and_for_programs_one_in_english() -> None:
    with pytest.raises(gr.Error) as page:
        guarded(refuses)(JAPANESE, 1)
    with pytest.raises(gr.Error) as program:
        guarded(refuses, lang="en")(JAPANESE, 1)
    assert (page.value.message, program.value.message) == (
        "サブセットを一つ以上選んでください。",
        "Choose at least one subset.",
    )
