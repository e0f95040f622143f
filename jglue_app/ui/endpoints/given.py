"""What programs give to an endpoint, held against the types of its parameters.

Over HTTP any JSON may come for any parameter. Endpoints that make requests read theirs as the page's form is read, with
sentences of its own; all others get what they declare, or the program gets a sentence.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from jglue_app.errors import InputError
from jglue_app.messages import Message, mark

KINDS = {
    str: mark("a text"),
    int: mark("a whole number"),
    float: mark("a number"),
    bool: mark("true or false"),
    list: mark("a list of texts"),
    dict: mark("an object whose values are texts"),
}
"""Type of a parameter → what a sentence calls it."""


def typed(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same endpoint, which refuses values of other types than its parameters have.

    A null stands for the default of a parameter that has one. Parameters of other types than `KINDS` are left alone.
    """
    signature, hints = inspect.signature(function), get_type_hints(function)

    def read(args: tuple[Any, ...], by_name: dict[str, Any]) -> dict[str, Any]:
        given = signature.bind(*args, **by_name).arguments
        return {name: _read(signature.parameters[name], hints[name], value) for name, value in given.items()}

    if inspect.isgeneratorfunction(function):

        @functools.wraps(function)
        def generate(*args: Any, **by_name: Any) -> Iterator[Any]:
            yield from function(**read(args, by_name))

        return generate

    @functools.wraps(function)
    def call(*args: Any, **by_name: Any) -> Any:
        return function(**read(args, by_name))

    return call


def _read(parameter: inspect.Parameter, hint: Any, value: Any) -> Any:
    """The value of a parameter; raises InputError for one of another type."""
    if value is None and parameter.default is not inspect.Parameter.empty:
        return parameter.default
    kinds = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    kind = next((one for one in kinds if (get_origin(one) or one) in KINDS), None)
    if kind is None or (value is None and type(None) in kinds):
        return value
    kind = get_origin(kind) or kind
    if kind is int and isinstance(value, float) and value.is_integer():
        return int(value)
    if not _is(kind, value):
        raise InputError(
            "{name} must be {kind}, and this call gives {given}. Correct the call.",
            name=parameter.name,
            kind=Message(KINDS[kind]),
            given=_short(value),
        )
    return value


def _is(kind: type, value: Any) -> bool:
    """Whether a value from JSON is of a kind; there true and false are no numbers."""
    if isinstance(value, bool) or kind is bool:
        return isinstance(value, bool) and kind is bool
    if kind is float:
        return isinstance(value, int | float)
    if kind is list:
        return isinstance(value, list) and all(isinstance(part, str) for part in value)
    if kind is dict:
        return isinstance(value, dict) and all(isinstance(part, str) for part in value.values())
    return isinstance(value, kind)


def _short(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    text = repr(value)
    return text if len(text) <= 50 else f"{text[:50]}…"
