"""A prompt token by token, with the findings of the linter and the answers of a model."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import accumulate
from typing import Any

from jglue_app.messages import say, word
from jglue_app.prompt_lab import Foreseen, Inspected, Token, Tried
from jglue_app.prompts.findings import Finding
from jglue_app.scoring.protocols import judge_all
from jglue_app.tasks import TASKS
from jglue_app.ui.views import signs
from jglue_app.ui.views.item import SideView, item_view
from jglue_app.ui.views.next_tokens import next_view

MAX_TOKENS = 3_000
"""Tokens to show; of a longer prompt the beginning and the end."""


def prompt_view(
    inspection: Inspected, label: str, side: str, lang: str, foreseen: Foreseen | None = None
) -> dict[str, Any]:
    """Payload of a prompt as a tokenizer sees it, and with `foreseen`, of what a model expects at its places."""
    starts = accumulate((len(token.ids) for token in inspection.tokens), initial=0)
    tokens = list(zip(inspection.tokens, starts, strict=False))
    left_out = len(tokens) - MAX_TOKENS
    half = MAX_TOKENS // 2
    visible = [*tokens[:half], *tokens[-half:]] if left_out > 0 else tokens
    context = inspection.context_length
    facts = [
        word("lab_tokens", lang).format(f"{inspection.count:,}"),
        word("lab_limit", lang).format(inspection.max_new_tokens),
    ]
    if context:
        facts.append(word("lab_context", lang).format(f"{context:,}"))
    return {
        "side": side,
        "label": label,
        "tokens": [_token(token, i) | {"place": place} for i, (token, place) in enumerate(visible)],
        "next": next_view(foreseen, [t for t, _ in visible], [place for _, place in visible], lang)
        if foreseen
        else None,
        "left_out": word("lab_left_out", lang).format(f"{left_out:,}") if left_out > 0 else "",
        "cut_at": half if left_out > 0 else -1,
        "facts": " · ".join(facts),
        "answers": [
            {"text": a.text[:200], "tokens": a.tokens, "gold": a.gold, "long": a.tokens > inspection.max_new_tokens}
            for a in inspection.answers[:50]
        ],
        "findings": [_finding(f, lang) for f in inspection.findings],
        "stop": [repr(stop)[1:-1] for stop in inspection.prompt.stop],
    }


def _token(token: Token, place: int) -> dict[str, Any]:
    """A token's text with line ends, and a token of white space, made visible."""
    text = signs.visible(token.text).replace("\n", "⏎").replace("\t", "⇥").replace("\u00a0", "⍽")
    if text and not text.strip():
        text = text.replace(" ", "␣").replace("\u3000", "□")
    return {
        "text": text or "∅",
        "ids": " ".join(map(str, token.ids)),
        "special": token.special,
        "break": "\n" in token.text,
        "tint": place % 4,
    }


def _finding(finding: Finding, lang: str) -> dict[str, str]:
    return {
        "level": finding.level,
        "level_text": word(f"lint_level_{finding.level}", lang),
        "name": word(f"lint_{finding.rule}", lang),
        "message": say(finding.message, lang),
        "rule": finding.rule,
    }


def answers_view(attempts: Mapping[str, Tried], lang: str) -> dict[str, Any]:
    """Payload of the item view for the answers that one or two sides have just given."""
    sides = []
    for name, attempt in attempts.items():
        item, record = attempt.answered.item, attempt.answered.record
        # No protocol says anything of an item whose right answer is not known.
        judged = judge_all(TASKS[item.task], item, record) if item.gold != () else {}
        bos = attempt.model.prefix or (attempt.model.bos if attempt.model.adds_bos else "")
        approximate = bool(attempt.model.ranking)
        sides.append(SideView(name, attempt.label, attempt.answered, bos, attempt.model.eos, judged, approximate))
    return item_view(sides, lang, steps=False)
