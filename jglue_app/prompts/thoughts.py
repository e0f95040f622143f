"""Where an output thinks and where it answers. No I/O.

Models mark their thoughts in many spellings. Most are a tag whose name says so (`<think>`, `[THINK]`, `<seed:think>`,
`◁think▷`, `<|START_THINKING|>`) and are found by that; the others stand in `FAMILIES`. The channels of gpt-oss
(harmony) are read on their own, and so are roles such as `assistant/think`. A mark in quotation marks is spoken of, and
marks nothing. Tags that say how much is to be thought, or that nothing is (`<no_think>`), are no marks either.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from jglue_app.types import Output, Prompt

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
    """Where the answer begins; None if the thought never ends. Where there is no thought, 0, or behind tags such as
    `<no_think>` that the text begins with."""
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
    opening: str = ""
    """Regular expression of the opening mark in all its spellings; empty for `opens` alone."""
    closing: str = ""
    """The same of the closing marks."""


_HERE = r"(?:\*\*)?Here(?: is|['’]s) my"
_HEADING = r"(?m:^)[ \t]{0,3}#{2,3}[ \t]+"

FAMILIES = {
    "gemma": _Family("<|channel>thought", ("<channel|>",)),
    "medgemma": _Family("<unused94>thought", ("<unused95>",)),
    "apertus": _Family("<|inner_prefix|>", ("<|inner_suffix|>",)),
    "granite": _Family(
        "Here is my thought process:",
        ("Here is my response:",),
        alone=False,
        opening=rf"{_HERE} thought process:(?:\*\*)?",
        closing=rf"{_HERE} (?:final )?response:(?:\*\*)?",
    ),
    "apriel": _Family("Here are my reasoning steps:", ("[BEGIN FINAL RESPONSE]",)),
    "huatuo": _Family(
        "## Thinking",
        ("## Final Response",),
        opening=rf"{_HEADING}Thinking[ \t]*(?=\n|\Z)",
        closing=rf"{_HEADING}(?:Final (?:Response|Answer)|(?:Response|Answer|最終回答|回答|答え|結論)[ \t]*(?=\n|\Z))",
    ),
    "solar": _Family("<|think|>", ("<|end|>", "<|content|>"), alone=False),
}
"""Of Gemma 4, MedGemma, Apertus, Granite 3.2, Apriel, HuatuoGPT-o1 and Solar Open."""

_NAME = r"(?:[a-z][a-z_:.\-]{0,23}?)?(?:think|thought|reason)[a-z_:\-]{0,16}"
_OTHER_NAMES = r"(?:scratchpad|reflection|analysis|deliberation|inner_monologue|cot)|思考(?:過程|过程|プロセス)?"
"""In angle brackets alone: in others they are headings of an answer."""
_ATTRIBUTE = r"[ \t]+[a-z][\w:.\-]{0,23}[ \t]?=[^<>\n]{0,80}?"
_TAG = (
    r"(?P<bracket>(?P<angle><(?!\|)|＜|‹)|<\||\[|◁)(?(angle)[ \t]{0,2})(?P<slash>(?:\\?/)?)(?(angle)[ \t]{0,2})"
    rf"(?P<name>(?(angle)(?:{_NAME}|{_OTHER_NAMES})|{_NAME}))(?(angle)(?:{_ATTRIBUTE})?)"
    r"\s{0,4}(?P<empty>/?)(?:\|?>|＞|›|\]|▷)"
)
_AGAINST = (
    r"(?:[a-z]+[_:\-])?(?:no|non|not|without|skip|disabled?)[_\-]?(?:think|thought|reason).*|.*[_:\-](?:off|disabled)"
)
_SETTING = re.compile(
    rf"{_AGAINST}|.*[_:\-](?:on|auto|effort|budget|mode|level|enabled|length|style|type)",
    re.IGNORECASE,
)
"""Names of tags that say whether and how much is to be thought: no thought follows from these alone."""
_MARK = re.compile(
    "|".join(
        [
            *(f"(?P<open_{name}>{f.opening or re.escape(f.opens)})" for name, f in FAMILIES.items()),
            *(f"(?P<close_{name}>{f.closing or '|'.join(map(re.escape, f.closes))})" for name, f in FAMILIES.items()),
            _TAG,
        ]
    ),
    re.IGNORECASE,
)
_CANDIDATE = re.compile(r"[<＜‹\[◁Hh#*]")
"""What marks begin with: a search for one character is fast."""
_SAME_BRACKET = {"＜": "<", "‹": "<"}
_ANY_TAG = re.compile(r"<(?P<name>[^\W\d][\w:.\-]{0,40})>")
_NO_THOUGHT = {
    *("assistant", "model", "bot", "ai", "gpt", "agent", "user", "human", "system", "role", "speaker"),
    *("answer", "response", "reply", "output", "result", "solution", "final", "label", "回答", "答え", "応答"),
    *("turn", "start", "begin", "end", "bos", "eos", "eot", "eom", "sep", "unk", "pad", "mask", "chat", "im"),
    *("message", "json", "code", "text", "content", "target", "completion", "instruction", "inst", "summary", "tool"),
}
"""Words in the names of tags at the end of a chat prompt that open a turn or an answer."""

_SETTING_FIRST = re.compile(rf"\s*(?:{_TAG}|/no_?think(?![a-z_]))", re.IGNORECASE)

_ROLE = re.compile(
    r"(?:(?P<head><\|[a-z_]{1,24}\|>)(?:assistant/)?|assistant/)(?:think|thinking|thought|reasoning)[ \t]*(?=\n|\Z)"
)
_ROLE_WRITTEN = re.compile(rf"\s*(?:{_ROLE.pattern}|/think[ \t]*(?=\n|\Z))")
"""As a model begins that is left to name its role itself, and as that reads without special tokens."""
_ROLE_CLOSE = re.compile(
    r"(?:<\|[a-z_]{1,24}\|>\s{0,2})?<\|[a-z_]{1,24}\|>assistant[ \t]*\n|(?:(?<=\n)|\A)assistant[ \t]*\n"
)
_TURN_END = re.compile(r"<\|(?:im_end|im_start|endofturn|stop)\|>")
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
_BARE_ANALYSIS = re.compile(r"\s*analysis(?=[A-Z\u3041-\u30ff\u3400-\u9fff「『])(?!の|を|に|は|が|で|結果)")
"""A channel and its text without the special tokens between them; not the word in a Japanese sentence."""
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
    special = _channels(text, opened) or _roles(text, opened)
    if special is not None:
        return special
    if is_open(opened) and _family_of(opened) is None:
        return _of_unknown(text, opened)
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
    if answer is None and began is not None and (other := _other_closing(text, began, inside, mark)):
        answer, end = other, len(text)
    if answer is None:
        return Split(None, end, began, mark)
    if later is not None:
        # What follows the answer is left out; it may be all the thought there is.
        return Split(answer, later, began if answer else None, mark if answer else "", breaks_off=True)
    if began is None:
        return Split(_behind_settings(text), end)
    if end < len(text):
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
    if family == "role":
        return ("<|im_end|>\n<|im_start|>assistant\n", "\nassistant\n")
    tag = re.fullmatch(_TAG, mark, re.IGNORECASE)
    if not tag:
        plain_tag = _ANY_TAG.fullmatch(mark)
        return (f"</{plain_tag['name']}>",) if plain_tag and is_open(mark) else ()
    if tag["empty"] or tag["slash"] or _is_setting(tag):
        return ()
    name = tag["name"]
    for before, after in (("start_", "end_"), ("begin_", "end_")):
        if name.lower().startswith(before):
            other = after.upper() if name[0].isupper() else after
            return (mark.replace(name, other + name[len(before) :]),)
    if name.lower().endswith("_start"):
        return (mark.replace(name, name[: -len("start")] + ("END" if name.isupper() else "end")),)
    if not tag["angle"]:
        return (mark.replace(name, f"/{name}"),)
    standard, same_bracket = f"</{name}>", f"{tag['bracket']}/{name}{mark[-1]}"
    return (standard,) if same_bracket == standard else (same_bracket, standard)


def opener_of(text: str) -> tuple[str, str] | None:
    """The marks (opening, closing) of a thought that a text closes and has not opened; None if there is no such.

    Such texts are what models write whose prompt has opened their thought.
    """
    parts = split(text)
    if not parts.answer or parts.mark:
        return None
    event = next((e for e in _events(text) if e.closes and e.alone), None)
    if event is None:
        return None
    closing = text[event.start : event.end].strip()
    if event.family in FAMILIES:
        return FAMILIES[event.family].opens, closing
    tag = re.fullmatch(_TAG, closing, re.IGNORECASE)
    if tag is None:
        return None
    name = tag["name"]
    for before, after in (("end_of_", "begin_of_"), ("end_", "start_")):
        if name.lower().startswith(before):
            other = after.upper() if name[0].isupper() else after
            return closing.replace(name, other + name[len(before) :]), closing
    if name.lower().endswith("_end"):
        return closing.replace(name, name[:-3] + ("START" if name.isupper() else "start")), closing
    return closing.replace(tag["slash"] + name, name) if tag["slash"] else closing, closing


# --- prompts --------------------------------------------------------------------------------------------


def left_open(text: str, question: str = "") -> str:
    """The mark that the end of a prompt leaves open, as it is written there; empty if none.

    Args:
        text: the whole prompt.
        question: the end of the question. A thought counts if it is opened behind it, whatever has been written in it
            since; without it, if its mark is the last of the prompt.
    """
    tail, has_question = _behind(text, question), bool(question.strip()) and question.strip() in text
    if text.rstrip().endswith(FRAME) and "<|message|>" in text:
        return FRAME
    roles = [m for m in _ROLE.finditer(tail) if not _ROLE_CLOSE.search(tail, m.end())]
    if roles and (has_question or not tail[roles[-1].end() :].strip()):
        return roles[-1][0].strip()
    channel = [m for m in _CHANNEL.finditer(tail) if not _MESSAGE_END.search(tail, m.end())]
    if channel:
        return "" if channel[-1]["channel"] == "final" else _ANALYSIS
    stack: list[_Event] = []
    for event in _events(tail):
        if not event.closes:
            stack.append(event)
        elif stack:
            stack.pop()
    if not stack or (not has_question and tail[stack[-1].end :].strip()):
        return ""
    event = stack[0] if has_question else stack[-1]
    return tail[event.start : event.end]


def has_thought_mark(text: str, question: str) -> bool:
    """Whether any mark of a thought or of its channel stands behind the question, open or closed, or a tag that
    says not to think."""
    tail = _behind(text, question)
    if _CHANNEL.search(tail) or _ROLE.search(tail) or next(_events(tail), None) is not None:
        return True
    tags = re.finditer(_TAG, tail, re.IGNORECASE)
    return any(re.fullmatch(_AGAINST, tag["name"], re.IGNORECASE) for tag in tags)


def opened_otherwise(text: str, off: str, question: str) -> str:
    """What the end of a chat template opens that is no mark known here; empty if nothing.

    It is what the prompt ends with and its form without thinking does not, or a tag of any name that is left open and
    names neither a role nor an answer. How a thought ends that a tag has opened can be told, see `closings`; of others
    it cannot.

    Args:
        text: the whole prompt.
        off: the same as the template renders it without thinking; equal to it where that was asked for.
        question: the end of the question.
    """
    if left_open(text, question) or has_thought_mark(text, question):
        return ""
    tail = _behind(text, question)
    added = _added(tail, _behind(off, question)).strip()
    added = re.sub(r"<([^\W\d][\w:.\-]{0,40})>.*?</\1>", "", added, flags=re.DOTALL).strip()
    settings = re.compile(_TAG, re.IGNORECASE)
    added = settings.sub(lambda tag: "" if _is_setting(tag) else tag[0], added).strip()
    ends = re.search(_ANY_TAG.pattern + r"\s*\Z", added or tail)
    if ends:
        if _SETTING.fullmatch(ends["name"]):
            return ""
        named = set(re.split(r"[_:.\-]+", ends["name"].lower()))
        # Tokens such as <reserved_107> are numbered, and <s> and the like are short.
        is_turn_tag = named & _NO_THOUGHT or any(part.isdigit() for part in named) or ends["name"][-1].isdigit()
        return "" if is_turn_tag or len(ends["name"]) < 2 else f"<{ends['name']}>"
    return added.splitlines()[-1].strip() if added else ""


def _added(tail: str, off: str) -> str:
    """The end of a text that the end of another lacks; empty if both end alike but for what stands further up."""
    start = next((i for i, (a, b) in enumerate(zip(tail, off, strict=False)) if a != b), min(len(tail), len(off)))
    # A tag is not cut.
    opened = tail.rfind("<", 0, start)
    if opened >= 0 and ">" not in tail[opened:start]:
        start = opened
    tail_rest, off_rest = tail[start:], off[start:]
    same = next((i for i, (a, b) in enumerate(zip(tail_rest[::-1], off_rest[::-1], strict=False)) if a != b), None)
    if same is None:
        same = min(len(tail_rest), len(off_rest))
        if same == len(tail_rest):
            return ""  # What is new stands in the other.
    shared = tail_rest[len(tail_rest) - same :]
    return "" if re.sub(r"^[\w|]*[>\]]?", "", shared).strip() else tail_rest


def _behind(text: str, question: str) -> str:
    """The prompt behind the question; its last line or so where that is not found."""
    at = text.rfind(question.strip()) if question.strip() else -1
    return text[at + len(question.strip()) :] if at >= 0 else text[-_TAIL:]


def closed(text: str, mark: str) -> str:
    """A prompt with the thought closed that its end has opened, as templates of that family write an empty one.

    It is unchanged if the mark opens nothing whose end is known.
    """
    if mark == FRAME:
        return text.rstrip() + _FINAL
    if not closings(mark):
        return text
    family, end = _family_of(mark), closings(mark)[0]
    if family == "harmony":
        return text.rstrip() + "<|end|>" + FRAME + _FINAL
    bare = text.rstrip()
    if family == "role":
        return f"{bare}\n{end}"
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
    if is_open(prompt.thought) or prompt.thought == FRAME or prompt.thinking:
        return False  # A server that is told nothing of thinking is refused such a run.
    # Answers are ranked after the template's form without thinking, which is stored where it is another text.
    return prompt.messages is None or not prompt.ranked_text


def cut_in_thought(output: Output) -> bool:
    """Whether a thought that a server gives apart from the text took all tokens, so that there is no answer."""
    thinks = bool(output.reasoning or output.reasoning_tokens)
    return thinks and output.finish == "length" and not (output.text or "").strip()


def may_follow(prompt: Prompt, thinking: str) -> bool:
    """Whether a thought is to be expected in the output of a prompt, made with this word for thinking."""
    if is_open(prompt.thought) or prompt.thought == FRAME:
        return True
    if thinking == "on":
        return not is_ignored(prompt)
    # What a template does by default cannot be told where it leaves the thought to the model.
    return thinking == "default" and prompt.thought == FREE


def kept_tokens(special: Iterable[str], opened: str = "") -> frozenset[str]:
    """Of the texts of a tokenizer's special tokens those that mark thoughts or answers, which raw text must keep.

    Args:
        special: texts of all its special tokens.
        opened: what its chat template opens with thinking; where that is a role, the marks of turns are kept.
    """
    all_ = set(special)
    tags = {text: re.fullmatch(_TAG, text, re.IGNORECASE) for text in all_}
    kept = {text for text, tag in tags.items() if tag and not _is_setting(tag) and text != "<|think|>"}
    kept |= turn_tokens(opened) & all_
    pairs = [
        ("<|channel>", "<channel|>"),
        ("<|inner_prefix|>", "<|inner_suffix|>"),
        ("<unused94>", "<unused95>"),
        *((opens, closes) for opens, closes in _WRAPPERS if closes not in ("", "<|end|>")),
    ]
    kept |= {text for pair in pairs if set(pair) <= all_ for text in pair}
    if {"<|channel|>", "<|message|>"} <= all_:
        kept |= {"<|channel|>", "<|message|>", "<|start|>", "<|end|>", "<|constrain|>"} & all_
    if {"<|think|>", "<|content|>"} <= all_:
        kept |= {"<|think|>", "<|content|>", "<|begin|>", "<|end|>"} & all_
    kept |= {"[BEGIN FINAL RESPONSE]", "[END FINAL RESPONSE]"} & all_
    return frozenset(kept)


def turn_tokens(opened: str) -> frozenset[str]:
    """The tokens that begin and end turns, where a thought is a turn of a role of its own; else none."""
    role = _ROLE.fullmatch(opened)
    if not role or not role["head"]:
        return frozenset()
    return frozenset({role["head"], role["head"].replace("start", "end")})


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
        match = _MARK.match(text, candidate.start()) if candidate.start() >= reached else None
        if not match:
            continue
        start, reached = match.span()
        end = reached
        before, after = text[start - 1 : start], text[end : end + 1]
        if before in _QUOTES and _QUOTES[before] == after:
            continue
        if match["name"] is not None:
            if _is_setting(match):
                continue
            if not match["slash"] and text[start + 1].isspace() and not _opens_a_line(text, start):
                continue  # A comparison, rather.
            bracket = _SAME_BRACKET.get(match["bracket"], match["bracket"])
            closes = bool(match["slash"]) or _CLOSING_NAME.match(match["name"]) is not None
            yield _Event(start, end, bracket, closes, True)
            if match["empty"] and not closes:  # A thought without anything in it.
                yield _Event(start, end, bracket, True, True)
            continue
        role, _, family = str(match.lastgroup).partition("_")
        alone = FAMILIES[family].alone and (family != "huatuo" or "final response" in match[0].lower())
        yield _Event(start, end, family, role == "close", alone)


def _is_setting(tag: re.Match[str]) -> bool:
    """Whether a tag says how much is to be thought, and opens and closes nothing."""
    return _SETTING.fullmatch(tag["name"]) is not None


def _family_of(mark: str) -> str | None:
    """The family of an opening mark; None for what opens nothing."""
    if not is_open(mark):
        return None
    if mark.startswith("<|channel|>"):
        return "harmony"
    if _ROLE.fullmatch(mark) or mark == "/think":
        return "role"
    event = next(_events(mark), None)
    return event.family if event and not event.closes else None


def _behind_settings(text: str) -> int:
    """Where a text goes on behind tags that say how much is to be thought; 0 if it begins with none."""
    at = 0
    while tag := _SETTING_FIRST.match(text, at):
        if tag["name"] is not None and not _is_setting(tag):
            break
        at = tag.end()
        if tag["name"] and not tag["slash"]:
            pair = re.compile(rf"[^<\n]{{0,40}}</{re.escape(tag['name'])}>").match(text, at)
            at = pair.end() if pair else at
    return at


def _first_ink(text: str, start: int) -> int:
    """The first character from here on that is no white space; the text's end if there is none."""
    match = _INK.search(text, start)
    return match.start() if match else len(text)


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
    channels = list(_CHANNEL.finditer(text)) if framed or text.startswith(("<|channel|>", FRAME), start) else []
    final = next((m for m in channels if m["channel"] == "final"), None)
    if channels:
        began = None if final and final is channels[0] and opened == FRAME else 0
        if final is None:
            return Split(None, len(text), began, opened or _ANALYSIS)
        end = _MESSAGE_END.search(text, final.end())
        return Split(final.end(), end.start() if end else len(text), began, "" if began is None else _ANALYSIS)
    thinks = _BARE_THOUGHT.match(text) is not None
    at = text.find("assistantfinal") if framed or thinks else -1
    if at >= 0:
        return Split(at + len("assistantfinal"), len(text), 0, _ANALYSIS)
    if not framed:
        bare_thought = not is_open(opened) and _BARE_ANALYSIS.match(text)
        return Split(None, len(text), start, _ANALYSIS) if bare_thought else None
    if opened == FRAME and not thinks:
        bare = _BARE_FINAL.match(text)
        return Split(bare.end() if bare else 0, len(text))
    return Split(None, len(text), 0, _ANALYSIS)


def _roles(text: str, opened: str) -> Split | None:
    """An output whose thought is a turn of a role of its own; None for any other. The answer is the next turn."""
    inside = _family_of(opened) == "role"
    role = _ROLE_WRITTEN.match(text)
    if not inside:
        if not role or is_open(opened):
            return None
        event = next(_events(text), None)
        if event and event.start == _first_ink(text, role.end()):
            return None  # The thought has a mark of its own.
    mark = opened if inside else text[: role.end()].strip() if role else ""
    began = 0 if inside else _first_ink(text, 0)
    closing = _ROLE_CLOSE.search(text, role.end() if role else 0)
    if not closing:
        return Split(None, len(text), began, mark)
    end = _TURN_END.search(text, closing.end())
    return Split(closing.end(), end.start() if end else len(text), began, mark)


def _of_unknown(text: str, opened: str) -> Split:
    """An output behind something open that is no mark known here.

    The end of a tag is known by its name. For any other, a known mark may tell; without one nothing is an answer.
    """
    for closing in closings(opened):
        at = text.rfind(closing)
        if at >= 0:
            return Split(at + len(closing), len(text), 0, opened)
    parts = split(text) if not closings(opened) else None
    if parts is None or parts.opened is None:
        return Split(None, len(text), 0, opened)
    return parts


def _other_closing(text: str, began: int, inside: str | None, mark: str) -> int | None:
    """The end of a mark that closes a thought in other brackets than those that have opened it, if it is the only
    one; None else."""
    name = _name_of(mark)
    if name is None:
        return None
    closing = [event for event in _events(text) if event.closes and event.start >= began]
    if len(closing) != 1 or closing[0].family == inside or _name_of(text[closing[0].start : closing[0].end]) != name:
        return None
    return closing[0].end


def _name_of(mark: str) -> str | None:
    """The name in a tag, in small letters; None for any other mark."""
    tag = re.fullmatch(_TAG, mark, re.IGNORECASE)
    return tag["name"].lower() if tag else None
