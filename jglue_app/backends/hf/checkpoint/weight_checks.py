"""What only the weights of a checkpoint tell: checks of what is stored in its files, and of the loaded model."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

import torch

from jglue_app.backends.hf.checkpoint.adapters import ADAPTER_KEY, VALUE_HEAD_KEY, adapter_error
from jglue_app.backends.hf.checkpoint.model_kind import CLASSIFIER, not_causal_lm
from jglue_app.backends.hf.checkpoint.stored_quantization import QuantizedWeights
from jglue_app.backends.hf.checkpoint.weight_headers import TensorHeader
from jglue_app.errors import ModelError

_BUFFER = re.compile(
    r"(^|\.)(inv_freq|position_ids|token_type_ids|cos_cached|sin_cached|version|num_batches_tracked|_extra_state)$"
    r"|(^|\.)(attn|attention|self_attn|self_attention)\.(bias|masked_bias|causal_mask|mask)$|(^|\.)masked_bias$"
    r"|rotary_emb\.|rope\.freqs$|(^|\.)(k|v|q|prob)_(scale|zero_point)$|(^|\.)mtp[._]"
)
"""Keys that hold no weights of the text model: buffers that old versions stored, and heads for drafting."""
_OTHER_PART = re.compile(
    r"(^|[._])(vision|visual|image|video|audio|speech|talker|token2wav|code2wav|vqmodel|vit|mm|multi_modal|multimodal)"
    r"([._]|$)|projector|connector|aligner|resampler|merger|perceiver|img_|view_seperator|embed_(vision|audio)"
)
_QUANTIZED_KEY = re.compile(
    r"(^|\.)(SCB|qweight|qzeros|weight_packed|weight_scale|weight_scale_inv|weight_scale_2|scales|g_idx|W_q)$|_blocks$"
    r"|weight\.(absmax|quant_map|quant_state)|(^|\.)(absmax|quant_state)"
)


def reject_unexpected(name: str, report: Mapping[str, Collection[Any]], config: Any) -> None:
    """Reject weights in the files that have no place in the model: it would not be the model that they belong to.

    Args:
        name: of the model, for the message.
        report: of `from_pretrained` with `output_loading_info`.
        config: the configuration of the whole model, text part or not.

    Raises:
        ModelError: there are such weights, other than old buffers and the parts of a larger model that are not text.
    """
    keys = sorted(str(key) for key in report["unexpected_keys"])
    if key := next(filter(ADAPTER_KEY.search, keys), None):
        raise adapter_error(name, key)
    if key := next(filter(_QUANTIZED_KEY.search, keys), None):
        raise unknown_quantization(name, key)
    if key := next(filter(VALUE_HEAD_KEY.search, keys), None):
        raise not_causal_lm(name, CLASSIFIER, key)
    has_other_parts = getattr(config, "text_config", None) is not None
    layers = getattr(config.get_text_config(), "num_hidden_layers", None)
    draft_layers = getattr(config.get_text_config(), "num_nextn_predict_layers", None)
    for key in keys:
        layer = re.search(r"(^|\.)layers\.(\d+)\.", key)
        if _BUFFER.search(key) or (has_other_parts and _OTHER_PART.search(key)):
            continue
        if draft_layers and isinstance(layers, int) and layer and int(layer[2]) >= layers:
            continue
        if not report["missing_keys"]:  # Else the missing ones are reported.
            raise ModelError(
                "The files of {name} hold weights that have no place in the model that its "
                "config.json describes ({key}). Fetch or export the model again.",
                name=name,
                key=key,
            )


def reject_unquantized(name: str, model: Any, quantized: QuantizedWeights | None) -> None:
    """Reject plain weights whose config.json calls them quantized by bitsandbytes: they were loaded as they are.

    Raises:
        ModelError: they are not quantized.
    """
    if quantized is None or quantized.method != "bitsandbytes":
        return
    for module in model.modules():
        kind = type(module).__name__
        if (kind == "Linear8bitLt" and module.weight.dtype != torch.int8) or (
            kind == "Linear4bit" and getattr(module.weight, "quant_state", None) is None
        ):
            raise _called_quantized(name, quantized)


def unknown_quantization(name: str, key: str) -> ModelError:
    return ModelError(
        "The weights of {name} are quantized ({key}), and its config.json does not say how. "
        "Fetch or export the model again, or choose an unquantized copy.",
        name=name,
        key=key,
    )


def _called_quantized(name: str, quantized: QuantizedWeights) -> ModelError:
    return ModelError(
        "The config.json of {name} calls its weights quantized ({label}), and the files hold "
        "plain ones. Take quantization_config out of config.json, or fetch the model again.",
        name=name,
        label=quantized.label,
    )


_SCALE_KEY = re.compile(r"scales?($|[._])|_scale(_|$)|zero_point|qweight|packed|_blocks$|absmax|codebook|W_q|SCB")
_FLOATS = frozenset(("F64", "F32", "F16", "BF16"))
_INTEGERS = frozenset(("I64", "I32", "I16", "I8", "U64", "U32", "U16", "U8", "BOOL"))
_ALWAYS_WITH_SCALES = frozenset(
    ("gptq", "awq", "auto-round", "fp8", "fbgemm_fp8", "mxfp4", "mxfp8", "nvfp4", "compressed-tensors", "eetq", "hqq")
)
"""Methods whose files always hold scales, or numbers of fewer bits than 16."""


def reject_stored_otherwise(
    name: str, stored: Mapping[str, TensorHeader], quantized: QuantizedWeights | None, config: Mapping[str, Any]
) -> None:
    """Reject weights that are not stored as config.json says, before they are loaded as something else.

    Args:
        name: of the model, for the message.
        stored: headers of the tensors in its weight files; an empty table is accepted.
        quantized: how config.json says that they are quantized.
        config: the table of its config.json.

    Raises:
        ModelError: they are plain and called quantized, are integers without a quantization, or have no content.
    """
    for key, tensor in stored.items():
        if 0 in tensor.shape and not _BUFFER.search(key):
            raise ModelError(
                "The files of {name} hold weights without content ({key}), as training in parts "
                "(DeepSpeed ZeRO-3) leaves them. Put the parts together with its zero_to_fp32.py, "
                "or export the model again.",
                name=name,
                key=key,
            )
    if quantized is None:
        for key, tensor in stored.items():
            if tensor.dtype in _INTEGERS and len(tensor.shape) > 1 and key.endswith("weight"):
                raise unknown_quantization(name, f"{key}: {tensor.dtype}")
        return
    groups = (config.get("quantization_config") or {}).get("config_groups", True)
    if stored and quantized.method in _ALWAYS_WITH_SCALES and groups:
        # Buffers such as positions are no evidence.
        weights = {key: tensor for key, tensor in stored.items() if not _BUFFER.search(key)}
        if all(t.dtype in _FLOATS and not _SCALE_KEY.search(key) for key, t in weights.items()):
            raise _called_quantized(name, quantized)


def reject_other_shapes(name: str, stored: Mapping[str, TensorHeader], expected: Mapping[str, tuple[int, ...]]) -> None:
    """Reject weights that do not have the shapes that config.json describes.

    Args:
        name: of the model, for the message.
        stored: headers of the tensors in its weight files.
        expected: key → shape in the model that config.json describes.

    Raises:
        ModelError: a weight has another shape.
    """
    for key, tensor in sorted(stored.items()):
        shape = expected.get(key, tensor.shape)
        if shape != tensor.shape:
            raise ModelError(
                "The weights of {name} do not have the sizes that its config.json describes ({key} "
                "is {stored} in the files and {expected} by config.json). Fetch or export the model "
                "again, so that both belong together.",
                name=name,
                key=key,
                stored=_dimensions(tensor.shape),
                expected=_dimensions(shape),
            )


def _dimensions(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape))


def reject_other_head(name: str, model: Any) -> None:
    """Reject a separate output layer where config.json says that the embedding is the output layer.

    Programs differ in which of the two they use.

    Raises:
        ModelError: there is one, and it differs from the embedding.
    """
    if not getattr(model.config.get_text_config(), "tie_word_embeddings", False):
        return
    head, embedding = (
        getattr(m, "weight", None) for m in (model.get_output_embeddings(), model.get_input_embeddings())
    )
    if (
        head is None
        or embedding is None
        or head.shape != embedding.shape
        or head.is_meta
        or head.data_ptr() == embedding.data_ptr()
    ):
        return
    if head.is_floating_point() and not torch.equal(head.to(embedding.device), embedding):
        raise ModelError(
            "The files of {name} hold an output layer that differs from the embedding, and its "
            "config.json says that they are one (tie_word_embeddings), so that programs differ in "
            "which of them they use. Set tie_word_embeddings to false there if the stored layer is "
            "meant, or export the model again.",
            name=name,
        )


def reject_constant_logits(name: str, logits: torch.Tensor) -> None:
    """Reject a model for which all tokens are always equally likely: its weights are zero.

    Args:
        name: of the model, for the message.
        logits: of a short text, (…, tokens, vocabulary).

    Raises:
        ModelError: all logits are equal.
    """
    if logits.shape[-1] > 1 and bool((logits.amax(-1) == logits.amin(-1)).all()):
        raise ModelError(
            "All tokens are equally likely for {name} whatever it reads: its output layer or all "
            "its weights are zero, as a merge or export that failed leaves them. Fetch or export "
            "the model again.",
            name=name,
        )


def embedding_rows(model: Any) -> int:
    """How many tokens a loaded model has an embedding for."""
    weight = getattr(model.get_input_embeddings(), "weight", None)
    return int(model.config.get_text_config().vocab_size if weight is None else weight.shape[0])


def first_id_beyond(ids: Collection[int], rows: int) -> int | None:
    """The first id that the embedding has no row for; None if there is none."""
    return next((i for i in ids if i >= rows), None)


def no_embedding_row(name: str, token: str, id_: int, rows: int) -> ModelError:
    """The error of a token for which the embedding has no row."""
    return ModelError(
        "The token {token!r} (id {id}) has no row in the embedding of {name}, which has {rows} "
        "rows: the tokenizer knows tokens that the weights do not. Use the tokenizer that belongs "
        "to the weights, or a format without this token.",
        token=token,
        id=id_,
        name=name,
        rows=rows,
    )
