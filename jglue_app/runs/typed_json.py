"""JSON → the frozen records of `types`, every value checked against its declared type.

A run folder may have been torn, edited or sent by a stranger. What is read from it is either what the types say, or
refused; nothing is repaired on the way.
"""

from __future__ import annotations

import math
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from typing import Any, Literal, TypeVar, Union

from jglue_app.messages import Message

LARGEST = 2**63
"""Whole numbers below it, and above its negative, are read: no count or seed is larger, and no table format holds
more."""

T = TypeVar("T")


class BadValueError(ValueError):
    """A value of the right type that no such field can hold."""


Reader = Callable[[Any], Any]


def read(cls: type[T], row: Any) -> T:
    """A dataclass from its JSON object: lists become tuples, whole numbers become floats where a float is declared.

    Fields that have a default may be missing, as they are in what an older version has written.

    Raises:
        KeyError: a field is missing.
        TypeError: a value of another type, or a field that is not known.
        ValueError: a number that no such field can hold.
    """
    value: T = _OBJECTS(cls)(row)
    return value


def _object(cls: Any) -> Reader:
    hints = typing.get_type_hints(cls)
    readers = {f.name: _reader(hints[f.name], f.name) for f in fields(cls)}
    needed = {f.name for f in fields(cls) if f.default is MISSING and f.default_factory is MISSING}

    def build(row: Any) -> Any:
        if not isinstance(row, dict):
            raise TypeError(f"expected an object for {cls.__name__}, found {_kind(row)}")
        if not needed <= row.keys():
            raise KeyError(min(needed - row.keys()))
        if not row.keys() <= readers.keys():
            raise TypeError(f"{cls.__name__} has no field {min(row.keys() - readers.keys())!r}")
        return cls(**{name: readers[name](value) for name, value in row.items()})

    return build


_OBJECTS: Callable[[Any], Reader] = cache(_object)


def _reader(hint: Any, name: str) -> Reader:
    """What checks a value against a type; `name` is that of the field, for the sentence."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if is_dataclass(hint) and isinstance(hint, type):
        return _OBJECTS(hint)
    if origin in (Union, types.UnionType):
        options = [_reader(argument, name) for argument in arguments if argument is not types.NoneType]
        return _any_of(options, optional=types.NoneType in arguments)
    if origin is Literal:
        return _one_of(arguments, name)
    if origin is tuple:
        return _tuple(arguments, name)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return _table(_reader(arguments[1], name), name)
    if hint is float:
        return lambda value: _number(value, name)
    if hint is Any:
        return lambda value: value
    if hint is types.NoneType or hint in (str, bool, int):
        return _plain(hint, name)
    raise NotImplementedError(f"{name}: {hint}")


def _plain(kind: type, name: str) -> Reader:
    def text(value: Any) -> Any:
        if type(value) is not str:
            raise _wrong(name, "text", value)
        return value

    if kind is str:  # Most of all values are.
        return text

    def check(value: Any) -> Any:
        if type(value) is not kind:
            raise _wrong(name, {bool: "true or false", int: "whole number"}.get(kind, "null"), value)
        if isinstance(value, int) and not -LARGEST < value < LARGEST:
            raise BadValueError(Message("{name} is out of range", name=name))
        return value

    return check


def _number(value: Any, name: str) -> float:
    if type(value) not in (int, float):
        raise _wrong(name, "number", value)
    try:
        return float(value)
    except OverflowError as e:
        raise BadValueError(Message("{name} is out of range", name=name)) from e


def _one_of(known: tuple[Any, ...], name: str) -> Reader:
    def check(value: Any) -> Any:
        if not isinstance(value, str | bool) or value not in known:
            raise TypeError(f"{name} must be one of {', '.join(map(str, known))}; found {_kind(value)}")
        return value

    return check


def _tuple(arguments: tuple[Any, ...], name: str) -> Reader:
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        each = _reader(arguments[0], name)

        def many(value: Any) -> Any:
            if not isinstance(value, list):
                raise _wrong(name, "list", value)
            return tuple(map(each, value))

        return many
    parts = [_reader(argument, name) for argument in arguments]

    def some(value: Any) -> Any:
        if not isinstance(value, list) or len(value) != len(parts):
            raise _wrong(name, f"list of {len(parts)}", value)
        return tuple(part(item) for part, item in zip(parts, value, strict=True))

    return some


def _table(each: Reader, name: str) -> Reader:
    def check(value: Any) -> Any:
        if not isinstance(value, dict):
            raise _wrong(name, "object", value)
        return {key: each(item) for key, item in value.items()}

    return check


def _any_of(readers: list[Reader], *, optional: bool) -> Reader:
    def check(value: Any) -> Any:
        if value is None and optional:
            return None
        fault: Exception | None = None
        for reader in readers:
            try:
                return reader(value)
            except (TypeError, KeyError, ValueError) as e:
                # Of several shapes, the fault of the one that is an object says most: the others were not meant.
                fault = e if fault is None or isinstance(value, dict | list) else fault
        assert fault is not None
        raise fault

    return check


def finite(value: float, name: str) -> float:
    """The number itself; raises ValueError unless it is finite."""
    if not math.isfinite(value):
        raise BadValueError(Message("{name} is not a finite number", name=name))
    return value


def _wrong(name: str, wanted: str, value: Any) -> TypeError:
    return TypeError(f"{name} must be {_a(wanted)}; found {_kind(value)}")


def _a(wanted: str) -> str:
    return wanted if wanted in ("null", "true or false") else f"a {wanted}"


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a text", types.NoneType: "null", bool: "true or false"}
    return names.get(type(value), "a number")
