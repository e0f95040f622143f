"""Files and folders appear as a whole or not at all, and the rest of killed processes goes with the next."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from filelock import FileLock

from jglue_app.whole_files import LOCK, put_in_place, remove_left_folders, scratch_folder, write_atomically


def test_a_written_file_is_the_only_one_there_and_a_killed_writers_part_is_gone(tmp_path: Path) -> None:
    (tmp_path / ".a.json-left").write_text("half", "utf-8")
    (tmp_path / ".b.json-other").write_text("another file's", "utf-8")
    write_atomically(tmp_path / "a.json", "猫")
    write_atomically(tmp_path / "a.json", b"\x00dog")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {
        "a.json": b"\x00dog",
        ".b.json-other": b"another file's",
    }


def test_a_scratch_folder_is_gone_at_the_end_and_after_an_error(tmp_path: Path) -> None:
    with scratch_folder(tmp_path, ".import-") as folder:
        (folder / "run").mkdir()
        (folder / "run" / "x").write_text("x", "utf-8")
        put_in_place(folder / "run", tmp_path / "run")
        (folder / "rest").mkdir()
    with pytest.raises(ZeroDivisionError), scratch_folder(tmp_path, ".import-") as folder:
        (folder / "half").write_text("x", "utf-8")
        raise ZeroDivisionError
    assert [path.name for path in tmp_path.rglob("*")] == ["run", "x"]


def test_of_scratch_folders_those_that_nobody_works_in_are_removed(tmp_path: Path) -> None:
    for name in ("killed", "busy", "no-lock", "old-no-lock"):
        (tmp_path / f".import-{name}").mkdir()
        (tmp_path / f".import-{name}" / "half").write_text("x", "utf-8")
    for name in ("killed", "busy"):
        (tmp_path / f".import-{name}" / LOCK).touch()
    (tmp_path / ".import-just-made").mkdir()
    (tmp_path / ".export-other").mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / ".import-link").symlink_to(tmp_path / "outside")
    long_ago = (tmp_path / ".import-no-lock").stat().st_mtime - 2 * 86_400
    os.utime(tmp_path / ".import-old-no-lock", (long_ago, long_ago))
    with FileLock(tmp_path / ".import-busy" / LOCK):
        remove_left_folders(tmp_path, ".import-")
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {".import-busy", ".import-no-lock", ".import-link", ".export-other", "outside"}
    assert (tmp_path / ".import-busy" / "half").exists()
