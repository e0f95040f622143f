"""What systems do to a text before they compare it: one small function for each step. No I/O.

Each function takes and returns a text and never raises, whatever the text holds.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from functools import lru_cache

Steps = Sequence[tuple[str, str]]
"""(step, sides); see `types.Rules.text`."""

_BRACKETS = "「」『』。"
_NOT_NUMERIC = re.compile(r"[^0-9.]")
_PICTURES = re.compile("[\U0001f300-\U0001f64f\U0001f680-\U0001f6ff\U0001f1e0-\U0001f1ff\u2702-\u27b0]+")
"""Ranges that Stability's metric removes beside what the library `emoji` calls one."""


def trimmed(text: str) -> str:
    """White space off both ends, as `str.strip` does."""
    return text.strip()


def without_nul(text: str) -> str:
    """NUL characters off the end: arrays of strings in NumPy do not keep them."""
    return text.rstrip("\0")


def lower(text: str) -> str:
    """In lower case."""
    return text.lower()


def without_brackets(text: str) -> str:
    """「」『』。 off both ends, these characters alone."""
    return text.strip(_BRACKETS)


def without_full_stop(text: str) -> str:
    """「。」 off the end."""
    return text.rstrip("。")


def collapsed(text: str) -> str:
    """Each run of white space as one space, none at the ends."""
    return " ".join(text.split())


def to_blank_line(text: str) -> str:
    """Cut at the first blank line, which is two line feeds; others are not seen."""
    return text.split("\n\n", 1)[0]


def without_quotes(text: str) -> str:
    """White space, then ' and then " off both ends, then white space again."""
    return text.strip().strip("'").strip('"').strip()


def without_cues(text: str) -> str:
    """Without 「応答:」「回答:」「答え:」 (with an ASCII colon), wherever they stand."""
    for cue in ("応答:", "回答:", "答え:"):
        text = text.replace(cue, "")
    return text


def digits_kept(text: str) -> str:
    """Without all characters but `0-9` and `.`."""
    return _NOT_NUMERIC.sub("", text)


def without_emoji(text: str) -> str:
    """Without every character that the library `emoji` calls one, and without some ranges of pictures.

    It goes character by character, so joiners, variation selectors and keycaps stay. Lone surrogates, which no
    tokenizer writes, become U+FFFD.
    """
    import emoji

    whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return _PICTURES.sub("", "".join(char for char in whole if not emoji.is_emoji(char)))


def neologdn(text: str) -> str:
    """Through neologdn: widths, hyphens, repeated long vowel marks and the spaces between Japanese characters."""
    import neologdn as library

    normalized: str = library.normalize(text.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))
    return normalized


def nfkc(text: str) -> str:
    """Unicode normalisation form KC, in time linear in the length of the text.

    `unicodedata` puts marks in order by insertion, which takes minutes for a million of them; so long runs are sorted
    before.
    """
    if len(text) > 1_000:
        text = _mark_runs().sub(_in_order, text)
    return unicodedata.normalize("NFKC", text)


@lru_cache(maxsize=1)
def _mark_runs() -> re.Pattern[str]:
    """A hundred characters or more whose compatibility decompositions begin with a combining mark.

    All of these stand in the first two planes of Unicode.
    """
    marks = (c for c in map(chr, range(0x20000)) if unicodedata.combining(unicodedata.normalize("NFKD", c)[0]))
    return re.compile(f"[{''.join(marks)}]{{100,}}")


def _in_order(run: re.Match[str]) -> str:
    apart = (mark for char in run.group() for mark in unicodedata.normalize("NFKD", char))
    return "".join(sorted(apart, key=unicodedata.combining))


STEPS: dict[str, Callable[[str], str]] = {
    "trimmed": trimmed,
    "without_nul": without_nul,
    "lower": lower,
    "without_brackets": without_brackets,
    "without_full_stop": without_full_stop,
    "collapsed": collapsed,
    "to_blank_line": to_blank_line,
    "without_quotes": without_quotes,
    "without_cues": without_cues,
    "digits_kept": digits_kept,
    "without_emoji": without_emoji,
    "neologdn": neologdn,
    "nfkc": nfkc,
}
"""Name of a step → what it does. The names are rules, too: `rules.RULES` explains them."""


def prepare(steps: Steps, text: str) -> tuple[str, tuple[str, ...]]:
    """A prediction after all steps, and the names of those that changed it."""
    changed = []
    for name, _ in steps:
        after = STEPS[name](text)
        if after != text:
            changed.append(name)
        text = after
    return text, tuple(dict.fromkeys(changed))


def prepare_reference(steps: Steps, text: str) -> str:
    """A reference after those steps that are for both sides; remembered, as every run asks for the same ones."""
    names = tuple(name for name, sides in steps if sides == "both")
    return _prepared(names, text) if names else text


@lru_cache(maxsize=50_000)
def _prepared(names: tuple[str, ...], text: str) -> str:
    for name in names:
        text = STEPS[name](text)
    return text
