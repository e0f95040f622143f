"""Archives that are bombs, lead outside, nest, or are damaged: imported into the folder of the local server.

Each is tried in a process of its own with 1.5 GiB of address space and 60 s of processor time. Refused is a sentence
of ours; imported is through unless the archive was whole, and then everything that reads a run must read it.
"""

from __future__ import annotations

import io
import json
import os
import random
import resource
import shutil
import stat
import struct
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

from jglue_app.results import archive, showcase
from tests.attacks import harmful_logs
from tests.attacks.outcome import Outcome
from tests.attacks.world import World
from tests.ui.conftest import ROOT

BOMB, MUTATED, LOG = "archive bombs and links", "mutated archives", "harmful logs of other harnesses"
ADDRESS_SPACE = 3 * 2**29
SEED = 20_260_801
MUTANTS = 500


def attack(world: World) -> Iterator[Outcome]:
    """Archives made to harm, then mutants of a whole one."""
    yield from attack_in(world.folder, MUTANTS // 5 if world.quick else MUTANTS)


def attack_in(parent: Path, mutants: int) -> Iterator[Outcome]:
    """The same in a folder that holds a `secret.txt`."""
    folder = parent / "archives"
    folder.mkdir()
    secret = parent / "secret.txt"
    whole = archive.pack(showcase.run_folder(showcase.run_names()[0]), folder / "whole.zip")
    made = [make(folder / f"{name}.zip", whole, secret) for name, make in HARMFUL.items()]
    yield from _tried(BOMB, made, folder / "runs")
    yield from _tried(LOG, harmful_logs.write_all(folder / "logs"), folder / "runs-of-logs")
    yield from _tried(MUTATED, list(_mutants(whole, folder / "mutants", mutants)), folder / "runs-of-mutants")


def _tried(kind: str, files: list[Path], runs: Path) -> Iterator[Outcome]:
    """Import each in one child, which says what became of it, and starts again after a file that ended it."""
    left = files
    while left:
        command = [sys.executable, "-m", "tests.attacks.import_child", str(runs), *map(str, left)]
        environment = {**os.environ, "JGLUE_RUNS_DIR": str(runs), "JGLUE_MODE": "local", "OPENBLAS_NUM_THREADS": "1"}
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, preexec_fn=_limited
        )
        said = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        for file, row in zip(left, said, strict=False):
            yield Outcome(kind, file.name, row["through"])
        if len(said) < len(left):
            last = (done.stderr.strip().splitlines() or [""])[-1]
            yield Outcome(kind, left[len(said)].name, f"the process ended with {done.returncode}: {last}")
        left = left[len(said) + 1 :]
    for path in runs.rglob("*"):
        if path.is_symlink():
            yield Outcome(kind, path.name, "a link was unpacked")
    shutil.rmtree(runs, ignore_errors=True)


def _limited() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    resource.setrlimit(resource.RLIMIT_CPU, (60, 60))


# --- archives made to harm -------------------------------------------------------------------------------

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


# --- mutants ---------------------------------------------------------------------------------------------


def _mutants(whole: Path, folder: Path, count: int) -> Iterator[Path]:
    """Half with changed bytes of the archive, half with changed members under right checksums."""
    folder.mkdir()
    rng = random.Random(SEED)
    with zipfile.ZipFile(whole) as source:
        members = {name: source.read(name) for name in source.namelist()}
    for at in range(count):
        path = folder / f"{at}.zip"
        if at % 2:
            path.write_bytes(_mutated(whole.read_bytes(), rng))
        else:
            chosen = rng.choice(list(members))
            change = _mutated if at % 4 else _changed_json
            with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as out:
                for name, content in members.items():
                    out.writestr(name, change(content, rng) if name == chosen else content)
        yield path


def _mutated(raw: bytes, rng: random.Random) -> bytes:
    """A few bytes changed, taken out, put in or repeated."""
    out = bytearray(raw)
    for _ in range(rng.randint(1, 4)):
        at, length = rng.randrange(len(out)), rng.randint(1, 20)
        match rng.randrange(4):
            case 0:
                out[at : at + 1] = bytes([rng.randrange(256)])
            case 1:
                del out[at : at + length]
            case 2:
                out[at:at] = rng.randbytes(length)
            case _:
                out[at:at] = out[at : at + length]
    return bytes(out)


def _changed_json(raw: bytes, rng: random.Random) -> bytes:
    """One value of one line of JSON replaced by one of another type."""
    lines = raw.splitlines() or [b""]
    whole = raw.lstrip()[:2] in (b"{\n", b"{\r")
    at = 0 if whole else rng.randrange(len(lines))
    try:
        table = json.loads(raw if whole else lines[at])
    except ValueError:
        return _mutated(raw, rng)
    place = table
    while isinstance(place, dict | list) and place:
        key = rng.choice(list(place)) if isinstance(place, dict) else rng.randrange(len(place))
        if not isinstance(place[key], dict | list) or not place[key] or rng.random() < 0.3:
            place[key] = rng.choice([None, True, -1, 1e308, "x", [], {}, [[1]], {"a": 1}, "\ud800", 2**70, 0.5, "\x00"])
            break
        place = place[key]
    changed = json.dumps(table).encode()
    return changed if whole else b"\n".join([*lines[:at], changed, *lines[at + 1 :]]) + b"\n"
