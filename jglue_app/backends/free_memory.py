"""How much memory this process may still take: the least of what the machine, its groups and its own limits leave.

A machine's free memory alone says too much where a container, a batch system or `ulimit` allows less: Linux then kills
the process without a word, or refuses it memory in the middle of its work.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import psutil

from jglue_app.messages import Message

MACHINE, GROUP, ADDRESSES = "machine", "group", "addresses"
"""What limits memory: the machine, a control group (of a container, a service or a job), or `ulimit`."""
RESERVED_ADDRESSES = 192 * 2**20
"""Of a limit of addresses this much is left to threads, to libraries that are loaded later and to gaps, none of which
is used as memory: a stack of 8 MiB for each thread, arenas of 64 MiB for allocations."""
RESERVED_OF_GROUP = 32 * 2**20
"""Of a control group this much is left to the kernel's own tables and to small things."""
NO_LIMIT = 2**62
"""A limit from here on is none: the older groups write one near 2⁶³ for none."""


@dataclass(frozen=True, slots=True)
class FreeMemory:
    """What may still be taken."""

    bytes: int
    limited_by: str = MACHINE
    """`MACHINE`, `GROUP` or `ADDRESSES`."""

    @property
    def limit(self) -> str:
        """What limits it, for a sentence."""
        if self.limited_by == GROUP:
            return Message("the limit of this container or service")
        return Message("the limit of `ulimit -v`") if self.limited_by == ADDRESSES else Message("this machine's memory")


def free_memory(proc: Path = Path("/proc"), root: Path = Path("/")) -> FreeMemory:
    """The memory that this process may still take.

    Args:
        proc: where the kernel tells of processes.
        root: the root of the file system in which control groups are mounted; another one in tests.
    """
    found = [FreeMemory(int(psutil.virtual_memory().available))]
    groups = [free for folder in group_folders(proc, root) if (free := group_free(folder)) is not None]
    if groups:
        found.append(FreeMemory(max(0, min(groups) - RESERVED_OF_GROUP), GROUP))
    if (addresses := addresses_free(proc)) is not None:
        found.append(FreeMemory(max(0, addresses - RESERVED_ADDRESSES), ADDRESSES))
    return min(found, key=lambda free: free.bytes)


def addresses_free(proc: Path = Path("/proc")) -> int | None:
    """Bytes that the process may still map by its limits of addresses and of data; None without such limits."""
    try:
        import resource
    except ImportError:  # Windows.
        return None
    sizes: dict[str, int] = {}
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in (proc / "self/status").read_text().splitlines():
            name, _, value = line.partition(":")
            if name in ("VmSize", "VmData"):
                sizes[name] = int(value.split()[0]) * 1024
    found: list[int] = []
    for limit, name in ((resource.RLIMIT_AS, "VmSize"), (resource.RLIMIT_DATA, "VmData")):
        soft = resource.getrlimit(limit)[0]
        if soft not in (resource.RLIM_INFINITY, -1) and soft < NO_LIMIT and name in sizes:
            found.append(max(0, soft - sizes[name]))
    return min(found, default=None)


# --- control groups of Linux ------------------------------------------------------------------------------


def group_folders(proc: Path = Path("/proc"), root: Path = Path("/")) -> list[Path]:
    """The folders of the memory control group of this process and of all groups around it that can be seen.

    The path of a group is below the root of its hierarchy. A container may see a part of that: its mount says which.
    """
    try:
        lines = (proc / "self/cgroup").read_text().splitlines()
        mounts = list(_group_mounts((proc / "self/mountinfo").read_text()))
    except OSError:
        return []
    folders: list[Path] = []
    for line in lines:
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        for mount, seen, is_new in mounts:
            if is_new != (not controllers) or (controllers and "memory" not in controllers.split(",")):
                continue
            top = root / mount.relative_to("/")
            within = PurePosixPath(path)
            # Of a group outside of what the mount shows, the mount's own top is the nearest that can be read.
            below = within.relative_to(seen) if within.is_relative_to(seen) and ".." not in within.parts else None
            here = top if below is None else top / below
            folders += [here, *(parent for parent in here.parents if parent.is_relative_to(top))]
    return list(dict.fromkeys(folders))


def _group_mounts(text: str) -> Iterator[tuple[PurePosixPath, PurePosixPath, bool]]:
    """Where a hierarchy with memory limits is mounted, which of its groups that shows, and whether it is version 2."""
    for line in text.splitlines():
        before, _, after = line.partition(" - ")
        fields, kind = before.split(), after.split()
        if len(fields) < 5 or not kind or not fields[4].startswith("/"):
            continue
        if kind[0] == "cgroup2" or (kind[0] == "cgroup" and "memory" in kind[-1].split(",")):
            yield PurePosixPath(_unescaped(fields[4])), PurePosixPath(_unescaped(fields[3])), kind[0] == "cgroup2"


def _unescaped(path: str) -> str:
    return path.replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\")


def group_free(folder: Path) -> int | None:
    """Bytes that a control group may still take; None if it has no limit of its own.

    Files that were read and can be dropped are counted as used by the kernel and are not counted here, but for those
    that a process has mapped: weights and libraries, which would only be read again.

    Args:
        folder: of the group.
    """
    for limits, used, mapped in (
        (("memory.max", "memory.high"), "memory.current", "file_mapped"),
        (("memory.limit_in_bytes",), "memory.usage_in_bytes", "total_mapped_file"),
    ):
        limit = min((value for name in limits if (value := _number(folder / name)) is not None), default=NO_LIMIT)
        used_bytes = _number(folder / used)
        if limit >= NO_LIMIT or used_bytes is None:
            continue
        statistics = _statistics(folder / "memory.stat")
        total = "total_" if mapped.startswith("total_") else ""
        files = sum(statistics.get(f"{total}{name}", 0) for name in ("inactive_file", "active_file"))
        return max(0, limit - used_bytes + max(0, files - statistics.get(mapped, 0)))
    return None


def _number(file: Path) -> int | None:
    try:
        return int(file.read_text())
    except (OSError, ValueError):  # Missing, or "max": no limit.
        return None


def _statistics(file: Path) -> dict[str, int]:
    found: dict[str, int] = {}
    with contextlib.suppress(OSError, ValueError):
        for line in file.read_text().splitlines():
            name, _, value = line.partition(" ")
            found[name] = int(value)
    return found
