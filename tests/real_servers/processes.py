"""A server in a process of its own, on the loopback address."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

START_S = 600.0
"""Seconds that a server may take until it answers: vLLM compiles and warms up, on two busy cores."""
STOP_S = 30.0


def free_port() -> int:
    """A port of the loopback address that nothing listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextlib.contextmanager
def running(
    command: Callable[[int], Sequence[str]], log: Path, environment: Mapping[str, str] | None = None
) -> Iterator[str]:
    """Run a server until the end of the block.

    Args:
        command: port → the command.
        log: file for what it prints, which an error quotes.
        environment: variables besides those of this process.

    Yields:
        The address below which `chat/completions` lies.
    """
    port = free_port()
    with log.open("wb") as output:
        process = subprocess.Popen(
            list(command(port)),
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "HF_HUB_OFFLINE": "1", **(environment or {})},
        )
        try:
            address = f"http://127.0.0.1:{port}/v1"
            _wait(process, address, log)
            yield address
        finally:
            process.terminate()
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait(process: subprocess.Popen[bytes], address: str, log: Path) -> None:
    end = time.monotonic() + START_S
    while time.monotonic() < end:
        assert process.poll() is None, f"The server ended:\n{log.read_text(errors='replace')[-3000:]}"
        try:
            with urllib.request.urlopen(f"{address}/models", timeout=5) as response:
                if json.load(response)["data"]:
                    return
        except (OSError, urllib.error.URLError, ValueError):
            time.sleep(0.5)
    raise AssertionError(f"The server did not answer:\n{log.read_text(errors='replace')[-3000:]}")
