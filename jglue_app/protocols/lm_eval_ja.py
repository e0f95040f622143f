"""`lm-eval-ja`: the Japanese leaderboard tasks of lm-evaluation-harness.

Source: lm-evaluation-harness of EleutherAI (github.com/EleutherAI/lm-evaluation-harness), tasks `japanese_leaderboard`,
version 0.4.13. A reference that begins with [ and ends with ] is evaluated as a Python literal there; no gold answer of
JSQuAD dev is.
"""

from __future__ import annotations

from dataclasses import replace

from jglue_app.protocols.decisions import protocol
from jglue_app.types import CodeSource, Preset, Rules

_RANKED = Rules(metrics=("accuracy",), evidence="log_likelihood")
_RULES = {
    "marc_ja": _RANKED,
    "jnli": replace(_RANKED, labels="v1.1"),
    "jsquad": Rules(
        metrics=("exact_match",),
        text=(("trimmed", "both"), ("without_nul", "both"), ("trimmed", "both")),
        reading="whole",
        references="first",
    ),
    "jcommonsenseqa": _RANKED,
}


def _code(path: str, lines: str = "") -> CodeSource:
    return CodeSource("lm-eval 0.4.13", "", path, lines)


_TASKS = "lm_eval/tasks/japanese_leaderboard"
_SOURCES = {
    "": {"": _code("lm_eval/api/task.py", "1489–1560"), "metrics": _code(_TASKS)},
    "jnli": {"labels": _code(f"{_TASKS}/ja_leaderboard_jnli.yaml")},
    "jsquad": {
        "": _code("lm_eval/api/metrics.py", "234–266"),
        "references": _code(f"{_TASKS}/ja_leaderboard_jsquad.yaml"),
    },
}
_GENERATION = {
    "prompt": ("an instruction, an input and an answer under headings", _code(_TASKS)),
    "examples": ("three, two in JSQuAD", _code(_TASKS)),
    "stop": ("JSQuAD: a blank line", _code(f"{_TASKS}/ja_leaderboard_jsquad.yaml")),
    "decoding": ("greedy", _code(_TASKS)),
    "data": ("the whole validation split of JGLUE v1.1", _code(_TASKS)),
}
PROTOCOL = protocol(
    "lm-eval-ja",
    _RULES,
    _SOURCES,
    _GENERATION,
    Preset("lm-eval-ja", shots=3, shots_by_task=(("jsquad", 2),), method="both", format="alpaca"),
)
