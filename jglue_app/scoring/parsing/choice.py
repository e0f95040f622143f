"""Reading one of several closed labels out of an output."""

from __future__ import annotations

import re
from collections.abc import Mapping

from jglue_app.prompts import thoughts
from jglue_app.scoring.parsing.markup import CHOICE_KEYS, Marked, from_json, from_marks
from jglue_app.scoring.parsing.mentions import (
    MAX_MENTIONS,
    UNCHECKED,
    Candidate,
    Mention,
    candidates_of,
    resolved_mentions,
    valid_mentions,
)
from jglue_app.scoring.parsing.negation import contrasts, introduces_wrong_answers, is_negated
from jglue_app.scoring.parsing.normalization import (
    CLOSERS,
    CUE,
    MAX_CHARS,
    OPENERS,
    NormalizedText,
    Readings,
    cues,
    normalize_answer,
    normalize_text,
    skip,
    strict_part,
    unfinished,
)
from jglue_app.scoring.parsing.sentence_patterns import is_condition, is_presented_as_answer
from jglue_app.scoring.types import Parsed

_STARS = re.compile(r"(?:評価|感情|気持ち|印象|sentiment)")
"""Cues behind which a bare number may be a number of stars or a grade."""

_VALUE = re.compile(r"[\s|:=]*\d+(?:\.\d+)?\s*%?\s*(?:$|\n|\|)")
"""A number below a label, as in a table of shares."""
_TAKEN_BACK = re.compile(
    r"[」』”\"'’)\]*]*(?:番|的|関係|だ|する|して(?:い)?る|した)?(?:で(?:は|も)?(?:な|あり|ござ)|じゃ|以外|と(?:は|も|い)|の?(?:わけ|はず)|なわけ|を(?:除|否)|し(?:な|てい(?:な|ませ)|ませ)|"
    r"は(?:な|無|間違|違|誤|不|正しく|適切で|当ては|該当|あり[得え]?)|が(?:な|あり?ませ|間違|不)|"
    r"な[いし]|無|[×❌]|\s*(?:is|was|would be|does|can|:|=)?\s*(?:not\b|n't|wrong|incorrect|false|"
    r"no\b)|n't)"
)


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
        nor a single character or digit that the sentence does not present as the answer. What stands before and behind
        a label has to be one of the forms in `frames`, and nothing that follows may take the answer back (`denial`).
        Where all this finds nothing, `marked` is the one label in `\\boxed{}` or `<answer>`. Of a JSON object only the
        field that is named as the answer counts (`cue`).
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
    candidates = candidates_of(answers, aliases)
    words = {label: (*aliases.get(label, ()), *whole.get(label, ())) for label in answers}
    alone = candidates_of(answers, words) if whole else candidates
    # A word with synonyms judges; one without is a thing that the sentence may be about.
    verdicts = any(len(words) > 1 for words in aliases.values())
    assert parts.answer is not None
    start, end = parts.answer, min(parts.end, len(text))
    fields = from_json(text, start, end, CHOICE_KEYS)
    if fields:
        return _inside(fields, "cue", candidates, verdicts, alone)
    normalized = normalize_answer(text, parts)
    read = _read(normalized, candidates, verdicts, alone)
    if read.value is not None:
        return read
    marked = from_marks(text, start, min(end, start + MAX_CHARS))
    if (
        marked
        and not is_negated(normalize_text(text[marked.end : marked.end + MAX_CHARS]), 0, repeats=())
        and not is_negated(normalized.last, 0)
    ):
        inside = _inside(marked, "marked", candidates, verdicts, alone)
        return inside if inside.value is not None else read
    return read


def _inside(marked: Marked, rule: str, candidates: list[Candidate], verdicts: bool, alone: list[Candidate]) -> Parsed:
    """The label in what is marked as the answer."""
    if marked.value is None:
        return Parsed(None, "off_format", "not_asserted")
    normalized = normalize_answer(marked.value, thoughts.Split(0, len(marked.value)))
    read = _read(normalized, candidates, verdicts, alone)
    return Parsed(read.value, "recovered", rule, (marked.start, marked.end)) if read.value is not None else read


def _read(normalized: NormalizedText, candidates: list[Candidate], verdicts: bool, alone: list[Candidate]) -> Parsed:
    """The label in a text; `alone` are the words that mean one where they are all there is."""
    whole = _whole(normalized, alone)
    if whole:
        return whole
    standing = valid_mentions(normalized, candidates)
    if not standing:
        return Parsed(None, "off_format", "no_label")
    mentions = resolved_mentions(normalized.text, standing, candidates)
    claimed = _claimed(normalized, mentions, verdicts)
    return claimed or _unanimous(normalized, mentions, len(standing) < MAX_MENTIONS, verdicts)


def _whole(normalized: NormalizedText, candidates: list[Candidate]) -> Parsed | None:
    body = normalized.text.rstrip(CLOSERS)
    start = skip(body, 0, OPENERS)
    body = body[start:]
    if UNCHECKED.search(normalized.text, 0, start):
        return None
    if not body or (body[0].isdigit() and normalized.text[:start].endswith(("-", "–", "—", "<"))):
        return None
    for candidate in candidates:
        if body == candidate.surface:
            # 「矛盾：」 may go on with a value, and 「A：」 announces an answer.
            if (not candidate.short or candidate.surface == "a") and normalized.text.rstrip().endswith(":"):
                return None
            rule = "notation" if candidate.legal else "alias"
            return Parsed(candidate.label, "recovered", rule, normalized.span(start, start + len(body)))
    return None


def _claimed(normalized: NormalizedText, mentions: list[Mention], verdicts: bool) -> Parsed | None:
    """What is announced by a cue or stands at the very beginning, if all of that agrees."""
    text = normalized.text
    usable = {m.start: m for m in mentions if m.status == "asserted"}
    doubted = {m.start for m in mentions if m.status == "doubted"}
    cue_positions = {skip(text, cue.end(), OPENERS): cue for cue in cues(text, CUE)}
    # A cue that announces a list once does not announce an answer the next time: the list was cut off there.
    lists = {cue.group() for position, cue in cue_positions.items() if position in doubted}
    claims = [
        (usable[position], "cue")
        for position, cue in sorted(cue_positions.items())
        if position in usable and cue.group() not in lists and _announces(text, cue, usable[position])
    ]
    first = usable.get(skip(text, 0, OPENERS))
    if first and not first.candidate.kanji_digit:
        line_end = text.find("\n", first.end)
        line = {
            m.label for m in mentions if m.status not in ("negated", "listed") and (line_end < 0 or m.start < line_end)
        }
        if claims or line == {first.label}:
            claims.append((first, "leading"))
    if not claims:
        return None
    presented = {
        m.label for m in usable.values() if is_presented_as_answer(_head(text, m), verdicts, symbol=_is_symbol(m))
    }
    if len({mention.label for mention, _ in claims} | presented) > 1:
        return Parsed(None, "ambiguous", "several_labels")
    return _kept(normalized, *claims[0], mentions, verdicts)


def _announces(text: str, cue: re.Match[str], mention: Mention) -> bool:
    """Whether a cue announces the mention, and not under a condition, nor perhaps a number of stars or a grade."""
    if mention.candidate.short and _STARS.match(cue.group()):
        return False
    return not is_condition(text[_sentence_start(text, cue.start()) : cue.start()])


def _unanimous(normalized: NormalizedText, mentions: list[Mention], all_seen: bool, verdicts: bool) -> Parsed:
    text = normalized.text
    asserted = [
        m
        for m in mentions
        if m.status == "asserted" and is_presented_as_answer(_head(text, m), verdicts, _verbal(text, m), _is_symbol(m))
    ]
    left = {m.label for m in mentions if m.status in ("doubted", "asserted")}
    listed = {m.label for m in mentions if m.status == "listed"}
    if len(left if asserted else left | listed) > 1:
        return Parsed(None, "ambiguous", "several_labels")
    if not asserted or asserted[0].candidate.kanji_digit:
        return Parsed(None, "off_format", "not_asserted" if mentions else "no_label")
    if not (all_seen and normalized.complete):
        return Parsed(None, "off_format", "too_long")
    first = asserted[0]
    before, after = text[first.start - 1 : first.start], text[first.end : first.end + 1]
    quoted = before + after in ("「」", "『』", "“”", '""', "''")
    return _kept(normalized, first, "quoted" if quoted else "mention", mentions, verdicts)


def _is_symbol(mention: Mention) -> bool:
    """Whether a choice is named by its number or letter, which other things may have, too: 「背番号は3」."""
    surface = mention.candidate.surface
    return len(surface) == 1 and (surface.isascii() or "ァ" <= surface <= "ヺ")


def _head(text: str, mention: Mention) -> str:
    return text[_sentence_start(text, mention.start) : mention.start]


def _sentence_start(text: str, position: int) -> int:
    return max(text.rfind(end, max(0, position - 200), position) + 1 for end in "。\n!?") or max(0, position - 200)


def _verbal(text: str, mention: Mention) -> bool:
    return len(mention.candidate.surface) > 1 and not re.compile(r"です|だ|$|。").match(text, mention.end)


def _kept(normalized: NormalizedText, mention: Mention, rule: str, mentions: list[Mention], verdicts: bool) -> Parsed:
    """The mention as the answer, unless something takes it back."""
    others = [(m.start, m.end) for m in mentions if m.label != mention.label]
    same_label = [(m.start, m.end) for m in mentions if m.label == mention.label]
    same = [m for m in mentions if m.label == mention.label and m.status == "negated"]
    taken_back = any(_TAKEN_BACK.match(normalized.text, m.end) for m in same)
    if (
        taken_back
        or is_negated(normalized.last, 0)
        or is_negated(normalized.text, mention.tail, others, repeats=same_label)
    ):
        return Parsed(None, "off_format", "not_asserted")
    if rule != "cue" and verdicts and contrasts(normalized.text, mention.tail, weak=True):
        return Parsed(None, "off_format", "not_asserted")
    if not mention.candidate.short and _VALUE.match(normalized.text, mention.tail):
        return Parsed(None, "off_format", "not_asserted")
    if introduces_wrong_answers(normalized.text, mention.start):
        return Parsed(None, "off_format", "not_asserted")
    return _recovered(normalized, mention, rule)


def _recovered(normalized: NormalizedText, mention: Mention, rule: str) -> Parsed:
    return Parsed(mention.label, "recovered", rule, normalized.span(mention.start, mention.end))
