"""Wording style × prompt format × solved examples → Prompt. No I/O.

A *style* (`styles.py`) says the words. A *format* says how the words are laid out for a model family: a small
function in `FORMATS`. Neither knows of the other.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

from jglue_app.errors import UnknownNameError
from jglue_app.prompts import thoughts
from jglue_app.prompts.examples import answer_text
from jglue_app.prompts.formats import FORMATS, ModelFormatInfo, PromptParts
from jglue_app.prompts.styles import Style
from jglue_app.types import Item, Prompt, PromptSpec, Task


def build_prompt(
    item: Item, task: Task, style: Style, spec: PromptSpec, shots: Sequence[Item], model: ModelFormatInfo
) -> Prompt:
    """The prompt of one item, after the solved examples `shots`.

    Raises:
        UnknownNameError: no such format.
        StyleError: the style has no words for the subset.
        ModelError: the format needs a chat template that the model lacks.
    """
    if spec.format not in FORMATS:
        raise UnknownNameError("format", spec.format, FORMATS)
    words = style.of(task.name)
    parts = PromptParts(
        system=spec.system,
        instruction=words.instruction,
        turns=tuple((words.question.substitute(s.fields), answer_text(s, words) + words.close) for s in shots),
        question=words.question.substitute(item.fields),
        cue=words.cue,
        stop=words.stop,
        thinking=spec.thinking,
    )
    rendered = FORMATS[spec.format](parts, model)
    if rendered.messages is None and (mark := thoughts.left_open(rendered.text, parts.question)):
        rendered = replace(rendered, thought=mark, ranked_text=thoughts.closed(rendered.text, mark))
    return Prompt(
        task=task.name,
        item_id=item.id,
        text=rendered.text,
        messages=rendered.messages,
        stop=rendered.stop,
        answers=tuple(words.answers[label].substitute(item.fields) for label in item.choices),
        lead=rendered.lead,
        shot_ids=tuple(shot.id for shot in shots),
        sha256=hashlib.sha256(rendered.text.encode("utf-8", "surrogatepass")).hexdigest(),
        thought=rendered.thought,
        ranked_text=rendered.ranked_text,
        thinking=rendered.thinking,
    )
