"""Settings that are left open are those of the protocol's own system."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from jglue_app.errors import UnknownNameError
from jglue_app.prompts.formats import FORMATS
from jglue_app.prompts.styles import load_style
from jglue_app.runs import presets
from jglue_app.runs.request import RunRequest, Side
from jglue_app.scoring.protocols import PROTOCOLS, protocol_names
from jglue_app.scoring.types import Preset
from jglue_app.tasks import DEFAULT_TASKS, TASKS
from jglue_app.types import Decoding

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


def filled(protocol: str, common: Mapping[str, Any] | None = None, **side: Any) -> RunRequest:
    return presets.request(protocol, common or {}, side)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_protocol_brings_its_own_settings(name: str) -> None:
    request = filled(name)
    assert tuple(request.a.prompt.for_task(task).shots for task in DEFAULT_TASKS) == SHOTS[name]
    assert request.a.format in FORMATS
    style = load_style(request.a.style)
    ranked = PROTOCOLS[name].ranked
    assert request.method == ("both" if ranked else "generate")
    for task in PROTOCOLS[name].literal:
        assert tuple(t.template for t in style.of(task).answers.values()) == TASKS[task].labels


def test_what_is_given_goes_before() -> None:
    own = filled("stability-jp", shots=0, style="number")
    assert own.a == Side(style="number") and own.method == "both"
    assert filled("stability-jp", shots_by_task="jnli=1").a.prompt.for_task("jnli").shots == 1
    assert filled("stability-jp", shots_by_task="jnli=1").a.prompt.for_task("jsquad").shots == 3
    assert filled("lm-eval-ja", {"method": "choose"}, format="plain").method == "choose"
    assert filled("official") == RunRequest(method="generate", data="official", limit=None)


def test_b_is_filled_as_a_is() -> None:
    request = presets.request("stability-jp", {}, {}, {"shots": 1})
    assert request.a.style == "stability-jp" and request.b == replace(request.a, shots=1, shots_by_task=())


PENALTIES = (("jnli", 1.2), ("jsquad", 1.1))
WRITING = replace(
    PROTOCOLS["wandb-2023-4shot"],
    preset=Preset("wandb-2023", 4, repetition_penalty=PENALTIES, oracle_length=True),
)


def penalties(request: RunRequest) -> dict[str, float]:
    decoding = request.decoding_of(request.a)
    return {task: decoding.for_task(task).repetition_penalty for task in TASKS}


def test_a_repetition_penalty_and_an_oracle_are_taken_over_unless_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PROTOCOLS, WRITING.name, WRITING)
    request = filled(WRITING.name, {"max_new_tokens": 9}, max_thinking_tokens=99)
    decoding = request.decoding_of(request.a)
    assert decoding == Decoding("generate", 9, True, 99, repetition_penalty_by_task=PENALTIES)
    assert {task: penalty for task, penalty in penalties(request).items() if penalty != 1} == dict(PENALTIES)
    named = filled(WRITING.name, {"oracle_length": False}, repetition_penalty=1.5)
    assert set(penalties(named).values()) == {1.5} and not named.oracle_length
    assert set(penalties(filled(WRITING.name, repetition_penalty=1.0)).values()) == {1.0}


def test_answers_that_are_only_ranked_take_over_nothing_of_how_text_is_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(PROTOCOLS, WRITING.name, WRITING)
    ranked = filled(WRITING.name, {"method": "choose"})
    assert set(penalties(ranked).values()) == {1.0} and not ranked.oracle_length


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
        filled("wandb-2023-4shots")
