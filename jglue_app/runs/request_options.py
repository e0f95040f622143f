"""Fields of a request as options: what the command line, the page, links, forms and programs need to know of each.

A field says its type, default, bounds, title and help to pydantic (`Field`), and everything else in a `Traits` beside
it. `options` gives both together; the surfaces are built of that, so that a new field is a new option of all of them.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from jglue_app.errors import InputError

Kind = Literal["text", "integer", "number", "flag", "tasks", "by task"]
"""What a value is: `tasks` are names of subsets, `by task` pairs of a subset and its number."""
Surface = Literal["program", "page", "link", "form"]
"""Where a value came from. `program` is the command line and Python; the others are filled in by anybody."""

Panel = Literal["Options", "Questions", "Prompt", "Answering", "Model and machine", "Stored runs and W&B"]
"""A group of options in the help of the command line."""

MAX_NAME = 500
"""Characters of a text in one line, such as a model's name, that page, links and forms take."""
MAX_WHOLE = 10**18
"""Whole numbers are below it, and above its negative: a stored run with a larger one could not be read again."""
MAX_DIGITS = 30
"""Characters of a number in a link."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Traits:
    """What a field says of itself beside what pydantic knows."""

    choices: Callable[[], Sequence[str]] | None = None
    """Gives the values that exist."""
    by_subset: bool = False
    """Whether each subset has its own of the choices: a request of a program is checked as a whole."""
    panel: Panel = "Options"
    """The group it belongs to in the help of the command line."""
    cap: int | None = None
    """The most that page, links and forms take: of a number its value, of a text its characters."""
    multiline: bool = False
    without: str = ""
    """What holds where it is left out, as an end of the help."""
    from_protocol: bool = False
    """Where a command, program or form leaves it out, the scoring protocol's own system decides."""
    command_default: Any = ...
    """What a command or program without it asks for, where that is not its default."""
    local_only: bool = False
    """It concerns files of this machine: a public server does not take it."""
    in_link: bool = True
    command_prefix: bool = True
    """Whether A's option of `compare` has the prefix `a-`; without it, it is for both unless B has its own."""
    follows_a: Literal["always", "same model", "never"] = "always"
    """When B takes A's value where it has none."""


@dataclass(frozen=True, slots=True)
class Option:
    """A field with its traits."""

    name: str
    kind: Kind
    optional: bool
    """Whether it may be None."""
    default: Any
    title: str
    description: str
    least: float | None
    """Smallest value; None if there is no bound."""
    most: float | None
    traits: Traits

    @property
    def flag(self) -> str:
        """Its name in links and on the command line."""
        return self.name.replace("_", "-")

    @property
    def help(self) -> str:
        """Help of the command line."""
        return (
            f"{self.description}; without it, {self.traits.without}." if self.traits.without else f"{self.description}."
        )

    @property
    def choices(self) -> tuple[str, ...]:
        """The values that exist; empty where any may be given."""
        return tuple(self.traits.choices()) if self.traits.choices else ()

    @property
    def cap(self) -> float | None:
        """The most that page, links and forms take."""
        if self.traits.cap is not None:
            return self.traits.cap
        return MAX_NAME if self.kind == "text" else self.most


KINDS: Mapping[Any, Kind] = {str: "text", int: "integer", float: "number", bool: "flag"}


_known: dict[type, Mapping[str, Option]] = {}


def options(model: type) -> Mapping[str, Option]:
    """Name → option of every field of a request's model that has a title, in their order."""
    if model not in _known:
        of_pydantic: Mapping[str, FieldInfo] = model.__pydantic_fields__  # type: ignore[attr-defined]
        _known[model] = {
            f.name: _option(f.name, of_pydantic[f.name]) for f in fields(model) if of_pydantic[f.name].title
        }
    return _known[model]


def _option(name: str, field: FieldInfo) -> Option:
    bounds: dict[str, float] = {}
    for entry in field.metadata:
        for bound in ("ge", "le"):
            if hasattr(entry, bound):
                bounds[bound] = getattr(entry, bound)
    traits = next((entry for entry in field.metadata if isinstance(entry, Traits)), Traits())
    kind, optional = _kind(field.annotation)
    return Option(
        name,
        kind,
        optional,
        field.default,
        field.title or "",
        field.description or "",
        bounds.get("ge"),
        bounds.get("le"),
        traits,
    )


def _kind(annotation: Any) -> tuple[Kind, bool]:
    if get_origin(annotation) is Annotated:
        return _kind(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        (inner,) = (part for part in get_args(annotation) if part is not type(None))
        return _kind(inner)[0], True
    if get_origin(annotation) is tuple:
        return ("tasks" if get_args(annotation)[0] is str else "by task"), False
    return KINDS[annotation], False


def integral(value: Any) -> Any:
    """A float without a fraction as an integer: JSON has one kind of number, and a slider sends 3 as 3.0."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def none_if_zero(value: Any) -> Any:
    """No value for 0, with which page, links and forms say that there is none."""
    return None if isinstance(value, int | float) and not isinstance(value, bool) and value == 0 else value


# --- values as texts ------------------------------------------------------------------------------------


def as_text(option: Option, value: Any) -> str:
    """A value as the command line and links write it; "" is no value, and 0 no limit on tokens."""
    if value is None:
        return "" if option.kind == "text" else "0"
    if option.kind == "tasks":
        return ",".join(value)
    if option.kind == "by task":
        return ",".join(f"{task}={number}" for task, number in value)
    return str(value).lower() if option.kind == "flag" else str(value)


def of_text(option: Option, text: str) -> Any:
    """The value that a text in a link stands for, its bounds not yet checked.

    Raises:
        ValueError: the text has not the shape of such a value.
    """
    if option.kind == "integer":
        digits = text.removeprefix("-")
        if not (digits.isascii() and digits.isdigit() and len(digits) <= MAX_DIGITS):
            raise ValueError(text)
        return None if option.optional and int(text) == 0 else int(text)
    if option.kind == "number":
        if not text.isascii() or len(text) > MAX_DIGITS or "_" in text:
            raise ValueError(text)
        return None if option.optional and float(text) == 0 else float(text)
    if option.kind == "flag":
        if text not in ("true", "false"):
            raise ValueError(text)
        return text == "true"
    return None if option.optional and not text else text


def split_names(value: Any) -> Any:
    """Names separated by commas as a tuple without repetition; a list as a tuple."""
    if isinstance(value, str):
        value = [name.strip() for name in value.split(",") if name.strip()]
    return tuple(dict.fromkeys(value)) if isinstance(value, list | tuple) and _texts(value) else value


def _texts(values: Sequence[Any]) -> bool:
    return all(isinstance(value, str) for value in values)


def split_by_task(value: Any) -> Any:
    """Pairs such as `jsquad=2,jsts=3` as a tuple of (subset, number).

    Raises:
        InputError: a pair that is none.
    """
    if isinstance(value, Mapping):
        return tuple(value.items())
    if isinstance(value, list | tuple):
        return tuple(tuple(pair) if isinstance(pair, list) else pair for pair in value)
    if not isinstance(value, str):
        return value
    pairs = [pair.strip().partition("=") for pair in value.split(",") if pair.strip()]
    try:
        return tuple((task.strip(), integral(float(number))) for task, _, number in pairs)
    except (ValueError, OverflowError):
        raise InputError(
            "Numbers of single subsets are written as jsquad=2,jsts=3; not as {text!r}.", text=value[:100]
        ) from None
