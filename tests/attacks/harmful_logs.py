"""Logs of other harnesses made to harm whoever imports them: bombs, depths, lengths, and links."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

HEADER = {"eval": {"task": "jnli", "model": "m", "dataset": {}}, "plan": {}, "status": "success"}


def _zipped(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        with zipfile.ZipFile(path, "w", method) as out:
            for name, content in members.items():
                out.writestr(name, content)

    return write


def _text(content: str | bytes) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.write_bytes(content.encode() if isinstance(content, str) else content)

    return write


def _sparse(size: int) -> Callable[[Path], None]:
    """A file of zeros that takes no room on the disk."""

    def write(path: Path) -> None:
        path.touch()
        os.truncate(path, size)

    return write


def _link(path: Path) -> None:
    path.symlink_to("/dev/zero")


_SPACES = b" " * (100 << 20)
_GOOD = json.dumps(HEADER).encode()
LOGS: dict[str, Callable[[Path], None]] = {
    "header of 100 MB.eval": _zipped({"header.json": _SPACES}),
    "samples of 60 MB.eval": _zipped(
        {"header.json": _GOOD, **{f"samples/{n}_epoch_1.json": _SPACES[: 60 << 20] for n in range(8)}}
    ),
    "deep header.eval": _zipped({"header.json": b"[" * 300_000}),
    "deep sample.eval": _zipped({"header.json": _GOOD, "samples/1_epoch_1.json": b'{"a":' * 100_000}),
    "header packed by LZMA.eval": _zipped({"header.json": _GOOD}, zipfile.ZIP_LZMA),
    "members that lead outside.eval": _zipped({"header.json": _GOOD, "../../samples/1_epoch_1.json": b"{}"}),
    "no header.eval": _zipped({"x": b""}),
    "cut.eval": _text(b"PK\x03\x04" + b"\0" * 40),
    "one endless line.jsonl": _sparse(20 << 30),
    "a line of 10 GB.jsonl": _sparse(10 << 30),
    "a document of 1 GB.json": _sparse(1 << 30),
    "deep lines.jsonl": _text("[" * 200_000 + "\n"),
    "deep objects.jsonl": _text('{"doc":' * 100_000 + "\n"),
    "numbers without an end.jsonl": _text('{"doc_id": ' + "9" * 1_000_000 + "}\n"),
    "NaN.jsonl": _text('{"doc_id": NaN, "doc": {}, "resps": [[Infinity]], "target": -Infinity}\n'),
    "texts as lists.jsonl": _text('{"doc_id": [], "doc": [[]], "resps": {}, "target": {}, "filtered_resps": 5}\n' * 50),
    "lone surrogates.jsonl": _text('{"doc_id": "\\ud800", "doc": {"\\udfff": "\\ud800"}, "resps": [["\\ud800"]]}\n'),
    "UTF-16.jsonl": _text("{}\n".encode("utf-16")),
    "NUL.jsonl": _text(b"\0" * 1_000_000),
    "zeros without an end.jsonl": _link,
    "empty lines.jsonl": _text("\n" * 5_000_000),
}


def write_all(folder: Path) -> list[Path]:
    """Each log in a folder of its own."""
    paths = []
    for at, (name, write) in enumerate(LOGS.items()):
        own = folder / f"log-{at}"
        own.mkdir(parents=True)
        write(own / name)
        paths.append(own / name)
    return paths
