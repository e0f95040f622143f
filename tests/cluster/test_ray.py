"""Runs over the workers of a real Ray cluster on this machine."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from unittest import mock

import psutil
import pytest

from jglue_app.backends.pool import ModelPool
from jglue_app.backends.scripted import ScriptedBackend
from jglue_app.cluster import RayOptions, distribution, over_workers, run_plans_on_ray
from jglue_app.cluster.connection import connected
from jglue_app.cluster.worker import process_facts
from jglue_app.errors import InputError, ModelNotFoundError, RunBusyError
from jglue_app.grid.grid_run import Failures
from jglue_app.runs.events import Event
from jglue_app.runs.plan import Plan
from jglue_app.runs.runner import run_plan
from jglue_app.runs.store import RunStore
from jglue_app.settings import Settings
from jglue_app.types import PromptSpec
from tests.cluster.deaths import check, kill_worker
from tests.runs.test_runner import planned, table, wanted, written

OPTIONS = RayOptions("local", 2, 2, 1, "cpu")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    """One for all tests of this file: starting it takes seconds."""
    before = dict(os.environ)
    with connected(OPTIONS):
        yield
    assert os.environ.get("RAY_AUTH_MODE") == before.get("RAY_AUTH_MODE")  # It would be for other clusters, too.


def over(
    settings: Settings, plans: list[Plan], should_stop: Callable[[], bool] = lambda: False, workers: int = 2
) -> Iterator[Event]:
    options = replace(OPTIONS, min_workers=workers, max_workers=workers)
    with ModelPool(settings, device="cpu") as pool:
        yield from run_plans_on_ray([("a", plan) for plan in plans], pool, settings, options, should_stop)


def undisturbed(settings: Settings, plan: Plan, tmp_path: Path) -> Settings:
    """Settings with the same run, made in this process."""
    here = replace(settings, runs_dir=tmp_path / "here")
    with ModelPool(here, device="cpu") as pool, mock.patch.object(ScriptedBackend, "_wait", return_value=True):
        list(run_plan(plan, pool, here.runs_dir))
    return here


def test_two_workers_store_what_one_process_would_and_a_killed_one_loses_nothing(
    settings: Settings, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    # Of the second model everything is answered before a second worker has loaded it.
    models = [table(tmp_path / f"{n}.jsonl", seconds=seconds) for n, seconds in enumerate((0.05, 0.0))]
    plans = [
        planned(settings, models[0], ["jnli", "jsquad"]),
        *(planned(settings, models[1], ["jsts", "jnli"], prompt=PromptSpec(shots=shots)) for shots in (0, 1, 2)),
    ]
    killed, seen = False, []
    for event in over(settings, plans):
        if event.record:
            seen.append((event.record.spec_id, event.task, event.record.item_id))
            killed = killed or (len(seen) > 10 and kill_worker())
    assert killed
    assert actors() == []  # No process of a worker is left.
    assert capfd.readouterr().out == ""  # It is for results.
    assert len(seen) == len(set(seen)) == sum(plan.total for plan in plans)
    for plan in plans:
        assert sorted(written(settings, plan)) == sorted(wanted(plan))
        counts = check(settings, undisturbed(settings, plan, tmp_path), plan)
        assert counts == {"items": plan.total, "lost": 0, "twice": 0, "other answers": 0, "other reports": 0}


def test_a_stopped_run_keeps_its_answers_and_goes_on_in_one_process(settings: Settings, tmp_path: Path) -> None:
    plan = planned(settings, table(tmp_path / "table.jsonl", seconds=0.2), ["jnli"])
    stopped: list[float] = []
    events = []
    for event in over(settings, [plan], should_stop=lambda: bool(stopped)):
        events.append(event)
        if sum(e.record is not None for e in events) >= 3 and not stopped:
            stopped.append(time.monotonic())
    assert time.monotonic() - stopped[0] < 4
    assert events[-1].kind == "stopped"
    kept = written(settings, plan)
    assert 3 <= len(kept) == len(set(kept)) == events[-1].run_done < plan.total
    with ModelPool(settings) as pool, mock.patch.object(ScriptedBackend, "_wait", return_value=True):
        again = list(run_plan(plan, pool, settings.runs_dir))
    assert again[-1].kind == "done"
    assert written(settings, plan)[: len(kept)] == kept
    assert sorted(written(settings, plan)) == sorted(wanted(plan))


def test_nobody_else_may_write_to_the_run(settings: Settings, tmp_path: Path) -> None:
    plan = planned(settings, table(tmp_path / "table.jsonl"), ["jnli"])
    with RunStore.of(settings.runs_dir, plan.spec).writing(), pytest.raises(RunBusyError):
        list(over(settings, [plan], workers=1))


def test_a_worker_with_other_versions_is_named_before_an_item_is_answered(settings: Settings, tmp_path: Path) -> None:
    plan = planned(settings, table(tmp_path / "table.jsonl"), ["jnli"])
    other = {**process_facts(), "transformers": "1.2.3"}
    with (
        mock.patch.object(distribution, "process_facts", return_value=other),
        pytest.raises(InputError, match=rf"The worker on {other['host']} has transformers 5.*has transformers 1\.2\.3"),
    ):
        list(over(settings, [plan], workers=1))
    assert not RunStore.of(settings.runs_dir, plan.spec).exists()


def test_a_worker_without_the_files_of_the_model_is_named(settings: Settings, tmp_path: Path) -> None:
    model = table(tmp_path / "table.jsonl")
    plan = planned(settings, model, ["jnli"])
    model.unlink()
    host = process_facts()["host"]
    with pytest.raises(ModelNotFoundError, match=rf"^{host}: The table of answers"):
        list(over(settings, [plan], workers=1))
    assert not RunStore.of(settings.runs_dir, plan.spec).exists()


def actors() -> list[str]:
    """Names of the processes of workers, once those that end have had time for it."""
    deadline, found = time.monotonic() + 10, _actors()
    while found and time.monotonic() < deadline:
        time.sleep(0.1)
        found = _actors()
    return found


def _actors() -> list[str]:
    found = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            found += [name for name in process.cmdline()[:1] if name.startswith("ray::Worker")]
    return found


def test_a_grid_runs_over_workers_and_a_run_that_cannot_be_made_stops_no_other(
    settings: Settings, tmp_path: Path
) -> None:
    models = [table(tmp_path / f"{n}.jsonl") for n in range(3)]
    plans = [planned(settings, model, ["jnli"], limit=5) for model in models]
    models[1].unlink()
    failures: Failures = {}
    with ModelPool(settings, device="cpu") as pool:
        events = list(over_workers(settings, pool, OPTIONS, failures=failures)(plans))
    assert [RunStore.of(settings.runs_dir, plan.spec).exists() for plan in plans] == [True, False, True]
    for plan in (plans[0], plans[2]):
        assert sorted(written(settings, plan)) == sorted(wanted(plan))
    assert list(failures) == [plans[1].spec.spec_id]
    assert all("1.jsonl" in failure.message for failure in failures.values())
    assert sum(event.kind == "done" for event in events) == 2
    assert any(event.kind == "notice" and "1.jsonl" in event.message for event in events)


def test_plans_of_one_run_answer_each_item_once(settings: Settings, tmp_path: Path) -> None:
    model = table(tmp_path / "table.jsonl", seconds=0.02)
    plans = [planned(settings, model, ["jnli"], limit=limit) for limit in (20, 8, 20)]
    events = list(over(settings, plans))
    assert sum(event.record is not None for event in events) == plans[0].total == 20
    assert sorted(written(settings, plans[0])) == sorted(wanted(plans[0]))
