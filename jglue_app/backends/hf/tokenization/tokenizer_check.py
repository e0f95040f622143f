"""Where a tokenizer comes from, and whether its ids are those of the repository's own file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from jglue_app.errors import ModelError
from jglue_app.messages import Message

SAMPLE_TEXTS = (
    "前提：男性が自転車に乗っている。\n仮説：女性が本を読んでいる。\n\n関係：",
    "  先頭の空白\t\tタブ。行末の空白  \n",
    "ユーザー: 1,234円は①２３㌔ ｶﾀｶﾅ ＡＢＣ abc ﾊﾟ が゙ですか？\r\nシステム: ",
    "𠮷野家の髙﨑さん👨‍👩‍👧🇯🇵が麤皮と鬱金、\u200bか\u3000゛を見た…",
    "It's 2024-12-31, don't 12345678 A  b   c, naïve e\u0301.",
)
"""Texts on which ids are compared: line ends, widths, rare and composed characters, spaces, digits, look-alikes."""
_ATTRIBUTE = "_jglue_check"
"""Attribute of a tokenizer that holds its `TokenizerSource`."""

Ids = Callable[[str], list[int]]


@dataclass(slots=True)
class TokenizerSource:
    """The files that a tokenizer comes from, and what its ids are compared with."""

    name: str
    """Of the model, for messages."""
    files: str
    """The file or files that it was read from, with remarks; stored with a run."""
    reference: Ids | None = None
    """Text → ids by the file itself, without special tokens around it; None if the file itself is in use."""
    skip: tuple[str, ...] = ()
    """Tokens that the reference does not know; texts with one of these are not compared."""
    disputed: str = ""
    """Another file of the repository, which defines other ids; empty if there is none."""


def set_source(tokenizer: Any, source: TokenizerSource) -> None:
    """Attach its source to a tokenizer."""
    setattr(tokenizer, _ATTRIBUTE, source)


def name_of(tokenizer: Any) -> str:
    """The model that a tokenizer belongs to, for messages."""
    source: TokenizerSource | None = getattr(tokenizer, _ATTRIBUTE, None)
    return source.name if source else str(getattr(tokenizer, "name_or_path", "") or type(tokenizer).__name__)


def source_of(tokenizer: Any) -> str:
    """The files that a tokenizer was read from, for the manifest; empty if it was not loaded here."""
    source: TokenizerSource | None = getattr(tokenizer, _ATTRIBUTE, None)
    if source is None:
        return ""
    return f"{source.files}, not {source.disputed}" if source.disputed else source.files


def disputed_by(tokenizer: Any) -> str:
    """A file of the repository that defines other ids than the one in use; empty if there is none."""
    source: TokenizerSource | None = getattr(tokenizer, _ATTRIBUTE, None)
    return source.disputed if source else ""


def reference_of(tokenizer: Any) -> TokenizerSource | None:
    """The source with which prompts are compared; None if the tokenizer is the file itself."""
    source: TokenizerSource | None = getattr(tokenizer, _ATTRIBUTE, None)
    return source if source and source.reference else None


def first_difference(tokenizer: Any, texts: Iterable[str], source: TokenizerSource) -> str:
    """Where a tokenizer differs from the file on some texts, as a clause of a sentence; empty if it does not."""
    for text in texts:
        if any(token in text for token in source.skip):
            continue
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        if clause := difference(text, ids, source):
            return clause
    return ""


def difference(text: str, ids: Sequence[int], source: TokenizerSource) -> str:
    """The same for one text whose ids are known."""
    if source.reference is None:
        return ""
    expected = source.reference(text)
    if expected == list(ids):
        return ""
    pairs = enumerate(zip(expected, ids, strict=False))
    first = next((k for k, (x, y) in pairs if x != y), min(len(expected), len(ids)))
    return Message(
        "「{text}」 becomes {ids} from token {position} on, by the file {expected}",
        text=_excerpt(text),
        ids=list(ids[first : first + 3]),
        position=first + 1,
        expected=expected[first : first + 3],
    )


def require_same_ids(tokenizer: Any, text: str, ids: Sequence[int]) -> None:
    """Raise ModelError if a prompt's ids are not those of the file that the tokenizer is compared with."""
    source = reference_of(tokenizer)
    if source is None or any(token in text for token in source.skip):
        return
    if clause := difference(text, ids, source):
        raise differs_from_file(source.name, source.files, clause)


def differs_from_file(name: str, file: str, clause: str) -> ModelError:
    """The error of a tokenizer whose ids are not those of its file; the clause says where they differ."""
    return ModelError(
        "The tokenizer that transformers makes for {name} is not that of its file {file}: "
        "{clause}. Choose a repository of this model that holds a tokenizer.json.",
        name=name,
        file=file,
        clause=clause,
    )


def _excerpt(text: str) -> str:
    short = text if len(text) <= 40 else text[:39] + "…"
    return short.replace("\n", "⏎").replace("\r", "").replace("\t", "⇥")
