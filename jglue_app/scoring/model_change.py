"""By what one run of a model differs from another, in words. No I/O."""

from __future__ import annotations

from dataclasses import replace

from jglue_app.messages import Joined, Message
from jglue_app.types import PromptSpec, RunSpec

MOST_NAMED = 2
"""Differences that a sentence names."""


def change_between(a: RunSpec, b: RunSpec) -> Message | None:
    """By what B differs from A if both are the same model; None for two models, or if nothing differs."""
    if replace(a.model, quantization="", dtype="", files_sha256=None) != replace(
        b.model, quantization="", dtype="", files_sha256=None
    ):
        return None
    one_name = a.model.files_sha256 is None or b.model.files_sha256 is None
    if not one_name and a.model.files_sha256 != b.model.files_sha256:
        return None  # Other weights under one name.
    differences = [*_of_prompt(a.prompt, b.prompt), *_of_model(a, b)]
    if 0 < len(differences) <= MOST_NAMED:
        return Joined(", ", differences)
    return Message("with other settings") if differences or a.decoding != b.decoding else None


def _of_model(a: RunSpec, b: RunSpec) -> list[Message]:
    out = []
    if a.model.quantization != b.model.quantization:
        out.append(Message("in {b} instead of {a}", a=_bits(a.model.quantization), b=_bits(b.model.quantization)))
    if a.model.dtype != b.model.dtype:
        out.append(Message("in {b} instead of {a}", a=a.model.dtype, b=b.model.dtype))
    return out


def _bits(quantization: str) -> str:
    return {"none": Message("full precision"), "8bit": "8-bit", "4bit": "4-bit"}.get(quantization, quantization)


def _of_prompt(a: PromptSpec, b: PromptSpec) -> list[Message]:
    out = []
    if a.shots != b.shots:
        if not a.shots:
            out.append(Message("shown {b} examples", b=b.shots))
        elif not b.shots:
            out.append(Message("shown no examples instead of {a}", a=a.shots))
        else:
            out.append(Message("shown {b} examples instead of {a}", a=a.shots, b=b.shots))
    if a.format != b.format:
        out.append(Message("in the format {b} instead of {a}", a=a.format, b=b.format))
    if a.style != b.style:
        out.append(Message("in the wording {b} instead of {a}", a=a.style, b=b.style))
    rest_a, rest_b = (replace(p, shots=0, format="", style="") for p in (a, b))
    if rest_a != rest_b:
        out.append(Message("with another prompt"))
    return out
