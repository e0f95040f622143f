"""The KV cache of sequences that are being generated: what they share is stored once.

The cache has one buffer of keys and values per trie: of a short prefix, of the trie's nodes, and of the tokens that are
generated below it, which are stored step by step. A row is one sequence; all rows of a trie attend to its buffer, in
which a mask hides what is not theirs. A long prefix is stored once for all tries.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from jglue_app.backends.hf.engine.trie import Trie

LayerKV = dict[int, tuple[torch.Tensor, torch.Tensor]]
"""Layer → keys and values, each (…, heads, tokens, head width)."""

MAX_COPIED_PREFIX = 128
"""Tokens of a prefix that is copied to every trie: two small products per layer and step take longer."""
SLOTS = 32
"""Slots that a row has at first; as many again are added whenever they are used up."""


@dataclass(slots=True)
class DecodeCache:
    """Keys and values of a prefix, of some tries below it, and of the tokens generated below the tries."""

    prefix_kv: LayerKV | None
    """Of a shared prefix that is not in the buffers, (heads, tokens, width); None without one."""
    prefix_length: int
    """Tokens of the shared prefix, wherever it is."""
    copied: LayerKV | None
    """Of a shared prefix that is at the start of every buffer."""
    kv: LayerKV
    """The buffers, (tries, heads, places, width): the copied prefix, the nodes of the largest trie, and the slots. Of
    one slot there is a place for every row of the trie, then of the next; filled up to the trie of most rows."""
    depths: torch.Tensor
    """Position of each trie's nodes below the prefix, (tries, nodes)."""
    trie_mask: torch.Tensor
    """Which nodes of its trie are in the prompt of each row, (rows, nodes)."""
    prompt_lengths: torch.Tensor
    """Tokens of each row's prompt below the prefix, (rows,)."""
    lengths: list[int]
    """The same as numbers."""
    trie_of_row: list[int]
    place_of_row: list[int]
    """Which of its trie's rows each row is."""
    slots: int = 0
    """Tokens that each row has places for."""

    @classmethod
    def allocate(
        cls, tries: Sequence[Trie], prefix_kv: LayerKV | None, prefix_length: int, device: torch.device
    ) -> DecodeCache:
        """A cache with one row for every path of the tries, still without their keys and values."""
        nodes = max(len(trie.tokens) for trie in tries)
        paths = [path for trie in tries for path in trie.paths]
        depths = torch.zeros(len(tries), nodes, dtype=torch.long)
        trie_mask = torch.zeros(len(paths), nodes, dtype=torch.bool)
        for number, trie in enumerate(tries):
            depths[number, : len(trie.depths)] = torch.tensor(trie.depths)
        for row, path in enumerate(paths):
            trie_mask[row, path] = True
        lengths = [len(path) for path in paths]
        is_copied = prefix_kv is not None and prefix_length <= MAX_COPIED_PREFIX
        return cls(
            prefix_kv=None if is_copied else prefix_kv,
            prefix_length=prefix_length,
            copied=prefix_kv if is_copied else None,
            kv={},
            depths=depths.to(device),
            trie_mask=trie_mask.to(device),
            prompt_lengths=torch.tensor(lengths, device=device),
            lengths=lengths,
            trie_of_row=[number for number, trie in enumerate(tries) for _ in trie.paths],
            place_of_row=[place for trie in tries for place in range(len(trie.paths))],
        )

    @property
    def rows_per_trie(self) -> int:
        """Places of one slot."""
        return max(self.place_of_row) + 1

    @property
    def first_slot(self) -> int:
        """Places before those of the slots."""
        return self.depths.shape[1] + (self.prefix_length if self.copied is not None else 0)

    def write_prefill(self, first: int, sizes: Sequence[int], new_kv: LayerKV, slots: int) -> None:
        """Store what a prefill of some tries computed.

        Args:
            first: number of the first of these tries.
            sizes: tokens of each.
            new_kv: their keys and values one after another, (heads, tokens, width).
            slots: most tokens that are generated per row.
        """
        self.slots = self.slots or min(slots, SLOTS)
        places = self.first_slot + self.slots * self.rows_per_trie
        before = self.first_slot - self.depths.shape[1]
        for layer, new in new_kv.items():
            if layer not in self.kv:
                keys, values = (x.new_zeros(len(self.depths), x.shape[0], places, x.shape[2]) for x in new)
                self.kv[layer] = keys, values
                if self.copied is not None:
                    keys[:, :, :before], values[:, :, :before] = self.copied[layer]
            for buffer, x in zip(self.kv[layer], new, strict=True):
                start = 0
                for number, size in enumerate(sizes, start=first):
                    buffer[number, :, before : before + size] = x[:, start : start + size]
                    start += size

    def reserve(self, slots: int) -> None:
        """Have places for so many tokens of each row."""
        if slots <= self.slots:
            return
        added = -(-(slots - self.slots) // SLOTS) * SLOTS
        for layer, buffers in self.kv.items():
            tries, heads, _, _ = buffers[0].shape
            keys, values = (
                torch.cat([x, x.new_zeros(tries, heads, added * self.rows_per_trie, x.shape[3])], dim=2)
                for x in buffers
            )
            self.kv[layer] = keys, values
        self.slots += added

    def select_rows(self, rows: Sequence[int]) -> DecodeCache:
        """A copy with some of the rows, the tries that they need, and no more nodes than these have."""
        tries = sorted({self.trie_of_row[row] for row in rows})
        rows_of_trie = [[row for row in rows if self.trie_of_row[row] == trie] for trie in tries]
        device = self.prompt_lengths.device
        row_index, trie_index = torch.tensor(rows, device=device), torch.tensor(tries, device=device)
        trie_mask = self.trie_mask[row_index]
        nodes = int(trie_mask.any(0).nonzero().max()) + 1
        width = max(map(len, rows_of_trie))
        # Places without a row repeat that of the first; they are hidden.
        places = [[self.place_of_row[row] for row in [*r, *r[:1] * (width - len(r))]] for r in rows_of_trie]
        place_index = torch.tensor(places, device=device)
        before = self.first_slot - self.depths.shape[1]

        def select(x: torch.Tensor) -> torch.Tensor:
            old = x[:, :, self.first_slot :].reshape(*x.shape[:2], self.slots, -1, x.shape[3])
            # (tries, rows, heads, slots, width) → (tries, heads, slots × rows, width).
            generated = old[trie_index[:, None], :, :, place_index].permute(0, 2, 3, 1, 4).flatten(2, 3)
            return torch.cat([x[trie_index, :, : before + nodes], generated], dim=2)

        return DecodeCache(
            prefix_kv=self.prefix_kv,
            prefix_length=self.prefix_length,
            copied=self.copied,
            kv={layer: (select(k), select(v)) for layer, (k, v) in self.kv.items()},
            depths=self.depths[trie_index, :nodes],
            trie_mask=trie_mask[:, :nodes],
            prompt_lengths=self.prompt_lengths[row_index],
            lengths=[self.lengths[row] for row in rows],
            trie_of_row=[tries.index(self.trie_of_row[row]) for row in rows],
            place_of_row=[rows_of_trie[tries.index(self.trie_of_row[row])].index(row) for row in rows],
            slots=self.slots,
        )
