"""`run` and `compare`: evaluate models, and put two runs side by side."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from jglue_app.api import Run, first_differences, open_run
from jglue_app.backends.pool import ModelPool
from jglue_app.cli.agreement import token_parts
from jglue_app.cli.options import (
    DeviceOption,
    JsonOption,
    MemoryOption,
    ProtocolOption,
    RunsOption,
    find_run,
    settings_of,
)
from jglue_app.cli.paying import YesOption, approved
from jglue_app.cli.ray_options import RayCpusOption, RayOption, RayWorkersOption, ray_options
from jglue_app.cli.request_parameters import run_request, with_request_options
from jglue_app.cli.tables import (
    print_comparison,
    print_embeddings,
    print_groups,
    print_json,
    print_lines,
    print_note,
    print_parts,
    print_report,
)
from jglue_app.cli.wandb import EntityOption, OfflineOption, ProjectOption, Wandb, WandbOption
from jglue_app.cluster import RayOptions, run_plans_on_ray
from jglue_app.errors import EXIT_INCOMPLETE, EXIT_INTERRUPTED, InputError, JglueAppError
from jglue_app.messages import Message, mark
from jglue_app.results.first_differences import FirstDifferences, has_tokenizer_here, is_backend_comparison
from jglue_app.runs.events import Event
from jglue_app.runs.plan import Plan
from jglue_app.runs.progress import ProgressView
from jglue_app.runs.request import RunRequest
from jglue_app.runs.runner import run_plans
from jglue_app.runs.store import RunStore
from jglue_app.scoring.protocols import get_protocol
from jglue_app.scoring.types import Comparison
from jglue_app.settings import Settings
from jglue_app.wandb_sink import Follower

ONE: tuple[Literal[""]] = ("",)
TWO: tuple[Literal["a"], Literal["b"]] = ("a", "b")
"""Sides of the models of a command; see `request_parameters`."""


@contextmanager
def stop_on_signal() -> Iterator[threading.Event]:
    """The first Ctrl-C or SIGTERM asks the run to stop after the current token; the second ends at once. The end of
    the terminal counts as one of them, unless the command was told to outlive it (`nohup`)."""
    stop = threading.Event()
    stream = sys.stderr  # Converting a model hides the library's progress bar by exchanging it.

    def ask(number: int, frame: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()
        with contextlib.suppress(OSError, ValueError):  # The terminal may be gone.
            print("Stopping; what is finished is kept.", file=stream)

    numbers = [signal.SIGINT, signal.SIGTERM]
    hang_up = getattr(signal, "SIGHUP", None)  # Windows has none.
    if hang_up is not None and signal.getsignal(hang_up) == signal.SIG_DFL:
        numbers.append(hang_up)
    before = {number: signal.signal(number, ask) for number in numbers}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _execute(
    plans: Sequence[tuple[Literal["a", "b"], Plan]],
    settings: Settings,
    pool: ModelPool,
    view: ProgressView,
    follower: Follower,
    stop: threading.Event,
    over: RayOptions | None,
) -> int:
    """Run plans; the exit code says whether everything has an output."""
    out_of_budget = False
    for event in (
        run_plans_on_ray(plans, pool, settings, over, stop.is_set)
        if over
        else run_plans(plans, pool, settings.runs_dir, stop.is_set)
    ):
        view.show(event)
        follower.on_event(event)
        out_of_budget = out_of_budget or event.kind == "stopped"
        tell_failure(event, view)
    pool.clear()
    if stop.is_set():
        return EXIT_INTERRUPTED
    # A run that is out of its budget has said how to go on.
    return tell_missing([p for _, p in plans], settings, view, silent=out_of_budget)


def tell_failure(event: Event, view: ProgressView) -> None:
    """Say why an item has no output."""
    if event.kind == "record" and event.record and event.record.error:
        view.say(
            Message(
                "{task} {item_id}: {message}",
                task=event.task,
                item_id=event.record.item_id,
                message=event.record.error.message,
            )
        )


def tell_missing(plans: Sequence[Plan], settings: Settings, view: ProgressView, *, silent: bool = False) -> int:
    """Say how many items have no output, unless `silent`; the exit code says whether there are any."""
    missing = sum(p.total - len(RunStore.of(settings.runs_dir, p.spec).finished_of(p.items)) for p in plans)
    if missing and not silent:
        template = mark("{missing} items have no output. Start the same command again to try them again.")
        one = "1 item has no output. Start the same command again to try it again."
        view.say(Message.worded(one if missing == 1 else template, template, {"missing": missing}))
    return EXIT_INCOMPLETE if missing else 0


def push_result(sink: Wandb, folders: Sequence[Path], protocol: str, code: int, *, compare: bool = False) -> None:
    """Push what was run. Where items have no output, and so there may be nothing to push, that is what counts."""
    try:
        sink.push(folders, protocol, compare=compare)
    except InputError as e:
        if not code:
            raise
        print(f"error: {e}", file=sys.stderr)


def _run(
    *,
    device: DeviceOption = "auto",
    memory: MemoryOption = None,
    ray: RayOption = None,
    ray_workers: RayWorkersOption = None,
    ray_cpus: RayCpusOption = None,
    runs_dir: RunsOption = None,
    yes: YesOption = False,
    protocol: ProtocolOption = "official",
    wandb: WandbOption = False,
    project: ProjectOption = None,
    entity: EntityOption = None,
    offline: OfflineOption = False,
    as_json: JsonOption = False,
    **given: Any,
) -> None:
    """Evaluate one model. The same command again goes on where it stopped; a higher limit extends the run."""
    settings = settings_of(runs_dir, memory)
    sink = Wandb.from_options(wandb, project, entity, offline)
    over = ray_options(ray, ray_workers, ray_cpus, device)
    request = run_request(protocol, given, ONE)

    def show(runs: Sequence[Run]) -> None:
        show_report(runs[0], protocol, as_json)

    raise typer.Exit(_evaluate(request, settings, device, protocol, sink, show, yes=yes, over=over))


def _compare(
    runs: Annotated[list[str] | None, typer.Argument(help="Two stored runs (folders or ids), not models.")] = None,
    *,
    device: DeviceOption = "auto",
    memory: MemoryOption = None,
    ray: RayOption = None,
    ray_workers: RayWorkersOption = None,
    ray_cpus: RayCpusOption = None,
    runs_dir: RunsOption = None,
    yes: YesOption = False,
    protocol: ProtocolOption = "official",
    wandb: WandbOption = False,
    project: ProjectOption = None,
    entity: EntityOption = None,
    offline: OfflineOption = False,
    as_json: JsonOption = False,
    **given: Any,
) -> None:
    """Evaluate two models, or one model in two settings, and put them side by side; or compare two stored runs."""
    settings = settings_of(runs_dir, memory)
    sink = Wandb.from_options(wandb, project, entity, offline)
    if runs:
        get_protocol(protocol)
        if len(runs) != 2:
            raise InputError("Name exactly two stored runs, or none.")
        left, right = (open_run(find_run(name, settings)) for name in runs)
        _show_comparison(left, right, protocol, as_json)
        sink.push([left.path, right.path], protocol, compare=True)
        return
    over = ray_options(ray, ray_workers, ray_cpus, device)
    request = run_request(protocol, given, TWO)
    if request.a == request.b:
        raise InputError("A and B are the same. Change one of them, e.g. add --b-shots 3.")

    def show(runs: Sequence[Run]) -> None:
        _show_comparison(runs[0], runs[1], protocol, as_json)

    raise typer.Exit(_evaluate(request, settings, device, protocol, sink, show, yes=yes, over=over))


run = with_request_options(_run, ONE)
compare = with_request_options(_compare, TWO)


def _evaluate(
    request: RunRequest,
    settings: Settings,
    device: str,
    protocol: str,
    sink: Wandb,
    show: Callable[[Sequence[Run]], None],
    *,
    yes: bool,
    over: RayOptions | None,
) -> int:
    """Make the runs of a request, show and push them; returns the exit code. `yes` agrees to what they cost, `over` is
    the cluster that answers, if one does."""
    several = len(request.sides) > 1
    with ProgressView(names_sides=several) as view, ModelPool(settings, device=device) as pool:
        wanted = request.plans(settings, progress=view.download)
        stores = [RunStore.of(settings.runs_dir, plan.spec) for _, plan in wanted]
        plans = approved(wanted, pool, stores, view, yes=yes)
        with stop_on_signal() as stop:
            with sink.follower(plans, settings.runs_dir, protocol, view, stop.is_set) as follower:
                code = _execute(plans, settings, pool, view, follower, stop, over)
                view.still()
                begun = all(store.exists() for store in stores)  # A run can be stopped before it begins.
                if begun:
                    show([Run(store.path, plan.ids) for store, (_, plan) in zip(stores, plans, strict=True)])
            code = EXIT_INTERRUPTED if stop.is_set() else code
    if begun and code != EXIT_INTERRUPTED:
        push_result(sink, [store.path for store in stores], protocol, code, compare=len(stores) == 2)
    return code


def show_report(run: Run, protocol: str, as_json: bool) -> None:
    """The scores of a run that was just made, with those of stored embeddings of the same JSTS items."""
    report = run.report(protocol)
    rows = run.groups(protocol)
    embeddings = run.embeddings()
    if as_json:
        more = {"embeddings": embeddings} if embeddings else {}
        print_json({"run": str(run.path), "report": report, "without": rows, **more})
    else:
        print_report(report)
        print_groups({protocol: rows})
        print_embeddings(embeddings)
        print_lines([f"stored in {run.path}"])


def _show_comparison(left: Run, right: Run, protocol: str, as_json: bool) -> None:
    result = left.compared_with(right, protocol)
    tokens = _first_differences(left, right, result)
    embeddings = left.embeddings(right)
    if as_json:
        runs = {"run_a": str(left.path), "run_b": str(right.path), "comparison": result}
        more = {"embeddings": embeddings} if embeddings else {}
        print_json(runs | ({"first_differences": tokens} if tokens else {}) | more)
    else:
        print_comparison(result)
        print_parts(token_parts(tokens) if tokens else ())
        print_embeddings(embeddings)
        print_lines([f"stored in {left.path} and {right.path}"])


def _first_differences(left: Run, right: Run, result: Comparison) -> FirstDifferences | None:
    """In tokens, where one model was run in two ways and its tokenizer is on this machine; None elsewhere, and where
    no text differs."""
    if all(of.texts is None or of.texts.earliest is None for of in result.agreement.values()):
        return None
    specs = left.data().spec, right.data().spec
    if not is_backend_comparison(*specs) or not any(has_tokenizer_here(spec.model) for spec in specs):
        return None
    try:
        return first_differences(left, right)
    except JglueAppError as e:  # The comparison is worth showing all the same.
        print_note(f"first differing tokens are left out: {e}")
        return None
