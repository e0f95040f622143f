"""How much memory a process may take: the least of all limits, worked out by hand for trees of control groups."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from jglue_app.backends.free_memory import (
    ADDRESSES,
    GROUP,
    MACHINE,
    RESERVED_OF_GROUP,
    free_memory,
    group_folders,
    group_free,
)

MIB = 2**20
V2_MOUNT = "30 25 0:27 {seen} /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
V1_MOUNT = "41 32 0:36 {seen} /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
OTHER_MOUNTS = "22 1 259:1 / / rw - ext4 /dev/root rw\n33 32 0:28 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n"


def tree(tmp_path: Path, cgroup: str, mounts: str) -> tuple[Path, Path]:
    """A folder as /proc, with these groups and mounts, and one as /."""
    proc, root = tmp_path / "proc", tmp_path / "root"
    (proc / "self").mkdir(parents=True)
    (proc / "self/cgroup").write_text(cgroup)
    (proc / "self/mountinfo").write_text(OTHER_MOUNTS + mounts)
    (proc / "self/status").write_text("Name:\tpython\nVmSize:\t  204800 kB\nVmData:\t  102400 kB\n")
    return proc, root


def write(folder: Path, **values: object) -> None:
    """Files of a control group; two underscores stand for a dot."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in values.items():
        (folder / name.replace("__", ".")).write_text(f"{value}\n")


def group(folder: Path, limit: object, used: int, **statistics: int) -> None:
    """A group of version 2."""
    stat = "\n".join(f"{name} {value}" for name, value in statistics.items())
    write(folder, memory__max=limit, memory__current=used, memory__stat=stat)


def test_the_lowest_limit_on_the_way_up_counts(tmp_path: Path) -> None:
    proc, root = tree(tmp_path, "0::/jobs/job7/step\n", V2_MOUNT.format(seen="/"))
    top = root / "sys/fs/cgroup"
    group(top / "jobs", 4_000 * MIB, 1_000 * MIB)
    group(top / "jobs/job7", 900 * MIB, 700 * MIB, inactive_file=100 * MIB, active_file=60 * MIB, file_mapped=50 * MIB)
    group(top / "jobs/job7/step", "max", 400 * MIB)

    # 900 − 700 are left, and 100 + 60 − 50 of files can be dropped.
    free = free_memory(proc, root)
    assert (free.bytes, free.limited_by) == (310 * MIB - RESERVED_OF_GROUP, GROUP)
    assert group_folders(proc, root) == [top / "jobs/job7/step", top / "jobs/job7", top / "jobs", top]


def test_a_container_sees_its_own_group_as_the_top(tmp_path: Path) -> None:
    proc, root = tree(tmp_path, "0::/\n", V2_MOUNT.format(seen="/"))
    group(root / "sys/fs/cgroup", 500 * MIB, 100 * MIB)
    assert free_memory(proc, root).bytes == 400 * MIB - RESERVED_OF_GROUP


def test_older_groups_and_a_mount_that_shows_a_part(tmp_path: Path) -> None:
    cgroup = "5:cpu:/docker/ab\n4:memory:/docker/ab/inner\n0::/\n"
    proc, root = tree(tmp_path, cgroup, V1_MOUNT.format(seen="/docker/ab"))
    inner = root / "sys/fs/cgroup/memory/inner"
    stat = f"total_inactive_file {30 * MIB}\ntotal_active_file {20 * MIB}\ntotal_mapped_file {10 * MIB}"
    write(inner, memory__limit_in_bytes=2**63 - 4096, memory__usage_in_bytes=300 * MIB)
    write(
        inner.parent,
        memory__limit_in_bytes=512 * MIB,
        memory__usage_in_bytes=400 * MIB,
        memory__stat=stat,
    )
    assert group_free(inner) is None
    assert free_memory(proc, root).bytes == (112 + 40) * MIB - RESERVED_OF_GROUP


def test_memory_that_is_throttled_from_a_size_on_ends_there(tmp_path: Path) -> None:
    group(tmp_path, 900, 100)
    write(tmp_path, memory__high=700)
    assert group_free(tmp_path) == 600


@pytest.mark.parametrize("value", ["max", "", "many", "9223372036854771712"])
def test_without_a_limit_the_machine_counts(tmp_path: Path, value: str) -> None:
    proc, root = tree(tmp_path, "0::/a\n", V2_MOUNT.format(seen="/"))
    group(root / "sys/fs/cgroup/a", value, 5)
    free = free_memory(proc, root)
    assert free.limited_by == MACHINE
    assert free.bytes == pytest.approx(psutil.virtual_memory().available, rel=0.2)


@pytest.mark.parametrize("text", ["", "garbage\n", "0::\n", "0::/../other\n", "1:memory\n", "x" * 10_000])
def test_what_cannot_be_read_is_no_limit(tmp_path: Path, text: str) -> None:
    proc, root = tree(tmp_path, text, V2_MOUNT.format(seen="/") + "broken\n- - -\n1 2 3 4 5 - cgroup2\n")
    assert free_memory(proc, root).limited_by == MACHINE
    assert free_memory(tmp_path / "nothing", root).limited_by == MACHINE


@pytest.mark.parametrize("limit", ["RLIMIT_AS", "RLIMIT_DATA"])
def test_a_limit_of_addresses_counts_what_is_mapped(limit: str) -> None:
    """In a real process: what it says is free can be taken, and not much more."""
    code = f"""
import json, resource
from jglue_app.backends.free_memory import addresses_free, free_memory
resource.setrlimit(resource.{limit}, (700 * 2**20,) * 2)
free, raw = free_memory(), addresses_free()
taken = bytearray(free.bytes)
left = addresses_free()
try:
    bytearray(raw)
    more = True
except MemoryError:
    more = False
print(json.dumps([free.limited_by, free.bytes, raw, left, more]))
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path.cwd())
    limited_by, free, raw, left, more = json.loads(out.stdout)
    assert limited_by == ADDRESSES
    assert 100 * MIB < free < raw < 700 * MIB
    assert abs(raw - free - left) < 8 * MIB
    assert not more
