"""The files of a checkpoint: JSON settings, and the files that the weights are loaded from."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Collection, Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from jglue_app.backends import weight_files
from jglue_app.backends.hf.checkpoint.weight_headers import MAX_HEADER_BYTES, reject_placeholder
from jglue_app.errors import ModelError, ModelNotFoundError, first_line

_SETTINGS = ("generation_config.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")


def reject_damaged_settings(
    name: str, names: Collection[str], config: Mapping[str, Any], read: Callable[[str], Mapping[str, Any]]
) -> None:
    """Reject damaged settings of the tokenizer or of generation, which transformers may pass over silently.

    Args:
        name: of the model, for the message.
        names: of its files, with `/` between folders.
        config: the table of its config.json.
        read: a file's name → its table.

    Raises:
        ModelError: a file holds no table, or a token that ends a text is not named by its id.
    """
    tables = {"config.json": config} | {file: read(file) for file in _SETTINGS if file in names}
    for file in ("generation_config.json", "config.json"):
        ends = tables.get(file, {}).get("eos_token_id")
        for end in ends if isinstance(ends, list) else [ends]:
            if end is not None and (isinstance(end, bool) or not isinstance(end, int)):
                raise ModelError(
                    "{file} of {name} names a token that ends a text by {end!r}, which is no id. "
                    "Put whole numbers under eos_token_id, or fetch the model again.",
                    file=file,
                    name=name,
                    end=end,
                )


def files_to_load(
    name: str, names: Collection[str], read: Callable[[str], Mapping[str, Any]], config: Mapping[str, Any]
) -> tuple[str, ...]:
    """The files that transformers loads the weights from, without further copies; empty if there are none.

    Args:
        name: of the model, for the message.
        names: of its files, with `/` between folders.
        read: a file's name → its table.
        config: the table of its config.json.

    Raises:
        ModelError: the list of the files cannot be read, or names a file outside the folder.
        ModelNotFoundError: a file of the list is missing, or the only weights have a name that is not looked for.
    """
    file = weight_files.first_file(names.__contains__, config)
    if file is not None:
        if file not in names:
            raise _missing(name, file)
        return _files_of_index(name, file, names, read) if weight_files.is_index(file) else (file,)
    if parts := sorted(n for n in names if re.fullmatch(r"[^/]+-\d+-of-\d+\.(safetensors|bin)", n)):
        index = (
            weight_files.SAFETENSORS[1] if any(n.endswith(".safetensors") for n in parts) else weight_files.PICKLED[1]
        )
        raise ModelNotFoundError(
            "The weights of {name} are in several files (such as {parts}), and the list of them "
            "({listing}) is missing. Fetch it too, or export the model again.",
            name=name,
            parts=parts[0],
            listing=index,
        )
    if others := sorted(n for n in names if "/" not in n and n.endswith(".safetensors")):
        raise ModelNotFoundError(
            "The weights of {name} are under a name that transformers does not look for ({other}). "
            "Rename the file to model.safetensors, or export the model again.",
            name=name,
            other=others[0],
        )
    return ()


def _files_of_index(
    name: str, file: str, names: Collection[str], read: Callable[[str], Mapping[str, Any]]
) -> tuple[str, ...]:
    shards = weight_files.indexed_files(read(file))
    if not shards:
        raise ModelError(
            "{file} of {name} does not list its weight files. Fetch or export the model again.", file=file, name=name
        )
    for shard in shards:
        parts = (*PurePosixPath(shard).parts, *PureWindowsPath(shard).parts)
        if ".." in parts or PurePosixPath(shard).is_absolute() or PureWindowsPath(shard).anchor:
            raise ModelError(
                "{file} of {name} names a file outside the model ({shard}). Fetch the model again.",
                file=file,
                name=name,
                shard=shard,
            )
    for shard in shards:
        if shard not in names:
            raise _missing(name, shard)
    return shards


def _missing(name: str, file: str) -> ModelNotFoundError:
    return ModelNotFoundError(
        "The weight file {file} of {name} is missing. Fetch the model again: a download or copy may have broken off.",
        file=file,
        name=name,
    )


def read_json_object(path: Path, name: str) -> Mapping[str, Any]:
    """The object in a JSON file.

    Args:
        path: of the file.
        name: of the model, for the message.

    Raises:
        ModelError: the file holds no JSON object.
    """
    reject_placeholder(path, name)
    try:
        text = path.read_text("utf-8")
        if text.startswith("\ufeff"):
            raise ModelError(
                "{file} of {name} begins with a byte-order mark, which transformers does not read. "
                "Save it as UTF-8 without one.",
                file=path.name,
                name=name,
            )
        table = json.loads(text)
    except (OSError, ValueError, RecursionError) as e:
        raise ModelError(
            "{file} of {name} cannot be read ({reason}). Fetch the model again.",
            file=path.name,
            name=name,
            reason=first_line(e),
        ) from e
    if not isinstance(table, dict):
        raise ModelError("{file} of {name} holds no table. Fetch or export the model again.", file=path.name, name=name)
    return table


_BYTES_PER_WEIGHT = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1, "U8": 1, "I8": 1}


_NO_WEIGHTS = ("_scale", "_scale_inv", "_scales", "_zero_point", "weight_shape")
"""Ends of the keys of what belongs to quantized weights."""


def count_weights(paths: Collection[Path], packed_bits: int | None = None) -> tuple[int, int] | None:
    """How many weights some safetensors files hold, and the bytes of one by the most frequent type.

    Weights in 4 bits count as two for each byte; scales of quantized weights do not count. None if a file
    cannot be read.

    Args:
        paths: the files.
        packed_bits: bits of a weight in tensors that compressed-tensors has packed.
    """
    sizes: dict[str, int] = {}
    count = 0
    try:
        for path in paths:
            with path.open("rb") as file:
                length = int.from_bytes(file.read(8), "little")
                header: dict[str, Any] = json.loads(file.read(min(length, MAX_HEADER_BYTES)))
            for key, tensor in header.items():
                if key == "__metadata__" or key.endswith(_NO_WEIGHTS):
                    continue
                start, end = tensor["data_offsets"]
                if packed_bits and key.endswith("weight_packed"):
                    sizes["U8"] = sizes.get("U8", 0) + end - start
                    count += (end - start) * 8 // packed_bits
                    continue
                sizes[tensor["dtype"]] = sizes.get(tensor["dtype"], 0) + end - start
                count += math.prod(map(int, tensor["shape"])) * (2 if key.endswith("_blocks") else 1)
        return count, _BYTES_PER_WEIGHT[max(sizes, key=sizes.__getitem__)]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ArithmeticError, RecursionError):
        # Reported when the file is loaded.
        return None
