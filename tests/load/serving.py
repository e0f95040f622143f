"""The server that is tried, in a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.ui.conftest import ROOT, free_port

ABANDONED_S = 8
"""After how long a run at which nobody looks gives its place up here."""


class Served:
    """One running server.

    Args:
        folder: for its runs and its log.
        trace: where it writes what holds its memory when it gets SIGUSR1; None to be as fast as it is.
    """

    abandoned_after_s = ABANDONED_S

    def __init__(self, folder: Path, trace: Path | None = None) -> None:
        self._folder, self._trace, self._port = folder, trace, free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        self.process = self._start()

    @property
    def pid(self) -> int:
        """Of its process."""
        return self.process.pid

    def restart(self) -> None:
        """Start it again, with the same runs at the same address."""
        self.process = self._start()

    def write_memory(self) -> None:
        """Have it write what holds its memory, if it is to."""
        if self._trace is not None:
            self.process.send_signal(signal.SIGUSR1)
            time.sleep(20)

    def stop(self) -> None:
        """End it."""
        self.process.terminate()
        try:
            self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _start(self) -> subprocess.Popen[bytes]:
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("JGLUE_", "SPACE_", "GRADIO_", "WANDB_"))}
        clean |= {"JGLUE_MODE": "public", "JGLUE_ABANDONED_AFTER": str(ABANDONED_S), "OMP_NUM_THREADS": "1"}
        if self._trace is not None:
            clean |= {"LOAD_TRACE": str(self._trace)}
        command = [sys.executable, "-m", "tests.load.server", "--port", str(self._port)]
        with (self._folder / "log").open("ab") as log:
            process = subprocess.Popen(
                [*command, "--runs-dir", str(self._folder / "runs")], cwd=ROOT, env=clean, stdout=log, stderr=log
            )
        for _ in range(1200):
            try:
                httpx.get(self.url, timeout=10, trust_env=False)
                return process
            except httpx.HTTPError:
                if process.poll() is not None:
                    raise RuntimeError((self._folder / "log").read_text("utf-8", "replace")) from None
                time.sleep(0.1)
        process.kill()
        raise RuntimeError("the server did not start")


@contextmanager
def served(folder: Path, trace: Path | None = None) -> Iterator[Served]:
    """Start it, and stop it at the end."""
    server = Served(folder, trace)
    try:
        yield server
    finally:
        server.stop()
