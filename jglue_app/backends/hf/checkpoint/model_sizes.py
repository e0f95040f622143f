"""Numbers of layers and experts that no model has: building one of them would take hours or never end."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from jglue_app.errors import ModelError

MAX_LAYERS = 10_000
"""The largest model that is known has some hundred."""
LAYERS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers", "num_decoder_layers", "decoder_layers")
EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts", "n_shared_experts", "moe_num_experts")
_GGUF_LAYERS = ".block_count"
_GGUF_EXPERTS = (".expert_count", ".expert_shared_count")


def reject_impossible_config(name: str, config: Mapping[str, Any]) -> None:
    """Reject a configuration with impossible numbers of layers or experts, also of its text model.

    Args:
        name: of the model, for the message.
        config: the table of its config.json.

    Raises:
        ModelError: a number is none, or out of bounds.
    """
    text = config.get("text_config")
    for table in (config, *((text,) if isinstance(text, Mapping) else ())):
        for setting in (*LAYERS, *EXPERTS):
            if (value := table.get(setting)) is not None:
                _check(name, setting, value, least=1 if setting in LAYERS else 0)


def reject_impossible_gguf(name: str, settings: Iterable[tuple[str, int | float | bool]]) -> None:
    """The same for the settings of a GGUF file."""
    for key, value in settings:
        if key.endswith(_GGUF_LAYERS):
            _check(name, key, value, least=1)
        elif key.endswith(_GGUF_EXPERTS):
            _check(name, key, value, least=0)


def _check(name: str, setting: str, value: Any, least: int) -> None:
    whole = isinstance(value, int) and not isinstance(value, bool)
    if isinstance(value, list) and setting in EXPERTS:  # Of each layer.
        whole, value = all(isinstance(v, int) and least <= v <= MAX_LAYERS for v in value), least
    if not (whole and least <= value <= MAX_LAYERS):
        raise ModelError(
            "The files of {name} say {setting} = {value!r}, which is no number from {least} to {most:,}. Fetch or "
            "export the model again.",
            name=name,
            setting=setting[:100],
            value=value if isinstance(value, int | float) and abs(value) < 10**18 else str(value)[:30],
            least=least,
            most=MAX_LAYERS,
        )
