"""An unmodified transformers model that reads a trie of tokens at once, without padding.

The model's attention is exchanged for `_attend` through transformers' attention interface: the tokens of several
segments lie behind each other in one row, every token attends to its own branch alone, and the beginning that all
share is read once and kept as keys and values.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.nn import functional
from transformers.modeling_utils import AttentionInterface

from jglue_app.backends.head import Head
from jglue_app.backends.trie import Trie, grow
from jglue_app.backends.work import Part, Work
from jglue_app.backends.written import KeysValues, Step

NAME = "jglue_packed"


@dataclass(slots=True)
class Segment:
    """A trie below a common beginning."""

    trie: Trie
    start: int = 0
    """Where its tokens begin in the row."""
    _masks: dict[int, torch.Tensor] = field(default_factory=dict)

    def mask(self, before: int, window: int, device: torch.device) -> torch.Tensor:
        """Which keys each token sees, (tokens, before + tokens): the beginning and its ancestors, within the window."""
        if window not in self._masks:
            n = len(self.trie.tokens)
            ends = torch.tensor(self.trie.ends, device=device)
            at = torch.arange(n, device=device)
            own = (at[None, :] <= at[:, None]) & (at[:, None] < ends[None, :])
            seen = torch.cat([torch.ones(n, before, dtype=torch.bool, device=device), own], dim=1)
            if window:
                depths = torch.tensor(self.trie.depths, device=device) + before
                keys = torch.cat([torch.arange(before, device=device), depths])
                seen &= depths[:, None] - keys[None, :] < window
            self._masks[window] = seen
        return self._masks[window]


@dataclass(slots=True)
class Reading:
    """What the attention of one pass has to know."""

    segments: Sequence[Segment] = ()
    before: KeysValues | None = None
    """Keys and values of the common beginning."""
    length: int = 0
    """Tokens of the common beginning."""
    kept: KeysValues | None = None
    """Where to put the keys and values of this pass; None to drop them."""
    step: Step | None = None
    """Set while texts are written; the rest is not."""


_reading: ContextVar[Reading] = ContextVar("reading")


class Unsupported(Exception):  # noqa: N818  # A fact about a model, not a fault.
    """The model's attention does something that is not done here."""


def _attend(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    **more: Any,
) -> tuple[torch.Tensor, None]:
    """Attention of transformers' interface: (1, heads, tokens, width) → (1, tokens, heads, width)."""
    if any(more.get(name) is not None for name in ("softcap", "s_aux", "position_bias", "alibi")):
        raise Unsupported(str([name for name, found in more.items() if found is not None]))
    reading, layer, window = _reading.get(), module.layer_idx, sliding_window or 0
    if reading.step is not None:
        return reading.step.attend(layer, query[0], key[0], value[0], scaling, window)[None], None
    q, k, v = query[0], key[0], value[0]
    if reading.kept is not None:
        reading.kept[layer] = (k, v)
    out = torch.empty(q.shape[1], q.shape[0], v.shape[-1], dtype=v.dtype, device=v.device)
    for segment in reading.segments:
        here = slice(segment.start, segment.start + len(segment.trie.tokens))
        keys, values = k[:, here], v[:, here]
        if reading.before is not None:
            first_keys, first_values = reading.before[layer]
            keys, values = torch.cat([first_keys, keys], dim=1), torch.cat([first_values, values], dim=1)
        mask = segment.mask(reading.length, window, q.device)
        out[here] = _grouped(q[:, here], keys, values, mask, scaling).transpose(0, 1)
    return out[None], None


def _grouped(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: torch.Tensor, scaling: float | None
) -> torch.Tensor:
    """Attention in which several query heads share a key head: they are laid behind each other, keys not copied."""
    heads, n, width = q.shape
    groups = heads // k.shape[0]
    if groups > 1:
        q, mask = q.reshape(k.shape[0], groups * n, width), mask.repeat(groups, 1)
    out = functional.scaled_dot_product_attention(q[None], k[None], v[None], attn_mask=mask, scale=scaling)[0]
    return out.reshape(heads, n, v.shape[-1])


AttentionInterface.register(NAME, _attend)


class PackedModel:
    """A model with exchanged attention.

    Args:
        model: a decoder-only transformers model in evaluation mode; its attention is exchanged from now on.
        screen: see `head.Head`.

    Raises:
        Unsupported: the model's attention cannot be exchanged, or does not give the same results.
    """

    def __init__(self, model: Any, screen: bool | None = None) -> None:
        if not model._can_set_attn_implementation():
            raise Unsupported("no attention interface")
        usual = model.config._attn_implementation
        expected = _probe(model)
        model.set_attn_implementation(NAME)
        self._model = model
        self._body = model.base_model
        self._head = Head(model.get_output_embeddings(), screen)
        self.work = Work()
        try:
            self._check(expected)
        except Exception as e:  # Other architectures may fail in any way.
            model.set_attn_implementation(usual)
            raise Unsupported(str(e)) from e

    @property
    def device(self) -> torch.device:
        """Where tokens go in."""
        found: torch.device = self._model.device
        return found

    def read(
        self,
        tries: Iterable[Trie],
        before: KeysValues | None = None,
        length: int = 0,
        keep: bool = False,
    ) -> tuple[torch.Tensor, list[int], KeysValues]:
        """Read tries behind each other.

        Args:
            tries: what to read.
            before: keys and values of a beginning that all share.
            length: its tokens.
            keep: give back keys and values.

        Returns:
            Hidden states (tokens, width), where each trie starts, and the keys and values if they are kept.
        """
        segments: list[Segment] = []
        start = 0
        for trie in tries:
            segments.append(Segment(trie, start))
            start += len(trie.tokens)
        reading = Reading(segments, before, length, {} if keep else None)
        ids = [token for s in segments for token in s.trie.tokens]
        places = [length + depth for s in segments for depth in s.trie.depths]
        return self._run(ids, places, reading, "prefill"), [s.start for s in segments], reading.kept or {}

    def extend(self, tokens: Sequence[int], step: Step) -> torch.Tensor:
        """Read more tokens of texts that are written; hidden states (tokens, width)."""
        return self._run(tokens, step.places.tolist(), Reading(step=step), "decode")

    def _run(self, ids: Sequence[int], places: Sequence[int], reading: Reading, part: Part) -> torch.Tensor:
        self.work.distinct += len(ids)
        token = _reading.set(reading)
        try:
            with torch.inference_mode(), self.work.part(part):
                states: torch.Tensor = self._body(
                    input_ids=torch.tensor([list(ids)], device=self.device),
                    position_ids=torch.tensor([list(places)], device=self.device),
                    use_cache=False,
                ).last_hidden_state[0]
        finally:
            _reading.reset(token)
        return states

    def logprobs(self, states: torch.Tensor, rows: Sequence[int], targets: Sequence[int]) -> torch.Tensor:
        """Log-probability of each target after the state of its row; see `head.Head.logprobs`."""
        self.work.rows += len(states)
        with torch.inference_mode(), self.work.part("head"):
            return self._head.logprobs(states, rows, targets)

    def best(self, states: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The most likely next token after every state; see `head.Head.best`."""
        self.work.rows += len(states)
        with torch.inference_mode(), self.work.part("head"):
            return self._head.best(states)

    @torch.inference_mode()
    def _check(self, expected: torch.Tensor) -> None:
        """Whether a trie read at once gives what the sequences give one by one."""
        sequences = _probes(self._model)
        shared = grow([sequences[0][:_SHARED]])
        _, _, before = self.read([shared], keep=True)
        trie = grow([s[_SHARED:] for s in sequences])
        states, _, _ = self.read([trie], before, _SHARED)
        got = torch.cat(list(self._head.scores(states[[path[-1] for path in trie.paths]])), dim=-1).log_softmax(-1)
        off = (got - expected).abs()
        if self._model.dtype == torch.float32:
            worst, tolerance = float(off.max()), 1e-3
        else:  # Rounding shifts single words by a lot; another context would shift all by as much as they differ.
            worst, tolerance = float(off.mean()), 0.25 * float(expected.std())
        if not worst <= tolerance:
            raise Unsupported(f"log-probabilities differ by {worst:.2g}")


_SHARED = 5


def _probes(model: Any) -> list[list[int]]:
    """Three sequences with a common beginning; two of them share more."""
    size = model.get_output_embeddings().weight.shape[0]
    tokens = [(7 + 31 * k) % size for k in range(24)]
    return [tokens[:12], [*tokens[:8], *tokens[12:20]], [*tokens[:8], *tokens[20:24]]]


def _probe(model: Any) -> torch.Tensor:
    """Log-probabilities after each probe by the model as it is, (probes, vocabulary)."""
    with torch.inference_mode():
        rows = [model(input_ids=torch.tensor([ids], device=model.device)).logits[0, -1] for ids in _probes(model)]
    return torch.stack(rows).float().log_softmax(-1)
