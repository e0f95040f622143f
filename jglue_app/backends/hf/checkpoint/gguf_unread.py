"""What a GGUF file says of a model and transformers does not read from it, so that another model would answer.

transformers takes few of the settings into its configuration, and weights that have no place in what it then builds
are left out without a word. Positions that are scaled are put right here, where it is known how; all else is refused.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from jglue_app.backends.hf.checkpoint.gguf_header import Header, float32
from jglue_app.errors import ModelError
from jglue_app.messages import Joined

FREQUENCIES = "rope_freqs.weight"
"""Tensor with what the rotary frequencies are divided by, as in Llama 3.1."""
LLAMA3_CONTEXTS = (8_192, 4_096, 16_384, 32_768, 2_048)
"""Positions that models were trained with before these were scaled as in Llama 3.1, the usual ones first."""
_LOW, _HIGH = 1.0, 4.0
"""Of that scaling: shares of these positions between which it sets in."""
_SCALED = ("llama", "qwen2", "qwen3")
"""Architectures with one kind of positions, whose scaling is known here."""
_WINDOWED = "phi3"
"""Architecture whose window transformers does not read, though its configuration has a place for it."""
_SCALED_BY_WIDTH = (("gemma2", 46), ("gemma3", 62))
"""Architecture and layers of the models of 27B, whose attention is scaled by the width of all heads together, as their
own config.json says; no setting of the file tells that, and transformers takes the scale of the smaller ones."""
_TAKEN_OTHERWISE = ("bloom", "falcon", "stablelm", "starcoder2")
"""Architectures of which transformers reads some settings not at all."""
_WITHOUT_BIAS = ("llama", "gemma", "gemma2", "gemma3")
"""Architectures that transformers builds without biases whatever the file holds."""
_CAPS = {
    "attn_logit_softcapping": "attn_logit_softcapping",
    "final_logit_softcapping": "final_logit_softcapping",
}
_FACTORS = ("attention.scale", "logit_scale", "embedding_scale", "residual_scale", "attention.clamp_kqv")
"""Settings of which transformers reads none."""
_NO_TOKEN = 2**31
"""Ids from here on stand for none."""
_ROUNDING = 1e-4


def needs_correction(header: Header) -> bool:
    """Whether settings, positions, windows, scales or end tokens have to be put right in what transformers makes of a
    file."""
    if (
        header.architecture in _TAKEN_OTHERWISE
        or _window(header)
        or _is_scaled_by_width(header)
        or len(_end_ids(header)) > 1
    ):
        return True
    return _scaling(header) is not None or FREQUENCIES in header.tensors


def reject_unread(file: str, header: Header) -> None:
    """Reject a file of which transformers leaves out what changes results, by its header alone.

    Args:
        file: its name, for messages.
        header: of the file.

    Raises:
        ModelError: its positions are scaled in a way that is not known here, or it has biases that would be left out.
    """
    scaling = _scaling(header)
    if scaling and not _known(header.architecture, *scaling):
        settings = [f"{key} = {value}" for key, value in _scaling_settings(header)]
        raise _unread(file, Joined(", ", settings))
    if header.architecture in _WITHOUT_BIAS:
        reject_left_out(file, header, [name for name in header.tensors if name.endswith(".bias")])


def reject_left_out(file: str, header: Header, names: Sequence[str]) -> None:
    """Raise ModelError if there are tensors without a place in the model that transformers builds."""
    if names:
        raise ModelError(
            "{file} holds weights that have no place in the {architecture} model that transformers builds from a GGUF "
            "file ({names}): without them another model would answer. Use a safetensors repository of this model.",
            file=file,
            architecture=header.architecture,
            names=Joined(", ", sorted(names)[:3]),
        )


def other_sizes(file: str, name: str, stored: Sequence[int], expected: Sequence[int]) -> ModelError:
    """The error of a weight that has other sizes than the settings of its file say.

    Args:
        file: its name.
        name: of the weight.
        stored: its sizes.
        expected: those by the settings.
    """
    return ModelError(
        "The weights of {file} do not have the sizes that its settings say ({name}: {stored} in the file, {expected} "
        "by the settings). Fetch it again, or use a safetensors repository of this model.",
        file=file,
        name=name,
        stored="×".join(map(str, stored)),
        expected="×".join(map(str, expected)),
    )


def reject_other_settings(file: str, header: Header, config: Any) -> None:
    """Reject a file that says something else of positions, windows or caps than the configuration that transformers
    has made of it.

    Raises:
        ModelError: it does.
    """
    for key, value, taken in _compared(header, config):
        if taken is not None and not math.isclose(value, taken, rel_tol=1e-6):
            raise unread(file, header, key, f"{value:g}")


def put_right(path: Path, header: Header, folder: Path) -> None:
    """Write into a converted config.json how the file scales positions and attention, and its window; into
    generation_config.json all tokens that end an answer.

    Raises:
        ModelError: its frequencies are not of a kind that is known here.
    """
    scaling = _scaling(header)
    factors = float32(path, header, FREQUENCIES) if FREQUENCIES in header.tensors else None
    file = folder / "config.json"
    table = json.loads(file.read_text("utf-8"))
    rope = table.get("rope_parameters")
    if window := _window(header):
        table["sliding_window"] = window
    if _is_scaled_by_width(header):
        table["query_pre_attn_scalar"] = table["hidden_size"] // table["num_attention_heads"]
    if scaling is not None and isinstance(rope, dict):
        kind, parameters = scaling
        part = rope["full_attention"] if header.architecture == "gemma3" else rope
        part |= {"rope_type": kind, **parameters}
    elif FREQUENCIES in header.tensors:
        if factors is None or not isinstance(rope, dict) or "rope_theta" not in rope:
            raise _unread(path.name, FREQUENCIES)
        if max(abs(factor - 1) for factor in factors) > _ROUNDING:
            found = llama3_scaling(factors, rope["rope_theta"])
            if found is None:
                raise _unread(path.name, FREQUENCIES)
            rope |= found
    _write(file, table)
    if len(ids := _end_ids(header)) > 1:
        generation = folder / "generation_config.json"
        settings = json.loads(generation.read_text("utf-8")) if generation.is_file() else {}
        _write(generation, settings | {"eos_token_id": ids})


def _write(file: Path, table: Mapping[str, Any]) -> None:
    file.write_text(json.dumps(table, indent=2, sort_keys=True) + "\n", "utf-8")


def _end_ids(header: Header) -> list[int]:
    """Ids of the tokens that end a text, a turn or a message, as the file names them; each once."""
    ids = (header.settings.get(f"tokenizer.ggml.{name}_token_id") for name in ("eos", "eot", "eom"))
    return list(dict.fromkeys(int(id_) for id_ in ids if isinstance(id_, int) and 0 <= id_ < _NO_TOKEN))


def llama3_scaling(factors: Sequence[float], theta: float) -> dict[str, Any] | None:
    """The parameters of the scaling of Llama 3.1 by which rotary frequencies are divided by these factors; None if they
    are not those of any that is known.

    Args:
        factors: one for each frequency, the highest frequency first.
        theta: base of the frequencies.
    """
    factor = max(factors)
    for context in LLAMA3_CONTEXTS:
        expected = [_llama3_factor(k / len(factors), theta, factor, context) for k in range(len(factors))]
        if all(math.isclose(a, b, rel_tol=_ROUNDING) for a, b in zip(factors, expected, strict=True)):
            return {
                "rope_type": "llama3",
                "factor": float(round(factor, 4)),
                "low_freq_factor": _LOW,
                "high_freq_factor": _HIGH,
                "original_max_position_embeddings": context,
            }
    return None


def _llama3_factor(place: float, theta: float, factor: float, context: int) -> float:
    """What the frequency at a place from 0 to 1 is divided by: 1 for the highest ones, `factor` for the lowest."""
    turns = context / (2 * math.pi * theta**place)
    smooth = min(max((turns - _LOW) / (_HIGH - _LOW), 0.0), 1.0)
    return float(1 / ((1 - smooth) / factor + smooth))


def _scaling_settings(header: Header) -> Iterator[tuple[str, Any]]:
    prefix = f"{header.architecture}.rope.scal"
    return ((key, value) for key, value in header.settings.items() if key.startswith(prefix))


def _scaling(header: Header) -> tuple[str, Mapping[str, Any]] | None:
    """Kind and parameters of the scaling of positions that the settings name; None if there is none."""
    kind = header.own("rope.scaling.type")
    old, factor = header.own("rope.scale_linear"), header.own("rope.scaling.factor")
    if kind is None and old not in (None, 0.0, 1.0):
        kind, factor = "linear", old
    if kind == "none" or factor in (None, 0.0, 1.0):
        return None
    parameters: dict[str, Any] = {"factor": factor}
    if (context := header.own("rope.scaling.original_context_length")) is not None:
        parameters["original_max_position_embeddings"] = context
    return str(kind or "linear"), parameters


def _window(header: Header) -> int:
    """The window that has to be put into the configuration; 0 if there is none."""
    window = header.own("attention.sliding_window") if header.architecture == _WINDOWED else None
    return window if isinstance(window, int) else 0


def _is_scaled_by_width(header: Header) -> bool:
    return (header.architecture, header.own("block_count")) in _SCALED_BY_WIDTH


def _known(architecture: str, kind: str, parameters: Mapping[str, Any]) -> bool:
    if architecture == "gemma3":  # Of its layers that see everything.
        return kind == "linear"
    if architecture not in _SCALED:
        return False
    return kind == "linear" or (kind == "yarn" and "original_max_position_embeddings" in parameters)


def _compared(header: Header, config: Any) -> Iterator[tuple[str, float, float | None]]:
    """Key, value in the file, and value that is taken for it; None for one that cannot be told."""
    for key in _FACTORS:
        if isinstance(value := header.own(key), int | float) and value:
            yield key, value, 1.0
    for key, name in _CAPS.items():
        if isinstance(value := header.own(key), int | float) and value:
            yield key, value, getattr(config, name, None) or 0.0
    window, reach = header.own("attention.sliding_window"), getattr(config, "max_position_embeddings", None)
    if isinstance(window, int) and 0 < window < (reach or window) and not _window(header):
        yield "attention.sliding_window", window, getattr(config, "sliding_window", None) or 0
    rotary, heads = header.own("rope.dimension_count"), getattr(config, "num_attention_heads", None)
    if isinstance(rotary, int) and rotary and isinstance(heads, int) and not header.architecture.startswith("gemma"):
        width = getattr(config, "head_dim", None) or config.hidden_size // heads
        rope = getattr(config, "rope_parameters", None) or {}
        share = rope.get("partial_rotary_factor") or getattr(config, "partial_rotary_factor", None) or 1.0
        yield "rope.dimension_count", rotary, getattr(config, "rotary_dim", None) or int(width * share)


def unread(file: str, header: Header, key: str, value: Any) -> ModelError:
    """The error of a setting of the architecture that would be left out."""
    return _unread(file, f"{header.architecture}.{key} = {value}")


def _unread(file: str, settings: Any) -> ModelError:
    return ModelError(
        "{file} says {settings}, which transformers does not read from a GGUF file: another model would answer. Use a "
        "safetensors repository of this model.",
        file=file,
        settings=settings,
    )
