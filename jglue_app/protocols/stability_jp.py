"""`stability-jp`: as Stability AI's Japanese fork of lm-evaluation-harness scores JGLUE.

Source: github.com/Stability-AI/lm-evaluation-harness, branch `jp-stable`, tasks below `lm_eval/tasks/ja`.
"""

from __future__ import annotations

import re
from collections import Counter
from functools import lru_cache
from typing import Any

from jglue_app.protocols.common import is_right, judge_ranking, judge_text, references, usable_logprobs
from jglue_app.types import Item, Judgement, Parsed, Preset, Record, ScoringProtocol, Task

NAME = "stability-jp"
_PIECE = 2_000
"""Characters handed to MeCab at a time: no answer is longer, and MeCab's memory grows with the length."""
_EMOJI_PIECES = re.compile(r"(?s).{1,300}(?<=[a-z\sぁ-んァ-ヶ一-龠、。])|.{1,300}")
"""Pieces that end where no emoji can go on, if there is such a place: for emoji joined to one another, the time that
`emoji` takes grows with the square of their number."""


def judge(task: Task, item: Item, record: Record) -> Judgement:
    """Judge as that system does. Its rules:

    - MARC-ja, JNLI, JCommonsenseQA: the choice with the highest summed log-probability, appended without a leading
      space (`accuracy`), and with the highest log-probability per character of the choice (`acc_norm`). MARC-ja and
      JNLI also have balanced accuracy, macro F1 and MCC, all of the former.
    - JSQuAD: prediction and references without emoji and through neologdn; exact match with any; F1 over the bag of
      MeCab tokens (UniDic) that are no punctuation, the best over the references. Punctuation is what UniDic calls
      補助記号; with it F1 comes out up to 0.35 points below figures made with the system itself.
    - No JSTS.

    Its generation length can be capped at the gold answer's length, an oracle: `Decoding.oracle_length`, off by
    default and named wherever such a run is shown.
    """
    if task.kind == "choice":
        return judge_ranking(NAME, item, record, lambda choice: _choice_scores(item, record, choice))
    return judge_text(NAME, task, item, record, _span, lambda value: _span_scores(item, str(value)))


def _choice_scores(item: Item, record: Record, choice: str) -> dict[str, float]:
    logprobs = usable_logprobs(item, record)
    assert logprobs is not None
    lengths = [len(answer) for answer in _ranked(item, record)]
    per_character = [p / max(1, n) for p, n in zip(logprobs, lengths, strict=True)]
    normed = item.choices[max(range(len(per_character)), key=per_character.__getitem__)]
    return {"accuracy": float(is_right(item, choice)), "acc_norm": float(is_right(item, normed))}


def _ranked(item: Item, record: Record) -> tuple[str, ...]:
    """The texts that were ranked; for outputs made elsewhere that do not name them, the choices' words or labels."""
    if record.prompt.text or record.prompt.answers != item.choices:
        return record.prompt.answers
    return tuple(item.fields.get(f"choice{label}", label) for label in item.choices)


def _span(text: str) -> Parsed:
    prediction = normalize(text)
    return Parsed(prediction, "exact" if prediction.strip() else "empty", "neologdn_without_emoji")


def _span_scores(item: Item, prediction: str) -> dict[str, float]:
    golds = [normalize_reference(ref) for ref in references(item)]
    tokens = Counter(tokenize(prediction))
    return {
        "exact_match": float(prediction in golds),
        "f1": max(_bag_f1(tokens, reference_tokens(gold)) for gold in golds),
    }


def normalize(text: str) -> str:
    """The text without emoji, through neologdn. Lone surrogates, which no tokenizer writes, become U+FFFD."""
    import emoji
    import neologdn

    whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    without = "".join(emoji.replace_emoji(piece, "") for piece in _EMOJI_PIECES.findall(whole))
    normalized: str = neologdn.normalize(without)
    return normalized


def tokenize(text: str) -> list[str]:
    """Surface forms of the UniDic tokens that are no punctuation."""
    tagger = _tagger()
    text = text.replace("\0", "\ufffd")  # MeCab reads no further than a NUL; U+FFFD is punctuation.
    return [
        word.surface
        for start in range(0, len(text), _PIECE)
        for word in tagger(text[start : start + _PIECE])
        if not word.feature_raw.startswith("補助記号,")
    ]


@lru_cache(maxsize=20_000)
def normalize_reference(text: str) -> str:
    """`normalize`, remembered: every run and every protocol variant asks for the same references."""
    return normalize(text)


@lru_cache(maxsize=20_000)
def reference_tokens(text: str) -> Counter[str]:
    """Bag of `tokenize`, remembered."""
    return Counter(tokenize(text))


@lru_cache(maxsize=1)
def _tagger() -> Any:
    import unidic_lite
    from fugashi import Tagger

    return Tagger(f'-d "{unidic_lite.DICDIR}"')


def _bag_f1(prediction: Counter[str], reference: Counter[str]) -> float:
    if not prediction or not reference:
        return float(prediction == reference)
    common = (prediction & reference).total()
    return 2 * common / (prediction.total() + reference.total())


_LABELLED = ("accuracy", "acc_norm", "balanced_accuracy", "macro_f1", "mcc")

PROTOCOL = ScoringProtocol(
    name=NAME,
    metrics={
        "marc_ja": _LABELLED,
        "jnli": _LABELLED,
        "jsquad": ("exact_match", "f1"),
        "jcommonsenseqa": ("accuracy", "acc_norm"),
    },
    judge=judge,
    ranked=frozenset(("marc_ja", "jnli", "jcommonsenseqa")),
    preset=Preset("stability-jp", shots=3, shots_by_task=(("jsquad", 2),), method="both"),
)
