"""Workers and machines of a Ray cluster that die while they answer: no record is lost, none is stored twice, and the
reports are those of undisturbed runs.

    python -m tests.cluster.deaths [--workers 20 --nodes 10 --seconds 0.3]

Needs ray. Processes of workers are killed (SIGKILL), and so are machines: raylets of a cluster of several on this one,
with all their workers. Takes about two seconds for each death.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any
from unittest import mock

import psutil

from jglue_app.backends.pool import ModelPool
from jglue_app.backends.scripted import ScriptedBackend
from jglue_app.cluster import RayOptions, run_plans_on_ray
from jglue_app.runs.plan import Plan, make_plan
from jglue_app.runs.runner import run_plan
from jglue_app.runs.store import RunStore
from jglue_app.scoring.report import report_run
from jglue_app.settings import Settings, load_settings
from jglue_app.types import ModelSpec
from tests.runs.test_runner import ALL, table

PAUSE_S = (0.8, 1.6)
"""Shortest and longest time from one death to the next, once there is a worker to kill."""


@dataclass
class Killer:
    """Kills something now and then, until it has done so `most` times."""

    kill: Callable[[], bool]
    """Kills one, and says whether there was one."""
    most: int
    deaths: int = 0
    _moments: random.Random = field(default_factory=lambda: random.Random(0))
    _next: float = 0.0

    def look(self) -> None:
        """Kill one if it is time for it."""
        if self.deaths < self.most and time.monotonic() >= self._next and self.kill():
            self.deaths += 1
            print(f"death {self.deaths}", flush=True)
            self._next = time.monotonic() + self._moments.uniform(*PAUSE_S)


def worker_processes() -> list[psutil.Process]:
    """The processes of actors that answer a batch at the moment, on clusters that this process has started."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if process.cmdline()[:1] and process.cmdline()[0].startswith("ray::Worker.work"):
                found.append(process)
    return found


def kill_worker() -> bool:
    """Kill one of them."""
    processes = worker_processes()
    if not processes:
        return False
    with contextlib.suppress(psutil.Error):
        random.choice(processes).kill()
    return True


def check(settings: Settings, undisturbed: Settings, plan: Plan) -> dict[str, int]:
    """Compare a run with the same one that nothing has disturbed; counts by what they are of."""
    lines = (RunStore.of(settings.runs_dir, plan.spec).path / "records.jsonl").read_text("utf-8").splitlines()
    keys = [(row["task"], row["item_id"]) for row in map(json.loads, lines)]
    wanted = {(task, item.id) for task, items in plan.items.items() for item in items}
    runs = [RunStore.of(one.runs_dir, plan.spec).data() for one in (settings, undisturbed)]
    texts = [
        {(r.task, r.item_id): (r.prompt, r.output and (r.output.text, r.output.choice_logprobs)) for r in run.records}
        for run in runs
    ]
    reports = [asdict(report_run(replace(run, records=_timeless(run)))) for run in runs]
    return {
        "items": len(wanted),
        "lost": len(wanted - set(keys)),
        "twice": len(keys) - len(set(keys)),
        "other answers": sum(texts[0].get(key) != texts[1][key] for key in wanted),
        "other reports": int(json.dumps(reports[0], default=str) != json.dumps(reports[1], default=str)),
    }


def _timeless(run: Any) -> tuple[Any, ...]:
    """Records without their times, in the order of the items."""
    places = {(task, item_id): n for task in run.items for n, item_id in enumerate(run.items[task])}
    tasks = list(run.items)
    ordered = sorted(run.records, key=lambda r: (tasks.index(r.task), places[r.task, r.item_id]))
    return tuple(replace(r, output=r.output and replace(r.output, seconds=0.0)) for r in ordered)


def disturbed(
    folder: Path, killer: Killer, options: RayOptions, seconds: float, tasks: Sequence[str] = ALL
) -> dict[str, int]:
    """Make runs until so many deaths have been, and compare each; sums of the counts."""
    model = table(folder / "table.jsonl", seconds=seconds)
    settings = replace(load_settings(), runs_dir=folder / "runs", data_dir=None)
    undisturbed = replace(settings, runs_dir=folder / "undisturbed")
    sums: dict[str, int] = {"deaths": 0, "runs": 0}
    for seed in range(100):
        plan = make_plan(settings, ModelSpec(str(model), "scripted"), tasks, data_kind="sample", limit=40, seed=seed)
        with ModelPool(settings) as pool:
            for _ in run_plans_on_ray([("a", plan)], pool, settings, options):
                killer.look()
            with mock.patch.object(ScriptedBackend, "_wait", return_value=True):
                for _ in run_plan(plan, pool, undisturbed.runs_dir):
                    pass
        for name, count in check(settings, undisturbed, plan).items():
            sums[name] = sums.get(name, 0) + count
        sums["runs"] += 1
        sums["deaths"] = killer.deaths
        print(sums, flush=True)
        if killer.deaths >= killer.most:
            break
    return sums


def workers_die(folder: Path, deaths: int, seconds: float) -> dict[str, int]:
    """Two workers on this machine, whose processes are killed."""
    return disturbed(folder, Killer(kill_worker, deaths), RayOptions("local", 2, 2, 1, "cpu"), seconds)


def nodes_die(folder: Path, deaths: int, seconds: float) -> dict[str, int]:
    """Two machines with one worker each beside the head node; they are killed, and others take their places."""
    import ray
    from ray.cluster_utils import Cluster

    memory = 80 * 2**20
    cluster = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 0, "include_dashboard": False, "object_store_memory": memory},
    )
    nodes = [cluster.add_node(num_cpus=1, object_store_memory=memory) for _ in range(2)]

    def kill() -> bool:
        if not worker_processes():
            return False
        node = nodes.pop(0)
        cluster.remove_node(node, allow_graceful=False)
        nodes.append(cluster.add_node(num_cpus=1, object_store_memory=memory))
        return True

    ray.init(address=cluster.address, log_to_driver=False, logging_level="error")
    try:
        return disturbed(folder, Killer(kill, deaths), RayOptions("auto", 2, 2, 1, "cpu"), seconds)
    finally:
        ray.shutdown()
        cluster.shutdown()


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=20, help="workers that are killed")
    parser.add_argument("--nodes", type=int, default=10, help="machines that are killed")
    parser.add_argument("--seconds", type=float, default=0.3, help="how long each answer takes")
    given = parser.parse_args(arguments)
    for name, function, deaths in (("workers", workers_die, given.workers), ("machines", nodes_die, given.nodes)):
        if deaths:
            with tempfile.TemporaryDirectory() as folder:
                began = time.monotonic()
                print(name, function(Path(folder), deaths, given.seconds), f"{time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
