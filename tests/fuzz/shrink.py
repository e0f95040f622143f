"""A smaller input that fails alike."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from typing import Any

MOST_SECONDS = 5.0


def shrunk(made: Any, fails: Callable[[Any], bool]) -> Any:
    """The input, with everything left out without which it still fails; searched for at most `MOST_SECONDS`."""
    end = time.monotonic() + MOST_SECONDS
    if isinstance(made, str | bytes):
        return _shorter(made, fails, end)
    if isinstance(made, tuple):
        parts = list(made)
        for k in range(len(parts)):

            def fails_with(part: Any, k: int = k) -> bool:
                return fails((*parts[:k], part, *parts[k + 1 :]))

            parts[k] = shrunk(parts[k], fails_with)
        return tuple(parts)
    if isinstance(made, dict | list):
        return _pruned(made, fails, end)
    return made


def _shorter(made: Any, fails: Callable[[Any], bool], end: float) -> Any:
    step = max(1, len(made) // 2)
    while step >= 1 and time.monotonic() < end:
        start = 0
        while start < len(made) and time.monotonic() < end:
            shorter = made[:start] + made[start + step :]
            if fails(shorter):
                made = shorter
            else:
                start += step
        step //= 2
    return made


def _pruned(made: Any, fails: Callable[[Any], bool], end: float) -> Any:
    done = False
    while not done and time.monotonic() < end:
        done = True
        for path in _paths(made):
            smaller = copy.deepcopy(made)
            node = smaller
            for key in path[:-1]:
                node = node[key]
            del node[path[-1]]
            if time.monotonic() < end and fails(smaller):
                made, done = smaller, False
                break
    return made


def _paths(node: Any, before: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    keys = list(node) if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ()
    found: list[tuple[Any, ...]] = []
    for key in keys:
        path = (*before, key)
        found.append(path)
        if len(path) < 20:
            found += _paths(node[key], path)
    return found
