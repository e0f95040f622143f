"""Stored runs as a collection: listed, read as they grow, exported, packed, brought back and deleted."""

from __future__ import annotations

import csv
import json
import os
import shutil
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest

from jglue_app import evaluate, messages
from jglue_app.errors import DataError, RunBusyError, StoreError, UnknownNameError
from jglue_app.results import archive, table_files
from jglue_app.results.library import Library
from jglue_app.runs.store import RunStore
from jglue_app.scoring import leaderboard
from jglue_app.scoring.report import report_run
from jglue_app.whole_files import LOCK
from tests.test_api import GOLDS, WORDS
from tests.unsealed import unsealed


def answers(path: Path, texts: dict[str, str]) -> str:
    rows = [{"task": "jnli", "item_id": id_, "text": text} for id_, text in texts.items()]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return str(path)


def stored(path: Path, wrong: Sequence[str] = (), said: str = "わかりません", limit: int | None = 10) -> Path:
    """A run over JNLI samples that is right but for some items."""
    texts = {id_: said if id_ in wrong else WORDS[gold] for id_, gold in GOLDS.items()}
    return evaluate(answers(path, texts), tasks=["jnli"], data="sample", limit=limit).path


@pytest.fixture
def library(tmp_path: Path) -> Library:
    return Library(tmp_path / "runs")


# --- listing and reading ----------------------------------------------------------------------------------


def test_runs_are_listed_with_what_is_left_to_do_and_broken_folders_are_left_out(
    tmp_path: Path, library: Library
) -> None:
    assert library.all() == []
    path = unsealed(stored(tmp_path / "a.jsonl"))
    broken = tmp_path / "runs" / "broken"
    broken.mkdir()
    (broken / "manifest.json").write_text("{", "utf-8")
    (run,) = library.all()
    assert (run.name, run.done, run.planned, run.finished) == (path.name, 10, 10, True)
    lines = (path / "records.jsonl").read_text("utf-8").splitlines(keepends=True)
    (path / "records.jsonl").write_text("".join(lines[:4]), "utf-8")
    (run,) = library.all()
    assert (run.done, run.planned, run.finished) == (4, 10, False)


def test_a_growing_run_is_read_and_judged_on_from_where_it_was(tmp_path: Path, library: Library) -> None:
    path = unsealed(stored(tmp_path / "a.jsonl", wrong=list(GOLDS)[:5], limit=None))
    whole = (path / "records.jsonl").read_bytes()
    at = [i + 1 for i, byte in enumerate(whole) if byte == 10]
    (path / "records.jsonl").write_bytes(whole[: at[4]])
    first = library.judged(path)["jnli"]
    assert len(first) == 5
    # A line that is not written to its end is not looked at yet.
    (path / "records.jsonl").write_bytes(whole[: at[9] + 20])
    assert len(library.judged(path)["jnli"]) == 10
    (path / "records.jsonl").write_bytes(whole)
    now = library.judged(path)["jnli"]
    assert len(now) == len(GOLDS)
    assert all(now[id_] is row for id_, row in first.items()), "what was judged is not judged again"
    for protocol in ("official", "wandb-2023-0shot"):
        assert library.report(path, protocol) == report_run(RunStore(path).data(), protocol)


def test_a_run_that_is_replaced_or_shortened_is_read_anew(tmp_path: Path, library: Library) -> None:
    right, wrong = stored(tmp_path / "a.jsonl"), unsealed(stored(tmp_path / "b.jsonl", wrong=list(GOLDS)))
    assert library.report(right).tasks["jnli"].metrics["accuracy"].value == 1
    shutil.rmtree(right)
    shutil.copytree(wrong, right)
    assert library.report(right).tasks["jnli"].metrics["accuracy"].value == 0
    (right / "records.jsonl").write_bytes(b"")
    assert library.judged(right)["jnli"] == {}


def test_answers_edited_in_place_are_seen_though_size_and_time_stay(tmp_path: Path, library: Library) -> None:
    path = stored(tmp_path / "a.jsonl")
    assert library.report(path).tasks["jnli"].outcomes["correct"] > 0
    file = path / "records.jsonl"
    before = file.stat()
    content = file.read_bytes()
    file.write_bytes(content.replace(b'"stop"', b'"pots"', 1))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(StoreError, match="line 1"):
        library.report(path)
    file.write_bytes(content)
    assert library.report(path).tasks["jnli"].outcomes["correct"] > 0


def test_a_run_that_is_gone_is_a_sentence(tmp_path: Path, library: Library) -> None:
    path = stored(tmp_path / "a.jsonl")
    library.report(path)
    shutil.rmtree(path)
    with pytest.raises(StoreError, match="holds no run"):
        library.report(path)
    with pytest.raises(StoreError, match="no run 'x' here"):
        library.find("x")


# --- deleting ---------------------------------------------------------------------------------------------


def test_a_run_is_deleted_by_its_name_alone_and_not_while_somebody_writes(tmp_path: Path, library: Library) -> None:
    path = stored(tmp_path / "a.jsonl")
    outside = tmp_path / "outside"
    shutil.copytree(path, outside)
    for name in ("../outside", str(outside), "", "."):
        with pytest.raises(StoreError, match="There is no run"):
            library.delete(name)
    with RunStore(path).writing(), pytest.raises(RunBusyError):
        library.delete(path.name)
    assert RunStore(path).exists()
    library.delete(path.name)
    assert library.all() == []
    assert list((tmp_path / "runs").iterdir()) == []
    assert outside.is_dir()


# --- ranking ----------------------------------------------------------------------------------------------


def test_ranks_move_with_the_protocol_and_a_run_without_a_value_has_none(tmp_path: Path, library: Library) -> None:
    ids = list(GOLDS)
    loose = stored(tmp_path / "loose.jsonl", wrong=ids[:20], said="entailment.")
    half = stored(tmp_path / "half.jsonl", wrong=ids[:3])
    paths = {path.name: path for path in (loose, half)}
    usual = {name: library.report(path) for name, path in paths.items()}
    board = leaderboard.leaderboard(usual, usual, ["jnli"])
    assert [entry.moved for entry in board] == [0, 0]
    assert board[0].average.value == board[0].tasks["jnli"].value
    assert (board[0].average.value or 0) >= (board[1].average.value or 0)
    other = {name: library.report(path, "stability-jp") for name, path in paths.items()}
    unscored = leaderboard.leaderboard(other, usual, ["jnli"])
    assert [(entry.rank, entry.moved, entry.missing) for entry in unscored] == [(None, None, ("jnli",))] * 2
    both = leaderboard.leaderboard(usual, usual, ["jnli", "jsts"])
    assert [entry.rank for entry in both] == [None, None]


def test_equal_averages_share_a_rank(tmp_path: Path, library: Library) -> None:
    one, two = stored(tmp_path / "one.jsonl"), stored(tmp_path / "two.jsonl")
    three = stored(tmp_path / "three.jsonl", wrong=list(GOLDS))
    reports = {path.name: library.report(path) for path in (three, one, two)}
    board = leaderboard.leaderboard(reports, reports, ["jnli"])
    assert [entry.rank for entry in board] == [1, 1, 3]


def test_runs_over_the_test_sets_are_ranked_apart_from_those_over_dev(tmp_path: Path, library: Library) -> None:
    for split, version in (("valid", "v1.3"), ("test", "v1.3"), ("train", "v1.3"), ("valid", "sample-1")):
        manifest = stored(tmp_path / f"{split}-{version}.jsonl", wrong=list(GOLDS)[: len(split)]) / "manifest.json"
        text = json.loads(manifest.read_text("utf-8"))
        text["spec"] |= {"split": split, "data_version": version}
        manifest.write_text(json.dumps(text), "utf-8")
    kinds = {run.name: run.data_kind for run in library.all()}
    assert sorted(kinds.values()) == ["official", "sample", "test", "train"]
    for kind in ("official", "sample", "test"):
        assert [kinds[name] for name in library.reports("official", kind)] == [kind]


# --- export -----------------------------------------------------------------------------------------------


def test_an_export_holds_one_row_an_item_in_every_format(tmp_path: Path) -> None:
    path = stored(tmp_path / "a.jsonl", wrong=[next(iter(GOLDS))], said='=HYPERLINK("x")\n二行目', limit=None)
    data = RunStore(path).data()
    found = table_files.rows(data)
    assert len(found) == len(GOLDS)
    (odd,) = (row for row in found if row["item_id"] == next(iter(GOLDS)))
    assert (odd["raw"], odd["strict"], odd["outcome"]) == ('=HYPERLINK("x")\n二行目', None, "unreadable")
    assert odd["verdict/wandb-2023-0shot"] in (0.0, 1.0)
    assert "verdict/stability-jp" in odd
    for name in table_files.FORMATS:
        table_files.write(found, tmp_path / f"out.{name}", name)
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text("utf-8").splitlines()]
    assert lines == json.loads(json.dumps(found))
    with (tmp_path / "out.csv").open(encoding="utf-8-sig", newline="") as file:
        table = list(csv.DictReader(file))
    assert len(table) == len(found)
    assert {row["raw"] for row in table if row["item_id"] == odd["item_id"]} == {"'" + odd["raw"]}
    frame = pd.read_parquet(tmp_path / "out.parquet")
    assert frame["raw"].tolist() == [row["raw"] for row in found]


def test_lone_surrogates_reach_every_format(tmp_path: Path) -> None:
    path = stored(tmp_path / "a.jsonl", wrong=[next(iter(GOLDS))], said="\ud800", limit=None)
    found = table_files.rows(RunStore(path).data())
    for name in table_files.FORMATS:
        table_files.write(found, tmp_path / f"out.{name}", name)
    assert "\\ud800" in (tmp_path / "out.csv").read_text("utf-8-sig")


def test_an_export_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="export format"):
        table_files.write([], tmp_path / "x", "xlsx")
    with pytest.raises(StoreError, match="cannot be written"):
        table_files.write([], tmp_path / "no" / "x.jsonl", "jsonl")


# --- packing ----------------------------------------------------------------------------------------------


def test_a_packed_run_opens_elsewhere_with_the_same_scores(tmp_path: Path, library: Library) -> None:
    path = stored(tmp_path / "a.jsonl", wrong=list(GOLDS)[:7])
    packed = archive.pack(path, tmp_path / "run.zip")
    for i, source in enumerate((packed, path)):
        target = archive.unpack(source, tmp_path / f"other{i}")
        assert target.name == path.name
        assert Library(target.parent).report(target) == library.report(path)
        with pytest.raises(StoreError, match="is here already"):
            archive.unpack(source, tmp_path / f"other{i}")


def bad_zip(path: Path, members: dict[str, str]) -> Path:
    with zipfile.ZipFile(path, "w") as out:
        for name, text in members.items():
            out.writestr(name, text)
    return path


def test_what_is_no_run_is_not_brought_in(tmp_path: Path) -> None:
    here = tmp_path / "here"
    path = stored(tmp_path / "a.jsonl")
    texts = {name: (path / name).read_text("utf-8") for name in archive.CONTENT}
    other_task = {k: v.replace('"jnli"', '"unknown"') for k, v in texts.items()}
    (tmp_path / "text.zip").write_text("hello", "utf-8")
    cases = (
        (tmp_path / "text.zip", "not a readable"),
        (bad_zip(tmp_path / "empty.zip", {}), "holds no run"),
        (bad_zip(tmp_path / "spec.zip", texts | {"manifest.json": "{}"}), "no run|cannot be scored"),
        (bad_zip(tmp_path / "items.zip", texts | {"items.jsonl": "[]\n"}), "no run|cannot be scored"),
        (bad_zip(tmp_path / "task.zip", other_task), "subset|no run|cannot be scored"),
        (tmp_path / "nothing.zip", "cannot be imported"),
    )
    for source, sentence in cases:
        with pytest.raises((DataError, StoreError), match=sentence):
            archive.unpack(source, here)
    assert list(here.iterdir()) == []


def test_a_packed_path_that_leads_out_of_the_folder_stays_inside(tmp_path: Path) -> None:
    path = stored(tmp_path / "a.jsonl")
    texts = {f"../{name}": (path / name).read_text("utf-8") for name in archive.CONTENT}
    target = archive.unpack(bad_zip(tmp_path / "out.zip", texts), tmp_path / "in")
    assert target.parent == tmp_path / "in"
    assert not (tmp_path / "manifest.json").exists()


def test_of_a_run_that_is_a_link_the_link_is_deleted_and_the_run_stays(tmp_path: Path, library: Library) -> None:
    path = stored(tmp_path / "a.jsonl")
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    library.delete(path.name)
    assert list((tmp_path / "runs").iterdir()) == []
    assert RunStore(tmp_path / "elsewhere").exists()


def test_a_deletion_that_was_killed_is_finished_by_the_next_command(tmp_path: Path, library: Library) -> None:
    path = stored(tmp_path / "a.jsonl")
    half = tmp_path / "runs" / ".deleted-x7_k2m0a"
    half.mkdir()
    (half / LOCK).touch()
    path.rename(half / "run")
    with pytest.raises(StoreError, match="There is no run"):
        library.delete(path.name)
    assert list((tmp_path / "runs").iterdir()) == []


def test_a_run_that_could_be_deleted_only_in_part_is_no_run_any_more(tmp_path: Path, library: Library) -> None:
    path = stored(tmp_path / "a.jsonl")
    half = path.with_name(f".deleted-{path.name}")
    path.rename(half)
    assert library.all() == []
    with pytest.raises(StoreError):
        library.find(half.name)


def test_a_manifest_whose_machine_is_no_table_is_not_imported(tmp_path: Path, library: Library) -> None:
    path = stored(tmp_path / "a.jsonl")
    table = json.loads((path / "manifest.json").read_text("utf-8"))
    (path / "manifest.json").write_text(json.dumps({**table, "machine": ["a"]}), "utf-8")
    with pytest.raises(DataError, match="no table"):
        archive.unpack(path, tmp_path / "other")


def test_a_damaged_run_is_named_as_it_was_given_in_both_languages(tmp_path: Path) -> None:
    path = stored(tmp_path / "a.jsonl")
    texts = {name: (path / name).read_text("utf-8") for name in archive.CONTENT}
    cut = bad_zip(
        tmp_path / "cut.zip", texts | {"records.jsonl": texts["records.jsonl"].replace('"stop"', '"pots"', 1)}
    )
    with pytest.raises(DataError) as caught:
        archive.unpack(cut, tmp_path / "here")
    english, japanese = str(caught.value), messages.say(caught.value.message, "ja")
    assert english.startswith("cut.zip holds no run: cut.zip/records.jsonl, line ")
    assert english.endswith("Choose a .zip file that this application has exported, or a run folder.")
    assert japanese.startswith("cut.zip に実行結果がありません。cut.zip/records.jsonl")
    assert japanese.endswith("このアプリで書き出した .zip か、実行結果のフォルダーを選んでください。")
    for text in (english, japanese):
        assert str(tmp_path) not in text and ".import-" not in text
