"""Short names of the runs that stand side by side: the model, what makes its scores approximate, and only what tells
one from the other."""

from __future__ import annotations

from collections.abc import Sequence

from jglue_app.types import TWO_BYTES
from jglue_app.ui.views.run_labels import run_label_text

ROUNDED = (*TWO_BYTES, "8bit", "4bit")
"""Parts of a label that make scores approximate."""


def short_names(a: str, b: str, lang: str, named: tuple[bool, bool] = (False, False)) -> tuple[str, str]:
    """Two run labels (`model · format · style · shots …`) without the parts after the model that both have, but for a
    precision below that of the model.

    Args:
        a, b: the labels; B's is empty for one run alone, of which the model and its precision are left.
        lang: `ja` or `en`.
        named: whether somebody gave the run that name, which is then left whole.
    """
    parts_a, parts_b = ([label] if given else label.split(" · ") for label, given in zip((a, b), named, strict=True))
    if not b:
        return (a if named[0] else _short(parts_a, parts_a, lang)), ""
    return (
        a if named[0] else _short(parts_a, parts_b, lang),
        b if named[1] else _short(parts_b, parts_a, lang),
    )


def _short(parts: Sequence[str], of_other: Sequence[str], lang: str) -> str:
    own = [part for part in parts[1:] if part in ROUNDED or part not in of_other[1:]]
    return run_label_text(" · ".join([parts[0], *own]), lang)
