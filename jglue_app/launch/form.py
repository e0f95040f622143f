"""The form of the Launch job: one table gives its defaults, the JSON schema, and the check of what arrives.

W&B makes a form of the schema and checks nothing when a job starts: whatever somebody wrote into the overrides, or into
a form of an older version, is in the run's config. So everything is checked here, and what is not in the table is
refused: an option that was spelled wrongly and passed over would cost a whole evaluation of something else.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, TypeVar

from jglue_app.backends import backend_for
from jglue_app.data.files import Progress
from jglue_app.errors import InputError, UnknownNameError
from jglue_app.prompts.formats import FORMATS
from jglue_app.prompts.thoughts import THINKING
from jglue_app.runs import presets
from jglue_app.runs.plan import MAX_THINKING_TOKENS, METHODS, Plan, make_plan
from jglue_app.runs.request import DATA, DTYPES, MAX_NAME, MAX_SHOTS, QUANTIZATIONS
from jglue_app.scoring.protocols import PROTOCOLS
from jglue_app.settings import Settings
from jglue_app.tasks import CORE, TASKS
from jglue_app.types import ModelSpec, PromptSpec

T = TypeVar("T")
AUTO = "auto"
KINDS = {"str": ("string", "a text"), "int": ("integer", "a whole number")} | {
    "float": ("number", "a number"),
    "bool": ("boolean", "true or false"),
}
"""Type of a field here → its name in the schema, and in a sentence."""
BOUNDS = {"least": "minimum", "most": "maximum"}
MAX_TEXT = 10_000
"""Characters of a text."""


def _entry(default: T, title: str, description: str, **more: Any) -> T:
    """A field of the form; `more` may hold `choices`, `least`, `most`, `required` and `placeholder`."""
    entry: T = field(default=default, metadata={"title": title, "description": description, **more})
    return entry


@dataclass(frozen=True, slots=True)
class Form:
    """What a launched evaluation is asked for; the fields are options of `run`, by their names."""

    model_name: str = _entry(
        "",
        "Model",
        "The only field that has no default: a Hub id, a folder, a .gguf file or a name that `models` lists.",
        required=True,
        placeholder="owner/model",
    )
    tasks: str = _entry(
        "all",
        "Subsets",
        f"Separated by commas ({', '.join(TASKS)}), or 'all' that the protocol scores (of {', '.join(CORE)}).",
    )
    data: str = _entry(
        "official", "Data", "official (JGLUE v1.3, downloaded by itself) or sample (embedded items).", choices=DATA
    )
    limit: int = _entry(0, "Items per subset", "0 for all.", least=0)
    protocol: str = _entry(
        "official", "Protocol", "Whose scores stand first; those of all are computed.", choices=tuple(PROTOCOLS)
    )
    method: str = _entry(
        "both", "Method", "generate (text), choose (log-likelihood of each answer) or both.", choices=METHODS
    )
    style: str = _entry(AUTO, "Style", "Wording of the prompts; auto for the protocol's own.")
    format: str = _entry(
        AUTO, "Format", "Layout of the prompts; auto for the protocol's own.", choices=(AUTO, *FORMATS)
    )
    shots: int = _entry(
        -1, "Examples", "Solved examples before each question; -1 as the protocol has them.", least=-1, most=MAX_SHOTS
    )
    quantization: str = _entry("none", "Quantization", "none, 8bit or 4bit (bitsandbytes).", choices=QUANTIZATIONS)
    dtype: str = _entry(AUTO, "dtype", "auto: bfloat16 on a GPU that has it, else float32.", choices=DTYPES)
    max_new_tokens: int = _entry(0, "New tokens", "Limit for each answer; 0 for the style's own.", least=0, most=4096)
    thinking: str = _entry(
        "off", "Thinking", "What a chat template is told of thinking: off, on or default (nothing).", choices=THINKING
    )
    max_thinking_tokens: int = _entry(
        0,
        "Tokens of a thought",
        "Limit for each thought, beside the answer's; 0 if they share one.",
        least=0,
        most=MAX_THINKING_TOKENS,
    )
    repetition_penalty: float = _entry(
        0.0,
        "Repetition penalty",
        "Lowers the scores of tokens that were there before, such as 1.2; 1 for none, 0 as the protocol has it.",
        least=0,
    )
    system: str = _entry("", "System turn", "Text of the system turn, for formats that have one.")
    revision: str = _entry("", "Revision", "Branch, tag or commit on the Hub; empty for the default branch.")
    gguf_file: str = _entry("", "GGUF file", "File in a Hub repository that holds GGUF weights; empty for none.")
    allow_bin: bool = _entry(False, "Allow .bin", "Accept pickled .bin weights, read weights-only.")
    device: str = _entry(AUTO, "Device", "auto, cpu, cuda, cuda:1, mps, or balanced over all GPUs.")
    memory: float = _entry(0.0, "Memory", "GiB to work in beside the weights; 0 as is free.", least=0)


TABLE = {f.name: f for f in fields(Form)}
LONG = ("system",)
"""Texts that may have several lines; all others are names."""


def defaults() -> dict[str, Any]:
    """Field → default: what `wandb.init` is given as config."""
    return asdict(Form())


def schema() -> dict[str, Any]:
    """The form as a JSON schema, in W&B Launch's dialect: without `default`, and with `required` at the property."""
    properties: dict[str, dict[str, Any]] = {}
    for name, f in TABLE.items():
        found = {"type": KINDS[str(f.type)][0], "title": f.metadata["title"], "description": _described(name)}
        if "choices" in f.metadata:
            # The default first: it cannot be named as such.
            found["enum"] = sorted(f.metadata["choices"], key=lambda choice: choice != f.default)
        found |= {theirs: f.metadata[ours] for ours, theirs in BOUNDS.items() if ours in f.metadata}
        found |= {key: f.metadata[key] for key in ("required", "placeholder") if key in f.metadata}
        properties[name] = found
    return {"type": "object", "properties": properties}


def _described(name: str) -> str:
    f = TABLE[name]
    text = str(f.metadata["description"])
    return text if f.metadata.get("required") else f"{text} Default: {json.dumps(f.default)}."


def read(given: Mapping[str, Any]) -> Form:
    """A filled-in form; null stands for the default.

    Args:
        given: field → value, as it arrived.

    Raises:
        InputError: a value that its field does not take, or no model.
        UnknownNameError: a field that is not in the form, or a name that is in none of our tables.
    """
    for key in given:
        if key not in TABLE:
            raise UnknownNameError("field of the Launch form", key[:100], TABLE)
    found = Form(**{name: _value(name, value) for name, value in given.items() if value is not None})
    if not found.model_name:
        raise InputError(
            "model_name is empty: it is the one field that has to be filled in. Give a Hub id such as "
            "Qwen/Qwen3-0.6B, a folder or a .gguf file."
        )
    _subsets(found)
    return found


def _value(name: str, value: Any) -> Any:
    kind = str(TABLE[name].type)
    if kind == "float" and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    elif kind == "int" and isinstance(value, float) and value.is_integer():
        value = int(value)  # JSON has one kind of number, and some programs write 7 as 7.0.
    if type(value).__name__ != kind:
        written = json.dumps(value, ensure_ascii=False, default=str)[:100]
        hint = " Write it without quotation marks." if isinstance(value, str) else ""
        raise InputError(
            "{name} takes {kinds}, not {written}.{hint}", name=name, kinds=KINDS[kind][1], written=written, hint=hint
        )
    if isinstance(value, str):
        return _text(name, value)
    least, most = (TABLE[name].metadata.get(key) for key in ("least", "most"))
    if isinstance(value, float) and not math.isfinite(value):
        raise InputError("{name} takes a finite number, not {value}.", name=name, value=value)
    if (least is not None and value < least) or (most is not None and value > most):
        bounds = f"from {least} to {most:,}" if most is not None else f"of at least {least}"
        raise InputError(
            "{name} takes {kinds} {bounds}, not {value}.", name=name, kinds=KINDS[kind][1], bounds=bounds, value=value
        )
    return value


def _text(name: str, text: str) -> str:
    if name in LONG:
        if len(text) > MAX_TEXT:
            raise InputError(
                "{name} has {count:,} characters; it takes at most {max_text:,}.",
                name=name,
                count=len(text),
                max_text=MAX_TEXT,
            )
        return text
    text = text.strip()
    if len(text) > MAX_NAME or any(ord(c) < 32 for c in text):
        raise InputError("{name} takes at most {max_name} characters in one line.", name=name, max_name=MAX_NAME)
    choices = TABLE[name].metadata.get("choices", ())
    if choices and text not in choices:
        raise UnknownNameError(name, text[:100], choices)
    return text


def _subsets(form: Form) -> list[str]:
    names = [name.strip().lower() for name in form.tasks.split(",") if name.strip()]
    if names == ["all"]:
        return presets.subsets(form.protocol)
    if not names:
        raise InputError(
            "tasks is empty. Write 'all', or some of {tasks}, separated by commas.", tasks=", ".join(TASKS)
        )
    for name in names:
        if name not in TASKS:
            raise UnknownNameError("subset in tasks", name[:100], TASKS)
    return list(dict.fromkeys(names))


def plan(form: Form, settings: Settings, progress: Progress | None = None) -> Plan:
    """The plan that `run` makes of the same options.

    Raises:
        InputError, NetworkError: as `make_plan`.
    """
    preset = presets.fill(
        form.protocol,
        None if form.style == AUTO else form.style,
        None if form.format == AUTO else form.format,
        None if form.shots < 0 else form.shots,
        form.method,
        form.repetition_penalty or None,
    )
    return make_plan(
        settings,
        ModelSpec(
            form.model_name,
            backend_for(form.model_name),
            form.revision or None,
            form.dtype,
            form.quantization,
            form.gguf_file or None,
            form.allow_bin,
        ),
        _subsets(form),
        data_kind=form.data,
        limit=form.limit or None,
        prompt=PromptSpec(
            preset.style,
            preset.format,
            preset.shots,
            system=form.system,
            shots_by_task=preset.shots_by_task,
            thinking=form.thinking,
        ),
        decoding=presets.decoding(preset, form.max_new_tokens or None, form.max_thinking_tokens or None),
        progress=progress,
    )
