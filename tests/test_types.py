"""The identity of a run: what gives it another directory, and what does not."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest

from jglue_app.types import Decoding, ModelSpec, PromptSpec, RunSpec

SPEC = RunSpec(
    model=ModelSpec("owner/name", revision="main"),
    tasks=("jnli", "jsts"),
    data_version="v1.3",
    data_sha256={"jnli/valid": "aaaa", "jnli/examples": "bbbb"},
    prompt=PromptSpec(style="英語", shots=3),
    style_sha256="cccc",
    decoding=Decoding(method="both"),
    code_version="0.1.0",
)
# First 16 digits that `sha256sum` gives for this text, without a line end:
# {"code_version":"0.1.0","data_sha256":{"jnli/examples":"bbbb","jnli/valid":"aaaa"},"data_version":"v1.3",
# "decoding":{"method":"both"},"model":{"id":"owner/name","revision":"main"},"prompt":{"shots":3,"style":"英語"},
# "style_sha256":"cccc","tasks":["jnli","jsts"]}   (in one line, no space after a comma)
SPEC_ID = "e196f684809bf2f6"

CHANGES: dict[str, dict[str, Any]] = {
    "model": {
        "id": "owner/other",
        "backend": "scripted",
        "revision": "v2",
        "dtype": "float32",
        "quantization": "8bit",
        "gguf_file": "q4.gguf",
        "allow_bin": True,
        "adapter": "owner/lora",
        "files_sha256": "ab" * 32,
    },
    "prompt": {
        "style": "number",
        "format": "chat",
        "shots": 4,
        "shot_seed": 1,
        "shot_selection": "fixed",
        "system": "簡潔に。",
        "shots_by_task": (("jnli", 2),),
        "thinking": "on",
        "prefix": "query: ",
    },
    "decoding": {
        "method": "choose",
        "max_new_tokens": 8,
        "oracle_length": True,
        "max_thinking_tokens": 256,
        "repetition_penalty": 1.2,
        "repetition_penalty_by_task": (("jnli", 1.1),),
    },
    "": {
        "tasks": ("jnli",),
        "data_version": "sample-1",
        "data_sha256": {"jnli/valid": "aaaa", "jnli/examples": "dddd"},
        "style_sha256": "eeee",
        "code_version": "0.2.0",
        "split": "test",
        "seed": 1,
    },
}
CASES = [(part, name, value) for part, changes in CHANGES.items() for name, value in changes.items()]


def changed(part: str, name: str, value: Any) -> RunSpec:
    if not part:
        return replace(SPEC, **{name: value})
    return replace(SPEC, **{part: replace(getattr(SPEC, part), **{name: value})})


def test_the_id_of_a_spec_is_the_same_for_ever() -> None:
    assert SPEC.spec_id == SPEC_ID


@pytest.mark.parametrize("limit", [1, 50, None])
def test_the_limit_is_not_part_of_the_identity(limit: int | None) -> None:
    assert replace(SPEC, limit=limit).spec_id == SPEC_ID


@pytest.mark.parametrize(("part", "name", "value"), CASES)
def test_every_other_field_is_part_of_the_identity(part: str, name: str, value: Any) -> None:
    assert changed(part, name, value).spec_id != SPEC_ID


def test_no_field_is_left_out_of_the_test_above() -> None:
    parts: dict[str, type[Any]] = {"": RunSpec, "model": ModelSpec, "prompt": PromptSpec, "decoding": Decoding}
    for part, kind in parts.items():
        untested = {f.name for f in fields(kind)} - set(CHANGES[part])
        assert untested == ({"limit", "model", "prompt", "decoding"} if not part else set())


def test_no_two_of_these_changes_give_the_same_id() -> None:
    ids = [changed(*case).spec_id for case in CASES]
    assert len(set(ids)) == len(ids)


def test_a_field_named_at_its_default_changes_nothing() -> None:
    spelled_out = replace(
        SPEC,
        model=ModelSpec("owner/name", "hf", "main", "auto", "none", None, False),
        prompt=PromptSpec("英語", "plain", 3, 0, "balanced", ""),
        decoding=Decoding("both", None),
        split="valid",
        seed=0,
    )
    assert spelled_out.spec_id == SPEC_ID


def test_the_order_of_a_mapping_does_not_matter_but_that_of_subsets_does() -> None:
    turned = dict(reversed(list(SPEC.data_sha256.items())))
    assert list(turned) != list(SPEC.data_sha256)
    assert replace(SPEC, data_sha256=turned).spec_id == SPEC_ID
    assert replace(SPEC, tasks=("jsts", "jnli")).spec_id != SPEC_ID


def test_an_id_is_16_hex_digits_for_any_text_even_a_lone_surrogate() -> None:
    odd = replace(SPEC, prompt=PromptSpec(system="\ud83d \x00 \u2028"))
    assert len(odd.spec_id) == 16
    assert int(odd.spec_id, 16) >= 0
