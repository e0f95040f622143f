"""Names and descriptions of stored runs: what is refused, where they are shown, and that they travel."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from jglue_app.errors import InputError, StoreError
from jglue_app.results import archive, exporters, table_files
from jglue_app.results.library import Library, StoredRun
from jglue_app.results.run_label import distinct_labels
from jglue_app.results.run_name import UNNAMED, RunName, checked, read_name, write_name
from jglue_app.runs.store import RunStore
from jglue_app.wandb_sink.run_payload import run_payload
from tests.results.test_library import stored

LABEL = "good.jsonl · plain · ja-labels · 0-shot"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return stored(tmp_path / "good.jsonl", limit=None)


def test_a_name_is_on_one_line_and_kept_with_the_run(run: Path) -> None:
    assert read_name(run) == UNNAMED
    assert write_name(run, "  最良の\n 実行 ", "一行目\r\n二行目\n") == RunName("最良の 実行", "一行目\n二行目")
    assert read_name(run) == RunName("最良の 実行", "一行目\n二行目")
    assert write_name(run, description="") == RunName("最良の 実行")
    assert write_name(run, "") == UNNAMED
    assert not (run / "about.json").exists()


@pytest.mark.parametrize(
    ("name", "description", "sentence"),
    [
        ("あ" * 101, "", "at most 100 characters, and this one has 101"),
        ("", "あ" * 2_001, "at most 2,000 characters, and this one has 2,001"),
        ("a" * 3_000, "", "has 3,000"),
        ("bell \x07", "", r"has U\+0007"),
        ("turned \u202etxet", "", r"has U\+202E"),
        ("hidden\u200btext", "", r"has U\+200B"),
        ("half \ud800", "", r"has U\+D800"),
        ("a\u200bb", "", r"has U\+200B"),
        ("", "tag \U000e0041", r"has U\+E0041"),
        ("\u2800", "", r"has U\+2800"),
    ],
)
def test_what_cannot_be_a_name_is_refused(run: Path, name: str, description: str, sentence: str) -> None:
    write_name(run, "before")
    with pytest.raises(InputError, match=sentence):
        write_name(run, name, description)
    assert read_name(run).name == "before"


def test_the_longest_are_kept() -> None:
    assert len(checked("あ" * 100, "い\n" * 999 + "う").description) == 1_999


@pytest.mark.parametrize("text", ["", "[]", '{"name": 1' + "0" * 5_000 + "}", '{"name": "a\\u0007"}', "[" * 100_000])
def test_a_file_that_holds_no_name_gives_none(run: Path, text: str) -> None:
    (run / "about.json").write_text(text, "utf-8")
    assert read_name(run) == UNNAMED
    assert Library(run.parent).stored(run).label == LABEL


def test_a_run_that_is_gone_cannot_be_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="There is no run 'gone' here"):
        write_name(tmp_path / "gone", "a")


def test_a_name_is_shown_for_the_label_at_once_and_the_identity_stays(run: Path) -> None:
    library = Library(run.parent)
    before = library.stored(run)
    assert library.report(run).label == before.label == before.made_as
    write_name(run, "基準", "説明")
    after = library.stored(run)
    assert (after.name, after.label, after.made_as, after.description) == (
        before.name,
        "基準",
        before.label,
        "説明",
    )
    assert library.report(run).label == "基準"
    assert library.comparison(run, run).b.label == "基準"
    assert RunStore(run).spec().spec_id == before.name


def test_a_name_travels_in_an_archive_and_stands_in_exports_and_at_wandb(run: Path, tmp_path: Path) -> None:
    write_name(run, "=基準", "説明")
    packed = archive.pack(run, tmp_path / "run.zip")
    there = archive.unpack(packed, tmp_path / "there")
    assert read_name(there) == RunName("=基準", "説明")
    store = RunStore(there)
    rows = table_files.rows(store.data(), name=read_name(there).name)
    assert {row["run_name"] for row in rows} == {"=基準"}
    assert {row["run_name"] for row in table_files.rows(store.data())} == {None}
    payload = run_payload(store.data(), store.manifest(), "official", called=read_name(there))
    assert payload.name == "=基準"
    assert (payload.config["run_name"], payload.config["description"]) == ("=基準", "説明")
    unnamed = run_payload(store.data(), store.manifest(), "official")
    assert (unnamed.config["run_name"], unnamed.name) == ("", LABEL)


def test_a_name_stands_in_the_format_of_another_project(run: Path, tmp_path: Path) -> None:
    write_name(run, "基準")
    folder = exporters.export(run, tmp_path / "out", "every-eval-ever", "official").path
    texts = [path.read_text("utf-8") for path in folder.rglob("*.json")]
    assert any('"run_name"' in text and "基準" in text for text in texts)


def test_runs_of_one_label_say_in_what_they_differ(tmp_path: Path) -> None:
    library = Library(tmp_path / "runs")
    shipped = RunStore(Path(__file__).parents[2] / "assets/showcase/base-3-shot")
    for seed in (0, 1):
        manifest = shipped.manifest()
        manifest["spec"] = manifest["spec"] | {"seed": seed, "limit": 20 if seed else None}
        folder = library.runs_dir / f"run-{seed}"
        folder.mkdir(parents=True)
        for name in ("items.jsonl", "records.jsonl"):
            (folder / name).write_bytes((shipped.path / name).read_bytes())
        (folder / "manifest.json").write_text(json.dumps(manifest), "utf-8")
    runs = {run.name: run for run in library.all()}
    label = "gemma-3-270m · plain · ja-labels · 3-shot"
    assert distinct_labels(runs) == {"run-0": f"{label} · seed 0", "run-1": f"{label} · seed 1, limit 20"}
    assert distinct_labels({"run-0": runs["run-0"]}) == {"run-0": label}
    write_name(library.runs_dir / "run-1", "別名")
    named = {run.name: run for run in library.all()}
    assert distinct_labels(named) == {"run-0": label, "run-1": "別名"}


@pytest.mark.parametrize(
    ("ids", "differences"),
    [
        (("/models/a/good.jsonl", "/models/b/good.jsonl"), ("id a/…", "id b/…")),
        (("rinna/good", "good"), ("id rinna/…", "id good")),
        # The folders have one name too: the files tell the models apart.
        (("/a/m/good", "/b/m/good"), ("model files 0000", "model files 1111")),
    ],
)
def test_models_of_one_name_say_where_they_are(ids: tuple[str, str], differences: tuple[str, str]) -> None:
    runs = {
        f"run-{i}": StoredRun(
            f"run-{i}", Path(), "good", "", 1, 1, {"model": {"id": id_, "files_sha256": 4 * f"{i}"}}, {}
        )
        for i, id_ in enumerate(ids)
    }
    assert list(distinct_labels(runs).values()) == [f"good · {difference}" for difference in differences]


def test_both_of_two_changes_at_the_same_time_are_kept(run: Path) -> None:
    def change(number: int) -> None:
        if number % 2:
            write_name(run, name=f"n{number}")
        else:
            write_name(run, description=f"d{number}")

    for _ in range(3):
        write_name(run, "", "")
        with ThreadPoolExecutor(8) as threads:
            list(threads.map(change, range(16)))
        found = read_name(run)
        assert found.name.startswith("n") and found.description.startswith("d")
    assert sorted(path.name for path in run.glob("about*")) == ["about.json"]


def test_a_name_with_characters_that_are_not_seen_is_none_and_a_pipe_is_not_waited_for(run: Path) -> None:
    (run / "about.json").write_text(json.dumps({"name": "a\u200bb"}), "utf-8")
    assert read_name(run) == UNNAMED
    assert write_name(run, description="説明") == RunName("", "説明")
    (run / "about.json").unlink()
    os.mkfifo(run / "about.json")
    assert read_name(run) == UNNAMED
