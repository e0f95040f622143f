"""An unmodified transformers model that runs padded batches, in the fastest mode that gives what the model gives alone.

Sequences are padded on the left, so that the scored tokens are the last of every row; masks and position ids hide the
padding. Not from every model: a recurrent state takes the padding in. So every mode is compared with the model's own
forward pass on one sequence before it is used.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from transformers import DynamicCache

from jglue_app import messages
from jglue_app.backends.hf.counters import Counters
from jglue_app.backends.hf.engine.equivalence import (
    NotCausalError,
    ReferenceModel,
    StopRequested,
    Unsupported,
    stopped_between_layers,
)
from jglue_app.backends.hf.engine.outputs import raise_unless_out_of_memory
from jglue_app.backends.hf.engine.state_sharing import StateSharing
from jglue_app.backends.hf.memory import MemoryBudget, config_sizes, is_out_of_memory
from jglue_app.errors import first_line
from jglue_app.messages import Joined, Message, mark

# Any id will do, as padding is masked; that of the tokenizer may be missing or unknown to the model.
PAD_ID = 0
VERIFIED_NEW_TOKENS = 3
"""Tokens that a comparison generates."""
CHUNK_SETTINGS = ("chunk_size", "mamba_chunk_size", "block_size")
"""Of recurrent models that read in chunks, the last of which is filled up."""
PREFIX_PROBE_TOKENS = 24
"""Tokens of the sequences with which sharing a prefix is tried."""

PrefixKV = list[tuple[torch.Tensor, torch.Tensor]]
"""Keys and values of each layer, (1, heads, tokens, width)."""


@dataclass(frozen=True, slots=True)
class BatchMode:
    """How sequences run together."""

    name: str
    """For people; stored with a run."""
    rows: str
    """`padded`, `equal` (of equal length) or `single`."""
    use_cache: bool = True
    """Whether a sequence is continued from its KV cache, or computed from its first token for every new one."""


MODES = (
    BatchMode(mark("padded batches"), "padded"),
    BatchMode(mark("batches of equal length"), "equal"),
    BatchMode(mark("one at a time"), "single"),
    BatchMode(mark("one at a time, without a cache"), "single", use_cache=False),
)
"""From the fastest to the one that is the model's own forward pass."""
PADDED, UNCACHED = MODES[0], MODES[-1]
SINGLE = next(mode for mode in MODES if mode.rows == "single")


class PaddedModel:
    """A model with its batch mode.

    Args:
        model: a decoder-only transformers model in evaluation mode.
        reference: the same model's own forward pass.
        share_prefix: whether to compute the shared prefix of a batch once, where that can be done.
        mode: how sequences run together; None for the fastest mode that is equivalent to the reference.
    """

    def __init__(
        self, model: Any, reference: ReferenceModel, *, share_prefix: bool = True, mode: BatchMode | None = None
    ) -> None:
        self._model = model
        self._reference = reference
        forward = inspect.signature(model.forward).parameters
        self._takes_position_ids = "position_ids" in forward
        self._takes_logits_to_keep = "logits_to_keep" in forward
        # transformers has called it `cache` since 5.24.
        self._cache_argument = "cache" if "cache" in forward else "past_key_values"
        self.device: torch.device = model.device
        self.logit_bytes = reference.logit_bytes
        """Bytes of logits for every token of a batch; 0 if the vocabulary is scored at the last positions alone."""
        self.chunk_tokens = max(config_sizes(model.config.get_text_config(), *CHUNK_SETTINGS), default=1)
        """Tokens that take no less time and memory when there are fewer of them."""
        self.counters = Counters()
        self._cached_prefix: tuple[list[int], PrefixKV] = ([], [])
        self._context_length = reference.context_length
        self._mode_is_fixed = mode is not None
        self._verified_length = 0
        self.mode = mode or PADDED
        self.reason: str = ""
        """Why not in a faster mode; empty if in the fastest."""
        if not self._mode_is_fixed:
            self._find_mode(reference.initial_length)
        self.shares_prefix = (
            share_prefix and self.mode == PADDED and not self._mode_is_fixed and self._can_share_prefix()
        )
        self._state_sharing: StateSharing | None = None
        if share_prefix and not self.shares_prefix and not self._mode_is_fixed and self.mode.use_cache:
            self._state_sharing = self._verified_state_sharing(reference.initial_length)

    def close(self) -> None:
        """Drop the model and the prefix cache."""
        self._cached_prefix = ([], [])
        if self._state_sharing is not None:
            self._state_sharing.close()
        self._model = None

    # --- forward passes ---

    def padded(self, rows: list[list[int]]) -> dict[str, torch.Tensor]:
        """The inputs of a batch of token ids, each (rows, width)."""
        width = max(len(ids) for ids in rows)
        ids = torch.tensor([[PAD_ID] * (width - len(row)) + row for row in rows], device=self._model.device)
        mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows], device=self._model.device)
        inputs = {"input_ids": ids, "attention_mask": mask}
        # Without padding the model counts positions itself: some do not begin at 0.
        if self._takes_position_ids and any(len(row) < width for row in rows):
            inputs["position_ids"] = (mask.cumsum(-1) - 1).clamp(min=0)
        return inputs

    def stopped_between_layers(self, should_stop: Callable[[], bool]) -> AbstractContextManager[None]:
        """While it runs, raise StopRequested before the next layer once it is to stop."""
        return stopped_between_layers(self._model, should_stop)

    def fits(self, tokens: int, memory: MemoryBudget) -> bool:
        """Whether a sequence of so many tokens fits into memory, which runs as a whole."""
        return self._reference.fits(tokens, memory)

    def logits(self, inputs: dict[str, torch.Tensor], prefix_length: int, last: int) -> torch.Tensor:
        """Logits after the last tokens of each row, (rows, last, vocabulary).

        Args:
            inputs: of `padded`.
            prefix_length: tokens of the cached prefix, with which every row begins.
            last: how many tokens.
        """
        self._reference.restore_attention()
        options: dict[str, Any] = {"logits_to_keep": last} if self._takes_logits_to_keep else {}
        options["use_cache"] = bool(prefix_length)
        options |= self.cache_option(inputs, prefix_length)
        new = {
            name: tensor if name == "attention_mask" else tensor[:, prefix_length:] for name, tensor in inputs.items()
        }
        rows, width = new["input_ids"].shape
        self.counters.forward_tokens += rows * width
        self.counters.scored_positions += rows * (last if self._takes_logits_to_keep else width)
        logits: torch.Tensor = self._model(**new, **options).logits[:, -last:]
        return logits

    def generate(self, inputs: dict[str, torch.Tensor], **options: Any) -> Any:
        """What transformers' `generate` returns for a batch of `padded`, with further arguments for it."""
        self._reference.restore_attention()
        return self._model.generate(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"], **options)

    # --- the shared prefix ---

    @property
    def cached_prefix(self) -> list[int]:
        """Token ids of the prefix whose keys and values are available."""
        return self._cached_prefix[0]

    def drop_prefix(self) -> None:
        """Drop the prefix cache."""
        self._cached_prefix = ([], [])
        if self._state_sharing is not None:
            self._state_sharing.drop_prefix()

    def cache_prefix(self, ids: list[int]) -> None:
        """Compute the keys and values of a prefix; raises RuntimeError when memory runs out."""
        self._cached_prefix = ([], [])
        self._reference.restore_attention()
        cache = DynamicCache()
        self.counters.forward_tokens += len(ids)
        with torch.inference_mode(), self.counters.timed("prefill"):
            # Of the model without its head: the vocabulary is not scored here.
            self._model.base_model(**self.padded([ids]), **{self._cache_argument: cache}, use_cache=True)
        self._cached_prefix = ids, [(layer.keys, layer.values) for layer in cache.layers]

    def cache_option(self, inputs: dict[str, torch.Tensor], prefix_length: int) -> dict[str, DynamicCache]:
        """The argument with which the model continues a batch from its prefix; empty without one.

        The prefix is in the first columns of the batch, moved to the right by each row's padding. Where a row is
        padded, the end of its prefix does not fit and is computed again in place of the padding.
        """
        if not prefix_length:
            return {}
        mask = inputs["attention_mask"]
        pads = [min(int(pad), prefix_length) for pad in mask.shape[1] - mask.sum(-1)]
        cache = DynamicCache()
        for layer, prefix in enumerate(self._cached_prefix[1]):
            moved = [tensor.new_zeros(len(pads), tensor.shape[1], prefix_length, tensor.shape[3]) for tensor in prefix]
            for target, source in zip(moved, prefix, strict=True):
                for row, pad in enumerate(pads):
                    target[row, :, pad:] = source[0, :, : prefix_length - pad]
            cache.update(*moved, layer)
        return {self._cache_argument: cache}

    def _can_share_prefix(self) -> bool:
        """Whether computing the prefix once gives what computing it with each sequence gives."""
        if self._reference.length_dependent:
            return False  # A cache that drops tokens cannot be moved.
        length = PREFIX_PROBE_TOKENS
        if self._context_length is not None:
            length = max(3, min(length, self._context_length))
        probe = self._reference.probe_sequences(length)
        inputs = self.padded([probe.sequence(k) for k in range(3)])
        try:
            with self._reference.arithmetic():
                expected = self.logits(inputs, 0, 1).float().log_softmax(-1)
                self.cache_prefix(probe.prefix)
                got = self.logits(inputs, len(probe.prefix), 1).float().log_softmax(-1)
            self._reference.compare(got[:, 0], expected[:, 0])
        except Exception:  # Other architectures keep something else, and may fail in any way.
            return False
        finally:
            self._cached_prefix = ([], [])
            self.counters.reset()
        return True

    @property
    def state_sharing(self) -> StateSharing | None:
        """Goes on from copies of the model's cache; None where it cannot, or where a prefix is shared anyway."""
        return self._state_sharing if self.mode.use_cache else None

    def _verified_state_sharing(self, length: int) -> StateSharing | None:
        """Ranking from copies of the cache, if it gives what the model gives alone."""
        try:
            sharing = self._state_sharing or StateSharing(self._model, self._reference, self.counters)
            sharing.verify(length)
        except StopRequested:
            raise
        except Exception:  # Other architectures keep something else, and may fail in any way.
            return None
        return sharing

    # --- the comparison with the model itself ---

    def verify_up_to(self, length: int, should_stop: Callable[[], bool]) -> bool:
        """Compare again if sequences of so many tokens exceed a threshold that was not verified yet.

        Returns:
            False when the caller asked to stop before that was done.
        """
        if self._mode_is_fixed:
            return True
        sparse = self._reference.sparse_above
        if sparse is not None and length > sparse and self.mode != UNCACHED:
            self.mode = UNCACHED
            reason = Message("above {sparse:,} tokens the model attends to a choice of them", sparse=sparse)
            self.reason = Joined("; ", filter(None, (self.reason, reason)))
        try:
            needed = self._reference.length_to_verify(self._verified_length, length, should_stop)
            if needed is not None:
                with self.stopped_between_layers(should_stop):
                    self._find_mode(needed)
                    if self._state_sharing is not None:
                        self._state_sharing = self._verified_state_sharing(needed)
        except StopRequested:
            return False
        finally:
            self._reference.clear_cache()
        return True

    def too_long_to_compare(self, lengths: Mapping[int, int], memory: MemoryBudget) -> set[int]:
        """Which sequences, number → tokens, are so long that the comparison before them does not fit into memory."""
        if self._mode_is_fixed:
            return set()
        rows = 1 if self.mode.rows == "single" else 2
        return self._reference.too_long_to_compare(self._verified_length, lengths, memory, rows)

    def _find_mode(self, length: int) -> None:
        """Set the fastest mode, from the present one on, that gives what the model gives alone."""
        for mode in MODES[MODES.index(self.mode) :]:
            try:
                # The last is the model's own forward pass, token by token.
                if mode != UNCACHED:
                    with self.counters.uncounted():
                        self._verify(mode, length)
            except (NotCausalError, StopRequested):
                raise
            except Exception as e:  # A model may fail with several sequences in any way.
                if is_out_of_memory(e) and length > self._reference.initial_length:
                    raise_unless_out_of_memory(e)
                    return  # Not known; what is too long for memory is reported item by item.
                reason = messages.of(e)
                if not isinstance(e, Unsupported):
                    reason = Message("{error}: {reason}", error=type(e).__name__, reason=first_line(e))
                self.reason = Message("{mode}: {reason}", mode=Message(mode.name), reason=reason)
            else:
                self.mode = mode
                break
        self._verified_length = max(self._verified_length, length)

    def _verify(self, mode: BatchMode, length: int) -> None:
        """Raise Unsupported if sequences of a number of tokens get other log-probabilities in a batch than alone."""
        limit = self._context_length
        if limit is not None:
            length = max(2, min(length, limit - VERIFIED_NEW_TOKENS))
        probe = self._reference.probe_sequences(length)
        first, second = probe.sequence(0), probe.sequence(2 if mode.rows == "padded" else 1)
        rows = [first] if mode.rows == "single" else [first, second]
        last = min(map(len, probe.branches))
        with self._reference.arithmetic():
            logprobs = self.logits(self.padded(rows), 0, last).float().log_softmax(-1)
        for row, ids in enumerate(rows):
            self._reference.compare(logprobs[row], self._reference.logprobs(ids, last))
        new_tokens = VERIFIED_NEW_TOKENS
        if limit is not None:
            new_tokens = min(new_tokens, limit - max(map(len, rows)))
        if new_tokens < 1:
            return
        inputs = self.padded(rows)
        with self._reference.arithmetic():
            out = self.generate(
                inputs,
                max_new_tokens=new_tokens,
                min_new_tokens=new_tokens,
                use_cache=mode.use_cache,
                return_dict_in_generate=True,
                output_logits=True,
            )
        for row, ids in enumerate(rows):
            new = out.sequences[row, inputs["input_ids"].shape[1] :].tolist()
            got = torch.stack([step[row] for step in out.logits]).float().log_softmax(-1)
            self._reference.compare(got, self._reference.logprobs([*ids, *new[:-1]], new_tokens))
