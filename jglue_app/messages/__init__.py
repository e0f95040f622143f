"""Sentences for people: an English template and its values, which can be said in another language.

    raise InputError("At most {max_items:,} items of a subset can be run here.", max_items=settings.max_items)
    notify(Message("Loading {model}.", model=spec.id))

A `Message` is the English text, so it can be printed, logged and stored as any text. `say` gives the same sentence in
another language: the template is looked up in GNU gettext catalogues (`messages/<language>/*.po`, read with Babel) and
filled with the same values. A value may itself be a message.

Templates are filled as `str.format` does; one without values is taken as it is, braces included. To add a sentence,
write it where it is raised and add its entry to the catalogue of the room; `tests/messages/` names what is missing.
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
        # An error as a value is its message: neither its traceback nor what that refers to is kept.
        kept = {name: of(value) if isinstance(value, BaseException) else value for name, value in values.items()}
        return cls._of(template.format_map(values) if values else template, template, kept)

    @classmethod
    def worded(cls, english: str, template: str, values: Mapping[str, object]) -> Self:
        """A message whose English is worded otherwise than its template, such as "1 item" for "{n} items".

        Args:
            english: what is filled in English.
            template: the key of the catalogues.
            values: of both.
        """
        return cls._of(english.format_map(values) if values else english, template, values)

    @classmethod
    def _of(cls, text: str, template: str, values: Mapping[str, object]) -> Self:
        self = super().__new__(cls, text)
        self.template = template
        self.values = values
        return self

    def __reduce__(self) -> tuple[Callable[..., Message], tuple[Any, ...]]:
        return Message._of, (str(self), self.template, dict(self.values))


class Joined(Message):
    """Several messages or texts after one another, such as the items of a list."""

    __slots__ = ("parts",)

    parts: tuple[str, ...]

    def __new__(cls, separator: str, parts: Iterable[str]) -> Self:
        """Put a separator, which is itself looked up in the catalogue, between the parts."""
        parts = tuple(parts)
        self = cls._of(separator.join(parts), separator, {})
        self.parts = parts
        return self

    def __reduce__(self) -> tuple[Callable[..., Message], tuple[Any, ...]]:
        return Joined, (self.template, self.parts)


def mark(template: str) -> str:
    """The template as it is: tells the extractor that a text in a table is one."""
    return template


def of(error: BaseException) -> str:
    """The text of an error: the message that it was raised with, where there is one."""
    if isinstance(message := getattr(error, "message", None), Message):
        return message
    return error.args[0] if error.args and isinstance(error.args[0], Message) else str(error)


def say(text: str, lang: str) -> str:
    """A message in one language; in English if it is a plain text, or the catalogue has no entry that can be filled."""
    if lang == "en" or not isinstance(text, Message):
        return str(text)
    entry = catalogue(lang).get((None, text.template))
    if isinstance(text, Joined):
        return (text.template if entry is None else entry).join(say(part, lang) for part in text.parts)
    if entry is None and not any(isinstance(value, Message) for value in text.values.values()):
        return str(text)
    template = text.template if entry is None else entry
    if not text.values:
        return template
    values = {name: say(value, lang) if isinstance(value, Message) else value for name, value in text.values.items()}
    try:
        return template.format_map(values)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):  # A damaged catalogue.
        return str(text)


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


def word(key: str, lang: str, default: str | None = None) -> str:
    """A label or text of the page; where the catalogue lacks it, in English.

    Args:
        key: a key of `LABELS`.
        lang: a language.
        default: stands in for a label that there is not, such as one of a subset that was added; without it, an unknown
            key raises KeyError.
    """
    if default is not None and key not in LABELS:
        return default
    english = LABELS[key]
    return english if lang == "en" else catalogue(lang).get((key, english), english)


@cache
def table(lang: str) -> Mapping[str, str]:
    """All labels in one language, by key."""
    return {key: word(key, lang) for key in LABELS}


def listed(names: Iterable[str], lang: str) -> str:
    """Names one after another, as a language separates them."""
    return say(Joined(", ", names), lang)


def named(name: str, text: str, lang: str) -> str:
    """A name and what belongs to it, with the colon of a language."""
    return word("named", lang).format(name, text)


def bracketed(text: str, more: str, lang: str) -> str:
    """A text with more behind it in the brackets of a language."""
    return word("in_brackets", lang).format(text, more)


def as_json(text: str) -> Any:
    """A message as a value that JSON can carry to another process; a plain text as it is."""
    if isinstance(text, Joined):
        return {"separator": text.template, "parts": [as_json(part) for part in text.parts]}
    if not isinstance(text, Message):
        return str(text)
    values = {name: _json_value(value) for name, value in text.values.items()}
    return {"text": str(text), "template": text.template, "values": values}


def _json_value(value: object) -> Any:
    """Numbers keep their type, for the format that the template gives them; what JSON lacks becomes a text."""
    if isinstance(value, str):
        return as_json(value)
    return value if value is None or isinstance(value, (bool, int, float)) else str(value)


def from_json(value: Any) -> str:
    """The reverse of `as_json`: the same English text, in other languages what the template gives with the values."""
    if isinstance(value, str):
        return value
    if "separator" in value:
        return Joined(value["separator"], map(from_json, value["parts"]))
    values = {name: from_json(v) if isinstance(v, (str, dict)) else v for name, v in value["values"].items()}
    return Message._of(value["text"], value["template"], values)
