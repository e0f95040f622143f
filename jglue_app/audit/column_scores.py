"""The cells of one column of a leaderboard as scores on one scale, and what is wrong with them. No I/O."""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal

from jglue_app.audit.benchmarks import SIGNED
from jglue_app.audit.reported_score import AMBIGUOUS_DIGITS, ReportedScore, Scale, decimal, is_missing, is_nan, parse
from jglue_app.audit.sentences import Finding, finding
from jglue_app.audit.table import Column
from jglue_app.errors import InputError
from jglue_app.messages import Message

MAX_UNCLEAR_SCORES = 2
"""Scores in a column that do not make its scale plain."""
MAX_NAMED = 12
"""Models that a sentence names; the data have all."""
_OWNER = re.compile(r"^[\w.-]+/(?=[\w.-])")


def read_cells(
    models: Sequence[str], column: Column, scale: Scale | None
) -> tuple[list[ReportedScore | None], list[Finding]]:
    """The scores of a column, None where there is none, and what is wrong with its cells."""
    raw: list[Decimal | None] = []
    signed: list[bool] = []
    unread: list[str] = []
    undefined: list[str] = []
    for model, cell in zip(models, column.cells, strict=True):
        try:
            number, plain = (None, "") if is_missing(cell) else decimal(cell)
        except InputError:
            number, plain = None, ""
            if is_nan(cell) and column.metric in SIGNED:
                undefined.append(model)
            else:
                unread.append(f"{model} {cell[:20]!r}")
        raw.append(number)
        signed.append(plain.endswith("%"))
    bare = [abs(x) for x, percent in zip(raw, signed, strict=True) if x and not percent]
    above, below = sum(x > 1 for x in bare), sum(x <= 1 for x in bare)
    chosen: Scale = scale or ("percent" if above and above >= below else "fraction")
    scores: list[ReportedScore | None] = []
    mixed: list[str] = []
    outside: list[str] = []
    for model, cell, value, percent in zip(models, column.cells, raw, signed, strict=True):
        score = None
        if value is not None:
            other = scale is None and not percent and value != 0 and (abs(value) > 1) != (chosen == "percent")
            try:
                score = parse(cell, column.metric, None if percent else chosen)
            except InputError:
                (mixed if other and abs(value) <= 100 else outside).append(f"{model} {cell}")
            if score and other:
                mixed.append(f"{model} {cell}")
                score = None
        scores.append(score)
    findings = []
    if mixed:
        findings.append(
            finding("board_mixed", "alert", column=column.title, who=names(mixed), above=above, below=below)
        )
    if outside:
        findings.append(finding("board_range", "alert", column=column.title, who=names(outside)))
    if unread:
        findings.append(finding("board_unread", "alert", column=column.title, who=names(unread)))
    if undefined:
        findings.append(finding("board_nan", "alert", column=column.title, who=names(undefined)))
    if bare and not mixed:
        made_of = [p for p in scores if p is not None and p.value]
        # One or two numbers such as 0.9 do not say what the others of the table would have said.
        open_ = scale is None and chosen == "fraction" and len(made_of) <= MAX_UNCLEAR_SCORES and not any(signed)
        if open_ and all(-_exponent(x) <= AMBIGUOUS_DIGITS for x in raw if x):
            findings.append(finding("board_open", "alert", column=column.title))
        else:
            findings.append(
                finding(f"board_{chosen}_said" if scale else f"board_{chosen}", "info", columns=column.title)
            )
    return scores, findings


def _exponent(number: Decimal) -> int:
    exponent = number.as_tuple().exponent
    assert isinstance(exponent, int)
    return exponent


def names(names: Sequence[str], limit: int = MAX_NAMED) -> tuple[str, ...]:
    """The first names of a list, without their owners on the Hub, and how many more there are."""
    listed = tuple(name if isinstance(name, Message) else short(name) for name in names[:limit])
    return (*listed, Message("… (+{count})", count=len(names) - limit)) if len(names) > limit else listed


def short(name: str) -> str:
    """A model's name without its owner on the Hub."""
    return _OWNER.sub("", name)
