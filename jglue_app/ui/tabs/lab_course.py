"""The six steps of the course: each an item and one or two ways to ask it. Their texts are labels of the page."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import gradio as gr

from jglue_app.data import files
from jglue_app.messages import word
from jglue_app.results.showcase import SHIPPED
from jglue_app.runs.request import Side
from jglue_app.ui import views
from jglue_app.ui.controls import T, pane
from jglue_app.ui.events import FOLLOWS_JOB, PRIVATE, Updates
from jglue_app.ui.guard import errors_shown_in
from jglue_app.ui.lab_jobs import ANSWER, start_answer
from jglue_app.ui.progress import follow, stop_handler
from jglue_app.ui.state import AppState
from jglue_app.ui.tabs.lab_item import answer_views
from jglue_app.ui.views import comparison
from jglue_app.ui.views.request import side_text
from jglue_app.ui.visitor import language, page_id, visitor_id

BASE = Side("gemma-3-270m")


@dataclass(frozen=True, slots=True)
class Step:
    """One step with its live example."""

    name: str
    """Its texts are the labels `course_<name>_title`, `_text` and `_look`."""
    task: str
    item: str
    """Id of one of our sample items."""
    sides: tuple[Side, ...]
    """Ways in which the model that comes with the application is asked, one after the other."""
    stored: tuple[str, ...] = ()
    """Shipped runs whose answer to the item is shown as well."""


STEPS = (
    Step("base", "marc_ja", "sm001", (BASE,)),
    Step("form", "jcommonsenseqa", "900042", (BASE,)),
    Step("shots", "marc_ja", "sm001", (BASE, Side("gemma-3-270m", shots=3))),
    Step(
        "chat",
        "jnli",
        "sn008",
        (Side("gemma-3-270m", "alpaca", shots=3), Side("gemma-3-270m", "rinna", shots=3)),
        stored=("base-3-shot", "chat-3-shot"),
    ),
    Step("ranking", "marc_ja", "sm014", (BASE,)),
    Step("leaderboards", "marc_ja", "sm027", (BASE,)),
)
VIEW = "course"
"""What a page shows in this place is the name of a step."""


@dataclass(frozen=True, slots=True, eq=False)
class CourseTab:
    """The components, and what happens with them."""

    state: AppState
    step: gr.Radio
    text: gr.HTML
    run: gr.Button
    stop: gr.Button
    next: gr.Button
    status: gr.HTML
    result: gr.HTML

    def connect(self) -> None:
        """Listen to the events."""
        views_of_step = [self.text, self.status, self.result]
        self.step.change(self.turn_to, self.step, views_of_step, **PRIVATE)
        gr.on(None, self.show, self.step, views_of_step, **PRIVATE)
        self.next.click(_name_after, self.step, self.step, api_visibility="private", queue=False)
        ask = errors_shown_in(self.status, self.ask)
        self.run.click(ask, self.step, [self.status, self.result], **FOLLOWS_JOB)
        self.stop.click(stop_handler(self.state, ANSWER), None, self.status, **FOLLOWS_JOB)

    def show(self, request: gr.Request, name: str) -> Updates:
        """The text of a step."""
        self.state.set_current_view(page_id(request), VIEW, name)
        return {self.text: _step_html(self.state, request, _step(name)), self.status: "", self.result: ""}

    def turn_to(self, request: gr.Request, name: str) -> Updates:
        """The text of another step; an answer that is still on its way belongs to the step before."""
        job = self.state.jobs.latest(visitor_id(request), ANSWER)
        if job is not None and job.active:
            self.state.jobs.stop(job)
        return self.show(request, name)

    def ask(self, request: gr.Request, name: str) -> Iterator[Updates]:
        """Have the model answer the step's item."""
        step, lang = _step(name), language(request)
        items = files.load(self.state.settings, step.task, data="sample").items
        item = next(item for item in items if item.id == step.item)
        job = start_answer(self.state, visitor_id(request), dict(zip("AB", step.sides, strict=False)), item)

        def draw(last: bool) -> Updates:
            status, answers = answer_views(self.state, job, lang, last)
            if not answers:
                return {self.status: status}
            hint = views.render("course_hint", {"text": word(f"course_{step.name}_look", lang)}, lang)
            return {self.status: status, self.result: hint + answers}

        for updates in follow(job, draw):
            if not self.state.is_current_view(page_id(request), VIEW, name):
                yield {self.status: ""}  # The last update may have arrived after the turn.
                return
            yield updates


def build(state: AppState, t: T) -> CourseTab:
    """Put the course into the surrounding Blocks."""
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
        next_ = gr.Button(t("course_next"), elem_id="course-next", scale=1)
    tab = CourseTab(state, step, text, run, stop, next_, pane("course-status"), pane("course-result"))
    tab.connect()
    return tab


def _step(name: str) -> Step:
    """The step of a name; the first one for any other."""
    return next((step for step in STEPS if step.name == name), STEPS[0])


def _name_after(name: str) -> str:
    names = [step.name for step in STEPS]
    return names[(names.index(name) + 1) % len(names)] if name in names else names[0]


def _step_html(state: AppState, request: gr.Request, step: Step) -> str:
    lang = language(request)
    stored = ""
    if step.stored:
        names = dict(zip("ab", (SHIPPED + run for run in step.stored), strict=False))
        stored = comparison.item_html(state, visitor_id(request), names, step.task, step.item, lang, steps=False)
    payload = {
        "number": STEPS.index(step) + 1,
        "of": len(STEPS),
        "title": word(f"course_{step.name}_title", lang),
        "paragraphs": word(f"course_{step.name}_text", lang).split("\n"),
        "sides": [{"name": n, "text": side_text(s, lang)} for n, s in zip("AB", step.sides, strict=False)],
    }
    return views.render("course_step", payload, lang) + stored
