"""The short form of `python -m tests.faults`, and the disk of its power failures."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.power import Disk, Entry
from tests.faults.shim import build

ROOT = Path(__file__).resolve().parents[2]


def test_a_power_failure_leaves_what_was_synced_and_not_always_more(tmp_path: Path) -> None:
    root = tmp_path / "w"
    root.mkdir()
    (root / "old").write_bytes(b"kept")
    disk = Disk.of(root)

    def entry(name: str, path: str = "", second: str = "", data: bytes = b"", offset: int = 0) -> Entry:
        below = [f"{root}/{part}" if part else str(root) for part in (path, second)]
        return Entry(name, 7, offset, below[0], below[1], data)

    def left(state: str) -> dict[str, bytes]:
        disk.write(state, root)
        return {path.name: path.read_bytes() for path in root.iterdir()}

    disk.apply(entry("create", "new"), root)
    disk.apply(entry("write", "new", data=b"abcd"), root)
    assert left("least") == {"old": b"kept"}
    assert left("names") == {"old": b"kept", "new": b""}
    assert left("half")["new"] == b"ab"
    disk.apply(entry("sync", "new"), root)
    assert left("least") == {"old": b"kept"}, "its name is not certain"
    disk.apply(entry("sync"), root)
    assert left("least") == {"old": b"kept", "new": b"abcd"}
    disk.apply(entry("write", "new", data=b"efgh", offset=4), root)
    assert left("least")["new"] == b"abcd"
    assert left("zeros")["new"] == b"abcd\0\0\0\0"
    assert left("zeros_half")["new"] == b"abcd\0\0gh"
    disk.apply(entry("rename", "new", "old"), root)
    assert left("least") == {"old": b"kept", "new": b"abcd"}
    assert left("names") == {"old": b"abcd"}


@pytest.mark.harness
def test_one_fault_of_each_kind_loses_and_doubles_nothing() -> None:
    if build() is None:
        pytest.skip("a C compiler and Linux are needed")
    command = [sys.executable, "-m", "tests.faults", "--quick"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    kinds, sums = done.stdout.splitlines()[-2].split(" kinds")
    assert int(kinds) >= 60
    tried, stored, *wrong = (int(number.replace(",", "")) for number in sums.split())
    assert tried >= 60 and stored > 50
    assert wrong == [0, 0, 0, 0, 0]
