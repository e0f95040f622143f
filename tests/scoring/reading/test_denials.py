"""A denial behind an answer that was readable never leaves it readable as the same answer."""

from __future__ import annotations

import pytest

from jglue_app.scoring.parsing import read_span
from tests.scoring.reading.asks import (
    JNLI,
    JNLI_EN,
    JNLI_NUMBER,
    KANA,
    LETTER,
    MARC,
    MARC_EN,
    MARC_TEXT,
    NUMBER,
    TEXT,
    Ask,
    score,
)

SAME_SENTENCE = (
    *(
        "ではありません",
        "ではありません。",
        "ではない。",
        "じゃない",
        "じゃありません。",
        "ではないです。",
        "ではなかった。",
        "ではございません。",
        "とは言えません。",
        "とは限りません。",
    ),
    *(
        "とは言い切れない。",
        "というのは間違いです。",
        "というのは違います。",
        "というのは嘘です。",
        "は間違いです。",
        "は誤りです。",
        "は違う。",
        "は違います。",
        "は不正解です。",
        "は正しくありません。",
    ),
    *(
        "と言いたいところですが、違います。",
        "と思いましたが、違いました。",
        "だとは思いません。",
        "なわけがない。",
        "のはずがない。",
        "なんてことはない。",
        "以外です。",
        "を除きます。",
        "には賛成できない。",
    ),
    *(
        "だというのは誤解です。",
        "とするのは無理があります。",
        "と答えるのは誤りです。",
        "、ではありません。",
        "、というのは冗談です。",
        "、なんてね。",
        "（誤り）",
        "（違います）",
        "（×）",
        "×",
        "❌",
    ),
    *(
        " is wrong.",
        " is incorrect.",
        " is not correct.",
        " isn't right.",
        " is not the answer.",
        " is false.",
        " would be wrong.",
        " can't be right.",
        ", not really.",
        "? No.",
        ", no.",
        " (wrong)",
        " -- wrong",
        " ... not!",
    ),
)
NEXT_SENTENCE = (
    *(
        "いや、違います。",
        "いや、違う。",
        "いいえ、違います。",
        "違います。",
        "違う。",
        "ちがいます。",
        "間違いです。",
        "間違えました。",
        "すみません、間違えました。",
        "誤りです。",
        "これは誤りです。",
        "それは違います。",
    ),
    *(
        "というのは間違いです。",
        "というのは嘘です。",
        "ではありません。",
        "じゃないです。",
        "とは言えません。",
        "なわけない。",
        "そんなわけがない。",
        "そうではありません。",
        "それは正しくありません。",
        "この答えは間違いです。",
    ),
    *(
        "この回答は不正解です。",
        "上の答えは誤りです。",
        "今の答えを取り消します。",
        "訂正します。",
        "撤回します。",
        "前言撤回。",
        "嘘です。",
        "冗談です。",
        "なんちゃって。",
        "もとい、わかりません。",
        "やっぱり違います。",
    ),
    *(
        "やはり間違いでした。",
        "でも、違います。",
        "しかし、これは正解ではありません。",
        "ただし、この答えは正しくない。",
        "でもそれは違うと思います。",
        "と思ったけど違った。",
        "と言うと思いましたか？違います。",
        "いや。",
        "いいえ。",
        "否。",
    ),
    *(
        "ダメです。",
        "不正解。",
        "誤答です。",
        "これは誤答です。",
        "不適切です。",
        "本当は違います。",
        "実は違います。",
        "正解ではありません。",
        "答えではありません。",
        "答えは違います。",
        "私の答えは間違っています。",
    ),
    *(
        "という答えは誤りです。",
        "という回答は正しくありません。",
        "こう答えるのは間違いです。",
        "これではありません。",
        "それではない。",
        "はずれです。",
        "ハズレ。",
        "ブー。",
        "×",
        "❌",
        "🙅",
        "NG",
        "勘違いでした。",
        "見間違いです。",
    ),
    *(
        "考え直します。",
        "やり直します。",
        "これは信じないでください。",
        "この答えは無効です。",
        "ありえません。",
        "そんなことはありません。",
        "まさか。",
        "とんでもない。",
        "ウソです。",
        "うそ。",
        "嘘、違う。",
    ),
    *(
        "No, that is not correct.",
        "No.",
        "That is wrong.",
        "That's not right.",
        "This is incorrect.",
        "Wrong.",
        "Incorrect.",
        "Wait, no.",
        "Actually, no.",
        "Scratch that.",
        "Just kidding.",
        "I was wrong.",
        "I take that back.",
    ),
    *(
        "Not really.",
        "Nope.",
        "It isn't.",
        "It is not.",
        "But that is not the answer.",
        "However, this is wrong.",
        "Sorry, that was a mistake.",
        "My mistake.",
        "The answer above is wrong.",
        "The above answer is not correct.",
    ),
    *(
        "On second thought, no.",
        "I don't think so.",
        "That can't be right.",
        "This is false.",
        "False.",
        "Oops, wrong.",
        "Correction: not that.",
        "Never mind.",
        "Is that right? No.",
        "This answer is incorrect.",
        "Not true.",
    ),
)
MORE_IN_THE_SAME_SENTENCE = """
とは考えられません。
とは考えにくい。
とは見なせない。
と決めつけるのは早い。
と断定できない。
と断言はできません。
などではない。
などではありません。
なんかじゃない。
というわけではありません。
というわけではない。
というのは誤りです。
というのはおかしい。
という答えは間違いです。
という回答は誤りです。
ではなく別のものです。
ではなかったようです。
ではないようです。
ではないと思います。
ではないかもしれない。
ではないでしょう。
ではありえない。
であるはずがない。
であるとは言えません。
であるとは限らない。
であるというのは間違いだ。
でないことは確かです。
でないことは明らかです。
に間違いはあります。
は除外します。
は選びません。
は選べません。
は答えではありません。
は正解ではない。
は不適切です。
は嘘。
はハズレ。
は×。
はダメ。
もどき
は誤答。
を否定します。
を否定する。
を選ばない。
を選びません。
を選ぶのは間違い。
が間違いです。
が誤りです。
が不正解です。
が正解だとは思えない。
が正解ではない。
が正しいとは言えない。
じゃなかった。
じゃないと思う。
じゃないよ。
じゃねえ。
じゃん、違うけど
ちゃうわ
ちゃいます
␣is not it.
␣is not right.
␣isn't correct.
␣is incorrect, sorry.
␣is a mistake.
␣is a wrong answer.
␣is the wrong answer.
␣does not apply.
␣does not hold.
␣doesn't fit.
␣cannot be right.
␣should not be chosen.
␣must be wrong.
␣might be wrong.
␣seems wrong.
␣was wrong.
␣is untrue.
␣is a lie.
␣is a joke.
, I was wrong.
, which is incorrect.
, but that's wrong.
, but no.
, just kidding.
? Not really.
? Wrong.
?? no
(not)
(no)
(incorrect)
(false)
(間違い)
（嘘）
（うそ）
（不正解）
（違う）
（ではない）
（なわけない）
"""
"""One a line; ␣ is a space at its beginning."""
MORE_IN_THE_NEXT_SENTENCE = """
とはならない。
これは当てはまらない。
そうとも言えない。
そうは思いません。
ということはありません。
という意見には反対です。
反対です。
逆です。
むしろ逆です。
その反対です。
真逆です。
とは思えない。
なーんてね。
うっそー。
なんてことはなかった。
ってのは嘘。
っていうのは冗談。
ってことはない。
なんか違う。
どうも違うようだ。
よく考えると違う。
よく見ると違いました。
実際には違います。
これは私の答えではありません。
採用しません。
無視してください。
忘れてください。
削除します。
キャンセル。
消してください。
参考にしないでください。
ではなくて、わかりません。
嘘つけ。
という主張は誤りです。
という考えは間違っています。
上記は誤りです。
上記は間違いです。
この判断は誤りでした。
先ほどの回答は誤りでした。
申し訳ありません、誤りでした。
失礼しました、違います。
ごめんなさい、間違えました。
あ、違った。
あっ、違います。
おっと、間違い。
いえ、違います。
いや、そうではない。
いや、そうとは限らない。
いや、やめておきます。
やっぱりなし。
やっぱりやめます。
なしで。
今のなし。
ナシ。
と思われがちですが違います。
とよく言われますが誤りです。
と誤解されがちです。
と言う人もいますが、間違いです。
No way.
Not at all.
Absolutely not.
Certainly not.
Definitely not.
By no means.
I disagree.
I don't agree with that.
That's a lie.
That's not it.
Ignore that.
Please ignore the above.
Forget it.
Cancel that.
Hmm, no.
Well, actually that's wrong.
Not!
NOT.
Strike that.
I retract this.
That was a joke.
The opposite is true.
This cannot be right.
, which is wrong.
␣— incorrect.
I made a mistake.
I made an error.
That would be incorrect.
None of the above.
This is untrue.
Unlikely.
Hardly.
I doubt it.
Doubtful.
This has been refuted.
This is not my answer.
This is not what I mean.
It's wrong.
it is wrong
That is not true.
That's incorrect.
The opposite.
Sike.
This label is wrong.
The label is wrong.
The score is wrong.
This score is not right.
このラベルは誤りです。
この点数は間違いです。
この数字は違います。
この番号ではありません。
違うと思います。
違うかもしれません。
間違っているかもしれません。
たぶん違います。
おそらく間違いです。
多分間違ってます。
これは嘘です。
本当は別の答えです。
正しい答えは別です。
正解は別にあります。
答えは別のものです。
答えは他にあります。
もちろん違います。
明らかに違います。
明らかな誤りです。
完全に間違いです。
全く違います。
全然違います。
絶対に違う。
絶対違います。
断じて違う。
決して正しくない。
必ずしも正しくありません。
必ずしもそうではない。
そうでもない。
そうじゃない。
そんなはずはない。
それはない。
それはありません。
それはないです。
ないない。
ないです。
なし。
ノー。
アウト。
ボツ。
没。
"""
JOINTS = ("", " ", "\n", "\n\n")

ANSWERS: list[tuple[Ask, str]] = [
    *[
        (JNLI, t)
        for t in (
            "矛盾",
            "「矛盾」",
            "矛盾。",
            "矛盾です。",
            "答え：矛盾",
            "答えは「矛盾」です。",
            "**矛盾**",
            "二つの文は矛盾しています。",
            "矛盾（両立しない）",
            "中立だと思います。",
        )
    ],
    *[
        (JNLI, t)
        for t in (
            "含意ではなく、矛盾です。",
            "矛盾です。人数が違うためです。",
            "関係：中立\n",
            "よって、含意です。",
            "<answer>矛盾</answer>",
            "\\boxed{矛盾}",
            '{"label": "矛盾"}',
            "contradiction",
        )
    ],
    *[
        (JNLI_EN, t)
        for t in (
            "neutral",
            "Neutral.",
            "The answer is neutral.",
            "It is neutral because of the time.",
            "Label: neutral",
            "I think it is neutral.",
            "**neutral**",
            "neutral (undetermined)",
        )
    ],
    *[(JNLI_NUMBER, t) for t in ("1", "1です。", "番号：1", "1. 矛盾", "1（矛盾）", "矛盾", "答えは1です。")],
    *[
        (MARC, t)
        for t in (
            "肯定",
            "肯定的です。",
            "評価：肯定",
            "ポジティブ",
            "書き手は満足しています。",
            "肯定的なレビューです。",
            "肯定です。良いと書いてあるからです。",
        )
    ],
    *[
        (MARC_EN, t)
        for t in ("positive", "Positive.", "The review is positive.", "positive review", "Sentiment: positive")
    ],
    *[(MARC_TEXT, t) for t in ("満足している", "「満足している」", "気持ち：満足している", "不満")],
    *[
        (NUMBER, t)
        for t in (
            "3",
            "３",
            "(3)",
            "3.",
            "3です。",
            "3番",
            "答え：3",
            "答えは3です。",
            "3：砂漠",
            "3 砂漠",
            "3（砂漠）",
            "3. 砂漠",
            "砂漠",
            "砂漠です。",
            "3\n3\n3",
            "3😊",
            "三",
            "正解は「3」です。",
        )
    ],
    *[
        (NUMBER, t)
        for t in (
            "3。雨が降らない場所だからです。",
            "私は3が正しいと思います。",
            "0〜4の中から選ぶと3です。",
            "\\boxed{3}",
            "$\\boxed{3}$",
            "<answer>3</answer>",
            '{"answer": 3}',
            "```\n3\n```",
            "The answer is 3.",
        )
    ],
    *[
        (LETTER, t)
        for t in (
            "D",
            "(D)",
            "D. 砂漠",
            "Answer: D",
            "The correct answer is (D) 砂漠.",
            "I would choose D.",
            "D because it is dry.",
        )
    ],
    *[(KANA, t) for t in ("エ", "エです。", "エ：砂漠", "エ．砂漠です。", "記号：エ", "砂漠", "エ――")],
    *[
        (TEXT, t)
        for t in (
            "砂漠",
            "「砂漠」",
            "砂漠です。",
            "答え：砂漠",
            "答えは「砂漠」です。",
            "砂漠だと思います。",
            "雨が降らない場所は砂漠です。",
        )
    ],
]
SCORES = (
    *(
        "3",
        "3.5",
        "３．５",
        "3.5点",
        "「3.5」",
        "3.5です。",
        "3.5くらいです。",
        "類似度は3.5です。",
        "スコア：3.5/5",
        "類似度：3.5",
        "三点五",
        "三点五です。",
        "ゼロです。",
        "5点満点で4点です。",
        "3.5（ほぼ同じ）",
    ),
    *(
        "二つの文はよく似ているので3.5です。",
        "私なら4点をつけます。",
        "3😊",
        "3でございます。",
        "I would rate it 3.",
        "The similarity is 3.0.",
        "Score: 4.5",
        '{"score": 3.5}',
        "\\boxed{3.5}",
        "<answer>3.5</answer>",
    ),
    *(
        "0、1、2、3、4の中から選ぶと3です。",
        "4.0\n4.0\n4.0",
        "4 out of 5",
        "4.0です。場所が違うためです。",
        "点数：3（文1と文2は似ているため）",
        "5.0 理由：同じ意味だから",
    ),
)


def _lines(block: str) -> list[str]:
    return [line.replace("␣", " ") for line in block.strip("\n").split("\n")]


SAME = (*SAME_SENTENCE, *_lines(MORE_IN_THE_SAME_SENTENCE))
NEXT = (*NEXT_SENTENCE, *_lines(MORE_IN_THE_NEXT_SENTENCE))


def _denied(text: str) -> list[str]:
    """The text with each denial behind it; the line breaks and spaces between them change from one to the next."""
    bare = text.rstrip("。.")
    joints = JOINTS[len(text) % 4 :] + JOINTS[: len(text) % 4]
    out = [(bare if i % 2 else text) + denial for i, denial in enumerate(SAME)]
    return out + [text + joints[i % 4] + denial for i, denial in enumerate(NEXT)]


@pytest.mark.parametrize(("ask", "text"), ANSWERS)
def test_a_label_that_is_denied_is_not_read(ask: Ask, text: str) -> None:
    value = ask.read(text)
    assert value is not None
    assert [denied for denied in _denied(text) if ask.read(denied) == value] == []


@pytest.mark.parametrize("text", SCORES)
def test_a_score_that_is_denied_is_not_read(text: str) -> None:
    value = score(text)
    assert value is not None
    assert [denied for denied in _denied(text) if score(denied) == value] == []


@pytest.mark.parametrize(
    "text", ["東京です。", "答えは東京です。", "「東京」です。", "東京\n", "\\boxed{東京}\n", "<answer>東京</answer>\n"]
)
def test_a_span_is_not_cut_out_of_a_text_that_denies_it(text: str) -> None:
    read = [(d, read_span(text + d).lenient.value) for d in NEXT_SENTENCE]
    assert [denied for denied, value in read if value == "東京"] == []
