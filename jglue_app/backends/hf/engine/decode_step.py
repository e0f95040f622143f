"""Attention of one decode step: new tokens of some sequences attend to their KV cache, those of a trie together."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from jglue_app.backends.hf.engine.kv_cache import DecodeCache
from jglue_app.backends.hf.engine.score_terms import NO_TERMS, ScoreTerms, weights


class DecodeStep:
    """One forward pass over new tokens of some rows: the last token of each, and draft tokens after it.

    Args:
        cache: of the rows.
        rows: the row of each token; tokens of one row follow one another.
        generated: how many tokens its row has generated before it.
    """

    def __init__(self, cache: DecodeCache, rows: Sequence[int], generated: Sequence[int]) -> None:
        device = cache.prompt_lengths.device
        cache.reserve(max(generated) + 1)
        self._cache = cache
        self._depths = [cache.lengths[row] + slot for row, slot in zip(rows, generated, strict=True)]
        tries = [cache.trie_of_row[row] for row in rows]
        first, per_slot = cache.first_slot, cache.rows_per_trie
        # Of the slots only those that a row has filled are read, where a product over a part of the keys needs no copy.
        parts = next(iter(cache.kv.values()))[0].dtype == torch.float32
        self._slots = max(generated) + 1 if parts else cache.slots
        self._places = first + self._slots * per_slot
        places = [first + slot * per_slot + cache.place_of_row[row] for row, slot in zip(rows, generated, strict=True)]
        numbers = torch.tensor([rows, tries, places, self._depths, generated], device=device)
        self._row, self._trie, self._place, self._depth, self._slot = numbers.unbind()
        self._table, self._index = _table(tries, len(cache.depths), device)
        self._masks: dict[tuple[int, int], torch.Tensor] = {}
        self._bias: torch.Tensor | None = None

    @property
    def positions(self) -> list[int]:
        """Position of each token in its sequence."""
        return [depth + self._cache.prefix_length for depth in self._depths]

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

        Args:
            layer: number of the layer.
            query, key, value: of the new tokens, (heads, tokens, width).
            scaling: factor of the scores; None for width^-½.
            window: tokens of a sliding window; 0 for none.
            terms: what is added to the products.

        Returns:
            (tokens, heads, width).
        """
        keys, values = self._cache.kv[layer]
        keys[self._trie, :, self._place], values[self._trie, :, self._place] = (
            key.transpose(0, 1),
            value.transpose(0, 1),
        )
        keys, values = keys[:, :, : self._places], values[:, :, : self._places]
        kv_heads, (heads, tokens, width) = key.shape[0], query.shape
        groups = heads // kv_heads
        q = self._by_trie(query.transpose(0, 1).reshape(tokens, kv_heads, groups, width))
        scores = q @ keys.transpose(2, 3)
        prefix = None if self._cache.prefix_kv is None else self._cache.prefix_kv[layer]
        if prefix is not None:
            scores = torch.cat([_of_prefix(q, prefix[0].transpose(1, 2)), scores], dim=-1)
        scaled = scores.float().mul_(width**-0.5 if scaling is None else scaling)
        mask = self._mask(window, groups)
        if terms is NO_TERMS:
            parts = scaled.add_(mask).softmax(-1)
        else:
            bias = None if terms.key_bias is None else self._relative_bias(terms.key_bias, kv_heads)
            per_trie = self._table.shape[1]
            sinks = None if terms.sinks is None else terms.sinks.view(kv_heads, groups).repeat(1, per_trie)[..., None]
            parts = weights(scaled, mask < 0, terms.softcap, bias, sinks)
        parts = parts.to(q.dtype)
        out = parts[..., -keys.shape[2] :] @ values
        if prefix is not None:
            out += _of_prefix(parts[..., : -keys.shape[2]], prefix[1])
        return self._by_token(out, groups)

    def _by_trie(self, x: torch.Tensor) -> torch.Tensor:
        """(tokens, heads, groups, n) → (tries, heads, tokens of one × groups, n)."""
        per_trie = x[self._table] if self._index is not None else x.reshape(*self._table.shape, *x.shape[1:])
        return per_trie.transpose(1, 2).flatten(2, 3)

    def _by_token(self, x: torch.Tensor, groups: int) -> torch.Tensor:
        """(tries, heads, tokens of one × groups, n) → (tokens, heads × groups, n)."""
        tries, heads, rows, width = x.shape
        tokens = x.view(tries, heads, rows // groups, groups, width).transpose(1, 2).reshape(-1, heads * groups, width)
        return tokens if self._index is None else tokens[self._index]

    def _mask(self, window: int, groups: int) -> torch.Tensor:
        """What is added to the scores, (tries, 1, tokens of one × groups, prefix + nodes + slots): 0 or −∞."""
        cache, device = self._cache, self._depth.device
        if window > max(self._depths) + cache.prefix_length:
            window = 0
        if (window, groups) not in self._masks:
            places = torch.arange(self._slots * cache.rows_per_trie, device=device)
            slots, of_row = places // cache.rows_per_trie, places % cache.rows_per_trie
            row_places = self._place - cache.first_slot - self._slot * cache.rows_per_trie
            visible = torch.cat(
                [
                    torch.ones(len(self._row), cache.prefix_length, dtype=torch.bool, device=device),
                    cache.trie_mask[self._row],
                    (of_row == row_places[:, None]) & (slots <= self._slot[:, None]),
                ],
                dim=1,
            )
            if window:
                visible &= self._key_depths() > (self._depth - window)[:, None]
            mask = torch.zeros(visible.shape, device=device).masked_fill_(~visible, float("-inf"))
            self._masks[window, groups] = self._by_trie(mask[:, None, None].expand(-1, -1, groups, -1))
        return self._masks[window, groups]

    def _key_depths(self) -> torch.Tensor:
        """Position of each key below the prefix, as far as the token may see it, (tokens, prefix + nodes + slots)."""
        cache, device = self._cache, self._depth.device
        prefix = torch.arange(-cache.prefix_length, 0, device=device)
        slots = torch.arange(self._slots, device=device).repeat_interleave(cache.rows_per_trie)
        generated = cache.prompt_lengths[self._row][:, None] + slots
        return torch.cat([prefix.expand(len(generated), -1), cache.depths[self._trie], generated], dim=1)

    def _relative_bias(self, key_bias: torch.Tensor, kv_heads: int) -> torch.Tensor:
        """What is added to the scores, (tries, key heads, tokens of one × groups, prefix + nodes + slots), of a bias by
        position; relative to the token itself."""
        if self._bias is None:
            length = self._cache.prefix_length
            # Slots that a row has not filled yet may be beyond the last position; they are masked.
            positions = (self._key_depths() + length).clamp_(max=key_bias.shape[1] - 1)
            bias = key_bias[:, positions] - key_bias[:, self._depth + length][..., None]
            self._bias = self._by_trie(bias.transpose(0, 1).reshape(len(self._depths), kv_heads, -1, bias.shape[2]))
        return self._bias


def _of_prefix(x: torch.Tensor, prefix: torch.Tensor) -> torch.Tensor:
    """(tries, heads, rows, m) times (heads, m, n) → (tries, heads, rows, n), as one product per head."""
    tries, heads, rows, _ = x.shape
    product = x.transpose(0, 1).reshape(heads, tries * rows, -1) @ prefix
    return product.view(heads, tries, rows, -1).transpose(0, 1)


def _table(tries: Sequence[int], count: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor | None]:
    """The tokens of each trie, (tries, most tokens of one), filled up with token 0; and where each token is in the
    flattened table, None if that is in their order."""
    tokens: list[list[int]] = [[] for _ in range(count)]
    cells: list[tuple[int, int]] = []
    for token, trie in enumerate(tries):
        cells.append((trie, len(tokens[trie])))
        tokens[trie].append(token)
    width = max(map(len, tokens))
    index = [trie * width + k for trie, k in cells]
    table = torch.tensor([row + [0] * (width - len(row)) for row in tokens], device=device)
    is_in_order = index == list(range(count * width))
    return table, None if is_in_order else torch.tensor(index, device=device)
