"""One of the processes of `python -m tests.faults`: started with the shim, it injects every n-th fault.

python -m tests.faults.worker ROOT NUMBER COUNT [--quick] [--list] [--kind TEXT]
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

from tests.faults import at_calls, children, damaged_files, moved_folders, power_failures, real_models
from tests.faults.bench import Bench
from tests.faults.verdict import Case, Verdict

PARTS = (at_calls, moved_folders, power_failures, damaged_files, children, real_models)


def main() -> None:
    """Inject, and print a JSON line a case."""
    parser = argparse.ArgumentParser()
    parser.add_argument("root", type=Path)
    parser.add_argument("number", type=int)
    parser.add_argument("count", type=int)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--no-models", action="store_true")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--kind", default="")
    parser.add_argument("--every", type=int, default=1)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(130))  # The server of downloads ends with this process.
    bench = Bench(options.root / str(options.number))
    cases = [case for part in PARTS for case in part.cases(bench) if options.kind in case.kind]
    if options.quick or options.no_models:
        cases = [case for case in cases if not case.heavy]
    cases = cases[:: options.every]
    if options.quick:
        kinds: dict[str, list[Case]] = {}
        for case in cases:
            kinds.setdefault(case.kind, []).append(case)
        cases = [of_kind[len(of_kind) // 4] for of_kind in kinds.values()]
    for case in cases[options.number :: options.count]:
        print(json.dumps(_row(case, Verdict()) if options.list else _done(case)), flush=True)


def _done(case: Case) -> dict[str, Any]:
    try:
        verdict = case.do()
    except Exception:
        verdict = Verdict(wrong=[traceback.format_exc()[-1500:]])
    return _row(case, verdict)


def _row(case: Case, verdict: Verdict) -> dict[str, Any]:
    return {
        "kind": case.kind,
        "name": case.name,
        "tried": int(verdict.happened),
        "stored": verdict.acknowledged,
        "lost": verdict.lost,
        "doubled": verdict.doubled,
        "differ": verdict.differing,
        "wrong": len(verdict.wrong),
        "left": len(verdict.left),
        "problems": [] if verdict.good else [*verdict.wrong, *(f"left: {name}" for name in verdict.left)] or ["lost"],
    }


if __name__ == "__main__":
    main()
