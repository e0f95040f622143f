"""The made library is one of the package, and the simulated cluster answers everything."""

from __future__ import annotations

from pathlib import Path

import pytest

from jglue_app.results.library import Library
from tests.scale.cluster import POLICIES, Cluster, Model, simulate
from tests.scale.make_library import write_runs
from tests.scale.shipped import Shipped


def test_runs_of_the_made_library_are_whole(tmp_path: Path) -> None:
    write_runs(tmp_path, range(2), 60)
    library = Library(tmp_path)
    runs, damaged = library.listing()
    assert damaged == {}
    assert [(run.done, run.planned) for run in runs] == [(60, 60)] * 2
    scores = library.scores("official", "official")
    assert {len(run.tasks) for run in scores.values()} == {4}


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("deaths", [0.0, 150.0])
def test_every_batch_is_answered_and_nothing_is_faster_than_the_bound(policy: str, deaths: float) -> None:
    models = [Model(f"m{i}", 5.0, ((3.0,) * (10 + i), (2.0,) * 7)) for i in range(6)]
    found = simulate(models, Cluster(4, start_s=2, deaths_per_hour=deaths), policy)
    assert found.done == sum(10 + i + 7 for i in range(6))
    assert found.makespan >= found.bound
    assert (found.again == found.deaths, found.deaths > 0) == (True, deaths > 0)


def test_one_gpu_is_never_idle() -> None:
    found = simulate(
        [Model("m", 5.0, ((3.0, 4.0),)), Model("n", 1.0, ((2.0,),))], Cluster(1, start_s=2), "a GPU for each model"
    )
    # Two starts of 2 s, loads of 5 s and 1 s, batches of 9 s.
    assert (found.makespan, found.bound, found.idle, found.loads) == (19.0, 19.0, 0.0, 2)


@pytest.mark.parametrize("deaths", [0.0, 90.0])
def test_the_packages_scheduler_answers_every_item_of_more_workers_than_models(deaths: float) -> None:
    models = [Model(f"m{i}", 5.0 + i, ((3.2,) * 14,) * 4, ((64,) * 10, (64,) * 4)) for i in range(3)]
    found = Shipped(models, Cluster(8, start_s=2, deaths_per_hour=deaths), 5, 1_000).outcome()
    assert found.done == 3 * 4 * 14 * 64
    assert found.makespan >= found.bound
    assert (found.deaths > 0) == (deaths > 0)


def test_the_packages_scheduler_on_one_gpu_loads_each_model_once() -> None:
    models = [Model(name, load, ((3.0, 4.0),), ((100,), (100,))) for name, load in (("m", 5.0), ("n", 1.0))]
    found = Shipped(models, Cluster(1, start_s=2), 100, 100).outcome()
    # A start of 2 s, loads of 5 s and 1 s, prompts of 4 s, answers of 14 s.
    assert found.makespan == pytest.approx(26)
    assert found.idle == pytest.approx(0, abs=1e-9)
    assert found.loads == 2
