"""What each protocol but `official` makes of one record: its rules, and its quirks."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from rapidfuzz.distance import Indel

from jglue_app.scoring.protocols import PROTOCOLS
from jglue_app.scoring.rules import RULES
from jglue_app.scoring.types import Judgement, Outcome, Status
from jglue_app.tasks import DEFAULT_TASKS, TASKS
from jglue_app.types import Finish, Item, Output, Prompt, Record, RunError

CHOICES = {f"choice{i}": word for i, word in enumerate(("春", "夏", "秋", "梅雨", "冬"))}
ITEMS = {
    "marc_ja": Item("marc_ja", "1", {"sentence": "良い"}, ("positive",), ("positive", "negative")),
    "jsts": Item("jsts", "1", {"sentence1": "犬", "sentence2": "猫"}, 4.0),
    "jnli": Item(
        "jnli", "1", {"sentence1": "犬", "sentence2": "猫"}, ("neutral",), ("entailment", "contradiction", "neutral")
    ),
    "jsquad": Item("jsquad", "1", {"title": "", "context": "東京", "question": "？"}, ("東京都", "東京")),
    "jcola": Item("jcola", "1", {"sentence": "良い"}, ("acceptable",), ("unacceptable", "acceptable")),
    "jcommonsenseqa": Item("jcommonsenseqa", "1", {"question": "？", **CHOICES}, ("2",), ("0", "1", "2", "3", "4")),
}
WANDB = ("wandb-2023-0shot", "wandb-2023-4shot", "wandb-2023-10-0shot")
RANKING = ("stability-jp", "stability-jp-capped", "lm-eval-ja")
EXACT = ("llm-jp-eval", "swallow-202411", "nejumi-4", "flexeval")
"""Systems that compare the text with the answers asked for."""
OTHERS = [name for name in PROTOCOLS if name != "official"]
BY_TEXT = [(name, task) for name in OTHERS for task in PROTOCOLS[name].metrics if task not in PROTOCOLS[name].ranked]
BY_RANK = [(name, task) for name in RANKING for task in ("marc_ja", "jnli", "jcommonsenseqa")]


def record(
    item: Item,
    text: str | None,
    finish: Finish = "stop",
    logprobs: tuple[float, ...] | None = None,
    answers: tuple[str, ...] = (),
    prompt: str = "p",
) -> Record:
    asked = Prompt(item.task, item.id, prompt, None, (), answers or item.choices, "", (), "")
    return Record("s", item.task, item.id, asked, Output(text, finish, 1, 1, 0.0, logprobs))


def judge(protocol: str, record: Record, item: Item | None = None) -> Judgement:
    return PROTOCOLS[protocol].judge(TASKS[record.task], item or ITEMS[record.task], record)


def judge_answer(protocol: str, text: str, *references: str) -> Judgement:
    """JSQuAD with these references."""
    item = replace(ITEMS["jsquad"], gold=references)
    return judge(protocol, record(item, text), item)


def reading(judged: Judgement) -> tuple[str | float | None, str, Status, Outcome]:
    """With the last of the rules that decided."""
    return judged.strict.value, judged.strict.rule.split("+")[-1], judged.strict.status, judged.outcome


# --- which subsets and metrics ---------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", OTHERS)
def test_similarities_are_scored_only_by_systems_that_do_so(protocol: str) -> None:
    metrics = PROTOCOLS[protocol].metrics
    without = {"swallow-202411": {"marc_ja"}, "nejumi-4": {"marc_ja", "jsts"}} | {name: {"jsts"} for name in RANKING}
    assert set(metrics) & set(DEFAULT_TASKS) == set(DEFAULT_TASKS) - without.get(protocol, set())
    assert metrics.get("jsts") == (None if "jsts" in without.get(protocol, ()) else ("pearson", "spearman"))


@pytest.mark.parametrize("protocol", OTHERS)
def test_an_item_has_the_metrics_that_its_protocol_names(protocol: str) -> None:
    for task in PROTOCOLS[protocol].metrics:
        item = ITEMS[task]
        logprobs = tuple(-1.0 for _ in item.choices) if task in PROTOCOLS[protocol].ranked else None
        judged = judge(protocol, record(item, "1", logprobs=logprobs))
        # The others of a ranking, such as the balanced accuracy, exist over all items alone.
        over_items = {"pearson", "spearman", "balanced_accuracy", "macro_f1", "mcc"}
        assert set(judged.scores) == set(PROTOCOLS[protocol].metrics[task]) - over_items
        assert (judged.lenient, judged.lenient_scores) == (judged.strict, judged.scores)
        assert judged.protocol == protocol
        assert set(judged.strict.rule.split("+")) <= set(RULES)


# --- wandb-2023 ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", WANDB)
@pytest.mark.parametrize(
    ("text", "value", "rule", "outcome"),
    [
        ("positive", "positive", "contains_no_negative", "correct"),
        ("negative", "negative", "contains", "wrong"),
        ("This is negative.", "negative", "contains", "wrong"),
        ("positive, not negative", "negative", "contains", "wrong"),
        ("nonnegative", "negative", "contains", "wrong"),
        ("Negative.", "negative", "contains", "wrong"),
        ("NEGATIVE", "negative", "contains", "wrong"),
        ("\u3000ネガティブ\n", "negative", "equal", "wrong"),
        ("ネガティブ。", "positive", "default", "unreadable"),
        ("ポジティブ", "positive", "contains_no_negative", "correct"),
        ("ｎｅｇａｔｉｖｅ", "positive", "default", "unreadable"),
        ("否定", "positive", "default", "unreadable"),
        ("Positive", "positive", "contains_no_negative", "correct"),
    ],
)
def test_wandb_a_review_is_positive_unless_negative_is_in_it(
    protocol: str, text: str, value: str, rule: str, outcome: Outcome
) -> None:
    judged = judge(protocol, record(ITEMS["marc_ja"], text))
    assert reading(judged) == (value, rule, "off_format" if rule == "default" else "recovered", outcome)
    assert judged.scores == {"accuracy": float(value == "positive")}


@pytest.mark.parametrize("protocol", WANDB)
@pytest.mark.parametrize(
    ("text", "value", "outcome"),
    [
        ("neutral", "neutral", "correct"),
        (" Neutral\n", "neutral", "correct"),
        ("\u3000NEUTRAL", "neutral", "correct"),
        ("neutral\0", "neutral", "correct"),
        ("contradiction", "contradiction", "wrong"),
        ("Entailment", "entailment", "wrong"),
        ("neutral.", None, "unreadable"),
        ("neutral\nneutral", None, "unreadable"),
        ("ｎｅｕｔｒａｌ", None, "unreadable"),
        ("中立", None, "unreadable"),
        ("contra", None, "unreadable"),
    ],
)
def test_wandb_a_relation_is_entailment_unless_it_is_exactly_another(
    protocol: str, text: str, value: str | None, outcome: Outcome
) -> None:
    judged = judge(protocol, record(ITEMS["jnli"], text))
    read = (value, "equal", "exact") if value else ("entailment", "default", "off_format")
    assert reading(judged) == (*read, outcome)
    assert judged.scores == {"accuracy": float(value == "neutral")}


@pytest.mark.parametrize("protocol", WANDB)
@pytest.mark.parametrize(
    ("text", "value", "outcome"),
    [
        ("2", "2", "correct"),
        ("2番です", "2", "correct"),
        ("2.5", "2", "correct"),
        ("02", "2", "correct"),
        ("２", "2", "correct"),
        ("２番", "2", "correct"),
        ("٢", "2", "correct"),
        ("1", "1", "wrong"),
        ("0", "0", "wrong"),
        ("12", "12", "wrong"),
        ("9" * 30, "9" * 20, "wrong"),
        ("0" * 25 + "2", "2", "correct"),
        (" 2", "2", "correct"),
        ("\r\n2\r\n", "2", "correct"),
        ("\u30002番", "2", "correct"),
        ("-2", None, "unreadable"),
        ("答えは2", None, "unreadable"),
        ("②", None, "unreadable"),
        ("秋", None, "unreadable"),
    ],
)
def test_wandb_a_choice_is_the_digits_that_the_trimmed_text_begins_with_or_0(
    protocol: str, text: str, value: str | None, outcome: Outcome
) -> None:
    judged = judge(protocol, record(ITEMS["jcommonsenseqa"], text))
    read = (value, "digits_first", "recovered") if value else ("0", "default", "off_format")
    assert reading(judged) == (*read, outcome)
    assert judged.scores == {"accuracy": float(value == "2")}


@pytest.mark.parametrize("protocol", WANDB)
@pytest.mark.parametrize(
    ("text", "value", "rule", "outcome"),
    [
        ("4", 4.0, "number", "correct"),
        ("4.5点", 4.5, "number", "correct"),
        ("4.6", 4.6, "number", "wrong"),
        ("4.", 4.0, "number", "correct"),
        (".5", 0.5, "number", "wrong"),
        ("-3", 3.0, "number", "wrong"),
        ("近さは 3 です", 3.0, "number", "wrong"),
        ("2", 2.0, "number", "wrong"),
        ("99", 5.0, "clipped", "wrong"),
        ("3点か4点", 5.0, "clipped", "wrong"),
        ("9" * 1_000, 5.0, "clipped", "wrong"),
        ("1.2.3", 2.0, "default", "unreadable"),
        (".", 2.0, "default", "unreadable"),
        ("４", 2.0, "default", "unreadable"),
        ("高い", 2.0, "default", "unreadable"),
        ("nan", 2.0, "default", "unreadable"),
    ],
)
def test_wandb_a_similarity_is_what_is_left_of_digits_and_dots_within_the_scale(
    protocol: str, text: str, value: float, rule: str, outcome: Outcome
) -> None:
    judged = judge(protocol, record(ITEMS["jsts"], text))
    status = "off_format" if rule == "default" else "recovered" if set(text) - set("0123456789.") else "exact"
    assert reading(judged) == (value, rule, status, outcome)
    assert judged.scores == {}


@pytest.mark.parametrize("protocol", WANDB)
@pytest.mark.parametrize(
    ("text", "references", "value", "exact_match", "f1"),
    [
        ("東京", ("東京都", "東京"), "東京", 1, 1),
        (" 「東京」。\n", ("東京都", "東京"), "東京", 1, 1),
        ("『東京」", ("東京",), "東京", 1, 1),
        ("「東京」\0", ("東京",), "東京", 1, 1),
        # The brackets go first, NFKC last, and nothing is trimmed again.
        ("東京｡", ("東京",), "東京。", 0, 1),
        ("｢東京｣", ("東京",), "「東京」", 0, 1),
        ("「\u3000東京\u3000」", ("東京",), " 東京 ", 0, 1),
        ("「東京」と「大阪」", ("東京",), "東京」と「大阪", 0, 0.44),  # 東京 と 大阪 / 東京: 2 * 2 / (7 + 2)
        ("ＮＨＫ", ("NHK",), "NHK", 1, 1),
        ("ﾄｳｷｮｳ", ("トウキョウ",), "トウキョウ", 1, 1),
        # The reference is left as it is: it cannot be met by its own words.
        ("「こころ」", ("「こころ」",), "こころ", 0, 1),
        ("東京。", ("東京。",), "東京", 0, 1),
        ("ＮＨＫ", ("ＮＨＫ",), "NHK", 0, 0),
        ("１９４５年", ("１９４５年",), "1945年", 0, 0.2),
        ("nhk", ("NHK",), "nhk", 0, 1),
    ],
)
def test_wandb_an_answer_is_normalised_and_its_references_are_not(
    protocol: str, text: str, references: tuple[str, ...], value: str, exact_match: int, f1: float
) -> None:
    judged = judge_answer(protocol, text, *references)
    outcome: Outcome = "correct" if exact_match else "wrong"
    assert (judged.strict.value, judged.strict.status, judged.outcome) == (value, "exact", outcome)
    assert judged.scores == {"exact_match": exact_match, "f1": f1}


# --- ratios ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prediction", "reference", "words", "unordered", "ordered"),
    [
        # `words`: both with their tokens sorted. A ratio is twice the longest common subsequence over both lengths.
        ("大阪 東京", "東京 大阪", ("大阪 東京", "大阪 東京"), 1.0, 0.4),
        ("いろは", "いろほ", ("いろは", "いろほ"), 0.67, 0.67),
        ("あいう", "あえお", ("あいう", "あえお"), 0.33, 0.33),
        ("東京・大阪！", "大阪、東京", ("大阪 東京", "大阪 東京"), 1.0, 0.36),
        ("Tokyo Bay", "bay TOKYO", ("bay tokyo", "bay tokyo"), 1.0, 0.22),
        # 12.5 %: halves go to the even number, as Python rounds.
        ("あかさたなはまやらわをんきしち", "あ", ("あかさたなはまやらわをんきしち", "あ"), 0.12, 0.12),
    ],
)
def test_ratios_are_whole_percents_of_sorted_words_or_of_the_text_as_it_is(
    prediction: str, reference: str, words: tuple[str, str], unordered: float, ordered: float
) -> None:
    assert round(100 * Indel.normalized_similarity(*words)) / 100 == unordered
    assert round(100 * Indel.normalized_similarity(prediction, reference)) / 100 == ordered
    assert judge_answer("wandb-2023-0shot", prediction, reference).scores["f1"] == unordered
    assert judge_answer("llm-jp-eval", prediction, reference).scores["char_f1"] == unordered
    assert judge_answer("flexeval", prediction, reference).scores["char_f1"] == ordered


def test_ratios_take_the_best_reference_or_the_first() -> None:
    scores = {name: judge_answer(name, "東京", "東京都", "東京").scores for name in (*WANDB, "flexeval", "llm-jp-eval")}
    for name in WANDB:
        assert scores[name] == {"exact_match": 1.0, "f1": 1.0}
    assert scores["flexeval"] == {"exact_match": 1.0, "char_f1": 1.0}
    assert scores["llm-jp-eval"] == {"exact_match": 0.0, "char_f1": 0.8}


# --- llm-jp-eval -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answers", "text", "value", "status", "outcome"),
    [
        (("含意", "矛盾", "中立"), "中立", "neutral", "exact", "correct"),
        (("含意", "矛盾", "中立"), "中立\n\n文章：次の例", "neutral", "exact", "correct"),
        (("含意", "矛盾", "中立"), "矛盾", "contradiction", "exact", "wrong"),
        (("含意", "矛盾", "中立"), "中立\n", "neutral", "exact", "correct"),
        (("含意", "矛盾", "中立"), " 中立", "neutral", "exact", "correct"),
        (("含意", "矛盾", "中立"), "\n\n中立", "neutral", "exact", "correct"),
        (("含意", "矛盾", "中立"), "中立\n次", None, "off_format", "unreadable"),
        (("含意", "矛盾", "中立"), "中立。", None, "off_format", "unreadable"),
        (("含意", "矛盾", "中立"), "neutral", None, "off_format", "unreadable"),
        (("０", "１", "２"), "2", "neutral", "exact", "correct"),
        (("0", "1", "2"), "２", "neutral", "exact", "correct"),
        ((), "ｎｅｕｔｒａｌ", "neutral", "exact", "correct"),
        ((), "Neutral", None, "off_format", "unreadable"),
    ],
)
def test_llm_jp_eval_a_label_is_what_was_asked_for_up_to_a_blank_line_and_its_width(
    answers: tuple[str, ...], text: str, value: str | None, status: Status, outcome: Outcome
) -> None:
    judged = judge("llm-jp-eval", record(ITEMS["jnli"], text, answers=answers))
    assert reading(judged) == (value, "equal" if value else "no_match", status, outcome)
    assert judged.scores == {"exact_match": float(value == "neutral")}


@pytest.mark.parametrize(
    ("text", "references", "value", "rule", "exact_match", "char_f1"),
    [
        ("東京都", ("東京都", "東京"), "東京都", "as_written", 1, 1),
        ("東京", ("東京都", "東京"), "東京", "as_written", 0, 0.8),
        ("東京都\n\n文章:次の例", ("東京都",), "東京都", "to_blank_line", 1, 1),
        ("東京都\n次", ("東京都",), "東京都\n次", "as_written", 0, 0.75),
        ("NHK", ("ＮＨＫ",), "NHK", "as_written", 1, 1),
        ("ＮＨＫ", ("NHK",), "NHK", "nfkc", 1, 1),
        ("「東京」", ("東京",), "「東京」", "as_written", 0, 1),
        (" 東京", ("東京",), "東京", "trimmed", 1, 1),
        # Characters of U+0080–U+00FF count for nothing, and _ as a letter: 2 * 2 / (4 + 2).
        ("東京é×", ("東京",), "東京é×", "as_written", 0, 1),
        ("_東京_", ("東京",), "_東京_", "as_written", 0, 0.67),
    ],
)
def test_llm_jp_eval_an_answer_meets_the_first_reference_alone(
    text: str, references: tuple[str, ...], value: str, rule: str, exact_match: int, char_f1: float
) -> None:
    judged = judge_answer("llm-jp-eval", text, *references)
    assert reading(judged) == (value, rule, "exact", "correct" if exact_match else "wrong")
    assert judged.scores == {"exact_match": exact_match, "char_f1": char_f1}


@pytest.mark.parametrize(
    ("text", "value", "outcome"),
    [
        ("4.2", 4.2, "correct"),
        (" 4\n", 4.0, "correct"),
        ("３．５", 3.5, "correct"),
        ("4\n\n0", 4.0, "correct"),
        ("7.5", 7.5, "wrong"),
        ("-1", 1.0, "wrong"),
        ("4点", 4.0, "correct"),
        ("3〜4", 34.0, "wrong"),
        ("1e999", 1999.0, "wrong"),
        ("4\n5", 45.0, "wrong"),
        ("\n\n4", 4.0, "correct"),
        ("nan", None, "unreadable"),
        ("わかりません", None, "unreadable"),
        ("1.2.3", None, "unreadable"),
    ],
)
def test_llm_jp_eval_a_similarity_is_what_is_left_of_digits_and_dots_without_clipping_or_minus_two(
    text: str, value: float | None, outcome: Outcome
) -> None:
    for protocol in ("llm-jp-eval", "swallow-202411"):
        judged = judge(protocol, record(ITEMS["jsts"], text))
        expected = (-2.0, "default") if value is None else (value, "number")
        assert (*reading(judged)[:2], judged.outcome) == (*expected, outcome)
    assert judged.scores == {}


# --- flexeval --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answers", "text", "value"),
    [
        (("含意", "矛盾", "中立"), "中立", "neutral"),
        (("含意", "矛盾", "中立"), "含意", "entailment"),
        (("含意", "矛盾", "中立"), " 中立", None),
        (("含意", "矛盾", "中立"), "中立\n", None),
        (("含意", "矛盾", "中立"), "neutral", None),
        (("0", "1", "2"), "２", None),
        ((), "neutral", "neutral"),
        ((), "Neutral", None),
    ],
)
def test_flexeval_a_label_is_what_was_asked_for_to_the_character(
    answers: tuple[str, ...], text: str, value: str | None
) -> None:
    judged = judge("flexeval", record(ITEMS["jnli"], text, answers=answers))
    right = value == "neutral"
    outcome: Outcome = "correct" if right else "wrong" if value else "unreadable"
    assert reading(judged) == (*((value, "equal", "exact") if value else (None, "no_match", "off_format")), outcome)
    assert judged.scores == {"exact_match": float(right)}


@pytest.mark.parametrize(
    ("text", "references", "exact_match", "char_f1"),
    [
        ("東京", ("東京都", "東京"), 1, 1),
        (" 東京", ("東京都", "東京"), 0, 0.8),
        ("「東京」", ("東京",), 0, 0.67),
        ("ＮＨＫ", ("NHK",), 0, 0),
        ("nhk", ("NHK",), 0, 0),
        ("「こころ」", ("「こころ」",), 1, 1),
    ],
)
def test_flexeval_an_answer_is_taken_as_it_was_written(
    text: str, references: tuple[str, ...], exact_match: int, char_f1: float
) -> None:
    judged = judge_answer("flexeval", text, *references)
    assert reading(judged) == (text, "as_written", "exact", "correct" if exact_match else "wrong")
    assert judged.scores == {"exact_match": exact_match, "char_f1": char_f1}


@pytest.mark.parametrize(
    ("text", "value", "outcome"),
    [
        ("3.5", 3.5, "correct"),
        (" 4\n", 4.0, "correct"),
        ("４", 4.0, "correct"),
        ("7.5", 7.5, "wrong"),
        ("-1", -1.0, "wrong"),
        ("0", 0.0, "wrong"),
        ("３．５", None, "unreadable"),
        ("4点", None, "unreadable"),
        ("4\n\n0", None, "unreadable"),
        ("inf", math.inf, "wrong"),
        ("nan", math.nan, "wrong"),
    ],
)
def test_flexeval_an_unreadable_similarity_is_zero_and_none_is_clipped(
    text: str, value: float | None, outcome: Outcome
) -> None:
    judged = judge("flexeval", record(ITEMS["jsts"], text))
    expected = (0.0, "default", "off_format") if value is None else (value, "number", "exact")
    assert reading(judged) == (*expected, outcome)
    assert judged.scores == {}


# --- stability-jp and lm-eval-ja -------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", RANKING)
@pytest.mark.parametrize(
    ("task", "logprobs", "choice"),
    [
        ("jnli", (-3.0, -2.0, -1.0), "neutral"),
        ("jnli", (-3.0, -1.0, -2.0), "contradiction"),
        ("jnli", (-1.0, -1.0, -1.0), "entailment"),
        ("jnli", (-2.0, -1.0, -1.0), "contradiction"),
        ("marc_ja", (-0.5, -0.25), "negative"),
        ("marc_ja", (-1e308, -1.7e308), "positive"),
        ("jcommonsenseqa", (-5.0, -4.0, -3.0, -4.0, -5.0), "2"),
    ],
)
def test_the_choice_with_the_highest_log_likelihood_counts_and_the_first_of_equals(
    protocol: str, task: str, logprobs: tuple[float, ...], choice: str
) -> None:
    judged = judge(protocol, record(ITEMS[task], "矛盾、かもしれない", logprobs=logprobs))
    right = (choice,) == ITEMS[task].gold
    assert reading(judged) == (choice, "highest_logprob", "exact", "correct" if right else "wrong")
    assert (judged.choice, judged.scores["accuracy"]) == (choice, float(right))


@pytest.mark.parametrize(
    ("task", "answers", "logprobs", "accuracy", "acc_norm"),
    [
        # Per character: −1.05, −0.99, −1.03.
        ("jnli", ("entailment", "contradiction", "neutral"), (-10.5, -12.9, -7.2), 1, 0),
        ("jnli", ("必ず正しい", "必ず間違い", "どちらとも言えない"), (-2.0, -3.0, -3.5), 0, 1),
        ("jnli", ("含意", "矛盾", "中立"), (-2.0, -3.0, -1.5), 1, 1),
        ("marc_ja", ("良い", "とても悪い"), (-2.0, -3.0), 1, 0),
        # Per character: −1.5, −1.125; a kanji is no more than a letter.
        ("marc_ja", ("良い", "negative"), (-3.0, -9.0), 1, 0),
        # −3.0 each: the first of equals.
        ("marc_ja", ("良い", "不満がある"), (-6.0, -15.0), 1, 1),
        ("jcommonsenseqa", ("春", "夏", "秋", "梅雨", "冬"), (-9.0, -9.0, -2.0, -3.0, -9.0), 1, 0),
        ("jcommonsenseqa", ("0", "1", "2", "3", "4"), (-9.0, -9.0, -2.0, -3.0, -9.0), 1, 1),
    ],
)
def test_stability_acc_norm_is_the_log_likelihood_per_character_of_what_was_ranked(
    task: str, answers: tuple[str, ...], logprobs: tuple[float, ...], accuracy: int, acc_norm: int
) -> None:
    ranked = record(ITEMS[task], None, "scored", logprobs, answers)
    assert judge("stability-jp", ranked).scores == {"accuracy": accuracy, "acc_norm": acc_norm}


def test_stability_without_a_prompt_the_words_of_the_choices_were_ranked_unless_others_are_named() -> None:
    # 秋 has −2 per character, 梅雨 −1.5; as "2" and "3" they would have −2 and −3.
    made_elsewhere = record(ITEMS["jcommonsenseqa"], None, "scored", (-9.0, -9.0, -2.0, -3.0, -9.0), prompt="")
    assert judge("stability-jp", made_elsewhere).scores == {"accuracy": 1.0, "acc_norm": 0.0}
    asked = replace(made_elsewhere.prompt, answers=("ア", "イ", "ウ", "エ", "オ"))
    assert judge("stability-jp", replace(made_elsewhere, prompt=asked)).scores == {"accuracy": 1.0, "acc_norm": 1.0}


@pytest.mark.parametrize(
    ("text", "references", "value", "exact_match", "f1"),
    [
        ("東京", ("東京都", "東京"), "東京", 1, 1),
        ("東京😀", ("東京",), "東京", 1, 1),
        ("東京🇯🇵", ("東京",), "東京", 1, 1),
        ("東 京", ("東京",), "東京", 1, 1),
        ("ＮＨＫ", ("NHK",), "NHK", 1, 1),
        ("NHK", ("ＮＨＫ",), "NHK", 1, 1),
        ("ﾗｰﾒﾝ", ("ラーメン",), "ラーメン", 1, 1),
        ("ラーーーメン〜", ("ラーメン",), "ラーメン", 1, 1),
        ("東京", ("東京😀",), "東京", 1, 1),
        # Brackets and full stops are tokens, but of no weight; です is one with.
        ("「東京」", ("東京",), "「東京」", 0, 1),
        ("東京です。", ("東京",), "東京です。", 0, 2 / 3),
        ("東京", ("東京都",), "東京", 0, 2 / 3),
        ("大阪と東京", ("東京と大阪",), "大阪と東京", 0, 1),
        ("大阪", ("東京",), "大阪", 0, 0),
        ("大阪、大阪、大阪", ("大阪",), "大阪、大阪、大阪", 0, 1 / 2),
        ("。", ("東京",), "。", 0, 0),
        # MeCab reads no further than a NUL.
        ("東京\x00大阪", ("東京",), "東京\x00大阪", 0, 1),
        ("東京\r\n", ("東京",), "東京", 1, 1),
        ("東京\n大阪", ("東京 大阪",), "東京 大阪", 0, 1),
        ("❶東京✓", ("東京",), "東京", 1, 1),
        ("🖹東京➔", ("東京",), "東京", 1, 1),
        # Joiners and keycaps stay behind.
        ("1️⃣", ("1",), "1️⃣", 0, 1 / 2),
        # Signs that are not in the system's list are tokens.
        ("東京★", ("東京",), "東京★", 0, 2 / 3),
        ("東京㈱", ("東京",), "東京㈱", 0, 2 / 3),
        ("", ("",), "", 1, 0),
    ],
)
def test_stability_an_answer_goes_without_emoji_through_neologdn_and_f1_counts_words(
    text: str, references: tuple[str, ...], value: str, exact_match: int, f1: float
) -> None:
    judged = judge_answer("stability-jp", text, *references)
    assert judged.strict.value == value
    assert judged.scores == {"exact_match": exact_match, "f1": pytest.approx(f1)}


@pytest.mark.parametrize(
    ("text", "references", "value", "exact_match"),
    [
        ("東京都", ("東京都", "東京"), "東京都", 1),
        (" 東京都\n", ("東京都",), "東京都", 1),
        ("\u3000東京都", (" 東京都 ",), "東京都", 1),
        ("東京都 \0", ("東京都",), "東京都", 1),
        ("東京", ("東京都", "東京"), "東京", 0),
        ("東京都。", ("東京都",), "東京都。", 0),
        ("ＮＨＫ", ("NHK",), "ＮＨＫ", 0),
    ],
)
def test_lm_eval_ja_an_answer_is_trimmed_and_meets_the_first_reference_alone(
    text: str, references: tuple[str, ...], value: str, exact_match: int
) -> None:
    judged = judge_answer("lm-eval-ja", text, *references)
    assert (judged.strict.value, judged.strict.status) == (value, "exact")
    assert judged.scores == {"exact_match": exact_match}


# --- nothing to judge ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("protocol", "task"), BY_TEXT + BY_RANK)
def test_a_failed_item_is_an_error_and_has_no_score(protocol: str, task: str) -> None:
    failed = Record("s", task, "1", record(ITEMS[task], "").prompt, None, RunError("non_finite", "…"))
    judged = judge(protocol, failed)
    assert (judged.outcome, judged.scores, judged.strict.value, judged.choice) == ("error", {}, None, None)


@pytest.mark.parametrize(("protocol", "task"), BY_TEXT + BY_RANK)
def test_a_prompt_that_did_not_fit_has_no_score(protocol: str, task: str) -> None:
    judged = judge(protocol, record(ITEMS[task], "", "overflow"))
    assert (judged.outcome, judged.scores, judged.strict.value, judged.choice) == ("overflow", {}, None, None)


@pytest.mark.parametrize(("protocol", "task"), BY_TEXT)
def test_a_ranking_alone_is_nothing_to_a_protocol_that_reads(protocol: str, task: str) -> None:
    logprobs = tuple(-float(n) for n, _ in enumerate(ITEMS[task].choices)) or None
    judged = judge(protocol, record(ITEMS[task], None, "scored", logprobs))
    assert (judged.outcome, judged.scores, judged.strict.value, judged.choice) == ("unscored", {}, None, None)


@pytest.mark.parametrize(("protocol", "task"), BY_RANK)
def test_a_text_alone_is_nothing_to_a_protocol_that_ranks(protocol: str, task: str) -> None:
    judged = judge(protocol, record(ITEMS[task], str(ITEMS[task].choices[0])))
    assert (judged.outcome, judged.scores, judged.strict.value, judged.choice) == ("unscored", {}, None, None)


BROKEN = [(math.nan, -1.0, -2.0), (-1.0, math.inf, -2.0), (-1.0, -2.0, -math.inf), (-1.0, -2.0), (-1.0,) * 4]


@pytest.mark.parametrize("logprobs", BROKEN)
def test_broken_log_likelihoods_are_an_error_where_they_decide_and_nowhere_else(logprobs: tuple[float, ...]) -> None:
    broken = record(ITEMS["jnli"], "neutral", logprobs=logprobs)
    for protocol in RANKING:
        judged = judge(protocol, broken)
        assert (judged.outcome, judged.scores, judged.strict.value, judged.choice) == ("error", {}, None, None)
    for protocol in (*WANDB, *EXACT):
        assert judge(protocol, broken) == judge(protocol, record(ITEMS["jnli"], "neutral"))
        assert judge(protocol, broken).outcome == "correct"


NOTHING: dict[tuple[str, str], tuple[str | float | None, dict[str, float]]] = {
    **{(name, "marc_ja"): ("positive", {"accuracy": 1.0}) for name in WANDB},
    **{(name, "jsts"): (2.0, {}) for name in WANDB},
    **{(name, "jnli"): ("entailment", {"accuracy": 0.0}) for name in WANDB},
    **{(name, "jsquad"): ("", {"exact_match": 0.0, "f1": 0.0}) for name in WANDB},
    **{(name, "jcommonsenseqa"): ("0", {"accuracy": 0.0}) for name in WANDB},
    **{(name, "jsquad"): ("", {"exact_match": 0.0, "f1": 0.0}) for name in RANKING[:2]},
    ("lm-eval-ja", "jsquad"): ("", {"exact_match": 0.0}),
    **{(name, task): (None, {"exact_match": 0.0}) for name in EXACT for task in ("marc_ja", "jnli", "jcommonsenseqa")},
    **{(name, "jsquad"): ("", {"exact_match": 0.0, "char_f1": 0.0}) for name in EXACT},
    ("nejumi-4", "jsquad"): ("", {"char_f1": 0.0}),
    ("nejumi-4", "jcola"): (None, {"exact_match": 0.0}),
    ("wandb-2023-10-0shot", "jcola"): ("unacceptable", {"accuracy": 0.0}),
    ("llm-jp-eval", "jsts"): (-2.0, {}),
    ("swallow-202411", "jsts"): (-2.0, {}),
    ("flexeval", "jsts"): (0.0, {}),
}
"""What an output without any text counts as."""


@pytest.mark.parametrize("text", ["", " ", "\n\n", "\t\u3000\r\n", "\x1c\x85"])
@pytest.mark.parametrize("finish", ["stop", "length", "empty"])
@pytest.mark.parametrize(("protocol", "task"), BY_TEXT)
def test_a_blank_output_is_empty_and_scores_what_the_protocol_gives_for_nothing(
    protocol: str, task: str, finish: Finish, text: str
) -> None:
    value, scores = NOTHING[protocol, task]
    judged = judge(protocol, record(ITEMS[task], text, finish))
    assert (judged.outcome, judged.strict.status, judged.scores) == ("empty", "empty", scores)
    assert str(judged.strict.value).strip() == str(value)
    assert (judged.strict.rule == "default") == (task in PROTOCOLS[protocol].defaults)


@pytest.mark.parametrize(
    ("protocol", "task", "text"),
    [
        *((name, "jsquad", "「」。") for name in WANDB),
        ("stability-jp", "jsquad", "😀"),
        ("nejumi-4", "jsquad", "回答:"),
    ],
)
def test_an_answer_of_which_the_protocol_leaves_nothing_is_empty(protocol: str, task: str, text: str) -> None:
    judged = judge(protocol, record(ITEMS[task], text))
    assert (judged.strict.value, judged.strict.status, judged.outcome) == ("", "empty", "empty")


# --- cut off ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("protocol", "task"), [(protocol, task) for protocol, task in BY_TEXT if task not in ("jsquad", "marc_ja")]
)
def test_an_unreadable_output_at_the_token_limit_was_cut_off(protocol: str, task: str) -> None:
    finished, cut = (judge(protocol, record(ITEMS[task], "それは", finish)) for finish in ("stop", "length"))
    assert (finished.outcome, cut.outcome) == ("unreadable", "truncated")
    assert cut.scores == finished.scores


@pytest.mark.parametrize("protocol", [*WANDB, *EXACT])
def test_a_legal_answer_at_the_token_limit_is_right_or_wrong(protocol: str) -> None:
    assert judge(protocol, record(ITEMS["jnli"], "neutral", "length")).outcome == "correct"
    assert judge(protocol, record(ITEMS["jnli"], "entailment", "length")).outcome == "wrong"
    if "jsts" in PROTOCOLS[protocol].metrics:
        assert judge(protocol, record(ITEMS["jsts"], "4", "length")).outcome == "correct"
        assert judge(protocol, record(ITEMS["jsts"], "1", "length")).outcome == "wrong"


@pytest.mark.parametrize("protocol", OTHERS)
def test_a_wrong_span_at_the_token_limit_was_cut_off(protocol: str) -> None:
    assert (
        judge(protocol, record(ITEMS["jsquad"], "東京都", "length")).scores[PROTOCOLS[protocol].metrics["jsquad"][0]]
        == 1
    )
    assert judge(protocol, record(ITEMS["jsquad"], "東京都は日本の", "length")).outcome == "truncated"


def test_llm_jp_eval_an_answer_that_a_blank_line_ends_was_not_cut_off() -> None:
    assert judge("llm-jp-eval", record(ITEMS["jsquad"], "大阪\n\n文章：", "length")).outcome == "wrong"
    assert judge("llm-jp-eval", record(ITEMS["jnli"], "大阪\n\n文章：", "length")).outcome == "unreadable"


# --- places ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("protocol", "task", "text", "piece"),
    [
        ("wandb-2023-0shot", "marc_ja", "it is negative.", "negative"),
        ("wandb-2023-0shot", "jnli", " Neutral\n", "Neutral"),
        ("wandb-2023-0shot", "jcommonsenseqa", "２番", "２"),
        ("llm-jp-eval", "jsts", " 4.5 ", "4.5"),
        ("flexeval", "jsts", "\n4", "4"),
        ("flexeval", "jnli", "neutral", "neutral"),
        ("flexeval", "jsquad", " 東京", " 東京"),
        ("lm-eval-ja", "jsquad", " 東京都\n", "東京都"),
    ],
)
def test_a_reading_names_the_characters_it_was_read_from(protocol: str, task: str, text: str, piece: str) -> None:
    parsed = judge(protocol, record(ITEMS[task], text)).strict
    assert parsed.span is not None
    assert text[slice(*parsed.span)] == piece


def test_llm_jp_eval_names_no_characters_that_nfkc_has_replaced() -> None:
    parsed = judge("llm-jp-eval", record(ITEMS["jsts"], "⑩")).strict
    assert (parsed.value, parsed.span) == (10.0, None)


@pytest.mark.parametrize(
    ("task", "text", "right"),
    [
        ("jnli", " Neutral\n", 1),
        ("jnli", "'neutral'", 1),
        ("jnli", '"neutral" \0', 0),
        ("jnli", "neutral\n\n次", 1),
        ("jnli", "「neutral」", 0),
        ("jcommonsenseqa", '" 2 "', 1),
        ("jcommonsenseqa", "２", 1),
        ("jcommonsenseqa", "2番", 0),
        ("jsquad", "回答:東京都", 1),
        ("jsquad", "回答:\n\n東京都", 1),
        ("jsquad", "東京都\n\n回答:大阪", 1),
    ],
)
def test_nejumi_4_takes_off_cues_quotation_marks_and_white_space(task: str, text: str, right: int) -> None:
    judged = judge("nejumi-4", record(ITEMS[task], text))
    assert judged.scores[PROTOCOLS["nejumi-4"].metrics[task][0]] == right


@pytest.mark.parametrize(
    ("text", "value", "right"),
    [
        ("1", "acceptable", 1),
        (" 1です", "acceptable", 1),
        ("0", "unacceptable", 0),
        ("5", "5", 0),
        ("容認できる", "unacceptable", 0),
    ],
)
def test_wandb_from_october_a_sentence_is_acceptable_if_the_number_at_the_beginning_is_1(
    text: str, value: str, right: int
) -> None:
    judged = judge("wandb-2023-10-0shot", record(ITEMS["jcola"], text, answers=("0", "1")))
    assert (judged.strict.value, judged.scores) == (value, {"accuracy": right})


def test_nejumi_4_a_judgement_of_acceptability_is_the_number_of_its_label_whatever_was_asked() -> None:
    for answers in (("0", "1"), ()):
        assert judge("nejumi-4", record(ITEMS["jcola"], "1", answers=answers)).scores == {"exact_match": 1.0}
        assert judge("nejumi-4", record(ITEMS["jcola"], "acceptable", answers=answers)).outcome == "unreadable"


def test_nejumi_4_lower_cases_the_answer_and_not_the_reference() -> None:
    # The ratio lower-cases both, so only the steps differ.
    assert judge_answer("nejumi-4", "NHK", "NHK").strict.value == "nhk"
    assert judge_answer("nejumi-4", "NHK", "NHK").scores == {"char_f1": 1.0}


# --- our own --------------------------------------------------------------------------------------------


def test_our_own_protocol_trims_before_a_full_stop_goes_as_the_systems_code_does_not() -> None:
    for text in ("UIA", "UIA。", "UIA。 ", " UIA。\n", "uia"):
        assert judge_answer("official", text, "UIA").scores == {"exact_match": 1.0, "f1": 1.0}
    assert judge_answer("official", "UIA. ", "UIA").scores["exact_match"] == 0.0
