"""Small logs in the formats of other harnesses, over the sample items, written by hand from what each format holds."""

from __future__ import annotations

import io
import json
import struct
import zipfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from jglue_app.results.importers.import_run import ImportResult, Items, import_logs
from jglue_app.settings import ASSETS, load_settings

NLI = ("entailment", "contradiction", "neutral")
WORDS = ("含意", "矛盾", "中立")
NLI_JA = dict(zip(NLI, WORDS, strict=True))
DATE = "2026-01-02T03-04-05.678901"


def rows(task: str) -> list[dict[str, Any]]:
    """The sample items of a subset, read without the code under test; of JSQuAD as the Hub has them."""
    text = (ASSETS / "samples" / task / "valid.json").read_text("utf-8")
    if task != "jsquad":
        return [json.loads(line) for line in text.splitlines()]
    return [
        {"id": qa["id"], "title": article["title"], "context": paragraph["context"], "question": qa["question"]}
        | {"answers": {"text": [a["text"] for a in qa["answers"]], "answer_start": [0] * len(qa["answers"])}}
        for article in json.loads(text)["data"]
        for paragraph in article["paragraphs"]
        for qa in paragraph["qas"]
    ]


JNLI, JSQUAD, JCQA, JSTS = (rows(task) for task in ("jnli", "jsquad", "jcommonsenseqa", "jsts"))


def dump(path: Path, found: Iterable[Mapping[str, Any]]) -> Path:
    """Write JSON Lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in found), "utf-8")
    return path


def whole(path: Path, found: Any) -> Path:
    """Write one JSON document."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found, ensure_ascii=False, indent=1), "utf-8")
    return path


def taken(*paths: Path, **words: Any) -> ImportResult:
    """An import over the sample items."""
    return import_logs(load_settings(), paths, items=words.pop("items", Items("sample")), **words)


# --- lm-eval --------------------------------------------------------------------------------------------------


def ranked_sample(
    doc: Mapping[str, Any], context: str, choices: Sequence[str], sums: Sequence[float], target: int, lead: str = "\n"
) -> dict[str, Any]:
    """A sample of `multiple_choice`."""
    requests = {f"gen_args_{k}": {"arg_0": context, "arg_1": lead + text} for k, text in enumerate(choices)}
    pairs = [[str(number), "False"] for number in sums]
    return {
        "doc_id": 0,
        "doc": dict(doc),
        "target": str(target),
        "arguments": requests,
        "resps": [[pair] for pair in pairs],
        "filtered_resps": pairs,
        "filter": "none",
        "metrics": ["acc"],
        "doc_hash": "d",
        "acc": 0.0,
    }


def written_sample(doc: Mapping[str, Any], context: str, text: str, target: str, name: str = "none") -> dict[str, Any]:
    """A sample of `generate_until`."""
    return {
        "doc_id": 0,
        "doc": dict(doc),
        "target": target,
        "arguments": {"gen_args_0": {"arg_0": context, "arg_1": {"until": ["\n"], "do_sample": False}}},
        "resps": [[text]],
        "filtered_resps": [text.strip()],
        "filter": name,
        "metrics": ["exact_match"],
        "exact_match": 0.0,
    }


def jnli_ranked(sums_of: Mapping[str, Sequence[float]], order: Sequence[str] = NLI) -> list[dict[str, Any]]:
    """Samples of JNLI: the choices in some order, the label as its number there, sums by gold label in that order."""
    return [
        ranked_sample(
            {**row, "label": order.index(row["label"])},
            f"前提：{row['sentence1']}\n仮説：{row['sentence2']}\n答え：",
            [NLI_JA[label] for label in order],
            sums_of[row["label"]],
            order.index(row["label"]),
        )
        for row in JNLI
    ]


def results(folder: Path, scores: Mapping[str, Mapping[str, float]], **more: Any) -> Path:
    """A results file of lm-eval."""
    table = {
        "results": {task: {f"{name},none": v for name, v in s.items()} | {"alias": task} for task, s in scores.items()},
        "versions": dict.fromkeys(scores, 1.0),
        "n-shot": dict.fromkeys(scores, 3),
        "config": {"model": "hf", "model_args": {"pretrained": "some/model-1b", "dtype": "float32"}},
        "lm_eval_version": "0.4.13",
        "model_name": "some/model-1b",
    }
    return whole(folder / f"results_{DATE}.json", table | more)


def samples(folder: Path, task: str, found: Iterable[Mapping[str, Any]]) -> Path:
    """A samples file of lm-eval."""
    return dump(folder / f"samples_{task}_{DATE}.jsonl", found)


# --- Inspect --------------------------------------------------------------------------------------------------


def inspect_sample(number: int, asked: str, output: str | None, target: str, **more: Any) -> dict[str, Any]:
    """A sample of Inspect; without an output it failed."""
    message = {"role": "assistant", "content": output, "source": "generate"}
    choices = [] if output is None else [{"message": message, "stop_reason": "stop"}]
    turns = [{"role": "user", "content": asked}, *([] if output is None else [message])]
    return {
        "id": number,
        "epoch": 1,
        "input": asked,
        "target": target,
        "messages": turns,
        "output": {"model": "m", "choices": choices, "completion": output or ""},
        "scores": {},
        "metadata": {},
        "attachments": {},
    } | more


def inspect_head(task: str, **scores: float) -> dict[str, Any]:
    """What an Inspect log has beside its samples."""
    metrics = {name: {"name": name, "value": value} for name, value in scores.items()}
    return {
        "version": 2,
        "status": "success",
        "eval": {
            "task": task,
            "task_version": 0,
            "dataset": {"name": task},
            "model": "maker/model",
            "packages": {"inspect_ai": "0.3.285"},
        },
        "plan": {"name": "plan"},
        "results": {"scores": [{"name": "exact", "metrics": metrics}]},
    }


def packed(path: Path, head: Mapping[str, Any], found: Sequence[Mapping[str, Any]]) -> Path:
    """An .eval log, deflated."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as out:
        out.writestr("_journal/start.json", "{}")
        for k, sample in enumerate(found, start=1):
            out.writestr(f"samples/{k}_epoch_{sample['epoch']}.json", json.dumps(sample, ensure_ascii=False))
        out.writestr("header.json", json.dumps(head, ensure_ascii=False))
    return path


def with_zstandard(path: Path) -> Path:
    """The same archive with its members packed as Inspect packs them, which `zipfile` cannot write."""
    out, entries = io.BytesIO(), []
    with zipfile.ZipFile(path) as source:
        for name in source.namelist():
            data, encoded = source.read(name), name.encode()
            packed_data = pa.compress(data, codec="zstd", asbytes=True)
            sizes = (zlib.crc32(data), len(packed_data), len(data), len(encoded))
            entries.append((encoded, sizes, out.tell()))
            out.write(struct.pack("<4s5H3L2H", b"PK\x03\x04", 63, 0, 93, 0, 33, *sizes, 0) + encoded + packed_data)
    start = out.tell()
    for encoded, sizes, at in entries:
        out.write(struct.pack("<4s6H3L5H2L", b"PK\x01\x02", 63, 63, 0, 93, 0, 33, *sizes, 0, 0, 0, 0, 0, at) + encoded)
    end = out.tell()
    out.write(struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, len(entries), len(entries), end - start, start, 0))
    path.write_bytes(out.getvalue())
    return path
