"""What controls say is read as if a stranger had written it, and written back unchanged."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from hypothesis import assume, given

from jglue_app.backends.named_models import named_models
from jglue_app.errors import InputError, UnknownNameError
from jglue_app.messages import say, word
from jglue_app.messages.labels import LABELS
from jglue_app.prompts.formats import FORMATS
from jglue_app.prompts.styles import style_names
from jglue_app.runs.request import RunRequest, Side, known_splits
from jglue_app.runs.request_options import options
from jglue_app.settings import Settings, load_settings
from jglue_app.tasks import DEFAULT_TASKS
from jglue_app.ui import controls
from jglue_app.ui.views.request import setup_html, side_text
from tests.runs.test_request import ASKED

GOOD_SIDE: dict[str, Any] = {
    **{"model": "gemma-3-270m", "format": "alpaca", "style": "number", "shots": 3},
    **{"quantization": "8bit", "dtype": "float16"},
}
GOOD: dict[str, Any] = {
    **{"tasks": ["jnli", "jsts"], "data": "official", "limit": 7, "method": "generate", "allow_bin": True},
    "a.model": "gemma-3-270m",
}

FEW_SHOTS = {"ja": "例題の数は 0 から 16 までです。", "en": "The number of examples is from 0 to 16."}
NO_MODEL = {
    "ja": "モデルがありません。一覧から選ぶか、名前を入力してください。",
    "en": "There is no model. Choose one of the list, or type its name.",
}
ITEMS = {
    "ja": "問題数は 1 から 20,000 までの整数です。",
    "en": "The number of items is a whole number from 1 to 20,000.",
}
SAME = {
    "ja": "A と B が同じ設定です。例題の数など、どちらかを変えてください。",
    "en": "A and B are the same. Change one of them, such as the number of examples.",
}


def side_with(**values: Any) -> Side:
    return controls.read_side({**GOOD_SIDE, **values})


def refusal(read: Callable[[], Any]) -> dict[str, str]:
    """Language → the sentence with which something is refused."""
    with pytest.raises(InputError) as caught:
        read()
    return {lang: say(caught.value.message, lang) for lang in ("ja", "en")}


# --- one side ---------------------------------------------------------------------------------------------


def test_a_side_is_read_by_the_names_of_its_controls() -> None:
    assert side_with() == Side("gemma-3-270m", "alpaca", "number", 3, "8bit", "float16")
    # A browser sends numbers of a slider as they come.
    assert side_with(shots=3.0).shots == 3
    assert side_with(model="  owner/name \n").model == "owner/name"
    advanced = {"shot_seed": 2.0, "system": " あ\n", "revision": " ", "shots_by_task": "jsquad=1, jnli=2"}
    assert side_with(**advanced) == replace(
        side_with(), shot_seed=2, system=" あ\n", shots_by_task=(("jsquad", 1), ("jnli", 2))
    )


def test_b_may_be_the_model_of_a() -> None:
    a = Side("owner/name", shots=1)
    assert controls.read_side({**GOOD_SIDE, "model": "="}, other=a).model == "owner/name"
    assert controls.read_side({**GOOD_SIDE, "model": "other"}, other=a).model == "other"


@pytest.mark.parametrize("model", ["", " ", "\n", None, [], False, 0])
def test_a_side_without_a_model_is_refused(model: Any) -> None:
    assert refusal(lambda: side_with(model=model)) == NO_MODEL


@pytest.mark.parametrize(
    "shots", [-1, 17, 10**6, 16.5, -0.1, math.nan, math.inf, -math.inf, True, False, "3", "", None, [3], {}]
)
def test_a_number_of_examples_that_is_none_is_refused(shots: Any) -> None:
    assert refusal(lambda: side_with(shots=shots)) == FEW_SHOTS


@pytest.mark.parametrize(
    ("values", "option"),
    [
        ({"a.shots": 99}, "a.shots"),
        ({"b.shots": 99}, "b.shots"),
        ({"a.model": "x" * 3_000}, "a.model"),
        ({"b.model": " "}, "b.model"),
        ({"a.format": "haiku"}, "a.format"),
        ({"b.shots_by_task": "jnli=-1"}, "b.shots_by_task"),
        ({"a.system": "\ud800"}, "a.system"),
        ({"limit": -3}, "limit"),
        ({"limit": 20_001}, "limit"),
        ({"tasks": []}, "tasks"),
        ({"tasks": ["sudoku"]}, "tasks"),
        ({"method": "guess"}, "method"),
        ({"budget": -1}, "budget"),
        ({"max_new_tokens": 4_097}, "max_new_tokens"),
        ({"split": "dev"}, "split"),
        ({}, ""),
    ],
)
def test_an_error_knows_the_control_that_is_at_fault(settings: Settings, values: dict[str, Any], option: str) -> None:
    same = {"b.model": "="} if "b.shots" not in values else {"b.model": "other"}
    with pytest.raises(InputError) as caught:
        controls.read({**GOOD, **same, **values}, settings)
    assert caught.value.option == option


@pytest.mark.parametrize("shots", [0, 16])
def test_as_many_examples_as_there_may_be_are_taken(shots: int) -> None:
    assert side_with(shots=shots).shots == shots


@pytest.mark.parametrize("value", ["haiku", "", None, 3, ["plain"], {}, "x" * 10_000, "<script>"])
@pytest.mark.parametrize(
    ("name", "known"), [("format", "plain"), ("quantization", "8bit"), ("dtype", "auto"), ("thinking", "default")]
)
def test_a_name_that_is_not_in_the_list_is_refused_with_those_that_are(name: str, known: str, value: Any) -> None:
    sentence = refusal(lambda: side_with(**{name: value}))["en"]
    assert sentence.startswith(f"Unknown {name} ")
    assert known in sentence
    assert len(sentence) < 300


@pytest.mark.parametrize("text", ["jnli", "jnli=x", "jnli=1e999", "jnli=-1", "sudoku=1"])
def test_numbers_of_subsets_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(InputError):
        side_with(shots_by_task=text)


# --- the items --------------------------------------------------------------------------------------------


def test_a_request_is_read_by_the_names_of_its_controls(settings: Settings) -> None:
    found = controls.read(GOOD, settings)
    assert found == RunRequest(("jnli", "jsts"), "official", 7, "generate", Side(), None, True)
    more = {"split": "train", "seed": 4.0, "max_new_tokens": 9, "oracle_length": True, "marc_ja": "own.json"}
    assert controls.read({**GOOD, **more}, settings) == replace(
        found, split="train", seed=4, max_new_tokens=9, oracle_length=True, marc_ja="own.json"
    )


@pytest.mark.parametrize("tasks", [[], None, "", (), 5, True, 1.5, [5]])
def test_no_subset_at_all_is_refused(settings: Settings, tasks: Any) -> None:
    sentences = refusal(lambda: controls.read({**GOOD, "tasks": tasks}, settings))
    assert sentences["en"].startswith("Choose at least one subset: marc_ja")
    assert sentences["ja"].startswith("サブセットを一つ以上選んでください（marc_ja")


@pytest.mark.parametrize(
    "limit", [0, -1, -5, 20_001, 10**6, 10**40, 0.5, 2.5, math.nan, math.inf, "5", "all", [5], {}, False, True]
)
def test_a_number_of_items_that_is_none_is_refused(settings: Settings, limit: Any) -> None:
    assert refusal(lambda: controls.read({**GOOD, "limit": limit}, settings)) == ITEMS


@pytest.mark.parametrize("limit", [1, 20_000, 5.0])
def test_as_many_items_as_there_may_be_are_taken(settings: Settings, limit: float) -> None:
    found = controls.read({**GOOD, "limit": limit}, settings).limit
    assert (found, type(found)) == (limit, int)


@pytest.mark.parametrize("empty", [None, ""])
def test_an_empty_number_of_items_means_all_and_on_a_public_server_as_many_as_may_be(
    settings: Settings, empty: Any
) -> None:
    strict = replace(settings, public=True, max_items=50)
    given = {**GOOD, "limit": empty, "allow_bin": False}
    assert controls.read(given, settings).limit is None
    assert controls.read(given, strict).limit == 50


def test_the_most_items_are_those_of_the_server(settings: Settings) -> None:
    strict = replace(settings, public=True, max_items=50)
    given = {**GOOD, "allow_bin": False}
    assert controls.read({**given, "limit": 50}, strict).limit == 50
    assert refusal(lambda: controls.read({**given, "limit": 51}, strict)) == {
        "ja": "問題数は 1 から 50 までの整数です。",
        "en": "The number of items is a whole number from 1 to 50.",
    }


@pytest.mark.parametrize(
    "given", [{"allow_bin": True}, {"a.revision": "v1"}, {"a.gguf_file": "a.gguf"}, {"marc_ja": "/etc/passwd"}]
)
def test_a_public_server_takes_nothing_that_concerns_its_files(settings: Settings, given: dict[str, Any]) -> None:
    strict = replace(settings, public=True, max_items=50)
    sentences = refusal(lambda: controls.read({**GOOD, "allow_bin": False, **given}, strict))
    assert sentences["en"].startswith("A public server does not take ")
    assert sentences["ja"].startswith("公開サーバーでは")


@pytest.mark.parametrize(
    ("name", "value", "known"),
    [
        ("data", "mine", "sample, official, test"),
        ("data", None, "sample, official, test"),
        ("data", ["sample"], "sample, official, test"),
        ("method", "guess", "generate, choose, both"),
        ("method", "", "generate, choose, both"),
        ("method", {}, "generate, choose, both"),
        ("split", "dev", "train, valid, test"),
    ],
)
def test_unknown_names_are_refused_with_those_that_are_known(
    settings: Settings, name: str, value: Any, known: str
) -> None:
    sentence = refusal(lambda: controls.read({**GOOD, name: value}, settings))["en"]
    assert sentence.startswith(f"Unknown {name} ") and known in sentence


def test_a_and_b_alike_are_refused(settings: Settings) -> None:
    sides = {f"a.{name}": value for name, value in GOOD_SIDE.items()}
    sides |= {f"b.{name}": value for name, value in GOOD_SIDE.items()} | {"b.model": "="}
    assert refusal(lambda: controls.read({**GOOD, **sides}, settings)) == SAME
    assert controls.read({**GOOD, **sides, "use_b": False}, settings).b is None
    assert controls.read({**GOOD, **sides, "b.shots": 4}, settings).b == side_with(shots=4)


# --- there and back ---------------------------------------------------------------------------------------


@given(ASKED)
def test_a_request_that_is_filled_in_reads_as_itself(request: RunRequest) -> None:
    assume(request.a != request.b and "=" not in {side.model for side in request.sides.values()})
    assert controls.read(controls.values_of(request), load_settings()) == request


def test_the_test_sets_are_a_choice_of_data() -> None:
    request = RunRequest(("jnli",), "official", 5, split="test")
    values = controls.values_of(request)
    assert (values["data"], values["split"]) == ("test", "")
    assert controls.read(
        {"tasks": ["jnli"], "data": "test", "limit": 5, "a.model": "gemma-3-270m"}, load_settings()
    ) == (request)
    assert controls.values_of(RunRequest(data="official"))["data"] == "official"
    other = controls.values_of(RunRequest(data="official", split="train"))
    assert (other["data"], other["split"]) == ("official", "train")


def test_the_model_of_the_other_side_shows_as_that() -> None:
    a = Side("owner/name")
    assert controls.side_values(Side("owner/name", shots=2), a)["model"] == "="
    assert controls.side_values(Side("other"), a)["model"] == "other"
    assert controls.side_values(a)["model"] == "owner/name"


# --- the controls themselves ------------------------------------------------------------------------------

BUILD = """
import json, dataclasses
import gradio as gr
from jglue_app.runs.request import Side
from jglue_app.settings import load_settings
from jglue_app.ui import controls
pages = []
for public in (False, True):
    settings = dataclasses.replace(load_settings(), public=public)
    with gr.Blocks(analytics_enabled=False):
        found = {
            **controls.questions(settings, str).components(),
            "use_b": gr.Checkbox(True),
            **controls.side(settings, str, Side(), "a").components(),
            **controls.side(settings, str, controls.DEFAULT_B, "b", same=True).components(),
        }
    shown = ("value", "visible", "label", "choices", "allow_custom_value", "precision", "minimum", "maximum", "props")
    kinds = {name: {"kind": type(c).__name__} for name, c in found.items()}
    pages.append({name: kinds[name] | {key: getattr(c, key, None) for key in shown} for name, c in found.items()})
print(json.dumps(pages))
"""


@pytest.fixture(scope="module")
def pages() -> list[dict[str, dict[str, Any]]]:
    """The controls of the Compare tab on a local and on a public server: name → what is shown."""
    # In a process of its own: gradio leaves event loops open.
    command = [sys.executable, "-W", "ignore", "-c", BUILD]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=True)
    found: list[dict[str, dict[str, Any]]] = json.loads(done.stdout)
    return found


def test_untouched_controls_ask_for_twenty_items_of_everything_without_and_with_three_examples(
    settings: Settings, pages: list[dict[str, dict[str, Any]]]
) -> None:
    request = controls.read({name: control["value"] for name, control in pages[0].items()}, settings)
    assert request == RunRequest(DEFAULT_TASKS, "sample", 20, "both", Side(), Side(shots=3))
    # Tabs that fill them by their places rely on this.
    assert list(controls.values_of(request)) == list(pages[0])


def test_a_public_server_shows_no_control_for_its_files(
    pages: list[dict[str, dict[str, Any]]],
) -> None:
    local = {
        "allow_bin",
        "marc_ja",
        *(f"{side}.{n}" for side in "ab" for n in ("revision", "adapter", "gguf_file", "backend")),
    }
    for public, page in zip((False, True), pages, strict=True):
        assert {name for name, control in page.items() if not control["visible"]} == (local if public else set())
        assert [page[model]["props"]["same"] for model in ("a.model", "b.model")] == ["", "="]
        assert [page[model]["props"]["public"] for model in ("a.model", "b.model")] == [public] * 2


def test_a_public_server_takes_the_listed_models_alone(settings: Settings) -> None:
    public = replace(settings, public=True)
    for model in named_models():
        assert controls.read({**GOOD, "data": "sample", "a.model": model, "allow_bin": False}, public).a.model == model
    with pytest.raises(UnknownNameError) as caught:
        controls.read({**GOOD, "allow_bin": False, "b.model": "owner/other"}, public)
    assert caught.value.option == "b.model"
    assert "Unknown model 'owner/other'." in str(caught.value)
    assert str(caught.value).endswith("This server runs the listed models only.")


def test_every_format_style_and_split_can_be_chosen(pages: list[dict[str, dict[str, Any]]]) -> None:
    page = pages[0]
    assert [value for _, value in page["a.format"]["choices"]] == list(FORMATS)
    assert [value for _, value in page["a.style"]["choices"]] == list(style_names())
    assert [value for _, value in page["split"]["choices"]] == ["", *known_splits()]
    assert all(name in title and title != name for title, name in controls.style_choices(lambda key: LABELS[key]))
    assert controls.subset_choices()[0] == ("MARC-ja", "marc_ja")


def test_every_control_has_a_label_in_both_languages(pages: list[dict[str, dict[str, Any]]]) -> None:
    for name, control in pages[0].items():
        if name in ("a.model", "b.model"):
            japanese, english = (control["props"]["words"][lang] for lang in ("ja", "en"))
            assert all(japanese[key] != english[key] for key in english), name
        elif name != "use_b":
            assert word(control["label"], "ja") != word(control["label"], "en"), name


def test_the_summary_names_thinking_as_its_control_does() -> None:
    on = Side("m", "chat", thinking="on")
    assert side_text(on, "ja").endswith(" · 思考：あり") and word("thinking", "ja") == "思考"
    assert side_text(on, "en").endswith(" · Thinking: On") and word("thinking", "en") == "Thinking"
    assert "思考" not in side_text(Side("m", "chat"), "ja")
    assert word("thinking_on", "ja") == "あり"


def test_thinking_and_its_limit_are_read_and_filled_and_kept_in_bounds() -> None:
    found = side_with(thinking="on", max_thinking_tokens=2_048)
    assert (found.thinking, found.max_thinking_tokens) == ("on", 2_048)
    assert controls.side_values(found)["max_thinking_tokens"] == 2_048
    for none in (None, "", 0, 0.0):
        assert side_with(max_thinking_tokens=none) == side_with()
    assert controls.side_values(side_with())["max_thinking_tokens"] == 0
    for value in (-1, 32_769, "many", True):
        assert refusal(partial(side_with, max_thinking_tokens=value)) == {
            "ja": "思考の上限は 0 から 32,768 までの整数です。",
            "en": "The thinking limit is a whole number from 0 to 32,768.",
        }


def test_a_repetition_penalty_is_read_and_filled_and_has_to_be_a_number_above_0() -> None:
    found = side_with(repetition_penalty=1.2)
    assert found.repetition_penalty == controls.side_values(found)["repetition_penalty"] == 1.2
    assert [side_with(repetition_penalty=value) for value in (None, 1)] == [side_with()] * 2
    for value in (0, -1.2, math.nan, math.inf, "1.2", True, 10**400):
        assert refusal(partial(side_with, repetition_penalty=value)) == {
            "ja": "繰り返しペナルティは 0 より大きい数です（例：1.2）。1 は「なし」です。",
            "en": "The repetition penalty is a number above 0, such as 1.2; 1 is none.",
        }
    assert side_text(found, "ja").endswith(" · 繰り返しペナルティ：1.2")
    assert "Repetition" not in side_text(Side(), "en")


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("seed", 1.5, "seed takes a whole number, not 1.5."),
        ("max_new_tokens", 99_999, "The limit on new tokens must be from 1 to 4096."),
        ("a.max_thinking_tokens", -5, "The thinking limit is a whole number from 0 to 32,768."),
    ],
)
def test_a_number_that_cannot_be_is_refused_in_a_sentence_and_never_rounded(
    settings: Settings, name: str, value: float, sentence: str
) -> None:
    with pytest.raises(InputError, match=f"^{re.escape(sentence)}$"):
        controls.read({name: value}, settings)


def test_gradio_neither_rounds_nor_refuses_a_number_itself(pages: list[dict[str, dict[str, Any]]]) -> None:
    numbers = [control for page in pages for control in page.values() if control["kind"] == "Number"]
    assert len(numbers) >= 5
    for control in numbers:
        assert [control.get(name) for name in ("precision", "minimum", "maximum")] == [None, None, None], control


# --- the summary ------------------------------------------------------------------------------------------

CHANGED: dict[str, tuple[Any, str, str]] = {
    "tasks": (("jnli",), "1 サブセット × 5 問", "subsets: 1 × 5 items"),
    "data": ("official", "公式 JGLUE v1.3 · ", "Official JGLUE v1.3 · "),
    "limit": (7, "5 サブセット × 7 問", "subsets: 5 × 7 items"),
    "method": ("choose", " · 対数尤度で順位づけ", " · Log-likelihood ranking"),
    "allow_bin": (True, " · .bin の重みも読む", " · .bin weights allowed"),
    "split": ("train", " · train", " · train"),
    "seed": (7, " · シード 7", " · seed 7"),
    "max_new_tokens": (3, " · 上限 3 トークン", " · at most 3 new tokens"),
    "oracle_length": (
        True,
        " · JSQuAD を正解の長さで打ち切り（オラクル）",
        " · JSQuAD answers cut at the gold length (oracle)",
    ),
    "marc_ja": ("own.json", " · MARC-ja は own.json から", " · MARC-ja from own.json"),
    "model": ("owner/name", "name · plain · 日本語ラベル", "name · plain · Japanese labels"),
    "format": ("chat", " · chat · ", " · chat · "),
    "style": ("number", " · 番号 · ", " · the number · "),
    "shots": (2, " · 例題 2", " · 2-shot"),
    "quantization": ("8bit", " · 8bit", " · 8bit"),
    "dtype": ("float16", " · float16", " · float16"),
    "thinking": ("on", " · 思考：あり", " · Thinking: On"),
    "max_thinking_tokens": (2_048, " · 思考の上限 2048 トークン", " · thought of at most 2048 tokens"),
    "repetition_penalty": (1.2, " · 繰り返しペナルティ：1.2", " · Repetition penalty: 1.2"),
    "shots_by_task": ((("jsquad", 2), ("jsts", 3)), " · 例題の数 jsquad=2,jsts=3", " · examples jsquad=2,jsts=3"),
    "repetition_penalty_by_task": (
        (("jsquad", 1.2),),
        " · 繰り返しペナルティ jsquad=1.2",
        " · Repetition penalty jsquad=1.2",
    ),
    "shot_selection": ("random", " · 例題：問題ごとに無作為", " · Examples: Others for each item"),
    "shot_seed": (5, " · 例題選びのシード 5", " · seed of the examples 5"),
    "system": ("{短く}", " · システムプロンプトあり", " · with a system prompt"),
    "revision": ("main", " · リビジョン main", " · Revision main"),
    "adapter": ("owner/lora", " · アダプター owner/lora", " · Adapter owner/lora"),
    "budget": (2.5, " · 予算 2.5", " · Budget 2.5"),
    "gguf_file": ("q4.gguf", " · GGUF ファイル q4.gguf", " · GGUF file q4.gguf"),
    "backend": ("scripted", " · バックエンド scripted", " · Backend scripted"),
}
"""Option → a value that is not its default, and what the summary beside the button says of it."""


@pytest.mark.parametrize("name", [*options(RunRequest), *options(Side)])
def test_the_summary_names_every_option_that_is_not_as_the_page_begins(name: str) -> None:
    value, *texts = CHANGED[name]
    request = RunRequest()
    changed = replace(
        request,
        **({name: value} if name in options(RunRequest) else {"a": replace(request.a, **{name: value})}),
    )
    for lang, text in zip(("ja", "en"), texts, strict=True):
        assert text in setup_html(changed, lang)
        assert text not in setup_html(request, lang)


def test_the_summary_names_a_split_that_the_choice_of_data_does_not() -> None:
    def facts(data: str, split: str) -> str:
        return setup_html(RunRequest(data=data, split=split), "en").rpartition('<div class="jg-small">')[2]

    assert facts("sample", "valid") == "Sample · subsets: 5 × 5 items · Both</div></div>"
    assert facts("official", "test") == "Official JGLUE v1.3, test sets · subsets: 5 × 5 items · Both</div></div>"
    assert facts("sample", "test") == "Sample · subsets: 5 × 5 items · Both · test</div></div>"


def test_what_a_group_of_advanced_options_sets_is_not_what_is_in_sight_or_follows_from_the_data() -> None:
    for unset in (RunRequest(limit=7), RunRequest(data="official", split="test"), Side(shots=3, dtype="float16")):
        assert not controls.sets_advanced(unset)
    for name in {*options(RunRequest), *options(Side)} - set(controls.BASIC):
        part = RunRequest() if name in options(RunRequest) else Side()
        assert controls.sets_advanced(replace(part, **{name: CHANGED[name][0]})), name
