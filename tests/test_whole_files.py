"""Files and folders appear as a whole or not at all, and the rest of killed processes goes with the next."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from filelock import FileLock

from jglue_app.whole_files import LOCK, put_in_place, remove_left_folders, scratch_folder, write_atomically


@pytest.fixture
def here(tmp_path: Path) -> Path:
    folder = tmp_path / "here"
    folder.mkdir()
    return folder


def test_a_written_file_is_the_only_one_there_and_a_killed_writers_part_is_gone(here: Path) -> None:
    (here / ".a.json-left").write_text("half", "utf-8")
    (here / ".b.json-other").write_text("another file's", "utf-8")
    write_atomically(here / "a.json", "猫")
    write_atomically(here / "a.json", b"\x00dog")
    assert {path.name: path.read_bytes() for path in here.iterdir()} == {
        "a.json": b"\x00dog",
        ".b.json-other": b"another file's",
    }


def test_a_scratch_folder_is_gone_at_the_end_and_after_an_error(here: Path) -> None:
    with scratch_folder(here, ".import-") as folder:
        (folder / "run").mkdir()
        (folder / "run" / "x").write_text("x", "utf-8")
        put_in_place(folder / "run", here / "run")
        (folder / "rest").mkdir()
    with pytest.raises(ZeroDivisionError):
        _fail_in(here)
    assert [path.name for path in here.rglob("*")] == ["run", "x"]


def _fail_in(here: Path) -> None:
    with scratch_folder(here, ".import-") as folder:
        (folder / "half").write_text("x", "utf-8")
        raise ZeroDivisionError


def test_of_scratch_folders_those_that_nobody_works_in_are_removed(here: Path) -> None:
    for name in ("killed", "busy", "no-lock", "old-no-lock"):
        (here / f".import-{name}").mkdir()
        (here / f".import-{name}" / "half").write_text("x", "utf-8")
    for name in ("killed", "busy"):
        (here / f".import-{name}" / LOCK).touch()
    (here / ".import-just-made").mkdir()
    (here / ".export-other").mkdir()
    (here / "outside").mkdir()
    (here / ".import-link").symlink_to(here / "outside")
    long_ago = (here / ".import-no-lock").stat().st_mtime - 2 * 86_400
    os.utime(here / ".import-old-no-lock", (long_ago, long_ago))
    with FileLock(here / ".import-busy" / LOCK):
        remove_left_folders(here, ".import-")
    left = {path.name for path in here.iterdir()}
    assert left == {".import-busy", ".import-no-lock", ".import-link", ".export-other", "outside"}
    assert (here / ".import-busy" / "half").exists()
