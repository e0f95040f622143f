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
    for name in ("killed00", "busy0000"):
        (here / f".import-{name}").mkdir()
        (here / f".import-{name}" / "half").write_text("x", "utf-8")
        (here / f".import-{name}" / LOCK).touch()
    (here / ".import-justmade").mkdir()
    (here / ".export-other000").mkdir()
    (here / "outside").mkdir()
    (here / ".import-link0000").symlink_to(here / "outside")
    with FileLock(here / ".import-busy0000" / LOCK):
        remove_left_folders(here, ".import-")
    left = {path.name for path in here.iterdir()}
    assert left == {".import-busy0000", ".import-link0000", ".export-other000", "outside"}
    assert (here / ".import-busy0000" / "half").exists()


def test_a_folder_of_the_user_is_no_scratch_folder_whatever_it_is_called(here: Path) -> None:
    long_ago = 1_000_000_000
    for name, file in ((".export-settings", "mine"), (".export-archived", ".lock"), (".export-old", LOCK)):
        (here / name).mkdir()
        (here / name / file).write_text("x", "utf-8")
        os.utime(here / name, (long_ago, long_ago))
    (here / ".export-empty").mkdir()
    with scratch_folder(here, ".export-"):
        pass
    left = {str(path.relative_to(here)) for path in here.rglob("*") if path.is_file()}
    assert left == {".export-settings/mine", ".export-archived/.lock", f".export-old/{LOCK}"}
    assert (here / ".export-empty").is_dir()
