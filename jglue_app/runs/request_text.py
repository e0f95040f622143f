"""A request as a command line and as a link, and the request of a link.

Neither holds a secret. The two ways of a link are inverse to each other, but for what concerns files of one machine:
a link allows nobody to read pickled weights, and names no MARC-ja file.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlencode

from jglue_app.errors import InputError, UnknownNameError
from jglue_app.prompts.styles import style_names
from jglue_app.runs import request_errors
from jglue_app.runs.request import RunRequest, Side
from jglue_app.runs.request_checks import read_values
from jglue_app.runs.request_options import Option, as_text, of_text, options
from jglue_app.tasks import DEFAULT_TASKS

ALL = "all"
"""What a link says for no limit on items."""
ALWAYS = ("tasks", "data", "limit", "method")
"""Options that a link names whatever they are."""
COMMAND_ORDER = (
    *("tasks", "data", "split", "limit", "seed", "method", "max_new_tokens"),
    *("style", "format", "shots", "dtype", "quantization", "thinking", "max_thinking_tokens", "repetition_penalty"),
)
"""The order in which a command names its first options; the others follow."""


def to_command_line(request: RunRequest) -> str:
    """The command that makes the same run or comparison and shows its scores."""
    parts = ["python", "-m", "jglue_app"]
    if request.b is None:
        parts += ["run", "--model", request.a.model]
    else:
        parts += ["compare", "--a", request.a.model]
        parts += ["--b", request.b.model] if request.b.model != request.a.model else []
    for option in _ordered(RunRequest):
        value = getattr(request, option.name)
        if option.name == "allow_bin":
            continue
        if option.name in ("data", "method") or (_differs(option, value) and value is not None):
            parts += _flag(option, f"--{option.flag}", value)
    for option in _ordered(Side):
        if option.name != "model":
            parts += _of_sides(request, option)
    return shlex.join([*parts, "--allow-bin"] if request.allow_bin else parts)


def _ordered(model: type) -> Iterator[Option]:
    known = options(model)
    yield from (known[name] for name in COMMAND_ORDER if name in known)
    yield from (option for name, option in known.items() if name not in COMMAND_ORDER)


def _differs(option: Option, value: Any) -> bool:
    """Whether a command has to name a value: of the subsets their order says nothing."""
    if option.name == "tasks":
        return set(value) != set(DEFAULT_TASKS)
    usual = option.traits.command_default
    return bool(value != (option.default if usual is ... else usual))


def _of_sides(request: RunRequest, option: Option) -> Iterator[str]:
    of_a, prefix = getattr(request.a, option.name), "a-" if request.b and option.traits.command_prefix else ""
    if of_a != option.default:
        yield from _flag(option, f"--{prefix}{option.flag}", of_a)
    if request.b is None:
        return
    follows = option.traits.follows_a
    inherits = follows == "always" or (follows == "same model" and request.a.model == request.b.model)
    of_b = getattr(request.b, option.name)
    if of_b != (of_a if inherits else option.default):
        yield from _flag(option, f"--b-{option.flag}", of_b)


def _flag(option: Option, flag: str, value: Any) -> list[str]:
    if option.kind == "flag":
        return [flag if value else flag.replace("--", "--no-", 1)]
    return [flag, as_text(option, value)]


# --- as a link ------------------------------------------------------------------------------------------


def to_url_query(request: RunRequest) -> str:
    """The request as the query of a link, such as `tasks=jnli&data=sample&limit=5…`: what is not default."""
    params: dict[str, str] = {}
    for name in ("tasks", "data", "limit", "split", "method", *options(RunRequest)):
        option, value = options(RunRequest)[name], getattr(request, name)
        if option.traits.in_link and (name in ALWAYS or value != option.default):
            params[option.flag] = ALL if name == "limit" and value is None else as_text(option, value)
    for side, values in request.sides.items():
        for name, option in options(Side).items():
            value = getattr(values, name)
            if name == "model" or (option.traits.in_link and value != option.default):
                params[_key(side, option)] = as_text(option, value)
    return urlencode(params, safe=",/")


def _key(side: str, option: Option) -> str:
    """What a link calls an option: `a` is A's model, `a-shots` the number of A's examples."""
    if not side:
        return option.flag
    return side if option.name == "model" else f"{side}-{option.flag}"


def from_url_query(params: Mapping[str, str]) -> RunRequest | None:
    """The request that a link makes; None if it makes none. What a link leaves out is as the page begins.

    Raises:
        InputError: a value that its option does not take, or options of B where there is no B.
        UnknownNameError: a name that is in none of our tables.
    """
    if "b" not in params and (lost := [key for key in params if key in _keys_of_b()]):
        raise InputError(
            "The link has {options} but names no model B. Add b=MODEL, or leave them out.", options=", ".join(lost)
        )
    if not set(params) & {"a", "tasks", "b"}:
        return None
    values = _values(RunRequest, params, "")
    values["a"] = _side(params, "a")
    values["b"] = _side(params, "b") if "b" in params else None
    return read_values(RunRequest, values, "link")


def _keys_of_b() -> set[str]:
    return {_key("b", option) for option in options(Side).values()}


def _side(params: Mapping[str, str], name: str) -> Side:
    side = read_values(Side, _values(Side, params, name), "link", name)
    if side.style not in style_names() and not side.style.endswith(".toml"):
        raise UnknownNameError("style", side.style[:100], style_names())
    return side


def _values(model: type, params: Mapping[str, str], side: str) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, option in options(model).items():
        text = params.get(_key(side, option))
        if text is None or not option.traits.in_link:
            continue
        if name == "limit":
            values[name] = None if text == ALL else _parsed(option, text, side) or 0
        else:
            values[name] = _parsed(option, text, side)
    return values


def _parsed(option: Option, text: str, side: str) -> Any:
    try:
        return of_text(option, text)
    except ValueError:
        raise request_errors.refused(option, text, "link", side) from None
