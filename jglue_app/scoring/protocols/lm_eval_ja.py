"""`lm-eval-ja`: the Japanese leaderboard tasks of lm-evaluation-harness.

Source: lm-evaluation-harness of EleutherAI (github.com/EleutherAI/lm-evaluation-harness), tasks `japanese_leaderboard`,
version 0.4.13. A reference that begins with [ and ends with ] is evaluated as a Python literal there; no gold answer of
JSQuAD dev is.
"""

from __future__ import annotations

from dataclasses import replace

from jglue_app.messages import mark
from jglue_app.scoring.protocols.decisions import protocol
from jglue_app.scoring.types import CodeSource, Preset, Rules

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


def _task(name: str, lines: str) -> CodeSource:
    return _code(f"lm_eval/tasks/japanese_leaderboard/ja_leaderboard_{name}.yaml", lines)


_SOURCES = {
    "": {"": _code("lm_eval/api/task.py", "1489–1560"), "metrics": _task("jnli", "21–24")},
    "jnli": {"labels": _task("jnli", "3–6")},
    "jsquad": {
        "": _code("lm_eval/api/metrics.py", "234–266"),
        "metrics": _task("jsquad", "25–31"),
        "references": _task("jsquad", "15"),
    },
}
_GENERATION = {
    "prompt": (mark("an instruction, an input and an answer under headings"), _task("jnli", "12–17")),
    "examples": (mark("three, two in JSQuAD"), _task("jsquad", "10–11")),
    "stop": (mark("JSQuAD: a blank line"), _task("jsquad", "20–22")),
    "decoding": (mark("greedy"), _task("jsquad", "23")),
    "data": (mark("the whole validation split of JGLUE v1.1"), _task("jnli", "3–7")),
}
PROTOCOL = protocol(
    "lm-eval-ja",
    _RULES,
    _SOURCES,
    _GENERATION,
    Preset("lm-eval-ja", shots=3, shots_by_task=(("jsquad", 2),), method="both", format="alpaca"),
)
