"""Controls that several tabs share: the questions, one model with its prompt, and a configuration read from them.

What comes from controls is read again as if it came from a stranger: a program is not bound by them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import gradio as gr

from jglue_app.backends.named_models import named_models
from jglue_app.errors import InputError, UnknownNameError
from jglue_app.messages import word
from jglue_app.prompts.formats import FORMATS
from jglue_app.prompts.styles import load_style, style_names
from jglue_app.prompts.thoughts import THINKING
from jglue_app.runs.plan import MAX_THINKING_TOKENS, METHODS, penalty_of
from jglue_app.runs.request import DTYPES, MAX_NAME, MAX_SHOTS, QUANTIZATIONS, Configuration, Side
from jglue_app.settings import Settings
from jglue_app.tasks import CORE, TASKS, get_task

SAME = "="
"""What stands for A's model in B's control."""
USUAL_B = Side(shots=3)
DATA_CHOICES = {"sample": ("sample", "valid"), "official": ("official", "valid"), "test": ("official", "test")}
"""Choice of data on the page → data and split of a configuration."""
SIDE_CONTROLS = len(fields(Side))

T = Callable[[str], Any]
"""Key → text that gradio translates in the browser."""


@dataclass(frozen=True, slots=True)
class Questions:
    """What is asked."""

    tasks: gr.CheckboxGroup
    data: gr.Radio
    limit: gr.Number
    method: gr.Radio
    allow_bin: gr.Checkbox

    def all(self) -> list[gr.components.Component]:
        return [self.tasks, self.data, self.limit, self.method, self.allow_bin]


@dataclass(frozen=True, slots=True)
class SideControls:
    """One model with its prompt, in the order of the fields of `configuration.Side`."""

    model: gr.Dropdown
    format: gr.Dropdown
    style: gr.Dropdown
    shots: gr.Slider
    quantization: gr.Dropdown
    dtype: gr.Dropdown
    thinking: gr.Radio
    max_thinking_tokens: gr.Number
    repetition_penalty: gr.Number

    def all(self) -> list[gr.components.Component]:
        return [
            *(self.model, self.format, self.style, self.shots, self.quantization, self.dtype),
            *(self.thinking, self.max_thinking_tokens, self.repetition_penalty),
        ]


def pane(elem_id: str, value: str = "", *, visible: bool = True, js_on_load: str | None = None) -> gr.HTML:
    """A place for a rendered view, whose looks are all ours."""
    return gr.HTML(value, elem_id=elem_id, visible=visible, js_on_load=js_on_load, apply_default_css=False)


def subset_choices() -> list[tuple[str, str]]:
    """(title, key) of every subset."""
    return [(task.title, name) for name, task in TASKS.items()]


def data_choices(t: T) -> list[tuple[Any, str]]:
    """(text, key) of every choice of data."""
    return [(t(f"data_{name}"), name) for name in DATA_CHOICES]


def style_choices() -> list[tuple[str, str]]:
    """(title with its name, name) of every wording style."""
    return [(f"{load_style(name).title} ({name})", name) for name in style_names()]


def questions(settings: Settings, t: T, *, prefix: str = "", limit: int | None = 5, data: str = "sample") -> Questions:
    """Controls for subsets, data, number of items and method."""
    return Questions(
        tasks=gr.CheckboxGroup(
            subset_choices(), value=list(CORE), label=t("tasks"), info=t("tasks_info"), elem_id=f"{prefix}tasks"
        ),
        data=gr.Radio(
            data_choices(t),
            value=data,
            label=t("data"),
            info=t("data_info"),
            elem_id=f"{prefix}data",
        ),
        limit=gr.Number(
            limit,
            precision=0,
            label=t("limit"),
            info=t("limit_info"),
            elem_id=f"{prefix}limit",
            visible=limit is not None,
        ),
        method=gr.Radio(
            [(t(f"method_{name}"), name) for name in METHODS],
            value="both",
            label=t("method"),
            info=t("method_info"),
            elem_id=f"{prefix}method",
        ),
        allow_bin=gr.Checkbox(False, label=t("allow_bin"), elem_id=f"{prefix}allow-bin", visible=not settings.public),
    )


def side(settings: Settings, t: T, usual: Side, prefix: str, *, same: bool = False) -> SideControls:
    """Controls of one model. With `same` it can be that of the other side, which then shares the weights."""
    models: list[Any] = [(t("same_model"), SAME)] if same else []
    return SideControls(
        model=gr.Dropdown(
            [*models, *((name, name) for name in named_models())],
            value=SAME if same else usual.model,
            allow_custom_value=not settings.public,
            label=t("model"),
            info=t("model_info_public" if settings.public else "model_info"),
            elem_id=f"{prefix}-model",
        ),
        format=gr.Dropdown(list(FORMATS), value=usual.format, label=t("format"), elem_id=f"{prefix}-format"),
        style=gr.Dropdown(
            style_choices(),
            value=usual.style,
            allow_custom_value=not settings.public,
            label=t("style"),
            elem_id=f"{prefix}-style",
        ),
        shots=gr.Slider(0, MAX_SHOTS, usual.shots, step=1, label=t("shots"), elem_id=f"{prefix}-shots"),
        quantization=gr.Dropdown(
            [(t("quantization_none"), "none"), ("8-bit", "8bit"), ("4-bit", "4bit")],
            value=usual.quantization,
            label=t("quantization"),
            elem_id=f"{prefix}-quantization",
        ),
        dtype=gr.Dropdown(list(DTYPES), value=usual.dtype, label=t("dtype"), elem_id=f"{prefix}-dtype"),
        thinking=gr.Radio(
            [(t(f"thinking_{name}"), name) for name in THINKING],
            value=usual.thinking,
            label=t("thinking"),
            info=t("thinking_info"),
            elem_id=f"{prefix}-thinking",
        ),
        max_thinking_tokens=gr.Number(
            usual.max_thinking_tokens,
            precision=0,
            minimum=0,
            maximum=MAX_THINKING_TOKENS,
            label=t("thinking_tokens"),
            info=t("thinking_tokens_info"),
            elem_id=f"{prefix}-max-thinking-tokens",
        ),
        repetition_penalty=gr.Number(
            usual.repetition_penalty,
            step=0.1,
            label=t("repetition_penalty"),
            info=t("repetition_penalty_info"),
            elem_id=f"{prefix}-repetition-penalty",
        ),
    )


def read_side(values: Sequence[Any], lang: str, other: Side | None = None) -> Side:
    """A side from the values of its controls; raises InputError."""
    model, format, style, shots, quantization, dtype, *more = values
    usual = Side()
    left_out: list[Any] = [usual.thinking, usual.max_thinking_tokens, usual.repetition_penalty]
    thinking, thinking_tokens, penalty = [*more, *left_out[len(more) :]]
    name = str(model or "").strip()
    if name == SAME and other is not None:
        name = other.model
    if not name:
        raise InputError(word("no_model", lang))
    if len(name) > MAX_NAME or any(ord(c) < 32 for c in name):
        raise InputError(
            "A model's name has at most {max_name} characters and no line ends. Give an id or a path.",
            max_name=MAX_NAME,
        )
    if len(str(style or "")) > MAX_NAME:
        raise InputError("A style's name has at most {max_name} characters.", max_name=MAX_NAME)
    if not is_number(shots, 0, MAX_SHOTS):
        raise InputError(word("shots_range", lang).format(MAX_SHOTS))
    for kind, value, known in (
        ("format", format, tuple(FORMATS)),
        ("quantization", quantization, QUANTIZATIONS),
        ("dtype", dtype, DTYPES),
        ("thinking", thinking, THINKING),
    ):
        if value not in known:
            raise UnknownNameError(kind, str(value)[:100], known)
    if not is_number(thinking_tokens or 0, 0, MAX_THINKING_TOKENS):
        raise InputError(word("thinking_tokens_range", lang).format(f"{MAX_THINKING_TOKENS:,}"))
    try:
        penalty = penalty_of(usual.repetition_penalty if penalty in (None, "") else penalty)
    except InputError:
        raise InputError(word("repetition_penalty_range", lang)) from None
    tokens = int(thinking_tokens or 0)
    return Side(name, format, str(style or ""), int(shots), quantization, dtype, thinking, tokens, penalty)


def is_number(value: Any, least: int, most: int) -> bool:
    """Whether it is a number in these bounds; `True` is none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and least <= value <= most


def read_configuration(settings: Settings, asked: Sequence[Any], a: Side, b: Side | None, lang: str) -> Configuration:
    """A configuration from the values of the questions' controls and the sides.

    Raises:
        InputError: what cannot be asked for, in the visitor's language where the page checks it itself.
    """
    tasks, data, limit, method, allow_bin = asked
    if not tasks or not isinstance(tasks, list | tuple):
        raise InputError(word("no_tasks", lang))
    whole = limit in (None, "")
    if not whole and (not is_number(limit, 1, settings.max_items) or limit != int(limit)):
        raise InputError(word("too_many", lang).format(f"{settings.max_items:,}"))
    if data not in tuple(DATA_CHOICES) or method not in METHODS:
        raise UnknownNameError("data or method", f"{data} / {method}"[:100], (*DATA_CHOICES, *METHODS))
    if b is not None and a == b:
        raise InputError(word("same", lang))
    names = tuple(dict.fromkeys(name for name in tasks if isinstance(name, str)))
    for name in names:
        get_task(name)
    items = settings.max_items if whole and settings.public else None if whole else int(limit)
    kind, split = DATA_CHOICES[data]
    return Configuration(names, kind, items, method, a, b, bool(allow_bin), split)


def fill_questions(asked: Configuration) -> list[Any]:
    """Values that make the questions' controls say what a configuration says."""
    return [list(asked.tasks), data_choice(asked), asked.limit, asked.method, asked.allow_bin]


def data_choice(asked: Configuration) -> str:
    """The choice of data that says what a configuration asks for."""
    return "test" if (asked.data, asked.split) == DATA_CHOICES["test"] else asked.data


def fill_side(wanted: Side, other: Side | None = None) -> list[Any]:
    """The same for a side; the other side's model shows as that."""
    model = SAME if other is not None and other.model == wanted.model else wanted.model
    prompt = [wanted.format, wanted.style, wanted.shots, wanted.quantization, wanted.dtype]
    return [model, *prompt, wanted.thinking, wanted.max_thinking_tokens, wanted.repetition_penalty]
