"""What the engine does on a GPU, in one command that is meant to take at most ten minutes; not run on a GPU yet:

    pip install -r requirements.txt
    python -m tests.gpu_check --out FOLDER

A Llama of 1 and of 7 billion random weights, with the tokenizer of the embedded model, ranks and writes with sample
items: speed as a share of the measured rate of matrix products, memory, 8-bit and 4-bit, and whether the results are
those of transformers' own forward pass on the same device. Each model is a process of its own, so that one that fails
leaves the others; the results so far are in FOLDER/gpu_check.json and FOLDER/gpu_check.md.

    python -m tests.gpu_check --tiny --device cpu --out FOLDER    # in seconds, to try the script itself
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from jglue_app.backends.hf.backend import HFBackend
from jglue_app.backends.hf.machine import accelerator_peak, measure_machine
from jglue_app.bench.measure import Workload, measure, open_for_bench, workloads
from jglue_app.settings import load_settings
from jglue_app.types import ModelSpec, Output, Prompt
from tests.random_llama import make

SIZES: dict[str, dict[str, int]] = {
    "tiny": {"layers": 2, "hidden": 64, "inner": 128, "heads": 4},
    "1B": {"layers": 16, "hidden": 2_048, "inner": 5_632, "heads": 16},
    "7B": {"layers": 32, "hidden": 4_096, "inner": 11_008, "heads": 32},
}
"""Layers, width, width of the feed-forward layers, heads."""
KINDS = ("bfloat16", "8bit", "4bit")
SECONDS = 560
"""After so long no further model is started."""
ITEMS, TINY_ITEMS = 400, 6
"""Prompts of each workload."""
OF_SEVERAL_RUNS = ("run_seconds", "spread", "steady")
"""What a single run says nothing of."""
COMPARED = 6
"""Prompts whose answers are scored by the model's own forward pass too."""


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true", help="two layers, few items")
    parser.add_argument("--tokenizer", type=Path, help="a folder with another tokenizer than the embedded model's")
    parser.add_argument("--one", nargs=2, metavar=("FOLDER", "KIND"), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.one:
        folder, kind = options.one
        print(json.dumps(check(Path(folder), kind, options.device, tiny=options.tiny)))
        return
    options.out.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    rows: list[dict[str, Any]] = []
    for size in ("tiny",) if options.tiny else ("1B", "7B"):
        with tempfile.TemporaryDirectory() as folder:
            make(Path(folder), **SIZES[size], tokenizer_folder=options.tokenizer)
            for kind in KINDS:
                left = SECONDS - (time.monotonic() - started)
                row = {"size": size, "kind": kind, "error": "no time was left"}
                if left > 20:
                    row |= run_one(folder, kind, options.device, left, tiny=options.tiny)
                rows.append(row)
                (options.out / "gpu_check.json").write_text(json.dumps(rows, indent=1), "utf-8")
                (options.out / "gpu_check.md").write_text(table(rows), "utf-8")
                print(table(rows).splitlines()[-1], flush=True)
    print(table(rows))
    print(f"{time.monotonic() - started:.0f} seconds")
    if any(row["error"] for row in rows):
        sys.exit(1)


def run_one(folder: str, kind: str, device: str, seconds: float, *, tiny: bool) -> dict[str, Any]:
    """What a child process finds out about one model; its last line if it failed."""
    command = [sys.executable, "-m", "tests.gpu_check", "--out", folder, "--device", device, "--one", folder, kind]
    try:
        child = subprocess.run(
            [*command, *(["--tiny"] if tiny else [])], capture_output=True, text=True, timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired:
        return {"error": f"not done after {seconds:.0f} seconds"}
    lines = (child.stdout if child.returncode == 0 else child.stderr).strip().splitlines()
    if child.returncode:
        return {"error": lines[-1] if lines else f"exit code {child.returncode}"}
    result: dict[str, Any] = json.loads(lines[-1])
    return result | {"error": None}


def check(folder: Path, kind: str, device: str, *, tiny: bool) -> dict[str, Any]:
    """Load a model, time it, and compare it with its own forward pass.

    Args:
        folder: of the model.
        kind: of `KINDS`.
        device: as torch names it.
        tiny: few items and short prompts.
    """
    dtype = "bfloat16"
    machine = measure_machine(device, dtype)
    spec = ModelSpec(str(folder), dtype=dtype, quantization="none" if kind == dtype else kind)
    settings = load_settings()
    backend, load_seconds = open_for_bench(settings, spec, device=device)
    with closing(backend):
        works = [
            work
            for task, method, shots, limit in (("jnli", "choose", 0, 1_000), ("jcommonsenseqa", "choose", 3, 1_000))
            for work in workloads(
                settings, backend, spec, [task], [0 if tiny else shots], limit, method=method, data_kind="sample"
            )
        ]
        works += workloads(
            settings, backend, spec, ["jsquad"], [0 if tiny else 1], 1_000, method="generate", data_kind="sample"
        )
        works = [repeated(work, TINY_ITEMS if tiny else ITEMS) for work in works]
        measured = []
        for work in works:
            measure(backend, repeated(work, min(len(work.prompts), 8)), machine.gflops)
            run = asdict(measure(backend, work, machine.gflops)[0])
            measured.append({name: value for name, value in run.items() if name not in OF_SEVERAL_RUNS})
        packed = getattr(backend._engine, "_model", None)
        batching = getattr(packed, "batching", None)
        return {
            "machine": asdict(machine),
            "load_seconds": load_seconds,
            "engine": backend.info.engine,
            "engine_reason": str(backend.info.engine_reason),
            "batched_attention": None if batching is None else batching.enabled and bool(batching.checked),
            "weights_gib": backend.info.memory_bytes / 2**30,
            "peak_gib": (accelerator_peak() or 0) / 2**30,
            "prefill_fraction": prefill_fraction(backend, works[1], machine.gflops),
            "work": measured,
            "difference": largest_difference(backend, works[0]),
        }


def repeated(work: Workload, count: int) -> Workload:
    """The workload with exactly so many prompts, each with a number of its own at its end so that none are equal."""
    prompts = [
        Prompt(p.task, f"{p.item_id}-{k}", f"{p.text}{k}：", None, p.stop, p.answers, p.lead, p.shot_ids, "")
        for k, p in enumerate(work.prompts[k % len(work.prompts)] for k in range(count))
    ]
    return Workload(work.task, work.method, work.shots, tuple(prompts), min(work.max_new_tokens, 25))


def prefill_fraction(backend: HFBackend, work: Workload, gflops: float) -> float:
    """Share of the rate of matrix products that is reached while prompts go through the layers."""
    backend.counters.reset()
    backend.counters.synchronize = True
    list(backend.choose(work.prompts, lambda: False))
    body, _ = backend.weight_multiplications()
    return 2e-9 * body * backend.counters.forward_tokens / backend.counters.seconds["prefill"] / gflops


def largest_difference(backend: HFBackend, work: Workload) -> dict[str, float]:
    """Of the answers' log-probabilities from those of the model's own forward pass; and what rounding alone makes: the
    difference between that pass over a prompt with an answer, and over one with a token more."""
    prompts = work.prompts[:COMPARED]
    results = dict(backend.choose(prompts, lambda: False))
    worst, rounding = 0.0, 0.0
    for i, prompt in enumerate(prompts):
        result = results[i]
        if not isinstance(result, Output) or result.choice_logprobs is None:
            continue
        for answer, got in zip(prompt.answers, result.choice_logprobs, strict=True):
            expected, longer = (own_logprob(backend, prompt.text, answer, more) for more in (0, 1))
            worst, rounding = max(worst, abs(got - expected)), max(rounding, abs(longer - expected))
    return {"worst": worst, "rounding": rounding}


def own_logprob(backend: HFBackend, text: str, answer: str, more: int) -> float:
    """Log-probability of an answer by transformers, on a sequence with some more tokens at its end."""
    tokenizer, model = backend.tokenizer, backend.model
    backend._reference.restore_attention()
    context, ids = (tokenizer(t, add_special_tokens=True)["input_ids"] for t in (text, text + answer))
    with torch.inference_mode():
        inputs = torch.tensor([[*ids, *[ids[-1]] * more]], device=model.device)
        logprobs = model(input_ids=inputs, use_cache=False).logits[0].float().log_softmax(-1)
    return sum(float(logprobs[k - 1, ids[k]]) for k in range(len(context), len(ids)))


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The results as Markdown."""
    lines = [
        "| model | kind | engine | batched | GFLOP/s | prefill | ranking 0-shot /s | 3-shot /s | writing /s "
        "| weights GiB | peak GiB | difference | of rounding |",
        "|" + "---|" * 13,
    ]
    for row in rows:
        if row["error"]:
            lines.append(f"| {row['size']} | {row['kind']} | {row['error']} |" + " |" * 10)
            continue
        speeds = " | ".join(f"{work['items_per_s']:.1f}" for work in row["work"])
        difference = row["difference"]
        lines.append(
            f"| {row['size']} | {row['kind']} | {row['engine']} | {row['batched_attention']} "
            f"| {row['machine']['gflops']:,.0f} | {row['prefill_fraction']:.0%} | {speeds} | {row['weights_gib']:.1f} "
            f"| {row['peak_gib']:.1f} | {difference['worst']:.2g} | {difference['rounding']:.2g} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
