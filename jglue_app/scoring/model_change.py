"""By what one run of a model differs from another, in words. No I/O."""

from __future__ import annotations

from dataclasses import replace

from jglue_app.messages import Joined, Message, mark
from jglue_app.types import PromptSpec, RunSpec

MOST_NAMED = 3
"""Differences that a sentence names."""
STYLES = {
    "ja-labels": mark("Japanese labels"),
    "en-labels": mark("English labels"),
    "number": mark("the number"),
    "choice-text": mark("the text of the choice"),
}
"""Wording style → what it asks for, in short; those called as another project are known by that name.
A style of one's own is a file, known by its name without the folder."""
_Change = tuple[Message, Message]
"""What differs, alone in a sentence and as one of several."""


def style_name(style: str) -> str:
    """A wording style in a sentence or a short name."""
    if style in STYLES:
        return Message(STYLES[style])
    return style.replace("\\", "/").rsplit("/", 1)[-1].removesuffix(".toml")


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
    if a.decoding != b.decoding:
        differences.append((Message("with other settings"), Message("decoding settings")))
    if len(differences) > MOST_NAMED:
        return Message("with other settings")
    if len(differences) > 1:
        *others, last = [name for _, name in differences]
        return Message("with another {changed}", changed=Joined(" and ", [Joined(", ", others), last]))
    return differences[0][0] if differences else None


def _of_model(a: RunSpec, b: RunSpec) -> list[_Change]:
    out = []
    for before, after in (
        (_bits(a.model.quantization), _bits(b.model.quantization)),
        (a.model.dtype, b.model.dtype),
    ):
        if before != after:
            out.append((Message("in {b} instead of {a}", a=before, b=after), Message("precision")))
    return out[:1] if len(out) == 1 else [(Message("in another precision"), Message("precision"))] if out else []


def _bits(quantization: str) -> str:
    return {"none": Message("full precision"), "8bit": "8-bit", "4bit": "4-bit"}.get(quantization, quantization)


def _of_prompt(a: PromptSpec, b: PromptSpec) -> list[_Change]:
    out: list[_Change] = []
    if a.format != b.format:
        out.append((Message("in the {b} format instead of {a}", a=a.format, b=b.format), Message("prompt format")))
    if a.style != b.style:
        wording = Message("with the wording “{b}” instead of “{a}”", a=style_name(a.style), b=style_name(b.style))
        out.append((wording, Message("wording")))
    if a.shots != b.shots:
        out.append((_of_shots(a.shots, b.shots), Message("number of examples")))
    rest_a, rest_b = (replace(p, shots=0, format="", style="") for p in (a, b))
    if rest_a != rest_b:
        out.append((Message("with another prompt"), Message("prompt")))
    return out


def _of_shots(a: int, b: int) -> Message:
    if not b:
        return Message("given no examples instead of {a}", a=a)
    if a:
        return Message("given {b} examples instead of {a}", a=a, b=b)
    examples = mark("given {b} examples")
    return Message.worded("given {b} example" if b == 1 else examples, examples, {"b": b})
