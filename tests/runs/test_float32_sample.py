"""A run in bfloat16 on a CPU answers a sample of its own items in float32 too. The models are tiny and random; what
they should answer in float32 comes from transformers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jglue_app.backends.pool import ModelPool
from jglue_app.results.library import Library
from jglue_app.runs import float32_sample
from jglue_app.runs.plan import Plan, make_plan
from jglue_app.runs.runner import run_plans
from jglue_app.runs.store import RunStore
from jglue_app.settings import Settings
from jglue_app.types import Decoding, ModelSpec
from tests.conftest import TinyModel

TASKS = ("jnli", "jsts")


def planned(settings: Settings, folder: Path, dtype: str = "bfloat16", limit: int = 3) -> Plan:
    return make_plan(
        settings,
        ModelSpec(str(folder), dtype=dtype),
        TASKS,
        data_kind="sample",
        decoding=Decoding("both", max_new_tokens=4),
        limit=limit,
    )


def run(
    settings: Settings, plan: Plan, should_stop: Callable[[], bool] = lambda: False
) -> tuple[list[str], dict[str, Any]]:
    """Notes of the run, and its manifest."""
    with ModelPool(settings, device="cpu") as pool:
        events = list(run_plans([("a", plan)], pool, settings.runs_dir, should_stop))
        assert {spec.dtype for spec in pool.resident} <= {plan.spec.model.dtype}  # The other one is dropped.
    return [event.message for event in events if event.message], RunStore.of(settings.runs_dir, plan.spec).manifest()


def logprobs_of(folder: Path, prompt: str, answer: str) -> tuple[float, str]:
    """Summed log-probability of an answer after a prompt, and what is written after it, by transformers alone."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    before = tokenizer(prompt)["input_ids"]
    ids = tokenizer(prompt + answer)["input_ids"]
    with torch.inference_mode():
        scores = model(torch.tensor([ids])).logits[0].double().log_softmax(-1)
        new = model.generate(torch.tensor([before]), max_new_tokens=4, do_sample=False)[0, len(before) :]
    total = sum(float(scores[i - 1, ids[i]]) for i in range(len(before), len(ids)))
    return total, tokenizer.decode(new, skip_special_tokens=True)


def test_the_sample_holds_what_transformers_computes_in_float32_and_the_report_counts_it(
    settings: Settings, tiny_model: TinyModel
) -> None:
    plan = planned(settings, tiny_model("llama"))
    notes, manifest = run(settings, plan)
    path = RunStore.of(settings.runs_dir, plan.spec).path
    rows = {(row["task"], row["item_id"]): row["output"] for row in manifest["float32"]}
    records = [json.loads(line) for line in (path / "records.jsonl").read_text("utf-8").splitlines()]
    # A prompt that is longer than the context of the model has no answer.
    records = [record for record in records if record["output"]["finish"] != "overflow"]
    assert rows.keys() == {(record["task"], record["item_id"]) for record in records}
    assert any(note.startswith(f"{len(rows)} items are answered in float32 too") for note in notes), notes
    ranked = [record for record in records if record["task"] == "jnli"]
    differences = []
    for record in ranked:
        exact = rows["jnli", record["item_id"]]["choice_logprobs"]
        for answer, value in zip(record["prompt"]["answers"], exact, strict=True):
            expected, text = logprobs_of(tiny_model("llama"), record["prompt"]["text"], answer)
            assert value == pytest.approx(expected, abs=1e-4)
            assert text.startswith(rows["jnli", record["item_id"]]["text"])
        differences += list(np.abs(np.subtract(record["output"]["choice_logprobs"], exact)))
    effect = Library(settings.runs_dir).report(path).precision
    assert effect is not None
    assert effect.items == effect.written == len(rows) >= 5
    assert effect.ranked == len(ranked) >= 2
    assert effect.largest is not None
    assert effect.largest == pytest.approx(max(differences))
    assert effect.largest > 1e-4  # Else nothing was rounded.
    assert effect.median == pytest.approx(np.median(differences))
    assert effect.other_texts == sum(r["output"]["text"] != rows[r["task"], r["item_id"]]["text"] for r in records)


def test_a_stopped_run_has_no_sample_and_a_raised_limit_keeps_it_and_adds_to_it(
    settings: Settings, tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tiny_model("llama")
    stops = iter([False] * 12)
    _, manifest = run(settings, planned(settings, folder), lambda: next(stops, True))
    assert "float32" not in manifest
    _, first = run(settings, planned(settings, folder))
    assert len(first["float32"]) in (5, 6)
    monkeypatch.setattr(float32_sample, "SAMPLE", 8)
    notes, same = run(settings, planned(settings, folder))
    assert same["float32"] == first["float32"]
    assert notes == []  # Nothing was answered, so no model was loaded.
    _, more = run(settings, planned(settings, folder, limit=10))
    assert more["float32"][: len(first["float32"])] == first["float32"]
    assert len(more["float32"]) == 8
    # The sample is spread over the subsets.
    assert [row["task"] for row in more["float32"]].count("jsts") in (3, 4, 5)


def test_a_run_in_float32_has_none_and_an_old_one_gets_it_when_it_is_run_again(
    settings: Settings, tiny_model: TinyModel
) -> None:
    folder = tiny_model("llama")
    _, manifest = run(settings, planned(settings, folder, "auto"))
    assert "float32" not in manifest
    plan = planned(settings, folder)
    _, manifest = run(settings, plan)
    path = RunStore.of(settings.runs_dir, plan.spec).path
    old = {name: value for name, value in manifest.items() if name != "float32"}
    (path / "manifest.json").write_text(json.dumps(old), "utf-8")
    library = Library(settings.runs_dir)
    assert library.report(path).precision is None
    _, again = run(settings, plan)
    assert [row["output"]["text"] for row in again["float32"]] == [r["output"]["text"] for r in manifest["float32"]]
    assert library.report(path).precision is not None


def test_without_memory_for_it_the_sample_is_left_out_and_that_is_said(
    settings: Settings, tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(float32_sample, "WORKING_BYTES", 2**60)
    notes, manifest = run(settings, planned(settings, tiny_model("llama")))
    assert any("does not fit into the free memory" in note for note in notes)
    assert "float32" not in manifest
    assert manifest["records"] == {"answered": 6, "tried": 6}


def test_what_takes_too_long_ends_after_the_first_items(
    settings: Settings, tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(float32_sample, "CHUNKS", (2, 22))
    monkeypatch.setattr(float32_sample, "MIN_SECONDS", 1e-9)
    monkeypatch.setattr(float32_sample, "SHARE", 0.0)
    _, manifest = run(settings, planned(settings, tiny_model("llama")))
    assert len(manifest.get("float32", [])) <= 2
