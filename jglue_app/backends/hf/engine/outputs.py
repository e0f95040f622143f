"""What a model generated, as an output: cut at an end token or stop string. And when a batch fails. Both engines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from jglue_app.backends.hf.memory import is_out_of_memory
from jglue_app.backends.hf.tokenization.thought_tokens import decoder
from jglue_app.errors import ModelError, first_line
from jglue_app.messages import Message
from jglue_app.prompts.thoughts import Closing
from jglue_app.types import Output, RunError

NON_FINITE = RunError(
    "non_finite", Message("The model produced NaN or infinite scores. Try another dtype, such as float32 or bfloat16.")
)
OUT_OF_MEMORY = RunError(
    "out_of_memory",
    Message("This item alone does not fit into memory. Choose fewer examples, or a smaller model."),
)
END_TOKENS = 64
"""Tokens at the end of a text that are decoded to find a stop string, besides its own."""
TOKENS_PER_CHARACTER = 4
"""The most of any tokenizer: UTF-8 takes at most four bytes."""


def generated_output(
    tokenizer: Any, new: list[int], eos: set[int], stop: Sequence[str], prompt_tokens: int, seconds: float
) -> Output:
    """The generated text, up to an end token or the first stop string."""
    end = next((k for k, token in enumerate(new) if token in eos), None)
    kept = new if end is None else new[:end]
    text = decode(tokenizer, kept)
    cut = first_stop(text, stop)
    if cut is not None:
        # The mark that closes a thought belongs to the text.
        closing = max((len(s) for s in stop if isinstance(s, Closing) and text.startswith(s, cut)), default=0)
        text = text[: cut + closing]
    finish: Any = "stop" if cut is not None or end is not None else "length"
    if not text.strip() and finish == "stop":
        finish = "empty"
    return Output(text, finish, prompt_tokens, len(kept), seconds)


def scored_output(logprobs: Sequence[float], prompt_tokens: int, seconds: float) -> Output | RunError:
    """The summed log-probability of each answer; an error if one is not finite."""
    if not all(map(is_finite, logprobs)):
        return NON_FINITE
    return Output(None, "scored", prompt_tokens, 0, seconds, tuple(logprobs))


def is_finite(value: float) -> bool:
    """Whether a number is neither NaN nor infinite."""
    return value == value and abs(value) != float("inf")


def first_stop(text: str, stop: Sequence[str]) -> int | None:
    """Position of the first stop string in a text; None if there is none."""
    positions = [text.find(s) for s in stop]
    return min((position for position in positions if position >= 0), default=None)


def decode(tokenizer: Any, ids: list[int]) -> str:
    """Generated tokens as raw text: the marks of thoughts are kept though they may be special tokens."""
    return decoder(tokenizer)(ids)


def at_stop(tokenizer: Any, new: Sequence[int], stop: Sequence[str]) -> bool:
    """Whether the generated tokens hold a stop string; called after every token.

    Of a long text only the end is decoded at first: decoding all of it after every token would take quadratic time.
    """
    if not stop:
        return False
    end = TOKENS_PER_CHARACTER * max(map(len, stop)) + END_TOKENS
    if len(new) > 2 * end and first_stop(decode(tokenizer, list(new[-end:])), stop) is None:
        return False
    return first_stop(decode(tokenizer, list(new)), stop) is not None


def raise_unless_out_of_memory(error: Exception) -> None:
    """Return cached memory to the system if memory ran out.

    Raises:
        ModelError: the batch failed for another reason.
    """
    if not is_out_of_memory(error):
        raise ModelError(
            "The model failed on a batch ({reason}). Try another dtype or device.", reason=first_line(error)
        ) from error
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
