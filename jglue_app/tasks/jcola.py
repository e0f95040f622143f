"""JCoLA: is a sentence acceptable Japanese? (Someya, Sugimoto and Oseki 2024)

The sixth subset of JGLUE has a repository of its own, osekilab/JCoLA on GitHub: sentences of textbooks and handbooks of
linguistics (in-domain) and of journal articles (out-of-domain), with the judgement that is printed there. The sentences
belong to those works, so nothing is downloaded; see `data/files.py`. The test sets are not published.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jglue_app.messages import Message, mark
from jglue_app.tasks.rows import id_field, json_lines, label_field, text_field
from jglue_app.types import Files, Item, Task

LABELS = ("unacceptable", "acceptable")
"""In the order of the numbers in the files: 0 is unacceptable, 1 acceptable."""
ALIASES = {
    "unacceptable": (
        *("容認不可能", "容認不可", "容認できない", "容認できません", "容認されない", "容認されません"),
        *("非文", "非文法的"),
    ),
    "acceptable": ("容認可能です", "容認可能である", "容認可能だ", "容認できます", "容認されます"),
}
"""Words that judge a sentence wherever they stand. 「自然」 and 「文法的」 do not, as in 「より自然な表現は…」 and
「文法的な問題があります」; they are in `ANSWERS`."""
_JUDGEMENTS = {
    "unacceptable": (
        *("容認不可能", "容認不可", "非文", "非文法的", "不自然", "不自然な文", "不自然な日本語", "不適格", "不適切"),
        *("文法的でない", "文法的ではない", "文法的に正しくない", "文法的に誤り", "文法的に間違い", "文法的に不自然"),
        *("自然でない", "自然ではない", "正しくない", "誤り", "間違い"),
    ),
    "acceptable": (
        *(
            "容認可能",
            "容認可",
            "容認できる",
            "容認される",
            "文法的",
            "文法的な文",
            "自然",
            "自然な文",
            "自然な日本語",
            "適格",
            "適切",
        ),
        *("文法的に正しい", "文法的に正しい文", "文法的に自然", "正しい", "正しい文", "正しい日本語"),
        *("不自然でない", "不自然ではない", "間違いではない", "誤りではない"),
    ),
}
_ENGLISH = {
    "unacceptable": ("ungrammatical", "not grammatical", "not acceptable", "unnatural", "incorrect"),
    "acceptable": ("grammatical", "natural", "correct"),
}
_SUBJECTS = ("", "文は", "この文は", "この文は、", "答え：", "答えは", "判定：", "回答：")
_ENDS = ("", "です", "だ", "である")
_ENGLISH_SUBJECTS = ("", "the sentence is ", "this sentence is ", "it is ")
ANSWERS = {
    label: (
        *(f"{subject}{word}{end}" for subject in _SUBJECTS for word in words for end in _ENDS),
        *(f"{subject}{word}" for subject in _ENGLISH_SUBJECTS for word in _ENGLISH[label]),
    )
    for label, words in _JUDGEMENTS.items()
}
"""What means a label where it is the whole answer."""
OUT_OF_DOMAIN = "out_of_domain"
"""The split of sentences from journal articles."""
HOW_TO_OBTAIN = mark(
    "JCoLA is not downloaded: its sentences belong to the works they were taken from. Get the repository "
    "osekilab/JCoLA on GitHub yourself, and copy its folder data/jcola-v1.0 into JGLUE_DATA_DIR, so that {file} lies "
    "there. The test sets are not published."
)
SHA256 = {
    "train": "c665f8a8b371b34c3c8947cde3670637cf0403ac7529ba8bb62370d07f008396",
    "valid": "677fb021886b6829d6a84e8ca9f62808f6bd479fa829439f49eac4f94f23658c",
}
"""Of the files in osekilab/JCoLA at commit 736d9eef, as another public project pins them: we hold none of them."""


def path(split: str) -> str:
    """Path of a file in the repository's folder `data`."""
    return f"jcola-v1.0/{'out_of_domain_valid' if split == OUT_OF_DOMAIN else f'in_domain_{split}'}-v1.0.json"


def item(row: Mapping[str, Any]) -> Item:
    """Row `{uid, sentence, label}` → Item; further fields (source, diacritic, original …) are left out.

    The label is 0, 1 or one of `LABELS`.
    """
    label = row.get("label")
    if isinstance(label, int | str) and not isinstance(label, bool) and label not in LABELS:
        if str(label) not in ("0", "1"):
            raise ValueError(
                Message("unknown label {label!r}; expected 0 (unacceptable) or 1 (acceptable)", label=label)
            )
        row = {**row, "label": LABELS[int(label)]}
    fields = {"sentence": text_field(row, "sentence")}
    return Item("jcola", id_field(row, "uid"), fields, (label_field(row, LABELS),), LABELS)


TASK = Task(
    name="jcola",
    title="JCoLA",
    question=mark("Is a sentence acceptable Japanese?"),
    kind="choice",
    labels=LABELS,
    metrics=("accuracy", "mcc"),
    fields=("sentence",),
    rows=json_lines,
    item=item,
    aliases=lambda _: ALIASES,
    whole_answers=ANSWERS,
    stratum=lambda i: str(i.gold),
    core=False,
    files=Files("v1.0", path, HOW_TO_OBTAIN, SHA256, (OUT_OF_DOMAIN,)),
)
