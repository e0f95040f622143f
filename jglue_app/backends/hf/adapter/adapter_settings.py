"""The settings of an adapter, adapter_config.json: whether it is of a kind that is applied here, and what it is called.

peft would drop an option that it does not know, virtual tokens do not go through our engines, and some options change
the weights of the base model. Each of these would give numbers of something else, so they are rejected.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from jglue_app.errors import ModelError
from jglue_app.messages import Joined, Message

TYPES: Mapping[str, str] = {
    **{
        "LORA": "LoRA",
        "ADALORA": "AdaLoRA",
        "IA3": "IA³",
        "LOHA": "LoHa",
        "LOKR": "LoKr",
        "OFT": "OFT",
        "BOFT": "BOFT",
    },
    **{"HRA": "HRA", "LN_TUNING": "LN tuning", "VERA": "VeRA", "TRAINABLE_TOKENS": "trainable tokens"},
    **{"FOURIERFT": "FourierFT", "RANDLORA": "RandLoRA", "MISS": "MiSS", "SHIRA": "SHiRA", "ROAD": "RoAd"},
}
"""Type of peft → its name for people. Each was compared with the same adapter merged into its base."""
VIRTUAL_TOKENS = frozenset(
    ("PROMPT_TUNING", "MULTITASK_PROMPT_TUNING", "P_TUNING", "PREFIX_TUNING", "CPT", "CARTRIDGE", "ADAPTION_PROMPT")
)
_PLAIN_INIT = frozenset(("gaussian", "eva", "orthogonal"))
"""Values of `init_lora_weights`, beside true and false, that leave the base weights as they are."""
_NOT_APPLIED = (
    *("alora_invocation_tokens", "layer_replication", "target_parameters", "megatron_config", "use_qalora"),
    *("use_bdlora", "arrow_config", "velora_config", "monteclora_config", "kasa_config"),
)
"""Options of LoRA that need more than a change of layers, or were never compared with a merged adapter."""
_NOT_OF_A_CLASS = frozenset(("peft_version", "auto_mapping", "revision"))


def check_settings(name: str, table: Mapping[str, Any]) -> None:
    """Reject an adapter that is not applied here.

    Args:
        name: of the adapter, for the message.
        table: of its adapter_config.json.

    Raises:
        ModelError: its type or one of its options is not applied here, or not known to the installed peft.
    """
    kind = str(table.get("peft_type") or "").upper()
    if kind in VIRTUAL_TOKENS:
        raise ModelError(
            "The adapter {adapter} is of the type {type}, which adds virtual tokens or layers to every prompt; that is "
            "not applied here. Choose an adapter that changes weights, such as LoRA.",
            adapter=name,
            type=kind,
        )
    if kind not in TYPES:
        raise ModelError(
            "The adapter {adapter} is of the type {type}, which is not applied here. Merge it into its base model "
            "(`merge_and_unload()` of peft) and name the merged folder as the model, or choose one of {known}.",
            adapter=name,
            type=kind or Message("none"),
            known=Joined(", ", TYPES),
        )
    _reject_unknown(name, kind, table)
    for option in _NOT_APPLIED:
        if table.get(option):
            raise _not_applied(name, option)
    init = table.get("init_lora_weights")
    if kind == "LORA" and not (init is None or isinstance(init, bool) or str(init) in _PLAIN_INIT):
        raise ModelError(
            "The adapter {adapter} belongs to base weights that its training changed (init_lora_weights: {init}). "
            "Convert it to a plain LoRA with `path_initial_model_for_weight_conversion` of peft's save_pretrained, "
            "or merge it and name the merged folder as the model.",
            adapter=name,
            init=init,
        )


def _reject_unknown(name: str, kind: str, table: Mapping[str, Any]) -> None:
    """Reject an option that the installed peft would drop without a word, unless it is off."""
    import peft

    known = {
        field.name for field in dataclasses.fields(peft.PEFT_TYPE_TO_CONFIG_MAPPING[peft.PeftType(kind)])
    } | _NOT_OF_A_CLASS
    unknown = sorted(option for option, value in table.items() if option not in known and value)
    if unknown:
        raise ModelError(
            "The adapter {adapter} has the option {option}, which the installed peft {version} does not know. Update "
            "peft, or take it out of adapter_config.json if it changes no result.",
            adapter=name,
            option=unknown[0],
            version=peft.__version__,
        )


def _not_applied(name: str, option: str) -> ModelError:
    return ModelError(
        "The adapter {adapter} uses {option}, which is not applied here. Merge it into its base model "
        "(`merge_and_unload()` of peft) and name the merged folder as the model.",
        adapter=name,
        option=option,
    )


def label(table: Mapping[str, Any]) -> str:
    """What an adapter is, for people: its type, and its rank if it has one, such as `LoRA (DoRA), rank 8`."""
    kind = str(table.get("peft_type") or "").upper()
    variants = [words for option, words in (("use_rslora", "rsLoRA"), ("use_dora", "DoRA")) if table.get(option)]
    name = TYPES.get(kind, kind) + (f" ({', '.join(variants)})" if variants else "")
    rank = table.get("target_r" if kind == "ADALORA" else "r")
    return f"{name}, rank {rank}" if isinstance(rank, int) and rank > 0 and kind != "OFT" else name
