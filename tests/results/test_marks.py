"""Marks and notes on items: stored beside the run, exported, packed, and sent to W&B."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from typer.testing import CliRunner

from jglue_app.cli import app
from jglue_app.errors import DataError, InputError, StoreError, UnknownNameError
from jglue_app.results import archive, marks, table_files
from jglue_app.results.library import Library
from jglue_app.results.marks import MAX_NOTE, ItemMarks, item_marks
from jglue_app.runs.store import RunStore
from jglue_app.wandb_sink.comparison_payload import comparison_payload
from jglue_app.wandb_sink.run_payload import run_payload
from tests.results.test_library import stored

STAR = ItemMarks(("star",))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run over ten JNLI samples."""
    return stored(tmp_path / "a.jsonl")


def first_ids(run: Path) -> list[str]:
    return [item.id for item in RunStore(run).items()]


def test_marks_are_read_as_they_were_put_and_taken_away(run: Path) -> None:
    one, two, *_ = first_ids(run)
    assert marks.read(run) == {}
    marks.write(run, ("jnli", one), item_marks(["problem", "star"], " 主語が違う\n二行目 "))
    marks.write(run, ("jnli", two), STAR)
    assert marks.read(run) == {
        ("jnli", one): ItemMarks(("star", "problem"), "主語が違う\n二行目"),
        ("jnli", two): STAR,
    }
    assert marks.read(run)["jnli", one].signs == "★!"
    marks.write(run, ("jnli", one), ItemMarks())
    assert marks.read(run) == {("jnli", two): STAR}


def test_a_run_with_marks_is_still_the_same_run(run: Path) -> None:
    before = {name: (run / name).read_bytes() for name in archive.CONTENT}
    report = Library(run.parent).report(run)
    marks.write(run, ("jnli", first_ids(run)[0]), STAR)
    assert {name: (run / name).read_bytes() for name in archive.CONTENT} == before
    assert Library(run.parent).report(run) == report
    assert {path.name for path in run.iterdir()} - set(archive.CONTENT) <= {marks.FILE, ".lock"}


def test_a_note_is_kept_up_to_its_limit_and_refused_beyond_it() -> None:
    assert len(item_marks([], "あ" * MAX_NOTE).note) == MAX_NOTE == 2_000
    with pytest.raises(InputError, match=r"The note has 1,000,000 characters; at most 2,000 are kept"):
        item_marks([], "あ" * 1_000_000)
    with pytest.raises(UnknownNameError, match="Unknown mark 'heart'"):
        item_marks(["heart"], "")
    # Half a character cannot be written to a file.
    assert item_marks([], "犬\ud83d").note == "犬\ufffd"


def test_a_deleted_run_is_not_brought_back_by_a_mark(run: Path) -> None:
    key = ("jnli", first_ids(run)[0])
    Library(run.parent).delete(run.name)
    with pytest.raises(StoreError, match=rf"The run {run.name} is not here any more, so nothing was saved"):
        marks.write(run, key, STAR)
    assert not run.exists()


def test_a_file_that_is_none_of_ours_is_named_and_left_alone(run: Path) -> None:
    path = run / marks.FILE
    for text in (
        "{",
        "[]",
        '{"format": 2, "items": []}',
        '{"format": 1, "items": [{"task": "jnli"}]}',
        '{"format": 1}',
    ):
        path.write_text(text, "utf-8")
        with pytest.raises(
            StoreError, match=r"marks\.json cannot be read \(.+\)\. Restore it from a copy, or delete it"
        ):
            marks.write(run, ("jnli", "1"), STAR)
        assert path.read_text("utf-8") == text
    # The run itself can be read.
    assert len(Library(run.parent).data(run).records) == 10


def test_nobody_who_marks_at_the_same_time_is_lost(run: Path) -> None:
    ids = first_ids(run)
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda id_: marks.write(run, ("jnli", id_), ItemMarks(("star",), id_)), ids))
    assert marks.read(run) == {("jnli", id_): ItemMarks(("star",), id_) for id_ in ids}
    code = (
        "import sys; from pathlib import Path; from jglue_app.results import marks\n"
        "for i in range(20): marks.write(Path(sys.argv[1]), ('jnli', sys.argv[2] + str(i)), marks.ItemMarks(('star',)))"
    )
    writers = [subprocess.Popen([sys.executable, "-c", code, str(run), name]) for name in ("x", "y")]
    assert [writer.wait(60) for writer in writers] == [0, 0]
    assert len(marks.read(run)) == len(ids) + 40


def test_exports_have_two_columns_more_where_something_is_marked(run: Path, tmp_path: Path) -> None:
    one, two, *_ = first_ids(run)
    exported = tmp_path / "out"
    exported.mkdir()
    assert CliRunner().invoke(app, ["export", str(run), str(exported / "none.jsonl")]).exit_code == 0
    assert "marks" not in json.loads((exported / "none.jsonl").read_text("utf-8").splitlines()[0])
    marks.write(run, ("jnli", one), ItemMarks(("star", "question"), "=HYPERLINK(1)"))
    marks.write(run, ("jnli", two), ItemMarks((), "長い"))
    for ending in ("jsonl", "csv", "parquet"):
        assert CliRunner().invoke(app, ["export", str(run), str(exported / f"o.{ending}")]).exit_code == 0
    rows = [json.loads(line) for line in (exported / "o.jsonl").read_text("utf-8").splitlines()]
    assert [(row["marks"], row["note"]) for row in rows[:3]] == [
        ('["star", "question"]', "=HYPERLINK(1)"),
        ("[]", "長い"),
        ("[]", ""),
    ]
    parquet = pd.read_parquet(exported / "o.parquet")
    assert parquet["note"].tolist()[:2] == ["=HYPERLINK(1)", "長い"]
    # A spreadsheet must not run a note.
    assert pd.read_csv(exported / "o.csv")["note"].tolist()[0] == "'=HYPERLINK(1)"


def test_marks_travel_in_an_archive_and_are_checked_when_they_come_back(run: Path, tmp_path: Path) -> None:
    marks.write(run, ("jnli", first_ids(run)[0]), ItemMarks(("star",), "メモ"))
    packed = archive.pack(run, tmp_path / "run.zip")
    there = archive.unpack(packed, tmp_path / "there")
    assert marks.read(there) == marks.read(run)
    damaged = tmp_path / "damaged"
    shutil.copytree(run, damaged)
    (damaged / marks.FILE).write_text("[" * 100_000, "utf-8")
    with pytest.raises(DataError, match=r"damaged holds no run: damaged/marks\.json cannot be read"):
        archive.unpack(damaged, tmp_path / "elsewhere")
    assert not list((tmp_path / "elsewhere").iterdir())


def test_wandb_gets_the_columns_where_something_is_marked(run: Path, tmp_path: Path) -> None:
    other = stored(tmp_path / "b.jsonl", wrong=first_ids(run)[:2])
    data, manifest = RunStore(run).data(), RunStore(run).manifest()
    plain = run_payload(data, manifest, "official").tables["predictions/jnli"]
    assert "marks" not in plain.columns
    found = {("jnli", first_ids(run)[1]): ItemMarks(("problem",), "半分\ud83d")}
    table = run_payload(data, manifest, "official", marks=found).tables["predictions/jnli"]
    assert table.columns == (*plain.columns, "marks", "note")
    assert [row[-2:] for row in table.rows[:2]] == [["[]", ""], ['["problem"]', "半分\\ud83d"]]
    assert [row[:-2] for row in table.rows] == plain.rows
    both = comparison_payload(data, RunStore(other).data(), "official", {}).tables["comparison/jnli"]
    marked = comparison_payload(data, RunStore(other).data(), "official", {}, ({}, found)).tables["comparison/jnli"]
    assert marked.columns == (*both.columns, "a_marks", "a_note", "b_marks", "b_note")
    assert marked.rows[1][-4:] == ["[]", "", '["problem"]', "半分\\ud83d"]


def test_rows_without_marks_are_as_before(run: Path) -> None:
    data = Library(run.parent).data(run)
    assert table_files.rows(data) == table_files.rows(data, marks={("jnli", "of no item"): STAR})


def test_what_a_later_version_has_put_there_is_kept_and_the_rest_is_shown(run: Path) -> None:
    one, two, three, *_ = first_ids(run)
    long = "あ" * 3_000
    rows: list[dict[str, Any]] = [
        {"task": "jnli", "item_id": one, "marks": ["heart", "star"], "note": "ok", "colour": "red"},
        {"task": "jnli", "item_id": two, "note": long},
        {"task": "jnli", "item_id": three, "marks": [["nested"]]},
    ]
    (run / marks.FILE).write_text(json.dumps({"format": 1, "items": rows}), "utf-8")
    known = {("jnli", one): ItemMarks(("star",), "ok"), ("jnli", two): ItemMarks((), "あ" * 2_000)}
    assert marks.read(run) == known and marks.has_newer(run)
    marks.write(run, ("jnli", one), ItemMarks(("problem",), "new"))
    # Only a mark was added: the long note is still there.
    marks.write(run, ("jnli", two), ItemMarks(("star",), "あ" * 2_000))
    kept = {row["item_id"]: row for row in json.loads((run / marks.FILE).read_text("utf-8"))["items"]}
    assert kept[one] == {**rows[0], "marks": ["problem", "heart"], "note": "new"}
    assert kept[two] == {**rows[1], "marks": ["star"]}
    assert kept[three] == {**rows[2], **{key: kept[three][key] for key in kept[three].keys() - rows[2].keys()}}
    marks.write(run, ("jnli", one), ItemMarks())
    kept = {row["item_id"]: row for row in json.loads((run / marks.FILE).read_text("utf-8"))["items"]}
    assert kept[one] == {**rows[0], "marks": ["heart"], "note": ""}
    (run / marks.FILE).unlink()
    marks.write(run, ("jnli", one), STAR)
    assert not marks.has_newer(run)


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_a_pipe_or_a_folder_is_refused_and_not_waited_for(run: Path, make: Callable[[Path], None]) -> None:
    make(run / marks.FILE)
    for act in (lambda: marks.read(run), lambda: marks.write(run, ("jnli", "1"), STAR)):
        with pytest.raises(StoreError, match=r"marks\.json cannot be read \(ValueError: it is no file\)"):
            act()
