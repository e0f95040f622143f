"""`stability-jp`: as Stability AI's Japanese fork of lm-evaluation-harness scores JGLUE.

Source: github.com/Stability-AI/lm-evaluation-harness, branch `jp-stable`, commit effdbeaf, tasks below
`lm_eval/tasks/ja` and the metric `lm_eval/jasquad`. Its published runs cap the length of a JSQuAD answer at that of the
longest gold answer, which gives a part of the answer away: `stability-jp-capped` runs a model like that, `stability-jp`
without. Both score alike.
"""

from __future__ import annotations

from dataclasses import replace

from jglue_app.messages import mark
from jglue_app.scoring.protocols.decisions import protocol
from jglue_app.scoring.types import CodeSource, Preset, Rules

NAME = "stability-jp"
_LABELLED = ("accuracy", "acc_norm", "balanced_accuracy", "macro_f1", "mcc")
_RULES = {
    "marc_ja": Rules(metrics=_LABELLED, evidence="log_likelihood"),
    "jnli": Rules(metrics=_LABELLED, labels="v1.1", evidence="log_likelihood"),
    "jsquad": Rules(
        metrics=("exact_match", "f1"),
        text=(("without_emoji", "both"), ("neologdn", "both"), ("collapsed", "both")),
        reading="whole",
        f1="unidic_tokens",
    ),
    "jcommonsenseqa": Rules(metrics=("accuracy", "acc_norm"), evidence="log_likelihood"),
}


def _code(path: str, lines: str = "") -> CodeSource:
    return CodeSource(_REPOSITORY, "effdbeaf", path, lines)


_REPOSITORY = "Stability-AI/lm-evaluation-harness"
_JA = "lm_eval/tasks/ja"
_JCOMMONSENSEQA = f"{_JA}/jcommonsenseqa.py"
_FORK = "pfnet-research/lm-evaluation-harness"
_METRIC = CodeSource(_FORK, "1771de8", "lm_eval/jasquad/evaluate.py", "11–69")
"""A fork that has the metric's text and the task's as they were before version 1.2; the original's were not at hand."""


def _jsquad(lines: str) -> CodeSource:
    return CodeSource(_FORK, "10e7aac", f"{_JA}/jsquad.py", lines)


_CAP = _code(f"{_JA}/jsquad.py", "36")
_SOURCES = {
    "": {"": _code(_JA), "labels": _code(f"{_JA}/jnli.py"), "metrics": _code("lm_eval/metrics.py")},
    "marc_ja": {"": _code(f"{_JA}/marc_ja.py")},
    "jnli": {
        "": CodeSource(_REPOSITORY, "d10571f", f"{_JA}/jnli.py", "86–93"),
        "labels": CodeSource(_REPOSITORY, "d10571f", f"{_JA}/jnli.py", "38–39"),
        "metrics": _code("lm_eval/base.py"),
    },
    "jsquad": {"": _METRIC, "metrics": _METRIC, "items": _jsquad("50"), "labels": _jsquad("45–46")},
    "jcommonsenseqa": {"": CodeSource(_REPOSITORY, "9791c5d", _JCOMMONSENSEQA, "82–100")},
}
_GENERATION = {
    "prompt": (
        mark(
            "by version; in 0.2 the examples of JCommonsenseQA show an index, and the texts of the choices are ranked"
        ),
        CodeSource(_REPOSITORY, "9791c5d", _JCOMMONSENSEQA, "114–146"),
    ),
    "examples": (mark("three, two in JSQuAD"), _code("models")),
    "stop": (mark("JSQuAD: a line break"), _jsquad("49")),
    "decoding": (mark("greedy; a choice is tokenized apart from the prompt"), _code("lm_eval/base.py")),
    "length_cap": (mark("none"), _CAP),
    "data": (
        mark("the whole validation split of JGLUE v1.1"),
        CodeSource(_REPOSITORY, "d10571f", f"{_JA}/jnli.py", "64–65"),
    ),
}

_PRESET = Preset("stability-jp", shots=3, shots_by_task=(("jsquad", 2),), method="both")
PROTOCOL = protocol(NAME, _RULES, _SOURCES, _GENERATION, _PRESET)
CAPPED = protocol(
    f"{NAME}-capped",
    _RULES,
    _SOURCES,
    _GENERATION | {"length_cap": (mark("the longest gold answer's tokens: an oracle, as in its published runs"), _CAP)},
    replace(_PRESET, oracle_length=True),
    variant_of=NAME,
)
