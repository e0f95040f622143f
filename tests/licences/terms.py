"""What a licence expression allows: our source under Apache-2.0 beside it, and a container image that holds it."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from typing import Final


class Verdict(enum.IntEnum):
    """From best to worst, so that of two licences the choice is the least and their sum is the greatest."""

    COMPATIBLE = 0
    CONDITIONS = 1
    UNKNOWN = 2
    INCOMPATIBLE = 3


@dataclass(frozen=True, slots=True)
class Terms:
    """What a licence, or an expression of several, allows."""

    source: Verdict
    """Publishing our source, which uses the work or holds the data, under Apache-2.0."""
    image: Verdict
    """Handing on a container image that holds both."""
    conditions: tuple[str, ...] = ()
    """What whoever hands on the image has to do beyond keeping the licence texts, which are in it."""


FREE: Final = Terms(Verdict.COMPATIBLE, Verdict.COMPATIBLE)
UNKNOWN: Final = Terms(Verdict.UNKNOWN, Verdict.UNKNOWN)
NEVER: Final = Terms(Verdict.INCOMPATIBLE, Verdict.INCOMPATIBLE)


def _bound(condition: str, source: Verdict = Verdict.COMPATIBLE) -> Terms:
    return Terms(source, Verdict.CONDITIONS, (condition,))


PERMISSIVE: Final = (
    *("0BSD", "Apache-2.0", "Apache-2.0 WITH LLVM-exception", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0", "CC0-1.0"),
    *("CNRI-Python", "GPL-3.0-or-later WITH GCC-exception-3.1", "HPND", "ISC", "MIT", "MIT-0", "MIT-CMU"),
    *("PSF-2.0", "Python-2.0", "Unicode-3.0", "Unlicense", "Zlib"),
)
STRONG_COPYLEFT: Final = ("GPL-", "AGPL-", "SSPL-", "CC-BY-NC-")
"""Beginnings of licences that would bind the whole, or forbid some uses of it."""
TERMS: Final[dict[str, Terms]] = {
    **dict.fromkeys(PERMISSIVE, FREE),
    "MPL-2.0": _bound("its source stays available, as it is on PyPI"),
    **dict.fromkeys(
        ("LGPL-2.1-only", "LGPL-2.1-or-later", "LGPL-3.0-only", "LGPL-3.0-or-later"),
        _bound("its source stays available, and it can be replaced"),
    ),
    "FTL": _bound("with a note that it holds FreeType"),
    "CC-BY-4.0": _bound("with attribution", Verdict.CONDITIONS),
    "CC-BY-SA-4.0": _bound("with attribution, and what is made of it under the same licence"),
    "LicenseRef-Gemma": _bound("with the Gemma Terms of Use and their use restrictions"),
    "LicenseRef-NVIDIA-Proprietary": _bound("as NVIDIA's licence lets an application hand them on"),
}
"""Licence → its terms; of the data ones, those that the data here are under."""

_TOKEN = re.compile(r"\(|\)|[^\s()]+")


def terms_of(expression: str) -> Terms:
    """The terms of an SPDX expression in its canonical form: of `OR` the better, of `AND` both.

    Raises:
        ValueError: if it is no expression.
    """
    tokens = _TOKEN.findall(expression)
    terms = _any_of(tokens)
    if tokens:
        raise ValueError(f"{tokens[0]!r} is left over in {expression!r}")
    return terms


def _any_of(tokens: list[str]) -> Terms:
    terms = _all_of(tokens)
    while tokens[:1] == ["OR"]:
        tokens.pop(0)
        terms = min(terms, _all_of(tokens), key=lambda one: (one.image, one.source))
    return terms


def _all_of(tokens: list[str]) -> Terms:
    terms = _single(tokens)
    while tokens[:1] == ["AND"]:
        tokens.pop(0)
        more = _single(tokens)
        conditions = tuple(dict.fromkeys(terms.conditions + more.conditions))
        terms = Terms(max(terms.source, more.source), max(terms.image, more.image), conditions)
    return terms


def _single(tokens: list[str]) -> Terms:
    """The terms of a licence with its exception, or of what stands in parentheses."""
    licence = tokens.pop(0) if tokens else ""
    if licence == "(":
        terms = _any_of(tokens)
        if tokens[:1] != [")"]:
            raise ValueError("A parenthesis is not closed")
        tokens.pop(0)
        return terms
    if licence in ("", ")", "AND", "OR", "WITH"):
        raise ValueError("A licence is missing")
    if tokens[:1] == ["WITH"]:
        if len(tokens) < 2:
            raise ValueError("An exception is missing")
        licence = f"{licence} WITH {tokens[1]}"
        del tokens[:2]
        # An exception that is not listed may only add rights; whether it adds enough has to be decided.
        return TERMS.get(licence, UNKNOWN)
    return TERMS.get(licence, NEVER if licence.startswith(STRONG_COPYLEFT) else UNKNOWN)
