"""`nejumi-4`: the JGLUE parts of W&B Japan's Nejumi Leaderboard 4.

Source: github.com/wandb/llm-leaderboard, `scripts/evaluator/jaster.py` and `scripts/evaluator/evaluate_utils` of 2025.
Its list of tasks has JSTS commented out, and its functions for correlations always give 0: it does not score JSTS. A
prediction for JSQuAD is lower-cased and the reference is not.
"""

from __future__ import annotations

from jglue_app.messages import mark
from jglue_app.scoring.protocols.decisions import protocol
from jglue_app.scoring.types import CodeSource, Preset, Rules

_END = (
    ("to_blank_line", "prediction"),
    ("without_quotes", "prediction"),
    ("nfkc", "both"),
    ("without_nul", "both"),
)
_RULES = {
    "jnli": Rules(
        metrics=("exact_match", "balanced_accuracy"),
        labels="v1.1",
        text=(("trimmed", "prediction"), ("lower", "prediction"), *_END),
    ),
    "jsquad": Rules(
        metrics=("char_f1",),
        text=(
            ("without_cues", "prediction"),
            ("trimmed", "prediction"),
            ("lower", "prediction"),
            *_END[:-1],
        ),
        reading="whole",
        references="first",
        f1="sorted_words_indel",
    ),
    "jcola": Rules(metrics=("exact_match", "balanced_accuracy"), text=_END, reading="label_number"),
    "jcommonsenseqa": Rules(metrics=("exact_match",), text=(("trimmed", "prediction"), *_END)),
}


def _code(commit: str, path: str, lines: str = "") -> CodeSource:
    return CodeSource("wandb/llm-leaderboard", commit, path, lines)


def _formatter(lines: str) -> CodeSource:
    return _code("137751d", "scripts/evaluator/evaluate_utils/formatter.py", lines)


def _config(lines: str) -> CodeSource:
    return _code("03cf9bf", "configs/base_config.yaml", lines)


_JASTER = "scripts/evaluator/jaster.py"
_READ = _code("main, 2025", _JASTER, "210–218")
_SOURCES = {
    "": {
        "": _READ,
        "metrics": _code("main, 2025", "scripts/evaluator/evaluate_utils/metrics.py"),
        **{f"text: {step}": _formatter("8–22") for step in ("trimmed", "lower", "without_cues")},
        "text: nfkc": _formatter("5–6"),
        "references": _code("main, 2025", _JASTER, "147"),
    },
}
_GENERATION = {
    "prompt": (mark("turns of a chat, the instruction in the first"), _code("main, 2025", _JASTER, "117–142")),
    "examples": (mark("none, and again with the first two of the train file"), _config("52")),
    "new_tokens": (mark("as its data says for each subset"), _code("main, 2025", _JASTER, "158")),
    "stop": (mark("none; the answer is cut when it is scored"), _READ),
    "decoding": (mark("temperature 0.1"), _config("49")),
    "data": (mark("the first 100 items of a subset"), _code("main, 2025", _JASTER, "103–115")),
}
PROTOCOL = protocol("nejumi-4", _RULES, _SOURCES, _GENERATION, Preset("llm-jp-eval", shots=2, format="chat"))
