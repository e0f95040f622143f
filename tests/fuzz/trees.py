"""JSON values of the wrong shape, and their bytes: mutations of valid documents."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from tests.fuzz.texts import ODD, hypothesis_texts
from tests.fuzz.texts import mutated as text_mutated

DEEP: list[Any] = []
for _ in range(60):
    DEEP = [DEEP]

VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 5, 0.5, -0.0, 2**31, 2**63, -(2**63), 10**30, 10**309, 1e308, 5e-324),
    *(
        float("nan"),
        float("inf"),
        float("-inf"),
        "",
        "a",
        "0",
        "1",
        "nan",
        "null",
        "../../etc/passwd",
        "\ud800",
        "a\0b",
    ),
    *([], [[]], [None], [1, "a"], ["a"], {}, {"": None}, {"a": 1}, DEEP, "x" * 3_000, list(range(300)), "1e999"),
)
"""What stands in the place of a value."""
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32", "cp932", "euc_jp", "iso2022_jp", "latin-1", "utf-7")


def tree_maker(examples: Sequence[Any], values: Sequence[Any] = ()) -> Callable[[Random], Any]:
    """A maker of JSON values like the examples, with wrong types, missing and doubled parts."""
    known = (*values, *VALUES)
    plain = [json.dumps(example) for example in examples]

    def make(rng: Random) -> Any:
        if rng.random() < 0.02:
            return copy.deepcopy(rng.choice(known))
        tree = json.loads(rng.choice(plain))
        for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
            tree = mutated(rng, tree, known)
        return tree

    return make


def mutated(rng: Random, tree: Any, values: Sequence[Any]) -> Any:
    """The tree with one place changed, in place where it can be."""
    places = _places(tree)
    if not places:
        return _value(rng, values)
    parent, key = rng.choice(places)
    # Half of the changes leave the shape as it is, so that more than the check of types is tried.
    if rng.random() < 0.5 and isinstance(parent[key], str | int | float):
        parent[key] = _changed(rng, parent[key])
        return tree
    match rng.randrange(8):
        case 0:
            del parent[key]
        case 1 if isinstance(parent, dict):
            parent[rng.choice((*ODD, *map(str, parent), "x"))] = parent.pop(key)
        case 2:
            parent[key] = [parent[key]]
        case 3:
            parent[key] = {"a": parent[key]}
        case 4 if isinstance(parent, list):
            parent.insert(key, copy.deepcopy(parent[key]))
        case 5:
            other, its = rng.choice(places)
            parent[key] = copy.deepcopy(other[its]) if _is_there(other, its) else None
        case _:
            parent[key] = _value(rng, values)
    return tree


def _changed(rng: Random, value: str | float) -> str | float:
    """Another value of the same type."""
    if isinstance(value, str):
        return text_mutated(rng, value, ODD) if rng.random() < 0.8 else rng.choice(hypothesis_texts())
    if isinstance(value, bool):
        return not value
    return type(value)(rng.choice((0, 1, -1, value + 1, -value, value * 10)))


def _is_there(parent: Any, key: Any) -> bool:
    return key in parent if isinstance(parent, dict) else key < len(parent)


def _value(rng: Random, values: Sequence[Any]) -> Any:
    if rng.random() < 0.1:
        return rng.choice(hypothesis_texts())
    return copy.deepcopy(rng.choice(values))


def _places(tree: Any, most: int = 3_000) -> list[tuple[Any, Any]]:
    """Every (container, key) of a tree, the outermost first."""
    found: list[tuple[Any, Any]] = []
    queue = [tree]
    while queue and len(found) < most:
        node = queue.pop(0)
        keys = list(node) if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ()
        for key in keys:
            found.append((node, key))
            if isinstance(node[key], dict | list):
                queue.append(node[key])
    return found


def json_maker(
    examples: Sequence[Any], *, lines: bool = False, values: Sequence[Any] = ()
) -> Callable[[Random], bytes]:
    """A maker of the bytes of JSON files, or with `lines` of files with one object a line, sound and unsound ones."""
    tree = tree_maker(examples, values)

    def make(rng: Random) -> bytes:
        # Surrogates are escaped: a file in UTF-8 cannot hold them otherwise.
        if lines:
            rows = [json.dumps(tree(rng)) for _ in range(rng.choice((1, 1, 2, 4)))]
            text = rng.choice(("\n", "\n", "\n", "\r\n", "\n\n", " ", "\u2028")).join(rows) + rng.choice(("\n", ""))
        else:
            text = json.dumps(tree(rng), indent=rng.choice((None, None, 1)))
        if rng.random() < 0.25:
            text = _unsound(rng, text)
        encoding = "utf-8" if rng.random() < 0.85 else rng.choice(ENCODINGS)
        return text.encode(encoding, "replace")

    return make


def _unsound(rng: Random, text: str) -> str:
    """Text that is JSON no longer, or JSON that few writers make."""
    start = rng.randint(0, len(text))
    match rng.randrange(10):
        case 0:
            return text[:start]
        case 1:
            return text[:start] + rng.choice(ODD) + text[start:]
        case 2:
            return text.replace("{", '{"a": 1, "a": 2, ', 1)
        case 3:
            depth = rng.choice((10, 900, 1_100, 5_000))
            return text.replace(":", ":" + "[" * depth + "]" * depth + ', "x":', 1)
        case 4:
            return rng.choice(('{"a":', "[")) * rng.choice((100, 2_000, 5_000))
        case 5:
            return text.replace("1", rng.choice(("9" * 5_000, "NaN", "Infinity", "1e999", "-0", "01")), 1)
        case 6:
            return text.replace('"', "'")
        case 7:
            return text.replace('": "', '": "\\ud800', 1)
        case 8:
            return text + text
        case _:
            return text[:start] + text[start + rng.randint(1, 5) :]
