"""Outputs of models: parsers of answers, judges of every system, thoughts, normalisation and what compares texts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from random import Random

from jglue_app.prompts import thoughts
from jglue_app.results.surrogates import replace as without_surrogates
from jglue_app.scoring.parsing import read_choice, read_score, read_span
from jglue_app.scoring.protocols import PROTOCOLS
from jglue_app.scoring.protocols.span_similarity import F1_FUNCTIONS
from jglue_app.scoring.protocols.text_normalization import STEPS
from jglue_app.scoring.text_diff import diff, folds, ranges
from jglue_app.tasks import TASKS
from jglue_app.types import Item, Output, Prompt, Record
from tests.fuzz.target import Allowance, Target
from tests.fuzz.texts import megabytes, text_maker

CHOICES = {f"choice{i}": word for i, word in enumerate(("掲示板", "絵本", "図書館", "アイス", "傘"))}
ITEMS = {
    "marc_ja": Item("marc_ja", "1", {"sentence": "良い"}, ("positive",), ("positive", "negative")),
    "jsts": Item("jsts", "1", {"sentence1": "犬", "sentence2": "猫"}, 4.0),
    "jnli": Item(
        "jnli", "1", {"sentence1": "犬", "sentence2": "猫"}, ("neutral",), ("entailment", "contradiction", "neutral")
    ),
    "jsquad": Item("jsquad", "1", {"title": "", "context": "東京", "question": "？"}, ("東京都", "「こころ」", "１年")),
    "jcommonsenseqa": Item("jcommonsenseqa", "1", {"question": "？", **CHOICES}, ("2",), ("0", "1", "2", "3", "4")),
    "jcola": Item("jcola", "1", {"sentence": "犬が走る。"}, ("acceptable",), ("unacceptable", "acceptable")),
}
ASKED = {
    "marc_ja": (("positive", "negative"), ("肯定", "否定"), ("0", "1"), ("満足している", "不満がある")),
    "jnli": (("entailment", "contradiction", "neutral"), ("含意", "矛盾", "中立"), ("0", "1", "2")),
    "jcommonsenseqa": (tuple("01234"), tuple("アイウエオ"), tuple("ABCDE"), tuple(CHOICES.values())),
    "jcola": (("unacceptable", "acceptable"), ("不自然", "自然"), ("0", "1")),
}
"""Subset → the ways in which styles ask for its labels."""

CUES = (
    *(
        "答え：",
        "答えは",
        "回答:",
        "正解は「",
        "」です。",
        "です。",
        "ではなく",
        "ではない",
        "ません。",
        "以外",
        "または",
        "か",
    ),
    *(
        "不",
        "無",
        "なら",
        "ならば",
        "もし",
        "とは、",
        "選択肢：",
        "質問：",
        "したがって、",
        "よって",
        "**",
        "### ",
        "- ",
    ),
    *("Answer: ", "The answer is ", "not ", "neither ", " nor ", " or ", "\\boxed{", "}", "<answer>", "</answer>"),
    *(
        '{"answer": "',
        '"}',
        "```json\n",
        "```",
        "\n\n",
        "、",
        "・",
        "（",
        "）",
        "番",
        "点",
        "5点満点",
        "約",
        "〜",
        "ー",
    ),
    *("<think>", "</think>", "<|channel|>analysis<|message|>", "<|channel|>final<|message|>", "[THINK]", "[/THINK]"),
)
NUMBERS = (
    "3",
    "2.5",
    "４",
    "②",
    "三",
    "0.0",
    "5",
    "10",
    "-1",
    "1/5",
    "3.",
    "3.5.2",
    "1e3",
    "類似度は",
    "スコア：",
    "out of 5",
)
SPANS = ("東京都", "こころ", "「こころ」", "１年", "日本", "1999年", "答えは東京都です。", "A: 東京")
THOUGHTS = (
    *("<think>", "</think>", "<thinking>", "</thinking>", "<reasoning>", "◁think▷", "◁/think▷", "<seed:think>"),
    *("<|channel|>", "<|message|>", "<|start|>assistant", "<|end|>", "<|return|>", "analysis", "final", "commentary"),
    *("[THINK]", "[/THINK]", "<|begin_of_thought|>", "<|end_of_thought|>", "<|im_start|>", "<|im_end|>", "<answer>"),
    *("<", "</", ">", "think", "答え：2", "\n", "\n\n", "<|", "|>", "assistantfinal", "思考：", "最終回答："),
)


def _words_of(task: str) -> tuple[str, ...]:
    words = [word for words in (TASKS[task].aliases(ITEMS[task]) or {}).values() for word in words]
    return tuple(dict.fromkeys((*(label for way in ASKED[task] for label in way), *words)))


def _choice(task: str, folder: Path) -> Target:
    pieces = (*_words_of(task), *_words_of(task), *CUES)
    asked = [dict(zip(ITEMS[task].choices, way, strict=True)) for way in ASKED[task]]
    aliases = TASKS[task].aliases(ITEMS[task]) or {}
    examples = [f"答えは「{word}」です。" for word in _words_of(task)[:6]]

    def read(text: str) -> object:
        answers = asked[len(text) % len(asked)]
        return read_choice(text, answers, aliases, "<think>" if len(text) % 7 == 0 else "")

    return Target(f"answer: {task}", text_maker(pieces, examples), read, examples, large=megabytes(pieces))


def _score(folder: Path) -> Target:
    pieces = (*NUMBERS, *NUMBERS, *CUES)
    examples = ["類似度は3.5です。", "答え：4", "3.0点（5点満点）"]
    return Target("answer: jsts", text_maker(pieces, examples), read_score, examples, large=megabytes(pieces))


def _span(folder: Path) -> Target:
    pieces = (*SPANS, *CUES)
    examples = ["答えは「東京都」です。", "**東京都**", '{"answer": "東京都"}']
    return Target("answer: jsquad", text_maker(pieces, examples), read_span, examples, large=megabytes(pieces))


def _judges(name: str, folder: Path) -> Target:
    """Every subset that a system scores; the subset, how the output ended and its log-likelihoods go by its length."""
    protocol = PROTOCOLS[name]
    tasks = list(protocol.metrics)
    pieces = (*NUMBERS, *SPANS, *CUES, *(word for task in ASKED for word in _words_of(task)))
    odd = (0.0, -1.0, 1e308, -1e308, float("nan"), float("inf"), float("-inf"))

    def judge(task: str, text: str) -> object:
        item = ITEMS[task]
        logprobs = tuple(odd[(len(text) + k) % len(odd)] for k in range(len(item.choices))) or None
        prompt = Prompt(task, item.id, "p", None, (), item.choices, "", (), "")
        output = Output(text, "length" if len(text) % 5 == 0 else "stop", 1, 1, 0.0, logprobs)
        return protocol.judge(TASKS[task], item, Record("s", task, item.id, prompt, output))

    def read(text: str) -> object:
        return judge(tasks[len(text) % len(tasks)], text)

    return Target(f"judge: {name}", text_maker(pieces), read, ("2", "東京都"), large=megabytes(pieces[:12]))


def _thoughts(folder: Path) -> Target:
    def read(text: str) -> object:
        middle = len(text) // 2
        return (
            thoughts.split(text),
            thoughts.split(text[middle:], text[:middle][-40:]),
            thoughts.opener_of(text),
            thoughts.left_open(text, text[:middle]),
            thoughts.has_thought_mark(text, text[middle:]),
            thoughts.opened_otherwise(text, text[:middle], text[middle:]),
            thoughts.is_open(text),
            thoughts.closings(text),
            thoughts.closed(text, "<think>"),
        )

    examples = ["<think>\n考える\n</think>\n\n2"]
    return Target("thoughts", text_maker(THOUGHTS, examples), read, examples, large=megabytes(THOUGHTS))


def _steps(folder: Path) -> Target:
    def read(text: str) -> object:
        return [step(text) for step in STEPS.values()]

    pieces = (*SPANS, *NUMBERS, "応答:", "回答:", "'", '"', "ー", "〜", "-", "​", "か\u3099", "\u0301", "😀", "☆")
    return Target("text normalisation", text_maker(pieces), read, ("東京 都",), large=megabytes(pieces))


def _pairs(pieces: Sequence[str], most: int) -> Callable[[Random], tuple[str, str]]:
    """Two texts that have much in common, or nothing."""
    one = text_maker(pieces, longest=most)

    def make(rng: Random) -> tuple[str, str]:
        a = one(rng)
        if rng.random() < 0.5:
            return a, one(rng)
        at = rng.randint(0, len(a))
        return a, a[:at] + rng.choice(pieces) + a[at + rng.randint(0, 5) :]

    return make


def _similarity(folder: Path) -> Target:
    """A prediction against a reference, which is no longer than JSQuAD's."""

    def read(pair: tuple[str, str]) -> object:
        # No tokenizer writes lone surrogates, and the judges' steps replace them before words are compared.
        prediction, reference = (without_surrogates(text) for text in pair)
        return [measure(prediction, reference[:300]) for measure in F1_FUNCTIONS.values()]

    pieces = (*SPANS, " ", "a b", "。")
    slow = Allowance(
        10_000,
        "one of these scores is difflib's ratio, which has no faster equal; it takes long where hundreds of characters "
        "repeat the few of a reference of a hundred or more",
    )
    return Target("span similarity", _pairs(pieces, 8_000), read, (("東京", "東京都"),), allowance=slow)


def _diff(folder: Path) -> Target:
    def read(pair: tuple[str, str]) -> object:
        pieces = diff(*pair)
        assert "".join(piece.text for piece in pieces if piece.only != "b") == pair[0]
        assert "".join(piece.text for piece in pieces if piece.only != "a") == pair[1]
        return folds(pieces, "a", [r for r, only in ranges(pieces, "a") if only])

    def large() -> list[tuple[str, str]]:
        return [
            ("あ" * 500_000, "い" * 500_000),
            ("ab" * 250_000, "ba" * 250_000),
            ("\u0301" * 500_000, "\u0301" * 499_999),
        ]

    return Target(
        "text difference", _pairs((*SPANS, "a", "\u0301", "\n"), 6_000), read, (("東京", "東京都"),), large=large
    )


TARGETS: dict[str, Callable[[Path], Target]] = {
    **{f"answer: {task}": partial(_choice, task) for task in ASKED},
    "answer: jsts": _score,
    "answer: jsquad": _span,
    **{f"judge: {name}": partial(_judges, name) for name in PROTOCOLS},
    "thoughts": _thoughts,
    "text normalisation": _steps,
    "span similarity": _similarity,
    "text difference": _diff,
}
