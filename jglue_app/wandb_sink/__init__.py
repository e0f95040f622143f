"""Stored runs → Weights & Biases, and back. Only the files of this folder know W&B's client.

    from jglue_app import wandb_sink

    sent = wandb_sink.push(Path("runs/…"), wandb_sink.log_in(wandb_sink.target("team/jglue")))
    print(sent.url)

The client runs in a process of its own (`process.py`, `worker.py`). What is sent is put together in `payload.py` and
`tables.py` and sent by `sending.py`; `fetching.py` reads it back for `pulling.py` and `leaderboard.py`; `following.py`
is the progress of a run under way, `reporting.py` the W&B Report, `launch.py` the job of W&B Launch.
"""

from jglue_app.wandb_sink.leaderboard import Standings, save_report, standings
from jglue_app.wandb_sink.live_run import Follower
from jglue_app.wandb_sink.login import DEFAULT_PROJECT, Login, Target, base_url, checked_key, log_in, own_key, target
from jglue_app.wandb_sink.pull_run import Source, pull, source
from jglue_app.wandb_sink.push_run import Sent, push, push_comparison, write_offline

__all__ = [
    "DEFAULT_PROJECT",
    "Follower",
    "Login",
    "Sent",
    "Source",
    "Standings",
    "Target",
    "base_url",
    "checked_key",
    "log_in",
    "own_key",
    "pull",
    "push",
    "push_comparison",
    "save_report",
    "source",
    "standings",
    "target",
    "write_offline",
]
