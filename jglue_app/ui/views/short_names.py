"""Short names of the runs that stand side by side: the model, and only what tells one from the other."""

from __future__ import annotations

import re

from jglue_app.messages import word

SHOTS = re.compile(r"(\d+)-shot")


def short_names(a: str, b: str, lang: str) -> tuple[str, str]:
    """Two run labels (`model · format · style · shots …`) without the parts after the model that both have.

    Args:
        a, b: the labels; B's is empty for one run alone, of which only the model is left.
        lang: `ja` or `en`.
    """
    (model_a, *rest_a), (model_b, *rest_b) = a.split(" · "), b.split(" · ")
    if not b:
        return _worded(model_a, lang), ""
    only_a, only_b = (
        [part for part in own if part not in others] for own, others in ((rest_a, rest_b), (rest_b, rest_a))
    )
    return " · ".join([model_a, *(_worded(p, lang) for p in only_a)]), " · ".join(
        [model_b, *(_worded(p, lang) for p in only_b)]
    )


def _worded(part: str, lang: str) -> str:
    """A part of a label in the page's language."""
    found = SHOTS.fullmatch(part)
    if found is None:
        return part
    return word("shots_short", lang).format(found[1]) if int(found[1]) else word("no_shots", lang)
