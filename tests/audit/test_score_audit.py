"""What is said of one score."""

from __future__ import annotations

from string import Formatter
from typing import Any

import pytest

from jglue_app.audit.auditor import ScoreAudit, audit_score
from jglue_app.audit.sentences import SENTENCES, sentence
from jglue_app.errors import InputError, UnknownNameError
from jglue_app.scoring.metric_names import METRIC_NAMES


def kinds(audit: ScoreAudit) -> set[str]:
    return {found.kind for found in audit.findings}


def said(audit: ScoreAudit, kind: str) -> list[str]:
    return [sentence(found)[0] for found in audit.findings if found.kind == kind]


# --- constants -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("score", "shown"), [(".301561", ".301561"), ("0.3016", "0.3016"), ("30.16", "30.16")])
def test_always_contradiction_with_the_old_labels_is_named(score: str, shown: str) -> None:
    audit = audit_score("jnli", score)
    assert said(audit, "constant") == [
        f"{shown} is exactly 734 of 2,434: what always answering contradiction scores with the labels of JGLUE v1.1."
    ]
    assert audit.findings[0].kind == "constant"
    # Nobody takes contradiction for a default, and always neutral scores more.
    assert "default" not in kinds(audit)
    assert "below_majority" in kinds(audit)


def test_digits_that_are_cut_off_are_seen_to_be_a_constant() -> None:
    audit = audit_score("jnli", "0.3015")
    assert said(audit, "constant_cut") == [
        "0.3015 is 734 of 2,434 (0.301561) with the digits cut off: what always answering contradiction scores with "
        "the labels of JGLUE v1.1."
    ]
    assert "constant" not in kinds(audit)


@pytest.mark.parametrize("score", ["19.3", ".1930", "19.3%", "0.193"])
def test_always_zero_is_the_default_of_wandb(score: str) -> None:
    audit = audit_score("JComQA", score)
    assert said(audit, "constant")[0].endswith("what always answering 0 scores with the labels of JGLUE v1.1–v1.3.")
    assert "exactly 216 of 1,119" in said(audit, "constant")[0]
    assert said(audit, "default") == [
        "Under W&B 2023 an output that cannot be read counts as 0: there this is also the score of a model that never "
        "gives a readable answer."
    ]


@pytest.mark.parametrize(
    ("task", "score", "k", "answer", "edition"),
    [
        ("jnli", "0.1450", 353, "entailment", "JGLUE v1.1"),
        ("jnli", "0.1434", 349, "entailment", "JGLUE v1.3"),
        ("jnli", "0.3020", 735, "contradiction", "JGLUE v1.3"),
        ("jnli", "55.34", 1347, "neutral", "JGLUE v1.1"),
        ("jnli", "0.5546", 1350, "neutral", "JGLUE v1.3"),
        ("jcommonsenseqa", "0.2118", 237, "1", "JGLUE v1.1–v1.3"),
        ("jcommonsenseqa", "0.2145", 240, "2", "JGLUE v1.1–v1.3"),
        ("jcommonsenseqa", "0.2038", 228, "3", "JGLUE v1.1–v1.3"),
        ("jcommonsenseqa", "0.1769", 198, "4", "JGLUE v1.1–v1.3"),
    ],
)
def test_every_constant_answer_of_every_label_version_is_known(
    task: str, score: str, k: int, answer: str, edition: str
) -> None:
    found = [f for f in audit_score(task, score).findings if f.kind == "constant"]
    assert [(f.facts["k"], f.facts["answer"], f.facts["edition"]) for f in found] == [(k, answer, edition)]


def test_few_digits_leave_both_label_versions_open() -> None:
    found = [f for f in audit_score("jnli", "0.302").findings if f.kind == "constant_among"]
    assert {(f.facts["k"], f.facts["edition"]) for f in found} == {(734, "JGLUE v1.1"), (735, "JGLUE v1.3")}
    # One decimal would fit a tenth of all numbers of right answers.
    assert not kinds(audit_score("jnli", "0.3")) & {"constant", "constant_among"}


@pytest.mark.parametrize("score", [".301150", "0.3024", "19.4"])
def test_a_neighbour_of_a_constant_is_none(score: str) -> None:
    audit = audit_score("jnli" if score != "19.4" else "jcommonsenseqa", score)
    assert not kinds(audit) & {"constant", "constant_cut", "default"}


def test_a_third_is_the_balanced_accuracy_of_any_constant() -> None:
    audit = audit_score("jnli", "33.3", metric="balanced_accuracy", system="wandb-2023-0shot")
    assert said(audit, "constant_balanced") == [
        "As a balanced accuracy, 33.3 is what any one constant answer scores: 1 of 3 labels."
    ]
    assert "counts as entailment" in said(audit, "default")[0]
    # Without a metric both readings are given.
    assert {"constant_balanced", "fits_range"} <= kinds(audit_score("jnli", "33.3"))
    assert "constant_balanced" not in kinds(audit_score("jnli", "33.3", metric="acc"))


@pytest.mark.parametrize(("task", "score"), [("jnli", "0.333"), ("jcommonsenseqa", "0.2"), ("marc_ja", "50.0")])
def test_one_label_of_so_many_is_a_constants_balanced_accuracy(task: str, score: str) -> None:
    assert "constant_balanced" in kinds(audit_score(task, score, metric="balanced_acc"))


def test_a_balanced_accuracy_tells_little_of_the_accuracy() -> None:
    audit = audit_score("jnli", "33.33", metric="balanced_accuracy", system="stability-jp")
    # A third, to four digits: 3 · .3333 = .9999 labels' worth, of 353 or of 1,347 items.
    assert said(audit, "balanced_range") == [
        "A balanced accuracy of 33.33 goes with accuracies from 14.50 % to 55.34 % (labels of JGLUE v1.1)."
    ]


def test_zero_is_the_correlation_and_the_mcc_of_a_constant() -> None:
    assert "constant_correlation" in kinds(audit_score("jsts", "0.000"))
    assert "constant_mcc" in kinds(audit_score("jnli", "0", metric="mcc"))
    assert "constant_correlation" not in kinds(audit_score("jsts", "0.001"))
    assert "at_zero" in kinds(audit_score("jsts", "0.001"))


def test_a_correlation_that_is_no_number_is_explained_and_an_accuracy_refused() -> None:
    audit = audit_score("jsts", "nan", metric="spearman")
    assert kinds(audit) == {"constant_nan"}
    assert audit.value is None
    with pytest.raises(InputError, match="not a finite number"):
        audit_score("jnli", "nan")


def test_macro_f1_of_a_constant_is_named_by_its_answer() -> None:
    # Always contradiction, v1.1: 2 · .301561 / 1.301561 / 3 = .154461.
    audit = audit_score("jnli", "0.1545", metric="macro_f1")
    assert [f.facts["answer"] for f in audit.findings if f.kind == "constant_macro"] == ["contradiction"]
    assert "interval_none" in kinds(audit)


# --- digits ----------------------------------------------------------------------------------------------


def test_the_number_of_items_is_told_from_the_digits() -> None:
    # 224/1119 = .200179; of 1,118 items 224 is .200358, and 100 have two decimals.
    audit = audit_score("jcommonsenseqa", "0.200179")
    assert said(audit, "fits_one") == ["0.200179 is exactly 224 right answers of 1,119."]
    assert said(audit, "fits_sizes") == ["It fits 1,119 items; it does not fit 1,118 or 100."]
    assert audit.n == 1119


def test_the_old_and_the_new_size_of_marc_ja_are_told_apart() -> None:
    assert audit_score("marc_ja", "0.749913").n == 5734  # 4300/5734
    assert audit_score("marc_ja", "0.877432").n == 5654  # 4961/5654


def test_a_score_that_no_number_of_right_answers_gives_is_no_accuracy() -> None:
    audit = audit_score("jnli", "0.301400", n=2434)
    assert said(audit, "fits_none") == ["0.301400 is no share of right answers of 2,434 items."]
    why = next(sentence(f)[1] for f in audit.findings if f.kind == "fits_none")
    assert "733 of 2,434 = 0.30115037" in why
    assert "734 of 2,434 = 0.30156122" in why
    assert audit.findings[0].kind == "fits_none"


def test_a_part_of_the_items_is_offered_where_no_known_set_fits() -> None:
    # 65 of 200. The neighbours of 1,119 items are .32440 and .32529, of 1,118 items .32469 and .32558.
    audit = audit_score("jcommonsenseqa", "0.32500")
    assert "fits_none" in kinds(audit)
    assert "200" in said(audit, "fits_part")[0]


def test_a_hundred_items_are_nejumi_neos() -> None:
    audit = audit_score("jnli", "0.57", n=100)
    assert said(audit, "fits_one") == ["0.57 is exactly 57 right answers of 100."]
    assert "constants_unknown" in kinds(audit)


def test_a_system_that_scores_other_sizes_is_doubted() -> None:
    audit = audit_score("jsquad", "9.0", metric="em", system="wandb-2023", n=4442)
    assert said(audit, "system_size") == ["W&B 2023 scores 4,422 items of JSQuAD, and not 4,442."]


def test_of_an_average_of_parts_nothing_follows_from_the_digits() -> None:
    audit = audit_score("jsquad", "45.271448", metric="f1")
    assert "mean_unchecked" in kinds(audit)
    assert not kinds(audit) & {"fits_one", "fits_none"}


# --- certainty and floors --------------------------------------------------------------------------------


def test_the_interval_is_wilsons_and_says_for_how_many_items() -> None:
    audit = audit_score("jnli", "0.3016", n=2434)
    assert said(audit, "interval") == ["95 % interval: 0.2837 to 0.3201 (2,434 items)."]
    assert audit.interval == pytest.approx((0.28369, 0.32013), abs=2e-5)


@pytest.mark.parametrize(
    ("score", "kind"),
    [("0.10", "below_silence"), ("0.150", "at_silence"), ("0.30", "above_silence")],
)
def test_a_score_stands_beside_that_of_never_answering(score: str, kind: str) -> None:
    audit = audit_score("jnli", score, n=2434, system="wandb-2023")
    assert kind in kinds(audit)
    found = next(f for f in audit.findings if f.kind == kind)
    assert (found.facts["k"], found.facts["answer"]) == (353, "entailment")


@pytest.mark.parametrize(("system", "kind"), [("flexeval", "silence_zero"), ("stability-jp", "silence_never")])
def test_other_systems_have_no_such_floor(system: str, kind: str) -> None:
    assert kind in kinds(audit_score("jnli", "0.5123", system=system))


@pytest.mark.parametrize(
    ("score", "kind"), [("0.45", "below_majority"), ("0.56", "at_majority"), ("0.80", "above_majority")]
)
def test_a_score_stands_beside_the_best_constant(score: str, kind: str) -> None:
    assert kind in kinds(audit_score("jnli", score, n=2434))


def test_a_score_at_chance_is_named() -> None:
    assert "at_chance" in kinds(audit_score("jcommonsenseqa", "0.200179"))
    assert "at_chance" not in kinds(audit_score("jcommonsenseqa", "0.300"))


# --- published scores ------------------------------------------------------------------------------------


def test_the_same_digits_elsewhere_are_named() -> None:
    audit = audit_score("jnli", ".301561", metric="acc_norm")
    names = said(audit, "same_digits")[0]
    for model in ("line-corporation-japanese-large-lm-3.6b", "llama-7b", "llama2-7b", "rinna-japanese-gpt-neox-small"):
        assert model in names


def test_accuracies_are_compared_with_accuracies_and_each_model_is_named_once() -> None:
    audit = audit_score("jnli", ".301561")
    assert {c.published.metric for c in audit.published} == {"accuracy"}
    names = said(audit, "same_digits")[0]
    # Its accuracies by summed and by length-normalised log-likelihood are both .301561.
    assert names.count("llama-30b") == 1
    assert "llama-30b 0.301561 (Stability AI)" in names
    # A constant answer by the normalised one is named as such.
    assert "llama2-7b 0.301561 (Stability AI, acc_norm)" in names
    assert "acc_norm" not in said(audit, "published")[0]
    assert "acc_norm" not in said(audit_score("jnli", ".301561", metric="acc"), "same_digits")[0]
    for metric in ("acc", "accuracy", "em", "正解率"):
        assert audit_score("jnli", ".301561", metric=metric).published == audit.published


def test_of_one_model_under_one_system_and_prompt_there_is_one_score() -> None:
    for task, metric in (("jnli", "acc"), ("jnli", "acc_norm"), ("jcommonsenseqa", "acc"), ("jsquad", "em")):
        keys = [
            (p.model.rsplit("/", 1)[-1], p.system, p.prompt)
            for p in (c.published for c in audit_score(task, "0.301561", metric=metric).published)
        ]
        assert len(keys) > 20
        assert len(set(keys)) == len(keys)


def test_only_scores_that_cannot_be_told_are_listed_as_such() -> None:
    # Of 4,442 items .0600 differs by .4 standard errors from .0581 and by twelve from .1367.
    audit = audit_score("jsquad", "6.00", metric="em", n=4442)
    found = next(f for f in audit.findings if f.kind == "published")
    assert found.facts["same"] == 1
    assert found.facts["who"] == ("rinna-japanese-gpt-neox-small 5.81 (Stability AI)",)
    assert said(audit, "published")[0].endswith(
        "cannot be told from it: rinna-japanese-gpt-neox-small 5.81 (Stability AI)."
    )


def test_what_cannot_be_told_is_counted_to_the_last() -> None:
    found = next(f for f in audit_score("jnli", "0.3016").findings if f.kind == "published")
    who, same = found.facts["who"], found.facts["same"]
    assert isinstance(who, tuple)
    assert isinstance(same, int)
    assert who[-1] == f"… (+{same - 4})"


@pytest.mark.parametrize(
    ("task", "metric", "score", "test"),
    [
        ("jnli", "acc", "0.5", "By the score test for two shares, at 5 %."),
        ("jsquad", "char_f1", "0.5", "By the score test for two shares, which is at the widest for an average"),
        ("jsts", "pearson", "0.5", "By the difference of Fisher's z, at 5 %."),
        ("jsts", "spearman", "0.5", "By the difference of Fisher's z with the variance of Bonett and Wright"),
        ("jnli", "balanced_acc", "0.5", "By the largest standard errors that two balanced accuracies"),
    ],
)
def test_the_test_that_was_made_is_named(task: str, metric: str, score: str, test: str) -> None:
    audit = audit_score(task, score, metric=metric)
    whys = [sentence(f)[1] for f in audit.findings if f.kind in ("published", "published_none")]
    assert [why.startswith(test) for why in whys] == [True]


def test_published_scores_that_it_cannot_be_told_from_are_counted_and_tested_as_unpaired() -> None:
    audit = audit_score("jnli", "0.3016")
    near = {c.published.model: c.differs for c in audit.published if c.published.metric == "accuracy"}
    assert near["llama/llama-30b"] is False
    assert near["llama/llama-13b"] is True  # .2412 of the same 2,434 items: 6 points, four standard errors.
    same = sum(not c.differs for c in audit.published)
    assert said(audit, "published")[0].startswith(f"{same} of {len(audit.published)} published scores")
    why = next(sentence(f)[1] for f in audit.findings if f.kind == "published")
    assert "paired test could tell smaller differences" in why


def test_a_score_that_was_published_twice_counts_once() -> None:
    # In the result file with six digits, in the README with two decimals, in an article with one.
    models = [c.published.model for c in audit_score("jcommonsenseqa", "0.7256", metric="acc").published]
    assert sum("llama2-13b-chat" in model for model in models) == 2  # Stability AI's and W&B's.


def test_metrics_that_systems_compute_in_their_own_ways_are_compared_within_a_system() -> None:
    found = audit_score("jsquad", "0.7", metric="f1", system="stability-jp").published
    assert {c.published.system for c in found} == {"stability-jp"}
    assert {c.published.metric for c in audit_score("jsquad", "0.7", metric="char_f1").published} == {"char_f1"}


def test_where_there_is_nothing_to_compare_with_it_says_so() -> None:
    assert "published_empty" in kinds(audit_score("jnli", "0.2", metric="mcc"))


def test_test_sets_are_not_compared_with_dev_sets() -> None:
    assert {c.published.split for c in audit_score("jnli", "0.876").published} <= {"dev", ""}


# --- how it was read -------------------------------------------------------------------------------------


@pytest.mark.parametrize("score", ["0.9", "1", "0.90"])
def test_an_open_scale_is_explained_and_not_settled_in_silence(score: str) -> None:
    audit = audit_score("jnli", score)
    assert (audit.findings[0].kind, audit.findings[0].weight) == ("scale_open", "alert")
    assert "scale_open" not in kinds(audit_score("jnli", score, scale="percent"))
    assert audit_score("jnli", score, scale="percent").value == pytest.approx(float(score) / 100)


def test_the_metric_that_was_taken_is_said() -> None:
    assert said(audit_score("jsts", "0.87"), "metric_assumed") == ["It is taken to be: Pearson correlation."]
    assert "metric_assumed" not in kinds(audit_score("jsts", "0.87", metric="pearson"))


# --- bad input -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [0, -1, 10**9, 2.5, True])
def test_a_number_of_items_that_cannot_be_is_refused(n: Any) -> None:
    with pytest.raises(InputError, match="n is the number of items"):
        audit_score("jnli", "0.3", n=n)


@pytest.mark.parametrize(
    ("task", "more"), [("xnli", {}), ("jnli", {"metric": "bleu"}), ("jnli", {"system": "x"}), ("jnli", {"scale": "x"})]
)
def test_unknown_names_are_refused(task: str, more: dict[str, str]) -> None:
    with pytest.raises(UnknownNameError, match="Unknown"):
        audit_score(task, "0.3", **more)  # type: ignore[arg-type]


# --- sentences -------------------------------------------------------------------------------------------

SCORES = ("0", "0.02", "0.1930", "0.2", "0.301561", "0.3015", "0.3014001", "0.333", "0.5534", "0.87", "0.997", "1.0")
ALL_METRICS = {
    "jnli": (None, "accuracy", "acc_norm", "balanced_accuracy", "macro_f1", "mcc"),
    "jcommonsenseqa": (None, "accuracy", "balanced_accuracy"),
    "marc_ja": (None, "balanced_accuracy"),
    "jsts": (None, "pearson", "spearman"),
    "jsquad": (None, "exact_match", "f1", "char_f1"),
    "jcola": (None, "mcc"),
}


@pytest.mark.parametrize("task", ALL_METRICS)
def test_every_finding_of_every_metric_fills_its_sentences(task: str) -> None:
    for metric in ALL_METRICS[task]:
        for score in SCORES:
            for n, system in ((None, None), (100, None), (7, "wandb-2023"), (None, "stability-jp"), (None, "flexeval")):
                audit = audit_score(task, score, n=n, metric=metric, system=system)
                for row in audit.plain()["findings"]:
                    assert "{" not in row["text"] + row["why"]
                    assert row["text"].endswith((".", ")"))
                    assert row["why"].endswith((".", ")."))


def test_every_sentence_has_a_reason_with_no_place_that_it_does_not_have_itself() -> None:
    assert len(METRIC_NAMES) == 10
    for kind, texts in SENTENCES.items():
        assert all(text.strip().endswith(".") for text in texts), kind
        assert all(name is None or name for text in texts for _, name, _, _ in Formatter().parse(text)), kind
