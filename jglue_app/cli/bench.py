"""`bench`: what an evaluation costs on this machine, against what the machine could do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from jglue_app.backends import Notify, backend_for
from jglue_app.bench import measure
from jglue_app.bench.harness_comparison import HarnessComparison, compare, run_harness
from jglue_app.bench.harnesses import HARNESSES, Harness
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
from jglue_app.cli.tables import print_json, print_lines, print_table
from jglue_app.errors import InputError, PeerError, UnknownNameError
from jglue_app.messages import Message
from jglue_app.runs.progress import ProgressView
from jglue_app.settings import Settings
from jglue_app.types import ModelInfo, ModelSpec
from jglue_app.version import __version__

if TYPE_CHECKING:
    from jglue_app.backends.hf.backend import HFBackend
    from jglue_app.backends.hf.machine import Machine


def bench_command(
    model: Annotated[str, typer.Option(help="Registry name, Hub id, folder or .gguf file.")] = "gemma-3-270m",
    tasks: Annotated[
        str, typer.Option(help="Subsets, separated by commas, or 'all'.")
    ] = "jsts,jnli,jsquad,jcommonsenseqa",
    shots: Annotated[str, typer.Option(help="Numbers of solved examples, separated by commas.")] = "0",
    limit: Annotated[int, typer.Option(help="Items of each subset, in the order of its file.")] = 100,
    method: Annotated[str, typer.Option(help="generate, choose or both.")] = "both",
    data_kind: DataOption = "official",
    style: Annotated[
        str, typer.Option(help="Wording style: a name, or the path of your own .toml file.")
    ] = "ja-labels",
    dtype: DtypeOption = "auto",
    quantization: QuantizationOption = "none",
    revision: RevisionOption = None,
    gguf_file: GgufOption = None,
    allow_bin: BinOption = False,
    device: DeviceOption = "auto",
    memory: MemoryOption = None,
    peer: Annotated[
        list[str] | None,
        typer.Option(help="Another harness to run the same items: lm-eval, flexeval or vllm. May be repeated."),
    ] = None,
    peer_python: Annotated[
        list[Path] | None, typer.Option(help="Python interpreter of that harness's environment, one for each --peer.")
    ] = None,
    without: Annotated[
        list[str] | None,
        typer.Option(
            help="Leave one of the engine's optimizations out, to see what it gains: packing, beginning, sharing, "
            "guesses, screening or layout. May be repeated."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Time each subset and method, and say what fraction of the machine's matrix rate was reached.

    With --peer, the same items run in another harness between two runs here, and the ratio is printed.
    """
    settings = settings_of(None, memory)
    counts = _counts(shots)
    names = task_list(tasks)
    spec = ModelSpec(model, backend_for(model), revision, dtype, quantization, gguf_file, allow_bin)
    pairs = _peers(peer or [], peer_python or [], quantization)
    methods = ("choose", "generate") if method == "both" else (method,)
    with ProgressView() as view, ExitStack() as running:
        backend, load_seconds = measure.open_for_bench(
            settings, spec, device=device, notify=view.say, methods=methods, leave_out=without or []
        )
        running.callback(backend.close)
        from jglue_app.backends.hf.machine import accelerator_peak, measure_machine  # torch takes seconds to import

        machine = measure_machine(backend.info.device, backend.info.dtype)
        opened = _opened(pairs, spec, settings, backend.info, machine.threads, view.say)
        peers = [running.enter_context(other) for other in opened]
        rows: list[measure.Measurement] = []
        compared: list[HarnessComparison] = []
        failed = False
        for work in measure.workloads(
            settings, backend, spec, names, counts, limit, method=method, data_kind=data_kind, style=style
        ):
            measured, comparisons, failures = _measure(backend, work, machine.gflops, peers, view.say)
            rows.append(measured)
            compared += comparisons
            peers = [other for other in peers if other not in failures]
            failed = failed or bool(failures)
        packed, budget = backend.packed, backend.memory.budget
        memory_peaks = {"resident": measure.peak_resident(), "accelerator": accelerator_peak()}
    if as_json:
        summary = {
            "model": spec,
            "packed": packed,
            "without": without or [],
            "working_memory_bytes": budget,
            "code": __version__,
            "machine": machine,
            "load_seconds": load_seconds,
            "peak_bytes": memory_peaks,
            "style": style,
            "workloads": rows,
            "peers": compared,
        }
        print_json(summary)
    else:
        _show(rows)
        print_lines(_machine_lines(machine, packed, budget, load_seconds, memory_peaks))
        if compared:
            _show_peers(compared, memory_peaks["resident"] or 0)
    if failed:
        raise typer.Exit(PeerError.exit_code)


def _measure(
    backend: HFBackend, work: measure.Workload, gflops: float, peers: Sequence[Harness], notify: Notify
) -> tuple[measure.Measurement, list[HarnessComparison], list[Harness]]:
    """One workload here, and in every other harness between two measurements here; and the harnesses that failed."""
    notify(
        Message(
            "{task}, {method}, {shots} examples: {count} items.",
            task=work.task,
            method=work.method,
            shots=work.shots,
            count=len(work.prompts),
        )
    )
    first, results = measure.measure(backend, work, gflops)
    before = first
    comparisons: list[HarnessComparison] = []
    failures: list[Harness] = []
    for other in peers:
        notify(Message("The same in {other}.", other=other.name))
        try:
            answer = run_harness(other, work)
        except PeerError as e:
            notify(e.message)
            failures.append(other)
            continue
        after, _ = measure.measure(backend, work, gflops)
        comparisons.append(compare(other, work, answer, (before.seconds, after.seconds), results))
        before = after
    return first, comparisons, failures


def _machine_lines(
    machine: Machine, packed: bool, budget: int, load_seconds: float, peaks: Mapping[str, int | None]
) -> Iterator[str]:
    path = "prompts share their tokens" if packed else "padded batches"
    rate = f"{machine.gflops:.0f} GFLOP/s in {machine.dtype}"
    yield f"{machine.device}, {machine.threads} threads, torch {machine.torch}: {rate} ({path})."
    peak = f"at most {(peaks['resident'] or 0) / 2**30:.2f} GiB of memory"
    if on_device := peaks["accelerator"]:
        peak += f", {on_device / 2**30:.2f} GiB on the accelerator"
    yield f"Loaded in {load_seconds:.1f} s; {peak}; {budget / 2**30:.1f} GiB may be worked in."


def _counts(text: str) -> list[int]:
    try:
        counts = [int(part) for part in text.split(",")]
    except ValueError:
        raise InputError(
            "--shots takes whole numbers separated by commas, such as 0,3; not {text!r}.", text=text
        ) from None
    return counts


def _show(rows: list[measure.Measurement]) -> None:
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


def _peers(names: list[str], pythons: list[Path], quantization: str) -> list[tuple[str, Path]]:
    """Each harness with its interpreter."""
    if len(names) != len(pythons):
        raise InputError(
            "{peers} × --peer and {pythons} × --peer-python: give one interpreter for each harness.",
            peers=len(names),
            pythons=len(pythons),
        )
    for name in names:
        if name not in HARNESSES:
            raise UnknownNameError("harness", name, HARNESSES)
    if names and quantization != "none":
        raise InputError("Other harnesses run the same weights unrounded: leave --quantization out to compare.")
    return list(zip(names, pythons, strict=True))


def _opened(
    pairs: list[tuple[str, Path]],
    spec: ModelSpec,
    settings: Settings,
    info: ModelInfo,
    threads: int,
    notify: Notify,
) -> Iterator[Harness]:
    if not pairs:
        return
    from jglue_app.backends.hf.checkpoint.find_weights import find_model  # transformers takes seconds to import

    if info.device.split(":")[0] not in ("cpu", "cuda"):
        raise InputError("Other harnesses do not run on {device} here. Choose --device cpu.", device=info.device)
    path = str(find_model(spec, settings, notify).path)
    for name, python in pairs:
        notify(Message("Loading {model} in {name}.", model=spec.id, name=name))
        yield Harness(name, python, path, info.dtype, info.device.split(":")[0], threads)


def _show_peers(rows: list[HarnessComparison], resident: int) -> None:
    table = Table("subset", "method", "shots", "harness", "batch", "items/s", "here", "ratio", box=None, pad_edge=False)
    for title in ("same", "memory", "here"):
        table.add_column(title)
    for row in rows:
        same = f"{row.equal_texts}/{row.items} texts" if row.most_apart is None else f"within {row.most_apart:.1g}"
        table.add_row(
            row.task,
            row.method,
            str(row.shots),
            f"{row.peer} {row.version}",
            str(row.batch) if row.tried else "its own",
            f"{row.items_per_s:.3g}",
            f"{row.ours_per_s:.3g}",
            f"{row.ratio:.1f} ×",
            same,
            f"{row.peak_bytes / 2**30:.2f} GiB",
            f"{resident / 2**30:.2f} GiB",
        )
    print_lines([""])
    print_table(table)
