"""A request → a Plan: everything about a run that can be checked and gathered before a model is loaded."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from jglue_app.backends import require_no_adapter_elsewhere
from jglue_app.backends.fingerprint import ModelFingerprint, fingerprint_model
from jglue_app.data import files as data
from jglue_app.data.pools import few_shot_pool, fingerprint, sample_items
from jglue_app.errors import InputError, JglueAppError, ModelError, NetworkError
from jglue_app.prompts import build, examples, formats
from jglue_app.prompts.styles import Style, load_style
from jglue_app.runs.request import RunRequest, Side
from jglue_app.settings import Settings
from jglue_app.tasks import TASKS
from jglue_app.types import Dataset, Decoding, Item, ModelSpec, Prompt, PromptSpec, RunSpec
from jglue_app.version import __version__


@dataclass(frozen=True, slots=True)
class Plan:
    """A run that can start: names checked, files verified, items chosen, examples drawn."""

    spec: RunSpec
    style: Style
    datasets: Mapping[str, Dataset]
    pools: Mapping[str, Dataset]
    """Task → where few-shot examples come from; only when there are shots."""
    items: Mapping[str, tuple[Item, ...]]
    """Task → the items to answer under the limit."""
    files: Mapping[str, str] = field(default_factory=dict)
    """The files that the model is loaded from, with their checksums; see `backends.fingerprint`."""
    budget: float | None = None
    """Most that the paid requests of the run may cost."""

    @property
    def ids(self) -> dict[str, frozenset[str]]:
        """Task → ids of the items to answer."""
        return {name: frozenset(item.id for item in items) for name, items in self.items.items()}

    @property
    def total(self) -> int:
        """Items over all subsets."""
        return sum(len(items) for items in self.items.values())


@dataclass(slots=True)
class SharedFiles:
    """What plans that are made together read once: files of items, pools of examples, and checksums of models."""

    datasets: dict[Hashable, Dataset] = field(default_factory=dict)
    pools: dict[Hashable, Dataset] = field(default_factory=dict)
    models: dict[ModelSpec, ModelFingerprint | None] = field(default_factory=dict)
    unavailable: dict[ModelSpec, JglueAppError] | None = None
    """Takes models of which it cannot be told what they are now, with the reason, where plans of others are to be made:
    such a plan has no checksum of its model. None where the first one is raised."""

    def fingerprint(self, model: ModelSpec, settings: Settings) -> ModelFingerprint | None:
        """See `fingerprint_model`; each model is looked at once."""
        if model not in self.models:
            try:
                self.models[model] = fingerprint_model(model, settings)
            except (ModelError, NetworkError) as e:
                if self.unavailable is None:
                    raise
                self.models[model], self.unavailable[model] = None, e
        return self.models[model]


def make_plan(
    settings: Settings,
    model: ModelSpec,
    tasks: Sequence[str],
    *,
    data_kind: str = "official",
    split: str = "valid",
    limit: int | None = None,
    seed: int = 0,
    prompt: PromptSpec | None = None,
    decoding: Decoding | None = None,
    marc_ja: Path | None = None,
    budget: float | None = None,
    progress: data.Progress | None = None,
    answers: bool = True,
    shared: SharedFiles | None = None,
) -> Plan:
    """Check a run and gather all it needs but the model.

    Args:
        budget: most that the paid requests of the run may cost; not part of the spec.
        answers: whether the model is to answer; only then its files are looked at and become a part of the spec.
        shared: what plans that are made together have read; None to read everything.

    Raises:
        InputError: anything in the request that cannot be done, with a remedy (includes DataError, StyleError).
        ModelError: the files of the model are being written.
        NetworkError: a data file is missing and cannot be downloaded.
    """
    prompt, decoding = prompt or PromptSpec(), decoding or Decoding()
    _check_request(model, tasks, prompt, decoding, limit, split, marc_ja)
    decoding = _same_penalties(decoding, tasks)
    style = load_style(prompt.style, allow_paths=not settings.public)
    shared = shared or SharedFiles()
    source: tuple[Hashable, ...] = (data_kind, split, marc_ja)
    for name in tasks:
        if (name, *source) not in shared.datasets:
            found = data.load(settings, name, split, data=data_kind, marc_ja=marc_ja, progress=progress)
            shared.datasets[(name, *source)] = found
    datasets = {name: shared.datasets[(name, *source)] for name in tasks}
    everything = list(datasets.values())
    pools = {}
    for name, dataset in datasets.items():
        if not prompt.for_task(name).shots:
            continue
        key = (name, *source, tuple(sorted(tasks)))
        if key not in shared.pools:
            pool = few_shot_pool(settings, dataset, everything)
            _refuse_leaks(pool, everything)
            shared.pools[key] = pool
        pools[name] = shared.pools[key]
        style.of(name)
        examples.pick_shots(dataset.items[0], pools[name].items, prompt.for_task(name), TASKS[name])
    sums = {f"{name}/{split}": d.sha256 for name, d in datasets.items()}
    sums |= {f"{name}/examples": pool.sha256 for name, pool in pools.items()}
    for name in tasks:
        style.of(name)
    model_files = shared.fingerprint(model, settings) if answers else None
    spec = RunSpec(
        model=replace(model, files_sha256=model_files.digest if model_files else None),
        tasks=tuple(name for name in TASKS if name in tasks),
        data_version=data.OFFICIAL_VERSION if data_kind == "official" else data.SAMPLE_VERSION,
        data_sha256=sums,
        prompt=prompt,
        style_sha256=style.sha256,
        decoding=decoding,
        code_version=__version__,
        split=split,
        seed=seed,
        limit=limit,
    )
    items = {name: sample_items(datasets[name].items, limit, seed) for name in spec.tasks}
    return Plan(spec, style, datasets, pools, items, model_files.files if model_files else {}, budget)


def build_prompts(plan: Plan, name: str, items: Sequence[Item], model: formats.ModelFormatInfo) -> list[Prompt]:
    """The prompts of some items of one subset, exactly as a run gives them to the model.

    Raises:
        ModelError: the format needs a chat template that the model lacks.
    """
    spec, task = plan.spec.prompt.for_task(name), TASKS[name]
    pool = plan.pools[name].items if spec.shots else ()
    same = examples.pick_shots(items[0], pool, spec, task)
    out = []
    for item in items:
        shots = examples.pick_shots(item, pool, spec, task) if spec.shot_selection == "random" else same
        out.append(build.build_prompt(item, task, plan.style, spec, shots, model))
    return out


def _refuse_leaks(pool: Dataset, evaluated: Sequence[Dataset]) -> None:
    """No example may be an item under evaluation, however the pool was made."""
    ids = {fingerprint(item): f"{d.task} {item.id}" for d in evaluated for item in d.items}
    for item in pool.items:
        if evaluated_item := ids.get(fingerprint(item)):
            raise InputError(
                "The example {task} {item} has the text of the evaluated item {found}. Take it out "
                "of the train file, or ask for no examples.",
                task=pool.task,
                item=item.id,
                found=evaluated_item,
            )


def _same_penalties(decoding: Decoding, tasks: Sequence[str]) -> Decoding:
    """The same with its penalties in one shape of several that mean the same: else one run would have two names."""
    penalties = {name: float(decoding.for_task(name).repetition_penalty) for name in TASKS if name in tasks}
    values = set(penalties.values())
    if len(values) == 1:
        return replace(decoding, repetition_penalty=values.pop(), repetition_penalty_by_task=())
    by_task = tuple((name, value) for name, value in penalties.items() if value != 1)
    return replace(decoding, repetition_penalty=1.0, repetition_penalty_by_task=by_task)


def _check_request(
    model: ModelSpec,
    tasks: Sequence[str],
    prompt: PromptSpec,
    decoding: Decoding,
    limit: int | None,
    split: str,
    marc_ja: Path | None,
) -> None:
    """Refuse values out of their bounds, and those that do not go together."""
    RunRequest(
        tasks=tuple(tasks),
        limit=limit,
        method=decoding.method,
        max_new_tokens=decoding.max_new_tokens,
        a=Side.of(model, prompt, decoding),
    )
    require_no_adapter_elsewhere(model)
    if split == "train" and any(prompt.for_task(name).shots for name in tasks):
        raise InputError(
            "Few-shot examples are taken from the train split, which is what is evaluated here. Choose valid for "
            "“Split” (--split), or no examples."
        )
    if marc_ja is not None and ("marc_ja" not in tasks or split == "train"):
        raise InputError(
            "“Your own MARC-ja file” (--marc-ja) has the MARC-ja items to evaluate: choose marc_ja among the subsets "
            "(--tasks), and valid or test for “Split” (--split)."
        )
    if decoding.method == "choose":
        open_ended = [TASKS[n].title for n in tasks if TASKS[n].kind != "choice"]
        if open_ended:
            raise InputError(
                "There are no fixed answers to rank in {open_ended}. Choose the method generate or "
                "both, or leave them out.",
                open_ended=" and ".join(open_ended),
            )
