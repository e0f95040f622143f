"""Answers with their reasons, as chat models write them: the answer is read, whatever the reason denies."""

from __future__ import annotations

import pytest

from tests.scoring.reading.asks import JNLI, JNLI_EN, KANA, LETTER, MARC, MARC_EN, NUMBER, TEXT, Ask, score

LABELS: list[tuple[Ask, str, str]] = [
    (
        JNLI,
        "含意\n\n前提の「男性が自転車に乗っている」という文から、仮説の「人が乗り物に乗っている」は必ず言えます。",
        "entailment",
    ),
    (
        JNLI,
        "関係は「中立」です。前提では天気について何も述べられていないため、仮説が正しいかどうかは判断できません。",
        "neutral",
    ),
    (
        JNLI,
        "矛盾\n\n理由：前提では「立っている」とありますが、仮説では「座っている」とあり、両方が同時に成り立たないためです。",
        "contradiction",
    ),
    (
        JNLI,
        "答えは「矛盾」です。\n\n前提では犬は走っていますが、仮説では寝ています。同時に成り立つことはありません。",
        "contradiction",
    ),
    (JNLI, "前提から仮説を必ずしも導けないため、関係は「中立」です。", "neutral"),
    (JNLI, "この前提と仮説の関係は「含意」です。", "entailment"),
    (JNLI, "**答え：含意**", "entailment"),
    (JNLI, "【矛盾】", "contradiction"),
    (JNLI, "含意（がんい）", "entailment"),
    (JNLI, "前提と仮説を比べると、数が違うので、矛盾です。", "contradiction"),
    (JNLI, "どちらとも言えないので、中立です。", "neutral"),
    (JNLI, "中立\n\n前提には色のことが書かれていないので、どちらとも言えません。", "neutral"),
    (JNLI, "関係：含意\n理由：犬は動物だから", "entailment"),
    (JNLI, "答え: 中立\n", "neutral"),
    (JNLI, "- 関係: 中立", "neutral"),
    (JNLI, "結論として、この二つの文は矛盾しています。", "contradiction"),
    (JNLI_EN, "The relationship is **neutral**.\n\nThe premise does not mention what the man is wearing.", "neutral"),
    (
        JNLI_EN,
        "contradiction\n\nExplanation: The premise says the man is sitting, while the hypothesis says he is standing.",
        "contradiction",
    ),
    (JNLI_EN, "neutral\n\nThe premise doesn't tell us whether the dog is brown.", "neutral"),
    (JNLI_EN, "Entailment. If a man is riding a bike, he is outdoors.", "entailment"),
    (JNLI_EN, "Based on the premise and hypothesis, the label is entailment.", "entailment"),
    (JNLI_EN, "Since the premise says nothing about time, the answer is neutral.", "neutral"),
    (JNLI_EN, "関係：neutral（どちらとも言えない）", "neutral"),
    (JNLI_EN, "The hypothesis is false given the premise, so the answer is contradiction.", "contradiction"),
    (MARC, "肯定\n\n書き手は吸水性や乾きやすさを高く評価しており、不満は最初の糸くず程度です。", "positive"),
    (MARC, "否定\n理由：壊れやすく、使い物にならないと述べているため。", "negative"),
    (MARC, "このレビューは「否定」的な評価です。", "negative"),
    (MARC, "書き手の評価は「肯定」です。商品に満足していることが読み取れます。", "positive"),
    (MARC, "評価は肯定的です。", "positive"),
    (MARC, "このレビューは全体として肯定的な評価をしています。", "positive"),
    (MARC, "否定です。期待していたほどではなかったと書かれています。", "negative"),
    (MARC, "書き手は商品に不満を持っているため、評価は「否定」です。", "negative"),
    (MARC_EN, "The sentiment of this review is positive.", "positive"),
    (MARC_EN, "negative\n\nThe reviewer says the product is not worth the price.", "negative"),
    (MARC_EN, "This review expresses a positive sentiment.", "positive"),
    (NUMBER, "3\n\n砂漠は雨がほとんど降らない場所です。", "3"),
    (NUMBER, "答え：3\n解説：雨が少ないのは砂漠です。", "3"),
    (NUMBER, "正解は **3（砂漠）** です。", "3"),
    (NUMBER, "**3：砂漠**", "3"),
    (NUMBER, "選択肢の中で最も適切なのは、3番の「砂漠」です。", "3"),
    (NUMBER, "最もふさわしい選択肢は「3：砂漠」です。", "3"),
    (NUMBER, "答えは3番の砂漠です。", "3"),
    (NUMBER, "[3]", "3"),
    (NUMBER, "番号：3\n", "3"),
    (NUMBER, "The correct answer is 3: 砂漠.", "3"),
    (NUMBER, "砂漠が正解です。", "3"),
    (KANA, "エ：砂漠\n\n他の選択肢は水がある場所なので、適切ではありません。", "3"),
    (KANA, "答えは「エ：砂漠」です。", "3"),
    (KANA, "正解は**エ**です。", "3"),
    (KANA, "エ（砂漠）です。", "3"),
    (KANA, "エ\n", "3"),
    (KANA, "最もふさわしいのは「エ」です。海や川には水があるからです。", "3"),
    (LETTER, "D：砂漠", "3"),
    (LETTER, "The answer is D (砂漠).", "3"),
    (LETTER, "**D**", "3"),
    (LETTER, "D) 砂漠", "3"),
    (LETTER, "Option D is correct.", "3"),
    (TEXT, "砂漠です。雨がほとんど降らないからです。", "3"),
    (TEXT, "正解は「砂漠」です。", "3"),
    (TEXT, "答えは砂漠です。海や川には水があります。", "3"),
    (TEXT, "選択肢から選ぶと「砂漠」です。", "3"),
    (TEXT, "最も適切な答えは「砂漠」です。", "3"),
]
SCORES = [
    ("類似度は4.0です。どちらの文も犬が走っている様子を表していますが、場所が違います。", 4.0),
    ("3.5\n\n二つの文はどちらもスケートボードについてですが、動作が異なります。", 3.5),
    ("**4.2**", 4.2),
    ("4.0点です。", 4.0),
    ("近さ：4.0\n理由：主語が違うだけです。", 4.0),
    ("二つの文の意味の近さは「4.0」です。", 4.0),
    ("この二つの文の類似度は、4.5点です。", 4.5),
    ("類似度: 4.0 / 5.0", 4.0),
    ("The similarity between the two sentences is 4.0.", 4.0),
    ("Score: 4.0\n\nBoth sentences describe a dog.", 4.0),
    ("答え：3.0（部分的に似ている）", 3.0),
    ("2.0\n文1は男性、文2は女性について述べています。", 2.0),
    ("意味の近さは5.0点満点中4.0点です。", 4.0),
    ("0.0から5.0のスケールで、4.0と評価します。", 4.0),
    ("5段階で4です。", 4.0),
    ("4.0です。ほとんど同じ意味ですが、完全に同じではありません。", 4.0),
    ("I would rate the similarity of these two sentences as 4.0.", 4.0),
    ("I'd give it a 4.", 4.0),
    ("On a scale of 0 to 5, I would rate it 3.5.", 3.5),
    ("評価値は4.0です", 4.0),
    ("4.0（ほぼ同じ意味だが、完全には一致しない）", 4.0),
]


@pytest.mark.parametrize(("ask", "text", "label"), LABELS)
def test_a_label_with_a_reason_is_read(ask: Ask, text: str, label: str) -> None:
    assert ask.read(text) == label


@pytest.mark.parametrize(("text", "value"), SCORES)
def test_a_score_with_a_reason_is_read(text: str, value: float) -> None:
    assert score(text) == value
