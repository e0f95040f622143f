"""Where labels stand in an output and what is said about each: given as the answer, denied, doubted. No I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from typing import Literal

from jglue_app.scoring.parsing.normalization import (
    CLOSERS,
    KANJI_DIGITS,
    OPENERS,
    NormalizedText,
    is_listing,
    is_negated_by_sign,
    is_signed,
    normalize_text,
    skip,
)
from jglue_app.scoring.parsing.sentence_patterns import answer_pattern_end, is_marked

MAX_MENTIONS = 200
"""Places that are looked at for each word."""

_PARTICLE = re.compile(
    r"[はがをにでともかやへだよね]|の|な(?!い)|じゃ|って|し(?:て|た|ま|な|か|得)|する|すれ|され|せず|でき|より|から|まで|など"
)
"""Kana that follow a word; others may be the rest of a longer one."""
_SUFFIX = re.compile(r"[的性]|関係|状態")
_ADVERB = re.compile(r"(?:大変|十分|結構|比較的|全体的|基本的|完全)$")
"""Kanji that may stand next to a word without being part of it, behind it and before it."""
_LIST_POINT = re.compile(r"[.)](?!\d)[ \u3000]*(?=[^\s" + re.escape(CLOSERS) + "])")
UNCHECKED = re.compile(r"\[\s?\]\s*$")
"""An empty box before a label."""
_CLAUSE_END = re.compile(r"[、。,.!?;:|(\n]|ので|から|ため|けれ?ど|違い(?:は)?(?:な|あり|ござ)")
"""Where a negation ceases to reach back to the label; 「間違いない」 is none."""
_NOT_AFTER = re.compile(
    r"(?<!しか)(?<!他なら)(?<!ほかなら)(?<!かもしれ)(?<!すぎ)な(?:い|く|かっ)|無[いく]|なし|(?<!しれ)(?<!すみ)ませ[んぬ]|"
    r"(?<![必ま先はい])ず(?![つれっ])|しかね|違(?:う|い|って)|間違|誤|不正解|不適|外れ|はずれ|を除|以外|"
    r"\b(?:not|incorrect|wrong|false|unlikely)\b|n't\b"
)
_NO_AFTER = re.compile(r"[\s:=?？は→\-]*(?:no|false|×|✕|❌|いいえ|偽)(?![a-z])")
_NOT_BEFORE = re.compile(
    r"(?:(?<![a-z])(?:not|no|non|cannot|never|neither|nor|without|unable|whether|if)(?![a-z])|n't\b|"
    r"rather than|instead of)(?:(?!\bbut\b|\bso\b|→)[^.,;:\n])*$"
)
_ASKED_AFTER = re.compile(r"[" + re.escape("」』”\"'’)") + r"]*(?:[でじ][はゃ]?ない(?:か|で(?:しょう|す)か|だろうか))")
_ASKED_IN_CLAUSE = re.compile(r"[るいただすう]か(?:どうか|[をはがに、。?]|調|確|判|検|考|$)")
_DOUBT_AFTER = re.compile(
    r"[\s" + re.escape(CLOSERS) + r"]*(?:する|して(?:い)?る|した|的な)?(?:"
    r"(?:なの|です|でしょう|である|だろう)?か(?!もしれ|と(?:思|存|考))|[にと]?(?:見え|みえ|思われが)|の?よう[なに]|の?可能性|の?場合|の?立場|なら|"
    r"であれば|とすれば|だったら|とも(?:考|言|い|取|と)|とは(?![言い])|という(?:の|言|用|意味|ラベル|選択)|[とで](?:答え|回答|書)(?:て|$)|と答$|"
    r"点?[をの](?:有無|探|調べ|見つけ|確|検討|度合|定義|意味|例))"
)
_DOUBT_BEFORE = re.compile(r"(?:なら|ならば|れば|場合に?は?|ときは?)[、,]?[\s" + re.escape(OPENERS) + r"]*$")
"""Questions, conditions, hedges, definitions and instructions."""
_JOINED = re.compile(
    r"[」』”\"'’)]*(?:[、,・/]|\s?(?:でも|とも|[かとやも]|または|もしくは|あるいは|\bor\b|\band\b|\bnor\b))[、,]?[\s「『“\"'(]*"
)
"""Between two labels that one negation denies together."""
_GLOSS = re.compile(r"[」』]?(?:は[「『]?|\([^()\n]{2,60}\)[、,][\s「『]*)")
"""Between labels that are explained in turn, as in 「0は肯定」 or 「含意（必ず正しい）、」."""
_HEADING = re.compile(r"[」』*]*:[ \u3000]*[^\s]")
_CUT_SEPARATORS = "、,・/"

_OWN_TEXT = re.compile(
    r"[」』”\"'’)\]】》*_`]*+(?:番?[ \u3000]*(?:[:.、,|/=→\-の][ \u3000]*)?|\.?\n|番?[ \u3000]?)[「『“\"'‘(\[【《*_`]*"
)
"""Between a label and the same label in other words, as in 「2：図書館」 or 「含意（entailment）」."""
_SCOPE = re.compile(
    r"[」』”\"'’)\]*]*[ \u3000]?(?:(?:の)?(?:五つ|三つ|二つ|[0-9]つ)?の?(?:中|うち|いずれか|どれか|"
    r"どちらか|選択肢|数字|番号|記号)"
    r"(?:から|では?|の|は|と|一つ|、|まで)|まで(?:の|で)|から(?:選|一つ)|(?:なら|で言えば|でいえば))"
)
"""Behind a list of labels that an answer is then chosen from."""

MentionStatus = Literal["asserted", "doubted", "negated", "listed", "unsaid"]
"""`listed`: one of those that an answer is chosen from; `unsaid`: a character that means something else."""


@dataclass(frozen=True, slots=True)
class Candidate:
    surface: str
    label: str
    legal: bool
    kanji_digit: bool = False

    @property
    def short(self) -> bool:
        """One character means something else in most sentences: it has to be said to be the answer."""
        return len(self.surface) == 1


@dataclass(frozen=True, slots=True)
class Mention:
    start: int
    end: int
    candidate: Candidate
    status: MentionStatus = "asserted"
    tail: int = 0
    """Where the words end that give it as an answer, for one that is asserted."""

    @property
    def label(self) -> str:
        return self.candidate.label


@lru_cache(maxsize=4096)
def _surface(word: str) -> str:
    """A word of ours as it would stand in folded text."""
    return normalize_text(word).strip()


def candidates_of(answers: Mapping[str, str], aliases: Mapping[str, tuple[str, ...]]) -> list[Candidate]:
    """Every word that means one label and no other, longest first."""
    legal: dict[str, set[str]] = {}
    others: dict[str, set[str]] = {}
    for label, answer in answers.items():
        legal.setdefault(normalize_text(answer).strip(), set()).add(label)
    for label in answers:
        for word in (label, *aliases.get(label, ())):
            surface = _surface(word)
            # Canonical labels that are bare numbers mean nothing unless numbers were asked for.
            if surface not in legal and not (surface.isdigit() and surface in answers):
                others.setdefault(surface, set()).add(label)
    out = [
        Candidate(surface, next(iter(labels)), group is legal)
        for group in (legal, others)
        for surface, labels in group.items()
        if surface and len(labels) == 1
    ]
    numerals = {c.surface: c.label for c in out if c.legal}
    words = {**KANJI_DIGITS, "ゼロ": "0"}
    out += [Candidate(k, numerals[d], True, True) for k, d in words.items() if d in numerals]
    return sorted(out, key=lambda c: -len(c.surface))


# --- where labels stand ---------------------------------------------------------------------------------


def valid_mentions(normalized: NormalizedText, candidates: list[Candidate]) -> list[Mention]:
    """The first places where a candidate stands as a word of its own; of overlapping ones the longer wins."""
    text = normalized.text
    taken = bytearray(len(text))
    out: list[Mention] = []
    for candidate in candidates:
        start, count = text.find(candidate.surface), 0
        while start >= 0 and count < MAX_MENTIONS:
            end = start + len(candidate.surface)
            if not any(taken[start:end]) and _stands_alone(text, start, end):
                taken[start:end] = b"\1" * (end - start)
                known = _ends_like_a_word(text, end)
                if known or not candidate.short:
                    out.append(Mention(start, end, candidate, "asserted" if known else "doubted"))
                    count += 1
            start = text.find(candidate.surface, start + 1)
    if normalized.complete:
        out += _cut_off(text, taken, candidates)
    return sorted(out, key=lambda m: m.start)[:MAX_MENTIONS]


def _stands_alone(text: str, start: int, end: int) -> bool:
    before, after = text[start - 1 : start], text[end : end + 1]
    if text[start:end].isdigit():
        decimal = re.compile(r"[.,:/\-+×^]\d").match(text, end) or re.search(
            r"\d[.,:/+×^]$|[-−]$", text[max(0, start - 2) : start]
        )
        return not (
            is_signed(text, start)
            or decimal
            or after.isdigit()
            or before.isdigit()
            or re.match(r"[a-z]", before + after)
        )
    first, last = _script(text[start]), _script(text[end - 1])
    if first and before and _script(before) == first and first != "hiragana":
        adverb = first == "kanji" and end - start > 1 and _ADVERB.search(text, max(0, start - 4), start)
        if not adverb:
            return False
    if first == "hiragana" and _script(before) == "hiragana" and before not in "はがのをにでともてへや":
        return False
    if last == "hiragana" and _script(after) == "hiragana":
        return _PARTICLE.match(text, end) is not None
    return not last or last != _script(after) or (last == "kanji" and _SUFFIX.match(text, end) is not None)


def _ends_like_a_word(text: str, end: int) -> bool:
    """Whether kana after a kanji are a particle, and not perhaps the rest of a word such as 話す for 話."""
    kana_after_kanji = _script(text[end - 1]) == "kanji" and _script(text[end : end + 1]) == "hiragana"
    return not kana_after_kanji or _PARTICLE.match(text, end) is not None


def _script(char: str) -> str:
    if char.isascii():
        return "latin" if char.isalnum() else ""
    if "ぁ" <= char <= "ゖ":
        return "hiragana"
    if "ァ" <= char <= "ヺ" or char == "ー":
        return "katakana"
    return "kanji" if "一" <= char <= "鿿" or "㐀" <= char <= "䶿" or char in "々〆" else ""


def _cut_off(text: str, taken: bytearray, candidates: list[Candidate]) -> list[Mention]:
    """Labels that the output's end may have cut short, as ちまき in 「かしわもち、ちま」; after 「、」 that is any."""
    body = text.rstrip()
    separator = max(body.rfind(separator) for separator in _CUT_SEPARATORS + " \n")
    tail = body[separator + 1 :].lstrip(OPENERS)
    start = len(body) - len(tail)
    if separator < 0 or any(taken[start : len(body)]) or (not tail and body[-1] not in _CUT_SEPARATORS):
        return []
    cut = [c for c in candidates if c.surface.startswith(tail) and c.surface != tail and not c.kanji_digit]
    return [Mention(start, len(body), c, "doubted") for c in cut]


# --- what is said about them ----------------------------------------------------------------------------


def resolved_mentions(text: str, standing: list[Mention], candidates: list[Candidate]) -> list[Mention]:
    """The mentions with their fates; single characters that nothing presents as an answer are left out."""
    out: list[Mention] = []
    following: Mention | None = None
    for mention in reversed(standing):
        joined = following is not None and _JOINED.fullmatch(text, mention.end, following.start)
        if following and joined and following.status == "negated":
            mention = replace(mention, status="negated")
        elif mention.status == "asserted":
            mention = replace(mention, status=_mention_status(text, mention, following))
        if mention.status == "asserted":
            mention = _given(text, mention, following, candidates)
        out.append(mention)
        following = mention
    return [m for m in _mark_lists_uncertain(text, out[::-1]) if m.status != "unsaid"]


def _given(text: str, mention: Mention, following: Mention | None, candidates: list[Candidate]) -> Mention:
    """The mention with what follows looked at: it has to be a sentence that gives an answer."""
    end = _end_of_truncated_choice(text, mention, candidates)
    is_repeated = following is not None and _OWN_TEXT.fullmatch(text, mention.end, following.start)
    same = following is not None and following.candidate == mention.candidate
    on_one_line = following is not None and "\n" not in text[mention.end : following.start]
    if (
        following
        and is_repeated
        and not (same and on_one_line)
        and following.label == mention.label
        and end == mention.end
    ):
        return replace(mention, status=following.status, tail=following.tail)
    if end == mention.end and _starts_list(text, mention):
        return replace(mention, status="unsaid")
    tail = answer_pattern_end(text, end, verbal=len(mention.candidate.surface) > 1)
    if tail is not None:
        return replace(mention, tail=tail)
    # A character that is marked as the answer is one, whatever follows.
    is_answer = not mention.candidate.short or is_marked(text, mention.start)
    return replace(mention, status="doubted" if is_answer else "unsaid")


def _starts_list(text: str, mention: Mention) -> bool:
    """Whether a number or letter has a full stop and text behind it that is not its own, as in 「1. 犬が走る」."""
    point = _LIST_POINT.match(text, mention.end) if mention.candidate.short else None
    return point is not None and (
        mention.candidate.surface.isdigit() or not text[point.end() : point.end() + 1].isascii()
    )


def _end_of_truncated_choice(text: str, mention: Mention, candidates: list[Candidate]) -> int:
    """The end of the text, if it breaks off within the mention's choice, as in 「2. 図書」; the mention's otherwise."""
    between = _OWN_TEXT.match(text, mention.end)
    rest = text[between.end() : between.end() + 100].rstrip(CLOSERS) if between else ""
    other_surfaces = [
        c.surface for c in candidates if c.label == mention.label and c.surface != mention.candidate.surface
    ]
    if rest and mention.candidate.short and any(word.startswith(rest) for word in other_surfaces):
        return len(text)
    return mention.end


def _mention_status(text: str, mention: Mention, following: Mention | None) -> MentionStatus:
    limit = min(mention.end + 30, following.start if following else len(text))
    if _ASKED_AFTER.match(text, mention.end):
        return "doubted"
    stop = _CLAUSE_END.search(text, mention.end, limit)
    clause = (mention.end, stop.start() if stop else limit)
    if _NOT_AFTER.search(text, *clause) or _NO_AFTER.match(text, mention.end):
        return "negated"
    if is_negated_by_sign(text, mention.start):
        return "negated"
    if UNCHECKED.search(text, max(0, mention.start - 4), mention.start):
        return "negated"
    if _NOT_BEFORE.search(text, max(0, mention.start - 40), mention.start):
        return "negated"
    if _DOUBT_AFTER.match(text, mention.end) or _DOUBT_BEFORE.search(text, max(0, mention.start - 12), mention.start):
        return "doubted"
    if _ASKED_IN_CLAUSE.search(text, *clause) or _is_heading(text, mention):
        return "doubted"
    return "asserted"


def _is_heading(text: str, mention: Mention) -> bool:
    """Whether the label opens a later line as a heading, as in 「矛盾：犬が眠っている。」."""
    line = text.rfind("\n", 0, mention.start) + 1
    if not text[:line].strip() or skip(text, line, OPENERS) != mention.start:
        return False
    return _HEADING.match(text, mention.end) is not None


def _mark_lists_uncertain(text: str, mentions: list[Mention]) -> list[Mention]:
    """Different labels in one list, or labels that are explained, repeat the choices: they assert none."""
    runs: list[list[Mention]] = []
    for mention in mentions:
        if runs and mention.status != "negated" and runs[-1][-1].status != "negated":
            gap = text[runs[-1][-1].end : mention.start]
            if is_listing(gap) or _GLOSS.fullmatch(gap):
                runs[-1].append(mention)
                continue
        runs.append([mention])
    out: list[Mention] = []
    for run in runs:
        explained = any(_GLOSS.fullmatch(text, a.end, b.start) for a, b in pairwise(run))
        several = explained or len({m.label for m in run}) > 1
        status: MentionStatus = "listed" if _SCOPE.match(text, run[-1].end) else "doubted"
        out += [replace(m, status=status) for m in run] if several else run
    return out
