"""A comparison as somebody asks for it, in the three shapes in which it travels: plans, a command line, a link.

No shape holds a secret. `query` and `from_query` are inverse to each other, but for `allow_bin`: a link allows nobody
to read pickled weights.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal
from urllib.parse import urlencode

from jglue_app.backends import backend_for
from jglue_app.errors import InputError, UnknownNameError
from jglue_app.prompts.formats import FORMATS
from jglue_app.prompts.styles import style_names
from jglue_app.prompts.thoughts import THINKING
from jglue_app.runs.plan import MAX_THINKING_TOKENS, METHODS, Plan, make_plan, penalty_of
from jglue_app.settings import Settings
from jglue_app.tasks import CORE, TASKS
from jglue_app.types import Decoding, ModelSpec, PromptSpec, RunSpec
from jglue_app.version import __version__

DATA = ("sample", "official")
SPLITS = ("valid", "test")
"""Splits that a configuration may ask for."""
QUANTIZATIONS = ("none", "8bit", "4bit")
DTYPES = ("auto", "float32", "bfloat16", "float16")
MAX_SHOTS = 16
MOST_WHOLE = 999_999_999
MAX_DIGITS = 30
MAX_NAME = 500
"""Characters of a model's name."""

Plans = list[tuple[Literal["a", "b"], Plan]]


@dataclass(frozen=True, slots=True)
class Side:
    """One model with its prompt."""

    model: str = "gemma-3-270m"
    format: str = "plain"
    style: str = "ja-labels"
    shots: int = 0
    quantization: str = "none"
    dtype: str = "auto"
    thinking: str = "off"
    max_thinking_tokens: int = 0
    """Most tokens of a thought; 0 if it takes them from the answer's."""
    repetition_penalty: float = 1.0
    """Of all subsets; 1 is none."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """What is asked of one or two models."""

    tasks: tuple[str, ...] = CORE
    data: str = "sample"
    limit: int | None = 5
    """Items per subset; None for all."""
    method: str = "both"
    a: Side = field(default_factory=Side)
    b: Side | None = None
    allow_bin: bool = False
    split: str = "valid"
    """`valid` or `test`."""

    @property
    def sides(self) -> dict[Literal["a", "b"], Side]:
        """The sides there are."""
        return {"a": self.a} if self.b is None else {"a": self.a, "b": self.b}


def plans(settings: Settings, asked: Configuration) -> Plans:
    """One plan for each side, everything checked again: neither links nor programs are bound by a page's controls.

    Raises:
        InputError: what cannot be done, with a remedy.
        NetworkError: a data file is missing and cannot be downloaded.
    """
    if asked.limit is not None and asked.limit > settings.max_items:
        raise InputError(
            "At most {max_items:,} items of a subset can be asked for here. Ask for fewer.",
            max_items=settings.max_items,
        )
    if asked.limit is None and settings.public:
        asked = replace(asked, limit=settings.max_items)
    found = [(name, _plan(settings, asked, side)) for name, side in asked.sides.items()]
    if len(found) == 2 and found[0][1].spec == found[1][1].spec:
        raise InputError("A and B are the same. Change one of them, such as the number of examples.")
    return found


def _plan(settings: Settings, asked: Configuration, side: Side) -> Plan:
    name = side.model.strip()
    if not name:
        raise InputError("There is no model. Choose one of the list, or type its name.")
    if len(name) > MAX_NAME or any(ord(c) < 32 for c in name):
        raise InputError(
            "A model's name has at most {max_name} characters and no line ends. Give an id or a path.",
            max_name=MAX_NAME,
        )
    if len(side.style) > MAX_NAME:
        raise InputError("A style's name has at most {max_name} characters.", max_name=MAX_NAME)
    if not 0 <= side.shots <= MAX_SHOTS:
        raise InputError("The number of examples is from 0 to {max_shots}.", max_shots=MAX_SHOTS)
    for kind, value, known in (
        ("data", asked.data, DATA),
        ("split", asked.split, SPLITS),
        ("quantization", side.quantization, QUANTIZATIONS),
        ("dtype", side.dtype, DTYPES),
        ("thinking", side.thinking, THINKING),
    ):
        if value not in known:
            raise UnknownNameError(kind, value, known)
    return make_plan(
        settings,
        _model(asked, side),
        tuple(dict.fromkeys(asked.tasks)),  # A file is read for each.
        data_kind=asked.data,
        split=asked.split,
        limit=asked.limit,
        prompt=_prompt(side),
        decoding=_decoding(asked, side),
    )


def _model(asked: Configuration, side: Side) -> ModelSpec:
    name = side.model.strip()
    return ModelSpec(
        name, backend_for(name), dtype=side.dtype, quantization=side.quantization, allow_bin=asked.allow_bin
    )


def _prompt(side: Side) -> PromptSpec:
    return PromptSpec(style=side.style, format=side.format, shots=side.shots, thinking=side.thinking)


def _decoding(asked: Configuration, side: Side) -> Decoding:
    return Decoding(
        method=asked.method,
        max_thinking_tokens=side.max_thinking_tokens or None,
        repetition_penalty=side.repetition_penalty,
    )


def of_spec(spec: RunSpec) -> Configuration | None:
    """What asks for a stored run again; None where it was made with settings that a configuration has not, such as
    another seed, a limit on tokens, or by another version of this application."""
    found = Configuration(
        tasks=spec.tasks,
        data="sample" if spec.data_version.startswith("sample") else "official",
        limit=spec.limit,
        method=spec.decoding.method,
        a=Side(
            spec.model.id,
            spec.prompt.format,
            spec.prompt.style,
            spec.prompt.shots,
            spec.model.quantization,
            spec.model.dtype,
            spec.prompt.thinking,
            spec.decoding.max_thinking_tokens or 0,
            spec.decoding.repetition_penalty,
        ),
        allow_bin=spec.model.allow_bin,
        split=spec.split if spec.split in SPLITS else "valid",
    )
    same = replace(
        spec,
        model=_model(found, found.a),
        prompt=_prompt(found.a),
        decoding=_decoding(found, found.a),
        split=found.split,
        seed=0,
    )
    # Whatever files the model has by now: another run, if they are others.
    plain = replace(spec, model=replace(spec.model, files_sha256=None))
    return found if same == replace(plain, code_version=__version__) else None


def of_pair(a: RunSpec, b: RunSpec) -> Configuration | None:
    """What asks for two stored runs again, side by side; None where one configuration cannot."""
    left, right = of_spec(a), of_spec(b)
    if left is None or right is None or left != replace(right, a=left.a):
        return None
    return replace(left, b=right.a)


# --- as a command line ----------------------------------------------------------------------------------


def command(asked: Configuration) -> str:
    """The command that makes the same run or comparison and shows its scores."""
    usual = Side()
    parts = ["python", "-m", "jglue_app"]
    if asked.b is None:
        parts += ["run", "--model", asked.a.model]
    else:
        parts += ["compare", "--a", asked.a.model]
        parts += ["--b", asked.b.model] if asked.b.model != asked.a.model else []
    if set(asked.tasks) != set(CORE):
        parts += ["--tasks", ",".join(asked.tasks)]
    parts += ["--data", asked.data]
    if asked.split != "valid":
        parts += ["--split", asked.split]
    if asked.limit is not None:
        parts += ["--limit", str(asked.limit)]
    parts += ["--method", asked.method]
    settings = ("style", "format", "shots", "dtype", "quantization", "thinking", "max_thinking_tokens")
    for name in (*settings, "repetition_penalty"):
        own = getattr(asked.a, name)
        prefix, option = "--" if asked.b is None else "--a-", name.replace("_", "-")
        if own != getattr(usual, name):
            parts += [f"{prefix}{option}", str(own)]
        if asked.b is not None and (other := getattr(asked.b, name)) != own:
            parts += [f"--b-{option}", str(other)]
    if asked.allow_bin:
        parts.append("--allow-bin")
    return shlex.join(parts)


# --- as a link ------------------------------------------------------------------------------------------

_SIDE_KEYS = {"model": "", "format": "-format", "style": "-style", "shots": "-shots"} | {
    "quantization": "-quantization",
    "dtype": "-dtype",
    "thinking": "-thinking",
    "max_thinking_tokens": "-max-thinking-tokens",
    "repetition_penalty": "-repetition-penalty",
}


def query(asked: Configuration) -> str:
    """The configuration as the query of a link, such as `tasks=jnli&data=sample&limit=5…`."""
    found = {"tasks": ",".join(asked.tasks), "data": asked.data, "limit": str(asked.limit or "all")}
    if asked.split != "valid":
        found["split"] = asked.split
    found["method"] = asked.method
    for name, side in asked.sides.items():
        for key, end in _SIDE_KEYS.items():
            if key == "model" or getattr(side, key) != getattr(Side(), key):
                found[f"{name}{end}"] = str(getattr(side, key))
    return urlencode(found, safe=",/")


def from_query(params: Mapping[str, str]) -> Configuration | None:
    """The configuration that a link asks for; None if it asks for none. Nothing of it has been checked but its shape.

    Raises:
        InputError: a value of the wrong shape, named with what is known.
    """
    if not set(params) & {"a", "tasks", "b"}:
        return None
    usual = Configuration()
    tasks = tuple(dict.fromkeys(name for name in params.get("tasks", ",".join(CORE)).split(",") if name))
    for name in tasks:
        if name not in TASKS:
            raise UnknownNameError("task", name[:100], TASKS)
    method = params.get("method", usual.method)
    if method not in METHODS:
        raise UnknownNameError("method", method[:100], METHODS)
    data = params.get("data", usual.data)
    if data not in DATA:
        raise UnknownNameError("data", data[:100], DATA)
    split = params.get("split", usual.split)
    if split not in SPLITS:
        raise UnknownNameError("split", split[:100], SPLITS)
    limit = params.get("limit", str(usual.limit))
    return Configuration(
        tasks,
        data,
        None if limit == "all" else _whole("limit", limit, least=1),
        method,
        _side(params, "a"),
        _side(params, "b") if "b" in params else None,
        split=split,
    )


def _side(params: Mapping[str, str], name: str) -> Side:
    usual = Side()
    texts = {key: params.get(f"{name}{end}", str(getattr(usual, key))) for key, end in _SIDE_KEYS.items()}
    for key, known in (
        ("format", tuple(FORMATS)),
        ("quantization", QUANTIZATIONS),
        ("dtype", DTYPES),
        ("thinking", THINKING),
    ):
        if texts[key] not in known:
            raise UnknownNameError(key, texts[key][:100], known)
    if texts["style"] not in style_names() and not texts["style"].endswith(".toml"):
        raise UnknownNameError("style", texts["style"][:100], style_names())
    if len(texts["model"]) > MAX_NAME:
        raise InputError("A model's name has at most {max_name} characters.", max_name=MAX_NAME)
    if len(texts["style"]) > MAX_NAME:
        raise InputError("A style's name has at most {max_name} characters.", max_name=MAX_NAME)
    return Side(
        texts["model"],
        texts["format"],
        texts["style"],
        _whole(f"{name}-shots", texts["shots"], most=MAX_SHOTS),
        texts["quantization"],
        texts["dtype"],
        texts["thinking"],
        _whole(f"{name}-max-thinking-tokens", texts["max_thinking_tokens"], most=MAX_THINKING_TOKENS),
        _penalty(f"{name}-repetition-penalty", texts["repetition_penalty"]),
    )


def _penalty(name: str, text: str) -> float:
    try:
        if not text.isascii() or len(text) > MAX_DIGITS or "_" in text:
            raise ValueError
        return penalty_of(float(text))
    except (ValueError, InputError):
        raise InputError(
            "{name} in this link must be a number above 0, such as 1.2, not {text!r}. Correct the link.",
            name=name,
            text=text[:50],
        ) from None


def _whole(name: str, text: str, *, least: int = 0, most: int = MOST_WHOLE) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10 and least <= int(text) <= most):
        bounds = f"from {least} to {most:,}" if most < MOST_WHOLE else f"of at least {least}"
        raise InputError(
            "{name} in this link must be a whole number {bounds}, not {text!r}. Correct the link.",
            name=name,
            bounds=bounds,
            text=text[:50],
        )
    return int(text)
