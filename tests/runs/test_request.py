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
from jglue_app.runs.plan import METHODS
from jglue_app.runs.request import (
    DATA,
    DTYPES,
    MAX_SHOTS,
    QUANTIZATIONS,
    SPLITS,
    Configuration,
    Side,
    command,
    from_query,
    of_pair,
    of_spec,
    plans,
    query,
)
from jglue_app.settings import Settings
from jglue_app.tasks import CORE, TASKS
from jglue_app.types import Decoding

SIDES = st.builds(
    Side,
    st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), min_size=1, max_size=30).map(str.strip),
    st.sampled_from(list(FORMATS)),
    st.sampled_from(["ja-labels", "number", "./own style.toml"]),
    st.integers(0, MAX_SHOTS),
    st.sampled_from(QUANTIZATIONS),
    st.sampled_from(DTYPES),
    st.sampled_from(THINKING),
    st.sampled_from((0, 1, 2_048, 32_768)),
    st.just(1.0) | st.floats(0, exclude_min=True, allow_infinity=False),
)
ASKED = st.builds(
    Configuration,
    st.lists(st.sampled_from(list(TASKS)), min_size=1, unique=True).map(tuple),
    st.sampled_from(DATA),
    st.none() | st.integers(1, 20_000),
    st.sampled_from(METHODS),
    SIDES,
    st.none() | SIDES,
    st.just(False),
    st.sampled_from(SPLITS),
)


@given(ASKED)
def test_a_link_opens_what_it_was_made_of(asked: Configuration) -> None:
    assert from_query(dict(parse_qsl(query(asked), keep_blank_values=True))) == asked


def test_a_link_that_asks_for_nothing_opens_nothing() -> None:
    assert from_query({}) is None
    assert from_query({"lang": "en", "__theme": "dark"}) is None


@pytest.mark.parametrize(
    "params",
    [
        {"tasks": "sudoku"},
        {"tasks": "jnli", "method": "guess"},
        {"tasks": "jnli", "data": "mine"},
        {"tasks": "jnli", "split": "train"},
        {"tasks": "jnli", "limit": "-1"},
        {"tasks": "jnli", "limit": "9" * 40},
        {"a": "m", "a-shots": "three"},
        {"a": "m", "a-format": "haiku"},
        {"a": "m" * 501},
        {"b": "m", "b-dtype": "int3"},
    ],
)
def test_a_link_with_a_wrong_value_is_a_sentence(params: dict[str, str]) -> None:
    with pytest.raises(InputError) as told:
        from_query(params)
    assert len(str(told.value)) < 400


def test_the_test_sets_are_asked_for_by_command_and_link_and_by_a_stored_run(settings: Settings) -> None:
    asked = Configuration(("jnli",), "official", 5, a=Side("m"), split="test")
    assert command(asked) == (
        "python -m jglue_app run --model m --tasks jnli --data official --split test --limit 5 --method both"
    )
    assert "&split=test&" in query(asked)
    ((_, plan),) = plans(settings, Configuration(("jnli",), limit=3, a=Side("gemma-3-270m")))
    spec = replace(plan.spec, data_version="v1.3", split="test")
    found = of_spec(spec)
    assert found == Configuration(("jnli",), "official", 3, a=Side("gemma-3-270m"), split="test")
    assert of_spec(replace(spec, split="train")) is None


def test_samples_have_no_test_set(settings: Settings) -> None:
    with pytest.raises(InputError, match=r"The embedded samples of JNLI have no 'test' split\."):
        plans(settings, Configuration(("jnli",), "sample", split="test"))
    with pytest.raises(InputError, match=r"There are no test items of MARC-ja: .* Leave it out of the subsets"):
        plans(settings, Configuration(("marc_ja",), "official", split="test"))
    with pytest.raises(UnknownNameError, match="Unknown split 'dev'"):
        plans(settings, Configuration(("jnli",), split="dev"))


def test_the_command_says_what_differs_from_the_defaults_and_quotes_what_a_shell_would_read() -> None:
    asked = Configuration(("jnli",), "sample", 5, "both", Side("my models/x; rm", shots=2), None)
    assert shlex.split(command(asked)) == [
        *("python", "-m", "jglue_app", "run", "--model", "my models/x; rm", "--tasks", "jnli"),
        *("--data", "sample", "--limit", "5", "--method", "both", "--shots", "2"),
    ]
    two = replace(asked, limit=None, tasks=CORE, a=Side(), b=Side(shots=3, quantization="8bit"))
    assert command(two) == (
        "python -m jglue_app compare --a gemma-3-270m --data sample --method both --b-shots 3 --b-quantization 8bit"
    )


def test_the_command_makes_the_same_runs(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through the real command line, up to where the models would be loaded."""
    from jglue_app.cli import app

    asked = Configuration(("jnli", "jsts"), "sample", 3, "both", Side(style="number"), Side(style="en-labels", shots=2))
    met: list[Any] = []

    def note(planned: Any, *rest: Any) -> int:
        met.extend(planned)
        return 0

    monkeypatch.setattr("jglue_app.cli.runs._execute", note)
    app(shlex.split(command(asked))[3:], standalone_mode=False)
    assert [plan.spec for _, plan in met] == [plan.spec for _, plan in plans(settings, asked)]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"limit": 10**6}, "At most"),
        ({"a": Side(" ")}, "There is no model"),
        ({"a": Side("x" * 600)}, "at most 500"),
        ({"a": Side("a\nb")}, "no line ends"),
        ({"a": Side(shots=99)}, "from 0 to 16"),
        ({"a": Side(dtype="int4")}, "Unknown dtype"),
        ({"a": Side(quantization="2bit")}, "Unknown quantization"),
        ({"data": "mine"}, "Unknown data"),
        ({"b": Side()}, "are the same"),
        ({"tasks": ()}, "ubset"),
    ],
)
def test_what_cannot_be_done_is_a_sentence_with_a_remedy(
    settings: Settings, change: dict[str, Any], sentence: str
) -> None:
    asked = replace(Configuration(("jnli",), a=Side()), **change)
    with pytest.raises(InputError, match=sentence):
        plans(settings, asked)


def test_on_a_public_page_all_items_are_as_many_as_may_be_asked(settings: Settings) -> None:
    strict = dataclasses.replace(settings, public=True, max_items=7)
    ((_, plan),) = plans(strict, Configuration(("jnli",), limit=None))
    assert plan.total == 7


def test_a_stored_spec_is_asked_for_again(settings: Settings) -> None:
    asked = Configuration(("jnli",), "sample", 4, "both", Side(shots=2, style="number", dtype="bfloat16"))
    ((_, plan),) = plans(settings, asked)
    assert of_spec(plan.spec) == asked


def test_a_run_made_with_settings_that_no_configuration_has_is_not_asked_for_again(settings: Settings) -> None:
    ((_, plan),) = plans(settings, Configuration(("jnli",), limit=3, a=Side("gemma-3-270m", shots=2)))
    spec = plan.spec
    assert of_spec(spec) == Configuration(("jnli",), limit=3, a=Side("gemma-3-270m", shots=2))
    for other in (
        replace(spec, seed=3),
        replace(spec, split="train"),
        replace(spec, code_version="0.0.1"),
        replace(spec, decoding=Decoding("both", max_new_tokens=7)),
        replace(spec, prompt=replace(spec.prompt, shot_seed=1)),
        replace(spec, model=replace(spec.model, revision="main")),
    ):
        assert of_spec(other) is None


def test_two_runs_are_one_configuration_when_only_their_sides_differ(settings: Settings) -> None:
    both = Configuration(("jnli",), limit=3, a=Side("gemma-3-270m"), b=Side("gemma-3-270m", shots=3))
    a, b = (plan.spec for _, plan in plans(settings, both))
    assert of_pair(a, b) == both
    assert of_pair(a, replace(b, limit=4)) is None


def test_a_run_is_asked_for_again_whatever_files_its_model_had(settings: Settings) -> None:
    asked = Configuration(("jnli",), limit=3)
    ((_, plan),) = plans(settings, asked)
    assert plan.spec.model.files_sha256 is not None
    other = replace(plan.spec, model=replace(plan.spec.model, files_sha256="ab" * 32))
    for spec in (plan.spec, other):
        assert of_spec(spec) == asked
    both = of_pair(plan.spec, replace(other, prompt=replace(other.prompt, shots=2)))
    assert both == replace(asked, b=Side(shots=2))
    for text in (command(asked), query(asked)):
        assert "sha256" not in text and plan.spec.model.files_sha256 not in text


def test_thinking_of_both_sides_stands_in_the_command_and_in_the_link() -> None:
    a = Side("m", "chat", thinking="on", max_thinking_tokens=2_048)
    assert command(Configuration(("jnli",), a=a)).endswith("--format chat --thinking on --max-thinking-tokens 2048")
    two = Configuration(("jnli",), a=a, b=Side("m", "chat"))
    assert command(two).endswith(
        "--a-thinking on --b-thinking off --a-max-thinking-tokens 2048 --b-max-thinking-tokens 0"
    )
    assert "a-thinking=on&a-max-thinking-tokens=2048" in query(two)
    assert "thinking" not in query(Configuration(("jnli",)))


def test_a_repetition_penalty_stands_in_the_command_and_in_the_link_and_in_the_plan(settings: Settings) -> None:
    one = Configuration(("jnli",), limit=3, a=Side(repetition_penalty=1.2))
    assert command(one).endswith("--repetition-penalty 1.2")
    two = replace(one, b=Side())
    assert command(two).endswith("--a-repetition-penalty 1.2 --b-repetition-penalty 1.0")
    assert "a-repetition-penalty=1.2" in query(two) and "b-repetition-penalty" not in query(two)
    assert "penalty" not in query(Configuration(("jnli",)))
    assert from_query(dict(parse_qsl(query(two)))) == two
    found = plans(settings, two)
    assert [plan.spec.decoding.repetition_penalty for _, plan in found] == [1.2, 1.0]
    assert of_spec(found[0][1].spec) == one


def test_a_run_whose_subsets_have_different_penalties_is_not_asked_for_again(settings: Settings) -> None:
    ((_, plan),) = plans(settings, Configuration(("jnli", "jsts"), limit=3))
    mixed = replace(plan.spec.decoding, repetition_penalty_by_task=(("jnli", 1.2),))
    assert of_spec(plan.spec) is not None and of_spec(replace(plan.spec, decoding=mixed)) is None


@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf", "1e999", "much", "1_0", "１.２", "", "1" * 40])
def test_a_link_with_a_repetition_penalty_that_is_none_is_refused(value: str) -> None:
    with pytest.raises(InputError, match=r"a-repetition-penalty in this link must be a number above 0, such as 1\.2"):
        from_query({"a": "m", "a-repetition-penalty": value})


@pytest.mark.parametrize("value", ["-1", "32769", "many"])
def test_a_link_with_a_limit_of_thoughts_out_of_bounds_is_refused(value: str) -> None:
    with pytest.raises(InputError, match="a-max-thinking-tokens in this link must be a whole number from 0 to 32,768"):
        from_query({"a": "m", "a-max-thinking-tokens": value})
