"""Memory of files that are mapped into it, as weights are from their file."""

from __future__ import annotations

import ctypes
import mmap
import re
import sys
from pathlib import Path

import torch

_MAPPING = re.compile(r"([0-9a-f]+)-([0-9a-f]+) r.-p \S+ \S+ [1-9]\d* +/")
"""A line of Linux's list of mappings: a file's, whose changes would be the process' own."""


class MappedFiles:
    """The files that are mapped into memory when it is made; none elsewhere than on Linux."""

    def __init__(self) -> None:
        self._ranges: list[tuple[int, int]] = []
        if sys.platform == "linux":
            lines = Path("/proc/self/maps").read_text("utf-8", "replace").splitlines()
            found = (_MAPPING.match(line) for line in lines)
            self._ranges = [(int(line[1], 16), int(line[2], 16)) for line in found if line]

    def release(self, tensor: torch.Tensor) -> int:
        """Let go of the memory of a tensor that nothing reads any more, if it is a file's: should anybody read it, it
        comes from the file again, without what was changed in place.

        Returns:
            Bytes that were let go of, in whole pages.
        """
        if tensor.device.type != "cpu" or tensor.layout != torch.strided or not tensor.is_contiguous():
            return 0
        start, end = tensor.data_ptr(), tensor.data_ptr() + tensor.nbytes
        if not any(first <= start and end <= last for first, last in self._ranges):
            return 0
        page = mmap.PAGESIZE
        start, end = -(-start // page) * page, end // page * page
        if start >= end:
            return 0
        advised = ctypes.CDLL(None, use_errno=True).madvise(
            ctypes.c_void_p(start), ctypes.c_size_t(end - start), mmap.MADV_DONTNEED
        )
        return 0 if advised else end - start
