"""`bench`: what an evaluation costs on this machine, against what the machine could do."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from jglue_app import __version__, bench
from jglue_app.backends import ModelPool, backend_for
from jglue_app.cli.options import (
    BinOption,
    DataOption,
    DeviceOption,
    DtypeOption,
    GgufOption,
    JsonOption,
    MemoryOption,
    QuantizationOption,
    RevisionOption,
    settings_of,
    task_list,
)
from jglue_app.console import ProgressView, print_lines, print_table
from jglue_app.errors import InputError
from jglue_app.store import dumps
from jglue_app.types import ModelSpec


def bench_command(
    model: Annotated[str, typer.Option(help="Registry name, Hub id, folder or .gguf file.")] = "gemma-3-270m",
    tasks: Annotated[
        str, typer.Option(help="Subsets, separated by commas, or 'all'.")
    ] = "jsts,jnli,jsquad,jcommonsenseqa",
    shots: Annotated[str, typer.Option(help="Numbers of solved examples, separated by commas.")] = "0",
    limit: Annotated[int, typer.Option(help="Items of each subset, in the order of its file.")] = 100,
    method: Annotated[str, typer.Option(help="generate, choose or both.")] = "both",
    data_kind: DataOption = "official",
    dtype: DtypeOption = "auto",
    quantization: QuantizationOption = "none",
    revision: RevisionOption = None,
    gguf_file: GgufOption = None,
    allow_bin: BinOption = False,
    device: DeviceOption = "auto",
    memory: MemoryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Time each subset and method, and say what fraction of the machine's matrix rate was reached."""
    settings = settings_of(None, memory)
    counts = _counts(shots)
    names = task_list(tasks)
    spec = ModelSpec(model, backend_for(model), revision, dtype, quantization, gguf_file, allow_bin)
    with ProgressView() as view, ModelPool(settings, device=device) as pool:
        backend, load_seconds = bench.open_for_bench(pool, spec, view.say)
        from jglue_app.backends.machine import accelerator_peak, measure_machine  # torch takes seconds to import

        machine = measure_machine(backend.info.device, backend.info.dtype)
        rows: list[bench.Measured] = []
        for work in bench.workloads(settings, backend, spec, names, counts, limit, method=method, data_kind=data_kind):
            view.say(f"{work.task}, {work.method}, {work.shots} examples: {len(work.prompts)} items.")
            rows.append(bench.measure(backend, work, machine.gflops))
        packed, resident, on_device = backend.packed, bench.peak_resident(), accelerator_peak()
    if as_json:
        found = {
            "model": spec,
            "packed": packed,
            "working_memory_bytes": backend.memory.budget,
            "code": __version__,
            "machine": machine,
            "load_seconds": load_seconds,
            "peak_bytes": {"resident": resident, "accelerator": on_device},
            "workloads": rows,
        }
        print(dumps(found, indent=2))
        return
    _show(rows)
    peak = f"at most {resident / 2**30:.2f} GiB of memory"
    if on_device:
        peak += f", {on_device / 2**30:.2f} GiB on the accelerator"
    how = "prompts share their tokens" if packed else "padded batches"
    rate = f"{machine.gflops:.0f} GFLOP/s in {machine.dtype}"
    print_lines(
        [
            f"{machine.device}, {machine.threads} threads, torch {machine.torch}: {rate} ({how}).",
            f"Loaded in {load_seconds:.1f} s; {peak}; {backend.memory.budget / 2**30:.1f} GiB may be worked in.",
        ]
    )


def _counts(text: str) -> list[int]:
    try:
        counts = [int(part) for part in text.split(",")]
    except ValueError:
        raise InputError(f"--shots takes whole numbers separated by commas, such as 0,3; not {text!r}.") from None
    return counts


def _show(rows: list[bench.Measured]) -> None:
    titles = ("subset", "method", "shots", "items", "items/s", "distinct tok/s", "naive tok/s", "sharing")
    table = Table(*titles, "prefill", "decode", "head", "tokenizer", "other", "of the bound", box=None, pad_edge=False)
    for row in rows:
        parts = (row.parts[name] for name in ("prefill", "decode", "head", "tokenize", "other"))
        table.add_row(
            row.task,
            row.method,
            str(row.shots),
            str(row.items),
            f"{row.items_per_s:.2f}",
            f"{row.distinct_tokens_per_s:.0f}",
            f"{row.naive_tokens_per_s:.0f}",
            f"{row.sharing:.1f} ×",
            *(f"{part:.2f} s" for part in parts),
            f"{100 * row.fraction:.0f} %",
        )
    print_table(table)
