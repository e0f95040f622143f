"""Thousands of payloads in little room: what occurs more than once is stored once.

Every text, list and table is a node, known by its number; equal ones are the same node. So the examples of a few-shot
prompt, the rows of a protocol and the choices of a subset stand in the file once, however many items show them. A
payload of two languages is one tree: only where the languages differ it has a node with both.

The nodes are stored in blocks, compressed one by one, so that the browser unpacks only the block of the item that is
opened; nodes of more than one block stand in the first.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

LIST, EITHER, FIRST_SHAPE = 0, 1, 2
"""What a node with parts begins with: a list; one of two languages; or the number of a table's keys."""
Node = str | int | float | bool | None | tuple[int, ...]
"""A value without parts, or what it begins with and the numbers of its parts."""


@dataclass(slots=True)
class SharedValues:
    """All nodes of a file."""

    _numbers: dict[object, int] = field(default_factory=dict)
    """What tells a node from all others → its number."""
    _nodes: list[Node] = field(default_factory=list)
    _shapes: dict[tuple[str, ...], int] = field(default_factory=dict)
    """Keys of a table → number of this combination."""
    _blocks: list[list[int]] = field(default_factory=list)
    """The nodes that each block is for."""

    def add(self, ja: Any, en: Any) -> int:
        """The node of a payload in two languages.

        Args:
            ja, en: made of tables, lists, texts, numbers, truth values and None.
        """
        if isinstance(ja, str):
            if isinstance(en, str):
                return self._text(ja) if ja == en else self._composite((EITHER, self._text(ja), self._text(en)))
        elif isinstance(ja, Mapping):
            if isinstance(en, Mapping) and list(ja) == list(en):
                parts = tuple(self.add(ja[key], en[key]) for key in ja)
                return self._composite((self._shape(tuple(map(str, ja))), *parts))
        elif isinstance(ja, list | tuple):
            if isinstance(en, list | tuple) and len(ja) == len(en):
                return self._composite((LIST, *(self.add(a, b) for a, b in zip(ja, en, strict=True))))
        elif type(ja) is type(en) and ja == en:
            # 1, 1.0 and True are equal, and not the same.
            return self._number((type(ja), ja), ja)
        return self._composite((EITHER, self.add(ja, ja), self.add(en, en)))

    def _text(self, text: str) -> int:
        return self._number(text, text)

    def _composite(self, node: tuple[int, ...]) -> int:
        return self._number(node, node)

    def _number(self, key: object, node: Node) -> int:
        number = self._numbers.get(key)
        if number is None:
            number = self._numbers[key] = len(self._nodes)
            self._nodes.append(node)
        return number

    def _shape(self, keys: tuple[str, ...]) -> int:
        return FIRST_SHAPE + self._shapes.setdefault(keys, len(self._shapes))

    def add_block(self, roots: Iterable[int]) -> int:
        """Put nodes into a block of their own; returns its number, from 1 on."""
        self._blocks.append(list(roots))
        return len(self._blocks)

    def packed(self, head: int) -> list[str]:
        """All blocks as texts, compressed: the first has the keys, what is in several blocks, and the node `head`;
        every other one its nodes and, under `roots`, the numbers of those it is for."""
        reached = [self._below([head]), *(self._below(roots) for roots in self._blocks)]
        counts = Counter(number for numbers in reached for number in numbers)
        shared = sorted(reached[0] | {number for number, count in counts.items() if count > 1})
        place = {number: at for at, number in enumerate(shared)}
        first = {
            "shapes": [list(keys) for keys in self._shapes],
            "nodes": self._placed(shared, place),
            "head": place[head],
        }
        texts = [pack(first)]
        for numbers, roots in zip(reached[1:], self._blocks, strict=True):
            own = sorted(numbers - place.keys())
            here = {number: len(shared) + at for at, number in enumerate(own)}
            places = _Places(place, here)
            texts.append(pack({"nodes": self._placed(own, places), "roots": [places[root] for root in roots]}))
        return texts

    def _below(self, roots: Sequence[int]) -> set[int]:
        """Nodes with all their parts."""
        seen, waiting = set(roots), list(roots)
        while waiting:
            node = self._nodes[waiting.pop()]
            if isinstance(node, tuple):
                for part in node[1:]:
                    if part not in seen:
                        seen.add(part)
                        waiting.append(part)
        return seen

    def _placed(self, numbers: Sequence[int], place: Mapping[int, int] | _Places) -> list[Any]:
        """Nodes with the places of their parts."""
        nodes = (self._nodes[number] for number in numbers)
        return [[node[0], *(place[part] for part in node[1:])] if isinstance(node, tuple) else node for node in nodes]


@dataclass(frozen=True, slots=True)
class _Places:
    """Where nodes are: in the first block, or in their own."""

    shared: Mapping[int, int]
    own: Mapping[int, int]

    def __getitem__(self, number: int) -> int:
        place = self.shared.get(number)
        return self.own[number] if place is None else place


def pack(value: Any) -> str:
    """JSON, deflated without a header, in base64. Half a character is an escape in JSON, as UTF-8 has none."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    try:
        data = text.encode("utf-8")
    except UnicodeEncodeError:
        data = json.dumps(value, separators=(",", ":"), allow_nan=False).encode("ascii")
    return base64.b64encode(packer.compress(data) + packer.flush()).decode("ascii")
