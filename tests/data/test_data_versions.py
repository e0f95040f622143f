"""Versions and faults of the data on the command line: labels of v1.1, items left out, test sets, known faults."""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from jglue_app.cli import main
from jglue_app.data import files

REAL = os.environ.get("JGLUE_DATA_DIR")
needs_jglue = pytest.mark.skipif(not REAL, reason="set JGLUE_DATA_DIR to a folder with the JGLUE v1.3 files")
Here = Callable[..., tuple[int, str, str]]


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Here:
    """A command in this process → exit code, standard output, standard error."""

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["jglue_app", *map(str, arguments)])
        capfd.readouterr()
        code: object = 0
        try:
            main()
        except SystemExit as e:
            code = e.code or 0
        out, err = capfd.readouterr()
        assert "Traceback" not in err
        assert isinstance(code, int)
        return code, out, err

    return call


def lines(*rows: Mapping[str, Any]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def put(path: Path, *rows: Mapping[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(lines(*rows), "utf-8")
    return path


def always(path: Path, task: str, text: str) -> Path:
    """A table in which every item of an official dev file has the same answer."""
    file = Path(str(REAL)) / f"{task}-v1.3" / "valid-v1.3.json"
    if task == "jsquad":
        document = json.loads(file.read_text("utf-8"))
        ids = [q["id"] for d in document["data"] for p in d["paragraphs"] for q in p["qas"]]
    else:
        key = {"jnli": "sentence_pair_id", "jcommonsenseqa": "q_id"}[task]
        ids = [str(row[key]) for row in map(json.loads, file.read_text("utf-8").splitlines())]
    return put(path, *({"item_id": id_, "text": text} for id_ in ids))


# --- the official files -----------------------------------------------------------------------------------


@needs_jglue
def test_the_report_of_a_run_has_its_scores_without_such_items(
    here: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JGLUE_DATA_DIR", str(REAL))
    table = always(tmp_path / "always.jsonl", "jnli", "contradiction")
    words = ("run", "--model", table, "--style", "en-labels", "--tasks", "jnli", "--runs-dir", tmp_path / "runs")
    code, plain, _ = here(*words)
    assert code == 0
    assert re.search(r"^relabelled +JNLI +accuracy +29 +0\.302 \[.+?\] +0\.305 \[.+?\] +0\.302 \[", plain, re.MULTILINE)
    rows = {row["group"]: row for row in json.loads(here(*words, "--json")[1])["without"]}
    assert {group: row["items"] for group, row in rows.items()} == {"repeated": 11, "leaked": 1487, "relabelled": 29}
    assert rows["leaked"]["without"]["n"] == 2434 - 1487
    assert rows["relabelled"]["labels"]["v1.1"]["value"] == 734 / 2434


@needs_jglue
def test_a_v1_1_score_comes_from_the_v1_3_file(here: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JGLUE_DATA_DIR", str(REAL))
    file = always(tmp_path / "always.jsonl", "jnli", "contradiction")
    words = ("score", "--task", "jnli", "--predictions", file)
    new, old = (json.loads(here(*words, "--json", "--labels", version)[1]) for version in ("v1.3", "v1.1"))
    assert new["protocols"]["official"]["metrics"]["accuracy"]["value"] == 735 / 2434
    assert old["protocols"]["official"]["metrics"]["accuracy"]["value"] == 734 / 2434  # .301561, as often published
    assert [told["protocols"]["official"]["label_version"] for told in (new, old)] == ["v1.3", "v1.1"]
    assert ("references" in new, "references" in old) == (True, False)
    scores = new["groups"]["relabelled"]["protocols"]["official"]["accuracy"]
    assert (scores["items"], scores["without"]["n"]) == (29, 2405)
    assert {version: of["value"] for version, of in scores["labels"].items()} == {
        "v1.1": 734 / 2434,
        "v1.3": 735 / 2434,
    }
    assert {name: group["items"] for name, group in new["groups"].items()} == {
        "repeated": 11,
        "leaked": 1487,
        "relabelled": 29,
    }
    code, plain, _ = here(*words, "--labels", "v1.1")
    assert code == 0
    assert "JNLI is scored against the labels of v1.1, unless" in plain
    assert re.search(r"^relabelled +JNLI +accuracy +29 +0\.302 \[.+?\] +0\.305 \[.+?\] +0\.302 \[", plain, re.MULTILINE)
    assert "labels of v1.1, unless" not in here(*words)[1]
    # A system that had the labels of v1.1 is scored against these either way, and both scores are told.
    for version in ("v1.3", "v1.1"):
        told = json.loads(here(*words, "--json", "--labels", version, "--protocol", "wandb-2023-0shot")[1])
        (protocol,) = told["protocols"].values()
        assert (protocol["label_version"], protocol["metrics"]["accuracy"]["value"]) == ("v1.1", 734 / 2434)
        scores = told["groups"]["relabelled"]["protocols"]["wandb-2023-0shot"]["accuracy"]["labels"]
        assert [scores[name]["value"] for name in ("v1.1", "v1.3")] == [734 / 2434, 735 / 2434]


@needs_jglue
def test_a_stored_run_is_scored_with_and_without_faulty_items_and_under_old_labels(
    here: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JGLUE_DATA_DIR", str(REAL))
    table = tmp_path / "table.jsonl"
    texts = [always(tmp_path / f"{task}.jsonl", task, "0").read_text("utf-8") for task in ("jsquad", "jcommonsenseqa")]
    table.write_text("".join(texts), "utf-8")
    words = ("--tasks", "jsquad,jcommonsenseqa", "--style", "number", "--json")
    made = json.loads(here("run", "--model", table, *words)[1])
    found = json.loads(here("rescore", made["run"], "--json", "--protocol", "official,wandb-2023-0shot")[1])["tasks"]
    assert found["jsquad"]["groups"]["faulty"]["items"] == 116
    assert set(found["jsquad"]["groups"]["faulty"]["protocols"]) == {"official", "wandb-2023-0shot"}
    assert found["jsquad"]["groups"]["faulty"]["protocols"]["official"]["exact_match"]["without"]["n"] == 4326
    leaked = found["jcommonsenseqa"]["groups"]["leaked"]["protocols"]["official"]["accuracy"]
    assert (leaked["items"], leaked["all"]["value"], leaked["without"]["n"]) == (19, 216 / 1119, 1100)
    plain = here("rescore", made["run"])[1]
    assert re.search(r"^faulty +JSQuAD +exact_match +116 ", plain, re.MULTILINE)
    assert "leaked: items that are also in a train file." in plain
    code, out, err = here("rescore", made["run"], "--labels", "v1.1")
    assert (code, out) == (2, "")
    assert "--labels v1.1 concerns the official JNLI dev items alone, and there are none here." in err


@needs_jglue
def test_the_way_between_two_protocols_begins_at_the_labels_that_are_asked_for(
    here: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JGLUE_DATA_DIR", str(REAL))
    table = always(tmp_path / "always.jsonl", "jnli", "contradiction")
    run = json.loads(here("run", "--model", table, "--tasks", "jnli", "--style", "en-labels", "--json")[1])["run"]
    words = ("rescore", run, "--explain", "official", "wandb-2023-0shot")
    # The system has the labels of v1.1: one of 2,434 contradictions fewer.
    for version, start, moved in (("v1.3", 735, 1), ("v1.1", 734, 0)):
        told = json.loads(here(*words, "--labels", version, "--json")[1])
        (way,) = told["waterfalls"]
        assert told["labels"] == version
        assert way["scores"]["accuracy"]["value"] == start / 2434
        (step,) = [step for step in way["switches"] if step["decision"] == "labels"]
        assert (step["scores"]["accuracy"]["value"], len(step["moved"])) == (734 / 2434, moved)
    assert "JNLI is scored against the labels of v1.1" in here(*words, "--labels", "v1.1")[1]
    code, _, err = here(*words, "--labels", "v1.2")
    assert code == 2 and "label version" in err


@needs_jglue
def test_a_part_of_a_run_without_jnli_is_not_concerned(
    here: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JGLUE_DATA_DIR", str(REAL))
    table = put(tmp_path / "few.jsonl", *({"item_id": str(i), "text": "0"} for i in range(11_200)))
    words = ("--tasks", "jnli,jcommonsenseqa", "--limit", "3", "--style", "number", "--json")
    made = json.loads(here("run", "--model", table, *words)[1])
    code, _, err = here("rescore", made["run"], "--tasks", "jcommonsenseqa", "--labels", "v1.1")
    assert (code, "there are none here" in err) == (2, True)
    code, out, _ = here("rescore", made["run"], "--labels", "v1.1", "--json")
    tables = json.loads(out)["tasks"]
    told = [tables[task]["protocols"]["official"].get("label_version") for task in ("jnli", "jcommonsenseqa")]
    assert (code, told) == (0, ["v1.1", None])


@needs_jglue
def test_the_check_names_faulty_repeated_leaked_and_relabelled_items(
    here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JGLUE_DATA_DIR", str(REAL))
    found = json.loads(here("data", "check", "--json")[1])
    known = {(row["file"], row["group"]): row for row in found["known"]}
    assert {key: row["items"] for key, row in known.items()} == {
        ("jnli/valid", "relabelled"): 29,
        ("jsquad/valid", "faulty"): 116,
    }
    labels = known["jnli/valid", "relabelled"]["labels"]
    assert (labels["226"], labels["263"], labels["282"]) == (
        "neutral → entailment",
        "neutral → contradiction",
        "entailment → neutral",
    )
    leaks = {row["evaluated"]: row for row in found["leaks"]}
    assert [len(leaks[name]["pairs"]) for name in ("jnli/valid", "jcommonsenseqa/valid")] == [1487, 19]
    assert {row["file"]: len(row["pairs"]) for row in found["repeats"]} == {
        "jsts/train": 8,
        "jsts/valid": 1,
        "jnli/valid": 11,
        "jsquad/valid": 6,
    }
    short, whole = here("data", "check")[1], here("data", "check", "--ids")[1]
    assert "jnli/valid: 29 items had another label in v1.1 (v1.1 → v1.3)." in short
    assert "  neutral → contradiction (1): 263\n" in short
    assert "a10743p19q2, … (--ids names all)" in short
    assert "Not compared with: train of JNLI, JSQuAD, which is not here." in short
    assert "No other version of JNLI" not in short
    assert "a95156p6q3" not in short
    assert ("a95156p6q3" in whole, "10003 = " in whole) == (True, True)


# --- without them -----------------------------------------------------------------------------------------


def test_other_labels_than_their_own_do_not_concern_samples(here: Here, tmp_path: Path) -> None:
    file = put(tmp_path / "one.jsonl", {"item_id": "sn001", "text": "neutral"})
    words = ("score", "--task", "jnli", "--data", "sample", "--partial", "--predictions", file)
    code, out, err = here(*words, "--labels", "v1.1")
    assert (code, out) == (2, "")
    assert "there are none here. Leave --labels out." in err
    assert here(*words, "--labels", "v1.3")[0] == 0
    code, out, err = here(*words, "--labels", "v1.2")
    assert (code, out) == (2, "")
    assert "Unknown label version 'v1.2'." in err
    assert "The labels of v1.2 are those of v1.3." in err
    assert "groups" not in json.loads(here(*words, "--json")[1])


@pytest.fixture
def test_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder with a JNLI test file of our own, whose checksum is taken for the official one."""
    rows = [
        {"sentence_pair_id": str(i), "sentence1": f"犬が{i}匹いる。", "sentence2": "犬がいる。", "label": label}
        for i, label in enumerate(("entailment", "neutral", "neutral", "contradiction"), 226)
    ]
    path = put(tmp_path / "jglue/jnli-v1.3/test-v1.3.json", *rows)
    monkeypatch.setitem(files.PINNED_SHA256, "jnli/test", hashlib.sha256(path.read_bytes()).hexdigest())
    monkeypatch.setenv("JGLUE_DATA_DIR", str(tmp_path / "jglue"))
    return path


def test_a_test_set_is_run_scored_compared_and_ranked_with_its_own_references(
    here: Here, tmp_path: Path, test_set: Path
) -> None:
    right = put(tmp_path / "right.jsonl", *({"item_id": str(i), "text": "中立"} for i in range(226, 230)))
    poor = put(tmp_path / "poor.jsonl", *({"item_id": str(i), "text": "矛盾"} for i in range(226, 230)))
    words = ("--tasks", "jnli", "--split", "test", "--json")
    a, b = (json.loads(here("run", "--model", file, *words)[1]) for file in (right, poor))
    rescored = json.loads(here("rescore", a["run"], "--json", "--protocol", "official")[1])
    accuracy = rescored["protocols"]["official"]["metrics"]["accuracy"]
    assert (accuracy["value"], accuracy["n"]) == (0.5, 4)
    assert {who: of["accuracy"] for who, of in rescored["references"].items()} == {
        "Tohoku BERT base, fine-tuned": 0.876,
        "Waseda RoBERTa large (s512), fine-tuned": 0.902,
    }
    assert "groups" not in rescored
    assert "label_version" not in rescored["protocols"]["official"]
    assert rescored["label"].endswith(" · test")
    plain = here("rescore", a["run"], "--protocol", "official")[1]
    assert "for comparison, official metrics on all of test" in plain
    assert "0.906" not in plain
    # Ids of dev items that were relabelled are other items here.
    assert "there are none here" in here("rescore", a["run"], "--labels", "v1.1")[2]
    file = put(tmp_path / "said.jsonl", *({"item_id": str(i), "text": "neutral"} for i in range(226, 230)))
    scored = json.loads(here("score", "--task", "jnli", "--split", "test", "--predictions", file, "--json")[1])
    assert scored["protocols"]["official"]["metrics"]["accuracy"]["value"] == 0.5
    assert "human" not in scored["references"]
    both = json.loads(here("compare", a["run"], b["run"], "--json")[1])["comparison"]
    assert both["differences"]["jnli"]["accuracy"]["difference"]["value"] == -0.25
    board = json.loads(here("leaderboard", "--tasks", "jnli", "--data", "test", "--json")[1])
    assert [entry["rank"] for entry in board["entries"]] == [1, 2]
    empty = here("leaderboard", "--tasks", "jnli")[1]
    assert "There is no run over official data yet. 2 runs are over test data: --data test." in empty


def test_a_test_file_that_is_not_the_official_one_is_refused(here: Here, tmp_path: Path, test_set: Path) -> None:
    test_set.write_text(test_set.read_text("utf-8").replace("neutral", "entailment", 1), "utf-8")
    table = put(tmp_path / "table.jsonl", {"item_id": "226", "text": "中立"})
    code, out, err = here("run", "--model", table, "--tasks", "jnli", "--split", "test")
    assert (code, out) == (2, "")
    assert "this is not the official JGLUE v1.3 file" in err


def test_a_subset_without_a_test_set_says_so(here: Here, tmp_path: Path, test_set: Path) -> None:
    table = put(tmp_path / "table.jsonl", {"item_id": "226", "text": "中立"})
    code, out, err = here("run", "--model", table, "--tasks", "jnli,marc_ja", "--split", "test")
    assert (code, out) == (2, "")
    assert "There are no test items of MARC-ja: its official files are not distributed" in err


def test_the_data_of_every_system_is_listed_with_its_source(here: Here) -> None:
    rows = {row["system"]: row for row in json.loads(here("data", "systems", "--json")[1])}
    assert (rows["wandb-2023"]["labels"], rows["wandb-2023"]["items"]["jsquad"]) == ("v1.1", 4422)
    plain = here("data", "systems")[1]
    assert re.search(r"^stability-jp +v1\.1 +– +2,434 +4,442 +1,119 +shunk031/JGLUE", plain, re.MULTILINE)
    assert plain.count("  source: ") == len(rows)
