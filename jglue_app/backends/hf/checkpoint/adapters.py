"""Adapters and additional heads in the files of a model: they are rejected there, as it must not answer for them."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

from jglue_app.backends.hf.checkpoint.model_kind import CLASSIFIER, DRAFTING, not_causal_lm
from jglue_app.errors import ModelError

ADAPTER_KEY = re.compile(r"(^|\.)(lora|ia3|hada|vera|lokr|loha)_|\.base_layer\.|(^|\.)adapters?\.|prompt_encoder")
VALUE_HEAD_KEY = re.compile(
    r"(^|\.)(v_head|value_head|score|scores|classifier|classification_head|reward(_head|_model)?|regression_head"
    r"|rm_head|summary|multiple_choice_head|critic_head)(\.|$)"
)
_ADAPTER_NAME = re.compile(
    r"adapter_config\.json|adapter_model([-.].*)?\.(safetensors|bin|pt)|adapter_model\.safetensors\.index\.json"
    r"|adapters?\.(safetensors|npz|bin)|pytorch_adapter\.bin|pytorch_model_adapter\.bin|pytorch_lora_weights\..+"
    r"|(ia3|lora)_(weights|adapter|model)\..+|prompt_(embeddings|encoder)\.(safetensors|bin|pt)|lora\.(safetensors|bin|pt)"
    r"|non_lora_trainables\.bin|new_embeddings\.(safetensors|bin)"
)
_WEIGHT_SUFFIX = r"\.(safetensors|bin|pt|pth|ckpt|npz|pkl|joblib)$"
_ADAPTER_FILE = re.compile(
    r"(^|[-_. ])(q?lora|dora|loha|lokr|ia3|adapters?)([-_. ].*)?" + _WEIGHT_SUFFIX, re.IGNORECASE
)
"""More names of adapters, which may also be those of further whole weights."""
_HEAD_FILE = re.compile(
    r"^((.*[-_. ])?(v|value|q|score|scoring|reward|rm|critic|cls|classification|classifier|regression|ranking|model)"
    r"[-_]?heads?|scores?|classifier|reward(_model)?|value_?model|critic(_model)?)([-_. ](weights?|model|state(_dict)?"
    r"|layer|final|best|\d+))*" + _WEIGHT_SUFFIX,
    re.IGNORECASE,
)
_DRAFT_FILE = re.compile(r"^(medusa|hydra|eagle)([-_. ].*)?" + _WEIGHT_SUFFIX, re.IGNORECASE)
_STATE_FILE = re.compile(r"^(optim|scheduler|rng_|scaler|trainer|random_states)", re.IGNORECASE)
"""States of a training run, which no result depends on."""


def reject_adapter(name: str, names: Collection[str], read: Callable[[str], Mapping[str, Any]]) -> None:
    """Reject a folder or repository that holds an adapter: its base model must not answer in its place.

    An adapter in a folder below a whole model (a checkpoint of its training) says nothing about that model.

    Args:
        name: of the model, for the message.
        names: of its files, with `/` between folders.
        read: a file's name → its table; may raise anything.

    Raises:
        ModelError: there is an adapter, alone or with weights.
    """
    adapters = sorted(n for n in names if "/" not in n and _ADAPTER_NAME.fullmatch(n))
    if not adapters and "config.json" not in names:
        adapters = sorted(n for n in names if _ADAPTER_NAME.fullmatch(n.rpartition("/")[2]))
    if not adapters:
        return
    settings = next((n for n in adapters if n.endswith("adapter_config.json")), "")
    table: Mapping[str, Any] = {}
    with contextlib.suppress(Exception):  # Without the name of its base, if it cannot be read or fetched.
        table = read(settings) if settings else {}
    base = next((str(v) for key in ("base_model_name_or_path", "model_name") if (v := table.get(key))), "")
    of_peft = bool(settings) and (not table or "peft_type" in table or "base_model_name_or_path" in table)
    raise _adapter_of_peft(name, settings, base) if of_peft else adapter_error(name, settings or adapters[0], base)


def _adapter_of_peft(name: str, where: str, base: str) -> ModelError:
    """The error of an adapter that was named as a model, and can be applied to one."""
    folder = where.rpartition("/")[0]
    adapter = f"{name.rstrip('/')}/{folder}" if folder else name
    if base:
        return ModelError(
            "{name} holds an adapter ({where}) for the model {base}, and is not named as a model. Name {base} as the "
            "model, and {adapter} as the adapter (--adapter).",
            name=name,
            where=where,
            base=base,
            adapter=adapter,
        )
    return ModelError(
        "{name} holds an adapter ({where}), and is not named as a model. Name the model that it was made for as the "
        "model, and {adapter} as the adapter (--adapter).",
        name=name,
        where=where,
        adapter=adapter,
    )


def adapter_error(name: str, where: str, base: str = "") -> ModelError:
    """The error of a checkpoint with an adapter that peft did not save by itself: of another tool, or within whole
    weights; for a base model if its name is known."""
    if base:
        return ModelError(
            "{name} holds an adapter ({where}) for the model {base}, in a form that is not applied here. Merge it into "
            "that model first, and name the merged folder.",
            name=name,
            where=where,
            base=base,
        )
    return ModelError(
        "{name} holds an adapter ({where}) in a form that is not applied here. Merge it into its base model first "
        "(`merge_and_unload()` of peft), and name the merged folder.",
        name=name,
        where=where,
    )


def reject_additional_weights(
    name: str, names: Collection[str], loaded: Collection[str], keys: Callable[[str], Collection[str]]
) -> None:
    """Reject an adapter or a head in a file of its own next to whole weights: these must not answer without it.

    Of safetensors files the keys decide, of others the name. Other copies of the weights and states of a training run
    are accepted.

    Args:
        name: of the model, for the message.
        names: of its files, with `/` between folders.
        loaded: those that its weights are loaded from.
        keys: a safetensors file's name → the keys in it; empty if it cannot be read.

    Raises:
        ModelError: there is such a file.
    """
    for file in sorted(set(names) - set(loaded)):
        if "/" in file or _STATE_FILE.match(file) or not re.search(_WEIGHT_SUFFIX, file):
            continue
        file_keys = keys(file) if file.endswith(".safetensors") else ()
        if any(map(ADAPTER_KEY.search, file_keys)) or (not file_keys and _ADAPTER_FILE.search(file)):
            raise adapter_error(name, file)
        if any(map(VALUE_HEAD_KEY.search, file_keys)) or (_HEAD_FILE.match(file) and not _has_layers(file_keys)):
            raise not_causal_lm(name, CLASSIFIER, file)
        if _DRAFT_FILE.match(file) and not _has_layers(file_keys):
            raise not_causal_lm(name, DRAFTING, file)


def _has_layers(keys: Collection[str]) -> bool:
    """Whether keys are those of a whole language model."""
    return any(re.search(r"(^|\.)(layers|h|blocks)\.\d+\.", key) for key in keys)
