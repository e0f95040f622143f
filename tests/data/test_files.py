"""Data: where files are found, what is downloaded, what is refused, what may be shown as an example.

The small files here are our own, in the official layout. Tests that read the real JGLUE files run when
`JGLUE_DATA_DIR` names them.
"""

from __future__ import annotations

import gzip
import hashlib
import itertools
import json
import os
import re
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from jglue_app.data import files, pools
from jglue_app.errors import DataError, InputError, JglueAppError, NetworkError, UnknownNameError
from jglue_app.settings import Settings, load_settings
from jglue_app.tasks import TASKS
from jglue_app.types import Dataset, Item

REMEDY = re.compile(r"Correct the file|Save the file as UTF-8|Give a file|Give the path|delete it and run")

JNLI_ROWS = (
    {"sentence_pair_id": "7", "sentence1": "犬が走る。", "sentence2": "動物が動く。", "label": "entailment"},
    {"sentence_pair_id": "8", "sentence1": "空は青い。", "sentence2": "空は赤い。", "label": "contradiction"},
)
MARC_ROWS = (
    {"review_id": "m1", "sentence": "とても使いやすい。", "label": "positive"},
    {"review_id": "m2", "sentence": "すぐに壊れた。", "label": "negative"},
)
JSTS_ROWS = (
    {"sentence_pair_id": "1", "sentence1": "猫が眠る。", "sentence2": "猫が寝ている。", "label": 4.6},
    {"sentence_pair_id": "2", "sentence1": "猫が眠る。", "sentence2": "船が港を出る。", "label": 0},
)
JCQA_ROW = {
    "q_id": 3,
    "question": "紙を切る道具はどれ？",
    "choice0": "のり",
    "choice1": "はさみ",
    "choice2": "皿",
    "choice3": "帽子",
    "choice4": "鍋",
    "label": 1,
}


def lines(*rows: Mapping[str, Any]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def question(id: str = "q1", **changes: Any) -> dict[str, Any]:
    answers = [{"text": "京都", "answer_start": 12}, {"text": "京都市", "answer_start": 12}]
    return {"id": id, "question": "寺はどこにあるか。", "answers": answers, "is_impossible": False, **changes}


def without(row: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key != name}


def squad(*paragraphs: Mapping[str, Any]) -> bytes:
    return json.dumps({"version": "1", "data": [{"title": "寺", "paragraphs": list(paragraphs)}]}).encode()


def paragraph(*questions: Any, context: str = "寺 [SEP] その寺は京都市にある。") -> dict[str, Any]:
    return {"context": context, "qas": list(questions)}


CONTENT = {
    "marc_ja": lines(*MARC_ROWS),
    "jsts": lines(*JSTS_ROWS),
    "jnli": lines(*JNLI_ROWS),
    "jsquad": squad(paragraph(question())),
    "jcommonsenseqa": lines(JCQA_ROW),
}
JNLI_LABELS = ("entailment", "contradiction", "neutral")
ITEMS = {
    "marc_ja": (
        Item("marc_ja", "m1", {"sentence": "とても使いやすい。"}, ("positive",), ("positive", "negative")),
        Item("marc_ja", "m2", {"sentence": "すぐに壊れた。"}, ("negative",), ("positive", "negative")),
    ),
    "jsts": (
        Item("jsts", "1", {"sentence1": "猫が眠る。", "sentence2": "猫が寝ている。"}, 4.6),
        Item("jsts", "2", {"sentence1": "猫が眠る。", "sentence2": "船が港を出る。"}, 0.0),
    ),
    "jnli": (
        Item("jnli", "7", {"sentence1": "犬が走る。", "sentence2": "動物が動く。"}, ("entailment",), JNLI_LABELS),
        Item("jnli", "8", {"sentence1": "空は青い。", "sentence2": "空は赤い。"}, ("contradiction",), JNLI_LABELS),
    ),
    "jsquad": (
        Item(
            "jsquad",
            "q1",
            {"title": "寺", "context": "その寺は京都市にある。", "question": "寺はどこにあるか。"},
            ("京都", "京都市"),
        ),
    ),
    "jcommonsenseqa": (
        Item(
            "jcommonsenseqa",
            "3",
            {
                "question": "紙を切る道具はどれ？",
                "choice0": "のり",
                "choice1": "はさみ",
                "choice2": "皿",
                "choice3": "帽子",
                "choice4": "鍋",
            },
            ("1",),
            ("0", "1", "2", "3", "4"),
        ),
    ),
}


def make_settings(tmp_path: Path, *, data_dir: Path | None = None, data_url: str = "http://127.0.0.1:9") -> Settings:
    """Settings of which nothing lies outside `tmp_path`; port 9 answers nobody."""
    return Settings(
        public=False,
        data_dir=data_dir,
        data_url=data_url,
        cache_dir=tmp_path / "downloads",
        runs_dir=tmp_path / "runs",
        max_items=20_000,
    )


def put(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def files_below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def pair(id: str, sentence1: str, sentence2: str, label: str = "neutral") -> Item:
    return Item("jnli", id, {"sentence1": sentence1, "sentence2": sentence2}, (label,), JNLI_LABELS)


def dataset(task: str, items: Sequence[Item], source: Any = "sample") -> Dataset:
    return Dataset(task, "valid", tuple(items), source, "v1.3", "valid.json", "0" * 64)


@pytest.fixture
def pin(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, bytes], None]:
    """Make the checksum of a small file the official one."""

    def set_pin(key: str, content: bytes) -> None:
        monkeypatch.setitem(files.PINNED_SHA256, key, hashlib.sha256(content).hexdigest())

    return set_pin


# --- a web server ---------------------------------------------------------------------------------------


@dataclass
class Answer:
    """What the server sends for one path."""

    body: bytes
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: int | None = None
    """Bytes of the body after which the connection is dropped."""


@dataclass
class Site:
    """A web server on the loopback address."""

    url: str
    pages: dict[str, Answer] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "*")
    here = Site("")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            here.asked.append(self.path)
            answer = here.pages.get(self.path, Answer(b"not here", 404))
            self.send_response(answer.status)
            for name, value in {"Content-Length": str(len(answer.body)), **answer.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.body[: answer.cut])

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        here.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield here
        server.shutdown()
        thread.join()


JNLI_PATH = "/jnli-v1.3/valid-v1.3.json"
BIG = lines(*({**JNLI_ROWS[0], "sentence_pair_id": str(i)} for i in range(2000)))


def test_a_download_lands_in_the_cache_and_tells_its_progress(
    tmp_path: Path, site: Site, pin: Callable[[str, bytes], None]
) -> None:
    pin("jnli/valid", BIG)
    site.pages[JNLI_PATH] = Answer(BIG)
    settings = make_settings(tmp_path, data_url=site.url)
    target = tmp_path / "downloads/jglue/v1.3.0/jnli-v1.3/valid-v1.3.json"
    told: list[tuple[str, int, int]] = []
    complete_too_early: list[bool] = []

    def progress(file: str, done: int, total: int) -> None:
        told.append((file, done, total))
        complete_too_early.append(target.exists())

    assert files.fetch(settings, "jnli", "valid", progress) == target
    assert target.read_bytes() == BIG
    assert files_below(tmp_path) == ["downloads/jglue/v1.3.0/jnli-v1.3/valid-v1.3.json"]
    assert not any(complete_too_early)
    assert len(told) > 1
    assert {(file, total) for file, _, total in told} == {(site.url + JNLI_PATH, len(BIG))}
    done = [bytes_so_far for _, bytes_so_far, _ in told]
    assert done == sorted(done)
    assert done[-1] == len(BIG)


def test_progress_of_a_compressed_download_never_passes_its_total(tmp_path: Path, site: Site) -> None:
    packed = gzip.compress(BIG)
    site.pages["/jnli-v1.3/train-v1.3.json"] = Answer(packed, headers={"Content-Encoding": "gzip"})
    told: list[tuple[int, int]] = []
    path = files.fetch(
        make_settings(tmp_path, data_url=site.url), "jnli", "train", lambda _, done, total: told.append((done, total))
    )
    assert path.read_bytes() == BIG
    assert all(done <= total or total == 0 for done, total in told), told[-1]


def test_a_moved_file_and_a_slash_after_the_address_are_followed(
    tmp_path: Path, site: Site, pin: Callable[[str, bytes], None]
) -> None:
    pin("jnli/valid", CONTENT["jnli"])
    site.pages["/old" + JNLI_PATH] = Answer(b"", 302, {"Location": site.url + "/new.json"})
    site.pages["/new.json"] = Answer(CONTENT["jnli"])
    path = files.fetch(make_settings(tmp_path, data_url=site.url + "/old/"), "jnli", "valid")
    assert path.read_bytes() == CONTENT["jnli"]
    assert site.asked == ["/old" + JNLI_PATH, "/new.json"]


def test_the_address_and_the_cache_folder_come_from_the_environment(
    tmp_path: Path, site: Site, pin: Callable[[str, bytes], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    pin("jnli/valid", CONTENT["jnli"])
    site.pages[JNLI_PATH] = Answer(CONTENT["jnli"])
    monkeypatch.delenv("JGLUE_DATA_DIR", raising=False)
    monkeypatch.setenv("JGLUE_DATA_URL", site.url)
    monkeypatch.setenv("JGLUE_CACHE_DIR", str(tmp_path / "elsewhere"))
    found = files.load(load_settings(), "jnli")
    assert found.items == ITEMS["jnli"]
    assert files_below(tmp_path / "elsewhere") == ["jglue/v1.3.0/jnli-v1.3/valid-v1.3.json"]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        pytest.param(Answer(b"no", 404), "answered 404", id="404"),
        pytest.param(Answer(b"oops", 500), "answered 500", id="500"),
        pytest.param(Answer(CONTENT["jnli"], cut=20), "could not be downloaded", id="truncated body"),
        pytest.param(
            Answer(b"not gzip", headers={"Content-Encoding": "gzip"}), "could not be downloaded", id="broken encoding"
        ),
    ],
)
def test_a_server_that_does_not_answer_properly_is_a_network_error_and_leaves_nothing(
    tmp_path: Path, site: Site, answer: Answer, said: str
) -> None:
    site.pages[JNLI_PATH] = answer
    with pytest.raises(NetworkError) as caught:
        files.fetch(make_settings(tmp_path, data_url=site.url), "jnli", "valid")
    message = str(caught.value)
    assert site.url + JNLI_PATH in message
    assert said in message
    assert message.endswith("Check the connection, or set JGLUE_DATA_DIR to a local copy of the files.")
    assert files_below(tmp_path) == []


def test_samples_are_no_remedy_where_there_are_none_of_the_split(tmp_path: Path, site: Site) -> None:
    settings = make_settings(tmp_path, data_url=site.url)
    for split, sampled in (("train", True), ("valid", True), ("test", False)):
        with pytest.raises(NetworkError, match=r"answered 404\. Check the connection, ") as caught:
            files.load(settings, "jnli", split)
        assert ("--data sample" in str(caught.value)) == sampled
    assert str(caught.value).endswith("or set JGLUE_DATA_DIR to a local copy of the files.")


def test_a_server_that_is_down_is_a_network_error_with_a_remedy(tmp_path: Path, site: Site) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(NetworkError, match=rf"127\.0\.0\.1:{port}/.*ConnectError.*--data sample"):
        files.load(make_settings(tmp_path, data_url=f"http://127.0.0.1:{port}"), "jnli")
    assert files_below(tmp_path) == []


@pytest.mark.parametrize("address", ["nonsense", "ftp://127.0.0.1", "http://[::1", "http://127.0.0.1:123456"])
def test_an_address_that_is_none_is_refused_in_a_sentence(tmp_path: Path, site: Site, address: str) -> None:
    with pytest.raises(JglueAppError, match=re.escape(address)):
        files.fetch(make_settings(tmp_path, data_url=address), "jnli", "valid")
    assert files_below(tmp_path) == []


def test_a_cache_folder_that_cannot_be_made_is_refused_in_a_sentence(tmp_path: Path, site: Site) -> None:
    put(tmp_path / "downloads", b"a file where the folder should be")
    site.pages[JNLI_PATH] = Answer(CONTENT["jnli"])
    with pytest.raises(JglueAppError, match="JGLUE_CACHE_DIR"):
        files.fetch(make_settings(tmp_path, data_url=site.url), "jnli", "valid")


def test_a_download_with_a_wrong_checksum_is_refused_and_not_kept(tmp_path: Path, site: Site) -> None:
    site.pages[JNLI_PATH] = Answer(CONTENT["jnli"])
    with pytest.raises(DataError, match=r"not the official JGLUE v1\.3 file") as caught:
        files.load(make_settings(tmp_path, data_url=site.url), "jnli")
    message = str(caught.value)
    assert site.url + JNLI_PATH in message
    assert hashlib.sha256(CONTENT["jnli"]).hexdigest() in message
    assert "ca0353efc7c2eebfb6de4e13f16295053c8b1ee65e7b0849190c90426fbc495f" in message
    assert files_below(tmp_path) == []


def test_the_remedy_for_a_refused_download_is_not_to_delete_an_address(tmp_path: Path, site: Site) -> None:
    site.pages[JNLI_PATH] = Answer(CONTENT["jnli"])
    with pytest.raises(DataError) as caught:
        files.fetch(make_settings(tmp_path, data_url=site.url), "jnli", "valid")
    assert "delete it" not in str(caught.value)


def test_an_unpinned_download_that_is_not_in_the_official_format_is_not_kept(tmp_path: Path, site: Site) -> None:
    site.pages["/jnli-v1.3/train-v1.3.json"] = Answer(b"<html>Please log in to the Wi-Fi.</html>")
    with pytest.raises(JglueAppError, match=re.escape(site.url)):
        files.fetch(make_settings(tmp_path, data_url=site.url), "jnli", "train")
    assert files_below(tmp_path) == []


def test_a_failed_download_leaves_the_earlier_file_alone(tmp_path: Path, site: Site) -> None:
    settings = make_settings(tmp_path, data_url=site.url)
    earlier = put(files.cached_path(settings, "jnli", "valid"), b"earlier")
    with pytest.raises(NetworkError):
        files.fetch(settings, "jnli", "valid")
    assert earlier.read_bytes() == b"earlier"
    assert len(files_below(tmp_path)) == 1


def test_a_new_download_takes_the_place_of_the_earlier_file_in_one_step(
    tmp_path: Path, site: Site, pin: Callable[[str, bytes], None]
) -> None:
    pin("jnli/valid", CONTENT["jnli"])
    site.pages[JNLI_PATH] = Answer(CONTENT["jnli"])
    settings = make_settings(tmp_path, data_url=site.url)
    target = put(files.cached_path(settings, "jnli", "valid"), b"earlier")
    # A second name of the earlier file shows whether it was written over, which a reader could see half done.
    (tmp_path / "reader").hardlink_to(target)
    files.fetch(settings, "jnli", "valid")
    assert target.read_bytes() == CONTENT["jnli"]
    assert (tmp_path / "reader").read_bytes() == b"earlier"


def test_a_download_that_is_stopped_half_way_leaves_no_part(tmp_path: Path, site: Site) -> None:
    site.pages[JNLI_PATH] = Answer(BIG)

    def stop(file: str, done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        files.fetch(make_settings(tmp_path, data_url=site.url), "jnli", "valid", stop)
    assert files_below(tmp_path) == []


def test_marc_ja_cannot_be_fetched_and_the_message_says_what_to_do(tmp_path: Path, site: Site) -> None:
    with pytest.raises(InputError, match=r"no longer distributed.*--marc-ja.*marc_ja-v1\.1/valid-v1\.1\.json"):
        files.fetch(make_settings(tmp_path, data_url=site.url), "marc_ja", "valid")
    assert site.asked == []


def test_fetching_a_subset_that_does_not_exist_suggests_the_nearest_name(tmp_path: Path, site: Site) -> None:
    with pytest.raises(UnknownNameError, match=r"'jnil'.*'jnli'"):
        files.fetch(make_settings(tmp_path, data_url=site.url), "jnil", "valid")


# --- where files are found ------------------------------------------------------------------------------


@pytest.mark.parametrize("task", ["jsts", "jnli", "jsquad", "jcommonsenseqa"])
def test_an_official_file_in_the_data_folder_is_read_into_items(
    tmp_path: Path, pin: Callable[[str, bytes], None], task: str
) -> None:
    pin(f"{task}/valid", CONTENT[task])
    path = put(tmp_path / f"jglue/{task}-v1.3/valid-v1.3.json", CONTENT[task])
    found = files.load(make_settings(tmp_path, data_dir=tmp_path / "jglue"), task)
    assert found == Dataset(
        task, "valid", ITEMS[task], "official", "v1.3", str(path), hashlib.sha256(CONTENT[task]).hexdigest()
    )


def test_the_data_folder_goes_before_the_cache_and_the_cache_before_the_server(
    tmp_path: Path, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(files.PINNED_SHA256, "jnli/valid")
    first, second = lines(JNLI_ROWS[0]), lines(JNLI_ROWS[1])
    settings = make_settings(tmp_path, data_dir=tmp_path / "jglue", data_url=site.url)
    in_folder = put(tmp_path / "jglue/jnli-v1.3/valid-v1.3.json", first)
    in_cache = put(files.cached_path(settings, "jnli", "valid"), second)
    site.pages[JNLI_PATH] = Answer(CONTENT["jnli"])

    assert files.load(settings, "jnli").items == ITEMS["jnli"][:1]
    in_folder.unlink()
    assert files.load(settings, "jnli").items == ITEMS["jnli"][1:]
    assert site.asked == []
    in_cache.unlink()
    assert files.load(settings, "jnli").items == ITEMS["jnli"]
    assert files.load(settings, "jnli").path == str(in_cache)
    assert site.asked == [JNLI_PATH]


def test_a_data_folder_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"JGLUE_DATA_DIR names .*nowhere, which is not a folder\. Point it at"):
        files.load(make_settings(tmp_path, data_dir=tmp_path / "nowhere"), "jnli")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        pytest.param({"task": "jnil"}, "Unknown task 'jnil'. Did you mean 'jnli'?", id="task"),
        pytest.param({"task": "jnli", "split": "vaild"}, "Unknown split 'vaild'. Did you mean 'valid'?", id="split"),
        pytest.param({"task": "jnli", "data": "samples"}, "Unknown data 'samples'. Did you mean 'sample'?", id="data"),
    ],
)
def test_an_unknown_task_split_or_kind_of_data_is_named(tmp_path: Path, words: dict[str, str], message: str) -> None:
    with pytest.raises(UnknownNameError, match=re.escape(message)):
        files.load(make_settings(tmp_path), **words)  # type: ignore[arg-type]


def test_samples_need_neither_folder_nor_network_and_are_marked(tmp_path: Path) -> None:
    for task in TASKS:
        found = files.load(make_settings(tmp_path), task, data="sample")
        assert (found.task, found.split, found.source, found.version) == (task, "valid", "sample", "sample-1")
    assert files_below(tmp_path) == []


def test_samples_have_no_test_split_and_the_message_says_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"samples of JNLI have no 'test' split\. Choose valid for “Split”"):
        files.load(make_settings(tmp_path), "jnli", "test", data="sample")


# --- MARC-ja --------------------------------------------------------------------------------------------


def test_marc_ja_comes_from_a_users_file_before_anything_else(tmp_path: Path) -> None:
    own = put(tmp_path / "my reviews.jsonl", lines(MARC_ROWS[0]))
    put(tmp_path / "jglue/marc_ja-v1.1/valid-v1.1.json", lines(MARC_ROWS[1]))
    settings = make_settings(tmp_path, data_dir=tmp_path / "jglue")
    for kind in ("official", "sample"):
        found = files.load(settings, "marc_ja", data=kind, marc_ja=own)
        assert found.items == ITEMS["marc_ja"][:1]
        assert (found.source, found.version, found.path) == ("user", "user", str(own))


@pytest.mark.parametrize(
    "name",
    ["marc_ja-v1.0/valid-v1.0.json", "marc_ja-v1.1/valid-v1.1.json", "marc_ja-v1.3/valid-v1.3.json"],
)
def test_marc_ja_of_any_version_in_the_data_folder_is_a_users_file(tmp_path: Path, name: str) -> None:
    path = put(tmp_path / "jglue" / name, CONTENT["marc_ja"])
    found = files.load(make_settings(tmp_path, data_dir=tmp_path / "jglue"), "marc_ja")
    assert found.items == ITEMS["marc_ja"]
    assert (found.source, found.version, found.path) == ("user", "user", str(path))


def test_marc_ja_without_a_file_is_the_samples_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "jglue").mkdir()
    for folder in (None, tmp_path / "jglue"):
        found = files.load(make_settings(tmp_path, data_dir=folder), "marc_ja")
        assert (found.source, found.version) == ("sample", "sample-1")


def test_a_users_marc_ja_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.jsonl: cannot be read \(No such file or directory\)\. Give the path"):
        files.load(make_settings(tmp_path), "marc_ja", marc_ja=tmp_path / "gone.jsonl")


def test_the_remedy_for_a_damaged_marc_ja_file_is_not_a_download_that_does_not_exist(tmp_path: Path) -> None:
    own = put(tmp_path / "reviews.jsonl", lines({**MARC_ROWS[0], "label": "good"}))
    with pytest.raises(DataError, match="Correct the file") as caught:
        files.load(make_settings(tmp_path), "marc_ja", marc_ja=own)
    assert "data fetch" not in str(caught.value)


# --- damage ---------------------------------------------------------------------------------------------

GOOD = JNLI_ROWS[0]
SECOND = JNLI_ROWS[1]


@pytest.mark.parametrize(
    ("task", "content", "place", "fault"),
    [
        pytest.param("jnli", CONTENT["jnli"][:-20], "line 2", "not valid JSON", id="cut in a line"),
        pytest.param("jnli", lines(GOOD) + b"[1, 2]\n", "line 2", "expected a JSON object, found list", id="no object"),
        pytest.param("jnli", lines(GOOD, SECOND, GOOD), "line 3", "'7' was already used at line 1", id="duplicate id"),
        pytest.param(
            "jcommonsenseqa",
            lines(JCQA_ROW, {**JCQA_ROW, "q_id": "3"}),
            "line 2",
            "'3' was already used at line 1",
            id="duplicate id, once a number and once a text",
        ),
        pytest.param(
            "jnli", lines(GOOD, without(SECOND, "sentence2")), "line 2", "'sentence2' is missing", id="missing field"
        ),
        pytest.param(
            "jcommonsenseqa", lines(without(JCQA_ROW, "choice4")), "line 1", "'choice4' is missing", id="four choices"
        ),
        pytest.param(
            "jnli", lines(GOOD, {**SECOND, "sentence1": " "}), "line 2", "'sentence1' must be a non-empty", id="blank"
        ),
        pytest.param(
            "jnli", lines(GOOD, {**SECOND, "sentence1": 5}), "line 2", "'sentence1' must be a non-empty", id="no text"
        ),
        pytest.param("jnli", lines(without(GOOD, "sentence_pair_id")), "line 1", "'sentence_pair_id'", id="no id"),
        pytest.param("jnli", lines({**GOOD, "sentence_pair_id": ""}), "line 1", "'sentence_pair_id'", id="empty id"),
        pytest.param("jnli", lines({**GOOD, "sentence_pair_id": True}), "line 1", "found True", id="true id"),
        pytest.param(
            "jnli",
            lines(GOOD, {**SECOND, "label": "entailed"}),
            "line 2",
            "unknown label 'entailed'; expected one of entailment, contradiction, neutral",
            id="unknown JNLI label",
        ),
        pytest.param("jnli", lines(without(GOOD, "label")), "line 1", "unknown label None", id="missing label"),
        pytest.param("jnli", lines({**GOOD, "label": ["neutral"]}), "line 1", "unknown label", id="label in a list"),
        pytest.param(
            "marc_ja",
            lines(MARC_ROWS[0], {**MARC_ROWS[1], "label": "neutral"}),
            "line 2",
            "unknown label 'neutral'; expected one of positive, negative",
            id="unknown MARC-ja label",
        ),
        pytest.param("jcommonsenseqa", lines({**JCQA_ROW, "label": 5}), "line 1", "unknown label 5", id="choice 5"),
        pytest.param("jcommonsenseqa", lines({**JCQA_ROW, "label": -1}), "line 1", "unknown label -1", id="choice -1"),
        pytest.param("jcommonsenseqa", lines({**JCQA_ROW, "label": True}), "line 1", "unknown label True", id="truth"),
        pytest.param("jnli", lines(GOOD) + "犬".encode("shift_jis"), "line 2", "not UTF-8", id="Shift_JIS"),
        pytest.param("jnli", lines(GOOD) + "犬".encode()[:2], "line 2", "not UTF-8", id="cut in a character"),
        pytest.param("jsquad", "寺".encode("euc_jp"), "line 1", "not UTF-8", id="EUC-JP"),
        pytest.param("jnli", b"", "", "holds no items", id="empty"),
        pytest.param("jnli", b"\n \n", "", "holds no items", id="only blank lines"),
        *(
            pytest.param(
                "jsts",
                lines(JSTS_ROWS[0], {**JSTS_ROWS[1], "label": label}),
                "line 2",
                "'label' must be a number from 0 to 5",
                id=f"JSTS label {name}",
            )
            for name, label in [
                ("below 0", -0.1),
                ("above 5", 5.1),
                ("not a number", float("nan")),
                ("infinite", float("inf")),
                ("too long for a float", 10**400),
                ("as text", "3.2"),
                ("a truth value", True),
                ("null", None),
            ]
        ),
        pytest.param("jsts", lines(without(JSTS_ROWS[0], "label")), "line 1", "'label' must be", id="JSTS no label"),
    ],
)
def test_a_damaged_file_of_lines_is_refused_naming_file_place_and_remedy(
    tmp_path: Path, task: str, content: bytes, place: str, fault: str
) -> None:
    path = put(tmp_path / "valid.json", content)
    with pytest.raises(DataError) as caught:
        files.read_file(task, "valid", path, "official", "v1.3")
    message = str(caught.value)
    assert message.startswith(f"{path}, {place}:" if place else f"{path}:")
    assert fault in message
    assert REMEDY.search(message)


def two_articles(second: Any) -> bytes:
    return json.dumps({"data": [{"title": "寺", "paragraphs": [paragraph(question())]}, second]}).encode()


@pytest.mark.parametrize(
    ("content", "place", "fault"),
    [
        pytest.param(CONTENT["jsquad"][:-10], "line 1, column", "not valid JSON", id="cut"),
        pytest.param(b"", "line 1, column 1", "not valid JSON", id="empty"),
        pytest.param(b"[]", "top level", "JSQuAD format", id="a list"),
        pytest.param(b'{"version": "1"}', "top level", "'data'", id="no data"),
        pytest.param(b'{"data": null}', "top level", "JSQuAD format", id="data is null"),
        pytest.param(b'{"data": []}', "", "holds no items", id="no articles"),
        pytest.param(
            b'{"data": [{"title": "x"}]}', "article 1", "'paragraphs'", id="no paragraphs in the first article"
        ),
        pytest.param(
            two_articles({"title": "x"}), "article 2", "'paragraphs'", id="no paragraphs in the second article"
        ),
        pytest.param(two_articles(5), "article 2", "JSQuAD format", id="an article that is a number"),
        pytest.param(
            squad(paragraph(question()), {"context": "寺 [SEP] x"}),
            "article 1, paragraph 2",
            "'qas'",
            id="no questions",
        ),
        pytest.param(
            squad({"qas": [question()]}), "article 1, paragraph 1, question 1", "'context'", id="paragraph without text"
        ),
        pytest.param(
            squad(paragraph(question(), "what?")),
            "article 1, paragraph 1, question 2",
            "JSQuAD format",
            id="question is a text",
        ),
        pytest.param(
            squad(paragraph(question(), question())),
            "article 1, paragraph 1, question 2",
            "'q1' was already used at article 1, paragraph 1, question 1",
            id="duplicate id",
        ),
        *(
            pytest.param(squad(paragraph(row)), "article 1, paragraph 1, question 1", fault, id=name)
            for name, row, fault in [
                ("no id", without(question(), "id"), "'id'"),
                ("no question", without(question(), "question"), "'question' is missing"),
                ("no answers", without(question(), "answers"), "'answers' must list at least one"),
                ("answers empty", question(answers=[]), "'answers' must list at least one"),
                ("answers not a list", question(answers={"text": "京都"}), "'answers' must list at least one"),
                ("answers as texts", question(answers=["京都"]), "'answers' must be an object"),
                ("answer without text", question(answers=[{"answer_start": 3}]), "'text' is missing"),
                ("blank answer", question(answers=[{"text": ""}]), "'text' must be a non-empty text"),
                ("unanswerable", question(is_impossible=True), "no unanswerable questions"),
            ]
        ),
    ],
)
def test_a_damaged_jsquad_file_is_refused_naming_file_place_and_remedy(
    tmp_path: Path, content: bytes, place: str, fault: str
) -> None:
    path = put(tmp_path / "valid.json", content)
    with pytest.raises(DataError) as caught:
        files.read_file("jsquad", "valid", path, "official", "v1.3")
    message = str(caught.value)
    assert message.startswith(f"{path}, {place}" if place else f"{path}:")
    if place.startswith(("article", "top")):
        assert message.startswith(f"{path}, {place}:")
    assert fault in message
    assert REMEDY.search(message)


@pytest.mark.parametrize(
    ("split", "remedy"),
    # `data fetch` takes the valid split unless told otherwise.
    [("valid", "data fetch --task jsts"), ("train", "data fetch --task jsts --split train")],
)
def test_a_file_with_a_wrong_checksum_is_refused_with_the_command_that_replaces_it(
    tmp_path: Path, split: str, remedy: str
) -> None:
    path = put(tmp_path / f"jglue/jsts-v1.3/{split}-v1.3.json", CONTENT["jsts"])
    with pytest.raises(DataError, match=r"not the official JGLUE v1\.3 file") as caught:
        files.load(make_settings(tmp_path, data_dir=tmp_path / "jglue"), "jsts", split)
    message = str(caught.value)
    assert message.startswith(f"{path}:")
    assert hashlib.sha256(CONTENT["jsts"]).hexdigest() in message
    assert remedy in message


def test_a_folder_in_place_of_a_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        files.read_file("jnli", "valid", tmp_path, "user", "user")


def test_blank_lines_windows_line_ends_and_line_separators_within_a_sentence_are_no_damage(tmp_path: Path) -> None:
    odd = {**GOOD, "sentence1": "一行目\u2028二行目\x85三行目"}
    content = lines(odd).replace(b"\n", b"\r\n") + b"\r\n" + lines(SECOND)
    items = files.read_file("jnli", "valid", put(tmp_path / "valid.json", content), "user", "user").items
    assert [item.id for item in items] == ["7", "8"]
    assert items[0].fields["sentence1"] == "一行目\u2028二行目\x85三行目"


def test_a_jsquad_paragraph_is_split_at_its_first_separator_only(tmp_path: Path) -> None:
    content = squad(
        paragraph(question("q1"), context="寺 [SEP] 京都の [SEP] 古い寺"),
        paragraph(question("q2"), context="京都の古い寺"),
    )
    items = files.read_file("jsquad", "valid", put(tmp_path / "valid.json", content), "user", "user").items
    assert [(i.fields["title"], i.fields["context"]) for i in items] == [
        ("寺", "京都の [SEP] 古い寺"),
        ("", "京都の古い寺"),
    ]


# --- few-shot pool --------------------------------------------------------------------------------------


def squad_item(id: str, context: str, question: str) -> Item:
    return Item("jsquad", id, {"title": "寺", "context": context, "question": question}, ("京都",))


DOG_CAT = pair("1", "犬が走る。", "猫が寝る。")
KYOTO = squad_item("1", "京都の寺。", "どこ？")
SCISSORS = ITEMS["jcommonsenseqa"][0]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        pytest.param(DOG_CAT, pair("2", "犬が走る。", "猫が寝る。"), True, id="same pair"),
        pytest.param(DOG_CAT, pair("2", "猫が寝る。", "犬が走る。"), True, id="swapped pair"),
        pytest.param(DOG_CAT, pair("2", "犬が 走る。\n", "猫が\u3000寝る。"), True, id="spaces"),
        pytest.param(DOG_CAT, pair("1", "犬が走る。", "猫が鳴く。"), False, id="one sentence"),
        pytest.param(pair("1", "あい", "う"), pair("2", "あ", "いう"), False, id="same letters, other border"),
        pytest.param(KYOTO, squad_item("2", "京都の寺。", "何？"), True, id="same paragraph"),
        pytest.param(KYOTO, squad_item("1", "奈良の寺。", "どこ？"), False, id="other paragraph"),
        pytest.param(
            SCISSORS,
            Item("jcommonsenseqa", "9", {**SCISSORS.fields, "choice0": "糸"}, ("1",)),
            True,
            id="same question, other choices",
        ),
    ],
)
def test_two_items_have_one_fingerprint_exactly_when_they_share_their_texts(one: Item, other: Item, same: bool) -> None:
    assert (pools.fingerprint(one) == pools.fingerprint(other)) is same


def test_the_pool_of_official_items_is_the_train_file_without_items_under_evaluation(tmp_path: Path) -> None:
    train = (
        {**GOOD, "sentence_pair_id": "100"},
        {**GOOD, "sentence_pair_id": "101", "sentence1": GOOD["sentence2"], "sentence2": GOOD["sentence1"]},
        {**SECOND, "sentence_pair_id": "7"},
    )
    path = put(tmp_path / "jglue/jnli-v1.3/train-v1.3.json", lines(*train))
    evaluated = dataset("jnli", ITEMS["jnli"][:1], "official")
    pool = pools.few_shot_pool(make_settings(tmp_path, data_dir=tmp_path / "jglue"), evaluated)
    assert (pool.split, pool.source, pool.version, pool.path) == ("train", "official", "v1.3", str(path))
    assert pool.sha256 == hashlib.sha256(lines(*train)).hexdigest()
    # An id says nothing across files: the item called 7 here has other texts than the one under evaluation.
    assert [(item.id, item.fields["sentence1"]) for item in pool.items] == [("7", "空は青い。")]


def test_without_a_train_file_the_pool_is_the_samples_and_nothing_is_downloaded(tmp_path: Path, site: Site) -> None:
    pool = pools.few_shot_pool(
        make_settings(tmp_path, data_url=site.url), dataset("jnli", ITEMS["jnli"], source="official")
    )
    assert (pool.split, pool.source, pool.version) == ("train", "sample", "sample-1")
    assert len(pool.items) == 12
    assert site.asked == []


def test_the_pool_of_samples_is_never_the_official_train_file(tmp_path: Path) -> None:
    put(tmp_path / "jglue/jnli-v1.3/train-v1.3.json", CONTENT["jnli"])
    settings = make_settings(tmp_path, data_dir=tmp_path / "jglue")
    pool = pools.few_shot_pool(settings, files.load(settings, "jnli", data="sample"))
    assert pool.source == "sample"


def test_a_users_marc_ja_file_that_holds_a_sample_review_takes_it_out_of_the_pool(tmp_path: Path) -> None:
    settings = make_settings(tmp_path)
    samples = files.load(settings, "marc_ja", "train", data="sample").items
    own = put(tmp_path / "own.jsonl", lines({**MARC_ROWS[0], "sentence": samples[0].fields["sentence"]}, MARC_ROWS[1]))
    pool = pools.few_shot_pool(settings, files.load(settings, "marc_ja", marc_ja=own))
    assert pool.items == samples[1:]


def test_a_users_marc_ja_train_file_in_the_data_folder_is_the_pool(tmp_path: Path) -> None:
    put(tmp_path / "jglue/marc_ja-v1.1/train-v1.1.json", CONTENT["marc_ja"])
    settings = make_settings(tmp_path, data_dir=tmp_path / "jglue")
    own = put(tmp_path / "own.jsonl", lines({**MARC_ROWS[0], "sentence": "音が静か。"}))
    pool = pools.few_shot_pool(settings, files.load(settings, "marc_ja", marc_ja=own))
    assert (pool.items, pool.source) == (ITEMS["marc_ja"], "user")


def test_an_altered_train_file_is_refused_as_a_pool(tmp_path: Path) -> None:
    put(tmp_path / "jglue/jsts-v1.3/train-v1.3.json", CONTENT["jsts"])
    settings = make_settings(tmp_path, data_dir=tmp_path / "jglue")
    with pytest.raises(DataError, match=r"not the official JGLUE v1\.3 file"):
        pools.few_shot_pool(settings, dataset("jsts", ITEMS["jsts"], "official"))


# --- taking items ---------------------------------------------------------------------------------------

HUNDRED = tuple(pair(str(i), f"文{i}", "文") for i in range(100))


def test_a_larger_limit_contains_every_smaller_one() -> None:
    taken = [{item.id for item in pools.sample_items(HUNDRED, limit, seed=3)} for limit in range(101)]
    assert [len(ids) for ids in taken] == list(range(101))
    assert all(small < large for small, large in itertools.pairwise(taken))


def test_taken_items_stay_in_file_order() -> None:
    for limit in (1, 10, 99):
        numbers = [int(item.id) for item in pools.sample_items(HUNDRED, limit, seed=1)]
        assert numbers == sorted(numbers)


def test_taking_is_repeatable_and_another_seed_takes_others() -> None:
    assert pools.sample_items(HUNDRED, 10, seed=5) == pools.sample_items(HUNDRED, 10, seed=5)
    assert len({tuple(item.id for item in pools.sample_items(HUNDRED, 10, seed)) for seed in range(5)}) == 5


@pytest.mark.parametrize("limit", [None, 100, 101, 10**9])
def test_no_limit_or_one_beyond_the_end_takes_everything(limit: int | None) -> None:
    assert pools.sample_items(HUNDRED, limit, seed=0) == HUNDRED


def test_a_limit_of_nothing_takes_nothing() -> None:
    assert pools.sample_items(HUNDRED, 0, seed=0) == ()


# --- verify ---------------------------------------------------------------------------------------------


def test_verify_tells_ok_unpinned_missing_and_damaged_apart(
    tmp_path: Path, site: Site, pin: Callable[[str, bytes], None]
) -> None:
    pin("jsts/valid", CONTENT["jsts"])
    settings = make_settings(tmp_path, data_dir=tmp_path / "jglue", data_url=site.url)
    ok = put(tmp_path / "jglue/jsts-v1.3/valid-v1.3.json", CONTENT["jsts"])
    cached = put(files.cached_path(settings, "jnli", "train"), CONTENT["jnli"])
    altered = put(tmp_path / "jglue/jnli-v1.3/valid-v1.3.json", CONTENT["jnli"])
    broken = put(tmp_path / "jglue/jsquad-v1.3/train-v1.3.json", CONTENT["jsquad"][:-1])
    marc = put(tmp_path / "jglue/marc_ja-v1.1/valid-v1.1.json", CONTENT["marc_ja"])
    rows = {(row["task"], row["split"]): row for row in files.verify(settings)}

    assert set(rows) == {
        (task, split)
        for task in ("marc_ja", "jsts", "jnli", "jsquad", "jcommonsenseqa")
        for split in ("train", "valid", "test")
    } | {("jcola", split) for split in ("train", "valid", "test", "out_of_domain")}
    told = {key: (row["state"], row["path"], row["items"]) for key, row in rows.items() if row["state"] != "missing"}
    assert told == {
        ("jsts", "valid"): ("ok", str(ok), 2),
        ("jnli", "train"): ("unpinned", str(cached), 2),
        ("jnli", "valid"): ("damaged", str(altered), None),
        ("jsquad", "train"): ("damaged", str(broken), None),
        ("marc_ja", "valid"): ("unpinned", str(marc), 2),
    }
    assert rows["jsts", "valid"]["sha256"] == hashlib.sha256(CONTENT["jsts"]).hexdigest()
    assert "not the official JGLUE v1.3 file" in str(rows["jnli", "valid"]["message"])
    assert "not valid JSON" in str(rows["jsquad", "train"]["message"])
    missing = rows["jcommonsenseqa", "valid"]
    assert (missing["state"], missing["path"], missing["sha256"], missing["items"]) == ("missing", None, None, None)
    assert site.asked == []


# --- the real files -------------------------------------------------------------------------------------

REAL = os.environ.get("JGLUE_DATA_DIR")
needs_jglue = pytest.mark.skipif(not REAL, reason="set JGLUE_DATA_DIR to a folder with the JGLUE v1.3 files")


@pytest.fixture
def real(tmp_path: Path) -> Settings:
    assert REAL
    return make_settings(tmp_path, data_dir=Path(REAL))


@needs_jglue
@pytest.mark.parametrize(
    ("task", "count"), [("jsts", 1457), ("jnli", 2434), ("jsquad", 4442), ("jcommonsenseqa", 1119)]
)
def test_the_official_dev_file_is_valid_and_complete(real: Settings, task: str, count: int) -> None:
    found = files.load(real, task)
    assert len(found.items) == count
    assert (found.source, found.version, found.sha256) == ("official", "v1.3", files.PINNED_SHA256[f"{task}/valid"])


@needs_jglue
def test_official_jsquad_titles_are_split_from_their_paragraphs(real: Settings) -> None:
    for item in files.load(real, "jsquad").items:
        assert item.fields["title"]
        assert "[SEP]" not in item.fields["title"] + item.fields["context"]


@needs_jglue
def test_every_official_jsquad_answer_stands_in_the_title_or_the_paragraph(real: Settings) -> None:
    in_title_only = 0
    for item in files.load(real, "jsquad").items:
        assert isinstance(item.gold, tuple)
        for gold in item.gold:
            assert gold in item.fields["title"] or gold in item.fields["context"]
        in_title_only += item.gold[0] not in item.fields["context"]
    # Counted in the raw JSON without this package: a style that leaves the title out makes these unanswerable.
    assert in_title_only == 162


@needs_jglue
def test_no_sample_item_is_an_official_item(real: Settings) -> None:
    official = {
        pools.fingerprint(item)
        for task in files.DISTRIBUTED
        for split in files.SPLITS
        if files.find_official(real, task, split)
        for item in files.load(real, task, split).items
    }
    assert len(official) > 5000
    for task in TASKS:
        for split in ("train", "valid"):
            samples = files.load(real, task, split, data="sample").items
            assert [item.id for item in samples if pools.fingerprint(item) in official] == []


@needs_jglue
def test_official_files_that_are_here_verify(real: Settings) -> None:
    states = {f"{row['task']}/{row['split']}": row["state"] for row in files.verify(real)}
    assert {states[f"{task}/valid"] for task in files.DISTRIBUTED} == {"ok"}
    assert "damaged" not in states.values()


def test_the_few_shot_pool_leaves_out_what_another_subset_of_the_run_evaluates(tmp_path: Path) -> None:
    settings = make_settings(tmp_path)
    evaluated = files.load(settings, "jsts", data="sample")
    pool = pools.few_shot_pool(settings, evaluated)
    shared = pool.items[3]
    sibling = Dataset("jnli", "valid", (Item("jnli", "n1", shared.fields, ("neutral",)),), "user", "", "", "")
    left = pools.few_shot_pool(settings, evaluated, [evaluated, sibling])
    assert [item.id for item in left.items] == [item.id for item in pool.items if item.id != shared.id]
