"""`embed`: JSTS by the cosine of two embeddings, stored as a run like any other."""

from __future__ import annotations

from typing import Annotated

import typer

from jglue_app.api import Run
from jglue_app.backends.embedding import SOURCES, with_source
from jglue_app.cli.options import (
    DataOption,
    DeviceOption,
    DtypeOption,
    GgufOption,
    JsonOption,
    MemoryOption,
    QuantizationOption,
    RevisionOption,
    RunsOption,
    SeedOption,
    SplitOption,
    settings_of,
)
from jglue_app.cli.paying import YesOption, approved_embedding, budget_option
from jglue_app.cli.runs import push_result, show_report, stop_on_signal, tell_failure, tell_missing
from jglue_app.cli.wandb import EntityOption, OfflineOption, ProjectOption, Wandb, WandbOption
from jglue_app.errors import EXIT_INTERRUPTED
from jglue_app.runs.embedding import make_embedding_plan, run_embedding
from jglue_app.runs.progress import ProgressView
from jglue_app.runs.request import read_budget
from jglue_app.runs.store import RunStore
from jglue_app.types import ModelSpec


def embed(
    model: Annotated[
        str,
        typer.Option(
            help="Model of sentence-transformers, or language model: Hub id, folder, .gguf file, registry name."
        ),
    ] = "gemma-3-270m",
    source: Annotated[
        str | None, typer.Option(help=f"Where vectors are from: {', '.join(SOURCES)}; without it, by the model.")
    ] = None,
    prefix: Annotated[
        str | None,
        typer.Option(help='Text before each sentence ("" for none); without it, what the model or its card wants.'),
    ] = None,
    data_kind: DataOption = "official",
    split: SplitOption = "valid",
    limit: Annotated[int | None, typer.Option(help="Items; without it, all.")] = None,
    seed: SeedOption = 0,
    revision: RevisionOption = None,
    gguf_file: GgufOption = None,
    dtype: DtypeOption = "auto",
    quantization: QuantizationOption = "none",
    budget: Annotated[
        float | None, budget_option("Most that paid vectors may cost; without it, it is asked about")
    ] = None,
    yes: YesOption = False,
    device: DeviceOption = "auto",
    memory: MemoryOption = None,
    runs_dir: RunsOption = None,
    wandb: WandbOption = False,
    project: ProjectOption = None,
    entity: EntityOption = None,
    offline: OfflineOption = False,
    as_json: JsonOption = False,
) -> None:
    """JSTS by embeddings: how the cosine of two sentences' vectors follows the gold similarity. The same command again
    goes on where it stopped; `compare` puts such a run beside any other."""
    settings = settings_of(runs_dir, memory)
    sink = Wandb.from_options(wandb, project, entity, offline)
    allowed = read_budget(budget)
    named = ModelSpec(model, revision=revision, dtype=dtype, quantization=quantization, gguf_file=gguf_file)
    with ProgressView() as view:
        plan = make_embedding_plan(
            settings,
            with_source(named, source, settings),
            data_kind=data_kind,
            split=split,
            limit=limit,
            seed=seed,
            prefix=prefix,
            notify=view.say,
            progress=view.download,
        )
        plan = approved_embedding(plan, settings, view, budget=allowed, yes=yes)
        store = RunStore.of(settings.runs_dir, plan.spec)
        with (
            stop_on_signal() as stop,
            sink.follower([("a", plan)], settings.runs_dir, "official", view, stop.is_set) as follower,
        ):
            for event in run_embedding(plan, settings, device=device, should_stop=stop.is_set):
                view.show(event)
                follower.on_event(event)
                tell_failure(event, view)
            code = tell_missing([plan], settings, view)
            view.still()
            begun = store.exists()  # It can be stopped before it begins.
            if begun:
                show_report(Run(store.path, plan.ids), "official", as_json)
        code = EXIT_INTERRUPTED if stop.is_set() else code
    if begun and code != EXIT_INTERRUPTED:
        push_result(sink, [store.path], "official", code)
    raise typer.Exit(code)
