"""Controls of the Prompt lab's item: its gold answer, and how each of the two sides asks it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.components import Component

from jglue_app import prompt_lab
from jglue_app.messages import bracketed, word
from jglue_app.prompts.formats import FORMATS
from jglue_app.prompts.thoughts import THINKING
from jglue_app.runs.request import MAX_SHOTS, Side
from jglue_app.tasks import TASKS
from jglue_app.types import Item, PromptSpec
from jglue_app.ui import controls
from jglue_app.ui.controls import T
from jglue_app.ui.events import PRIVATE, Updates, Values

NO_GOLD = ""
"""Value of the choice that no right answer is known."""
THOUGHT_LIMIT = 256
"""Tokens of a thought, where thinking is turned on and nothing else is said."""
WITH_THOUGHTS = ("chat",)
"""Formats of which a template may have a switch for thinking."""


@dataclass(frozen=True, slots=True, eq=False)
class GoldControls:
    """The gold answer: one of the labels where the subset has labels, else a text. Either may be left out."""

    label: gr.Radio
    text: gr.Textbox

    @property
    def components(self) -> list[Component]:
        """Both; one of them is in sight."""
        return [self.label, self.text]

    def fill(self, item: Item, lang: str) -> Updates:
        """Values that stand for an item's gold answer."""
        gold = prompt_lab.gold_as_typed(item)
        if item.choices:
            known = [(f"{c} {item.fields.get(f'choice{c}', '')}".strip(), c) for c in item.choices]
            choices = [*known, (word("no_gold", lang), NO_GOLD)]
            label = gr.update(choices=choices, value=gold, label=word("gold", lang), visible=True)
            return {self.label: label, self.text: gr.update(value="", visible=False)}
        kind = word("gold_scale" if TASKS[item.task].kind == "score" else "gold_lines", lang)
        text = gr.update(value=gold, label=bracketed(word("gold", lang), kind, lang), visible=True)
        return {self.text: text, self.label: gr.update(value=NO_GOLD, visible=False)}

    def read(self, values: Values, task: str) -> str:
        """The gold answer as `prompt_lab.make_item` reads it."""
        return str(values[self.label if TASKS[task].kind == "choice" else self.text] or "")


def gold_controls(t: T) -> GoldControls:
    """Put them into the surrounding Blocks."""
    label = gr.Radio([(t("no_gold"), NO_GOLD)], value=NO_GOLD, label=t("gold"), elem_id="lab-gold-label")
    return GoldControls(label, gr.Textbox(label=t("gold"), lines=1, elem_id="lab-gold", visible=False))


@dataclass(frozen=True, slots=True, eq=False)
class PromptControls:
    """How one of the two sides asks the item."""

    format: gr.Dropdown
    style: gr.Dropdown
    shots: gr.Slider
    thinking: gr.Radio
    limit: gr.Number
    """Tokens of a thought."""

    @property
    def components(self) -> list[Component]:
        """All of them."""
        return [self.format, self.style, self.shots, self.thinking, self.limit]

    def connect(self) -> None:
        """Show the controls of a thought where there can be one."""

        def show(format: str, thinking: str) -> list[Any]:
            thinks = format in WITH_THOUGHTS
            return [gr.update(visible=thinks), gr.update(visible=thinks and thinking != "off")]

        gr.on(
            [self.format.change, self.thinking.change],
            show,
            [self.format, self.thinking],
            [self.thinking, self.limit],
            queue=False,
            **PRIVATE,
        )

    def read(self, values: Values, model: str) -> Side:
        """The side that the values ask for; raises InputError."""
        given = {"model": model, "format": values[self.format], "style": values[self.style]}
        given["shots"] = values[self.shots]
        # What is out of sight says nothing.
        if values[self.format] in WITH_THOUGHTS and values[self.thinking] != "off":
            given |= {"thinking": values[self.thinking], "max_thinking_tokens": values[self.limit]}
        return controls.read_side(given)

    def fill(self, prompt: PromptSpec, task: str) -> Updates:
        """Values that lay an item out as a run did."""
        shots = min(MAX_SHOTS, prompt.for_task(task).shots)
        of_prompt: Updates = {self.format: prompt.format, self.style: prompt.style, self.shots: shots}
        return {**of_prompt, self.thinking: prompt.thinking}


def prompt_controls(t: T, name: str, format: str) -> PromptControls:
    """Put those of a side into the surrounding Blocks."""
    with gr.Column(elem_classes=["jg-way", f"jg-way-{name.lower()}"]):
        controls.paragraph(name, "jg-way-name")
        with gr.Row():
            formats = gr.Dropdown(
                list(FORMATS), value=format, label=t("format"), elem_id=f"lab-format-{name}", min_width=120
            )
            style = gr.Dropdown(
                controls.style_choices(t),
                value="ja-labels",
                label=t("style"),
                elem_id=f"lab-style-{name}",
                min_width=180,
                scale=2,
            )
        shots = gr.Slider(0, MAX_SHOTS, 0, step=1, label=t("shots"), elem_id=f"lab-shots-{name}")
        thinking = gr.Radio(
            [(t(f"thinking_{choice}"), choice) for choice in THINKING],
            value="off",
            label=t("thinking"),
            info=t("thinking_info"),
            visible=format in WITH_THOUGHTS,
            elem_id=f"lab-thinking-{name}",
        )
        limit = gr.Number(
            THOUGHT_LIMIT,
            step=1,
            label=t("max_thinking_tokens"),
            info=t("max_thinking_tokens_info"),
            visible=False,
            elem_id=f"lab-thought-limit-{name}",
        )
    return PromptControls(formats, style, shots, thinking, limit)
