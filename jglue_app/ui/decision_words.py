"""Decisions of protocols and their values in the visitor's language; the English ones are in `protocols.decisions`."""

from __future__ import annotations

from jglue_app.scoring.protocols.decisions import DECISIONS, GENERATION
from jglue_app.scoring.rules import explain

DECISIONS_JA = {
    "items": "採点する問題",
    "labels": "ラベルの版",
    "thought": "答えの前の思考",
    "text": "比べる前の処理",
    "reading": "答えの見つけ方",
    "references": "比べる正解",
    "clip": "範囲を外れた類似度",
    "unreadable": "読めない答えの扱い",
    "undefined": "定義されない相関の扱い",
    "evidence": "判定の根拠",
    "f1": "正解との近さの測り方",
    "metrics": "指標（主なものが先）",
}
GENERATION_JA = {
    "prompt": "プロンプト",
    "examples": "few-shot の例",
    "new_tokens": "生成するトークン数",
    "stop": "答えの終わり",
    "decoding": "デコーディング",
    "repetition_penalty": "繰り返しペナルティ",
    "length_cap": "正解の長さによる上限",
    "data": "データ",
}
STEPS_JA = {
    "trimmed": "前後の空白を除く",
    "without_nul": "末尾の NUL 文字を除く",
    "lower": "小文字にする",
    "without_brackets": "両端の「」『』。を除く",
    "without_full_stop": "末尾の「。」を除く",
    "collapsed": "続く空白を一つにまとめる",
    "to_blank_line": "最初の空行で切る",
    "without_quotes": "両端の引用符を除く",
    "without_cues": "「応答:」「回答:」「答え:」を除く",
    "digits_kept": "0-9 と . だけを残す",
    "without_emoji": "絵文字を除く",
    "neologdn": "neologdn に通す",
    "nfkc": "NFKC にする",
}
VALUES_JA = {
    "all": "すべて",
    "short references (at most 37.5 characters)": "正解が短い問題（37.5 字以下）",
    "JGLUE v1.1": "JGLUE v1.1",
    "as in the file": "ファイルのまま",
    "part of the text": "文章の一部とみなす",
    "left out": "除く",
    "–": "しない",
    "of the output": "出力に",
    "of output and references": "出力と正解に",
    "equal to an answer that the prompt asked for": "プロンプトで求めた答えと一致",
    "equal to an official label": "公式のラベルと一致",
    "equal to the number of a label": "ラベルの番号と一致",
    "negative if it contains 'negative'": "「negative」を含めば negative",
    "the digits it begins with": "先頭の数字",
    "what Python's float() reads": "Python の float() が読むもの",
    "a plain number on the scale": "範囲内の数だけ",
    "the whole text": "文章全体",
    "the best of all": "すべてのうち最良",
    "the first alone": "最初の一つだけ",
    "stays": "そのまま",
    "set to the nearer end": "近い端の値にする",
    "wrong": "不正解",
    "nothing: it is left out of the correlation": "相関から除く",
    "no score": "点なし",
    "0": "0",
    "the generated text": "生成した文章",
    "the log-likelihood of the choices": "選択肢の対数尤度",
    "not measured": "測らない",
    "F1 over the bags of characters": "文字の多重集合の F1",
    "F1 over the bags of MeCab tokens": "MeCab のトークンの多重集合の F1",
    "ratio of the sorted words (difflib)": "語を並べ替えた一致率（difflib）",
    "ratio of the sorted words (insertions and deletions)": "語を並べ替えた一致率（挿入と削除）",
    "ratio of the texts as they stand": "そのままの文字列の一致率",
    "none": "なし",
    "greedy": "貪欲法",
    "temperature 0": "温度 0",
    "temperature 0.1": "温度 0.1",
    "no stop strings": "停止文字列なし",
    "no stop strings; end token 0 in JSQuAD and JCommonsenseQA": (
        "停止文字列なし。JSQuAD と JCommonsenseQA は終了トークン 0"
    ),
    "none; the answer is cut when it is scored": "なし（採点のときに切る）",
    "JSQuAD: a line break": "JSQuAD は改行",
    "JSQuAD: a blank line": "JSQuAD は空行",
    "a blank line; in JNLI 前提 or 」": "空行。JNLI は「前提」か「」」",
    "greedy; a choice is tokenized apart from the prompt": "貪欲法。選択肢はプロンプトと別にトークン化",
    "1.2 in MARC-ja, JSTS and JNLI, 1.1 in JSQuAD and JCommonsenseQA": (
        "MARC-ja・JSTS・JNLI は 1.2、JSQuAD・JCommonsenseQA は 1.1"
    ),
    "four fixed ones in the prompt": "プロンプトに固定の四問",
    "three, two in JSQuAD": "三問（JSQuAD は二問）",
    "the first four of its shuffled train file": "並べ替えた train の最初の四問",
    "none, and again with the first two of the train file": "なし、および train の最初の二問",
    "four fixed ones in JSQuAD and JCommonsenseQA, three balanced ones in JNLI": (
        "JSQuAD と JCommonsenseQA は固定の四問、JNLI は偏りのない三問"
    ),
    "an instruction for each subset; that of JCommonsenseQA is JSQuAD's, above numbers": (
        "サブセットごとの指示。JCommonsenseQA は、番号の例の上に JSQuAD の指示"
    ),
    "no cue at its end, choices as 0.x,1.y,… on one line, whole numbers for JSTS": (
        "末尾に合図なし。選択肢は一行に 0.x,1.y,…、JSTS は整数"
    ),
    "by version; in 0.2 the examples of JCommonsenseQA show an index, and the texts of the choices are ranked": (
        "版による。0.2 の JCommonsenseQA は例に番号を示し、選択肢の文章を順位づけする"
    ),
    "an instruction, then inputs and answers under headings": "指示のあと、見出しつきの入力と答え",
    "an instruction, an input and an answer under headings": "見出しつきの指示・入力・答え",
    "turns of a chat, the instruction in the first": "チャットの発話。指示は最初の発話",
    "answers in brackets; the gold of JNLI has ASCII quotation marks around it, after 関係：「": (
        "答えは括弧の中。JNLI の正解は「関係：「」のあとに ASCII の引用符つき"
    ),
    "5, 3, 3, 25 and 5 (MARC-ja, JSTS, JNLI, JSQuAD, JCommonsenseQA)": (
        "5・3・3・25・5（MARC-ja・JSTS・JNLI・JSQuAD・JCommonsenseQA）"
    ),
    "3, 3, 25 and 1 (JSTS, JNLI, JSQuAD, JCommonsenseQA)": "3・3・25・1（JSTS・JNLI・JSQuAD・JCommonsenseQA）",
    "64 in JSQuAD and JCommonsenseQA, 6 in JNLI": "JSQuAD と JCommonsenseQA は 64、JNLI は 6",
    "as its data says for each subset": "データにあるとおり",
    "the longest gold answer's tokens: an oracle, as in its published runs": (
        "最も長い正解のトークン数（公表された実行と同じオラクル）"
    ),
    "the whole validation split of JGLUE v1.1": "JGLUE v1.1 の valid 全体",
    "JGLUE v1.1; by default 100 items of a subset": "JGLUE v1.1。既定ではサブセットごとに 100 問",
    "the first 100 items of a subset": "サブセットごとに最初の 100 問",
    "SB Intuitions' corrected clones of JSQuAD and JCommonsenseQA (v1.1); JNLI v1.1": (
        "SB Intuitions が訂正した JSQuAD と JCommonsenseQA の複製（v1.1）。JNLI は v1.1"
    ),
}
"""English value → Japanese; values that are not here, such as labels, stand for themselves."""


def decision_word(decision: str, lang: str) -> str:
    """What is decided: a key of `DECISIONS` or `GENERATION`, `text: <step>` for a step, `text` for their order."""
    if decision.startswith("text: "):
        step = decision.removeprefix("text: ")
        return STEPS_JA[step] if lang == "ja" else explain(step)
    if decision == "text":
        return "処理の順番" if lang == "ja" else "order of the steps"
    english = DECISIONS.get(decision) or GENERATION[decision]
    return (DECISIONS_JA | GENERATION_JA)[decision] if lang == "ja" else english


def value_word(decision: str, value: str, lang: str) -> str:
    """A value that was given in English words; a list of steps has each in words."""
    if lang != "ja":
        return value
    if decision == "text":
        steps = (part.rsplit(" (", 1) for part in value.split(", ") if part)
        return "、".join(f"{STEPS_JA[name]}（{VALUES_JA[sides.rstrip(')')]}）" for name, sides in steps)
    if decision in GENERATION and value == "–":
        return "–"
    return VALUES_JA.get(value, value)
