"""What a careful person takes off a free answer, and what has to stay: JSQuAD."""

from __future__ import annotations

import pytest

from jglue_app.scoring.parsing import read_span

READ = [
    *[
        (text, "富士山")
        for text in (
            "```\n富士山\n```",
            "```text\n富士山\n```",
            "```富士山```",
            "~~~\n富士山\n~~~",
            "答え：\n```\n富士山\n```",
        )
    ],
    *[
        (text, "富士山")
        for text in (
            "**富士山**",
            "答え：**富士山**です。",
            "**答え：富士山**",
            "**答え**：富士山",
            "**答え：** 富士山",
            "答え: **富士山**",
            "**富士山**です。",
            "答えは**富士山**です。",
        )
    ],
    *[
        (text, "富士山")
        for text in (
            "__富士山__",
            "*富士山*",
            "`富士山`",
            "答え：`富士山`",
            "***富士山***",
            "<b>富士山</b>",
            "### 答え\n富士山",
            "### 答え：富士山",
            "**答え**\n富士山",
        )
    ],
    *[
        (text, "富士山")
        for text in (
            "The answer is 富士山.",
            "The correct answer is 富士山.",
            'The answer is "富士山".',
            "Answer: 富士山",
            "answer: 富士山。",
            "The answer is: 富士山",
            "A: 富士山",
            "A：富士山です。",
        )
    ],
    *[
        (text, "富士山")
        for text in (
            '{"answer": "富士山"}',
            '{"答え": "富士山"}',
            '```json\n{"answer": "富士山"}\n```',
            '{"answer": "富士山", "reason": "一番高い"}',
            '{"answer": "\\u5bcc\\u58eb\\u5c71"}',
        )
    ],
    *[
        (text, "富士山")
        for text in (
            "\\boxed{富士山}",
            "\\boxed{\\text{富士山}}",
            "$\\boxed{富士山}$",
            "答えは\\boxed{富士山}です。",
            "よって、\\boxed{富士山}",
            "<answer>富士山</answer>",
            "<answer>\n富士山\n</answer>",
            "考えました。<answer>富士山</answer>",
        )
    ],
    *[
        (text, "富士山")
        for text in (
            "富士山\u200b",
            "\ufeff富士山",
            "富\u200b士山",
            "「富士山」\u200b",
            "富士山です\u200b。",
            "富士山｡",
            "富士山です｡",
            "｢富士山｣",
            "｢富士山｣です｡",
            "〝富士山〟",
            "“富士山”",
            "‘富士山’",
            "«富士山»",
        )
    ],
    *[
        (text, "富士山")
        for text in (
            "富士山でございます。",
            "富士山になります。",
            "富士山でしょう。",
            "富士山ですね。",
            "富士山です！",
            "富士山だと考えられます。",
            "答えは富士山でございます。",
            "「富士山」でございます。",
            "富士山となっております。",
        )
    ],
    *[
        (text, "富士山")
        for text in (
            "富士山です。日本で一番高い山です。",
            "「富士山」です。理由は文章にあります。",
            "「富士山」。日本一の山だからです。",
            "富士山\n\n理由：日本で一番高いから。",
            "答え：富士山\n（第二段落より）",
            "正解は「富士山」です。",
        )
    ],
    ("か\u3099く", "がく"),
    ("ハ\u309aリです。", "パリ"),
    ("cafe\u0301", "caf\u00e9"),
    ("「「五月雨式」」", "五月雨式"),
    ("答えは「ない」です。", "ない"),
    ("不況と財政の悪化に苦しんだ。", "不況と財政の悪化に苦しんだ"),
    ("内陸国である。", "内陸国である"),
    ("答え：内陸国である。", "内陸国である"),
    ("答えは様々である。", "様々である"),
    ("The answer is Ich bin ein Böhme.", "Ich bin ein Böhme"),
    ("The answer is Washington, D.C.", "Washington, D.C."),
    ("『こころ』です。", "こころ"),
    ("「熱ラジ!」です。", "熱ラジ!"),
]

WHOLE = [
    *(
        "答えはない",
        "答えはありません",
        "答えはわかりません",
        "答えは不明",
        "答えは文章中にありません",
        "正解は書かれていません",
        "The answer is not given",
        "The answer is unknown",
        "該当箇所は見当たりません",
    ),
    *(
        "誤った答え：富士山",
        "間違いの答えは富士山",
        "以前の回答：富士山",
        "彼の答えは富士山",
        "正しくない答え：富士山",
        "不正解：富士山",
        "Wrong answer: 富士山",
    ),
    *(
        "**富士山",
        "富士山**",
        "「富士山",
        "富士山」",
        "```富士山",
        "富士山```",
        "（富士山",
        "富士山）",
        '"富士山',
        "『富士山」",
        "**富士山*a",
        "`富士山",
    ),
    *(
        "「富士山」と「阿蘇山」",
        "（x）と（y）",
        "**A** と **B**",
        "『さすらう若人の歌』と『嘆きの歌』",
        "「A」か「B」",
        "`a` or `b`",
    ),
    *("- 富士山\n- 阿蘇山", "1. 富士山\n2. 阿蘇山", "・富士山\n・阿蘇山", "① 富士山\n② 阿蘇山"),
    *(
        "\\boxed{富士山}と\\boxed{阿蘇山}",
        "<answer>富士山</answer><answer>阿蘇山</answer>",
        "\\boxed{}",
        "<answer></answer>",
        "\\boxed{富士山",
    ),
    *(
        "違法である",
        "死んだ",
        "まだ",
        "300から360クレジットである",
        "勢力が弱くなり、次第に北上していく",
        "Ich bin ein Böhme",
        "(x , y , z )x",
    ),
    *("富士山または阿蘇山", "富士山ではない", "富士山ではありません", "富士山か？", "富士山以外"),
]

NOTHING = [
    *(
        '{"answer": null}',
        '{"answer": false}',
        '{"answer": ["富士山", "阿蘇山"]}',
        '{"answer": {"name": "富士山"}}',
        '{"wrong": "富士山"}',
        '{"answer": ""}',
        '{"answer": "富士山", "answer2": "阿蘇山"}',
    ),
    *(
        '{"富士山": true, "阿蘇山": false}',
        '{"answer": "富士山", "correct": false}',
        '{"answer": "富士山", "reason": "いや、違います。"}',
        '["富士山", "阿蘇山"]',
        '[{"answer": "富士山"}]',
        "{}",
    ),
]

NOT_CUT = [
    *(
        "富士山です。いや、違います。",
        "富士山です。しかし、実際は阿蘇山です。",
        "富士山\nいや、阿蘇山です。",
        "富士山です。ではありません。",
        "富士山\n違います。",
        "「富士山」です。というのは間違いです。",
    ),
    *(
        "富士山です。 is wrong.",
        "富士山。\nNo, that is not correct.",
        "\\boxed{富士山} ではありません。",
        "<answer>富士山</answer> は誤りです。",
        "答え：富士山\n答え：阿蘇山",
        "富士山\n訂正：阿蘇山",
        "富士山です。ただし、これは誤りです。",
    ),
]


@pytest.mark.parametrize(("text", "answer"), READ)
def test_what_stands_around_an_answer_comes_off(text: str, answer: str) -> None:
    assert read_span(text).lenient.value == answer


@pytest.mark.parametrize("text", WHOLE)
def test_what_is_part_of_an_answer_or_not_in_pairs_stays(text: str) -> None:
    assert read_span(text).lenient.value == text


@pytest.mark.parametrize("text", NOTHING)
def test_json_without_a_single_answer_holds_none(text: str) -> None:
    readings = read_span(text)
    assert readings.strict.value == text
    assert readings.lenient.value is None


@pytest.mark.parametrize("text", NOT_CUT)
def test_an_answer_that_is_taken_back_is_not_cut_out(text: str) -> None:
    assert read_span(text).lenient.value != "富士山"
