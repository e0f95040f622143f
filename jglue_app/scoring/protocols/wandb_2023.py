"""`wandb-2023-4shot`, `wandb-2023-0shot`, `wandb-2023-10-0shot`: the free-generation evaluation of 2023 that set five
JGLUE subsets side by side on a Weights & Biases report, as it was from June, from August and from October.

Source: github.com/wandb/llm-leaderboard, `src/utils.py`, `src/prompt_template.py` and
`src/japanese-task-evaluation.py`, 2023-06-27 to 2023-11-01. How texts are read did not change over that time.

Its arrays of strings are NumPy's, which drop NUL characters from the end of a text. They also cut the 'negative' that a
lone ネガティブ is replaced by to the length of the run's longest output: where no output of a whole run had eight
characters, ネガティブ counted as positive. That is no decision about one output, and not followed here.
"""

from __future__ import annotations

from dataclasses import replace

from jglue_app.messages import mark
from jglue_app.scoring.protocols.decisions import protocol
from jglue_app.scoring.types import CodeSource, Preset, Rules

DEFAULTS: dict[str, str | float] = {
    "marc_ja": "positive",
    "jnli": "entailment",
    "jcommonsenseqa": "0",
    "jcola": "unacceptable",
    "jsts": 2.0,
}
"""What an unreadable answer counts as: constants that score like skill where they happen to be the gold."""

_TRIMMED = (("trimmed", "prediction"), ("without_nul", "prediction"))
_JUNE = {
    "marc_ja": Rules(
        metrics=("accuracy",),
        text=(*_TRIMMED, ("lower", "prediction")),
        reading="contains_negative",
        unreadable=DEFAULTS["marc_ja"],
    ),
    "jsts": Rules(
        metrics=("pearson", "spearman"),
        text=(("trimmed", "prediction"), ("digits_kept", "prediction")),
        reading="float",
        clip=True,
        unreadable=DEFAULTS["jsts"],
    ),
    "jnli": Rules(
        metrics=("accuracy",),
        labels="v1.1",
        text=(*_TRIMMED, ("lower", "prediction")),
        reading="label",
        unreadable=DEFAULTS["jnli"],
    ),
    "jsquad": Rules(
        metrics=("exact_match", "f1"),
        items="short_references",
        text=(
            *_TRIMMED,
            ("without_brackets", "prediction"),
            ("nfkc", "prediction"),
            ("without_nul", "prediction"),
        ),
        reading="whole",
        f1="sorted_words_difflib",
    ),
    "jcommonsenseqa": Rules(
        metrics=("accuracy",),
        text=_TRIMMED[:1],
        reading="leading_digits",
        unreadable=DEFAULTS["jcommonsenseqa"],
    ),
}
_AUGUST = _JUNE | {"jsts": replace(_JUNE["jsts"], undefined="zero")}
_OCTOBER = _AUGUST | {
    task: replace(_AUGUST[task], metrics=("accuracy", "balanced_accuracy")) for task in ("marc_ja", "jnli")
}
_OCTOBER["jcola"] = Rules(
    metrics=("accuracy", "balanced_accuracy"),
    text=(("trimmed", "prediction"), ("lower", "prediction")),
    reading="leading_digits",
    unreadable=DEFAULTS["jcola"],
)


def _code(commit: str, path: str, lines: str = "") -> CodeSource:
    return CodeSource("wandb/llm-leaderboard", commit, path, lines)


def _read(lines: str) -> CodeSource:
    return _code("07fcaf5", "src/utils.py", lines)


def _script(lines: str) -> CodeSource:
    return _code("e29a390", "src/japanese-task-evaluation.py", lines)


_LABELS = _script("90–95")
_SOURCES = {
    "": {"": _read("15–244"), "labels": _LABELS},
    "marc_ja": {"": _read("29–48"), "metrics": _read("46–48")},
    "jsts": {"": _read("65–84"), "clip": _read("71–74"), "undefined": _read("75–76")},
    "jnli": {"": _read("102–113"), "metrics": _read("114–117"), "labels": _LABELS},
    "jsquad": {"": _read("137–175"), "items": _read("131–134"), "f1": _read("168–169"), "references": _read("165–169")},
    "jcommonsenseqa": {"": _read("192–210")},
    "jcola": {"": _read("212–244")},
}
_TOKENS = (mark("5, 3, 3, 25 and 5 (MARC-ja, JSTS, JNLI, JSQuAD, JCommonsenseQA)"), _script("64–134"))
_WHOLE = (mark("the whole validation split of JGLUE v1.1"), _script("58–63"))
_JUNE_CODE = _code("171e444", "src/japanese-task-evaluation.py")
_JUNE_GENERATION = {
    "prompt": (
        mark("an instruction for each subset; that of JCommonsenseQA is JSQuAD's, above numbers"),
        _code("171e444", "src/prompt_template.py", "3–116"),
    ),
    "examples": (mark("four fixed ones in the prompt"), _code("171e444", "src/prompt_template.py", "3–116")),
    "new_tokens": _TOKENS,
    "stop": (mark("no stop strings; end token 0 in JSQuAD and JCommonsenseQA"), _JUNE_CODE),
    "decoding": (mark("greedy"), _JUNE_CODE),
    "repetition_penalty": (mark("1.2 in MARC-ja, JSTS and JNLI, 1.1 in JSQuAD and JCommonsenseQA"), _JUNE_CODE),
    "data": _WHOLE,
}
_AUGUST_GENERATION = {
    "prompt": (
        mark("no cue at its end, choices as 0.x,1.y,… on one line, whole numbers for JSTS"),
        _code("43a75f6", "src/prompt_template.py", "3–7"),
    ),
    "examples": (mark("none"), _code("43a75f6", "src/prompt_template.py", "3–7")),
    "new_tokens": _TOKENS,
    "stop": (mark("no stop strings"), _script("64–134")),
    "decoding": (mark("temperature 0"), _script("44–47")),
    "repetition_penalty": (mark("none"), _script("64–134")),
    "data": _WHOLE,
}

JUNE = protocol(
    "wandb-2023-4shot",
    _JUNE,
    _SOURCES,
    _JUNE_GENERATION,
    Preset(
        "wandb-2023",
        4,
        repetition_penalty=tuple({**dict.fromkeys(_JUNE, 1.2), "jsquad": 1.1, "jcommonsenseqa": 1.1}.items()),
    ),
    variant_of="wandb-2023-0shot",
)
AUGUST = protocol("wandb-2023-0shot", _AUGUST, _SOURCES, _AUGUST_GENERATION, Preset("wandb-2023-08", 0))
OCTOBER = protocol(
    "wandb-2023-10-0shot",
    _OCTOBER,
    _SOURCES,
    _AUGUST_GENERATION,
    Preset("wandb-2023-08", 0),
    variant_of="wandb-2023-0shot",
)
