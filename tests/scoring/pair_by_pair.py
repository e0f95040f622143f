"""Ranks from one test after the other, by `significance`: what the tests of all pairs at once are held against."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from jglue_app.scoring import significance
from jglue_app.scoring.comparison import MIN_PAIRED
from jglue_app.scoring.ranking import Place, places_of_pairs
from jglue_app.scoring.types import Difference, PairedTest


def mean_test(differences: Sequence[Difference | None]) -> PairedTest | None:
    """Of the means of the main metrics of some subsets, B minus A; None where a subset has too few items."""
    tests: list[PairedTest] = []
    for found in differences:
        if found is None or found.difference.value is None or found.difference.n < MIN_PAIRED:
            return None
        tests.append(PairedTest(found.difference, found.p, found.test, found.needed))
    return tests[0] if len(tests) == 1 and tests[0].test == "mcnemar" else significance.average_test(tests)


def places(names: Sequence[str], test: Callable[[str, str], PairedTest | None]) -> dict[str, Place]:
    """Name → place; `test` gives that of B minus A for the names of A and B."""
    tests = [test(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]
    return places_of_pairs(
        names,
        np.array([np.nan if t is None or t.difference.value is None else t.difference.value for t in tests]),
        np.array([np.nan if t is None or t.p is None else t.p for t in tests]),
    )
