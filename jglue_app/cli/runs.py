"""`run` and `compare`: evaluate models, and put two runs side by side."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

import typer

from jglue_app.api import Run, open_run
from jglue_app.backends import backend_for
from jglue_app.backends.pool import ModelPool
from jglue_app.cli.options import (
    BackendOption,
    BinOption,
    DataOption,
    DeviceOption,
    DtypeOption,
    FormatOption,
    GgufOption,
    JsonOption,
    LimitOption,
    MarcOption,
    MemoryOption,
    MethodOption,
    OracleOption,
    PenaltyOption,
    ProtocolOption,
    QuantizationOption,
    RevisionOption,
    RunsOption,
    SeedOption,
    SelectionOption,
    ShotSeedOption,
    ShotsOption,
    SplitOption,
    StyleOption,
    SystemOption,
    TasksOption,
    ThinkingOption,
    ThinkingTokensOption,
    TokensOption,
    find_run,
    settings_of,
    task_list,
)
from jglue_app.cli.tables import print_comparison, print_groups, print_json, print_lines, print_report
from jglue_app.cli.wandb import EntityOption, OfflineOption, ProjectOption, Wandb, WandbOption
from jglue_app.errors import EXIT_INCOMPLETE, EXIT_INTERRUPTED, InputError
from jglue_app.messages import Message
from jglue_app.runs import presets
from jglue_app.runs.plan import Plan, make_plan
from jglue_app.runs.progress import ProgressView
from jglue_app.runs.runner import run_plans
from jglue_app.runs.store import RunStore
from jglue_app.scoring import comparison
from jglue_app.scoring.item_groups import groups, with_and_without
from jglue_app.scoring.types import Preset
from jglue_app.settings import Settings
from jglue_app.types import Decoding, ModelSpec, PromptSpec
from jglue_app.wandb_sink import Follower


@contextmanager
def stop_on_signal() -> Iterator[threading.Event]:
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
    plans: Sequence[tuple[Literal["a", "b"], Plan]],
    settings: Settings,
    device: str,
    view: ProgressView,
    follower: Follower,
    stop: threading.Event,
) -> int:
    """Run plans; the exit code says whether everything has an output."""
    with ModelPool(settings, device=device) as pool:
        for event in run_plans(plans, pool, settings.runs_dir, stop.is_set):
            view.show(event)
            follower.on_event(event)
            if event.kind == "record" and event.record and event.record.error:
                view.say(
                    Message(
                        "{task} {item_id}: {message}",
                        task=event.task,
                        item_id=event.record.item_id,
                        message=event.record.error.message,
                    )
                )
        if stop.is_set():
            return EXIT_INTERRUPTED
    missing = sum(p.total - len(RunStore.of(settings.runs_dir, p.spec).finished_of(p.items)) for _, p in plans)
    if missing:
        view.say(
            Message("{missing} items have no output. Start the same command again to try them again.", missing=missing)
        )
    return EXIT_INCOMPLETE if missing else 0


def _push(sink: Wandb, folders: Sequence[Path], protocol: str, code: int, *, compare: bool = False) -> None:
    """Push what was run. Where items have no output, and so there may be nothing to push, that is what counts."""
    try:
        sink.push(folders, protocol, compare=compare)
    except InputError as e:
        if not code:
            raise
        print(f"error: {e}", file=sys.stderr)


def run(
    model: Annotated[str, typer.Option(help="Registry name, Hub id, folder or .gguf file.")] = "gemma-3-270m",
    tasks: TasksOption = "all",
    data_kind: DataOption = "official",
    split: SplitOption = "valid",
    limit: LimitOption = None,
    seed: SeedOption = 0,
    style: StyleOption = None,
    format: FormatOption = None,
    shots: ShotsOption = None,
    shot_selection: SelectionOption = "balanced",
    shot_seed: ShotSeedOption = 0,
    system: SystemOption = "",
    thinking: ThinkingOption = "off",
    method: MethodOption = None,
    max_new_tokens: TokensOption = None,
    max_thinking_tokens: ThinkingTokensOption = None,
    repetition_penalty: PenaltyOption = None,
    oracle_length: OracleOption = None,
    dtype: DtypeOption = "auto",
    quantization: QuantizationOption = "none",
    revision: RevisionOption = None,
    gguf_file: GgufOption = None,
    allow_bin: BinOption = False,
    backend: BackendOption = None,
    device: DeviceOption = "auto",
    memory: MemoryOption = None,
    marc_ja: MarcOption = None,
    runs_dir: RunsOption = None,
    protocol: ProtocolOption = "official",
    wandb: WandbOption = False,
    project: ProjectOption = None,
    entity: EntityOption = None,
    offline: OfflineOption = False,
    as_json: JsonOption = False,
) -> None:
    """Evaluate one model. The same command again goes on where it stopped; a higher limit extends the run."""
    settings = settings_of(runs_dir, memory)
    sink = Wandb.from_options(wandb, project, entity, offline)
    preset = presets.fill(protocol, style, format, shots, method, repetition_penalty, oracle_length)
    with ProgressView() as view:
        planned = make_plan(
            settings,
            ModelSpec(model, backend or backend_for(model), revision, dtype, quantization, gguf_file, allow_bin),
            task_list(tasks, protocol),
            data_kind=data_kind,
            split=split,
            limit=limit,
            seed=seed,
            prompt=_prompt_spec(preset, shot_seed, shot_selection, system, thinking),
            decoding=presets.decoding(preset, max_new_tokens, max_thinking_tokens),
            marc_ja=marc_ja,
            progress=view.download,
        )
        store = RunStore.of(settings.runs_dir, planned.spec)
        with stop_on_signal() as stop:
            with sink.follower([("a", planned)], settings.runs_dir, protocol, view, stop.is_set) as follower:
                code = _execute([("a", planned)], settings, device, view, follower, stop)
                view.still()
                if store.exists():  # A run can be stopped before it begins.
                    _show_report(Run(store.path, planned.ids), protocol, as_json)
            code = EXIT_INTERRUPTED if stop.is_set() else code
    if store.exists() and code != EXIT_INTERRUPTED:
        _push(sink, [store.path], protocol, code)
    raise typer.Exit(code)


def compare(
    runs: Annotated[list[str] | None, typer.Argument(help="Two stored runs (folders or ids), not models.")] = None,
    a: Annotated[str, typer.Option("--a", help="Model A.")] = "gemma-3-270m",
    b: Annotated[str | None, typer.Option("--b", help="Model B; without it, the same as A.")] = None,
    tasks: TasksOption = "all",
    data_kind: DataOption = "official",
    split: SplitOption = "valid",
    limit: LimitOption = None,
    seed: SeedOption = 0,
    a_style: StyleOption = None,
    b_style: Annotated[str | None, typer.Option(help="Style of B; without it, as A.")] = None,
    a_format: FormatOption = None,
    b_format: Annotated[str | None, typer.Option(help="Format of B; without it, as A.")] = None,
    a_shots: ShotsOption = None,
    b_shots: Annotated[int | None, typer.Option(help="Examples of B; without it, as A.")] = None,
    a_thinking: ThinkingOption = "off",
    b_thinking: Annotated[str | None, typer.Option(help="Thinking of B; without it, as A.")] = None,
    a_max_thinking_tokens: ThinkingTokensOption = None,
    b_max_thinking_tokens: Annotated[
        int | None, typer.Option(help="Limit on tokens of B's thoughts; 0 for none of its own; without it, as A.")
    ] = None,
    a_repetition_penalty: PenaltyOption = None,
    b_repetition_penalty: Annotated[
        float | None, typer.Option(help="Repetition penalty of B; without it, as A.")
    ] = None,
    shot_selection: SelectionOption = "balanced",
    shot_seed: ShotSeedOption = 0,
    system: SystemOption = "",
    method: MethodOption = None,
    max_new_tokens: TokensOption = None,
    oracle_length: OracleOption = None,
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
    memory: MemoryOption = None,
    marc_ja: MarcOption = None,
    runs_dir: RunsOption = None,
    protocol: ProtocolOption = "official",
    wandb: WandbOption = False,
    project: ProjectOption = None,
    entity: EntityOption = None,
    offline: OfflineOption = False,
    as_json: JsonOption = False,
) -> None:
    """Evaluate two models, or one model in two settings, and put them side by side; or compare two stored runs."""
    settings = settings_of(runs_dir, memory)
    sink = Wandb.from_options(wandb, project, entity, offline)
    preset_a = presets.fill(protocol, a_style, a_format, a_shots, method, a_repetition_penalty, oracle_length)
    preset_b = presets.fill(
        protocol,
        b_style or a_style,
        b_format or a_format,
        a_shots if b_shots is None else b_shots,
        method,
        a_repetition_penalty if b_repetition_penalty is None else b_repetition_penalty,
        oracle_length,
    )
    if runs:
        if len(runs) != 2:
            raise InputError("Name exactly two stored runs, or none.")
        left, right = (open_run(find_run(name, settings)) for name in runs)
        _show_comparison(left, right, protocol, as_json)
        sink.push([left.path, right.path], protocol, compare=True)
        return
    same_model = b is None or b == a
    thoughts_b = a_max_thinking_tokens if b_max_thinking_tokens is None else b_max_thinking_tokens or None
    sides: tuple[tuple[Literal["a", "b"], ModelSpec, PromptSpec, Decoding], ...] = (
        (
            "a",
            ModelSpec(a, a_backend or backend_for(a), a_revision, a_dtype, a_quantization, a_gguf_file, allow_bin),
            _prompt_spec(preset_a, shot_seed, shot_selection, system, a_thinking),
            presets.decoding(preset_a, max_new_tokens, a_max_thinking_tokens),
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
            _prompt_spec(preset_b, shot_seed, shot_selection, system, b_thinking or a_thinking),
            presets.decoding(preset_b, max_new_tokens, thoughts_b),
        ),
    )
    with ProgressView() as view:
        plans = [
            (
                side,
                make_plan(
                    settings,
                    model,
                    task_list(tasks, protocol),
                    data_kind=data_kind,
                    split=split,
                    limit=limit,
                    seed=seed,
                    prompt=prompt,
                    decoding=decoding,
                    marc_ja=marc_ja,
                    progress=view.download,
                ),
            )
            for side, model, prompt, decoding in sides
        ]
        if plans[0][1].spec == plans[1][1].spec:
            raise InputError("A and B are the same. Change one of them, e.g. add --b-shots 3.")
        stores = [RunStore.of(settings.runs_dir, p.spec) for _, p in plans]
        with stop_on_signal() as stop:
            with sink.follower(plans, settings.runs_dir, protocol, view, stop.is_set) as follower:
                code = _execute(plans, settings, device, view, follower, stop)
                view.still()
                begun = all(store.exists() for store in stores)  # A run can be stopped before it begins.
                if begun:
                    left, right = (Run(store.path, p.ids) for store, (_, p) in zip(stores, plans, strict=True))
                    _show_comparison(left, right, protocol, as_json)
            code = EXIT_INTERRUPTED if stop.is_set() else code
    if begun and code != EXIT_INTERRUPTED:
        _push(sink, [left.path, right.path], protocol, code, compare=True)
    raise typer.Exit(code)


def _prompt_spec(preset: Preset, shot_seed: int, shot_selection: str, system: str, thinking: str) -> PromptSpec:
    return PromptSpec(
        preset.style, preset.format, preset.shots, shot_seed, shot_selection, system, preset.shots_by_task, thinking
    )


def _show_report(run: Run, protocol: str, as_json: bool) -> None:
    found = run.report(protocol)
    data = run.data()
    rows = with_and_without(data, protocol, run.answered(protocol)) if groups(data) else ()
    if as_json:
        print_json({"run": str(run.path), "report": found, "without": rows})
    else:
        print_report(found)
        print_groups({protocol: rows})
        print_lines([f"stored in {run.path}"])


def _show_comparison(left: Run, right: Run, protocol: str, as_json: bool) -> None:
    found = comparison.compare_runs(left.data(), right.data(), protocol)
    if as_json:
        print_json({"run_a": str(left.path), "run_b": str(right.path), "comparison": found})
    else:
        print_comparison(found)
        print_lines([f"stored in {left.path} and {right.path}"])
