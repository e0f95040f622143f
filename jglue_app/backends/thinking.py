"""How one tokenizer deals with thoughts: the switches of its chat template, and which special tokens raw text keeps."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from typing import Any
from weakref import WeakKeyDictionary

import jinja2
from jinja2 import meta

from jglue_app.thought import kept_tokens

ON = ("enable_thinking", "enable_reasoning", "thinking", "think", "reasoning", "force_thinking", "force_reasoning")
"""Variables of chat templates that are true where the model is to think."""
AGAINST = ("skip_reasoning", "skip_thinking", "no_thinking", "disable_thinking")
"""Variables that are true where it is not."""
WORDS = {"reasoning_effort": ("none", "high"), "thinking_effort": ("none", "high"), "thinking_mode": ("", "")}
"""Variables that take a word → the words for off and on, if the template knows them."""
MODES = (("disabled", "enabled"), ("chat", "thinking"), ("off", "on"), ("no_think", "think"))
"""Words that `thinking_mode` takes for off and on."""


def switches(tokenizer: Any, thinking: str) -> dict[str, Any]:
    """What a chat template is given so that the model thinks, or does not.

    A switch is passed if the template reads a variable of its name. `enable_thinking`, the most usual one, is always
    passed when thinking is off.
    """
    if thinking == "default":
        return {}
    on = thinking == "on"
    found: dict[str, Any] = {} if on else {"enable_thinking": False}
    template = _template(tokenizer)
    names = _variables(template)
    found |= {name: on for name in ON if name in names}
    found |= {name: not on for name in AGAINST if name in names}
    for name in names & set(WORDS):
        pairs = MODES if name == "thinking_mode" else (WORDS[name],)
        # Effort without a word for none is how long to think, not whether.
        known = next((pair for pair in pairs if re.search(f"[\"']{pair[0]}[\"']", template)), None)
        if known:
            found[name] = known[on]
    if "thinking_budget" in names and not on:
        found["thinking_budget"] = 0
    return found


def decoder(tokenizer: Any) -> Callable[[list[int]], str]:
    """Token ids → raw text: without special tokens, but with those that mark thoughts.

    Without these a thought could not be told from the answer.
    """
    if tokenizer not in _SKIPPED:
        _SKIPPED[tokenizer] = _skipped(tokenizer)
    skipped = _SKIPPED[tokenizer]

    def decode(ids: list[int]) -> str:
        if skipped is None:
            return str(tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))
        kept = [i for i in ids if i not in skipped]
        return str(tokenizer.decode(kept, skip_special_tokens=False, clean_up_tokenization_spaces=False))

    return decode


_SKIPPED: WeakKeyDictionary[Any, frozenset[int] | None] = WeakKeyDictionary()


def _skipped(tokenizer: Any) -> frozenset[int] | None:
    """Ids of the special tokens that raw text is without; None if it is without all of them."""
    texts = {i: str(token) for i, token in tokenizer.added_tokens_decoder.items() if token.special}
    texts |= dict(zip(tokenizer.all_special_ids, tokenizer.all_special_tokens, strict=True))
    kept = kept_tokens(texts.values())
    return frozenset(i for i, text in texts.items() if text not in kept) if kept else None


def _template(tokenizer: Any) -> str:
    """The chat template that is used where there are no tools; empty if there is none."""
    found = getattr(tokenizer, "chat_template", None)
    return str(found.get("default", "") if isinstance(found, dict) else found or "")


@cache
def _variables(template: str) -> frozenset[str]:
    """Names that a template looks up in what it is given."""
    try:
        # `generation` marks what the model has said; it is a tag of transformers' own.
        plain = re.sub(r"{%-?\s*(?:end)?generation\s*-?%}", "", template)
        parsed = jinja2.Environment(extensions=["jinja2.ext.loopcontrols"]).parse(plain)
    except jinja2.TemplateError:
        return frozenset(re.findall(r"(?<![\w.'\"])[a-z_]+(?![\w'\"])", template))
    return frozenset(meta.find_undeclared_variables(parsed))
