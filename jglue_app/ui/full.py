"""The Full run tab: every item of a split in the background, through reloads and restarts, and its files."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gradio as gr

from jglue_app.configuration import Configuration, Side, command, of_spec
from jglue_app.errors import JglueAppError, StoreError
from jglue_app.jobs import Job
from jglue_app.store import RunStore
from jglue_app.ui import controls, shown, views
from jglue_app.ui.compare import pair_of
from jglue_app.ui.controls import T, pane
from jglue_app.ui.desk import Desk
from jglue_app.ui.door import language, visitor
from jglue_app.ui.following import changes, stopper
from jglue_app.ui.shown import Pair
from jglue_app.ui.views.progress import progress
from jglue_app.ui.words import word

KIND = "full"
BOARD_EVERY_S = 5.0
View = tuple[Any, ...]
"""New values of (status, scoreboard, unfinished runs, name of the run)."""


def build(desk: Desk, t: T) -> tuple[gr.Textbox, gr.Button]:
    """Put the tab's content into the surrounding Blocks; returns the box that holds the name of the run shown, and the
    button that opens it item by item."""
    settings = desk.settings
    gr.Markdown(t("full_lead"), elem_classes="jg-lead")
    public = pane("full-public", visible=settings.public)
    unfinished = gr.Dropdown([], label=t("unfinished"), info=t("unfinished_info"), elem_id="unfinished", visible=False)
    go_on = gr.Button(t("go_on"), elem_id="go-on", visible=False)
    with gr.Row(elem_classes="jg-controls"):
        with gr.Column(min_width=280):
            gr.Markdown(t("what"), elem_classes="jg-section")
            asked = controls.questions(settings, t, prefix="full-", limit=None, data="official")
        with gr.Column(min_width=280):
            gr.Markdown(t("model"), elem_classes="jg-section")
            side = controls.side(settings, t, Side(), "full")
    repeat = pane("full-repeat")
    with gr.Row():
        run = gr.Button(t("full_run"), variant="primary", elem_id="full-run", scale=2, interactive=not settings.public)
        stop = gr.Button(t("stop"), elem_id="full-stop", scale=1)
    status = pane("full-status")
    board = pane("full-board")
    name = gr.Textbox("", visible=False, elem_id="full-name")
    look = gr.Button(t("open_items"), elem_id="open-full", visible=False)
    everything: list[Any] = [*asked.all(), *side.all()]
    seen: list[gr.components.Component] = [status, board, unfinished, go_on, name]

    def read(values: tuple[Any, ...], lang: str) -> Configuration:
        found = controls.read_side(values[5:], lang)
        return controls.read_configuration(settings, [*values[:2], None, *values[3:5]], found, None, lang)

    def refused(lang: str) -> View:
        return views.sentence(word("full_public", lang), lang), *_nothing()[1:]

    def start(request: gr.Request, *values: Any) -> Iterator[View]:
        lang = language(request)
        if settings.public:
            yield refused(lang)
            return
        yield views.note(word("loading", lang)), *_nothing()[1:]
        try:
            yield from watch(desk, begin(desk, visitor(request), read(values, lang)), lang)
        except JglueAppError as e:
            yield views.failure(e, lang), *_nothing()[1:]

    def resume(request: gr.Request, run_name: str) -> Iterator[View]:
        lang, owner = language(request), visitor(request)
        if settings.public:
            yield refused(lang)
            return
        try:
            spec = RunStore(desk.path(owner, str(run_name or ""))).spec()
            yield from watch(desk, begin(desk, owner, of_spec(spec)), lang)
        except JglueAppError as e:
            yield views.failure(e, lang), *_nothing()[1:]

    def describe(request: gr.Request, *values: Any) -> str:
        lang = language(request)
        try:
            return views.render("repeat", {"command": command(read(values, lang))}, lang)
        except JglueAppError as e:
            return views.render("repeat", {"error": str(e)}, lang)

    def greet(request: gr.Request) -> Iterator[tuple[Any, ...]]:
        lang, owner = language(request), visitor(request)
        asked_now = Configuration(data="official", limit=None)
        told = views.render("repeat", {"command": command(asked_now)}, lang)
        note = views.note(word("full_public", lang)) if settings.public else ""
        job = desk.jobs.latest(owner, KIND)
        if job is None:
            yield told, note, "", views.empty(word("full_empty", lang)), *_left(desk, owner), ""
            return
        for part in watch(desk, job, lang):
            yield told, note, *part

    gr.on(
        [c.change for c in everything],
        describe,
        everything,
        repeat,
        api_visibility="private",
        show_progress="hidden",
        queue=False,
        trigger_mode="always_last",
    )
    quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden", "concurrency_limit": 24}
    run.click(start, everything, seen, **quiet)
    go_on.click(resume, unfinished, seen, **quiet)
    stop.click(stopper(desk, KIND), None, status, queue=False, api_visibility="private", show_progress="hidden")
    gr.on(None, greet, None, [repeat, public, *seen], **quiet)
    name.change(lambda found: gr.update(visible=bool(found)), name, look, queue=False, api_visibility="private")
    return name, look


def begin(desk: Desk, owner: str, asked: Configuration) -> Job:
    """Start a run that gives way to shorter work; raises InputError if one is going on."""
    return desk.jobs.runs(owner, KIND, asked, gives_way=True)


def _nothing() -> View:
    return (gr.skip(),) * 5


def _left(desk: Desk, owner: str) -> tuple[Any, Any]:
    """The list of runs that were begun and not finished, and the button beside it."""
    active = {
        made.run
        for job in (desk.jobs.latest(owner, KIND),)
        if job is not None and job.active
        for made in job.made.values()
    }
    found = [
        (f"{run.label} · {run.done:,}/{run.planned:,}", name)
        for name, run in desk.runs(owner, shipped=False).items()
        if not run.finished and name not in active and run.spec.get("model", {}).get("backend") in ("hf", "scripted")
    ]
    some = bool(found) and not desk.settings.public
    return gr.update(choices=found, value=found[0][1] if found else None, visible=some), gr.update(visible=some)


def watch(desk: Desk, job: Job, lang: str) -> Iterator[View]:
    """A job's views until it ends. Leaving this off does not end the job."""
    boarded = 0.0
    for now in changes(job):
        due = bool(job.made and job.bars) and now - boarded > BOARD_EVERY_S
        boarded = now if due else boarded
        html = _board(desk, job, lang) if due else gr.skip()
        yield progress(job, lang, ahead=desk.jobs.ahead(job)), html, gr.skip(), gr.skip(), gr.skip()
    failed, name = 0, ""
    if job.made:
        desk.own(job)
        pair = pair_of(job)
        name, failed = pair.a, shown.failed_items(desk, job.owner, pair)
    board = _board(desk, job, lang) if name else views.empty(word("full_empty", lang))
    yield progress(job, lang, failed_items=failed), board, *_left(desk, job.owner), name


def _board(desk: Desk, job: Job, lang: str) -> str:
    desk.own(job)
    pair = pair_of(job)
    try:
        desk.path(job.owner, pair.a)
    except StoreError:
        return views.empty(word("full_empty", lang))
    report = desk.library.report(desk.path(job.owner, pair.a))
    if not any(task.n for task in report.tasks.values()):
        return views.empty(word("full_empty", lang))
    return shown.board_html(desk, job.owner, Pair(pair.a, ids_a=pair.ids_a), lang, links=False)
