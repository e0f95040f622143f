"""What is refused: one sentence with a remedy, within bounds of time and memory, and nothing is left behind."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jglue_app.errors import DataError, InputError, JglueAppError, StoreError, UnknownNameError
from jglue_app.results.importers import log_files, unzip
from jglue_app.results.importers.import_run import Items
from jglue_app.settings import ASSETS, Settings
from tests.results.importers.logs import (
    DATE,
    JCQA,
    JNLI,
    JSQUAD,
    dump,
    inspect_head,
    inspect_sample,
    jnli_ranked,
    packed,
    ranked_sample,
    results,
    samples,
    taken,
    whole,
    with_zstandard,
    written_sample,
)

TASK = "ja_leaderboard_jnli"
SUMS = {"entailment": (-1.0, -2.0, -3.0), "contradiction": (-1.0, -2.0, -3.0), "neutral": (-5.0, -4.0, -0.5)}


@pytest.fixture
def good() -> list[dict[str, Any]]:
    return jnli_ranked(SUMS)


@pytest.fixture(autouse=True)
def _nothing_is_left(settings: Settings) -> Any:
    """After a refusal no run is there, nor a part of one."""
    yield
    assert not settings.runs_dir.exists() or list(settings.runs_dir.iterdir()) == []


def text_of(rows: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def refused(match: str, *paths: Path, error: type[JglueAppError] = DataError, **words: Any) -> str:
    with pytest.raises(error, match=match) as caught:
        taken(*paths, **words)
    sentence = str(caught.value)
    assert "\n" not in sentence and len(sentence) < 900
    return sentence


# --- the file -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", r"is empty\. Give a harness's log"),
        (b"\xef\xbb\xbf \n", r"is empty"),
        (b"hello", r"is no JSON in UTF-8.*Give the log as the harness made it"),
        ('{"doc": "雨"}\n'.encode("utf-16"), r"is no JSON in UTF-8"),
        ('{"doc": "雨"}\n'.encode("cp932"), r"not UTF-8\. Save the file as UTF-8"),
        (b"{}", r"is no log that is known here\. Known are lm-eval samples"),
        (b"[]", r"is no log that is known here"),
        (b"[3]", r"is no log that is known here"),
        (b'{"doc": {', r"not valid JSON .*truncated or damaged"),
        (b"[" * 100_000, r"JSON beyond what can be read"),
        (b'{"doc": ' + b"9" * 5_000 + b"}", r"JSON beyond what can be read"),
        (b'{"doc": 1, "doc": 2}', r"the key 'doc' appears twice"),
    ],
)
def test_a_file_that_is_no_log_is_refused(tmp_path: Path, content: bytes, match: str) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(content)
    refused(match, path)


def test_a_file_that_is_not_there_and_a_folder_without_logs_are_refused(tmp_path: Path) -> None:
    refused("cannot be read .*Give the path of a log", tmp_path / "none.jsonl")
    (tmp_path / "empty").mkdir()
    refused("holds no log", tmp_path / "empty", error=InputError)
    refused("There is no log", error=InputError)


def test_a_log_that_ends_in_the_middle_is_refused_with_its_line(tmp_path: Path, good: list[dict[str, Any]]) -> None:
    path = samples(tmp_path, TASK, good)
    path.write_bytes(path.read_bytes()[:-40])
    refused(r"line 45: not valid JSON .*truncated or damaged: copy it again", path, partial=True)


def test_lines_and_documents_have_a_limit_of_size_which_is_said(
    tmp_path: Path, good: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_files, "MAX_DOCUMENT", 1 << 20)
    monkeypatch.setattr(log_files, "MAX_LINE", 1 << 20)
    rows = [{"input": "x" * (1 << 21), "pred": "0", "gold": "0"}]
    document = whole(tmp_path / "a.json", {"scores": {}, "outputs": {"jnli": rows}, "config": {}})
    refused(r"more than 1 MiB\. Give a log in lines", document)
    long = [good[0], {**good[1], "extra": "x" * (1 << 21)}]
    refused(r"line 2: longer than 1 MiB", dump(tmp_path / "b.jsonl", long))


@pytest.mark.parametrize("format", ["csv", "Inspect", ""])
def test_an_unknown_format_is_refused(tmp_path: Path, good: list[dict[str, Any]], format: str) -> None:
    path = samples(tmp_path, TASK, good)
    if format:
        refused(f"Unknown log format '{format}'", path, format=format, error=UnknownNameError)
    refused("is no result of llm-jp-eval|Extra data", path, format="llm-jp-eval")


# --- a log of something else ----------------------------------------------------------------------------------


def other_benchmark(count: int) -> list[dict[str, Any]]:
    return [
        written_sample({"question": f"{k} + 1 は？", "answer": str(k + 1)}, f"問い {k}", "3", "3") for k in range(count)
    ]


def test_another_benchmark_is_refused_be_it_named_as_it_is_or_as_a_subset(tmp_path: Path) -> None:
    path = samples(tmp_path, "gsm8k", other_benchmark(3))
    refused(
        r"no subset of JGLUE is known by the name 'gsm8k'\. If it is one, say which on the command line",
        path,
        error=InputError,
    )
    refused(
        r"3 of 3 answers are to no item of JCommonsenseQA valid .*another benchmark", path, tasks=["jcommonsenseqa"]
    )
    path = samples(tmp_path, "jcommonsenseqa", other_benchmark(3))
    refused(r"3 of 3 answers are to no item of JCommonsenseQA valid", path, partial=True)


def test_a_log_of_which_a_smaller_part_is_known_is_one_of_another_benchmark(
    tmp_path: Path, good: list[dict[str, Any]]
) -> None:
    strange = []
    for k, row in enumerate(good[:20]):
        doc = {
            "sentence_pair_id": f"z{k}",
            "sentence1": f"別の文{k}です。",
            "sentence2": "知らない文です。",
            "label": 0,
        }
        strange.append({**row, "doc": doc, "arguments": {n: {**v, "arg_0": ""} for n, v in row["arguments"].items()}})
    refused(
        r"20 of 39 answers are to no item of JNLI valid", samples(tmp_path, TASK, [*good[:19], *strange]), partial=True
    )


def test_a_long_log_of_another_benchmark_is_given_up_early(tmp_path: Path) -> None:
    path = samples(tmp_path, "jcommonsenseqa", other_benchmark(1_200))
    # The end of it is never reached.
    path.write_bytes(path.read_bytes() + b"no JSON\n")
    refused(r"1,000 of the first 1,000 answers are to no item of JCommonsenseQA", path, partial=True)


def test_a_log_without_a_subset_of_jglue_is_refused(tmp_path: Path) -> None:
    table: dict[str, Any] = {"scores": {}, "outputs": {"jamp": [], "niilc": []}, "config": {}}
    refused(r"holds no answer of JGLUE\. It has jamp, niilc", whole(tmp_path / "a.json", table))
    table["outputs"] = {"jnli": [{"input": "x", "pred": "0", "gold": "0"}]}
    refused(r"holds no answer of JSTS", whole(tmp_path / "b.json", table), tasks=["jsts"])


def test_items_of_one_subset_in_a_log_of_another_are_refused(tmp_path: Path, good: list[dict[str, Any]]) -> None:
    refused(
        r"named 'ja_leaderboard_jsquad', and the item is one of jnli", samples(tmp_path, "ja_leaderboard_jsquad", good)
    )


def test_the_wrong_items_are_refused_however_alike_their_ids(tmp_path: Path, good: list[dict[str, Any]]) -> None:
    path = samples(tmp_path, TASK, good)
    pool = ASSETS / "samples" / "jnli" / "train.json"
    refused(r"45 of 45 answers are to no item of JNLI valid", path, items=Items(str(pool)), tasks=["jnli"])
    refused(r"A file of items is of one subset\. Name it: --task", path, items=Items(str(pool)), error=InputError)
    refused(
        r"--data must be official, sample or a file", path, items=Items("nothing"), tasks=["jnli"], error=InputError
    )


# --- versions and copies --------------------------------------------------------------------------------------


def test_two_versions_of_a_subset_in_one_log_are_refused(tmp_path: Path) -> None:
    details = [{"question": r["question"], "response": "x", "gold": r["answers"]} for r in JSQUAD]
    names = ("jsquad-1.1-0.2", "jsquad-1.2-0.2")
    table = {
        "results": {name: {"exact_match": 0.0, "details": details} for name in names},
        "versions": dict.fromkeys(names, 1.1),
        "config": {},
    }
    refused(
        r"holds JSQuAD in two versions, 'jsquad-1.1-0.2 1.1' and 'jsquad-1.2-0.2 1.1'",
        whole(tmp_path / "a.json", table),
    )


def test_logs_of_two_models_or_versions_are_no_one_run(tmp_path: Path, good: list[dict[str, Any]]) -> None:
    a = samples(tmp_path / "a", TASK, good)
    b = samples(tmp_path / "b", "ja_leaderboard_jcommonsenseqa", [ranked(row) for row in JCQA])
    results(tmp_path / "a", {TASK: {"acc": 0.6}})
    results(tmp_path / "b", {"ja_leaderboard_jcommonsenseqa": {"acc": 0.6}}, lm_eval_version="0.4.9")
    refused(r"is of lm-eval 0\.4\.9 and .* of lm-eval 0\.4\.13\. Import them one by one", a, b)
    results(tmp_path / "b", {"ja_leaderboard_jcommonsenseqa": {"acc": 0.6}}, config={}, model_name="another")
    refused(r"is of the model 'another' and .* of 'some/model-1b'", a, b)


def ranked(row: dict[str, Any]) -> dict[str, Any]:
    return ranked_sample(
        row, row["question"], [row[f"choice{k}"] for k in range(5)], (-1, -2, -3, -4, -5), row["label"]
    )


def test_the_same_subset_in_two_logs_and_the_same_answer_twice_are_refused(
    tmp_path: Path, good: list[dict[str, Any]]
) -> None:
    a, b = dump(tmp_path / "a.jsonl", good), dump(tmp_path / "b.jsonl", good)
    refused(r"b\.jsonl: JNLI was in a\.jsonl already", a, b)
    twice = dump(tmp_path / "c.jsonl", [*good, good[7]])
    refused(r"line 46: item 'sn008' of JNLI was answered before, at line 8", twice, partial=True)


def test_a_results_file_of_another_run_is_refused(tmp_path: Path, good: list[dict[str, Any]]) -> None:
    path = samples(tmp_path, TASK, good)
    results(tmp_path, {"ja_leaderboard_jsquad": {"exact_match": 0.1}})
    refused(rf"results_{DATE}\.json: has no task '{TASK}'", path)
    refused(r"is no results file of lm-eval", path, results=whole(tmp_path / "x.json", {"a": 1}))


def test_scores_without_outputs_are_no_log(tmp_path: Path) -> None:
    path = results(tmp_path, {TASK: {"acc": 0.3}})
    refused(r"holds scores, and not the outputs of every item\. Of lm-eval give samples_", path)


def test_details_of_the_wrong_answers_alone_are_no_log(tmp_path: Path) -> None:
    name = "jcommonsenseqa-1.1-0.3"
    details = [{"question": JCQA[0]["question"], "choices": ["a"] * 5, "gold": 1, "response": 2}]
    table = {"results": {name: {"acc": 0.9, "details": details}}, "versions": {name: 1.1}, "config": {}}
    refused(r"of Swallow's harness only JSQuAD can be imported", whole(tmp_path / "a.json", table))


def test_the_same_log_twice_is_refused_and_the_first_run_stays(tmp_path: Path, settings: Settings) -> None:
    path = samples(tmp_path, TASK, jnli_ranked(SUMS))
    first = taken(path)
    with pytest.raises(StoreError, match="is here already: this log was imported before"):
        taken(path)
    assert [found.name for found in settings.runs_dir.iterdir()] == [first.path.name]
    for file in first.path.iterdir():
        file.unlink()
    first.path.rmdir()


# --- rows -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda row: row["resps"].pop(), "not as many responses as requests"),
        (lambda row: row.update(resps=[[], [], []]), "a request without a response"),
        (lambda row: row.update(doc="x"), "no sample of lm-eval: it needs arguments, doc, filtered_resps, resps"),
        (lambda row: row.update(arguments={}), "not as many responses as requests"),
        (lambda row: row["resps"].__setitem__(0, [["0.7", "True"]]), r"0\.7 is no logarithm of a probability"),
        (lambda row: row["resps"].__setitem__(0, [["high", "True"]]), "a log-probability was expected, found 'high'"),
    ],
)
def test_a_row_that_is_not_as_its_format_has_it_is_refused_with_its_line(
    tmp_path: Path, good: list[dict[str, Any]], change: Callable[[dict[str, Any]], Any], match: str
) -> None:
    change(good[2])
    refused(rf"line 3: {match}", samples(tmp_path, TASK, good))


def test_sums_that_are_all_0_are_refused(tmp_path: Path, good: list[dict[str, Any]]) -> None:
    good[4]["resps"] = [[["0.0", "True"]]] * 3
    refused(r"line 5: the log-likelihoods of item 'sn005' are all 0", samples(tmp_path, TASK, good))


def test_ranked_texts_that_name_no_label_are_refused(tmp_path: Path, good: list[dict[str, Any]]) -> None:
    text = text_of(good).replace("\\n含意", "\\nはい").replace("\\n矛盾", "\\nいいえ")
    path = tmp_path / "a.jsonl"
    path.write_text(text, "utf-8")
    refused(r"cannot be told which of the answers はい, いいえ, 中立 .* stands for which of entailment", path)
    for numbers in ("012", "ABC"):
        text = text_of(good)
        for word, number in zip(("含意", "矛盾", "中立"), numbers, strict=True):
            text = text.replace(f"\\n{word}", f"\\n{number}")
        path.write_text(text, "utf-8")
        refused(r"cannot be told which of the answers", path)


# --- parts ----------------------------------------------------------------------------------------------------


def test_what_is_not_whole_is_refused_with_counts_unless_a_part_is_wanted(
    tmp_path: Path, good: list[dict[str, Any]]
) -> None:
    refused(
        r"5 of 45 items of JNLI valid have no answer in the log \(the first is 'sn041'\)\. Choose .* \(--partial\)",
        samples(tmp_path, TASK, good[:40]),
    )
    strange = json.loads(json.dumps(good[3]))
    strange["doc"] |= {"sentence_pair_id": "z9", "sentence1": "別の文です。", "sentence2": "知らない文です。"}
    strange["arguments"] = {k: {**v, "arg_0": "別の文です。"} for k, v in strange["arguments"].items()}
    sentence = refused(
        r"1 of 46 answers cannot be told to be to one item of JNLI valid",
        samples(tmp_path, TASK, [*good, strange]),
    )
    assert "z9" in sentence and "--partial" in sentence


# --- archives -------------------------------------------------------------------------------------------------


def archive(tmp_path: Path) -> Path:
    rows = [
        inspect_sample(k, f"{row['sentence1']}\n{row['sentence2']}", "neutral", row["label"])
        for k, row in enumerate(JNLI, start=1)
    ]
    return packed(tmp_path / "log.eval", inspect_head("jnli"), rows)


def test_a_truncated_or_damaged_archive_is_refused(tmp_path: Path) -> None:
    path = archive(tmp_path)
    whole_file = path.read_bytes()
    path.write_bytes(whole_file[: len(whole_file) // 2])
    refused(r"is not a readable \.eval archive .*truncated or damaged: copy it again", path)
    path.write_bytes(whole_file[:200] + bytes(b ^ 255 for b in whole_file[200:260]) + whole_file[260:])
    refused(r"is not a readable \.eval archive", path)


def test_an_archive_packed_with_zstandard_is_refused_when_damaged_or_too_large(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = with_zstandard(archive(tmp_path))
    good = path.read_bytes()
    at = good.index(b"samples/7_epoch_1.json") + 40
    path.write_bytes(good[:at] + bytes(b ^ 255 for b in good[at : at + 9]) + good[at + 9 :])
    refused(r"is not a readable \.eval archive", path)
    path.write_bytes(good)
    monkeypatch.setattr(unzip, "MAX_MEMBER", 200)
    refused(r"unpacks to more than 0 MiB", path)


def test_an_archive_without_a_header_was_not_finished(tmp_path: Path) -> None:
    path = tmp_path / "log.eval"
    with zipfile.ZipFile(path, "w") as out:
        out.writestr("_journal/start.json", "{}")
    refused(r"has no header\.json.*Finish it", path)


def test_a_member_that_unpacks_to_more_than_the_limit_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unzip, "MAX_MEMBER", 1 << 20)
    path = tmp_path / "log.eval"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as out:
        out.writestr("header.json", json.dumps(inspect_head("jnli")))
        out.writestr("samples/1_epoch_1.json", b"0" * (1 << 24))
    assert path.stat().st_size < 1 << 18
    refused(r"unpacks to more than 1 MiB", path)


def test_all_members_together_have_a_limit_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = archive(tmp_path)
    monkeypatch.setattr(unzip, "MAX_TOTAL", 1 << 13)
    refused(r"unpacks to more than 0 MiB", path)
    monkeypatch.setattr(unzip, "MAX_MEMBERS", 10)
    refused(r"holds more than 10 files", path)


def test_a_claimed_size_is_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unzip, "MAX_MEMBER", 1 << 20)
    packed_bytes = io.BytesIO()
    with zipfile.ZipFile(packed_bytes, "w", zipfile.ZIP_DEFLATED) as out:
        out.writestr("header.json", b"0" * (1 << 24))
    raw = bytearray(packed_bytes.getvalue())
    at = raw.rfind(b"PK\x01\x02")
    raw[at + 24 : at + 28] = struct.pack("<I", 10)
    path = tmp_path / "log.eval"
    path.write_bytes(raw)
    refused(r"is not a readable \.eval archive|unpacks to more than", path)
