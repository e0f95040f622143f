"""`bench`: what an evaluation costs on this machine, against what the machine could do, and beside others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jglue_app.backends import Notify, backend_for
from jglue_app.bench import measure
from jglue_app.bench.benchmark import Findings, OpenModel, run_benchmark
from jglue_app.bench.harness_requests import HarnessRequest, check_same_model, requested_harnesses
from jglue_app.bench.harnesses import Harness
from jglue_app.bench.precisions import in_precision, precision_names
from jglue_app.bench.repetition import MAX_SPREAD, Rule
from jglue_app.cli.bench_tables import (
    machine_lines,
    print_harnesses,
    print_measurements,
    print_precisions,
    spread_lines,
)
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
from jglue_app.cli.tables import print_json, print_lines
from jglue_app.errors import InputError, PeerError
from jglue_app.messages import Message
from jglue_app.runs.progress import ProgressView
from jglue_app.settings import Settings
from jglue_app.types import ModelSpec
from jglue_app.version import __version__

if TYPE_CHECKING:
    from jglue_app.backends.hf.backend import HFBackend


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
    pairs: Annotated[
        int,
        typer.Option(
            help="Runs of each workload, or pairs of a run here and one in the peer: at least so many, and at most 12 "
            "where fewer are asked for. Medians and spreads are those of the last so many."
        ),
    ] = 3,
    time_limit: Annotated[
        float,
        typer.Option(help="Seconds for each workload after which it is not repeated any more to steady its times."),
    ] = 120.0,
    peer: Annotated[
        list[str] | None,
        typer.Option(
            help="Another harness to run the same items: lm-eval, flexeval, vllm, llama-cpp or transformers. May be "
            "repeated."
        ),
    ] = None,
    peer_python: Annotated[
        list[Path] | None,
        typer.Option(help="Python interpreter of that harness's environment, one for each --peer but transformers."),
    ] = None,
    peer_model: Annotated[
        list[Path] | None,
        typer.Option(help="GGUF file of the model, one for each --peer llama-cpp; without it, that of --model."),
    ] = None,
    precision: Annotated[
        str,
        typer.Option(
            help="Compare the model with itself in several precisions, separated by commas: float32, bfloat16, "
            "float16, 8bit, 4bit."
        ),
    ] = "",
    without: Annotated[
        list[str] | None,
        typer.Option(
            help="Leave one of the engine's optimizations out, to see what it gains: packing, beginning, sharing, "
            "guesses, screening, layout, fusion or batching. May be repeated."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Time each subset and method, and say what fraction of the machine's matrix rate was reached.

    Each is repeated until its times agree. With --peer, the same items run in another harness in turn with runs here;
    with --precision, in another precision.
    """
    settings = settings_of(None, memory)
    rule, counts, names, precisions = (
        _rule(pairs, time_limit),
        _counts(shots),
        task_list(tasks),
        precision_names(precision),
    )
    spec = ModelSpec(model, backend_for(model), revision, dtype, quantization, gguf_file, allow_bin)
    requests = requested_harnesses(peer or [], peer_python or [], peer_model or [], spec, settings)
    _check(requests, spec, method, precision, limit)
    with ProgressView() as view, ExitStack() as running:
        methods = ("choose", "generate") if method == "both" else (method,)
        models: list[OpenModel] = []
        for name in precisions:
            backend, load_seconds = measure.open_for_bench(
                settings,
                in_precision(spec, name),
                device=device,
                notify=view.say,
                methods=methods,
                leave_out=without or [],
            )
            running.callback(backend.close)
            models.append(_open_model(name, backend, load_seconds))
        base = models[0].backend
        peers = [running.enter_context(other) for other in _opened(requests, spec, settings, models[0], view.say)]
        works = measure.workloads(
            settings, base, spec, names, counts, limit, method=method, data_kind=data_kind, style=style
        )
        found = run_benchmark(models, peers, works, rule, view.say)
        from jglue_app.backends.hf.machine import accelerator_peak  # torch takes seconds to import

        peaks = {"resident": measure.peak_resident(), "accelerator": accelerator_peak()}
    budget = base.memory.budget
    if as_json:
        summary = {
            "model": spec,
            "packed": base.packed,
            "without": without or [],
            "working_memory_bytes": budget,
            "code": __version__,
            "machine": models[0].machine,
            "machines": {opened.precision or base.info.dtype: opened.machine for opened in models},
            "load_seconds": models[0].load_seconds,
            "peak_bytes": peaks,
            "style": style,
            "repetition": {"runs": rule.runs, "seconds": rule.seconds, "max_spread": MAX_SPREAD},
            "workloads": found.workloads,
            "peers": found.peers,
            "precisions": found.precisions,
        }
        print_json(summary)
    else:
        _print(found, models, rule, peaks)
    if found.failed:
        raise typer.Exit(PeerError.exit_code)


def _print(found: Findings, models: Sequence[OpenModel], rule: Rule, peaks: Mapping[str, int | None]) -> None:
    base = models[0]
    print_measurements(found.workloads)
    machines = [opened.machine for opened in models]
    budget = base.backend.memory.budget
    print_lines(machine_lines(machines, base.backend.packed, budget, base.load_seconds, peaks))
    if found.peers:
        print_harnesses(found.peers, peaks["resident"] or 0)
    if found.precisions:
        print_precisions(found.precisions)
    print_lines(spread_lines(found.spreads(), rule.runs))


def _open_model(precision: str, backend: HFBackend, load_seconds: float) -> OpenModel:
    from jglue_app.backends.hf.machine import measure_machine  # torch takes seconds to import

    machine = measure_machine(backend.info.device, backend.info.dtype)
    return OpenModel(precision, backend, machine, load_seconds)


def _rule(pairs: int, seconds: float) -> Rule:
    if pairs < 1:
        raise InputError("--pairs {pairs} measures nothing: give a number of 1 or more.", pairs=pairs)
    if not seconds >= 0:
        raise InputError("--time-limit takes seconds, 0 or more; not {seconds}.", seconds=seconds)
    return Rule(pairs, seconds)


def _counts(text: str) -> list[int]:
    try:
        counts = [int(part) for part in text.split(",")]
    except ValueError:
        raise InputError(
            "--shots takes whole numbers separated by commas, such as 0,3; not {text!r}.", text=text
        ) from None
    return counts


def _check(requests: Sequence[HarnessRequest], model: ModelSpec, method: str, precision: str, limit: int) -> None:
    """Raise InputError over options that do not go together, or leave nothing to measure."""
    if limit < 1:
        raise InputError("--limit {limit} leaves no items to time: give a number of 1 or more.", limit=limit)
    if requests and model.quantization != "none":
        raise InputError("Other harnesses run the same weights unrounded: leave --quantization out to compare.")
    if precision and requests:
        raise InputError("--precision compares the model with itself: leave it out, or leave --peer out.")
    if precision and (model.dtype != "auto" or model.quantization != "none"):
        raise InputError("--precision names all precisions: leave --dtype and --quantization out.")
    for request in requests:
        if method not in ("both", *request.spec.methods):
            raise InputError(
                "{harness} is compared in writing only: its log-probabilities depend on what ran before. Use --method "
                "generate.",
                harness=request.name,
            )


def _opened(
    requests: Sequence[HarnessRequest], spec: ModelSpec, settings: Settings, model: OpenModel, notify: Notify
) -> Iterator[Harness]:
    if not requests:
        return
    from jglue_app.backends.hf.checkpoint.find_weights import find_model  # transformers takes seconds to import

    info = model.backend.info
    device = info.device.split(":")[0]
    if device not in ("cpu", "cuda"):
        raise InputError("Other harnesses do not run on {device} here. Choose --device cpu.", device=info.device)
    path = str(find_model(spec, settings, notify).path)
    for request in requests:
        if request.gguf:
            check_same_model(request.gguf, spec, model.backend.model.config)
        notify(Message("Loading {model} in {name}.", model=request.gguf or spec.id, name=request.name))
        where = str(request.gguf or path)
        yield Harness(request.name, request.python, where, info.dtype, device, model.machine.threads)
