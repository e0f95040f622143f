"""What an attack gives, and the table of all."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Outcome:
    """One try."""

    kind: str
    """Its row in the table."""
    tried: str
    """What was sent, and where to."""
    through: str = ""
    """What the attacker got; empty where it was refused."""


def table(outcomes: Iterable[Outcome]) -> str:
    """A row for each kind: how many were tried, refused, and went through."""
    rows: dict[str, list[int]] = {}
    for outcome in outcomes:
        row = rows.setdefault(outcome.kind, [0, 0, 0])
        row[0] += 1
        row[2 if outcome.through else 1] += 1
    totals = [sum(row[column] for row in rows.values()) for column in range(3)]
    width = max(map(len, [*rows, "all"]))
    lines = [f"{'kind':<{width}}  {'tried':>6}  {'refused':>7}  {'through':>7}"]
    lines += [f"{kind:<{width}}  {a:>6}  {b:>7}  {c:>7}" for kind, (a, b, c) in rows.items()]
    return "\n".join([*lines, f"{'all':<{width}}  {totals[0]:>6}  {totals[1]:>7}  {totals[2]:>7}"])


def short(text: object, most: int = 160) -> str:
    """A text in one line of at most `most` characters."""
    line = " ".join(str(text).encode("utf-8", "backslashreplace").decode().split())
    return line if len(line) <= most else f"{line[:most]}…"


def details(outcomes: Sequence[Outcome], most: int = 10) -> str:
    """What went through: at most `most` tries of each kind, and how many more there are."""
    lines = []
    for kind in dict.fromkeys(outcome.kind for outcome in outcomes):
        of_kind = [outcome for outcome in outcomes if outcome.kind == kind and outcome.through]
        lines += [f"{kind}: {short(one.tried, 200)}\n    → {short(one.through, 400)}" for one in of_kind[:most]]
        if len(of_kind) > most:
            lines.append(f"{kind}: and {len(of_kind) - most} more")
    return "\n".join(lines)
