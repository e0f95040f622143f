"""Batches of prompts through a transformers model: greedy generation and log-likelihood of answers.

Sequences are padded on the left, so the scored tokens are the last of every row; masks and position ids make padding
invisible. Not to every model: a state that runs through all tokens takes the padding in. So every model is read in a
batch and compared with itself alone, and goes in rows of equal length, one at a time, or without a cache where that is
needed. What all prompts of a call begin with is read once, and its keys and values are copied into every batch.
Batches are filled up to a number of tokens and halved when memory runs out.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import DynamicCache, LogitsProcessor, LogitsProcessorList, StoppingCriteria, StoppingCriteriaList

from jglue_app.backends.hf.counters import Work
from jglue_app.backends.hf.engine.equivalence import NotCausalError, Reference, Stopped, Unsupported
from jglue_app.backends.hf.engine.repetition_penalty import PenalizeRepetition
from jglue_app.backends.hf.engine.trie import common
from jglue_app.backends.hf.memory import MASK_BYTES, Memory, sizes
from jglue_app.backends.hf.tokenization.encoding import Encoder
from jglue_app.backends.hf.tokenization.thinking_switches import decoder
from jglue_app.errors import ModelError, first_line
from jglue_app.messages import Message
from jglue_app.prompts.thoughts import Closing
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
    "non_finite", Message("The model produced NaN or infinite scores. Try another dtype, such as float32 or bfloat16.")
)
OUT_OF_MEMORY = RunError(
    "out_of_memory",
    Message("This item alone does not fit into memory. Choose fewer examples, or a smaller model."),
)
EMPTY_PROMPT = RunError("empty_prompt", Message("The prompt has no tokens of its own."))
NO_CHOICES = RunError("no_choices", Message("This item has no fixed answers to rank."))
EMPTY_ANSWER = RunError("empty_answer", Message("One of the answers to rank has no tokens. Give every answer a text."))


def too_long(tokens: int, most: int) -> RunError:
    """What is told of a prompt that has more tokens than the operator lets be read."""
    return RunError(
        "too_long",
        Message(
            "This prompt has {tokens:,} tokens; at most {most:,} are read here. Shorten it or ask for fewer examples.",
            tokens=tokens,
            most=most,
        ),
    )


@dataclass(frozen=True, slots=True)
class Mode:
    """How prompts go together."""

    name: str
    rows: str
    """`padded`, `equal` (of equal length) or `single`."""
    cache: bool = True
    """Whether a text is continued from what was kept of it, or read anew for every token."""


MODES = (
    Mode("padded batches", "padded"),
    Mode("batches of equal length", "equal"),
    Mode("one at a time", "single"),
    Mode("one at a time, without a cache", "single", cache=False),
)
"""From the fastest to the one that is the model's own forward pass."""
LOOKS_AHEAD = 256
"""Tokens that a text is expected to have when prompts are held against a switch of the length."""
END_TOKENS = 64
"""Tokens at the end of a text that are decoded to find a stop string, besides its own."""
WRITTEN = 3
"""Tokens that a comparison generates."""

Row = tuple[Any, list[int]]
"""A key and the token ids that go in."""
Result = tuple[int, Output | RunError]
"""The number of a prompt and its answer."""
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
        reference: what the model answers by itself.
        shares: whether to read the common beginning once, where that can be done.
        most_tokens: tokens of the longest prompt that is read; None for no limit but the model's.
        mode: how prompts go together; None for the fastest way that gives what the model gives by itself.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        eos: list[int],
        context_length: int | None,
        memory: Memory,
        reference: Reference,
        *,
        shares: bool = True,
        most_tokens: int | None = None,
        mode: Mode | None = None,
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
        self._memory, self._most_tokens = memory, most_tokens
        self._tokens = memory.tokens(TOKENS_PER_BATCH[kind], words)
        self._places = memory.places(PLACES[kind])
        # Bytes of attention for every pair of tokens: a mask, and scores where they are laid out in full.
        heads = max(sizes(model.config.get_text_config(), "num_attention_heads", "n_head"), default=1)
        laid_out = heads * model.dtype.itemsize * 2 if model.config._attn_implementation == "eager" else 0
        self._per_pair = MASK_BYTES + laid_out
        self.work = Work()
        self._kept: tuple[list[int], KeysValues] = ([], [])
        self._reference = reference
        self._fixed = mode is not None
        self._verified = 0
        self.mode = mode or MODES[0]
        """How prompts go together."""
        self.reason = ""
        """Why not in a faster way; empty if in the fastest."""
        if not self._fixed:
            self._find_mode(reference.short)
        self._shares = shares and self.mode == MODES[0] and not self._fixed and self._can_share()

    def close(self) -> None:
        """Drop the model and what is kept of it."""
        self._kept = ([], [])
        self._model = None

    # --- the comparison with the model itself ---

    def _ready_for(self, length: int, should_stop: Callable[[], bool]) -> bool:
        """Compare again if sequences of so many tokens pass a switch that was not looked at yet; False when somebody
        asked to stop before that was done."""
        if self._fixed:
            return True
        picks = self._reference.picks_above
        if picks is not None and length > picks and self.mode != MODES[-1]:
            self.mode = MODES[-1]
            self.reason = f"{self.reason}; above {picks:,} tokens the model attends to a choice of them".lstrip("; ")
        try:
            wanted = self._reference.passes_switch(self._verified, length, should_stop)
            if wanted is not None:
                self._find_mode(wanted)
        except Stopped:
            return False
        finally:
            self._reference.forget()
        return True

    def _find_mode(self, length: int) -> None:
        """The fastest way from here on that gives what the model gives by itself."""
        for mode in MODES[MODES.index(self.mode) :]:
            try:
                # The last is the model's own forward pass, token by token.
                if mode != MODES[-1]:
                    with self.work.uncounted():
                        self._verify(mode, length)
            except NotCausalError:
                raise
            except Exception as e:  # A model may fail with several sequences in any way.
                if isinstance(e, RuntimeError) and is_out_of_memory(e) and length > self._reference.short:
                    refuse_unless_memory(e)
                    return  # Nothing was found out; what is too long for memory is told item by item.
                why = str(e) if isinstance(e, Unsupported) else f"{type(e).__name__}: {first_line(e)}"
                self.reason = f"{mode.name}: {why}"
            else:
                self.mode = mode
                break
        self._verified = max(self._verified, length)

    def _verify(self, mode: Mode, length: int) -> None:
        """Raise Unsupported if sequences of a number of tokens get other scores in a batch than alone."""
        limit = self.context_length
        probe = self._reference.probe(length if limit is None else max(2, min(length, limit - WRITTEN)))
        first, second = probe.sequence(0), probe.sequence(2 if mode.rows == "padded" else 1)
        rows = [first] if mode.rows == "single" else [first, second]
        last = min(map(len, probe.branches))
        with self._reference.arithmetic():
            logits = self._logits(self._padded(rows), 0, last).float().log_softmax(-1)
        for row, ids in enumerate(rows):
            self._reference.compare(logits[row], self._reference.own(ids, last))
        room = WRITTEN if limit is None else min(WRITTEN, limit - max(map(len, rows)))
        if room < 1:
            return
        inputs = self._padded(rows)
        self._reference.use_own_attention()
        with self._reference.arithmetic():
            out = self._model.generate(
                input_ids=inputs["input_ids"],
                attention_mask=inputs["attention_mask"],
                max_new_tokens=room,
                min_new_tokens=room,
                use_cache=mode.cache,
                return_dict_in_generate=True,
                output_logits=True,
            )
        for row, ids in enumerate(rows):
            new = out.sequences[row, inputs["input_ids"].shape[1] :].tolist()
            got = torch.stack([step[row] for step in out.logits]).float().log_softmax(-1)
            self._reference.compare(got, self._reference.own([*ids, *new[:-1]], room))

    # --- generation ---

    def generate(
        self,
        prompts: Sequence[Prompt],
        max_new_tokens: int,
        should_stop: Callable[[], bool],
        repetition_penalty: float = 1.0,
    ) -> Iterator[tuple[int, Output | RunError]]:
        """Greedy continuations; see `types.Backend`."""
        asked: dict[int, tuple[list[int], tuple[str, ...]]] = {}
        refused: dict[int, Output | RunError] = {}
        with self.work.part("tokenize"):
            encoded = [self._encoder.encode(p.text, has_special=p.messages is not None) for p in prompts]
        for i, ids in enumerate(encoded):
            if self._overflows(len(ids) + max_new_tokens):
                refused[i] = Output("", "overflow", len(ids), 0, 0.0)
            elif self._most_tokens is not None and len(ids) > self._most_tokens:
                refused[i] = too_long(len(ids), self._most_tokens)
            elif not ids:
                refused[i] = EMPTY_PROMPT
            else:
                asked[i] = ids, prompts[i].stop
                self.work.naive += len(ids)
        written = min(max_new_tokens, LOOKS_AHEAD)
        if not self._ready_for(max((len(ids) + written for ids, _ in asked.values()), default=0), should_stop):
            return
        yield from refused.items()
        same = alike({i: (tuple(ids), stop) for i, (ids, stop) in asked.items()})
        before = self._beginning([asked[i][0] for i in same])

        def run(batch: list[Row]) -> Results:
            stops = [prompts[i].stop for i, _ in batch]
            return self._generate_batch(batch, stops, before, max_new_tokens, should_stop, repetition_penalty)

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
        repetition_penalty: float,
    ) -> Results:
        started = time.perf_counter()
        inputs = self._padded([ids for _, ids in batch])
        width = inputs["input_ids"].shape[1]
        cache = {self._cache: self._copied(inputs["attention_mask"], before)} if before else {}
        watch = _Watch(self._tokenizer, stops, width, should_stop)
        finite = _Finite(len(batch), self._model.device)
        processors: list[LogitsProcessor] = [finite]
        if repetition_penalty != 1:
            processors.append(PenalizeRepetition(repetition_penalty, inputs["attention_mask"]))
        self._reference.use_own_attention()
        with torch.inference_mode(), self.work.part("decode"):
            sequences = self._model.generate(
                input_ids=inputs["input_ids"],
                attention_mask=inputs["attention_mask"],
                **cache,
                use_cache=self.mode.cache,
                max_new_tokens=max_new_tokens,
                stopping_criteria=StoppingCriteriaList([watch]),
                logits_processor=LogitsProcessorList(processors),
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
        refused: dict[int, Output | RunError] = {}
        with self.work.part("tokenize"):
            encoded = [[self._encoder.encode_answer(p, answer) for answer in p.answers] for p in prompts]
        for i, pairs in enumerate(encoded):
            lengths[i] = max((len(context) for context, _ in pairs), default=0)
            if not pairs:
                refused[i] = NO_CHOICES
            elif self._overflows(max(len(c) + len(a) for c, a in pairs)):
                refused[i] = Output(None, "overflow", lengths[i], 0, 0.0)
            elif self._most_tokens is not None and lengths[i] > self._most_tokens:
                refused[i] = too_long(lengths[i], self._most_tokens)
            elif not all(context for context, _ in pairs):
                refused[i] = EMPTY_PROMPT
            elif not all(answer for _, answer in pairs):
                refused[i] = EMPTY_ANSWER
            else:
                scores[i] = [0.0] * len(pairs)
                self.work.naive += sum(len(c) + len(a) for c, a in pairs)
                for k, (context, answer) in enumerate(pairs):
                    wanted.setdefault((*context, *answer[:-1]), []).append((i, k, answer))
        longest = max((len(c) + len(a) for i in scores for c, a in encoded[i]), default=0)
        if not self._ready_for(longest, should_stop):
            return
        yield from refused.items()
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
        self._reference.use_own_attention()
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
        if not self._shares or self.mode != MODES[0] or not sequences:
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
        self._reference.use_own_attention()
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
        if self._reference.changes:
            return False  # A cache that forgets cannot be moved.
        probe = self._reference.probe(24 if self.context_length is None else max(3, min(24, self.context_length)))
        rows = [probe.sequence(k) for k in range(3)]
        same = len(probe.prefix)
        inputs = self._padded(rows)
        try:
            with self._reference.arithmetic():
                expected = self._logits(inputs, 0, 1).float().log_softmax(-1)
                self._keep(probe.prefix)
                got = self._logits(inputs, same, 1).float().log_softmax(-1)
            self._reference.compare(got[:, 0], expected[:, 0])
        except Exception:  # Other architectures keep something else, and may fail in any way.
            return False
        finally:
            self._kept = ([], [])
            self.work.reset()
        return True

    # --- batches ---

    def _overflows(self, tokens: int) -> bool:
        return self.context_length is not None and tokens > self.context_length

    def _padded(self, rows: list[list[int]]) -> dict[str, torch.Tensor]:
        width = max(len(ids) for ids in rows)
        ids = torch.tensor([[PAD] * (width - len(r)) + r for r in rows], device=self._model.device)
        mask = torch.tensor([[0] * (width - len(r)) + [1] * len(r) for r in rows], device=self._model.device)
        inputs = {"input_ids": ids, "attention_mask": mask}
        # Without padding the model counts by itself: some do not begin at 0.
        if self._takes_positions and any(len(r) < width for r in rows):
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
            if self.mode.rows != "padded":
                alike_long = next((k for k, row in enumerate(todo) if len(row[1]) < len(todo[0][1])), len(todo))
                count = 1 if self.mode.rows == "single" else min(count, alike_long)
            if not self._memory.holds(self._per_pair * keeps**2 + self._memory.kept * keeps):
                yield todo[0][0], OUT_OF_MEMORY
                del todo[0]
                continue
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
        raise ModelError(
            "The model failed on a batch ({reason}). Try another dtype or device.", reason=first_line(error)
        ) from error
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


def at_stop(tokenizer: Any, new: Sequence[int], stop: Sequence[str]) -> bool:
    """Whether what was written so far holds a stop string; asked after every token.

    Of a long text the end is looked at first: decoding all of it after every token would take quadratic time.
    """
    if not stop:
        return False
    end = 4 * max(map(len, stop)) + END_TOKENS  # A character has at most four tokens.
    if len(new) > 2 * end and first_stop(decode(tokenizer, list(new[-end:])), stop) is None:
        return False
    return first_stop(decode(tokenizer, list(new)), stop) is not None


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
                if at_stop(self._tokenizer, new, stop):
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
