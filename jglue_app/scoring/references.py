"""Scores to hold a run against: people, and models fine-tuned on the train files. No I/O.

From the JGLUE paper (Kurihara, Kawahara and Shibata 2022) and the baseline tables of its repository at v1.3.0: official
metrics on the whole dev or test files, not on a part of them and not on items of other origin. The JNLI scores are
against the labels of v1.2 and later. Those of JCoLA (Someya, Sugimoto and Oseki 2024, and the table of its repository)
are of its test sets, which are not published, and stand apart.
"""

from __future__ import annotations

from collections.abc import Mapping

from jglue_app.messages import Message, mark
from jglue_app.scoring.types import TaskReport

Scores = Mapping[str, Mapping[str, float]]

REFERENCES: dict[str, Scores] = {
    "human": {
        "marc_ja": {"accuracy": 0.989},
        "jsts": {"pearson": 0.899, "spearman": 0.861},
        "jnli": {"accuracy": 0.925},
        "jsquad": {"exact_match": 0.871, "f1": 0.944},
        "jcommonsenseqa": {"accuracy": 0.986},
    },
    "Tohoku BERT base, fine-tuned": {
        "marc_ja": {"accuracy": 0.958},
        "jsts": {"pearson": 0.909, "spearman": 0.868},
        "jnli": {"accuracy": 0.906},
        "jsquad": {"exact_match": 0.871, "f1": 0.941},
        "jcommonsenseqa": {"accuracy": 0.808},
    },
    "Waseda RoBERTa large (s512), fine-tuned": {
        "marc_ja": {"accuracy": 0.961},
        "jsts": {"pearson": 0.926, "spearman": 0.892},
        "jnli": {"accuracy": 0.934},
        "jsquad": {"exact_match": 0.918, "f1": 0.963},
        "jcommonsenseqa": {"accuracy": 0.891},
    },
}
"""Who → subset → metric → score as a fraction, on the dev files."""

TEST_REFERENCES: dict[str, Scores] = {
    "Tohoku BERT base, fine-tuned": {
        "marc_ja": {"accuracy": 0.957},
        "jsts": {"pearson": 0.907, "spearman": 0.865},
        "jnli": {"accuracy": 0.876},
        "jsquad": {"exact_match": 0.879, "f1": 0.946},
        "jcommonsenseqa": {"accuracy": 0.782},
    },
    "Waseda RoBERTa large (s512), fine-tuned": {
        "marc_ja": {"accuracy": 0.963},
        "jsts": {"pearson": 0.920, "spearman": 0.882},
        "jnli": {"accuracy": 0.902},
        "jsquad": {"exact_match": 0.925, "f1": 0.965},
        "jcommonsenseqa": {"accuracy": 0.873},
    },
}
"""The same on the test files. No score of people on these is published."""

SPLIT_NAMES: Mapping[str, str] = {"valid": "dev"}
"""Split → what people call it, where that is another name."""


def references(split: str) -> Mapping[str, Scores]:
    """Who → subset → metric → score on a split; empty where nothing is published."""
    return {"valid": REFERENCES, "test": TEST_REFERENCES}.get(split, {})


TEST_SETS: dict[str, Mapping[str, Scores]] = {
    "human, one person": {
        "jcola": {
            "valid": {"accuracy": 0.760, "mcc": 0.384},
            "out_of_domain": {"accuracy": 0.854, "mcc": 0.653},
        }
    },
    "Tohoku BERT base, fine-tuned": {
        "jcola": {
            "valid": {"accuracy": 0.838, "mcc": 0.350},
            "out_of_domain": {"accuracy": 0.753, "mcc": 0.247},
        }
    },
    "Waseda RoBERTa large (s512), fine-tuned": {
        "jcola": {
            "valid": {"accuracy": 0.860, "mcc": 0.419},
            "out_of_domain": {"accuracy": 0.810, "mcc": 0.465},
        }
    },
}
"""Who → subset → split → metric → score on the test set that belongs to the split, as a fraction; models are means over
several trainings."""


TITLES = {
    "human": mark("People (all of dev, for comparison)"),
    "Tohoku BERT base, fine-tuned": mark("Tohoku BERT base, fine-tuned (for comparison)"),
    "Waseda RoBERTa large (s512), fine-tuned": mark("Waseda RoBERTa large, fine-tuned (for comparison)"),
}
TEST_SET_TITLES = {
    "human, one person": mark("One person (for comparison, on the unpublished test set)"),
    "Tohoku BERT base, fine-tuned": mark("Tohoku BERT base, fine-tuned (for comparison, on the unpublished test set)"),
    "Waseda RoBERTa large (s512), fine-tuned": mark(
        "Waseda RoBERTa large, fine-tuned (for comparison, on the unpublished test set)"
    ),
}
"""Who → how they are called beside the scores of a run."""


def title(who: str, *, on_test_set: bool = False) -> Message:
    """How somebody is called beside the scores of a run; by their name alone where nothing else is said."""
    return Message((TEST_SET_TITLES if on_test_set else TITLES).get(who, who))


def on_test_set(report: TaskReport, split: str) -> dict[str, Mapping[str, float]]:
    """Who → metric → score on the test set of the same kind of sentences, beside scores on a dev file."""
    if report.source == "sample":
        return {}
    scores_by_system = {who: by_task.get(report.task, {}).get(split) for who, by_task in TEST_SETS.items()}
    return {who: scores for who, scores in scores_by_system.items() if scores}


def references_of(report: TaskReport, split: str) -> dict[str, Mapping[str, float]]:
    """Who → metric → score, where it is fair to name them: on items of the same split, official or (MARC-ja) a user's
    own file."""
    if report.source == "sample":
        return {}
    return {who: by_task[report.task] for who, by_task in references(split).items() if report.task in by_task}
