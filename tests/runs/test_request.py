"""A comparison as plans, as a command line and as a link."""

from __future__ import annotations

import dataclasses
import shlex
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jglue_app.errors import InputError, UnknownNameError
from jglue_app.prompts.formats import FORMATS
from jglue_app.prompts.thoughts import THINKING
from jglue_app.runs.plan import Plan
from jglue_app.runs.request import (
    DTYPES,
    MAX_SHOTS,
    METHODS,
    QUANTIZATIONS,
    RunRequest,
    Side,
)
from jglue_app.runs.request_checks import read_values
from jglue_app.runs.request_options import Surface
from jglue_app.runs.request_text import from_url_query, to_command_line, to_url_query
from jglue_app.settings import Settings
from jglue_app.tasks import DEFAULT_TASKS, TASKS
from jglue_app.types import Decoding, ModelSpec, PromptSpec


def page_plans(settings: Settings, request: RunRequest) -> list[tuple[str, Plan]]:
    """The plans of a request as the page makes them."""
    return [(str(side), plan) for side, plan in request.for_page(settings).plans(settings)]


SIDES = st.builds(
    Side,
    st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), min_size=1, max_size=30)
    .map(str.strip)
    .filter(bool),
    st.sampled_from(list(FORMATS)),
    st.sampled_from(["ja-labels", "number", "./own style.toml"]),
    st.integers(0, MAX_SHOTS),
    st.sampled_from(QUANTIZATIONS),
    st.sampled_from(DTYPES),
    st.sampled_from(THINKING),
    st.sampled_from((None, 1, 2_048, 32_768)),
    st.just(1.0) | st.floats(0, exclude_min=True, allow_infinity=False),
)
ASKED = st.builds(
    RunRequest,
    st.lists(st.sampled_from(list(TASKS)), min_size=1, unique=True).map(tuple),
    st.sampled_from(("sample", "official")),
    st.none() | st.integers(1, 20_000),
    st.sampled_from(METHODS),
    SIDES,
    st.none() | SIDES,
    st.just(False),
    st.sampled_from(("valid", "test", "train")),
)


@given(ASKED)
def test_a_link_opens_what_it_was_made_of(asked: RunRequest) -> None:
    assert from_url_query(dict(parse_qsl(to_url_query(asked), keep_blank_values=True))) == asked


def test_a_link_that_asks_for_nothing_opens_nothing() -> None:
    assert from_url_query({}) is None
    assert from_url_query({"lang": "en", "__theme": "dark"}) is None


@pytest.mark.parametrize(
    "params",
    [
        {"tasks": "sudoku"},
        {"tasks": "jnli", "method": "guess"},
        {"tasks": "jnli", "data": "mine"},
        {"tasks": "jnli", "split": "dev"},
        {"tasks": "jnli", "limit": "-1"},
        {"tasks": "jnli", "limit": "9" * 40},
        {"a": "m", "a-shots": "three"},
        {"a": "m", "a-format": "haiku"},
        {"a": "m" * 501},
        {"b": "m", "b-dtype": "int3"},
        {"a": " "},
        {"a": "m", "a-backend": "vllm"},
        {"a": "m", "a-shots-by-task": "jnli"},
        {"a": "m", "a-shots-by-task": "sudoku=1"},
        {"a": "m", "a-shots-by-task": "jsquad=17"},
        {"a": "m", "a-system": "x" * 10_001},
        {"tasks": ","},
        {"tasks": "jnli", "seed": "x"},
        {"tasks": "jnli", "seed": "9" * 31},
        {"tasks": "jnli", "max-new-tokens": "4097"},
        {"tasks": "jnli", "oracle-length": "perhaps"},
    ],
)
def test_a_link_with_a_wrong_value_is_a_sentence(params: dict[str, str]) -> None:
    with pytest.raises(InputError) as told:
        from_url_query(params)
    assert len(str(told.value)) < 400


def test_a_link_with_options_of_b_and_no_b_is_a_sentence() -> None:
    for rest in ({}, {"a": "some/model", "tasks": "jnli"}):
        with pytest.raises(InputError) as raised:
            from_url_query({**rest, "b-shots": "3", "b-format": "chat", "lang": "en"})
        assert str(raised.value) == (
            "The link has b-shots, b-format but names no model B. Add b=MODEL, or leave them out."
        )
    assert from_url_query({"b-sides": "1", "lang": "en"}) is None


def test_the_test_sets_are_asked_for_by_command_and_link_and_by_a_stored_run(settings: Settings) -> None:
    asked = RunRequest(("jnli",), "official", 5, a=Side("m"), split="test")
    assert to_command_line(asked) == (
        "python -m jglue_app run --model m --tasks jnli --data official --split test --limit 5 --method both"
    )
    assert "&split=test&" in to_url_query(asked)
    ((_, plan),) = page_plans(settings, RunRequest(("jnli",), limit=3, a=Side("gemma-3-270m")))
    spec = replace(plan.spec, data_version="v1.3", split="test")
    found = RunRequest.of_spec(spec)
    assert found == RunRequest(("jnli",), "official", 3, a=Side("gemma-3-270m"), split="test")
    assert RunRequest.of_spec(replace(spec, split="dev")) is None


def test_samples_have_no_test_set(settings: Settings) -> None:
    with pytest.raises(InputError, match=r"The embedded samples of JNLI have no 'test' split\."):
        page_plans(settings, RunRequest(("jnli",), "sample", split="test"))
    with pytest.raises(InputError, match=r"There are no test items of MARC-ja: .* Leave it out of the subsets"):
        page_plans(settings, RunRequest(("marc_ja",), "official", split="test"))
    with pytest.raises(UnknownNameError, match="Unknown split 'dev'"):
        page_plans(settings, RunRequest(("jnli",), split="dev"))


def test_the_command_says_what_differs_from_the_defaults_and_quotes_what_a_shell_would_read() -> None:
    asked = RunRequest(("jnli",), "sample", 5, "both", Side("my models/x; rm", shots=2), None)
    assert shlex.split(to_command_line(asked)) == [
        *("python", "-m", "jglue_app", "run", "--model", "my models/x; rm", "--tasks", "jnli"),
        *("--data", "sample", "--limit", "5", "--method", "both", "--shots", "2"),
    ]
    two = replace(asked, limit=None, tasks=DEFAULT_TASKS, a=Side(), b=Side(shots=3, quantization="8bit"))
    assert to_command_line(two) == (
        "python -m jglue_app compare --a gemma-3-270m --data sample --method both --b-shots 3 --b-quantization 8bit"
    )


def test_the_command_makes_the_same_runs(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through the real command line, up to where the models would be loaded."""
    from jglue_app.cli import app

    asked = RunRequest(("jnli", "jsts"), "sample", 3, "both", Side(style="number"), Side(style="en-labels", shots=2))
    met: list[Any] = []

    def note(planned: Any, *rest: Any) -> int:
        met.extend(planned)
        return 0

    monkeypatch.setattr("jglue_app.cli.runs._execute", note)
    app(shlex.split(to_command_line(asked))[3:], standalone_mode=False)
    assert [plan.spec for _, plan in met] == [plan.spec for _, plan in page_plans(settings, asked)]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"limit": 10**6}, "from 1 to 20,000"),
        ({"a": {"model": " "}}, "There is no model"),
        ({"a": {"model": "x" * 600}}, "at most 500"),
        ({"a": {"model": "a\nb"}}, "no line ends"),
        ({"a": {"shots": 99}}, "from 0 to 16"),
        ({"a": {"shots_by_task": "jsquad=17"}}, "from 0 to 16"),
        ({"a": {"shots_by_task": "jsquad=2,jsquad=3"}}, "shots-by-task has jsquad twice"),
        ({"a": {"repetition_penalty_by_task": (("jsts", 1.1), ("jsts", 1.2))}}, "has jsts twice"),
        ({"a": {"dtype": "int4"}}, "Unknown dtype"),
        ({"a": {"quantization": "2bit"}}, "Unknown quantization"),
        ({"data": "mine"}, "Unknown data"),
        ({"b": Side()}, "are the same"),
        ({"tasks": ()}, "ubset"),
    ],
)
def test_what_cannot_be_done_is_a_sentence_with_a_remedy(
    settings: Settings, change: dict[str, Any], sentence: str
) -> None:
    values = {"tasks": ("jnli",), **change}

    def planned() -> object:
        return page_plans(settings, RunRequest(**{**values, "a": Side(**values.get("a", {}))}))

    with pytest.raises(InputError, match=sentence):
        planned()


def test_on_a_public_page_all_items_are_as_many_as_may_be_asked(settings: Settings) -> None:
    strict = dataclasses.replace(settings, public=True, max_items=7)
    ((_, plan),) = page_plans(strict, RunRequest(("jnli",), limit=None))
    assert plan.total == 7


def test_a_stored_spec_is_asked_for_again(settings: Settings) -> None:
    asked = RunRequest(("jnli",), "sample", 4, "both", Side(shots=2, style="number", dtype="bfloat16"))
    ((_, plan),) = page_plans(settings, asked)
    assert RunRequest.of_spec(plan.spec) == asked


def test_every_setting_of_a_stored_run_is_requested_again(settings: Settings) -> None:
    ((_, plan),) = page_plans(settings, RunRequest(("jnli",), limit=3, a=Side("gemma-3-270m", shots=2)))
    spec = plan.spec
    first = RunRequest(("jnli",), limit=3, a=Side("gemma-3-270m", shots=2))
    assert RunRequest.of_spec(spec) == first
    assert RunRequest.of_spec(replace(spec, seed=3)) == replace(first, seed=3)
    assert RunRequest.of_spec(replace(spec, split="train")) == replace(first, split="train")
    decoding = Decoding("both", 7, True, 8, repetition_penalty_by_task=(("jnli", 1.2),))
    assert RunRequest.of_spec(replace(spec, decoding=decoding)) == replace(
        first,
        max_new_tokens=7,
        oracle_length=True,
        a=replace(first.a, max_thinking_tokens=8, repetition_penalty_by_task=(("jnli", 1.2),)),
    )
    prompt = PromptSpec(shot_seed=1, shot_selection="fixed", system="あ", shots_by_task=(("jnli", 4),))
    assert RunRequest.of_spec(replace(spec, prompt=prompt)) == replace(
        first,
        a=Side(shot_seed=1, shot_selection="fixed", system="あ", shots_by_task=(("jnli", 4),)),
    )
    model = ModelSpec("m.jsonl", "hf", revision="main", gguf_file="a.gguf")
    assert RunRequest.of_spec(replace(spec, model=model)) == replace(
        first, a=replace(first.a, model="m.jsonl", backend="hf", revision="main", gguf_file="a.gguf")
    )


def test_a_run_of_another_version_or_of_outputs_made_elsewhere_is_not_requested_again(settings: Settings) -> None:
    ((_, plan),) = page_plans(settings, RunRequest(("jnli",), limit=3))
    for other in (
        replace(plan.spec, code_version="0.0.1"),
        replace(plan.spec, model=replace(plan.spec.model, backend="predictions")),
        replace(plan.spec, model=replace(plan.spec.model, backend="imported")),
    ):
        assert RunRequest.of_spec(other) is None


def test_two_runs_are_one_configuration_when_only_their_sides_differ(settings: Settings) -> None:
    both = RunRequest(("jnli",), limit=3, a=Side("gemma-3-270m"), b=Side("gemma-3-270m", shots=3))
    a, b = (plan.spec for _, plan in page_plans(settings, both))
    assert RunRequest.of_pair(a, b) == both
    assert RunRequest.of_pair(a, replace(b, limit=4)) is None


def test_a_run_is_asked_for_again_whatever_files_its_model_had(settings: Settings) -> None:
    asked = RunRequest(("jnli",), limit=3)
    ((_, plan),) = page_plans(settings, asked)
    assert plan.spec.model.files_sha256 is not None
    other = replace(plan.spec, model=replace(plan.spec.model, files_sha256="ab" * 32))
    for spec in (plan.spec, other):
        assert RunRequest.of_spec(spec) == asked
    both = RunRequest.of_pair(plan.spec, replace(other, prompt=replace(other.prompt, shots=2)))
    assert both == replace(asked, b=Side(shots=2))
    for text in (to_command_line(asked), to_url_query(asked)):
        assert "sha256" not in text and plan.spec.model.files_sha256 not in text


def test_thinking_of_both_sides_stands_in_the_command_and_in_the_link() -> None:
    a = Side("m", "chat", thinking="on", max_thinking_tokens=2_048)
    assert to_command_line(RunRequest(("jnli",), a=a)).endswith(
        "--format chat --thinking on --max-thinking-tokens 2048"
    )
    two = RunRequest(("jnli",), a=a, b=Side("m", "chat"))
    assert to_command_line(two).endswith(
        "--a-thinking on --b-thinking off --a-max-thinking-tokens 2048 --b-max-thinking-tokens 0"
    )
    assert "a-thinking=on&a-max-thinking-tokens=2048" in to_url_query(two)
    assert "thinking" not in to_url_query(RunRequest(("jnli",)))


def test_a_repetition_penalty_stands_in_the_command_and_in_the_link_and_in_the_plan(settings: Settings) -> None:
    one = RunRequest(("jnli",), limit=3, a=Side(repetition_penalty=1.2))
    assert to_command_line(one).endswith("--repetition-penalty 1.2")
    two = replace(one, b=Side())
    assert to_command_line(two).endswith("--a-repetition-penalty 1.2 --b-repetition-penalty 1.0")
    assert "a-repetition-penalty=1.2" in to_url_query(two) and "b-repetition-penalty" not in to_url_query(two)
    assert "penalty" not in to_url_query(RunRequest(("jnli",)))
    assert from_url_query(dict(parse_qsl(to_url_query(two)))) == two
    found = page_plans(settings, two)
    assert [plan.spec.decoding.repetition_penalty for _, plan in found] == [1.2, 1.0]
    assert RunRequest.of_spec(found[0][1].spec) == one


@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf", "1e999", "much", "1_0", "１.２", "", "1" * 40])
def test_a_link_with_a_repetition_penalty_that_is_none_is_refused(value: str) -> None:
    with pytest.raises(InputError, match=r"a-repetition-penalty in this link must be a number above 0, such as 1\.2"):
        from_url_query({"a": "m", "a-repetition-penalty": value})


def test_a_link_names_no_file_of_this_machine_and_allows_no_pickled_weights() -> None:
    request = from_url_query({"a": "m", "marc-ja": "/etc/passwd", "allow-bin": "true"})
    assert request == RunRequest(a=Side("m"))


def test_an_option_that_does_not_exist_is_refused_by_name() -> None:
    with pytest.raises(UnknownNameError, match=r"Unknown option 'shot'\. Did you mean 'shots'\?"):
        read_values(Side, {"shot": 3}, "program")


@pytest.mark.parametrize("value", ["-1", "32769", "many"])
def test_a_link_with_a_limit_of_thoughts_out_of_bounds_is_refused(value: str) -> None:
    with pytest.raises(InputError, match="a-max-thinking-tokens in this link must be a whole number from 0 to 32,768"):
        from_url_query({"a": "m", "a-max-thinking-tokens": value})


@pytest.mark.parametrize("surface", ["program", "page", "link", "form"])
@pytest.mark.parametrize(
    ("model", "values", "name"),
    [
        (RunRequest, {"seed": 10**18}, "seed"),
        (RunRequest, {"seed": -(10**18)}, "seed"),
        (Side, {"shot_seed": 1e30}, "shot-seed"),
        (Side, {"shots_by_task": {"jsquad": 10**20}}, "shots-by-task"),
        (RunRequest, {"limit": 10**19}, "limit"),
    ],
)
def test_a_whole_number_that_no_stored_run_could_hold_is_refused(
    surface: Surface, model: type, values: dict[str, Any], name: str
) -> None:
    with pytest.raises(InputError, match=f"^{name} takes a whole number of at most 18 digits"):
        read_values(model, values, surface)


def test_the_largest_seed_can_be_requested(settings: Settings) -> None:
    request = RunRequest(tasks=("jnli",), seed=10**18 - 1)
    ((_, plan),) = page_plans(settings, request)
    assert plan.spec.seed == 999_999_999_999_999_999


@pytest.mark.parametrize("surface", ["page", "link", "form"])
@pytest.mark.parametrize("values", [{"model": "a\ud800"}, {"system": "a\udfff"}, {"style": "\ud83d"}])
def test_half_a_character_is_refused_where_anybody_fills_in(surface: Surface, values: dict[str, str]) -> None:
    """It cannot be written into a link, and no tokenizer takes it."""
    with pytest.raises(InputError, match="half a character"):
        read_values(Side, values, surface)
