"""Work in the background: who may begin what, whose turn it is, and how a job ends."""

from __future__ import annotations

import contextvars
import json
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import gradio as gr
import pytest
from gradio.context import LocalContext

from jglue_app.backends.pool import ModelPool
from jglue_app.errors import InputError
from jglue_app.runs.events import Event
from jglue_app.runs.request import RunRequest, Side
from jglue_app.runs.store import RunStore
from jglue_app.settings import Settings
from jglue_app.types import Record
from jglue_app.ui import jobs as jobs_module
from jglue_app.ui.jobs import Job, Jobs
from tests.test_api import GOLDS

ALL = len(GOLDS)
LONG_S = 60.0
"""More than anything here takes, on a machine that is busy with other things."""


def table(path: Path, said: str = "中立", seconds: float = 0.0) -> str:
    """Answers to the JNLI samples, all alike."""
    rows = [{"task": "jnli", "item_id": id_, "text": said, "seconds": seconds} for id_ in GOLDS]
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    return str(path)


def asked(model: str, limit: int | None = None) -> RunRequest:
    return RunRequest(("jnli",), "sample", limit, "generate", Side(model))


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + LONG_S
    while not true():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.005)


def ended(*some: Job) -> None:
    for job in some:
        assert job.ended.wait(LONG_S), job


def lines(settings: Settings, job: Job) -> list[str]:
    """Ids of all that a job's run has written, in order."""
    path = settings.runs_dir / job.runs["a"].run / "records.jsonl"
    return [json.loads(line)["item_id"] for line in path.read_text("utf-8").splitlines()]


def stored(settings: Settings, job: Job) -> list[Record]:
    return RunStore(settings.runs_dir / job.runs["a"].run).records()


@pytest.fixture
def open_jobs(settings: Settings) -> Iterator[Callable[[Settings], Jobs]]:
    """`open_jobs(settings)`; whatever is going on at the end of the test is stopped."""
    opened: list[Jobs] = []
    with ModelPool(settings, device="cpu") as pool:

        def open_one(chosen: Settings) -> Jobs:
            opened.append(Jobs(chosen, pool))
            return opened[-1]

        yield open_one
        for one in opened:
            for job in list(one._jobs.values()):
                one.stop(job)
                ended(job)


@pytest.fixture
def jobs(settings: Settings, open_jobs: Callable[[Settings], Jobs]) -> Jobs:
    return open_jobs(settings)


class Gate:
    """Work that goes on until it is let go, or stopped."""

    def __init__(self) -> None:
        self.open = threading.Event()

    def __call__(self, job: Job) -> None:
        while not (self.open.is_set() or job.stop.is_set()):
            time.sleep(0.005)


class Turn:
    """Work that takes the accelerator and keeps it until it is let go, or stopped."""

    def __init__(self, jobs: Jobs) -> None:
        self._jobs, self._gate, self.had = jobs, Gate(), False

    @property
    def open(self) -> threading.Event:
        return self._gate.open

    def __call__(self, job: Job) -> None:
        with self._jobs.accelerator(job) as mine:
            self.had = mine
            if mine:
                self._gate(job)


# --- beginning --------------------------------------------------------------------------------------------


def test_a_run_made_in_the_background_is_stored_and_its_end_is_told(
    settings: Settings, jobs: Jobs, tmp_path: Path
) -> None:
    job = jobs.start_runs("ana", "compare", asked(table(tmp_path / "a.jsonl")))
    ended(job)
    assert (job.state, job.failure, job.incident, job.activity, job.active) == ("done", None, "", "", False)
    assert job.request == asked(str(tmp_path / "a.jsonl"))
    assert [(side, sum(map(len, made.ids.values()))) for side, made in job.runs.items()] == [("a", ALL)]
    assert sorted(lines(settings, job)) == sorted(job.runs["a"].ids["jnli"])
    assert {record.output.text for record in stored(settings, job) if record.output} == {"中立"}
    (event,) = job.bars.values()
    assert (list(job.bars), event.done, event.total) == ([("a", "jnli")], ALL, ALL)


def test_two_models_make_two_runs(settings: Settings, jobs: Jobs, tmp_path: Path) -> None:
    two = replace(asked(table(tmp_path / "a.jsonl"), 4), b=Side(table(tmp_path / "b.jsonl", "矛盾")))
    job = jobs.start_runs("ana", "compare", two)
    ended(job)
    said = [RunStore(settings.runs_dir / made.run).records() for made in job.runs.values()]
    assert [[r.output.text for r in records if r.output] for records in said] == [["中立"] * 4, ["矛盾"] * 4]
    assert set(job.bars) == {("a", "jnli"), ("b", "jnli")}


def test_whoever_begins_a_job_does_not_wait_for_it(jobs: Jobs) -> None:
    gate = Gate()
    job = jobs.start("ana", "compare", gate)
    assert (job.active, job.ended.is_set()) == (True, False)
    gate.open.set()
    ended(job)
    assert (job.active, job.state) == (False, "done")


def test_a_job_has_the_request_that_began_it_whose_quota_zero_gpu_charges(jobs: Jobs) -> None:
    context, seen = contextvars.copy_context(), list[tuple[object, object]]()
    request = gr.Request()

    def begin() -> Job:
        LocalContext.request.set(request)
        LocalContext.event_id.set("event")
        return jobs.start(
            "me", "run", lambda _: seen.append((LocalContext.request.get(), LocalContext.event_id.get("none")))
        )

    ended(context.run(begin))
    # The event ends before the job does: nobody is there to whom it could be told anything.
    assert seen == [(request, None)]
    assert context[LocalContext.event_id] == "event"


def test_an_owners_second_job_of_a_kind_is_refused_while_one_goes_on(jobs: Jobs) -> None:
    gate = Gate()
    first = jobs.start("ana", "compare", gate)
    with pytest.raises(InputError, match=r"already going on.*Stop it, or wait"):
        jobs.start("ana", "compare", gate)
    others = [jobs.start("ana", "full", gate), jobs.start("ben", "compare", gate)]
    gate.open.set()
    ended(first, *others)
    again = jobs.start("ana", "compare", gate)
    ended(again)
    assert [job.state for job in (first, *others, again)] == ["done"] * 4
    assert len({job.id for job in (first, *others, again)}) == 4


def test_a_job_that_was_told_to_stop_is_in_nobodys_way(jobs: Jobs) -> None:
    let_go = threading.Event()
    deaf = jobs.start("ana", "compare", lambda job: ignored(let_go))
    jobs.stop(deaf)
    assert (deaf.active, deaf.ended.is_set()) == (False, False)
    after = jobs.start("ana", "compare", lambda job: None)
    ended(after)
    let_go.set()
    ended(deaf)
    assert (deaf.state, after.state) == ("stopped", "done")


def ignored(let_go: threading.Event) -> None:
    """As a model that loads, which cannot be broken off."""
    assert let_go.wait(LONG_S)


def test_on_a_public_server_an_owner_has_one_job_of_any_kind(
    settings: Settings, open_jobs: Callable[[Settings], Jobs]
) -> None:
    jobs = open_jobs(replace(settings, public=True))
    gate = Gate()
    first = jobs.start("ana", "compare", gate)
    for kind in ("compare", "try", "sweep"):
        with pytest.raises(InputError, match="already going on"):
            jobs.start("ana", kind, gate)
    other = jobs.start("ben", "try", gate)
    gate.open.set()
    ended(first, other)
    ended(jobs.start("ana", "try", gate))


# --- ending -----------------------------------------------------------------------------------------------


def test_a_stopped_job_keeps_what_is_finished_and_the_same_configuration_goes_on_from_there(
    settings: Settings, jobs: Jobs, tmp_path: Path
) -> None:
    slow = asked(table(tmp_path / "slow.jsonl", seconds=0.03))
    job = jobs.start_runs("ana", "compare", slow)
    until(lambda: bool(job.bars) and job.bars["a", "jnli"].done >= 3)
    jobs.stop(job)
    assert not job.active
    ended(job)
    kept = lines(settings, job)
    assert job.state == "stopped"
    assert 3 <= len(kept) < ALL
    again = jobs.start_runs("ana", "compare", slow)
    ended(again)
    assert again.state == "done"
    assert lines(settings, again)[: len(kept)] == kept
    assert sorted(lines(settings, again)) == sorted(GOLDS)


def test_a_waiting_job_that_is_stopped_never_runs(settings: Settings, jobs: Jobs, tmp_path: Path) -> None:
    turn = Turn(jobs)
    holder = jobs.start("ana", "compare", turn)
    until(lambda: turn.had)
    job = jobs.start_runs("ben", "compare", asked(table(tmp_path / "a.jsonl")))
    until(lambda: job.state == "waiting")
    assert jobs.queue_position(job) == 1
    jobs.stop(job)
    ended(job)
    assert (job.state, job.bars, holder.state) == ("stopped", {}, "running")
    assert not settings.runs_dir.exists()
    turn.open.set()
    ended(holder)
    assert holder.state == "done"


def test_a_job_that_is_stopped_before_it_asks_for_its_turn_is_not_given_it(jobs: Jobs) -> None:
    turn, asks = Turn(jobs), threading.Event()

    def work(job: Job) -> None:
        ignored(asks)
        turn(job)

    job = jobs.start("ana", "try", work)
    jobs.stop(job)
    asks.set()
    ended(job)
    assert (turn.had, job.state) == (False, "stopped")


def test_the_time_limit_ends_a_run_and_keeps_what_is_finished(
    settings: Settings, open_jobs: Callable[[Settings], Jobs], tmp_path: Path
) -> None:
    jobs = open_jobs(replace(settings, max_seconds=3.0))
    slow = asked(table(tmp_path / "slow.jsonl", seconds=0.2))
    job = jobs.start_runs("ana", "compare", slow)
    ended(job)
    kept = lines(settings, job)
    assert (job.state, job.failure, job.active) == ("out_of_time", None, False)
    # All 45 answers would take 9 s.
    assert 1 <= len(kept) <= 15
    again = jobs.start_runs("ana", "compare", slow)
    ended(again)
    assert lines(settings, again)[: len(kept)] == kept
    assert len(set(lines(settings, again))) == len(lines(settings, again)) > len(kept)


def test_time_spent_waiting_does_not_count_as_time_at_work(
    settings: Settings, open_jobs: Callable[[Settings], Jobs], tmp_path: Path
) -> None:
    jobs = open_jobs(replace(settings, max_seconds=2.0))
    turn = Turn(jobs)
    jobs.start("ana", "compare", turn)
    until(lambda: turn.had)
    job = jobs.start_runs("ben", "compare", asked(table(tmp_path / "a.jsonl")))
    until(lambda: job.state == "waiting")
    time.sleep(2.1)
    turn.open.set()
    ended(job)
    assert job.state == "done"


def test_what_cannot_be_done_ends_a_job_with_its_sentence(jobs: Jobs, tmp_path: Path) -> None:
    cases = (
        (asked("m", 10**6), "The number of items is a whole number from 1 to 20,000."),
        (replace(asked("m"), a=Side("m", shots=99)), "The number of examples is from 0 to 16."),
        (asked(str(tmp_path / "none.jsonl")), "cannot be read (No such file or directory)"),
    )
    for wrong, sentence in cases:
        job = jobs.start_runs("ana", "compare", wrong)
        ended(job)
        assert (job.state, job.incident, job.active) == ("failed", "", False)
        assert sentence in str(job.failure)


def test_a_fault_of_ours_ends_a_job_with_a_number_and_without_its_text(
    jobs: Jobs, caplog: pytest.LogCaptureFixture
) -> None:
    def work(job: Job) -> None:
        raise RuntimeError("/home/operator/secret")

    job = jobs.start("ana", "compare", work)
    ended(job)
    assert (job.state, job.failure) == ("failed", None)
    assert re.fullmatch(r"[0-9a-f]{8}", job.incident)
    assert f"incident {job.incident}" in caplog.text
    assert "/home/operator/secret" in caplog.text


def test_a_job_that_fails_in_its_turn_leaves_it_to_the_next(jobs: Jobs) -> None:
    def work(job: Job) -> None:
        with jobs.accelerator(job):
            raise InputError("No.")

    failed = jobs.start("ana", "compare", work)
    ended(failed)
    turn = Turn(jobs)
    turn.open.set()
    ended(jobs.start("ben", "compare", turn))
    assert (str(failed.failure), turn.had) == ("No.", True)


# --- whose turn it is -------------------------------------------------------------------------------------


def test_one_job_at_a_time_has_the_accelerator_in_the_order_they_came(jobs: Jobs) -> None:
    inside: list[str] = []
    order: list[str] = []
    most = 0

    def work(job: Job) -> None:
        nonlocal most
        with jobs.accelerator(job) as mine:
            assert mine
            inside.append(job.owner)
            order.append(job.owner)
            most = max(most, len(inside))
            time.sleep(0.02)
            inside.remove(job.owner)

    turn = Turn(jobs)
    jobs.start("first", "compare", turn)
    until(lambda: turn.had)
    line = []
    for owner in ("d", "a", "c", "b"):
        job = jobs.start(owner, "compare", work)
        until(lambda job=job: job.state == "waiting")  # type: ignore[misc]
        line.append(job)
    assert [jobs.queue_position(job) for job in line] == [1, 2, 3, 4]
    turn.open.set()
    ended(*line)
    assert (order, most) == (["d", "a", "c", "b"], 1)
    assert [jobs.queue_position(job) for job in line] == [0] * 4


def test_whoever_leaves_the_line_lets_those_behind_move_up(jobs: Jobs) -> None:
    turn, later = Turn(jobs), Turn(jobs)
    later.open.set()
    holder = jobs.start("ana", "compare", turn)
    until(lambda: turn.had)
    second = jobs.start("ben", "compare", Turn(jobs))
    until(lambda: second.state == "waiting")
    third = jobs.start("eva", "compare", later)
    until(lambda: third.state == "waiting")
    jobs.stop(second)
    until(lambda: jobs.queue_position(third) == 1)
    assert (holder.state, third.state) == ("running", "waiting")
    turn.open.set()
    ended(third)
    assert later.had


@pytest.mark.parametrize("preemptible", [True, False])
def test_a_job_that_gives_way_lets_a_later_one_in_between_and_still_finishes_every_item(
    settings: Settings, jobs: Jobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, preemptible: bool
) -> None:
    monkeypatch.setattr(jobs_module, "TIME_SLICE_S", 0.05)
    long = jobs.start_runs("ana", "full", asked(table(tmp_path / "long.jsonl", seconds=0.03)), preemptible=preemptible)
    until(lambda: bool(long.bars))
    short = jobs.start_runs("ben", "compare", asked(table(tmp_path / "short.jsonl"), 2))
    ended(short)
    # What was left of the long one took at least another item's time.
    assert long.ended.is_set() is not preemptible
    ended(long)
    assert (short.state, long.state) == ("done", "done")
    assert len(lines(settings, short)) == 2
    assert sorted(lines(settings, long)) == sorted(GOLDS)


def test_a_job_that_has_given_way_can_be_stopped_while_it_waits(
    settings: Settings, jobs: Jobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs_module, "TIME_SLICE_S", 0.0)
    long = jobs.start_runs("ana", "full", asked(table(tmp_path / "long.jsonl", seconds=0.03)), preemptible=True)
    until(lambda: bool(long.bars))
    turn = Turn(jobs)
    other = jobs.start("ben", "compare", turn)
    until(lambda: turn.had and long.state == "waiting")
    jobs.stop(long)
    ended(long)
    assert (long.state, other.state) == ("stopped", "running")
    assert 1 <= len(lines(settings, long)) < ALL


def test_the_time_limit_counts_all_slices_of_a_job_together(
    settings: Settings, open_jobs: Callable[[Settings], Jobs], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs_module, "TIME_SLICE_S", 0.3)
    jobs = open_jobs(replace(settings, max_seconds=0.8))
    job = jobs.start_runs("ana", "full", asked(table(tmp_path / "slow.jsonl", seconds=0.05)), preemptible=True)
    # There is always somebody else in the line, so that no slice is longer than it must be.
    for owner in map(str, range(40)):
        turn = Turn(jobs)
        turn.open.set()
        ended(jobs.start(owner, "try", turn))
        if job.ended.is_set():
            break
    ended(job)
    assert job.state == "out_of_time"
    # 0.8 s have room for fifteen answers at most, and on a busy machine for none.
    (run,) = job.runs.values()
    assert not (settings.runs_dir / run.run / "records.jsonl").exists() or len(lines(settings, job)) <= 15


# --- what is seen of it -----------------------------------------------------------------------------------


def test_the_latest_job_of_an_owner_and_a_kind_is_found_also_after_its_end(jobs: Jobs) -> None:
    assert jobs.latest("ana", "compare") is None
    for _ in range(2):
        ended(jobs.start("ana", "compare", lambda job: None))
    newest = jobs.start("ana", "compare", lambda job: None)
    other_kind = jobs.start("ana", "full", lambda job: None)
    other_owner = jobs.start("ben", "compare", lambda job: None)
    ended(newest, other_kind, other_owner)
    assert jobs.latest("ana", "compare") is newest
    assert jobs.latest("ana", "full") is other_kind
    assert jobs.latest("ben", "compare") is other_owner
    assert jobs.latest("ben", "full") is None


def test_the_oldest_jobs_that_have_ended_are_forgotten_and_none_that_goes_on(
    jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs_module, "MAX_JOBS", 3)
    gate = Gate()
    jobs.start("0", "compare", gate)
    for owner in ("1", "2", "3", "4"):
        ended(jobs.start(owner, "compare", lambda job: None))
    assert [owner for owner in "01234" if jobs.latest(owner, "compare")] == ["0", "3", "4"]
    going = [jobs.start(owner, "compare", gate) for owner in ("5", "6", "7")]
    assert [owner for owner in "01234567" if jobs.latest(owner, "compare")] == ["0", "5", "6", "7"]
    gate.open.set()
    ended(*going)


def event(kind: str, message: str = "", task: str = "", side: str = "a", done: int = 0) -> Event:
    return Event(kind, "label", side, message, task, done, 9)  # type: ignore[arg-type]


def test_what_is_told_of_a_run_becomes_bars_loading_and_notices() -> None:
    job = Job("id", "ana", "compare")
    job.handle(event("notice", "Downloading …", "jnli"))
    assert (job.activity, job.notices, job.bars, job.version) == ("Downloading …", [], {}, 1)
    job.handle(event("notice", "No train file."))
    job.handle(event("notice", "No train file."))
    assert (job.activity, job.notices, job.version) == ("Downloading …", ["No train file."], 3)
    first, second = event("record", task="jnli", done=1), event("record", task="jnli", done=2)
    other = event("record", task="jnli", side="b", done=5)
    for one in (first, other, second):
        job.handle(one)
    assert (job.activity, job.bars) == ("", {("a", "jnli"): second, ("b", "jnli"): other})
    for number in range(40):
        job.handle(event("notice", f"notice {number}"))
    assert len(job.notices) == 20
    assert job.notices[-1] == "notice 18"


def test_sixteen_owners_at_once_never_see_each_others_records(settings: Settings, jobs: Jobs, tmp_path: Path) -> None:
    owners = [f"owner {number}" for number in range(16)]
    made = [
        jobs.start_runs(o, "compare", asked(table(tmp_path / f"{n}.jsonl", f"答え{n}"))) for n, o in enumerate(owners)
    ]
    ended(*made)
    assert len({job.runs["a"].run for job in made}) == 16
    for number, (owner, job) in enumerate(zip(owners, made, strict=True)):
        assert (job.owner, job.state) == (owner, "done")
        assert jobs.latest(owner, "compare") is job
        assert texts(stored(settings, job)) == [f"答え{number}"] * ALL
        assert texts([event.record for event in job.bars.values() if event.record]) == [f"答え{number}"]


def texts(records: Sequence[Record]) -> list[str | None]:
    return [record.output.text for record in records if record.output]


def test_a_model_that_changes_while_the_server_is_up_answers_anew(
    settings: Settings, jobs: Jobs, tmp_path: Path
) -> None:
    model = table(tmp_path / "t.jsonl", "中立")
    first = jobs.start_runs("me", "compare", asked(model, 2))
    ended(first)
    table(tmp_path / "t.jsonl", "含意")
    second = jobs.start_runs("me", "compare", asked(model, 2))
    ended(second)
    assert (first.state, second.state) == ("done", "done")
    said = [[r.output.text for r in stored(settings, job) if r.output] for job in (first, second)]
    assert said == [["中立"] * 2, ["含意"] * 2]
    assert first.notices == []
    assert second.notices == [
        f"The files of {model} have changed since run {first.runs['a'].run} of the same settings (t.jsonl): "
        "this is another run, and that one is kept."
    ]
