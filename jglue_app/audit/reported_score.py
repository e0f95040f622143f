"""A score as it is printed: its digits, its scale, and the numbers that it may stand for. No I/O.

A printed decimal stands for every number that rounds to it, that is for an interval of one unit of its last digit
around it (Brown and Heathers 2017 test averages so). Where digits were cut off instead, it stands for the numbers from
it to the next one.
"""

from __future__ import annotations

import html
import math
import re
import unicodedata
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Literal

from jglue_app.audit.benchmarks import SIGNED
from jglue_app.errors import InputError
from jglue_app.messages import Message

Scale = Literal["fraction", "percent"]
SCALES = ("fraction", "percent")
MIN_UNIT = Fraction(1, 10**7)
"""Width of the smallest interval: single-precision arithmetic, as much as many systems use, holds no more digits."""
MAX_DECIMALS = 6
"""Decimals of other numbers beside a score: of 1,000 items the third is uncertain."""
MAX_CHARS = 60
"""Characters of a score; no system prints more."""
AMBIGUOUS_DIGITS = 2
"""A number up to 1 with no more decimals may as well be a percentage."""
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d{1,2})?", re.IGNORECASE)
_SPREAD = re.compile(r"\s*(\((±|\+/-|\+-)\s*\d*\.?\d+\s*%?\)|(±|\+/-|\+-)\s*\d*\.?\d+\s*%?)$")
_MARKS = "†‡§¶ \t"
"""What points at a footnote behind a score."""
_INFINITE = re.compile(r"[+-]?inf(inity)?", re.IGNORECASE)
_SIGNS = str.maketrans({"−": "-", "–": "-", "‐": "-", "％": "%"})
MISSING = ("", "-", "--", "---", "/", "n/a", "na", "none", "null", "?", "tbd", "—", "ー")
"""What a table writes where there is no score."""


@dataclass(frozen=True, slots=True)
class ReportedScore:
    """A score as it stands in a table."""

    text: str
    """As it was given, without white space around it and spread behind it."""
    value: Fraction
    """As a fraction of 1."""
    unit: Fraction
    """One unit of its last digit, as a fraction of 1."""
    scale: Scale
    sure: bool
    """Whether the scale follows from the value or was said."""

    @property
    def half(self) -> Fraction:
        """Half the width of the interval that it stands for."""
        return max(self.unit, MIN_UNIT) / 2

    @property
    def bounds(self) -> tuple[Fraction, Fraction]:
        """Least and greatest number that rounds to it."""
        return self.value - self.half, self.value + self.half

    @property
    def digits(self) -> int:
        """Decimals as a fraction of 1."""
        return max(0, round(-math.log10(self.unit)))

    def rounds(self, number: Fraction | float) -> bool:
        """Whether a number may be printed so."""
        low, high = self.bounds
        return low <= Fraction(number) <= high

    def cuts(self, number: Fraction | float) -> bool:
        """Whether a number reads so when digits are cut off, and not when it is rounded."""
        exact = Fraction(number)
        return self.unit >= MIN_UNIT and not self.rounds(exact) and self.value <= exact < self.value + self.unit

    def gap(self, number: float) -> str:
        """A difference of two scores on the scale of this one, with its sign."""
        decimals = min(max(self.digits, 3), MAX_DECIMALS)
        if self.scale == "percent":
            return f"{100 * number:+.{max(1, decimals - 2)}f} pt"
        return f"{number:+.{decimals}f}"

    def show(self, number: Fraction | float, more: int = 0) -> str:
        """Another number as this one is printed, with some further digits."""
        decimals = min(max(self.digits, 3), MAX_DECIMALS) + more
        if self.scale == "percent":
            return f"{100 * float(number):.{max(1, decimals - 2)}f} %"
        return f"{float(number):.{decimals}f}"


def parse(text: str | float, metric: str | None = None, scale: Scale | None = None) -> ReportedScore:
    """Read a score.

    Args:
        text: as it is printed: `0.3016`, `.3016`, `30.16`, `30.16%`, `0.30±0.01`; or a number.
        metric: correlations may be negative.
        scale: what it is given in; None to decide by its value: above 1 it is a percentage.

    Raises:
        InputError: it is no number, or outside the range of the metric.
    """
    number, plain = decimal(text)
    exponent = number.as_tuple().exponent
    assert isinstance(exponent, int)
    value, unit = Fraction(number), Fraction(10) ** min(0, exponent)
    if plain.endswith("%"):
        if scale == "fraction":
            raise InputError(
                "{plain!r} has a percent sign and is said to be a fraction. Leave one of them out.", plain=plain
            )
        scale = "percent"
    chosen: Scale = scale or ("percent" if abs(value) > 1 else "fraction")
    sure = scale is not None or abs(value) > 1 or value == 0 or -exponent > AMBIGUOUS_DIGITS
    if chosen == "percent":
        value, unit = value / 100, unit / 100
    lowest = -1 if metric in SIGNED else 0
    if not lowest <= value <= 1:
        limits = Message("-1 to 1, or -100 to 100 %") if lowest else Message("0 to 1, or 0 to 100 %")
        raise InputError(
            "{plain!r} is outside the range of such a score, {limits}. Check it, its metric and its scale.",
            plain=plain,
            limits=limits,
        )
    return ReportedScore(plain, value, unit, chosen, sure)


def decimal(text: str | float) -> tuple[Decimal, str]:
    """The number of a score as it stands, and the text of it without what stands around it.

    Raises:
        InputError: it is no finite number.
    """
    given = str(text)
    if len(given) > MAX_CHARS:
        raise InputError("The score is longer than any number that is printed. Give one number, such as 0.3016.")
    bare = given.strip().rstrip(_MARKS)
    while bare and _is_note(bare[-1]) and unicodedata.normalize("NFKC", bare[-1]).isdecimal():
        bare = bare[:-1].rstrip(_MARKS)
    if any(map(_is_note, bare)):
        raise InputError("{given!r} is no number. Give one score, such as 0.3016 or 30.16%.", given=given)
    plain = unicodedata.normalize("NFKC", bare).translate(_SIGNS).strip().strip("*_` ")
    plain = _SPREAD.sub("", plain)
    body = plain.removesuffix("%").strip()
    if _NUMBER.fullmatch(body):
        return Decimal(body), body + "%" * plain.endswith("%")
    if is_nan(given) or _INFINITE.fullmatch(body):
        raise InputError(
            "{given!r} is not a finite number, and so no score. Give a number, such as 0.3016.", given=given
        )
    if re.fullmatch(r"[+-]?\d+,\d+", body):
        raise InputError("{given!r} has a comma. Write decimals with a point, such as 0.3016.", given=given)
    raise InputError("{given!r} is no number. Give one score, such as 0.3016 or 30.16%.", given=given)


def _is_note(char: str) -> bool:
    """Whether a character is a digit of a footnote mark, which NFKC would make a digit of the number: ², ₂, ②."""
    return unicodedata.decomposition(char).startswith(("<super>", "<sub>", "<circle>"))


def is_nan(text: str | float) -> bool:
    """Whether it says that the score is not a number, as a correlation that is not defined; an infinite one is none."""
    return bool(re.fullmatch(r"\s*[+-]?nan\s*", str(text)[:MAX_CHARS], re.IGNORECASE))


def is_missing(text: str) -> bool:
    """Whether a cell of a table says that there is no score."""
    plain = unicodedata.normalize("NFKC", html.unescape(text[:MAX_CHARS])).translate(_SIGNS)
    return plain.strip("*_`†‡ \t").lower() in MISSING
