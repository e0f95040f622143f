"""The course: each step shows what shipped runs hold of an item, and has a model answer that item live."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import gradio as gr

from jglue_app.data import files
from jglue_app.messages import word
from jglue_app.results import showcase
from jglue_app.ui import views
from jglue_app.ui.controls import T, pane
from jglue_app.ui.events import FOLLOWS_JOB, PRIVATE, Updates
from jglue_app.ui.guard import errors_shown_in
from jglue_app.ui.lab_jobs import ANSWER, start_answer
from jglue_app.ui.progress import follow, stop_handler
from jglue_app.ui.state import AppState
from jglue_app.ui.stepping import NOTHING
from jglue_app.ui.stop_other import StopOther, stop_other
from jglue_app.ui.tabs.course_steps import STEPS, Step
from jglue_app.ui.tabs.lab_item import answer_views
from jglue_app.ui.views import course
from jglue_app.ui.views.request import side_text
from jglue_app.ui.visitor import language, page_id, visitor_id

VIEW = "course"
"""What a page shows in this place is the name of a step."""


@dataclass(frozen=True, slots=True, eq=False)
class CourseTab:
    """The components, and what happens with them."""

    state: AppState
    step: gr.Radio
    text: gr.HTML
    """The step's text, and stored answers that show it."""
    live: gr.HTML
    """How the model is asked live."""
    run: gr.Button
    stop: gr.Button
    other: StopOther
    next: gr.Button
    status: gr.HTML
    result: gr.HTML

    def connect(self) -> None:
        """Listen to the events."""
        views_of_step = [self.text, self.live, self.status, self.result, self.next, self.other.button]
        self.step.change(self.turn_to, self.step, views_of_step, **PRIVATE)
        gr.on(None, self.show, self.step, views_of_step, **PRIVATE)
        self.next.click(_name_after, self.step, self.step, api_visibility="private", queue=False)
        ask = errors_shown_in(self.status, self.ask)
        self.run.click(ask, self.step, [self.status, self.result, self.other.button], **FOLLOWS_JOB)
        self.other.connect()
        self.stop.click(stop_handler(self.state, ANSWER), None, self.status, **FOLLOWS_JOB)

    def show(self, request: gr.Request, name: str) -> Updates:
        """A step with its stored answers."""
        self.state.set_current_view(page_id(request), VIEW, name)
        step, lang = _step(name), language(request)
        is_last = step is STEPS[-1]
        return {
            self.text: step_html(self.state, visitor_id(request), step, lang),
            self.live: live_html(step, lang),
            self.status: "",
            self.result: "",
            **self.other.update(None),
            self.next: gr.update(interactive=not is_last, value=word("course_end" if is_last else "course_next", lang)),
        }

    def turn_to(self, request: gr.Request, name: str) -> Updates:
        """The text of another step; an answer that is still on its way belongs to the step before."""
        job = self.state.jobs.latest(visitor_id(request), ANSWER)
        if job is not None and job.active:
            self.state.jobs.stop(job)
        return self.show(request, name)

    def ask(self, request: gr.Request, name: str) -> Iterator[Updates]:
        """Have the model answer the step's item."""
        step, lang = _step(name), language(request)
        first = step.examples[0]
        items = files.load(self.state.settings, first.task, data="sample").items
        item = next(item for item in items if item.id == first.item)
        job = start_answer(self.state, visitor_id(request), dict(zip("AB", step.sides, strict=False)), item)

        def draw(last: bool) -> Updates:
            status, answers = answer_views(self.state, job, lang, last)
            updates: Updates = {self.status: status, **self.other.update(job)}
            return {**updates, self.result: answers} if answers else updates

        for updates in follow(job, draw):
            if updates is NOTHING:
                yield NOTHING
                continue
            if not self.state.is_current_view(page_id(request), VIEW, name):
                # The last update may have arrived after the turn.
                yield {self.status: "", **self.other.update(None)}
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
    text, live = pane("course-text"), pane("course-live")
    with gr.Row():
        run = gr.Button(t("course_run"), variant="primary", elem_id="course-run", scale=2)
        stop = gr.Button(t("stop"), elem_id="course-stop", scale=1)
        other = StopOther(state, ANSWER, stop_other(t, "course-other"))
        next_ = gr.Button(t("course_next"), elem_id="course-next", scale=1)
    tab = CourseTab(state, step, text, live, run, stop, other, next_, pane("course-status"), pane("course-result"))
    tab.connect()
    return tab


def _step(name: str) -> Step:
    """The step of a name; the first one for any other."""
    return next((step for step in STEPS if step.name == name), STEPS[0])


def _name_after(name: str) -> str:
    names = [step.name for step in STEPS]
    return names[min(names.index(name) + 1, len(names) - 1)] if name in names else names[0]


def step_html(state: AppState, owner: str, step: Step, lang: str) -> str:
    """The text of a step and the stored answers that show it, if the shipped runs are installed."""
    stored = []
    if showcase.is_available():
        if two := step.two_scores:
            stored.append(course.two_scores_html(state, owner, two.run, two.task, two.protocols, lang))
        stored += [course.answers_html(state, owner, e.runs, e.task, e.item, lang) for e in step.examples]
    payload = {
        "number": STEPS.index(step) + 1,
        "of": len(STEPS),
        "title": word(f"course_{step.name}_title", lang),
        "paragraphs": word(f"course_{step.name}_text", lang).split("\n"),
        "stored": stored,
        "look": word(f"course_{step.name}_look", lang),
    }
    return views.render("course_step", payload, lang)


def live_html(step: Step, lang: str) -> str:
    """How the model is asked when the step is tried live."""
    sides = [{"name": n, "text": side_text(s, lang)} for n, s in zip("AB", step.sides, strict=False)]
    return views.render("course_live", {"text": word(step.live, lang), "sides": sides}, lang)
