"""Which special tokens raw text keeps: those with which a model marks its thoughts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

from jglue_app.backends.hf.tokenization.chat_template import (
    TemplateLimitError,
    TemplateRefusedError,
    render_template,
)
from jglue_app.prompts.thoughts import kept_tokens, left_open, turn_tokens


def decoder(tokenizer: Any) -> Callable[[list[int]], str]:
    """Token ids → raw text: without special tokens, but with those that mark thoughts.

    Without these a thought could not be distinguished from the answer. Raises ModelError where it cannot be told which
    these are, because the chat template could not be rendered for a reason that is not its own.
    """
    if tokenizer not in _SKIPPED:
        _SKIPPED[tokenizer] = _skipped(tokenizer)
    skipped, between_turns = _SKIPPED[tokenizer]

    def decode(ids: list[int]) -> str:
        if skipped is None:
            return str(tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))
        kept = [i for i in ids if i not in skipped]
        while kept and kept[-1] in between_turns:  # It ends the answer and is not part of it.
            kept.pop()
        return str(tokenizer.decode(kept, skip_special_tokens=False, clean_up_tokenization_spaces=False))

    return decode


_SKIPPED: WeakKeyDictionary[Any, tuple[frozenset[int] | None, frozenset[int]]] = WeakKeyDictionary()


def _skipped(tokenizer: Any) -> tuple[frozenset[int] | None, frozenset[int]]:
    """Ids of the special tokens that raw text is without, None if it is without all of them; and ids of those that are
    kept only between turns."""
    texts = {i: str(token) for i, token in tokenizer.added_tokens_decoder.items() if token.special}
    texts |= dict(zip(tokenizer.all_special_ids, tokenizer.all_special_tokens, strict=True))
    open_mark = _open_mark(tokenizer)
    kept, turns = kept_tokens(texts.values(), open_mark), turn_tokens(open_mark)
    if not kept:
        return None, frozenset()
    skipped = frozenset(i for i, text in texts.items() if text not in kept)
    return skipped, frozenset(i for i, text in texts.items() if text in turns)


def _open_mark(tokenizer: Any) -> str:
    """The mark that the chat template leaves open with thinking; empty if none, or if there is no template."""
    if not getattr(tokenizer, "chat_template", None):
        return ""
    turns = [{"role": "user", "content": "問い"}]
    try:
        text = render_template(tokenizer, "", turns, thinking="on", generation=True)
    except (TemplateLimitError, TemplateRefusedError):
        return ""
    return left_open(text, "問い")
