"""The command line. It only builds specs and shows reports; evaluating and comparing are in the Python API, under
the same names.

Exit codes: 0 done; 1 unexpected fault; 2 the request is at fault; 3 the model; 4 the network; 5 the run folder;
6 the run is not complete (some items failed); 130 interrupted.
"""

from __future__ import annotations

import dataclasses
import io
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.table import Table

from jglue_app import __version__, data, report
from jglue_app.api import Run, open_run
from jglue_app.backends import ModelPool, backend_for
from jglue_app.console import ProgressView, print_comparison, print_lines, print_report, print_table
from jglue_app.errors import InputError, JglueAppError
from jglue_app.models import named_models
from jglue_app.plan import Plan, make_plan
from jglue_app.predictions import read_predictions
from jglue_app.protocols import PROTOCOLS, get_protocol
from jglue_app.runner import run_plans
from jglue_app.settings import Settings, load_settings
from jglue_app.store import RunStore, dumps
from jglue_app.tasks import TASKS, get_task
from jglue_app.types import Decoding, ModelSpec, PromptSpec

INCOMPLETE, INTERRUPTED = 6, 130

app = typer.Typer(
    help="Compare Japanese language models on JGLUE, item by item.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    epilog="Exit codes: 0 done, 2 bad request, 3 model, 4 network, 5 run folder, 6 incomplete, 130 interrupted.",
)
data_app = typer.Typer(help="The JGLUE files: what is here, fetch, verify.", no_args_is_help=True)
app.add_typer(data_app, name="data")

TasksOption = Annotated[str, typer.Option("--tasks", help="Subsets, separated by commas, or 'all'.")]
DataOption = Annotated[str, typer.Option("--data", help="official (JGLUE v1.3) or sample (embedded items).")]
SplitOption = Annotated[str, typer.Option(help="train, valid or test.")]
LimitOption = Annotated[int | None, typer.Option(help="Items per subset; without it, all.")]
SeedOption = Annotated[int, typer.Option(help="Seed of the order in which items are taken under a limit.")]
MethodOption = Annotated[str, typer.Option(help="generate, choose (log-likelihood of each answer) or both.")]
TokensOption = Annotated[int | None, typer.Option(help="Limit on new tokens; without it, the style's own.")]
StyleOption = Annotated[str, typer.Option(help="Wording style: a name, or the path of your own .toml file.")]
FormatOption = Annotated[str, typer.Option(help="Prompt format: plain, chat, rinna, alpaca or llama2.")]
ShotsOption = Annotated[int, typer.Option(help="Number of solved examples.")]
SelectionOption = Annotated[str, typer.Option(help="How examples are chosen: fixed, random or balanced.")]
ShotSeedOption = Annotated[int, typer.Option(help="Seed of the choice of examples.")]
SystemOption = Annotated[str, typer.Option(help="Text of the system turn.")]
DtypeOption = Annotated[str, typer.Option(help="auto, float32, bfloat16 or float16.")]
QuantizationOption = Annotated[str, typer.Option(help="none, 8bit or 4bit.")]
RevisionOption = Annotated[str | None, typer.Option(help="Branch, tag or commit on the Hub.")]
GgufOption = Annotated[str | None, typer.Option(help="File in a Hub repository that holds GGUF weights.")]
BinOption = Annotated[bool, typer.Option("--allow-bin", help="Accept pickled .bin weights, read weights-only.")]
BackendOption = Annotated[
    str | None, typer.Option(help="hf or scripted (a table of answers); by itself, scripted for .jsonl files.")
]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps, or balanced over all GPUs.")]
MarcOption = Annotated[Path | None, typer.Option(help="Your own MARC-ja file in the official format.")]
RunsOption = Annotated[Path | None, typer.Option(help="Folder for runs; without it, JGLUE_RUNS_DIR or ./runs.")]
ProtocolOption = Annotated[str, typer.Option(help="Scoring protocol.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")]


def main() -> None:
    """Entry point: errors meant for people become one sentence and an exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        try:
            app(prog_name="python -m jglue_app")
        finally:
            sys.stdout.flush()
    except JglueAppError as e:
        print(f"error: {e}", file=sys.stderr)
        sys.exit(e.exit_code)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        # Nobody reads any more. Python flushes once more when it exits, which must not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        print(__version__)
        raise typer.Exit


def _task_list(text: str) -> list[str]:
    names = [name.strip().lower() for name in text.split(",") if name.strip()]
    return list(TASKS) if names == ["all"] else names


def _settings(runs_dir: Path | None) -> Settings:
    settings = load_settings()
    return dataclasses.replace(settings, runs_dir=runs_dir) if runs_dir else settings


@contextmanager
def _stop_on_signal() -> Iterator[threading.Event]:
    """The first Ctrl-C or SIGTERM asks the run to stop after the current token; the second ends at once."""
    stop = threading.Event()
    stream = sys.stderr  # Converting a model hides the library's progress bar by exchanging it.

    def ask(number: int, frame: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        print("Stopping; what is finished is kept.", file=stream)
        stop.set()

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _execute(
    plans: Sequence[tuple[Literal["a", "b"], Plan]], settings: Settings, device: str, view: ProgressView
) -> int:
    """Run plans; the exit code says whether everything has an output."""
    with _stop_on_signal() as stop, ModelPool(settings, device=device) as pool:
        for event in run_plans(plans, pool, settings.runs_dir, stop.is_set):
            view.show(event)
            if event.kind == "record" and event.record and event.record.error:
                view.say(f"{event.task} {event.record.item_id}: {event.record.error.message}")
        if stop.is_set():
            return INTERRUPTED
    missing = sum(p.total - len(RunStore.of(settings.runs_dir, p.spec).finished_of(p.items)) for _, p in plans)
    if missing:
        view.say(f"{missing} items have no output. Start the same command again to try them again.")
    return INCOMPLETE if missing else 0


@app.command()
def run(
    model: Annotated[str, typer.Option(help="Registry name, Hub id, folder or .gguf file.")] = "gemma-3-270m",
    tasks: TasksOption = "all",
    data_kind: DataOption = "official",
    split: SplitOption = "valid",
    limit: LimitOption = None,
    seed: SeedOption = 0,
    style: StyleOption = "ja-labels",
    format: FormatOption = "plain",
    shots: ShotsOption = 0,
    shot_selection: SelectionOption = "balanced",
    shot_seed: ShotSeedOption = 0,
    system: SystemOption = "",
    method: MethodOption = "generate",
    max_new_tokens: TokensOption = None,
    dtype: DtypeOption = "auto",
    quantization: QuantizationOption = "none",
    revision: RevisionOption = None,
    gguf_file: GgufOption = None,
    allow_bin: BinOption = False,
    backend: BackendOption = None,
    device: DeviceOption = "auto",
    marc_ja: MarcOption = None,
    runs_dir: RunsOption = None,
    protocol: ProtocolOption = "official",
    as_json: JsonOption = False,
) -> None:
    """Evaluate one model. The same command again goes on where it stopped; a higher limit extends the run."""
    settings = _settings(runs_dir)
    get_protocol(protocol)
    with ProgressView() as view:
        planned = make_plan(
            settings,
            ModelSpec(model, backend or backend_for(model), revision, dtype, quantization, gguf_file, allow_bin),
            _task_list(tasks),
            data_kind=data_kind,
            split=split,
            limit=limit,
            seed=seed,
            prompt=PromptSpec(style, format, shots, shot_seed, shot_selection, system),
            decoding=Decoding(method, max_new_tokens),
            marc_ja=marc_ja,
            progress=view.download,
        )
        code = _execute([("a", planned)], settings, device, view)
    store = RunStore.of(settings.runs_dir, planned.spec)
    if store.exists():  # A run can be stopped before it begins.
        _show_report(Run(store.path, planned.ids), protocol, as_json)
    raise typer.Exit(code)


@app.command()
def compare(
    runs: Annotated[list[str] | None, typer.Argument(help="Two stored runs (folders or ids), not models.")] = None,
    a: Annotated[str, typer.Option("--a", help="Model A.")] = "gemma-3-270m",
    b: Annotated[str | None, typer.Option("--b", help="Model B; without it, the same as A.")] = None,
    tasks: TasksOption = "all",
    data_kind: DataOption = "official",
    split: SplitOption = "valid",
    limit: LimitOption = None,
    seed: SeedOption = 0,
    a_style: StyleOption = "ja-labels",
    b_style: Annotated[str | None, typer.Option(help="Style of B; without it, as A.")] = None,
    a_format: FormatOption = "plain",
    b_format: Annotated[str | None, typer.Option(help="Format of B; without it, as A.")] = None,
    a_shots: ShotsOption = 0,
    b_shots: Annotated[int | None, typer.Option(help="Examples of B; without it, as A.")] = None,
    shot_selection: SelectionOption = "balanced",
    shot_seed: ShotSeedOption = 0,
    system: SystemOption = "",
    method: MethodOption = "generate",
    max_new_tokens: TokensOption = None,
    a_dtype: DtypeOption = "auto",
    b_dtype: Annotated[str | None, typer.Option(help="dtype of B; without it, as A.")] = None,
    a_quantization: QuantizationOption = "none",
    b_quantization: Annotated[str | None, typer.Option(help="Quantization of B; without it, as A.")] = None,
    a_revision: RevisionOption = None,
    b_revision: RevisionOption = None,
    a_gguf_file: GgufOption = None,
    b_gguf_file: GgufOption = None,
    allow_bin: BinOption = False,
    a_backend: BackendOption = None,
    b_backend: BackendOption = None,
    device: DeviceOption = "auto",
    marc_ja: MarcOption = None,
    runs_dir: RunsOption = None,
    protocol: ProtocolOption = "official",
    as_json: JsonOption = False,
) -> None:
    """Evaluate two models, or one model in two settings, and put them side by side; or compare two stored runs."""
    settings = _settings(runs_dir)
    get_protocol(protocol)
    if runs:
        if len(runs) != 2:
            raise InputError("Name exactly two stored runs, or none.")
        left, right = (open_run(_find_run(name, settings)) for name in runs)
        _show_comparison(left, right, protocol, as_json)
        return
    same_model = b is None or b == a
    sides: tuple[tuple[Literal["a", "b"], ModelSpec, PromptSpec], ...] = (
        (
            "a",
            ModelSpec(a, a_backend or backend_for(a), a_revision, a_dtype, a_quantization, a_gguf_file, allow_bin),
            PromptSpec(a_style, a_format, a_shots, shot_seed, shot_selection, system),
        ),
        (
            "b",
            ModelSpec(
                b or a,
                b_backend or backend_for(b or a),
                b_revision or (a_revision if same_model else None),
                b_dtype or a_dtype,
                b_quantization or a_quantization,
                b_gguf_file or (a_gguf_file if same_model else None),
                allow_bin,
            ),
            PromptSpec(
                b_style or a_style,
                b_format or a_format,
                a_shots if b_shots is None else b_shots,
                shot_seed,
                shot_selection,
                system,
            ),
        ),
    )
    with ProgressView() as view:
        plans = [
            (
                side,
                make_plan(
                    settings,
                    model,
                    _task_list(tasks),
                    data_kind=data_kind,
                    split=split,
                    limit=limit,
                    seed=seed,
                    prompt=prompt,
                    decoding=Decoding(method, max_new_tokens),
                    marc_ja=marc_ja,
                    progress=view.download,
                ),
            )
            for side, model, prompt in sides
        ]
        if plans[0][1].spec == plans[1][1].spec:
            raise InputError("A and B are the same. Change one of them, e.g. add --b-shots 3.")
        code = _execute(plans, settings, device, view)
    stores = [RunStore.of(settings.runs_dir, p.spec) for _, p in plans]
    if all(store.exists() for store in stores):  # A run can be stopped before it begins.
        left, right = (Run(store.path, p.ids) for store, (_, p) in zip(stores, plans, strict=True))
        _show_comparison(left, right, protocol, as_json)
    raise typer.Exit(code)


def _find_run(name: str, settings: Settings) -> str | Path:
    return settings.runs_dir / name if (settings.runs_dir / name / "manifest.json").is_file() else name


def _show_report(run: Run, protocol: str, as_json: bool) -> None:
    found = run.report(protocol)
    if as_json:
        print(dumps({"run": str(run.path), "report": found}, indent=2))
    else:
        print_report(found)
        print_lines([f"stored in {run.path}"])


def _show_comparison(left: Run, right: Run, protocol: str, as_json: bool) -> None:
    found = report.compare_runs(left.data(), right.data(), protocol)
    if as_json:
        print(dumps({"run_a": str(left.path), "run_b": str(right.path), "comparison": found}, indent=2))
    else:
        print_comparison(found)
        print_lines([f"stored in {left.path} and {right.path}"])


@app.command()
def score(
    task: Annotated[str, typer.Option(help="The subset the predictions answer.")],
    predictions: Annotated[Path, typer.Option(help='JSON Lines of {"item_id": …, "text": …}.')],
    protocol: Annotated[str, typer.Option(help="A protocol, or 'all'.")] = "official",
    data_kind: DataOption = "official",
    split: SplitOption = "valid",
    partial: Annotated[bool, typer.Option("--partial", help="Score a part of the items alone.")] = False,
    marc_ja: MarcOption = None,
    as_json: JsonOption = False,
) -> None:
    """Score outputs made elsewhere. Answers are read against the official labels."""
    get_task(task)
    names = list(PROTOCOLS) if protocol == "all" else [protocol]
    for name in names:
        get_protocol(name)
    dataset = data.load(load_settings(), task, split, data=data_kind, marc_ja=marc_ja)
    scored = read_predictions(predictions, dataset, partial=partial)
    reports = {name: report.report_run(scored, name) for name in names}
    if not as_json:
        for found in reports.values():
            print_report(found)
        return
    table: dict[str, Any] = {"task": task, "source": dataset.source, "n": len(scored.records), "protocols": {}}
    for name, found in reports.items():
        row = found.tasks[task]
        table["protocols"][name] = {
            "metrics": row.metrics,
            "lenient": row.lenient,
            "imputed": row.imputed,
            "unreadable": row.unreadable,
            "unreadable_lenient": row.unreadable_lenient,
            "outcomes": row.outcomes,
            "floors": row.floors,
        }
    print(dumps(table, indent=2))


# --- data -----------------------------------------------------------------------------------------------


@data_app.command("list")
def data_list(as_json: JsonOption = False) -> None:
    """Which files are here, and which data each subset would be scored on. Reads names only."""
    settings = load_settings()
    rows: list[dict[str, Any]] = []
    for name, task in TASKS.items():
        for split in data.SPLITS:
            path = data.find_official(settings, name, split)
            sample = data.sample_path(name, split)
            rows.append(
                {
                    "task": name,
                    "title": task.title,
                    "split": split,
                    "path": str(path) if path else None,
                    "distributed": name in data.DISTRIBUTED,
                    "pinned": f"{name}/{split}" in data.PINS,
                    "sample": str(sample) if sample.is_file() else None,
                }
            )
    if as_json:
        print(dumps(rows, indent=2))
        return
    table = Table("subset", "split", "official file", "embedded sample", box=None, pad_edge=False)
    for row in rows:
        here = row["path"] or ("not here; fetched when needed" if row["distributed"] else "no longer distributed")
        table.add_row(row["title"], row["split"], here, "yes" if row["sample"] else "–")
    print_table(table)


@data_app.command("fetch")
def data_fetch(
    task: Annotated[str, typer.Option(help="A subset, or 'all' that are still distributed.")] = "all",
    split: Annotated[str, typer.Option(help="train, valid, test, or 'all'.")] = "valid",
    as_json: JsonOption = False,
) -> None:
    """Download official files into the cache and verify them."""
    settings = load_settings()
    tasks = list(data.DISTRIBUTED) if task == "all" else [get_task(task).name]
    splits = list(data.SPLITS) if split == "all" else [split]
    paths = []
    with ProgressView() as view:
        for name in tasks:
            paths += [str(data.fetch(settings, name, s, view.download)) for s in splits]
    print(dumps(paths, indent=2)) if as_json else print_lines(paths)


@data_app.command("verify")
def data_verify(as_json: JsonOption = False) -> None:
    """Check every official file that is here: checksum, format, ids, labels. Exit code 2 when one is damaged."""
    rows = data.verify(load_settings())
    if as_json:
        print(dumps(rows, indent=2))
    else:
        table = Table("subset", "split", "state", "items", "sha256", box=None, pad_edge=False)
        for row in rows:
            digest = str(row["sha256"] or "–")[:16]
            items = "–" if row["items"] is None else str(row["items"])
            table.add_row(str(row["task"]), str(row["split"]), str(row["state"]), items, digest)
        print_table(table)
        print_lines(str(row["message"]) for row in rows if row["message"])
    if any(row["state"] == "damaged" for row in rows):
        raise typer.Exit(InputError.exit_code)


@app.command()
def models(as_json: JsonOption = False) -> None:
    """The named models. Any other Hub id, folder or .gguf file can be given as well."""
    entries = list(named_models().values())
    if as_json:
        print(dumps(entries, indent=2))
        return
    table = Table("id", "family", "weights", "licence", "format", "memory (16 bit)", box=None, pad_edge=False)
    for entry in entries:
        size = f"{entry.parameters / 1000:.1f}B" if entry.parameters >= 1000 else f"{entry.parameters}M"
        gated = " (gated)" if entry.gated else ""
        memory = f"{entry.memory_gb:.1f} GB"
        table.add_row(entry.id + gated, entry.family, size, entry.licence, entry.format, memory)
    print_table(table)


@app.command()
def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 7860,
    device: DeviceOption = "auto",
    runs_dir: RunsOption = None,
) -> None:
    """Open the page."""
    from jglue_app.ui.page import launch  # gradio takes seconds to import

    launch(_settings(runs_dir), host=host, port=port, device=device)
