"""How busy the machine is with other things, so that a figure is not held against the server that others have cost."""

from __future__ import annotations

import os
import time
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


class Machine:
    """What others have used since it was made.

    Args:
        pids: the processes that are tried; all others, but for this one, are others.
    """

    def __init__(self, *pids: int) -> None:
        self._pids = pids
        self._began = time.monotonic(), self._busy(), self._own()

    @property
    def others(self) -> float:
        """Processors that others kept busy, on average."""
        began, busy, own = self._began
        return max(0.0, (self._busy() - busy) - (self._own() - own)) / max(0.01, time.monotonic() - began)

    @property
    def slower(self) -> float:
        """How many times longer something takes that would have had the machine for itself."""
        cores = os.cpu_count() or 1
        return cores / max(0.25, cores - self.others)

    def _own(self) -> float:
        seconds = sum(os.times()[:2])
        for pid in self._pids:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            seconds += sum(map(int, fields[11:15])) / TICKS
        return seconds

    @staticmethod
    def _busy() -> float:
        """Seconds that all processors were busy."""
        user, nice, system, _, _, irq, soft = map(int, Path("/proc/stat").read_text().split(maxsplit=8)[1:8])
        return (user + nice + system + irq + soft) / TICKS


def resident(pid: int) -> int:
    """Bytes of a process that are in memory."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
