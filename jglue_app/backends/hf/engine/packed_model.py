"""An unmodified transformers model that reads a trie of tokens at once, without padding.

The model's attention is exchanged for `_attend` through transformers' attention interface: the tokens of several
segments lie behind each other in one row, every token attends to its own branch alone, and the beginning that all
share is read once and kept as keys and values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.nn import functional
from transformers.modeling_utils import AttentionInterface

from jglue_app.backends.hf.counters import Part, Work
from jglue_app.backends.hf.engine.equivalence import (
    ADDED,
    NotCausalError,
    Probe,
    Reference,
    Stopped,
    Unsupported,
    use_attention,
)
from jglue_app.backends.hf.engine.kv_cache import KeysValues, Step, Texts
from jglue_app.backends.hf.engine.lm_head import Head, Post
from jglue_app.backends.hf.engine.repetition_penalty import Repeated
from jglue_app.backends.hf.engine.trie import Trie, grow
from jglue_app.backends.hf.memory import MASK_BYTES, sizes
from jglue_app.messages import Message

NAME = "jglue_packed"
LEAST_PIECE = 32
"""Tokens of one prompt that are read at once when memory is short."""

__all__ = ["PackedModel", "Stopped", "Unsupported"]


@dataclass(slots=True)
class Segment:
    """A trie below a common beginning, or a piece of it whose earlier tokens have been read."""

    trie: Trie
    start: int = 0
    """Where its tokens begin in the row."""
    first: int = 0
    """The first token of the piece; of those before it keys and values are at hand."""
    end: int | None = None
    """One past the last token of the piece; None for the whole trie."""
    _masks: dict[int, torch.Tensor] = field(default_factory=dict)

    @property
    def last(self) -> int:
        """One past the last token that is read."""
        return len(self.trie.tokens) if self.end is None else self.end

    def mask(self, before: int, window: int, device: torch.device) -> torch.Tensor:
        """Which keys each token sees, (tokens, before + tokens up to the last): the beginning and its ancestors,
        within the window."""
        if window not in self._masks:
            ends = torch.tensor(self.trie.ends[: self.last], device=device)
            keys = torch.arange(self.last, device=device)
            queries = keys[self.first :]
            own = (keys[None, :] <= queries[:, None]) & (queries[:, None] < ends[None, :])
            seen = torch.cat([torch.ones(len(queries), before, dtype=torch.bool, device=device), own], dim=1)
            if window:
                depths = torch.tensor(self.trie.depths[: self.last], device=device) + before
                places = torch.cat([torch.arange(before, device=device), depths])
                seen &= depths[self.first :, None] - places[None, :] < window
            self._masks[window] = seen
        return self._masks[window]


@dataclass(slots=True)
class Reading:
    """What the attention of one pass has to know."""

    segments: Sequence[Segment] = ()
    before: KeysValues | None = None
    """Keys and values of the common beginning, and of earlier pieces of the trie."""
    length: int = 0
    """Tokens of the common beginning."""
    kept: KeysValues | None = None
    """Where to put the keys and values of this pass; None to drop them."""
    step: Step | None = None
    """Set while texts are written; the rest is not."""


_reading: ContextVar[Reading] = ContextVar("reading")


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
        if layer in reading.kept:  # Keys and values are kept by the layer's number.
            raise Unsupported(Message("a layer runs more than once"))
        reading.kept[layer] = (k, v)
    out = torch.empty(q.shape[1], q.shape[0], v.shape[-1], dtype=v.dtype, device=v.device)
    for segment in reading.segments:
        here = slice(segment.start, segment.start + segment.last - segment.first)
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
        reference: what the model answers by itself.
        screen: see `head.Head`.

    Raises:
        Unsupported: the model's attention cannot be exchanged, or does not give the same results. Its attention is its
            own again then.
    """

    def __init__(self, model: Any, reference: Reference, screen: bool | None = None) -> None:
        if not model._can_set_attn_implementation():
            raise Unsupported(Message("its attention cannot be exchanged"))
        self._model = model
        self._reference = reference
        self._body = model.base_model
        self.work = Work()
        self.verified = 0
        """Tokens of the longest sequence that was compared with the model itself."""
        self.piece = 1_024
        """Most tokens of one prompt that are read at once."""
        self.mask_bytes: int | None = None
        """Most bytes that the mask of one piece may take; None for no limit."""
        groups = _groups(model.config.get_text_config())
        self._per_pair = MASK_BYTES * groups
        try:
            head = model.get_output_embeddings()
            self._head = Head(head, screen)
            self.verify(reference.short)
        except Exception as e:  # Other architectures may fail in any way.
            self.restore()
            raise (
                e
                if isinstance(e, Unsupported)
                else Unsupported(Message("{name}: {reason}", name=type(e).__name__, reason=e))
            ) from e

    def restore(self) -> None:
        """Give the model its own attention back."""
        self._reference.use_own_attention()

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
        should_stop: Callable[[], bool] = lambda: False,
    ) -> tuple[torch.Tensor, list[int], KeysValues]:
        """Read tries behind each other; a single one that is long in pieces.

        Args:
            tries: what to read.
            before: keys and values of a beginning that all share.
            length: its tokens.
            keep: give back keys and values.
            should_stop: asked between pieces.

        Returns:
            Hidden states (tokens, width), where each trie starts, and the keys and values if they are kept.

        Raises:
            Stopped: somebody asked to stop.
        """
        segments: list[Segment] = []
        start = 0
        for trie in tries:
            segments.append(Segment(trie, start))
            start += len(trie.tokens)
        if len(segments) == 1 and self._step(length, start) < start:
            return self._read_in_pieces(segments[0].trie, before, length, keep, should_stop)
        reading = Reading(segments, before, length, {} if keep else None)
        ids = [token for s in segments for token in s.trie.tokens]
        places = [length + depth for s in segments for depth in s.trie.depths]
        return self._run(ids, places, reading, "prefill"), [s.start for s in segments], reading.kept or {}

    def _step(self, length: int, tokens: int) -> int:
        """Tokens of a piece: no more than are read at once, and than there is room for in the mask."""
        if self.mask_bytes is None:
            return self.piece
        return min(self.piece, max(LEAST_PIECE, self.mask_bytes // (self._per_pair * max(1, length + tokens))))

    def _read_in_pieces(
        self,
        trie: Trie,
        before: KeysValues | None,
        length: int,
        keep: bool,
        should_stop: Callable[[], bool],
    ) -> tuple[torch.Tensor, list[int], KeysValues]:
        size = self._step(length, len(trie.tokens))
        states: list[torch.Tensor] = []
        so_far = before
        for first in range(0, len(trie.tokens), size):
            if states and should_stop():
                raise Stopped
            end = min(first + size, len(trie.tokens))
            reading = Reading([Segment(trie, 0, first, end)], so_far, length, {})
            places = [length + depth for depth in trie.depths[first:end]]
            states.append(self._run(trie.tokens[first:end], places, reading, "prefill"))
            found = reading.kept or {}
            so_far = found if so_far is None else {layer: _joined(so_far[layer], kv) for layer, kv in found.items()}
        own = {layer: (k[:, length:], v[:, length:]) for layer, (k, v) in (so_far or {}).items()} if keep else {}
        return torch.cat(states), [0], own

    def extend(self, tokens: Sequence[int], step: Step) -> torch.Tensor:
        """Read more tokens of texts that are written; hidden states (tokens, width)."""
        return self._run(tokens, step.places.tolist(), Reading(step=step), "decode")

    def _run(self, ids: Sequence[int], places: Sequence[int], reading: Reading, part: Part) -> torch.Tensor:
        use_attention(self._model, NAME)
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

    def best(self, states: torch.Tensor, repeated: Repeated | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """The most likely next token after every state; see `head.Head.best`."""
        self.work.rows += len(states)
        with torch.inference_mode(), self.work.part("head"):
            return self._head.best(states, repeated)

    # --- the comparison with the model itself ---

    @property
    def next_switch(self) -> int | None:
        """Tokens of the longest sequence that can be read without a further comparison; None for no limit."""
        return self._reference.next_switch(self.verified)

    def ready_for(self, length: int, should_stop: Callable[[], bool] = lambda: False) -> None:
        """Compare again if sequences of so many tokens pass a switch that was not looked at yet.

        Raises:
            NotCausalError: beyond the switch, later tokens change what the model says of earlier ones.
            Unsupported: beyond the switch the results differ, or cannot be compared.
            Stopped: somebody asked to stop.
        """
        try:
            wanted = self._reference.passes_switch(self.verified, length, should_stop)
            if wanted is not None:
                self.verify(wanted)
        except (NotCausalError, Unsupported, Stopped):
            raise
        except Exception as e:  # Memory, or code of the model: of any kind.
            raise Unsupported(Message("{name}: {reason}", name=type(e).__name__, reason=e)) from e
        finally:
            self._reference.forget()

    def verify(self, length: int) -> None:
        """Compare with the model itself, over sequences of a number of tokens.

        A prefix that is kept, branches that share, other tokens before them in the row, pieces, and tokens that are
        generated: all of them, in one small trie.

        Raises:
            Unsupported: the results differ.
        """
        probe = self._reference.probe(length)
        # Of a long probe one sequence will do; the others are there to get in its way.
        compared = (0, 2) if length <= self._reference.short else (0,)
        posts = [self._head.post] if self.verified else list(_posts(self._model.config.get_text_config()))
        with self.work.uncounted():
            if self._reference.quantized and not self.verified:
                posts = [self._verify_head(probe, posts)]
            expected = [self._reference.own(probe.sequence(k), len(probe.branches[k])) for k in compared]
            with self._reference.arithmetic():
                states = self._states(probe)
                self._head.post = self._fitting(posts, [states[k] for k in compared], expected)
            if self._reference.wide and not self.verified:
                self._verify_rounding(probe, expected[0])
        self.verified = max(self.verified, length)

    def _fitting(
        self,
        posts: Sequence[Post],
        states: Sequence[torch.Tensor],
        expected: Sequence[torch.Tensor],
        *,
        noisy: bool = True,
    ) -> Post:
        """The first of what may follow the head with which states give what is expected; else raises Unsupported."""
        for post in posts:
            self._head.post = post
            try:
                for some, own in zip(states, expected, strict=True):
                    scores = torch.cat(list(self._head.scores(some)), dim=-1)
                    self._reference.compare(scores.log_softmax(-1), own, noisy=noisy)
            except Unsupported:
                if post == posts[-1]:
                    raise
            else:
                return post
        raise AssertionError("there is at least one")

    def _verify_head(self, probe: Probe, posts: Sequence[Post]) -> Post:
        """The head alone, on the model's own states, in which there is no noise of quantization."""
        ids, count = probe.sequence(0), len(probe.branches[0])
        own = self._reference.own(ids, count)
        self.restore()
        with self._reference.arithmetic():
            inputs = torch.tensor([ids], device=self.device)
            states = self._body(input_ids=inputs, use_cache=False).last_hidden_state[0, -count:]
            return self._fitting(posts, [states], [own], noisy=False)

    def _verify_rounding(self, probe: Probe, exact: torch.Tensor) -> None:
        """The same of the first sequence in the dtype of the run: no further from float32 than the model itself is."""
        with torch.inference_mode():
            states = self._states(probe)[0]
            got = torch.cat(list(self._head.scores(states)), dim=-1).log_softmax(-1)
        own = self._reference.own_rounded(probe.sequence(0), len(exact))
        self._reference.compare_rounded([got], [own], [exact])

    def _states(self, probe: Probe) -> list[torch.Tensor]:
        """Hidden states after every token of each branch, (tokens, width) each, read as prompts are."""
        piece, self.piece = self.piece, max(2, len(probe.prefix) // 2) if not self.verified else self.piece
        length = len(probe.prefix)
        try:
            _, _, before = self.read([grow([probe.prefix])], keep=True)
            tries = [grow([[*probe.branches[1]][:3]]), grow([branch[:-ADDED] or branch for branch in probe.branches])]
            self.piece = piece
            states, starts, kept = self.read(tries, before, length, keep=True)
        finally:
            self.piece = piece
        texts = Texts.of(tries, before, length, self.device)
        texts.put(0, [len(trie.tokens) for trie in tries], kept, ADDED)
        rows = [(k + 1, branch) for k, branch in enumerate(probe.branches) if len(branch) > ADDED]
        added: list[torch.Tensor] = []
        if rows:
            step = Step(texts, [row for row, _ in rows for _ in range(ADDED)], list(range(ADDED)) * len(rows))
            tokens = [token for _, branch in rows for token in branch[-ADDED:]]
            states_added = self.extend(tokens, step)
            added = [states_added[k : k + ADDED] for k in range(0, len(states_added), ADDED)]
        out: list[torch.Tensor] = []
        for k, branch in enumerate(probe.branches):
            own = states[[starts[1] + node for node in tries[1].paths[k]]]
            out.append(torch.cat([own, added.pop(0)]) if len(branch) > ADDED else own)
        return out


def _joined(
    before: tuple[torch.Tensor, torch.Tensor], after: tuple[torch.Tensor, torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.cat([before[0], after[0]], dim=1), torch.cat([before[1], after[1]], dim=1)


def _groups(config: Any) -> int:
    """Query heads that share a key head, the most of any layer."""
    heads = max(sizes(config, "num_attention_heads", "n_head"), default=1)
    return heads // min(sizes(config, "num_key_value_heads", "num_global_key_value_heads"), default=heads)


def _posts(config: Any) -> Iterator[Post]:
    """What a model may do with the scores of its head: as the settings say whose names speak of it."""
    found = {
        name: float(value)
        for name, value in config.to_dict().items()
        if isinstance(value, int | float) and not isinstance(value, bool) and value
    }
    factors = [1.0]
    for name, value in found.items():
        if any(part in name for part in ("logit_scale", "logits_scal", "lm_head_multiplier", "output_multiplier")):
            factors += [value, 1 / value]
    if "dim_model_base" in found and "hidden_size" in found:  # MiniCPM
        factors.append(found["dim_model_base"] / found["hidden_size"])
    caps = [value for name, value in found.items() if "logit" in name and "cap" in name and "att" not in name]
    yield from (Post(factor, cap) for cap in (*caps, None) for factor in dict.fromkeys(factors))
