"""The service that lends GPUs to a Space on ZeroGPU, as the package `spaces` calls it; it lends nothing.

It grants requests as long as the quota has room, gives the process that a Space names to `/allow` the seconds that were
asked for, and kills it then, as ZeroGPU does.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass
class DeviceService:
    """What it was asked, and what it answers."""

    quota: int = 1_000
    """Seconds that every visitor has left."""
    second: float = 1.0
    """Seconds that one second of a request lasts."""
    kill_first_after: float | None = None
    """Kills the first process after so many seconds, whatever was asked for."""
    address: str = ""
    paths: list[str] = field(default_factory=list)
    """Addresses that were called, in turn."""
    scheduled: list[dict[str, str]] = field(default_factory=list)
    """Parameters of the requests for a GPU."""
    killed: list[int] = field(default_factory=list)
    """Processes that were killed."""
    _open: dict[str, float] = field(default_factory=dict)
    """Token → seconds, of requests that were granted and not released."""
    _idle: bool = False

    def answer(self, path: str, given: dict[str, str]) -> tuple[int, dict[str, Any]]:
        """Status and body of the answer to a call."""
        self.paths.append(path)
        if path == "/schedule":
            self.scheduled.append(given)
            seconds = int(given["durationSeconds"])
            if seconds > self.quota:
                return 429, {"left": self.quota, "wait": 11_000}
            token = f"t{len(self.scheduled)}"
            self._open[token] = seconds * self.second
            idle, self._idle = self._idle, False
            return 200, {"idle": idle, "nvidiaIndex": 0, "nvidiaUUID": "MIG-0", "allowToken": token}
        if path == "/allow":
            token, process = given["allowToken"], int(given["pid"])
            life = self.kill_first_after or self._open[token]
            self.kill_first_after = None
            timer = threading.Timer(life, self._kill, [token, process])
            timer.daemon = True
            timer.start()
        if path == "/release":
            self._open.pop(given["allowToken"], None)
            self._idle = given["fail"] == "false"
        return 200, {}

    def _kill(self, token: str, process: int) -> None:
        if token in self._open:
            self.killed.append(process)
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)


@contextlib.contextmanager
def device_service() -> Iterator[DeviceService]:
    """A running service."""
    service = DeviceService()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            url = urlsplit(self.path)
            status, body = service.answer(url.path, {name: v[0] for name, v in parse_qs(url.query).items()})
            sent = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(sent)))
            self.end_headers()
            self.wfile.write(sent)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    service.address = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield service
    finally:
        server.shutdown()
        server.server_close()
