"""Where an output thinks and where it answers. Pure.

Models mark their thoughts in many spellings. Most are a tag whose name says so (`<think>`, `[THINK]`, `<seed:think>`,
`◁think▷`, `<|START_THINKING|>`) and are found by that; the others stand in `FAMILIES`. The channels of gpt-oss
(harmony) are read on their own. A mark in quotation marks is spoken of, and marks nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from jglue_app.types import Prompt

THINKING = ("off", "on", "default")
"""How a chat template is asked about thinking; `default` passes it nothing."""
FREE = "free"
"""In the place of a mark: the prompt opens no thought, and the model may write one before it answers."""
FRAME = "<|start|>assistant"
"""In the place of a mark: the prompt ends where a message of harmony begins, whose channel the model names."""
UNFINISHED: Literal["unfinished_thought"] = "unfinished_thought"
"""Status, outcome and rule of an output that never ends its thought."""


class Closing(str):
    """A stop string that closes a thought: unlike others it stays in the output, so that the text is whole."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Split:
    """A raw output in its parts, as character positions."""

    answer: int | None
    """Where the answer begins; None if the thought never ends. 0 where there is no thought."""
    end: int
    """Where the answer ends: before the mark that closes it, or before a later thought, or with the text."""
    opened: int | None = None
    """Where the thought begins, its mark included; None where there is none."""
    mark: str = ""
    """The mark that opened the thought, as it was written or as the prompt opened it."""
    breaks_off: bool = False
    """Whether a thought that never ends follows what may be the answer."""

    @property
    def unfinished(self) -> bool:
        """Whether the output ends within its thought."""
        return self.answer is None


@dataclass(frozen=True, slots=True)
class _Family:
    """Marks that belong together and whose names do not follow the rule of the tags."""

    opens: str
    closes: tuple[str, ...]
    alone: bool = True
    """Whether a closing mark without an opening one says that all before it was thought."""


FAMILIES = {
    "gemma": _Family("<|channel>thought", ("<channel|>",)),
    "medgemma": _Family("<unused94>thought", ("<unused95>",)),
    "apertus": _Family("<|inner_prefix|>", ("<|inner_suffix|>",)),
    "granite": _Family("Here is my thought process:", ("Here is my response:",), alone=False),
    "apriel": _Family("Here are my reasoning steps:", ("[BEGIN FINAL RESPONSE]",)),
    "solar": _Family("<|think|>", ("<|end|>", "<|content|>"), alone=False),
}
"""Of Gemma 4, MedGemma, Apertus, Granite 3.2, Apriel and Solar Open."""

_NAME = r"(?:[a-z][a-z_:.\-]{0,23}?)?(?:think|thought|reason)[a-z_]{0,12}"
_OTHER_NAMES = r"(?:scratchpad|reflection|analysis|deliberation|inner_monologue|cot)"
"""In angle brackets alone: in others they are headings of an answer."""
_NAMES = rf"{_NAME}|(?<=<){_OTHER_NAMES}|(?<=</){_OTHER_NAMES}"
_TAG = rf"(?P<bracket><\|?|＜|\[|◁)(?P<slash>/?)(?P<name>{_NAMES})[ \t]{{0,4}}(?:\|?>|＞|\]|▷)"
_MARK = re.compile(
    "|".join(
        [
            *(f"(?P<open_{name}>{re.escape(f.opens)})" for name, f in FAMILIES.items()),
            *(f"(?P<close_{name}>{'|'.join(map(re.escape, f.closes))})" for name, f in FAMILIES.items()),
            _TAG,
        ]
    ),
    re.IGNORECASE,
)
_CANDIDATE = re.compile(r"[<＜\[◁Hh]")
"""What marks begin with: a search for one character is fast."""
_CLOSING_NAME = re.compile(r"end_|end_of_|.*_(?:end|suffix)$", re.IGNORECASE)
_QUOTES = {"「": "」", "『": "』", "“": "”", "‘": "’", '"': '"', "'": "'", "`": "`"}
_INK = re.compile(r"\S")
_WRAPPERS = (
    ("<answer>", "</answer>"),
    ("<response>", "</response>"),
    ("<|START_RESPONSE|>", "<|END_RESPONSE|>"),
    ("<|START_TEXT|>", "<|END_TEXT|>"),
    ("<|begin_of_solution|>", "<|end_of_solution|>"),
    ("<|answer_prefix|>", "<|answer_suffix|>"),
    ("<|begin|>assistant<|content|>", "<|end|>"),
    ("<|content|>", "<|end|>"),
    ("[BEGIN FINAL RESPONSE]", "[END FINAL RESPONSE]"),
    ("Here is my response:", ""),
)
"""What some models put around the answer that follows a thought."""
_CLOSERS = {"apriel": "[END FINAL RESPONSE]", "solar": "<|end|>"}
"""Family whose closing mark opens the answer → what closes that."""

_CHANNEL = re.compile(r"<\|channel\|>\s*(?P<channel>[a-z]+)[^<]{0,200}(?:<\|constrain\|>[^<]{0,100})?<\|message\|>")
_MESSAGE_END = re.compile(r"<\|(?:end|start|channel|return|call)\|>")
_BARE_THOUGHT = re.compile(r"\s*(?:analysis|commentary)")
_BARE_FINAL = re.compile(r"\s*final(?![a-z ])")
_ANALYSIS = "<|channel|>analysis<|message|>"
_FINAL = "<|channel|>final<|message|>"
_TAIL = 400
"""Characters at the end of a prompt that are looked at where the question's end is not known."""


# --- outputs --------------------------------------------------------------------------------------------


def split(text: str, opened: str = "") -> Split:
    """Tell thought and answer apart.

    The answer follows the mark that closes the thought; where several do, the last one. Thoughts within thoughts are
    counted. Of text before a first thought, or between two, nothing is the answer if a thought follows that ends.

    Args:
        text: a raw output, decoded with or without its special tokens.
        opened: the mark that the end of the prompt has left open; `FRAME`, `FREE` or empty for none.
    """
    channels = _channels(text, opened)
    if channels is not None:
        return channels
    start = _first_ink(text, 0)
    inside = _family_of(opened)
    depth = 1 if inside else 0
    answer: int | None = None if inside else 0
    began: int | None = 0 if inside else None
    mark = opened if inside else ""
    end = len(text)
    later: int | None = None  # Where a thought opened behind what may be the answer.
    for event in _events(text):
        if depth and event.family == inside:
            if not event.closes:
                # A model that writes the mark which its prompt has opened already has opened it once.
                depth += 0 if opened and event.start == start and began == 0 else 1
                continue
            depth -= 1
            if depth:
                continue
            if later is not None and _first_ink(text, event.end) == len(text):
                end = later  # It follows the answer, and nothing follows it.
            else:
                answer = event.end
            later = None
        elif depth:
            continue
        elif event.closes and event.alone:
            began = 0 if began is None else began
            answer = event.end
        elif not event.closes:
            if _first_ink(text, answer or 0) == event.start:
                answer = None
            elif began is None or _opens_a_line(text, event.start):
                later = event.start
            else:
                continue  # Spoken of within a line.
            began = event.start if began is None else began
            mark = mark or text[event.start : event.end]
            inside, depth = event.family, 1
    if answer is None:
        return Split(None, end, began, mark)
    if later is not None:
        # What follows the answer is left out; it may be all the thought there is.
        return Split(answer, later, began if answer else None, mark if answer else "", breaks_off=True)
    if began is None or end < len(text):
        return Split(answer, end, began if answer else None, mark if answer else "")
    answer, end = _unwrapped(text, answer, _CLOSERS.get(inside or "", ""))
    return Split(answer, end, began, mark)


def closings(mark: str) -> tuple[str, ...]:
    """The texts that end a thought which such a mark has opened; of channels, the one that opens the answer."""
    family = _family_of(mark)
    if family == "harmony" or mark == FRAME:
        return (_FINAL,)
    if family in FAMILIES:
        return FAMILIES[family].closes
    found = re.fullmatch(_TAG, mark, re.IGNORECASE)
    if not found:
        return ()
    name = found["name"]
    for before, after in (("start_", "end_"), ("begin_", "end_")):
        if name.lower().startswith(before):
            other = after.upper() if name[0].isupper() else after
            return (mark.replace(name, other + name[len(before) :]),)
    if name.lower().endswith("_start"):
        return (mark.replace(name, name[: -len("start")] + ("END" if name.isupper() else "end")),)
    return (mark.replace(name, f"/{name}"),)


# --- prompts --------------------------------------------------------------------------------------------


def left_open(text: str, asked: str = "") -> str:
    """The mark that the end of a prompt leaves open, as it is written there; empty if none.

    Args:
        text: the whole prompt.
        asked: the end of the question. A thought counts if it is opened behind it, whatever has been written in it
            since; without it, if its mark is the last of the prompt.
    """
    tail, found = _behind(text, asked), bool(asked.strip()) and asked.strip() in text
    if text.rstrip().endswith(FRAME) and "<|message|>" in text:
        return FRAME
    channel = [m for m in _CHANNEL.finditer(tail) if not _MESSAGE_END.search(tail, m.end())]
    if channel:
        return "" if channel[-1]["channel"] == "final" else _ANALYSIS
    stack: list[_Event] = []
    for event in _events(tail):
        if not event.closes:
            stack.append(event)
        elif stack:
            stack.pop()
    if not stack or (not found and tail[stack[-1].end :].strip()):
        return ""
    event = stack[0] if found else stack[-1]
    return tail[event.start : event.end]


def is_shown(text: str, asked: str) -> bool:
    """Whether any mark of a thought or of its channel stands behind the question, open or closed."""
    tail = _behind(text, asked)
    return next(_events(tail), None) is not None or _CHANNEL.search(tail) is not None


def _behind(text: str, asked: str) -> str:
    """The prompt behind the question; its last line or so where that is not found."""
    at = text.rfind(asked.strip()) if asked.strip() else -1
    return text[at + len(asked.strip()) :] if at >= 0 else text[-_TAIL:]


def closed(text: str, mark: str) -> str:
    """A prompt with the thought closed that its end has opened, as templates of that family write an empty one."""
    if mark == FRAME:
        return text.rstrip() + _FINAL
    family, end = _family_of(mark), closings(mark)[0]
    if family == "harmony":
        return text.rstrip() + "<|end|>" + FRAME + _FINAL
    bare = text.rstrip()
    if family in ("[", "◁", "medgemma", "apertus"):
        return bare + end
    if family == "gemma":
        return f"{bare}\n{end}"
    if family == "solar":
        return f"{bare}<|end|><|begin|>assistant<|content|>"
    if family in ("granite", "apriel"):
        return f"{bare}\n\n{end}\n"
    return f"{bare}\n\n{end}\n\n"


def is_open(mark: str) -> bool:
    """Whether it names a thought that the prompt has opened."""
    return mark not in ("", FREE, FRAME)


def is_ignored(prompt: Prompt) -> bool:
    """Whether thinking, asked for, has changed nothing in a prompt, by what is stored of it.

    The prompt has no chat template, or its template has no switch and gives the same text without thinking. Where the
    prompt opens a thought all the same, or its model opens one by itself, nothing is missing.
    """
    if is_open(prompt.thought) or prompt.thought == FRAME:
        return False
    # Answers are ranked after the template's form without thinking, which is stored where it is another text.
    return prompt.messages is None or not prompt.ranked_text


def may_follow(prompt: Prompt, thinking: str) -> bool:
    """Whether a thought is to be expected in the output of a prompt, made with this word for thinking."""
    if is_open(prompt.thought) or prompt.thought == FRAME:
        return True
    if thinking == "on":
        return not is_ignored(prompt)
    # What a template does by default cannot be told where it leaves the thought to the model.
    return thinking == "default" and prompt.thought == FREE


def kept_tokens(special: Iterable[str]) -> frozenset[str]:
    """Of the texts of a tokenizer's special tokens those that mark thoughts or answers, which raw text must keep."""
    all_ = set(special)
    found = {text for text in all_ if re.fullmatch(_TAG, text, re.IGNORECASE) and text != "<|think|>"}
    pairs = [
        ("<|channel>", "<channel|>"),
        ("<|inner_prefix|>", "<|inner_suffix|>"),
        ("<unused94>", "<unused95>"),
        *((opens, closes) for opens, closes in _WRAPPERS if closes not in ("", "<|end|>")),
    ]
    found |= {text for pair in pairs if set(pair) <= all_ for text in pair}
    if {"<|channel|>", "<|message|>"} <= all_:
        found |= {"<|channel|>", "<|message|>", "<|start|>", "<|end|>", "<|constrain|>"} & all_
    if {"<|think|>", "<|content|>"} <= all_:
        found |= {"<|think|>", "<|content|>", "<|begin|>", "<|end|>"} & all_
    found |= {"[BEGIN FINAL RESPONSE]", "[END FINAL RESPONSE]"} & all_
    return frozenset(found)


# --- marks ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Event:
    start: int
    end: int
    family: str
    """A key of `FAMILIES`, or the bracket of a tag."""
    closes: bool
    alone: bool


def _events(text: str) -> Iterator[_Event]:
    """The marks of thoughts in a text, but for those that are quoted."""
    reached = 0
    for candidate in _CANDIDATE.finditer(text):
        found = _MARK.match(text, candidate.start()) if candidate.start() >= reached else None
        if not found:
            continue
        start, reached = found.span()
        end = reached
        before, after = text[start - 1 : start], text[end : end + 1]
        if before in _QUOTES and _QUOTES[before] == after:
            continue
        if found["name"] is not None:
            closes = bool(found["slash"]) or _CLOSING_NAME.match(found["name"]) is not None
            yield _Event(start, end, found["bracket"], closes, True)
            continue
        role, _, family = str(found.lastgroup).partition("_")
        yield _Event(start, end, family, role == "close", FAMILIES[family].alone)


def _family_of(mark: str) -> str | None:
    """The family of an opening mark; None for what opens nothing."""
    if not is_open(mark):
        return None
    if mark.startswith("<|channel|>"):
        return "harmony"
    event = next(_events(mark), None)
    return event.family if event and not event.closes else None


def _first_ink(text: str, start: int) -> int:
    """The first character from here on that is no white space; the text's end if there is none."""
    found = _INK.search(text, start)
    return found.start() if found else len(text)


def _opens_a_line(text: str, start: int) -> bool:
    line = text.rfind("\n", 0, start) + 1
    return not text[line:start].strip()


def _unwrapped(text: str, start: int, closer: str) -> tuple[int, int]:
    """The answer behind a thought without the marks that some models put around it."""
    at = _first_ink(text, start)
    for opens, closes in _WRAPPERS:
        if text[at : at + len(opens)].lower() == opens.lower():
            start, closer = at + len(opens), closes
            break
    end = text.rfind(closer, start) if closer else -1
    return start, end if end >= 0 else len(text)


def _channels(text: str, opened: str) -> Split | None:
    """An output in harmony's channels; None for any other. Their marks are missing where special tokens were left out:
    `analysis…assistantfinal…`."""
    framed = opened == FRAME or _family_of(opened) == "harmony"
    start = _first_ink(text, 0)
    found = list(_CHANNEL.finditer(text)) if framed or text.startswith(("<|channel|>", FRAME), start) else []
    final = next((m for m in found if m["channel"] == "final"), None)
    if found:
        began = None if final and final is found[0] and opened == FRAME else 0
        if final is None:
            return Split(None, len(text), began, opened or _ANALYSIS)
        end = _MESSAGE_END.search(text, final.end())
        return Split(final.end(), end.start() if end else len(text), began, "" if began is None else _ANALYSIS)
    thinks = _BARE_THOUGHT.match(text) is not None
    at = text.find("assistantfinal") if framed or thinks else -1
    if at >= 0:
        return Split(at + len("assistantfinal"), len(text), 0, _ANALYSIS)
    if not framed:
        return None
    if opened == FRAME and not thinks:
        bare = _BARE_FINAL.match(text)
        return Split(bare.end() if bare else 0, len(text))
    return Split(None, len(text), 0, _ANALYSIS)
