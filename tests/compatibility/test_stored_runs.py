"""Run folders, archives, imported logs and what was exported of them, as version 0.1.0 left them."""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import shutil
import zipfile
from pathlib import Path
from typing import Any

import pytest

import jglue_app
from tests.compatibility.comparing import differences
from tests.compatibility.conftest import RUNS, STORED, VERSION, read_stored
from tests.compatibility.interface import call, specs_of
from tests.compatibility.make import export
from tests.compatibility.requests import COMMANDS, EXPORTS, TASKS, with_run_ids

pytestmark = pytest.mark.usefixtures("folder")

MEMBERS = ("manifest.json", "items.jsonl", "records.jsonl")
RUN_A = ("run", "--model", "answers/a.jsonl", "--tasks", TASKS, "--data", "sample", "--limit", "3", "--method", "both")
RUN_B = (*RUN_A[:2], "answers/b.jsonl", *RUN_A[3:], "--shots", "1")
same_version = pytest.mark.skipif(
    jglue_app.__version__ != VERSION, reason="the id of a run follows from the version of the application too"
)


def content(run: Path) -> dict[str, bytes]:
    return {name: (run / name).read_bytes() for name in MEMBERS}


@pytest.mark.parametrize(("name", "done"), [("a", 17), ("b", 18), ("hub", 18), ("log", 3)])
def test_a_run_folder_is_opened_as_it_is(name: str, done: int) -> None:
    run = Path("runs", RUNS[name])
    before = content(run)
    data = jglue_app.open_run(run).data()
    records = [json.loads(line) for line in before["records.jsonl"].splitlines()]
    outputs = {(r["task"], r["item_id"]): r["output"]["text"] for r in records if r["output"]}
    assert {(r.task, r.item_id): r.output.text for r in data.records if r.output} == outputs
    assert len(outputs) == done
    assert [r.prompt.text for r in data.records] == [r["prompt"]["text"] for r in records]
    assert data.spec.spec_id == RUNS[name]
    assert content(run) == before


def test_the_log_likelihoods_the_error_and_the_unfinished_thought_are_there() -> None:
    records = {r.item_id: r for r in jglue_app.open_run(Path("runs", RUNS["a"])).data().records}
    sn018, failed, surrogate = (records[id_] for id_ in ("sn018", "900038", "sq013p0q1"))
    assert sn018.output is not None
    assert (sn018.output.text, sn018.output.choice_logprobs) == ("<think>\n前提には夜とあるので、", (-1.0, -0.5, -3.0))
    assert failed.output is None
    assert failed.error is not None
    assert failed.error.kind == "not_in_table"
    assert surrogate.output is not None
    assert surrogate.output.text == "わかりません\ud83d"
    thinking = {r.item_id: r for r in jglue_app.open_run(Path("runs", RUNS["hub"])).data().records}
    assert thinking["sn018"].prompt.thought == "<think>\n"
    assert thinking["sn018"].output is not None
    assert thinking["sn018"].output.finish == "length"


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_prints_what_it_printed(line: str) -> None:
    old = read_stored("commands.json.gz")[line]
    result = call(*with_run_ids(line, RUNS).split(" "))
    assert result.code == 0, result.err
    new = json.loads(result.out)
    if line == "runs --json":
        old, new = (sorted(rows, key=lambda row: str(row["id"])) for rows in (old, new))
    assert list(differences(old, new)) == []


@same_version
@pytest.mark.parametrize(("name", "arguments", "code"), [("a", RUN_A, 6), ("b", RUN_B, 0)])
def test_the_same_command_goes_on_with_the_run_folder(name: str, arguments: tuple[str, ...], code: int) -> None:
    run = Path("runs", RUNS[name])
    before = content(run)
    assert call(*arguments).code == code
    assert {path.name for path in Path("runs").iterdir()} == set(RUNS.values())
    after = content(run)
    # The item without an answer is tried again; nothing else is answered again.
    again = after["records.jsonl"].removeprefix(before["records.jsonl"])
    assert [json.loads(line)["item_id"] for line in again.splitlines()] == (["900038"] if code else [])
    assert after["items.jsonl"] == before["items.jsonl"]


@same_version
@pytest.mark.parametrize(("name", "arguments"), [("a", RUN_A), ("b", RUN_B)])
def test_a_new_run_is_stored_as_the_old_one_was(name: str, arguments: tuple[str, ...]) -> None:
    call(*arguments, "--runs-dir", "new")
    old, new = content(Path("runs", RUNS[name])), content(Path("new", RUNS[name]))
    assert new["items.jsonl"] == old["items.jsonl"]
    old_records, new_records = (list(map(json.loads, files["records.jsonl"].splitlines())) for files in (old, new))
    for record in (*old_records, *new_records):
        del record["crc32"]  # Of the line, which may have more in it.
    assert list(differences(old_records, new_records)) == []
    old_manifest, new_manifest = (json.loads(files["manifest.json"]) for files in (old, new))
    for manifest in (old_manifest, new_manifest):
        del manifest["created"], manifest["machine"]
    assert list(differences(old_manifest, new_manifest)) == []


@pytest.mark.parametrize("source", ["a.zip", f"runs/{RUNS['hub']}", f"runs/{RUNS['log']}"])
def test_an_archive_or_a_folder_is_imported_whole(source: str) -> None:
    id_ = RUNS["a"] if source == "a.zip" else Path(source).name
    result = call("import", source, "--runs-dir", "new")
    assert (result.code, Path(result.out.strip())) == (0, Path("new", id_))
    assert content(Path("new", id_)) == content(Path("runs", id_))


def test_a_run_is_packed_as_it_was() -> None:
    assert call("export", RUNS["a"], "new.zip").code == 0
    old, new = (_members(zipfile.ZipFile(path)) for path in ("a.zip", "new.zip"))
    assert new == old


@same_version
def test_a_log_becomes_the_same_run() -> None:
    result = call("import", "answers/jnli", "--data", "sample", "--partial", "--runs-dir", "new")
    assert result.code == 0, result.err
    new = Path(result.out.strip())
    assert new.name == RUNS["log"]
    for name in ("items.jsonl", "records.jsonl"):
        assert (new / name).read_bytes() == Path("runs", new.name, name).read_bytes()


@pytest.mark.parametrize("file", EXPORTS)
def test_an_export_holds_what_it_held(file: str) -> None:
    Path("new").mkdir()
    export(Path("new", Path(file).name), EXPORTS[file], RUNS)
    new = Path("new", Path(file).name).read_bytes()
    old = gzip.decompress(Path(f"{file}.gz").read_bytes()) if Path(f"{file}.gz").exists() else Path(file).read_bytes()
    if file.endswith(".zip"):
        parts = [_members(zipfile.ZipFile(io.BytesIO(raw))) for raw in (old, new)]
        assert list(parts[1]) == list(parts[0])
        times = [_retrieved(members) for members in parts]
        for name in parts[0]:
            texts = [_parsed(name, members[name], time) for members, time in zip(parts, times, strict=True)]
            assert texts[1] == texts[0], name
    elif file.endswith(".yaml"):
        assert _parsed(file, new) == _parsed(file, old)
    else:
        rows = [_parsed(file, raw) for raw in (old, new)]
        assert [column for column in rows[1][0] if column in rows[0][0]] == list(rows[0][0])
        assert list(differences(*rows)) == []  # With another protocol a row has another column.


def _members(archive: zipfile.ZipFile) -> dict[str, bytes]:
    with archive:
        return {name: archive.read(name) for name in sorted(archive.namelist())}


def _retrieved(members: dict[str, bytes]) -> str:
    """The time at which an export was written, where it says so (Every Eval Ever)."""
    heads = [json.loads(raw) for name, raw in members.items() if name.endswith(".json")]
    return next((head["retrieved_timestamp"] for head in heads if "retrieved_timestamp" in head), "")


def _parsed(name: str, raw: bytes, time: str = "") -> Any:
    """The content of a file as values, without the version of the application that has written it and the time; nor
    the checksum of another file, which follows from these."""
    text = raw.decode("utf-8")
    if time:
        text = re.sub(r'"checksum": ?"[0-9a-f]{64}"', '"checksum":""', text.replace(time, ""))
    for version in (VERSION, jglue_app.__version__):
        text = text.replace(f"jglue_app {version}", "jglue_app").replace(f'"version": "{version}"', '"version": ""')
    if name.endswith(".csv"):
        return list(csv.DictReader(io.StringIO(text, newline="")))
    if name.endswith(".jsonl"):
        return [json.loads(line) for line in text.splitlines()]
    return json.loads(text) if name.endswith(".json") else text


@pytest.mark.parametrize("number", range(len(read_stored("specs.json"))))
def test_a_printed_command_makes_the_same_runs(number: int) -> None:
    command, old = list(read_stored("specs.json").items())[number]
    new = specs_of(command, "new")
    if jglue_app.__version__ != VERSION:
        for one in (*old, *new):
            del one["id"]
        old, new = (sorted(runs, key=json.dumps) for runs in (old, new))
    assert list(differences(old, new)) == []


def test_nothing_stored_names_a_path_of_a_machine() -> None:
    raw = b"".join(
        gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        for path in STORED.rglob("*")
        if path.is_file() and path.suffix != ".zip"
    )
    assert b"/home/" not in raw
    assert b"/root/" not in raw
    assert b"/tmp/" not in raw


def test_a_copy_of_a_run_folder_elsewhere_is_opened_by_its_path() -> None:
    shutil.copytree(Path("runs", RUNS["b"]), "elsewhere")
    old = read_stored("commands.json.gz")["compare A B --json"]["comparison"]
    new = json.loads(call("compare", RUNS["a"], "elsewhere", "--json").out)["comparison"]
    assert list(differences(old, new)) == []
