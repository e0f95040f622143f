"""Weights that are quantized in the files of a checkpoint, by its config.json."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from jglue_app.errors import DeviceError, InputError, ModelError
from jglue_app.messages import Joined, Message

PACKAGES: dict[str, tuple[tuple[str, str], ...]] = {
    "bitsandbytes": (("bitsandbytes", "bitsandbytes"),),
    "gptq": (("optimum", "optimum"), ("gptqmodel", "gptqmodel")),
    "awq": (("gptqmodel", "gptqmodel"),),
    "aqlm": (("aqlm", "'aqlm[gpu,cpu]'"),),
    "quanto": (("optimum.quanto", "optimum-quanto"),),
    "quark": (("quark", "amd-quark"),),
    "fouroversix": (("fouroversix", "fouroversix"),),
    "fp_quant": (("fp_quant", "fp_quant"),),
    "eetq": (("kernels", "kernels"),),
    "higgs": (("flute", "flute-kernel"), ("fast_hadamard_transform", "fast_hadamard_transform")),
    "hqq": (("hqq", "hqq"),),
    "compressed-tensors": (("compressed_tensors", "compressed-tensors"),),
    "fbgemm_fp8": (("fbgemm_gpu", "fbgemm-gpu"),),
    "torchao": (("torchao", "torchao"),),
    "vptq": (("vptq", "vptq"),),
    "spqr": (("spqr_quant", "'spqr_quant[gpu]'"),),
    "auto-round": (("auto_round", "auto-round"),),
    "sinq": (("sinq", "sinq"),),
    # These need none: the device computes with them as they are if it can, else they are expanded.
    **dict.fromkeys(("bitnet", "fp8", "mxfp4", "mxfp8", "nvfp4", "metal", "gemma"), ()),
}
"""Method of quantization, as config.json names it → (module, what pip calls it) of each package that it needs."""

EXTRAS = ("gptq", "awq", "compressed-tensors", "auto-round", "torchao", "hqq", "quanto")
"""Methods whose packages are an optional dependency of this application, under the same name."""

_LABELS = {
    **{"gptq": "GPTQ", "awq": "AWQ", "aqlm": "AQLM", "eetq": "EETQ", "higgs": "HIGGS", "hqq": "HQQ", "vptq": "VPTQ"},
    **{"spqr": "SpQR", "fbgemm_fp8": "fp8 (fbgemm)", "bitnet": "BitNet", "auto-round": "AutoRound", "sinq": "SINQ"},
    **{"mxfp4": "MXFP4", "mxfp8": "MXFP8", "nvfp4": "NVFP4"},
}

_EXPANDED = {"fp8": 1.0, "mxfp8": 1.0, "mxfp4": 0.5}
"""Methods whose weights are expanded without a GPU for them → bytes of a weight in the file."""

_UNREAD_SETTINGS = (
    "quantize_config.json",
    "quant_config.json",
    "hf_quant_config.json",
    "quant_strategy.json",
    "qmodel.pt",
)


@dataclass(frozen=True, slots=True)
class QuantizedWeights:
    """How the weights in the files are quantized."""

    method: str
    """A key of `PACKAGES`."""
    label: str
    """For display, such as `bnb 4-bit (nf4)`."""
    expanded_bits: int | None = None
    """Bits of a weight in the files, where weights are expanded on every device; None where they are not."""

    def bytes_in_memory(self, file_bytes: int, count: int | None, itemsize: int, on_gpu: bool) -> int:
        """Bytes of the weights: as in the files, or expanded to `itemsize` bytes each, most of them only where there is
        no GPU.

        Args:
            file_bytes: of the weight files.
            count: number of the weights; None if it is not known.
            itemsize: bytes of one weight in the dtype of the run.
            on_gpu: whether they are loaded to one.
        """
        width = self.expanded_bits / 8 if self.expanded_bits else None if on_gpu else _EXPANDED.get(self.method)
        if width is None:
            return file_bytes
        return itemsize * (int(file_bytes / width) if count is None else count)


def stored_quantization(name: str, config: Mapping[str, Any], names: Collection[str] = ()) -> QuantizedWeights | None:
    """How the weights of a checkpoint are quantized in its files; None if they are not.

    Args:
        name: of the model, for the message.
        config: the table of its config.json.
        names: of its files.

    Raises:
        ModelError: it is quantized in a way that transformers does not know, or config.json does not say how.
    """
    settings, text = config.get("quantization_config"), config.get("text_config")
    if settings is None and isinstance(text, Mapping):
        settings = text.get("quantization_config")
    if settings is None:
        if unread := sorted(set(_UNREAD_SETTINGS) & set(names)):
            raise ModelError(
                "{name} is quantized, and the settings are in {old} where transformers does not "
                "look. Export it again with a present version of the tool that made it, or choose "
                "an unquantized copy.",
                name=name,
                old=unread[0],
            )
        return None
    if not isinstance(settings, Mapping):
        raise ModelError(
            "The quantization_config of {name} holds no table. Fetch or export the model again.", name=name
        )
    method = _method(settings)
    if method not in PACKAGES:
        raise ModelError(
            "The weights of {name} are quantized in a way that transformers does not load "
            "({method}). Choose an unquantized copy, or one in a format that it knows, such as "
            "bitsandbytes, GPTQ or AWQ.",
            name=name,
            method=method or Message("no quant_method"),
        )
    return QuantizedWeights(method, _label(method, settings), _expanded_bits(method, settings))


def _method(settings: Mapping[str, Any]) -> str:
    # Written before there were other methods.
    if settings.get("load_in_8bit") or settings.get("load_in_4bit"):
        return "bitsandbytes"
    method = str(settings.get("quant_method") or "").lower()
    return "bitsandbytes" if method.startswith("bitsandbytes") else method.replace("auto_round", "auto-round")


def _label(method: str, settings: Mapping[str, Any]) -> str:
    if method == "bitsandbytes":
        if settings.get("load_in_8bit") or str(settings.get("quant_method")).endswith("8bit"):
            return "bnb 8-bit"
        # The default of transformers.
        return f"bnb 4-bit ({settings.get('bnb_4bit_quant_type') or 'fp4'})"
    bits = next((settings[key] for key in ("bits", "w_bit", "nbits") if isinstance(settings.get(key), int)), None)
    label = _LABELS.get(method, method)
    detail = {
        "compressed-tensors": settings.get("format"),
        "quanto": settings.get("weights"),
        "torchao": _torchao_type(settings.get("quant_type")),
    }.get(method)
    if bits is not None:
        return f"{label} {bits}-bit"
    return f"{label} ({detail})" if isinstance(detail, str) and detail else label


def _expanded_bits(method: str, settings: Mapping[str, Any]) -> int | None:
    """Of compressed-tensors, whose weights transformers expands everywhere: the fewest bits of any group of layers."""
    groups = settings.get("config_groups")
    if method != "compressed-tensors" or not isinstance(groups, Mapping):
        return None
    weights = (group.get("weights") for group in groups.values() if isinstance(group, Mapping))
    bits = [w.get("num_bits") for w in weights if isinstance(w, Mapping)]
    return min((b for b in bits if isinstance(b, int) and 0 < b <= 16), default=None)


def _torchao_type(quant_type: Any) -> str:
    """The name of a torchao type: a text, or a table with the class inside."""
    if isinstance(quant_type, Mapping):
        inner = quant_type.get("default")
        return str(inner.get("_type") or "") if isinstance(inner, Mapping) else ""
    return str(quant_type or "")


def reject_quantized_twice(name: str, quantized: QuantizedWeights | None, requested: str) -> None:
    """Reject a quantization of weights that are quantized already.

    Raises:
        InputError: `requested` is not `none`, and the weights in the files are quantized.
    """
    if quantized is not None and requested != "none":
        raise InputError(
            "The weights of {name} are quantized already ({label}), and cannot be quantized to "
            "{requested} on top of that. Leave the quantization out, or name the unquantized model.",
            name=name,
            label=quantized.label,
            requested=requested,
        )


def require_packages(name: str, quantized: QuantizedWeights | None) -> None:
    """Reject a quantized checkpoint whose packages are not installed.

    Raises:
        DeviceError: a package is missing.
    """
    missing = [pip for module, pip in PACKAGES[quantized.method] if not _is_installed(module)] if quantized else []
    if quantized and missing and quantized.method in EXTRAS:
        raise DeviceError(
            "The weights of {name} are quantized ({label}), which needs {packages}. Run `pip "
            "install {arguments}`, or install this application with its extra {extra}, or choose an unquantized copy.",
            name=name,
            label=quantized.label,
            packages=Joined(" and ", missing),
            arguments=" ".join(missing),
            extra=quantized.method,
        )
    if quantized and missing:
        raise DeviceError(
            "The weights of {name} are quantized ({label}), which needs {packages}. Run `pip "
            "install {arguments}`, or choose an unquantized copy.",
            name=name,
            label=quantized.label,
            packages=Joined(" and ", missing),
            arguments=" ".join(missing),
        )


def distributions() -> tuple[str, ...]:
    """The names, as pip knows them, of all packages that read quantized weights."""
    names = (re.sub(r"\[.*\]|'", "", pip) for needed in PACKAGES.values() for _, pip in needed)
    return tuple(dict.fromkeys(names))


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):  # The package around it is missing.
        return False
