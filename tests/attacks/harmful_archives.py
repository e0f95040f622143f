"""Archives made to harm whoever imports them: bombs, links, names that lead elsewhere, and lying directories."""

from __future__ import annotations

import io
import json
import shutil
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

Make = Callable[[Path, Path, Path], Path]


def _with(change: Callable[[zipfile.ZipFile, dict[str, bytes], Path], None]) -> Make:
    """An archive that a function writes, given the members of a whole one by their names."""

    def make(target: Path, whole: Path, secret: Path) -> Path:
        with zipfile.ZipFile(whole) as source:
            members = {name.rpartition("/")[2]: source.read(name) for name in source.namelist()}
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, allowZip64=True) as out:
            change(out, members, secret)
        return target

    return make


def _bomb(name: str, size: int, line: bytes = b" ") -> Make:
    """The whole run, but one member unpacks to `size` bytes: a line again and again."""

    def make(target: Path, whole: Path, secret: Path) -> Path:
        block = line * ((1 << 20) // len(line))
        packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
        packed = packer.compress(block) + packer.flush(zlib.Z_FULL_FLUSH)
        count, checksum = size // len(block), 0
        for _of_all in range(count):
            checksum = zlib.crc32(block, checksum)
        end = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS).flush()

        def change(out: zipfile.ZipFile, members: dict[str, bytes], _: Path) -> None:
            for member, content in members.items():
                if member != name:
                    out.writestr(f"run/{member}", content)
            out.writestr(zipfile.ZipInfo(f"run/{name}"), packed * count + end)

        _with(change)(target, whole, secret)
        raw = bytearray(target.read_bytes())
        # Stored as it is so far; both headers now say that it is packed, and what it unpacks to.
        for at in (raw.rfind(b"PK\x03\x04") + 8, raw.rfind(b"PK\x01\x02") + 10):
            struct.pack_into("<H", raw, at, zipfile.ZIP_DEFLATED)
            struct.pack_into("<I", raw, at + 6, checksum)
            struct.pack_into("<I", raw, at + 14, count * len(block))
        target.write_bytes(raw)
        return target

    return make


def _alike(name: str, line: str) -> Make:
    """As many lines that are whole and alike as an archive of a tenth of a MiB can hold."""
    return _bomb(name, 60 << 20, line.encode() + b"\n")


def _link(name: str) -> Make:
    def change(out: zipfile.ZipFile, members: dict[str, bytes], secret: Path) -> None:
        for member, content in members.items():
            if member != name:
                out.writestr(f"run/{member}", content)
        info = zipfile.ZipInfo(f"run/{name}")
        info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
        out.writestr(info, str(secret))

    return _with(change)


def _named(pattern: str) -> Make:
    """All members under a name that leads elsewhere."""

    def change(out: zipfile.ZipFile, members: dict[str, bytes], _: Path) -> None:
        for member, content in members.items():
            out.writestr(pattern.replace("NAME", member), content)

    def make(target: Path, whole: Path, secret: Path) -> Path:
        _with(change)(target, whole, secret)
        # Written afterwards: Python's own writer cuts names there.
        target.write_bytes(target.read_bytes().replace(b"~NUL~", b"\x00" * 5))
        return target

    return make


def _spec_id(text: str) -> Make:
    """A manifest whose run would be stored under another name."""

    def change(out: zipfile.ZipFile, members: dict[str, bytes], _: Path) -> None:
        manifest = json.loads(members["manifest.json"])
        manifest["spec_id"] = manifest["id"] = text
        manifest["spec"]["spec_id"] = text
        out.writestr("run/manifest.json", json.dumps(manifest))
        for member in ("items.jsonl", "records.jsonl"):
            out.writestr(f"run/{member}", members[member])

    return _with(change)


def _nested(depth: int) -> Make:
    def change(out: zipfile.ZipFile, members: dict[str, bytes], _: Path) -> None:
        inner = b"0" * (1 << 20)
        for _layer in range(depth):
            packed = io.BytesIO()
            with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as layer:
                for copy in range(10):
                    layer.writestr(f"{copy}.zip", inner)
            inner = packed.getvalue()
        out.writestr("run/manifest.json", inner)
        out.writestr("run/nested.zip", inner)

    return _with(change)


def _many(count: int) -> Make:
    def change(out: zipfile.ZipFile, members: dict[str, bytes], _: Path) -> None:
        for at in range(count):
            out.writestr(f"{at}/manifest.json", b"")

    return _with(change)


def _lying(target: Path, whole: Path, _: Path) -> Path:
    """The directory says that a member is small; it unpacks to 300 MB."""
    _bomb("records.jsonl", 300 << 20)(target, whole, target)
    raw = bytearray(target.read_bytes())
    at = raw.rfind(b"PK\x01\x02")
    struct.pack_into("<I", raw, at + 24, 100)
    target.write_bytes(bytes(raw))
    return target


def _overlapping(target: Path, whole: Path, _: Path) -> Path:
    """Two entries of the directory share one packed member, as in a bomb without nesting."""
    shutil.copy(whole, target)
    raw = bytearray(target.read_bytes())
    first, second = raw.find(b"PK\x01\x02"), raw.rfind(b"PK\x01\x02")
    raw[second + 42 : second + 46] = raw[first + 42 : first + 46]
    target.write_bytes(bytes(raw))
    return target


def _deep(name: str) -> Make:
    def change(out: zipfile.ZipFile, members: dict[str, bytes], _: Path) -> None:
        for member, content in members.items():
            out.writestr(f"run/{member}", b"[" * 500_000 + b"]" * 500_000 + b"\n" if member == name else content)

    return _with(change)


HARMFUL: dict[str, Make] = {
    "1 GB of spaces as a manifest": _bomb("manifest.json", 1000 << 20),
    "1 GB of spaces as records": _bomb("records.jsonl", 1000 << 20),
    "1 GB of spaces as items": _bomb("items.jsonl", 1000 << 20),
    "1 GB of spaces as marks": _bomb("marks.json", 1000 << 20),
    "1 GB of spaces as a name": _bomb("about.json", 1000 << 20),
    "1 GB of empty lines": _bomb("records.jsonl", 1000 << 20, b"\n"),
    "1 GB of small records": _bomb("records.jsonl", 1000 << 20, b'{"task":"jnli","item_id":"1"}\n'),
    "1 GB of lists as a manifest": _bomb("manifest.json", 1000 << 20, b"[],"),
    "1 GB of brackets as items": _bomb("items.jsonl", 1000 << 20, b"["),
    "a million items, all alike": _alike(
        "items.jsonl", '{"task":"jnli","id":"1","fields":{"sentence1":"","sentence2":""},"choices":["a"],"gold":["a"]}'
    ),
    "a million records, all alike": _alike("records.jsonl", '{"task":"jnli","item_id":"1","text":"a"}'),
    "4 GB of spaces": _bomb("records.jsonl", 4000 << 20),
    "a lying directory": _lying,
    "overlapping members": _overlapping,
    "nested in ten layers": _nested(10),
    "30,000 members": _many(30_000),
    "deep manifest": _deep("manifest.json"),
    "deep records": _deep("records.jsonl"),
    "deep items": _deep("items.jsonl"),
    **{f"a link as {name}": _link(name) for name in ("manifest.json", "items.jsonl", "records.jsonl", "marks.json")},
    **{
        f"members {at}": _named(pattern)
        for at, pattern in enumerate(
            (
                *("../../../NAME", "/NAME", "/etc/NAME", "run/../../NAME", "..\\..\\NAME", "C:\\NAME", "run/sub/NAME"),
                *("run//NAME", "./NAME/../NAME", "NAME/NAME", "\u202erun/NAME", "run~NUL~/NAME", "run/NAME~NUL~.txt"),
            )
        )
    },
    **{
        f"spec id {at}": _spec_id(text)
        for at, text in enumerate(("../../outside", "/tmp/outside", "..", ".", "", "a/b", "\x00", "x" * 5000))
    },
}
