"""One item in many formats: its prompt token by token, its answer, and how answers change when only the format does."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from jglue_app.backends import Notify, can_rank, open_tokenizer
from jglue_app.backends.pool import ModelPool
from jglue_app.errors import InputError
from jglue_app.messages import Joined
from jglue_app.prompts import lint
from jglue_app.prompts.findings import Finding
from jglue_app.prompts.formats import ModelFormatInfo, format_info
from jglue_app.results.library import Ids, Library
from jglue_app.runs.answering import answer_prompts
from jglue_app.runs.estimate import estimate_prompts, total
from jglue_app.runs.events import Event
from jglue_app.runs.lint_plan import lint_case
from jglue_app.runs.paying import (
    Charge,
    charged_to,
    estimate_plans,
    exhausted_notice,
    no_budget,
    nobody_else,
    spending_on,
    spent_so_far,
)
from jglue_app.runs.plan import Plan, build_prompts
from jglue_app.runs.request import RunRequest, Side
from jglue_app.runs.request_options import MAX_NAME
from jglue_app.runs.runner import run_plan
from jglue_app.runs.store import RunStore
from jglue_app.scoring import protocols
from jglue_app.scoring.judged import ScoredItem
from jglue_app.scoring.report import main_metric
from jglue_app.scoring.types import Estimate, Flips
from jglue_app.settings import Settings
from jglue_app.tasks import TASKS, get_task
from jglue_app.types import (
    Item,
    ModelInfo,
    NextTokens,
    PaidBackend,
    PredictingBackend,
    Prompt,
    RunError,
    Task,
    Tokenizer,
)

MAX_VARIANTS = 40
"""Formats times wording styles, and with adapters times these and the model alone, of one sweep."""
MAX_TEXT = 20_000
"""Characters of one field of an item that somebody types."""
MAX_GOLDS = 20
"""Accepted answers of such an item: each is tokenized with the whole prompt."""
MOST_LIKELY = 10
"""Next tokens of each place."""
TYPED = "typed"
"""Id of an item that somebody has typed."""


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of a prompt that shows as text of its own."""

    ids: tuple[int, ...]
    """One id, or several that make one character together."""
    text: str
    special: bool


@dataclass(frozen=True, slots=True)
class LegalAnswer:
    """An answer as the prompt asks for it."""

    text: str
    tokens: int
    """Tokens it takes after the prompt."""
    gold: bool


@dataclass(frozen=True, slots=True)
class Inspected:
    """A prompt as a tokenizer sees it."""

    prompt: Prompt
    tokens: tuple[Token, ...]
    count: int
    """Token ids of the prompt, special ones included."""
    answers: tuple[LegalAnswer, ...]
    """The item's legal answers; for open answers the accepted ones."""
    max_new_tokens: int
    context_length: int | None
    findings: tuple[Finding, ...]
    """What the linter has to say about this prompt."""


@dataclass(frozen=True, slots=True)
class Foreseen:
    """What a model expects at the places of an item's prompt."""

    inspected: Inspected
    """The prompt; its tokens are those of the model's own tokenizer."""
    next: NextTokens
    model: ModelInfo


@dataclass(frozen=True, slots=True)
class Tried:
    """An item that a model has just answered."""

    answered: ScoredItem
    model: ModelInfo
    label: str


def make_item(task: Task, fields: Mapping[str, str], gold: str, id: str = TYPED) -> Item:
    """An item from what somebody has typed.

    Args:
        task: its subset.
        fields: field → text; fields of other subsets are left out.
        gold: a canonical label, a number for JSTS, or accepted spans, one a line; empty for an item that is only looked
            at, and not scored.
        id: of the item.

    Raises:
        InputError: an empty or overlong field, or a gold answer that is none.
    """
    texts = {name: fields.get(name, "").strip("\n") for name in task.fields}
    for name, text in texts.items():
        if not text.strip() and name != "title":
            raise InputError(
                "{task}: the field {name} is empty. Type a text, or choose an item.", task=task.title, name=name
            )
        if len(text) > MAX_TEXT:
            raise InputError(
                "{task}: {name} has {count:,} characters. At most {max_text:,} are read here.",
                task=task.title,
                name=name,
                count=len(text),
                max_text=MAX_TEXT,
            )
    if len(gold) > MAX_TEXT:
        raise InputError(
            "The gold answer has {count:,} characters. At most {max_text:,} are read here.",
            count=len(gold),
            max_text=MAX_TEXT,
        )
    gold = gold.strip()
    if not gold:
        return Item(task.name, id, texts, (), task.labels if task.kind == "choice" else ())
    if task.kind == "score":
        try:
            value = float(gold)
        except ValueError:
            value = -1.0
        if not 0 <= value <= 5:
            raise InputError(
                "The gold answer of {task} is a number from 0 to 5, not {gold!r}.", task=task.title, gold=gold[:50]
            )
        return Item(task.name, id, texts, value)
    if task.kind == "choice":
        if gold not in task.labels:
            raise InputError(
                "The gold answer of {task} is one of {labels}; not {gold!r}.",
                task=task.title,
                labels=Joined(", ", task.labels),
                gold=gold[:50],
            )
        return Item(task.name, id, texts, (gold,), task.labels)
    spans = tuple(dict.fromkeys(line.strip() for line in gold.splitlines() if line.strip()))
    if len(spans) > MAX_GOLDS:
        raise InputError(
            "{task}: {count:,} accepted answers. At most {max_golds} are read here.",
            task=task.title,
            count=len(spans),
            max_golds=MAX_GOLDS,
        )
    return Item(task.name, id, texts, spans)


def gold_as_typed(item: Item) -> str:
    """The gold answer in the shape that `make_item` reads."""
    return f"{item.gold:.1f}" if isinstance(item.gold, float) else "\n".join(dict.fromkeys(item.gold))


def plan_one(settings: Settings, task: str, side: Side, method: str = "generate", data: str = "sample") -> Plan:
    """A plan whose wording, format and examples serve for single items of a subset; see `RunRequest.plans`."""
    answer_method = method if TASKS[get_task(task).name].kind == "choice" else "generate"
    ((_, plan),) = RunRequest((task,), data, 1, answer_method, side).for_page(settings).plans(settings)
    return plan


def _method(settings: Settings, side: Side, task: str) -> str:
    """Both methods, where answers of the subset can be ranked, by the side's model too."""
    ranks = get_task(task).kind == "choice"
    return "both" if ranks and can_rank(RunRequest().model_of(side), settings, side.format) else "generate"


# --- token by token -------------------------------------------------------------------------------------


class _Once:
    """A tokenizer that does nothing twice, and nothing more once it is to stop: the linter's rules and the page ask for
    the same tokens of a prompt that may be long."""

    def __init__(self, tokenizer: Tokenizer, should_stop: Callable[[], bool]) -> None:
        self._tokenizer, self._should_stop = tokenizer, should_stop
        self._found: dict[tuple[str, ...], Any] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tokenizer, name)

    def _once(self, key: tuple[str, ...], work: Callable[[], Any]) -> Any:
        if self._should_stop():
            raise InputError("It was stopped before there was an answer. Try it again.")
        if key not in self._found:
            self._found[key] = work()
        return self._found[key]

    def encode(self, prompt: Prompt) -> list[int]:
        """As `Tokenizer.encode`."""
        ids: list[int] = self._once(("encode", prompt.text), lambda: self._tokenizer.encode(prompt))
        return ids

    def split(self, prompt: Prompt, answer: str) -> tuple[list[int], list[int]]:
        """As `Tokenizer.split`."""
        parts: tuple[list[int], list[int]] = self._once(
            ("split", prompt.text, answer), lambda: self._tokenizer.split(prompt, answer)
        )
        return parts

    def encode_text(self, text: str) -> list[int]:
        """As `Tokenizer.encode_text`."""
        ids: list[int] = self._once(("text", text), lambda: self._tokenizer.encode_text(text))
        return ids

    def pieces(self, ids: Sequence[int]) -> list[str]:
        """As `Tokenizer.pieces`."""
        return [self.text([id_]) for id_ in ids]

    def text(self, ids: Sequence[int]) -> str:
        """As `Tokenizer.text`."""
        text_: str = self._once(("ids", *map(str, ids)), lambda: self._tokenizer.text(ids))
        return text_


def inspect_prompt(
    plan: Plan, item: Item, tokenizer: Tokenizer, should_stop: Callable[[], bool] = lambda: False
) -> Inspected:
    """A prompt token by token, with what its answers take and what the linter finds.

    Args:
        plan: of the item's subset; see `plan_one`.
        item: the item.
        tokenizer: the model's.
        should_stop: asked between tokenizations, each of which takes milliseconds.

    Raises:
        ModelError: the format needs a chat template that the model lacks.
        InputError: it was stopped.
    """
    tokenizer = cast(Tokenizer, _Once(tokenizer, should_stop))
    task = TASKS[item.task]
    info = tokenizer.info
    text = ModelFormatInfo(info.bos, info.eos, tokenizer.render_chat if info.has_chat_template else None)
    (prompt,) = build_prompts(plan, task.name, [item], text)
    ids = tokenizer.encode(prompt)
    limit = plan.style.of(task.name).max_new_tokens
    return Inspected(
        prompt,
        tuple(tokens_of(ids, tokenizer)),
        len(ids),
        tuple(_legal(task, item, prompt, tokenizer, len(ids))),
        limit,
        info.context_length,
        lint.lint([lint_case(plan, task.name, [item], [prompt])], tokenizer),
    )


def _legal(task: Task, item: Item, prompt: Prompt, tokenizer: Tokenizer, prompt_tokens: int) -> Iterator[LegalAnswer]:
    if isinstance(item.gold, float):
        texts = [(f"{item.gold:.1f}", True)]
    elif prompt.answers:
        texts = [(answer, label in item.gold) for label, answer in zip(item.choices, prompt.answers, strict=True)]
    else:
        texts = [(text, True) for text in dict.fromkeys(item.gold)]
    for text, gold in texts:
        whole = sum(map(len, tokenizer.split(prompt, text)))
        yield LegalAnswer(text, max(1, whole - prompt_tokens), gold)


def tokens_of(ids: Sequence[int], tokenizer: Tokenizer) -> Iterator[Token]:
    """Ids in groups that are whole characters: a tokenizer that falls back to bytes cuts through them."""
    special = tokenizer.special(ids)
    start = 0
    while start < len(ids):
        end = start + 1
        text = tokenizer.text(ids[start:end])
        while "\ufffd" in text and end < len(ids) and end - start < 8 and not special[end]:
            longer = tokenizer.text(ids[start : end + 1])
            end += 1
            text = longer
        yield Token(tuple(ids[start:end]), text, special[start])
        start = end


def inspect_item(settings: Settings, side: Side, item: Item, notify: Notify = lambda _: None) -> Inspected:
    """The same by names: the tokenizer is loaded, the weights are not.

    Raises:
        JglueAppError: one of its kinds, with a remedy.
    """
    plan = plan_one(settings, item.task, side)
    return inspect_prompt(plan, item, open_tokenizer(plan.spec.model, settings, notify))


# --- one answer -----------------------------------------------------------------------------------------


def try_item(
    settings: Settings,
    pool: ModelPool,
    side: Side,
    item: Item,
    should_stop: Callable[[], bool] = lambda: False,
    notify: Notify = lambda _: None,
    data: str = "sample",
    budget: float | None = None,
    charge: Charge = nobody_else,
) -> Tried | None:
    """One item answered by a model, nothing stored; None if it was stopped before there was an answer.

    Args:
        budget: most that the answer may cost, where the model is paid.
        charge: see `runs.runner.run_plans`.

    Raises:
        InputError: the model is paid, and there is no budget, or it has no room for this.
        JglueAppError: another of its kinds, with a remedy.
    """
    plan = plan_one(settings, item.task, side, _method(settings, side, item.task), data)
    backend = pool.get(plan.spec.model, notify)
    info = backend.info
    text = format_info(info, backend.render_chat)
    prompts = build_prompts(plan, item.task, [item], text)
    limits = {item.id: plan.style.of(item.task).max_new_tokens}
    task = TASKS[item.task]
    estimate = estimate_prompts(plan, prompts, limits[item.id], backend) if isinstance(backend, PaidBackend) else None
    account = spending_on(estimate, plan, info, budget, charge) if estimate else None
    with charged_to(backend, account):
        for record in answer_prompts(plan.spec, task, limits, prompts, backend, should_stop, lambda _: None):
            judgement = protocols.get_protocol("official").judge(task, item, record)
            return Tried(ScoredItem(item, record, judgement), info, plan.spec.label)
    if account and account.exhausted:
        raise InputError(exhausted_notice(plan, account, info.currency, 1))
    return None


def foresee(
    settings: Settings,
    pool: ModelPool,
    side: Side,
    item: Item,
    should_stop: Callable[[], bool] = lambda: False,
    notify: Notify = lambda _: None,
    data: str = "sample",
    budget: float | None = None,
    charge: Charge = nobody_else,
    count: int = MOST_LIKELY,
) -> Foreseen | None:
    """The most likely next tokens at the end of an item's prompt, and at each of its places where they are known; None
    if it was stopped.

    Args:
        settings, pool, side, item, should_stop, notify, data: as `try_item` has them.
        budget: most that it may cost, where the model is paid: one request.
        charge: see `runs.runner.run_plans`.
        count: tokens of each place.

    Raises:
        InputError: the model cannot say which tokens are likely, or is paid and has no budget for a request.
        JglueAppError: another of its kinds, with a remedy.
    """
    plan = plan_one(settings, item.task, side, data=data)
    backend = pool.get(plan.spec.model, notify)
    if not isinstance(backend, PredictingBackend):
        raise InputError(
            "{model} does not say which tokens it expects. Choose a model that runs here.", model=plan.spec.model.id
        )
    tokenizer = open_tokenizer(plan.spec.model, settings, notify)
    try:
        inspected = inspect_prompt(plan, item, tokenizer, should_stop)
    except InputError:
        if should_stop():
            return None
        raise
    info = backend.info
    paid = estimate_prompts(plan, [inspected.prompt], 1, backend) if isinstance(backend, PaidBackend) else None
    account = spending_on(paid, plan, info, budget, charge) if paid else None
    with charged_to(backend, account):
        found = backend.next_tokens(inspected.prompt, count, should_stop)
    if isinstance(found, RunError):
        raise InputError(found.sentence)
    if found is None and account and account.exhausted:
        raise InputError(exhausted_notice(plan, account, info.currency, 1))
    return None if found is None else Foreseen(inspected, found, info)


# --- many formats ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SweepRow:
    """What one format makes of the items, or one adapter."""

    side: Side
    path: Path
    """The run it was stored as."""
    n: int
    """Items answered."""
    strict: Estimate
    """Main metric of the strict reading."""
    lenient: Estimate
    choose: Estimate
    unreadable: int
    flips: Flips | None
    """Answers (strict reading) that differ from those of the first format, and with an adapter from those of the model
    alone in the same format and style; None for the first, and where there is nothing to compare."""
    ranked_flips: Flips | None
    """The same for the ranking by log-likelihood."""


def variants(
    side: Side, formats: Sequence[str], styles: Sequence[str] = (), adapters: Sequence[str] = ()
) -> list[Side]:
    """One side in every format and style named; without styles, in its own. With adapters, each of these without an
    adapter and with each of them: all share the weights of one model."""
    if any(not isinstance(name, str) for names in (formats, styles) for name in names):
        raise InputError("Formats and styles of a sweep are lists of names.")
    # Counted before anything is built: the product of two long lists would never end.
    formats, styles = list(dict.fromkeys(formats)), list(dict.fromkeys(styles)) or [side.style]
    applied: list[str | None] = [None, *dict.fromkeys(adapters)] if adapters else [side.adapter]
    count = len(formats) * len(styles) * len(applied)
    if count > MAX_VARIANTS and adapters:
        raise InputError(
            "A sweep takes at most {most_variants} formats times styles times adapters (the model alone is one more), "
            "not {count:,}. Choose fewer.",
            most_variants=MAX_VARIANTS,
            count=count,
        )
    if count > MAX_VARIANTS:
        raise InputError(
            "A sweep takes at most {most_variants} formats times styles, not {count:,}. Choose fewer.",
            most_variants=MAX_VARIANTS,
            count=count,
        )
    if any(len(name) > MAX_NAME for name in styles):
        raise InputError("A style's name has at most {max_name} characters.", max_name=MAX_NAME)
    variants_ = [replace(side, format=f, style=s, adapter=a) for s in styles for f in formats for a in applied]
    if len(variants_) < 2:
        raise InputError("Choose at least two formats, or two wording styles: a sweep compares them.")
    return variants_


def plan_sweep(
    settings: Settings,
    task: str,
    sides: Sequence[Side],
    items: int,
    data: str = "sample",
    should_stop: Callable[[], bool] = lambda: False,
) -> list[tuple[Side, Plan]]:
    """The runs of a sweep, each with its side; none if it was stopped.

    Raises:
        JglueAppError: one of its kinds, with a remedy.
    """
    planned: list[tuple[Side, Plan]] = []
    for side in sides:
        if should_stop():
            return []
        request = RunRequest((task,), data, items, _method(settings, side, task), side).for_page(settings)
        planned.append((side, request.plans(settings)[0][1]))
    return planned


def sweep(
    settings: Settings,
    pool: ModelPool,
    task: str,
    sides: Sequence[Side],
    items: int,
    data: str = "sample",
    should_stop: Callable[[], bool] = lambda: False,
    budget: float | None = None,
    charge: Charge = nobody_else,
) -> Iterator[Event | tuple[Side, Plan]]:
    """Run the same items under every side, each stored as a run of its own: events, and (side, plan) as each begins.

    Raises:
        JglueAppError: one of its kinds, with a remedy; see `run_sweep`.
    """
    # All are planned first: a mistake in the last is told before the first has taken its time.
    planned = plan_sweep(settings, task, sides, items, data, should_stop)
    yield from run_sweep(settings, pool, planned, should_stop, budget, charge)


def run_sweep(
    settings: Settings,
    pool: ModelPool,
    planned: Sequence[tuple[Side, Plan]],
    should_stop: Callable[[], bool] = lambda: False,
    budget: float | None = None,
    charge: Charge = nobody_else,
) -> Iterator[Event | tuple[Side, Plan]]:
    """Make the runs of `plan_sweep`; see `sweep`.

    Args:
        settings: mode and folders.
        pool: loads the models.
        planned: the runs, each with its side.
        should_stop: asked between tokens.
        budget: most that the paid requests of all these runs may cost together; what they have cost before does not
            count. The sweep ends with the first run that it has no room for.
        charge: see `runs.runner.run_plans`.

    Raises:
        InputError: the model is paid, and there is no budget.
        JglueAppError: another of its kinds, with a remedy.
    """
    stores = [RunStore.of(settings.runs_dir, plan.spec) for _, plan in planned]
    left = budget
    if budget is None and charge is nobody_else:
        estimates = [e for e in estimate_plans([plan for _, plan in planned], pool, stores) if e]
        if estimates:
            raise no_budget(total(estimates))
    for (side, plan), store in zip(planned, stores, strict=True):
        if should_stop():
            return
        yield side, plan
        before = spent_so_far(store)
        limited = plan if left is None else replace(plan, budget=before + left)
        for event in run_plan(limited, pool, settings.runs_dir, should_stop, charge=charge):
            yield event
            if event.kind == "stopped":
                return
        left = None if left is None else max(0.0, left - (spent_so_far(store) - before))


def sweep_table(library: Library, task: str, planned: Sequence[tuple[Side, Plan]]) -> list[SweepRow]:
    """What is stored of a sweep, against its first side; with an adapter, against the same side without one. Flips
    count answers, right or wrong."""
    rows: list[SweepRow] = []
    first: tuple[Path, Ids] | None = None
    without_adapter: dict[Side, tuple[Path, Ids]] = {}
    for side, plan in planned:
        path = RunStore.of(library.runs_dir, plan.spec).path
        if not RunStore(path).exists():
            continue
        report = library.report(path, "official", plan.ids)
        task_report = report.tasks[task]
        name = TASKS[task].metrics[0]
        none = Estimate(None, None, None, 0)
        flips: Mapping[str, Flips] = {}
        base = without_adapter.get(replace(side, adapter=None), first) if side.adapter else first
        if base is not None:
            flips = library.comparison(base[0], path, "official", base[1], plan.ids).flips.get(task, {})
        rows.append(
            SweepRow(
                side,
                path,
                task_report.n,
                main_metric(task_report, "official") if task_report.metrics else none,
                task_report.lenient.get(name, none),
                task_report.choose.get(name, none),
                task_report.unreadable,
                flips.get("strict"),
                flips.get("choose"),
            )
        )
        first = first or (path, plan.ids)
        if side.adapter is None:
            without_adapter[side] = path, plan.ids
    return rows
