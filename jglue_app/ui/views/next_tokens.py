"""The most likely next tokens at the end of a prompt, and at each of its tokens."""

from __future__ import annotations

import math
from typing import Any

from jglue_app.messages import word
from jglue_app.prompt_lab import Foreseen, Token
from jglue_app.types import NextToken
from jglue_app.ui.views import signs

MAX_TEXT = 60
"""Characters of a token to show: some stand for a row of a hundred spaces."""
END = "end"
"""The place where the answer begins."""


def token_text(text: str) -> str:
    """A token with its line ends and white space visible, and with other characters that are not seen as signs."""
    shown = signs.visible(text[:MAX_TEXT]) + ("…" if len(text) > MAX_TEXT else "")
    for unseen, sign in (("\n", "⏎"), ("\t", "⇥"), (" ", "␣"), ("\u00a0", "⍽"), ("\u3000", "□")):
        shown = shown.replace(unseen, sign)
    return shown or "∅"


def next_view(foreseen: Foreseen, visible: list[Token], first_places: list[int], lang: str) -> dict[str, Any]:
    """Payload of the panel below a prompt's tokens.

    Args:
        foreseen: what the model expects.
        visible: the tokens that are shown.
        first_places: of each of them the place of its first id in the prompt.
        lang: `ja` or `en`.
    """
    found = foreseen.next
    # With another tokenizer on the server, places are not those of the tokens that are shown.
    ids = tuple(id_ for token in foreseen.inspected.tokens for id_ in token.ids)
    known = bool(found.ids) and found.ids == ids
    end = _place(word("next_at_end", lang), found.top[-1], None)
    places: dict[str, Any] = {END: end}
    for token, place in zip(visible, first_places, strict=True) if known else ():
        text = token_text(token.text)
        if not found.top[place]:
            places[str(place)] = _place(word("next_at_first", lang).format(text), (), None)
            continue
        title = word("next_at_token", lang).format(text, _share_text(found.logprobs[place], lang))
        places[str(place)] = _place(title, found.top[place], token.ids[0])
    return {
        "end": end,
        "places": places,
        "note": word("next_note" if known else "next_end_only", lang),
        "known": known,
    }


def _place(title: str, tokens: tuple[NextToken, ...], own: int | None) -> dict[str, Any]:
    """What is shown of a place: (text, id, percent) of each token, the likeliest first, and which of them stands there,
    by the id `own`. Rows are short, since there is one for each token of a long prompt."""
    return {
        "title": title,
        "own": next((i for i, token in enumerate(tokens) if own is not None and token.id == own), -1),
        "rows": [
            [token_text(token.text), "" if token.id is None else str(token.id), f"{100 * math.exp(token.logprob):.1f}"]
            for token in tokens
        ],
    }


def _share_text(logprob: float | None, lang: str) -> str:
    """The likelihood of a token in percent."""
    share = 0.0 if logprob is None else 100 * math.exp(logprob)
    return word("percent", lang).format("<0.1" if share < 0.05 else f"{share:.1f}")
