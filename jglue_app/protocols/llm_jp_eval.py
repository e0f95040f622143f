"""`llm-jp-eval`: exact match and character ratios against the first reference, after NFKC on both sides.

Source: llm-jp-eval of LLM-jp (github.com/llm-jp/llm-jp-eval), version 1, its JGLUE datasets in the jaster format.
"""

from __future__ import annotations

from dataclasses import replace

from rapidfuzz import fuzz, utils

from jglue_app.protocols.common import asked_label, float_or, is_right, judge_text, nfkc, references
from jglue_app.types import Item, Judgement, Parsed, Preset, Record, ScoringProtocol, Task

NAME = "llm-jp-eval"
DEFAULT_SIMILARITY = -2.0


def judge(task: Task, item: Item, record: Record) -> Judgement:
    """Judge as that system does. Its rules:

    - The output is cut at its first blank line (two line feeds; others are not seen); prediction and reference go
      through NFKC.
    - MARC-ja, JNLI, JCommonsenseQA: exact match with the gold label as the prompt asked for it; nothing is recovered.
    - JSQuAD: exact match and `char_f1` (rapidfuzz's `token_sort_ratio` in whole percent), with the first reference
      alone, however many there are.
    - JSTS: what Python's `float` reads, otherwise −2.0, outside the scale; nothing is clipped.
    """
    record = _ended_by_blank_line(record)
    if task.kind == "score":
        return judge_text(NAME, task, item, record, _number, lambda _: {})
    if task.kind == "choice":
        answers = {nfkc(asked_label(item, record, label)): label for label in item.choices}
        return judge_text(
            NAME,
            task,
            item,
            record,
            lambda text: _label(_cut(text), answers),
            lambda label: {"exact_match": float(is_right(item, label))},
        )
    return judge_text(NAME, task, item, record, _span, lambda value: _span_scores(item, str(value)))


def _ended_by_blank_line(record: Record) -> Record:
    """An answer that a blank line ends was not cut off by the token limit."""
    output = record.output
    if output is None or output.finish != "length" or "\n\n" not in (output.text or ""):
        return record
    return replace(record, output=replace(output, finish="stop"))


def _cut(text: str) -> str:
    return nfkc(text.split("\n\n", 1)[0])


def _number(text: str) -> Parsed:
    cut = _cut(text)
    parsed = float_or(cut, DEFAULT_SIMILARITY)
    # NFKC moves characters: ⑩ becomes two.
    return parsed if text.startswith(cut) else replace(parsed, span=None)


def _label(text: str, answers: dict[str, str]) -> Parsed:
    label = answers.get(text)
    if label is not None:
        return Parsed(label, "exact", "equal_after_nfkc")
    return Parsed(None, "off_format" if text.strip() else "empty", "no_match")


def _span(text: str) -> Parsed:
    prediction = _cut(text)
    cut = "\n\n" in text
    rule = "nfkc_to_blank_line" if cut else "nfkc"
    return Parsed(prediction, "exact" if prediction.strip() else "empty", rule)


def _span_scores(item: Item, prediction: str) -> dict[str, float]:
    first = nfkc(references(item)[0])
    ratio = fuzz.token_sort_ratio(prediction, first, processor=utils.default_process)
    return {"exact_match": float(prediction == first), "char_f1": round(ratio) / 100}


PROTOCOL = ScoringProtocol(
    name=NAME,
    metrics={
        "marc_ja": ("exact_match",),
        "jsts": ("pearson", "spearman"),
        "jnli": ("exact_match",),
        "jsquad": ("char_f1", "exact_match"),
        "jcommonsenseqa": ("exact_match",),
    },
    judge=judge,
    defaults={"jsts": DEFAULT_SIMILARITY},
    first_reference_only=True,
    preset=Preset("llm-jp-eval", shots=4),
)
