"""The Full run tab: every item of a split in the background, through reloads and restarts, and its files."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import gradio as gr
from gradio.blocks import Block
from gradio.components import Component

from jglue_app.errors import InputError, JglueAppError, StoreError
from jglue_app.messages import word
from jglue_app.results.library import StoredRun
from jglue_app.runs.request import RunRequest, Side
from jglue_app.runs.writer import is_being_written
from jglue_app.ui import controls, price_box, run_button, views
from jglue_app.ui.controls import T, pane, paragraph
from jglue_app.ui.events import AS_TYPED, FOLLOWS_JOB, LATEST, PRIVATE, UNCHANGED, Updates, Values
from jglue_app.ui.form import RequestForm, notes_beside
from jglue_app.ui.guard import errors_shown_in
from jglue_app.ui.jobs import Job
from jglue_app.ui.progress import going_html, progress_html
from jglue_app.ui.prompt_check import PromptCheck
from jglue_app.ui.run_button import STOP_WORDS, Drawing, RunButton
from jglue_app.ui.state import AppState
from jglue_app.ui.tabs import export_controls, wandb_panel
from jglue_app.ui.tabs.compare_panel import pair_of
from jglue_app.ui.tabs.export_controls import ExportControls
from jglue_app.ui.tabs.wandb_panel import WandbPanel
from jglue_app.ui.views import comparison
from jglue_app.ui.views.comparison import Pair
from jglue_app.ui.views.request import NOT_ONE_COMMAND, no_repeat_html, repeat_html
from jglue_app.ui.views.run_labels import run_text
from jglue_app.ui.visitor import language, visitor_id
from jglue_app.ui.wandb_push import Selection, operator_target, start_push

KIND = "full"
BOARD_INTERVAL_S = 5.0
DEFAULT = RunRequest(data="official", limit=None)


@dataclass(frozen=True, slots=True, eq=False)
class FullTab:
    """The components of the tab, and what happens with them."""

    state: AppState
    public_note: gr.HTML
    unfinished: gr.Dropdown
    resume: gr.Button
    form: RequestForm
    repeat: gr.HTML
    push_when_done: gr.Checkbox
    run: RunButton
    checks: PromptCheck
    verdict: gr.HTML
    """On the prompts, beside the button."""
    status: gr.HTML
    board: gr.HTML
    name: gr.Textbox
    """Not shown: the name of the run that is."""
    open_items: gr.Button
    export: ExportControls
    exported: gr.HTML
    push: WandbPanel

    @property
    def views(self) -> list[Component]:
        """What shows a run."""
        return [self.status, self.board, self.unfinished, self.resume, self.name, *self.run.components]

    def connect(self) -> None:
        """Listen to the events of the tab."""
        filled = [*self.form.groups, *self.form.outputs, self.repeat]
        inputs: set[Block] = set(self.form.inputs)
        described = [self.repeat, *self.form.described, *self.run.components]
        gr.on(self.form.changes, self.describe, inputs, described, **AS_TYPED)
        check = {**LATEST, **FOLLOWS_JOB}
        gr.on(self.form.changes, self.check_prompts, set(inputs), self.verdict, **check)
        for chosen in self.form.connect(self.state):
            chosen.then(self.describe, set(inputs), described, **AS_TYPED)
            chosen.then(self.check_prompts, set(inputs), self.verdict, **check)
        inputs |= {self.push_when_done}
        press = errors_shown_in(self.status, self.press)
        start = self.run.button.click(
            press, {*inputs, self.run.button}, self.views, **FOLLOWS_JOB, trigger_mode="multiple"
        )
        switch = self.run.switch.click(errors_shown_in(self.status, self.start), inputs, self.views, **FOLLOWS_JOB)
        self.run.other.connect()
        resume = self.resume.click(self.fill_from_run, self.unfinished, filled, **PRIVATE).then(
            errors_shown_in(self.status, self.resume_run),
            {self.push_when_done, self.unfinished},
            self.views,
            **FOLLOWS_JOB,
        )
        load = gr.on(
            None,
            self.on_load,
            None,
            [*filled, self.public_note, *self.views],
            concurrency_limit=8,
            **PRIVATE,
        ).then(self.follow_latest, None, self.views, **FOLLOWS_JOB)
        for run in (start, switch, resume, load):
            run.then(self.push.follow_latest, None, self.push.status, **FOLLOWS_JOB)
        self.export.connect(self.state, self.name, self.exported)
        with_run = [self.open_items, self.export.format, self.export.export, self.push.box]
        self.name.change(
            lambda name: {c: gr.update(visible=bool(name)) for c in with_run},
            self.name,
            with_run,
            queue=False,
            api_visibility="private",
        )

    # --- the request ----------------------------------------------------------------------------------------

    def describe(self, request: gr.Request, values: Values) -> Updates:
        """The command that runs what the form asks for, or what is wrong with it."""
        lang = language(request)
        found, beside = self.form.check(self.state.settings, values, lang, self.state.jobs.dtype_paces)
        wanted = None if isinstance(found, JglueAppError) else found
        beside |= self.run.appearance_for(visitor_id(request), lang, wanted)
        if isinstance(found, JglueAppError):
            return {self.repeat: no_repeat_html(found.message, lang), **beside}
        return {self.repeat: repeat_html(found, lang, link=False), **beside}

    def check_prompts(self, request: gr.Request, values: Values) -> Iterator[str]:
        """What the linter says of the prompts, before anything is loaded."""
        found, _ = self.form.check(self.state.settings, values, language(request))
        if isinstance(found, JglueAppError):
            yield ""
            return
        yield from self.checks.html(visitor_id(request), found, language(request))

    def fill(self, request: RunRequest, lang: str) -> Updates:
        """Values of form and command that ask for something."""
        return {
            **self.form.fill(self.state.settings, request, lang),
            self.repeat: repeat_html(request, lang, link=False),
        }

    def fill_from_run(self, request: gr.Request, name: str | None) -> Updates:
        """The form as the run that is resumed was made, so that page and run agree."""
        try:
            made_by = None if self.state.settings.public else self._request_of(visitor_id(request), name)
        except StoreError:
            made_by = None
        # What is wrong is said when the run is resumed.
        return UNCHANGED if made_by is None else self.fill(made_by, language(request))

    def _request_of(self, owner: str, name: str | None) -> RunRequest | None:
        """The request that makes a stored run again; raises StoreError."""
        return RunRequest.of_spec(self.state.library.spec(self.state.path(owner, str(name or ""))))

    # --- a run ----------------------------------------------------------------------------------------------

    def press(self, request: gr.Request, values: Values) -> Iterator[Updates]:
        """What the button says: start the run that the form asks for and follow it, or stop what is going on."""
        yield from self._press(request, values, stops=values[self.run.button] in STOP_WORDS)

    def start(self, request: gr.Request, values: Values) -> Iterator[Updates]:
        """Start the run that the form asks for, whatever is going on."""
        yield from self._press(request, values, stops=False)

    def _press(self, request: gr.Request, values: Values, *, stops: bool) -> Iterator[Updates]:
        def read() -> RunRequest:
            return self.form.read(self.state.settings, values)

        return self._run(request, read, push=values[self.push_when_done], stops=stops)

    def resume_run(self, request: gr.Request, values: Values) -> Iterator[Updates]:
        """Go on with the unfinished run that is chosen, and follow it."""
        made_by = None
        if not self.state.settings.public:
            made_by = self._request_of(visitor_id(request), values[self.unfinished])
            if made_by is None:
                raise InputError(NOT_ONE_COMMAND)
        yield from self._run(request, lambda: made_by or DEFAULT, push=values[self.push_when_done])

    def _run(
        self, request: gr.Request, read: Callable[[], RunRequest], *, push: bool, stops: bool = False
    ) -> Iterator[Updates]:
        def start(wanted: RunRequest) -> Job:
            return start_full_run(self.state, visitor_id(request), wanted, push=push)

        return self.run.press(request, read, start, self._drawing(request), stops=stops)

    def _drawing(self, request: gr.Request) -> Drawing:
        return lambda job: self.drawing(job, language(request))

    def follow_latest(self, request: gr.Request) -> Iterator[Updates]:
        """Follow the visitor's job if it is active, after the page was loaded."""
        job = self.state.jobs.latest(visitor_id(request), KIND)
        yield UNCHANGED
        if job is not None and job.active:
            yield from self.run.follow(request, job, self._drawing(request))

    def drawing(self, job: Job, lang: str) -> Callable[[bool], Updates]:
        """Draws a job for `follow`."""
        board_drawn_at = 0.0

        def draw(last: bool) -> Updates:
            nonlocal board_drawn_at
            if last:
                return self.final_views(job, lang)
            status = going_html(self.state.jobs, job, lang)
            hidden = gr.update(visible=False)  # What is running is not offered to go on.
            updates: Updates = {self.status: status, self.unfinished: hidden, self.resume: hidden}
            now = time.monotonic()
            if job.runs and job.bars and now - board_drawn_at > BOARD_INTERVAL_S:
                board_drawn_at = now
                updates[self.board] = _board(self.state, job, lang)
            return updates

        return draw

    def final_views(self, job: Job, lang: str) -> Updates:
        """What shows a job that has ended."""
        failed, name = 0, ""
        if job.runs:
            self.state.grant_access(job)
            pair = pair_of(job)
            name, failed = pair.a, comparison.failed_items(self.state, job.owner, pair)
        return {
            self.status: progress_html(job, lang, failed_items=failed),
            self.board: _board(self.state, job, lang) if name else views.empty(word("full_empty", lang)),
            **self._unfinished_runs(job.owner, lang),
            self.name: name,
        }

    def _unfinished_runs(self, owner: str, lang: str) -> Updates:
        """The list of runs that were started and not finished, and the button beside it."""
        job = self.state.jobs.latest(owner, KIND)
        own = {run.run for run in job.runs.values()} if job is not None else set()
        active = own if job is not None and job.active else set()
        choices = [
            (f"{run_text(run, lang)} · {run.done:,}/{run.planned:,}", name)
            for name, run in self.state.runs(owner, shipped=False).items()
            if not run.finished
            and name not in active
            and _is_resumable(self.state, run)
            # The command line, or another page, may be making it. One's own that was stopped is written to a little on.
            and (name in own or not is_being_written(run.path))
        ]
        visible = bool(choices) and not self.state.settings.public
        first = choices[0][1] if choices else None
        return {
            self.unfinished: gr.update(choices=choices, value=first, visible=visible),
            self.resume: gr.update(visible=visible),
        }

    # --- a page that is opened ------------------------------------------------------------------------------

    def on_load(self, request: gr.Request) -> Updates:
        """The visitor's run and how it was requested; else what there is to start."""
        lang, owner = language(request), visitor_id(request)
        job = self.state.jobs.latest(owner, KIND)
        note = views.note(word("full_public", lang)) if self.state.settings.public else ""
        updates: Updates = {**self.fill(job.request if job else DEFAULT, lang), self.public_note: note}
        updates |= self.run.appearance(owner, lang)
        if job is None or not job.runs:
            return {
                **updates,
                self.status: progress_html(job, lang) if job else "",
                self.board: views.empty(word("full_empty", lang)),
                **self._unfinished_runs(owner, lang),
                self.name: "",
            }
        if job.active:
            return {**updates, self.status: going_html(self.state.jobs, job, lang)}
        return {**updates, **self.final_views(job, lang)}


def build(state: AppState, t: T) -> FullTab:
    """Put the tab's content into the surrounding Blocks."""
    settings = state.settings
    paragraph(t("full_lead"), "jg-lead")
    public_note = pane("full-public", visible=settings.public)
    unfinished = gr.Dropdown([], label=t("unfinished"), info=t("unfinished_info"), elem_id="unfinished", visible=False)
    resume = gr.Button(t("go_on"), elem_id="go-on", visible=False)
    with gr.Row(elem_classes="jg-controls"):
        with gr.Column(min_width=280):
            paragraph(t("what"), "jg-section")
            items = controls.questions(settings, t, prefix="full-", limit=None, data="official")
        with gr.Column(min_width=280):
            paragraph(t("model"), "jg-section")
            side = controls.side(settings, t, Side(), "full", device=state.device)
            price = price_box.build(t, items.by_name["budget"], "full-")
    repeat = pane("full-repeat")
    target, has_key = operator_target()
    push_when_done = gr.Checkbox(
        False,
        label=t("wandb_when_done"),
        info=target,
        visible=has_key and not settings.public,
        elem_id="full-wandb-when-done",
    )
    with gr.Row():
        run = run_button.build(state, t, KIND, t("full_run"), "full-run", interactive=not settings.public)
    verdict, says, status = pane("full-verdict"), pane("full-run-says"), run_button.status_pane("full-status")
    board = pane("full-board")
    name = gr.Textbox("", visible=False, elem_id="full-name")
    open_items = gr.Button(t("open_items"), elem_id="open-full", visible=False)
    export = export_controls.build(t, (None, "full-export", "full-file"), visible=False)
    exported = pane("full-exported")
    push = wandb_panel.build(
        state, t, "full", lambda values, _: Selection(str(values[name] or "")), [name], visible=False
    )
    tab = FullTab(
        state=state,
        public_note=public_note,
        unfinished=unfinished,
        resume=resume,
        form=RequestForm(items, side, notes_beside(), price),
        repeat=repeat,
        push_when_done=push_when_done,
        checks=PromptCheck(state),
        verdict=verdict,
        run=RunButton(state, KIND, "full_run", status, *run, says),
        status=status,
        board=board,
        name=name,
        open_items=open_items,
        export=export,
        exported=exported,
        push=push,
    )
    tab.connect()
    return tab


def start_full_run(state: AppState, owner: str, request: RunRequest, *, push: bool = False) -> Job:
    """Start a run that lets shorter work run in between, and push it at its end.

    Raises:
        InputError: the server is public, or a full run is active.
    """
    if state.settings.public:
        raise InputError("A public server makes no full runs. Run the application on your own machine.")

    def push_run(job: Job) -> None:
        if push:
            state.grant_access(job)
            start_push(state, owner, Selection(pair_of(job).a))

    return state.jobs.start_runs(owner, KIND, request, preemptible=True, on_done=push_run)


def _is_resumable(state: AppState, run: StoredRun) -> bool:
    """Whether this page can ask for the very same run again."""
    try:
        return RunRequest.of_spec(state.library.spec(run.path)) is not None
    except StoreError:
        return False


def _board(state: AppState, job: Job, lang: str) -> str:
    state.grant_access(job)
    pair = pair_of(job)
    try:
        report = state.report(job.owner, pair.a)
    except StoreError:
        return views.empty(word("full_empty", lang))
    if not any(task.n for task in report.tasks.values()):
        return views.empty(word("full_empty", lang))
    return comparison.board_html(state, job.owner, Pair(pair.a, ids_a=pair.ids_a), lang, links=False)
