"""Controls that several tabs share, built of the fields of a request, and the request that their values make.

What comes from controls is read again as if it came from a stranger: a program is not bound by them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import gradio as gr
from gradio.components import Component

from jglue_app.backends.named_models import model_ids
from jglue_app.errors import InputError, UnknownNameError
from jglue_app.messages import Message
from jglue_app.messages.labels import LABELS
from jglue_app.prompts.styles import load_style, style_names
from jglue_app.runs.request import RunRequest, Side
from jglue_app.runs.request_checks import read_values
from jglue_app.runs.request_errors import of_option
from jglue_app.runs.request_options import Option, as_text, options
from jglue_app.settings import Settings
from jglue_app.tasks import TASKS
from jglue_app.ui.model_box import model_box

SAME = "="
"""What stands for A's model in B's control."""
DEFAULT_B = Side(shots=3)
DEFAULT_ITEMS = 20
"""Items per subset that the page begins with: enough for a verdict."""
DATA_CHOICES = {"sample": ("sample", "valid"), "official": ("official", "valid"), "test": ("official", "test")}
"""Choice of data on the page → data and split of a request."""
BY_DATA = ""
"""Choice of the split that leaves it to the choice of data."""
USE_B = "use_b"
"""Name of the control that says whether there is a B."""
BASIC = (
    *("tasks", "data", "limit", "method", "allow_bin"),
    *("model", "format", "style", "shots", "quantization", "dtype"),
    *("thinking", "max_thinking_tokens", "repetition_penalty"),
)
"""Options that are always in sight; all others are in the group of advanced ones."""

T = Callable[[str], Any]
"""Key → text that gradio translates in the browser."""


@dataclass(frozen=True, slots=True)
class RunControls:
    """The items, and how they are answered: the controls of a request without its sides."""

    by_name: Mapping[str, Component]
    advanced: gr.Accordion
    """The group of the options that are not always in sight."""

    def components(self) -> dict[str, Component]:
        """Name of a value, as `read` takes it → its component."""
        return dict(self.by_name)


@dataclass(frozen=True, slots=True)
class SideControls:
    """One model with its prompt."""

    side: str
    """`a` or `b`."""
    by_name: Mapping[str, Component]
    advanced: gr.Accordion
    """The group of the options that are not always in sight."""
    format_chosen: gr.Checkbox
    """Whether the visitor has chosen the format; else it follows the model."""

    def components(self) -> dict[str, Component]:
        """Name of a value, as `read` takes it, such as `a.model` → its component."""
        return {f"{self.side}.{name}": component for name, component in self.by_name.items()}


def pane(elem_id: str, value: str = "", *, visible: bool = True, js_on_load: str | None = None) -> gr.HTML:
    """A place for a rendered view, whose looks are all ours."""
    return gr.HTML(value, elem_id=elem_id, visible=visible, js_on_load=js_on_load, apply_default_css=False)


def paragraph(text: Any, classes: str | list[str] = "", elem_id: str | None = None) -> gr.HTML:
    """A text, shown as it is. (gr.Markdown takes 30 kB of scripts for code and formulas.)"""
    return gr.HTML(
        text, html_template="<p>{{value}}</p>", elem_classes=classes or None, elem_id=elem_id, apply_default_css=False
    )


def subset_choices() -> list[tuple[str, str]]:
    """(title, key) of every subset."""
    return [(task.title, name) for name, task in TASKS.items()]


def data_choices(t: T) -> list[tuple[Any, str]]:
    """(text, key) of every choice of data."""
    return [(t(f"data_{name}"), name) for name in DATA_CHOICES]


def style_choices(t: T) -> list[tuple[Any, str]]:
    """(title with its name, name) of every wording style; the own title of one that has no label."""
    own = {name: f"{load_style(name).title} ({name})" for name in style_names()}
    return [(t(f"style_{name}") if f"style_{name}" in LABELS else title, name) for name, title in own.items()]


# --- building -------------------------------------------------------------------------------------------


def questions(
    settings: Settings, t: T, *, prefix: str = "", limit: int | None = DEFAULT_ITEMS, data: str = "sample"
) -> RunControls:
    """Controls for subsets, data, number of items, method and what else concerns both sides.

    Args:
        settings: on a public server, controls that concern its files are hidden.
        t: gives labels.
        prefix: of the components' ids.
        limit: items per subset; None for all, without a control.
        data: the choice of data.
    """
    values = run_values(replace(RunRequest(), limit=limit)) | {"data": data}
    shown = {name: option for name, option in options(RunRequest).items() if name != "limit" or limit is not None}
    return RunControls(*_components(settings, t, shown, values, prefix, "run"))


def side(
    settings: Settings, t: T, default: Side, prefix: str, *, same: bool = False, device: str = "auto"
) -> SideControls:
    """Controls of one model, which goes to a device; with `same` those of B, whose model can be A's, which then shares
    the weights."""
    values = side_values(default, default if same else None)
    known = options(Side)
    model = model_box(settings, f"{prefix}-model", values["model"], same=SAME if same else "", device=device)
    others = {name: option for name, option in known.items() if name != "model"}
    components, advanced = _components(settings, t, others, values, f"{prefix}-", "side")
    # The browser keeps it: what a page is opened with is no part of a session yet.
    chosen = gr.Checkbox(False, visible=False)
    return SideControls("b" if same else "a", {"model": model, **components}, advanced, chosen)


def _components(
    settings: Settings, t: T, known: Mapping[str, Option], values: Mapping[str, Any], prefix: str, part: str
) -> tuple[dict[str, Component], gr.Accordion]:
    """Name → component, and the accordion around those that are not basic, whose title says what is in it."""
    basic, advanced = ([option for option in known.values() if (option.name in BASIC) is own] for own in (True, False))
    found = {option.name: _component(settings, t, option, values[option.name], prefix) for option in basic}
    title = t(f"advanced_{part}_public" if settings.public else f"advanced_{part}")
    with gr.Accordion(title, open=False, elem_classes="jg-advanced") as group:
        more = {option.name: _component(settings, t, option, values[option.name], prefix) for option in advanced}
    return found | more, group


def _component(settings: Settings, t: T, option: Option, value: Any, prefix: str) -> Component:
    name = option.name
    label, info = label_keys(option, public=settings.public)
    common: dict[str, Any] = {
        "value": value,
        "label": t(label),
        "info": t(info) if info else None,
        "elem_id": f"{prefix}{option.flag}",
        "visible": not (option.traits.local_only and settings.public),
        # Put into the page beside the models; see `price_box`.
        "render": name != "budget",
    }
    if name == "tasks":
        return gr.CheckboxGroup(subset_choices(), **common)
    if name == "data":
        return gr.Radio(data_choices(t), **common)
    if name == "style":
        return gr.Dropdown(style_choices(t), allow_custom_value=not settings.public, **common)
    if option.choices:
        first = [(t("as_default"), "")] if option.optional or name == "split" else []
        keys = {choice: choice_key(option, choice) for choice in option.choices}
        choices = [*first, *((t(key) if key else choice, choice) for choice, key in keys.items())]
        return (gr.Radio if name in ("method", "thinking") else gr.Dropdown)(choices, **common)
    if option.kind == "flag":
        return gr.Checkbox(**common)
    if option.kind == "integer":
        if option.traits.cap is not None:
            return gr.Slider(option.least or 0, option.traits.cap, step=1, **common)
        # No bounds and no rounding of Gradio: what is refused is refused in our sentences.
        return gr.Number(step=1, **common)
    if option.kind == "number":
        return gr.Number(step=0.1, **common)
    return gr.Textbox(lines=3 if option.traits.multiline else 1, **common)


def label_keys(option: Option, *, public: bool = False) -> tuple[str, str]:
    """Keys of the label of an option's control and of the text below it; the latter is empty where there is none."""
    label = next(key for key in (f"option_{option.name}", option.name) if key in LABELS)
    info = f"{label}_info_public" if public else ""
    return label, next((key for key in (info, f"{label}_info") if key in LABELS), "")


def choice_key(option: Option, choice: str) -> str:
    """Key of the text of a choice; empty where it stands for itself."""
    key = f"{option.name}_{choice}"
    return key if key in LABELS else ""


# --- reading and filling --------------------------------------------------------------------------------


def read(values: Mapping[str, Any], settings: Settings) -> RunRequest:
    """The request that the values of controls make, within the limits of the page.

    Args:
        values: name as `components` has it → value; what is missing is as the page begins. There is a B if a value of
            it is given and `use_b` is not false.
        settings: the limits.

    Raises:
        InputError: what cannot be requested.
        UnknownNameError: a name that is in none of our tables.
    """
    given = {name: _typed(option, values[name]) for name, option in options(RunRequest).items() if name in values}
    if "data" in values or "split" in values:
        given["data"], given["split"] = _data(values.get("data", "sample"), values.get("split"))
    given["a"] = _read_side("a", _of_side(values, "a"), settings)
    of_b = _of_side(values, "b")
    given["b"] = _read_side("b", of_b, settings, given["a"]) if of_b and values.get(USE_B, True) else None
    return read_values(RunRequest, given, "page", max_items=settings.max_items).for_page(settings)


def _read_side(name: str, values: Mapping[str, Any], settings: Settings, other: Side | None = None) -> Side:
    """The same as `read_side`; the option of an error is named with its side."""
    try:
        side = read_side(values, other)
        if settings.public and side.model not in (known := model_ids(settings)):
            hint = Message("This server runs the listed models only.")
            raise of_option("model", UnknownNameError("model", side.model[:100], known, hint))
    except InputError as e:
        e.option = f"{name}.{e.option}" if e.option else ""
        raise
    return side


def _of_side(values: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {key.removeprefix(f"{name}."): value for key, value in values.items() if key.startswith(f"{name}.")}


def read_side(values: Mapping[str, Any], other: Side | None = None) -> Side:
    """A side from values by field name; what is missing is default.

    Raises:
        InputError: what cannot be requested.
        UnknownNameError: a name that is in none of our tables.
    """
    known = options(Side)
    given = {name: _typed(known[name], value) for name, value in values.items() if name in known}
    if other is not None and given.get("model") == SAME:
        given["model"] = other.model
    return read_values(Side, given, "page")


def _typed(option: Option, value: Any) -> Any:
    """The value of a control as the field has it: a control that was emptied says no value, or the default."""
    empty = value is None or (isinstance(value, str) and not value.strip())
    if option.name == "model":
        return value.strip() if isinstance(value, str) else ""
    if option.kind == "flag":
        return bool(value)
    if option.optional and (empty or (option.name != "limit" and type(value) in (int, float) and value == 0)):
        return None
    if empty and (option.kind == "number" or (option.kind == "integer" and option.traits.cap is None)):
        return option.default
    if option.name == "style" and value is None:
        return ""
    return () if empty and option.kind == "by task" else value


def _data(choice: Any, split: Any) -> tuple[str, str]:
    """Data and split of a choice of data, and of the split if it is not left to that."""
    if not isinstance(choice, str) or choice not in DATA_CHOICES:
        raise UnknownNameError("data", str(choice)[:100], DATA_CHOICES)
    data, own_split = DATA_CHOICES[choice]
    return data, own_split if split in (None, BY_DATA) else split


def values_of(request: RunRequest) -> dict[str, Any]:
    """Name → value that makes the controls say what a request says; B's are as the page begins where there is none."""
    b = request.b or DEFAULT_B
    return {
        **run_values(request),
        USE_B: request.b is not None,
        **{f"a.{name}": value for name, value in side_values(request.a).items()},
        **{f"b.{name}": value for name, value in side_values(b, request.a).items()},
    }


def run_values(request: RunRequest) -> dict[str, Any]:
    """The same for the options that are not of a side."""
    found = _shown(options(RunRequest).values(), request)
    found["data"] = data_choice(request)
    found["split"] = BY_DATA if DATA_CHOICES[found["data"]] == (request.data, request.split) else request.split
    return found | {"limit": request.limit}


def side_values(side: Side, other: Side | None = None) -> dict[str, Any]:
    """The same for a side, by field name; the other side's model shows as that."""
    found = _shown(options(Side).values(), side)
    return found | {"model": SAME if other is not None and other.model == side.model else side.model}


def _shown(known: Iterable[Option], part: Any) -> dict[str, Any]:
    # Basic options first, as on the page.
    ordered = sorted(known, key=lambda option: option.name not in BASIC)
    return {option.name: _control_value(option, getattr(part, option.name)) for option in ordered}


def _control_value(option: Option, value: Any) -> Any:
    if option.kind == "by task":
        return as_text(option, value)
    if value is None:
        return 0 if option.kind == "integer" else ""
    return list(value) if option.kind == "tasks" else value


def sets_advanced(part: RunRequest | Side) -> bool:
    """Whether a value in the group of advanced options is not the default."""
    if isinstance(part, RunRequest):
        values, usual = run_values(part), run_values(RunRequest())
    else:
        values, usual = side_values(part), side_values(Side())
    return any(values[name] != usual[name] for name in values if name not in BASIC)


def data_choice(request: RunRequest) -> str:
    """The choice of data that says what a request is for."""
    return "test" if (request.data, request.split) == DATA_CHOICES["test"] else request.data


def is_number(value: Any, least: int, most: int) -> bool:
    """Whether it is a number in these bounds; `True` is none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and least <= value <= most
