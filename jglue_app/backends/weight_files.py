"""Which of a checkpoint's files transformers loads the weights from, by their names alone.

Loading and fingerprints both use this order, so that they cannot differ. Neither torch nor transformers is imported.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

SAFETENSORS = ("model.safetensors", "model.safetensors.index.json")
PICKLED = ("pytorch_model.bin", "pytorch_model.bin.index.json")
"""One file, or the index of several; transformers looks for them in this order."""


def first_file(has: Callable[[str], bool], config: Mapping[str, Any]) -> str | None:
    """The file that loading begins with: the weights, or the index of the files that hold them.

    Args:
        has: whether the model has a file of this name, with `/` between folders.
        config: the table of its config.json.

    Returns:
        Its name; None if there is none. A name that config.json gives (`transformers_weights`) is returned whether
        there is such a file or not, since no other is looked for then.
    """
    configured = config.get("transformers_weights")
    return configured if isinstance(configured, str) else next(filter(has, (*SAFETENSORS, *PICKLED)), None)


def is_index(file: str) -> bool:
    """Whether a file is an index of the files that hold the weights."""
    return file.endswith(".index.json")


def indexed_files(index: Mapping[str, Any]) -> tuple[str, ...]:
    """The files that an index names, in order; empty if the table is no index."""
    shards = index.get("weight_map")
    if not isinstance(shards, Mapping) or not all(isinstance(shard, str) for shard in shards.values()):
        return ()
    return tuple(sorted(set(shards.values())))
