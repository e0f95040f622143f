"""Where faults are injected: commands on small runs of a scripted model, each case in a folder of its own."""

from __future__ import annotations

import functools
import itertools
import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jglue_app.data.files import load
from jglue_app.results import marks
from jglue_app.settings import load_settings
from tests.faults import process
from tests.faults.process import Ended, Settings
from tests.faults.shim import CHANGES, Call, Fault, Mode
from tests.faults.state import answers, finished_reports, state_of, temporary_files, without_times
from tests.faults.verdict import Verdict

TASKS = ("jsts", "jnli")
NUMBER = 4
"""Items of each subset."""
SENTENCE_CODES = (2, 3, 4, 5, 6, 130)


@dataclass(frozen=True)
class Workload:
    """A command, on what other commands have made before."""

    name: str
    command: Callable[[Path], Sequence[str]]
    """World → arguments of the command line."""
    before: tuple[Callable[[Path], Sequence[str]], ...] = ()
    """Commands that come first, undisturbed."""
    done_codes: tuple[int, ...] = (0,)
    """Exit codes of the command where its work is done already."""
    instead: Callable[[Path], None] | None = None
    """What is called instead of a command."""


class Bench:
    """The folders, and the results of undisturbed commands."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._numbers = itertools.count()
        (root / "tables").mkdir(parents=True)
        for name, wrong in (("a", 3), ("b", 2)):
            self._write_table(name, wrong)
        self._calls: dict[Workload, Mapping[Call, int]] = {}
        os.environ["JGLUE_CACHE_DIR"] = str(root / "cache")
        process.warm_up(self._run("a")(root / "warm"))

    def _write_table(self, name: str, wrong: int) -> None:
        rows = []
        for task in TASKS:
            for number, item in enumerate(load(load_settings(), task, "valid", data="sample").items):
                gold = f"{item.gold:.0f}" if isinstance(item.gold, float) else item.gold[0]
                rows.append({"task": task, "item_id": item.id, "text": gold if number % wrong else "中立 3"})
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (self.root / "tables" / f"{name}.jsonl").write_text(text, "utf-8")

    def table(self, name: str) -> str:
        return str(self.root / "tables" / f"{name}.jsonl")

    @functools.cached_property
    def workloads(self) -> Mapping[str, Workload]:
        """Name → workload."""
        run, larger = self._run("a"), self._run("a", NUMBER + 3)

        def one_run(world: Path) -> str:
            return self._run_name

        def compare(world: Path) -> Sequence[str]:
            return ["compare", "--a", self.table("a"), "--b", self.table("b"), *self._common(world, NUMBER)]

        def in_runs(*arguments: str) -> Callable[[Path], Sequence[str]]:
            def made(world: Path) -> Sequence[str]:
                words = [word.format(run=one_run(world), out=world / "out") for word in arguments]
                return [*words, "--runs-dir", str(world / "runs")]

            return made

        def mark(world: Path) -> None:
            marks.write(world / "runs" / one_run(world), ("jnli", self._first_item), marks.item_marks(["star"], "注"))

        listed = [
            Workload("run", run),
            Workload("larger limit", larger, (run,)),
            Workload("compare", compare),
            Workload("second half", compare, (run,)),
            Workload("name", in_runs("name", "{run}", "名前", "--description", "説明"), (run,)),
            Workload("name again", in_runs("name", "{run}", "別名"), (run, in_runs("name", "{run}", "名前"))),
            Workload("marks", run, (run,), instead=mark),
            Workload("delete", in_runs("delete", "{run}", "--yes"), (run,), (0, 5)),
            *(
                Workload(f"export .{ending}", in_runs("export", "{run}", f"{{out}}/x.{ending}"), (run,))
                for ending in ("jsonl", "csv", "parquet", "zip")
            ),
            Workload("export lm-eval", in_runs("export", "{run}", "{out}/folder", "--as", "lm-eval"), (run,), (0, 5)),
            Workload(
                "export every-eval-ever",
                in_runs("export", "{run}", "{out}/e.zip", "--as", "every-eval-ever"),
                (run,),
                (0, 5),
            ),
            Workload(
                "import .zip",
                lambda world: ["import", str(world / "out" / "x.zip"), "--runs-dir", str(world / "runs")],
                (
                    run,
                    in_runs("export", "{run}", "{out}/x.zip"),
                    in_runs("delete", "{run}", "--yes"),
                ),
                (0, 5),
            ),
            Workload(
                "import log",
                lambda world: [
                    *("import", str(world / "out" / "folder"), "--data", "sample", "--partial"),
                    *("--runs-dir", str(world / "runs")),
                ],
                (run, in_runs("export", "{run}", "{out}/folder", "--as", "lm-eval")),
                (0, 5),
            ),
            Workload("rescore", in_runs("rescore", "{run}", "--json"), (run,)),
            Workload("leaderboard", in_runs("leaderboard", "--data", "sample", "--tasks", "jnli", "--json"), (run,)),
        ]
        return {workload.name: workload for workload in listed}

    @functools.cached_property
    def _run_name(self) -> str:
        """Of the run that most commands are about: the same in every world."""
        name: str = next(iter(self.undisturbed(self.workloads["run"])[1]["runs"]))
        return name

    @functools.cached_property
    def _first_item(self) -> str:
        return load(load_settings(), "jnli", "valid", data="sample").items[0].id

    def _run(self, table: str, limit: int = NUMBER) -> Callable[[Path], Sequence[str]]:
        return lambda world: ["run", "--model", self.table(table), *self._common(world, limit)]

    def _common(self, world: Path, limit: int) -> list[str]:
        return [
            *("--tasks", ",".join(TASKS), "--data", "sample", "--limit", str(limit)),
            *("--runs-dir", str(world / "runs"), "--json"),
        ]

    # --- undisturbed ------------------------------------------------------------------------------------------

    def world(self, workload: Workload) -> Path:
        """A folder of its own in which the commands before a workload were given."""
        world = self.root / "worlds" / str(next(self._numbers)) / "w"
        prepared = self._prepared(workload)
        shutil.copytree(prepared, world)
        return world

    def drop(self, world: Path) -> None:
        """Remove a world."""
        shutil.rmtree(world.parent, ignore_errors=True)

    @functools.cache  # noqa: B019 — one bench in a process.
    def _prepared(self, workload: Workload) -> Path:
        world = self.root / "prepared" / f"{next(self._numbers)}" / "w"
        (world / "runs").mkdir(parents=True)
        (world / "out").mkdir()
        for command in workload.before:
            ended = process.call(command(world), world.parent / "said", Settings(world))
            assert ended.code == 0, ended.err
        return world

    @functools.cache  # noqa: B019
    def undisturbed(self, workload: Workload) -> tuple[Ended, dict[str, Any]]:
        """How a workload ends without a fault, and the state that it leaves."""
        world = self.world(workload)
        ended = self.call(workload, world)
        assert ended.code == 0, (workload.name, ended.err)
        state = state_of(world)
        assert not state["damaged"], state
        self._calls[workload] = ended.calls
        found = Ended(0, ended.out.replace(str(world), "FOLDER"), ended.err, ended.acknowledged)
        self.drop(world)
        return found, state

    def calls(self, workload: Workload, kinds: Call = CHANGES) -> int:
        """How many calls of some kinds a workload makes."""
        self.undisturbed(workload)
        return sum(count for kind, count in self._calls[workload].items() if kind & kinds)

    # --- disturbed ---------------------------------------------------------------------------------------------

    def call(
        self, workload: Workload, world: Path, fault: Fault | None = None, said: str = "said", **more: Any
    ) -> Ended:
        """Give a workload's command; `said` names the folder of its output, where two run at once."""
        settings = Settings(world, fault or Fault(), **more)
        if workload.instead is not None:
            instead = workload.instead
            settings.instead = lambda: instead(world)
        return process.call(workload.command(world), world.parent / said, settings)

    def try_fault(self, workload: Workload, fault: Fault, **more: Any) -> Verdict:
        """Inject a fault, give the same command again, and count."""
        expected, target = self.undisturbed(workload)
        world = self.world(workload)
        try:
            hurt = self.call(workload, world, fault, **more)
            verdict = Verdict(acknowledged=len(hurt.acknowledged))
            reached = sum(count for kind, count in hurt.calls.items() if kind & fault.calls)
            verdict.happened = hurt.code < 0 or reached > fault.at
            stored = {(task, item) for _, task, item in answers(world)}
            verdict.lost = len(hurt.acknowledged - stored)
            self.judge_end(verdict, hurt, fault, world, expected, target)
            self.resume(verdict, workload, world)
            return verdict
        finally:
            self.drop(world)

    def judge_end(
        self, verdict: Verdict, hurt: Ended, fault: Fault, world: Path, expected: Ended, target: Mapping[str, Any]
    ) -> None:
        """Whether the disturbed command ended as it should: killed, with the right result, or with a sentence."""
        if (hurt.killed and fault.kills) or (fault.mode == Mode.SIGNAL and hurt.code == -fault.error):
            return
        if hurt.code == 0:
            found, right = without_times(hurt.table, world), without_times(expected.table, Path("FOLDER"))
            if found != right and "damaged: " not in hurt.err:
                verdict.wrong.append(f"exit code 0 with another result: {_difference(found, right)} {hurt.err[-200:]}")
        elif hurt.code not in SENTENCE_CODES or "Traceback" in hurt.err:
            verdict.wrong.append(f"exit code {hurt.code}: {hurt.err[-700:]}")
        elif hurt.code not in (6, 130) and "error: " not in hurt.err:
            verdict.wrong.append(f"exit code {hurt.code} without a sentence: {hurt.err[-300:]}")
        self.judge_readers(verdict, world, target)

    def judge_readers(self, verdict: Verdict, world: Path, target: Mapping[str, Any]) -> None:
        """Whether a finished run that a reader finds now has the numbers that it should have."""
        try:
            found = finished_reports(state_of(world))
        except Exception as e:
            verdict.wrong.append(f"stored runs cannot be read: {e!r:.500}")
            return
        for name, report in finished_reports(dict(target)).items():
            planned = {task: value["planned"] for task, value in report["tasks"].items()}
            other = found.get(name)
            whole = other is not None and {t: v["planned"] for t, v in other["tasks"].items()} == planned
            if whole and other != report:
                verdict.wrong.append("a finished run has other numbers")

    def resume(self, verdict: Verdict, workload: Workload, world: Path) -> None:
        """Give the same command again: the result must be that of an undisturbed one."""
        expected, target = self.undisturbed(workload)
        again = self.call(workload, world)
        found = state_of(world)
        done = found == target
        if not done:
            verdict.differing = 1
            verdict.wrong.append(
                f"state after the command was given again: {_difference(found, target)} {again.err[-300:]}"
            )
        if again.code not in (0, *(workload.done_codes if done else ())):
            verdict.wrong.append(f"given again: exit code {again.code}: {again.err[-400:]}")
        if again.code == 0 and without_times(again.table, world) != without_times(expected.table, Path("FOLDER")):
            verdict.differing = 1
            verdict.wrong.append(f"given again it prints something else: {again.out[:300]}")
        verdict.doubled += sum(count - 1 for count in answers(world).values())
        verdict.left += temporary_files(world)


def _difference(found: Any, target: Any, at: str = "") -> str:
    if isinstance(found, dict) and isinstance(target, dict):
        for name in sorted({*found, *target}):
            if found.get(name) != target.get(name):
                return _difference(found.get(name), target.get(name), f"{at}/{name}")
    return f"{at}: {found!r:.150} instead of {target!r:.150}"
