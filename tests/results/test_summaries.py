"""What is kept of stored runs for other processes: it spares reading them, and is never believed for other files."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from jglue_app.errors import StoreError
from jglue_app.results import code_version, kept_files, summaries
from jglue_app.results.cache import version_of
from jglue_app.results.library import Library
from jglue_app.results.rankings import Rankings, rankings, reader_of
from jglue_app.results.summaries import RunFiles, SummaryStore, were_quiet
from jglue_app.runs.store import FileVersion, RunStore
from jglue_app.scoring.columns import Column
from jglue_app.scoring.leaderboard import run_scores
from jglue_app.scoring.report import report_run
from tests.results.test_library import stored
from tests.test_api import GOLDS


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    """Runs that are wrong on none, five and forty of 45 items, and that nobody has written to for a while."""
    paths = [stored(tmp_path / f"{n}.jsonl", list(GOLDS)[:n], limit=None) for n in (0, 5, 40)]
    time.sleep(1.5 * summaries.FINE_S)
    return paths


def library_of(tmp_path: Path) -> Library:
    """As in a new process."""
    return Library(tmp_path / "runs", tmp_path / "kept")


def kept(tmp_path: Path, library: Library, path: Path) -> bool:
    """Whether a run would be read no more."""
    (folder,) = (tmp_path / "kept" / "runs").iterdir()
    store, files = SummaryStore(folder), files_of(path)
    return store.counts(path.name, files) is not None and store.summary(path.name, "official", files) is not None


def files_of(path: Path) -> RunFiles:
    store = RunStore(path)
    return (*version_of(store), store.file_version("records.jsonl"))


def ranked(library: Library) -> Rankings:
    names = [run.name for run in library.all()]
    return rankings(names, reader_of(library, "official"), ["jnli"], "official")


def accuracy(library: Library, path: Path) -> float | None:
    return library.summary(path).scores.tasks["jnli"].value


def test_another_process_lists_and_ranks_what_was_read_once(tmp_path: Path, runs: list[Path]) -> None:
    first, second = library_of(tmp_path), library_of(tmp_path)
    listed, found = first.all(), ranked(first)
    assert all(kept(tmp_path, second, path) for path in runs)
    assert (second.all(), ranked(second)) == (listed, found)
    for path in runs:
        assert second.summary(path).scores == run_scores(report_run(RunStore(path).data()))
    places = {path.name: place for one in found.rankings for path in runs if (place := one.places.get(path.name))}
    # Five items on which two runs differ do not tell them apart.
    assert [(places[path.name].rank, places[path.name].last) for path in runs] == [(1, 2), (1, 2), (3, 3)]
    assert ranked(Library(tmp_path / "runs")) == found


def test_an_answer_that_was_changed_in_place_counts_at_once(tmp_path: Path, runs: list[Path]) -> None:
    library = library_of(tmp_path)
    assert (accuracy(library, runs[0]), len(library.all())) == (1.0, 3)
    records = runs[0] / "records.jsonl"
    before = records.stat()
    lines = records.read_text("utf-8").splitlines()
    row = json.loads(lines[0])
    row.pop("crc32")  # Older versions had none.
    right = row["output"]["text"]
    row["output"]["text"] = "矛盾" if right != "矛盾" else "含意"
    line = json.dumps(row, ensure_ascii=False)
    padding = len(lines[0].encode()) - len(line.encode())
    records.write_text("\n".join([line + " " * padding, *lines[1:]]) + "\n", "utf-8")
    os.utime(records, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = records.stat()
    assert (after.st_size, after.st_mtime_ns, after.st_ino) == (before.st_size, before.st_mtime_ns, before.st_ino)
    for other in (library, library_of(tmp_path)):
        assert accuracy(other, runs[0]) == pytest.approx(44 / 45)


def test_a_torn_run_is_damaged_though_its_summary_was_kept(tmp_path: Path, runs: list[Path]) -> None:
    library = library_of(tmp_path)
    assert library.damaged() == {}
    records = runs[1] / "records.jsonl"
    os.truncate(records, records.stat().st_size - 40)
    for other in (library, library_of(tmp_path)):
        assert list(other.damaged()) == [runs[1].name]
        with pytest.raises(StoreError, match="lost 1 of its answers"):
            other.summary(runs[1])


def test_a_run_in_the_place_of_another_is_read(tmp_path: Path, runs: list[Path]) -> None:
    assert accuracy(library_of(tmp_path), runs[2]) == pytest.approx(5 / 45)
    runs[2].rename(tmp_path / "gone")
    runs[0].rename(runs[2])
    assert accuracy(library_of(tmp_path), runs[2]) == 1.0


def test_other_code_reads_runs_again(tmp_path: Path, runs: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    library = library_of(tmp_path)
    library.all()
    assert kept(tmp_path, library, runs[0])
    monkeypatch.setattr(kept_files, "code_version", lambda: "another")
    assert not kept(tmp_path, library, runs[0])
    assert len(library_of(tmp_path).all()) == 3
    assert kept(tmp_path, library, runs[0])
    monkeypatch.setattr(kept_files, "code_version", lambda: "")  # It cannot be told.
    assert not kept(tmp_path, library, runs[0])


def test_sources_that_were_changed_since_they_were_imported_have_no_version(monkeypatch: pytest.MonkeyPatch) -> None:
    version = code_version.code_version
    version.cache_clear()
    assert len(version()) == 64
    version.cache_clear()
    monkeypatch.setattr(code_version, "_IMPORTED", 0.0)
    assert version() == ""
    version.cache_clear()


@pytest.mark.parametrize("damage", ["torn", "flipped", "empty", "another"])
def test_damage_to_what_is_kept_costs_time_and_no_number(tmp_path: Path, runs: list[Path], damage: str) -> None:
    found = ranked(library_of(tmp_path))
    for file in (tmp_path / "kept").rglob("*.*"):
        content = file.read_bytes()
        header = content.index(b"\n")
        for place in (header // 2, header + (len(content) - header) // 2):
            if damage == "flipped" and place < len(content):
                content = content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]
        file.write_bytes({"torn": content[: header + 20], "flipped": content, "empty": b""}.get(damage, b"12 {}\n"))
    assert ranked(library_of(tmp_path)) == found


def test_many_writers_leave_whole_files(tmp_path: Path) -> None:
    path, key = tmp_path / "kept" / "file", {"run": "a"}
    arrays = [np.full(5_000, number, np.float64) for number in range(6)]
    seen: list[tuple[float, float, float]] = []

    def work(number: int) -> None:
        for _ in range(30):
            kept_files.write(path, key, {"number": number}, {"x": arrays[number]})
            if (file := kept_files.read(path, key)) is not None and (x := file.array("x")) is not None:
                seen.append((file.values["number"], float(x.min()), float(x.max())))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(len(arrays))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen
    assert [row for row in seen if not row[0] == row[1] == row[2]] == []
    assert [file.name for file in path.parent.iterdir()] == ["file"]


def test_what_was_written_a_moment_ago_is_not_kept() -> None:
    def version(ns: int) -> FileVersion:
        return FileVersion(ns, ns, 10, 1)

    second = 1_000_000_000
    assert were_quiet((version(5 * second + 7), None), 5.2)
    assert not were_quiet((version(5 * second + 7), None), 5.05)
    # A clock of whole seconds, and one that is behind.
    assert not were_quiet((version(5 * second),), 6.5)
    assert were_quiet((version(5 * second),), 8)
    assert not were_quiet((version(9 * second + 1),), 5)


def test_nothing_is_kept_where_nothing_can_be_written_and_of_runs_elsewhere(tmp_path: Path, runs: list[Path]) -> None:
    (tmp_path / "kept").write_text("a file", "utf-8")
    found = ranked(library_of(tmp_path))
    (tmp_path / "kept").unlink()
    assert ranked(library_of(tmp_path)) == found
    library = Library(tmp_path / "none", tmp_path / "other")
    assert accuracy(library, runs[0]) == 1.0
    assert not (tmp_path / "other").exists()


def test_what_is_kept_goes_with_its_run(tmp_path: Path, runs: list[Path]) -> None:
    library = library_of(tmp_path)
    library.all()
    library.delete(runs[0].name)
    assert not list((tmp_path / "kept").rglob(summaries._beginning(runs[0].name) + "*"))
    for file in runs[1].iterdir():
        file.unlink()
    runs[1].rmdir()
    assert [run.name for run in library_of(tmp_path).all()] == [runs[2].name]
    names = {file.name.partition(".")[0] for file in (tmp_path / "kept").rglob("*.summary")}
    assert names == {summaries._beginning(runs[2].name)[:-1]}


def test_one_more_run_is_tested_against_the_others_alone(tmp_path: Path, runs: list[Path]) -> None:
    ranked(library_of(tmp_path))
    more = stored(tmp_path / "more.jsonl", list(GOLDS)[:9], limit=None)
    library, loaded = library_of(tmp_path), []
    column = library.column

    def counted(path: Path, task: str, protocol: str) -> Column:
        loaded.append(path.name)
        return column(path, task, protocol)

    library.column = counted  # type: ignore[method-assign, assignment]
    assert ranked(library) == ranked(Library(tmp_path / "runs"))
    assert sorted(loaded) == sorted(path.name for path in (*runs, more))
    loaded.clear()
    assert len(ranked(library).places) == 4
    assert loaded == []
