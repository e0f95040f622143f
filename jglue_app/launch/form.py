"""The form of the Launch job: the options of a request as a JSON schema, and the request of what arrives.

W&B makes a form of the schema and checks nothing when a job starts: whatever somebody wrote into the overrides, or into
a form of an older version, is in the run's config. So everything is checked here, and what is not in the form is
refused: an option that was spelled wrongly and passed over would cost a whole evaluation of something else.

A form has no empty fields, so that each has a value that says "as if it were left out".
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any

from pydantic import Field, ValidationInfo, model_validator
from pydantic.dataclasses import dataclass as checked_dataclass

from jglue_app.data.files import Progress
from jglue_app.errors import InputError, UnknownNameError
from jglue_app.messages import Joined, Message, mark, of
from jglue_app.runs import presets, request_errors
from jglue_app.runs.plan import Plan
from jglue_app.runs.request import CONFIG, RunRequest, Side, Text
from jglue_app.runs.request_checks import in_sentences, read_values
from jglue_app.runs.request_options import MAX_WHOLE, Option, Traits, integral, options
from jglue_app.scoring.protocols import PROTOCOLS
from jglue_app.settings import Settings
from jglue_app.tasks import TASKS

MAX_GRID = 20_000
"""Characters of a grid in the form."""
AUTO = "auto"
ALL = "all"
MODEL = "model_name"
FLAGS = {"true": True, "false": False}


@checked_dataclass(frozen=True, config=CONFIG)
class Execution:
    """What a launched evaluation needs to know beside its request."""

    protocol: Annotated[
        Text,
        Field(
            title="Protocol",
            description="Scoring protocol, whose scores stand first. Settings that are not given are those of its own "
            "system",
        ),
        Traits(choices=lambda: tuple(PROTOCOLS)),
    ] = "official"
    device: Annotated[
        Text, Field(title="Device", description="auto, cpu, cuda, cuda:1, mps, or balanced over all GPUs")
    ] = AUTO
    grid: Annotated[
        Text,
        Field(
            title="Grid",
            description="A grid instead of one run, as `python -m jglue_app grid` takes it: the path of its TOML file, "
            "or the text itself. It brings its own options; model_name is the model where it names none",
        ),
        Traits(cap=MAX_GRID, multiline=True),
    ] = ""
    memory: Annotated[
        float,
        Field(
            strict=True,
            ge=0,
            allow_inf_nan=False,
            title="Memory",
            description="GiB to work in beside the weights; 0 for all that is free",
        ),
    ] = 0.0

    @model_validator(mode="wrap")
    @classmethod
    def _checked(cls, value: Any, handler: Any, info: ValidationInfo) -> Execution:
        return in_sentences(cls, value, handler, info)


@dataclass(frozen=True, slots=True)
class FormField:
    """A field of the form."""

    option: Option
    type: str
    """As JSON schema names it."""
    default: Any
    """What stands for an option that is left out, or the option's own default."""
    left_out: bool
    """Whether the default is the former."""
    choices: tuple[str, ...]
    least: float | None


def _form_field(option: Option) -> FormField:
    default = option.default if option.traits.command_default is ... else option.traits.command_default
    # Scores under a protocol need one method or the other; a launched evaluation makes both.
    is_open = option.traits.from_protocol and option.name != "method"
    if option.name == MODEL:
        return FormField(option, "string", "", False, (), None)
    if option.kind == "flag" and is_open:
        return FormField(option, "string", AUTO, True, (AUTO, *FLAGS), None)
    if option.kind == "flag":
        return FormField(option, "boolean", default, False, (), None)
    if option.kind == "integer":
        stands_for_none = -1 if is_open else 0
        left_out = is_open or option.optional
        least = stands_for_none if left_out else option.least
        return FormField(option, "integer", stands_for_none if left_out else default, left_out, (), least)
    if option.kind == "number":
        left_out = is_open or option.optional
        return FormField(option, "number", 0.0 if left_out else default, left_out, (), 0)
    if option.kind == "tasks":
        return FormField(option, "string", ALL, True, (), None)
    if is_open and option.kind == "text":
        return FormField(option, "string", AUTO, True, (AUTO, *option.choices) if option.choices else (), None)
    if option.kind == "by task" or option.optional:
        return FormField(option, "string", "", True, ("", *option.choices) if option.choices else (), None)
    return FormField(option, "string", default, False, option.choices, None)


ORDER = (MODEL, "tasks", "data", "limit", "protocol", "method", "style", "format", "shots", "quantization", "dtype")
"""The first fields of the form; the others follow as they are declared."""
_OPTIONS = {
    MODEL: replace(options(Side)["model"], name=MODEL),
    **{name: option for name, option in options(Side).items() if name != "model"},
    **options(RunRequest),
    **options(Execution),
}
FIELDS: Mapping[str, FormField] = {name: _form_field(_OPTIONS[name]) for name in dict.fromkeys((*ORDER, *_OPTIONS))}


@dataclass(frozen=True, slots=True)
class Form:
    """A filled-in form."""

    values: Mapping[str, Any]
    """Field → value, as JSON has it."""
    request: RunRequest
    protocol: str
    device: str
    memory: float
    """GiB; 0 for what is free."""
    grid: str = ""
    """Path or text of a grid; empty for a single run."""


def defaults() -> dict[str, Any]:
    """Field → default: what `wandb.init` is given as config."""
    return {name: field.default for name, field in FIELDS.items()}


def schema() -> dict[str, Any]:
    """The form as a JSON schema, in W&B Launch's dialect: without `default`, and with `required` at the property."""
    return {"type": "object", "properties": {name: _property(name, field) for name, field in FIELDS.items()}}


def _property(name: str, field: FormField) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": field.type, "title": field.option.title, "description": _described(name, field)}
    if field.choices:
        # The default first: it cannot be named as such.
        schema["enum"] = sorted(field.choices, key=lambda choice: choice != field.default)
    if field.least is not None:
        schema["minimum"] = field.least
    if field.type == "integer" and field.option.cap is not None:
        schema["maximum"] = field.option.cap
    return schema | ({"required": True, "placeholder": "owner/model"} if name == MODEL else {})


def _described(name: str, field: FormField) -> str:
    text = f"{field.option.description}."
    if name == MODEL:
        return f"{text} The only field that has to be filled in."
    default = json.dumps(field.default)
    if field.left_out and default not in field.option.description:
        text = f"{text} {default}: {field.option.traits.without or 'none'}."
    return f"{text} Default: {default}."


def read(given: Mapping[str, Any]) -> Form:
    """A filled-in form; null stands for the default.

    Args:
        given: field → value, as it arrived.

    Raises:
        InputError: values that their fields do not take, or no model. Of several mistakes it names every one.
        UnknownNameError: the only mistake is a field that is not in the form, or a name that is in none of our tables.
    """
    mistakes: dict[str, InputError] = {
        name: UnknownNameError(mark("field of the Launch form"), name[:100], FIELDS)
        for name in given
        if name not in FIELDS
    }
    values = defaults()
    for name, value in given.items():
        if name in FIELDS and value is not None:
            try:
                values[name] = _value(FIELDS[name], value)
                _option_value(FIELDS[name], values[name])
            except InputError as e:
                mistakes[name] = e
    if not values[MODEL] and MODEL not in mistakes and not values["grid"]:
        mistakes[MODEL] = InputError(
            "model_name is empty: it is the one field that has to be filled in. Give a Hub id such as "
            "Qwen/Qwen3-0.6B, a folder or a .gguf file."
        )
    for name in _beside_grid(values):
        mistakes.setdefault(
            name, InputError("{name} stands in the grid itself, where there is one. Leave it as it is here.", name=name)
        )
    form = _checked(values, mistakes)
    if form is None:
        raise _together(mistakes)
    return form


BESIDE_GRID = (MODEL, *options(Execution))
"""Fields that say something where there is a grid."""


def _beside_grid(values: Mapping[str, Any]) -> list[str]:
    """Fields that are filled in although a grid brings their options."""
    usual = defaults()
    return (
        [name for name in FIELDS if name not in BESIDE_GRID and values[name] != usual[name]] if values["grid"] else []
    )


def _checked(values: Mapping[str, Any], mistakes: dict[str, InputError]) -> Form | None:
    """The form of these values; None where something is wrong, which is then among the mistakes.

    What is wrong with one value hides what is wrong with the next. So it is left out, and the rest is read again.
    """
    while True:
        usable = {name: defaults()[name] if name in mistakes else value for name, value in values.items()}
        usable |= {MODEL: "model"} if MODEL in mistakes or not usable[MODEL] else {}
        try:
            form = _form(usable)
        except InputError as e:
            field = MODEL if e.option == "model" else e.option
            # Settings that do not go together are no one field's mistake: what there is beside is found already.
            known = field in FIELDS and field not in mistakes
            mistakes[field if known else ""] = e
            if known:
                continue
            return None
        return None if mistakes else replace(form, values=values)


def _form(values: Mapping[str, Any]) -> Form:
    options_given = {name: _option_value(FIELDS[name], value) for name, value in values.items()}
    execution = read_values(Execution, {name: options_given[name] for name in options(Execution)}, "form")
    request = presets.request(
        execution.protocol,
        {name: options_given[name] for name in options(RunRequest)},
        {name: options_given[MODEL if name == "model" else name] for name in options(Side)},
        surface="form",
    )
    return Form(values, request, execution.protocol, execution.device, execution.memory, execution.grid)


def _together(mistakes: Mapping[str, InputError]) -> InputError:
    """One error for all mistakes, in the order of the form; of a single one that itself."""
    order = [name for name in (*FIELDS, *mistakes) if name in mistakes]
    errors = [mistakes[name] for name in dict.fromkeys(order)]
    if len(errors) == 1:
        return errors[0]
    numbered = [
        Message(" ({number}) {mistake}", number=number, mistake=of(error)) for number, error in enumerate(errors, 1)
    ]
    return InputError(
        "{count} things in the Launch form have to be corrected.{mistakes}",
        count=len(errors),
        mistakes=Joined("", numbered),
    )


def _value(field: FormField, value: Any) -> Any:
    """A value as its field has it."""
    if field.type == "string":
        if not isinstance(value, str):
            raise request_errors.refused(field.option, value, "form")
        return value if field.option.traits.multiline else value.strip()
    if field.type == "integer":
        return integral(value)
    # What a float cannot hold is refused where its bounds are checked.
    return float(value) if field.type == "number" and type(value) is int and abs(value) < MAX_WHOLE else value


def _option_value(field: FormField, value: Any) -> Any:
    """The value of the option; None if the form leaves it out."""
    if field.left_out and type(value) is type(field.default) and value == field.default:
        return None
    if field.option.kind == "flag" and field.type == "string":
        if value not in FLAGS:
            raise UnknownNameError(mark("value"), value[:100], field.choices)
        return FLAGS[value]
    if field.option.kind != "tasks":
        return value
    names = value.lower().replace(" ", "").strip(",")
    if not names:
        raise InputError(
            "tasks is empty. Write 'all', or some of {tasks}, separated by commas.", tasks=Joined(", ", TASKS)
        )
    return None if names == ALL else names


def plan(form: Form, settings: Settings, progress: Progress | None = None) -> Plan:
    """The plan that `run` makes of the same options.

    Raises:
        InputError, NetworkError: as `plan.make_plan`.
    """
    ((_, plan),) = form.request.plans(settings, progress=progress)
    return plan
