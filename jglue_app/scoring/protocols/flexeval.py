"""`flexeval`: exact match without any normalisation, and an ordered character ratio.

Source: flexeval 0.18.3 of SB Intuitions (github.com/sbintuitions/flexeval), its metrics `ExactMatch`, `CharF1` and
`Correlation`. It has presets for JNLI, JSQuAD and JCommonsenseQA; MARC-ja and JSTS are scored here with the same
metrics.
"""

from __future__ import annotations

from dataclasses import replace

from jglue_app.messages import mark
from jglue_app.scoring.protocols.decisions import protocol
from jglue_app.scoring.types import CodeSource, Preset, Rules

_LABEL = Rules(metrics=("exact_match",))
_RULES = {
    "marc_ja": _LABEL,
    "jsts": Rules(metrics=("pearson", "spearman"), reading="float", unreadable=0.0),
    "jnli": replace(_LABEL, labels="v1.1"),
    "jsquad": Rules(metrics=("exact_match", "char_f1"), reading="whole", f1="ordered"),
    "jcommonsenseqa": _LABEL,
}


def _code(path: str, lines: str = "") -> CodeSource:
    return CodeSource("flexeval 0.18.3", "", path, lines)


_METRICS = "flexeval/core/metric"
_SETUP = "flexeval/preset_configs/EvalSetup/ja_generation"
_SOURCES = {
    "": {"": _code(f"{_METRICS}/exact_match.py", "57–80")},
    "jsts": {"": _code(f"{_METRICS}/correlation.py", "50–100")},
    "jnli": {"labels": _code(f"{_SETUP}/jnli.jsonnet", "15–17")},
    "jsquad": {"f1": _code(f"{_METRICS}/char_f1.py", "62–65")},
}
_GENERATION = {
    "prompt": (
        mark("answers in brackets; the gold of JNLI has ASCII quotation marks around it, after 関係：「"),
        _code(f"{_SETUP}/jnli.jsonnet", "17–42"),
    ),
    "examples": (
        mark("four fixed ones in JSQuAD and JCommonsenseQA, three balanced ones in JNLI"),
        _code(f"{_SETUP}/jsquad.jsonnet", "27–49"),
    ),
    "new_tokens": (mark("64 in JSQuAD and JCommonsenseQA, 6 in JNLI"), _code(f"{_SETUP}/jsquad.jsonnet", "66")),
    "stop": (mark("a blank line; in JNLI 前提 or 」"), _code(f"{_SETUP}/jnli.jsonnet", "46")),
    "decoding": (mark("greedy"), _code(f"{_SETUP}/jsquad.jsonnet", "66")),
    "data": (
        mark("SB Intuitions' corrected clones of JSQuAD and JCommonsenseQA (v1.1); JNLI v1.1"),
        _code(f"{_SETUP}/jcommonsenseqa.jsonnet", "14–21"),
    ),
}
PROTOCOL = protocol(
    "flexeval",
    _RULES,
    _SOURCES,
    _GENERATION,
    Preset("flexeval", shots=3, shots_by_task=(("jcommonsenseqa", 4), ("jsquad", 4))),
)
