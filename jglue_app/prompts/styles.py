"""Wording styles: the words of a prompt as data, one TOML file for all subsets.

Those under `assets/prompts/` go by name; a user's own file goes by its path.
"""

from __future__ import annotations

import codecs
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

from jglue_app.data.toml_text import load_toml
from jglue_app.errors import StyleError, UnknownNameError, reason_of
from jglue_app.messages import Joined, Message, of
from jglue_app.settings import ASSETS
from jglue_app.tasks import TASKS
from jglue_app.types import Task

STYLE_DIR = ASSETS / "prompts"
MAX_STYLE_BYTES = 200_000


@dataclass(frozen=True, slots=True)
class TaskStyle:
    """The words of one subset in one style."""

    instruction: str
    """What to do, said once before everything else."""
    question: Template
    """Layout of one item; names the item's fields as `$sentence1`."""
    cue: str
    """What stands before the answer in formats without turns, e.g. `答え：`."""
    answers: Mapping[str, Template]
    """Canonical label → how it is to be answered; empty for open answers."""
    stop: tuple[str, ...]
    """Strings that end an answer."""
    max_new_tokens: int
    """Tokens an answer may take."""
    close: str = ""
    """What stands after the answer of a solved example, such as the bracket that the cue has opened."""


@dataclass(frozen=True, slots=True)
class Style:
    """A wording style."""

    name: str
    title: str
    note: str
    """For learners, in Japanese."""
    tasks: Mapping[str, TaskStyle]
    sha256: str
    """Checksum of the file."""

    def of(self, task: str) -> TaskStyle:
        """The words for one subset.

        Raises:
            StyleError: the style has none.
        """
        if task not in self.tasks:
            raise StyleError(
                "The style {style!r} has no section [{task}]. Add one, or leave the subset out.",
                style=self.name,
                task=task,
            )
        return self.tasks[task]


def style_names() -> list[str]:
    """Names of the styles that come with the application."""
    return sorted(path.stem for path in STYLE_DIR.glob("*.toml"))


def load_style(name: str, *, allow_paths: bool = True) -> Style:
    """Read a style by name, or by the path of a TOML file.

    Raises:
        UnknownNameError: no such style.
        StyleError: the file cannot be used; the message names the section and key.
    """
    path = STYLE_DIR / f"{name}.toml"
    if name not in style_names():
        path = Path(name)
        if not (allow_paths and name.endswith(".toml")):
            hint = Message("Or give the path of your own .toml file.") if allow_paths else ""
            raise UnknownNameError("style", name, style_names(), hint)
        if not path.is_file():
            raise StyleError(
                "There is no style file {name}. Known styles: {known}.",
                name=name,
                known=Joined(", ", style_names()),
            )
    try:
        raw = path.read_bytes()
        if len(raw) > MAX_STYLE_BYTES:
            raise StyleError(
                "{path}: larger than {max_bytes:,} bytes; a style is a page of text.",
                path=path,
                max_bytes=MAX_STYLE_BYTES,
            )
        # A text in UTF-16 says so in its first bytes.
        encoding = "utf-16" if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
        table = load_toml(raw.decode(encoding))
    except OSError as e:
        raise StyleError(
            "{path}: cannot be read ({reason}). Give the path of a readable file.", path=path, reason=reason_of(e)
        ) from e
    except ValueError as e:
        raise StyleError("{path}: not a TOML file in UTF-8 ({reason}).", path=path, reason=of(e)) from e
    _only_known(table, {"title", "note", *TASKS}, path, Message("top level"))
    return Style(
        name=path.stem,
        title=_text(table, "title", path, Message("top level")),
        note=_text(table, "note", path, Message("top level")),
        tasks={name: _task_style(task, table[name], path) for name, task in TASKS.items() if name in table},
        sha256=hashlib.sha256(raw).hexdigest(),
    )


def _task_style(task: Task, table: Any, path: Path) -> TaskStyle:
    where = f"[{task.name}]"
    if not isinstance(table, dict):
        raise StyleError("{path}: {where} must be a table.", path=path, where=where)
    _only_known(table, {"instruction", "question", "cue", "close", "stop", "max_new_tokens", "answers"}, path, where)
    stop = table.get("stop", [])
    if not isinstance(stop, list) or not all(isinstance(s, str) and s for s in stop):
        raise StyleError("{path}: {where} stop must be a list of non-empty texts.", path=path, where=where)
    tokens = table.get("max_new_tokens")
    if not isinstance(tokens, int) or isinstance(tokens, bool) or not 1 <= tokens <= 4096:
        raise StyleError(
            "{path}: {where} max_new_tokens must be a whole number from 1 to 4096.", path=path, where=where
        )
    given = table.get("answers", {})
    if not isinstance(given, dict) or set(given) != set(task.labels):
        if not task.labels:
            raise StyleError("{path}: [{task}.answers] must name exactly nothing.", path=path, task=task.name)
        raise StyleError(
            "{path}: [{task}.answers] must name exactly {labels}.",
            path=path,
            task=task.name,
            labels=Joined(", ", task.labels),
        )
    answers = {label: _template(given, label, task, path, f"[{task.name}.answers]") for label in task.labels}
    if len({t.template for t in answers.values()}) != len(answers):
        raise StyleError("{path}: [{task}.answers] uses one text for two labels.", path=path, task=task.name)
    for key in ("cue", "close"):
        if not isinstance(table.get(key, ""), str):
            raise StyleError("{path}: {where} {key} must be text.", path=path, where=where, key=key)
    return TaskStyle(
        instruction=_text(table, "instruction", path, where),
        question=_template(table, "question", task, path, where),
        cue=table.get("cue", ""),
        answers=answers,
        stop=tuple(stop),
        max_new_tokens=tokens,
        close=table.get("close", ""),
    )


def _only_known(table: Mapping[str, Any], known: set[str], path: Path, where: str) -> None:
    """A misspelt key would otherwise be left out without a word."""
    unknown = sorted(set(table) - known)
    if unknown:
        raise StyleError(
            "{path}: {where} has {unknown}, which means nothing. Known: {known}.",
            path=path,
            where=where,
            unknown=Joined(", ", unknown),
            known=Joined(", ", sorted(known)),
        )


def _text(table: Mapping[str, Any], key: str, path: Path, where: str) -> str:
    value = table.get(key)
    if not isinstance(value, str) or not value.strip():
        raise StyleError("{path}: {where} needs a text {key!r}.", path=path, where=where, key=key)
    return value.strip("\n")


def _template(table: Mapping[str, Any], key: str, task: Task, path: Path, where: str) -> Template:
    template = Template(_text(table, key, path, where))
    if not template.is_valid():
        raise StyleError(
            "{path}: {where} {key!r} has a stray $; write $$ for a dollar sign.", path=path, where=where, key=key
        )
    unknown = set(template.get_identifiers()) - set(task.fields)
    if unknown:
        raise StyleError(
            "{path}: {where} {key!r} names ${unknown}; {task} has ${fields}.",
            path=path,
            where=where,
            key=key,
            unknown=", $".join(sorted(unknown)),
            task=task.title,
            fields=", $".join(task.fields),
        )
    return template
