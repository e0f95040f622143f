"""What others do to a run's folder while it is written: a second process, people with a file manager, a cleaner."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.faults.at_calls import spread
from tests.faults.bench import Bench, Workload
from tests.faults.process import Ended
from tests.faults.shim import Call, Fault, Mode
from tests.faults.state import answers, state_of
from tests.faults.verdict import Case, Verdict

Meddle = Callable[[Path, Path], None]
"""World, run folder."""


def _delete(world: Path, run: Path) -> None:
    shutil.rmtree(run)


def _move(world: Path, run: Path) -> None:
    run.rename(world / "moved")


def _replace_by_link(world: Path, run: Path) -> None:
    run.rename(world / "moved")
    run.symlink_to(world / "moved", target_is_directory=True)


def _replace_by_copy(world: Path, run: Path) -> None:
    shutil.copytree(run, world / "copy")
    shutil.rmtree(run)
    (world / "copy").rename(run)


def _rename_runs(world: Path, run: Path) -> None:
    run.parent.rename(world / "other")


def _delete_records(world: Path, run: Path) -> None:
    (run / "records.jsonl").unlink()


def _empty(world: Path, run: Path) -> None:
    for path in run.iterdir():
        path.unlink()


def _a_file(world: Path, run: Path) -> None:
    shutil.rmtree(run)
    run.write_text("a file", "utf-8")


MEDDLING: dict[str, Meddle] = {
    "folder deleted": _delete,
    "folder moved": _move,
    "folder replaced by a link": _replace_by_link,
    "folder replaced by a copy": _replace_by_copy,
    "folder of runs renamed": _rename_runs,
    "records deleted": _delete_records,
    "folder emptied": _empty,
    "folder replaced by a file": _a_file,
}


def cases(bench: Bench) -> Iterator[Case]:
    """All of them."""
    run, larger = bench.workloads["run"], bench.workloads["larger limit"]
    # Of the writes, those of records come after the manifest's.
    for number, (kind, meddle) in enumerate(MEDDLING.items()):
        for workload in (run, larger):
            for at in spread(bench.calls(workload), 5, 3 * number + 2):
                where = f"{workload.name}, call {at}"
                yield Case(f"{kind} in mid-run", where, functools.partial(_meddled, bench, workload, meddle, at))
    for workload in (run, larger, bench.workloads["compare"]):
        for at in spread(bench.calls(workload, Call.WRITE), 6, 1):
            for lock_lost in (False, True):
                kind = "two processes, the lock deleted" if lock_lost else "two processes, one stopped for long"
                do = functools.partial(_two_processes, bench, workload, at, lock_lost)
                yield Case(kind, f"{workload.name}, write {at}", do)
    for name in ("name", "marks", "export .csv", "import .zip", "delete"):
        workload = bench.workloads[name]
        for at in spread(bench.calls(workload), 2, 1):
            do = functools.partial(_both_finish, bench, workload, at)
            yield Case("two processes, the same small command", f"{name}, call {at}", do)
    for at in spread(bench.calls(run, Call.WRITE), 9, 0):
        yield Case("two readers while a writer writes", f"write {at}", functools.partial(_read_between, bench, at))


def _one_run(world: Path) -> Path | None:
    return next(iter((world / "runs").glob("[!.]*")), None)


def _meddled(bench: Bench, workload: Workload, meddle: Meddle, at: int) -> Verdict:
    """Stopped at a call, its folder is changed, then it goes on: it must say so, or be done with the right result."""
    expected, target = bench.undisturbed(workload)
    world = bench.world(workload)
    try:
        did: list[str] = []

        def on_stop(child: int) -> None:
            run = _one_run(world)
            if run is not None and (run / "records.jsonl").exists():
                meddle(world, run)
                did.append("")

        hurt = bench.call(workload, world, Fault(Mode.STOP, at), on_stop=on_stop)
        verdict = Verdict(acknowledged=len(hurt.acknowledged))
        whole = state_of(world) == target if (world / "runs").is_dir() else False
        if hurt.code == 0 and not whole:
            verdict.wrong.append("exit code 0, and what was run is not there")
        if hurt.code != 0:
            bench.judge_end(verdict, hurt, Fault(), world, expected, target)
        if whole:
            bench.resume(verdict, workload, world)
        else:
            _start_again(bench, workload, world, verdict)
        return verdict
    finally:
        bench.drop(world)


def _start_again(bench: Bench, workload: Workload, world: Path, verdict: Verdict) -> None:
    """The documented ways: the folder is put back where it was, and what cannot be used is removed."""
    run = _one_run(world) if (world / "runs").is_dir() else None
    if (world / "moved").exists():
        if run is not None:
            run.unlink() if run.is_symlink() or run.is_file() else shutil.rmtree(run)
        name = next(iter(bench.undisturbed(workload)[1]["runs"]))
        (world / "moved").rename(world / "runs" / name)
    elif (world / "other").exists():
        shutil.rmtree(world / "runs", ignore_errors=True)
        (world / "other").rename(world / "runs")
    else:
        first = bench.call(workload, world)
        if first.code == 0:
            bench.resume(verdict, workload, world)
            return
        if "error: " not in first.err or "Traceback" in first.err:
            verdict.wrong.append(f"given again: exit code {first.code}: {first.err[-400:]}")
        run = _one_run(world)
        if run is not None:
            shutil.rmtree(run) if run.is_dir() else run.unlink()
    bench.resume(verdict, workload, world)


def _two_processes(bench: Bench, workload: Workload, at: int, lock_lost: bool) -> Verdict:
    """One is stopped, another is given the same command, then the first goes on."""
    expected, target = bench.undisturbed(workload)
    world = bench.world(workload)
    try:
        others: list[Ended] = []

        def on_stop(child: int) -> None:
            if lock_lost:
                for lock in (world / "runs").glob("*/.lock"):
                    lock.unlink()
            others.append(bench.call(workload, world, said="other"))

        hurt = bench.call(workload, world, Fault(Mode.STOP, at, Call.WRITE), on_stop=on_stop)
        acknowledged = hurt.acknowledged | (others[0].acknowledged if others else frozenset())
        verdict = Verdict(acknowledged=len(acknowledged))
        verdict.lost = len(acknowledged - {(task, item) for _, task, item in answers(world)})
        for ended in (hurt, *others):
            bench.judge_end(verdict, ended, Fault(), world, expected, target)
        if others and hurt.code != 0:
            verdict.wrong.append(f"the first was disturbed by the second: {hurt.err[-300:]}")
        bench.resume(verdict, workload, world)
        return verdict
    finally:
        bench.drop(world)


def _both_finish(bench: Bench, workload: Workload, at: int) -> Verdict:
    """The second does its work while the first is stopped, or waits for it and says so."""
    world = bench.world(workload)
    try:
        others: list[Ended] = []

        def on_stop(child: int) -> None:
            others.append(bench.call(workload, world, said="other"))

        hurt = bench.call(workload, world, Fault(Mode.STOP, at), on_stop=on_stop)
        verdict = Verdict()
        for ended in (hurt, *others):
            if ended.code not in (0, 2, 5) or "Traceback" in ended.err:
                verdict.wrong.append(f"exit code {ended.code}: {ended.err[-400:]}")
        bench.resume(verdict, workload, world)
        return verdict
    finally:
        bench.drop(world)


def _read_between(bench: Bench, at: int) -> Verdict:
    """Two readers look at a run that is being written: what they are told is true, and does the writer no harm."""
    readers = {
        "runs": Workload("runs", lambda w: ["runs", "--runs-dir", str(w / "runs"), "--json"]),
        "leaderboard": bench.workloads["leaderboard"],
    }
    run = bench.workloads["run"]
    expected, target = bench.undisturbed(run)
    world = bench.world(run)
    try:
        verdict = Verdict()

        def on_stop(child: int) -> None:
            for name, reader in readers.items():
                ended = bench.call(reader, world, said=name)
                if ended.code != 0 or ended.table is None or "damaged" in ended.err + ended.out:
                    verdict.wrong.append(f"{name}: exit code {ended.code}: {ended.err[-300:]}")
            bench.judge_readers(verdict, world, target)

        hurt = bench.call(run, world, Fault(Mode.STOP, at, Call.WRITE), on_stop=on_stop)
        verdict.acknowledged = len(hurt.acknowledged)
        bench.judge_end(verdict, hurt, Fault(), world, expected, target)
        if hurt.code != 0:
            verdict.wrong.append(f"exit code {hurt.code}")
        bench.resume(verdict, run, world)
        return verdict
    finally:
        bench.drop(world)
