"""Paths of this machine in what is sent to others: their last part alone.

A run's folder stays as it is wherever it goes, since its id is made of what it holds, the path of a model among it;
`folder_notice` tells of it.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PureWindowsPath
from typing import Any

from jglue_app.grid.members import StoredGrid
from jglue_app.messages import Joined, Message
from jglue_app.types import RunSpec

PROMPT_WORDS = ("system", "prefix")
"""Values and factors that are texts of a prompt, which are no paths whatever they look like: `/no_think`."""
_IN_TEXT = re.compile(
    # From the root, the home folder, a drive or a share. Not within a word, an address or another path, and not what a
    # request went to.
    r"(?<!GET )(?<!POST )(?<!PUT )(?<!DELETE )(?<!HEAD )(?<!PATCH )"
    r"(?<![\w:/\\.~-])(?:~|[A-Za-z]:|\\)?[/\\]"
    r"(?:[^\s/\\'\"`<>|:,;()（）「」、。]+[/\\])+(?P<last>[^\s/\\'\"`<>|:,;()（）「」、。]*)"
)


def is_local_path(text: str) -> bool:
    """Whether a text as a whole is a path that says where something is on this machine: no Hub id, and no name."""
    parts = re.split(r"[/\\]", text)
    # What follows the root directly tells nothing of this machine, and may be no path at all.
    is_absolute = Path(text).is_absolute() and len([part for part in parts if part]) > 1
    starts = text.startswith("~") or is_absolute or PureWindowsPath(text).drive != ""
    return len(parts) > 1 and "://" not in text and (starts or parts[0] in (".", ".."))


def last_part(text: str) -> str:
    """The last part of a text that is a local path; any other as it is."""
    return re.split(r"[/\\]", text.rstrip("/\\"))[-1] if is_local_path(text) else text


def shareable(text: str) -> str:
    """A sentence in English without the folders of paths: of a message, those of its values, whatever they hold."""
    if isinstance(text, Joined):
        return text.template.join(map(shareable, text.parts))
    if isinstance(text, Message) and text.values:
        values = {name: _shareable_value(value) for name, value in text.values.items()}
        with contextlib.suppress(ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
            # Its English may be worded otherwise, and a stored value may be of another type than its format takes.
            if text.template.format_map(text.values) == str(text):
                text = text.template.format_map(values)
    return _IN_TEXT.sub(lambda match: match["last"] or "…", str(text))


def _shareable_value(value: object) -> object:
    if isinstance(value, Path):
        return value.name
    return last_part(shareable(value)) if isinstance(value, Message) else _plain(value)


def _plain(value: object) -> object:
    return last_part(value) if isinstance(value, str) else value


def shareable_values(value: Any) -> Any:
    """Plain values, however nested, whose texts that are local paths are their last parts."""
    if isinstance(value, Mapping):
        return {key: one if key in PROMPT_WORDS else shareable_values(one) for key, one in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [shareable_values(one) for one in value]
    return _plain(value)


def folder_notice(spec: RunSpec) -> Message | None:
    """That the folder of a run, which goes along as it is, names local paths: of its model, its adapter or its wording
    style; None where it names none."""
    found = [text for text in (spec.model.id, spec.model.adapter or "", spec.prompt.style) if is_local_path(text)]
    if not found:
        return None
    return Message(
        "The run's folder is sent unchanged, because its id is computed from it. It names {paths}; everywhere else "
        "only the last part is sent.",
        paths=Joined(", ", found),
    )


def shareable_spec(spec: RunSpec) -> RunSpec:
    """The same with the last parts alone; its id is another where there are any."""
    adapter = spec.model.adapter
    model = replace(spec.model, id=last_part(spec.model.id), adapter=adapter and last_part(adapter))
    return replace(spec, model=model, prompt=replace(spec.prompt, style=last_part(spec.prompt.style)))


def shareable_grid(grid: StoredGrid) -> StoredGrid:
    """The same with levels that are local paths named by their last parts; where two of a factor would be called alike,
    each with a part of its checksum."""
    names = {
        factor.name: {level: level for level in factor.levels}
        if factor.name in PROMPT_WORDS
        else _short_levels(factor.levels)
        for factor in grid.factors
    }

    def short(factor: str, level: str | None) -> str | None:
        return None if level is None else names.get(factor, {}).get(level, last_part(level))

    return replace(
        grid,
        factors=tuple(replace(f, levels=tuple(names[f.name][level] for level in f.levels)) for f in grid.factors),
        runs=tuple(
            replace(run, levels={factor: short(factor, level) for factor, level in run.levels.items()})
            for run in grid.runs
        ),
    )


def _short_levels(levels: Sequence[str]) -> dict[str, str]:
    short = {level: last_part(level) for level in levels}
    alike = [name for name in short.values() if list(short.values()).count(name) > 1]
    return {
        level: f"{name} #{hashlib.sha256(level.encode()).hexdigest()[:6]}" if name in alike and name != level else name
        for level, name in short.items()
    }
