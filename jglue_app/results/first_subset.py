"""The subset with which a run on the page begins, so that its first rows have something to show."""

from __future__ import annotations

from functools import cache

from jglue_app.errors import StoreError
from jglue_app.results import showcase
from jglue_app.results.library import Library
from jglue_app.settings import Settings
from jglue_app.tasks import TASKS


@cache
def first_subset(settings: Settings) -> str:
    """Of the first shipped comparison, the subset with the largest share of items that one run has right and the other
    has not; empty where none is shipped."""
    if not showcase.is_available():
        return ""
    library, pair = Library(settings.runs_dir), showcase.PAIRS[0]
    try:
        a, b = (library.judged(showcase.run_folder(name)) for name in (pair.a, pair.b))
    except StoreError:
        return ""
    shares = {}
    for name in TASKS:
        both = a.get(name, {}).keys() & b.get(name, {}).keys()
        right = [{r[name][id_].judgement.outcome == "correct" for r in (a, b)} for id_ in both]
        if right:
            shares[name] = sum(len(of) == 2 for of in right) / len(right)
    return max(shares, key=lambda name: shares[name], default="")
