"""The line of jobs: how long a wait is told to be, who may stand in it, and who has left it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import gradio as gr
import pytest
from starlette.requests import Request

from jglue_app.backends.pool import ModelPool
from jglue_app.errors import InputError
from jglue_app.settings import Settings, load_settings
from jglue_app.ui import jobs as jobs_module
from jglue_app.ui.job import Job, PlannedRun
from jglue_app.ui.jobs import Jobs
from jglue_app.ui.progress import follow, progress_html
from jglue_app.ui.visitor import VisitorId, address_of, visitor_id
from jglue_app.ui.visits import Visits
from jglue_app.ui.waiting_time import Rates, Told, rounded

LONG_S = 60.0


def visitor(name: str, address: str = "", account: str = "") -> VisitorId:
    owner = VisitorId(name)
    owner.address, owner.account = address, account
    return owner


def planned(items: int, model: str = "m", finished: int = 0) -> PlannedRun:
    return PlannedRun("run", {"jnli": frozenset(map(str, range(items)))}, model, finished)


def job(id_: str, items: int, model: str = "m", finished: int = 0) -> Job:
    return Job(id_, "ana", "compare", runs={"a": planned(items, model, finished)})


def measured(rates: Rates, model: str, item_s: float, loading_s: float = 0.0) -> None:
    """Ten items, as a job has answered them."""
    ended = job("before", 10, model)
    ended.pace.counts, ended.pace.seconds = {"a": 10}, {"a": 10 * item_s}
    rates.learn(ended, 10 * item_s + loading_s)


# --- how long it takes ------------------------------------------------------------------------------------


def test_a_job_that_waits_takes_what_its_model_took_before_and_what_it_has_to_load() -> None:
    rates = Rates(None, 20.0)
    assert rates.seconds_left(job("x", 30), None) is None
    measured(rates, "m", 0.5, loading_s=4.0)
    assert rates.seconds_left(job("x", 30), None) == 30 * 0.5 + 4
    # What is stored is not answered again; a model of which nothing is known is as fast as others.
    assert rates.seconds_left(job("x", 30, finished=20), None) == 10 * 0.5 + 4
    assert rates.seconds_left(job("x", 30, "other"), None) == 30 * 0.5 + 4
    measured(rates, "slow", 2.5, loading_s=4.0)
    assert rates.seconds_left(job("x", 2, "other"), None) == 2 * 1.5 + 4


def test_a_running_job_takes_as_long_as_its_own_pace_says_and_no_longer_than_it_may() -> None:
    rates = Rates(60.0, 20.0)
    running = job("x", 100)
    running.pace.counts, running.pace.seconds, running.done = {"a": 4}, {"a": 2.0}, {"a": 4}
    running.bars = {("a", "jnli"): None}  # type: ignore[dict-item]
    assert rates.seconds_left(running, 3.0) == 96 * 0.5
    # On a server that was just started nothing else tells how long those behind it take.
    assert rates.seconds_left(job("x", 30), None) == 30 * 0.5
    assert rates.seconds_left(running, 50.0) == 60 - 50
    assert rates.seconds_left(running, 70.0) == 0
    running.preemptible = True
    assert rates.seconds_left(running, 12.0) == 20 - 12


def test_of_jobs_without_items_the_last_of_the_kind_count() -> None:
    rates = Rates(None, 20.0)
    answer = Job("x", "ana", "try")
    assert rates.seconds_left(answer, None) is None
    rates.learn(Job("y", "ana", "try"), 8.0)
    rates.learn(Job("z", "ana", "try"), 4.0)
    assert rates.seconds_left(answer, None) == 6.0
    assert rates.seconds_left(answer, 2.0) == 4.0
    assert rates.seconds_left(answer, 9.0) == 0.0


def test_a_wait_that_was_told_rises_for_a_reason_only() -> None:
    told = Told()
    assert told.next(38.0, ["a", "b"]) == 40
    assert told.next(44.0, ["a", "b"]) == 40  # A little slower than it was thought.
    assert told.next(21.0, ["b"]) == 25
    assert told.next(24.0, ["b"]) == 25
    assert told.next(70.0, ["b"]) == 70  # Much slower.
    assert told.next(75.0, ["b", "c"]) == 80  # Somebody gave way and stands in front again.
    assert told.next(None, ["b", "c"]) is None


def test_seconds_are_said_as_people_say_them() -> None:
    assert [rounded(s) for s in (0, 0.2, 5, 5.1, 38, 60, 61, 90, 91, 120, 121)] == [
        *(5, 5, 5, 10, 40, 60, 70, 90, 120, 120, 180),
    ]


@pytest.mark.parametrize(
    ("wait_s", "lang", "text"),
    [
        (40, "en", "In line: 3 before you, about 40 s"),
        (180, "en", "In line: 3 before you, about 3 min"),
        (None, "en", "In line: 3 before you …"),
        (40, "ja", "順番待ち：前に 3 件、約 40 秒"),
        (180, "ja", "順番待ち：前に 3 件、約 3 分"),
    ],
)
def test_the_bar_says_how_many_come_before_and_about_how_long(wait_s: int | None, lang: str, text: str) -> None:
    waiting = Job("id", "ana", "compare", state="waiting", wait_s=wait_s)
    assert text in progress_html(waiting, lang, ahead=3)


# --- who may stand in it ----------------------------------------------------------------------------------


@pytest.fixture
def open_jobs(settings: Settings) -> Iterator[Callable[[Settings], Jobs]]:
    opened: list[Jobs] = []
    with ModelPool(settings, device="cpu") as pool:

        def open_one(chosen: Settings) -> Jobs:
            opened.append(Jobs(chosen, pool))
            return opened[-1]

        yield open_one
        for one in opened:
            for each in list(one._jobs.values()):
                one.stop(each)
                assert each.ended.wait(LONG_S)


def until_stopped(one: Job) -> None:
    assert one.stop.wait(LONG_S)


def test_an_hour_has_so_many_starts_and_the_next_is_promised(settings: Settings) -> None:
    now = [1_000.0]
    visits = Visits(replace(settings, jobs_per_hour=2, address_jobs_per_hour=3), lambda: now[0])
    for _ in range(2):
        visits.admit(visitor("ana", "a"), [])
        now[0] += 600
    with pytest.raises(InputError, match=r"You have started 2 runs .* next one in about 40 min"):
        visits.admit(visitor("ana", "a"), [])
    visits.admit(visitor("ben", "a"), [])
    with pytest.raises(InputError, match=r"From your network 3 runs .* in about 40 min"):
        visits.admit(visitor("eva", "a"), [])
    visits.admit(visitor("eva", "b"), [])
    # Whoever is signed in is counted by the account, from wherever they come.
    visits.admit(visitor("gus", "a", "gus"), [])
    visits.admit(visitor("other browser", "b", "gus"), [])
    with pytest.raises(InputError, match="You have started 2 runs"):
        visits.admit(visitor("third browser", "c", "gus"), [])
    now[0] += 2_400
    visits.admit(visitor("ana", "a"), [])
    with pytest.raises(InputError, match="in about 10 min"):
        visits.admit(visitor("ana", "a"), [])


def test_an_address_has_so_many_jobs_under_way_and_others_are_let_in(
    settings: Settings, open_jobs: Callable[[Settings], Jobs]
) -> None:
    jobs = open_jobs(replace(settings, public=True, address_jobs=2))
    first, _ = [jobs.start(visitor(name, "a"), "compare", until_stopped) for name in ("ana", "ben")]
    with pytest.raises(InputError, match=r"From your network 2 runs are under way.*when one of them has ended"):
        jobs.start(visitor("eva", "a"), "compare", until_stopped)
    jobs.start(visitor("dan", "b"), "compare", until_stopped)
    jobs.stop(first)
    jobs.start(visitor("eva", "a"), "compare", until_stopped)


def test_limits_are_the_operators_and_only_a_public_server_has_any(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("jobs_per_hour", "address_jobs_per_hour", "address_jobs", "abandoned_after_s")

    def limits() -> list[float | None]:
        settings = load_settings()
        return [getattr(settings, name) for name in names]

    monkeypatch.setenv("JGLUE_MODE", "local")
    assert limits() == [None] * 4
    monkeypatch.setenv("JGLUE_MODE", "public")
    assert limits() == [60, 240, 8, 120]
    monkeypatch.setenv("JGLUE_ADDRESS_JOBS", "0")
    monkeypatch.setenv("JGLUE_JOBS_PER_HOUR", "5")
    assert limits() == [5, 240, None, 120]
    monkeypatch.setenv("JGLUE_JOBS_PER_HOUR", "-1")
    with pytest.raises(InputError, match=r"JGLUE_JOBS_PER_HOUR takes a whole number.*'-1'"):
        load_settings()


# --- who has left it --------------------------------------------------------------------------------------


def test_a_job_at_which_nobody_looks_gives_its_place_up_and_says_so(
    settings: Settings, open_jobs: Callable[[Settings], Jobs], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs_module, "REAP_INTERVAL_S", 0.02)
    jobs = open_jobs(replace(settings, public=True, abandoned_after_s=0.3))

    def in_turn(one: Job) -> None:
        with jobs.accelerator(one) as mine:
            if mine:
                until_stopped(one)

    left = jobs.start("ana", "compare", in_turn)
    looked_at = jobs.start("ben", "compare", in_turn)
    watching = threading.Thread(target=lambda: list(follow(looked_at, lambda last: last)), daemon=True)
    watching.start()
    assert left.ended.wait(LONG_S)
    assert (left.abandoned, left.state) == (True, "stopped")
    time.sleep(0.5)
    assert (looked_at.state, looked_at.abandoned) == ("running", False)
    found = jobs.latest("ana", "compare")
    assert found is left
    assert "Nobody looked at this for a while" in progress_html(left, "en")
    jobs.stop(looked_at)
    watching.join(LONG_S)


def test_where_nobody_can_be_kept_waiting_a_job_goes_on_without_a_page(
    settings: Settings, open_jobs: Callable[[Settings], Jobs]
) -> None:
    jobs = open_jobs(settings)
    going = jobs.start("ana", "compare", until_stopped)
    assert jobs._reaper is None
    assert going.active


def test_of_checks_of_one_visitor_the_last_one_counts(
    settings: Settings, open_jobs: Callable[[Settings], Jobs]
) -> None:
    jobs = open_jobs(replace(settings, public=True))
    first = jobs.start_on_cpu("ana", "check", until_stopped)
    others = jobs.start_on_cpu("ben", "check", until_stopped)
    second = jobs.start_on_cpu("ana", "check", until_stopped)
    assert first.ended.wait(LONG_S)
    assert not (others.stop.is_set() or second.stop.is_set())
    for one in (others, second):
        jobs.stop(one)
        assert one.ended.wait(LONG_S)


def test_a_visitor_is_known_by_where_the_request_comes_from() -> None:
    scope = {"type": "http", "client": ("203.0.113.7", 1), "headers": [(b"cookie", b"jg_visitor=" + b"a" * 22)]}
    owner = visitor_id(gr.Request(Request(scope)))
    assert (owner, address_of(owner), address_of("ana")) == ("a" * 22, "203.0.113.7", "")
