"""The Compare tab: choose questions and two models, run, and look at every answer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import gradio as gr
from gradio.blocks import Block

from jglue_app.backends.named_models import model_ids
from jglue_app.errors import JglueAppError, UnknownNameError
from jglue_app.messages import listed, say, word
from jglue_app.results import showcase
from jglue_app.runs.request import RunRequest
from jglue_app.runs.request_text import from_url_query
from jglue_app.ui import controls, views
from jglue_app.ui.address import Address, from_query
from jglue_app.ui.controls import DEFAULT_B, T, pane
from jglue_app.ui.events import AS_TYPED, FOLLOWS_JOB, PRIVATE, UNCHANGED, Updates, Values, changes_of
from jglue_app.ui.form import RequestForm
from jglue_app.ui.guard import errors_shown_in
from jglue_app.ui.progress import follow, stop_handler
from jglue_app.ui.state import AppState
from jglue_app.ui.tabs import report_controls
from jglue_app.ui.tabs.compare_panel import KIND, ComparisonPanel, request_of
from jglue_app.ui.tabs.report_controls import ReportControls
from jglue_app.ui.views import comparison
from jglue_app.ui.views.request import NOT_ONE_COMMAND, no_repeat_html, repeat_html, setup_html
from jglue_app.ui.visitor import language, page_id, visitor_id

DEFAULT = RunRequest(b=DEFAULT_B)


@dataclass(frozen=True, slots=True, eq=False)
class CompareTab:
    """The components of the tab, and what happens with them."""

    state: AppState
    setup: gr.HTML
    run: gr.Button
    stop: gr.Button
    limits: gr.HTML
    settings: gr.Accordion
    """Around the form."""
    form: RequestForm
    repeat: gr.HTML
    panel: ComparisonPanel
    report: ReportControls

    @property
    def outputs(self) -> list[Block]:
        """What `show_runs` has values for."""
        return [*self.request, *self.panel.components]

    @property
    def request(self) -> list[Block]:
        """What shows what is requested: the form, its summary, and how to repeat it."""
        return [self.settings, *self.form.groups, *self.form.components, self.setup, self.repeat]

    def connect(self) -> None:
        """Listen to the events of the tab."""
        form = self.form
        inputs: set[Block] = set(form.components)
        gr.on(changes_of(form.components), self.describe, inputs, [self.setup, self.repeat], **AS_TYPED)
        assert form.use_b is not None
        assert form.b is not None
        side_b = list(form.b.components().values())
        form.use_b.change(
            lambda on: {c: gr.update(interactive=on) for c in side_b},
            form.use_b,
            side_b,
            api_visibility="private",
            queue=False,
        )
        self.run.click(errors_shown_in(self.panel.status, self.start), inputs, self.panel.components, **FOLLOWS_JOB)
        self.stop.click(stop_handler(self.state, KIND), None, self.panel.status, **FOLLOWS_JOB)
        self.report.connect(self.state)
        self.panel.pairs.input(self.choose_pair, self.panel.pairs, self.panel.components, **PRIVATE)
        # Every choice is answered, however quickly it follows the last; the list asks again if they come out of order.
        self.panel.items.select(
            self.open_item, None, self.panel.item, trigger_mode="multiple", concurrency_limit=8, **PRIVATE
        )
        gr.on(
            None,
            self.on_load,
            None,
            [*self.request, self.limits, *self.panel.components],
            concurrency_limit=8,
            **PRIVATE,
        ).then(self.follow_latest, None, self.panel.components, **FOLLOWS_JOB)

    # --- the request ----------------------------------------------------------------------------------------

    def describe(self, request: gr.Request, values: Values) -> Updates:
        """The summary of what the form asks for, or what is wrong with it."""
        lang = language(request)
        try:
            return self._summary(self.form.read(self.state.settings, values), lang)
        except JglueAppError as e:
            return {self.setup: views.note(say(e.message, lang)), self.repeat: no_repeat_html(e.message, lang)}

    def _summary(self, request: RunRequest, lang: str) -> Updates:
        return {self.setup: setup_html(request, lang), self.repeat: repeat_html(request, lang)}

    def fill(self, request: RunRequest, lang: str) -> Updates:
        """Values of `request` that ask for something. The settings open if a group in them does."""
        updates = {**self.form.fill(request), **self._summary(request, lang)}
        if any(group in updates for group in self.form.groups):
            updates[self.settings] = gr.update(open=True)
        return updates

    # --- a run ----------------------------------------------------------------------------------------------

    def start(self, request: gr.Request, values: Values) -> Iterator[Updates]:
        """Start the runs that the form asks for and follow them."""
        lang, page = language(request), page_id(request)
        yield {self.panel.status: views.note(word("loading", lang))}
        job = self.state.jobs.start_runs(visitor_id(request), KIND, self.form.read(self.state.settings, values))
        self.state.set_current_view(page, KIND, job.id)
        yield from follow(job, self.panel.drawing(job, lang, page))

    def follow_latest(self, request: gr.Request) -> Iterator[Updates]:
        """Follow the visitor's job if it is active, after the page was loaded; in its status only, if the address
        names stored runs."""
        job = self.state.jobs.latest(visitor_id(request), KIND)
        yield UNCHANGED
        if job is not None and job.active:
            page, address = page_id(request), _address(request)
            if not address.run_a:
                self.state.set_current_view(page, KIND, job.id)
            yield from follow(job, self.panel.drawing(job, language(request), page, address))

    # --- stored runs ----------------------------------------------------------------------------------------

    def choose_pair(self, request: gr.Request, name: str) -> Updates:
        """Show a pair of runs that came with the application."""
        self.state.set_current_view(page_id(request), KIND, name)
        return self._keep_running_status(request, self.panel.shipped_pair(visitor_id(request), language(request), name))

    def open_item(self, request: gr.Request, event: gr.EventData) -> str:
        """The item whose row was chosen in the list."""
        data = event._data if isinstance(event._data, dict) else {}
        names = {side: str(data.get(side) or "")[:200] for side in ("a", "b")}
        task, id_ = str(data.get("task"))[:100], str(data.get("id"))[:200]
        return comparison.item_html(self.state, visitor_id(request), names, task, id_, language(request))

    def show_runs(self, request: gr.Request, a: str, b: str = "", view: Address | None = None) -> Updates:
        """Show one or two stored runs, and in the form how they were made."""
        lang, owner = language(request), visitor_id(request)
        made_by = request_of(self.state, owner, a, b)
        self.state.set_current_view(page_id(request), KIND, (a, b))
        if made_by is not None:
            updates = self.fill(made_by, lang)
        else:
            updates = {self.repeat: no_repeat_html(NOT_ONE_COMMAND, lang)}
        return {**updates, **self._keep_running_status(request, self.panel.stored_pair(owner, lang, a, b, view))}

    def _keep_running_status(self, request: gr.Request, updates: Updates) -> Updates:
        """Views of stored runs without the status, which stays that of a run that is active."""
        job = self.state.jobs.latest(visitor_id(request), KIND)
        if job is None or not job.active:
            return updates
        return {component: value for component, value in updates.items() if component is not self.panel.status}

    # --- a page that is opened ------------------------------------------------------------------------------

    def on_load(self, request: gr.Request) -> Updates:
        """What a page shows first: the runs of its address, the visitor's run, the request of a link, or a shipped
        pair."""
        lang, owner = language(request), visitor_id(request)
        limits: Updates = {self.limits: _limits_html(self.state, lang) if self.state.settings.public else ""}
        job = self.state.jobs.latest(owner, KIND)
        try:
            address = from_query(dict(request.query_params))
            linked = from_url_query(dict(request.query_params))
            _check_models(self.state, linked)
            for name in filter(None, (address.run_a, address.run_b)):
                self.state.stored(owner, name)
            if address.run_a:
                return {**limits, **self.show_runs(request, address.run_a, address.run_b, address)}
        except JglueAppError as e:
            shipped = self.panel.shipped_pair(owner, lang)
            return {**self.fill(DEFAULT, lang), **limits, **shipped, self.panel.status: views.failure(e, lang)}
        shipped = self.panel.shipped_pair(owner, lang, view=address)
        if job is not None and (job.active or linked in (None, job.request)):
            return {**self.fill(job.request, lang), **limits, **shipped, **self.panel.job_so_far(job, lang, address)}
        if linked:
            # The address stays that of the request, which is not of the comparison below it.
            del shipped[self.panel.items]["link"]
            shipped[self.panel.status] = views.note(word("linked", lang))
        return {**self.fill(linked or DEFAULT, lang), **limits, **shipped}


def build(state: AppState, t: T) -> CompareTab:
    """Put the tab's content into the surrounding Blocks."""
    with gr.Row(elem_classes="jg-top"):
        with gr.Column(scale=6, min_width=300):
            setup = pane("setup", setup_html(DEFAULT, "ja"))
        run = gr.Button(t("run"), variant="primary", elem_id="run", scale=2, min_width=140)
        stop = gr.Button(t("stop"), elem_id="stop", scale=1, min_width=90)
    status = pane("status")
    limits = pane("limits", visible=state.settings.public)
    with gr.Accordion(t("settings"), open=False, elem_id="settings") as around_form:
        form = _form(state, t)
    with gr.Accordion(t("repeat"), open=False, elem_id="repeat-box"):
        repeat = pane("repeat")
    pairs = gr.Radio(
        [(t(f"showcase_{pair.name}"), pair.name) for pair in showcase.PAIRS],
        value=showcase.PAIRS[0].name,
        label=t("showcase_pick"),
        elem_id="pairs",
        visible=showcase.is_available(),
    )
    origin = pane("origin")
    board = pane("board")
    gr.Markdown(t("items_head"), elem_classes="jg-section", elem_id="items-head")
    with gr.Row(elem_classes="jg-explore"):
        with gr.Column(scale=3, min_width=330, elem_classes="jg-explore-list"):
            items = item_list()
        with gr.Column(scale=6, min_width=330):
            # Where its buttons for images to share are first drawn; they are in the first card too.
            item = pane("item", js_on_load=(views.STATIC / "share.js").read_text("utf-8"))
    report = report_controls.build(t)
    tab = CompareTab(
        state=state,
        setup=setup,
        run=run,
        stop=stop,
        limits=limits,
        settings=around_form,
        form=form,
        repeat=repeat,
        panel=ComparisonPanel(
            state=state, status=status, pairs=pairs, origin=origin, board=board, items=items, item=item
        ),
        report=report,
    )
    tab.connect()
    return tab


def _form(state: AppState, t: T) -> RequestForm:
    settings = state.settings
    with gr.Row(elem_classes="jg-controls"):
        with gr.Column(min_width=280):
            gr.Markdown(t("what"), elem_classes="jg-section")
            run = controls.questions(settings, t)
        with gr.Column(min_width=280):
            gr.Markdown(t("side_a"), elem_classes=["jg-section", "jg-section-a"])
            a = controls.side(settings, t, DEFAULT.a, "a")
        with gr.Column(min_width=280):
            gr.Markdown(t("side_b"), elem_classes=["jg-section", "jg-section-b"])
            use_b = gr.Checkbox(True, label=t("use_b"), elem_id="use-b")
            b = controls.side(settings, t, DEFAULT_B, "b", same=True)
    return RequestForm(run, a, use_b, b)


def item_list() -> gr.HTML:
    """The list of items; `static/items.js` draws its value."""
    return gr.HTML(
        None,
        html_template='<div class="jg-tools"></div><div class="jg-list" role="listbox" tabindex="0"></div>',
        js_on_load=(views.STATIC / "items.js").read_text("utf-8"),
        apply_default_css=False,
        elem_id="items",
    )


def _address(request: gr.Request) -> Address:
    """What the address of a page names; nothing where it cannot be read, which `on_load` tells."""
    try:
        return from_query(dict(request.query_params))
    except JglueAppError:
        return Address()


def _check_models(state: AppState, linked: RunRequest | None) -> None:
    """Refuse a link that names a model which a public server does not run; raises UnknownNameError."""
    for side in linked.sides.values() if linked and state.settings.public else ():
        if side.model not in (known := model_ids(state.settings)):
            raise UnknownNameError("model", side.model[:100], known)


def _limits_html(state: AppState, lang: str) -> str:
    """What a public server does not do, said beforehand."""
    settings, names = state.settings, model_ids(state.settings)
    lines = [
        word("public_models", lang).format(len(names), listed(names, lang)),
        word("public_items", lang).format(settings.max_items, round((settings.max_seconds or 0) / 60)),
        word("public_one", lang),
        word("public_own", lang),
    ]
    return views.render("limits", {"lines": lines}, lang)
