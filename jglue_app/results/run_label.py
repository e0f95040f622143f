"""Labels that tell stored runs apart: those of the same label also say in what they differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from jglue_app.results.library import StoredRun
from jglue_app.runs.serialization import spec_from

MAX_DIFFERENCES = 4
"""Differences that a label names."""
_NAMES = {"limit": "limit", "data_sha256": "data", "style_sha256": "style file", "code_version": "version"}
"""Beginning of a setting's path → what a label calls it; others are called as in the spec."""


def distinct_labels(runs: Mapping[str, StoredRun]) -> dict[str, str]:
    """Name → label. Runs of one label get their settings that differ, such as `seed 1`, after it."""
    alike: dict[str, list[str]] = {}
    for name, run in runs.items():
        alike.setdefault(run.label, []).append(name)
    labels = {}
    for label, names in alike.items():
        differences = _differences([runs[name] for name in names]) if len(names) > 1 else [""] * len(names)
        for name, difference in zip(names, differences, strict=True):
            labels[name] = f"{label} · {difference}" if difference else label
    return {name: labels[name] for name in runs}


def _differences(runs: Sequence[StoredRun]) -> list[str]:
    settings = [_settings(run) for run in runs]
    keys = dict.fromkeys(key for each in settings for key in each)
    values = {key: [each.get(key) for each in settings] for key in keys}
    differing = [key for key, found in values.items() if len({repr(value) for value in found}) > 1]
    readable = [key for key in differing if "sha256" not in key]
    texts = _texts(readable, values, len(runs))
    # A checksum says little to people: it stands only where nothing else tells the runs apart.
    return texts if len(set(texts)) == len(texts) else _texts(differing, values, len(runs))


def _texts(keys: Sequence[str], values: Mapping[str, Sequence[Any]], count: int) -> list[str]:
    parts: list[list[str]] = [[] for _ in range(count)]
    for key in keys:
        name = next((called for start, called in _NAMES.items() if key.startswith(start)), key.rsplit(".", 1)[-1])
        for mine, value in zip(parts, values[key], strict=True):
            shown = f"{name.replace('_', ' ')} {_text(value)}"
            # What is not set, and a long list of subsets, says less than it takes room.
            if value is not None and not (key == "tasks" and len(value) > 2) and shown not in mine:
                mine.append(shown)
    return [", ".join(mine[:MAX_DIFFERENCES]) + (" …" if len(mine) > MAX_DIFFERENCES else "") for mine in parts]


def _settings(run: StoredRun) -> dict[str, Any]:
    """Path of a setting → its value, those at their defaults among them, which older manifests do not name."""
    try:
        return dict(_flat(asdict(spec_from(run.spec))))
    except (KeyError, TypeError, ValueError):
        return dict(_flat(run.spec))


def _flat(table: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{key}.")
        else:
            yield f"{before}{key}", value


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        texts = [_text(one) for one in value]
        return "+".join(texts) or "–"
    text = str(value)
    return text if len(text) <= 20 else text[:8] + "…"
