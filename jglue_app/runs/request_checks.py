"""Values → a checked request: types and bounds by pydantic, names and caps here, and all errors in our sentences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError, ValidationInfo

from jglue_app.errors import InputError
from jglue_app.runs import request_errors
from jglue_app.runs.request_options import Option, Surface, options
from jglue_app.tasks import TASKS

M = TypeVar("M")


def read_values(
    model: type[M], values: Mapping[str, Any], surface: Surface, side: str = "", max_items: int | None = None
) -> M:
    """A request, or a side of one, from values by name.

    Args:
        model: `RunRequest`, `Side`, or another dataclass that is checked as they are.
        values: field → value.
        surface: where they came from: it words the errors, and all but a program are held to the caps.
        side: `a` or `b`, for the errors of links.
        max_items: the most items per subset; None for no cap.

    Raises:
        InputError: a value that its field does not take.
        UnknownNameError: a name that is in none of our tables.
    """
    context = {"surface": surface, "side": side, "max_items": max_items}
    return TypeAdapter(model).validate_python(dict(values), context=context)


def in_sentences(model: type[M], value: Any, handler: Callable[[Any], M], info: ValidationInfo) -> M:
    """Validate one model; what pydantic has against it becomes a sentence of ours."""
    context = info.context or {}
    surface: Surface = context.get("surface", "program")
    side: str = context.get("side", "")
    known = with_limit(options(model), context.get("max_items"))
    try:
        found = handler(value)
    except ValidationError as e:
        raise request_errors.input_error(e, known, surface, side) from None
    _check_names(known, found, surface)
    if surface != "program":
        check_caps(known, found, surface, side)
    return found


def with_limit(known: Mapping[str, Option], max_items: int | None) -> Mapping[str, Option]:
    """The options with a cap on items, if they have such an option."""
    limit = known.get("limit")
    if limit is None or max_items is None:
        return known
    return {**known, "limit": replace(limit, traits=replace(limit.traits, cap=max_items))}


def _check_names(known: Mapping[str, Option], found: Any, surface: Surface) -> None:
    for name, option in known.items():
        value = getattr(found, name)
        if option.name == "model" and not value.strip():
            raise request_errors.refused(option, value, surface)
        known_value = value is None or value in option.choices or (option.traits.by_subset and surface == "program")
        if option.choices and not known_value:
            raise request_errors.unknown(option, value)
        if option.kind in ("tasks", "by task"):
            for entry in value:
                task = entry if isinstance(entry, str) else entry[0]
                if task not in TASKS:
                    raise request_errors.of_option(name, request_errors.unknown_task(task, surface))
        counts = Counter(task for task, _ in value) if option.kind == "by task" else {}
        if twice := next((task for task, count in counts.items() if count > 1), ""):
            error = InputError("{name} has {task} twice. Leave one of them.", name=option.flag, task=twice)
            raise request_errors.of_option(name, error)


def check_caps(known: Mapping[str, Option], found: Any, surface: Surface, side: str) -> None:
    """Raise InputError where a value is above what page, links and forms take."""
    for name, option in known.items():
        value, cap = getattr(found, name), option.cap
        if cap is None or value is None:
            continue
        if isinstance(value, str):
            if any("\ud800" <= c <= "\udfff" for c in value):
                error = InputError("{name} has half a character (a lone surrogate). Write it again.", name=option.flag)
                raise request_errors.of_option(name, error)
            # A line end in a model's name would break what is printed; a system turn may have several lines.
            strange = not option.traits.multiline and any(ord(c) < 32 for c in value)
            if strange or len(value) > cap:
                raise request_errors.refused(option, value, surface, side, capped=True)
        elif option.kind == "by task":
            if above := [number for _, number in value if number > cap]:
                raise request_errors.refused(option, above[0], surface, side, capped=True)
        elif value > cap:
            raise request_errors.refused(option, value, surface, side, capped=True)
