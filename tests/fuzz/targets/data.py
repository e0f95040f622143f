"""Files of items and of answers: JGLUE's, a user's own in any format, predictions, tables of answers, logs of other
harnesses, wording styles and leaderboards."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from jglue_app.audit.auditor import audit_score, audit_table
from jglue_app.backends.scripted import read_table
from jglue_app.data import files
from jglue_app.prompts.styles import STYLE_DIR, load_style
from jglue_app.results.importers import FORMATS, open_log
from jglue_app.results.importers.import_run import Items, import_logs
from jglue_app.results.surrogates import replace as without_surrogates
from jglue_app.runs.predictions import read_predictions
from jglue_app.settings import ASSETS, Settings, load_settings
from jglue_app.tasks import TASKS
from tests.fuzz.blobs import blob_maker
from tests.fuzz.target import Target
from tests.fuzz.texts import text_maker
from tests.fuzz.trees import json_maker
from tests.results.importers import logs

SAMPLES = ASSETS / "samples"


def rows_of(task: str, count: int = 3) -> list[dict[str, Any]]:
    lines = (SAMPLES / task / "valid.json").read_text("utf-8").splitlines()
    return [json.loads(line) for line in lines[:count]]


def in_file(folder: Path, name: str) -> Callable[[bytes], Path]:
    """Puts an input into a file of its own folder, which holds nothing else."""
    path = folder / "given" / name
    path.parent.mkdir(exist_ok=True)

    def place(made: bytes) -> Path:
        path.write_bytes(made)
        return path

    return place


def _items(task: str, folder: Path) -> Target:
    """A file of one subset in JSON, as the official one and with everything else that JSON can hold."""
    if task == "jsquad":
        document = json.loads((SAMPLES / task / "valid.json").read_text("utf-8"))
        document["data"] = document["data"][:1]
        make = json_maker([document])
        examples = [json.dumps(document).encode()]
    else:
        make = json_maker(rows_of(task), lines=True)
        examples = ["\n".join(map(json.dumps, rows_of(task))).encode(), json.dumps(rows_of(task)).encode()]

    def large() -> list[bytes]:
        row = rows_of("jnli")[0]
        many = "\n".join(json.dumps({**row, "sentence_pair_id": str(n)}) for n in range(4_000))
        return [many.encode(), b"[" * 1_000_000, b'{"a":' * 200_000, b'"' + b"\\u0000" * 160_000, b"\n" * 1_000_000]

    read = partial(files.read_file, task, "valid", source="user", version="user")
    return Target(f"items: {task}", make, read, examples, in_file(folder, "valid.json"), large)


def _tables(folder: Path) -> Target:
    """A user's file of items as CSV, TSV, Parquet or Arrow."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table, out = rows_of("jnli", 5), io.StringIO()
    writer = csv.DictWriter(out, list(table[0]))
    writer.writeheader()
    writer.writerows(table)
    arrow = pa.Table.from_pylist(table)
    parquet, stream = io.BytesIO(), io.BytesIO()
    pq.write_table(arrow, parquet)
    with pa.ipc.new_stream(stream, arrow.schema) as writing:
        writing.write_table(arrow)
    plain = out.getvalue()
    text = text_maker((",", '"', "\n", "\t", "label", "0", "neutral", "\r", '""'), (plain, plain.replace(",", "\t")))
    binary = blob_maker((parquet.getvalue(), stream.getvalue(), plain.encode("utf-8-sig"), plain.encode("utf-16")))
    paths = [folder / f"items{suffix}" for suffix in (".csv", ".tsv", ".parquet", ".arrow")]

    def make(rng: Random) -> bytes:
        if rng.random() < 0.6:
            return text(rng).encode("utf-8", "replace")
        return binary(rng)

    def place(made: bytes) -> Path:
        path = paths[2] if made.startswith(b"PAR1") else paths[len(made) % 2]
        path.write_bytes(made)
        return path

    read = partial(files.read_file, "jnli", "valid", source="user", version="user")
    examples = [parquet.getvalue()]
    return Target("items: tables", make, read, examples, place, share=0.5)


def _scratch_settings(folder: Path) -> Settings:
    return replace(load_settings(), runs_dir=folder / "runs", cache_dir=folder / "cache", public=False)


def _predictions(folder: Path) -> Target:
    dataset = files.load(_scratch_settings(folder), "jnli", data="sample")
    ids = [item.id for item in dataset.items]
    rows = [
        {"item_id": ids[0], "text": "中立"},
        {"item_id": ids[1], "text": "a", "choice_logprobs": [-1.0, -2.0, -3.0], "choices": ["含意", "矛盾", "中立"]},
        {"item_id": ids[2], "choice_logprobs": [-1.0, -2.0, -3.0], "thought": "<think>"},
    ]
    read = partial(read_predictions, dataset=dataset, partial=True)
    examples = ["\n".join(map(json.dumps, rows)).encode()]
    make = json_maker(rows, lines=True, values=[*ids[:3], "<think>", "\x1b", [-1e999], ["含意"] * 3])
    return Target("predictions", make, read, examples, in_file(folder, "predictions.jsonl"))


def _answers(folder: Path) -> Target:
    rows = [
        {"item_id": "1", "text": "a", "task": "jnli"},
        {"item_id": 2, "choice_logprobs": [-1, -2.5], "seconds": 0.1},
    ]
    make = json_maker(rows, lines=True)

    def read(made: bytes) -> object:
        return read_table(made.decode("utf-8", "replace"), "answers.jsonl")

    return Target("table of answers", make, read, ["\n".join(map(json.dumps, rows)).encode()])


# --- logs of harnesses ------------------------------------------------------------------------------------


def _log_examples(kind: str) -> tuple[str, bool, list[Any]]:
    """File name, whether it has one object a line, and valid documents of a format."""
    row = logs.JNLI[0]
    asked = f"前提：{row['sentence1']}\n仮説：{row['sentence2']}\n答え："
    match kind:
        case "lm-eval":
            written = logs.written_sample(row, asked, "neutral", row["label"])
            return f"samples_ja_leaderboard_jnli_{logs.DATE}.jsonl", True, [*logs.jnli_ranked(_SUMS)[:2], written]
        case "inspect":
            samples = [logs.inspect_sample(k, asked, "中立", "neutral") for k in (1, 2)]
            return "log.json", False, [{**logs.inspect_head("jnli", accuracy=0.5), "samples": samples}]
        case "flexeval":
            return (
                "outputs.jsonl",
                True,
                [
                    {
                        "lm_output": "中立",
                        "extra_info": {**row, "prompt": asked},
                        "references": ["中立"],
                        "finish_reason": "stop",
                    }
                ],
            )
        case "llm-jp-eval":
            return (
                "jnli.eval-generated.json",
                False,
                [
                    {
                        "target_dataset": "jnli",
                        "config": {"model": "m"},
                        "samples": [{"input": asked, "output": "neutral", "generated": "neutral", "prompt": asked}],
                    }
                ],
            )
    details = [{"question": q["question"], "response": "答え", "gold": q["answers"]["text"]} for q in logs.JSQUAD[:3]]
    content = {"exact_match": 30.0, "f1": 40.0, "details": details}
    head = {
        "results": {"jsquad-1.1-0.3": content},
        "versions": {"jsquad-1.1-0.3": 1.1},
        "config": {"model_args": "pretrained=m"},
    }
    return "jsquad.json", False, [head]


_SUMS = {"entailment": (-1.0, -2.0, -3.0), "contradiction": (-1.0, -2.0, -3.0), "neutral": (-5.0, -4.0, -0.5)}


def _log(kind: str, folder: Path) -> Target:
    """A log of one harness, read row by row, once as what it says that it is and once as this format."""
    name, lines, documents = _log_examples(kind)

    def read(path: Path) -> object:
        log = open_log(path, None if path.stat().st_size % 2 else kind)
        return sum(1 for _ in log.rows)

    def large() -> list[bytes]:
        return [b"[" * 1_000_000, b'{"a":' * 200_000, json.dumps(documents[0]).encode() * 500]

    return Target(f"log: {kind}", json_maker(documents, lines=lines), read, (), in_file(folder, name), large)


def _imported(folder: Path) -> Target:
    """A log of any harness, imported whole: its rows matched with items, scored and stored."""
    settings = _scratch_settings(folder)
    known = [_log_examples(kind) for kind in FORMATS]
    makers = [json_maker(documents, lines=lines) for _, lines, documents in known]
    given = folder / "given"

    def make(rng: Random) -> tuple[int, bytes]:
        number = rng.randrange(len(known))
        return number, makers[number](rng)

    def place(made: tuple[int, bytes]) -> Path:
        shutil.rmtree(given, ignore_errors=True)
        shutil.rmtree(settings.runs_dir, ignore_errors=True)
        given.mkdir()
        path = given / known[made[0]][0]
        path.write_bytes(made[1])
        return path

    def read(path: Path) -> object:
        return import_logs(settings, [path], partial=True, items=Items("sample"))

    return Target("logs, imported", make, read, (), place, share=0.2)


def _inspect_archive(folder: Path) -> Target:
    samples = [logs.inspect_sample(k, "前提", "中立", "neutral") for k in (1, 2)]
    plain = logs.packed(folder / "a.eval", logs.inspect_head("jnli", accuracy=0.5), samples)
    packed = logs.with_zstandard(plain).read_bytes()
    logs.packed(plain, logs.inspect_head("jnli", accuracy=0.5), samples)

    def read(path: Path) -> object:
        return sum(1 for _ in open_log(path, "inspect").rows)

    examples = [plain.read_bytes(), packed]
    return Target("log: .eval archive", blob_maker(examples), read, examples, in_file(folder, "log.eval"))


# --- styles and leaderboards ------------------------------------------------------------------------------


def _style(folder: Path) -> Target:
    texts = [path.read_text("utf-8") for path in sorted(STYLE_DIR.glob("*.toml"))]
    pieces = (
        *(
            "[jnli]",
            "[jnli.answers]",
            "instruction = ",
            '"""',
            "'''",
            "$sentence1",
            "${",
            "$$",
            "$",
            "max_new_tokens = ",
        ),
        *("stop = [", "]", "\n", "=", "[[", "a.b.c.d", "{", "}", "1e999", "nan", "1979-05-27", "# ", '\\u0000"', "0x"),
    )
    text = text_maker(pieces, texts)
    nested = (
        "a = " + "[" * 3_000 + "]" * 3_000,
        "a = " + "{b = " * 2_000,
        ".".join("a" * 5_000) + " = 1",
        "[" + "a." * 3_000 + "a]",
    )

    def make(rng: Random) -> bytes:
        made = rng.choice(nested) if rng.random() < 0.01 else text(rng)
        encoding = "utf-8" if rng.random() < 0.9 else rng.choice(("utf-16", "cp932", "utf-8-sig"))
        return made.encode(encoding, "replace")

    def read(path: Path) -> object:
        return load_style(str(path))

    examples = [text.encode() for text in texts]
    return Target("wording style", make, read, examples, in_file(folder, "own.toml"))


def _leaderboard(folder: Path) -> Target:
    tables = [
        "model,JNLI,JSTS pearson,JSQuAD EM\na,0.51,0.3,0.66\nb,51.2,30.1,70.0\n",
        "| model | JNLI | JCommonsenseQA |\n|---|---|---|\n| a | 0.51 | 0.9 |\n| b | 0.6/0.7 | **0.91** |\n",
        json.dumps([{"model": "a", "jnli": {"acc": 0.5}}, {"model": "b", "jnli": 0.51}]),
        json.dumps({"a": {"jnli": 0.5, "jsquad": {"em": 1, "f1": 2}}}),
    ]
    pieces = (
        "model",
        "JNLI",
        "JSTS",
        "acc",
        "0.3016",
        "99.9",
        "1e400",
        "NaN",
        "-",
        "%",
        "|",
        ",",
        "\n",
        "\t",
        ";",
        "**",
        "/",
    )
    text = text_maker(pieces, tables, longest=4_000)
    binary = json_maker([json.loads(table) for table in tables[2:]])

    def make(rng: Random) -> str | bytes:
        return text(rng) if rng.random() < 0.8 else binary(rng)

    def read(made: str | bytes) -> object:
        found = audit_table(made)
        return [without_surrogates(str(found.plain()))]

    return Target("leaderboard", make, read, tables, share=0.5)


def _score(folder: Path) -> Target:
    pieces = (
        "0.3016",
        "30.16",
        "%",
        "1",
        "0",
        ".",
        "e",
        "-",
        "+",
        "9" * 30,
        "NaN",
        "±",
        "０．５",
        ",",
        " ",
        "_",
        "1e-400",
    )
    tasks, text = (*TASKS, "jglue", ""), text_maker(pieces, longest=300)

    def read(made: tuple[str, str, int]) -> object:
        return audit_score(made[0], made[1], n=made[2]).plain()

    def make(rng: Random) -> tuple[str, str, int]:
        return rng.choice(tasks) if rng.random() < 0.9 else text(rng), text(rng), rng.choice((0, 1, 2_434, -1, 10**18))

    return Target("a published score", make, read, (("jnli", "0.3016", 2_434),))


_FORMULA_STARTS = ("=", "+", "-", "@", "＝", "＋", "－", "＠", "\t", "\r", "\n")


def _csv_cells(folder: Path) -> Target:
    """Cells of an exported CSV: what is written comes back, and no cell begins a formula."""
    from jglue_app.results.table_files import write

    text = text_maker(("=", "+", "-", "@", "\t", "\r", "\n", '"', ",", "=cmd|' /C calc'!A0", "'", "＝"), longest=3_000)
    path = folder / "out.csv"

    def make(rng: Random) -> list[dict[str, Any]]:
        names = ("run", "task", "item_id", "source", "raw", "field/a")
        return [{name: text(rng) for name in names} for _ in range(2)]

    def read(rows: Sequence[dict[str, Any]]) -> object:
        write(rows, path, "csv")
        with path.open(encoding="utf-8-sig", newline="") as file:
            found = list(csv.DictReader(file, strict=True))
        assert len(found) == len(rows)
        assert not any(cell.startswith(_FORMULA_STARTS) for row in found for cell in row.values())
        return found

    return Target("cells of an export", make, read, [[{"run": "a", "source": "b"}] * 2], share=0.3)


TARGETS: dict[str, Callable[[Path], Target]] = {
    **{f"items: {task}": partial(_items, task) for task in TASKS},
    "items: tables": _tables,
    "predictions": _predictions,
    "table of answers": _answers,
    **{f"log: {kind}": partial(_log, kind) for kind in FORMATS},
    "log: .eval archive": _inspect_archive,
    "logs, imported": _imported,
    "wording style": _style,
    "leaderboard": _leaderboard,
    "a published score": _score,
    "cells of an export": _csv_cells,
}
