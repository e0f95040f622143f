"""The licences of all that requirements.txt pulls in, of the data and of the models: `python -m tests.licences`.

Says of each whether our source under Apache-2.0 may use it, and whether a container image may hold it. The exit status
is 1 where that is unknown or refused, where something is not installed, and where NOTICE lacks what it has to name.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path

from tests.licences.decisions import MATERIALS
from tests.licences.distributions import required
from tests.licences.table import Row, lacking_in_notice, of_distribution, of_material
from tests.licences.terms import Verdict

ROOT = Path(__file__).parents[2]
WORDS = {
    Verdict.COMPATIBLE: "yes",
    Verdict.CONDITIONS: "on conditions",
    Verdict.UNKNOWN: "UNKNOWN",
    Verdict.INCOMPATIBLE: "NO",
}


def lines(rows: Iterable[Row], first: str) -> list[str]:
    """The rows as a table with aligned columns; the last says what it goes by."""
    cells = [(first, "version", "licence", "source", "image", "conditions and reasons")]
    for row in rows:
        remarks = "; ".join((*row.terms.conditions, *row.reasons))
        cells.append((row.name, row.version, row.licence, WORDS[row.terms.source], WORDS[row.terms.image], remarks))
    widths = [min(44, max(map(len, column))) for column in zip(*cells, strict=True)]
    return ["  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells]


def main(root: Path = ROOT) -> int:
    """Print the tables; 0 where all is well."""
    argparse.ArgumentParser(
        prog="python -m tests.licences", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    distributions, missing = required(root / "requirements.txt")
    packages = [of_distribution(distribution) for distribution in distributions]
    materials = [of_material(material) for material in MATERIALS]
    rows = [*packages, *materials]
    lacking = lacking_in_notice(rows, (root / "NOTICE").read_text("utf-8"))
    print(*lines(packages, "distribution"), "", *lines(materials, "data, models"), "", sep="\n")
    for name in missing:
        print(f"{name} is required and not installed: pip install -r requirements.txt")
    for phrase in lacking:
        print(f"NOTICE does not name: {phrase}")
    unknown, barred, bound = (
        sum(max(row.terms.source, row.terms.image) == verdict for row in rows)
        for verdict in (Verdict.UNKNOWN, Verdict.INCOMPATIBLE, Verdict.CONDITIONS)
    )
    if unknown:
        print("For each UNKNOWN: read its licence file, and write down what it is in tests/licences/decisions.py.")
    print(f"{len(rows)} licences: {bound} on conditions, {unknown} unknown, {barred} incompatible")
    return int(bool(missing or lacking or unknown or barred))


if __name__ == "__main__":
    raise SystemExit(main())
