"""A library of stored runs as large as wanted: `python -m tests.scale.make_library --runs 1000 --items 10000 DIR`.

Run folders as the package writes them, with the answers of imagined models of several abilities: each run is a model in
a prompt format, each item has a difficulty, and weak models leave some answers unreadable. Every line has its own
checksum, every manifest the number and checksum of its items. All files are distinct; the same arguments give the same
answers. The folder must be new. A million records take about 900 MB and ten seconds on one core.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import multiprocessing
import random
import sys
import time
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from jglue_app.prompts.formats import FORMATS
from jglue_app.runs.serialization import dumps, facts_of, items_text, parse_record_line
from jglue_app.runs.writer import FORMAT_VERSION
from jglue_app.tasks import TASKS
from jglue_app.types import Decoding, Item, ModelInfo, ModelSpec, Output, Prompt, PromptSpec, Record, RunSpec

SHARES = {"jsts": 1_457, "jnli": 2_434, "jsquad": 4_442, "jcommonsenseqa": 1_119}
"""Items of the dev files that are distributed: 9,452 together."""
PLACES = ("駅前の広場", "古い図書館", "川沿いの公園", "市役所の窓口", "港の倉庫", "山あいの学校")
PEOPLE = ("二人の男性", "赤い服の女性", "大勢の観光客", "白い犬を連れた人", "消防隊員", "小さな子ども")
DEEDS = ("写真を撮っている", "自転車を直している", "昼食を食べている", "地図を広げている", "荷物を運んでいる")
UNREADABLE = "はい、質問にお答えします。まず文を読みます。"


def items_of(count: int) -> list[Item]:
    """About this many items over four subsets, in the shares of the dev files; the same for the same count."""
    total = sum(SHARES.values())
    numbers = {task: max(1, round(count * share / total)) for task, share in SHARES.items()}
    numbers["jsquad"] += count - sum(numbers.values())
    return [_item(task, number) for task in TASKS if task in numbers for number in range(numbers[task])]


def _item(task: str, number: int) -> Item:
    rng = random.Random(f"{task} {number}")
    place, person, deed, other = (rng.choice(words) for words in (PLACES, PEOPLE, DEEDS, DEEDS))
    sentence = f"{place}で{person}が{deed}（{number}）。"
    id_ = f"{task[:4]}{number:05}"
    if task == "jsts":
        pair = {"sentence1": sentence, "sentence2": f"{person}が{place}のそばで{other}。"}
        return Item(task, id_, pair, round(rng.uniform(0, 5), 1))
    if task == "jnli":
        labels = TASKS[task].labels
        pair = {"sentence1": sentence, "sentence2": f"{place}に{person}がいる。"}
        return Item(task, id_, pair, (rng.choice(labels),), labels)
    if task == "jcommonsenseqa":
        choices = {f"choice{i}": word for i, word in enumerate(rng.sample(PLACES, 5))}
        fields = {"question": f"{person}が{deed}のはどこ？（{number}）", **choices}
        return Item(task, id_, fields, (rng.choice(TASKS[task].labels),), TASKS[task].labels)
    context = f"{sentence}その{number % 30 + 1}分後、{other}人が加わり、{place}は夕方まで人でにぎわった。"
    return Item(task, id_, {"title": place, "context": context, "question": f"{deed}のは誰か。"}, (person,))


def _answers(item: Item) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The prompt's answers, and texts a model may write: from right over wrong ones to one that cannot be read."""
    if item.task == "jsts":
        gold = float(item.gold)  # type: ignore[arg-type]
        near = (f"{min(5.0, max(0.0, gold + off)):.1f}" for off in (0.0, 0.4, -0.7, 1.6, -2.3))
        return (), (*near, UNREADABLE)
    assert isinstance(item.gold, tuple)
    if item.task == "jsquad":
        return (), (item.gold[0], item.gold[0] + "です", "観光客", item.fields["title"], "不明", UNREADABLE)
    wrong = [label for label in item.choices if label != item.gold[0]]
    return item.choices, (item.gold[0], item.gold[0], wrong[0], wrong[1], wrong[-1], UNREADABLE)


class _ItemLines:
    """The parts of an item's lines that do not depend on the run, as bytes."""

    def __init__(self, item: Item) -> None:
        answers, texts = _answers(item)
        asked = "\n".join(f"{name}：{text}" for name, text in item.fields.items())
        text = f"次の問いに答えてください。答えだけを書きます。\n\n{asked}\n答え："
        prompt = Prompt(
            item.task, item.id, text, None, ("\n",), answers, "", (), hashlib.sha256(text.encode()).hexdigest()
        )
        output = Output("", "stop", len(text), 4, 0.0)
        whole = dumps(Record("S" * 16, item.task, item.id, prompt, output)).encode()
        before, _, rest = whole.partition(b"S" * 16)
        head, _, tail = rest.partition(b'"output": ')
        self.before, self.head, self.tail = before, head + b'"output": ', b', "error": null}'
        assert tail.endswith(self.tail)
        self.outputs = [
            dumps(dataclasses.replace(output, text=text, new_tokens=1 + len(text) // 2, seconds=seconds)).encode()
            for text, seconds in zip(texts, (0.0125, 0.0125, 0.013, 0.0131, 0.0118, 0.031), strict=True)
        ]

    def line(self, spec_id: bytes, answer: int) -> bytes:
        body = self.before + spec_id + self.head + self.outputs[answer] + self.tail
        return b'%s, "crc32": "%08x"}\n' % (body[:-1], zlib.crc32(body))


def spec_of(run: int) -> RunSpec:
    """The spec of a run: models in turn, each in every prompt format."""
    model, form = divmod(run, len(FORMATS))
    sums = {f"{task}/valid": hashlib.sha256(task.encode()).hexdigest() for task in SHARES}
    prompt = PromptSpec(format=tuple(FORMATS)[form])
    spec = ModelSpec(f"example/model-{model:03}", files_sha256=hashlib.sha256(b"%d" % model).hexdigest())
    tasks = tuple(task for task in TASKS if task in SHARES)
    return RunSpec(spec, tasks, "v1.3", sums, prompt, hashlib.sha256(b"style").hexdigest(), Decoding(), "0.1.0")


def _answers_of_run(run: int, difficulty: NDArray[np.float64]) -> NDArray[np.int64]:
    """Which of its texts each item is given, 0 (right) to 5 (unreadable): shape (items,)."""
    model, form = divmod(run, len(FORMATS))
    ability = np.random.default_rng(model).normal() + 0.15 * form
    rng = np.random.default_rng([run, 1])
    right = rng.random(len(difficulty)) < 1 / (1 + np.exp(difficulty - ability))
    unreadable = rng.random(len(difficulty)) < max(0.0, 0.02 * (0.3 - ability))
    drawn = np.where(right, rng.integers(0, 2, len(difficulty)), rng.integers(2, 5, len(difficulty)))
    return np.where(unreadable, 5, drawn)


def write_runs(folder: Path, runs: range, items: int) -> None:
    """Write some runs of a library below a folder."""
    all_items = items_of(items)
    parts = [_ItemLines(item) for item in all_items]
    difficulty = np.random.default_rng(0).normal(0, 1.3, len(all_items))
    text, facts = items_text(all_items), facts_of(all_items)
    for run in runs:
        spec = spec_of(run)
        path = folder / spec.spec_id
        path.mkdir()
        answers = _answers_of_run(run, difficulty)
        id_ = spec.spec_id.encode()
        lines = b"".join(part.line(id_, answer) for part, answer in zip(parts, answers.tolist(), strict=True))
        parse_record_line(lines.partition(b"\n")[0] + b"\n")  # Raises if it is not as the package writes it.
        (path / "records.jsonl").write_bytes(lines)
        (path / "items.jsonl").write_text(text, "utf-8")
        (path / "manifest.json").write_text(dumps(_manifest(spec, facts, run), indent=2) + "\n", "utf-8")


def _manifest(spec: RunSpec, facts: dict[str, object], run: int) -> dict[str, object]:
    count = facts["count"]
    model = ModelInfo(
        name=spec.model.id,
        commit="",
        dtype="float32",
        device="cpu",
        context_length=8_192,
        bos="<s>",
        adds_bos=False,
        eos="</s>",
        has_chat_template=False,
        memory_bytes=500_000_000,
    )
    return {
        "format": FORMAT_VERSION,
        "label": spec.label,
        "created": f"2026-11-{run // 1_440 % 28 + 1:02}T{run // 60 % 24:02}:{run % 60:02}:00+00:00",
        "spec_id": spec.spec_id,
        "spec": spec,
        "data": {task: {"source": "official", "version": "v1.3", "split": "valid"} for task in spec.tasks},
        "model": model,
        "model_files": {},
        "machine": {"system": "Linux", "cores": 2},
        "items": facts,
        "records": {"answered": count, "tried": count},
    }


def main() -> int:
    """Write a library; the exit status is 2 if the folder is not new."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--runs", type=int, default=1_000)
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--processes", type=int, default=2)
    given = parser.parse_args()
    if given.folder.exists() and any(given.folder.iterdir()):
        print(f"{given.folder} is not empty.", file=sys.stderr)
        return 2
    given.folder.mkdir(parents=True, exist_ok=True)
    began = time.perf_counter()
    step = -(-given.runs // given.processes)
    parts = [range(first, min(first + step, given.runs)) for first in range(0, given.runs, step)]
    with multiprocessing.get_context("spawn").Pool(given.processes) as pool:
        pool.starmap(write_runs, [(given.folder, part, given.items) for part in parts])
    size = sum(path.stat().st_size for path in given.folder.glob("*/*"))
    seconds = time.perf_counter() - began
    print(json.dumps({"runs": given.runs, "items": given.items, "bytes": size, "seconds": round(seconds, 1)}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
