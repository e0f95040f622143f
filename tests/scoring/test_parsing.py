"""What a careful person reads in model outputs, and what nobody should read in them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from jglue_app.scoring.parsing import Readings, read_choice, read_score, read_span
from jglue_app.scoring.types import Parsed, Status
from jglue_app.tasks import TASKS

# --- the answers that were asked for ---------------------------------------------------------------------


@dataclass(frozen=True)
class Ask:
    """Legal answers and further words for them, as a task and a wording style give them."""

    answers: Mapping[str, str]
    aliases: Mapping[str, tuple[str, ...]]

    def read(self, text: str) -> Readings:
        return read_choice(text, self.answers, self.aliases)


def _labels(task: str, *surfaces: str) -> Ask:
    return Ask(dict(zip(TASKS[task].labels, surfaces, strict=True)), _words(task))


def _words(task: str) -> Mapping[str, tuple[str, ...]]:
    item = {
        "marc_ja": {"review_id": 1, "sentence": "良い", "label": "positive"},
        "jnli": {"sentence_pair_id": 1, "sentence1": "犬", "sentence2": "猫", "label": "neutral"},
    }[task]
    return TASKS[task].aliases(TASKS[task].item(item))


def _five(surfaces: str, *choices: str) -> Ask:
    row = {"q_id": 1, "question": "どれ？", "label": 0} | {f"choice{i}": c for i, c in enumerate(choices)}
    aliases = TASKS["jcommonsenseqa"].aliases(TASKS["jcommonsenseqa"].item(row))
    return Ask(dict(zip("01234", surfaces or choices, strict=True)), aliases)


PLACES = ("掲示板", "絵本", "図書館", "アイス", "傘")
SHORT_WORDS = ("本", "水", "くわ", "かしわもち", "ちまき")

JNLI_JA = _labels("jnli", "含意", "矛盾", "中立")
JNLI_EN = _labels("jnli", "entailment", "contradiction", "neutral")
JNLI_NUMBER = _labels("jnli", "0", "1", "2")
JNLI_TEXT = _labels("jnli", "必ず正しい", "必ず間違い", "どちらとも言えない")
MARC_JA = _labels("marc_ja", "肯定", "否定")
MARC_EN = _labels("marc_ja", "positive", "negative")
MARC_NUMBER = _labels("marc_ja", "0", "1")
MARC_TEXT = _labels("marc_ja", "満足している", "不満がある")
KANA = _five("アイウエオ", *PLACES)
LETTER = _five("ABCDE", *PLACES)
NUMBER = _five("01234", *PLACES)
TEXT = _five("", *PLACES)
SHORT_KANA = _five("アイウエオ", *SHORT_WORDS)
SHORT_TEXT = _five("", *SHORT_WORDS)


@dataclass(frozen=True)
class Read:
    """What is expected of one reading: its value, how it was found, and the raw text it was found in."""

    value: str | float | None
    status: Status
    rule: str
    piece: str | None

    def check(self, raw: str, parsed: Parsed) -> None:
        piece = None if parsed.span is None else raw[slice(*parsed.span)]
        assert Read(parsed.value, parsed.status, parsed.rule, piece) == self


def exact(value: str | float, piece: str) -> Read:
    return Read(value, "exact", "exact", piece)


def found(value: str | float, rule: str, piece: str) -> Read:
    return Read(value, "recovered", rule, piece)


def several(rule: str = "several_labels") -> Read:
    return Read(None, "ambiguous", rule, None)


def nothing(rule: str = "no_label") -> Read:
    return Read(None, "off_format", rule, None)


UNFINISHED = Read(None, "unfinished_thought", "unfinished_thought", None)
EMPTY = Read(None, "empty", "empty", None)
NOT_EXACT = Read(None, "off_format", "not_exact", None)
E, C, N = "entailment", "contradiction", "neutral"
P, NEG = "positive", "negative"

# --- closed labels ---------------------------------------------------------------------------------------

EXACT_CHOICES = [
    (JNLI_JA, "含意", E, "含意"),
    (JNLI_JA, "  中立\n", N, "中立"),
    (JNLI_JA, "\u3000矛盾\u3000", C, "矛盾"),
    (JNLI_EN, "neutral", N, "neutral"),
    (JNLI_EN, "\nentailment\n\n", E, "entailment"),
    (JNLI_TEXT, "どちらとも言えない", N, "どちらとも言えない"),
    (MARC_NUMBER, "1", NEG, "1"),
    (MARC_TEXT, "不満がある", NEG, "不満がある"),
    (KANA, "オ", "4", "オ"),
    (LETTER, " C", "2", "C"),
    (NUMBER, "0", "0", "0"),
    (TEXT, "図書館", "2", "図書館"),
]

CHOICES: list[tuple[Ask, str, Read]] = [
    # Another width, case or script; punctuation, quotes and Markdown around it.
    (NUMBER, "２", found("2", "notation", "２")),
    (NUMBER, "②", found("2", "notation", "②")),
    (NUMBER, "二", found("2", "notation", "二")),
    (NUMBER, "零。", found("0", "notation", "零")),
    (NUMBER, "2️⃣", found("2", "notation", "2")),
    (NUMBER, "2.", found("2", "notation", "2")),
    (NUMBER, "(2)", found("2", "notation", "2")),
    (NUMBER, "⑵", found("2", "notation", "⑵")),
    (NUMBER, "[2]", found("2", "notation", "2")),
    (NUMBER, "「2」", found("2", "notation", "2")),
    (NUMBER, "- 2", found("2", "notation", "2")),
    (NUMBER, "\u200b2\ufeff", found("2", "notation", "2")),
    (LETTER, "Ｂ", found("1", "notation", "Ｂ")),
    (LETTER, "b", found("1", "notation", "b")),
    (LETTER, "(B)", found("1", "notation", "B")),
    (LETTER, "`B`", found("1", "notation", "B")),
    (KANA, "ｱ", found("0", "notation", "ｱ")),
    (KANA, "（イ）", found("1", "notation", "イ")),
    (KANA, "【ウ】", found("2", "notation", "ウ")),
    (KANA, "・エ", found("3", "notation", "エ")),
    (JNLI_JA, "**矛盾**", found(C, "notation", "矛盾")),
    (JNLI_JA, "「含意」", found(E, "notation", "含意")),
    (JNLI_JA, "『中立』。", found(N, "notation", "中立")),
    (JNLI_EN, "Entailment", found(E, "notation", "Entailment")),
    (JNLI_EN, "ｎｅｕｔｒａｌ", found(N, "notation", "ｎｅｕｔｒａｌ")),
    (JNLI_EN, '"contradiction".', found(C, "notation", "contradiction")),
    (MARC_EN, "POSITIVE!", found(P, "notation", "POSITIVE")),
    (MARC_TEXT, "「満足している」", found(P, "notation", "満足している")),
    (TEXT, "アイス。", found("3", "notation", "アイス")),
    (TEXT, "ｱｲｽ", found("3", "notation", "ｱｲｽ")),
    # Nothing but another word for a label.
    (JNLI_JA, "entailment", found(E, "alias", "entailment")),
    (JNLI_JA, "無関係", found(N, "alias", "無関係")),
    (JNLI_NUMBER, "矛盾", found(C, "alias", "矛盾")),
    (JNLI_TEXT, "含意。", found(E, "alias", "含意")),
    (MARC_JA, "positive", found(P, "alias", "positive")),
    (MARC_JA, "ポジティブ", found(P, "alias", "ポジティブ")),
    (MARC_JA, "ﾈｶﾞﾃｨﾌﾞ", found(NEG, "alias", "ﾈｶﾞﾃｨﾌﾞ")),
    (MARC_JA, "ネカ\u3099ティフ\u3099", found(NEG, "alias", "ネカ\u3099ティフ\u3099")),
    (MARC_EN, "否定的", found(NEG, "alias", "否定的")),
    (MARC_NUMBER, "肯定", found(P, "alias", "肯定")),
    (MARC_TEXT, "不満", found(NEG, "alias", "不満")),
    (KANA, "掲示板", found("0", "alias", "掲示板")),
    (KANA, "「絵本」", found("1", "alias", "絵本")),
    (NUMBER, "アイス", found("3", "alias", "アイス")),
    (SHORT_KANA, "水。", found("1", "alias", "水")),
    # After a cue.
    (NUMBER, "答えは2です。", found("2", "cue", "2")),
    (NUMBER, "答えは、2です。", found("2", "cue", "2")),
    (NUMBER, "答え：２", found("2", "cue", "２")),
    (NUMBER, "答え：②", found("2", "cue", "②")),
    (NUMBER, "答えは二です。", found("2", "cue", "二")),
    (NUMBER, "正解は2番です。", found("2", "cue", "2")),
    (NUMBER, "正解：2（図書館）", found("2", "cue", "2")),
    (NUMBER, "この質問の答えは「2」です。", found("2", "cue", "2")),
    (NUMBER, "【答え】2", found("2", "cue", "2")),
    (NUMBER, "### 回答\n2", found("2", "cue", "2")),
    (NUMBER, "**答え**: **2**", found("2", "cue", "2")),
    (NUMBER, "番号は2。", found("2", "cue", "2")),
    (NUMBER, "最も適切なのは2です。", found("2", "cue", "2")),
    (NUMBER, "正しい選択肢は3です。", found("3", "cue", "3")),
    (NUMBER, '{"answer": "2"}', found("2", "cue", "2")),
    (NUMBER, '{"answer": 2}', found("2", "cue", "2")),
    (LETTER, "Answer: B", found("1", "cue", "B")),
    (LETTER, "The correct answer is (B) 絵本.", found("1", "cue", "B")),
    (LETTER, "Therefore, B is the best choice.", found("1", "cue", "B")),
    (LETTER, "Answer: B. C is wrong because it is cold.", found("1", "cue", "B")),
    (KANA, "答えはアです。", found("0", "cue", "ア")),
    (KANA, "記号：エ", found("3", "cue", "エ")),
    (JNLI_JA, "Answer: 含意", found(E, "cue", "含意")),
    (JNLI_JA, "関係：矛盾。", found(C, "cue", "矛盾")),
    (JNLI_JA, "前提と仮説の関係は「中立」です。", found(N, "cue", "中立")),
    (JNLI_JA, "以上から、中立である。", found(N, "cue", "中立")),
    (JNLI_EN, "Label: Neutral", found(N, "cue", "Neutral")),
    (JNLI_EN, "The relationship is contradiction.", found(C, "cue", "contradiction")),
    (MARC_JA, "このレビューの評価は肯定です。", found(P, "cue", "肯定")),
    (MARC_EN, "Sentiment: negative", found(NEG, "cue", "negative")),
    (MARC_NUMBER, "番号：1", found(NEG, "cue", "1")),
    (TEXT, "答え：図書館", found("2", "cue", "図書館")),
    # An answer first, other text behind it.
    (NUMBER, "2です。", found("2", "leading", "2")),
    (NUMBER, "2番", found("2", "leading", "2")),
    (NUMBER, "2：図書館", found("2", "leading", "2")),
    (NUMBER, "2.図書館", found("2", "leading", "2")),
    (NUMBER, "2. 図書", found("2", "leading", "2")),
    (JNLI_NUMBER, "1. 矛盾", found(C, "leading", "1")),
    (NUMBER, "2 図書館", found("2", "leading", "2")),
    (NUMBER, "2<|im_end|>", found("2", "leading", "2")),
    (NUMBER, "2</s>", found("2", "leading", "2")),
    (NUMBER, "2\n2\n2\n2", found("2", "leading", "2")),
    (NUMBER, "2が正解です。", found("2", "leading", "2")),
    (NUMBER, "2だと思います。", found("2", "leading", "2")),
    (NUMBER, "2、理由は本を借りる場所だからです。", found("2", "leading", "2")),
    (KANA, "ア. 掲示板", found("0", "leading", "ア")),
    (KANA, "イ：絵本", found("1", "leading", "イ")),
    (KANA, "イ：絵本です。", found("1", "leading", "イ")),
    (KANA, "ウ（図書館）", found("2", "leading", "ウ")),
    (KANA, "オ\n\n解説：雨の日には傘が必要です。", found("4", "leading", "オ")),
    (LETTER, "B. 絵本", found("1", "leading", "B")),
    (LETTER, "B because it is read to children.", found("1", "leading", "B")),
    (LETTER, "(C) 図書館", found("2", "leading", "C")),
    (JNLI_JA, "含意です。", found(E, "leading", "含意")),
    (JNLI_JA, "中立（どちらとも言えない）", found(N, "leading", "中立")),
    (JNLI_JA, "含意（entailment）", found(E, "leading", "含意")),
    (JNLI_JA, "矛盾です。含意ではありません。", found(C, "leading", "矛盾")),
    (JNLI_EN, "Neutral. The premise says nothing about that.", found(N, "leading", "Neutral")),
    (JNLI_EN, "contradiction, not neutral", found(C, "leading", "contradiction")),
    (MARC_EN, "positive review", found(P, "leading", "positive")),
    (MARC_JA, "肯定です。書き手は商品に満足しています。", found(P, "leading", "肯定")),
    (MARC_TEXT, "満足しているようです。", found(P, "leading", "満足している")),
    (TEXT, "絵本です。", found("1", "leading", "絵本")),
    # A next question and its answer come after ours, or our own question before it.
    (NUMBER, "2\n\n質問：海にいる動物はどれ？\n0：犬\n答え：3", found("2", "notation", "2")),
    (NUMBER, "答え：2\n\n質問：海にいる動物はどれ？\n答え：3", found("2", "cue", "2")),
    (KANA, "イ：絵本\n\n質問：冷たいものはどれ？\nア：傘\n答え：エ", found("1", "leading", "イ")),
    (KANA, "わかりません。\n\n質問：冷たいものはどれ？\n答え：エ", nothing()),
    (KANA, "質問：どれ？\nア：掲示板\nイ：絵本\nウ：図書館\nエ：アイス\nオ：傘\n答え：イ", found("1", "cue", "イ")),
    (KANA, "質問：どれ？\n選択肢：ア、イ、ウ、エ、オ\n答え：イ\n\n質問：別\n答え：ウ", found("1", "cue", "イ")),
    (JNLI_JA, "矛盾\n\n前提：犬が走る。\n仮説：猫が眠る。\n関係：中立", found(C, "notation", "矛盾")),
    (
        JNLI_JA,
        "前提：犬がいる。\n仮説：動物がいる。\n関係：含意\n\n前提：猫\n仮説：犬\n関係：矛盾",
        found(E, "cue", "含意"),
    ),
    (MARC_JA, "肯定\n\nレビュー：ひどい。\n評価：否定", found(P, "notation", "肯定")),
    (MARC_EN, "positive\n### 入力:\nレビュー：ひどい", found(P, "notation", "positive")),
    # A thought before the answer.
    (NUMBER, "<think>\n0か3だろう。答えは3？\n</think>\n\n2", found("2", "notation", "2")),
    (JNLI_JA, "<think></think>答えは中立です。", found(N, "cue", "中立")),
    (JNLI_JA, "<think>\n含意\n</think>\n", nothing()),
    # Exactly one label in running text.
    (JNLI_JA, "矛盾ではなく中立です", found(N, "mention", "中立")),
    (JNLI_JA, "二つの文は矛盾しています。", found(C, "mention", "矛盾")),
    (JNLI_JA, "二つの文は矛盾のようです。", found(C, "mention", "矛盾")),
    (JNLI_JA, "矛盾で間違いありません。", found(C, "leading", "矛盾")),
    (JNLI_JA, "中立かもしれません。", found(N, "leading", "中立")),
    (JNLI_JA, "矛盾が生じています。", found(C, "leading", "矛盾")),
    (JNLI_JA, "前提は仮説を含意すると言えます。", found(E, "mention", "含意")),
    (JNLI_JA, "含意ではありません。「中立」となります。", found(N, "quoted", "中立")),
    (JNLI_EN, "This is not entailment, but neutral.", found(N, "mention", "neutral")),
    (JNLI_EN, "It looks like a contradiction to me.", found(C, "mention", "contradiction")),
    (JNLI_NUMBER, "この二文は矛盾する。", found(C, "mention", "矛盾")),
    (MARC_JA, "書き手は大変満足しています。", found(P, "mention", "満足")),
    (MARC_TEXT, "この人は不満がある", found(NEG, "mention", "不満がある")),
    (MARC_JA, "<answer>肯定</answer>", found(P, "mention", "肯定")),
    (NUMBER, "<answer>2</answer>", found("2", "mention", "2")),
    (NUMBER, "\\boxed{2}", found("2", "mention", "2")),
    (NUMBER, "私は2が正しいと思います。", found("2", "mention", "2")),
    (NUMBER, "1は違います。3は違います。2が正解です。", found("2", "mention", "2")),
    (NUMBER, "それは図書館です。", found("2", "mention", "図書館")),
    (LETTER, "I think it is B.", found("1", "mention", "B")),
    (LETTER, "I would choose option C.", found("2", "mention", "C")),
    (KANA, "アの掲示板です。", found("0", "leading", "ア")),
    (KANA, "子どもに読み聞かせるのは絵本です。", found("1", "mention", "絵本")),
    (SHORT_KANA, "畑を耕す道具はくわです。", found("2", "mention", "くわ")),
    # Explanations that name every label, and conclude.
    (
        JNLI_JA,
        "含意とは前提から仮説が必ず言えることです。矛盾とは両立しないことです。ここでは判断できないので、答えは「中立」です。",
        found(N, "cue", "中立"),
    ),
    (
        JNLI_JA,
        "一見矛盾に見えますが、含意とも取れます。しかし時間が書かれていません。したがって、中立です。",
        found(N, "cue", "中立"),
    ),
    (
        JNLI_EN,
        "Entailment would need proof, and a contradiction needs a conflict. Neither holds. "
        "Therefore, the label is neutral.",
        found(N, "cue", "neutral"),
    ),
    (
        NUMBER,
        "0は掲示板、1は絵本、2は図書館、3はアイス、4は傘です。本を借りるので、正解は2です。",
        found("2", "cue", "2"),
    ),
    (
        KANA,
        "ア：掲示板\nイ：絵本\nウ：図書館\nエ：アイス\nオ：傘\n\nこの中で正しいのはウです。",
        found("2", "cue", "ウ"),
    ),
    # Choices echoed, listed or offered as alternatives.
    (JNLI_JA, "含意、矛盾、中立", several()),
    (JNLI_JA, "「含意」「矛盾」「中立」のいずれか", several()),
    (JNLI_JA, "含意か矛盾か中立で答えてください。", several()),
    (JNLI_JA, "関係：含意、矛盾、中立のいずれか", several()),
    (JNLI_JA, "含意\n矛盾\n中立", several()),
    (JNLI_JA, "含意なら「含意」、両立しないなら「矛盾」", several()),
    (JNLI_JA, "含意、矛", several()),
    (JNLI_JA, "「含意」、「矛", several()),
    (JNLI_JA, "含意、", several()),
    (JNLI_EN, "entailment/contradiction/neutral", several()),
    (JNLI_EN, "entailment or contradiction", several()),
    (MARC_EN, "Answer: positive or negative?", several()),
    (MARC_JA, "肯定か否定か", several()),
    (MARC_TEXT, "「満足している」と「不満がある」のどちらですか。", several()),
    (KANA, "ア：掲示板\nイ：絵本\nウ：図書館", several()),
    (KANA, "ア 掲示板 イ 絵本 ウ 図書館 エ アイス オ 傘", several()),
    (KANA, "ア・イ・ウ・エ・オ", several()),
    (KANA, "ア\n\nイ\n\nウ", several()),
    (LETTER, "A. 掲示板\nB. 絵本\nC. 図書館\nD. アイス\nE. 傘", several()),
    (NUMBER, "0 1 2 3 4", several()),
    (NUMBER, "答えは2か3です。", several()),
    (NUMBER, "答え：2または3", several()),
    (NUMBER, "2\n1\n3\n0", several()),
    (SHORT_TEXT, "かしわもち、ちまき", several()),
    (SHORT_TEXT, "かしわもち、ちま", several()),
    (SHORT_TEXT, "かしわもち、ち", several()),
    (TEXT, "掲示板、絵本、傘\n回答：掲示板、絵本、傘\n回答：掲示板", several()),
    (KANA, "選択肢：ア、イ、ウ、エ、オ\n回答：ア", found("0", "cue", "ア")),
    (JNLI_EN, "関係を neutral（どちらとも言えない）、neutral（どちらとも", nothing("not_asserted")),
    (JNLI_JA, "犬が走っている。\n矛盾：犬が眠っている。\n結論：犬", nothing("not_asserted")),
    # Two answers.
    (KANA, "ア. 絵本", several()),
    (KANA, "ア絵本", several()),
    (KANA, "アの絵本です。", several()),
    (NUMBER, "2 絵本", several()),
    (NUMBER, "答えは2です。やはり答えは3です。", several()),
    (NUMBER, "2\n答え：3", several()),
    (JNLI_JA, "含意。したがって、矛盾です。", several()),
    (JNLI_JA, "含意(矛盾)", several()),
    (MARC_JA, "肯定的な面もあれば、否定的な面もあります。", several()),
    (JNLI_JA, "2と答えるなら含意、3と答えるなら矛盾", several()),
    # Negated, doubted, refused.
    (JNLI_EN, "not entailment", nothing("not_asserted")),
    (JNLI_EN, "not_entailment", nothing("not_asserted")),
    (JNLI_EN, "non-neutral", nothing("not_asserted")),
    (JNLI_EN, "The premise does not support an entailment.", nothing("not_asserted")),
    (JNLI_EN, "It is neither entailment nor contradiction.", nothing("not_asserted")),
    (JNLI_EN, "I cannot say whether this is a contradiction.", nothing("not_asserted")),
    (JNLI_JA, "矛盾しない", nothing("not_asserted")),
    (JNLI_JA, "二つの文は矛盾していません。", nothing("not_asserted")),
    (JNLI_JA, "矛盾しているとは言えない。", nothing("not_asserted")),
    (JNLI_JA, "含意とも矛盾とも言えません。", nothing("not_asserted")),
    (JNLI_JA, "含意でも矛盾でもない。", nothing("not_asserted")),
    (JNLI_JA, "含意は間違いです。", nothing("not_asserted")),
    (JNLI_JA, "含意以外", nothing()),
    (KANA, "ア以外です。", nothing("not_asserted")),
    (JNLI_JA, "含意かどうかを判定します。", nothing("not_asserted")),
    (JNLI_JA, "含意ですか？", nothing("not_asserted")),
    (JNLI_JA, "含意とは、前提から仮説が言えることです。", nothing("not_asserted")),
    (JNLI_JA, "前提が正しければ「含意」", nothing("not_asserted")),
    (JNLI_JA, "矛盾する可能性があります。", nothing("not_asserted")),
    (JNLI_JA, "矛盾しているように見えます。", nothing("not_asserted")),
    (JNLI_JA, "まず、二つの文に矛盾があるかを調べます。", nothing("not_asserted")),
    (JNLI_JA, "矛盾の意味を考えます。", nothing("not_asserted")),
    (JNLI_JA, "中立的な立場から評価します。", nothing("not_asserted")),
    (JNLI_JA, "「含意」と答えてください。", nothing("not_asserted")),
    (JNLI_JA, "含意：いいえ", nothing("not_asserted")),
    (JNLI_EN, "Entailment: No", nothing("not_asserted")),
    (JNLI_EN, "Is it a contradiction? No.", nothing("not_asserted")),
    (JNLI_TEXT, "言えることを「必ず正しい」と答", nothing("not_asserted")),
    (JNLI_TEXT, "必ず正しいとは言えない", nothing("not_asserted")),
    (JNLI_TEXT, "必ず間違いない", nothing()),
    (MARC_JA, "満足していない", nothing("not_asserted")),
    (MARC_JA, "あまり満足できませんでした。", nothing("not_asserted")),
    (MARC_JA, "肯定も否定もしない", nothing("not_asserted")),
    (MARC_JA, "否定できない", nothing("not_asserted")),
    (MARC_JA, "満足しかねます。", nothing("not_asserted")),
    (MARC_JA, "満足には至らず、残念です。", nothing("not_asserted")),
    (MARC_JA, "特に不満はありません。", nothing("not_asserted")),
    (MARC_JA, "肯定か否定か判断できません。", nothing("not_asserted")),
    (MARC_EN, "As an AI language model, I cannot decide if it is positive or negative.", nothing("not_asserted")),
    (MARC_EN, "Not positive.", nothing("not_asserted")),
    (MARC_NUMBER, "0は肯定的", nothing("not_asserted")),
    (NUMBER, "答えは2ではありません。", nothing("not_asserted")),
    (NUMBER, "不正解は2です。", nothing("not_asserted")),
    (KANA, "申し訳ありませんが、お答えできません。", nothing()),
    (KANA, "わかりません", nothing()),
    (JNLI_JA, "関係がありません。", nothing()),
    # Inside a longer word, number or name.
    (MARC_JA, "不満足", found(NEG, "alias", "不満足")),
    (MARC_JA, "満足度は低い", nothing()),
    (MARC_JA, "肯定文です。", nothing()),
    (JNLI_JA, "無矛盾である。", nothing()),
    (JNLI_EN, "neutralization", nothing()),
    (JNLI_EN, "contradictory", nothing()),
    (KANA, "アイス", found("3", "alias", "アイス")),
    (KANA, "アメリカ", nothing()),
    (KANA, "オーストラリアです。", nothing()),
    (KANA, "アアアアアア", nothing()),
    (LETTER, "A dog is running in the park.", nothing()),
    (LETTER, "This is a good question.", nothing()),
    (LETTER, "ビタミンCです。", nothing("not_asserted")),
    (LETTER, "Aさんは図書館にいます。", nothing("not_asserted")),
    (LETTER, "BBB", nothing()),
    (NUMBER, "20", nothing()),
    (NUMBER, "2.5", nothing()),
    (NUMBER, "2,000円", nothing()),
    (NUMBER, "2人", nothing()),
    (NUMBER, "2 人です。", nothing()),
    (NUMBER, "2つあります。", nothing()),
    (NUMBER, "2番目です。", nothing()),
    (NUMBER, "2021年", nothing()),
    (NUMBER, "2026/1/1", nothing()),
    (NUMBER, "-1", nothing()),
    (NUMBER, "12:30", nothing()),
    (NUMBER, "1+1", nothing()),
    (NUMBER, "昭和2です。", nothing("not_asserted")),
    (NUMBER, "一番好きなものです。", nothing()),
    (NUMBER, "222", nothing()),
    (NUMBER, "5", nothing()),
    (SHORT_KANA, "日本です。", nothing()),
    (SHORT_KANA, "水曜日", nothing()),
    (SHORT_KANA, "くわしく説明します。", nothing()),
    (SHORT_KANA, "水の中にいる動物です。", nothing()),
    (JNLI_NUMBER, "1. バイオリンの演奏者。\n2. 楽器の大会", nothing()),
    (JNLI_NUMBER, "1.バイオリンの演奏者。", nothing()),
    (MARC_NUMBER, "1000000000", nothing()),
    (MARC_NUMBER, "1回目、2回目、3回目", nothing()),
    (JNLI_NUMBER, "1、2、3、4、5、6、7", several()),
    # Numbers and letters that were not asked for say nothing: counted from 0 or from 1?
    (KANA, "2", nothing()),
    (LETTER, "2", nothing()),
    (NUMBER, "B", nothing()),
    (TEXT, "1", nothing()),
    # Not an answer at all.
    (NUMBER, "。", nothing()),
    (NUMBER, "はい", nothing()),
    (JNLI_JA, "<unk><unk>", nothing()),
    (JNLI_JA, "\x00\x01\x02", nothing()),
    (JNLI_JA, "\ud800", nothing()),
    (JNLI_JA, "\ud800矛盾\udfff", found(C, "mention", "矛盾")),
    (JNLI_JA, "矛盾\x00", found(C, "leading", "矛盾")),
]


@pytest.mark.parametrize(("ask", "text", "label", "piece"), EXACT_CHOICES)
def test_a_legal_answer_and_nothing_else_reads_the_same_strictly_and_leniently(
    ask: Ask, text: str, label: str, piece: str
) -> None:
    readings = ask.read(text)
    exact(label, piece).check(text, readings.strict)
    exact(label, piece).check(text, readings.lenient)


@pytest.mark.parametrize(("ask", "text", "expected"), CHOICES)
def test_a_choice_is_recovered_only_where_a_careful_person_would(ask: Ask, text: str, expected: Read) -> None:
    readings = ask.read(text)
    NOT_EXACT.check(text, readings.strict)
    expected.check(text, readings.lenient)


def test_two_choices_of_the_same_wording_cannot_be_told_apart() -> None:
    # One JCommonsenseQA item has 「砂利」 twice, once with a space before it.
    answers = dict(zip("01234", (" 兜蟹", "砂利", " 砂利", "兜蟹", "トカゲ"), strict=True))
    for text in ("砂利", "砂利です。", "「兜蟹」"):
        readings = read_choice(text, answers)
        assert readings.strict.value is None
        assert readings.lenient.value is None
    assert read_choice("トカゲ", answers).strict.value == "4"


def test_without_other_words_only_the_answers_themselves_are_recovered() -> None:
    answers = {"entailment": "0", "contradiction": "1", "neutral": "2"}
    assert read_choice("含意", answers).lenient.value is None
    assert read_choice("neutral", answers).lenient.value == "neutral"
    assert read_choice("「2」", answers).lenient.value == "neutral"


# --- a number on a scale ---------------------------------------------------------------------------------

EXACT_SCORES = [
    ("3.5", 3.5, "3.5"),
    ("0", 0.0, "0"),
    ("5.0", 5.0, "5.0"),
    (" 2.75\n", 2.75, "2.75"),
    ("\u30004\u3000", 4.0, "4"),
    ("0.0", 0.0, "0.0"),
]

SCORES: list[tuple[str, Read]] = [
    ("３．５", found(3.5, "notation", "３．５")),
    ("３", found(3.0, "notation", "３")),
    ("④", found(4.0, "notation", "④")),
    ("三", found(3.0, "notation", "三")),
    ("零点", found(0.0, "notation", "零")),
    ("3.5点", found(3.5, "notation", "3.5")),
    ("「3.5」", found(3.5, "notation", "3.5")),
    ("**4.0**", found(4.0, "notation", "4.0")),
    ("4。", found(4.0, "notation", "4")),
    ("4.0.", found(4.0, "notation", "4.0")),
    ("- 3.5", found(3.5, "notation", "3.5")),
    ("4/5", found(4.0, "notation", "4")),
    ("4.5 / 5.0", found(4.5, "notation", "4.5")),
    ("4点/5点", found(4.0, "notation", "4")),
    ("5/5", found(5.0, "notation", "5")),
    ("4 out of 5", found(4.0, "notation", "4")),
    ("5点満点中3点", found(3.0, "notation", "3")),
    ("５点満点中３点", found(3.0, "notation", "３")),
    ("5段階評価で4", found(4.0, "notation", "4")),
    ("5点中2.5点です。", found(2.5, "leading", "2.5")),
    ("0〜5で2.0", found(2.0, "notation", "2.0")),
    ("0から5のうち2.0", found(2.0, "notation", "2.0")),
    ("0から5の範囲で3.2です。", found(3.2, "leading", "3.2")),
    ("3.5\u200b点", found(3.5, "notation", "3.5")),
    # After a cue.
    ("類似度は3.5です", found(3.5, "cue", "3.5")),
    ("類似度：４．０", found(4.0, "cue", "４．０")),
    ("類似度は0から5のうち2.0です。", found(2.0, "cue", "2.0")),
    ("答えは、3.8です。", found(3.8, "cue", "3.8")),
    ("二つの文の近さは4.2点です。", found(4.2, "cue", "4.2")),
    ("スコア：3.5/5", found(3.5, "cue", "3.5")),
    ("点数：3（文1と文2は似ているため）", found(3.0, "cue", "3")),
    ("評価値：2.0", found(2.0, "cue", "2.0")),
    ("Score: 4.5", found(4.5, "cue", "4.5")),
    ("The similarity is 3.0.", found(3.0, "cue", "3.0")),
    ('{"score": 3.5}', found(3.5, "cue", "3.5")),
    ("文1：犬が走る。\n文2：犬が駆ける。\n近さ：4.5", found(4.5, "cue", "4.5")),
    ("どちらも犬の文です。したがって、4.0です。", found(4.0, "cue", "4.0")),
    # First, with other text behind it.
    ("3.5です。", found(3.5, "leading", "3.5")),
    ("3くらいです。", found(3.0, "leading", "3")),
    ("4.0（ほぼ同じ意味）", found(4.0, "leading", "4.0")),
    ("2.0\n\n文1：猫が眠る。\n文2：犬が走る。\n近さ：1.0", found(2.0, "notation", "2.0")),
    ("2.0\n二人の男性が別のことをしている。", found(2.0, "leading", "2.0")),
    ("4.0\n4.0\n4.0", found(4.0, "leading", "4.0")),
    ("5.0 理由：同じ意味だから", found(5.0, "leading", "5.0")),
    ("0.5<|endoftext|>", found(0.5, "leading", "0.5")),
    # The only number in running text.
    ("二つの文はよく似ているので3.5です。", found(3.5, "mention", "3.5")),
    ("私なら4点をつけます。", found(4.0, "mention", "4")),
    ("文1と文2はほぼ同じなので、4.8とします。", found(4.8, "mention", "4.8")),
    ("2人の男性が3つの箱を運んでいるので、4.0です。", found(4.0, "mention", "4.0")),
    ("3ではなく4です。", found(4.0, "mention", "4")),
    ("I would rate it 3.5.", found(3.5, "mention", "3.5")),
    ("<think>文1は2人、文2は3人。4か3か。</think>3.5", found(3.5, "notation", "3.5")),
    # Off the scale.
    ("10", nothing("out_of_scale")),
    ("-1", nothing("out_of_scale")),
    ("−1", nothing("out_of_scale")),
    ("－１", nothing("out_of_scale")),
    ("5.5", nothing("out_of_scale")),
    ("類似度は85です。", nothing("out_of_scale")),
    ("100点満点中80点", nothing("not_asserted")),
    ("9" * 400, nothing("out_of_scale")),
    ("9" * 3_000, nothing("out_of_scale")),
    # Several numbers, a range, another scale.
    ("3か4", several("several_numbers")),
    ("3、4", several("several_numbers")),
    ("3-4", several("several_numbers")),
    ("3.0〜4.0", several("several_numbers")),
    ("3.0〜5.0", several("several_numbers")),
    ("10〜5", several("several_numbers")),
    ("答えは3か4です。", several("several_numbers")),
    ("スコア：3〜4", several("several_numbers")),
    ("10点満点中3点", nothing("not_asserted")),
    ("3/10", several("several_numbers")),
    ("Score: 3/10", several("several_numbers")),
    ("3点（10点満点）", several("several_numbers")),
    ("3.5\n2.0\n4.0", several("several_numbers")),
    ("0.0（まったく違う）から5.0（同じ意味）", several("several_numbers")),
    ("文1の評価は2、文2の評価は3", several("several_numbers")),
    ("3以上", nothing("not_asserted")),
    ("3点以上", nothing("not_asserted")),
    ("3,5", several("several_numbers")),
    # Numbers that are no scores.
    ("4.", nothing("not_asserted")),
    ("点数：0.", nothing("not_asserted")),
    ("\n1. 傘を差して歩く\n2. 傘を差して歩く", nothing("no_number")),
    ("1) 傘を差して歩く", nothing("no_number")),
    ("1. 3.0\n2. 4.0", several("several_numbers")),
    ("0〜5", nothing("no_number")),
    ("0から50", several("several_numbers")),
    ("5点満点", nothing("no_number")),
    ("4.5点満点", nothing("not_asserted")),
    ("80%", nothing("no_number")),
    ("0.8％", nothing("no_number")),
    ("2人の男性がいる。", nothing("no_number")),
    ("3、4人の男性がいる。", nothing("no_number")),
    ("2〜3人の男性がいる。", nothing("no_number")),
    ("3 人の男性がいる。", nothing("no_number")),
    ("文1は犬、もう一つは猫の文です。", nothing("no_number")),
    ("文 1は犬の文です。", nothing("no_number")),
    ("1匹の犬", nothing("no_number")),
    ("3.5.2", nothing("no_number")),
    ("3.53.53.5", nothing("no_number")),
    ("3 men are walking.", nothing("no_number")),
    ("1e3", nothing("no_number")),
    ("三人の男性", nothing("no_number")),
    ("NaN", nothing("no_number")),
    ("高い", nothing("no_number")),
    ("わかりません。\n\n文1：猫\n文2：犬\n近さ：1.0", nothing("no_number")),
    ("。", nothing("no_number")),
    ("\ud800", nothing("no_number")),
    ("\x00", nothing("no_number")),
    ("٣", nothing("no_number")),
    ("\ud8003.5点\udfff", found(3.5, "mention", "3.5")),
]


@pytest.mark.parametrize(("text", "value", "piece"), EXACT_SCORES)
def test_a_plain_number_on_the_scale_reads_the_same_strictly_and_leniently(text: str, value: float, piece: str) -> None:
    readings = read_score(text)
    exact(value, piece).check(text, readings.strict)
    exact(value, piece).check(text, readings.lenient)


@pytest.mark.parametrize(("text", "expected"), SCORES)
def test_a_score_is_recovered_only_where_a_careful_person_would(text: str, expected: Read) -> None:
    readings = read_score(text)
    NOT_EXACT.check(text, readings.strict)
    expected.check(text, readings.lenient)


def test_a_score_is_held_against_the_scale_that_is_given() -> None:
    assert read_score("7", low=1, high=7).strict.value == 7.0
    assert read_score("8", low=1, high=7).lenient.rule == "out_of_scale"
    assert read_score("0.5です", low=1, high=7).lenient.value is None


# --- a span of text --------------------------------------------------------------------------------------

SPANS: list[tuple[str, Read]] = [
    ("「東京」", found("東京", "quoted", "東京")),
    ("『こころ』", found("こころ", "quoted", "こころ")),
    ('"東京"', found("東京", "quoted", "東京")),
    ("**東京**", found("東京", "quoted", "東京")),
    ("【東京】", found("東京", "quoted", "東京")),
    ("「『こころ』」", found("こころ", "quoted", "こころ")),
    ("答え：東京", found("東京", "cue", "東京")),
    ("答え: 東京", found("東京", "cue", "東京")),
    ("答えは東京", found("東京", "cue", "東京")),
    ("答え：\n東京", found("東京", "cue", "東京")),
    ("【答え】東京", found("東京", "cue", "東京")),
    ("**答え**：東京", found("東京", "cue", "東京")),
    ("### 回答\n東京", found("東京", "cue", "東京")),
    ("Answer: 東京", found("東京", "cue", "東京")),
    ("The answer is 東京.", found("東京", "cue+copula", "東京")),
    ("A: 東京", found("東京", "cue", "東京")),
    ("抜き出し：よろい戸", found("よろい戸", "cue", "よろい戸")),
    ("東京です。", found("東京", "copula", "東京")),
    ("東京です", found("東京", "copula", "東京")),
    ("東京でした。", found("東京", "copula", "東京")),
    ("東京となります。", found("東京", "copula", "東京")),
    ("東京だと思います。", found("東京", "copula", "東京")),
    ("東京である。", found("東京である", "copula", "東京である")),
    ("東京。", found("東京", "copula", "東京")),
    ("東京．", found("東京", "copula", "東京")),
    ("日光をはね返すためです。", found("日光をはね返すため", "copula", "日光をはね返すため")),
    ("東京\n東京は日本の首都である。", found("東京", "first_line", "東京")),
    ("東京\n\n質問：大阪は？\n答え：西", found("東京", "first_line", "東京")),
    ("東京\r\n大阪", found("東京", "first_line", "東京")),
    ("東京です。東京は日本の首都です。", found("東京", "first_sentence", "東京")),
    ("答えは「東京」です。", found("東京", "cue+copula+quoted", "東京")),
    ("この質問の答えは、「東京」です。", found("東京", "cue+copula+quoted", "東京")),
    ("文章によると、答えは東京です。", found("東京", "cue+copula", "東京")),
    ("答え：「東京」\n理由：首都だから", found("東京", "cue+first_line+quoted", "東京")),
    ("「東京」です。", found("東京", "copula+quoted", "東京")),
    ("「東京」。", found("東京", "copula+quoted", "東京")),
    ("答え：答えは東京です。", found("東京", "cue+copula", "東京")),
    ("質問：首都は？\n答え：東京\n\n質問：次は？", found("東京", "after_question+cue+first_line", "東京")),
    ("<think>\n首都は京都？\n</think>\n\n東京です。", found("東京", "after_thought+copula", "東京")),
    ("<think>首都は</think>\n", nothing("no_answer")),
    ("\ud800です。", found("\ud800", "copula", "\ud800")),
    ("東京\x00です。", found("東京\x00", "copula", "東京\x00")),
]

WHOLE_SPANS = [
    "東京",
    "百葉箱（ひゃくようばこ）",
    "「東京」と「大阪」",
    "「東京」「大阪」",
    "『こころ』（夏目漱石）",
    "（x）と（y）",
    '"A" and "B"',
    "1.2メートルから1.5メートル",
    "違法である",
    "まだ",
    "死んだ",
    "東京、大阪",
    "。",
    "です。",
    "「」",
    "答え：",
    "わかりません",
    "Tokyo Bay",
    "\ud800",
    "\x00",
]


@pytest.mark.parametrize(("text", "expected"), SPANS)
def test_a_span_is_freed_of_what_stands_around_it(text: str, expected: Read) -> None:
    readings = read_span(text)
    exact(text.strip(), text.strip()).check(text, readings.strict)
    expected.check(text, readings.lenient)


@pytest.mark.parametrize("text", WHOLE_SPANS)
def test_a_span_with_nothing_around_it_is_left_alone(text: str) -> None:
    padded = f" \n{text}\u3000"
    readings = read_span(padded)
    exact(text, text).check(padded, readings.strict)
    exact(text, text).check(padded, readings.lenient)


# --- all readers -----------------------------------------------------------------------------------------

Reader = Callable[[str], Readings]
READERS: dict[str, Reader] = {
    "choice by label": JNLI_JA.read,
    "choice by English label": MARC_EN.read,
    "choice by letter": LETTER.read,
    "choice by number": NUMBER.read,
    "choice by text": SHORT_TEXT.read,
    "score": read_score,
    "span": read_span,
}
every_reader = pytest.mark.parametrize("read", READERS.values(), ids=READERS.keys())


@every_reader
@pytest.mark.parametrize("text", ["", " ", "\n\n", "\t\u3000\r\n", "\x1c\x85"])
def test_an_empty_or_blank_output_is_empty_and_never_an_answer(read: Reader, text: str) -> None:
    readings = read(text)
    EMPTY.check(text, readings.strict)
    EMPTY.check(text, readings.lenient)


ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=5_000)
PIECES = (
    *("0", "1", "2", "2.5", "3", "10", "-", "/5", "２", "②", "二", "5点満点", "0から5", "点", "%", "人", "番"),
    *(
        "含意",
        "矛盾",
        "中立",
        "肯定",
        "否定的",
        "positive",
        "not ",
        "neither ",
        "A",
        "B",
        "ア",
        "アイス",
        "絵本",
        "本",
        "くわ",
    ),
    *(
        "答え：",
        "答えは",
        "したがって、",
        "answer: ",
        "関係：",
        "質問：",
        "前提：",
        "\n",
        "\n\n",
        " ",
        "\u3000",
        "、",
        "。",
        "，",
    ),
    *(
        "「",
        "」",
        "(",
        ")",
        "**",
        "です。",
        "です",
        "ではない",
        "ではなく",
        "しない",
        "か",
        "は",
        "の",
        "と",
        "なら",
        "or ",
    ),
    *("<answer>2", "<think>", "</think>", "ﾞ", "\u3099", "\u200b", "\ufe0f", "\ud800", "\x00", "<", "x", "A: "),
)
LIKELY_TEXT = st.lists(st.sampled_from(PIECES), max_size=30).map("".join)
TEXT_LIMIT_SECONDS = 0.05


def cost(read: Reader, text: str) -> float:
    """Processor seconds of one call; the best of up to three, for a collector or a busy machine is not the reader."""
    best = float("inf")
    for _ in range(3):
        start = time.thread_time()
        read(text)
        best = min(best, time.thread_time() - start)
        if best < TEXT_LIMIT_SECONDS:
            break
    return best


@every_reader
@given(text=ANY_TEXT | LIKELY_TEXT)
def test_any_text_has_two_readings_that_hold_together(read: Reader, text: str) -> None:
    readings = read(text)
    for parsed in (readings.strict, readings.lenient):
        assert (parsed.value is not None) == (parsed.status in ("exact", "recovered"))
        assert (parsed.span is None) == (parsed.value is None)
        assert (parsed.status == "empty") == (not text.strip())
        if parsed.span:
            start, end = parsed.span
            assert 0 <= start < end <= len(text)
    if read is read_span:
        for parsed in (readings.strict, readings.lenient):
            if parsed.span:
                assert isinstance(parsed.value, str)
                assert parsed.value == parsed.value.strip()
                if "notation" not in parsed.rule and "marked" not in parsed.rule:
                    assert parsed.value == text[slice(*parsed.span)]
    elif readings.strict.status == "exact":
        assert readings.lenient == readings.strict
    if read is read_score and readings.lenient.value is not None:
        assert isinstance(readings.lenient.value, float)
        assert 0 <= readings.lenient.value <= 5


@every_reader
@example(text="0の")
@given(text=ANY_TEXT | LIKELY_TEXT)
def test_white_space_around_an_output_changes_nothing_but_positions(read: Reader, text: str) -> None:
    plain, padded = read(text), read(f"\n {text}\u3000\n")
    assert padded.strict.value == plain.strict.value
    if len(text) < 3_900:
        assert padded.lenient.value == plain.lenient.value


@given(rest=LIKELY_TEXT.filter(lambda rest: "think>" not in rest))
def test_a_next_question_never_changes_the_answer_before_it(rest: str) -> None:
    for label, answer in NUMBER.answers.items():
        assert NUMBER.read(f"{answer}\n\n質問：{rest}").lenient.value == label
    assert JNLI_JA.read(f"関係：矛盾\n\n前提：{rest}").lenient.value == C
    assert read_score(f"3.5\n\n文1：{rest}").lenient.value == 3.5
    assert read_span(f"東京\n\n質問：{rest}").lenient.value == "東京"


@pytest.mark.parametrize("ask", [JNLI_JA, JNLI_EN, MARC_JA, MARC_EN, MARC_NUMBER, KANA, LETTER, NUMBER, TEXT])
@pytest.mark.parametrize(
    "frame",
    [
        "「{}」",
        "{}。",
        "**{}**",
        "({})",
        "答え：{}",
        "答えは{}です。",
        "答えは「{}」です。",
        "Answer: {}",
        "正解は{}。",
        "{}です。",
    ],
)
def test_every_answer_is_found_in_every_common_frame(ask: Ask, frame: str) -> None:
    for label, answer in ask.answers.items():
        text = frame.format(answer)
        lenient = ask.read(text).lenient
        assert (lenient.value, lenient.status) == (label, "recovered")
        assert lenient.span is not None and text[slice(*lenient.span)] == answer


@pytest.mark.parametrize("ask", [JNLI_JA, JNLI_EN, MARC_JA, MARC_EN, KANA, LETTER, NUMBER, TEXT])
@pytest.mark.parametrize("joint", ["、", "・", "\n", " ", "か", "と", "または", " or ", "/", "、または", "」「", "や"])
@pytest.mark.parametrize("frame", ["{}", "{}です。", "答え：{}", "「{}」", "Answer: {}"])
def test_two_different_labels_side_by_side_are_never_an_answer(ask: Ask, joint: str, frame: str) -> None:
    first, *_, last = ask.answers.values()
    assert ask.read(frame.format(first + joint + last)).lenient.value is None


LONG_LINES = (
    "a",
    "あ",
    " ",
    "\n",
    "\ud800",
    "「",
    "答え：",
    "2 2,",
    "。",
    "2\n",
    "です。",
    "含意、矛盾でなく",
    "質問：2\n",
    "本 水 ",
    "3、",
    "not ",
    "「3」",
    "しかし、違います",
    '{"answer": ',
    "\\boxed{2}",
    "```\n",
    "（",
    "三点",
    "から",
    "の",
    "is 3 ",
)


@every_reader
def test_five_thousand_characters_are_read_within_50_ms(read: Reader) -> None:
    for piece in (*LONG_LINES, *PIECES):
        assert cost(read, (piece * 5_000)[:5_000]) < TEXT_LIMIT_SECONDS, piece


@every_reader
def test_a_megabyte_is_read_within_50_ms(read: Reader) -> None:
    for piece in LONG_LINES:
        assert cost(read, (piece * 1_000_000)[:1_000_000]) < TEXT_LIMIT_SECONDS, piece


@pytest.mark.parametrize("sign", ['"', "'", "*", "_", "`"])
def test_a_run_of_signs_between_labels_that_close_and_open_is_read_within_50_ms(sign: str) -> None:
    text = f"x含意{sign * 3_600}したがって、含意"
    assert cost(JNLI_JA.read, text) < TEXT_LIMIT_SECONDS


def test_an_answer_is_not_guessed_from_the_beginning_of_a_very_long_text() -> None:
    filler = "そのように考えることもできるし、もう少し調べてみたい気もする。" * 400
    assert JNLI_JA.read(f"まず、二つの文は矛盾しています。{filler}").lenient.rule == "too_long"
    assert read_score(f"まず、私なら3点をつけます。{filler}").lenient.rule == "too_long"
    assert JNLI_JA.read(f"答えは矛盾です。{filler}").lenient.value == C
    assert read_score(f"3.5です。{filler}").lenient.value == 3.5
