"""Letting go of the pages of weight files while weights are copied from them.

Files are mapped into memory, where what was read of them stays. Weights that are used in another dtype than they are
stored in, or on a GPU, are copied: without this, all of the file would be in memory beside the copies.
"""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator
from typing import Any

import torch
import transformers.core_model_loading as loading

from jglue_app.backends.hf.engine.mapped_files import MappedFiles

BLOCK_BYTES = 2**24
"""Of a tensor in its file that are converted at a time."""
_COPY = "_materialize_copy"
"""Name of the function with which transformers reads a tensor; in another version there may be none."""
_lock = threading.Lock()
_loading = 0
"""Models that are being loaded."""
_files: MappedFiles | None = None
"""What is mapped; None where that is not known, as of a model that has begun to load since."""


@contextlib.contextmanager
def release_copied_pages() -> Iterator[None]:
    """Meanwhile transformers lets go of the pages of each tensor that it has copied from a mapped file.

    What it makes of the tensor is the same.
    """
    global _loading, _files
    own = getattr(loading, _COPY, None)
    if own is None:
        yield
        return
    with _lock:
        if not _loading:
            setattr(loading, _COPY, functools.partial(_copy, own))
        _loading, _files = _loading + 1, None
        own = getattr(own, "args", (own,))[0]
    try:
        yield
    finally:
        with _lock:
            _loading, _files = _loading - 1, None
            if not _loading:
                setattr(loading, _COPY, own)


def _copy(own: Callable[..., torch.Tensor], tensor: Any, device: Any = None, dtype: Any = None) -> torch.Tensor:
    """A tensor of a file on a device and in a dtype, as transformers' own function gives it.

    Args:
        own: that function.
        tensor: or a slice of safetensors, which becomes one when it is indexed.
        device, dtype: None to leave them as they are.
    """
    global _files
    source = tensor[...]
    files = _files
    if files is None:  # All files of a model are open before the first of its tensors is read.
        files = _files = MappedFiles()
    if _is_conversion(source, device, dtype):
        out = torch.empty_like(source, dtype=dtype)
        rows = max(1, BLOCK_BYTES * len(source) // source.nbytes)
        for start in range(0, len(source), rows):
            block = source[start : start + rows]
            out[start : start + rows] = block
            files.release(block)
    else:
        out = own(source, device, dtype)
    if out.device != source.device or out.data_ptr() != source.data_ptr():
        files.release(source)
    return out


def _is_conversion(source: torch.Tensor, device: Any, dtype: Any) -> bool:
    """Whether a tensor of some size becomes another dtype on a CPU."""
    return (
        isinstance(dtype, torch.dtype)
        and dtype != source.dtype
        and source.device.type == "cpu"
        and source.layout == torch.strided
        and source.is_contiguous()
        and source.dim() > 0
        and source.nbytes > 0
        and (device is None or torch.device(device).type == "cpu")
    )
