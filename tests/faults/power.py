"""What a power failure may leave of the files that a process has written, from the log of its calls.

What is certain is little: bytes of a file that was synced since, and names in a folder that was synced since. Of the
rest anything may be there. Made here are the extremes, and what file systems leave in practice:

    least       only what is certain
    names       all names; of the files, what was synced
    zeros       all names and lengths; zero bytes where nothing was synced
    half        all names; half of what was not synced
    zeros_half  all names and lengths; the second half of what was not synced, zero bytes in place of the first
"""

from __future__ import annotations

import copy
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

STATES = ("least", "names", "zeros", "half", "zeros_half")


@dataclass(frozen=True)
class Entry:
    """One call that changed the disk."""

    name: str
    inode: int
    offset: int
    path: str
    second: str
    data: bytes


def entries(log: Path) -> Iterator[Entry]:
    """The calls of a log, in their order."""
    content = log.read_bytes()
    at = 0
    while at < len(content):
        end = content.index(b"\n", at)
        name, inode, offset, path, second, size = content[at:end].decode("utf-8", "surrogateescape").split("\t")
        at = end + 1 + int(size)
        yield Entry(name, int(inode), int(offset), path, second, content[end + 1 : at])


@dataclass
class _File:
    content: bytes = b""
    synced: bytes = b""


@dataclass
class Disk:
    """Files and folders below a root: as they are, and what of them is certain. Paths are relative to the root."""

    names: dict[str, int | None] = field(default_factory=dict)
    """Path → number of the file; None for a folder."""
    certain: dict[str, int | None] = field(default_factory=dict)
    """The same, of the names that outlive a power failure."""
    files: dict[int, _File] = field(default_factory=dict)
    by_inode: dict[int, int] = field(default_factory=dict)
    moved: set[str] = field(default_factory=set)
    """Folders that were renamed to what they are called now."""

    @classmethod
    def of(cls, root: Path) -> Disk:
        """A folder whose content has been on the disk for long."""
        disk = cls()
        for path in sorted(root.rglob("*")):
            name = str(path.relative_to(root))
            if path.is_dir():
                disk.names[name] = None
            else:
                number = len(disk.files)
                content = path.read_bytes()
                disk.files[number] = _File(content, content)
                disk.names[name] = number
        disk.certain = dict(disk.names)
        return disk

    def copy(self) -> Disk:
        return copy.deepcopy(self)

    def apply(self, entry: Entry, root: Path) -> None:
        """Do what a call did."""
        path, second = _below(entry.path, root), _below(entry.second, root)
        match entry.name:
            case "mkdir":
                self.names[path] = None
            case "create":
                number = len(self.files)
                self.files[number] = _File()
                self.names[path] = self.by_inode[entry.inode] = number
            case "open":
                if (known := self.names.get(path)) is not None:
                    self.by_inode[entry.inode] = known
            case "write" | "truncate" if entry.inode in self.by_inode:
                file = self.files[self.by_inode[entry.inode]]
                if entry.name == "truncate":
                    file.content = file.content[: entry.offset].ljust(entry.offset, b"\0")
                else:
                    before = file.content[: entry.offset].ljust(entry.offset, b"\0")
                    file.content = before + entry.data + file.content[entry.offset + len(entry.data) :]
            case "sync":
                if (path in self.names and self.names[path] is None) or not path:
                    self._sync_folder(path)
                elif entry.inode in self.by_inode:
                    file = self.files[self.by_inode[entry.inode]]
                    file.synced = file.content
            case "unlink":
                self.names.pop(path, None)
            case "rename":
                self._rename(path, second)

    def _rename(self, path: str, second: str) -> None:
        if path in self.names and self.names[path] is None:
            self.moved.add(second)
        for name in [name for name in self.names if name == second or name.startswith(f"{second}/")]:
            del self.names[name]
        for name in [name for name in self.names if name == path or name.startswith(f"{path}/")]:
            self.names[second + name[len(path) :]] = self.names.pop(name)

    def _sync_folder(self, folder: str) -> None:
        """The names in it are certain now. What is below a folder that has moved there moves with it."""

        def inside(name: str) -> bool:
            return name.rpartition("/")[0] == folder

        gone = [name for name in self.certain if inside(name) and name not in self.names]
        for name in gone:
            for below in [other for other in self.certain if other == name or other.startswith(f"{name}/")]:
                del self.certain[below]
        for name, number in self.names.items():
            if not inside(name):
                continue
            new = name not in self.certain
            self.certain[name] = number
            if new and name in self.moved:
                # Its own names are certain as far as they were synced under its former name, which put_in_place does.
                self.certain |= {other: n for other, n in self.names.items() if other.startswith(f"{name}/")}

    def write(self, state: str, root: Path) -> None:
        """Put a state on the disk, in place of the root's content."""
        shutil.rmtree(root, ignore_errors=True)
        root.mkdir(parents=True)
        names = self.certain if state == "least" else self.names
        for name in sorted(names):
            path, number = root / name, names[name]
            if number is None:
                path.mkdir(parents=True, exist_ok=True)
            elif path.parent.is_dir():
                path.write_bytes(_left(self.files[number], state))


def _left(file: _File, state: str) -> bytes:
    if file.content[: len(file.synced)] != file.synced:
        # It was cut after it was synced, and the cut may be lost.
        return file.synced
    rest = file.content[len(file.synced) :]
    match state:
        case "zeros":
            rest = b"\0" * len(rest)
        case "half":
            rest = rest[: len(rest) // 2]
        case "zeros_half":
            rest = b"\0" * (len(rest) // 2) + rest[len(rest) // 2 :]
        case _:
            rest = b""
    return file.synced + rest


def _below(path: str, root: Path) -> str:
    if not path or path == str(root):
        return ""
    return str(Path(path).relative_to(root)) if path.startswith(f"{root}/") else f"../{path}"
