"""The numbers in a text that is to give a number on a scale. No I/O; all texts are folded."""

from __future__ import annotations

import re
from dataclasses import dataclass

from jglue_app.scoring.parsing.normalization import CLOSERS

_DIGITS = "〇零一二三四五六七八九"
_KANJI = re.compile(
    rf"(?<![一-鿿{_DIGITS}ァ-ヺーa-z\d])(?:(?P<zero>ゼロ|ぜろ)|(?P<whole>[{_DIGITS}]))(?:(?P<point>[点・.]|コンマ)(?P<part>[{_DIGITS}]{{1,3}}))?"
    rf"(?![{_DIGITS}十百千万])"
)
"""A number in kanji, or 「ゼロ」: 三, 三点五, 四・五."""
_NUMBER = re.compile(r"(?:(?<![\d.])[-−‐–])?(?<![\d.])\d+(?:\.\d+)?(?!\.?\d)", re.ASCII)
_LISTED_SCALE = re.compile(
    r"(?<![\d.])0(?:\.0)?点?[、,・/ ]+1(?:\.0)?点?[、,・/ ]+2(?:\.0)?点?[、,・/ ]+3(?:\.0)?点?[、,・/ ]+4(?:\.0)?点?"
    r"(?:[、,・/ ]+5(?:\.0)?点?)?(?!\.?\d)(?:の(?:中|うち|いずれか|どれか|[五六56]段階))?"
)
_SCALE = re.compile(
    r"(?<![\d.])0(?:\.0)?点?\s*(?:[~〜\-–—―−]|から|to)\s*5(?:\.0)?(?!\.?\d)(?:点満点|点|段階)?(?:まで)?(?:の(?:間|範囲|数値?|数字|中|スケール|尺度|[五六56]段階))?(?:で、?|のうち、?)?|"
    r"(?<![\d.])5(?:\.0)?\s*(?:点満点|段階)(?:評価)?(?:中|で|の(?:うち)?)?|(?<![\d.])5(?:\.0)?点(?:中|のうち)|"
    r"(?<=[\d点])\s*/\s*5(?:\.0)?(?!\.?\d)(?:点満点|点)?|\(\s*out of 5(?:\.0)?\s*\)|\(\s*/\s*5(?:\.0)?\s*\)|"
    r"五(?:点満点|段階)(?:評価)?(?:中|で|の(?:うち)?)?|"
    r"\b(?:out )?of (?:5(?:\.0)?(?!\.?\d)|five\b)"
)
_LIST_POINT = re.compile(r"^[ \u3000]*\d+[.)](?!\d)[ \u3000]*(?=[^\s" + re.escape(CLOSERS) + "])", re.MULTILINE)
_COUNTED = re.compile(
    r"[ \u3000]?(?:[つ人匹枚個本台頭羽年月日時分秒回度歳才階冊件円名種倍杯足組両輪皿段列色軒着通曲級週番位等割文"
    r"語字行%‰]|[かカヶケ]所|番目|位|代|センチ|メートル|キロ|グラム|ページ|"
    r"[a-z]{1,3}(?![a-z])(?<!pt)(?<!pts))"
)
_UNIT = re.compile(r"(?:\s*(?:点|ポイント|points?\b|pts?\b))?")
_NAMES_A_THING = re.compile(r"(?:文|図|表|例|[a-z一-鿿ァ-ヺー]|no\.?|#|第)[ \u3000]?$")
_MAY_NAME = re.compile(
    r"(?:近さ|類似度|類似性|スコア|点数?|評点|評価値?|値|約|およそ|大体|だいたい|ほぼ|答え?|回答|解答|正解|結論|判定|数値|合計|最[高大低小]|平均|差|少なくとも|"
    r"(?<![a-z])(?!sentence|text|example|step|no|item|part|phrase)[a-z]+\s)[ \u3000]?$"
)


@dataclass(frozen=True, slots=True)
class Number:
    """A number in folded text that may be the answer or contradict another."""

    start: int
    end: int
    value: float
    kanji: bool = False


def masked_scale(text: str) -> str:
    """The text with what speaks of the scale, and numbers of lists, made blank; positions stay."""
    for pattern in (_LISTED_SCALE, _SCALE, _LIST_POINT):
        text = pattern.sub(lambda m: " " * len(m.group()), text)
    return text


def unit_end(text: str, end: int) -> int:
    """Where the unit of a number ends: 点, points."""
    match = _UNIT.match(text, end)
    return match.end() if match else end


def numbers(text: str) -> list[Number]:
    """The numbers that do not count or name a thing, in order; of those in kanji, the ones that stand on their own."""
    out = []
    for match in _NUMBER.finditer(text):
        if not _is_of_something(text, *match.span()):
            out.append(Number(*match.span(), float(re.sub("[−‐–]", "-", match.group()))))
    for match in _KANJI.finditer(text):
        if not _COUNTED.match(text, match.end()):
            out.append(Number(*match.span(), _kanji_value(match), True))
    return sorted(out, key=lambda n: n.start)


def _kanji_value(match: re.Match[str]) -> float:
    def digits(kanji: str) -> str:
        return "".join(str(max(0, _DIGITS.index(char) - 1)) for char in kanji)

    whole = "0" if match.group("zero") else digits(match.group("whole"))
    return float(f"{whole}.{digits(match.group('part'))}" if match.group("part") else whole)


def _is_of_something(text: str, start: int, end: int) -> bool:
    """Whether the number counts, orders or names things: 3人, the 3 of 3、4人, 80%, 文1, iPhone 15."""
    further = re.compile(r"[、,~〜\-–]\d+(?:\.\d+)?(?=\D)", re.ASCII).match(text, end)
    if _COUNTED.match(text, further.end() if further else end):
        return True
    before = text[max(0, start - 16) : start]
    return _NAMES_A_THING.search(before) is not None and not _MAY_NAME.search(before)
