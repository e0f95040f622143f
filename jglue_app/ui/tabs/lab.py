"""The Prompt lab: a course, one item in two formats token by token, and a sweep over formats."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import gradio as gr

from jglue_app import prompt_lab
from jglue_app.backends.named_models import named_models
from jglue_app.data import files
from jglue_app.errors import InputError, JglueAppError, StoreError
from jglue_app.messages import word
from jglue_app.prompts.formats import FORMATS
from jglue_app.results.showcase import SHIPPED
from jglue_app.runs.request import MAX_SHOTS, Side
from jglue_app.runs.runner import Event
from jglue_app.tasks import TASKS, get_task
from jglue_app.types import Item, is_sample
from jglue_app.ui import controls, views
from jglue_app.ui.controls import T, pane
from jglue_app.ui.jobs import Job, Made
from jglue_app.ui.progress import BEAT_S, changes, stopper
from jglue_app.ui.state import AppState
from jglue_app.ui.tabs.compare import side_text
from jglue_app.ui.tabs.lab_course import STEPS
from jglue_app.ui.views import comparison
from jglue_app.ui.views.progress import progress
from jglue_app.ui.views.prompt import inspected, tried
from jglue_app.ui.views.sweep import sweep_view
from jglue_app.ui.visitor import language, page_of, visitor

MOST_FIELDS = max(len(task.fields) for task in TASKS.values())
LISTED = 200
"""Items offered in the list; any other can be named by its id."""
MOST_SWEPT = 200
WAY = ("format", "style", "shots")
"""Controls of one way to ask."""


@dataclass(frozen=True, slots=True)
class Tab:
    """What other tabs need of this one."""

    tabs: gr.Tabs
    fill: list[gr.components.Component]
    """What `fill_from` has values for."""
    fill_from: Callable[[gr.Request, Mapping[str, Any]], list[Any]]


def build(desk: AppState, t: T) -> Tab:
    """Put the tab's content into the surrounding Blocks."""
    with gr.Tabs(elem_id="lab-tabs") as tabs:
        with gr.Tab(t("lab_course"), id="course"):
            _course(desk, t)
        with gr.Tab(t("lab_one"), id="one"):
            fill, fill_from = _one_item(desk, t)
        with gr.Tab(t("lab_sweep"), id="sweep"):
            _sweep(desk, t)
    return Tab(tabs, fill, fill_from)


# --- course ---------------------------------------------------------------------------------------------


def _course(desk: AppState, t: T) -> None:
    step = gr.Radio(
        [(t(f"course_{s.name}_title"), s.name) for s in STEPS],
        value=STEPS[0].name,
        label=t("course"),
        elem_id="course-step",
    )
    text = pane("course-text")
    with gr.Row():
        run = gr.Button(t("course_run"), variant="primary", elem_id="course-run", scale=2)
        stop = gr.Button(t("stop"), elem_id="course-stop", scale=1)
        onward = gr.Button(t("course_next"), elem_id="course-next", scale=1)
    status = pane("course-status")
    result = pane("course-result")

    def show(request: gr.Request, name: str) -> tuple[str, str, str]:
        desk.set_current_view(page_of(request), "course", name)
        return _step_html(desk, request, name), "", ""

    def turn_to(request: gr.Request, name: str) -> tuple[str, str, str]:
        job = desk.jobs.latest(visitor(request), "try")
        if job is not None and job.active:
            desk.jobs.halt(job)  # Its answer belongs to the step before.
        return show(request, name)

    def go_on(name: str) -> str:
        names = [s.name for s in STEPS]
        return names[(names.index(name) + 1) % len(names)] if name in names else names[0]

    def ask(request: gr.Request, name: str) -> Iterator[tuple[Any, Any]]:
        found = next((s for s in STEPS if s.name == name), STEPS[0])
        lang = language(request)
        item = next(i for i in files.load(desk.settings, found.task, data="sample").items if i.id == found.item)
        sides = dict(zip("AB", found.sides, strict=False))
        for state, html in answer(desk, visitor(request), sides, item, lang):
            if not desk.is_current_view(page_of(request), "course", name):
                yield "", gr.skip()  # What was sent last may have arrived after the turn.
                return
            look = views.render("look", {"text": word(f"course_{found.name}_look", lang)}, lang) if html else ""
            yield state, look + html if html else gr.skip()

    gr.on([step.change], turn_to, step, [text, status, result], api_visibility="private", show_progress="hidden")
    gr.on(None, show, step, [text, status, result], api_visibility="private", show_progress="hidden")
    onward.click(go_on, step, step, api_visibility="private", queue=False)
    run.click(ask, step, [status, result], api_visibility="private", show_progress="hidden", concurrency_limit=None)
    stop.click(
        stopper(desk, "try"), None, status, concurrency_limit=None, api_visibility="private", show_progress="hidden"
    )


def _step_html(desk: AppState, request: gr.Request, name: str) -> str:
    lang = language(request)
    found = next((s for s in STEPS if s.name == name), STEPS[0])
    stored = ""
    if found.stored:
        names = dict(zip("ab", (SHIPPED + run for run in found.stored), strict=False))
        stored = comparison.item_html(desk, visitor(request), names, found.task, found.item, lang, steps=False)
    payload = {
        "number": STEPS.index(found) + 1,
        "of": len(STEPS),
        "title": word(f"course_{found.name}_title", lang),
        "paragraphs": word(f"course_{found.name}_text", lang).split("\n"),
        "sides": [{"name": n, "text": side_text(s, lang)} for n, s in zip("AB", found.sides, strict=False)],
    }
    return views.render("step", payload, lang) + stored


# --- one item -------------------------------------------------------------------------------------------


def _one_item(desk: AppState, t: T) -> tuple[list[gr.components.Component], Callable[..., list[Any]]]:
    settings = desk.settings
    first = "jnli"
    with gr.Row(elem_classes="jg-controls"):
        with gr.Column(min_width=300):
            gr.Markdown(t("lab_item"), elem_classes="jg-section")
            task = gr.Dropdown(controls.subset_choices(), value=first, label=t("subset"), elem_id="lab-task")
            kind = gr.Radio(
                [(t("data_sample"), "sample"), (t("data_official"), "official")],
                value="sample",
                label=t("data"),
                elem_id="lab-data",
            )
            chosen = gr.Dropdown([], value=None, allow_custom_value=True, label=t("lab_pick"), elem_id="lab-item")
            fields = [gr.Textbox(label=f"{i}", lines=1, elem_id=f"lab-field-{i}") for i in range(MOST_FIELDS)]
            gold = gr.Textbox(label=t("gold"), lines=1, elem_id="lab-gold")
        with gr.Column(min_width=300):
            gr.Markdown(t("lab_ways"), elem_classes="jg-section")
            model = gr.Dropdown(
                list(named_models()),
                value=next(iter(named_models())),
                allow_custom_value=not settings.public,
                label=t("model"),
                info=t("model_info_public" if settings.public else "model_info"),
                elem_id="lab-model",
            )
            sides = [_way(t, "A", "plain", 0), _way(t, "B", "alpaca", 0)]
    with gr.Row():
        look = gr.Button(t("lab_look"), variant="primary", elem_id="lab-look", scale=2)
        run = gr.Button(t("lab_run"), elem_id="lab-run", scale=2)
        stop = gr.Button(t("stop"), elem_id="lab-stop", scale=1)
    status = pane("lab-status")
    answers = pane("lab-answers")
    tokens = pane("lab-tokens")
    ways = [c for way in sides for c in way]
    everything = [task, kind, chosen, *fields, gold, model, *ways]

    def read(request: gr.Request, values: Sequence[Any]) -> tuple[Item, dict[str, Side]]:
        name, id_, texts, rest = values[0], values[2], values[3 : 3 + MOST_FIELDS], values[3 + MOST_FIELDS :]
        found = get_task(str(name))
        typed = {key: str(text or "") for key, text in zip(found.fields, texts, strict=False)}
        item = prompt_lab.make_item(found, typed, str(rest[0] or ""), str(id_ or "").split(" ")[0] or prompt_lab.TYPED)
        formats = rest[2:]
        return item, {
            "A": controls.read_side({"model": rest[1], **dict(zip(WAY, formats[:3], strict=True))}),
            "B": controls.read_side({"model": rest[1], **dict(zip(WAY, formats[3:], strict=True))}),
        }

    def load_items(request: gr.Request, name: str, data_kind: str) -> list[Any]:
        lang = language(request)
        try:
            items = files.load(settings, get_task(name).name, data=data_kind).items
        except JglueAppError as e:
            return [views.failure(e, lang), gr.skip(), *[gr.skip()] * (MOST_FIELDS + 1)]
        choices = [f"{item.id} {views.question(item)}" for item in items[:LISTED]]
        return ["", gr.update(choices=choices, value=choices[0]), *_filled(items[0], lang)]

    def load_one(request: gr.Request, name: str, data_kind: str, text: str | None) -> list[Any]:
        lang = language(request)
        id_ = str(text or "").split(" ")[0]
        try:
            items = files.load(settings, get_task(name).name, data=data_kind).items
            item = next((i for i in items if i.id == id_), None)
            if item is None:
                raise InputError(word("no_item", lang).format(id_[:50]))
        except JglueAppError as e:
            return [views.failure(e, lang), *[gr.skip()] * (MOST_FIELDS + 1)]
        return ["", *_filled(item, lang)]

    def inspect(request: gr.Request, *values: Any) -> Iterator[tuple[Any, Any]]:
        lang = language(request)
        yield views.note(word("lab_reading", lang)), gr.skip()
        try:
            item, both = read(request, values)
        except JglueAppError as e:
            yield views.failure(e, lang), gr.skip()
            return

        def work(job: Job) -> None:
            job.result = [
                inspect_html(desk, side, item, name, lang, job, str(values[1])) for name, side in both.items()
            ]

        job = desk.jobs.aside(visitor(request), "look", work)
        try:
            while not job.over.wait(BEAT_S):
                yield views.note(word("lab_reading", lang)), gr.skip()  # Who has left is noticed by this.
        finally:
            job.stop.set()
        if job.state == "failed":
            yield progress(job, lang), gr.skip()
            return
        yield "", views.render("two", {"parts": job.result}, lang)

    def ask(request: gr.Request, *values: Any) -> Iterator[tuple[Any, Any]]:
        lang = language(request)
        try:
            item, both = read(request, values)
        except JglueAppError as e:
            yield views.failure(e, lang), gr.skip()
            return
        if both["A"] == both["B"]:
            del both["B"]
        for state, html in answer(desk, visitor(request), both, item, lang, str(values[1])):
            yield state, html or gr.skip()

    def fill_from(request: gr.Request, sent: Mapping[str, Any]) -> list[Any]:
        """Values for (subset, data, item, fields, gold, model, ways) from an item that somebody looks at."""
        lang, owner = language(request), visitor(request)
        name, id_ = str(sent.get("task")), str(sent.get("id"))
        nothing = [gr.skip()] * (3 + MOST_FIELDS + 1 + 1 + len(ways))
        specs = []
        item = None
        for side in ("a", "b"):
            try:
                found = desk.data(owner, str(sent.get(side) or ""))
            except StoreError:
                continue
            item = item or found.items.get(name, {}).get(id_)
            specs.append(found.spec)
        if item is None or not specs:
            return nothing
        kind_now = "sample" if is_sample(specs[0].data_version) else "official"
        label = f"{item.id} {views.question(item)}"
        if len(specs) == 1 or specs[1].model != specs[0].model or specs[1].prompt == specs[0].prompt:
            other = replace(specs[0].prompt, format="alpaca" if specs[0].prompt.format == "plain" else "plain")
        else:
            other = specs[1].prompt
        asked = [(p.format, p.style, min(MAX_SHOTS, p.for_task(name).shots)) for p in (specs[0].prompt, other)]
        return [
            name,
            kind_now,
            gr.update(choices=[label], value=label),
            *_filled(item, lang),
            specs[0].model.id,
            *(value for way in asked for value in way),
        ]

    loaded = [status, chosen, *fields, gold]
    quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    # `input` is what people do; filling from elsewhere must not load another item over it.
    task.input(load_items, [task, kind], loaded, **quiet)
    kind.input(load_items, [task, kind], loaded, **quiet)
    chosen.input(load_one, [task, kind, chosen], [status, *fields, gold], **quiet)
    _on_load(lambda request: load_items(request, first, "sample"), loaded)
    look.click(inspect, everything, [status, tokens], concurrency_limit=8, **quiet)
    run.click(ask, everything, [status, answers], concurrency_limit=None, **quiet)
    stop.click(stopper(desk, "try"), None, status, concurrency_limit=None, **quiet)
    return [task, kind, chosen, *fields, gold, model, *ways], fill_from


def _on_load(fn: Callable[[gr.Request], list[Any]], outputs: list[gr.components.Component]) -> None:
    def load(request: gr.Request) -> list[Any]:
        return fn(request)

    gr.on(None, load, None, outputs, api_visibility="private", show_progress="hidden")


def _way(t: T, name: str, format: str, shots: int) -> list[gr.components.Component]:
    with gr.Column(elem_classes=["jg-way", f"jg-way-{name.lower()}"]):
        gr.Markdown(f"**{name}**", elem_classes="jg-way-name")
        with gr.Row():
            how = gr.Dropdown(
                list(FORMATS), value=format, label=t("format"), elem_id=f"lab-format-{name}", min_width=120
            )
            style = gr.Dropdown(
                controls.style_choices(),
                value="ja-labels",
                label=t("style"),
                elem_id=f"lab-style-{name}",
                min_width=180,
                scale=2,
            )
        count = gr.Slider(0, MAX_SHOTS, shots, step=1, label=t("shots"), elem_id=f"lab-shots-{name}")
        return [how, style, count]


def _filled(item: Item, lang: str) -> list[Any]:
    """Values of the fields and the gold answer."""
    names = list(item.fields)
    out: list[Any] = []
    for i in range(MOST_FIELDS):
        if i < len(names):
            text = item.fields[names[i]]
            label = word(f"field_{names[i]}", lang)
            out.append(gr.update(value=text, label=label, visible=True, lines=3 if len(text) > 60 else 1))
        else:
            out.append(gr.update(value="", visible=False))
    kinds = {"choice": " / ".join(item.choices), "score": "0–5", "span": word("gold_lines", lang)}
    label = f"{word('gold', lang)} ({kinds[TASKS[item.task].kind]})"
    return [*out, gr.update(value=prompt_lab.gold_as_typed(item), label=label)]


def look(desk: AppState, side: Side, item: Item, job: Job, kind: str = "sample") -> prompt_lab.Inspected:
    """One prompt as a tokenizer sees it, within a job that can be stopped; raises as `lab.inspect_prompt` does."""
    plan = prompt_lab.plan_one(desk.settings, item.task, side, data=kind)
    return prompt_lab.inspect_prompt(plan, item, desk.tokenizer(plan.spec.model), job.stop.is_set)


def inspect_html(desk: AppState, side: Side, item: Item, name: str, lang: str, job: Job, kind: str = "sample") -> str:
    """One prompt token by token; a sentence where there can be none."""
    label = side_text(side, lang)
    try:
        found = look(desk, side, item, job, kind)
    except JglueAppError as e:
        return views.failure(e, lang, head="cannot_render")
    return views.render("inspected", inspected(found, label, name, lang), lang)


def answer(
    desk: AppState, owner: str, sides: Mapping[str, Side], item: Item, lang: str, kind: str = "sample"
) -> Iterator[tuple[str, str]]:
    """Have a model answer one item in one or two ways: (status, HTML of the answers or "") until it is done."""

    def work(job: Job) -> None:
        def notify(message: str) -> None:
            job.loading = message
            job.version += 1

        found: dict[str, prompt_lab.Tried] = {}
        job.result = found
        with desk.jobs.turn(job) as mine:
            should_stop = _until(job, desk.settings.max_seconds)
            for name, side in sides.items():
                if not mine or should_stop():
                    return
                one = prompt_lab.try_item(desk.settings, desk.pool, side, item, should_stop, notify, kind)
                if one is not None:
                    found[name] = one

    try:
        job = desk.jobs.start(owner, "try", work)
    except JglueAppError as e:
        yield views.failure(e, lang), ""
        return
    for _ in changes(job):
        yield progress(job, lang, ahead=desk.jobs.ahead(job)), ""
    html = views.render("item", tried(job.result, lang), lang) if job.result else ""
    yield progress(job, lang, done=word("answered", lang)), html


def _until(job: Job, seconds: float | None) -> Callable[[], bool]:
    """Whether a job is to stop: asked to, or after so many seconds from now."""
    deadline = time.monotonic() + seconds if seconds else None
    return lambda: job.stop.is_set() or (deadline is not None and time.monotonic() > deadline)


# --- sweep ----------------------------------------------------------------------------------------------


def _sweep(desk: AppState, t: T) -> None:
    settings = desk.settings
    gr.Markdown(t("sweep_lead"), elem_classes="jg-lead")
    with gr.Row(elem_classes="jg-controls"):
        with gr.Column(min_width=280):
            task = gr.Dropdown(controls.subset_choices(), value="jnli", label=t("subset"), elem_id="sweep-task")
            items = gr.Number(10, precision=0, label=t("sweep_items"), elem_id="sweep-items")
            kind = gr.Radio(
                [(t("data_sample"), "sample"), (t("data_official"), "official")],
                value="sample",
                label=t("data"),
                elem_id="sweep-data",
            )
        with gr.Column(min_width=280):
            model = gr.Dropdown(
                list(named_models()),
                value=next(iter(named_models())),
                allow_custom_value=not settings.public,
                label=t("model"),
                elem_id="sweep-model",
            )
            shots = gr.Slider(0, MAX_SHOTS, 1, step=1, label=t("shots"), elem_id="sweep-shots")
        with gr.Column(min_width=280):
            formats = gr.CheckboxGroup(
                list(FORMATS),
                # Not every model has a template, and one of the two of rinna shows what they do.
                value=[name for name in FORMATS if name not in ("chat", "rinna_bilingual")],
                label=t("sweep_formats"),
                info=t("sweep_formats_info"),
                elem_id="sweep-formats",
            )
            styles = gr.Dropdown(
                controls.style_choices(),
                value=["ja-labels"],
                multiselect=True,
                label=t("style"),
                elem_id="sweep-styles",
            )
    with gr.Row():
        run = gr.Button(t("sweep_run"), variant="primary", elem_id="sweep-run", scale=2)
        stop = gr.Button(t("stop"), elem_id="sweep-stop", scale=1)
    status = pane("sweep-status")
    table = pane("sweep-table")

    def start(
        request: gr.Request,
        name: str,
        n: Any,
        data_kind: str,
        model_id: str,
        k: Any,
        names: list[str],
        words: list[str],
    ) -> Iterator[tuple[Any, Any]]:
        lang = language(request)
        try:
            side = controls.read_side({"model": model_id, "shots": k})
            sides = prompt_lab.variants(side, names or [], words or ["ja-labels"])
            job = start_sweep(desk, visitor(request), name, sides, n, data_kind, lang)
        except JglueAppError as e:
            yield views.failure(e, lang), gr.skip()
            return
        yield from watch_sweep(desk, job, lang)

    def follow(request: gr.Request) -> Iterator[tuple[Any, Any]]:
        """After a reload: the visitor's sweep, under way or ended."""
        job = desk.jobs.latest(visitor(request), "sweep")
        yield gr.skip(), gr.skip()  # As on the Compare tab.
        if job is not None:
            yield from watch_sweep(desk, job, language(request))

    quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden", "concurrency_limit": None}
    run.click(start, [task, items, kind, model, shots, formats, styles], [status, table], **quiet)
    stop.click(stopper(desk, "sweep"), None, status, **quiet)
    gr.on(None, follow, None, [status, table], **quiet)


def watch_sweep(desk: AppState, job: Job, lang: str) -> Iterator[tuple[Any, Any]]:
    """(status, table) of a sweep until it ends; a format's row comes when the next one begins."""
    rows = 0
    for _ in changes(job):
        state = progress(job, lang, ahead=desk.jobs.ahead(job))
        begun = len(job.result or ())
        if begun > rows + 1:
            rows = begun - 1
            yield state, sweep_html(desk, str(job.asked), job, lang)
        else:
            yield state, gr.skip()
    desk.grant_access(job)
    yield progress(job, lang), sweep_html(desk, str(job.asked), job, lang) or gr.skip()


def start_sweep(
    desk: AppState, owner: str, task: str, sides: Sequence[Side], items: Any, data_kind: str, lang: str
) -> Job:
    """Begin a sweep in the background; its result is a growing list of (side, plan).

    Raises:
        InputError: too many items, or a sweep is going on.
    """
    most = min(MOST_SWEPT, desk.settings.max_items)
    if not controls.is_number(items, 1, most):
        raise InputError("The number of items is a whole number from 1 to {most:,}.", most=most)
    get_task(task)

    def work(job: Job) -> None:
        job.result = []
        with desk.jobs.turn(job) as mine:
            if not mine:
                return
            should_stop = _until(job, desk.settings.max_seconds)
            for event in prompt_lab.sweep(desk.settings, desk.pool, task, sides, int(items), data_kind, should_stop):
                if isinstance(event, Event):
                    job.see(event)
                else:
                    swept, plan = event
                    job.made[str(len(job.result))] = Made.by(plan)
                    # Without the data files, which an ended job should not keep.
                    job.result.append((swept, replace(plan, datasets={}, pools={})))
                    job.loading = word("sweep_now", lang).format(swept.format, swept.style)
                    job.bars.clear()
                    job.version += 1
            if should_stop() and not job.stop.is_set():
                job.state = "out_of_time"

    return desk.jobs.start(owner, "sweep", work, task)


def sweep_html(desk: AppState, task: str, job: Job, lang: str) -> str:
    """The table of what is stored of a sweep; empty before anything is."""
    try:
        rows = prompt_lab.sweep_table(desk.library, task, list(job.result or []))
    except StoreError as e:
        return views.failure(e, lang)
    rows = [row for row in rows if row.n]
    return views.render("sweep", sweep_view(rows, task), lang) if rows else ""
