"""Settings that are left open are those of the protocol's own system."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from jglue_app import presets
from jglue_app.errors import UnknownNameError
from jglue_app.prompts import FORMATS
from jglue_app.protocols import PROTOCOLS, protocol_names
from jglue_app.styles import load_style
from jglue_app.tasks import CORE, TASKS
from jglue_app.types import Preset, PromptSpec

SHOTS: Mapping[str, tuple[int, ...]] = {
    "official": (0, 0, 0, 0, 0),
    "wandb-2023-0shot": (0, 0, 0, 0, 0),
    "wandb-2023-4shot": (4, 4, 4, 4, 4),
    "stability-jp": (3, 3, 3, 2, 3),
    "llm-jp-eval": (4, 4, 4, 4, 4),
    "flexeval": (3, 3, 3, 3, 2),
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
