"""Run directories: what is written comes back, and what was written survives whatever comes after."""

from __future__ import annotations

import fcntl
import json
import os
import resource
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from jglue_app.errors import RunBusyError, StoreError
from jglue_app.runs.serialization import dumps, record_from
from jglue_app.runs.store import RunStore
from jglue_app.runs.writer import is_being_written
from jglue_app.types import (
    Decoding,
    Finish,
    Item,
    ModelSpec,
    Output,
    Prompt,
    PromptSpec,
    Record,
    RunData,
    RunError,
    RunSpec,
    Source,
)
from jglue_app.whole_files import write_atomically

ROOT = Path(__file__).resolve().parents[2]

SPEC = RunSpec(
    model=ModelSpec("表.jsonl", "scripted"),
    tasks=("jsts", "jnli"),
    data_version="sample-1",
    data_sha256={"jnli/valid": "aa", "jsts/valid": "bb"},
    prompt=PromptSpec(shots=2, system="短く\n答える"),
    style_sha256="cc",
    decoding=Decoding("both", 5),
    code_version="0.1.0",
    limit=7,
)
ITEMS = (
    Item("jsts", "1", {"sentence1": "猫。", "sentence2": "犬。"}, 0.0),
    Item(
        "jnli", "1", {"sentence1": "空", "sentence2": "雲 "}, ("neutral",), ("entailment", "contradiction", "neutral")
    ),
    Item("jsquad", "q", {"title": "", "context": "京都", "question": "どこ"}, ("京都", "京都市")),
)
SOURCES: dict[str, Source] = {"jsts": "official", "jnli": "user", "jsquad": "sample"}
HEAD = {"spec": SPEC, "data": {name: {"source": source} for name, source in SOURCES.items()}}


def record(item_id: str, text: str | None = "含意", *, task: str = "jnli", finish: Finish = "stop") -> Record:
    prompt = Prompt(task, item_id, "前提：猫\n関係：", None, ("\n",), ("含意", "矛盾", "中立"), "", ("t1",), "00" * 32)
    return Record(SPEC.spec_id, task, item_id, prompt, Output(text, finish, 12, 3, 0.25))


def failed(item_id: str, kind: str = "non_finite") -> Record:
    return replace(record(item_id), output=None, error=RunError(kind, "理由。"))


def write(path: Path, *records: Record) -> RunStore:
    store = RunStore(path)
    with store.writing() as writer:
        writer.append(records)
    return store


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "runs" / "0123456789abcdef"


def test_what_a_prompt_opens_is_seen_in_records_of_earlier_versions_too() -> None:
    row = json.loads(dumps(record("1")))
    for name in ("thought", "ranked_text"):
        del row["prompt"][name]
    assert record_from(row) == record("1")
    row["prompt"] |= {"text": "関係は？<think>\n", "messages": [{"role": "user", "content": "関係は？"}]}
    assert record_from(row).prompt.thought == "<think>"


# --- what is written comes back ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param("  含意\n\n", id="white space"),
        pytest.param("\x00\x07\x1b[31m\r\n\t\x7f\x85\u2028\u2029\ufeff", id="control characters"),
        pytest.param("前\ud83d後\udcff", id="lone surrogates"),
        pytest.param("👨‍👩‍👧 e\u0301 か\u3099", id="joined characters"),
        pytest.param("あ" * 350_000, id="1 MB"),
        pytest.param("\ud800" + "\x00" * 1_000_000, id="1 MB that must be escaped"),
        pytest.param(None, id="no text"),
    ],
)
def test_a_record_is_read_back_as_it_was_whatever_its_text(path: Path, text: str | None) -> None:
    written = record("1", text)
    in_the_prompt = replace(written, item_id="2", prompt=replace(written.prompt, text=text or ""))
    assert write(path, written, in_the_prompt).records() == [written, in_the_prompt]


def test_every_field_of_a_record_is_read_back(path: Path) -> None:
    plain = record("1")
    chat = replace(
        plain,
        item_id="2",
        prompt=replace(plain.prompt, messages=({"role": "user", "content": "問"},), lead=" ", stop=(), shot_ids=()),
        output=Output(None, "scored", 0, 0, 0.1 + 0.2, (-0.0, -1e-300, -1234.5678901234567, -5e-324)),
    )
    error = failed("3")
    assert write(path, plain, chat, error).records() == [plain, chat, error]


def test_spec_items_and_sources_are_read_back(path: Path) -> None:
    store = RunStore(path)
    with store.writing() as writer:
        writer.items(ITEMS)
        writer.manifest(HEAD)
        writer.append([record("1")])
    assert store.spec() == SPEC
    assert store.items() == list(ITEMS)
    assert store.data() == RunData(
        SPEC,
        {"jsts": {"1": ITEMS[0]}, "jnli": {"1": ITEMS[1]}, "jsquad": {"q": ITEMS[2]}},
        SOURCES,
        [record("1")],
    )


def test_a_file_is_utf_8_that_a_person_can_read_unless_a_surrogate_must_be_escaped() -> None:
    assert dumps({"a": "猫"}) == '{"a": "猫"}'
    assert dumps({"a": "猫\udc80"}) == '{"a": "\\u732b\\udc80"}'


def test_of_several_records_of_an_item_the_last_counts_at_the_place_of_the_first(path: Path) -> None:
    store = write(path, failed("1"), record("2"), failed("3"), record("1", "中立"))
    assert store.records() == [record("1", "中立"), record("2"), failed("3")]
    assert store.finished() == {("jnli", "1"), ("jnli", "2")}
    write(path, failed("2"))
    assert store.finished() == {("jnli", "1")}


def test_items_of_different_subsets_may_share_an_id(path: Path) -> None:
    store = write(path, record("1"), failed("2"), record("1", "3.0", task="jsts"), record("9", "4.0", task="jsts"))
    assert store.finished() == {("jnli", "1"), ("jsts", "1"), ("jsts", "9")}
    assert store.finished_of({"jsts": ITEMS[:1]}) == {("jsts", "1")}
    assert store.finished_of({"jnli": ITEMS[1:2], "jsts": ITEMS[:1]}) == {("jnli", "1"), ("jsts", "1")}


def test_the_directory_of_a_spec_is_its_id(tmp_path: Path) -> None:
    assert RunStore.of(tmp_path, SPEC).path == tmp_path / SPEC.spec_id


def test_a_run_that_does_not_exist_has_no_records_and_leaves_nothing_behind(path: Path) -> None:
    store = RunStore(path)
    assert not store.exists()
    assert (store.records(), store.items(), store.finished()) == ([], [], set())
    with pytest.raises(StoreError, match=r"is not a run: it has no manifest\.json"):
        store.data()
    assert not path.exists()


# --- torn and damaged lines -------------------------------------------------------------------------------


def test_a_line_torn_at_any_byte_is_cut_on_opening_and_the_lines_before_it_stay(path: Path) -> None:
    store = write(path, failed("1"), record("2", "中\ud83d立"))
    file = path / "records.jsonl"
    whole = file.read_bytes()
    end = whole.index(b"\n") + 1
    assert len(whole) - end > 200
    for cut in range(end, len(whole)):
        file.write_bytes(whole[:cut])
        assert store.records() == [failed("1")]
        with store.writing() as writer:
            assert file.read_bytes() == whole[:end]
            writer.append([record("new")])
        assert store.records() == [failed("1"), record("new")]


def test_whole_lines_are_never_cut(path: Path) -> None:
    store = write(path, record("1"), record("2"))
    whole = (path / "records.jsonl").read_bytes()
    with store.writing():
        pass
    assert (path / "records.jsonl").read_bytes() == whole


@pytest.mark.parametrize("tail", [b"{", b"x" * 65_535, b"x" * 65_536, b"x" * 200_000], ids=len)
def test_a_torn_line_of_any_length_is_cut(path: Path, tail: bytes) -> None:
    store = write(path, record("1"))
    file = path / "records.jsonl"
    whole = file.read_bytes()
    file.write_bytes(whole + tail)
    with store.writing():
        pass
    assert file.read_bytes() == whole
    file.write_bytes(tail)
    with store.writing():
        assert file.read_bytes() == b""


def test_reading_never_changes_a_file_for_its_last_line_may_still_be_written_to(path: Path) -> None:
    store = write(path, record("1"))
    with (path / "records.jsonl").open("ab") as file:
        file.write(b'{"spec_id": "')
    before = (path / "records.jsonl").read_bytes()
    assert store.records() == [record("1")]
    assert (path / "records.jsonl").read_bytes() == before


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(b'{"spec_id": "0\n', id="torn"),
        pytest.param(b"\x00" * 40 + b"\n", id="zeros"),
        pytest.param(b'{"spec_id": "\xff"}\n', id="not UTF-8"),
        pytest.param(b"null\n", id="null"),
        pytest.param(b"[1, 2]\n", id="list"),
        pytest.param(b'"text"\n', id="text"),
        pytest.param(b'{"spec_id": "x", "task": "jnli", "item_id": "2"}\n', id="no prompt"),
        pytest.param(
            b'{"prompt": {"stop": [], "answers": [], "shot_ids": [], "messages": null}}\n', id="half a prompt"
        ),
        pytest.param(b"1" * 5000 + b"\n", id="endless number"),
    ],
)
def test_a_damaged_line_is_named_and_the_run_is_whole_again_without_it(path: Path, line: bytes) -> None:
    store = write(path, record("1"), record("3"))
    file = path / "records.jsonl"
    first, last = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(first + line + last)
    with pytest.raises(StoreError, match=r"records\.jsonl, line 2: damaged .*Delete the line") as caught:
        store.records()
    assert str(path) in str(caught.value)
    with pytest.raises(StoreError):
        store.finished()
    file.write_bytes(first + last)
    assert store.records() == [record("1"), record("3")]


@pytest.mark.parametrize("line", [b"{\n", b"[]\n", b'{"task": "jnli"}\n'])
def test_a_damaged_line_among_the_items_is_named(path: Path, line: bytes) -> None:
    store = RunStore(path)
    with store.writing() as writer:
        writer.items(ITEMS)
    file = path / "items.jsonl"
    file.write_bytes(file.read_bytes() + line)
    with pytest.raises(StoreError, match=r"items\.jsonl, line 4: damaged .*Restore it"):
        store.items()


# --- manifests --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b'{"format": 2}', "another version"),
        (b'{"spec": {}}', "another version"),
        (b"[]", "another version"),
        (b"null", "another version"),
        (b"", "cannot be read"),
        (b'{"format": 1', "cannot be read"),
        (b'{"format": 1, "x": "\xff"}', "cannot be read"),
    ],
)
def test_a_manifest_that_is_foreign_or_damaged_is_refused(path: Path, content: bytes, says: str) -> None:
    path.mkdir(parents=True)
    (path / "manifest.json").write_bytes(content)
    for read in (RunStore(path).manifest, RunStore(path).spec, RunStore(path).data):
        with pytest.raises(StoreError, match=rf"manifest\.json .*{says}"):
            read()


@pytest.mark.parametrize(
    "table",
    [
        {},
        {"spec": SPEC},
        {"spec": SPEC, "data": None},
        {"spec": SPEC, "data": {"jnli": None}},
        {"spec": None, "data": {}},
        {"spec": {"model": {}}, "data": {}},
        {"spec": {**json.loads(dumps(SPEC)), "later": 1}, "data": {}},
    ],
)
def test_a_manifest_without_what_a_report_needs_is_refused(path: Path, table: dict[str, object]) -> None:
    with RunStore(path).writing() as writer:
        writer.manifest(table)
    with pytest.raises(StoreError, match=r"manifest\.json"):
        RunStore(path).data()


def test_who_reads_a_manifest_while_it_is_rewritten_sees_an_old_or_a_new_one(path: Path) -> None:
    store = RunStore(path)
    seen: set[int] = set()
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            table = store.manifest()
            assert len(table["filling"]) == 100 * table["turn"]
            seen.add(table["turn"])

    with store.writing() as writer, ThreadPoolExecutor(1) as executor:
        writer.manifest({"turn": 0, "filling": ""})
        looking = executor.submit(look)
        for turn in range(200):
            writer.manifest({"turn": turn, "filling": "x" * 100 * turn})
        done.set()
        looking.result()
    assert len(seen) > 1


def test_a_file_that_cannot_be_replaced_stays_and_no_part_is_left(tmp_path: Path) -> None:
    write_atomically(tmp_path / "a", "old")
    with pytest.raises(UnicodeEncodeError):
        write_atomically(tmp_path / "a", "new\ud800")
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir() if p.is_file()] == [("a", "old")]


# --- one writer -------------------------------------------------------------------------------------------


def test_a_second_writer_is_told_so_and_may_write_once_the_first_is_done(path: Path) -> None:
    first, second = RunStore(path), RunStore(path)
    with first.writing() as writer:
        with pytest.raises(RunBusyError, match=r"Another process is writing to .*0123456789abcdef.*Wait for it"):
            second.writing().__enter__()
        writer.append([record("1")])
        assert second.records() == [record("1")], "reading needs no lock"
    with second.writing() as writer:
        writer.append([record("2")])
    assert first.records() == [record("1"), record("2")]


def test_whether_a_run_is_being_written_can_be_seen_without_disturbing_it(path: Path) -> None:
    store = RunStore(path)
    assert not is_being_written(path), "there is none yet"
    with store.writing() as writer:
        assert is_being_written(path)
        writer.append([record("1")])
        assert is_being_written(path)
    assert not is_being_written(path)
    # Whoever looks holds the file for a moment, for which a writer waits.
    looking = os.open(path / "records.jsonl", os.O_RDONLY)
    fcntl.flock(looking, fcntl.LOCK_SH)
    threading.Timer(0.02, lambda: fcntl.flock(looking, fcntl.LOCK_UN)).start()
    with store.writing() as writer:
        writer.append([record("2")])
    os.close(looking)
    assert store.records() == [record("1"), record("2")]


def hold(path: str) -> None:
    """Run by another process: write a record, and keep the lock until the end of standard input."""
    with RunStore(Path(path)).writing() as writer:
        writer.append([record("theirs")])
        print("held", flush=True)
        sys.stdin.read()


def child(call: str, *arguments: str) -> subprocess.Popen[str]:
    """A process that calls a function of this file."""
    script = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from tests.runs import test_store; test_store.{call}"
    return subprocess.Popen(
        [sys.executable, "-c", script, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_writer_in_another_process_holds_the_run_until_it_is_killed(path: Path) -> None:
    with child("hold(sys.argv[1])", str(path)) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(RunBusyError):
            RunStore(path).writing().__enter__()
        other.kill()
    assert write(path, record("ours")).records() == [record("theirs"), record("ours")]


def test_a_writer_may_go_from_thread_to_thread(path: Path) -> None:
    store = RunStore(path)
    writer = store.writing()

    def close() -> None:
        writer.__exit__(None, None, None)

    for step in (writer.__enter__, lambda: writer.append([record("1")]), writer.sync, close):
        thread = threading.Thread(target=step)
        thread.start()
        thread.join()
    assert write(path, record("2")).records() == [record("1"), record("2")]


def test_an_error_within_frees_the_run_and_keeps_what_was_written(path: Path) -> None:
    store = RunStore(path)

    def fail() -> None:
        with store.writing() as writer:
            writer.append([record("1")])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert write(path, record("2")).records() == [record("1"), record("2")]


# --- disks and folders ------------------------------------------------------------------------------------

LIMIT = 20_000


def numbered(i: int) -> Record:
    return record(str(i), "x" * (97 * i % 1000))


def fill_up(path: str) -> None:
    """Run by another process, whose files may not grow beyond LIMIT: write all that can be written, and tell of it."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, LIMIT))
    with RunStore(Path(path)).writing() as writer:
        for head, items in (({"new": "x" * LIMIT}, ITEMS), (HEAD, ITEMS * 100)):
            try:
                writer.manifest(head)
                writer.items(items)
            except StoreError as e:
                print(e, file=sys.stderr)
        for i in range(1000):
            try:
                writer.append([numbered(i)])
            except StoreError as e:
                print(e, file=sys.stderr)
                return
            print(i, flush=True)


def test_on_a_full_disk_everything_written_before_is_intact_and_the_run_can_go_on(path: Path) -> None:
    store = RunStore(path)
    with store.writing() as writer:
        writer.manifest(HEAD)
        writer.items(ITEMS)
    before = {p.name: p.read_bytes() for p in path.iterdir() if p.name != "records.jsonl"}
    with child("fill_up(sys.argv[1])", str(path)) as other:
        out, err = other.communicate(timeout=30)
    assert other.returncode == 0, err
    told = out.split()
    assert 10 < len(told) < 1000
    assert [r.item_id for r in store.records()] == told
    file = path / "records.jsonl"
    assert file.read_bytes().endswith(b"}\n")
    size = len(dumps(numbered(len(told))).encode()) + len(', "crc32": "00000000"\n')
    assert LIMIT - size < file.stat().st_size <= LIMIT
    assert {p.name: p.read_bytes() for p in path.iterdir() if p != file} == before
    faults = err.splitlines()
    assert [fault.split(" could not be written")[0] for fault in faults] == [
        f"manifest.json of {LIMIT + 31:,} bytes",
        f"items.jsonl of {100 * len(before['items.jsonl']):,} bytes",
        f"A record of {size:,} bytes",
    ]
    assert all(str(path) in fault and "free some space and start the same run again" in fault for fault in faults)
    write(path, record("more"))
    assert [r.item_id for r in store.records()] == [*told, "more"]


@pytest.mark.parametrize("name", ["records.jsonl", ".lock"])
def test_a_folder_that_cannot_be_written_to_is_one_sentence(path: Path, name: str) -> None:
    (path / name).mkdir(parents=True)
    with pytest.raises(StoreError, match=r"cannot be written to .*another folder"):
        write(path, record("1"))
    (path / name).rmdir()
    assert write(path, record("1")).records() == [record("1")], "the lock was given back"


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(StoreError, match="cannot be made"):
            RunStore(path).writing()


def test_a_folder_in_the_place_of_a_file_is_one_sentence(path: Path) -> None:
    (path / "items.jsonl").mkdir(parents=True)
    with pytest.raises(StoreError, match=r"items\.jsonl cannot be read"):
        RunStore(path).items()


def test_a_run_that_never_began_leaves_no_folder_and_one_that_holds_a_byte_stays(path: Path) -> None:
    store = RunStore(path)
    with store.writing():
        pass
    assert not path.exists()
    write(path, record("1"))
    with store.writing():
        pass
    assert [r.item_id for r in store.records()] == ["1"]


# --- what others do to the folder ---------------------------------------------------------------------------


def test_a_deleted_lock_lets_no_second_writer_in(path: Path) -> None:
    with RunStore(path).writing() as writer:
        writer.append([record("1")])
        (path / ".lock").unlink()
        with pytest.raises(RunBusyError):
            RunStore(path).writing().__enter__()
        writer.append([record("2")])
    assert RunStore(path).records() == [record("1"), record("2")]


@pytest.mark.parametrize("replaced", [False, True])
def test_a_folder_that_is_moved_while_it_is_written_is_said_and_keeps_what_it_has(path: Path, replaced: bool) -> None:
    def meddle() -> None:
        with RunStore(path).writing() as writer:
            writer.append([record("1")])
            path.rename(path.with_name("moved"))
            if replaced:
                write(path, record("theirs"))
            writer.append([record("2")])

    with pytest.raises(StoreError, match=r"moved, replaced or deleted.*Put it back"):
        meddle()
    assert RunStore(path.with_name("moved")).records() == [record("1")]
    assert RunStore(path).records() == ([record("theirs")] if replaced else [])


def test_zero_bytes_of_a_power_failure_are_no_records_and_the_others_stay(path: Path) -> None:
    write(path, record("1"), record("2"), record("3"))
    first, second, third = (path / "records.jsonl").read_bytes().splitlines(keepends=True)
    torn = first + b"\0" * 20 + second[20:] + third + b"\0" * 4_096
    (path / "records.jsonl").write_bytes(torn)
    assert write(path, record("4")).records() == [record("1"), record("3"), record("4")]


def test_parts_of_files_that_a_killed_process_has_left_are_gone_with_the_next_writer(path: Path) -> None:
    write(path, record("1"))
    for name in (".manifest.json-x1", ".items.jsonl-y2", ".records.jsonl-z3"):
        (path / name).write_text("half", "utf-8")
    write(path)
    assert sorted(entry.name for entry in path.iterdir()) == [".lock", "records.jsonl"]
