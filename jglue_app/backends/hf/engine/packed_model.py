"""An unmodified transformers model that runs a trie of tokens in one row, without padding.

The model's attention is exchanged for `packed_attention`: the tokens of several tries follow one another in one row,
every token attends to its own branch alone, and the prefix that all share is kept as keys and values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

from jglue_app import messages
from jglue_app.backends.hf.counters import Counters, Phase
from jglue_app.backends.hf.engine import packed_attention
from jglue_app.backends.hf.engine.attention_modules import AttentionModules
from jglue_app.backends.hf.engine.batched_attention import BatchedAttention
from jglue_app.backends.hf.engine.decode_step import DecodeStep
from jglue_app.backends.hf.engine.equivalence import (
    DECODED,
    NotCausalError,
    ProbeSequences,
    ReferenceModel,
    StopRequested,
    Unsupported,
    stopped_between_layers,
    use_attention,
)
from jglue_app.backends.hf.engine.kv_cache import DecodeCache, LayerKV
from jglue_app.backends.hf.engine.lm_head import LMHead, LogitTransform
from jglue_app.backends.hf.engine.packed_attention import ForwardContext, Segment, forward_context
from jglue_app.backends.hf.engine.repetition_penalty import SeenTokens
from jglue_app.backends.hf.engine.trie import Trie, build_trie
from jglue_app.backends.hf.memory import MASK_BYTES, MemoryBudget, config_sizes
from jglue_app.messages import Message

MIN_CHUNK_TOKENS = 32
"""Tokens of one prompt that are processed at once when memory is short."""
BATCHED_DEVICES = ("cuda", "cpu")
"""Kinds of devices on which the tries of a forward pass are batched in attention: a call takes long to start there."""
PRODUCT_DEVICES = ("cpu",)
"""Those of them on which plain products over all tries are faster than torch's kernels."""
_BEFORE_HEAD = {"ModernBertDecoderForCausalLM": "lm_head"}
"""Class of a model → its module between the last hidden states and the product with the vocabulary, of those that have
one."""


class PackedModel:
    """A model with packed attention.

    Args:
        model: a decoder-only transformers model in evaluation mode; its attention is exchanged from now on.
        reference: the same model's own forward pass.
        screen: see `lm_head.LMHead`.
        batching: whether several tries of a pass may be batched in attention.

    Raises:
        Unsupported: the model's attention cannot be exchanged, or does not give the same results. The model has its
            own attention again then.
    """

    def __init__(
        self, model: Any, reference: ReferenceModel, screen: bool | None = None, *, batching: bool = True
    ) -> None:
        self._modules = None if model._can_set_attn_implementation() else AttentionModules(model)
        self._model = model
        self._reference = reference
        self._body = model.base_model
        self._before_head = getattr(model, _BEFORE_HEAD.get(type(model).__name__, ""), torch.nn.Identity())
        self.counters = Counters()
        self.verified_length = 0
        """Tokens of the longest sequence that was compared with the model itself."""
        self.chunk_tokens = 1_024
        """Most tokens of one prompt that are processed at once."""
        self.max_mask_bytes: int | None = None
        """Most bytes that the mask of one chunk may take; None for no limit."""
        kind = model.device.type
        self.batching = BatchedAttention(enabled=batching and kind in BATCHED_DEVICES, products=kind in PRODUCT_DEVICES)
        """Whether several tries of a forward pass are batched in attention."""
        self._mask_bytes_per_pair = MASK_BYTES * _query_groups(model.config.get_text_config())
        try:
            self._head = LMHead(model.get_output_embeddings(), screen)
            self.verify(reference.initial_length)
        except Unsupported:
            self.restore_attention()
            raise
        except Exception as e:  # Other architectures may fail in any way.
            self.restore_attention()
            raise _failed(e) from e

    def restore_attention(self) -> None:
        """Give the model its own attention back."""
        self._reference.restore_attention()

    @property
    def device(self) -> torch.device:
        """Where token ids go in."""
        device: torch.device = self._model.device
        return device

    # --- forward passes ---

    def prefill(
        self,
        tries: Iterable[Trie],
        prefix_kv: LayerKV | None = None,
        prefix_length: int = 0,
        keep: bool = False,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> tuple[torch.Tensor, list[int], LayerKV]:
        """Process tries one after another in one row; a single one that is long in chunks.

        Args:
            tries: what to process.
            prefix_kv: keys and values of a prefix that all share.
            prefix_length: its tokens.
            keep: return keys and values.
            should_stop: called before every layer.

        Returns:
            Hidden states (tokens, width), where each trie starts, and the keys and values if they are kept.

        Raises:
            StopRequested: the caller asked to stop.
        """
        segments: list[Segment] = []
        start = 0
        for trie in tries:
            segments.append(Segment(trie, start))
            start += len(trie.tokens)
        if len(segments) == 1 and self._chunk_size(prefix_length, start) < start:
            return self._prefill_in_chunks(segments[0].trie, prefix_kv, prefix_length, keep, should_stop)
        batched = self.batching.plan([s.trie for s in segments], prefix_length)
        context = ForwardContext(segments, prefix_kv, prefix_length, {} if keep else None, batched)
        ids = [token for s in segments for token in s.trie.tokens]
        positions = [prefix_length + depth for s in segments for depth in s.trie.depths]
        states = self._forward(ids, positions, context, "prefill", should_stop)
        return states, [s.start for s in segments], context.new_kv or {}

    def _chunk_size(self, prefix_length: int, tokens: int) -> int:
        """Tokens of a chunk: no more than are processed at once, and than the mask has room for."""
        if self.max_mask_bytes is None:
            return self.chunk_tokens
        bytes_per_token = self._mask_bytes_per_pair * max(1, prefix_length + tokens)
        return min(self.chunk_tokens, max(MIN_CHUNK_TOKENS, self.max_mask_bytes // bytes_per_token))

    def chunk_bytes(self, prefix_length: int, tokens: int, activation_bytes: int) -> int:
        """Bytes that one chunk of a number of tokens takes for its masks, and for the activations of each token."""
        size = min(tokens, self._chunk_size(prefix_length, tokens))
        # Masks of every query head, and what they are copied from: one with a window and one without.
        pair_bytes = self._mask_bytes_per_pair + 2
        return size * (pair_bytes * (prefix_length + tokens) + activation_bytes)

    def _prefill_in_chunks(
        self,
        trie: Trie,
        prefix_kv: LayerKV | None,
        prefix_length: int,
        keep: bool,
        should_stop: Callable[[], bool],
    ) -> tuple[torch.Tensor, list[int], LayerKV]:
        size = self._chunk_size(prefix_length, len(trie.tokens))
        states: list[torch.Tensor] = []
        kv = prefix_kv
        for first in range(0, len(trie.tokens), size):
            end = min(first + size, len(trie.tokens))
            context = ForwardContext([Segment(trie, 0, first, end)], kv, prefix_length, {})
            positions = [prefix_length + depth for depth in trie.depths[first:end]]
            states.append(self._forward(trie.tokens[first:end], positions, context, "prefill", should_stop))
            new_kv = context.new_kv or {}
            kv = new_kv if kv is None else {layer: _concatenated(kv[layer], added) for layer, added in new_kv.items()}
        if not keep:
            return torch.cat(states), [0], {}
        trie_kv = {layer: (k[:, prefix_length:], v[:, prefix_length:]) for layer, (k, v) in (kv or {}).items()}
        return torch.cat(states), [0], trie_kv

    def decode(self, tokens: Sequence[int], step: DecodeStep) -> torch.Tensor:
        """Process new tokens of sequences that are being generated; hidden states (tokens, width)."""
        return self._forward(tokens, step.positions, ForwardContext(decode_step=step), "decode")

    def _forward(
        self,
        ids: Sequence[int],
        positions: Sequence[int],
        context: ForwardContext,
        phase: Phase,
        should_stop: Callable[[], bool] | None = None,
    ) -> torch.Tensor:
        self.counters.forward_tokens += len(ids)
        stopped = nullcontext() if should_stop is None else stopped_between_layers(self._model, should_stop)
        exchanged = self._packed_attention(max(positions) + 1)
        with forward_context(context), torch.inference_mode(), self.counters.timed(phase), exchanged, stopped:
            out = self._body(
                input_ids=torch.tensor([list(ids)], device=self.device),
                position_ids=torch.tensor([list(positions)], device=self.device),
                use_cache=False,
            )
            states: torch.Tensor = self._before_head(out.last_hidden_state[0])
        return states

    def _packed_attention(self, length: int) -> AbstractContextManager[None]:
        """Exchange the model's attention for a pass over tokens at positions below a length."""
        if self._modules is not None:
            return self._modules.exchanged(length)
        use_attention(self._model, packed_attention.NAME)
        return nullcontext()

    def logprobs(self, states: torch.Tensor, rows: Sequence[int], targets: Sequence[int]) -> torch.Tensor:
        """Log-probability of each target after the state of its row; see `LMHead.logprobs`."""
        self.counters.scored_positions += len(states)
        with torch.inference_mode(), self.counters.timed("head"):
            return self._head.logprobs(states, rows, targets)

    def argmax(self, states: torch.Tensor, seen: SeenTokens | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """The most likely next token after every state; see `LMHead.argmax`."""
        self.counters.scored_positions += len(states)
        with torch.inference_mode(), self.counters.timed("head"):
            return self._head.argmax(states, seen)

    # --- the comparison with the model itself ---

    @property
    def next_threshold(self) -> int | None:
        """Tokens of the longest sequence that can run without a further comparison; None for no limit."""
        return self._reference.next_threshold(self.verified_length)

    def verify_up_to(self, length: int, should_stop: Callable[[], bool] = lambda: False) -> None:
        """Compare again if sequences of so many tokens exceed a threshold that was not verified yet.

        Raises:
            NotCausalError: beyond the threshold, later tokens change what the model predicts after earlier ones.
            Unsupported: beyond the threshold the results differ, or cannot be compared.
            StopRequested: the caller asked to stop.
        """
        try:
            needed = self._reference.length_to_verify(self.verified_length, length, should_stop)
            if needed is not None:
                with stopped_between_layers(self._model, should_stop):
                    self.verify(needed)
        except (NotCausalError, Unsupported, StopRequested):
            raise
        except Exception as e:  # Memory, or code of the model: of any kind.
            raise _failed(e) from e
        finally:
            self._reference.clear_cache()

    def too_long_to_compare(self, lengths: Mapping[int, int], memory: MemoryBudget) -> set[int]:
        """Which sequences, number → tokens, are so long that the comparison before them does not fit into memory."""
        return self._reference.too_long_to_compare(self.verified_length, lengths, memory)

    def verify(self, length: int) -> None:
        """Compare with the model itself, over sequences of a number of tokens.

        One small trie has all that can go wrong: a prefix that is kept, branches that share tokens, other tokens before
        them in the row, chunks, and tokens that are generated. Of a large vocabulary a part is scored, and all of it
        once.

        Raises:
            Unsupported: the results differ.
        """
        probe = self._reference.probe_sequences(length)
        # Of long sequences one is compared; the others are there to interfere with it.
        compared = (0, 2) if length <= self._reference.initial_length else (0,)
        transforms = [self._head.transform]
        if not self.verified_length:
            transforms = list(_possible_transforms(self._model.config.get_text_config()))
        with self.counters.uncounted():
            if self._reference.quantized and not self.verified_length:
                transforms = [self._verify_head(probe, transforms)]
            expected = [
                self._reference.logprobs(probe.sequence(k), len(probe.branches[k]), part=True) for k in compared
            ]
            with self._reference.arithmetic(part=True):
                states = self._probe_states(probe)
                self._head.transform = self._matching_transform(transforms, [states[k] for k in compared], expected)
            if not self.verified_length:
                if self._reference.in_float32:
                    self._verify_rounding(probe, expected[0])
                elif self._reference.part.exists:
                    self._verify_whole_head(probe, states[0][-1:])
        self.verified_length = max(self.verified_length, length)

    def _matching_transform(
        self,
        transforms: Sequence[LogitTransform],
        states: Sequence[torch.Tensor],
        expected: Sequence[torch.Tensor],
        *,
        noisy: bool = True,
    ) -> LogitTransform:
        """The first transform of the logits with which states give what is expected; raises Unsupported without one."""
        for transform in transforms:
            self._head.transform = transform
            try:
                # Of all sequences at once: the head is as large as the rest of a small model.
                logits = self._probe_logits(torch.cat(list(states)))
                parts = torch.split(logits.log_softmax(-1), [len(rows) for rows in expected])
                for logprobs, own_logprobs in zip(parts, expected, strict=True):
                    self._reference.compare(logprobs, own_logprobs, noisy=noisy)
            except Unsupported:
                if transform == transforms[-1]:
                    raise
            else:
                return transform
        raise AssertionError("there is at least one transform")

    def _probe_logits(self, states: torch.Tensor) -> torch.Tensor:
        """Logits over the tokens that the reference scores, (states, tokens) in float32."""
        part = self._reference.part
        if part.exists:
            return self._head.logits_over(states, *part.weights(states.dtype))
        return torch.cat(list(self._head.logits(states)), dim=-1)

    def _verify_head(self, probe: ProbeSequences, transforms: Sequence[LogitTransform]) -> LogitTransform:
        """The head alone, on the model's own states, in which there is no noise of quantization."""
        ids, count = probe.sequence(0), len(probe.branches[0])
        expected = self._reference.logprobs(ids, count)
        self.restore_attention()
        with self._reference.arithmetic():
            inputs = torch.tensor([ids], device=self.device)
            states = self._body(input_ids=inputs, use_cache=False).last_hidden_state[0, -count:]
            states = self._before_head(states)
            return self._matching_transform(transforms, [states], [expected], noisy=False)

    def _verify_whole_head(self, probe: ProbeSequences, states: torch.Tensor) -> None:
        """All of the vocabulary once, after the last token of the first sequence, whose state is given."""
        with torch.inference_mode():
            got = torch.cat(list(self._head.logits(states)), dim=-1).log_softmax(-1)
        self._reference.compare(got, self._reference.rounded_logprobs(probe.sequence(0), 1))

    def _verify_rounding(self, probe: ProbeSequences, exact: torch.Tensor) -> None:
        """The same of the first sequence in the dtype of the run: no further from float32 than the model itself is.

        Args:
            probe: the sequences.
            exact: log-probabilities of the first in float32, over the tokens that the reference scores.
        """
        with torch.inference_mode():
            states = self._probe_states(probe)[0]
            got = torch.cat(list(self._head.logits(states)), dim=-1).log_softmax(-1)
        rounded = self._reference.rounded_logprobs(probe.sequence(0), len(exact))
        part = self._reference.part
        if part.exists:
            self._reference.compare(got[-1:], rounded[-1:], rounded=True)
            got, rounded = (rows[:, :: part.step].log_softmax(-1) for rows in (got, rounded))
        self._reference.compare_rounded([got], [rounded], [exact])

    def _probe_states(self, probe: ProbeSequences) -> list[torch.Tensor]:
        """Hidden states after every token of each branch, (tokens, width) each, computed as for prompts."""
        chunk_tokens = self.chunk_tokens
        if not self.verified_length:
            self.chunk_tokens = max(2, len(probe.prefix) // 2)
        length = len(probe.prefix)
        try:
            _, _, prefix_kv = self.prefill([build_trie([probe.prefix])], keep=True)
            prompts = [branch[:-DECODED] or branch for branch in probe.branches]
            tries = [build_trie([[*probe.branches[1]][:3]]), build_trie(prompts)]
            self.chunk_tokens = chunk_tokens
            states, starts, trie_kv = self.prefill(tries, prefix_kv, length, keep=True)
        finally:
            self.chunk_tokens = chunk_tokens
        cache = DecodeCache.allocate(tries, prefix_kv, length, self.device)
        cache.write_prefill(0, [len(trie.tokens) for trie in tries], trie_kv, DECODED)
        # Row 0 is the first trie; it has one path.
        rows = [(k + 1, branch) for k, branch in enumerate(probe.branches) if len(branch) > DECODED]
        decoded: list[torch.Tensor] = []
        if rows:
            step = DecodeStep(cache, [row for row, _ in rows for _ in range(DECODED)], list(range(DECODED)) * len(rows))
            tokens = [token for _, branch in rows for token in branch[-DECODED:]]
            decoded_states = self.decode(tokens, step)
            decoded = [decoded_states[k : k + DECODED] for k in range(0, len(decoded_states), DECODED)]
        out: list[torch.Tensor] = []
        for k, branch in enumerate(probe.branches):
            prompt_states = states[[starts[1] + node for node in tries[1].paths[k]]]
            out.append(torch.cat([prompt_states, decoded.pop(0)]) if len(branch) > DECODED else prompt_states)
        return out


def _failed(error: Exception) -> Unsupported:
    return Unsupported(Message("{error}: {reason}", error=type(error).__name__, reason=messages.of(error)))


def _concatenated(
    before: tuple[torch.Tensor, torch.Tensor], after: tuple[torch.Tensor, torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.cat([before[0], after[0]], dim=1), torch.cat([before[1], after[1]], dim=1)


def _query_groups(config: Any) -> int:
    """Query heads that share a key head, the most of any layer."""
    heads = max(config_sizes(config, "num_attention_heads", "n_head"), default=1)
    return heads // min(config_sizes(config, "num_key_value_heads", "num_global_key_value_heads"), default=heads)


def _possible_transforms(config: Any) -> Iterator[LogitTransform]:
    """What a model may do with its logits, by the settings whose names suggest it."""
    numbers = {
        name: float(value)
        for name, value in config.to_dict().items()
        if isinstance(value, int | float) and not isinstance(value, bool) and value
    }
    factors = [1.0]
    for name, value in numbers.items():
        if any(part in name for part in ("logit_scale", "logits_scal", "lm_head_multiplier", "output_multiplier")):
            factors += [value, 1 / value]
    if "dim_model_base" in numbers and "hidden_size" in numbers:  # MiniCPM
        factors.append(numbers["dim_model_base"] / numbers["hidden_size"])
    caps = [value for name, value in numbers.items() if "logit" in name and "cap" in name and "att" not in name]
    yield from (LogitTransform(factor, cap) for cap in (*caps, None) for factor in dict.fromkeys(factors))
