"""Batches of prompts through a transformers model: greedy generation and log-likelihood of answers.

Sequences are padded on the left, so the scored tokens are the last of every row; masks and position ids make padding
invisible. What all prompts of a call begin with is read once, and its keys and values are copied into every batch.
Batches are filled up to a number of tokens and halved when memory runs out.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from transformers import DynamicCache, LogitsProcessor, LogitsProcessorList, StoppingCriteria, StoppingCriteriaList

from jglue_app.backends.encoding import Encoder
from jglue_app.backends.memory import Memory
from jglue_app.backends.thinking import decoder
from jglue_app.backends.trie import common
from jglue_app.backends.work import Work
from jglue_app.errors import ModelError, first_line
from jglue_app.thought import Closing
from jglue_app.types import Output, Prompt, RunError

TOKENS_PER_BATCH = {"cpu": 1_024, "other": 16_384}
"""Tokens read at once, padding among them, if memory allows."""
PLACES = {"cpu": 32_768, "other": 131_072}
"""Tokens whose keys and values are kept, if memory allows."""
MAX_ROWS = 64
WORTH_SHARING = 16
"""Tokens that all prompts must begin with for their keys and values to be copied."""
KEPT_SLACK = 32
"""What was kept of an earlier call is used again unless so many more tokens are shared now."""
# Any id will do, as padded places are masked; that of the tokenizer may be missing or unknown to the model.
PAD = 0

NON_FINITE = RunError(
    "non_finite", "The model produced NaN or infinite scores. Try another dtype, such as float32 or bfloat16."
)
OUT_OF_MEMORY = RunError(
    "out_of_memory",
    "This item alone does not fit into memory. Choose 8-bit, fewer examples, or a smaller model.",
)
EMPTY_PROMPT = RunError("empty_prompt", "The prompt has no tokens of its own.")
NO_CHOICES = RunError("no_choices", "This item has no fixed answers to rank.")
EMPTY_ANSWER = RunError("empty_answer", "One of the answers to rank has no tokens. Give every answer a text.")


Row = tuple[Any, list[int]]
"""A key and the token ids that go in."""
Results = list[tuple[Any, Any]]
"""A key and what came out, for every row of a batch."""
KeysValues = list[tuple[torch.Tensor, torch.Tensor]]
"""Of each layer, (1, heads, tokens, width)."""


class _StopRequestedError(Exception):
    """Somebody asked to stop in the middle of a batch."""


class Batcher:
    """Runs prompts through one model.

    Args:
        model: a decoder-only transformers model in evaluation mode.
        tokenizer: its tokenizer.
        eos: ids that end a generation.
        context_length: most tokens of prompt and answer together; None for no limit.
        memory: what it may work in.
        shares: whether to read the common beginning once, where that can be done.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        eos: list[int],
        context_length: int | None,
        memory: Memory,
        *,
        shares: bool = True,
    ) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._eos = set(eos)
        self.context_length = context_length
        forward = inspect.signature(model.forward).parameters
        self._takes_positions = "position_ids" in forward
        self._can_keep = "logits_to_keep" in forward
        # transformers has called it `cache` since 5.24.
        self._cache = "cache" if "cache" in forward else "past_key_values"
        self._encoder = Encoder(tokenizer)
        self.bos = self._encoder.bos
        kind = "cpu" if model.device.type == "cpu" else "other"
        words = 0 if self._can_keep else model.get_output_embeddings().weight.shape[0] * model.dtype.itemsize
        self._tokens = memory.tokens(TOKENS_PER_BATCH[kind], words)
        self._places = memory.places(PLACES[kind])
        self.work = Work()
        self._kept: tuple[list[int], KeysValues] = ([], [])
        self._shares = shares and self._can_share()

    def close(self) -> None:
        """Drop the model and what is kept of it."""
        self._kept = ([], [])
        self._model = None

    # --- generation ---

    def generate(
        self, prompts: Sequence[Prompt], max_new_tokens: int, should_stop: Callable[[], bool]
    ) -> Iterator[tuple[int, Output | RunError]]:
        """Greedy continuations; see `types.Backend`."""
        asked: dict[int, tuple[list[int], tuple[str, ...]]] = {}
        with self.work.part("tokenize"):
            encoded = [self._encoder.encode(p.text, has_special=p.messages is not None) for p in prompts]
        for i, ids in enumerate(encoded):
            if self._overflows(len(ids) + max_new_tokens):
                yield i, Output("", "overflow", len(ids), 0, 0.0)
            elif not ids:
                yield i, EMPTY_PROMPT
            else:
                asked[i] = ids, prompts[i].stop
                self.work.naive += len(ids)
        same = alike({i: (tuple(ids), stop) for i, (ids, stop) in asked.items()})
        before = self._beginning([asked[i][0] for i in same])

        def run(batch: list[Row]) -> Results:
            stops = [prompts[i].stop for i, _ in batch]
            return self._generate_batch(batch, stops, before, max_new_tokens, should_stop)

        rows: list[Row] = [(i, asked[i][0]) for i in same]
        for i, result in self._in_batches(rows, before, max_new_tokens, run, should_stop):
            for k in same[i]:
                yield k, result

    def _generate_batch(
        self,
        batch: list[Row],
        stops: list[tuple[str, ...]],
        before: int,
        max_new_tokens: int,
        should_stop: Callable[[], bool],
    ) -> Results:
        started = time.perf_counter()
        inputs = self._padded([ids for _, ids in batch])
        width = inputs["input_ids"].shape[1]
        cache = {self._cache: self._copied(inputs["attention_mask"], before)} if before else {}
        watch = _Watch(self._tokenizer, stops, width, should_stop)
        finite = _Finite(len(batch), self._model.device)
        with torch.inference_mode(), self.work.part("decode"):
            sequences = self._model.generate(
                input_ids=inputs["input_ids"],
                attention_mask=inputs["attention_mask"],
                **cache,
                max_new_tokens=max_new_tokens,
                stopping_criteria=StoppingCriteriaList([watch]),
                logits_processor=LogitsProcessorList([finite]),
            )
        steps = sequences.shape[1] - width
        self.work.distinct += (width - before + steps - 1) * len(batch)
        self.work.rows += steps * len(batch)
        seconds = (time.perf_counter() - started) / len(batch)
        out: Results = []
        for row, (i, ids) in enumerate(batch):
            if not bool(finite.ok[row]):
                out.append((i, NON_FINITE))
                continue
            new = sequences[row, width:].tolist()[: watch.ended[row]]
            self.work.naive += len(new)
            out.append((i, output_of(self._tokenizer, new, self._eos, stops[row], len(ids), seconds)))
        return out

    # --- log-likelihood ---

    def choose(
        self, prompts: Sequence[Prompt], should_stop: Callable[[], bool]
    ) -> Iterator[tuple[int, Output | RunError]]:
        """Summed log-probability of each answer's tokens; see `types.Backend`.

        The model reads context + answer without its last token; answers of one token share one reading.
        """
        started = time.perf_counter()
        wanted: dict[tuple[int, ...], list[tuple[int, int, list[int]]]] = {}
        scores: dict[int, list[float]] = {}
        lengths: dict[int, int] = {}
        with self.work.part("tokenize"):
            encoded = [[self._encoder.encode_answer(p, answer) for answer in p.answers] for p in prompts]
        for i, pairs in enumerate(encoded):
            lengths[i] = max((len(context) for context, _ in pairs), default=0)
            if not pairs:
                yield i, NO_CHOICES
            elif self._overflows(max(len(c) + len(a) for c, a in pairs)):
                yield i, Output(None, "overflow", lengths[i], 0, 0.0)
            elif not all(context for context, _ in pairs):
                yield i, EMPTY_PROMPT
            elif not all(answer for _, answer in pairs):
                yield i, EMPTY_ANSWER
            else:
                scores[i] = [0.0] * len(pairs)
                self.work.naive += sum(len(c) + len(a) for c, a in pairs)
                for k, (context, answer) in enumerate(pairs):
                    wanted.setdefault((*context, *answer[:-1]), []).append((i, k, answer))
        failed: dict[int, RunError] = {}
        left = {i: len({key for key, uses in wanted.items() if any(u[0] == i for u in uses)}) for i in scores}

        # Of each at least the token before its answer is read.
        before = self._beginning([list(c) for i in scores for c, _ in encoded[i]])

        def run(batch: list[Row]) -> Results:
            return self._score_batch(batch, [[answer for _, _, answer in wanted[key]] for key, _ in batch], before)

        rows: list[Row] = [(key, list(key)) for key in wanted]
        for key, result in self._in_batches(rows, before, 0, run, should_stop):
            for k, (i, choice, _) in enumerate(wanted[key]):
                if isinstance(result, RunError):
                    failed[i] = result
                else:
                    scores[i][choice] = result[k]
            for i in {use[0] for use in wanted[key]}:
                left[i] -= 1
                if left[i] == 0:
                    seconds = (time.perf_counter() - started) / len(prompts)
                    yield i, failed.get(i) or Output(None, "scored", lengths[i], 0, seconds, tuple(scores[i]))

    def _score_batch(self, batch: list[Row], answers: list[list[list[int]]], before: int) -> Results:
        inputs = self._padded([ids for _, ids in batch])
        longest = max(len(a) for row in answers for a in row)
        with torch.inference_mode(), self.work.part("prefill"):
            logits = self._logits(inputs, before, longest)
        out: Results = []
        for row, (key, _) in enumerate(batch):
            values: list[float] = []
            for answer in answers[row]:
                rows = torch.log_softmax(logits[row, -len(answer) :].float(), dim=-1)
                target = torch.tensor(answer, device=rows.device)
                values.append(float(rows.gather(1, target[:, None]).sum()))
            finite = all(v == v and abs(v) != float("inf") for v in values)
            out.append((key, values if finite else NON_FINITE))
        return out

    def _logits(self, inputs: dict[str, torch.Tensor], before: int, last: int) -> torch.Tensor:
        """Of the last tokens of each row, (rows, last, vocabulary)."""
        keep: dict[str, Any] = {"logits_to_keep": last} if self._can_keep else {}
        keep["use_cache"] = bool(before)
        if before:
            keep[self._cache] = self._copied(inputs["attention_mask"], before)
        new = {name: found if name == "attention_mask" else found[:, before:] for name, found in inputs.items()}
        rows, width = new["input_ids"].shape
        self.work.distinct += rows * width
        self.work.rows += rows * (last if self._can_keep else width)
        found: torch.Tensor = self._model(**new, **keep).logits[:, -last:]
        return found

    # --- the common beginning ---

    def _beginning(self, sequences: list[list[int]]) -> int:
        """How many tokens all begin with (of each at least one is left) whose keys and values are at hand."""
        if not self._shares or not sequences:
            return 0
        first, last = min(sequences), max(sequences)
        length = min(common(first, last), min(map(len, sequences)) - 1)
        usable = min(common(self._kept[0], first), length)
        if usable >= WORTH_SHARING and length - usable < KEPT_SLACK:
            return usable
        if length < WORTH_SHARING or len(sequences) < 2:
            return 0
        self._kept = ([], [])
        try:
            self._keep(first[:length])
        except RuntimeError as e:
            refuse_unless_memory(e)
            return 0
        return length

    def _keep(self, ids: list[int]) -> None:
        """Read what all begin with."""
        cache = DynamicCache()
        self.work.distinct += len(ids)
        with torch.inference_mode(), self.work.part("prefill"):
            # Of the model without its head; the vocabulary is scored nowhere here.
            self._model.base_model(**self._padded([ids]), **{self._cache: cache}, use_cache=True)
        self._kept = ids, [(layer.keys, layer.values) for layer in cache.layers]

    def _copied(self, mask: torch.Tensor, length: int) -> DynamicCache:
        """The beginning as the first columns of a padded batch: moved to the right by each row's padding.

        Where a row is padded, the end of its beginning does not fit and is read again instead of the padding.
        """
        pads = [min(int(pad), length) for pad in mask.shape[1] - mask.sum(-1)]
        cache = DynamicCache()
        for layer, found in enumerate(self._kept[1]):
            moved = [one.new_zeros(len(pads), one.shape[1], length, one.shape[3]) for one in found]
            for one, of in zip(moved, found, strict=True):
                for row, pad in enumerate(pads):
                    one[row, :, pad:] = of[0, :, : length - pad]
            cache.update(*moved, layer)
        return cache

    def _can_share(self) -> bool:
        """Whether reading the beginning once gives what reading it with each prompt gives."""
        config = self._model.config.get_text_config()
        if getattr(config, "sliding_window", None):
            return False  # A cache that forgets cannot be moved.
        size = self._model.get_output_embeddings().weight.shape[0]
        tokens = [(7 + 31 * k) % size for k in range(24)]
        inputs = self._padded([tokens[:14], tokens, [*tokens[:8], tokens[20]]])
        try:
            with torch.inference_mode():
                expected = self._logits(inputs, 0, 1).float().log_softmax(-1)
                self._keep(tokens[:8])
                got = self._logits(inputs, 8, 1).float().log_softmax(-1)
        except Exception:  # Other architectures keep something else, and may fail in any way.
            return False
        finally:
            self._kept = ([], [])
            self.work.reset()
        off = (got - expected).abs()
        if self._model.dtype == torch.float32:
            return bool(off.max() <= 1e-3)
        return bool(off.mean() <= 0.25 * expected.std())

    # --- batches ---

    def _overflows(self, tokens: int) -> bool:
        return self.context_length is not None and tokens > self.context_length

    def _padded(self, rows: list[list[int]]) -> dict[str, torch.Tensor]:
        width = max(len(ids) for ids in rows)
        ids = torch.tensor([[PAD] * (width - len(r)) + r for r in rows], device=self._model.device)
        mask = torch.tensor([[0] * (width - len(r)) + [1] * len(r) for r in rows], device=self._model.device)
        inputs = {"input_ids": ids, "attention_mask": mask}
        if self._takes_positions:
            inputs["position_ids"] = (mask.cumsum(-1) - 1).clamp(min=0)
        return inputs

    def _in_batches(
        self,
        rows: list[Row],
        before: int,
        new_tokens: int,
        run: Callable[[list[Row]], Results],
        should_stop: Callable[[], bool],
    ) -> Iterator[tuple[Any, Any]]:
        """Longest rows first, so that memory runs out at once if ever; halved when it does."""
        todo = sorted(rows, key=lambda row: -len(row[1]))
        while todo and not should_stop():
            reads, keeps = len(todo[0][1]) - before + new_tokens, len(todo[0][1]) + new_tokens
            count = max(1, min(MAX_ROWS, len(todo), self._tokens // reads, self._places // keeps))
            try:
                results = run(todo[:count])
            except _StopRequestedError:
                return
            except RuntimeError as e:
                refuse_unless_memory(e)
                if count > 1:
                    self._tokens = max(1, reads * (count // 2))
                    continue
                results = [(todo[0][0], OUT_OF_MEMORY)]
            del todo[:count]
            yield from results


def alike(questions: dict[int, Any]) -> dict[int, list[int]]:
    """The first of every question that stands more than once → all of them."""
    firsts: dict[Any, int] = {}
    out: dict[int, list[int]] = {}
    for i, question in questions.items():
        out.setdefault(firsts.setdefault(question, i), []).append(i)
    return out


def refuse_unless_memory(error: RuntimeError) -> None:
    """Give memory back if that is what ran out; else raise ModelError."""
    if not is_out_of_memory(error):
        raise ModelError(f"The model failed on a batch ({first_line(error)}). Try another dtype or device.") from error
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def is_out_of_memory(error: RuntimeError) -> bool:
    """On a CPU the allocator raises a plain RuntimeError."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def output_of(
    tokenizer: Any, new: list[int], eos: set[int], stop: tuple[str, ...], prompt_tokens: int, seconds: float
) -> Output:
    """What was written, up to an end token or the first stop string."""
    end = next((k for k, token in enumerate(new) if token in eos), None)
    kept = new if end is None else new[:end]
    text = decode(tokenizer, kept)
    cut = first_stop(text, stop)
    if cut is not None:
        # The mark that closes a thought belongs to the text.
        own = max((len(s) for s in stop if isinstance(s, Closing) and text.startswith(s, cut)), default=0)
        text = text[: cut + own]
    finish: Any = "stop" if cut is not None or end is not None else "length"
    if not text.strip() and finish == "stop":
        finish = "empty"
    return Output(text, finish, prompt_tokens, len(kept), seconds)


def first_stop(text: str, stop: Sequence[str]) -> int | None:
    """Position of the first stop string in a text; None if there is none."""
    found = [text.find(s) for s in stop]
    return min((position for position in found if position >= 0), default=None)


def decode(tokenizer: Any, ids: list[int]) -> str:
    """What was written, as raw text: the marks of thoughts are kept though they may be special tokens."""
    return decoder(tokenizer)(ids)


class _Watch(StoppingCriteria):  # type: ignore[misc]  # transformers is read without its types.
    """Ends a row at its first stop string, and the batch when somebody asks to stop."""

    def __init__(
        self, tokenizer: Any, stops: list[tuple[str, ...]], width: int, should_stop: Callable[[], bool]
    ) -> None:
        self._tokenizer = tokenizer
        self._stops = stops
        self._width = width
        self._should_stop = should_stop
        self.ended: list[int | None] = [None] * len(stops)
        """New tokens of each row when its first stop string was complete; what follows belongs to other rows."""

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor, **kwargs: Any) -> torch.Tensor:
        """One truth value per row."""
        if self._should_stop():
            raise _StopRequestedError
        for row, stop in enumerate(self._stops):
            if stop and self.ended[row] is None:
                new = input_ids[row, self._width :].tolist()
                if first_stop(decode(self._tokenizer, new), stop) is not None:
                    self.ended[row] = len(new)
        return torch.tensor([end is not None for end in self.ended], device=input_ids.device)


class _Finite(LogitsProcessor):  # type: ignore[misc]  # As above.
    """Notes which rows ever had a score of NaN or +∞; changes nothing."""

    def __init__(self, rows: int, device: torch.device) -> None:
        self.ok = torch.ones(rows, dtype=torch.bool, device=device)

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """The scores, unchanged."""
        self.ok &= torch.isfinite(scores.max(dim=-1).values)  # NaN where there is one.
        return scores
