"""The process of `worker_process.py`: does one job with W&B's client and exits.

Standard input: one line of JSON `{"action": …, …}`; the action `follow` takes further lines. Standard output: the lines
of `child_process`. If standard input ends early, the parent has exited, and this process exits too.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import shutil
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from jglue_app.child_process import OnMessage, error_line, message_line
from jglue_app.errors import JglueAppError
from jglue_app.wandb_sink.worker_process import WORKER_HOME_ENV

TEARDOWN_S = 5.0

Action = Callable[[Mapping[str, Any], OnMessage, Iterator[dict[str, Any]]], dict[str, Any]]
"""(job, message callback, further lines of standard input) → result."""


def main() -> None:
    """Do the job of the first line of standard input."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)  # Output of the client must not mix with ours.

    def send(line: Mapping[str, Any]) -> None:
        with contextlib.suppress(OSError):  # The parent has exited; the job is completed anyway.
            answers.write(json.dumps(line) + "\n")
            answers.flush()

    lines: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
    parent_exited = threading.Event()
    job = json.loads(sys.stdin.readline() or "{}")
    arguments = (lines, parent_exited, job.get("action") != "follow")
    threading.Thread(target=_read_stdin, args=arguments, daemon=True).start()
    code = 0
    try:
        action = _actions()[job["action"]]
        send({"result": action(job, lambda text: send(message_line(text)), iter(lines.get, None))})
    except JglueAppError as e:
        send(error_line(e))
    except BaseException:
        traceback.print_exc()
        code = 1
    with contextlib.suppress(OSError):
        answers.close()
    _tear_down_client()
    sys.stderr.flush()
    if not code or parent_exited.is_set():  # Otherwise the parent still reads standard error from there.
        shutil.rmtree(os.environ[WORKER_HOME_ENV], ignore_errors=True)
    # W&B's client has an exit hook that would wait for a server that cannot be reached.
    os._exit(code)


def _tear_down_client() -> None:
    """End W&B's core process before this one exits, but wait only a few seconds for it."""
    if "wandb" in sys.modules:
        thread = threading.Thread(target=sys.modules["wandb"].teardown, daemon=True)
        thread.start()
        thread.join(TEARDOWN_S)


def _actions() -> dict[str, Action]:
    from jglue_app.wandb_sink.client import launch_job, read, report, send

    return {
        "push": send.push,
        "compare": send.push_comparison,
        "payload": send.push_payload,
        "check_payload": send.check_payload,
        "follow": send.follow,
        "standings": read.standings,
        "pull": read.pull,
        "report": report.save,
        "job": launch_job.create,
    }


def _read_stdin(
    lines: queue.SimpleQueue[dict[str, Any] | None], parent_exited: threading.Event, exit_at_end: bool
) -> None:
    for line in sys.stdin:
        lines.put(json.loads(line))
    parent_exited.set()
    lines.put(None)
    if exit_at_end:
        shutil.rmtree(os.environ[WORKER_HOME_ENV], ignore_errors=True)
        os._exit(3)


if __name__ == "__main__":
    main()
