"""What pydantic finds wrong in a request, as our sentences."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import ValidationError

from jglue_app.errors import InputError, UnknownNameError
from jglue_app.messages import Joined, Message, mark
from jglue_app.runs.request_options import MAX_WHOLE, Option, Surface
from jglue_app.tasks import TASKS

NO_MODEL = mark("There is no model. Choose one of the list, or type its name.")
OWN = {
    "model": NO_MODEL,
    "limit": mark("The number of items must be at least 1."),
    "shots": mark("The number of few-shot examples must be 0 or more."),
    "shots_by_task": mark("The number of few-shot examples must be 0 or more."),
    "max_new_tokens": mark("The limit on new tokens must be from 1 to 4096."),
    "max_thinking_tokens": mark("The limit on tokens of a thought must be from 1 to {most:,}."),
    "repetition_penalty": mark("The repetition penalty is a number above 0, such as 1.2; 1 is none."),
    "repetition_penalty_by_task": mark("The repetition penalty is a number above 0, such as 1.2; 1 is none."),
}
"""Field → what a value of it is, where it was given by a program or on the page."""
CAPPED = {
    "model": mark("A model's name has at most {most} characters and no line ends. Give an id or a path."),
    "style": mark("A style's name has at most {most} characters."),
    "shots": mark("The number of examples is from 0 to {most}."),
    "shots_by_task": mark("The number of examples is from 0 to {most}."),
    "limit": mark("The number of items is a whole number from 1 to {most:,}."),
    "max_thinking_tokens": mark("The thinking limit is a whole number from 0 to {most:,}."),
}
"""Field → the same where page and forms have a cap."""
UNKNOWN = {
    **{"data": mark("data"), "split": mark("split"), "method": mark("method"), "format": mark("format")},
    **{"quantization": mark("quantization"), "dtype": mark("dtype"), "thinking": mark("thinking")},
    **{"shot_selection": mark("few-shot selection"), "backend": mark("backend"), "protocol": mark("protocol")},
}
"""Field → what its values are called."""
KINDS = {
    "text": mark("a text"),
    "integer": mark("a whole number"),
    "number": mark("a number"),
    "flag": mark("true or false"),
    "tasks": mark("a text"),
    "by task": mark("a text"),
}


E = TypeVar("E", bound=InputError)


def of_option(name: str, error: E) -> E:
    """The same error, which knows the option at fault."""
    error.option = name
    return error


def input_error(error: ValidationError, known: Mapping[str, Option], surface: Surface, side: str) -> InputError:
    """The first thing that pydantic found as a sentence.

    Args:
        error: what pydantic raised for one model.
        known: the model's options.
        surface: where the values came from.
        side: `a` or `b` in a link; else empty.
    """
    first = error.errors(include_url=False)[0]
    name, value = str(first["loc"][0]) if first["loc"] else "", first["input"]
    option = known.get(name)
    if option is None:
        return UnknownNameError(mark("option"), name[:100], known)
    if option.kind == "tasks":
        return of_option(name, InputError("Choose at least one subset: {tasks}.", tasks=Joined(", ", TASKS)))
    if option.choices and not (surface == "form" and not isinstance(value, str)):
        return unknown(option, value)
    return refused(option, value, surface, side)


def unknown(option: Option, value: Any) -> UnknownNameError:
    """A value that is none of an option's choices."""
    error = UnknownNameError(UNKNOWN.get(option.name, option.name), str(value)[:100], option.choices)
    return of_option(option.name, error)


def unknown_task(name: str, surface: Surface) -> UnknownNameError:
    """A subset that does not exist."""
    return UnknownNameError(mark("subset in tasks") if surface == "form" else mark("task"), name[:100], TASKS)


def refused(option: Option, value: Any, surface: Surface, side: str = "", *, capped: bool = False) -> InputError:
    """A value that an option does not take, as a sentence; `capped` if only page, links and forms do not."""
    return of_option(option.name, _refused(option, value, surface, side, capped=capped))


def _refused(option: Option, value: Any, surface: Surface, side: str, *, capped: bool) -> InputError:
    # Of a whole number beyond any float it cannot be asked whether it is finite.
    is_number = isinstance(value, int) or (isinstance(value, float) and math.isfinite(value))
    is_whole = option.kind in ("integer", "by task") and is_number and option.name != "repetition_penalty_by_task"
    if is_whole and abs(value) >= MAX_WHOLE and (option.cap is None or option.kind == "by task"):
        return InputError("{name} takes a whole number of at most 18 digits.", name=option.flag)
    if surface == "link" and option.kind in ("integer", "number", "flag", "by task"):
        return _in_link(option, value, side)
    if surface == "form":
        return _in_form(option, value)
    capped = capped or surface != "program"
    template = CAPPED.get(option.name) if capped and option.cap is not None else None
    if option.name == "model" and isinstance(value, str) and not value.strip():
        template = NO_MODEL
    template = template or OWN.get(option.name)
    if template is None:
        return _in_form(option, value)
    most = option.cap if capped else option.most
    return InputError(template, **({"most": most} if "{most" in template else {}))


def _in_link(option: Option, value: Any, side: str) -> InputError:
    name = f"{side}-{option.flag}" if side else option.flag
    text = str(value)[:50]
    if option.kind == "number":
        return InputError(
            "{name} in this link must be a number above 0, such as 1.2, not {text!r}. Correct the link.",
            name=name,
            text=text,
        )
    unbounded = option.least is None and option.cap is None
    if option.kind != "integer" or unbounded:
        return InputError("{name} in this link cannot be {text!r}. Correct the link.", name=name, text=text)
    return InputError(
        "{name} in this link must be a whole number {bounds}, not {text!r}. Correct the link.",
        name=name,
        bounds=_bounds(0 if option.optional and option.name != "limit" else option.least, option.cap),
        text=text,
    )


def _in_form(option: Option, value: Any) -> InputError:
    name, kind = option.name, Message(KINDS[option.kind])
    wanted: tuple[type, ...] = {"integer": (int,), "number": (int, float), "flag": (bool,)}.get(option.kind, (str,))
    if not isinstance(value, wanted) or (isinstance(value, bool) and option.kind != "flag"):
        return InputError(
            "{name} takes {kind}, not {value}.{hint}",
            name=name,
            kind=kind,
            value=json.dumps(value, ensure_ascii=False, default=str)[:100],
            hint=Message(" Write it without quotation marks.") if isinstance(value, str) else "",
        )
    if isinstance(value, str):
        if option.traits.multiline:
            return InputError(
                "{name} has {count:,} characters; it takes at most {most:,}.",
                name=name,
                count=len(value),
                most=option.cap,
            )
        return InputError("{name} takes at most {most} characters in one line.", name=name, most=option.cap)
    if isinstance(value, float) and not math.isfinite(value):
        return InputError("{name} takes a finite number, not {value}.", name=name, value=value)
    least = option.least
    if option.traits.from_protocol and option.kind == "integer":
        least = -1
    elif option.optional or option.kind == "number":
        least = 0
    bounds = _bounds(least, option.cap)
    quoted = str(value)[:50]
    return InputError("{name} takes {kind} {bounds}, not {value}.", name=name, kind=kind, bounds=bounds, value=quoted)


def _bounds(least: float | None, most: float | None) -> Message:
    if most is not None:
        return Message("from {least} to {most:,}", least=least or 0, most=most)
    return Message("of at least {least}", least=least or 0)
