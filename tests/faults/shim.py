"""The shim that stands between a process and the C library: built once, and told what to do by `arm`."""

from __future__ import annotations

import ctypes
import errno
import hashlib
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from pathlib import Path

SOURCE = Path(__file__).with_name("shim.c")


class Call(IntFlag):
    """Kinds of system calls, as in shim.c."""

    OPEN_W = 1
    WRITE = 2
    SYNC = 4
    RENAME = 8
    UNLINK = 16
    MKDIR = 32
    TRUNC = 64
    LOCK = 128
    OPEN_R = 256
    READ = 512
    STAT = 1024
    LIST = 2048


CHANGES = Call.OPEN_W | Call.WRITE | Call.SYNC | Call.RENAME | Call.UNLINK | Call.MKDIR | Call.TRUNC
"""All that changes what is on the disk."""
READS = Call.OPEN_R | Call.READ | Call.STAT | Call.LIST


class Mode(IntEnum):
    """What happens at the chosen call, as in shim.c."""

    COUNT = 0
    KILL_BEFORE = 1
    KILL_AFTER = 2
    KILL_MIDDLE = 3
    """A write puts `amount` bytes on the disk (if negative: all but so many; if 0: half of them), then the process is
    killed."""
    FAIL_ONCE = 4
    FAIL_FROM = 5
    """This call and all later ones of these kinds fail."""
    SHORT_ONCE = 6
    """A write takes a part only, and says so; the next goes on."""
    SHORT_FROM = 7
    """A write takes a part only, and all later calls fail."""
    STOP = 8
    SIGNAL = 9
    """The signal `error` is sent to the process, at `amount` more calls again."""
    CLOCK = 10
    """The clock jumps by `amount` seconds."""
    FULL = 11
    """Of all writes, `amount` bytes find room."""


@dataclass(frozen=True)
class Fault:
    """What the shim does, and at which call."""

    mode: Mode = Mode.COUNT
    at: int = 0
    """Number of the call among those of its kinds, from 0."""
    calls: Call = CHANGES
    error: int = errno.ENOSPC
    """An errno; a signal's number with `Mode.SIGNAL`."""
    amount: int = 0

    @property
    def kills(self) -> bool:
        """Whether the process is to die."""
        return self.mode in (Mode.KILL_BEFORE, Mode.KILL_AFTER, Mode.KILL_MIDDLE)


def build() -> Path | None:
    """The compiled shim; None where there is no C compiler for Linux."""
    compiler = next((found for name in ("cc", "gcc", "clang") if (found := shutil.which(name))), None)
    if compiler is None or os.uname().sysname != "Linux":
        return None
    digest = hashlib.sha256(SOURCE.read_bytes()).hexdigest()[:16]
    library = Path(tempfile.gettempdir()) / f"jglue-faults-{os.getuid()}" / f"shim-{digest}.so"
    if not library.exists():
        library.parent.mkdir(mode=0o700, exist_ok=True)
        part = library.with_suffix(f".{os.getpid()}")
        subprocess.run([compiler, "-shared", "-fPIC", "-O2", "-o", str(part), str(SOURCE), "-ldl"], check=True)
        part.replace(library)
    return library


def loaded() -> ctypes.CDLL:
    """The shim in this process, which was started with it; raises AttributeError elsewhere."""
    library = ctypes.CDLL(None)
    library.jf_arm.argtypes = [
        *(ctypes.c_char_p, ctypes.c_uint, ctypes.c_int, ctypes.c_long, ctypes.c_int, ctypes.c_long, ctypes.c_int)
    ]
    library.jf_count.argtypes, library.jf_count.restype = [ctypes.c_uint], ctypes.c_long
    return library


def arm(below: Path, fault: Fault, log: int = -1) -> None:
    """From here on, watch this process's calls on files below a folder; `log` is a file descriptor for what changes
    the disk."""
    loaded().jf_arm(os.fsencode(below), fault.calls, fault.mode, fault.at, fault.error, fault.amount, log)
