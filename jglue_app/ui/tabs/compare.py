"""The Compare tab: choose questions and two models, run, and look at every answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import gradio as gr
from gradio.blocks import Block

from jglue_app.backends.named_models import model_ids
from jglue_app.errors import JglueAppError, UnknownNameError
from jglue_app.messages import say, word
from jglue_app.results import showcase
from jglue_app.runs.request import RunRequest
from jglue_app.runs.request_text import from_url_query
from jglue_app.ui import run_button, views
from jglue_app.ui.address import Address, from_query
from jglue_app.ui.controls import T, pane, paragraph
from jglue_app.ui.events import AS_TYPED, FOLLOWS_JOB, LATEST, PRIVATE, UNCHANGED, Updates, Values
from jglue_app.ui.form import RequestForm
from jglue_app.ui.guard import errors_shown_in
from jglue_app.ui.jobs import Job
from jglue_app.ui.prompt_check import PromptCheck
from jglue_app.ui.run_button import STOP_WORDS, Drawing, RunButton
from jglue_app.ui.state import AppState
from jglue_app.ui.tabs import report_controls
from jglue_app.ui.tabs.compare_controls import (
    DEFAULT,
    form_parts,
    in_sight,
    item_list,
    limits_html,
    protocol_choice,
    stored_pairs,
)
from jglue_app.ui.tabs.compare_panel import KIND, OFFICIAL, OWN, ComparisonPanel, names_of, pair_of, request_of
from jglue_app.ui.tabs.report_controls import ReportControls
from jglue_app.ui.views import comparison
from jglue_app.ui.views.comparison import Pair
from jglue_app.ui.views.request import NOT_ONE_COMMAND, no_repeat_html, repeat_html, setup_html
from jglue_app.ui.visitor import language, page_id, visitor_id


@dataclass(frozen=True, slots=True, eq=False)
class CompareTab:
    """The components of the tab, and what happens with them."""

    state: AppState
    setup: gr.HTML
    run: RunButton
    checks: PromptCheck
    verdict: gr.HTML
    """On the prompts, beside the button."""
    limits: gr.HTML
    own: gr.Accordion
    """Around all that a run of one's own needs."""
    settings: gr.Accordion
    """Around the form, but for what is always in sight."""
    form: RequestForm
    repeat: gr.HTML
    panel: ComparisonPanel
    report: ReportControls

    @property
    def outputs(self) -> list[Block]:
        """What `show_runs` has values for."""
        return [*self.request, self.panel.protocol, *self.panel.components]

    @property
    def request(self) -> list[Block]:
        """What shows what is requested: the form, its summary, and how to repeat it."""
        return [self.own, self.settings, *self.form.groups, *self.form.outputs, self.setup, self.repeat]

    def connect(self) -> None:
        """Listen to the events of the tab."""
        form = self.form
        inputs: set[Block] = set(form.inputs)
        described = [self.setup, self.repeat, *form.described, *self.run.components]
        gr.on(form.changes, self.describe, inputs, described, **AS_TYPED)
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
        check = {**LATEST, **FOLLOWS_JOB}
        opened = [*form.changes, self.own.expand, self.settings.expand]
        gr.on(opened, self.check_prompts, inputs, self.verdict, **check)
        for chosen in form.connect(self.state):
            chosen.then(self.describe, inputs, described, **AS_TYPED)
            chosen.then(self.check_prompts, inputs, self.verdict, **check)
        followed = [*self.panel.components, *self.run.components, self.own]
        # Beside the button: the status lies below the form.
        beside: Updates = {self.panel.status: "", self.own: gr.update(open=True)}
        press = errors_shown_in(self.run.notice, self.press, beside)
        self.run.button.click(press, {*inputs, self.run.button}, followed, **FOLLOWS_JOB, trigger_mode="multiple")
        self.run.switch.click(errors_shown_in(self.run.notice, self.start, beside), inputs, followed, **FOLLOWS_JOB)
        self.run.other.connect()
        self.report.connect_to_list(self.state)
        self.panel.pairs.input(self.choose_pair, self.panel.pairs, self.panel.components, **LATEST)
        choose = errors_shown_in(self.panel.status, self.choose_protocol)
        self.panel.protocol.input(choose, self.panel.protocol, self.panel.components, **LATEST)
        # The list has fetched the item itself; where it could not, the server is asked as for everything else.
        self.panel.items.select(None, None, self.panel.item, js="() => globalThis.jgItem", **LATEST)
        self.panel.items.option_select(
            self.open_item, None, self.panel.item, trigger_mode="multiple", concurrency_limit=8, **PRIVATE
        )
        gr.on(
            None,
            self.on_load,
            None,
            [*self.request, self.limits, self.panel.protocol, *self.panel.components, *self.run.components],
            concurrency_limit=8,
            **PRIVATE,
        ).then(self.follow_latest, None, followed, **FOLLOWS_JOB)

    # --- the request ----------------------------------------------------------------------------------------

    def describe(self, request: gr.Request, values: Values) -> Updates:
        """The summary of what the form asks for, or what is wrong with it."""
        lang = language(request)
        found, beside = self.form.check(self.state.settings, values, lang, self.state.jobs.dtype_paces)
        wanted = None if isinstance(found, JglueAppError) else found
        beside |= self.run.appearance_for(visitor_id(request), lang, wanted)
        if isinstance(found, JglueAppError):
            fault = views.note(say(found.message, lang))
            return {self.setup: fault, self.repeat: no_repeat_html(found.message, lang), **beside}
        return {**self._summary(found, lang), **beside}

    def check_prompts(self, request: gr.Request, values: Values) -> Iterator[str]:
        """What the linter says of the prompts, before anything is loaded."""
        found, _ = self.form.check(self.state.settings, values, language(request))
        if isinstance(found, JglueAppError):
            yield ""
            return
        yield from self.checks.html(visitor_id(request), found, language(request))

    def _summary(self, request: RunRequest, lang: str) -> Updates:
        return {self.setup: setup_html(request, lang), self.repeat: repeat_html(request, lang)}

    def fill(self, request: RunRequest, lang: str) -> Updates:
        """Values of `request` that ask for something. The settings open if a group in them does."""
        updates = {**self.form.fill(self.state.settings, request, lang), **self._summary(request, lang)}
        if any(group in updates for group in self.form.groups):
            updates[self.settings] = gr.update(open=True)
        return updates

    def _opened(self) -> Updates:
        """The form in sight."""
        return {self.own: gr.update(open=True)}

    # --- a run ----------------------------------------------------------------------------------------------

    def press(self, request: gr.Request, values: Values) -> Iterator[Updates]:
        """What the button says: start the runs that the form asks for and follow them, or stop what is going on."""
        yield from self._press(request, values, stops=values[self.run.button] in STOP_WORDS)

    def start(self, request: gr.Request, values: Values) -> Iterator[Updates]:
        """Start the runs that the form asks for, whatever is going on."""
        yield from self._press(request, values, stops=False)

    def _press(self, request: gr.Request, values: Values, *, stops: bool) -> Iterator[Updates]:
        return self.run.press(
            request,
            lambda: self.form.read(self.state.settings, values),
            lambda wanted: self.state.jobs.start_runs(visitor_id(request), KIND, wanted),
            self._drawing(request),
            stops=stops,
        )

    def _drawing(self, request: gr.Request, address: Address | None = None) -> Drawing:
        """Shows a job; of one that goes on only the status, if the address of the page names stored runs."""
        page = page_id(request)

        def draw(job: Job) -> Callable[[bool], Updates]:
            shown = (address.run_a, address.run_b) if address and address.run_a else job.id
            self.panel.now_shows(page, shown)
            return self.panel.drawing(job, language(request), page, address)

        return draw

    def follow_latest(self, request: gr.Request) -> Iterator[Updates]:
        """Follow the visitor's job if it is active, after the page was loaded; in its status only, if the address
        names stored runs."""
        job, page = self.state.jobs.latest(visitor_id(request), KIND), page_id(request)
        yield UNCHANGED
        if self.state.current_view(page, KIND) is None:
            # What is shown came with the document, before the page had an id.
            self.on_load(request)
        if job is not None and job.active:
            address = _address(request)
            yield from self.run.follow(request, job, self._drawing(request, address))

    # --- stored runs ----------------------------------------------------------------------------------------

    def choose_pair(self, request: gr.Request, name: str | None) -> Updates:
        """Show a pair of runs that came with the application. A list that is left with the Tab key sends the value
        that it has anyway; then everything stays as it is."""
        page = page_id(request)
        if name == OWN:
            return self._show_own(request)
        names = next((names_of(pair) for pair in showcase.PAIRS if pair.name == name), None)
        if name is None or names is None or self.state.current_view(page, KIND) in (name, names):
            return UNCHANGED
        self.panel.now_shows(page, name)
        shown = self.panel.shipped_pair(visitor_id(request), language(request), page, name)
        return self._keep_running_status(request, shown)

    def _show_own(self, request: gr.Request) -> Updates:
        """Show again what the visitor has run or chosen."""
        lang, owner, page = language(request), visitor_id(request), page_id(request)
        job = self.state.jobs.latest(owner, KIND)
        view = self.state.current_view(page, OWN, job and job.id)
        if view is None or view == self.state.current_view(page, KIND):
            return UNCHANGED
        if isinstance(view, tuple):
            self.panel.now_shows(page, view)
            return self._keep_running_status(request, self.panel.stored_pair(owner, lang, page, *view))
        if job is None:
            return UNCHANGED
        self.panel.now_shows(page, job.id)
        return self.panel.drawing(job, lang, page)(not job.active)

    def choose_protocol(self, request: gr.Request, name: str) -> Updates:
        """Judge what is shown by another protocol."""
        page, owner = page_id(request), visitor_id(request)
        if name == self.panel.protocol_of(page):
            return UNCHANGED
        self.panel.judge_by(page, name)
        pair = self._pair_on(page, owner)
        return self.panel.judged_again(owner, language(request), pair, page) if pair else UNCHANGED

    def _pair_on(self, page: str, owner: str) -> Pair | None:
        """What an open page shows; None while there is nothing of a run yet."""
        view = self.state.current_view(page, KIND)
        if isinstance(view, tuple):
            return Pair(*view)
        job = self.state.jobs.latest(owner, KIND)
        if job is not None and view == job.id:
            return pair_of(job) if job.runs else None
        shipped = next((pair for pair in showcase.PAIRS if pair.name == view), showcase.PAIRS[0])
        return Pair(*names_of(shipped)) if showcase.is_available() else None

    def open_item(self, request: gr.Request, event: gr.EventData) -> str:
        """The item whose row was chosen in the list."""
        data = event._data if isinstance(event._data, dict) else {}
        names = {side: str(data.get(side) or "")[:200] for side in ("a", "b")}
        task, id_ = str(data.get("task"))[:100], str(data.get("id"))[:200]
        protocol = self.panel.protocol_of(page_id(request))
        return comparison.item_html(
            self.state, visitor_id(request), names, task, id_, language(request), protocol=protocol
        )

    def show_runs(
        self, request: gr.Request, a: str, b: str = "", view: Address | None = None, protocol: str = OFFICIAL
    ) -> Updates:
        """Show one or two stored runs judged by a protocol, and in the form how they were made."""
        lang, owner, page = language(request), visitor_id(request), page_id(request)
        made_by = request_of(self.state, owner, a, b)
        chosen = self.panel.judge_by(page, protocol)
        self.panel.now_shows(page, (a, b))
        if made_by is not None:
            updates = self.fill(made_by, lang)
        else:
            updates = {self.repeat: no_repeat_html(NOT_ONE_COMMAND, lang)}
        shown = self.panel.stored_pair(owner, lang, page, a, b, view)
        return {**updates, **chosen, **self._keep_running_status(request, shown)}

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
        lang, owner, page = language(request), visitor_id(request), page_id(request)
        limits: Updates = {self.limits: limits_html(self.state, lang) if self.state.settings.public else ""}
        limits |= self.run.appearance(owner, lang)
        job = self.state.jobs.latest(owner, KIND)
        if job is not None and job.runs:
            self.state.set_current_view(page, OWN, job.id)
        try:
            address = from_query(dict(request.query_params))
            linked = from_url_query(dict(request.query_params))
            _check_models(self.state, linked)
            for name in filter(None, (address.run_a, address.run_b)):
                self.state.stored(owner, name)
            if address.run_a:
                judge = _protocol_in(address)
                return {**limits, **self.show_runs(request, address.run_a, address.run_b, address, judge)}
        except JglueAppError as e:
            self.panel.now_shows(page, showcase.PAIRS[0].name)
            shipped = self.panel.shipped_pair(owner, lang, page)
            return {**self.fill(DEFAULT, lang), **limits, **shipped, self.panel.status: views.failure(e, lang)}
        self.panel.now_shows(page, showcase.PAIRS[0].name)
        limits |= self.panel.judge_by(page, _protocol_in(address))
        shipped = self.panel.shipped_pair(owner, lang, page, view=address)
        if job is not None and (job.active or linked in (None, job.request)):
            # The card of the shipped pair stays until there is something of the run.
            self.panel.now_shows(page, job.id)
            so_far = self.panel.job_so_far(job, lang, page, address)
            failure = self.run.failure(job, lang)
            return {**self.fill(job.request, lang), **self._opened(), **limits, **shipped, **so_far, **failure}
        if linked:
            limits |= self._opened()
            # The address stays that of the request, which is not of the comparison below it.
            del shipped[self.panel.items]["link"]
            shipped[self.panel.status] = views.note(word("linked", lang))
        return {**self.fill(linked or DEFAULT, lang), **limits, **shipped}


def build(state: AppState, t: T) -> CompareTab:
    """Put the tab's content into the surrounding Blocks."""
    first = pane("first", js_on_load=(views.STATIC / "first.js").read_text("utf-8"))
    with gr.Row(elem_classes="jg-bar"):
        with gr.Accordion(t("try_own"), open=False, elem_id="own") as own:
            with gr.Row(elem_classes="jg-own"):
                places = [gr.Column(scale=5, min_width=220) for _ in range(2)]
                places.append(gr.Column(scale=3, min_width=110))
                with gr.Column(scale=3, min_width=200):
                    run = run_button.build(state, t, KIND, t("run"), "run")
            says, setup, verdict = pane("run-says"), pane("setup", setup_html(DEFAULT, "ja")), pane("verdict")
            limits = pane("limits", visible=state.settings.public)
            with gr.Accordion(t("settings"), open=False, elem_id="settings") as around_form:
                parts = form_parts(state, t)
                repeat = pane("repeat")
            form = in_sight(parts, places, t)
        pairs = stored_pairs(t)
        protocol = protocol_choice(t)
        origin = pane("origin")
    status = run_button.status_pane("status")
    board = pane("board")
    with gr.Row(elem_classes="jg-top"):
        with gr.Column(scale=5, min_width=200):
            paragraph(t("items_head"), "jg-section", elem_id="items-head")
        with gr.Column(scale=2, min_width=220):
            report = report_controls.build(t)
    with gr.Row(elem_classes="jg-explore"):
        with gr.Column(scale=3, min_width=330, elem_classes="jg-explore-list"):
            items = item_list(state)
        with gr.Column(scale=6, min_width=330):
            # Where its buttons for images to share are first drawn; they are in the first card too.
            item = pane("item", js_on_load=(views.STATIC / "share.js").read_text("utf-8"))
    tab = CompareTab(
        state=state,
        setup=setup,
        checks=PromptCheck(state),
        verdict=verdict,
        run=RunButton(state, KIND, "run", status, *run, says, own),
        limits=limits,
        own=own,
        settings=around_form,
        form=form,
        repeat=repeat,
        panel=ComparisonPanel(
            state=state,
            status=status,
            pairs=pairs,
            protocol=protocol,
            origin=origin,
            first=first,
            board=board,
            items=items,
            item=item,
        ),
        report=report,
    )
    tab.connect()
    return tab


def _address(request: gr.Request) -> Address:
    """What the address of a page names; nothing where it cannot be read, which `on_load` tells."""
    try:
        return from_query(dict(request.query_params))
    except JglueAppError:
        return Address()


def _protocol_in(address: Address) -> str:
    """The protocol that an address names for this tab."""
    return address.protocol if address.protocol and address.tab in ("", "compare") else OFFICIAL


def _check_models(state: AppState, linked: RunRequest | None) -> None:
    """Refuse a link that names a model which a public server does not run; raises UnknownNameError."""
    for side in linked.sides.values() if linked and state.settings.public else ():
        if side.model not in (known := model_ids(state.settings)):
            raise UnknownNameError("model", side.model[:100], known)
