"""The runs of a W&B project → a ranking like that of stored runs, and a W&B Report of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jglue_app.child_process import OnMessage
from jglue_app.scoring.leaderboard import Entry, RunScores, rank
from jglue_app.scoring.protocols import get_protocol
from jglue_app.scoring.types import Estimate
from jglue_app.wandb_sink.login import Login
from jglue_app.wandb_sink.payload import PROTOCOLS_KEY
from jglue_app.wandb_sink.worker_process import WorkerProcess


@dataclass(frozen=True, slots=True)
class Standings:
    """The evaluated runs of a project."""

    runs: tuple[Mapping[str, Any], ...]
    """`{id, name, url, created, state, spec_id, data_kind, member_of, summary}`, the newest first; only the
    most complete one of the runs with the same spec."""
    left_out: int
    """Number of runs of the project without a completed push of this application."""

    def of(self, protocol: str, data_kind: str) -> dict[str, RunScores]:
        """W&B run → its scores under a protocol, over `official` or `sample` data."""
        get_protocol(protocol)
        return {
            str(run["id"]): RunScores(str(run["name"]), _values(run["summary"], protocol))
            for run in self.runs
            if run["data_kind"] == data_kind
        }

    def ranked(self, protocol: str, against: str, data_kind: str, tasks: Sequence[str]) -> list[Entry]:
        """The ranking, as `scoring.leaderboard` gives it for stored runs."""
        return rank(self.of(protocol, data_kind), self.of(against, data_kind), tasks)


def _values(summary: Mapping[str, Any], protocol: str) -> dict[str, Estimate]:
    values = {}
    for task, metrics in get_protocol(protocol).metrics.items():
        key = f"{PROTOCOLS_KEY}/{protocol}/{task}/{metrics[0]}"
        if f"{key}/n" in summary:
            value, low, high = (_number(summary.get(name)) for name in (key, f"{key}/low", f"{key}/high"))
            values[task] = Estimate(value, low, high, int(summary[f"{key}/n"]))
    return values


def _number(value: Any) -> float | None:
    """JSON does not distinguish 1.0 from 1."""
    return None if value is None else float(value)


def standings(login: Login) -> Standings:
    """Read a project's runs.

    Raises:
        InputError: there is no such project, or the key may not read it.
        NetworkError: W&B was not reached.
    """
    target = login.target
    job = {"action": "standings", "entity": target.entity, "project": target.project}
    with WorkerProcess(job, login) as worker:
        result = worker.result()
    return Standings(tuple(result["runs"]), int(result["left_out"]))


def save_report(
    login: Login,
    standings: Standings,
    protocol: str,
    data_kind: str,
    tasks: Sequence[str],
    on_message: OnMessage = lambda _: None,
) -> dict[str, Any]:
    """Save a W&B Report of a project: leaderboard, bars for each subset, outcomes, run comparer. In an existing report
    with the same title the blocks that come from here are replaced, and those of people stay (`report_blocks.py`).

    Returns:
        `{url, title, blocks, people}`: its URL and title, what it has from here as plain values, and of people's edits
        `{kept, edited, removed}`: blocks of theirs, and the names of ours that they have edited or removed.

    Raises:
        DeviceError: the package wandb-workspaces is missing.
        InputError, NetworkError: as `standings`.
    """
    target = login.target
    entries = standings.ranked(protocol, protocol, data_kind, tasks)
    runs = {run["id"]: run for run in standings.runs}
    rows = [
        {
            "rank": entry.rank,
            "label": entry.label,
            "url": runs[entry.name]["url"],
            "average": _interval(entry.average),
            **{task: _interval(entry.tasks.get(task)) for task in tasks},
        }
        for entry in entries
    ]
    job = {"action": "report", "entity": target.entity, "project": target.project, "protocol": protocol}
    metrics = get_protocol(protocol).metrics
    keys = {task: f"{PROTOCOLS_KEY}/{protocol}/{task}/{metrics[task][0]}" for task in tasks}
    with WorkerProcess({**job, "rows": rows, "keys": keys, "data_kind": data_kind}, login) as worker:
        return worker.result(on_message)


def _interval(estimate: Estimate | None) -> list[float | None]:
    """Value, low and high end."""
    return [estimate.value, estimate.low, estimate.high] if estimate else [None, None, None]
