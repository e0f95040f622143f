"""The other side of `process.py`: does one job with W&B's client and ends.

Standard input: one line of JSON `{"action": …, …}`; the action `follow` takes further lines. Standard output: lines
`{"say": sentence}`, and at last `{"done": {…}}` or `{"error": sentence, "kind": class of errors.py}`. When standard
input ends early, whoever started this is gone, and so is this.
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

from jglue_app.errors import JglueAppError
from jglue_app.wandb_sink.process import HOME_OF_WORKER

TEAR_DOWN_S = 5.0


def main() -> None:
    """Do the job of the first line of standard input."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)  # Whatever the client prints is no answer.

    def tell(message: Mapping[str, Any]) -> None:
        with contextlib.suppress(OSError):  # Whoever started this is gone; what it does here ends well all the same.
            answers.write(json.dumps(message) + "\n")
            answers.flush()

    lines: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
    gone = threading.Event()
    job = json.loads(sys.stdin.readline() or "{}")
    threading.Thread(target=_listen, args=(lines, gone, job.get("action") != "follow"), daemon=True).start()
    code = 0
    try:
        tell({"done": _actions()[job["action"]](job, lambda text: tell({"say": text}), _until_none(lines))})
    except JglueAppError as e:
        tell({"error": str(e), "kind": type(e).__name__})
    except BaseException:
        traceback.print_exc()
        code = 1
    with contextlib.suppress(OSError):
        answers.close()
    _tear_down()
    sys.stderr.flush()
    if not code or gone.is_set():  # Else the last words in there are still to be read by who started this.
        shutil.rmtree(os.environ[HOME_OF_WORKER], ignore_errors=True)
    # W&B's client has an exit hook that would wait for a server that is not there.
    os._exit(code)


def _tear_down() -> None:
    """End W&B's own core while its parent can still see it out, but wait for that only a little."""
    if "wandb" in sys.modules:
        thread = threading.Thread(target=sys.modules["wandb"].teardown, daemon=True)
        thread.start()
        thread.join(TEAR_DOWN_S)


Action = Callable[[Mapping[str, Any], Callable[[str], None], Iterator[dict[str, Any]]], dict[str, Any]]


def _actions() -> dict[str, Action]:
    from jglue_app.wandb_sink.client import job, read, report, send

    return {
        "push": send.push,
        "compare": send.push_comparison,
        "follow": send.follow,
        "standings": read.standings,
        "pull": read.pull,
        "report": report.save,
        "job": job.create,
    }


def _listen(lines: queue.SimpleQueue[dict[str, Any] | None], gone: threading.Event, end_with_it: bool) -> None:
    for line in sys.stdin:
        lines.put(json.loads(line))
    gone.set()
    lines.put(None)
    if end_with_it:
        shutil.rmtree(os.environ[HOME_OF_WORKER], ignore_errors=True)
        os._exit(3)


def _until_none(lines: queue.SimpleQueue[dict[str, Any] | None]) -> Iterator[dict[str, Any]]:
    while (line := lines.get()) is not None:
        yield line


if __name__ == "__main__":
    main()
