"""Attention of many short tries in a few large calls, instead of one call for each of them.

Tries of similar length are padded to a batch, in which each attends to itself; all tokens at once attend to the prefix
that they share, the keys of which are not copied; the two results are merged by their log-sum-exps (as parts of the
keys are in Flash-Decoding; Dao et al., 2023). The first results of every kind are compared with the usual attention.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import torch

from jglue_app.backends.hf.engine.fused_attention import fused_attention, has_fused_attention
from jglue_app.backends.hf.engine.linear import can_pack
from jglue_app.backends.hf.engine.product_attention import MAX_SCORE_BYTES, product_attention, score_bytes
from jglue_app.backends.hf.engine.trie import Trie
from jglue_app.backends.hf.memory import is_out_of_memory

MIN_LENGTH_RATIO = 0.7
"""Of the shortest and the longest trie of a batch: what is padded costs time, and so does a further batch."""
ROUND_TO = 16
"""Keys of a batch are padded to a multiple of this, as the kernels of GPUs need masks to be aligned."""
TOLERANCE = 1e-4
"""Largest difference from the usual attention in float32, as a share of a token's result."""
TIMES_ROUNDING = 3
"""The same in half precision, in units of the dtype's last place."""


@dataclass(slots=True)
class BatchedAttention:
    """Whether the tries of a model's forward passes are batched: until one result differs, then never again."""

    enabled: bool = True
    products: bool = False
    """Whether by plain matrix products, of a single trie too, instead of torch's kernels."""
    max_score_bytes: int = MAX_SCORE_BYTES
    """Of the scores of a batch that are stored for plain products."""
    checked: set[tuple[object, ...]] = field(default_factory=set)
    """Kinds of calls that were compared with the usual attention."""

    def plan(self, tries: Sequence[Trie], prefix_length: int) -> BatchedTries | None:
        """The tries of a forward pass, batched; None if they are not."""
        if not self.enabled or (len(tries) < 2 and not self.products) or not all(trie.tokens for trie in tries):
            return None
        return BatchedTries(self, tries, prefix_length)


class BatchedTries:
    """The tries of one forward pass, which follow one another in a row; none is empty.

    Args:
        batching: whether tries are batched, and what was checked.
        tries: of the pass.
        prefix_length: tokens of the prefix that all share.
    """

    def __init__(self, batching: BatchedAttention, tries: Sequence[Trie], prefix_length: int) -> None:
        self._batching, self._tries, self._prefix_length = batching, tries, prefix_length
        self._layouts: dict[torch.device, _PaddedTries] = {}

    def attention(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        prefix_kv: tuple[torch.Tensor, torch.Tensor] | None,
        scaling: float | None,
        window: int,
        usual: Callable[[], torch.Tensor],
    ) -> torch.Tensor:
        """Attention of every token to its branch and the prefix.

        Args:
            query, key, value: of the row, (heads, tokens, width) each; keys may have fewer heads.
            prefix_kv: keys and values of the prefix, (heads, tokens, width) each; None without one.
            scaling: factor of the scores; None for width^-½.
            window: tokens of a sliding window; 0 for none.
            usual: the usual attention, for what is not batched, and for the comparison.

        Returns:
            (tokens, heads, width).
        """
        kernel = has_products if self._batching.products else has_fused_attention
        if not self._batching.enabled or not kernel(query, key, value):
            return usual()
        scale = query.shape[-1] ** -0.5 if scaling is None else scaling
        try:
            if query.device not in self._layouts:
                self._layouts[query.device] = _PaddedTries(self._tries, self._prefix_length, query.device)
            layout = self._layouts[query.device]
            if self._batching.products and layout.score_bytes(query) > self._batching.max_score_bytes:
                return usual()
            kind = (query.dtype, query.shape[0], *key.shape[::2], prefix_kv is None, *layout.kind(window))
            run = layout.product_attention if self._batching.products else layout.attention
            out = run(query, key, value, prefix_kv, scale, window)
            if kind not in self._batching.checked:
                expected = usual()
                if not _equal(out, expected):
                    self._batching.enabled = False
                    return expected
                self._batching.checked.add(kind)
        except Exception as e:  # Of a kernel that this machine does not have, or that takes other arguments.
            if is_out_of_memory(e):
                raise
            self._batching.enabled = False
            return usual()
        return out


class _PaddedTries:
    """Padded batches of tries, on one device: indices and masks are made once for all layers.

    Args:
        tries: they follow one another in a row.
        prefix_length: tokens of the prefix that all share.
        device: of the queries, keys and values.
    """

    def __init__(self, tries: Sequence[Trie], prefix_length: int, device: torch.device) -> None:
        self._prefix_length, self._device = prefix_length, device
        self._max_depth = max(max(trie.depths) for trie in tries)
        starts = [0]
        for trie in tries:
            starts.append(starts[-1] + len(trie.tokens))
        self._tokens = starts[-1]
        self._depths = _on_device([depth for trie in tries for depth in trie.depths], device)
        self._layouts: list[torch.Tensor] = []
        """Of each batch the token, the end and the depth of each of its places, (3, tries, places); end 0: padding."""
        offsets = [[0, 0, 0] for _ in range(self._tokens)]
        offset = 0
        for numbers in _similar(tries):
            size = -(-max(len(tries[k].tokens) for k in numbers) // ROUND_TO) * ROUND_TO
            layout: list[list[list[int]]] = [[], [], []]
            for k in numbers:
                count, padding = len(tries[k].tokens), size - len(tries[k].tokens)
                layout[0].append([*range(starts[k], starts[k + 1]), *[starts[k]] * padding])
                layout[1].append(tries[k].ends + [0] * padding)
                layout[2].append(tries[k].depths + [0] * padding)
                for place in range(count):
                    offsets[starts[k] + place] = [offset, place, size]
                offset += size
            self._layouts.append(_on_device(layout, device))
        self._offsets = _on_device(offsets, device)
        """Of each token the places before its trie, its own place, and how many places its trie has, (tokens, 3)."""
        self._masks: dict[tuple[int, int, torch.dtype], list[torch.Tensor]] = {}
        self._prefix_masks: dict[tuple[int, torch.dtype], tuple[torch.Tensor, torch.Tensor]] = {}
        self._batch_prefix_masks: dict[tuple[int, int], list[torch.Tensor]] = {}
        self._rows: dict[tuple[int, bool], list[torch.Tensor]] = {}
        self._rows_back: dict[int, torch.Tensor] = {}

    def kind(self, window: int) -> tuple[object, ...]:
        """What is alike in calls that run the same code on tensors of similar size."""
        masks = 0 < window <= self._max_depth, 0 < window <= self._max_depth + self._prefix_length
        return *masks, self._tokens.bit_length(), len(self._layouts) > 1

    def attention(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        prefix_kv: tuple[torch.Tensor, torch.Tensor] | None,
        scale: float,
        window: int,
    ) -> torch.Tensor:
        """See `BatchedTries.attention`."""
        heads, kv_heads, width = query.shape[0], key.shape[0], query.shape[2]
        outs: list[torch.Tensor] = []
        logsums: list[torch.Tensor] = []
        masks = self._own_masks(heads // kv_heads, window, query.dtype)
        for batch, mask in zip(self._batches(query, key, value), masks, strict=True):
            out, logsum = fused_attention(*batch, mask, scale)
            outs.append(out.reshape(-1, width))
            logsums.append(logsum.reshape(-1))
        back = self._back(heads)
        own = torch.cat(outs)[back]
        if prefix_kv is None:
            return own
        prefix, prefix_logsum = self._prefix_attention(query, *prefix_kv, scale, window)
        weight = torch.sigmoid(prefix_logsum - torch.cat(logsums)[back])[..., None]
        return torch.lerp(own.float(), prefix.float(), weight).to(own.dtype)

    def _batches(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
        """Queries, keys and values (heads, tokens, width) of the row → those of each batch, (tries, key heads, places,
        width). Query heads that share a key head are stacked."""
        heads, kv_heads = query.shape[0], key.shape[0]
        (q, q_strided), (k, k_strided), (v, v_strided) = _flat(query), _flat(key), _flat(value)
        rows = self._rows_of(heads, q_strided), self._rows_of(kv_heads, k_strided), self._rows_of(kv_heads, v_strided)
        for layout, of_q, of_k, of_v in zip(self._layouts, *rows, strict=True):
            shape = (layout.shape[1], kv_heads, -1)
            yield (
                q[of_q].view(*shape, q.shape[-1]),
                k[of_k].view(*shape, k.shape[-1]),
                v[of_v].view(*shape, v.shape[-1]),
            )

    def score_bytes(self, query: torch.Tensor) -> int:
        """Bytes of the scores of the largest batch, for queries (heads, tokens, width)."""
        sizes = (layout.shape[1:] for layout in self._layouts)
        return max(score_bytes(query.shape[0] * tries * places, places, self._prefix_length) for tries, places in sizes)

    def product_attention(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        prefix_kv: tuple[torch.Tensor, torch.Tensor] | None,
        scale: float,
        window: int,
    ) -> torch.Tensor:
        """See `BatchedTries.attention`; by plain products."""
        heads, kv_heads, width = query.shape[0], key.shape[0], value.shape[2]
        groups = heads // kv_heads
        masks = self._own_masks(groups, window, torch.float32)
        prefix_masks: list[torch.Tensor | None] = [None] * len(masks)
        if prefix_kv is not None and 0 < window <= self._max_depth + self._prefix_length:
            prefix_masks = list(self._prefix_masks_of_batches(groups, window))
        outs: list[torch.Tensor] = []
        batches = self._batches(query, key, value)
        for batch, mask, prefix_mask in zip(batches, masks, prefix_masks, strict=True):
            out = product_attention(*batch, mask, prefix_kv, prefix_mask, scale)
            outs.append(out.view(-1, width))
        return torch.cat(outs)[self._back(heads)]

    def _prefix_masks_of_batches(self, groups: int, window: int) -> list[torch.Tensor]:
        """Of each batch what is added to the scores of the prefix, (tries, 1, groups × places, keys): 0 or −∞."""
        if (groups, window) not in self._batch_prefix_masks:
            masks: list[torch.Tensor] = []
            for _, _, depths in self._layouts:
                keys = torch.arange(-self._prefix_length, 0, device=self._device)
                visible = depths[:, :, None] - keys < window
                mask = torch.zeros(visible.shape, device=self._device)
                masks.append(mask.masked_fill_(~visible, float("-inf")).repeat(1, groups, 1)[:, None])
            self._batch_prefix_masks[groups, window] = masks
        return self._batch_prefix_masks[groups, window]

    def _prefix_attention(
        self, query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, scale: float, window: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Attention of all tokens to the prefix alone, (tokens, heads, width), and log-sum-exps (tokens, heads)."""
        heads, tokens, width = query.shape
        if 0 < window <= self._max_depth + self._prefix_length:
            mask, beyond = self._prefix_mask(window, query.dtype)
            first = self._prefix_length - mask.shape[-1]
            keys, values = (x[:, first:].repeat_interleave(heads // len(keys), dim=0) for x in (keys, values))
            out, logsum = fused_attention(query[None], keys[None], values[None], mask, scale)
            logsum = logsum[0].masked_fill(beyond, float("-inf"))
        else:
            stacked = query.reshape(1, len(keys), -1, width)
            out, logsum = fused_attention(stacked, keys[None], values[None], None, scale)
        return out.reshape(heads, tokens, width).transpose(0, 1), logsum.reshape(heads, tokens).transpose(0, 1)

    def _own_masks(self, groups: int, window: int, dtype: torch.dtype) -> list[torch.Tensor]:
        """Of each batch what is added to the scores, (tries, 1, groups × places, places): 0 or −∞."""
        window = window if window <= self._max_depth else 0
        if (groups, window, dtype) not in self._masks:
            masks: list[torch.Tensor] = []
            for _, ends, depths in self._layouts:
                places = torch.arange(ends.shape[1], device=self._device)
                visible = (places[None, None, :] <= places[None, :, None]) & (places[None, :, None] < ends[:, None, :])
                if window:
                    visible &= depths[:, :, None] - depths[:, None, :] < window
                visible[..., 0] |= ends == 0  # The softmax of padding, which is not used, needs a key.
                mask = torch.zeros(visible.shape, dtype=dtype, device=self._device)
                mask = mask.masked_fill_(~visible, float("-inf"))
                masks.append(mask.repeat(1, groups, 1)[:, None])
            self._masks[groups, window, dtype] = masks
        return self._masks[groups, window, dtype]

    def _prefix_mask(self, window: int, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
        """What is added to the scores of the last tokens of the prefix, (1, 1, tokens, keys), and which tokens see none
        of them, (tokens,); those get a finite result, which is not used."""
        if (window, dtype) not in self._prefix_masks:
            count = min(self._prefix_length, window)
            distance = self._depths[:, None] + torch.arange(count, 0, -1, device=self._device)
            visible = distance < window
            beyond = ~visible.any(-1)
            visible |= beyond[:, None]
            padded = -(-count // ROUND_TO) * ROUND_TO
            mask = torch.zeros(1, 1, self._tokens, padded, dtype=dtype, device=self._device)[..., :count]
            self._prefix_masks[window, dtype] = mask.masked_fill_(~visible, float("-inf")), beyond
        return self._prefix_masks[window, dtype]

    def _rows_of(self, heads: int, strided: bool) -> list[torch.Tensor]:
        """Of each batch the rows of the flattened queries, keys or values, in the order (tries, heads, places).

        Args:
            heads: of these queries, keys or values.
            strided: whether the heads of a token follow one another, else the tokens of a head.
        """
        if (heads, strided) not in self._rows:
            of_token, of_head = (heads, 1) if strided else (1, self._tokens)
            numbers = torch.arange(heads, device=self._device)[None, :, None] * of_head
            rows = [(tokens[:, None, :] * of_token + numbers).reshape(-1) for tokens, _, _ in self._layouts]
            self._rows[heads, strided] = rows
        return self._rows[heads, strided]

    def _back(self, heads: int) -> torch.Tensor:
        """The rows of the flattened results of all batches, (tokens, heads)."""
        if heads not in self._rows_back:
            before, place, size = self._offsets.unbind(1)
            numbers = torch.arange(heads, device=self._device)
            self._rows_back[heads] = (before * heads + place)[:, None] + size[:, None] * numbers
        return self._rows_back[heads]


def has_products(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> bool:
    """Whether `product_attention` takes such tensors."""
    return can_pack(query) and can_pack(key) and can_pack(value)


def _similar(tries: Sequence[Trie]) -> list[list[int]]:
    """Numbers of the tries, those of similar length together."""
    batches: list[list[int]] = []
    for k in sorted(range(len(tries)), key=lambda k: -len(tries[k].tokens)):
        if batches and len(tries[k].tokens) >= MIN_LENGTH_RATIO * len(tries[batches[-1][0]].tokens):
            batches[-1].append(k)
        else:
            batches.append([k])
    return batches


def _on_device(numbers: object, device: torch.device) -> torch.Tensor:
    return torch.tensor(numbers, dtype=torch.long).to(device, non_blocking=True)


def _flat(x: torch.Tensor) -> tuple[torch.Tensor, bool]:
    """(heads, tokens, width) → one row for every head of every token, and whether the heads of a token follow one
    another. Copied only if neither order is that of the memory."""
    by_token = x.transpose(0, 1)
    if by_token.is_contiguous():
        return by_token.reshape(-1, x.shape[-1]), True
    return x.reshape(-1, x.shape[-1]), False


def _equal(out: torch.Tensor, expected: torch.Tensor) -> bool:
    """Whether results (tokens, heads, width) are the same but for rounding, at every token."""
    exact = expected.float().flatten(1)
    norms = exact.norm(dim=-1)
    difference = (out.float().flatten(1) - exact).norm(dim=-1)
    tolerance = max(TOLERANCE, TIMES_ROUNDING * torch.finfo(out.dtype).eps if out.dtype.itemsize == 2 else 0)
    return bool((difference <= tolerance * torch.maximum(norms, norms.mean())).all())
