"""A model beside itself in another precision: speed, and how results differ."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from jglue_app.backends.hf.machine import Machine
from jglue_app.bench import measure
from jglue_app.bench.benchmark import OpenModel, run_benchmark
from jglue_app.bench.precision_comparison import ResultDifference, result_difference
from jglue_app.bench.precisions import in_precision, precision_names
from jglue_app.bench.repetition import Rule
from jglue_app.cli.bench_tables import machine_lines
from jglue_app.cli.counts import counted
from jglue_app.errors import InputError, UnknownNameError
from jglue_app.settings import load_settings
from jglue_app.types import ModelSpec, Output, RunError

TinyModel = Callable[..., Path]
Results = dict[int, Output | RunError]


def scored(*values: float) -> Output:
    return Output(None, "scored", 1, 0, 0.1, values)


def logprobs(result: Output | RunError) -> tuple[float, ...]:
    assert isinstance(result, Output)
    return result.choice_logprobs or ()


def written(text: str) -> Output:
    return Output(text, "stop", 1, 1, 0.1)


def test_differences_of_ranked_items() -> None:
    base: Results = {
        0: scored(-1.0, -2.0),
        1: scored(-3.0, -3.5),
        2: RunError("non_finite", "…"),
        3: scored(-1.0, -1.5),
    }
    other: Results = {0: scored(-1.25, -2.0), 1: scored(-3.5, -3.0), 2: scored(-1.0, -2.0)}
    found = result_difference(base, other, 5, ranked=True)
    # The third and the last two have no output on one side or both: they are neither the same nor other ones.
    assert found == ResultDifference(2, 3, 0.5, (0.25 + 0.5 + 0.5) / 4, 1, None)


def test_differences_of_texts() -> None:
    base, other = {0: written("東京"), 1: written("京都")}, {0: written("東京"), 1: written("大阪")}
    assert result_difference(base, other, 2, ranked=False) == ResultDifference(2, 0, None, None, None, 1)


def test_nothing_in_common_has_no_difference() -> None:
    assert result_difference({}, {}, 2, ranked=True) == ResultDifference(0, 2, None, None, 0, None)


def test_others_are_compared_with_float32_if_it_is_there() -> None:
    assert precision_names("bfloat16, float32,8bit") == ("float32", "bfloat16", "8bit")
    assert precision_names("bfloat16,4bit") == ("bfloat16", "4bit")
    assert precision_names("") == ("",)
    spec = ModelSpec("m", quantization="none")
    assert in_precision(spec, "") is spec
    assert in_precision(spec, "bfloat16") == ModelSpec("m", dtype="bfloat16")
    assert in_precision(spec, "8bit") == ModelSpec("m", quantization="8bit")


def test_precisions_that_are_none() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'bfloat16'"):
        precision_names("float32,bfloat")
    for text in ("float32", "float32,float32", ","):
        with pytest.raises(InputError, match="two or more"):
            precision_names(text)


def test_one_thread_and_several_are_counted_in_words() -> None:
    for threads, text in ((1, "x, 1 thread, torch 2: 100 GFLOP/s"), (2, "x, 2 threads, torch 2: 100 GFLOP/s")):
        machine = Machine("x", threads, "2", "float32", 100.0)
        line, _ = machine_lines([machine], True, 2**30, 1.0, {"resident": 2**30, "accelerator": None})
        assert line.startswith(text)
    assert [counted(n, "item") for n in (0, 1, 1_487)] == ["0 items", "1 item", "1,487 items"]


def test_a_model_in_two_precisions(tiny_model: TinyModel) -> None:
    settings, spec = load_settings(), ModelSpec(str(tiny_model("llama")))
    machine = Machine("x", 1, "2", "float32", 100.0)
    with ExitStack() as stack:
        models = []
        for name in ("float32", "bfloat16"):
            backend, seconds = measure.open_for_bench(settings, in_precision(spec, name), device="cpu")
            stack.callback(backend.close)
            models.append(OpenModel(name, backend, machine, seconds))
        works = list(measure.workloads(settings, models[0].backend, spec, ["jnli"], [0], 3, data_kind="sample"))
        found = run_benchmark(models, [], works, Rule(2, 0.0), lambda _: None)
        for model in models:  # In bfloat16 even a prefix that is at hand already changes results a little.
            model.backend.drop_prefix()
        exact, rounded = (dict(model.backend.choose(works[0].prompts, lambda: False)) for model in models)
    assert [(row.method, row.precision) for row in found.workloads] == [
        ("choose", "float32"),
        ("choose", "bfloat16"),
        ("generate", "float32"),
        ("generate", "bfloat16"),
    ]
    ranked, texts = found.precisions
    assert (ranked.base, ranked.precision, texts.method) == ("float32", "bfloat16", "generate")
    assert len(ranked.pairs.theirs) == 2 and len(ranked.pairs.ours) == 3
    assert ranked.items_per_s == pytest.approx(3 * 2 / sum(ranked.pairs.theirs))
    apart = [abs(a - b) for i in range(3) for a, b in zip(logprobs(exact[i]), logprobs(rounded[i]), strict=True)]
    assert ranked.results.most_apart == pytest.approx(max(apart), abs=1e-5)
    # The tiny context is too short for some: they are told, and there is no ratio.
    assert ranked.results.items == len(apart) // 3 == 3 - ranked.results.without
    assert (ranked.ratio is None) is (ranked.results.without > 0)
    assert max(apart) > 1e-4  # It is another precision.
    assert len(found.spreads()) == 4 + 3 * 2
