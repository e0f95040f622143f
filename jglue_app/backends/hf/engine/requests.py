"""Prompts on their way into a model: token ids, prompts that cannot run, equal prompts, and the shared prefix.

Both engines, packed and padded, begin a call with these.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from jglue_app.backends.hf.counters import Counters
from jglue_app.backends.hf.engine.trie import common_prefix_length
from jglue_app.backends.hf.tokenization.encoding import Encoder
from jglue_app.messages import Message
from jglue_app.types import Output, Prompt, RunError

MIN_SHARED_TOKENS = 16
"""Tokens that prompts must share for their keys and values to be computed once; fewer cost more than they save."""
PREFIX_REUSE_SLACK = 32
"""The cached prefix, or a part of it, is used again unless so many more tokens are shared now."""

EMPTY_PROMPT = RunError("empty_prompt", Message("The prompt has no tokens of its own."))
NO_CHOICES = RunError("no_choices", Message("This item has no fixed answers to rank."))
EMPTY_ANSWER = RunError("empty_answer", Message("One of the answers to rank has no tokens. Give every answer a text."))

Result = tuple[int, Output | RunError]
"""The number of a prompt and its result."""
AnswerIds = tuple[list[int], list[int]]
"""Token ids of a context and of an answer to it."""
Rejected = dict[int, Output | RunError]
"""Number of a prompt that does not run → its result."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How long prompts may be."""

    context_length: int | None
    """Most tokens of prompt and answer together; None for no limit."""
    max_prompt_tokens: int | None = None
    """Most tokens of a prompt, by the operator's settings; None for no limit but the model's."""

    def overflows(self, tokens: int) -> bool:
        """Whether a prompt and its answer exceed the context length."""
        return self.context_length is not None and tokens > self.context_length

    def beyond_context(self, tokens: int) -> RunError | None:
        """The error of a prompt that is longer than the context; None if it is not."""
        if self.context_length is None or tokens <= self.context_length:
            return None
        return RunError(
            "overflow",
            Message(
                "This prompt has {tokens:,} tokens, and the model takes {limit:,}. Shorten it or ask for fewer "
                "examples.",
                tokens=tokens,
                limit=self.context_length,
            ),
        )

    def too_long(self, tokens: int) -> RunError | None:
        """The error of a prompt that exceeds the operator's limit; None if it does not."""
        if self.max_prompt_tokens is None or tokens <= self.max_prompt_tokens:
            return None
        return RunError(
            "too_long",
            Message(
                "This prompt has {tokens:,} tokens; at most {limit:,} are read here. Shorten it or ask for fewer "
                "examples.",
                tokens=tokens,
                limit=self.max_prompt_tokens,
            ),
        )


def encode_prompts(
    prompts: Sequence[Prompt], max_new_tokens: int, encoder: Encoder, limits: Limits, counters: Counters
) -> tuple[dict[int, list[int]], Rejected]:
    """Token ids of prompts that are to be continued.

    Returns:
        Number of a prompt → its ids, and the results of those that do not run.
    """
    pending: dict[int, list[int]] = {}
    rejected: Rejected = {}
    with counters.timed("tokenize"):
        encoded = [encoder.encode(p.text, has_special=p.messages is not None) for p in prompts]
    for i, ids in enumerate(encoded):
        if limits.overflows(len(ids) + max_new_tokens):
            rejected[i] = Output("", "overflow", len(ids), 0, 0.0)
        elif error := limits.too_long(len(ids)):
            rejected[i] = error
        elif not ids:
            rejected[i] = EMPTY_PROMPT
        else:
            pending[i] = ids
            counters.naive_tokens += len(ids)
    return pending, rejected


def encode_choices(
    prompts: Sequence[Prompt], encoder: Encoder, limits: Limits, counters: Counters
) -> tuple[dict[int, list[AnswerIds]], Rejected]:
    """Token ids of prompts whose answers are to be ranked.

    Returns:
        Number of a prompt → the ids of its context with each answer, and the results of those that do not run.
    """
    pending: dict[int, list[AnswerIds]] = {}
    rejected: Rejected = {}
    with counters.timed("tokenize"):
        encoded = [[encoder.encode_answer(p, answer) for answer in p.answers] for p in prompts]
    for i, pairs in enumerate(encoded):
        prompt_tokens = longest_context(pairs)
        if not pairs:
            rejected[i] = NO_CHOICES
        elif limits.overflows(max(len(context) + len(answer) for context, answer in pairs)):
            rejected[i] = Output(None, "overflow", prompt_tokens, 0, 0.0)
        elif error := limits.too_long(prompt_tokens):
            rejected[i] = error
        elif not all(context for context, _ in pairs):
            rejected[i] = EMPTY_PROMPT
        elif not all(answer for _, answer in pairs):
            rejected[i] = EMPTY_ANSWER
        else:
            pending[i] = pairs
            counters.naive_tokens += sum(len(context) + len(answer) for context, answer in pairs)
    return pending, rejected


def longest_context(pairs: Iterable[AnswerIds]) -> int:
    """Tokens of the longest context; 0 if there is none."""
    return max((len(context) for context, _ in pairs), default=0)


def longest_sequence(pending: Mapping[int, Iterable[AnswerIds]]) -> int:
    """Most tokens of a context and its answer together; 0 if there are none."""
    return max((len(context) + len(answer) for pairs in pending.values() for context, answer in pairs), default=0)


def group_identical(requests: Mapping[int, Hashable]) -> dict[int, list[int]]:
    """The first number of every distinct request → the numbers of all that are equal to it."""
    firsts: dict[Hashable, int] = {}
    groups: dict[int, list[int]] = {}
    for i, request in requests.items():
        groups.setdefault(firsts.setdefault(request, i), []).append(i)
    return groups


def for_all_identical(results: Iterable[Result], groups: Mapping[int, Sequence[int]]) -> Iterator[Result]:
    """Results of the first of each group, for all of the group."""
    for first, result in results:
        for i in groups[first]:
            yield i, result


def shared_prefix(sequences: Sequence[list[int]], cached: Sequence[int]) -> tuple[list[int], bool]:
    """The prefix of all sequences whose keys and values are worth computing once.

    Args:
        sequences: token ids; of each at least one is left after the prefix.
        cached: ids of the prefix whose keys and values are available.

    Returns:
        Its ids, empty if it is not worth it; and whether they are the beginning of the cached ones.
    """
    first, last = min(sequences), max(sequences)
    length = min(common_prefix_length(first, last), min(map(len, sequences)) - 1)
    usable = min(common_prefix_length(cached, first), length)
    if usable >= MIN_SHARED_TOKENS and length - usable < PREFIX_REUSE_SLACK:
        return first[:usable], True
    if length < MIN_SHARED_TOKENS or len(sequences) < 2:
        return [], False
    return first[:length], False
