"""Options of `run` and `compare`, built of the fields of a request: names, types, defaults and help."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

import typer
from pydantic import TypeAdapter

from jglue_app.errors import InputError
from jglue_app.messages import Message, mark
from jglue_app.prompts.styles import load_style
from jglue_app.runs import presets
from jglue_app.runs.request import RunRequest, Side
from jglue_app.runs.request_checks import read_values
from jglue_app.runs.request_options import Option, Panel, options

TYPES: Mapping[str, type] = {"integer": int, "number": float, "flag": bool}
"""Kind of a value → type of its option; all others are texts."""
FILES = ("marc_ja",)
"""Options that are paths."""
ORDER = (
    *("tasks", "data", "split", "limit", "seed", "marc_ja"),
    *("style", "format", "shots", "shots_by_task", "shot_selection", "shot_seed", "system"),
    *("method", "max_new_tokens", "thinking", "max_thinking_tokens"),
    *("repetition_penalty", "repetition_penalty_by_task"),
    *("dtype", "quantization", "revision", "adapter", "gguf_file", "allow_bin", "backend", "budget"),
)
"""Fields in the order of the help, behind the models; one that is not here comes last in its panel."""
COMMAND_PANELS: Mapping[str, Panel] = {
    **dict.fromkeys(("device", "memory", "ray", "ray_workers", "ray_cpus", "yes"), "Model and machine"),
    **dict.fromkeys(("runs_dir", "wandb", "project", "entity", "offline"), "Stored runs and W&B"),
}
"""Parameter of the commands themselves → its panel; the others have none."""
NOT_A_NUMBER = {
    "integer": mark("{option} takes a whole number, not {text!r}."),
    "number": mark("{option} takes a number, not {text!r}."),
}
"""Kind of a value → what is said of a text that is none."""
NO_LIMIT = " 0 for none of its own;"


def with_request_options(function: Callable[..., None], sides: Sequence[Literal["", "a", "b"]]) -> Callable[..., None]:
    """A command as typer takes it, whose `**given` stands for the options of a request.

    Args:
        function: takes the options by name, as `run_request` does, beside parameters of its own.
        sides: `("",)` for one model, whose options have no prefix; `("a", "b")` for two.
    """

    @wraps(function)
    def command(**values: Any) -> None:
        function(**values)

    hints = get_type_hints(function, include_extras=True)
    own = [
        parameter.replace(annotation=_in_panel(hints[parameter.name], COMMAND_PANELS.get(parameter.name)))
        for parameter in inspect.signature(function).parameters.values()
        if parameter.kind is not inspect.Parameter.VAR_KEYWORD
    ]
    of_request = list(_parameters(sides))
    signature = inspect.Signature([*own[: len(own) - len(_last(own))], *of_request, *_last(own)])
    command.__signature__ = signature  # type: ignore[attr-defined]  # typer reads it; typeshed does not name it.
    command.__annotations__ = {name: p.annotation for name, p in signature.parameters.items()} | {"return": None}
    command.__name__ = function.__name__.strip("_")
    del command.__wrapped__
    return command


def _in_panel(hint: Any, panel: Panel | None) -> Any:
    """The annotation of a shared option, in a panel of the help of these commands."""
    if panel is None:
        return hint
    info = copy.copy(hint.__metadata__[0])
    info.rich_help_panel = panel
    return Annotated[hint.__origin__, info]


def _last(own: list[inspect.Parameter]) -> list[inspect.Parameter]:
    """Parameters that stand behind the request's: those that may be given by name alone."""
    return [parameter for parameter in own if parameter.kind is inspect.Parameter.KEYWORD_ONLY]


def _parameters(sides: Sequence[str]) -> Iterator[inspect.Parameter]:
    of_run, of_side = options(RunRequest), dict(options(Side))
    model = of_side.pop("model")
    yield from (_parameter(model, side) for side in sides)
    places = {name: place for place, name in enumerate(ORDER)}
    for name in sorted((*of_run, *of_side), key=lambda name: places.get(name, len(places))):
        if name in of_run:
            yield _parameter(of_run[name], "")
        else:
            yield from (_parameter(of_side[name], side) for side in sides)


def _parameter(option: Option, side: str) -> inspect.Parameter:
    name = _name(option, side)
    default = option.default if option.traits.command_default is ... else option.traits.command_default
    if side == "b" or (option.traits.from_protocol and option.name != "tasks"):
        default = None
    help = _help(option, side)
    panel = None if option.traits.panel == "Options" else option.traits.panel
    kind: Any = Path if option.name in FILES else TYPES.get(option.kind, str)
    flag = _flag(option, side)
    if option.kind == "flag":
        flags = f"{flag}/--no-{option.flag}" if default is None else flag
        info = typer.Option(flags, help=help, show_default=default is not None, rich_help_panel=panel)
    elif option.kind in NOT_A_NUMBER:
        parser = number_parser(kind, NOT_A_NUMBER[option.kind], flag)
        info = typer.Option(flag, help=help, parser=parser, metavar=f"<{kind.__name__}>", rich_help_panel=panel)
    else:
        info = typer.Option(flag, help=help, rich_help_panel=panel)
    annotation: Any = Annotated[kind | None, info] if default is None else Annotated[kind, info]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def number_parser(kind: type[int] | type[float], sentence: str, flag: str) -> Callable[[Any], int | float]:
    """Text of an option → its number; a text that is none is an error with the usage."""

    def parse(text: Any) -> int | float:
        try:
            return TypeAdapter(kind).validate_python(text)
        except ValueError:
            raise typer.BadParameter(Message(sentence, option=flag, text=str(text)[:100])) from None

    return parse


def _help(option: Option, side: str) -> str:
    if option.name == "model" and side:
        return "Model A." if side == "a" else "Model B; without it, the same as A."
    if side == "b":
        return _help_of_b(option)
    if side == "a" and not option.traits.command_prefix:
        return f"{option.description}; of A and, unless given, of B."
    return option.help


def _help_of_b(option: Option) -> str:
    if option.traits.follows_a == "never":
        return option.help
    none = NO_LIMIT if option.optional and option.kind == "integer" else ""
    same = " of the same model" if option.traits.follows_a == "same model" else ""
    return f"{option.title} of B;{none} without it, as A{same}."


def _name(option: Option, side: str) -> str:
    if option.name == "model":
        return side or "model"
    return f"{side}_{option.name}" if side == "b" or (side and option.traits.command_prefix) else option.name


def _flag(option: Option, side: str) -> str:
    return f"--{_name(option, side).replace('_', '-')}"


def run_request(protocol: str, given: Mapping[str, Any], sides: Sequence[Literal["", "a", "b"]]) -> RunRequest:
    """The request that the options of a command make; those left out are the protocol's own, or A's.

    Raises:
        InputError: a value that its option does not take.
        UnknownNameError: no such protocol, or a name that is in none of our tables.
    """
    common = {name: given[name] for name in options(RunRequest)}
    tasks = str(common["tasks"]).lower()
    common["tasks"] = "all" if tasks.strip(" ,") == "all" else tasks
    common["marc_ja"] = str(given["marc_ja"]) if given["marc_ja"] else None
    a = {name: given[_name(option, sides[0])] for name, option in options(Side).items()}
    b = _second(given, a) if "b" in sides else None
    if b is not None:
        _check_sides(given)
    return presets.request(protocol, common, a, b)


def _check_sides(given: Mapping[str, Any]) -> None:
    """Raise InputError, with the name of the option, for a value of one of two sides that its option does not take."""
    for side in ("a", "b"):
        for name, option in options(Side).items():
            value = given[_name(option, side)]
            if value is None or (side == "b" and option.optional and value in ("", 0)):
                continue
            try:
                read_values(Side, {name: value}, "program")
                if name == "style":
                    load_style(value)
            except InputError as e:
                raise InputError("{option}: {sentence}", option=_flag(option, side), sentence=e.message) from None


def _second(given: Mapping[str, Any], a: Mapping[str, Any]) -> dict[str, Any]:
    """B's values: A's where it has none of its own, and none where it is told to have none (`""`, or 0 tokens)."""
    same_model = given["b"] in (None, a["model"])
    values: dict[str, Any] = {}
    for name, option in options(Side).items():
        value, follows = given[_name(option, "b")], option.traits.follows_a
        if value is None:
            values[name] = a[name] if follows == "always" or (follows == "same model" and same_model) else None
        else:
            values[name] = None if option.optional and value in ("", 0) else value
    return values
