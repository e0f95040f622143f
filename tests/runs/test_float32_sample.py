"""A run in bfloat16 on a CPU answers a sample of its own items in float32 too. The models are tiny and random; what
they should answer in float32 comes from transformers."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from jglue_app.backends.pool import ModelPool
from jglue_app.results.exporters.run_source import load_run_source
from jglue_app.results.library import Library
from jglue_app.runs import float32_sample
from jglue_app.runs.plan import Plan, make_plan
from jglue_app.runs.runner import run_plans
from jglue_app.runs.store import RunStore
from jglue_app.settings import Settings
from jglue_app.types import Decoding, Float32Output, ModelSpec
from jglue_app.wandb_sink.run_payload import run_payload
from tests.conftest import TinyModel
from tests.scoring.test_report import nli, output

TASKS = ("jnli", "jsts")


@pytest.fixture(autouse=True)
def _time_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(float32_sample, "MIN_SECONDS", 1e9)


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


def ranked_by_transformers(folder: Path, prompt: str, answers: list[str]) -> tuple[list[float], str]:
    """Summed log-probability of each answer after a prompt, and what is written after it, by transformers alone."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    before = tokenizer(prompt)["input_ids"]
    totals = []
    with torch.inference_mode():
        for answer in answers:
            ids = tokenizer(prompt + answer)["input_ids"]
            scores = model(torch.tensor([ids])).logits[0].double().log_softmax(-1)
            totals.append(sum(float(scores[i - 1, ids[i]]) for i in range(len(before), len(ids))))
        new = model.generate(torch.tensor([before]), max_new_tokens=4, do_sample=False)[0, len(before) :]
    return totals, tokenizer.decode(new, skip_special_tokens=True)


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
    differences: list[float] = []
    for record in ranked:
        exact = rows["jnli", record["item_id"]]
        prompt = record["prompt"]
        expected, text = ranked_by_transformers(tiny_model("llama"), prompt["text"], prompt["answers"])
        assert exact["choice_logprobs"] == pytest.approx(expected, abs=1e-4)
        assert text.startswith(exact["text"])
        differences += np.abs(np.subtract(record["output"]["choice_logprobs"], exact["choice_logprobs"])).tolist()
    effect = Library(settings.runs_dir).report(path).precision
    assert effect is not None
    assert effect.items == effect.written == len(rows) >= 5
    assert effect.ranked == len(ranked) >= 2
    assert effect.largest is not None
    assert effect.largest == pytest.approx(max(differences))
    assert effect.largest > 1e-4  # Else nothing was rounded.
    assert effect.median == pytest.approx(np.median(differences))
    summary = run_payload(RunStore(path).data(), manifest, "official").summary
    assert summary["precision/largest"] == effect.largest
    assert summary["precision/flips"] == effect.flips
    assert load_run_source(path).model_facts()["model_float32_sample_items"] == str(len(rows))
    assert effect.other_texts == sum(r["output"]["text"] != rows[r["task"], r["item_id"]]["text"] for r in records)


@pytest.mark.slow
def test_the_sample_comes_with_the_last_answer_and_is_completed_by_later_sessions(
    settings: Settings, tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, library = planned(settings, tiny_model("llama")), Library(settings.runs_dir)
    path = RunStore.of(settings.runs_dir, plan.spec).path
    stops = iter([False] * 12)
    _, stopped = run(settings, plan, lambda: next(stops, True))
    assert "float32" not in stopped
    _, first = run(settings, plan)
    assert len(first["float32"]) >= 5
    notes, same = run(settings, plan)
    assert same == first
    assert notes == []  # Nothing was answered, so no model was loaded.
    # A run of an earlier version has none.
    (path / "manifest.json").write_text(json.dumps({k: v for k, v in first.items() if k != "float32"}), "utf-8")
    assert library.report(path).precision is None
    monkeypatch.setattr(float32_sample, "WORKING_BYTES", 2**60)
    notes, without = run(settings, plan)
    assert [note for note in notes if "does not fit into the free memory" in note]
    assert "float32" not in without
    assert without["records"] == {"answered": 6, "tried": 6}
    monkeypatch.setattr(float32_sample, "WORKING_BYTES", 0)
    # The first two items take all the time there is.
    for name, value in (("CHUNKS", (2, 22)), ("MIN_SECONDS", 0.0), ("SHARE", 0.0)):
        monkeypatch.setattr(float32_sample, name, value)
    _, begun = run(settings, plan)
    # It is spread over the subsets, and always the same.
    assert {row["task"] for row in begun["float32"]} == set(TASKS)
    assert {row["item_id"] for row in begun["float32"]} <= {row["item_id"] for row in first["float32"][:4]}
    assert library.report(path).precision is not None
    monkeypatch.setattr(float32_sample, "MIN_SECONDS", 1e9)
    _, more = run(settings, planned(settings, tiny_model("llama"), limit=4))
    assert more["float32"][:2] == begun["float32"]
    assert len(more["float32"]) > 5


def test_a_run_in_float32_has_no_sample(settings: Settings, tiny_model: TinyModel) -> None:
    plan = planned(settings, tiny_model("llama"), "auto", 1)
    _, manifest = run(settings, plan)
    assert manifest["model"]["dtype"] == "float32"
    assert "float32" not in manifest
    assert Library(settings.runs_dir).report(RunStore.of(settings.runs_dir, plan.spec).path).precision is None


def test_records_of_items_that_are_not_there_any_more_are_left_out() -> None:
    data = nli(*[("neutral", output(""))] * 3)
    there = {id_: item for id_, item in data.items["jnli"].items() if id_ != "1"}
    assert {r.item_id for r in float32_sample._sample(replace(data, items={"jnli": there}))} == {"0", "2"}


@pytest.mark.parametrize(("took", "stops"), [(0.0, True), (400.0, False)])
def test_the_first_items_have_a_limit_of_time_too(monkeypatch: pytest.MonkeyPatch, took: float, stops: bool) -> None:
    # A quarter of the run's 400 seconds has not passed; none of a run that took none has.
    monkeypatch.setattr(float32_sample, "FIRST_MIN_SECONDS", 0.0)
    data = nli(("neutral", replace(output(""), seconds=took)))
    kept = Float32Output("jnli", "0", output(""))
    seen: list[bool] = []

    def outputs(*arguments: Any) -> list[Float32Output]:
        seen.append(arguments[-1]())
        return [kept]

    monkeypatch.setattr(float32_sample, "_outputs", outputs)
    stored: list[Any] = []
    writer = SimpleNamespace(manifest=stored.append)
    store: Any = SimpleNamespace(writing=lambda: nullcontext(writer), manifest=dict)
    nothing: Any = None
    float32_sample._answer(nothing, store, data, nothing, data.records, lambda: False)
    assert seen == [stops]
    assert stored == [{"float32": [kept]}]
