"""The most likely tokens at every place of a sequence, of one forward pass of the model itself.

The model's body runs once over the whole sequence. What stands behind it (the head, and whatever the model does with
its logits: a scale, a soft cap) is the model's own code too, and runs over some places at a time, so that scores of the
vocabulary are never kept for all of them: in that while the body gives the states that it has given before. That this
is the same is tried with the last place; a model of which it is not runs as a whole for every block.
"""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch

from jglue_app.backends.hf.engine.equivalence import ReferenceModel, StopRequested, stopped_between_layers
from jglue_app.backends.hf.engine.outputs import NON_FINITE, is_finite
from jglue_app.types import NextToken, NextTokens, RunError

BLOCK_BYTES = 2**27
"""Scores of the vocabulary that are held at a time, in float32."""
TOLERANCE = 0.02
"""Largest difference of logits by rounding, as a share of their standard deviation over the vocabulary."""

Places = list[tuple[list[int], list[float]]]
"""Of each place the ids of the most likely tokens, and their log-probabilities; the likeliest first."""


def most_likely(
    model: Any,
    reference: ReferenceModel,
    ids: Sequence[int],
    count: int,
    should_stop: Callable[[], bool],
    block_bytes: int = BLOCK_BYTES,
) -> tuple[Places, list[float]] | None:
    """What a model expects after every token of a sequence, and the log-probability of each token that does follow.

    Args:
        model: in evaluation mode.
        reference: of the same model: gives it the attention that it was loaded with.
        ids: the sequence, with what the tokenizer puts before it.
        count: how many tokens of each place.
        should_stop: called before every layer, and between blocks of places.
        block_bytes: scores that are held at a time.

    Returns:
        The most likely tokens after each token, and the log-probabilities of all tokens but the first; None if it was
        stopped.
    """
    reference.restore_attention()
    inputs = torch.tensor([list(ids)], device=model.device)
    size = max(1, block_bytes // (4 * int(model.get_output_embeddings().weight.shape[0])))
    places: Places = []
    following: list[float] = []
    try:
        with torch.inference_mode(), stopped_between_layers(model, should_stop):
            for start, logits in _logits(model, inputs, size):
                if should_stop():
                    return None
                logprobs, targets = logits.float(), list(ids[start + 1 : start + 1 + len(logits)])
                total = logprobs.logsumexp(-1)
                values, tokens = logprobs.topk(min(count, logprobs.shape[-1]), dim=-1)
                values = values - total[:, None]
                places += zip(tokens.tolist(), values.tolist(), strict=True)
                rows = torch.arange(len(targets), device=logprobs.device)
                wanted = torch.tensor(targets, dtype=torch.long, device=logprobs.device)
                following += (logprobs[rows, wanted] - total[rows]).tolist()
    except StopRequested:
        return None
    return places, following


def _logits(model: Any, inputs: torch.Tensor, size: int) -> Iterator[tuple[int, torch.Tensor]]:
    """The first place of a block, and the logits after its tokens, (places, vocabulary)."""
    starts = range(0, inputs.shape[1], size)
    if "logits_to_keep" not in inspect.signature(model.forward).parameters:
        whole = model(input_ids=inputs, use_cache=False).logits[0]
        yield from ((start, whole[start : start + size]) for start in starts)
        return
    output, last = _body_output(model, inputs)
    if output is not None and _is_head_alone(model, inputs, output, last):
        for start in starts:
            yield start, _of_states(model, inputs, output, slice(start, start + size))
        return
    # The model does more with its body's states than to score them: a pass of all of it for every block.
    for start in starts:
        kept = torch.arange(start, min(start + size, inputs.shape[1]), device=inputs.device)
        yield start, model(input_ids=inputs, use_cache=False, logits_to_keep=kept).logits[0]


def _body_output(model: Any, inputs: torch.Tensor) -> tuple[Any, torch.Tensor]:
    """What the body returns over a sequence, None if the model runs without it, and the model's own last logits."""
    outputs: list[Any] = []

    def keep(_module: Any, _inputs: Any, output: Any) -> None:
        outputs.append(output)

    hook = model.base_model.register_forward_hook(keep) if model.base_model is not model else None
    try:
        logits = model(input_ids=inputs, use_cache=False, logits_to_keep=1).logits[0, -1]
    finally:
        if hook is not None:
            hook.remove()
    return outputs[0] if len(outputs) == 1 else None, logits


def _is_head_alone(model: Any, inputs: torch.Tensor, output: Any, last: torch.Tensor) -> bool:
    """Whether the last logits of a whole pass come of the body's states too, up to rounding."""
    try:
        again = _of_states(model, inputs, output, slice(inputs.shape[1] - 1, inputs.shape[1]))[-1]
    except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError):  # As it may be written.
        return False
    expected, got = last.float(), again.float()
    finite = torch.isfinite(expected)
    if bool((torch.isfinite(got) != finite).any()):
        return False
    return bool((got - expected)[finite].abs().max() <= TOLERANCE * expected[finite].std())


def _of_states(model: Any, inputs: torch.Tensor, output: Any, block: slice) -> torch.Tensor:
    """The logits after the tokens of a block, of what the body has returned over all."""
    with _body_gives(model.base_model, _with_states(output, output[0][:, block])):
        logits: torch.Tensor = model(input_ids=inputs[:, block], use_cache=False).logits[0]
    return logits


def _with_states(output: Any, states: torch.Tensor) -> Any:
    """What the body has returned, with the states of some places alone."""
    if isinstance(output, tuple):
        return (states, *output[1:])
    other = copy.copy(output)
    other["last_hidden_state"] = states
    return other


@contextmanager
def _body_gives(body: Any, output: Any) -> Iterator[None]:
    """Have a body return what it has computed before."""
    # Where parts of a model are on several devices, a module has a `forward` of its own in place of its class's.
    before = body.__dict__.get("forward")

    def forward(*_: Any, **__: Any) -> Any:
        return output

    body.forward = forward
    try:
        yield
    finally:
        if before is None:
            del body.forward
        else:
            body.forward = before


# --- as texts -------------------------------------------------------------------------------------------


def with_texts(ids: Sequence[int], places: Places, following: Sequence[float], tokenizer: Any) -> NextTokens | RunError:
    """What `most_likely` has found, with the texts of the tokens; an error where a score is not a number."""
    if any(map(math.isnan, following)) or any(math.isnan(values[0]) for _, values in places):
        return NON_FINITE
    texts: dict[int, str] = {}
    top: list[tuple[NextToken, ...]] = [()]
    for tokens, logprobs in places:
        for id_ in tokens:
            texts.setdefault(id_, token_text(tokenizer, id_))
        # Tokens that a model never writes have no likelihood. Of equals the first of the vocabulary comes first.
        found = sorted((-value, id_) for id_, value in zip(tokens, logprobs, strict=True) if is_finite(value))
        top.append(tuple(NextToken(texts[id_], -value, id_) for value, id_ in found))
    return NextTokens(tuple(ids), tuple(top), (None, *(v if is_finite(v) else None for v in following)))


def token_text(tokenizer: Any, id_: int) -> str:
    """A token as it is written; one that is a part of a character as its bytes."""
    text = str(tokenizer.decode([id_], skip_special_tokens=False, clean_up_tokenization_spaces=False))
    token = str(tokenizer.convert_ids_to_tokens(id_))
    # A token that begins with a space loses it where it stands alone.
    if token.startswith("▁") and not text.startswith(" "):
        text = " " + text
    if "\ufffd" not in text:
        return text
    known = byte_letters()
    return "".join(f"<0x{known[letter]:02X}>" for letter in token) if set(token) <= set(known) else token


@cache
def byte_letters() -> dict[str, int]:
    """Letter → byte, as vocabularies over bytes write them: a byte that is no printable letter has one from 256 on."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(b): b for b in printable} | {chr(256 + k): byte for k, byte in enumerate(others)}
