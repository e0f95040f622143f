"""What a push costs: `python -m tests.wandb_sink.measure RUN`, or `--records 15000` for a run of scripted answers.

Pushes twice to a loopback server and pulls once. Prints rows stored against rows of the run, bytes and requests sent,
seconds, the most resident memory of the pushing process and of W&B's core, and whether the second push changed
anything.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import threading
import time
from pathlib import Path

import psutil

from jglue_app import wandb_sink
from jglue_app.runs.store import RunStore
from tests.wandb_server import Run, WandbServer
from tests.wandb_sink.known import login, run_of, steady


def main() -> None:
    """Measure the run that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", nargs="?", type=Path, help="folder of a stored run")
    parser.add_argument("--records", type=int, default=15_000, help="size of the run that is made without one")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch, WandbServer() as server:
        run = asked.run or scripted(Path(scratch), asked.records)
        rows = len(RunStore(run).records())
        before: object = None
        for number in ("first", "second"):
            seen, began, sent_bytes = len(server.requests), time.monotonic(), sum(r.nbytes for r in server.requests)
            peak = Peak()
            sent = wandb_sink.push(run, login(server))
            seconds, most = time.monotonic() - began, peak.end()
            found = server.run(sent.id)
            stored = sum(len(server.table(found, key)) for key in sent.tables if key.startswith("predictions/"))
            nbytes = sum(r.nbytes for r in server.requests) - sent_bytes
            print(
                f"{number} push: {stored:,} of {rows:,} rows stored, {nbytes / 1e6:.1f} MB in "
                f"{len(server.requests) - seen} requests, {seconds:.1f} s, {most}"
            )
            state = content(server, found)
            print("  " + ("the same as before" if state == before else "changed" if before else "new"))
            before = state
        began = time.monotonic()
        source = wandb_sink.parse_run_path(f"team/jglue/{sent.id}")
        (pulled,) = wandb_sink.pull(source, login(server), Path(scratch) / "pulled")
        same = all((pulled / n).read_bytes() == (run / n).read_bytes() for n in ("items.jsonl", "records.jsonl"))
        print(f"pull: {time.monotonic() - began:.1f} s, {'the same files' if same else 'OTHER FILES'}")


def scripted(folder: Path, records: int) -> Path:
    """A run of many records: our JNLI samples again and again under other ids."""
    run = run_of(steady(folder / "steady.jsonl"), folder / "runs", ("jnli",))
    for name, key in (("items.jsonl", "id"), ("records.jsonl", "item_id")):
        rows = [json.loads(line) for line in (run / name).read_text("utf-8").splitlines()]
        with (run / name).open("w", encoding="utf-8") as file:
            for number in range(records):
                row = rows[number % len(rows)]
                file.write(json.dumps({**row, key: f"{row[key]}-{number}"}, ensure_ascii=False) + "\n")
    return run


def content(server: WandbServer, run: Run) -> object:
    """All that a push leaves, but the clock."""
    clock = ("_runtime", "_timestamp")
    summary = {key: value for key, value in run.summary.items() if key not in clock and not isinstance(value, dict)}
    tables = {key: server.table(run, key) for key, value in run.summary.items() if isinstance(value, dict)}
    versions = [(artifact.name, artifact.version, artifact.digest) for artifact in server.artifacts]
    return json.dumps([summary, tables, versions, run.config, run.history, sorted(run.tags)], sort_keys=True)


class Peak:
    """The most resident memory of the processes that this one has started, while it is not ended."""

    def __init__(self) -> None:
        self._most = {"worker": 0, "core": 0}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        me = psutil.Process()
        while not self._over.wait(0.1):
            for child in me.children(recursive=True):
                try:
                    kind = "core" if "core" in child.name() else "worker"
                    self._most[kind] = max(self._most[kind], child.memory_info().rss)
                except psutil.Error:
                    continue

    def end(self) -> str:
        """Stop looking; what was seen, in words."""
        self._over.set()
        self._thread.join()
        return ", ".join(f"{kind} {most >> 20:,} MiB" for kind, most in self._most.items())


if __name__ == "__main__":
    main()
