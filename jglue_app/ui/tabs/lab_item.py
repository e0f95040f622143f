"""The part of the Prompt lab that shows one item in two formats, token by token, and has a model answer it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import gradio as gr
from gradio.blocks import Block
from gradio.components import Component

from jglue_app import prompt_lab
from jglue_app.backends.named_models import model_ids
from jglue_app.data import files
from jglue_app.errors import InputError, JglueAppError, StoreError
from jglue_app.messages import word
from jglue_app.prompt_lab import Foreseen
from jglue_app.runs.request import Side
from jglue_app.tasks import TASKS, get_task
from jglue_app.types import Item, is_sample
from jglue_app.ui import controls, views
from jglue_app.ui.controls import T, pane, paragraph
from jglue_app.ui.events import FOLLOWS_JOB, LATEST, PRIVATE, Updates, Values
from jglue_app.ui.guard import errors_shown_in
from jglue_app.ui.jobs import Job
from jglue_app.ui.lab_jobs import ANSWER, INSPECT, inspect_prompt, read_budget, start_answer, start_foresight
from jglue_app.ui.model_box import model_box
from jglue_app.ui.progress import follow, going_html, progress_html, stop_handler, wait_for
from jglue_app.ui.state import AppState
from jglue_app.ui.stop_other import StopOther, stop_other
from jglue_app.ui.tabs.lab_controls import GoldControls, PromptControls, gold_controls, prompt_controls
from jglue_app.ui.views.prompt import answers_view, prompt_view
from jglue_app.ui.views.request import side_text
from jglue_app.ui.visitor import language, visitor_id

MAX_FIELDS = max(len(task.fields) for task in TASKS.values())
MAX_LISTED = 200
"""Items offered in the list; any other can be named by its id."""
FIRST_TASK = "jnli"
NOTHING_LOADED: tuple[str, dict[str, str]] = ("", {})
BRING_INTO_VIEW = "() => globalThis.jgBringIntoView?.('%s', '%s')"
"""Of a button and the place of its result; `static/page.js` has the function."""


@dataclass(frozen=True, slots=True, eq=False)
class ItemTab:
    """The components, and what happens with them."""

    state: AppState
    task: gr.Dropdown
    data: gr.Radio
    chosen: gr.Dropdown
    """Its value is the id of an item and, behind a blank, its question."""
    fields: list[gr.Textbox]
    gold: GoldControls
    loaded: gr.State
    """Id and fields of the item as it was chosen: once a field is another, the item is the visitor's own."""
    model: gr.HTML
    budget: gr.Number
    a: PromptControls
    b: PromptControls
    inspect: gr.Button
    foresee: gr.Button
    run: gr.Button
    stop: gr.Button
    other: StopOther
    status: gr.HTML
    answers: gr.HTML
    tokens: gr.HTML

    @property
    def inputs(self) -> list[Component]:
        """What is asked, and how."""
        item = [self.task, self.data, self.chosen, *self.fields, *self.gold.components, self.loaded]
        return [*item, self.model, *self.a.components, *self.b.components]

    def connect(self) -> None:
        """Listen to the events."""
        inputs: set[Block] = set(self.inputs)
        texts = [self.status, *self.fields, *self.gold.components, self.loaded]
        load_items = errors_shown_in(self.status, self.load_items)
        # `input` is what people do; filling from elsewhere must not load another item over it.
        for component in (self.task, self.data):
            component.input(load_items, {self.task, self.data}, [self.chosen, *texts], **LATEST)
        load_item = errors_shown_in(self.status, self.load_item)
        self.chosen.input(load_item, {self.task, self.data, self.chosen}, texts, **LATEST)
        gr.on(None, errors_shown_in(self.status, self.on_load), None, [self.chosen, *texts], **PRIVATE)
        inspect = errors_shown_in(self.status, self.show_tokens)
        ran = [self.status, self.other.button]
        shown = self.inspect.click(inspect, inputs, [self.status, self.tokens], **FOLLOWS_JOB)
        foresee = errors_shown_in(self.status, self.show_next)
        foreseen = self.foresee.click(foresee, {*inputs, self.budget}, [*ran, self.tokens], **FOLLOWS_JOB)
        ask = errors_shown_in(self.status, self.ask)
        answered = self.run.click(ask, {*inputs, self.budget}, [*ran, self.answers], **FOLLOWS_JOB)
        for event, button, result in (
            (shown, self.inspect, self.tokens),
            (foreseen, self.foresee, self.tokens),
            (answered, self.run, self.answers),
        ):
            event.then(None, None, None, js=BRING_INTO_VIEW % (button.elem_id, result.elem_id))
        self.a.connect()
        self.b.connect()
        self.other.connect()
        self.stop.click(stop_handler(self.state, ANSWER), None, self.status, **FOLLOWS_JOB)

    # --- the item -------------------------------------------------------------------------------------------

    def load_items(self, request: gr.Request, values: Values) -> Updates:
        """The items of a subset, the first one chosen."""
        return self._first_of(values[self.task], values[self.data], language(request))

    def on_load(self, request: gr.Request) -> Updates:
        """The items of the first subset."""
        return self._first_of(FIRST_TASK, "sample", language(request))

    def _first_of(self, task: str, data: str, lang: str) -> Updates:
        items = files.load(self.state.settings, get_task(task).name, data=data).items
        choices = [f"{item.id} {views.question(item)}" for item in items[:MAX_LISTED]]
        choice = gr.update(choices=choices, value=choices[0])
        return {self.status: "", self.chosen: choice, **self._texts(items[0], lang)}

    def load_item(self, request: gr.Request, values: Values) -> Updates:
        """The item that was chosen or named."""
        id_ = _id_in(values[self.chosen])
        items = files.load(self.state.settings, get_task(values[self.task]).name, data=values[self.data]).items
        item = next((item for item in items if item.id == id_), None)
        if item is None:
            raise InputError("There is no item {id}. Choose one of the list.", id=id_[:50])
        return {self.status: "", **self._texts(item, language(request))}

    def _texts(self, item: Item, lang: str) -> Updates:
        """Values of the fields and the gold answer."""
        updates: Updates = {box: gr.update(value="", visible=False) for box in self.fields}
        for box, (name, text) in zip(self.fields, item.fields.items(), strict=False):
            lines = 3 if len(text) > 60 else 1
            label = word(f"field_{name}", lang, default=name)
            updates[box] = gr.update(value=text, label=label, visible=True, lines=lines)
        return {**updates, **self.gold.fill(item, lang), self.loaded: (item.id, dict(item.fields))}

    def fill_from(self, request: gr.Request, chosen: Mapping[str, Any]) -> Updates:
        """Values of `inputs` from an item of one or two stored runs, as it was chosen in the browser."""
        lang, owner = language(request), visitor_id(request)
        task, id_ = str(chosen.get("task")), str(chosen.get("id"))
        runs = []
        for side in ("a", "b"):
            try:
                runs.append(self.state.data(owner, str(chosen.get(side) or "")))
            except StoreError:
                continue
        item = next((run.items[task][id_] for run in runs if id_ in run.items.get(task, {})), None)
        if item is None:
            return {}
        first = runs[0].spec
        other = runs[-1].spec
        other_prompt = other.prompt
        if other.model != first.model or other.prompt == first.prompt:
            other_prompt = replace(first.prompt, format="alpaca" if first.prompt.format == "plain" else "plain")
        label = f"{item.id} {views.question(item)}"
        return {
            self.task: task,
            self.data: "sample" if is_sample(first.data_version) else "official",
            self.chosen: gr.update(choices=[label], value=label),
            **self._texts(item, lang),
            self.model: first.model.id,
            **self.a.fill(first.prompt, task),
            **self.b.fill(other_prompt, task),
        }

    def _read(self, values: Values) -> tuple[Item, dict[str, Side]]:
        """The item as it was typed, and the sides A and B.

        Raises:
            InputError: it cannot be asked.
        """
        task = get_task(str(values[self.task]))
        texts = {name: str(values[box] or "") for name, box in zip(task.fields, self.fields, strict=False)}
        id_, fields = values[self.loaded] or NOTHING_LOADED
        # An item of which a word was changed is another one, and the visitor's own.
        own = not id_ or any(text.strip() != fields.get(name, "").strip() for name, text in texts.items())
        gold = self.gold.read(values, task.name)
        item = prompt_lab.make_item(task, texts, gold, prompt_lab.TYPED if own else id_)
        model = values[self.model]
        return item, {"A": self.a.read(values, model), "B": self.b.read(values, model)}

    # --- what is made of it -----------------------------------------------------------------------------------

    def show_tokens(self, request: gr.Request, values: Values) -> Iterator[Updates]:
        """Both prompts token by token."""
        lang, data = language(request), str(values[self.data])
        reading: Updates = {self.status: views.note(word("lab_reading", lang))}
        yield {**reading, self.tokens: ""}
        item, sides = self._read(values)

        def work(job: Job) -> None:
            job.result = [inspected_html(self.state, side, item, name, lang, job, data) for name, side in sides.items()]

        job = self.state.jobs.start_on_cpu(visitor_id(request), INSPECT, work)
        yield from wait_for(self.state, job, reading)
        yield {self.status: "", self.tokens: views.render("side_by_side", {"parts": job.result}, lang)}

    def show_next(self, request: gr.Request, values: Values) -> Iterator[Updates]:
        """Both prompts with the tokens that the model expects at each place."""
        lang = language(request)
        item, sides = self._read(values)
        if sides["A"] == sides["B"]:
            del sides["B"]
        budget = read_budget(values[self.budget])
        job = start_foresight(self.state, visitor_id(request), sides, item, str(values[self.data]), budget)

        def draw(last: bool) -> Updates:
            if not last or not job.result:
                status = going_html(self.state.jobs, job, lang, done=" ")
                return {self.status: status, **self.other.update(job)}
            parts = [foreseen_html(found, sides[name], name, lang) for name, found in job.result.items()]
            tokens = views.render("side_by_side", {"parts": parts}, lang)
            status = "" if job.state == "done" else progress_html(job, lang)
            return {self.status: status, self.tokens: tokens, **self.other.update(job)}

        yield {self.tokens: ""}
        yield from follow(job, draw)

    def ask(self, request: gr.Request, values: Values) -> Iterator[Updates]:
        """Have the model answer the item in both ways, or in one if they are the same."""
        lang = language(request)
        item, sides = self._read(values)
        if sides["A"] == sides["B"]:
            del sides["B"]
        budget = read_budget(values[self.budget])
        job = start_answer(self.state, visitor_id(request), sides, item, str(values[self.data]), budget)

        def draw(last: bool) -> Updates:
            status, answers = answer_views(self.state, job, lang, last)
            updates: Updates = {self.status: status, **self.other.update(job)}
            return {**updates, self.answers: answers} if answers else updates

        yield {self.answers: ""}
        yield from follow(job, draw)


def _id_in(choice: str | None) -> str:
    """The id of an item of the list, or what was typed instead."""
    return str(choice or "").split(" ")[0]


def answer_views(state: AppState, job: Job, lang: str, last: bool) -> tuple[str, str]:
    """HTML of the status of a job of `start_answer`, and of the answers once it has ended with any."""
    if not last:
        return going_html(state.jobs, job, lang), ""
    answers = views.render("item", answers_view(job.result, lang), lang) if job.result else ""
    return progress_html(job, lang, done=word("answered", lang)), answers


def foreseen_html(found: Foreseen, side: Side, name: str, lang: str) -> str:
    """One prompt token by token, with what the model expects at each place."""
    payload = prompt_view(found.inspected, side_text(side, lang), name, lang, found)
    return views.render("prompt_tokens", payload, lang)


def inspected_html(state: AppState, side: Side, item: Item, name: str, lang: str, job: Job, data: str) -> str:
    """One prompt token by token; a sentence where there can be none."""
    try:
        prompt = inspect_prompt(state, side, item, job, data)
    except JglueAppError as e:
        return views.failure(e, lang, head="cannot_render")
    return views.render("prompt_tokens", prompt_view(prompt, side_text(side, lang), name, lang), lang)


def build(state: AppState, t: T) -> ItemTab:
    """Put the tab's content into the surrounding Blocks."""
    with gr.Row(elem_classes="jg-controls"):
        with gr.Column(min_width=300):
            paragraph(t("lab_item"), "jg-section")
            task = gr.Dropdown(controls.subset_choices(), value=FIRST_TASK, label=t("subset"), elem_id="lab-task")
            data = gr.Radio(
                [(t("data_sample"), "sample"), (t("data_official"), "official")],
                value="sample",
                label=t("data"),
                elem_id="lab-data",
            )
            chosen = gr.Dropdown([], value=None, allow_custom_value=True, label=t("lab_pick"), elem_id="lab-item")
            fields = [gr.Textbox(label=f"{i}", lines=1, elem_id=f"lab-field-{i}") for i in range(MAX_FIELDS)]
            gold = gold_controls(t)
            loaded = gr.State(None)
        with gr.Column(min_width=300):
            paragraph(t("lab_ways"), "jg-section")
            model = model_box(state.settings, "lab-model", model_ids(state.settings)[0], device=state.device)
            budget = gr.Number(0, minimum=0, label=t("lab_budget"), info=t("lab_budget_info"), elem_id="lab-budget")
            a, b = prompt_controls(t, "A", "plain"), prompt_controls(t, "B", "alpaca")
    with gr.Row():
        inspect = gr.Button(t("lab_look"), variant="primary", elem_id="lab-look", scale=2)
        foresee = gr.Button(t("lab_next"), elem_id="lab-next", scale=2)
        run = gr.Button(t("lab_run"), elem_id="lab-run", scale=2)
        stop = gr.Button(t("stop"), elem_id="lab-stop", scale=1)
        other = StopOther(state, ANSWER, stop_other(t, "lab-other"))
    status, answers = pane("lab-status"), pane("lab-answers")
    tokens = pane("lab-tokens", js_on_load=(views.STATIC / "lab.js").read_text("utf-8"))
    tab = ItemTab(
        *(state, task, data, chosen, fields, gold, loaded, model, budget, a, b),
        *(inspect, foresee, run, stop, other, status, answers, tokens),
    )
    tab.connect()
    return tab
