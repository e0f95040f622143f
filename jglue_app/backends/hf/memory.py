"""How much memory a model may work in, and what fits into it.

Reading a token takes its activations for a moment; a token that later ones look back at keeps its keys and values.
Both are estimated from the configuration, so a batch is cut before memory runs out; where the estimate is too low, the
batch is halved when it does.
"""

from __future__ import annotations

import ctypes
import gc
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import torch

from jglue_app.errors import InputError

SHARE = {"cpu": 0.5, "cuda": 0.8}
"""Part of the free memory that is taken; on a CPU and on Apple's GPUs other programs live in the same."""
CGROUP = Path("/sys/fs/cgroup")
MASK_BYTES = 5
"""A mask takes one byte for every query and key, and becomes a float32 beside it."""
LEAST_TOKENS = 64
"""Fewer at once would be too slow to be of use: memory that small is an error when it is reached."""


def free_bytes(device: str) -> int:
    """Memory that is free on a device as torch names it; on a CPU within the limit of the container, if it has one."""
    if device.startswith("cuda"):
        return int(torch.cuda.mem_get_info(device)[0])
    available = int(psutil.virtual_memory().available)
    limit = container_free(CGROUP)
    return available if limit is None else min(available, limit)


def give_back() -> None:
    """Return to the system what is no longer used: glibc and CUDA's allocator keep it for later."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim:
        trim(0)


def container_free(root: Path) -> int | None:
    """What a Linux control group may still take; None if it has no limit.

    Args:
        root: where control groups (version 2, or the older 1) are mounted.
    """
    for limit, used, stat in (
        ("memory.max", "memory.current", "memory.stat"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat"),
    ):
        try:
            most, now = int((root / limit).read_text()), int((root / used).read_text())
            lines = dict(line.split() for line in (root / stat).read_text().splitlines())
        except (OSError, ValueError):  # Not there, or "max": no limit.
            continue
        # Files that were read and can be dropped count as used.
        return max(0, most - now + int(lines.get("inactive_file", 0)))
    return None


@dataclass(frozen=True, slots=True)
class Memory:
    """What a model may work in, beside its weights."""

    budget: int
    """Bytes."""
    read: int
    """Bytes that reading one token takes."""
    kept: int
    """Bytes of one token's keys and values in all layers."""
    device: str = "cpu"
    """Where."""

    def tokens(self, most: int, more: int = 0) -> int:
        """Tokens that can be read at once in half of the budget, `most` at most; each takes `more` bytes besides."""
        return max(LEAST_TOKENS, min(most, self.budget // 2 // (self.read + self.kept + more)))

    def holds(self, bytes_: int) -> bool:
        """Whether something that cannot be cut fits: into the budget, or else into what is free now."""
        return bytes_ <= self.budget or bytes_ <= free_bytes(self.device)

    def places(self, most: int) -> int:
        """Tokens whose keys and values can be kept in the other half, `most` at most."""
        return max(LEAST_TOKENS, min(most, self.budget // 2 // self.kept))


def memory_of(model: Any, wanted: int | None = None) -> Memory:
    """The budget of a loaded model: a part of what is free now, or what is wanted.

    Args:
        model: a transformers model, on its device.
        wanted: bytes that the user allows.

    Raises:
        InputError: more is wanted than is free.
    """
    device = str(model.device)
    free = free_bytes(device)
    if wanted is not None and wanted > free:
        raise InputError(
            "{wanted:.1f} GiB of working memory were asked for and {free:.1f} GiB are free. Give "
            "less with --memory or JGLUE_MEMORY, or leave it out to have it found.",
            wanted=wanted / 2**30,
            free=free / 2**30,
        )
    share = SHARE["cuda" if device.startswith("cuda") else "cpu"]
    width = model.dtype.itemsize
    read, kept = _per_token(model.config.get_text_config(), width)
    return Memory(int(free * share) if wanted is None else wanted, read, kept, device)


def _per_token(config: Any, width: int) -> tuple[int, int]:
    """Bytes of (activations, keys and values) of one token. Sizes that differ between layers count as the largest."""
    hidden = _largest(config, "hidden_size", "n_embd", "d_model") or 1
    heads = _largest(config, "num_attention_heads", "n_head", "num_heads") or 1
    own = _largest(config, "num_key_value_heads", "num_global_key_value_heads") or heads
    each = _largest(config, "head_dim", "global_head_dim", "v_head_dim") or max(1, hidden // heads)
    inner = _largest(config, "intermediate_size", "ffn_dim", "n_inner") or 4 * hidden
    layers = _largest(config, "num_hidden_layers", "n_layer", "num_layers") or 1
    # The residual stream, its norm, queries and their sum; what the feed-forward layer holds at once.
    activations = 4 * hidden + 2 * heads * each + 3 * inner
    return width * activations, 2 * width * layers * own * each


def _largest(config: Any, *names: str) -> int | None:
    return max(sizes(config, *names), default=None)


def sizes(config: Any, *names: str) -> list[int]:
    """All values above 0 of some settings, each a number, one of every layer, or in a configuration of each layer."""
    found: list[int] = []
    layers = getattr(config, "per_layer_config", None) or {}
    for each in (config, *(layers.values() if isinstance(layers, dict) else layers)):
        for name in names:
            try:
                value = getattr(each, name, None)
            except Exception:  # Where it differs between layers, transformers refuses to name one for all.
                continue
            values = value if isinstance(value, list | tuple) else [value]
            found += [int(v) for v in values if isinstance(v, int) and not isinstance(v, bool) and v > 0]
    return found
