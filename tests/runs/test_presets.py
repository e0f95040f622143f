"""Settings that are left open are those of the protocol's own system."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from jglue_app.errors import UnknownNameError
from jglue_app.prompts.formats import FORMATS
from jglue_app.prompts.styles import load_style
from jglue_app.runs import presets
from jglue_app.scoring.protocols import PROTOCOLS, protocol_names
from jglue_app.scoring.types import Preset
from jglue_app.tasks import CORE, TASKS
from jglue_app.types import Decoding, PromptSpec

SHOTS: Mapping[str, tuple[int, ...]] = {
    "official": (0, 0, 0, 0, 0),
    "wandb-2023-0shot": (0, 0, 0, 0, 0),
    "wandb-2023-4shot": (4, 4, 4, 4, 4),
    "wandb-2023-10-0shot": (0, 0, 0, 0, 0),
    "stability-jp": (3, 3, 3, 2, 3),
    "stability-jp-capped": (3, 3, 3, 2, 3),
    "swallow-202411": (4, 4, 4, 4, 4),
    "nejumi-4": (2, 2, 2, 2, 2),
    "llm-jp-eval": (4, 4, 4, 4, 4),
    "flexeval": (3, 3, 3, 4, 4),
    "lm-eval-ja": (3, 3, 3, 2, 3),
}
"""Protocol → examples in MARC-ja, JSTS, JNLI, JSQuAD and JCommonsenseQA."""


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_protocol_brings_its_own_settings(name: str) -> None:
    filled = presets.fill(name)
    prompt = PromptSpec(shots=filled.shots, shots_by_task=filled.shots_by_task)
    assert tuple(prompt.for_task(task).shots for task in CORE) == SHOTS[name]
    assert filled.format in FORMATS
    style = load_style(filled.style)
    ranked = PROTOCOLS[name].ranked
    assert filled.method == ("both" if ranked else "generate")
    for task in PROTOCOLS[name].literal:
        assert tuple(t.template for t in style.of(task).answers.values()) == TASKS[task].labels


def test_what_is_asked_for_goes_before() -> None:
    assert presets.fill("stability-jp", shots=0, style="number") == Preset("number", 0, (), "both")
    assert presets.fill("lm-eval-ja", method="choose", format="plain").method == "choose"
    assert presets.fill("official") == Preset("ja-labels", 0, (), "generate", "plain")


PENALTIES = (("jnli", 1.2), ("jsquad", 1.1))
WRITING = replace(
    PROTOCOLS["wandb-2023-4shot"],
    preset=Preset("wandb-2023", 4, repetition_penalty=PENALTIES, oracle_length=True),
)


def test_a_repetition_penalty_and_an_oracle_are_taken_over_unless_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PROTOCOLS, WRITING.name, WRITING)
    filled = presets.fill(WRITING.name)
    assert (filled.repetition_penalty, filled.oracle_length) == (PENALTIES, True)
    decoding = presets.decoding(filled, 9, 99)
    assert decoding == Decoding("generate", 9, True, 99, repetition_penalty_by_task=PENALTIES)
    own = {task: decoding.for_task(task).repetition_penalty for task in TASKS}
    assert {task: penalty for task, penalty in own.items() if penalty != 1} == dict(PENALTIES)
    named = presets.decoding(presets.fill(WRITING.name, repetition_penalty=1.5, oracle_length=False))
    assert {named.for_task(task).repetition_penalty for task in TASKS} == {1.5} and not named.oracle_length
    none = presets.decoding(presets.fill(WRITING.name, repetition_penalty=1.0))
    assert {none.for_task(task).repetition_penalty for task in TASKS} == {1.0}


def test_answers_that_are_only_ranked_take_over_nothing_of_how_text_is_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(PROTOCOLS, WRITING.name, WRITING)
    ranked = presets.fill(WRITING.name, method="choose")
    assert (ranked.repetition_penalty, ranked.oracle_length) == ((), False)


def test_the_subsets_are_those_that_the_protocol_scores_unless_named() -> None:
    assert presets.subsets("official") == ["marc_ja", "jsts", "jnli", "jsquad", "jcommonsenseqa"]
    assert presets.subsets("official", ["jcola", "jnli"]) == ["jcola", "jnli"]
    assert presets.subsets("stability-jp") == ["marc_ja", "jnli", "jsquad", "jcommonsenseqa"]
    assert presets.subsets("stability-jp", ["jsts"]) == ["jsts"]


def test_protocols_are_named_singly_in_a_list_or_all_together() -> None:
    assert protocol_names("all") == list(PROTOCOLS)
    assert protocol_names(" flexeval, official ,flexeval") == ["flexeval", "official"]
    for wrong in ("flexval", "official,none", "", ","):
        with pytest.raises(UnknownNameError):
            protocol_names(wrong)


def test_an_unknown_protocol_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'wandb-2023-4shot'"):
        presets.fill("wandb-2023-4shots")
