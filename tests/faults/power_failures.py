"""The power fails at a call: what was not synced is lost, or is zero bytes; the same command is given again."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from pathlib import Path

from tests.faults.at_calls import spread
from tests.faults.bench import Bench, Workload
from tests.faults.power import STATES, Disk, Entry, entries
from tests.faults.shim import Fault
from tests.faults.state import answers
from tests.faults.verdict import Case, Verdict

TITLES = {
    "least": "power failure: only what was synced",
    "names": "power failure: names without content",
    "zeros": "power failure: a tail of zero bytes",
    "half": "power failure: half of the last writes",
    "zeros_half": "power failure: zero bytes in the middle",
}


def cases(bench: Bench) -> Iterator[Case]:
    """All of them."""
    names = ("run", "larger limit", "name again", "marks", "export .jsonl", "export lm-eval", "import .zip", "delete")
    for turn, state in enumerate(STATES):
        for k, name in enumerate(names):
            workload = bench.workloads[name]
            count = bench.calls(workload)
            for at in spread(count, 10 if not k else 4 if k == 1 else 2, 7 * turn + k):
                do = functools.partial(_fail, bench, workload, state, at)
                yield Case(TITLES[state], f"{name}, call {at}", do)


def _fail(bench: Bench, workload: Workload, state: str, at: int) -> Verdict:
    world = bench.world(workload)
    try:
        disk = Disk.of(world)
        ended = bench.call(workload, world, Fault(), with_log=True)
        answers_items = bool(ended.acknowledged)
        assert ended.log is not None
        done = list(entries(ended.log))[:at]
        synced: set[tuple[str, str]] = set()
        for entry in done:
            disk.apply(entry, world)
            if answers_items and entry.name == "sync" and entry.path.endswith("/records.jsonl"):
                synced |= _answered(disk, entry, world)
        disk.write(state, world)
        verdict = Verdict(acknowledged=len(synced))
        verdict.lost = len(synced - {(task, item) for _, task, item in answers(world)})
        bench.judge_readers(verdict, world, bench.undisturbed(workload)[1])
        bench.resume(verdict, workload, world)
        return verdict
    finally:
        bench.drop(world)


def _answered(disk: Disk, entry: Entry, world: Path) -> set[tuple[str, str]]:
    """The answers in a file that was synced: a caller was told that they are durable."""
    content = disk.files[disk.by_inode[entry.inode]].synced if entry.inode in disk.by_inode else b""
    rows = [json.loads(line) for line in content.splitlines()]
    return {(row["task"], row["item_id"]) for row in rows if row["output"] is not None}
