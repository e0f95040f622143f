"""The answers that the tests of the lenient reader ask for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from jglue_app.scoring.parsing import read_choice, read_score
from jglue_app.tasks import TASKS
from jglue_app.tasks.jnli import ALIASES as JNLI_WORDS
from jglue_app.tasks.marc_ja import ALIASES as MARC_WORDS


@dataclass(frozen=True)
class Ask:
    """Legal answers and further words for them."""

    answers: Mapping[str, str]
    aliases: Mapping[str, tuple[str, ...]]

    def read(self, text: str) -> str | float | None:
        """What the lenient reading makes of a text."""
        return read_choice(text, self.answers, self.aliases).lenient.value


def _choices(surfaces: str, *choices: str) -> Ask:
    aliases = {str(i): (choice,) for i, choice in enumerate(choices)}
    return Ask(dict(zip(TASKS["jcommonsenseqa"].labels, surfaces or choices, strict=True)), aliases)


def _labels(task: str, words: Mapping[str, tuple[str, ...]], *surfaces: str) -> Ask:
    return Ask(dict(zip(TASKS[task].labels, surfaces, strict=True)), words)


JNLI = _labels("jnli", JNLI_WORDS, "含意", "矛盾", "中立")
JNLI_EN = _labels("jnli", JNLI_WORDS, "entailment", "contradiction", "neutral")
JNLI_NUMBER = _labels("jnli", JNLI_WORDS, "0", "1", "2")
MARC = _labels("marc_ja", MARC_WORDS, "肯定", "否定")
MARC_EN = _labels("marc_ja", MARC_WORDS, "positive", "negative")
MARC_TEXT = _labels("marc_ja", MARC_WORDS, "満足している", "不満がある")
NUMBER = _choices("01234", "海", "川", "山の頂上", "砂漠", "図書館")
LETTER = _choices("ABCDE", "海", "川", "山の頂上", "砂漠", "図書館")
KANA = _choices("アイウエオ", "海", "川", "山の頂上", "砂漠", "図書館")
TEXT = _choices("", "海", "川", "山の頂上", "砂漠", "図書館")


def score(text: str) -> str | float | None:
    """What the lenient reading makes of a text as a similarity between 0 and 5."""
    return read_score(text).lenient.value
