"""What controls say is read as if a stranger had written it, and written back unchanged."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, given

from jglue_app.backends.named_models import named_models
from jglue_app.errors import InputError
from jglue_app.messages import word
from jglue_app.prompts.formats import FORMATS
from jglue_app.prompts.styles import style_names
from jglue_app.runs.request import Configuration, Side
from jglue_app.settings import Settings, load_settings
from jglue_app.tasks import CORE
from jglue_app.ui import controls
from jglue_app.ui.views.request import side_text
from tests.runs.test_request import ASKED, SIDES

GOOD_SIDE: list[Any] = ["gemma-3-270m", "alpaca", "number", 3, "8bit", "float16"]
GOOD: list[Any] = [["jnli", "jsts"], "official", 7, "generate", True]

FEW_SHOTS = {"ja": "例題の数は 0 から 16 までです。", "en": "The number of examples is from 0 to 16."}
NO_MODEL = {"ja": "モデルを選ぶか、名前を入力してください。", "en": "Choose a model, or type its name."}
NO_TASKS = {"ja": "サブセットを一つ以上選んでください。", "en": "Choose at least one subset."}
ITEMS = {
    "ja": "問題数は 1 から 20,000 までの整数です。",
    "en": "The number of items is a whole number from 1 to 20,000.",
}
SAME = {"ja": "A と B が同じ設定です。どちらかを変えてください。", "en": "A and B are the same. Change one of them."}


def changed(values: Sequence[Any], place: int, value: Any) -> list[Any]:
    return [*values[:place], value, *values[place + 1 :]]


# --- one side ---------------------------------------------------------------------------------------------


def test_a_side_is_read_in_the_order_of_its_controls() -> None:
    assert controls.read_side(GOOD_SIDE, "ja") == Side("gemma-3-270m", "alpaca", "number", 3, "8bit", "float16")
    # A browser sends numbers of a slider as they come.
    assert controls.read_side(changed(GOOD_SIDE, 3, 3.0), "ja").shots == 3
    assert controls.read_side(changed(GOOD_SIDE, 0, "  owner/name \n"), "ja").model == "owner/name"


def test_b_may_be_the_model_of_a() -> None:
    a = Side("owner/name", shots=1)
    assert controls.read_side(changed(GOOD_SIDE, 0, "="), "ja", a).model == "owner/name"
    assert controls.read_side(changed(GOOD_SIDE, 0, "other"), "ja", a).model == "other"


@pytest.mark.parametrize("lang", ["ja", "en"])
@pytest.mark.parametrize("model", ["", " ", "\n", None, [], False, 0])
def test_a_side_without_a_model_is_refused(model: Any, lang: str) -> None:
    with pytest.raises(InputError) as told:
        controls.read_side(changed(GOOD_SIDE, 0, model), lang)
    assert str(told.value) == NO_MODEL[lang]


@pytest.mark.parametrize("lang", ["ja", "en"])
@pytest.mark.parametrize(
    "shots", [-1, 17, 10**6, 16.5, -0.1, math.nan, math.inf, -math.inf, True, False, "3", "", None, [3], {}]
)
def test_a_number_of_examples_that_is_none_is_refused(shots: Any, lang: str) -> None:
    with pytest.raises(InputError) as told:
        controls.read_side(changed(GOOD_SIDE, 3, shots), lang)
    assert str(told.value) == FEW_SHOTS[lang]


@pytest.mark.parametrize("shots", [0, 16])
def test_as_many_examples_as_there_may_be_are_taken(shots: int) -> None:
    assert controls.read_side(changed(GOOD_SIDE, 3, shots), "ja").shots == shots


@pytest.mark.parametrize("value", ["haiku", "", None, 3, ["plain"], {}, "x" * 10_000, "<script>"])
@pytest.mark.parametrize(
    ("place", "kind", "known"), [(1, "format", "plain"), (4, "quantization", "8bit"), (5, "dtype", "auto")]
)
def test_a_name_that_is_not_in_the_list_is_refused_with_those_that_are(
    place: int, kind: str, known: str, value: Any
) -> None:
    with pytest.raises(InputError) as told:
        controls.read_side(changed(GOOD_SIDE, place, value), "ja")
    assert str(told.value).startswith(f"Unknown {kind} ")
    assert known in str(told.value)
    assert len(str(told.value)) < 300


# --- the questions ----------------------------------------------------------------------------------------


def test_questions_are_read_in_the_order_of_their_controls(settings: Settings) -> None:
    found = controls.read_configuration(settings, GOOD, Side(), None, "ja")
    assert found == Configuration(("jnli", "jsts"), "official", 7, "generate", Side(), None, True)


@pytest.mark.parametrize("lang", ["ja", "en"])
@pytest.mark.parametrize("tasks", [[], None, "", ()])
def test_no_subset_at_all_is_refused(settings: Settings, tasks: Any, lang: str) -> None:
    with pytest.raises(InputError) as told:
        controls.read_configuration(settings, changed(GOOD, 0, tasks), Side(), None, lang)
    assert str(told.value) == NO_TASKS[lang]


@pytest.mark.parametrize("lang", ["ja", "en"])
@pytest.mark.parametrize(
    "limit", [0, -1, -5, 20_001, 10**6, 10**40, 0.5, 2.5, math.nan, math.inf, "5", "all", [5], {}, False]
)
def test_a_number_of_items_that_is_none_is_refused(settings: Settings, limit: Any, lang: str) -> None:
    with pytest.raises(InputError) as told:
        controls.read_configuration(settings, changed(GOOD, 2, limit), Side(), None, lang)
    assert str(told.value) == ITEMS[lang]


@pytest.mark.parametrize(("place", "value"), [(2, True), (0, 5), (0, True), (0, 1.5)])
def test_values_of_no_sensible_type_are_refused_too(settings: Settings, place: int, value: Any) -> None:
    with pytest.raises(InputError):
        controls.read_configuration(settings, changed(GOOD, place, value), Side(), None, "ja")


@pytest.mark.parametrize("limit", [1, 20_000, 5.0])
def test_as_many_items_as_there_may_be_are_taken(settings: Settings, limit: float) -> None:
    found = controls.read_configuration(settings, changed(GOOD, 2, limit), Side(), None, "ja").limit
    assert (found, type(found)) == (limit, int)


@pytest.mark.parametrize("empty", [None, ""])
def test_an_empty_number_of_items_means_all_and_on_a_public_server_as_many_as_may_be(
    settings: Settings, empty: Any
) -> None:
    strict = replace(settings, public=True, max_items=50)
    assert controls.read_configuration(settings, changed(GOOD, 2, empty), Side(), None, "ja").limit is None
    assert controls.read_configuration(strict, changed(GOOD, 2, empty), Side(), None, "ja").limit == 50


def test_the_most_items_are_those_of_the_server(settings: Settings) -> None:
    strict = replace(settings, public=True, max_items=50)
    assert controls.read_configuration(strict, changed(GOOD, 2, 50), Side(), None, "ja").limit == 50
    for lang, sentence in (
        ("ja", "問題数は 1 から 50 までの整数です。"),
        ("en", "The number of items is a whole number from 1 to 50."),
    ):
        with pytest.raises(InputError) as told:
            controls.read_configuration(strict, changed(GOOD, 2, 51), Side(), None, lang)
        assert str(told.value) == sentence


@pytest.mark.parametrize(("place", "value"), [(1, "mine"), (1, None), (1, ["sample"]), (3, "guess"), (3, ""), (3, {})])
def test_unknown_data_and_methods_are_refused_with_those_that_are_known(
    settings: Settings, place: int, value: Any
) -> None:
    with pytest.raises(InputError, match=r"sample, official, test, generate, choose, both"):
        controls.read_configuration(settings, changed(GOOD, place, value), Side(), None, "ja")


@pytest.mark.parametrize("lang", ["ja", "en"])
def test_a_and_b_alike_are_refused(settings: Settings, lang: str) -> None:
    a = controls.read_side(GOOD_SIDE, lang)
    b = controls.read_side(changed(GOOD_SIDE, 0, "="), lang, a)
    with pytest.raises(InputError) as told:
        controls.read_configuration(settings, GOOD, a, b, lang)
    assert str(told.value) == SAME[lang]
    other = controls.read_side(changed(GOOD_SIDE, 3, 4), lang)
    assert controls.read_configuration(settings, GOOD, a, other, lang).b == other


# --- there and back ---------------------------------------------------------------------------------------


@given(SIDES, SIDES)
def test_a_side_that_is_filled_in_reads_as_itself(a: Side, b: Side) -> None:
    assume(a.model not in ("", "=") and b.model not in ("", "="))
    assert controls.read_side(controls.fill_side(a), "ja") == a
    assert controls.read_side(controls.fill_side(b, a), "ja", a) == b


@given(ASKED)
def test_a_configuration_that_is_filled_in_reads_as_itself(asked: Configuration) -> None:
    # Samples have no test set, so the page has no such choice.
    assume(asked.a != asked.b and (asked.data, asked.split) != ("sample", "test"))
    filled = controls.fill_questions(asked)
    assert controls.read_configuration(load_settings(), filled, asked.a, asked.b, "ja") == asked


def test_the_test_sets_are_a_choice_of_data() -> None:
    asked = Configuration(("jnli",), "official", 5, split="test")
    assert controls.fill_questions(asked)[1] == "test"
    filled = [["jnli"], "test", 5, "both", False]
    assert controls.read_configuration(load_settings(), filled, asked.a, None, "ja") == asked
    assert controls.fill_questions(Configuration(data="official"))[1] == "official"


def test_the_model_of_the_other_side_shows_as_that() -> None:
    a = Side("owner/name")
    assert controls.fill_side(Side("owner/name", shots=2), a)[0] == "="
    assert controls.fill_side(Side("other"), a)[0] == "other"
    assert controls.fill_side(a)[0] == "owner/name"


# --- the controls themselves ------------------------------------------------------------------------------


def values(components: Sequence[Any]) -> list[Any]:
    return [component.value for component in components]


def test_untouched_controls_ask_for_five_items_of_everything_without_and_with_three_examples(
    settings: Settings,
) -> None:
    asked = controls.questions(settings, str)
    a = controls.side(settings, str, Side(), "a")
    b = controls.side(settings, str, controls.USUAL_B, "b", same=True)
    left = controls.read_side(values(a.all()), "ja")
    right = controls.read_side(values(b.all()), "ja", left)
    found = controls.read_configuration(settings, values(asked.all()), left, right, "ja")
    assert found == Configuration(CORE, "sample", 5, "both", Side(), Side(shots=3))


@pytest.mark.parametrize("public", [False, True])
def test_a_public_server_offers_the_listed_models_alone(settings: Settings, public: bool) -> None:
    chosen = replace(settings, public=public)
    asked = controls.questions(chosen, str)
    a = controls.side(chosen, str, Side(), "a")
    b = controls.side(chosen, str, Side(), "b", same=True)
    assert a.model.allow_custom_value is b.model.allow_custom_value is not public
    assert asked.allow_bin.visible is not public
    assert [value for _, value in a.model.choices] == list(named_models())
    assert [value for _, value in b.model.choices] == ["=", *named_models()]


def test_every_format_and_style_can_be_chosen(settings: Settings) -> None:
    a = controls.side(settings, str, Side(), "a")
    assert [value for _, value in a.format.choices] == list(FORMATS)
    assert [value for _, value in a.style.choices] == list(style_names())
    assert all(name in title and title != name for title, name in controls.style_choices())
    assert controls.subset_choices()[0] == ("MARC-ja", "marc_ja")


def test_the_summary_names_thinking_as_its_control_does() -> None:
    on = Side("m", "chat", thinking="on")
    assert side_text(on, "ja").endswith(" · 思考：あり") and word("thinking", "ja") == "思考"
    assert side_text(on, "en").endswith(" · Thinking: On") and word("thinking", "en") == "Thinking"
    assert "思考" not in side_text(Side("m", "chat"), "ja")
    assert word("thinking_on", "ja") == "あり"


def test_thinking_and_its_limit_are_read_and_filled_and_kept_in_bounds() -> None:
    asked = [*GOOD_SIDE, "on", 2_048]
    found = controls.read_side(asked, "ja")
    assert (found.thinking, found.max_thinking_tokens) == ("on", 2_048)
    assert controls.fill_side(found) == [*asked, 1.0]
    assert controls.read_side([*GOOD_SIDE, "on", None], "ja").max_thinking_tokens == 0
    for value in (-1, 32_769, "many", True):
        with pytest.raises(InputError, match="思考の上限は 0 から 32,768"):
            controls.read_side([*GOOD_SIDE, "on", value], "ja")
    with pytest.raises(InputError, match="Unknown thinking 'perhaps'"):
        controls.read_side([*GOOD_SIDE, "perhaps", 0], "ja")


def test_a_repetition_penalty_is_read_and_filled_and_has_to_be_a_number_above_0() -> None:
    asked = [*GOOD_SIDE, "off", 0, 1.2]
    found = controls.read_side(asked, "ja")
    assert found.repetition_penalty == 1.2 and controls.fill_side(found) == asked
    assert [controls.read_side([*GOOD_SIDE, "off", 0, value], "ja") for value in (None, 1)] == [
        controls.read_side(GOOD_SIDE, "ja")
    ] * 2
    for value in (0, -1.2, float("nan"), float("inf"), "1.2", True):
        with pytest.raises(InputError, match="繰り返しペナルティは 0 より大きい数です"):
            controls.read_side([*GOOD_SIDE, "off", 0, value], "ja")
    assert side_text(found, "ja").endswith(" · 繰り返しペナルティ：1.2")
    assert "Repetition" not in side_text(Side(), "en")
