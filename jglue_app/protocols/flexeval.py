"""`flexeval`: exact match without any normalisation, and an ordered character ratio.

Source: flexeval of SB Intuitions (github.com/sbintuitions/flexeval), its metrics `exact_match`, `char_f1` and
`correlation` with the JGLUE presets.
"""

from __future__ import annotations

from rapidfuzz import fuzz

from jglue_app.protocols.common import asked_label, float_or, is_right, judge_text, references
from jglue_app.types import Item, Judgement, Parsed, Preset, Record, ScoringProtocol, Task

NAME = "flexeval"
DEFAULT_SIMILARITY = 0.0


def judge(task: Task, item: Item, record: Record) -> Judgement:
    """Judge as that system does. Its rules:

    - MARC-ja, JNLI, JCommonsenseQA: the output is, to the character, the gold label as the prompt asked for it; a
      space before it is already wrong.
    - JSQuAD: exact match with any reference; `char_f1` is rapidfuzz's plain `ratio` (ordered, no preprocessing, in
      whole percent), the best over the references.
    - JSTS: what Python's `float` reads, otherwise 0.0; nothing is clipped.
    """
    if task.kind == "score":
        return judge_text(NAME, task, item, record, lambda text: float_or(text, DEFAULT_SIMILARITY), lambda _: {})
    if task.kind == "choice":
        answers = {asked_label(item, record, label): label for label in item.choices}
        return judge_text(
            NAME,
            task,
            item,
            record,
            lambda text: _label(text, answers),
            lambda label: {"exact_match": float(is_right(item, label))},
        )
    return judge_text(NAME, task, item, record, _span, lambda value: _span_scores(item, str(value)))


def _label(text: str, answers: dict[str, str]) -> Parsed:
    label = answers.get(text)
    if label is not None:
        return Parsed(label, "exact", "equal", (0, len(text)))
    return Parsed(None, "off_format" if text.strip() else "empty", "no_match")


def _span(text: str) -> Parsed:
    return Parsed(text, "exact" if text.strip() else "empty", "as_written", (0, len(text)) if text else None)


def _span_scores(item: Item, prediction: str) -> dict[str, float]:
    ratio = max(fuzz.ratio(prediction, ref) for ref in references(item))
    return {"exact_match": float(prediction in references(item)), "char_f1": round(ratio) / 100}


PROTOCOL = ScoringProtocol(
    name=NAME,
    metrics={
        "marc_ja": ("exact_match",),
        "jsts": ("pearson", "spearman"),
        "jnli": ("exact_match",),
        "jsquad": ("exact_match", "char_f1"),
        "jcommonsenseqa": ("exact_match",),
    },
    judge=judge,
    defaults={"jsts": DEFAULT_SIMILARITY},
    preset=Preset("flexeval", shots=3, shots_by_task=(("jcommonsenseqa", 2),)),
)
