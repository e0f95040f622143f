"""The benchmark counts what was read, and its figures fit together."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM

from jglue_app.backends.hf.ablation import OPTION_NAMES
from jglue_app.backends.hf.machine import measure_machine
from jglue_app.bench import measure
from jglue_app.cli import main
from jglue_app.errors import InputError, UnknownNameError
from jglue_app.settings import load_settings
from jglue_app.types import ModelSpec
from tests.backends.contract import same

TinyModel = Callable[..., Path]


@pytest.mark.parametrize("architecture", ["llama", "bloom"])
def test_figures_of_a_workload(tiny_model: TinyModel, architecture: str) -> None:
    settings = load_settings()
    spec = ModelSpec(str(tiny_model(architecture)))
    backend, load_seconds = measure.open_for_bench(settings, spec, device="cpu")
    with closing(backend):
        works = list(measure.workloads(settings, backend, spec, ["jnli", "jsts"], [0], 6, data_kind="sample"))
        assert [(w.task, w.method, len(w.prompts)) for w in works] == [
            ("jnli", "choose", 6),
            ("jnli", "generate", 6),
            ("jsts", "generate", 6),
        ]
        rows = [measure.measure(backend, work, gflops=100.0)[0] for work in works]
        body, head = backend.weight_multiplications()
    assert load_seconds > 0 and measure.peak_resident() > 10**7
    for row in rows:
        assert row.items == 6 and row.failed < 6  # The tiny context is too short for some.
        assert row.items_per_s == pytest.approx(6 / row.seconds)
        assert row.sharing == pytest.approx(row.naive_tokens / row.distinct_tokens)
        assert sum(row.parts.values()) == pytest.approx(row.seconds, abs=1e-3)
        assert row.gflop == pytest.approx(2e-9 * (body * row.distinct_tokens + head * row.scored_rows))
        assert row.fraction == pytest.approx(row.gflop / row.seconds / 100)
    if architecture == "llama":
        assert rows[0].sharing > 3  # Three answers of one question, and the instruction.


def test_weights_are_counted(tiny_model: TinyModel) -> None:
    """Against the parameters of a Llama: all but norms and the embedding stand in matrices."""
    spec = ModelSpec(str(tiny_model("llama")))
    with closing(measure.open_for_bench(load_settings(), spec, device="cpu")[0]) as backend:
        counted = backend.weight_multiplications()
    model = AutoModelForCausalLM.from_pretrained(tiny_model("llama"))
    matrices = sum(p.numel() for n, p in model.model.named_parameters() if p.dim() == 2 and "embed" not in n)
    assert counted == (matrices, model.lm_head.weight.numel())


def test_bound_is_a_rate() -> None:
    machine = measure_machine("cpu", "float32")
    assert 0.1 < machine.gflops < 100_000 and machine.threads >= 1


def test_table_of_answers_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="table of answers"):
        measure.open_for_bench(load_settings(), ModelSpec(str(tmp_path / "a.jsonl"), "scripted"))


def test_command_prints_json(
    tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["bench", "--model", str(tiny_model("llama")), "--tasks", "jnli", "--data", "sample", "--limit", "3"]
    monkeypatch.setattr("sys.argv", ["jglue", *line, "--device", "cpu", "--json"])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 0
    found = json.loads(capsys.readouterr().out)
    assert [w["method"] for w in found["workloads"]] == ["choose", "generate"]
    assert found["packed"] is True and found["machine"]["gflops"] > 0 and found["peak_bytes"]["resident"] > 10**7


def test_command_refuses_words_for_numbers(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.argv", ["jglue", "bench", "--shots", "three"])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2 and "whole numbers" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("method", "name"),
    [
        pytest.param(method, name, marks=() if name == "packing" else pytest.mark.slow)
        for method in ("choose", "generate")
        for name in OPTION_NAMES
    ],
)
def test_an_optimization_that_is_left_out_changes_no_result(tiny_model: TinyModel, name: str, method: str) -> None:
    settings, spec = load_settings(), ModelSpec(str(tiny_model("llama")))
    found = []
    for leave_out in ([], [name]):
        with closing(measure.open_for_bench(settings, spec, device="cpu", leave_out=leave_out)[0]) as backend:
            (work,) = measure.workloads(settings, backend, spec, ["jnli"], [0], 6, method=method, data_kind="sample")
            found.append(measure.measure(backend, work, 100.0))
    (with_it, expected), (without_it, results) = found
    for i, result in results.items():
        same(result, expected[i])
    # The beginning is dropped before each run; within one, these few items are a group that shares it anyway.
    if name in ("packing", "sharing") and not (name == "sharing" and method == "generate"):
        assert without_it.distinct_tokens > with_it.distinct_tokens


def test_an_unknown_optimization_is_answered_with_the_nearest(tiny_model: TinyModel) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'screening'"):
        measure.open_for_bench(load_settings(), ModelSpec(str(tiny_model("llama"))), leave_out=["screnning"])
