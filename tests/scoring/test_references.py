"""Scores to hold a run against."""

from __future__ import annotations

import pytest

from jglue_app.messages import say
from jglue_app.scoring.references import REFERENCES, TEST_SETS, on_test_set, references_of, title
from jglue_app.scoring.types import Estimate, TaskReport
from jglue_app.tasks import TASKS
from jglue_app.types import Source


def report(task: str, source: Source = "official") -> TaskReport:
    nothing = Estimate(None, None, None, 0)
    metric = TASKS[task].metrics[0] if task in TASKS else "accuracy"
    return TaskReport(task, source, 1, 1, {metric: nothing}, {}, {}, {}, {}, 0, 0, {})


BERT, ROBERTA = "Tohoku BERT base, fine-tuned", "Waseda RoBERTa large (s512), fine-tuned"


@pytest.mark.parametrize(
    ("task", "dev", "test"),
    [
        ("marc_ja", [0.958, 0.961], [0.957, 0.963]),
        ("jsts", [0.909, 0.868, 0.926, 0.892], [0.907, 0.865, 0.920, 0.882]),
        ("jnli", [0.906, 0.934], [0.876, 0.902]),
        ("jsquad", [0.871, 0.941, 0.918, 0.963], [0.879, 0.946, 0.925, 0.965]),
        ("jcommonsenseqa", [0.808, 0.891], [0.782, 0.873]),
    ],
)
def test_a_split_has_its_own_baselines(task: str, dev: list[float], test: list[float]) -> None:
    for split, scores in (("valid", dev), ("test", test)):
        found = references_of(report(task), split)
        assert [found[who][metric] for who in (BERT, ROBERTA) for metric in TASKS[task].metrics] == scores


def test_people_have_answered_dev_alone() -> None:
    assert references_of(report("jnli"), "valid")["human"] == {"accuracy": 0.925}
    assert list(references_of(report("jnli"), "test")) == [BERT, ROBERTA]


def test_samples_and_the_train_split_have_none() -> None:
    assert references_of(report("jnli", "sample"), "test") == {}
    assert references_of(report("jnli"), "train") == {}


@pytest.mark.parametrize("split", ["valid", "test", "out_of_domain"])
def test_a_subset_of_which_nothing_is_published_has_none(split: str) -> None:
    new = report("a_new_subset")
    assert references_of(new, split) == on_test_set(new, split) == {}


def test_everybody_has_a_title_in_both_languages() -> None:
    assert title("human") == "People (all of dev, for comparison)"
    assert say(title("human"), "ja") == "人間（参考、dev 全体）"
    for names, unpublished in ((REFERENCES, False), (TEST_SETS, True)):
        for who in names:
            text = title(who, on_test_set=unpublished)
            assert text != who
            assert say(text, "ja") != text
    assert (
        title("Somebody else, fine-tuned")
        == say(title("Somebody else, fine-tuned"), "ja")
        == "Somebody else, fine-tuned"
    )
