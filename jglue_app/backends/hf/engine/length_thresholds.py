"""Lengths at which a model may begin to behave differently, read from its configuration.

Sliding windows, chunks, sparse attention, scaled positions: beyond such a threshold, what was found out with a short
sequence need not hold. No I/O.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

_SETTINGS = ("window", "chunk", "index_topk", "block_size", "compress")
"""Parts of the names of settings whose value in tokens is a threshold."""
_OTHER_SETTINGS = ("lm_head", "feed_forward", "pattern", "max_window_layers", "kernel", "blocks", "indices")
"""Parts of the names of settings that are not, although one of the above is in them."""
_KNOWN_LAYERS = {"full_attention", "sliding_attention"}
_FIXED_POSITIONS = {"", "default", "linear", "llama3", "yarn", "proportional"}
"""Types of rotary positions that do not change with the length of the input."""
_LENGTH_DEPENDENT_POSITIONS = ("longrope", "dynamic")
"""Types of rotary positions in which every position depends on the length of the whole input."""


def thresholds(config: Any) -> list[int]:
    """Lengths in tokens after which the model may behave differently, ascending.

    Args:
        config: the text configuration of a transformers model.
    """
    named = (size for sizes in threshold_settings(config).values() for size in sizes)
    return sorted({*named, *_scaled_positions(config)})


def threshold_settings(config: Any) -> dict[str, list[int]]:
    """Name of a setting → its values that are thresholds."""
    settings: dict[str, list[int]] = {}
    for name, value in _all_settings(config.to_dict()):
        is_threshold = any(part in name for part in _SETTINGS) and not any(part in name for part in _OTHER_SETTINGS)
        if is_threshold and isinstance(value, int) and not isinstance(value, bool) and value > 0:
            settings.setdefault(name, []).append(value)
    return settings


def sparse_threshold(config: Any) -> int | None:
    """Tokens above which the model attends to a selection of them; None if it always attends to all."""
    sizes = [size for name, values in threshold_settings(config).items() if "topk" in name for size in values]
    return min(sizes, default=None)


def has_unknown_layers(config: Any) -> bool:
    """Whether the configuration names layers of a type whose thresholds are not known here."""
    return bool(set(getattr(config, "layer_types", None) or ()) - _KNOWN_LAYERS)


def max_batched_length(config: Any) -> int | None:
    """Tokens up to which positions do not depend on the length of the whole input; None if they never do."""
    limits: list[int] = []
    for table in _tables(config.to_dict()):
        kind = str(table.get("rope_type") or table.get("type") or "")
        if any(name in kind for name in _LENGTH_DEPENDENT_POSITIONS):
            original = table.get("original_max_position_embeddings") or getattr(
                config, "original_max_position_embeddings", None
            )
            # Up to there, but not at that length itself where factors of a longer input stay in force.
            limits.append(int(original or getattr(config, "max_position_embeddings", 0) or 2) - 1)
    # Llama 4 scales attention by the position in the row, not in the sequence.
    if getattr(config, "attn_temperature_tuning", False) and getattr(config, "floor_scale", None):
        limits.append(int(config.floor_scale) - 1)
    return min(limits, default=None)


def special_ids(config: Any) -> set[int]:
    """Ids that the configuration gives to something other than text, such as the position of an image."""
    ids: set[int] = set()
    for name, value in _all_settings(config.to_dict()):
        if name.endswith(("token_id", "token_index", "token_ids")) and isinstance(value, int):
            ids.add(value)
    return ids


def _scaled_positions(config: Any) -> list[int]:
    """Lengths from which queries are scaled by their position, or rotary positions of an unknown type may change."""
    lengths: list[int] = []
    for table in _tables(config.to_dict()):
        original = table.get("original_max_position_embeddings")
        kind = str(table.get("rope_type") or table.get("type") or "")
        if isinstance(original, int) and (kind not in _FIXED_POSITIONS or table.get("llama_4_scaling_beta")):
            lengths.append(original)
    return lengths


def _tables(value: Any) -> Iterator[dict[str, Any]]:
    """A table and all tables in it."""
    if isinstance(value, dict):
        yield value
        for inner in value.values():
            yield from _tables(inner)


def _all_settings(table: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """All named values of a configuration, including those in tables and lists."""
    for name, value in table.items():
        if isinstance(value, dict):
            yield from _all_settings(value)
            yield from ((str(name), inner) for inner in value.values())
        elif isinstance(value, Iterable) and not isinstance(value, str):
            yield from ((str(name), inner) for inner in value)
        else:
            yield str(name), value
