"""How near a predicted span is to a reference, from 0 to 1, as the systems measure it. No I/O.

Each function takes (prediction, reference) after their normalisation and never raises.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable
from difflib import SequenceMatcher
from functools import lru_cache
from typing import Any

from rapidfuzz import fuzz

from jglue_app.scoring.metrics import bag_f1

_NOT_A_WORD = re.compile(r"(?i)\W")
_DELETED = dict.fromkeys(range(0x80, 0x100))
"""fuzzywuzzy 0.18 deletes these characters to make a text "ASCII", and no others."""
_LEFT_OUT = frozenset(
    string.punctuation
    + "！？｡。＂＃＄％＆＇（）＊＋，－／：；＜＝＞＠［＼］＾＿｀｛｜｝～｟｠｢｣､、"
    + "〃》「」『』【】〔〕〖〗〘〙〚〛〜〝〞〟〰〾〿–—‘’‛“”„‟…‧﹏."
)
"""Tokens that do not count in Stability's F1. Other signs do, among them 〈, 《, ・ and ★."""
_PIECE = 10_000
"""Characters handed to MeCab at a time: no answer is longer, and MeCab's memory grows with the length."""


def unidic_tokens(prediction: str, reference: str) -> float:
    """F1 over the bags of MeCab tokens (UniDic), a fixed list of signs left out; 0 if they have none in common."""
    predicted, wanted = _token_bag(prediction), _token_bag(reference)
    common = (predicted & wanted).total()
    return 2 * common / (predicted.total() + wanted.total()) if common else 0.0


def sorted_words_difflib(prediction: str, reference: str) -> float:
    """fuzzywuzzy's `token_sort_ratio` where python-Levenshtein is not installed: a difflib ratio, in whole percent."""
    return _percent(sorted_words(prediction), sorted_words(reference), _difflib)


def sorted_words_indel(prediction: str, reference: str) -> float:
    """fuzzywuzzy's `token_sort_ratio` with python-Levenshtein: a ratio of insertions and deletions, whole percent."""
    return _percent(sorted_words(prediction), sorted_words(reference), fuzz.ratio)


def ordered(prediction: str, reference: str) -> float:
    """fuzzywuzzy's plain `ratio` with python-Levenshtein: of the texts as they stand, in whole percent."""
    return _percent(prediction, reference, fuzz.ratio)


F1_FUNCTIONS: dict[str, Callable[[str, str], float]] = {
    "character_bag": bag_f1,
    "unidic_tokens": unidic_tokens,
    "sorted_words_difflib": sorted_words_difflib,
    "sorted_words_indel": sorted_words_indel,
    "ordered": ordered,
}
"""A value of `types.Rules.f1` → the measure."""


@lru_cache(maxsize=8)  # A prediction is compared with each reference.
def sorted_words(text: str) -> str:
    """A text as fuzzywuzzy 0.18 compares it: U+0080–U+00FF deleted, all but letters, digits and `_` made spaces, in
    lower case, its words sorted."""
    words = _NOT_A_WORD.sub(" ", text.translate(_DELETED)).lower().split()
    return " ".join(sorted(words))


def tokens(text: str) -> list[str]:
    """Surface forms of the MeCab tokens of a text, without the signs that do not count.

    MeCab analyses a text to its end, but what it writes ends at a NUL.
    """
    tagger, surfaces = _tagger(), []
    for start in range(0, len(text), _PIECE):
        piece = text[start : start + _PIECE]
        surfaces += tagger.parse(piece).split()
        if "\0" in piece:
            break
    return [token for token in surfaces if token not in _LEFT_OUT]


@lru_cache(maxsize=20_000)
def _token_bag(text: str) -> Counter[str]:
    return Counter(tokens(text))


@lru_cache(maxsize=1)
def _tagger() -> Any:
    import unidic_lite
    from fugashi import Tagger

    return Tagger(f'-Owakati -d "{unidic_lite.DICDIR}"')


def _percent(prediction: str, reference: str, ratio: Callable[[str, str], float]) -> float:
    if prediction == reference:
        return 1.0
    if not prediction or not reference:
        return 0.0
    # No ratio is above this bound; it spares very long texts, whose ratio rounds to 0.
    if 200 * min(len(prediction), len(reference)) / (len(prediction) + len(reference)) < 0.5:
        return 0.0
    return round(ratio(prediction, reference)) / 100


def _difflib(prediction: str, reference: str) -> float:
    return 100 * SequenceMatcher(None, prediction, reference).ratio()
