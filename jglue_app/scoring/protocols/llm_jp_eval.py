"""`llm-jp-eval`, `swallow-202411`: exact match and character ratios against the first reference, after NFKC.

Source: llm-jp-eval 1.3.0 of LLM-jp, and Swallow's evaluation of November 2024, which vendors it
(github.com/swallow-llm/swallow-evaluation, `llm-jp-eval/`). MARC-ja is in neither; it is scored here as JNLI is.
"""

from __future__ import annotations

from dataclasses import replace

from jglue_app.messages import mark
from jglue_app.scoring.protocols.decisions import protocol
from jglue_app.scoring.types import CodeSource, Preset, Rules

_TEXT = (("trimmed", "prediction"), ("to_blank_line", "prediction"), ("nfkc", "both"))
_LABEL = Rules(metrics=("exact_match",), text=_TEXT)
_RULES = {
    "marc_ja": _LABEL,
    "jsts": Rules(
        metrics=("pearson", "spearman"),
        text=(*_TEXT, ("digits_kept", "prediction")),
        reading="float",
        unreadable=-2.0,
        undefined="zero",
    ),
    "jnli": replace(_LABEL, labels="v1.1"),
    "jsquad": Rules(
        metrics=("char_f1", "exact_match"), text=_TEXT, reading="whole", references="first", f1="sorted_words_indel"
    ),
    "jcommonsenseqa": _LABEL,
}
_SWALLOW = {name: rules for name, rules in _RULES.items() if name != "marc_ja"} | {
    "jnli": replace(_RULES["jnli"], metrics=("exact_match", "balanced_accuracy"))
}


def _code(commit: str, path: str, lines: str = "") -> CodeSource:
    return CodeSource("swallow-llm/swallow-evaluation", commit, path, lines)


_UTILS = "llm-jp-eval/src/llm_jp_eval/utils.py"


def _dataset(name: str, lines: str) -> CodeSource:
    return _code("635f5a8", f"llm-jp-eval/src/llm_jp_eval/datasets/{name}.py", lines)


_SOURCES = {
    "": {"": _code("13eacc8", _UTILS, "17–18"), "metrics": _dataset("jnli", "15–16")},
    "jsts": {
        "metrics": _dataset("jsts", "15–16"),
        "reading": _code("13eacc8", _UTILS, "8–14"),
        "unreadable": _code("13eacc8", _UTILS, "8–14"),
    },
    "jnli": {"labels": _dataset("jnli", "25–30")},
    "jsquad": {"metrics": _dataset("jsquad", "15–16"), "references": _dataset("jsquad", "53–62")},
    "jcommonsenseqa": {"metrics": _dataset("jcommonsenseqa", "17–18")},
}


def _config(lines: str) -> CodeSource:
    return _code("5ecff0f", "llm-jp-eval/configs/config_no-sample.yaml", lines)


_GENERATION = {
    "prompt": (mark("an instruction, then inputs and answers under headings"), _code("13eacc8", _UTILS, "21–45")),
    "examples": (mark("the first four of its shuffled train file"), _code("13eacc8", _UTILS, "21–45")),
    "new_tokens": (
        mark("3, 3, 25 and 1 (JSTS, JNLI, JSQuAD, JCommonsenseQA)"),
        _dataset("{jsts,jnli,jsquad,jcommonsenseqa}", "15–17"),
    ),
    "stop": (mark("none; the answer is cut when it is scored"), _code("13eacc8", _UTILS)),
    "decoding": (mark("greedy"), _config("43")),
    "repetition_penalty": (mark("none"), _config("44")),
    "data": (mark("JGLUE v1.1; by default 100 items of a subset"), _config("40")),
}
PROTOCOL = protocol("llm-jp-eval", _RULES, _SOURCES, _GENERATION, Preset("llm-jp-eval", shots=4))

_SCRIPT = _code("b0e50d0", "scripts/abci/rt_HF/evaluate_ja_llmjp.sh", "34–36")
SWALLOW = protocol(
    "swallow-202411",
    _SWALLOW,
    _SOURCES | {"jnli": _SOURCES["jnli"] | {"metrics": _code("71d224b", "scripts/re_evaluate_nli_task.py", "18–29")}},
    _GENERATION | {"data": (mark("the whole validation split of JGLUE v1.1"), _SCRIPT)},
    Preset("llm-jp-eval", shots=4),
)
