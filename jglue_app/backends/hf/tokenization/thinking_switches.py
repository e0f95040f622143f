"""Thinking in one tokenizer: the switches of its chat template, and which special tokens raw text keeps."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from typing import Any
from weakref import WeakKeyDictionary

import jinja2
from jinja2 import meta

from jglue_app.prompts.thoughts import kept_tokens, left_open, turn_tokens

ENABLING = (
    *("enable_thinking", "enable_reasoning", "thinking", "think", "reasoning", "force_thinking", "force_reasoning"),
    *("use_think", "use_thinking", "use_reasoning", "thinking_enabled", "reasoning_enabled", "thinking_mode"),
)
"""Variables of chat templates that are true where the model is to think, unless they are compared with words."""
DISABLING = ("skip_reasoning", "skip_thinking", "no_thinking", "disable_thinking")
"""Variables that are true where the model is not to think."""
EFFORTS = {"reasoning_effort": ("none", "high"), "thinking_effort": ("none", "high")}
"""Variables that take a word → the words for off and on, where the template compares with them."""
WORD_PAIRS = (
    *(("disabled", "enabled"), ("chat", "thinking"), ("off", "on"), ("no_think", "think"), ("fast", "slow")),
    *(("disable", "enable"), ("non-thinking", "thinking"), ("no_thinking", "thinking"), ("nothink", "think")),
    *(("none", "high"), ("false", "true"), ("no", "yes")),
)
"""Words for off and on that other variables take."""


def template_arguments(tokenizer: Any, thinking: str) -> dict[str, Any]:
    """Arguments of a chat template with which the model thinks, or does not.

    A switch is passed if the template reads a variable of its name. `enable_thinking`, the most usual one, is always
    passed when thinking is off.
    """
    if thinking == "default":
        return {}
    on = thinking == "on"
    arguments: dict[str, Any] = {} if on else {"enable_thinking": False}
    template = _template(tokenizer)
    names = _variables(template)
    for name in names & set(ENABLING):
        if (words := _words(template, name)) is None:
            arguments[name] = on
        elif words:
            arguments[name] = words[on]
    arguments |= {name: not on for name in DISABLING if name in names}
    for name in names & set(EFFORTS):
        # Effort without a word for none is how long to think, not whether.
        if re.search(f"[\"']{EFFORTS[name][0]}[\"']", template):
            arguments[name] = EFFORTS[name][on]
    if "thinking_budget" in names and not on:
        arguments["thinking_budget"] = 0
    return arguments


def _words(template: str, name: str) -> tuple[str, str] | tuple[()] | None:
    """The words for off and on that a template compares a variable with; None if it takes true or false, empty if the
    words are others."""
    # The template may give its value another name: {% set mode = thinking_mode if … %}.
    aliases = re.findall(rf"\bset\s+(\w+)\s*=\s*{name}\b(?!\s*[=!]=)", template)
    names = "|".join(map(re.escape, {name, *aliases}))
    value = r"[\"']([\w\-]+)[\"']"
    compared = re.findall(rf"(?<![\w.])(?:{names})(?:\s*\|\s*lower)?\s*[=!]=\s*{value}", template)
    for words in re.findall(rf"(?<![\w.])(?:{names})\s+(?:not\s+)?in\s*[\[(]([^\])]*)[\])]", template):
        compared += re.findall(value, words)
    if not compared:
        return None
    pair = sorted(WORD_PAIRS, key=lambda pair: -sum(word in compared for word in pair))[0]
    return pair if any(word in compared for word in pair) else ()


def decoder(tokenizer: Any) -> Callable[[list[int]], str]:
    """Token ids → raw text: without special tokens, but with those that mark thoughts.

    Without these a thought could not be distinguished from the answer.
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
    if not _template(tokenizer):
        return ""
    turns = [{"role": "user", "content": "問い"}]
    try:
        text = tokenizer.apply_chat_template(
            turns, tokenize=False, add_generation_prompt=True, **template_arguments(tokenizer, "on")
        )
    except Exception:  # Jinja templates of any repository may raise anything.
        return ""
    return left_open(str(text), "問い")


def _template(tokenizer: Any) -> str:
    """The chat template that is used without tools; empty if there is none."""
    template = getattr(tokenizer, "chat_template", None)
    return str(template.get("default", "") if isinstance(template, dict) else template or "")


@cache
def _variables(template: str) -> frozenset[str]:
    """Names of the variables that a template uses."""
    try:
        # `generation` marks the model's own turns; it is a tag of transformers.
        plain = re.sub(r"{%-?\s*(?:end)?generation\s*-?%}", "", template)
        parsed = jinja2.Environment(extensions=["jinja2.ext.loopcontrols"]).parse(plain)
    except jinja2.TemplateError:
        return frozenset(re.findall(r"(?<![\w.'\"])[a-z_]+(?![\w'\"])", template))
    return frozenset(meta.find_undeclared_variables(parsed))
