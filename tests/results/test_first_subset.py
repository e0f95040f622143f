"""The subset with which a run on the page begins."""

from __future__ import annotations

from jglue_app.results import showcase
from jglue_app.results.first_subset import first_subset
from jglue_app.results.library import Library
from jglue_app.settings import Settings
from jglue_app.tasks import TASKS


def test_it_is_the_one_on_which_the_shipped_runs_differ_most(settings: Settings) -> None:
    pair, library = showcase.PAIRS[0], Library(settings.runs_dir)
    shares = {}
    for task in TASKS:
        scores = []
        for name in (pair.a, pair.b):
            of_task = library.judged(showcase.run_folder(name)).get(task, {})
            scores.append({id_: one.judgement.outcome == "correct" for id_, one in of_task.items()})
        both = scores[0].keys() & scores[1].keys()
        if both:
            shares[task] = sum(scores[0][id_] is not scores[1][id_] for id_ in both) / len(both)
    chosen = first_subset(settings)
    assert len(shares) == 5
    assert all(shares[chosen] >= share for share in shares.values())
