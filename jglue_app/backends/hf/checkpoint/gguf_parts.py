"""The weights of a GGUF file, expanded part by part into a safetensors file.

transformers expands all of them in memory, several times over: a file of 240 MB takes 3 GiB. Most architectures need
nothing that looks at more than one tensor, and are written here with a few rows in memory at a time, by transformers'
own rules for names and for what each tensor needs. The others take the long way.
"""

from __future__ import annotations

import json
import math
import re
import struct
from collections.abc import Collection, Container, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
import transformers.modeling_gguf_pytorch_utils as rules
from transformers import AutoModelForCausalLM

from jglue_app.backends.hf.checkpoint.gguf_header import Header
from jglue_app.backends.hf.checkpoint.gguf_reader import FastGGUFReader
from jglue_app.backends.hf.checkpoint.gguf_unread import FREQUENCIES, other_sizes, reject_left_out

BLOCK_ELEMENTS = 2**22
"""Numbers that are expanded at a time, where a tensor can be expanded by rows: 16 MiB of float32."""
ALIGNMENT = 8
"""Of what follows the header of a safetensors file."""


@dataclass(frozen=True, slots=True)
class Part:
    """One tensor of the file as it will be written."""

    name: str
    """In transformers."""
    shape: tuple[int, ...]
    tensor: Any
    """Of the GGUF reader."""


def model_without_weights(config: Any) -> Any:
    """The model that a configuration describes, without memory for its weights."""
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(config, dtype=torch.float32)


def float32_bytes(config: Any) -> int:
    """Bytes of a model's weights in float32."""
    return sum(4 * weight.numel() for weight in model_without_weights(config).parameters())


def write_by_parts(path: Path, header: Header, config: Any, folder: Path) -> bool:
    """Write configuration and weights of a GGUF file, if that can be done tensor by tensor.

    Args:
        path: the file.
        header: of the file.
        config: of transformers, as it reads the file.
        folder: where to write.

    Returns:
        False if it cannot; nothing has been written then.

    Raises:
        ModelError: it holds weights that have no place in the model, or other sizes.
    """
    model = model_without_weights(config)
    if not _is_plain(model):
        return False
    reader = FastGGUFReader(path)
    processor = _processor(reader, config)
    if processor is None:
        return False
    names = rules.get_gguf_hf_weights_map(model, processor)
    reject_left_out(path.name, header, _without_place(header, names))
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    parts: list[Part] = []
    for tensor in reader.tensors:
        name = names.get(tensor.name)
        if name is None:
            continue
        shape = tuple(int(size) for size in reversed(tensor.shape))
        if shapes[name] != shape:
            raise other_sizes(path.name, tensor.name, shape, shapes[name])
        parts.append(Part(name, shape, tensor))
    if not _is_complete(model, {part.name for part in parts}):
        return False
    _write_settings(model, folder)
    with (folder / "model.safetensors").open("wb") as file:
        _write_weights(sorted(parts, key=lambda part: part.name), processor, names, file)
    return True


def reject_without_place(file: str, header: Header, config: Any) -> None:
    """Raise ModelError if a file that transformers expands as a whole holds weights without a place in the model, where
    it does not report them when it has."""
    if header.architecture in _reported():
        return
    kind = rules.TENSOR_PROCESSORS.get(header.architecture, rules.TensorProcessor)
    names = rules.get_gguf_hf_weights_map(model_without_weights(config), kind(config=config.to_dict()))
    reject_left_out(file, header, _without_place(header, names))


def reject_other_sizes(file: str, model: Any, config: Any, report: Mapping[str, Collection[Any]]) -> None:
    """Raise ModelError if a weight has other sizes than the settings say; some versions of transformers put it into the
    model all the same.

    Args:
        file: its name.
        model: as transformers has loaded it.
        config: of which it should be.
        report: of `from_pretrained` with `output_loading_info`.
    """
    for name, stored, expected in sorted(report["mismatched_keys"]):
        raise other_sizes(file, name, stored, expected)
    sizes = {name: weight.shape for name, weight in model_without_weights(config).named_parameters()}
    for name, weight in model.named_parameters():
        if weight.shape != sizes.get(name, weight.shape):
            raise other_sizes(file, name, weight.shape, sizes[name])


def _reported() -> Container[str]:
    """Architectures of which transformers reports weights without a place, as from any other checkpoint."""
    try:
        from transformers.integrations.gguf import GGUF_ARCHS
    except ImportError:  # Of an earlier version.
        return ()
    return GGUF_ARCHS  # type: ignore[no-any-return]  # transformers is read without its types.


def _without_place(header: Header, names: Mapping[str, str]) -> list[str]:
    """Tensors without a name in transformers. Those of experts have no `.weight` there."""
    found = (name for name in header.tensors if name != FREQUENCIES)
    return [name for name in found if name not in names and name.removesuffix(".weight") not in names]


def _is_plain(model: Any) -> bool:
    """Whether a model is stored as it runs: no weights that are joined, split or renamed, nothing besides weights."""
    stored = set(model.state_dict())
    try:
        from transformers.conversion_mapping import WeightRenaming, get_model_conversion_mapping

        for conversion in get_model_conversion_mapping(model):
            patterns = [*conversion.source_patterns, *conversion.target_patterns]
            used = any(re.search(pattern, name) for pattern in patterns for name in stored)
            if used or not isinstance(conversion, WeightRenaming):
                return False
    except Exception:  # Of another version of transformers, in whatever way it differs.
        return False
    return stored == {name for name, _ in model.named_parameters(remove_duplicate=False)}


def _processor(reader: Any, config: Any) -> Any:
    """What transformers does to each tensor of this architecture; None where it does more than that."""
    architecture = rules.read_field(reader, "general.architecture")[0]
    kind = rules.TENSOR_PROCESSORS.get(architecture, rules.TensorProcessor)
    known = (rules.TensorProcessor, rules.LlamaTensorProcessor, rules.Gemma2TensorProcessor)
    return kind(config=config.to_dict()) if kind in known else None


def _is_complete(model: Any, written: set[str]) -> bool:
    """Whether every weight is written, or is the same as one that is."""
    same: dict[int, list[str]] = {}
    for name, weight in model.named_parameters(remove_duplicate=False):
        same.setdefault(id(weight), []).append(name)
    # Of weights that are one, transformers stores one.
    return all(len(written.intersection(group)) == 1 for group in same.values())


def _write_settings(model: Any, folder: Path) -> None:
    """config.json and generation_config.json, as `save_pretrained` writes them."""
    model.config.architectures = [type(model).__name__]
    model.config.dtype = "float32"
    model.config.save_pretrained(folder)
    if model.can_generate():
        model.generation_config.save_pretrained(folder)


def _write_weights(parts: list[Part], processor: Any, names: Mapping[str, str], file: BinaryIO) -> None:
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for part in parts:
        start, end = end, end + 4 * math.prod(part.shape)
        header[part.name] = {"dtype": "F32", "shape": list(part.shape), "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % ALIGNMENT)
    file.write(struct.pack("<Q", len(text)) + text)
    # By transformers' name of its progress bar, through which the progress is told.
    told = iter(rules.tqdm([part.tensor for part in parts], desc="Converting and de-quantizing GGUF tensors..."))
    for part in parts:
        next(told)
        for block in _expanded(part, processor, names):
            file.write(np.ascontiguousarray(block, dtype="<f4").data)
    next(told, None)


def _expanded(part: Part, processor: Any, names: Mapping[str, str]) -> Iterator[np.ndarray[Any, Any]]:
    """The numbers of a tensor, some rows at a time where its rows do not depend on each other."""
    from gguf import dequantize

    tensor = part.tensor
    rows = len(tensor.data)
    changes_rows = isinstance(processor, rules.LlamaTensorProcessor) and (
        ".attn_q." in tensor.name or ".attn_k." in tensor.name
    )
    step = rows if changes_rows else max(1, BLOCK_ELEMENTS // max(1, math.prod(part.shape[1:])))
    for first in range(0, rows, step):
        weights = dequantize(tensor.data[first : first + step], tensor.tensor_type)
        yield processor.process(
            weights=weights, name=tensor.name, tensor_key_mapping=names, parsed_parameters={"tensors": {}}
        ).weights
