"""The items that show best why two runs score as they do, in the order in which to look at them. No I/O."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from jglue_app.scoring.judged import SHAPELESS, Judged, ScoredItem, compared_outcomes, knows_answer
from jglue_app.tasks import TASKS

KINDS = ("knows", "only_right", "form", "unreadable", "wrong", "correct", "other")
"""What an item shows, the most instructive first: `knows` (ranks the gold answer first and cannot write it),
`only_right` (one side is right, the other wrong), `form` (right in the wrong form), `unreadable`, `wrong`, `correct`,
and `other` (cosines, errors, nothing to score)."""
ANSWERED = ("correct", "wrong_form", "wrong", *SHAPELESS)
"""Outcomes of outputs that can be right or wrong."""
INSTRUCTIVE = 4
"""The kinds of which the subset of the headline comes before all others."""
MOST, MOST_ALIKE = 12, 2
"""Key items in all, and of one kind in one subset."""


@dataclass(frozen=True, slots=True)
class KeyItem:
    """One item, and what it shows."""

    task: str
    id: str
    kind: str
    """One of `KINDS`."""
    side: str = ""
    """The side that it shows it of (`A`, `B`), or which is right for `only_right`; empty where it is of both."""


def key_items(a: Judged, b: Judged | None, knowing: Mapping[str, Collection[str]], first: str = "") -> list[KeyItem]:
    """At most `MOST` items: those of the first subset by kind, then those of the others.

    Args:
        a, b: the judged items of each run; None for B if there is none.
        knowing: side → subsets whose ranking shows knowledge; elsewhere a gold answer is ranked first by luck. See
            `standing.knowing`.
        first: the subset that the headline is about.
    """
    weighed = sorted(_weighed(a, b, knowing, first), key=lambda found: found[0])
    alike: Counter[tuple[str, str]] = Counter()
    out = []
    for _, item in weighed:
        alike[item.kind, item.task] += 1
        if alike[item.kind, item.task] <= MOST_ALIKE:
            out.append(item)
    return out[:MOST]


def gold_share(row: ScoredItem | None) -> float | None:
    """The probability of the gold answer among the choices; None where they were not ranked."""
    logprobs = row.record.output.choice_logprobs if row and row.record.output else None
    if row is None or not logprobs or not isinstance(row.item.gold, tuple):
        return None
    if len(logprobs) != len(row.item.choices) or not row.item.gold or row.item.gold[0] not in row.item.choices:
        return None  # In an imported run either may be missing.
    finite = [value for value in logprobs if math.isfinite(value)]
    weights = [math.exp(value - max(finite)) if math.isfinite(value) else 0.0 for value in logprobs]
    total = sum(weights)
    return weights[row.item.choices.index(row.item.gold[0])] / total if total else None


def _weighed(
    a: Judged, b: Judged | None, knowing: Mapping[str, Collection[str]], first: str
) -> Iterator[tuple[tuple[float, ...], KeyItem]]:
    """Every item with the key by which it is sorted."""
    for order, task in enumerate(TASKS):
        left, right = a.get(task, {}), (b or {}).get(task, {})
        know = [side for side, tasks in knowing.items() if task in tasks]
        for at, id_ in enumerate(dict.fromkeys((*left, *right))):
            rows = {"A": left.get(id_)} if b is None else {"A": left.get(id_), "B": right.get(id_)}
            if _differ(left.get(id_), right.get(id_)):
                continue  # Two items that share an id show nothing of each other.
            kind, side, weight = _kind(rows, know)
            rank = KINDS.index(kind)
            later = rank >= INSTRUCTIVE
            yield (later, later or task != first, rank, order, -weight, at), KeyItem(task, id_, kind, side)


def _differ(x: ScoredItem | None, y: ScoredItem | None) -> bool:
    return x is not None and y is not None and x.item != y.item


def _kind(rows: Mapping[str, ScoredItem | None], know: Collection[str]) -> tuple[str, str, float]:
    """What an item shows, of which side, and how well from 0 on; `know` are the sides whose rankings show knowledge."""
    paired = len(rows) == 2
    outcomes = {side: row.judgement.outcome if row else "" for side, row in rows.items()}
    right = [side for side, outcome in outcomes.items() if outcome == "correct"]
    # Of two items that show the same, the one that the other side has right shows it better.
    other_right = 1.0 if right else 0.0
    knows = {side: gold_share(row) or 0.0 for side, row in rows.items() if side in know and row and knows_answer(row)}
    if knows:
        side = max(knows, key=knows.__getitem__)
        return "knows", side if len(knows) == 1 else "", knows[side] + other_right
    # A side that has not answered is not wrong.
    both = [row for row in rows.values() if row]
    compared = (compared_outcomes(both[0], both[1]) if paired and len(both) == 2 else None) or ()
    if all(outcome in ANSWERED for outcome in compared) and compared.count("correct") == 1:
        # A wrong answer that can be read shows more than an output that cannot.
        return "only_right", list(rows)[compared.index("correct")], float("wrong" in compared)
    for kind, of in (("form", ("wrong_form",)), ("unreadable", SHAPELESS)):
        sides = [side for side, outcome in outcomes.items() if outcome in of]
        if sides:
            return kind, sides[0] if len(sides) == 1 else "", other_right
    if not all(outcome in ANSWERED for outcome in outcomes.values()):
        return "other", "", 0.0
    return ("correct" if right else "wrong"), "", 0.0
