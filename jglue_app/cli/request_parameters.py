"""Options of `run` and `compare`, built of the fields of a request: names, types, defaults and help."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

import typer

from jglue_app.runs import presets
from jglue_app.runs.request import RunRequest, Side
from jglue_app.runs.request_options import Option, options

TYPES: Mapping[str, type] = {"integer": int, "number": float, "flag": bool}
"""Kind of a value → type of its option; all others are texts."""
FILES = ("marc_ja",)
"""Options that are paths."""
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
        parameter.replace(annotation=hints[parameter.name])
        for parameter in inspect.signature(function).parameters.values()
        if parameter.kind is not inspect.Parameter.VAR_KEYWORD
    ]
    of_request = list(_parameters(sides))
    signature = inspect.Signature([*own[: len(own) - len(_last(own))], *of_request, *_last(own)])
    command.__signature__ = signature  # type: ignore[attr-defined]
    command.__annotations__ = {name: p.annotation for name, p in signature.parameters.items()} | {"return": None}
    command.__name__ = function.__name__.strip("_")
    del command.__wrapped__
    return command


def _last(own: list[inspect.Parameter]) -> list[inspect.Parameter]:
    """Parameters that stand behind the request's: those that may be given by name alone."""
    return [parameter for parameter in own if parameter.kind is inspect.Parameter.KEYWORD_ONLY]


def _parameters(sides: Sequence[str]) -> Iterator[inspect.Parameter]:
    models, rest = ({n: o for n, o in options(Side).items() if (n == "model") is first} for first in (True, False))
    for side in sides:
        yield from (_parameter(option, side) for option in models.values())
    yield from (_parameter(option, "") for option in options(RunRequest).values())
    for option in rest.values():
        yield from (_parameter(option, side) for side in sides)


def _parameter(option: Option, side: str) -> inspect.Parameter:
    name, help = _name(option, side), option.help
    default = option.default if option.traits.command_default is ... else option.traits.command_default
    if option.traits.from_protocol and option.name != "tasks":
        default = None
    if side == "a" and option.name == "model":
        help = "Model A."
    if side == "b":
        default = None
        help = "Model B; without it, the same as A." if option.name == "model" else _help_of_b(option)
    kind: Any = Path if option.name in FILES else TYPES.get(option.kind, str)
    if option.kind == "flag":
        flags = [f"--{option.flag}/--no-{option.flag}" if default is None else f"--{option.flag}"]
        info = typer.Option(*flags, help=help, show_default=default is not None)
    else:
        info = typer.Option(f"--{name.replace('_', '-')}", help=help)
    annotation: Any = Annotated[kind | None, info] if default is None else Annotated[kind, info]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


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
    return presets.request(protocol, common, a, b)


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
