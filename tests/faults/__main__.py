"""Injects faults into real commands and counts what they lose.

    python -m tests.faults [--quick] [--no-models] [--kind TEXT] [--list] [--processes N] [--verbose]

Every case gives a command in a folder of its own, lets one thing go wrong in it, gives the same command again, and
compares what a reader then finds with what an undisturbed command leaves. The table has a line for each kind of fault:

    tried      faults injected
    stored     answers that were shown as stored before the fault
    lost       of these, those that are gone
    doubled    answers that are stored twice at the end
    differ     results that are not those of an undisturbed command
    wrong      wrong exit codes, missing sentences, numbers that are not true
    left       temporary files that stay behind

Exit code 1 if any of the last five is not 0. Needs Linux and a C compiler.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.faults.shim import build

LEFT_OUT = ("JGLUE_", "HF_", "WANDB_", "SSL_CERT", "REQUESTS_CA", "CURL_CA")
"""Beginnings of variables that the commands do not get."""
MEMORY = Path("/dev/shm")
"""Where files are in memory: what a disk does is done by the shim."""
COLUMNS = ("tried", "stored", "lost", "doubled", "differ", "wrong", "left")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one case of each kind that needs no model library")
    parser.add_argument("--no-models", action="store_true", help="leave out what loads a model library or W&B's client")
    parser.add_argument("--kind", default="", help="only kinds whose name has this text")
    parser.add_argument("--every", type=int, default=1, help="only every n-th case")
    parser.add_argument("--list", action="store_true", help="print the kinds and cases, and inject nothing")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--verbose", action="store_true", help="print every case as it ends")
    options = parser.parse_args(arguments)
    library = build()
    if library is None:
        print("A C compiler and Linux are needed: install gcc.", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(130))  # What was made is removed all the same.
    began = time.monotonic()
    place = MEMORY if os.access(MEMORY, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="jglue-faults-", dir=place) as root:
        rows = _run(options, library, Path(root))
    if options.list:
        for row in rows:
            print(f"{row['kind']}: {row['name']}")
        return 0
    for row in rows:
        if row["problems"]:
            print(f"{row['kind']}: {row['name']}: {'; '.join(row['problems'])}\n", file=sys.stderr)
    failed = _print_table(rows)
    print(f"{len(rows)} faults in {time.monotonic() - began:.0f} s")
    return int(failed)


def _run(options: argparse.Namespace, library: Path, root: Path) -> list[dict[str, Any]]:
    """The rows of all processes."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(LEFT_OUT)}
    environment |= {"LD_PRELOAD": str(library), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "JGLUE_MODE": "local"}
    given = [*(["--quick"] if options.quick else []), *(["--list"] if options.list else []), "--kind", options.kind]
    given += ["--no-models"] if options.no_models else []
    given += ["--every", str(options.every)]
    count = 1 if options.list else options.processes
    children = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.faults.worker", str(root), str(k), str(count), *given],
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        for k in range(count)
    ]
    rows: list[dict[str, Any]] = []
    try:
        for child in children:
            assert child.stdout is not None
            for line in child.stdout:
                row = json.loads(line)
                rows.append(row)
                if options.verbose:
                    print(row, file=sys.stderr, flush=True)
            if child.wait() != 0:
                raise SystemExit(f"A process that injects faults ended with {child.returncode}.")
    finally:
        for child in children:
            child.terminate()
            child.wait()
    return rows


def _print_table(rows: Sequence[dict[str, Any]]) -> bool:
    """Print a line a kind and their sums; returns whether any fault got through."""
    kinds: dict[str, dict[str, int]] = {}
    for row in rows:
        sums = kinds.setdefault(row["kind"], dict.fromkeys(COLUMNS, 0))
        for name in COLUMNS:
            sums[name] += row[name]
    width = max([len("kind"), *map(len, kinds)])
    print(f"{'kind':{width}} " + " ".join(f"{name:>7}" for name in COLUMNS))
    for kind, sums in kinds.items():
        print(f"{kind:{width}} " + " ".join(f"{sums[name]:7,}" for name in COLUMNS))
    total = {name: sum(sums[name] for sums in kinds.values()) for name in COLUMNS}
    print(f"{f'{len(kinds)} kinds':{width}} " + " ".join(f"{total[name]:7,}" for name in COLUMNS))
    return any(total[name] for name in COLUMNS[2:])


if __name__ == "__main__":
    sys.exit(main())
