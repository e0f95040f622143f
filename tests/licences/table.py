"""One row of the tables: what the metadata say, what was decided, and what follows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from importlib.metadata import Distribution

from packaging.utils import canonicalize_name

from tests.licences.decisions import DECISIONS, HELD, Material
from tests.licences.distributions import licence, said
from tests.licences.terms import UNKNOWN, Terms, Verdict, terms_of


@dataclass(frozen=True, slots=True)
class Row:
    """A distribution, or data or a model."""

    name: str
    version: str
    licence: str
    """An SPDX expression, or what the metadata say where that is none."""
    terms: Terms
    reasons: tuple[str, ...]
    notice: tuple[str, ...]
    """What NOTICE has to say for it; nothing for most."""


def of_distribution(distribution: Distribution) -> Row:
    """The row of an installed distribution. Its metadata count where they are clear, else a decision that fits them."""
    name = canonicalize_name(distribution.name)
    statement = said(distribution)
    stated = licence(distribution)
    reasons: list[str] = []
    called: str = name
    if stated is None:
        for pattern, decision in DECISIONS.items():
            fits = decision.said in statement if decision.said else not statement
            if fits and fnmatchcase(name, pattern):
                stated, called = decision.licence, pattern.rstrip("*-")
                reasons.append(decision.reason)
    if stated is not None and name in HELD:
        stated = " AND ".join(f"({part})" if " OR " in part else part for part in (stated, HELD[name].licence))
        reasons.append(HELD[name].reason)
    terms = UNKNOWN if stated is None else terms_of(stated)
    notice = (called,) if terms.image is Verdict.CONDITIONS else ()
    return Row(name, distribution.version, stated or statement or "-", terms, tuple(reasons), notice)


def of_material(material: Material) -> Row:
    """The row of data or of a model; what is in neither source nor image binds neither."""
    terms = terms_of(material.licence)
    reach = Terms(
        terms.source if material.in_source else Verdict.COMPATIBLE,
        terms.image if material.in_image else Verdict.COMPATIBLE,
        terms.conditions if material.in_source or material.in_image else (),
    )
    reasons = () if material.in_source or material.in_image else ("in neither: whoever wants it downloads it",)
    return Row(material.name, "", material.licence, reach, reasons, material.notice)


def lacking_in_notice(rows: Iterable[Row], notice: str) -> list[str]:
    """What NOTICE has to say and does not; letter case and line ends do not count."""
    text = " ".join(notice.split()).lower()
    phrases = dict.fromkeys(phrase for row in rows for phrase in row.notice)
    return [phrase for phrase in phrases if phrase.lower() not in text]
