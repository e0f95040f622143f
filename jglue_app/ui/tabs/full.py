"""The Full run tab: every item of a split in the background, through reloads and restarts, and its files."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gradio as gr

from jglue_app.errors import InputError, JglueAppError, StoreError
from jglue_app.messages import of as messages_of
from jglue_app.messages import say, word
from jglue_app.results.library import StoredRun
from jglue_app.runs.request import RunRequest, Side
from jglue_app.runs.request_text import to_command_line
from jglue_app.runs.store import RunStore
from jglue_app.ui import controls, views
from jglue_app.ui.controls import T, pane
from jglue_app.ui.jobs import Job
from jglue_app.ui.progress import changes, stopper
from jglue_app.ui.state import AppState
from jglue_app.ui.tabs import results, wandb_panel
from jglue_app.ui.tabs.compare import pair_of
from jglue_app.ui.views import comparison
from jglue_app.ui.views.comparison import Pair
from jglue_app.ui.views.progress import progress
from jglue_app.ui.visitor import language, visitor

KIND = "full"
BOARD_EVERY_S = 5.0
View = tuple[Any, ...]
"""New values of (status, scoreboard, unfinished runs, name of the run)."""


def build(desk: AppState, t: T) -> tuple[gr.Textbox, gr.Button]:
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
    place, own = wandb_panel.own_place()
    then_push = gr.Checkbox(
        False,
        label=t("wandb_when_done"),
        info=place,
        visible=own and not settings.public,
        elem_id="full-wandb-when-done",
    )
    with gr.Row():
        run = gr.Button(t("full_run"), variant="primary", elem_id="full-run", scale=2, interactive=not settings.public)
        stop = gr.Button(t("stop"), elem_id="full-stop", scale=1)
    status = pane("full-status")
    board = pane("full-board")
    name = gr.Textbox("", visible=False, elem_id="full-name")
    look = gr.Button(t("open_items"), elem_id="open-full", visible=False)
    format = gr.Radio(
        list(results.EXPORTS), value="jsonl", label=t("export_format"), info=t("export_info"), visible=False
    )
    make = gr.Button(t("export"), elem_id="full-export", visible=False)
    download = gr.File(label=t("export_file"), interactive=False, visible=False, elem_id="full-file")
    exported = pane("full-exported")
    push = wandb_panel.build(desk, t, "full", lambda _, found: (found, "", "official"), [name], visible=False)
    form = {**asked.components(), **side.components()}
    everything: list[Any] = list(form.values())
    seen: list[gr.components.Component] = [status, board, unfinished, go_on, name]

    def read(values: tuple[Any, ...], lang: str) -> RunRequest:
        return controls.read({**dict(zip(form, values, strict=True)), "limit": None}, settings, lang)

    def values_of(asked: RunRequest) -> list[Any]:
        values = controls.values_of(asked)
        return [values[name] for name in form]

    def refused(lang: str) -> View:
        return views.sentence(word("full_public", lang), lang), *_nothing()[1:]

    def start(request: gr.Request, push_it: bool, *values: Any) -> Iterator[View]:
        lang = language(request)
        if settings.public:
            yield refused(lang)
            return
        yield views.note(word("loading", lang)), *_nothing()[1:]
        try:
            yield from watch(desk, begin(desk, visitor(request), read(values, lang), push=push_it), lang)
        except JglueAppError as e:
            yield views.failure(e, lang), *_nothing()[1:]

    def resume(request: gr.Request, push_it: bool, run_name: str) -> Iterator[View]:
        lang, owner = language(request), visitor(request)
        if settings.public:
            yield refused(lang)
            return
        try:
            asked_then = RunRequest.of_spec(RunStore(desk.path(owner, str(run_name or ""))).spec())
            if asked_then is None:
                raise InputError(word("not_one_command", lang))
            yield from watch(desk, begin(desk, owner, asked_then, push=push_it), lang)
        except JglueAppError as e:
            yield views.failure(e, lang), *_nothing()[1:]

    def fill(request: gr.Request, run_name: str) -> tuple[Any, ...]:
        """The controls as the run that goes on was made, so that page and run agree."""
        lang, owner = language(request), visitor(request)
        try:
            store = RunStore(desk.path(owner, str(run_name or "")))
            then = None if settings.public else RunRequest.of_spec(store.spec())
        except StoreError:
            then = None
        if then is None:  # What is wrong is told where it is to go on.
            return (gr.skip(),) * (len(everything) + 1)
        told = views.render("repeat", {"command": to_command_line(then)}, lang)
        return *values_of(then), told

    def describe(request: gr.Request, *values: Any) -> str:
        lang = language(request)
        try:
            return views.render("repeat", {"command": to_command_line(read(values, lang))}, lang)
        except JglueAppError as e:
            return views.render("repeat", {"error": say(messages_of(e), lang)}, lang)

    def greet(request: gr.Request) -> tuple[Any, ...]:
        """The visitor's run and how it was asked for; else what there is to start."""
        lang, owner = language(request), visitor(request)
        job = desk.jobs.latest(owner, KIND)
        wanted = job.asked if job else RunRequest(data="official", limit=None)
        filled = values_of(wanted)
        told = views.render("repeat", {"command": to_command_line(wanted)}, lang)
        note = views.note(word("full_public", lang)) if settings.public else ""
        if job is None or not job.made:
            status = progress(job, lang) if job else ""
            return *filled, told, note, status, views.empty(word("full_empty", lang)), *_left(desk, owner), ""
        if job.active:
            return *filled, told, note, progress(job, lang), *_nothing()[1:]
        *_, last = watch(desk, job, lang)
        return *filled, told, note, *last

    def follow(request: gr.Request) -> Iterator[View]:
        job = desk.jobs.latest(visitor(request), KIND)
        yield _nothing()  # As on the Compare tab.
        if job is not None and job.active:
            yield from watch(desk, job, language(request))

    def export(request: gr.Request, run_name: str, how: str) -> tuple[Any, str]:
        return results.export_view(desk, request, run_name, how)

    gr.on(
        [c.input for c in everything],
        describe,
        everything,
        repeat,
        api_visibility="private",
        show_progress="hidden",
        queue=False,
        trigger_mode="always_last",
    )
    quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    filled = go_on.click(fill, unfinished, [*everything, repeat], **quiet)
    for begin_by, handler, values in ((run.click, start, everything), (filled.then, resume, [unfinished])):
        begin_by(handler, [then_push, *values], seen, concurrency_limit=None, **quiet).then(
            push.follow, None, push.status, concurrency_limit=None, **quiet
        )
    stop.click(stopper(desk, KIND), None, status, concurrency_limit=None, **quiet)
    gr.on(None, greet, None, [*everything, repeat, public, *seen], concurrency_limit=8, **quiet).then(
        follow, None, seen, concurrency_limit=None, **quiet
    ).then(push.follow, None, push.status, concurrency_limit=None, **quiet)
    make.click(export, [name, format], [download, exported], **quiet)
    name.change(
        lambda found: (gr.update(visible=bool(found)),) * 4,
        name,
        [look, format, make, push.box],
        queue=False,
        api_visibility="private",
    )
    return name, look


def begin(desk: AppState, owner: str, asked: RunRequest, *, push: bool = False) -> Job:
    """Start a run that gives way to shorter work, and push it at its end; raises InputError if one is going on."""

    def after(job: Job) -> None:
        if push:
            desk.grant_access(job)
            wandb_panel.begin(desk, owner, pair_of(job).a)

    return desk.jobs.runs(owner, KIND, asked, gives_way=True, after=after)


def _nothing() -> View:
    return (gr.skip(),) * 5


def _left(desk: AppState, owner: str) -> tuple[Any, Any]:
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
        if not run.finished and name not in active and _can_go_on(run)
    ]
    some = bool(found) and not desk.settings.public
    return gr.update(choices=found, value=found[0][1] if found else None, visible=some), gr.update(visible=some)


def _can_go_on(run: StoredRun) -> bool:
    """Whether this page can ask for the very same run again."""
    try:
        return RunRequest.of_spec(RunStore(run.path).spec()) is not None
    except StoreError:
        return False


def watch(desk: AppState, job: Job, lang: str) -> Iterator[View]:
    """A job's views until it ends. Leaving this off does not end the job."""
    boarded = 0.0
    for now in changes(job):
        due = bool(job.made and job.bars) and now - boarded > BOARD_EVERY_S
        boarded = now if due else boarded
        html = _board(desk, job, lang) if due else gr.skip()
        hidden = gr.update(visible=False)  # What is running is not offered to go on.
        yield progress(job, lang, ahead=desk.jobs.ahead(job)), html, hidden, hidden, gr.skip()
    failed, name = 0, ""
    if job.made:
        desk.grant_access(job)
        pair = pair_of(job)
        name, failed = pair.a, comparison.failed_items(desk, job.owner, pair)
    board = _board(desk, job, lang) if name else views.empty(word("full_empty", lang))
    yield progress(job, lang, failed_items=failed), board, *_left(desk, job.owner), name


def _board(desk: AppState, job: Job, lang: str) -> str:
    desk.grant_access(job)
    pair = pair_of(job)
    try:
        report = desk.report(job.owner, pair.a)
    except StoreError:
        return views.empty(word("full_empty", lang))
    if not any(task.n for task in report.tasks.values()):
        return views.empty(word("full_empty", lang))
    return comparison.board_html(desk, job.owner, Pair(pair.a, ids_a=pair.ids_a), lang, links=False)
