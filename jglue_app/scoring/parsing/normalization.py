"""How any raw output is looked at before something is read from it: what the readers in `parsing` share. No I/O.

Three things stand between a text and its answer. Width and case: they are folded, each character knowing where it came
from. A thought before the answer, in whatever marks (see `thought`): left out. A next question after it, which base
models like to write: left out too, for its answer is not the answer to ours.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

from jglue_app.prompts import thoughts
from jglue_app.scoring.types import Parsed

MAX_CHARS = 4_000
"""Characters a lenient reading looks at."""

INVISIBLE = (
    "\u200b\u200c\u200d\u200e\u200f\u2060\u2061\u2062\u2063\u2064\ufeff\u00ad\u034f\u061c\u180e"
    "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
)
"""Characters that take no room and say nothing in a text in Japanese or English."""
DEGENERATE_CHARS = "\ud800-\udfff\ufffd\x00-\x08\x0e-\x1b\x7f"
"""What broken bytes leave behind, as the inside of a character class: it says nothing."""
MAX_LAST = 200
"""Characters at the end of a longer text that are searched for a denial of its answer."""

OPENERS = "「『“‟„\"'‘‛‚(（[【<〈《{〝〘〚〖〔⦅«‹❝❮*#_`・•→⇒-–— \t\n\r\u3000"
CLOSERS = "」』”\"'’)）]】>〉》}〞〟〙〛〗〕⦆»›❞❯*_`。．.!！:：… \t\n\r\u3000"
KANJI_DIGITS = {"〇": "0", "零": "0", "一": "1", "二": "2", "三": "3", "四": "4", "五": "5"}

_INSIDE_WORD = r"(?<![不無非未誤])(?<![一-鿿ァ-ヺ](?<!最終|総合|模範|解説|関係|選択|択肢|感情))"
_ANY_CUE = r"答え?|正答|こたえ|回答|解答|正解|結論|評価|判定|判断|応答|出力|結果|システム|アシスタント"
_ANY_CUE_EN = r"answer|label|relationship|sentiment|response|assistant|output|verdict|prediction|result"
_CHOICE_CUE = r"関係|分類|番号|記号|ラベル|感情|気持ち|語句|言えること|抜き出し|選択"
_SCORE_CUE = r"近さ|類似度(?:スコア)?|類似性|スコア|点数|(?<![ぁ-ん])点|評点|評価点|得点|評価値"
_ANNOUNCED = (
    r"(?:[\"'*_`)」]*\s*(?:(?:は|が)\s*[:=→⇒]?|[:=→⇒]+|(?:is|would be)\b\s*:?|(?=\n))|】)[、,]?\s*"
    r"|(?:したがって|従って|よって|ゆえに|結論として(?:は)?|以上(?:のこと)?(?:から|より)|\btherefore\b|\bthus\b|\bhence\b)"
    r"[、,]?\s*(?:(?:it|this|the \w+) is\s+)?"
)


def _cue(japanese: str, english: str, which: str) -> re.Pattern[str]:
    return re.compile(
        rf"(?:(?:{_INSIDE_WORD}(?:{japanese})値?|{which})|(?<![a-z])(?<!\w[\-_'])(?:{english})(?![a-z])){_ANNOUNCED}"
    )


_THE_RIGHT_ONE = r"(?:正しい|適切な|ふさわしい|当てはまる|適当な|正解(?:な|の))(?:の|もの|選択肢|番号|答え|記号|語)"
CUE = _cue(f"{_ANY_CUE}|{_CHOICE_CUE}", _ANY_CUE_EN, _THE_RIGHT_ONE)
"""What announces one of several labels, in folded text."""
SCORE_CUE = _cue(f"{_ANY_CUE}|{_SCORE_CUE}", f"{_ANY_CUE_EN}|score|rating|similarity", _THE_RIGHT_ONE)
"""What announces a number on a scale, in folded text."""

_BETWEEN = r"[\s、,・/|:;.>\-–—―‐−~〜&+%＋" + re.escape("」』”\"'’)]】〉》}*_`「『“‘([【<〈《{") + r"]{0,8}"
_LISTED = re.compile(
    rf"{_BETWEEN}(?:か|と|や|も|番?の|から|\bto\b|とも|でも|または|又は|もしくは|あるいは|それとも|および|\bor\b|\band\b|\bnor\b)?{_BETWEEN}"
)

_UNSEEN = "\u20e3\u034f\u115f\u1160\u3164\u2800♀♂✓✔☑✅○◯◎●★☆♪♫♥♡❤☺☻✨⭐"
_SIGNS = dict.fromkeys("❌❎🙅👎🚫⛔✖✕✗✘☓☒", "×") | dict.fromkeys("🤔🤷❓❔", "?") | dict.fromkeys("☐□", "×")
"""Signs that say no or ask; other emoji say nothing."""

NEXT_QUESTION = re.compile(
    r"^[ \u3000#*【\[・\-]*(?:(?:質問|問題|問い?|設問|例題?|例文|前提|仮説|レビュー|文章|本文|題名|文|一つ目|"
    r"はじめの文|指示|入力|ユーザー|user|human|question|q|premise|hypothesis|review|passage|context|sentence|input|instruction)"
    r"[ \u3000]*[0-9a-d]{0,2}[ \u3000]*[】\]*]*[ \u3000]*(?:[:.)】]|$)|(?:次|以下)の)",
    re.MULTILINE,
)


@dataclass(frozen=True, slots=True)
class Readings:
    """Both readings of one output."""

    strict: Parsed
    lenient: Parsed


@dataclass(frozen=True, slots=True)
class NormalizedText:
    """Text with width and case folded, each character knowing where in the raw text it came from."""

    text: str
    starts: tuple[int, ...]
    ends: tuple[int, ...]
    complete: bool
    """False if the answer may go on beyond the characters that were looked at."""
    last: str = ""
    """Of a text that is not complete, its last characters, folded."""

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Raw positions of a stretch of `text` that is not empty."""
        return self.starts[start], self.ends[end - 1]


def normalize_text(text: str) -> str:
    """A short text with width and case folded (NFKC, case folding), nothing invisible in it."""
    return "".join(char for char, _, _ in _fold_chars(text, 0))


def trimmed_span(text: str) -> tuple[int, int]:
    """Where the text stands without the white space around it."""
    start = len(text) - len(text.lstrip())
    return start, start + len(text.strip())


def unfinished() -> Readings:
    """The readings of an output that never ends its thought: nothing, whatever the thought holds."""
    nothing = Parsed(None, thoughts.UNFINISHED, thoughts.UNFINISHED)
    return Readings(nothing, nothing)


def strict_part(text: str, parts: thoughts.Split, thought: str) -> tuple[int, int]:
    """Where that part of a raw output stands which a strict reading looks at, without white space around it.

    It is the whole output, unless the prompt has opened a thought or left one to the model: then, what follows it.
    """
    if not thought or parts.answer is None:
        return trimmed_span(text)
    start, end = trimmed_span(text[parts.answer : parts.end])
    return parts.answer + start, parts.answer + end


def normalize_answer(text: str, parts: thoughts.Split) -> NormalizedText:
    """The part of a raw output that can hold the answer, folded; its thought, if it has one, has to be finished.

    It ends where a next question begins. An output that opens with a question repeats ours: there, it is the question
    after the first cue that ends it.
    """
    assert parts.answer is not None
    begin, limit = parts.answer, min(parts.end, len(text))
    chars = list(_fold_chars(text[begin : min(limit, begin + MAX_CHARS)], begin))
    normalized = "".join(char for char, _, _ in chars)
    end = _answer_end(normalized)
    used = chars[:end]
    complete = end < len(normalized) or begin + MAX_CHARS >= limit
    last = "" if complete else normalize_text(text[max(begin, limit - MAX_LAST) : limit])
    return NormalizedText(normalized[:end], tuple(s for _, s, _ in used), tuple(e for _, _, e in used), complete, last)


def skip(text: str, position: int, chars: str) -> int:
    """The first position from here on whose character is none of `chars`."""
    while position < len(text) and text[position] in chars:
        position += 1
    return position


_BAD_CUE = re.compile(
    r"(?:誤|間違|違|不正|正しくな|ではな|じゃな|以外|以前の|前回の|前の|先ほどの|最初の|彼の|彼女の|友人の|他人の|例[文題]の|例[:、,はで]|例えば|たとえば|ユーザーの|生徒の|学生の|例の|別の|他の|ほかの|次の|仮の|"
    r"旧|元の|最[大高低小]の?|平均の?|合計の?|満点の?|上限の?|下限の?|ありがちな|よくある|逆の|反対の|負の|ダミーの?|wrong|incorrect|false|bad|max|maximum|min|minimum|lowest|highest|top|average|mean|total|full|possible|previous|old|another|other|his|her|their|user's|example|sample|not\s+(?:the|an|a|my))"
    r"[^\n。.:]{0,8}$"
)


def cues(text: str, pattern: re.Pattern[str]) -> Iterator[re.Match[str]]:
    """The cues in folded text that announce the answer, and not a wrong one or somebody else's."""
    for cue in pattern.finditer(text):
        if not _BAD_CUE.search(text, max(0, cue.start() - 16), cue.start()):
            yield cue


def is_signed(text: str, start: int) -> bool:
    """Whether a sign before a number makes another one of it, or a comparison: <3, ±3, ~3."""
    before = text[max(0, start - 2) : start]
    return before.endswith(tuple("<≦≧≤≥±+~〜−–—―‐×^-")) or re.search(r"(?<![a-z|/\-_一-鿿])>$", before) is not None


def is_negated_by_sign(text: str, start: int) -> bool:
    """Whether a sign before a word negates it: ≠, ¬, and ! with nothing before it."""
    return re.search(r"[≠¬]\s?$|(?:^|\s)!$", text[max(0, start - 2) : start]) is not None


def is_listing(gap: str) -> bool:
    """Whether what stands between two words makes them entries of one list or alternative."""
    return len(gap) <= 20 and gap.count("\n") <= 2 and _LISTED.fullmatch(gap) is not None


def _answer_end(normalized: str) -> int:
    question = NEXT_QUESTION.search(normalized)
    if question and not normalized[: question.start()].strip():
        cue = CUE.search(normalized, question.end())
        question = NEXT_QUESTION.search(normalized, cue.end()) if cue else None
    return question.start() if question else len(normalized)


def _fold_chars(text: str, offset: int) -> Iterator[tuple[str, int, int]]:
    """Each folded character with the raw positions it stands for; voicing marks join the kana before them."""
    held: tuple[str, int, int] | None = None
    for position, char in enumerate(text, start=offset):
        if char.isascii():
            pieces = char.lower()
        elif char in _SIGNS:
            pieces = _SIGNS[char]
        elif _invisible(char):
            continue
        else:
            pieces = unicodedata.normalize("NFKC", char).casefold()
        for piece in pieces:
            joined = unicodedata.normalize("NFC", held[0] + piece) if held and piece in "\u3099\u309a" else ""
            if held and len(joined) == 1:
                held = (joined, held[1], position + 1)
                continue
            if held:
                yield held
            held = (piece, position, position + 1)
    if held:
        yield held


def _invisible(char: str) -> bool:
    """Zero-width and format characters, variation selectors, what turns a digit into a keycap, and emoji."""
    code = ord(char)
    if 0x1F300 <= code <= 0x1FAFF or 0xE0100 <= code <= 0xE01EF or 0xFE00 <= code <= 0xFE0F:
        return True
    return char in _UNSEEN or unicodedata.category(char) == "Cf"
