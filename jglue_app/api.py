"""The public Python functions: `evaluate`, `grid`, `effects`, `embed`, `compare`, `first_differences`, `rescore`,
`explain`, `score`, `export`, `export_report`, `import_log`, `open_run`, `lint_prompt`, `check_data`.

from jglue_app import compare, evaluate

zero = evaluate("gemma-3-270m", tasks=["jnli"], data="sample", limit=10)
three = evaluate("gemma-3-270m", tasks=["jnli"], data="sample", limit=10, shots=3)
print(zero.report().tasks["jnli"].metrics["accuracy"])
print(compare(zero, three).differences["jnli"]["accuracy"].difference)
for row in three.answered()["jnli"].values():
    print(row.record.prompt.text, row.record.output, row.judgement.lenient)
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from jglue_app.backends import Notify, backend_for, open_tokenizer
from jglue_app.backends.embedding import with_source
from jglue_app.backends.pool import ModelPool
from jglue_app.data import check, files, known_items
from jglue_app.data.check import DataCheck
from jglue_app.data.known_items import CURRENT_LABELS
from jglue_app.errors import InputError, StoreError, UnknownNameError
from jglue_app.grid import members
from jglue_app.grid.grid_estimate import estimate_grid
from jglue_app.grid.grid_file import read_grid
from jglue_app.grid.grid_plan import plan_grid
from jglue_app.grid.grid_run import Execute, Failures, one_after_other, run_grid
from jglue_app.messages import Joined
from jglue_app.prompts.findings import Finding
from jglue_app.results import exporters
from jglue_app.results import first_differences as differing
from jglue_app.results.embedding_references import EmbeddingReference, of_library
from jglue_app.results.first_differences import FirstDifferences
from jglue_app.results.grid_effects import effect_table
from jglue_app.results.importers.import_run import ImportResult, Items, import_logs
from jglue_app.results.library import Library
from jglue_app.runs import presets
from jglue_app.runs.embedding import make_embedding_plan, run_embedding
from jglue_app.runs.lint_plan import lint_plan
from jglue_app.runs.paying import no_budget
from jglue_app.runs.predictions import read_predictions
from jglue_app.runs.request import read_budget
from jglue_app.runs.runner import run_plan
from jglue_app.runs.store import RunStore
from jglue_app.scoring import rescoring, waterfall
from jglue_app.scoring.effect_types import EffectTable
from jglue_app.scoring.item_groups import GroupScore, with_labels
from jglue_app.scoring.judged import Judged, only
from jglue_app.scoring.protocols import protocol_names
from jglue_app.scoring.rescoring import Rescoring
from jglue_app.scoring.types import Comparison, Report
from jglue_app.scoring.waterfall import Waterfall
from jglue_app.settings import load_settings
from jglue_app.tasks import TASKS, get_task
from jglue_app.types import ModelSpec, RunData


@dataclass(frozen=True, slots=True)
class Run:
    """A stored run."""

    path: Path
    """Its directory."""
    items: Mapping[str, frozenset[str]] | None = None
    """Task → ids of the items that were requested; None for all that are stored."""
    _library: Library = field(init=False, repr=False, compare=False)
    """Reads and judges what is stored once, however often it is asked."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "_library", Library(self.path.parent))

    def data(self) -> RunData:
        """Spec, items and records; raises StoreError if the directory is no run."""
        return self._library.data(self.path, self.items)

    def report(self, protocol: str = "official") -> Report:
        """Scores under a protocol; raises UnknownNameError if there is no such protocol."""
        return self._library.report(self.path, protocol, self.items)

    def answered(self, protocol: str = "official") -> Judged:
        """Task → item id → item, record and judgement."""
        return self._library.judged(self.path, protocol, self.items)

    def groups(self, protocol: str = "official") -> tuple[GroupScore, ...]:
        """Scores with and without faulty, repeated, leaked and relabelled items; empty if there are none of these."""
        return self._library.groups(self.path, protocol, self.items)

    def embeddings(self, other: Run | None = None) -> tuple[EmbeddingReference, ...]:
        """Stored runs of embeddings over the same JSTS items, or over those that another run has too, scored on these;
        empty without JSTS."""
        return of_library(self._library, self.data(), other.data() if other else None)

    def compared_with(self, other: Run, protocol: str = "official") -> Comparison:
        """This run (A) and another (B); see `compare`."""
        return self._library.comparison(self.path, other.path, protocol, self.items, other.items)


def evaluate(
    model: str | ModelSpec,
    tasks: Sequence[str] | None = None,
    *,
    data: str = "official",
    split: str = "valid",
    limit: int | None = None,
    seed: int = 0,
    protocol: str = "official",
    style: str | None = None,
    format: str | None = None,
    shots: int | None = None,
    shot_selection: str = "balanced",
    shot_seed: int = 0,
    system: str = "",
    thinking: str = "off",
    method: str | None = None,
    max_new_tokens: int | None = None,
    max_thinking_tokens: int | None = None,
    repetition_penalty: float | None = None,
    oracle_length: bool | None = None,
    shots_by_task: Mapping[str, int] | None = None,
    repetition_penalty_by_task: Mapping[str, float] | None = None,
    marc_ja: str | Path | None = None,
    budget: float | None = None,
    device: str = "auto",
    pool: ModelPool | None = None,
) -> Run:
    """Answer the items of some subsets with a model; what is stored already is not done again.

    Args:
        model: a registry name, Hub id, folder or .gguf file, or a whole `ModelSpec`.
        tasks: keys of `TASKS`; None for all that the protocol scores.
        data: `official` or `sample`.
        split: `train`, `valid` or `test`.
        limit: items per subset; None for all.
        seed: order in which items are taken under a limit.
        protocol: whose settings to take where style, format, shots, method, repetition_penalty or oracle_length are
            None.
        style, format, shots, shot_selection, shot_seed, system, thinking: see `types.PromptSpec`.
        method, max_new_tokens, max_thinking_tokens, oracle_length: see `types.Decoding`.
        repetition_penalty: of all subsets; see there.
        shots_by_task, repetition_penalty_by_task: subset → its own number, where it has another one.
        marc_ja: your own MARC-ja file.
        budget: most that the paid requests of the run may cost, in the currency of the endpoint.
        device: see `backends.open_backend`.
        pool: keeps models loaded between calls; without one the model is dropped at the end.

    Raises:
        JglueAppError: one of its kinds, with a remedy in the message.
    """
    settings = load_settings()
    request = presets.request(
        protocol,
        {
            **{"tasks": tasks, "data": data, "split": split, "limit": limit, "seed": seed, "method": method},
            **{"max_new_tokens": max_new_tokens, "oracle_length": oracle_length, "allow_bin": _spec(model).allow_bin},
            **{"marc_ja": str(marc_ja) if marc_ja else None, "budget": budget},
        },
        {
            **_of_model(model),
            **{"style": style, "format": format, "shots": shots, "shot_selection": shot_selection},
            **{"shot_seed": shot_seed, "system": system, "thinking": thinking},
            **{"max_thinking_tokens": max_thinking_tokens, "repetition_penalty": repetition_penalty},
            **{"shots_by_task": shots_by_task, "repetition_penalty_by_task": repetition_penalty_by_task},
        },
    )
    ((_, plan),) = request.plans(settings)
    owned = pool or ModelPool(settings, device=device)
    try:
        for _ in run_plan(plan, owned, settings.runs_dir):
            pass
    finally:
        if pool is None:
            owned.clear()
    return Run(RunStore.of(settings.runs_dir, plan.spec).path, plan.ids)


def embed(
    model: str | ModelSpec,
    *,
    source: str | None = None,
    prefix: str | None = None,
    data: str = "official",
    split: str = "valid",
    limit: int | None = None,
    seed: int = 0,
    budget: float | None = None,
    device: str = "auto",
    notify: Notify = lambda _: None,
) -> Run:
    """JSTS by embeddings: the cosine of the vectors of the two sentences; what is stored already is not done again.

    Args:
        model: a model of sentence-transformers (Hub id or folder), a causal language model as for `evaluate`, or
            `ENDPOINT:MODEL`; or a whole `ModelSpec`, whose backend is not looked at.
        source: `sentence-transformers`, `hidden-states` or `endpoint`; None to choose by the model.
        prefix: text before each sentence; None for what the model's own files or its card want.
        data, split, limit, seed, budget: see `evaluate`.
        device: see `backends.open_backend`.
        notify: called, in a sentence, with where the prefix is from and what takes long.

    Raises:
        JglueAppError: one of its kinds, with a remedy in the message.
    """
    settings, allowed = load_settings(), read_budget(budget)
    spec = with_source(ModelSpec(model) if isinstance(model, str) else model, source, settings)
    plan = make_embedding_plan(
        settings, spec, data_kind=data, split=split, limit=limit, seed=seed, prefix=prefix, notify=notify
    )
    for event in run_embedding(replace(plan, budget=allowed), settings, device=device):
        if event.kind == "notice":
            notify(event.message)
    return Run(RunStore.of(settings.runs_dir, plan.spec).path, plan.ids)


def _spec(model: str | ModelSpec) -> ModelSpec:
    return ModelSpec(model, backend_for(model)) if isinstance(model, str) else model


def _of_model(model: str | ModelSpec) -> dict[str, object]:
    """What a model says of a side of a request."""
    spec = _spec(model)
    names = ("backend", "revision", "dtype", "quantization", "gguf_file", "adapter")
    return {"model": spec.id} | {name: getattr(spec, name) for name in names}


def lint_prompt(
    model: str | ModelSpec,
    tasks: Sequence[str] | None = None,
    *,
    data: str | None = None,
    split: str = "valid",
    limit: int | None = 50,
    seed: int = 0,
    protocol: str = "official",
    style: str | None = None,
    format: str | None = None,
    shots: int | None = None,
    shot_selection: str = "balanced",
    shot_seed: int = 0,
    system: str = "",
    thinking: str = "off",
    max_new_tokens: int | None = None,
    max_thinking_tokens: int | None = None,
    marc_ja: str | Path | None = None,
    notify: Notify = lambda _: None,
    checked: Callable[[Mapping[str, int]], None] = lambda _: None,
) -> tuple[Finding, ...]:
    """What in the prompts of a run would cost points or time; only the model's tokenizer is loaded.

    Args: as for `evaluate`. Up to `limit` prompts of each subset are looked at; without `data`, of the official files
        if they are all here, else of the samples. `checked` is told how many they are, by subset.

    Raises:
        JglueAppError: one of its kinds, with a remedy in the message.
    """
    settings = load_settings()
    spec = _spec(model)
    names = presets.subsets(protocol, tasks)
    here = all(files.find_official(settings, name, split) for name in names if name in files.DISTRIBUTED)
    request = presets.request(
        protocol,
        {
            **{"tasks": names, "data": data or ("official" if here else "sample"), "split": split, "limit": limit},
            **{"seed": seed, "method": "generate", "max_new_tokens": max_new_tokens, "allow_bin": spec.allow_bin},
            "marc_ja": str(marc_ja) if marc_ja else None,
        },
        {
            **_of_model(model),
            **{"style": style, "format": format, "shots": shots, "shot_selection": shot_selection},
            **{"shot_seed": shot_seed, "system": system, "thinking": thinking},
            "max_thinking_tokens": max_thinking_tokens,
        },
    )
    ((_, plan),) = request.plans(settings, answers=False)
    tokenizer = open_tokenizer(spec, settings, notify)
    checked({name: len(items) for name, items in plan.items.items()})
    return lint_plan(plan, tokenizer, deliberate=protocol != "official" and style is None)


def compare(a: Run | str | Path, b: Run | str | Path, protocol: str = "official") -> Comparison:
    """Two stored runs on the items both have answered; differences are B minus A.

    Raises:
        StoreError: one of them is no run.
        UnknownNameError: no such protocol.
    """
    left, right = (run if isinstance(run, Run) else open_run(run) for run in (a, b))
    return left.compared_with(right, protocol)


def first_differences(a: Run | str | Path, b: Run | str | Path, notify: Notify = lambda _: None) -> FirstDifferences:
    """Where the outputs of two stored runs first differ, in characters and in tokens, for every item that differs.

    Only a tokenizer is loaded: that of A's model if it ran here, else of B's. `compare(a, b).agreement` has the counts
    by subset, in characters, without it.

    Raises:
        StoreError: one of them is no run.
        InputError: neither side's model ran here, so there is no tokenizer.
        ModelError, NetworkError: the tokenizer cannot be loaded, or the model's files have changed.
    """
    left, right = (run if isinstance(run, Run) else open_run(run) for run in (a, b))
    return differing.first_differences(left.data(), right.data(), load_settings(), notify)


def export(run: Run | str | Path, to: str | Path, format: str, protocol: str = "official") -> exporters.ExportResult:
    """Write a stored run in the format of another project: a folder, a `.zip` file, or a single file by its ending.

    Args:
        run: the run, whole: of a `Run` that was asked for a part of the items, everything that is stored.
        to: where to; nothing may be there yet.
        format: `every-eval-ever`, `hub-eval-results` or `lm-eval`; see `exporters`.
        protocol: a key of `PROTOCOLS`; its scores are written.

    Returns:
        Where the export is, and what to know of it.

    Raises:
        JglueAppError: one of its kinds, with a remedy in the message; nothing is written then.
    """
    stored = run if isinstance(run, Run) else open_run(run)
    return exporters.export(stored.path, Path(to), format, protocol)


def export_report(runs: Sequence[Run | str | Path], to: str | Path, protocol: str = "official") -> Path:
    """Write stored runs as one HTML file that opens without a server and without a network, in both languages.

    Args:
        runs: one run; two to compare; or more, each of which is compared with the first. Of a `Run` that was asked for
            a part of the items, everything that is stored.
        to: the file; nothing may be there yet.
        protocol: a key of `PROTOCOLS`; the scoreboard is under it.

    Returns:
        Where the report is.

    Raises:
        JglueAppError: one of its kinds, with a remedy in the message; nothing is written then.
    """
    # What draws the page is loaded only for this.
    from jglue_app.ui.static_report import report_of_folders

    folders = [(run if isinstance(run, Run) else open_run(run)).path for run in runs]
    return report_of_folders(load_settings(), folders, Path(to), protocol)


def grid(
    file: str | Path,
    *,
    protocol: str | None = None,
    budget: float | None = None,
    device: str = "auto",
    pool: ModelPool | None = None,
    execute: Execute | None = None,
    notify: Notify = lambda _: None,
) -> EffectTable:
    """Run every combination of a grid's settings, and say what each setting moves; what is stored already is not done
    again.

    Args:
        file: the grid, as `grid.grid_file` describes it.
        protocol: a key of `PROTOCOLS` that scores; None for that of the grid.
        budget: most that all paid requests may cost together, in the currency of the endpoints; None for the file's,
            0 for none.
        device: see `backends.open_backend`.
        pool: keeps models loaded between calls; without one they are dropped at the end.
        execute: makes the runs elsewhere; None for this process, one after the other.
        notify: called, in a sentence, with what happens, and with each run that cannot be made.

    Raises:
        InputError: something in the file cannot be done, or a model is paid and there is no budget.
        JglueAppError: another of its kinds, with a remedy in the message; a run that cannot be made stops no other.
    """
    settings = load_settings()
    described = read_grid(Path(file))
    allowed = described.budget_with(budget)
    planned = plan_grid(described, settings)
    owned = pool or ModelPool(settings, device=device)
    try:
        estimate = estimate_grid(planned, settings, owned, device)
        if estimate.costs and allowed is None:
            raise no_budget(estimate.costs[0])
        failures: Failures = dict(planned.failures)
        for error in {str(error): error for error in failures.values()}.values():
            notify(error.message)
        make = execute or one_after_other(settings, owned, budget=allowed, failures=failures)
        for event in run_grid(planned, settings, make, estimate.left, failures):
            if event.kind == "notice":
                notify(event.message)
    finally:
        if pool is None:
            owned.clear()
    return effects(planned.grid.name, protocol)


def effects(grid: str, protocol: str | None = None) -> EffectTable:
    """What the factors of a stored grid move, from those of its runs that are complete.

    Args:
        grid: its name.
        protocol: a key of `PROTOCOLS` that scores; None for that of the grid.

    Raises:
        UnknownNameError: no such grid or protocol.
        StoreError: the grid's file is damaged.
    """
    settings = load_settings()
    stored = members.read(settings, grid)
    return effect_table(stored, Library(settings.runs_dir, settings.cache_dir), protocol or stored.protocol)


def rescore(
    run: Run | str | Path,
    protocols: str = "all",
    *,
    tasks: Sequence[str] | None = None,
    labels: str = CURRENT_LABELS,
) -> Rescoring:
    """A stored run as several protocols score it, and the items they disagree about.

    Args:
        run: the run.
        protocols: `all`, or names separated by commas.
        tasks: keys of `TASKS`; None for all that the run has.
        labels: version of the labels of the official JNLI dev items, `v1.1` or `v1.3`.

    Raises:
        StoreError: there is no run.
        InputError: the run has no such subset, or none of the items whose labels differ between the versions.
        UnknownNameError: no such protocol, subset or version of the labels.
    """
    names = protocol_names(protocols)
    data = (run if isinstance(run, Run) else open_run(run)).data()
    for name in tasks or ():
        get_task(name)
        if name not in data.items:
            raise InputError("The run has no {name}. It has {items}.", name=name, items=Joined(", ", data.items))
    wanted = only(data, {name: set(data.items[name]) for name in tasks or data.items})
    return replace(rescoring.rescore(_labelled(wanted, labels, wanted.items), names), labels=labels)


def _labelled(data: RunData, version: str, tasks: Collection[str]) -> RunData:
    """A run with the labels of a version; raises InputError where other labels than its own concern none of some
    subsets."""
    known_items.check_label_version(version)
    concerned = (
        "jnli" in tasks and "jnli" in data.items and data.sources["jnli"] == "official" and data.spec.split == "valid"
    )
    if version != CURRENT_LABELS and not concerned:
        raise InputError(
            "--labels {version} concerns the official JNLI dev items alone, and there are none "
            "here. Leave --labels out.",
            version=version,
        )
    return with_labels(data, version)


def explain(
    run: Run | str | Path,
    start: str,
    end: str,
    *,
    tasks: Sequence[str] | None = None,
    labels: str = CURRENT_LABELS,
) -> dict[str, Waterfall]:
    """How a stored run's scores under one protocol become those under another, decision by decision.

    Args:
        run: the run.
        start, end: protocols.
        tasks: keys of `TASKS`; None for all that the run has and both protocols can score.
        labels: version of the labels of the official JNLI dev items, for a protocol that takes them as they are.

    Returns:
        Subset → the way from one score to the other.

    Raises:
        StoreError: there is no run.
        InputError: the run has no such subset, not what one of the protocols looks at, or none of the items whose
            labels differ between the versions.
        UnknownNameError: no such protocol, subset or version of the labels.
    """
    data = (run if isinstance(run, Run) else open_run(run)).data()
    wanted = {get_task(name).name for name in tasks} if tasks else set(data.items)
    data = _labelled(data, labels, wanted)
    names = [name for name in TASKS if name in wanted] if tasks else waterfall.explainable(data, start, end)
    # Where no subset can be explained, the first says why.
    return {name: waterfall.explain(data, name, start, end) for name in names or list(data.items)[:1]}


def score(
    task: str,
    predictions: str | Path,
    *,
    protocol: str = "official",
    data: str = "official",
    split: str = "valid",
    partial: bool = False,
    labels: str = CURRENT_LABELS,
    marc_ja: str | Path | None = None,
    notify: Callable[[str], None] | None = None,
) -> Rescoring:
    """Outputs made elsewhere under one or several protocols.

    Args:
        task: a key of `TASKS`.
        predictions: a file as `predictions.py` describes it.
        protocol: a protocol, several separated by commas, or `all`.
        data, split, marc_ja: the items that were answered; see `evaluate`.
        partial: accept predictions for a part of the items.
        labels: version of the labels of the official JNLI dev items; see `rescore`.
        notify: told, in a sentence, of what is worth knowing about the files.

    Raises:
        JglueAppError: one of its kinds, with a remedy in the message.
    """
    get_task(task)
    names = protocol_names(protocol)
    dataset = files.load(load_settings(), task, split, data=data, marc_ja=Path(marc_ja) if marc_ja else None)
    if notify and dataset.note:
        notify(dataset.note)
    run = _labelled(read_predictions(Path(predictions), dataset, partial=partial), labels, (dataset.task,))
    return replace(rescoring.rescore(run, names), labels=labels)


def import_log(
    logs: str | Path | Sequence[str | Path],
    tasks: Sequence[str] = (),
    *,
    format: str | None = None,
    results: str | Path | None = None,
    partial: bool = False,
    data: str = "official",
    split: str = "valid",
    marc_ja: str | Path | None = None,
    model: str = "",
) -> ImportResult:
    """Logs of another harness, of one model, as a stored run: `open_run(import_log(…).path)`.

    Args:
        logs: samples of lm-eval, outputs of flexeval, results of llm-jp-eval or Swallow, logs of Inspect, or a folder
            that holds such.
        tasks: keys of `TASKS` that are wanted; without them, all that the logs have.
        format: a key of `importers.FORMATS`; None to tell it from each file.
        results: the harness's file of scores, where it is not beside the log.
        partial: accept answers without an item, and items without an answer.
        data: `official`, `sample`, or the path of a file in the official format of one subset.
        split, marc_ja: see `evaluate`.
        model: what to call the model, where the logs do not say it.

    Raises:
        JglueAppError: one of its kinds, with a remedy in the message; nothing is stored then.
    """
    paths = [logs] if isinstance(logs, str | Path) else logs
    return import_logs(
        load_settings(),
        [Path(path) for path in paths],
        tasks=tasks,
        format=format,
        results=Path(results) if results else None,
        partial=partial,
        items=Items(data, split, Path(marc_ja) if marc_ja else None),
        model=model,
    )


def check_data(
    data: str = "official",
    *,
    jnli_old: str | Path | None = None,
    split: str = "valid",
    marc_ja: str | Path | None = None,
) -> DataCheck:
    """What leaks, repeats or was changed in the data files at hand. Nothing is downloaded.

    Args:
        data: `official` or `sample`.
        jnli_old: another version's JNLI file; without it, those in the data folder.
        split: the split of JNLI that is compared with it.
        marc_ja: your own MARC-ja file.

    Raises:
        UnknownNameError: no such kind of data, or no such split.
        DataError: a file that was named cannot be read.
    """
    settings = load_settings()
    if data not in files.DATA_KINDS:
        raise UnknownNameError("data", data, files.DATA_KINDS)
    old = [Path(jnli_old)] if jnli_old else files.other_versions(settings, "jnli", split)
    others = [files.read_file("jnli", split, path, "user", "other") for path in old]
    rows = files.verify(settings) if data == "official" else None
    datasets = files.available_datasets(settings, rows, Path(marc_ja) if marc_ja else None)
    local_rows = [
        {"task": d.task, "split": d.split, "version": d.version, "path": d.path, "sha256": d.sha256}
        | {"items": len(d.items), "state": "ok", "message": ""}
        for d in datasets
    ]
    return check.check(local_rows if rows is None else rows, datasets, others)


def open_run(path: str | Path) -> Run:
    """A run by its directory, or by its id below the runs folder.

    Raises:
        StoreError: there is no run.
    """
    direct = Path(path)
    if not (direct / "manifest.json").is_file() and len(direct.parts) == 1:
        direct = load_settings().runs_dir / direct
    if not direct.is_dir():
        raise StoreError("There is no run {path}. `python -m jglue_app runs` lists those that are stored.", path=path)
    RunStore(direct).manifest()
    return Run(direct)
