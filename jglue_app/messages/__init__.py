"""Sentences for people: an English template and its values, which can be said in another language.

    raise InputError("At most {most:,} items of a subset can be asked for here.", most=settings.max_items)
    notify(Message("Loading {model}.", model=spec.id))

A `Message` is the English text, so it can be printed, logged and stored as any text. `say` gives the same sentence in
another language: the template is looked up in GNU gettext catalogues (`messages/<language>/*.po`, read with Babel) and
filled with the same values. A value may itself be a message.

Templates are filled as `str.format` does; one without values is taken as it is, braces included.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Self

from jglue_app.messages.labels import LABELS

LANGUAGES = ("ja", "en")
"""English is the language of the templates; every other has a folder with catalogues."""
FOLDER = Path(__file__).parent


class Message(str):
    """An English sentence, or a part of one, that remembers its template and values."""

    __slots__ = ("template", "values")

    template: str
    """The English text with `{name}` for each value; the key of the catalogues."""
    values: Mapping[str, object]

    def __new__(cls, template: str, /, **values: object) -> Self:
        """Fill the template; raises KeyError if a value is missing."""
        self = super().__new__(cls, template.format_map(values) if values else template)
        self.template = template
        self.values = values
        return self

    def __reduce__(self) -> tuple[Callable[..., Message], tuple[str, Mapping[str, object]]]:
        return _message, (self.template, dict(self.values))


class Joined(Message):
    """Several messages or texts after one another, such as the items of a list."""

    __slots__ = ("parts",)

    parts: tuple[str, ...]

    def __new__(cls, separator: str, parts: Iterable[str]) -> Self:
        """Put a separator, which is itself looked up in the catalogue, between the parts."""
        parts = tuple(parts)
        self = str.__new__(cls, separator.join(parts))
        self.template, self.values, self.parts = separator, {}, parts
        return self

    def __reduce__(self) -> tuple[Callable[..., Message], tuple[Any, ...]]:
        return Joined, (self.template, self.parts)


def _message(template: str, values: Mapping[str, object]) -> Message:
    return Message(template, **values)


def mark(template: str) -> str:
    """The template as it is: tells the extractor that a text in a table is one."""
    return template


def of(error: BaseException) -> str:
    """What an error says: its message, where it was raised with one."""
    if isinstance(message := getattr(error, "message", None), Message):
        return message
    return error.args[0] if error.args and isinstance(error.args[0], Message) else str(error)


def say(text: str, lang: str) -> str:
    """A message in one language; a text that is none, or that the catalogue lacks, in English."""
    if lang == "en" or not isinstance(text, Message):
        return str(text)
    entry = catalogue(lang).get((None, text.template), text.template)
    if isinstance(text, Joined):
        return entry.join(say(part, lang) for part in text.parts)
    if not text.values:
        return entry
    values = {name: say(value, lang) if isinstance(value, str) else value for name, value in text.values.items()}
    return entry.format_map(values)


@cache
def catalogue(lang: str) -> Mapping[tuple[str | None, str], str]:
    """(context, English template) → template in a language, of all its catalogues, without empty and fuzzy entries."""
    from babel.messages.pofile import read_po

    entries: dict[tuple[str | None, str], str] = {}
    for path in sorted((FOLDER / lang).glob("*.po")):
        with path.open("rb") as file:
            for entry in read_po(file, locale=lang):
                if entry.id and entry.string and not entry.fuzzy:
                    entries[entry.context, str(entry.id)] = str(entry.string)
    return entries


def word(key: str, lang: str) -> str:
    """A label or text of the page; raises KeyError for an unknown key. Where the catalogue lacks it, in English."""
    english = LABELS[key]
    return english if lang == "en" else catalogue(lang).get((key, english), english)


@cache
def table(lang: str) -> Mapping[str, str]:
    """All labels in one language, by key."""
    return {key: word(key, lang) for key in LABELS}


def as_json(text: str) -> Any:
    """A message as a value that JSON can carry to another process; a plain text as it is."""
    if isinstance(text, Joined):
        return {"separator": text.template, "parts": [as_json(part) for part in text.parts]}
    if not isinstance(text, Message):
        return str(text)
    values = {name: as_json(value) if isinstance(value, str) else value for name, value in text.values.items()}
    return {"template": text.template, "values": values}


def from_json(value: Any) -> str:
    """The reverse of `as_json`."""
    if isinstance(value, str):
        return value
    if "separator" in value:
        return Joined(value["separator"], map(from_json, value["parts"]))
    values = {name: from_json(v) if isinstance(v, (str, dict)) else v for name, v in value["values"].items()}
    return Message(value["template"], **values)
