"""Parameters of the endpoints that make requests, built of the fields of a request: names, types, defaults and help."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar, cast, get_type_hints

from jglue_app.errors import InputError
from jglue_app.runs.request import RunRequest, Side
from jglue_app.runs.request_options import Option, options
from jglue_app.ui import controls

R = TypeVar("R")

FIRST_OF_TWO = (
    *("a_model", "b_model", "tasks", "data", "limit", "method", "a_format", "a_style", "a_shots"),
    *("b_format", "b_style", "b_shots", "a_quantization", "b_quantization", "a_dtype", "b_dtype", "allow_bin"),
    *("a_thinking", "b_thinking", "a_max_thinking_tokens", "b_max_thinking_tokens"),
    *("a_repetition_penalty", "b_repetition_penalty"),
)
"""Parameters of a comparison in their places, which programs know: over HTTP they are given in order. Others follow."""
FIRST_OF_ONE = (
    *("model", "tasks", "data", "method", "format", "style", "shots", "quantization", "dtype", "allow_bin"),
    *("thinking", "max_thinking_tokens", "repetition_penalty"),
)
"""The same of a run of one model."""
DATA_HELP = "sample (our own items), official (JGLUE v1.3, dev) or test (its test sets)."


def with_request_parameters(
    function: Callable[..., R], first: Sequence[str], defaults: RunRequest, leave_out: Sequence[str] = ()
) -> Callable[..., R]:
    """An endpoint whose `**given` stands for the parameters of a request.

    Args:
        function: takes them by name; `request_of` makes the request of them.
        first: the parameters that come first. If `model` is among them, there is one side, without a prefix.
        defaults: what is requested where a parameter is not given; without a B if there is one side.
        leave_out: parameters that the endpoint does not have.
    """
    parameters = {name: p for name, p in _parameters(defaults, "model" in first).items() if name not in leave_out}
    ordered = dict.fromkeys((*(name for name in first if name in parameters), *parameters))
    hints = get_type_hints(function)
    own = [
        parameter.replace(annotation=hints[parameter.name])
        for parameter in inspect.signature(function).parameters.values()
        if parameter.kind is not inspect.Parameter.VAR_KEYWORD
    ]
    names = [parameter.name for parameter in own] + list(ordered)

    call: Any = function

    def endpoint(*values: Any, **by_name: Any) -> Any:
        return call(**dict(zip(names, values, strict=False)), **by_name)

    def generator(*values: Any, **by_name: Any) -> Any:
        yield from endpoint(*values, **by_name)

    made: Any = generator if inspect.isgeneratorfunction(function) else endpoint
    lines = [f"    {name}: {help}" for name, (_, help) in ((name, parameters[name]) for name in ordered)]
    made.__doc__ = f"{inspect.getdoc(function)}\n\nArgs:\n" + "\n".join(lines)
    made.__name__ = function.__name__
    all_parameters = [*own, *(parameters[name][0] for name in ordered)]
    made.__signature__ = inspect.Signature(all_parameters, return_annotation=hints["return"])
    made.__annotations__ = {parameter.name: parameter.annotation for parameter in all_parameters}
    made.__annotations__["return"] = hints["return"]
    return cast(Callable[..., R], made)


def _parameters(defaults: RunRequest, one: bool) -> dict[str, tuple[inspect.Parameter, str]]:
    """Name → parameter and help."""
    known: Mapping[str, Option] = {
        **options(RunRequest),
        **{f"a.{name}": option for name, option in options(Side).items()},
        **({} if one else {f"b.{name}": option for name, option in options(Side).items()}),
    }
    values = controls.values_of(defaults) | {"b.model": "", "limit": defaults.limit or 0}
    found = {}
    for key, option in known.items():
        name = key.removeprefix("a.") if one else key.replace(".", "_")
        kind = list[str] if option.kind == "tasks" else type(values[key])
        place = inspect.Parameter.POSITIONAL_OR_KEYWORD
        found[name] = (inspect.Parameter(name, place, default=values[key], annotation=kind), _help(key, option))
    return found


def _help(key: str, option: Option) -> str:
    if key == "data":
        return DATA_HELP
    if key == "b.model":
        return "The model to compare with; empty for none. It may be the same as A with other settings."
    if key.startswith("b."):
        return "The same for B."
    if key == "split":
        return f"{option.description}; empty as data says."
    if option.optional:
        none = "0" if option.kind == "integer" else "empty"
        return f"{option.description}; {none}: {option.traits.without or 'none'}."
    return f"{option.description}."


def request_of(given: Mapping[str, Any]) -> Mapping[str, Any]:
    """The parameters of an endpoint by the names of `controls.read`: a limit of 0 is none, a B without a model too.

    Raises:
        InputError: there is something of B but its model, which would be left out without a word.
    """
    one = "model" in given
    if not one and not given.get("b_model"):
        # A client that fills in the defaults has not given them.
        defaults = controls.values_of(RunRequest(b=controls.DEFAULT_B))
        usual = {f"b_{name}": defaults[f"b.{name}"] for name in options(Side)}
        ignored = [name for name, value in given.items() if name in usual and value not in (usual[name], "")]
        if ignored:
            raise InputError(
                "{name} is for B, and there is no b_model. Give b_model too; it may be the same as a_model.",
                name=ignored[0],
            )
    values: dict[str, Any] = {}
    for name, value in given.items():
        if name in options(RunRequest):
            values[name] = value
        elif one:
            values[f"a.{name}"] = value
        elif given.get("b_model") or not name.startswith("b_"):
            values[name.replace("_", ".", 1)] = value
    return values | {"limit": given.get("limit") or None}
