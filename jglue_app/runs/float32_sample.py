"""A run that computes in less than float32 on a CPU says how far it is from float32: when all its items are answered,
the same model answers a sample of them in float32 too. The outputs are stored in the manifest, and
`scoring.precision` compares them."""

from __future__ import annotations

import hashlib
import itertools
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import NamedTuple

from jglue_app import messages
from jglue_app.backends.pool import ModelPool
from jglue_app.errors import JglueAppError, RunBusyError
from jglue_app.messages import Message
from jglue_app.runs.answering import answer_prompts, token_limits
from jglue_app.runs.plan import Plan
from jglue_app.runs.serialization import FLOAT32
from jglue_app.runs.store import RunStore
from jglue_app.scoring.precision import rounded_to
from jglue_app.tasks import TASKS
from jglue_app.types import TWO_BYTES, Backend, Float32Output, ModelInfo, Record, RunData

SAMPLE = 24
"""Items that are answered in float32 too, at most."""
CHUNKS = (4, 8, 12)
"""Items at a time: the first ones show how long the others take."""
SHARE, MIN_SECONDS = 0.1, 10.0
"""How many of the seconds that the run took are spent on it, and how many always may be; loading is not counted."""
FIRST_SHARE, FIRST_MIN_SECONDS = 0.25, 60.0
"""The same for the first items, which are answered even if that takes longer."""
WIDER = {"bfloat16": 2, "float16": 2, "8-bit": 4, "4-bit": 8}
"""Precision → how many times the memory the weights take in float32, at most."""
WORKING_BYTES = 2**28
"""Memory beside the weights that has to be free too."""


class SampleNote(NamedTuple):
    """What is said of the sample."""

    message: Message
    passing: bool = False
    """Whether it says what goes on at the moment, and means nothing afterwards."""


def answer_in_float32(
    plan: Plan, store: RunStore, pool: ModelPool, should_stop: Callable[[], bool], *, answered_now: bool
) -> Iterator[SampleNote]:
    """Answer a sample of a complete run in float32 and store the outputs; notes on what is done or left out.

    Args:
        plan: the run, all of whose items are answered.
        store: where it is stored.
        pool: the models that are loaded; the one in float32 is loaded beside them and dropped afterwards.
        should_stop: called between the model's steps.
        answered_now: whether an item was answered in this session. If none was, a sample that was begun is left as it
            is.
    """
    model = plan.spec.model
    if model.backend != "hf" or (model.dtype not in TWO_BYTES and model.quantization == "none"):
        return
    data = store.data()
    precision = rounded_to(data.spec, data.model)
    if not precision or data.model is None or not data.model.device.startswith("cpu"):
        return
    missing = _sample(data)
    if not missing or (data.float32 and not answered_now) or should_stop():
        return
    specs = [replace(model, dtype=dtype, quantization="none") for dtype in ("auto", "float32")]
    spec = specs[0] if specs[0] in pool.resident else specs[1]  # On a CPU they are the same.
    facts = {"precision": precision, "model": data.model.name}
    needed = WIDER.get(precision, 2) * data.model.memory_bytes + WORKING_BYTES
    try:
        with pool.beside(spec, needed) as backend:
            if backend is None:
                text = Message(
                    "How far {precision} changes the answers is not measured: {model} in float32 does not fit into "
                    "the free memory.",
                    **facts,
                )
                yield SampleNote(text)
            elif not _is_same(backend.info, data.model):
                text = Message(
                    "How far {precision} changes the answers is not measured: {model} cannot be loaded in float32 with "
                    "the same weights.",
                    **facts,
                )
                yield SampleNote(text)
            else:
                text = Message(
                    "{n} items are answered in float32 too, to measure how far {precision} changes the answers.",
                    n=len(missing),
                    **facts,
                )
                yield SampleNote(text, passing=True)
                _answer(plan, store, data, backend, missing, should_stop)
    except JglueAppError as e:
        reason = messages.of(e)
        text = Message(
            "How far {precision} changes the answers could not be measured ({reason}).", reason=reason, **facts
        )
        yield SampleNote(text)


def _is_same(info: ModelInfo, of_run: ModelInfo) -> bool:
    """Whether a model has the weights of a run, and computes in float32."""
    weights = ("commit", "adapter_commit", "quantized")
    return info.dtype == "float32" and all(getattr(info, name) == getattr(of_run, name) for name in weights)


def _sample(data: RunData) -> list[Record]:
    """The records to be answered in float32 that are not yet: in an order without a pattern, always the same, one of
    each subset in turn."""

    def place(record: Record) -> str:
        text = f"{data.spec.seed}\0{record.task}\0{record.item_id}"
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()

    there = {(one.task, one.item_id) for one in data.float32}
    # Records may be left of items that are not among the data any more.
    known = [r for r in data.records if r.item_id in data.items.get(r.task, {})]
    answered = [r for r in known if r.output is not None and r.output.finish != "overflow"]
    by_task = [sorted((r for r in answered if r.task == task), key=place) for task in data.items]
    order = [record for row in itertools.zip_longest(*by_task) for record in row if record is not None]
    return [r for r in order if (r.task, r.item_id) not in there][: max(0, SAMPLE - len(there))]


def _answer(
    plan: Plan,
    store: RunStore,
    data: RunData,
    backend: Backend,
    sample: Sequence[Record],
    should_stop: Callable[[], bool],
) -> None:
    """Answer the records of a sample in chunks and store each chunk: the first one within its own limit, and others as
    far as there is time."""
    of_run = sum(r.output.seconds for r in data.records if r.output is not None)
    seconds = max(MIN_SECONDS, SHARE * of_run)
    first_seconds = max(FIRST_MIN_SECONDS, FIRST_SHARE * of_run)
    started = time.perf_counter()

    def out_of_time() -> bool:
        return should_stop() or time.perf_counter() - started > (seconds if done else first_seconds)

    done, outputs, rest = 0, list(data.float32), list(sample)
    for size in CHUNKS:
        chunk, rest = rest[:size], rest[size:]
        elapsed = time.perf_counter() - started
        if not chunk or should_stop() or (done and elapsed * (1 + len(chunk) / done) > seconds):
            return
        outputs += _outputs(plan, data, chunk, backend, out_of_time)
        done += len(chunk)
        # Another process that has taken the run over meanwhile measures it at its own end.
        with suppress(RunBusyError), store.writing() as writer:
            writer.manifest({**store.manifest(), FLOAT32: outputs})


def _outputs(
    plan: Plan, data: RunData, records: Sequence[Record], backend: Backend, should_stop: Callable[[], bool]
) -> Iterator[Float32Output]:
    """What a model answers to the stored prompts of some records, without those that it has no answer to."""
    for name in dict.fromkeys(record.task for record in records):
        prompts = [record.prompt for record in records if record.task == name]
        # The plan of a later session may have fewer items than are stored.
        items = [data.items[name][prompt.item_id] for prompt in prompts]
        limits = token_limits(plan, TASKS[name], items, backend)
        answers = answer_prompts(plan.spec, TASKS[name], limits, prompts, backend, should_stop, lambda _: None)
        for record in answers:
            if record.output is not None and all(map(math.isfinite, record.output.choice_logprobs or ())):
                yield Float32Output(name, record.item_id, record.output)
