"""Whether a way of running a model is equivalent to the reference: the model's own forward pass on one sequence.

Every way of running several sequences together, or of continuing one from a cache, is compared with it before it is
used: packed, in padded batches, in batches of equal length, one at a time. The comparison is made in float32 whatever
the dtype of the run, so that an error of the method is not mistaken for rounding; weights are converted meanwhile.
Where that cannot be done, or takes too long (half precision on a CPU from `LARGE` weights on), the difference is
compared with the rounding of the dtype. How large rounding is follows from the spread of a model's log-probabilities.

A model can change its behaviour with the length of a sequence; see `length_thresholds`. The first comparison is over a
short sequence. It is made again beyond a threshold before a sequence is processed that exceeds it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch

from jglue_app import messages
from jglue_app.backends.hf.engine import length_thresholds
from jglue_app.backends.hf.engine.float32_weights import Float32Weights
from jglue_app.backends.hf.engine.vocabulary_part import VocabularyPart
from jglue_app.backends.hf.memory import MemoryBudget, bytes_per_pair
from jglue_app.messages import Message

SHORT, SHORT_OF_LARGE = 40, 24
"""Tokens of the first comparison, where nothing in the configuration asks for more; fewer where they take long."""
LARGE = 1_500_000_000
"""Weights from which a model takes long on a CPU: there, half precision is not compared in float32 either."""
AT_LOAD = 160
"""Thresholds up to here are part of the first comparison."""
BRANCH = 16
"""Tokens of a probe sequence after the prefix that all share."""
DECODED = 2
"""Last tokens of a probe sequence, which are processed as if they had just been generated."""
BEYOND = 24
"""Tokens by which a probe sequence exceeds a threshold."""
FLOAT32_TOLERANCE = 3e-4
"""Largest difference of log-probabilities in float32, as a share of their standard deviation over the vocabulary."""
ROUNDING = 8
"""Without float32: the largest root mean square difference, in units of the dtype's last place times that deviation."""
TIMES_ROUNDING = 3
"""How many times the rounding error of the model itself is accepted: one token that takes another expert is much."""
TIMES_NOISE, MAX_NOISE = 2, 0.15
"""How many times the noise of quantization, which makes scores depend on other tokens, is accepted; and the most that
it may be, as a share of their standard deviation."""
RECHECK_FACTOR = 4
"""A model of unknown layers is compared again whenever a sequence is so many times longer than any before."""


class StopRequested(Exception):  # noqa: N818  # A request, not an error.
    """The caller asked to stop between two forward passes, or two layers of one."""


class Unsupported(Exception):  # noqa: N818  # A fact about a model, not an error.
    """A way of running a model is not equivalent to its own forward pass, or is not possible."""


class NotCausalError(Exception):
    """What a model predicts after earlier tokens depends on later ones: it can neither generate nor rank answers."""


@dataclass(frozen=True, slots=True)
class ProbeSequences:
    """Three sequences with a common prefix; the first two share more."""

    prefix: list[int]
    branches: list[list[int]]
    """What follows the prefix in each sequence; at its end `DECODED` tokens that are processed as generated ones."""

    def sequence(self, branch: int) -> list[int]:
        """A whole sequence."""
        return [*self.prefix, *self.branches[branch]]


class ReferenceModel:
    """A model's own forward pass, on one sequence at a time, without a cache.

    Args:
        model: a transformers model in evaluation mode, as it was loaded.
        context_length: most tokens of a sequence; None for no limit.

    Raises:
        NotCausalError: later tokens change what the model predicts after earlier ones.
    """

    def __init__(self, model: Any, context_length: int | None) -> None:
        self._model: Any = model
        self.attention: str = model.config._attn_implementation
        """The attention that the model was loaded with, by its name in transformers."""
        self.bytes_per_pair = bytes_per_pair(model, self.attention)
        """Bytes that this attention takes for every pair of tokens."""
        self.context_length = context_length
        """Most tokens of a sequence; None for no limit."""
        config = model.config.get_text_config()
        self.max_batched_length = length_thresholds.max_batched_length(config)
        """Longer sequences must run one at a time, as the length of one would change the others; None: never."""
        self.sparse_above = length_thresholds.sparse_threshold(config)
        """Tokens above which the model attends to a selection of them, so that a KV cache may be wrong; None: never."""
        self._thresholds = length_thresholds.thresholds(config)
        self._unknown_layers = length_thresholds.has_unknown_layers(config)
        names = length_thresholds.threshold_settings(config)
        self._rechecks_causality = self._unknown_layers or any("window" not in name for name in names)
        self._takes_logits_to_keep = "logits_to_keep" in inspect.signature(model.forward).parameters
        self._special_ids = length_thresholds.special_ids(model.config)
        self._vocabulary_size = int(model.get_input_embeddings().weight.shape[0])
        head = model.get_output_embeddings()
        scored = self._vocabulary_size if head is None else int(head.weight.shape[0])
        self.logit_bytes = 0 if self._takes_logits_to_keep else scored * model.dtype.itemsize
        """Bytes of logits for every token; 0 if the vocabulary is scored at the last positions alone."""
        large = model.device.type == "cpu" and model.num_parameters() >= LARGE
        self.in_float32 = model.dtype in (torch.bfloat16, torch.float16) and not large
        """Whether comparisons are made in float32, and the run in less."""
        self._float32_weights = Float32Weights(model)
        near = [size for size in self._thresholds if size <= AT_LOAD]
        self.initial_length = self._clip(max([SHORT_OF_LARGE if large else SHORT, *(size + BEYOND for size in near)]))
        """Tokens of the first comparison."""
        self.quantized = getattr(model, "hf_quantizer", None) is not None
        """Whether scores may depend on what is computed together."""
        self.part = VocabularyPart(model)
        """What is scored where the ways that are compared have the same head."""
        if self.quantized:
            self.part.close()
        self.too_noisy = False
        """Whether they depend on it so much that every prompt must run alone, as with plain transformers."""
        self._noise = 0.0
        self._cached_logprobs: dict[tuple[bool, tuple[int, ...]], torch.Tensor] = {}
        self._first_check()

    def _first_check(self) -> None:
        """Check a short sequence, without what the model cannot do: score a part of its vocabulary, run in float32."""
        try:
            self._check_causal(self.initial_length)
        except NotCausalError:
            raise
        except Exception:
            if self.part.exists:
                self.part.close()
            elif not self.in_float32:
                raise
            elif not self._float32_weights.convert_at_once():
                self.in_float32 = False  # Some module cannot be converted.
            self._cached_logprobs.clear()
            self._first_check()

    # --- the model's own results ---

    def restore_attention(self) -> None:
        """Give the model the attention that it was loaded with, if it has another now."""
        use_attention(self._model, self.attention)

    def logprobs(self, ids: Sequence[int], last: int, *, part: bool = False) -> torch.Tensor:
        """Log-probabilities after the last tokens of a sequence, (last, vocabulary), in float32 where that can be.

        Args:
            ids: the sequence.
            last: how many tokens.
            part: over a part of a large vocabulary.
        """
        key = part and self.part.exists, tuple(ids)
        cached = self._cached_logprobs.get(key)
        if cached is None or len(cached) < last:
            with self.arithmetic(part=part):
                cached = self.rounded_logprobs(ids, last)
            if len(ids) <= self.initial_length:
                self._cached_logprobs[key] = cached
        return cached[-last:]

    def rounded_logprobs(self, ids: Sequence[int], last: int) -> torch.Tensor:
        """The same in the dtype of the run."""
        return self._forward(ids, torch.arange(len(ids) - last, len(ids), device=self._model.device))

    @contextmanager
    def arithmetic(self, *, part: bool = False) -> Iterator[None]:
        """The context in which comparisons are made: float32, whatever the model's dtype; over a part of a large
        vocabulary where that is asked for."""
        dtype = torch.float32 if self.in_float32 else self._model.dtype
        with (
            torch.inference_mode(),
            # In this order: weights of the part are in float32 already.
            self.part.replace_head(dtype) if part else nullcontext(),
            self._float32_weights if self.in_float32 else nullcontext(),
        ):
            yield

    def last_hidden_states(self, ids: Sequence[int]) -> torch.Tensor:
        """Hidden states after the last layer, with the norm that follows it, of a sequence run alone, (tokens, width);
        in the dtype of the run."""
        self.restore_attention()
        # Scores over the vocabulary are not wanted: of one position they cost least.
        options: dict[str, Any] = {"logits_to_keep": 1} if self._takes_logits_to_keep else {}
        inputs = torch.tensor([list(ids)], device=self._model.device)
        with torch.inference_mode():
            out = self._model(input_ids=inputs, use_cache=False, output_hidden_states=True, **options)
        states: torch.Tensor = out.hidden_states[-1][0]
        return states

    def _logprobs_at(self, ids: Sequence[int], positions: Sequence[int]) -> dict[int, torch.Tensor]:
        """Position → log-probabilities (vocabulary,) after it, over a part of a large vocabulary."""
        with self.arithmetic(part=True):
            rows = self._forward(ids, torch.tensor(list(positions), device=self._model.device))
        return dict(zip(positions, rows, strict=True))

    def _forward(self, ids: Sequence[int], positions: torch.Tensor) -> torch.Tensor:
        self.restore_attention()
        options: dict[str, Any] = {"logits_to_keep": positions} if self._takes_logits_to_keep else {}
        inputs = torch.tensor([list(ids)], device=self._model.device)
        with torch.inference_mode():
            logits = self._model(input_ids=inputs, use_cache=False, **options).logits[0]
        kept: torch.Tensor = logits if self._takes_logits_to_keep else logits[positions.to(logits.device)]
        return kept.float().log_softmax(-1)

    def clear_cache(self) -> None:
        """Drop what is kept of the first comparison."""
        self._cached_logprobs.clear()
        self._float32_weights.clear()
        self.part.clear()

    def close(self) -> None:
        """Drop the model."""
        self.clear_cache()
        self.part.close()
        self._model = self._float32_weights.model = None

    def fits(self, tokens: int, memory: MemoryBudget, rows: int = 1) -> bool:
        """Whether this forward pass over some sequences at once fits into memory, each as a whole."""
        return memory.fits_alone(self.bytes_per_pair, tokens, rows, self.logit_bytes)

    # --- which sequences to compare ---

    @property
    def length_dependent(self) -> bool:
        """Whether anything in the configuration indicates a change with the length of a sequence."""
        return bool(self._thresholds) or self._unknown_layers or self.max_batched_length is not None

    def next_threshold(self, verified: int) -> int | None:
        """Tokens up to which sequences can run after a comparison over so many; None for any."""
        thresholds = [size for size in self._thresholds if size >= verified]
        if self._unknown_layers:
            thresholds.append(RECHECK_FACTOR * verified)
        return min(thresholds, default=None)

    def comparison_length(self, verified: int, length: int) -> int | None:
        """Tokens over which to compare before sequences of a length can run, after a comparison over `verified`; None
        when no comparison is needed."""
        thresholds = [size for size in self._thresholds if verified <= size < length]
        if self._unknown_layers and length > RECHECK_FACTOR * verified:
            thresholds.append(length - BEYOND)
        return self._clip(max(thresholds) + BEYOND) if thresholds else None

    def too_long_to_compare(
        self, verified: int, lengths: Mapping[int, int], memory: MemoryBudget, rows: int = 1
    ) -> set[int]:
        """Which sequences are so long that the comparison before them does not fit into memory.

        Args:
            verified: tokens of the longest comparison so far.
            lengths: number of a sequence → its tokens.
            memory: what may be used.
            rows: how many sequences are compared at once.
        """
        fits: dict[int | None, bool] = {None: True}
        too_long: set[int] = set()
        for i, length in lengths.items():
            needed = self.comparison_length(verified, length)
            if needed not in fits:
                fits[needed] = self.fits(needed or 0, memory, rows)
            if not fits[needed]:
                too_long.add(i)
        return too_long

    def length_to_verify(
        self, verified: int, length: int, should_stop: Callable[[], bool] = lambda: False
    ) -> int | None:
        """How long probe sequences have to be before sequences of a length can run; None when no comparison is needed.

        Args:
            verified: tokens of the longest comparison so far.
            length: tokens of the longest sequence that is to run.
            should_stop: called between forward passes.

        Raises:
            NotCausalError: beyond the threshold, later tokens change what the model predicts after earlier ones.
            StopRequested: the caller asked to stop.
        """
        needed = self.comparison_length(verified, length)
        if needed is None:
            return None
        if should_stop():
            raise StopRequested
        if self._rechecks_causality and needed > self.initial_length:
            self._check_causal(needed, should_stop)
        return needed

    def probe_sequences(self, length: int) -> ProbeSequences:
        """Sequences of a number of tokens."""
        branch = min(BRANCH + DECODED, max(1, length // 2))
        prefix = max(1, length - branch)
        shared = branch // 2
        ids = self._text_ids(prefix + 3 * branch)
        first = ids[prefix : prefix + branch]
        second = [*first[:shared], *ids[prefix + branch : prefix + 2 * branch - shared]]
        third = ids[prefix + 2 * branch : prefix + 2 * branch + max(1, branch - 3)]
        return ProbeSequences(ids[:prefix], [first, second, third])

    def _text_ids(self, count: int) -> list[int]:
        """Ids without a pattern that a model could learn, none of them special."""
        size = min(self._vocabulary_size, 1_493)
        allowed = [i for i in range(size) if i not in self._special_ids] or list(range(size))
        return [allowed[(7 + 31 * k + k // len(allowed)) % len(allowed)] for k in range(count)]

    def _clip(self, length: int) -> int:
        """No longer than a sequence can be, nor than one that runs together with others."""
        limits = (self.context_length, self.max_batched_length)
        return max(3, min([length, *(limit for limit in limits if limit is not None)]))

    # --- comparisons ---

    def _check_causal(self, length: int, should_stop: Callable[[], bool] = lambda: False) -> None:
        """Raise NotCausalError if a sequence and its prefix, run alone, differ at the tokens they share."""
        ids = self.probe_sequences(length).sequence(0)
        short = length <= self.initial_length
        sizes = [size for size in ((length // 2 + 1,) if short else (length - 9, length // 2 + 1)) if 0 < size < length]
        # Of a long sequence a few positions: log-probabilities of the whole vocabulary take memory.
        ranges = [range(0 if short else max(0, size - BRANCH), size) for size in sizes]
        if short:  # All of them: what comes next is compared with the last ones.
            whole = dict(enumerate(self.logprobs(ids, len(ids), part=True)))
        else:
            whole = self._logprobs_at(ids, sorted({position for positions in ranges for position in positions}))
        for size, positions in zip(sizes, ranges, strict=True):
            if should_stop():
                raise StopRequested
            shorter = self._logprobs_at(ids[:size], positions)
            expected = torch.stack([whole[position] for position in positions])
            got = torch.stack([shorter[position] for position in positions])
            if not bool(torch.isfinite(expected).all(-1).any()) or bool(torch.isnan(expected).any()):
                continue  # Reported for every item.
            try:
                self.compare(got, expected)
            except Unsupported as e:
                noise = float((got - expected).nan_to_num().square().mean(-1).sqrt().max())
                # In 8 bits the scale of a number, or whether it is an outlier, depends on the other tokens.
                if not self.quantized:
                    reason = messages.of(e)
                    raise NotCausalError(Message("over {length} tokens, {reason}", length=length, reason=reason)) from e
                self._noise = max(self._noise, noise)
                self.too_noisy |= noise > MAX_NOISE * float(expected[torch.isfinite(expected)].std())

    def compare(self, got: torch.Tensor, expected: torch.Tensor, *, noisy: bool = True, rounded: bool = False) -> None:
        """Raise Unsupported if log-probabilities are not those of the model itself.

        Args:
            got, expected: (positions, vocabulary), float32.
            noisy: whether the noise of quantization is accepted.
            rounded: whether both were computed in the dtype of the run, where comparisons are made in float32.
        """
        got = got.to(expected.device)
        if not bool(torch.isfinite(expected).any()) or bool(torch.isnan(expected).any()):
            raise Unsupported(Message("the model's own scores are not finite"))
        finite = torch.isfinite(expected)
        if bool((torch.isfinite(got) != finite).any()):
            raise Unsupported(Message("log-probabilities are finite in other places than the model's own"))
        difference = torch.where(finite, got - expected, 0).abs()
        deviation = float(expected[finite].std())
        root_mean_square = float(difference.square().mean(-1).sqrt().max())
        if noisy and root_mean_square <= TIMES_NOISE * self._noise:
            return
        if (self.in_float32 and not rounded) or self._model.dtype in (torch.float32, torch.float64):
            worst, limit = float(difference.max()), FLOAT32_TOLERANCE * max(deviation, 0.01)
        else:
            worst = root_mean_square
            limit = ROUNDING * torch.finfo(self._model.dtype).eps * max(deviation, 0.01)
        if not worst <= limit:
            raise Unsupported(Message("log-probabilities differ by {worst:.2g}", worst=worst))

    def compare_rounded(
        self, got: Sequence[torch.Tensor], reference: Sequence[torch.Tensor], exact: Sequence[torch.Tensor]
    ) -> None:
        """Raise Unsupported if results in the dtype of the run are further from float32 than the model's own are.

        Args:
            got, reference, exact: log-probabilities (positions, vocabulary) of each sequence.
        """

        def error(rows: Sequence[torch.Tensor]) -> float:
            pairs = zip(rows, exact, strict=True)
            errors = [torch.where(torch.isfinite(e), r - e, 0).square().mean(-1).sqrt() for r, e in pairs]
            return float(torch.cat(errors).max())

        worst, rounded_error = error(got), error(reference)
        if not worst <= TIMES_ROUNDING * rounded_error + 1e-6:
            raise Unsupported(
                Message(
                    "rounding errors are {worst:.2g}, and {usual:.2g} in the model itself",
                    worst=worst,
                    usual=rounded_error,
                )
            )


def use_attention(model: Any, name: str) -> None:
    """Set a model's attention to one of transformers' interface, if it is not that one already."""
    if model.config._attn_implementation != name:
        model.set_attn_implementation(name)


@contextmanager
def stopped_between_layers(model: Any, should_stop: Callable[[], bool]) -> Iterator[None]:
    """Raise StopRequested before the next layer once it is to stop: a pass of a large model takes minutes."""

    def check(*_: Any) -> None:
        if should_stop():
            raise StopRequested

    lists = [module for module in model.base_model.modules() if isinstance(module, torch.nn.ModuleList)]
    hooks = [layer.register_forward_pre_hook(check) for layers in lists for layer in layers]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
