"""Stored runs → Weights & Biases, and back. Only the files of `client/` import W&B's client.

    from jglue_app import wandb_sink

    sent = wandb_sink.push(Path("runs/…"), wandb_sink.log_in(wandb_sink.target("team/jglue")))
    print(sent.url)

The client runs in a separate process: `worker_process.py` starts it, `client/worker.py` runs in it. `payload.py` and
`tables.py` assemble what is sent. Commands and the page call `push_run.py`, `push_many.py`, `pull_run.py`,
`live_run.py` (the progress of an active run) and `leaderboard.py` (the runs of a project, and a W&B Report).
"""

from jglue_app.child_process import ProgressMessage
from jglue_app.wandb_sink.leaderboard import Standings, save_report, standings
from jglue_app.wandb_sink.live_run import Follower
from jglue_app.wandb_sink.login import (
    DEFAULT_PROJECT,
    Login,
    Target,
    base_url,
    checked_key,
    log_in,
    operator_key,
    target,
)
from jglue_app.wandb_sink.offline import offline_folder, sync_command, write_offline
from jglue_app.wandb_sink.paths import RunPath, parse_run_path
from jglue_app.wandb_sink.pull_run import pull
from jglue_app.wandb_sink.push_many import (
    GridToPush,
    PushedRuns,
    matching,
    push_runs,
    stored_grid,
    write_runs_offline,
)
from jglue_app.wandb_sink.push_run import PushResult, push, push_comparison

__all__ = [
    "DEFAULT_PROJECT",
    "Follower",
    "GridToPush",
    "Login",
    "ProgressMessage",
    "PushResult",
    "PushedRuns",
    "RunPath",
    "Standings",
    "Target",
    "base_url",
    "checked_key",
    "log_in",
    "matching",
    "offline_folder",
    "operator_key",
    "parse_run_path",
    "pull",
    "push",
    "push_comparison",
    "push_runs",
    "save_report",
    "standings",
    "stored_grid",
    "sync_command",
    "target",
    "write_offline",
    "write_runs_offline",
]
