"""Labels that tell stored runs apart: those of the same label also say in what they differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import PurePosixPath
from typing import Any

from jglue_app.results.library import StoredRun
from jglue_app.runs.serialization import spec_from

MAX_DIFFERENCES = 4
"""Differences that a label names."""
_NAMES = {
    "data_sha256": "data",
    "style_sha256": "style file",
    "model.files_sha256": "model files",
    "code_version": "version",
}
"""Beginning of a setting's path → what a label calls it; others are called as in the spec."""

Settings = tuple[tuple[str, str], ...]
"""(what a label calls a setting, its value as a text) of several settings."""


def distinct_labels(runs: Mapping[str, StoredRun], called: Mapping[str, str] | None = None) -> dict[str, str]:
    """Name → label. Runs of one label get their settings that differ, such as `seed 1`, after it. `called` has the
    labels where they are to be others than the stored ones."""
    labels = {}
    called = called or {name: run.label for name, run in runs.items()}
    for name, settings in differing_settings(runs).items():
        shown = ", ".join(f"{setting} {value}" for setting, value in settings[:MAX_DIFFERENCES])
        more = " …" if len(settings) > MAX_DIFFERENCES else ""
        labels[name] = f"{called[name]} · {shown}{more}" if shown else called[name]
    return labels


def differing_settings(runs: Mapping[str, StoredRun]) -> dict[str, Settings]:
    """Name → settings in which a run differs from others of the same label; none where no other has it."""
    alike: dict[str, list[str]] = {}
    for name, run in runs.items():
        alike.setdefault(run.label, []).append(name)
    found: dict[str, Settings] = {}
    for names in alike.values():
        differences = _differences([runs[name] for name in names]) if len(names) > 1 else [()]
        found |= dict(zip(names, differences, strict=True))
    return {name: found[name] for name in runs}


def _differences(runs: Sequence[StoredRun]) -> list[Settings]:
    settings = [_settings(run) for run in runs]
    keys = dict.fromkeys(key for each in settings for key in each)
    values = {key: [each.get(key) for each in settings] for key in keys}
    differing = [key for key, found in values.items() if len({repr(value) for value in found}) > 1]
    readable = [key for key in differing if "sha256" not in key]
    texts = _texts(readable, values, len(runs))
    # A checksum says little to people: it stands only where nothing else tells the runs apart.
    shown = {one[:MAX_DIFFERENCES] for one in texts}
    return texts if len(shown) == len(texts) else _texts(differing, values, len(runs))


def _texts(keys: Sequence[str], values: Mapping[str, Sequence[Any]], count: int) -> list[Settings]:
    parts: list[list[tuple[str, str]]] = [[] for _ in range(count)]
    for key in keys:
        name = setting_name(key)
        shortened = [(_place if key == "model.id" else _text)(value) for value in values[key]]
        if len(set(shortened)) == 1:
            continue
        for mine, value, text in zip(parts, values[key], shortened, strict=True):
            shown = name, text
            # What is not set, and a long list of subsets, says less than it takes room.
            if value is not None and not (key == "tasks" and len(value) > 2) and shown not in mine:
                mine.append(shown)
    return [tuple(mine) for mine in parts]


def _settings(run: StoredRun) -> dict[str, Any]:
    """Path of a setting → its value, those at their defaults among them, which older manifests do not name."""
    try:
        return dict(flat(asdict(spec_from(run.spec))))
    except (KeyError, TypeError, ValueError):
        return dict(flat(run.spec))


def setting_name(path: str) -> str:
    """What a label calls the setting at a path of the spec, such as `shot seed` for `prompt.shot_seed`."""
    name = next((called for start, called in _NAMES.items() if path.startswith(start)), path.rsplit(".", 1)[-1])
    return name.replace("_", " ")


def flat(table: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """(path, value) of every value of nested tables."""
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{before}{key}.")
        else:
            yield f"{before}{key}", value


def _place(id_: Any) -> str:
    """Where the model of an id is: models of one label have the same name in different folders, or of other owners."""
    place = PurePosixPath(str(id_).replace("\\", "/")).parent.name
    return f"{_text(place)}/…" if place else _text(id_)


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        texts = [_text(one) for one in value]
        return "+".join(texts) or "–"
    text = str(value)
    return text if len(text) <= 20 else text[:8] + "…"
