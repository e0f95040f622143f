"""Files of finished runs and of caches that were damaged between two commands: the same numbers, or a sentence."""

from __future__ import annotations

import functools
import json
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.faults.bench import Bench, Workload
from tests.faults.state import scores, without_times
from tests.faults.verdict import Case, Verdict

RUN_FILES = ("manifest.json", "items.jsonl", "records.jsonl")
Change = Callable[[bytes, random.Random], bytes | None]
"""Content → damaged content; None where the file is gone."""


def _lines(change: Callable[[list[bytes], random.Random], list[bytes]]) -> Change:
    return lambda content, dice: b"".join(change(content.splitlines(keepends=True), dice))


def _shuffled(lines: list[bytes], dice: random.Random) -> list[bytes]:
    return dice.sample(lines, len(lines))


def _without_one(lines: list[bytes], dice: random.Random) -> list[bytes]:
    at = dice.randrange(len(lines))
    return lines[:at] + lines[at + 1 :]


def _one_twice(lines: list[bytes], dice: random.Random) -> list[bytes]:
    return [*lines, dice.choice(lines)]


def _zeros(content: bytes, dice: random.Random) -> bytes:
    at = dice.randrange(len(content))
    return content[:at] + b"\0" * len(content[at : at + 64]) + content[at + 64 :]


def _flipped(content: bytes, dice: random.Random) -> bytes:
    at = dice.randrange(len(content))
    return content[:at] + bytes([content[at] ^ 1 << dice.randrange(7)]) + content[at + 1 :]


def _wrong_types(content: bytes, dice: random.Random) -> bytes:
    """A value somewhere in the first object is of another type; its checksum is gone."""
    end = content.index(b"\n") if content.startswith(b'{"') and b"\n" in content else len(content)
    row = json.loads(content[:end])
    row.pop("crc32", None)
    name = dice.choice(sorted(row))
    row[name] = dice.choice([None, 5, "x", [], {}, [None], True, -1.5e300])
    return json.dumps(row).encode() + (content[end:] or b"\n")


CHANGES: dict[str, Change] = {
    "missing": lambda content, dice: None,
    "blank": lambda content, dice: b"",
    "torn": lambda content, dice: content[: dice.randrange(1, len(content))],
    "a line less": _lines(_without_one),
    "a line twice": _lines(_one_twice),
    "in another order": _lines(_shuffled),
    "zero bytes in the middle": _zeros,
    "a bit changed": _flipped,
    "wrong types": _wrong_types,
    "a zero tail": lambda content, dice: content + b"\0" * 4_096,
    "deep JSON": lambda content, dice: b"[" * 100_000 + b"\n" + content,
}
HAND_EDITED = ("wrong types",)
"""What only a person does who removes the checksums: a value that is valid and another one cannot be told."""
CACHES = ("marks.json", "about.json")


def cases(bench: Bench) -> Iterator[Case]:
    """All of them."""
    for how, change in CHANGES.items():
        for name in RUN_FILES:
            for seed in range(1 if how in ("missing", "blank", "a zero tail", "deep JSON") else 4):
                do = functools.partial(_damaged_run, bench, name, change, seed, how)
                yield Case(f"finished run: {how}", f"{name}, {seed}", do)
    for name in RUN_FILES:
        yield Case("finished run: the file of another run", name, functools.partial(_other_runs_file, bench, name))
    for name in CACHES:
        for how, change in CHANGES.items():
            do = functools.partial(_damaged_beside, bench, name, change)
            yield Case("damaged marks and names", f"{name}: {how}", do)
    for how, change in CHANGES.items():
        if how in HAND_EDITED:
            continue
        yield Case("damaged file of answers in a .zip", how, functools.partial(_damaged_archive, bench, change))


def _readers(bench: Bench, world: Path) -> Iterator[Workload]:
    (run,) = (world / "runs").glob("[!.]*/")
    folder = ["--runs-dir", str(world / "runs")]
    yield Workload("rescore", lambda w: ["rescore", run.name, "--protocol", "official", "--json", *folder])
    yield Workload("compare", lambda w: ["compare", run.name, run.name, "--json", *folder])
    yield Workload("export", lambda w: ["export", run.name, str(world / "out" / "x.jsonl"), *folder])


def _damage(path: Path, change: Change, seed: int) -> None:
    content = change(path.read_bytes(), random.Random(seed))
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)


def _damaged_run(bench: Bench, name: str, change: Change, seed: int, how: str) -> Verdict:
    world = bench.world(bench.workloads["rescore"])
    (run,) = (world / "runs").glob("[!.]*/")
    return _read_and_mend(bench, world, lambda: _damage(run / name, change, seed), name == "manifest.json")


def _other_runs_file(bench: Bench, name: str) -> Verdict:
    other = bench.world(bench.workloads["rescore"])
    world = bench.world(bench.workloads["rescore"])
    common = ["run", "--model", bench.table("b"), "--tasks", "jsts", "--data", "sample", "--limit", "3"]
    second = Workload("b", lambda w: [*common, "--runs-dir", str(w / "second")])
    assert bench.call(second, other).code == 0
    (theirs,), (ours,) = (other / "second").glob("[!.]*/"), (world / "runs").glob("[!.]*/")
    try:
        return _read_and_mend(bench, world, lambda: shutil.copyfile(theirs / name, ours / name))
    finally:
        bench.drop(other)


def _read_and_mend(bench: Bench, world: Path, damage: Callable[[], Any], in_manifest: bool = False) -> Verdict:
    """Every reader before and after; then the same run again, or as the sentence says: without the folder."""
    run = bench.workloads["run"]
    expected, target = bench.undisturbed(run)
    try:
        right = {w.name: bench.call(w, world).out for w in _readers(bench, world)}
        (world / "out" / "x.jsonl").unlink()
        damage()
        verdict = Verdict()
        for workload in list(_readers(bench, world)):
            ended = bench.call(workload, world)
            _judge(verdict, workload.name, ended.code, ended.out, ended.err, right[workload.name], world, in_manifest)
        bench.judge_readers(verdict, world, target)
        shutil.rmtree(world / "out")
        (world / "out").mkdir()
        again = bench.call(run, world)
        if again.code == 5:
            _judge(verdict, "run", again.code, again.out, again.err, expected.out, world)
            (folder,) = (world / "runs").glob("[!.]*/")
            shutil.rmtree(folder)
        elif again.code != 0:
            verdict.wrong.append(f"run again: exit code {again.code}: {again.err[-300:]}")
        doubled = verdict.doubled
        bench.resume(verdict, run, world)
        verdict.doubled = doubled  # A line that the damage doubled stays: the last one counts.
        return verdict
    finally:
        bench.drop(world)


def _judge(
    verdict: Verdict, name: str, code: int, out: str, err: str, right: str, world: Path, scores_only: bool = False
) -> None:
    """Whether a reader gives what it gave before, or a sentence. A manifest has no checksum of its own: where it was
    damaged, what it says of a model may be shown as it is; scores may not change."""
    if code == 0 and _plain(out, world, scores_only) == _plain(right, world, scores_only):
        return
    if code != 5 or "Traceback" in err or "error: " not in err:
        verdict.wrong.append(f"{name}: exit code {code}: {out[:200]} {err[-300:]}")


def _plain(out: str, world: Path, scores_only: bool = False) -> Any:
    try:
        table = without_times(json.loads(out), world)
        return scores(table) if scores_only else table
    except ValueError:
        return out.replace(str(world), "FOLDER")


def _damaged_beside(bench: Bench, name: str, change: Change) -> Verdict:
    """What people have put on a run is damaged: the run itself is as it was, and can be marked or named again."""
    workload = bench.workloads["name again"]
    world = bench.world(workload)
    try:
        marking = bench.workloads["marks"].instead
        assert marking is not None
        verdict = Verdict()
        (run,) = (world / "runs").glob("[!.]*/")
        marking(world)
        before = bench.call(bench.workloads["rescore"], world)
        _damage(run / name, change, 1)
        after = bench.call(bench.workloads["rescore"], world)
        _judge(verdict, "rescore", after.code, after.out, after.err, before.out, world)
        for again in (workload, bench.workloads["marks"]):
            ended = bench.call(again, world)
            if ended.code not in (0, 5) or "Traceback" in ended.err:
                verdict.wrong.append(f"{again.name}: exit code {ended.code}: {ended.err[-300:]}")
        return verdict
    finally:
        bench.drop(world)


def _damaged_archive(bench: Bench, change: Change) -> Verdict:
    """A .zip file that was damaged on its way is refused, or holds the run as it was."""
    workload = bench.workloads["import .zip"]
    world = bench.world(workload)
    try:
        verdict = Verdict()
        _damage(world / "out" / "x.zip", change, 2)
        ended = bench.call(workload, world)
        if ended.code == 0:
            bench.judge_readers(verdict, world, bench.undisturbed(workload)[1])
        elif ended.code not in (2, 5) or "Traceback" in ended.err or "error: " not in ended.err:
            verdict.wrong.append(f"exit code {ended.code}: {ended.err[-300:]}")
        return verdict
    finally:
        bench.drop(world)
