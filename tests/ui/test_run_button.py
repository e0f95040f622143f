"""The button that runs and stops, without a page: what a visitor's presses do to their jobs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import gradio as gr
import pytest

from jglue_app.errors import InputError
from jglue_app.messages import word
from jglue_app.runs.request import RunRequest
from jglue_app.settings import Settings
from jglue_app.ui import progress
from jglue_app.ui.events import Updates
from jglue_app.ui.jobs import Job, PlannedRun
from jglue_app.ui.run_button import REPLACED, STOP_WORDS, RunButton
from jglue_app.ui.state import AppState
from jglue_app.ui.stop_other import STOPPED_ELSEWHERE, StopOther

KIND = "try"
VISIT = gr.Request(headers={}, cookies={"jg_visitor": "v" * 22}, session_hash="page")
ONE, OTHER = RunRequest(limit=1), RunRequest(limit=2)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@dataclass
class Visit:
    """A visitor's page with the button."""

    state: AppState
    button: RunButton
    page: str = "page"
    release: threading.Event = field(default_factory=threading.Event)
    started: list[Job] = field(default_factory=list)

    @property
    def request(self) -> gr.Request:
        cookies = {"jg_visitor": "v" * 22}
        return gr.Request(headers={"accept-language": "en"}, cookies=cookies, session_hash=self.page)

    def start(self, wanted: RunRequest) -> Job:
        def work(job: Job) -> None:
            while not (job.stop.is_set() or self.release.is_set()):
                job.ended.wait(0.005)

        self.started.append(self.state.jobs.start("v" * 22, KIND, work, wanted))
        return self.started[-1]

    def press(self, wanted: RunRequest | None, *, stops: bool = False) -> Iterator[Updates]:
        def read() -> RunRequest:
            if wanted is None:
                raise InputError("Choose at least one subset: {tasks}.", tasks="jnli")
            return wanted

        return self.button.press(self.request, read, self.start, self.drawing, stops=stops)

    def drawing(self, job: Job) -> Callable[[bool], Updates]:
        return lambda last: {self.button.status: f"{job.request.limit} {'ended' if last else 'going'}"}

    def looks(self, updates: Updates) -> tuple[str, str]:
        """What the button says, and in which style."""
        update: dict[str, Any] = updates[self.button.button]
        return update["value"], update["variant"]


@pytest.fixture
def visit(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Visit]:
    for name in ("POLL_INTERVAL_S", "REDRAW_INTERVAL_S", "HEARTBEAT_S"):
        monkeypatch.setattr(progress, name, 0.01)
    state = AppState(replace(settings), "cpu")
    other = StopOther(state, KIND, gr.Button())
    button = RunButton(state, KIND, "run", gr.HTML(), gr.Button(), gr.Button(), other, gr.HTML())
    made = Visit(state, button)
    yield made
    made.release.set()
    for job in made.started:
        assert job.ended.wait(60)
    state._scratch.cleanup()


def test_it_says_stop_while_the_visitors_job_is_active_and_run_afterwards(visit: Visit) -> None:
    stop, run = (word("stop", "en"), "stop"), (word("run", "en"), "primary")
    assert stop[0] in STOP_WORDS
    assert visit.looks(visit.button.appearance("v" * 22, "en")) == run
    steps = visit.press(ONE)
    next(steps)  # That it is being prepared.
    assert visit.looks(next(steps)) == stop
    assert visit.looks(visit.button.appearance("v" * 22, "en")) == stop  # After a reload.
    assert visit.looks(visit.button.appearance("w" * 22, "en")) == run  # For somebody else.
    first, last = visit.press(ONE, stops=True)
    assert "Stopping" in str(first[visit.button.status])
    assert visit.looks(last) == run
    end = list(steps)[-1]
    assert end[visit.button.status] == "1 ended"
    assert visit.looks(end) == run
    assert [job.stop.is_set() for job in visit.started] == [True]


def test_the_same_settings_are_followed_and_not_started_twice(visit: Visit) -> None:
    steps = visit.press(ONE)
    next(steps), next(steps)
    again = visit.press(ONE)
    next(again)
    assert next(again)[visit.button.status] == "1 going"
    assert len(visit.started) == 1
    assert not visit.started[0].stop.is_set()


def test_other_settings_take_the_place_of_the_run_that_is_going_on_and_it_is_told(visit: Visit) -> None:
    steps = visit.press(ONE)
    next(steps), next(steps)
    other = visit.press(OTHER)
    next(other)
    assert next(other)[visit.button.status] == "2 going"
    assert [job.stop.is_set() for job in visit.started] == [True, False]
    assert visit.started[1].notices == [REPLACED]
    # Whoever followed the first one on this page leaves the place to the other.
    assert all(updates.get(visit.button.status) != "1 ended" for updates in steps)
    visit.release.set()
    assert list(other)[-1][visit.button.status] == "2 ended"


def test_another_tab_goes_on_with_the_run_that_took_the_place(visit: Visit) -> None:
    steps = visit.press(ONE)
    next(steps), next(steps)
    second = Visit(visit.state, visit.button, "second tab", visit.release, visit.started)
    rival = second.press(OTHER)
    next(rival), next(rival)
    shown = []
    for updates in steps:
        shown.append(updates[visit.button.status])
        if shown[-1] == "2 going":
            visit.release.set()
    assert shown[-1] == "2 ended"
    assert "1 ended" in shown


@pytest.mark.parametrize("public", [False, True])
def test_what_a_run_waits_for_is_named_and_can_be_stopped_on_ones_own_machine_alone(
    settings: Settings, public: bool
) -> None:
    state = AppState(replace(settings, public=public), "cpu")
    jobs = state.jobs
    release = threading.Event()

    def in_turn(job: Job) -> None:
        with jobs.accelerator(job) as mine:
            while mine and not (job.stop.is_set() or release.is_set()):
                job.ended.wait(0.005)

    left = jobs.start("w" * 22, "full", in_turn)
    left.runs = {"a": PlannedRun("run", {"jnli": frozenset(map(str, range(50)))}, name="gemma-3-270m")}
    left.done = {"a": 12}
    until(lambda: left.state == "running")
    waiting = jobs.start("v" * 22, KIND, in_turn)
    until(lambda: waiting.state == "waiting")
    try:
        other = StopOther(state, KIND, gr.Button())
        html = progress.going_html(jobs, waiting, "en")
        assert ("Running now: Full run, gemma-3-270m, 12 of 50 items" in html) is not public
        assert other.update(waiting)[other.button]["visible"] is not public
        assert other.update(left)[other.button]["visible"] is False
        other.press(VISIT)
        assert left.stop.is_set() is not public
        assert left.notices == ([] if public else [STOPPED_ELSEWHERE])
        if not public:
            until(lambda: waiting.state == "running")
            other.press(VISIT)
            assert not waiting.stop.is_set(), "what runs already waits for nothing"
    finally:
        release.set()
        assert left.ended.wait(60)
        assert waiting.ended.wait(60)
        state._scratch.cleanup()


def test_what_cannot_be_done_stops_nothing(visit: Visit) -> None:
    steps = visit.press(ONE)
    next(steps), next(steps)
    with pytest.raises(InputError):
        list(visit.press(None))
    assert [job.stop.is_set() for job in visit.started] == [False]


def test_a_stop_that_comes_after_the_end_starts_nothing(visit: Visit) -> None:
    (only,) = visit.press(ONE, stops=True)
    assert visit.looks(only) == (word("run", "en"), "primary")
    assert visit.started == []


def test_a_form_that_was_changed_offers_its_settings_beside_a_run(visit: Visit) -> None:
    def offered(wanted: RunRequest | None) -> tuple[bool, bool]:
        updates = visit.button.appearance_for("v" * 22, "en", wanted)
        return updates[visit.button.switch]["visible"], "keeps what it has finished" in updates[visit.button.notice]

    assert offered(OTHER) == (False, False)
    steps = visit.press(ONE)
    next(steps), next(steps)
    assert offered(ONE) == (False, False)
    assert offered(OTHER) == (True, True)
    assert offered(None) == (False, False)
