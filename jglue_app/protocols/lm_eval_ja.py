"""`lm-eval-ja`: the Japanese leaderboard tasks of lm-evaluation-harness.

Source: lm-evaluation-harness of EleutherAI (github.com/EleutherAI/lm-evaluation-harness), tasks `japanese_leaderboard`,
version 0.4.
"""

from __future__ import annotations

from jglue_app.protocols.common import is_right, judge_ranking, judge_text, references
from jglue_app.types import Item, Judgement, Parsed, Preset, Record, ScoringProtocol, Task

NAME = "lm-eval-ja"


def judge(task: Task, item: Item, record: Record) -> Judgement:
    """Judge as that system does. Its rules:

    - MARC-ja, JNLI, JCommonsenseQA: the choice with the highest summed log-probability.
    - JSQuAD: exact match with the first reference alone, after taking white space off both ends.
    - No JSTS.
    """
    if task.kind == "choice":
        return judge_ranking(NAME, item, record, lambda choice: {"accuracy": float(is_right(item, choice))})
    return judge_text(NAME, task, item, record, _span, lambda value: _span_scores(item, str(value)))


def _span(text: str) -> Parsed:
    start = len(text) - len(text.lstrip())
    prediction = text.strip()
    if not prediction:
        return Parsed("", "empty", "trimmed")
    return Parsed(prediction, "exact", "trimmed", (start, start + len(prediction)))


def _span_scores(item: Item, prediction: str) -> dict[str, float]:
    return {"exact_match": float(prediction == references(item)[0].strip())}


PROTOCOL = ScoringProtocol(
    name=NAME,
    metrics={
        "marc_ja": ("accuracy",),
        "jnli": ("accuracy",),
        "jsquad": ("exact_match",),
        "jcommonsenseqa": ("accuracy",),
    },
    judge=judge,
    ranked=frozenset(("marc_ja", "jnli", "jcommonsenseqa")),
    first_reference_only=True,
    preset=Preset("lm-eval-ja", shots=3, shots_by_task=(("jsquad", 2),), method="both", format="alpaca"),
)
