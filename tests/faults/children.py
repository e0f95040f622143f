"""Limits of a process, downloads that break off, and children that die: W&B's client has two."""

from __future__ import annotations

import atexit
import errno
import functools
import hashlib
import http.server
import os
import resource
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from jglue_app.data import files as data_files
from jglue_app.settings import ASSETS
from tests.faults.at_calls import WRITES, spread
from tests.faults.bench import Bench, Workload
from tests.faults.shim import Call, Fault, Mode
from tests.faults.state import state_of, temporary_files
from tests.faults.verdict import Case, Verdict

PATH = "jnli-v1.3/valid-v1.3.json"
DOWNLOADS = 15
DEATHS = ("the client, at once", "the client, later", "its core, at once", "its core, later")


def cases(bench: Bench) -> Iterator[Case]:
    """All of them."""
    for name in ("run", "larger limit", "export .zip", "import log"):
        workload = bench.workloads[name]
        for kind, limit, values in (
            ("few file handles", resource.RLIMIT_NOFILE, (8, 10, 12, 14)),
            ("files may not grow", resource.RLIMIT_FSIZE, (700, 1_500, 3_000, 6_000)),
        ):
            for value in values:
                do = functools.partial(bench.try_fault, workload, Fault(), limits={limit: value})
                yield Case(kind, f"{name}, {value}", do)
    for number in range(DOWNLOADS):
        yield Case(
            "download killed or refused", f"{number} of {DOWNLOADS}", functools.partial(_download, bench, number)
        )
    for how in ("torn", "altered", "blank", "missing"):
        yield Case("download of something else", how, functools.partial(_wrong_download, bench, how))
    for death in DEATHS:
        yield Case("a process of W&B's client dies", death, functools.partial(_death, bench, death), heavy=True)


# --- downloads ------------------------------------------------------------------------------------------------


@functools.cache
def _site(bench: Bench) -> str:
    """The address of a server of files, which a process of its own serves: as they should be, and damaged."""
    content = (ASSETS / "samples" / "jnli" / "valid.json").read_bytes()
    for name, served in (
        ("good", content),
        ("torn", content[:-50]),
        ("altered", content.replace(b"0", b"1", 1)),
        ("blank", b""),
    ):
        path = bench.root / "site" / name / PATH
        path.parent.mkdir(parents=True)
        path.write_bytes(served)
    handler = functools.partial(_Silent, directory=str(bench.root / "site"))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    owner, child = os.getpid(), os.fork()
    if not child:
        server.serve_forever()
    server.socket.close()
    # The processes of the cases are forked from here and must leave the server alone.
    atexit.register(_end, owner, child)
    return f"http://127.0.0.1:{server.server_address[1]}"


def _end(owner: int, child: int) -> None:
    if os.getpid() == owner:
        os.kill(child, signal.SIGKILL)


class _Silent(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Nothing is printed."""


def _pin() -> None:
    """In the process of a case: what the server has counts as the official file."""
    content = (ASSETS / "samples" / "jnli" / "valid.json").read_bytes()
    vars(data_files)["PINNED_SHA256"] = {"jnli/valid": hashlib.sha256(content).hexdigest()}


def _fetch(bench: Bench, world: Path, fault: Fault | None, site: str) -> Any:
    fetch = Workload("fetch", lambda w: ["data", "fetch", "--task", "jnli", "--split", "valid"])
    env = {"JGLUE_DATA_URL": f"{_site(bench)}/{site}", "JGLUE_CACHE_DIR": str(world / "cache"), "NO_PROXY": "*"}
    return bench.call(fetch, world, fault, env=env, in_child=_pin)


def _download(bench: Bench, number: int) -> Verdict:
    world, whole = (bench.world(bench.workloads["run"]) for _ in range(2))
    try:
        done = _fetch(bench, whole, None, "good")
        assert done.code == 0, done.err
        target = state_of(whole)["cache"]
        mode = (Mode.KILL_BEFORE, Mode.KILL_MIDDLE, Mode.FAIL_FROM)[number % 3]
        calls = Call.WRITE if mode == Mode.KILL_MIDDLE else WRITES | Call.SYNC | Call.RENAME | Call.UNLINK
        count = sum(n for kind, n in done.calls.items() if kind & calls)
        places = spread(count, DOWNLOADS // 3, number)
        fault = Fault(mode, places[number // 3 % len(places)], calls, errno.ENOSPC)
        hurt = _fetch(bench, world, fault, "good")
        verdict = Verdict()
        if not hurt.killed and (hurt.code not in (0, 2) or "Traceback" in hurt.err):
            verdict.wrong.append(f"exit code {hurt.code}: {hurt.err[-400:]}")
        if (now := state_of(world)["cache"]) not in ({}, target):
            verdict.wrong.append(f"half of a download counts as a file: {now}")
        again = _fetch(bench, world, None, "good")
        verdict.differing = int(again.code != 0 or state_of(world)["cache"] != target)
        verdict.left = temporary_files(world)
        return verdict
    finally:
        bench.drop(world)
        bench.drop(whole)


def _wrong_download(bench: Bench, how: str) -> Verdict:
    world = bench.world(bench.workloads["run"])
    try:
        ended = _fetch(bench, world, None, how)
        verdict = Verdict(left=temporary_files(world))
        if ended.code not in (2, 4) or "error: " not in ended.err or state_of(world)["cache"]:
            verdict.wrong.append(f"exit code {ended.code}: {ended.err[-400:]}")
        return verdict
    finally:
        bench.drop(world)


# --- W&B ------------------------------------------------------------------------------------------------------


@dataclass
class _Killer:
    """Kills a descendant of a process when it has been there for a while."""

    chosen: Callable[[psutil.Process], bool]
    polls: int
    """How often it is seen before that."""
    seen: dict[int, int] = field(default_factory=dict)
    killed: bool = False

    def __call__(self, parent: int) -> None:
        if self.killed:
            return
        try:
            for process in psutil.Process(parent).children(recursive=True):
                if self.chosen(process):
                    self.seen[process.pid] = self.seen.get(process.pid, 0) + 1
                    if self.seen[process.pid] > self.polls:
                        process.kill()
                        self.killed = True
        except psutil.Error:
            return


def _is_core(process: psutil.Process) -> bool:
    return "wandb-core" in process.name()


def _death(bench: Bench, death: str) -> Verdict:
    """A push to W&B's files loses a process: it says so, and the next one is whole."""
    workload = bench.workloads["rescore"]
    world = bench.world(workload)
    try:
        before = state_of(world)
        (run,) = (world / "runs").glob("[!.]*/")
        push = Workload(
            "push",
            lambda w: ["push", run.name, "--project", "jglue", "--offline", "--runs-dir", str(w / "runs")],
        )
        env = {"WANDB_DIR": str(world / "out"), "HOME": str(world / "home")}
        killer = _Killer(_is_core if "core" in death else lambda p: not _is_core(p), 0 if "at once" in death else 60)
        hurt = bench.call(push, world, env=env, while_running=killer)
        verdict = Verdict(happened=killer.killed)
        if hurt.code not in (0, 4, 5) or "Traceback" in hurt.err:
            verdict.wrong.append(f"exit code {hurt.code}: {hurt.err[-500:]}")
        if killer.killed and hurt.code == 0 and "core" not in death:
            verdict.wrong.append("exit code 0 though the process was killed")
        if "does not accept this key" in hurt.err:
            verdict.wrong.append("a dead process is called a wrong key")
        again = bench.call(push, world, env=env)
        if again.code != 0:
            verdict.wrong.append(f"pushed again: exit code {again.code}: {again.err[-400:]}")
        for state in (before, after := state_of(world)):
            state.pop("out")
        verdict.differing = int(after != before)
        return verdict
    finally:
        bench.drop(world)
