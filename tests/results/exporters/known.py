"""Stored runs with scores known by hand: items of our own in four subsets, as if a model of the Hub had answered."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jglue_app.prompts.styles import load_style
from jglue_app.runs.serialization import facts_of
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
    RunError,
    RunSpec,
    Source,
)

NLI = ("entailment", "contradiction", "neutral")
FIVE = tuple("01234")
ASKED = {"entailment": "含意", "contradiction": "矛盾", "neutral": "中立"}
COMMIT = "0123456789abcdef0123456789abcdef01234567"
CREATED = "2026-11-02T03:04:05+00:00"


def question(id_: str, gold: str) -> Item:
    fields = {"question": f"問い{id_}", **{f"choice{i}": f"語{id_}{i}" for i in range(5)}}
    return Item("jcommonsenseqa", id_, fields, (gold,), FIVE)


ITEMS = (
    question("10", "3"),
    question("11", "0"),
    question("12", "1"),
    question("13", "4"),
    Item("jsts", "0", {"sentence1": "猫がいる", "sentence2": "猫です"}, 4.0),
    Item("jsts", "1", {"sentence1": "雨だ", "sentence2": "晴れだ"}, 1.0),
    Item("jsts", "2", {"sentence1": "走る人", "sentence2": "駆ける人"}, 3.5),
    Item("jsts", "3", {"sentence1": "本", "sentence2": "海"}, 0.0),
    Item("jnli", "7", {"sentence1": "犬が\u2028走る", "sentence2": "動物が動く"}, ("entailment",), NLI),
    Item("jnli", "8", {"sentence1": "犬が走る", "sentence2": "犬が眠る"}, ("contradiction",), NLI),
    Item("jsquad", "q1", {"title": "京都", "context": "京都は町である", "question": "何"}, ("町", "町である")),
)
SAID: Mapping[tuple[str, str], str] = {
    ("jcommonsenseqa", "10"): "3",
    ("jcommonsenseqa", "11"): "0",
    ("jcommonsenseqa", "12"): "1",
    ("jcommonsenseqa", "13"): "わからない\ud83d",
    ("jsts", "0"): "4.5",
    ("jsts", "1"): "2.0",
    ("jsts", "2"): "2.5",
    ("jsts", "3"): "不明",
    ("jnli", "7"): "含意",
    ("jnli", "8"): "中立",
    ("jsquad", "q1"): "町",
}
"""Three of four questions right; three of four similarities read; one of two pairs right; the span exact."""
LOGPROBS: Mapping[tuple[str, str], tuple[float, ...]] = {
    ("jcommonsenseqa", "10"): (-4.0, -3.0, -2.0, -1.0, -5.0),
    ("jcommonsenseqa", "11"): (-4.0, -3.0, -2.0, -1.0, -5.0),
    ("jcommonsenseqa", "12"): (-4.0, -1.5, -2.0, -3.0, -5.0),
    ("jcommonsenseqa", "13"): (-4.0, -3.0, -2.0, -1.0, -5.0),
    ("jnli", "7"): (-0.5, -1.0, -2.0),
    ("jnli", "8"): (-2.0, -0.5, -1.0),
}
"""Ranked: questions 10 and 12 right, both pairs right."""


def stored(
    folder: Path,
    *,
    tasks: tuple[str, ...] = ("jcommonsenseqa", "jsts", "jnli", "jsquad"),
    model: str = "owner/model-1e3",
    backend: str = "hf",
    commit: str = COMMIT,
    method: str = "both",
    source: Source = "official",
    totals: Mapping[str, int] | None = None,
    split: str = "valid",
    said: Mapping[tuple[str, str], str] = SAID,
    failed: tuple[tuple[str, str], ...] = (),
    unanswered: tuple[tuple[str, str], ...] = (),
    prompt: PromptSpec | None = None,
    oracle_length: bool = False,
    penalties: tuple[tuple[str, float], ...] = (),
) -> Path:
    """Write a run and give its folder.

    Args:
        folder: where runs are.
        tasks: subsets it has.
        model, backend, commit: what answered.
        method: `generate`, `choose` or `both`.
        source, totals, split: where its items are from, how many there are in all, which split.
        said: (subset, id) → output.
        failed, unanswered: items with an error, and without a record.
        prompt, oracle_length, penalties: how it asked, and the repetition penalty of each subset that has one.
    """
    asked = prompt or PromptSpec(style="ja-labels", shots=2)
    chosen = [item for item in ITEMS if item.task in tasks]
    style = load_style("ja-labels")
    spec = RunSpec(
        ModelSpec(model, backend, revision="main", quantization="8bit"),
        tasks,
        "v1.3" if source == "official" else "sample-1",
        {f"{name}/{split}": "5e" * 32 for name in tasks},
        asked,
        style.sha256,
        Decoding(method, oracle_length=oracle_length, repetition_penalty_by_task=penalties),
        "0.0.7",
        split,
    )
    info = ModelInfo(model, commit, "float16", "cuda:1", 2048, "<s>", True, "</s>", False, 10)
    facts: dict[str, dict[str, Any]] = {
        name: {
            "source": source,
            "version": spec.data_version,
            "split": split,
            "file": "valid.json",
            "sha256": "5e" * 32,
            "items": (totals or {}).get(name, sum(item.task == name for item in chosen)),
        }
        for name in tasks
    }
    store = RunStore.of(folder, spec)
    with store.writing() as writer:
        writer.items(chosen)
        writer.manifest(
            {
                "label": spec.label,
                "created": CREATED,
                "spec_id": spec.spec_id,
                "spec": spec,
                "data": facts,
                "model": info,
                "items": facts_of(chosen),
                "machine": {"packages": {"transformers": "5.99.0"}},
            }
        )
        writer.append(
            record(spec, item, said, (item.task, item.id) in failed)
            for item in chosen
            if (item.task, item.id) not in unanswered
        )
    return store.path


def record(spec: RunSpec, item: Item, said: Mapping[tuple[str, str], str], fails: bool) -> Record:
    """A record as a model leaves it."""
    key = (item.task, item.id)
    answers = tuple(ASKED.get(label, label) for label in item.choices)
    prompt = Prompt(item.task, item.id, f"問：{item.id}\n答え：", None, ("\n",), answers, " ", ("t1", "t2"), "00" * 32)
    if fails:
        return Record(spec.spec_id, item.task, item.id, prompt, None, RunError("non_finite", "NaN."))
    text = None if spec.decoding.method == "choose" else said[key]
    scores = None if spec.decoding.method == "generate" else LOGPROBS.get(key)
    finish: Any = "scored" if text is None else "stop"
    return Record(spec.spec_id, item.task, item.id, prompt, Output(text, finish, 12, 3, 0.25, scores))
