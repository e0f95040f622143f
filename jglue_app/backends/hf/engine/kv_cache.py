"""Texts that are being written: keys and values of what they begin with, once for all that share it, and of their own.

A row is one text. Rows of one paragraph share that paragraph's trie, all rows share the common beginning, and each has
a short place of its own for what it adds. Nothing is copied for each row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from jglue_app.backends.hf.engine.trie import Trie

KeysValues = dict[int, tuple[torch.Tensor, torch.Tensor]]
"""Layer → keys and values, each (…, heads, tokens, width)."""


@dataclass(slots=True)
class Texts:
    """What has been read of some tries, and what is written below them."""

    before: KeysValues | None
    """Of the common beginning, (heads, tokens, width)."""
    length: int
    """Tokens of the common beginning."""
    read: KeysValues
    """Of the tries, (tries, heads, places, width)."""
    added: KeysValues
    """Of what each row adds, (rows, heads, room, width)."""
    depths: torch.Tensor
    """Place of each trie's tokens in their sequences, (tries, places)."""
    sees: torch.Tensor
    """Which of its trie's tokens each row begins with, (rows, places)."""
    lengths: torch.Tensor
    """How many they are, (rows,)."""
    trie_of: list[int]
    """Of each row."""

    @classmethod
    def of(cls, tries: Sequence[Trie], before: KeysValues | None, length: int, device: torch.device) -> Texts:
        """A row for every path, with no keys and values yet."""
        places = max(len(trie.tokens) for trie in tries)
        paths = [path for trie in tries for path in trie.paths]
        trie_of = [number for number, trie in enumerate(tries) for _ in trie.paths]
        depths = torch.zeros(len(tries), places, dtype=torch.long)
        sees = torch.zeros(len(paths), places, dtype=torch.bool)
        for number, trie in enumerate(tries):
            depths[number, : len(trie.depths)] = torch.tensor(trie.depths)
        for row, path in enumerate(paths):
            sees[row, path] = True
        lengths = torch.tensor([len(path) for path in paths], device=device)
        return cls(before, length, {}, {}, depths.to(device), sees.to(device), lengths, trie_of)

    def put(self, first: int, sizes: Sequence[int], found: KeysValues, room: int) -> None:
        """Take over what was read of some tries.

        Args:
            first: the first of the tries.
            sizes: tokens of each.
            found: their keys and values, behind each other, (heads, tokens, width).
            room: most tokens that a row adds.
        """
        tries, places = self.depths.shape
        for layer, (k, v) in found.items():
            if layer not in self.read:
                of_tries, of_rows = (tries, k.shape[0], places), (len(self.lengths), k.shape[0], room)
                self.read[layer] = k.new_zeros(*of_tries, k.shape[2]), v.new_zeros(*of_tries, v.shape[2])
                self.added[layer] = k.new_zeros(*of_rows, k.shape[2]), v.new_zeros(*of_rows, v.shape[2])
            keys, values = self.read[layer]
            start = 0
            for number, size in enumerate(sizes, start=first):
                here = slice(start, start + size)
                keys[number, :, :size], values[number, :, :size] = k[:, here], v[:, here]
                start += size

    def only(self, rows: Sequence[int]) -> Texts:
        """Some of the rows; tries that none of them needs are dropped."""
        tries = sorted({self.trie_of[row] for row in rows})
        number = {trie: k for k, trie in enumerate(tries)}
        some_rows = torch.tensor(rows, device=self.lengths.device)
        some = torch.tensor(tries, device=self.lengths.device)
        return Texts(
            self.before,
            self.length,
            {layer: (k[some], v[some]) for layer, (k, v) in self.read.items()},
            {layer: (k[some_rows], v[some_rows]) for layer, (k, v) in self.added.items()},
            self.depths[some],
            self.sees[some_rows],
            self.lengths[some_rows],
            [number[self.trie_of[row]] for row in rows],
        )


class Step:
    """Tokens that are read at once, each at the end of a row or behind the one before it.

    Args:
        texts: the rows.
        rows: the row of each token; tokens of one row stand together.
        counts: how many tokens its row has added before it.
    """

    def __init__(self, texts: Texts, rows: Sequence[int], counts: Sequence[int]) -> None:
        device = texts.lengths.device
        self._texts = texts
        self._row = torch.tensor(rows, device=device)
        self._count = torch.tensor(counts, device=device)
        self._room = max(counts) + 1
        self._place = texts.lengths[self._row] + self._count
        tries = [texts.trie_of[row] for row in rows]
        self._trie = torch.tensor(tries, device=device)
        self._by_trie, self._in_trie = _table(tries, len(texts.depths), device)
        self._by_row, self._in_row = _table(rows, len(texts.lengths), device)
        self._hidden: dict[int, torch.Tensor] = {}

    @property
    def places(self) -> torch.Tensor:
        """Place of each token in its text."""
        return self._place + self._texts.length

    def hidden(self, window: int) -> torch.Tensor:
        """Which keys each token does not see: (tokens, 1, 1, beginning + places of the trie + added)."""
        if window not in self._hidden:
            texts, device = self._texts, self._place.device
            added = torch.arange(self._room, device=device)
            first = torch.arange(texts.length, device=device) - texts.length
            seen = [
                torch.ones(len(self._row), texts.length, dtype=torch.bool, device=device),
                texts.sees[self._row],
                added[None, :] <= self._count[:, None],
            ]
            if window:
                least = (self._place - window)[:, None]
                seen[0] &= first[None, :] > least
                seen[1] &= texts.depths[self._trie] > least
                seen[2] &= (texts.lengths[self._row][:, None] + added[None, :]) > least
            self._hidden[window] = ~torch.cat(seen, dim=1)[:, None, None]
        return self._hidden[window]

    def attend(
        self,
        layer: int,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        scaling: float | None,
        window: int,
    ) -> torch.Tensor:
        """Attention of the tokens, (heads, tokens, width) each → (tokens, heads, width); their keys are kept.

        One softmax over three kinds of keys: of the beginning, which all tokens multiply at once; of the trie, which
        the tokens of its rows multiply at once; and of what the row has added.
        """
        texts = self._texts
        keys, values = texts.added[layer]
        keys[self._row, :, self._count], values[self._row, :, self._count] = key.transpose(0, 1), value.transpose(0, 1)
        keys, values = keys[:, :, : self._room], values[:, :, : self._room]
        own = key.shape[0]
        tokens, groups, width = query.shape[1], query.shape[0] // own, query.shape[2]
        q = query.transpose(0, 1).reshape(tokens, own, groups, width)
        of_trie, of_row = (
            _Shared(*texts.read[layer], self._by_trie, self._in_trie),
            _Shared(keys, values, self._by_row, self._in_row),
        )
        scores = [of_trie.scores(q), of_row.scores(q)]
        flat = q.transpose(0, 1).reshape(own, tokens * groups, width)
        if texts.before is not None:
            first_keys, first_values = texts.before[layer]
            shared = (flat @ first_keys.transpose(1, 2)).reshape(own, tokens, groups, -1)
            scores.insert(0, shared.transpose(0, 1))
        scale = width**-0.5 if scaling is None else scaling
        seen = torch.cat(scores, dim=-1).float().mul_(scale).masked_fill_(self.hidden(window), float("-inf"))
        weights = seen.softmax(-1).to(q.dtype)
        first, second = texts.length, texts.length + texts.depths.shape[1]
        out = of_trie.mix(weights[..., first:second]) + of_row.mix(weights[..., second:])
        if texts.before is not None:
            of_first = weights[..., :first].transpose(0, 1).reshape(own, tokens * groups, first)
            out += (of_first @ first_values).reshape(own, tokens, groups, -1).transpose(0, 1)
        return out.reshape(tokens, own * groups, -1)


class _Shared:
    """Keys and values that several tokens share.

    Args:
        keys: (owners, heads, places, width); values the same.
        table: the tokens of each owner, (owners, most of them); filled up with any.
        at: where each token stands in the table, flat.
    """

    def __init__(self, keys: torch.Tensor, values: torch.Tensor, table: torch.Tensor, at: torch.Tensor) -> None:
        self._keys, self._values, self._table, self._at = keys, values, table, at

    def scores(self, q: torch.Tensor) -> torch.Tensor:
        """(tokens, heads, groups, width) → (tokens, heads, groups, places)."""
        return self._back(self._gathered(q) @ self._keys.transpose(2, 3), q)

    def mix(self, weights: torch.Tensor) -> torch.Tensor:
        """(tokens, heads, groups, places) → (tokens, heads, groups, width)."""
        return self._back(self._gathered(weights) @ self._values, weights)

    def _gathered(self, x: torch.Tensor) -> torch.Tensor:
        """Tokens of one owner behind each other, (owners, heads, tokens of each × groups, …)."""
        owners, most = self._table.shape
        _, heads, groups, last = x.shape
        return x[self._table].transpose(1, 2).reshape(owners, heads, most * groups, last)

    def _back(self, found: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        owners, most = self._table.shape
        _, heads, groups, _ = x.shape
        by_token = found.reshape(owners, heads, most, groups, -1).transpose(1, 2)
        return by_token.reshape(owners * most, heads, groups, -1)[self._at]


def _table(owners: Sequence[int], count: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """The tokens of each owner, (owners, most of them), and where each token stands in it."""
    tokens: list[list[int]] = [[] for _ in range(count)]
    places: list[tuple[int, int]] = []
    for token, owner in enumerate(owners):
        places.append((owner, len(tokens[owner])))
        tokens[owner].append(token)
    most = max(map(len, tokens))
    table = [own + [0] * (most - len(own)) for own in tokens]
    return torch.tensor(table, device=device), torch.tensor([o * most + k for o, k in places], device=device)
