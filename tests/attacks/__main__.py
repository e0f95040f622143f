"""`python -m tests.attacks`: attack a public and a local server of this application, and print what went through.

It needs two cores for some minutes, about 2 GB of memory, and Chromium for the part in a browser.
"""

from __future__ import annotations

import argparse
import importlib
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

from tests.attacks.outcome import Outcome, details, table
from tests.attacks.world import World, world

KINDS = (
    *(
        "addresses",
        "traversals",
        "strangers",
        "forged_headers",
        "exports",
        "inputs",
        "costly_requests",
        "archives",
        "repositories",
    ),
    *("templates", "scripts", "canaries"),
)
"""Modules of this folder, in the order in which they attack. The search for secrets looks at what all others left."""


def main() -> int:
    """Attack, print the table, and say by the exit status whether something went through."""
    parser = argparse.ArgumentParser(prog="python -m tests.attacks", description=__doc__)
    parser.add_argument("kinds", nargs="*", help="which attacks; all if none is named")
    parser.add_argument("--no-browser", action="store_true", help="leave out what needs Chromium")
    parser.add_argument("--quick", action="store_true", help="try each text at one place in turn, not at all of them")
    parser.add_argument("--most", type=int, default=10, help="tries of each kind that are told where they went through")
    given = parser.parse_args()
    if unknown := sorted(set(given.kinds) - set(KINDS)):
        parser.error(f"there is no attack {unknown[0]}; there are {', '.join(KINDS)}")
    kinds = [kind for kind in KINDS if not given.kinds or kind in given.kinds]
    if given.no_browser and "scripts" in kinds:
        kinds.remove("scripts")
    # The servers are stopped too where this is told to end.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    outcomes: list[Outcome] = []
    with (
        tempfile.TemporaryDirectory(prefix="attacks-") as folder,
        world(Path(folder), quick=given.quick) as attacked,
    ):
        for kind in kinds:
            began = time.monotonic()
            found = list(_all_of(kind, attacked))
            outcomes += found
            through = sum(bool(one.through) for one in found)
            print(f"{kind}: {len(found)} tried, {through} through, {time.monotonic() - began:.0f} s", flush=True)
        for server in filter(None, (attacked.public, attacked.local)):
            died = "" if server.alive() else "it is dead"
            outcomes.append(Outcome("servers alive at the end", f"{server.mode} server", died))
    print(table(outcomes))
    print(details(outcomes, given.most))
    return int(any(outcome.through for outcome in outcomes))


def _all_of(kind: str, attacked: World) -> Iterator[Outcome]:
    """Every try of a kind. An attack that breaks off is one that was not refused; the next ones go on."""
    try:
        yield from importlib.import_module(f"tests.attacks.{kind}").attack(attacked)
    except Exception as e:
        traceback.print_exc()
        yield Outcome(kind, "the attack to its end", f"it broke off: {type(e).__name__}: {e}")


if __name__ == "__main__":
    sys.exit(main())
