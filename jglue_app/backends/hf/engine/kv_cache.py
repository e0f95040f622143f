"""The KV cache of sequences that are being generated: what they share is stored once.

The cache has one row per sequence. All rows share the prefix, rows of one paragraph share that paragraph's trie, and
each row has slots of its own for the tokens that are generated. Nothing shared is copied per row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from jglue_app.backends.hf.engine.score_terms import NO_TERMS, ScoreTerms, weights
from jglue_app.backends.hf.engine.trie import Trie

LayerKV = dict[int, tuple[torch.Tensor, torch.Tensor]]
"""Layer → keys and values, each (…, heads, tokens, head width)."""


@dataclass(slots=True)
class DecodeCache:
    """Keys and values of a prefix, of some tries below it, and of the tokens generated below the tries."""

    prefix_kv: LayerKV | None
    """Of the shared prefix, (heads, tokens, width); None without one."""
    prefix_length: int
    """Tokens of the prefix."""
    trie_kv: LayerKV
    """Of the tries, (tries, heads, nodes, width); filled up to the largest trie."""
    generated_kv: LayerKV
    """Of the generated tokens, (rows, heads, slots, width)."""
    depths: torch.Tensor
    """Position of each trie's nodes below the prefix, (tries, nodes)."""
    trie_mask: torch.Tensor
    """Which nodes of its trie are in the prompt of each row, (rows, nodes)."""
    prompt_lengths: torch.Tensor
    """Tokens of each row's prompt below the prefix, (rows,)."""
    trie_of_row: list[int]

    @classmethod
    def allocate(
        cls, tries: Sequence[Trie], prefix_kv: LayerKV | None, prefix_length: int, device: torch.device
    ) -> DecodeCache:
        """A cache with one row for every path of the tries, still without their keys and values."""
        nodes = max(len(trie.tokens) for trie in tries)
        paths = [path for trie in tries for path in trie.paths]
        trie_of_row = [number for number, trie in enumerate(tries) for _ in trie.paths]
        depths = torch.zeros(len(tries), nodes, dtype=torch.long)
        trie_mask = torch.zeros(len(paths), nodes, dtype=torch.bool)
        for number, trie in enumerate(tries):
            depths[number, : len(trie.depths)] = torch.tensor(trie.depths)
        for row, path in enumerate(paths):
            trie_mask[row, path] = True
        lengths = torch.tensor([len(path) for path in paths], device=device)
        return cls(prefix_kv, prefix_length, {}, {}, depths.to(device), trie_mask.to(device), lengths, trie_of_row)

    def write_prefill(self, first: int, sizes: Sequence[int], new_kv: LayerKV, slots: int) -> None:
        """Store what a prefill of some tries computed.

        Args:
            first: number of the first of these tries.
            sizes: tokens of each.
            new_kv: their keys and values one after another, (heads, tokens, width).
            slots: most tokens that are generated per row.
        """
        tries, nodes = self.depths.shape
        for layer, (k, v) in new_kv.items():
            if layer not in self.trie_kv:
                trie_shape, row_shape = (tries, k.shape[0], nodes), (len(self.prompt_lengths), k.shape[0], slots)
                self.trie_kv[layer] = k.new_zeros(*trie_shape, k.shape[2]), v.new_zeros(*trie_shape, v.shape[2])
                self.generated_kv[layer] = k.new_zeros(*row_shape, k.shape[2]), v.new_zeros(*row_shape, v.shape[2])
            keys, values = self.trie_kv[layer]
            start = 0
            for number, size in enumerate(sizes, start=first):
                here = slice(start, start + size)
                keys[number, :, :size], values[number, :, :size] = k[:, here], v[:, here]
                start += size

    def select_rows(self, rows: Sequence[int]) -> DecodeCache:
        """A copy with some of the rows and the tries that they need."""
        tries = sorted({self.trie_of_row[row] for row in rows})
        new_number = {trie: k for k, trie in enumerate(tries)}
        row_index = torch.tensor(rows, device=self.prompt_lengths.device)
        trie_index = torch.tensor(tries, device=self.prompt_lengths.device)
        return DecodeCache(
            self.prefix_kv,
            self.prefix_length,
            {layer: (k[trie_index], v[trie_index]) for layer, (k, v) in self.trie_kv.items()},
            {layer: (k[row_index], v[row_index]) for layer, (k, v) in self.generated_kv.items()},
            self.depths[trie_index],
            self.trie_mask[row_index],
            self.prompt_lengths[row_index],
            [new_number[self.trie_of_row[row]] for row in rows],
        )


class DecodeStep:
    """One forward pass over new tokens of some rows: the last token of each, and draft tokens after it.

    Args:
        cache: of the rows.
        rows: the row of each token; tokens of one row follow one another.
        generated: how many tokens its row has generated before it.
    """

    def __init__(self, cache: DecodeCache, rows: Sequence[int], generated: Sequence[int]) -> None:
        device = cache.prompt_lengths.device
        self._cache = cache
        self._row = torch.tensor(rows, device=device)
        self._slot = torch.tensor(generated, device=device)
        self._slots = max(generated) + 1
        self._depth = cache.prompt_lengths[self._row] + self._slot
        tries = [cache.trie_of_row[row] for row in rows]
        self._trie = torch.tensor(tries, device=device)
        self._trie_table, self._index_in_trie_table = _owner_table(tries, len(cache.depths), device)
        self._row_table, self._index_in_row_table = _owner_table(rows, len(cache.prompt_lengths), device)
        self._masks: dict[int, torch.Tensor] = {}
        self._bias: torch.Tensor | None = None

    @property
    def positions(self) -> torch.Tensor:
        """Position of each token in its sequence, (tokens,)."""
        return self._depth + self._cache.prefix_length

    def inverted_mask(self, window: int) -> torch.Tensor:
        """Which keys each token must not attend to, (tokens, 1, 1, prefix + trie nodes + slots).

        Args:
            window: tokens of a sliding window; 0 for none.
        """
        if window not in self._masks:
            cache, device = self._cache, self._depth.device
            slots = torch.arange(self._slots, device=device)
            prefix_depths = torch.arange(cache.prefix_length, device=device) - cache.prefix_length
            visible = [
                torch.ones(len(self._row), cache.prefix_length, dtype=torch.bool, device=device),
                cache.trie_mask[self._row],
                slots[None, :] <= self._slot[:, None],
            ]
            if window:
                before_window = (self._depth - window)[:, None]
                visible[0] &= prefix_depths[None, :] > before_window
                visible[1] &= cache.depths[self._trie] > before_window
                visible[2] &= (cache.prompt_lengths[self._row][:, None] + slots[None, :]) > before_window
            self._masks[window] = ~torch.cat(visible, dim=1)[:, None, None]
        return self._masks[window]

    def _relative_bias(self, key_bias: torch.Tensor) -> torch.Tensor:
        """What is added to the scores of each token, (tokens, query heads, prefix + trie nodes + slots), of a bias by
        position; relative to the token itself."""
        if self._bias is None:
            cache, device, tokens = self._cache, self._depth.device, len(self._row)
            trie_positions = cache.depths[self._trie] + cache.prefix_length
            slots = cache.prompt_lengths[self._row] + cache.prefix_length
            keys = [
                torch.arange(cache.prefix_length, device=device).expand(tokens, -1),
                trie_positions,
                slots[:, None] + torch.arange(self._slots, device=device),
            ]
            # Slots that a row has not filled yet may be beyond the last position; they are masked.
            positions = torch.cat(keys, dim=1).clamp_(max=key_bias.shape[1] - 1)
            bias = key_bias[:, positions] - key_bias[:, self.positions, None]
            self._bias = bias.transpose(0, 1).contiguous()
        return self._bias

    def attention(
        self,
        layer: int,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        scaling: float | None,
        window: int,
        terms: ScoreTerms = NO_TERMS,
    ) -> torch.Tensor:
        """Store the keys and values of the new tokens, and attend to all that each token may see.

        One softmax over three kinds of keys: those of the prefix, which all tokens multiply at once; those of the trie,
        which the tokens of its rows multiply at once; and those generated in the row.

        Args:
            layer: number of the layer.
            query, key, value: of the new tokens, (heads, tokens, width).
            scaling: factor of the scores; None for width^-½.
            window: tokens of a sliding window; 0 for none.
            terms: what is added to the products.

        Returns:
            (tokens, heads, width).
        """
        cache = self._cache
        keys, values = cache.generated_kv[layer]
        keys[self._row, :, self._slot], values[self._row, :, self._slot] = key.transpose(0, 1), value.transpose(0, 1)
        keys, values = keys[:, :, : self._slots], values[:, :, : self._slots]
        kv_heads = key.shape[0]
        tokens, groups, width = query.shape[1], query.shape[0] // kv_heads, query.shape[2]
        q = query.transpose(0, 1).reshape(tokens, kv_heads, groups, width)
        trie_attention = _SharedKV(*cache.trie_kv[layer], self._trie_table, self._index_in_trie_table)
        row_attention = _SharedKV(keys, values, self._row_table, self._index_in_row_table)
        scores = [trie_attention.scores(q), row_attention.scores(q)]
        flat = q.transpose(0, 1).reshape(kv_heads, tokens * groups, width)
        if cache.prefix_kv is not None:
            prefix_keys, prefix_values = cache.prefix_kv[layer]
            prefix_scores = (flat @ prefix_keys.transpose(1, 2)).reshape(kv_heads, tokens, groups, -1)
            scores.insert(0, prefix_scores.transpose(0, 1))
        scale = width**-0.5 if scaling is None else scaling
        bias = (
            None if terms.key_bias is None else self._relative_bias(terms.key_bias).view(tokens, kv_heads, groups, -1)
        )
        sinks = None if terms.sinks is None else terms.sinks.view(kv_heads, groups, 1)
        scaled = torch.cat(scores, dim=-1).float().mul_(scale)
        parts = weights(scaled, self.inverted_mask(window), terms.softcap, bias, sinks).to(q.dtype)
        trie_start, row_start = cache.prefix_length, cache.prefix_length + cache.depths.shape[1]
        out = trie_attention.weighted_sum(parts[..., trie_start:row_start])
        out = out + row_attention.weighted_sum(parts[..., row_start:])
        if cache.prefix_kv is not None:
            prefix_weights = parts[..., :trie_start].transpose(0, 1).reshape(kv_heads, tokens * groups, trie_start)
            out += (prefix_weights @ prefix_values).reshape(kv_heads, tokens, groups, -1).transpose(0, 1)
        return out.reshape(tokens, kv_heads * groups, -1)


class _SharedKV:
    """Keys and values, each set of which several tokens attend to.

    Args:
        keys: (owners, heads, keys, width); values the same.
        table: the tokens of each owner, (owners, most tokens of one); filled up with token 0.
        index: where each token is in the flattened table, (tokens,).
    """

    def __init__(self, keys: torch.Tensor, values: torch.Tensor, table: torch.Tensor, index: torch.Tensor) -> None:
        self._keys, self._values, self._table, self._index = keys, values, table, index

    def scores(self, q: torch.Tensor) -> torch.Tensor:
        """(tokens, heads, groups, width) → (tokens, heads, groups, keys)."""
        return self._by_token(self._by_owner(q) @ self._keys.transpose(2, 3), q)

    def weighted_sum(self, weights: torch.Tensor) -> torch.Tensor:
        """(tokens, heads, groups, keys) → (tokens, heads, groups, width)."""
        return self._by_token(self._by_owner(weights) @ self._values, weights)

    def _by_owner(self, x: torch.Tensor) -> torch.Tensor:
        """(tokens, heads, groups, n) → (owners, heads, tokens of one × groups, n)."""
        owners, per_owner = self._table.shape
        _, heads, groups, last = x.shape
        return x[self._table].transpose(1, 2).reshape(owners, heads, per_owner * groups, last)

    def _by_token(self, products: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """The reverse of `_by_owner`; `x` has the shape that it was given."""
        owners, per_owner = self._table.shape
        _, heads, groups, _ = x.shape
        tokens = products.reshape(owners, heads, per_owner, groups, -1).transpose(1, 2)
        return tokens.reshape(owners * per_owner, heads, groups, -1)[self._index]


def _owner_table(owners: Sequence[int], count: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """The tokens of each owner, (owners, most tokens of one), and where each token is in the flattened table."""
    tokens: list[list[int]] = [[] for _ in range(count)]
    cells: list[tuple[int, int]] = []
    for token, owner in enumerate(owners):
        cells.append((owner, len(tokens[owner])))
        tokens[owner].append(token)
    width = max(map(len, tokens))
    table = [row + [0] * (width - len(row)) for row in tokens]
    return torch.tensor(table, device=device), torch.tensor([o * width + k for o, k in cells], device=device)
