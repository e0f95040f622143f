"""A public server as it is, but for its models: `python -m tests.load.server --port … --runs-dir …`.

With LOAD_TRACE it writes to that file, when it gets SIGUSR1, which lines of code hold the most memory.
"""

from __future__ import annotations

import os
import signal
import sys
import tracemalloc
from pathlib import Path
from types import FrameType

from jglue_app.backends import BACKENDS
from jglue_app.cli import main

FRAMES = 1


def write_memory(_: int, __: FrameType | None) -> None:
    """Which lines hold the most memory, and where one of the largest came from."""
    statistics = tracemalloc.take_snapshot().statistics("lineno")[:40]
    lines = [f"{one.size / 2**20:8.2f} MiB {one.count:8} {one.traceback}" for one in statistics]
    Path(os.environ["LOAD_TRACE"]).write_text("\n".join(lines) + "\n", "utf-8")


if __name__ == "__main__":
    if os.environ.get("LOAD_TRACE"):
        tracemalloc.start(FRAMES)
        signal.signal(signal.SIGUSR1, write_memory)
    BACKENDS["hf"] = "tests.load.models"
    sys.argv = [sys.argv[0], "serve", *sys.argv[1:]]
    main()
