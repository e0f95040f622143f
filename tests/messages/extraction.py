"""What the sources give to the catalogues: an extractor for Babel that reads calls as Python does.

Babel's own extractor for Python goes by tokens and passes over a call inside the brackets of another, such as the
messages in `Joined(", ", [Message("…"), …])`.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from babel.messages.extract import extract
from babel.messages.pofile import escape

import jglue_app
from jglue_app import errors

APP = Path(jglue_app.__file__).parent
ERRORS = {name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, Exception)}
KEYWORDS: dict[str, Any] = dict.fromkeys({"Message", "mark", "Joined"} | ERRORS)
"""Functions and classes whose first argument is a template."""


@cache
def parsed(path: Path) -> ast.Module:
    """The syntax of a file."""
    return ast.parse(path.read_bytes())


@cache
def _calls(path: Path) -> list[ast.Call]:
    return [node for node in ast.walk(parsed(path)) if isinstance(node, ast.Call)]


def sources() -> list[Path]:
    """Every module of the package."""
    return sorted(APP.rglob("*.py"))


def room(path: Path) -> str:
    """The folder of a module in the package, or the module itself where it is at the top."""
    return path.relative_to(APP).parts[0].removesuffix(".py")


def first_arguments(path: Path, names: Collection[str]) -> Iterator[ast.expr]:
    """First arguments of all calls of some names."""
    for node in _calls(path):
        if node.args:
            function = node.func
            name = function.id if isinstance(function, ast.Name) else getattr(function, "attr", "")
            # A method of that name, such as `mark` of another library, is none of them.
            owner = getattr(getattr(function, "value", None), "id", "messages")
            if name in names and owner in ("messages", "errors"):
                yield node.args[0]


def constants(argument: ast.expr) -> Iterator[ast.Constant]:
    """The texts that an argument may be, where it is a text or a choice of texts."""
    if isinstance(argument, ast.IfExp):
        yield from constants(argument.body)
        yield from constants(argument.orelse)
    elif isinstance(argument, ast.Constant) and isinstance(argument.value, str):
        yield argument


def _python(
    file: Any, keywords: Mapping[str, Any], comment_tags: Collection[str], options: Mapping[str, Any]
) -> Iterator[tuple[int, str, list[str], str | None]]:
    for argument in first_arguments(Path(file.name), keywords):
        for constant in constants(argument):
            # Babel types the extractor otherwise than it calls it.
            yield constant.lineno, "Message", str(constant.value), []  # type: ignore[misc]


@cache
def templates() -> Mapping[str, Mapping[str, int]]:
    """Template → the modules that have it, as paths in the package, with a line of each."""
    found: dict[str, dict[str, int]] = defaultdict(dict)
    for path in sources():
        with path.open("rb") as file:
            for line, template, _, _ in extract(_python, file, KEYWORDS):
                found[str(template)].setdefault(path.relative_to(APP).as_posix(), line)
    return found


def catalogue_entry(english: str, *, module: str = "", key: str = "") -> str:
    """What is to be added to a catalogue for a sentence of a module, or for the label of a key."""
    head = [f"#: {module}"] if module else []
    context = [f"msgctxt {escape(key)}"] if key else []
    return "\n".join([*head, *context, f"msgid {escape(english)}", 'msgstr "…"'])


def no_japanese_yet(catalogue: str, entries: list[str]) -> str:
    """What to do about missing entries of a catalogue."""
    return f"No Japanese yet. Add to jglue_app/messages/ja/{catalogue}.po:\n\n" + "\n\n".join(entries)


def no_longer_used(catalogue: str, entry: str) -> str:
    """What to do about an entry that is left over."""
    return f"Nothing uses this English any more. Remove it from jglue_app/messages/ja/{catalogue}.po: {entry}"
