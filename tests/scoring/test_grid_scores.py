"""The scores of a grid's runs with and without groups of items: judged answers of JNLI, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from jglue_app.scoring.effect_types import AVERAGE, GridScores
from jglue_app.scoring.grid_scores import grid_scores, groups_of, run_values
from jglue_app.scoring.judged import ScoredItem
from jglue_app.scoring.protocols import get_protocol
from jglue_app.scoring.protocols.official import judge
from jglue_app.tasks import TASKS
from jglue_app.types import Item, Output, Prompt, Record

ANSWERS = {"jnli": ("含意", "矛盾", "中立"), "jcola": ("容認可能", "容認不可能")}
LABELS = {"jnli": ("entailment", "contradiction", "neutral"), "jcola": ("acceptable", "unacceptable")}
Z2 = 3.8414588206941227
"""scipy.stats.norm.ppf(.975)²"""


def row(task: str, id_: str, *, right: bool) -> ScoredItem:
    item = Item(task, id_, dict.fromkeys(TASKS[task].fields, "文"), (LABELS[task][0],), LABELS[task])
    prompt = Prompt(task, id_, "p", None, (), ANSWERS[task], "", (), "")
    text = ANSWERS[task][0 if right else 1]
    record = Record("s", task, id_, prompt, Output(text, "stop", 9, 2, 0.25, None))
    return ScoredItem(item, record, judge(TASKS[task], item, record))


def scores_of(*runs: dict[str, dict[int, bool]]) -> dict[str, GridScores]:
    """Subset → the accuracy of runs, each given as subset → number of an item → whether it is right."""
    protocol = get_protocol("official")
    groups = groups_of([{task: [str(i) for i in items] for task, items in run.items()} for run in runs])
    judged = [
        {task: {str(i): row(task, str(i), right=right) for i, right in items.items()} for task, items in run.items()}
        for run in runs
    ]
    found = grid_scores([run_values(one, protocol, groups) for one in judged], groups)
    return {one.task: one for one in found if one.reading == "strict" and one.metric in ("accuracy", "mean")}


def test_runs_of_one_item_have_their_scores() -> None:
    scores = scores_of({"jnli": {0: True}}, {"jnli": {0: False}})["jnli"]
    assert scores.usable.all()
    assert (scores.values.tolist(), scores.n) == ([1.0, 0.0], 1)
    assert not scores.covariance.any()


def test_a_run_of_one_item_among_others_is_not_usable_and_takes_nothing_from_them() -> None:
    scores = scores_of({"jnli": dict.fromkeys(range(5), True)}, {"jnli": {0: True}})["jnli"]
    assert scores.usable.tolist() == [True, False]
    assert scores.n == 5


def test_a_run_whose_items_all_fall_into_one_group_has_the_variance_of_its_own_items() -> None:
    # Of 120 items the first and the hundred and first are left out together: nothing would be left of the second run.
    every = {i: i % 4 > 0 for i in range(120)}
    few = {0: True, 100: False}
    scores = scores_of({"jnli": every}, {"jnli": few})["jnli"]
    assert scores.usable.all()
    assert scores.n == 2
    # Values without each of two items are 0 and 1, and .5 in the 98 other groups: .99 · 2 · .5².
    assert scores.covariance[1, 1] == pytest.approx(0.99 * 2 * 0.25)


def test_runs_that_are_all_wrong_or_all_right_have_what_the_width_of_wilsons_interval_implies() -> None:
    wrong, right = dict.fromkeys(range(20), False), dict.fromkeys(range(20), True)
    mixed = {i: i < 5 for i in range(20)}
    scores = scores_of({"jnli": wrong}, {"jnli": right}, {"jnli": mixed})["jnli"]
    assert scores.unseen is not None
    error = Z2**0.5 / (2 * (20 + Z2))
    assert scores.unseen == pytest.approx(np.array([[error, 0], [0, -error], [0, 0]]))
    assert np.diag(scores.covariance)[:2].tolist() == [0.0, 0.0]


def test_in_an_average_they_are_independent_between_subsets() -> None:
    wrong = dict.fromkeys(range(20), False)
    found = scores_of({"jnli": wrong, "jcola": wrong}, {"jnli": wrong, "jcola": {i: i < 5 for i in range(20)}})
    scores = found[AVERAGE]
    assert scores.unseen is not None
    variance = np.diag(scores.unseen @ scores.unseen.T)
    of_one = Z2 / (2 * (20 + Z2)) ** 2
    assert variance == pytest.approx([2 * of_one / 4, of_one / 4])
