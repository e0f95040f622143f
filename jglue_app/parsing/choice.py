"""Reading one of several closed labels out of an output."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from typing import Literal

from jglue_app import thought as thoughts
from jglue_app.parsing.text import (
    CLOSERS,
    COUNTER,
    CUE,
    KANJI_DIGITS,
    OPENERS,
    Folded,
    Readings,
    fold_answer,
    fold_text,
    is_listing,
    skip,
    strict_part,
    unfinished,
)
from jglue_app.types import Parsed

MAX_MENTIONS = 200

_ASSERTED = re.compile(
    r"番?(?:\s*$|[\s" + re.escape(CLOSERS + ",、;/|([<{「『〈《【→=-～~") + r"\\]|です|でし|で(?:、|あ[るり])|"
    r"だ(?:[。、\s]|$|と|ろう|から|よ)|と(?:思|考え|判断|言え|いえ|な[りる]|推測|推定|され)|に(?:な[りる]|該当|近|当ては)|"
    r"が(?:正|適|最|妥当|答|ふさわし|該当|当ては)|を選|かも|(?:的|関係|の関係)(?:です|で|だ|に|。|$))"
)
"""What may stand behind an answer."""
_PARTICLE = re.compile(
    r"[はがをにでともかやへだよね]|の|な(?!い)|じゃ|って|し(?:て|た|ま|な|か|得)|する|すれ|され|せず|でき|より|から|まで|など"
)
"""Kana that follow a word; others may be the rest of a longer one."""
_SUFFIX = re.compile(r"[的性]|関係|状態")
_ADVERB = re.compile(r"(?:大変|十分|結構|比較的|全体的|基本的|完全)$")
"""Kanji that may stand next to a word without being part of it, behind it and before it."""
_LIST_POINT = re.compile(r"[.)](?!\d)[ \u3000]*(?=[^\s" + re.escape(CLOSERS) + "])")
_ASCII_WORD_AFTER = re.compile(r"\s+(?!(?:is|because|since|as|for|and|or)\b)[a-z]")
_NAMED = re.compile(r"(?:選択肢|番号|記号|ラベル|オプション|\b(?:option|choice|choose|select|pick|is|be))\s*$")

_CLAUSE_END = re.compile(r"[、。,.!?;:|(\n]|ので|から|ため|けれ?ど|違いな|間違い(?:は)?あり")
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
    r"(?:なの|です|でしょう|である|だろう)?か(?!もしれ)|[にと]?(?:見え|みえ|思われが)|の?よう[なに]|の?可能性|の?場合|の?立場|なら|"
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

Fate = Literal["asserted", "doubted", "negated"]


@dataclass(frozen=True, slots=True)
class _Candidate:
    surface: str
    label: str
    legal: bool
    kanji_digit: bool = False

    @property
    def short(self) -> bool:
        """One character means something else in most sentences: it has to be said to be the answer."""
        return len(self.surface) == 1


@dataclass(frozen=True, slots=True)
class _Mention:
    start: int
    end: int
    candidate: _Candidate
    framed: bool
    """What follows lets it be an answer: an end, a bracket, です and the like."""
    fate: Fate = "asserted"

    @property
    def label(self) -> str:
        return self.candidate.label


def read_choice(
    text: str,
    answers: Mapping[str, str],
    aliases: Mapping[str, tuple[str, ...]] | None = None,
    thought: str = "",
    whole: Mapping[str, tuple[str, ...]] | None = None,
) -> Readings:
    """Read one of several labels.

    Args:
        text: the raw output.
        answers: label → the surface form that was asked for.
        aliases: label → further words that mean it (used by the lenient reading only).
        thought: what the prompt has opened; see `types.Prompt.thought`.
        whole: label → words that mean it where nothing else was written.

    Lenient rules, in this order; the first that finds something decides:
        `notation` the answer in another width, case or script of numerals, or within punctuation or quotes;
        `alias` nothing but another word for a label; `cue` an answer after 「答え：」, したがって and the like;
        `leading` an answer followed by other text; `quoted` and `mention` exactly one label is asserted (in quotation
        marks, or not). Two labels make the output `ambiguous`: cues that disagree, a list of labels, an alternative.
        A label that is negated is not asserted, nor is one in a question or condition, nor one inside a longer word,
        nor a single character or digit that the sentence does not present as the answer.
    """
    if not text.strip():
        empty = Parsed(None, "empty", "empty")
        return Readings(empty, empty)
    parts = thoughts.split(text, thought)
    if parts.unfinished:
        return unfinished()
    start, end = strict_part(text, parts, thought)
    same = [label for label, surface in answers.items() if start < end and text[start:end] == surface.strip()]
    if same:
        exact = Parsed(same[0], "exact", "exact", (start, end))
        if len(same) > 1:
            exact = Parsed(None, "ambiguous", "same_answer_twice")
        return Readings(exact, exact)
    lenient = _lenient_choice(text.rstrip(), parts, answers, aliases or {}, whole or {})
    if lenient.value is None and parts.breaks_off:
        return unfinished()
    return Readings(Parsed(None, "off_format", "not_exact" if start < end else "no_answer"), lenient)


def _lenient_choice(
    text: str,
    parts: thoughts.Split,
    answers: Mapping[str, str],
    aliases: Mapping[str, tuple[str, ...]],
    whole: Mapping[str, tuple[str, ...]],
) -> Parsed:
    folded = fold_answer(text, parts)
    candidates = _candidates(answers, aliases)
    alone = {label: (*aliases.get(label, ()), *whole.get(label, ())) for label in answers}
    found = _whole(folded, _candidates(answers, alone) if whole else candidates)
    if found:
        return found
    standing = _standing(folded, candidates)
    if not standing:
        return Parsed(None, "off_format", "no_label")
    mentions = _settled(folded.text, standing)
    return _claimed(folded, mentions) or _unanimous(folded, mentions, len(standing) < MAX_MENTIONS)


def _candidates(answers: Mapping[str, str], aliases: Mapping[str, tuple[str, ...]]) -> list[_Candidate]:
    """Every word that means one label and no other, longest first."""
    legal: dict[str, set[str]] = {}
    others: dict[str, set[str]] = {}
    for label, answer in answers.items():
        legal.setdefault(fold_text(answer).strip(), set()).add(label)
    for label in answers:
        for word in (label, *aliases.get(label, ())):
            surface = _surface(word)
            # Canonical labels that are bare numbers mean nothing unless numbers were asked for.
            if surface not in legal and not (surface.isdigit() and surface in answers):
                others.setdefault(surface, set()).add(label)
    out = [
        _Candidate(surface, next(iter(labels)), group is legal)
        for group in (legal, others)
        for surface, labels in group.items()
        if surface and len(labels) == 1
    ]
    numerals = {c.surface: c.label for c in out if c.legal}
    out += [_Candidate(k, numerals[d], True, True) for k, d in KANJI_DIGITS.items() if d in numerals]
    return sorted(out, key=lambda c: -len(c.surface))


@lru_cache(maxsize=4096)
def _surface(word: str) -> str:
    """A word of ours as it would stand in folded text."""
    return fold_text(word).strip()


def _whole(folded: Folded, candidates: list[_Candidate]) -> Parsed | None:
    body = folded.text.rstrip(CLOSERS)
    start = skip(body, 0, OPENERS)
    body = body[start:]
    if not body or (body[0].isdigit() and folded.text[:start].endswith("-")):
        return None
    for candidate in candidates:
        if body == candidate.surface:
            rule = "notation" if candidate.legal else "alias"
            return Parsed(candidate.label, "recovered", rule, folded.span(start, start + len(body)))
    return None


# --- where labels stand ---------------------------------------------------------------------------------


def _standing(folded: Folded, candidates: list[_Candidate]) -> list[_Mention]:
    """The first places where a candidate stands as a word of its own; of overlapping ones the longer wins."""
    text = folded.text
    taken = bytearray(len(text))
    out: list[_Mention] = []
    for candidate in candidates:
        start, found = text.find(candidate.surface), 0
        while start >= 0 and found < MAX_MENTIONS:
            end = start + len(candidate.surface)
            if not any(taken[start:end]) and _stands_alone(text, start, end):
                taken[start:end] = b"\1" * (end - start)
                known = _ends_like_a_word(text, end)
                if known or not candidate.short:
                    fate: Fate = "asserted" if known else "doubted"
                    framed = _is_framed(text, start, end) and not _heads_a_list(text, start, end, candidate, candidates)
                    out.append(_Mention(start, end, candidate, framed, fate))
                    found += 1
            start = text.find(candidate.surface, start + 1)
    if folded.complete:
        out += _cut_off(text, taken, candidates)
    return sorted(out, key=lambda m: m.start)[:MAX_MENTIONS]


def _stands_alone(text: str, start: int, end: int) -> bool:
    before, after = text[start - 1 : start], text[end : end + 1]
    if text[start:end].isdigit():
        decimal = re.compile(r"[.,:/\-+×^]\d").match(text, end) or re.search(
            r"\d[.,:/+×^]$|[-−]$", text[max(0, start - 2) : start]
        )
        return not (decimal or after.isdigit() or before.isdigit() or re.match(r"[a-z]", before + after))
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


def _is_framed(text: str, start: int, end: int) -> bool:
    if not _ASSERTED.match(text, end):
        return False
    if text[start:end].isdigit():
        return not COUNTER.match(text, end)
    return not (_script(text[end - 1]) == "latin" and _ASCII_WORD_AFTER.match(text, end))


def _heads_a_list(text: str, start: int, end: int, candidate: _Candidate, candidates: list[_Candidate]) -> bool:
    """Whether a number has a full stop and text behind it that is not its own choice's, as in 「1. 犬が走る」."""
    point = _LIST_POINT.match(text, end) if text[start:end].isdigit() else None
    if not point:
        return False
    rest = text[point.end() :].split("\n", 1)[0]
    own = [c.surface for c in candidates if c.label == candidate.label]
    return not any(word.startswith(rest) or rest.startswith(word) for word in own)


def _cut_off(text: str, taken: bytearray, candidates: list[_Candidate]) -> list[_Mention]:
    """Labels that the output's end may have cut short, as ちまき in 「かしわもち、ちま」; after 「、」 that is any."""
    body = text.rstrip()
    separator = max(body.rfind(separator) for separator in _CUT_SEPARATORS + " \n")
    tail = body[separator + 1 :].lstrip(OPENERS)
    start = len(body) - len(tail)
    if separator < 0 or any(taken[start : len(body)]) or (not tail and body[-1] not in _CUT_SEPARATORS):
        return []
    cut = [c for c in candidates if c.surface.startswith(tail) and c.surface != tail and not c.kanji_digit]
    return [_Mention(start, len(body), c, False, "doubted") for c in cut]


# --- what is said about them ----------------------------------------------------------------------------


def _settled(text: str, standing: list[_Mention]) -> list[_Mention]:
    """The mentions with their fates; single characters that nothing presents as an answer are left out."""
    out: list[_Mention] = []
    following: _Mention | None = None
    for mention in reversed(standing):
        joined = following is not None and _JOINED.fullmatch(text[mention.end : following.start])
        if following and joined and following.fate == "negated":
            mention = replace(mention, fate="negated")
        elif mention.fate == "asserted":
            mention = replace(mention, fate=_fate(text, mention, following))
        out.append(mention)
        following = mention
    fates = _doubt_lists(text, out[::-1])
    return [m for m in fates if m.fate != "asserted" or m.framed or not m.candidate.short]


def _fate(text: str, mention: _Mention, following: _Mention | None) -> Fate:
    limit = min(mention.end + 30, following.start if following else len(text))
    if _ASKED_AFTER.match(text, mention.end):
        return "doubted"
    stop = _CLAUSE_END.search(text, mention.end, limit)
    clause = (mention.end, stop.start() if stop else limit)
    if _NOT_AFTER.search(text, *clause) or _NO_AFTER.match(text, mention.end):
        return "negated"
    if _NOT_BEFORE.search(text, max(0, mention.start - 40), mention.start):
        return "negated"
    if _DOUBT_AFTER.match(text, mention.end) or _DOUBT_BEFORE.search(text, max(0, mention.start - 12), mention.start):
        return "doubted"
    if _ASKED_IN_CLAUSE.search(text, *clause) or _is_heading(text, mention):
        return "doubted"
    return "asserted"


def _is_heading(text: str, mention: _Mention) -> bool:
    """Whether the label opens a later line as a heading, as in 「矛盾：犬が眠っている。」."""
    line = text.rfind("\n", 0, mention.start) + 1
    if not text[:line].strip() or skip(text, line, OPENERS) != mention.start:
        return False
    return _HEADING.match(text, mention.end) is not None


def _doubt_lists(text: str, mentions: list[_Mention]) -> list[_Mention]:
    """Different labels in one list, or labels that are explained, repeat the choices: they assert none."""
    runs: list[list[_Mention]] = []
    for mention in mentions:
        if runs and mention.fate != "negated" and runs[-1][-1].fate != "negated":
            gap = text[runs[-1][-1].end : mention.start]
            if is_listing(gap) or _GLOSS.fullmatch(gap):
                runs[-1].append(mention)
                continue
        runs.append([mention])
    out: list[_Mention] = []
    for run in runs:
        explained = any(_GLOSS.fullmatch(text, a.end, b.start) for a, b in pairwise(run))
        several = explained or len({m.label for m in run}) > 1
        out += [replace(m, fate="doubted") for m in run] if several else run
    return out


def _claimed(folded: Folded, mentions: list[_Mention]) -> Parsed | None:
    """What is announced by a cue or stands at the very beginning, if all of that agrees."""
    usable = {m.start: m for m in mentions if m.fate == "asserted" and m.framed}
    doubted = {m.start for m in mentions if m.fate == "doubted"}
    cues = {skip(folded.text, cue.end(), OPENERS): cue.group() for cue in CUE.finditer(folded.text)}
    # A cue that announces a list once does not announce an answer the next time: the list was cut off there.
    lists = {word for position, word in cues.items() if position in doubted}
    claims = [(usable[p], "cue") for p, word in sorted(cues.items()) if p in usable and word not in lists]
    first = usable.get(skip(folded.text, 0, OPENERS))
    if first and not first.candidate.kanji_digit:
        line_end = folded.text.find("\n", first.end)
        line = {m.label for m in mentions if m.fate != "negated" and (line_end < 0 or m.start < line_end)}
        if claims or line == {first.label}:
            claims.append((first, "leading"))
    if not claims:
        return None
    if len({mention.label for mention, _ in claims}) > 1:
        return Parsed(None, "ambiguous", "several_labels")
    return _recovered(folded, *claims[0])


def _unanimous(folded: Folded, mentions: list[_Mention], all_seen: bool) -> Parsed:
    asserted = [m for m in mentions if m.fate == "asserted" and _is_named(folded.text, m)]
    left = {m.label for m in mentions if m.fate == "doubted"} | {m.label for m in asserted}
    if len(left) > 1:
        return Parsed(None, "ambiguous", "several_labels")
    if not asserted:
        return Parsed(None, "off_format", "not_asserted" if mentions else "no_label")
    if not (all_seen and folded.complete):
        return Parsed(None, "off_format", "too_long")
    first = asserted[0]
    before, after = folded.text[first.start - 1 : first.start], folded.text[first.end : first.end + 1]
    quoted = before + after in ("「」", "『』", "“”", '""', "''")
    return _recovered(folded, first, "quoted" if quoted else "mention")


def _is_named(text: str, mention: _Mention) -> bool:
    """Whether a single character in running text is presented as an answer by what stands before it, too."""
    if not mention.candidate.short:
        return True
    if mention.candidate.kanji_digit:
        return False
    before = text[: mention.start].rstrip(" \u3000")
    return (
        not before
        or _script(before[-1]) in ("", "hiragana")
        or _NAMED.search(text, max(0, mention.start - 12), mention.start) is not None
    )


def _recovered(folded: Folded, mention: _Mention, rule: str) -> Parsed:
    return Parsed(mention.label, "recovered", rule, folded.span(mention.start, mention.end))
