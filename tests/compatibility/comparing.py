"""What has to stay of an answer: every key and every value, with nothing lost from a list. Keys may be added,
and protocols."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

SENTENCES = ("because", "settings", "about", "before", "after")
"""Keys of sentences for people, whose words may change; under some of them numbers stand too, which may not."""

CORRECTED = "needed"
"""The number of items that would confirm a difference: in what is stored that of its test alone, now that of the test
after the correction over the subsets, by which the verdict is given. It cannot become smaller by that."""


def differences(old: Any, new: Any, at: str = "") -> Iterator[str]:
    """Places where a new answer lacks something of an old one, or says something else."""
    if isinstance(old, dict) and isinstance(new, dict):
        is_notice = {"kind", "text"} <= set(old) and set(old) <= {"kind", "task", "text", "facts", "level"}
        for key, value in old.items():
            if key not in new:
                yield f"{at}/{key} is missing"
            elif isinstance(value, str) and (key in SENTENCES or (is_notice and key == "text")):
                if not isinstance(new[key], str) or not new[key]:
                    yield f"{at}/{key} is no sentence"
            elif key.rpartition("/")[2] == CORRECTED and type(value) is type(new[key]) is int:
                if new[key] < value:
                    yield f"{at}/{key} is {new[key]} instead of {value}"
            else:
                yield from differences(value, new[key], f"{at}/{key}")
    elif isinstance(old, list) and isinstance(new, list) and _is_by_protocol(old) and _is_by_protocol(new):
        yield from differences({row["protocol"]: row for row in old}, {row["protocol"]: row for row in new}, at)
    elif isinstance(old, list) and isinstance(new, list):
        if len(old) != len(new):
            yield f"{at} has {len(new)} entries instead of {len(old)}"
        for number, (x, y) in enumerate(zip(old, new, strict=False)):
            yield from differences(x, y, f"{at}/{number}")
    elif old != new or isinstance(old, bool) != isinstance(new, bool):
        yield f"{at} is {new!r} instead of {old!r}"


def _is_by_protocol(rows: list[Any]) -> bool:
    """Whether there is one row for each of some protocols, which may become more."""
    names = [row.get("protocol") if isinstance(row, dict) else None for row in rows]
    return len(rows) > 1 and None not in names and len(set(names)) == len(names)
