"""How much memory a model may use beside its weights, and what fits into it.

Processing a token takes memory for its activations for a moment; a token that later ones attend to keeps its keys and
values. Both are estimated from the configuration, so that a batch is limited before memory runs out; where the estimate
is too low, the batch is halved when it does.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import functools
import gc
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

from jglue_app.backends.free_memory import free_memory
from jglue_app.errors import InputError

FREE_MEMORY_FRACTION = {"cpu": 0.5, "cuda": 0.8}
"""Part of the free memory that is used; on a CPU and on Apple's GPUs other programs share it."""
MASK_BYTES = 5
"""A mask takes one byte for every query and key, and becomes a float32 beside it."""
OUT_OF_MEMORY_SIGNS = (
    *("can't allocate memory", "not enough memory", "bad_alloc", "Cannot allocate memory", "std::length_error"),
    *("could not create a memory", "can't start new thread", "Resource temporarily unavailable"),
)
"""In messages of errors whose class says nothing."""
SMALL_BYTES = 64 * 2**20
"""So much is taken whatever the budget: a smaller one makes batches smaller, and would leave no prompt that fits."""
MIN_TOKENS = 64
"""Fewer at once would be too slow to be useful; where memory is that small, it is an error when it runs out."""


def free_bytes(device: str) -> int:
    """Memory that is free on a device as torch names it; elsewhere than on a GPU, within all limits of this process."""
    if device.startswith("cuda"):
        return int(torch.cuda.mem_get_info(device)[0])
    return free_memory().bytes


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, whoever says so: Python, a GPU, torch's allocator on a CPU (a plain RuntimeError), a
    C++ library, oneDNN, or the system where it gives no more addresses or threads."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in OUT_OF_MEMORY_SIGNS)


def release_unused() -> None:
    """Return memory that is no longer used to the system: glibc and CUDA's allocator keep it for later."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    release_freed()


@contextlib.contextmanager
def search_only_new_objects() -> Iterator[None]:
    """Meanwhile a search for cycles looks only at objects made since: those of torch and transformers, a million, take
    a quarter of a second each time. Where they are left out for good already, it stays so."""
    global _are_left_out
    if _are_left_out or _are_left_out_for_good():
        yield
        return
    _are_left_out = True
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
        _are_left_out = False


_are_left_out = False
"""Whether a model is being loaded, and objects from before are left out."""


@functools.cache
def _are_left_out_for_good() -> bool:
    """Whether whoever runs this has frozen the objects of its start. Asked once: all that are frozen are counted."""
    return gc.get_freeze_count() > 0


def release_freed() -> None:
    """Return what was freed already on a CPU to the system, without a search for what could be freed."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim:
        trim(0)


@dataclass(frozen=True, slots=True)
class MemoryBudget:
    """What a model may use beside its weights."""

    budget: int
    """Bytes."""
    activation_bytes: int
    """Bytes of one token's activations."""
    kv_bytes: int
    """Bytes of one token's keys and values in all layers."""
    device: str = "cpu"
    """As torch names it."""

    def max_batch_tokens(self, limit: int, extra_bytes: int = 0) -> int:
        """Tokens that can be processed at once in half of the budget, at most `limit`.

        Args:
            limit: the most to return.
            extra_bytes: that each token takes besides.
        """
        return max(MIN_TOKENS, min(limit, self.budget // 2 // (self.activation_bytes + self.kv_bytes + extra_bytes)))

    def fits(self, bytes_: int) -> bool:
        """Whether something that cannot be divided fits into the budget.

        It has to be free now too, as other programs may have taken memory since the budget was found, and the system
        ends a process that takes what is not there. Not so on Nvidia's and AMD's GPUs: what torch keeps for later
        counts as taken there, and where there is too little, torch says so.
        """
        if bytes_ > max(self.budget, SMALL_BYTES):
            return False
        return self.device.startswith("cuda") or bytes_ <= free_bytes(self.device)

    def fits_alone(self, pair_bytes: int, tokens: int, rows: int = 1, extra_bytes: int = 0) -> bool:
        """Whether a model's own attention over sequences fits, each of which runs as a whole.

        Args:
            pair_bytes: of `bytes_per_pair`.
            tokens: of the longest sequence.
            rows: how many sequences run at once.
            extra_bytes: that each token takes besides.
        """
        of_token = pair_bytes * tokens + self.activation_bytes + self.kv_bytes + extra_bytes
        return self.fits(rows * tokens * of_token)

    def max_kv_tokens(self, limit: int) -> int:
        """Tokens whose keys and values fit into the other half of the budget, at most `limit`."""
        return max(MIN_TOKENS, min(limit, self.budget // 2 // self.kv_bytes))


def memory_budget(model: Any, requested: int | None = None) -> MemoryBudget:
    """The budget of a loaded model: a part of what is free now, or what is requested; of several cards, on the fullest.

    Args:
        model: a transformers model, on its device.
        requested: bytes that the user allows.

    Raises:
        InputError: more is requested than is free.
    """
    device = str(model.device)
    free = min(free_bytes(each) for each in {device, *_devices(model)})
    if requested is not None and requested > free:
        raise InputError(
            "{wanted:.1f} GiB of working memory were asked for and {free:.1f} GiB are free. Give less with "
            "JGLUE_MEMORY (--memory), or leave it out to have it found.",
            wanted=requested / 2**30,
            free=free / 2**30,
        )
    fraction = FREE_MEMORY_FRACTION["cuda" if device.startswith("cuda") else "cpu"]
    width = model.dtype.itemsize
    activation_bytes, kv_bytes = _bytes_per_token(model.config.get_text_config(), width)
    budget = int(free * fraction) if requested is None else requested
    return MemoryBudget(budget, activation_bytes, kv_bytes, device)


def _devices(model: Any) -> list[str]:
    """The cards that a model is spread over, as torch names them."""
    places = (getattr(model, "hf_device_map", None) or {}).values()
    names = (f"cuda:{place}" if isinstance(place, int) else str(place) for place in places)
    return [name for name in names if name.startswith("cuda")]


def bytes_per_pair(model: Any, attention: str) -> int:
    """Bytes that a model's own attention takes for every pair of tokens: a mask, and scores where they are stored in
    full, as they come and as weights.

    Args:
        model: of transformers.
        attention: by its name in transformers; the model may have another one now.
    """
    heads = max(config_sizes(model.config.get_text_config(), "num_attention_heads", "n_head"), default=1)
    return MASK_BYTES + (heads * model.dtype.itemsize * 2 if attention == "eager" else 0)


def _bytes_per_token(config: Any, width: int) -> tuple[int, int]:
    """Bytes of (activations, keys and values) of one token. Sizes that differ between layers count as the largest."""
    hidden = _largest(config, "hidden_size", "n_embd", "d_model") or 1
    heads = _largest(config, "num_attention_heads", "n_head", "num_heads") or 1
    kv_heads = _largest(config, "num_key_value_heads", "num_global_key_value_heads") or heads
    head_width = _largest(config, "head_dim", "global_head_dim", "v_head_dim") or max(1, hidden // heads)
    inner = _largest(config, "intermediate_size", "ffn_dim", "n_inner") or 4 * hidden
    layers = _largest(config, "num_hidden_layers", "n_layer", "num_layers") or 1
    # The residual stream, its norm, queries and their sum; what the feed-forward layer holds at once.
    activations = 4 * hidden + 2 * heads * head_width + 3 * inner
    return width * activations, 2 * width * layers * kv_heads * head_width


def _largest(config: Any, *names: str) -> int | None:
    return max(config_sizes(config, *names), default=None)


def config_sizes(config: Any, *names: str) -> list[int]:
    """All values above 0 of some settings, each a number, one of every layer, or in a configuration of each layer."""
    sizes: list[int] = []
    layers = getattr(config, "per_layer_config", None) or {}
    for each in (config, *(layers.values() if isinstance(layers, dict) else layers)):
        for name in names:
            try:
                value = getattr(each, name, None)
            except Exception:  # Where it differs between layers, transformers refuses to name one for all.
                continue
            values = value if isinstance(value, list | tuple) else [value]
            sizes += [int(v) for v in values if isinstance(v, int) and not isinstance(v, bool) and v > 0]
    return sizes
