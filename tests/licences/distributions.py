"""The distributions that a file of requirements pulls in, and what their metadata say of their licence."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from importlib import metadata
from importlib.metadata import Distribution
from pathlib import Path
from typing import Final

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

NAMES: Final = {
    "3-clause bsd license": "BSD-3-Clause",
    "apache 2.0": "Apache-2.0",
    "apache 2.0 license": "Apache-2.0",
    "apache license 2.0": "Apache-2.0",
    "apache license, version 2.0": "Apache-2.0",
    "apache software license": "Apache-2.0",
    "bsd 3-clause license": "BSD-3-Clause",
    "isc license": "ISC",
    "isc license (iscl)": "ISC",
    "mit license": "MIT",
    "mozilla public license 2.0 (mpl 2.0)": "MPL-2.0",
    "python software foundation license": "PSF-2.0",
}
"""Names in small letters that mean one licence. Without `BSD License`, which leaves open how many clauses there are."""
FAMILIES: Final = {"apache": "Apache-2.0", "bsd license": "BSD-"}
"""Names that leave something open → how the licences that they may mean begin."""


def required(requirements: Path) -> tuple[list[Distribution], list[str]]:
    """The installed distributions that a file pulls in on this machine, by name, and the names that are not installed.

    Extras and markers count; lines that begin with `-` do not.
    """
    lines = (line.split("#")[0].strip() for line in requirements.read_text("utf-8").splitlines())
    waiting = list(_for_this_machine(line for line in lines if line and not line.startswith("-")))
    distributions: dict[str, Distribution] = {}
    missing: set[str] = set()
    seen: set[tuple[str, str]] = set()
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        try:
            distribution = distributions.get(name) or metadata.distribution(name)
        except metadata.PackageNotFoundError:
            missing.add(name)
            continue
        distributions[name] = distribution
        for extra in ("", *requirement.extras):
            if (name, extra) not in seen:
                seen.add((name, extra))
                waiting.extend(_for_this_machine(distribution.requires or (), extra))
    return [distributions[name] for name in sorted(distributions)], sorted(missing)


def _for_this_machine(lines: Iterable[str], extra: str = "") -> Iterator[Requirement]:
    """The requirements whose markers hold here, with an extra of the distribution that has them or with none."""
    for line in lines:
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
            yield requirement


def _fields(distribution: Distribution) -> tuple[str, str, list[str]]:
    """The expression, the first line of the older free text, and the names of the classifiers."""
    fields = distribution.metadata
    text = (fields.get_all("License") or [""])[0].strip()
    classifiers = [
        line.split(" :: ")[-1] for line in fields.get_all("Classifier") or () if line.startswith("License ::")
    ]
    expression = (fields.get_all("License-Expression") or [""])[0]
    return expression, text.partition("\n")[0].strip(), classifiers


def said(distribution: Distribution) -> str:
    """All that the metadata say of the licence, on one line; nothing where they say nothing."""
    expression, text, classifiers = _fields(distribution)
    return "; ".join(dict.fromkeys(part for part in (expression, text[:60], *classifiers) if part))


def licence(distribution: Distribution) -> str | None:
    """The SPDX expression that the metadata give, or whose meaning they leave no doubt about; else None.

    An expression counts (PEP 639); before it came, a text and classifiers, which have to agree.
    """
    expression, text, classifiers = _fields(distribution)
    if expression:
        return _canonical(expression)
    stated = NAMES.get(text.lower()) or _canonical(text)
    named = [NAMES.get(name.lower(), name) for name in classifiers]
    if stated is not None:
        parts = set(re.split(r"[\s()]+", stated))
        return stated if all(_agrees(name, parts) for name in named) else None
    if text and text.lower() not in FAMILIES:
        return None
    known = all(name in NAMES.values() for name in named)
    return named[0] if len(named) == 1 and known else None


def _agrees(name: str, parts: set[str]) -> bool:
    """Whether the name of a classifier is among the parts of an expression, or of a family of which one is."""
    family = FAMILIES.get(name.lower())
    return name in parts or (family is not None and any(part.startswith(family) for part in parts))


def _canonical(text: str) -> str | None:
    """A text as an SPDX expression, or None where it is none."""
    try:
        return canonicalize_license_expression(text)
    except InvalidLicenseExpression:
        return None
