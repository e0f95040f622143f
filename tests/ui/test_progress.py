"""How the page follows a job."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import gradio as gr
import pytest

from jglue_app.errors import InputError, JglueAppError
from jglue_app.messages import Message
from jglue_app.runs.events import Event
from jglue_app.settings import Settings
from jglue_app.ui import progress
from jglue_app.ui.jobs import Job, PlannedRun
from jglue_app.ui.progress import follow, raise_failure, stop_handler, wait_for
from jglue_app.ui.state import AppState


@pytest.fixture
def state(settings: Settings) -> Iterator[AppState]:
    made = AppState(replace(settings), "cpu")
    yield made
    made._scratch.cleanup()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "POLL_INTERVAL_S", 0.005)
    monkeypatch.setattr(progress, "REDRAW_INTERVAL_S", 0.01)


def test_a_job_is_drawn_when_it_changes_and_once_more_at_its_end() -> None:
    job = Job("id", "ana", "compare")
    seen = []

    def draw(last: bool) -> tuple[str, bool]:
        seen.append(job.version)
        if len(seen) == 2:
            job.ended.set()
        else:
            job.version += 1
        return job.state, last

    assert list(follow(job, draw)) == [("preparing", False), ("preparing", False), ("preparing", True)]
    assert seen == [0, 1, 1]


def test_without_a_change_a_job_is_drawn_at_every_heartbeat(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "HEARTBEAT_S", 0.02)
    steps = follow(Job("id", "ana", "compare"), lambda last: last)
    assert [next(steps) for _ in range(3)] == [False, False, False]


def test_a_job_that_does_not_stop_in_time_is_drawn_for_the_last_time_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(progress, "STOP_TIMEOUT_S", 0.05)
    job = Job("id", "ana", "compare")
    job.stop.set()
    assert list(follow(job, lambda last: last))[-1] is True
    assert not job.ended.is_set()


def test_a_client_that_leaves_stops_the_job_it_waits_for(state: AppState, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "HEARTBEAT_S", 0.01)
    job = state.jobs.start("ana", "try", lambda job: void(job.stop.wait(60)))
    waiting = wait_for(state, job, "waiting")
    assert next(waiting) == "waiting"
    waiting.close()
    assert job.stop.is_set()
    assert job.ended.wait(60)


def void(_: object) -> None:
    return None


def test_the_failure_of_a_job_is_raised_without_what_it_was_given(state: AppState) -> None:
    def work(job: Job) -> None:
        raise InputError("Choose at least one subset.")

    job = state.jobs.start("ana", "try", work)
    with pytest.raises(JglueAppError, match=r"^Choose at least one subset\.$") as raised:
        list(wait_for(state, job, None))
    assert raised.value is not job.failure
    with pytest.raises(JglueAppError, match="its number is abc12345"):
        raise_failure(Job("id", "ana", "try", state="failed", incident="abc12345"))
    raise_failure(Job("id", "ana", "try", state="done"))


def test_a_stop_button_stops_the_visitors_own_job_alone(state: AppState) -> None:
    release = threading.Event()
    jobs = {owner: state.jobs.start(owner, "try", lambda job: until(job, release)) for owner in ("ana", "ben")}
    request = gr.Request(headers={"accept-language": "en"}, cookies={}, session_hash="ana")
    first, last = stop_handler(state, "try")(request)
    assert "Stopping" in first
    assert "Stopped. What is finished is kept" in last
    assert (jobs["ana"].stop.is_set(), jobs["ben"].stop.is_set()) == (True, False)
    release.set()
    assert jobs["ben"].ended.wait(60)
    (nothing,) = stop_handler(state, "try")(request)
    assert "Stop" not in nothing


def until(job: Job, release: threading.Event) -> None:
    while not (job.stop.is_set() or release.is_set()):
        time.sleep(0.005)


def test_the_bar_of_a_job_counts_all_subsets_of_both_models() -> None:
    ids = {"jnli": frozenset("abcd"), "jsts": frozenset("ef")}
    job = Job("id", "ana", "compare", state="running", runs={s: PlannedRun(s, ids) for s in ("a", "b")})
    assert progress.overall(job, "en") == {"percent": "0", "count": "0 of 12 items"}
    job.handle(Event("record", "A", "a", task="jnli", done=4, total=4, run_done=4, run_total=6))
    job.handle(Event("record", "B", "b", task="jnli", done=3, total=4, run_done=3, run_total=6))
    assert progress.overall(job, "en") == {"percent": "58", "count": "7 of 12 items"}
    job.pace.counts, job.pace.seconds = {"a": 4, "b": 4}, {"a": 40.0, "b": 4.0}
    # Two items of A at 10 s and three of B at 1 s.
    assert progress.overall(job, "en") == {"percent": "58", "count": "7 of 12 items · about 23 s left"}
    names = [(bar["side"], bar["name"], bar["percent"], bar["count"]) for bar in progress.bars(job, "en")]
    assert names == [
        ("a", "JSTS", "0", "–"),
        ("b", "JSTS", "0", "–"),
        ("a", "JNLI", "100", "4/4"),
        ("b", "JNLI", "75", "3/4"),
    ]
    # What is no run of sides, such as a sweep, has a bar for what has begun.
    assert progress.overall(Job("id", "ana", "sweep", runs={"0": PlannedRun("r", ids)}), "en") is None


def test_the_step_before_answering_has_a_bar_of_its_own() -> None:
    job = Job("id", "ana", "compare", state="running")
    assert progress.phase(job) == ""
    job.handle(Event("notice", "A", "a", message=Message("Loading {model}.", model="m"), task="jnli"))
    assert progress.phase(job) == "…"
    told = Message("Converting {file} to safetensors: {percent} %.", file="m.gguf", percent=60)
    job.handle(Event("notice", "A", "a", message=told, task="jnli"))
    assert progress.phase(job) == "60"
    html = progress.progress_html(job, "ja")
    assert 'aria-valuenow="60"' in html
    assert "m.gguf を safetensors に変換しています（60%）。" in html
    job.handle(Event("record", "A", "a", task="jnli", done=1, total=4, run_done=1, run_total=4))
    assert progress.phase(job) == ""


def test_an_ended_job_says_how_many_items_of_each_run_are_finished() -> None:
    ids = {"jnli": frozenset("abcd"), "jsts": frozenset("ef")}
    runs = {side: PlannedRun(side, ids) for side in ("a", "b")}
    # B was not reached; it may have items from before, so nothing is said of it.
    stopped = Job("id", "ana", "compare", state="stopped", runs=runs, done={"a": 5})
    assert progress.finished_items(stopped, "en") == "Items finished: A 5/6."
    assert "済んだ問題：A 5/6。" in progress.progress_html(stopped, "ja")
    stopped.done["b"] = 2
    assert progress.finished_items(stopped, "ja") == "済んだ問題：A 5/6、B 2/6。"
    # Where everything was stored already there is no event at all.
    assert progress.finished_items(Job("id", "ana", "compare", state="done", runs={"a": runs["a"]}), "en") == (
        "Items finished: 6/6."
    )
    assert progress.finished_items(Job("id", "ana", "sweep", state="done", runs={"0": runs["a"]}), "en") == ""


def test_a_job_of_which_all_was_answered_before_says_so() -> None:
    runs = {"a": PlannedRun("a", {"jnli": frozenset("abcd")})}
    stored = progress.progress_html(Job("id", "ana", "compare", state="done", runs=runs), "ja")
    assert "以前に得た回答" in stored and "4/4" in stored
    fresh = progress.progress_html(Job("id", "ana", "compare", state="done", runs=runs, done={"a": 4}), "ja")
    assert "以前に得た回答" not in fresh and "保存されています" in fresh


def test_before_the_first_answer_there_is_one_bar() -> None:
    ids = {"jnli": frozenset("abcd")}
    job = Job("id", "ana", "compare", state="running", runs={"a": PlannedRun("a", ids)}, activity="Loading …")
    assert progress.progress_html(job, "en").count('role="progressbar"') == 1
    job.activity = ""
    assert "0 of 4 items" in progress.progress_html(job, "en")
