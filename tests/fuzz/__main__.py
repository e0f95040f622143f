"""`python -m tests.fuzz`: 10,000 inputs for each reader, and a table of what became of them."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from tests.fuzz.measure import MOST_MS, MOST_MS_PER_MEGABYTE, Result, run_target
from tests.fuzz.targets import NAMES, load

SEED = 2026


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--inputs", type=int, default=10_000, help="inputs for each reader (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--only", default="", help="readers whose name contains one of these, separated by commas")
    parser.add_argument("--first", type=int, default=0, help="number of the first input, to repeat a fault")
    parser.add_argument("--processes", type=int, default=2, help="readers at a time (default: %(default)s)")
    parser.add_argument("--whole", action="store_true", help="all inputs for the readers that get a part of them, too")
    parser.add_argument("--no-megabyte", action="store_true", help="leave out the inputs of a megabyte")
    parser.add_argument("--list", action="store_true", help="print the names of the readers and end")
    options = parser.parse_args()
    names = [name for name in NAMES if not options.only or any(part in name for part in options.only.split(","))]
    if options.list:
        print(*names, sep="\n")
        return 0
    start = time.monotonic()
    print(f"seed {options.seed}, {options.inputs:,} inputs for each of {len(names)} readers")
    print(HEADING)
    results = []
    for result in run_all(
        names,
        options.seed,
        options.inputs,
        options.first,
        options.processes,
        large=not options.no_megabyte,
        whole=options.whole,
    ):
        print(row(result), flush=True)
        results.append(result)
    print(summary(results, time.monotonic() - start))
    return 1 if any(result.failed for result in results) else 0


HEADING = (
    f"{'reader':<34}{'inputs':>8}{'refused':>9}{'accepted':>9}{'median':>9}{'most':>9}{'1 MB':>9}"
    f"{'memory':>9}{'foreign':>9}{'> 50 ms':>9}\n{'':<60}{'ms':>9}{'ms':>9}{'ms':>9}{'MiB':>9}"
)


def row(result: Result) -> str:
    """A line of the table, and one for each fault."""
    megabyte = f"{result.megabyte_ms:9.0f}" if result.megabyte_ms is not None else f"{'–':>9}"
    line = (
        f"{result.name:<34}{result.inputs:8}{result.refused:9}{result.accepted:9}{result.median_ms:9.3f}"
        f"{result.most_ms:9.1f}{megabyte}{result.grown_mib:9.0f}{result.foreign:9}{result.slow:9}"
    )
    note = (
        [f"    {result.allowed} over {MOST_MS:.0f} ms, which this reader may be, {result.note}"] if result.note else []
    )
    return "\n".join(
        [line, *note, *(f"    input {fault.number}: {fault.what}\n        {fault.made}" for fault in result.faults)]
    )


def summary(results: Sequence[Result], seconds: float) -> str:
    return (
        f"\n{sum(r.inputs for r in results):,} inputs, {sum(r.foreign for r in results)} foreign exceptions, "
        f"{sum(r.slow for r in results)} over {MOST_MS:.0f} ms (a megabyte: over {MOST_MS_PER_MEGABYTE:.0f} ms), "
        f"{sum(r.allowed for r in results)} of them by a stated exception; {seconds:.0f} s"
    )


def run_all(
    names: Sequence[str], seed: int, inputs: int, first: int, processes: int, *, large: bool, whole: bool
) -> Iterator[Result]:
    """Each reader in a process of its own, so that its memory is its own."""
    context = multiprocessing.get_context("fork")
    tasks = [(name, seed, inputs, first, large, whole) for name in names]
    with context.Pool(processes, maxtasksperchild=1) as pool:
        yield from pool.imap(run_one, tasks, chunksize=1)


def run_one(task: tuple[str, int, int, int, bool, bool]) -> Result:
    name, seed, inputs, first, large, whole = task
    os.environ["HF_HUB_OFFLINE"] = "1"
    with tempfile.TemporaryDirectory(prefix="fuzz-", dir=scratch()) as folder:
        target = load(name, Path(folder))
        return run_target(
            replace(target, share=1.0) if whole else target, seed, inputs, first, large=large and first == 0
        )


def scratch() -> str | None:
    """Memory, where the system has a folder there: inputs are written and read a million times."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


if __name__ == "__main__":
    sys.exit(main())
