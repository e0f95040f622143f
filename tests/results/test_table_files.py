"""Exports: one row an item in every format, over all subsets and methods together, whatever the models said."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest

from jglue_app.errors import StoreError
from jglue_app.results import archive, table_files
from jglue_app.runs.store import RunStore
from jglue_app.types import (
    Decoding,
    Item,
    ModelInfo,
    ModelSpec,
    Output,
    Prompt,
    PromptSpec,
    Record,
    RunData,
    RunError,
    RunSpec,
)

LABELS = ("entailment", "contradiction", "neutral")
CHOICES = tuple("01234")
ITEMS = (
    Item("marc_ja", "1", {"sentence": "よい。"}, ("positive",), ("positive", "negative")),
    Item("jsts", "1", {"sentence1": "猫", "sentence2": "犬"}, 2.5),
    Item("jsts", "2", {"sentence1": "=1+1", "sentence2": "空"}, 0.0),
    Item("jnli", "1", {"sentence1": "前\r後", "sentence2": '雲,"引用"'}, ("neutral",), LABELS),
    Item("jnli", "2", {"sentence1": "a", "sentence2": "b"}, ("neutral",), LABELS),
    Item("jnli", "3", {"sentence1": "c", "sentence2": "d"}, ("entailment",), LABELS),
    Item("jsquad", "q1", {"title": "", "context": "京都と京都市", "question": "どこ"}, ("京都", "京都市")),
    Item("jsquad", "q2", {"title": "題", "context": "奈良", "question": "どこ"}, ("奈良",)),
    Item(
        "jcommonsenseqa",
        "9",
        {"question": "何", **{f"choice{i}": f"語{i}" for i in range(5)}},
        ("3",),
        CHOICES,
    ),
)
TASKS = ("marc_ja", "jsts", "jnli", "jsquad", "jcommonsenseqa")
SAID = {
    ("marc_ja", "1"): "positive",
    ("jsts", "1"): "3.0",
    ("jsts", "2"): "",
    ("jnli", "1"): "中立\r=cmd|' /C calc'!A0",
    ("jnli", "2"): "\ud800矛盾\x00\x07\u2028\n＝1+1",
    ("jnli", "3"): None,
    ("jsquad", "q1"): "京都",
    ("jsquad", "q2"): None,
    ("jcommonsenseqa", "9"): "-3",
}
"""None for an item that failed (`jnli` 3) or did not fit (`jsquad` q2)."""


def made(method: str, items: tuple[Item, ...] = ITEMS) -> RunData:
    """A run as `generate`, `choose` or `both` leaves it; `choose` answers closed subsets alone."""
    tasks = tuple(name for name in TASKS if method != "choose" or name not in ("jsts", "jsquad"))
    spec = RunSpec(
        ModelSpec("表.jsonl", "scripted"), tasks, "sample-1", {}, PromptSpec(), "cc", Decoding(method), "0.1.0"
    )
    chosen = [item for item in items if item.task in tasks]
    by_task: dict[str, dict[str, Item]] = {}
    for item in chosen:
        by_task.setdefault(item.task, {})[item.id] = item
    model = ModelInfo("m", "c", "float32", "cpu", None, "", False, "", False, 0)
    records = [record(spec, item, method) for item in chosen]
    return RunData(spec, by_task, dict.fromkeys(by_task, "sample"), records, model)


def record(spec: RunSpec, item: Item, method: str) -> Record:
    said = SAID[item.task, item.id]
    prompt = Prompt(item.task, item.id, f"問：{item.id}\n", None, (), item.choices, "", ("t1", "t2"), "00" * 32)
    scores = tuple(-float(i + 1) for i in range(len(item.choices))) if item.choices and method != "generate" else None
    if (item.task, item.id) == ("jnli", "3"):
        return Record(spec.spec_id, item.task, item.id, prompt, None, RunError("non_finite", "NaN。"))
    if said is None:
        return Record(spec.spec_id, item.task, item.id, prompt, Output(None, "overflow", 9_999, 0, 0.0))
    if method == "choose":
        return Record(spec.spec_id, item.task, item.id, prompt, Output(None, "scored", 12, 0, 0.25, scores))
    return Record(spec.spec_id, item.task, item.id, prompt, Output(said, "stop", 12, 3, 0.25, scores))


def spelled(text: str | None) -> str | None:
    """As a table in UTF-8 holds it: lone surrogates make the text be written in JSON's escapes."""
    return None if text is None else json.dumps(text)[1:-1] if "\ud800" in text else text


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


GOLDS = [
    '["positive"]',
    "2.5",
    "0.0",
    '["neutral"]',
    '["neutral"]',
    '["entailment"]',
    '["京都", "京都市"]',
    '["奈良"]',
    '["3"]',
]


@pytest.mark.parametrize("method", ["generate", "both"])
def test_all_five_subsets_together_reach_every_format_with_their_values(tmp_path: Path, method: str) -> None:
    found = table_files.rows(made(method))
    for name in table_files.FORMATS:
        table_files.write(found, tmp_path / f"out.{name}", name)
    table = pq.read_table(tmp_path / "out.parquet").to_pylist()
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text("utf-8").splitlines()]
    cells = read_csv(tmp_path / "out.csv")
    texts = [SAID[item.task, item.id] for item in ITEMS]
    for rows in (table, lines, cells):
        assert [row["task"] for row in rows] == [item.task for item in ITEMS]
        assert [row["gold"] for row in rows] == GOLDS
    assert [row["raw"] for row in lines] == texts
    assert [row["raw"] for row in table] == [spelled(text) for text in texts]
    assert [row["raw"].removeprefix("'") for row in cells] == [spelled(text) or "" for text in texts]
    assert [row["prompt_tokens"] for row in table] == [12, 12, 12, 12, 12, None, 12, 9_999, 12]
    assert [row["error"] for row in table] == [None] * 5 + ["NaN。"] + [None] * 3
    assert [row["field/sentence1"] for row in table] == [None, "猫", "=1+1", "前\r後", "a", "c", None, None, None]
    assert [row["verdict/official"] for row in table][:3] == [1.0, 3.0, None]
    assert [json.loads(row["gold"]) for row in table][1:4] == [2.5, 0.0, ["neutral"]]
    scores = "[-1.0, -2.0]" if method == "both" else None
    assert table[0]["choice_logprobs"] == scores
    assert table[0]["choice"] == ("positive" if method == "both" else None)


def test_a_ranking_alone_reaches_every_format(tmp_path: Path) -> None:
    found = table_files.rows(made("choose"))
    for name in table_files.FORMATS:
        table_files.write(found, tmp_path / f"out.{name}", name)
    frame = pd.read_parquet(tmp_path / "out.parquet")
    assert frame["choice"].tolist()[:3] == ["positive", "entailment", "entailment"]
    assert frame["raw"].isna().all()
    assert [row["choice"] for row in read_csv(tmp_path / "out.csv")] == [
        "positive",
        "entailment",
        "entailment",
        "",
        "0",
    ]


@pytest.mark.parametrize("task", TASKS)
def test_a_column_has_the_same_type_whichever_subset_a_run_has(tmp_path: Path, task: str) -> None:
    whole = types_of(tmp_path, made("both").records and table_files.rows(made("both")))
    own = types_of(tmp_path, table_files.rows(made("both", tuple(item for item in ITEMS if item.task == task))))
    assert own and own.items() <= whole.items()
    assert (whole["gold"], whole["raw"], whole["error"]) == ("string", "string", "string")
    assert (whole["prompt_tokens"], whole["seconds"], whole["verdict/official"]) == ("int64", "double", "double")
    assert [name for name in whole if whole[name] == "null"] == []


def types_of(folder: Path, found: Any) -> dict[str, str]:
    table_files.write(found, folder / "types.parquet", "parquet")
    return {field.name: str(field.type) for field in pq.read_schema(folder / "types.parquet")}


def test_no_line_of_a_csv_file_begins_a_cell_of_its_own(tmp_path: Path) -> None:
    """Read by another program, whatever it takes for the end of a line: inside quotes nothing begins a row."""
    table_files.write(table_files.rows(made("generate")), tmp_path / "out.csv", "csv")
    text = (tmp_path / "out.csv").read_bytes().decode("utf-8-sig")
    rows, quoted = 1, False
    for i, character in enumerate(text[:-2]):
        quoted ^= character == '"'
        rows += not quoted and character in "\r\n" and text[i - 1] != "\r"
        assert quoted or character in '",\r\n', (i, text[i - 30 : i + 30])
    assert rows == len(ITEMS) + 1
    frame = pd.read_csv(tmp_path / "out.csv", encoding="utf-8-sig", dtype=str, keep_default_na=False)
    assert frame["raw"][3] == "中立\r=cmd|' /C calc'!A0"
    for row in read_csv(tmp_path / "out.csv"):
        assert [
            cell
            for name, cell in row.items()
            if not name.startswith("verdict/") and cell.startswith(("=", "+", "-", "@", "＝", "\t", "\r", "\n"))
        ] == []


@pytest.mark.parametrize(
    "before", ["", " ", "\u3000", "\xa0", "\x0b", "\x00", "\ufeff", "\u200b", "\u202e", "\t", " \r"]
)
@pytest.mark.parametrize("sign", ["=", "+", "-", "@", "＝", "＋", "－", "＠", "−"])
def test_a_cell_that_a_spreadsheet_would_evaluate_begins_with_an_apostrophe(
    before: str, sign: str, tmp_path: Path
) -> None:
    texts = [f"{before}{sign}1+1", f"{before}1{sign}1", "含意"]
    table_files.write([{"source": "x", "raw": text} for text in texts], tmp_path / "out.csv", "csv")
    cells = [row["raw"] for row in read_csv(tmp_path / "out.csv")]
    line_end = before.strip(" ") in ("\t", "\r") and not before.startswith(" ")
    assert cells == [f"'{texts[0]}", f"'{texts[1]}" if line_end else texts[1], texts[2]]


def test_a_run_without_an_answer_is_a_table_without_rows(tmp_path: Path) -> None:
    for name in table_files.FORMATS:
        table_files.write([], tmp_path / f"out.{name}", name)
    assert pq.read_table(tmp_path / "out.parquet").num_rows == 0
    assert (tmp_path / "out.jsonl").read_bytes() == b""
    assert read_csv(tmp_path / "out.csv") == []


def test_an_export_that_fails_leaves_the_file_that_was_there(tmp_path: Path) -> None:
    (tmp_path / "out.csv").mkdir()
    with pytest.raises(StoreError, match="cannot be written"):
        table_files.write(table_files.rows(made("both")), tmp_path / "out.csv", "csv")
    assert [path.name for path in tmp_path.iterdir() if path.name != "cache"] == ["out.csv"]


@pytest.mark.parametrize("method", ["generate", "choose", "both"])
def test_a_packed_run_of_all_subsets_is_read_back_as_it_was(tmp_path: Path, method: str) -> None:
    data = made(method)
    store = RunStore.of(tmp_path / "runs", data.spec)
    head = {"label": "x", "created": "2026", "spec_id": data.spec.spec_id, "spec": data.spec, "model": data.model}
    with store.writing() as writer:
        writer.items(item for items in data.items.values() for item in items.values())
        writer.manifest(head | {"data": {name: {"source": "sample"} for name in data.items}})
        writer.append(data.records)
    assert store.data() == data
    there = archive.unpack(archive.pack(store.path, tmp_path / "run.zip"), tmp_path / "there")
    assert RunStore(there).data() == data
    assert table_files.rows(RunStore(there).data()) == table_files.rows(data)
