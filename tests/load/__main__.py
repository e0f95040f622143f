"""Many visitors at once: `python -m tests.load`; about five minutes on two cores. `--short` takes a minute.

A real public server, whose models are scripted; visitors with cookies and addresses of their own. A time counts as held
where it is missed by no more than other processes have slowed the machine. The exit status is 1 if a figure is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
from pathlib import Path

from tests.load import checks
from tests.load.checks import Row
from tests.load.serving import Served, served
from tests.load.visitors import Site

KINDS = ("many", "stop", "abandoned", "slow", "flood", "restart")


async def tried(server: Served, kinds: list[str], part: float) -> list[Row]:
    """The rows of some kinds, with a part of the visitors."""
    site = Site(server.url)
    rows: list[Row] = []

    def show(more: list[Row]) -> None:
        for row in more:
            print(line(row), flush=True)
        rows.extend(more)

    def number(whole: int, least: int) -> int:
        return max(least, round(part * whole))

    if "many" in kinds:
        show(await checks.many_visitors(server, site, number(32, 8)))
    if "stop" in kinds:
        show(await checks.stops(server, site, number(16, 4)))
    if "flood" in kinds:
        show(await checks.flood(server, site, number(200, 40)))
    if "slow" in kinds:
        show(await checks.slow_clients(server, site, number(60, 12)))
    if "abandoned" in kinds:
        show(await checks.abandoned(server, site, number(1_000, 50)))
    if "restart" in kinds:
        show(await checks.restarted(server, site, server.restart, number(16, 3)))
    return rows


def line(row: Row) -> str:
    """One line of the table."""
    return (
        f"{row.kind:<52} {row.tried:>6}  {row.measured:<24} {row.wanted:<36} {'held' if row.held else 'MISSED':<7} "
        f"{row.others:.1f}"
    )


def main() -> int:
    """Try everything; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.load", description=__doc__)
    parser.add_argument("kinds", nargs="*", choices=[*KINDS, []], help=f"of {', '.join(KINDS)}; all by default")
    parser.add_argument("--short", action="store_true", help="with a few visitors")
    parser.add_argument("--trace", type=Path, help="write what holds the server's memory at SIGUSR1 into this file")
    given = parser.parse_args()
    print(f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f} before it\n")
    print(f"{'kind':<52} {'tried':>6}  {'measured':<24} {'wanted':<36} {'':<7} others' load")
    with tempfile.TemporaryDirectory(prefix="jglue-load-") as folder, served(Path(folder), given.trace) as server:
        rows = asyncio.run(tried(server, given.kinds or list(KINDS), 0.1 if given.short else 1.0))
        if not all(row.held for row in rows):
            print((Path(folder) / "log").read_text("utf-8", "replace")[-3_000:], file=sys.stderr)
    missed = sum(not row.held for row in rows)
    print(f"\n{len(rows)} figures, {missed} missed")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
