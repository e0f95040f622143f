"""The sentence on a comparison: its finding and its catch, each by scores that are worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from jglue_app.messages import say
from jglue_app.scoring.comparison import compare_runs
from jglue_app.scoring.headline import Headline, headline
from jglue_app.scoring.model_change import change_between
from jglue_app.scoring.report import report_run
from jglue_app.types import Decoding, Item, ModelSpec, Output, Prompt, PromptSpec, Record, RunData, RunError, RunSpec
from tests.scoring.test_insights import EVEN, WORDS, good, ranking, reviews, with_ranking
from tests.scoring.test_report import SPEC, joined, nli, output, pairs, squad, sts

OTHER = replace(SPEC, model=ModelSpec("n"))
SHOTS = replace(SPEC, prompt=PromptSpec(shots=3))


def of_pair(a: RunData, b: RunData, protocol: str = "official") -> Headline:
    comparison = compare_runs(a, b, protocol)
    return headline(comparison.a, comparison.b, comparison, change_between(a.spec, b.spec))


def of_one(run: RunData, protocol: str = "official") -> Headline:
    return headline(report_run(run, protocol))


def test_a_gain_that_equals_the_constant_answer_is_said_with_that_in_one_sentence() -> None:
    # Each label is gold of a third. A writes none; B always writes 含意: McNemar 2 · ½¹⁰.
    found = of_pair(good(wrong=30), replace(good(wrong=30, said="含意"), spec=SHOTS))
    assert (found.kind, found.task) == ("better", "jnli")
    assert found.sentence == (
        "Same model, given 3 examples: the score of the written answers rises from 0.00 to 0.33 (JNLI, 30 items), but "
        "always giving the same answer scores 0.33 too."
    )
    assert say(found.sentence, "ja") == (
        "同じモデルでも、例題を 3 個見せるだけで、書いた答えのスコアが 0.00 から 0.33 に上がります（JNLI、30 問）。"
        "ただし、いつも同じ答えを出すだけでも 0.33 になります。"
    )


def test_a_fall_is_said_of_the_side_that_was_better() -> None:
    found = of_pair(replace(good(wrong=30, said="含意"), spec=SHOTS), good(wrong=30))
    assert "given no examples instead of 3: the score of the written answers falls from 0.33 to 0.00" in found.sentence
    assert found.sentence.endswith("but always giving the same answer scores 0.33 too.")


def test_a_model_that_is_better_and_above_its_floor_has_no_catch() -> None:
    found = of_pair(good(wrong=30), replace(good(), spec=OTHER))
    assert found.sentence == (
        "B is better: the score of the written answers is 1.00, against 0.00 for A (JNLI, 30 items)."
    )
    assert say(found.sentence, "ja") == (
        "B のほうが上です。書いた答えのスコアは B が 1.00、A が 0.00 です（JNLI、30 問）。"
    )


def test_a_loser_that_ranks_the_right_answer_first_loses_on_form() -> None:
    found = of_pair(with_ranking(0, 60), replace(good(n=60), spec=OTHER))
    assert found.sentence.endswith(
        "(JNLI, 60 items), but A ranks the right answer first for 100% of the items: it loses mostly on form."
    )


def test_a_loser_that_fails_mostly_on_what_it_does_not_know_either_loses_on_form_too() -> None:
    # A writes 15 of 60 and ranks 36 first: 21 of its 45 losses can be of form, less than half.
    found = of_pair(with_ranking(15, 36), replace(good(n=60), spec=OTHER))
    assert found.sentence.endswith(
        "but A ranks the right answer first for 60% of the items: its form costs points too."
    )
    assert say(found.sentence, "ja").endswith(
        "ただし、A も選ばせれば 60% の問題で正解を選びます。書き方でも失点しています。"
    )


def test_scores_that_two_digits_cannot_tell_apart_have_more() -> None:
    comparison = compare_runs(good(wrong=30), replace(good(), spec=OTHER))
    difference = comparison.differences["jnli"]["accuracy"]
    close = replace(difference, a=replace(difference.a, value=0.8412), b=replace(difference.b, value=0.8447))
    comparison = replace(comparison, differences={"jnli": {"accuracy": close}})
    found = headline(comparison.a, comparison.b, comparison)
    assert "is 0.845, against 0.841 for A" in found.sentence


def test_that_the_other_side_is_ahead_elsewhere_is_not_left_out() -> None:
    spans = [f"答{i}" for i in range(12)]
    a = joined(good(wrong=30), squad({s: (s,) for s in spans}))
    b = joined(good(), squad({f"{s}？": (s,) for s in spans}))
    found = of_pair(a, replace(b, spec=OTHER))
    assert found.sentence == (
        "B is better: the score of the written answers is 1.00, against 0.00 for A (JNLI, 30 items), but A is better "
        "on JSQuAD."
    )


def test_what_is_won_on_a_floor_only_is_named_beside_what_is_won_above_one() -> None:
    # B is right in all of JNLI, and calls every review positive, as every second one is: 0.50 against 0.
    a = joined(good(wrong=30), reviews(*["よい"] * 20))
    b = joined(good(), reviews(*["肯定"] * 20))
    found = of_pair(a, replace(b, spec=OTHER))
    assert found.sentence == (
        "B is better on 2 of 2 subsets: the score of the written answers is 1.00, against 0.00 for A (JNLI, 30 items), "
        "but the scores on MARC-ja are no better than always giving the same answer."
    )


def test_a_score_of_what_cannot_be_told_from_the_floor_names_both() -> None:
    # 14 of 30 is 0.47; Wilson from 0.302 on, below a third.
    a, b = good(wrong=30), replace(good(wrong=16), spec=OTHER)
    assert of_pair(a, b).sentence.endswith(
        "but 0.47 cannot be told apart from 0.33, the score of always giving the same answer."
    )


def test_a_gap_is_said_where_no_side_is_better() -> None:
    a = with_ranking(15, 60)
    found = of_pair(a, replace(with_ranking(15, 40), spec=OTHER))
    assert (found.kind, found.task, found.sentence) == (
        "gap",
        "jnli",
        "A: the score of the written answers is 0.25 (JNLI, 60 items), but it ranks the right answer first for 100% of "
        "the items: it knows more than it writes.",
    )


@pytest.mark.parametrize(
    ("only_b", "same", "sentence"),
    [
        # Connor: ((1.96 · √.25 + 0.842 · √(.25 − .25²)) / .25)² = 28.9
        (
            3,
            9,
            "These items show no clear difference between A and B: it would take about 29 items to confirm the "
            "largest one (JNLI: A 0.75, B 1.00).",
        ),
        # One item needs nine for this difference, and no verdict comes before ten.
        (
            1,
            0,
            "These items show no clear difference between A and B: it would take about 10 items to confirm the "
            "largest one (JNLI: A 0.00, B 1.00).",
        ),
        (0, 12, "A and B have the same scores and give the same answers."),
    ],
)
def test_no_difference_that_can_be_shown_says_how_many_items_would_tell(only_b: int, same: int, sentence: str) -> None:
    assert of_pair(*pairs(0, only_b, same)).sentence == sentence


def test_the_same_scores_by_other_answers_say_so() -> None:
    assert of_pair(*pairs(3, 3, 6)).sentence == (
        "A and B have the same scores, but their answers differ on 6 of 12 items."
    )


def test_one_run_alone_has_its_score_and_its_catch() -> None:
    found = of_one(with_ranking(15, 60))
    assert (found.kind, found.sentence) == (
        "gap",
        "In this run the score of the written answers is 0.25 (JNLI, 60 items), but it ranks the right answer first "
        "for 100% of the items: it knows more than it writes.",
    )
    assert of_one(good()).sentence == "In this run the score of the written answers is 1.00 (JNLI, 30 items)."
    assert of_one(joined(good(), reviews(*["肯定"] * 20))).sentence == (
        "In this run the score of the written answers is 1.00 (JNLI, 30 items), but the scores on MARC-ja are no "
        "better than always giving the same answer."
    )
    assert of_one(good(wrong=30)).sentence == (
        "In this run the score of the written answers is 0.00 (JNLI, 30 items), but 0.00 is below 0.33, the score of "
        "always giving the same answer."
    )


def test_a_side_without_an_answer_leaves_the_other_alone() -> None:
    begun, nothing = good(), replace(nli(planned=30), spec=OTHER)
    both = {**begun.items["jnli"]}
    nothing = replace(nothing, items={"jnli": both})
    found = of_pair(begun, nothing)
    assert found.sentence == "A: the score of the written answers is 1.00 (JNLI, 30 items)."


def test_no_scores_at_all_are_a_sentence_too() -> None:
    assert of_one(nli(planned=3)).sentence == "No item has an answer yet."
    assert of_one(sts({1.0: "1", 2.0: "2"}), "nejumi-4").sentence == (
        "nejumi-4 does not score JSTS. Choose another protocol."
    )
    texts = nli(*[(EVEN[i % 3], output(WORDS[EVEN[i % 3]])) for i in range(6)])
    assert of_one(texts, "stability-jp").sentence == (
        "There is no score under stability-jp: these runs lack what it looks at. Choose another protocol."
    )


def test_rankings_alone_are_scored_as_rankings() -> None:
    ranked = nli(*[(EVEN[i % 3], output(None, ranking(i % 3, 3), "scored")) for i in range(30)])
    assert of_one(ranked).sentence == "In this run the score of the answers ranked first is 1.00 (JNLI, 30 items)."


def test_a_correlation_that_is_undefined_says_why() -> None:
    # 2, 4, 1, 3 with 1, 2, 3, 4: r = 0.
    some, constant = sts({1.0: "2", 2.0: "4", 3.0: "1", 4.0: "3"}), sts({1.0: "4", 2.0: "4", 3.0: "4", 4.0: "4"})
    none = sts({1.0: "？", 2.0: "？", 3.0: "？", 4.0: "3"})
    assert of_one(constant).sentence == "There is no score: no correlation can be computed on JSTS."
    assert (
        of_one(none).sentence
        == "There is no score: no correlation can be computed on JSTS (3 of 4 outputs are not numbers)."
    )
    found = of_pair(some, replace(none, spec=OTHER))
    assert (found.kind, found.sentence) == (
        "undefined",
        "A: the correlation with the gold values is 0.00 (JSTS, 4 items), but no correlation can be computed for B on "
        "JSTS (3 of 4 outputs are not numbers).",
    )
    assert (
        of_pair(constant, replace(none, spec=OTHER)).sentence
        == "There is no score: no correlation can be computed for A, B on JSTS."
    )


def test_runs_of_other_items_are_not_compared() -> None:
    found = of_pair(good(), replace(reviews(*["肯定", "否定"] * 10), spec=OTHER))
    assert (found.kind, found.sentence) == ("apart", "A and B have no item in common that both have a score for.")


def cosines(*values: float, spec: RunSpec) -> RunData:
    """A run of embeddings over as many items, whose gold values are 0, 1, 2 …"""
    items = [Item("jsts", str(i), {"sentence1": "犬", "sentence2": "猫"}, float(i)) for i in range(len(values))]
    prompt = Prompt("jsts", "", "犬\n猫", None, (), (), "", (), "")
    records = [
        Record("s", "jsts", item.id, replace(prompt, item_id=item.id), Output(str(value), "scored", 2, 0, 0.1))
        for item, value in zip(items, values, strict=True)
    ]
    return RunData(spec, {"jsts": {item.id: item for item in items}}, {"jsts": "sample"}, records)


def test_runs_of_embeddings_are_told_by_their_correlations() -> None:
    embeds = replace(SPEC, tasks=("jsts",), decoding=Decoding(method="embed"))
    a = cosines(*[0.1 * i for i in range(6)], spec=embeds)
    b = cosines(*[0.1 * (5 - i) for i in range(6)], spec=replace(embeds, model=ModelSpec("n")))
    assert of_one(a).sentence == "In this run the correlation with the gold values is 1.00 (JSTS, 6 items)."
    # Six items are too few for a verdict, however clear they look.
    assert of_pair(a, b).sentence == (
        "These items show no clear difference between A and B: it would take about 10 items to confirm the "
        "largest one (JSTS: A 1.00, B -1.00)."
    )


# --- what differs between two runs of one model -----------------------------------------------------------


@pytest.mark.parametrize(
    ("a", "b", "text"),
    [
        (SPEC, SHOTS, "given 3 examples"),
        (SPEC, replace(SPEC, prompt=PromptSpec(shots=1)), "given 1 example"),
        (SHOTS, SPEC, "given no examples instead of 3"),
        (SHOTS, replace(SPEC, prompt=PromptSpec(shots=4)), "given 4 examples instead of 3"),
        (SPEC, replace(SPEC, prompt=PromptSpec(format="chat")), "in the chat format instead of plain"),
        (SPEC, replace(SPEC, prompt=PromptSpec(style="x")), "with the wording “x” instead of “Japanese labels”"),
        (SPEC, replace(SPEC, prompt=PromptSpec(system="猫")), "with another prompt"),
        (SPEC, replace(SPEC, model=ModelSpec("m", quantization="4bit")), "in 4-bit instead of full precision"),
        (
            SPEC,
            replace(SPEC, prompt=PromptSpec(shots=2, style="x")),
            "with another wording and number of examples",
        ),
        (
            SPEC,
            replace(SPEC, prompt=PromptSpec(shots=2, style="x", format="chat")),
            "with another prompt format, wording and number of examples",
        ),
        (SPEC, replace(SPEC, prompt=PromptSpec(shots=2, style="x", format="chat", system="猫")), "with other settings"),
        (
            SPEC,
            replace(SHOTS, decoding=Decoding(max_new_tokens=3)),
            "with another number of examples and decoding settings",
        ),
        (SPEC, replace(SPEC, decoding=Decoding(max_new_tokens=3)), "with other settings"),
        (SPEC, SPEC, None),
        (SPEC, OTHER, None),
        (
            replace(SPEC, model=ModelSpec("m", files_sha256="1")),
            replace(SHOTS, model=ModelSpec("m", files_sha256="2")),
            None,
        ),
    ],
)
def test_what_differs_is_named_where_the_model_is_the_same(a: RunSpec, b: RunSpec, text: str | None) -> None:
    assert change_between(a, b) == text


# --- one reading, and the same items ----------------------------------------------------------------------


def written_and_ranked(n: int, right: int, ranked: int, *, text: bool = True, failed: int = 0) -> RunData:
    """JNLI: the first of `n` items written right (or without a text), the first ranked right, the last ones failed."""
    rows = []
    for i in range(n):
        best = ranking((i + (i >= ranked)) % 3, 3)
        said = WORDS[EVEN[i % 3]] if i < right else "？"
        rows.append((EVEN[i % 3], output(said, best) if text else output(None, best, "scored")))
    run = nli(*rows)
    broken = (
        [replace(r, output=None, error=RunError("model", "x")) for r in run.records[n - failed :]] if failed else []
    )
    return replace(run, records=[*run.records[: n - failed], *broken])


def test_where_only_rankings_can_be_compared_the_sentence_is_about_rankings() -> None:
    # A has no text, and ranks 10 of 30 right; B writes none right, and ranks all right.
    found = of_pair(written_and_ranked(30, 0, 10, text=False), replace(written_and_ranked(30, 0, 30), spec=OTHER))
    assert found.sentence == (
        "B is better: the score of the answers ranked first is 1.00, against 0.33 for A (JNLI, 30 items), but the "
        "written answers of B score only 0.00."
    )
    # What B writes is no part of a comparison of equal rankings.
    found = of_pair(written_and_ranked(30, 0, 10, text=False), replace(written_and_ranked(30, 30, 10), spec=OTHER))
    assert found.sentence == "The answers that A and B rank first show no clear difference in score."


def test_floor_and_form_are_of_the_items_that_both_have_answered() -> None:
    # B has answered the first 12 of 45, none right. A has just those right: 1.00 of 12, above a third, though 0.27 of
    # all 45 is not.
    a = written_and_ranked(45, 12, 0)
    b = written_and_ranked(45, 0, 0, failed=33)
    found = of_pair(a, replace(b, spec=OTHER))
    assert (
        found.sentence == "A is better: the score of the written answers is 1.00, against 0.00 for B (JNLI, 12 items)."
    )
    # A ranks none of the 12 right: that it would have the others right is no loss on form.
    lost = replace(written_and_ranked(45, 0, 45), spec=OTHER)
    of_twelve = written_and_ranked(45, 12, 12, failed=33)
    assert "ranks the right answer first for 100%" in of_pair(lost, of_twelve).sentence
    wrong = [
        replace(r, output=replace(r.output, choice_logprobs=ranking((i + 1) % 3, 3)))
        for i, r in enumerate(lost.records[:12])
        if r.output
    ]
    assert of_pair(replace(lost, records=[*wrong, *lost.records[12:]]), of_twelve).sentence == (
        "B is better: the score of the written answers is 1.00, against 0.00 for A (JNLI, 12 items)."
    )


def test_a_gap_needs_a_test_and_a_ranking_of_every_item() -> None:
    # 7 of 10 written, 9 ranked: 2 · ½² = 0.5. 30 written and 45 ranked of 45: 2 · ½¹⁵.
    assert of_one(written_and_ranked(10, 7, 9)).kind == "score"
    assert of_one(written_and_ranked(45, 30, 45)).kind == "gap"
    some = written_and_ranked(45, 30, 45)
    first, *others = some.records
    assert first.output is not None
    unranked = [replace(first, output=replace(first.output, choice_logprobs=None)), *others]
    assert of_one(replace(some, records=unranked)).kind == "score"


def test_the_same_scores_are_those_of_all_items_and_of_every_metric() -> None:
    one = written_and_ranked(30, 30, 30)
    failed = replace(written_and_ranked(30, 30, 30, failed=29), spec=OTHER)
    assert of_pair(one, failed).sentence == (
        "These items show no clear difference between A and B: they have answers to only 1 of the same items."
    )
    more = joined(one, reviews(*["肯定"] * 20))
    assert of_pair(more, replace(one, spec=OTHER)).sentence == "A and B have the same scores on JNLI."
    # No answer is the gold one. Of B's 4 characters 2 are: F1 2 · ½ · 1 / 1.5 = 0.67.
    spans = [f"{chr(0x4E00 + i)}{chr(0x4F00 + i)}" for i in range(20)]
    a = squad({f"ん{chr(0x5000 + i)}": (s,) for i, s in enumerate(spans)})
    b = squad({f"{s}んん": (s,) for s in spans})
    assert of_pair(a, replace(b, spec=OTHER)).sentence == (
        "The main scores of A and B show no clear difference, but character F1 on JSQuAD is 0.00 for A and 0.67 for B."
    )


def test_runs_without_a_common_item_and_runs_of_errors_say_so() -> None:
    whole = good()
    halves = [
        replace(whole, items={"jnli": dict(list(whole.items["jnli"].items())[part])}, records=whole.records[part])
        for part in (slice(0, 15), slice(15, 30))
    ]
    found = of_pair(halves[0], replace(halves[1], spec=OTHER))
    assert found.sentence == "A and B have no item in common that both have a score for."
    broken = written_and_ranked(30, 0, 0, failed=30)
    assert of_one(broken).sentence == "All items failed (30 in all): see the list of items for the errors."
    assert of_pair(whole, replace(broken, spec=OTHER)).sentence == (
        "A: the score of the written answers is 1.00 (JNLI, 30 items), but all items of B failed (30 in all; the list "
        "of items has the errors)."
    )
