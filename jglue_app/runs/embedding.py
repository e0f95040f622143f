"""JSTS by embeddings: a run whose outputs are the cosines of the two sentences' vectors.

It is stored like any other run, with the two texts as they were embedded in the place of a prompt, so that reports,
comparisons, exports and pages need nothing of their own to read it.
"""

from __future__ import annotations

import concurrent.futures
import hashlib
import queue
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from jglue_app.backends import endpoints
from jglue_app.backends.embedding import Embedder, fingerprint_embedder, open_embedder
from jglue_app.backends.embedding.prefixes import choose_prefix
from jglue_app.backends.embedding.sentence_files import stored_config
from jglue_app.backends.embedding.vectors import Embedding, cosine
from jglue_app.data import files as data
from jglue_app.data.pools import sample_items
from jglue_app.errors import InputError, StoreError, UnknownNameError
from jglue_app.messages import Message
from jglue_app.money import MILLION, money_text
from jglue_app.prompts.styles import Style
from jglue_app.runs.changes import changes_since
from jglue_app.runs.estimate import CostEstimate
from jglue_app.runs.events import Event
from jglue_app.runs.manifest import note_records, repair, write_head
from jglue_app.runs.paying import no_budget, note_cost, spent_so_far
from jglue_app.runs.plan import Plan
from jglue_app.runs.store import RunStore
from jglue_app.runs.subset_run import require_same_model
from jglue_app.scoring.protocols.common import is_cosine
from jglue_app.settings import Settings
from jglue_app.types import (
    EMBED,
    NO_STYLE,
    Decoding,
    Item,
    ModelSpec,
    Output,
    Prompt,
    PromptSpec,
    Record,
    RunError,
    RunSpec,
    Usage,
)
from jglue_app.version import __version__

TASK = "jsts"
FIELDS = ("sentence1", "sentence2")
MAX_PREFIX = 2_000
"""Characters of a prefix."""
DRIFT = 0.01
"""How much a cosine of a server may differ from a stored one: servers do not compute alike twice, and a change of the
model moves cosines by more."""
CHUNK = 32
"""Items after which the records are synced, and a stop is noticed at the latest."""


def make_embedding_plan(
    settings: Settings,
    model: ModelSpec,
    *,
    data_kind: str = "official",
    split: str = "valid",
    limit: int | None = None,
    seed: int = 0,
    prefix: str | None = None,
    notify: Callable[[str], None] = lambda _: None,
    progress: data.Progress | None = None,
) -> Plan:
    """Check a run of embeddings and gather all it needs but the model.

    Args:
        settings: mode and folders.
        model: what embeds, with its backend; see `backends.embedding.with_source`.
        data_kind, split, limit, seed: the items of JSTS, as for other runs.
        prefix: text before each sentence; None for what the model's own files or its card want.
        notify: called with where the prefix is from.
        progress: see `data.files.load`.

    Raises:
        InputError: public mode, or a value that cannot be used (includes DataError).
        ModelError: the files of the model are being written, or cannot be found.
        NetworkError: a data file or the model's configuration is missing and cannot be downloaded.
    """
    if settings.public:
        raise InputError("A public server embeds nothing. Run the application on your own machine.")
    if data_kind not in data.DATA_KINDS:
        raise UnknownNameError("data", data_kind, data.DATA_KINDS)
    if split not in data.SPLITS:
        raise UnknownNameError("split", split, data.SPLITS)
    if limit is not None and limit < 1:
        raise InputError("--limit must be at least 1. Leave it out for all items.")
    if prefix is None:
        config = stored_config(model, settings) if model.backend == "sentence_transformers" else {}
        chosen = choose_prefix(model.id, config)
        prefix = chosen.text
        if chosen.note:
            notify(chosen.note)
    if len(prefix) > MAX_PREFIX:
        raise InputError(
            "The prefix has {length:,} characters; at most {limit:,} are taken. Shorten it.",
            length=len(prefix),
            limit=MAX_PREFIX,
        )
    dataset = data.load(settings, TASK, split, data=data_kind, progress=progress)
    model_files = fingerprint_embedder(model, settings)
    spec = RunSpec(
        model=replace(model, files_sha256=model_files.digest if model_files else model.files_sha256),
        tasks=(TASK,),
        data_version=data.OFFICIAL_VERSION if data_kind == "official" else data.SAMPLE_VERSION,
        data_sha256={f"{TASK}/{split}": dataset.sha256},
        prompt=PromptSpec(style=NO_STYLE, format=NO_STYLE, prefix=prefix),
        style_sha256="",
        decoding=Decoding(method=EMBED),
        code_version=__version__,
        split=split,
        seed=seed,
        limit=limit,
    )
    items = {TASK: sample_items(dataset.items, limit, seed)}
    style = Style(NO_STYLE, "", "", {}, "")
    return Plan(spec, style, {TASK: dataset}, {}, items, model_files.files if model_files else {})


def estimate_embedding(plan: Plan, settings: Settings) -> CostEstimate | None:
    """What is left of a plan would cost on an endpoint, with a price that cannot be exceeded: no tokenizer makes more
    tokens than bytes, but for the one or two that it puts around a text. None where nothing is paid, or left."""
    if plan.spec.model.backend != endpoints.BACKEND:
        return None
    served = endpoints.served_model(plan.spec.model.id, settings)
    finished = RunStore.of(settings.runs_dir, plan.spec).finished()
    left = [item for item in plan.items[TASK] if (TASK, item.id) not in finished]
    if not left or not served.facts.price_in:
        return None
    texts = [plan.spec.prompt.prefix + item.fields[name] for item in left for name in FIELDS]
    usage = Usage(len(left), sum(map(len, texts)), 0, estimated=True)
    most = sum(len(text.encode("utf-8", "surrogatepass")) + 2 for text in texts)
    price = most * served.facts.price_in / MILLION
    return CostEstimate(plan.spec.model.id, len(left), usage, price, served.endpoint.currency)


def _require_budget(plan: Plan, settings: Settings) -> None:
    """Raise InputError if what is left is paid, and there is no budget that has room for all of it."""
    estimate = estimate_embedding(plan, settings)
    if estimate is None:
        return
    if plan.budget is None:
        raise no_budget(estimate)
    spent = spent_so_far(RunStore.of(settings.runs_dir, plan.spec))
    if spent + estimate.price > plan.budget:
        raise InputError(
            "{model}: the budget of {budget} may not be enough for these texts, which take {facts}. Raise it; vectors "
            "are not paid one by one.",
            model=estimate.model,
            budget=money_text(plan.budget, estimate.currency),
            facts=estimate.facts,
        )


def run_embedding(
    plan: Plan, settings: Settings, *, device: str = "auto", should_stop: Callable[[], bool] = lambda: False
) -> Iterator[Event]:
    """Embed the items of a plan that have no cosine yet, storing each record before its event. The model is not loaded
    when nothing is left to do.

    Raises:
        InputError: the vectors are paid, and there is no budget, or too small a one.
        ModelError, NetworkError: the model cannot be loaded.
        StoreError: the run directory is in use, or cannot be written.
    """
    _require_budget(plan, settings)
    label, store = plan.spec.label, RunStore.of(settings.runs_dir, plan.spec)
    for message in (*repair(plan, store), *changes_since(plan, settings.runs_dir)):
        yield Event("notice", label, message=message)
    if note := plan.datasets[TASK].note:
        yield Event("notice", label, message=note)
    if len(store.finished_of(plan.items)) < plan.total and not should_stop():
        yield from _embed_remaining(plan, settings, store, device, should_stop)
    finished = len(store.finished_of(plan.items))
    stopped = finished < plan.total and should_stop()
    yield Event("stopped" if stopped else "done", label, run_done=finished, run_total=plan.total)


def _embed_remaining(
    plan: Plan, settings: Settings, store: RunStore, device: str, should_stop: Callable[[], bool]
) -> Iterator[Event]:
    label, total = plan.spec.label, plan.total
    with store.writing() as writer:
        finished = store.finished()
        remaining = [item for item in plan.items[TASK] if (TASK, item.id) not in finished]
        yield Event("notice", label, message=Message("Preparing {model}.", model=plan.spec.model.id), task=TASK)
        loading = _load(plan.spec.model, settings, device)
        while isinstance(step := next(loading), str):
            yield Event("notice", label, message=step, task=TASK)
        embedder = step
        try:
            require_same_model(store, embedder)
            _require_same_vectors(plan, store, embedder)
            write_head(plan, store, writer, embedder)
            started = time.perf_counter()
            for number, record in enumerate(_records(plan.spec, remaining, embedder, should_stop), 1):
                writer.append([record])
                if number % CHUNK == 0:
                    writer.sync()
                speed = number / max(time.perf_counter() - started, 1e-9)
                done = total - len(remaining) + number
                yield Event(
                    *("record", label),
                    task=TASK,
                    done=done,
                    total=total,
                    run_done=done,
                    run_total=total,
                    items_per_s=speed,
                    seconds_left=(len(remaining) - number) / speed,
                    record=record,
                )
            note_records(store, writer)
            note_cost(store, writer, None, embedder.info)
        finally:
            embedder.close()


def _load(spec: ModelSpec, settings: Settings, device: str) -> Iterator[str | Embedder]:
    """The progress messages while a model loads, as they come, and at last what embeds."""
    messages: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    with concurrent.futures.ThreadPoolExecutor(1) as executor:
        future = executor.submit(open_embedder, spec, settings, device=device, notify=messages.put)
        future.add_done_callback(lambda _: messages.put(None))
        while (message := messages.get()) is not None:
            yield message
        yield future.result()


def _records(
    spec: RunSpec, items: Sequence[Item], embedder: Embedder, should_stop: Callable[[], bool]
) -> Iterator[Record]:
    """The cosine of each item's two sentences, or why it has none, as they come."""
    size = embedder.items_at_once
    for k in range(0, len(items), size):
        if should_stop():
            return
        chunk, started = items[k : k + size], time.perf_counter()
        texts = [item.fields[name] for item in chunk for name in FIELDS]
        embeddings = embedder.embed(texts, spec.prompt.prefix, should_stop)
        seconds = (time.perf_counter() - started) / len(chunk)
        if not embeddings:  # Stopped meanwhile.
            return
        for n, item in enumerate(chunk):
            result = cosine_of(embeddings[2 * n : 2 * n + 2])
            error = result if isinstance(result, RunError) else None
            output = replace(result, seconds=seconds) if isinstance(result, Output) else None
            yield Record(spec.spec_id, TASK, item.id, _embedded(spec, item), output, error)


def _embedded(spec: RunSpec, item: Item) -> Prompt:
    """The two texts as they are embedded, one a line."""
    text = "\n".join(spec.prompt.prefix + item.fields[name] for name in FIELDS)
    checksum = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    return Prompt(TASK, item.id, text, None, (), (), "", (), checksum)


def _require_same_vectors(plan: Plan, store: RunStore, embedder: Embedder) -> None:
    """Refuse to go on with a model that has changed under its name on a server: a stored item is embedded again.

    Raises:
        StoreError: its cosine is another now.
    """
    items = {item.id: item for item in plan.items[TASK]}
    before = next((r for r in store.records() if is_cosine(r) and r.item_id in items), None)
    if plan.spec.model.backend != endpoints.BACKEND or before is None or before.output is None:
        return
    texts = [items[before.item_id].fields[name] for name in FIELDS]
    now = cosine_of(embedder.embed(texts, plan.spec.prompt.prefix))
    if not isinstance(now, Output) or abs(float(now.text or "nan") - float(before.output.text or "nan")) > DRIFT:
        raise StoreError(
            "The server of {model} gives other vectors than when this run was started (item {item}). Delete {folder} "
            "to start over.",
            model=plan.spec.model.id,
            item=before.item_id,
            folder=store.path,
        )


def cosine_of(embeddings: Sequence[Embedding | RunError]) -> Output | RunError:
    """The output of an item with these two vectors: the cosine as text, an overflow where a text was too long, or the
    error of one of them."""
    for embedding in embeddings:
        if isinstance(embedding, RunError):
            return embedding
    first, second = (embedding for embedding in embeddings if isinstance(embedding, Embedding))
    tokens = first.tokens + second.tokens
    if first.vector is None or second.vector is None:
        return Output("", "overflow", tokens, 0, 0.0)
    value = cosine(first.vector, second.vector)
    if isinstance(value, RunError):
        return value
    servers = tuple(dict.fromkeys((*first.servers, *second.servers)))
    return Output(repr(value), "scored", tokens, 0, 0.0, servers=servers)
