"""Reading the header of a GGUF file several times faster than gguf's own reader and transformers do.

A vocabulary of 262,144 tokens has three lists of as many entries. gguf's reader makes an object for each in Python, one
call after another, on a memory map whose slices are slow; transformers reads the file anew for the tokenizer and for
the configuration, and makes the table of names anew for every module of the model. While a file is converted, a reader
that gives the same fields faster takes its place, and what was read or made is kept for the next time.
"""

from __future__ import annotations

import contextlib
import functools
import struct
import threading
from collections.abc import Iterator
from typing import Any

import gguf
import numpy as np
import transformers.modeling_gguf_pytorch_utils as rules
from gguf.constants import GGUFValueType

_LENGTH = struct.Struct("<Q")
_LIST_HEADER_BYTES = 12
"""The type of a list's entries, and their number."""
_one_at_a_time = threading.Lock()


class FastGGUFReader(gguf.GGUFReader):  # type: ignore[misc]  # gguf has no types.
    """gguf's reader, with the entries of a list cut out all at once; its fields are the same."""

    @property
    def data(self) -> np.ndarray[Any, Any]:
        """The bytes of the file."""
        return self._bytes

    @data.setter
    def data(self, value: np.ndarray[Any, Any]) -> None:
        # Slices of a memory map run code in Python, those of a view of it do not.
        self._bytes = np.asarray(value)

    def _get_field_parts(self, orig_offs: int, raw_type: int) -> Any:
        """Size of a value in the file, its parts, which of them are its entries, and the types; as gguf's own.

        Raises:
            ValueError, struct.error: the file ends before the value does.
        """
        if GGUFValueType(raw_type) != GGUFValueType.ARRAY or self.byte_order != "I":
            return super()._get_field_parts(orig_offs, raw_type)
        kind, length = self._get(orig_offs, np.uint32), self._get(orig_offs + 4, np.uint64)
        type_, count, start = GGUFValueType(kind[0]), int(length[0]), orig_offs + _LIST_HEADER_BYTES
        if type_ == GGUFValueType.STRING:
            entries, end = self._texts(start, count)
            data = list(range(3, 3 + 2 * count, 2))
        elif (dtype := self.gguf_scalar_to_np.get(type_)) is not None:
            end = start + count * np.dtype(dtype).itemsize
            if end > len(self.data):
                raise ValueError("the file ends within a list")
            values = self._get(start, dtype, count)
            entries = [values[k : k + 1] for k in range(count)]
            data = list(range(2, 2 + count))
        else:
            return super()._get_field_parts(orig_offs, raw_type)
        return end - orig_offs, [kind, length, *entries], data, [GGUFValueType.ARRAY, *([type_] if count else [])]

    def _texts(self, start: int, count: int) -> tuple[list[np.ndarray[Any, Any]], int]:
        """Length and bytes of each text of a list, one after another, and where the list ends."""
        entries: list[np.ndarray[Any, Any]] = []
        content: Any = self.data
        size = len(content)
        for _ in range(count):
            text = start + _LENGTH.size
            end = text + _LENGTH.unpack_from(content, start)[0]
            if end > size:
                raise ValueError("the file ends within a text")
            entries += (content[start:text].view(np.uint64), content[text:end])
            start = end
        return entries, start


@contextlib.contextmanager
def read_once() -> Iterator[None]:
    """Meanwhile transformers reads GGUF files with the fast reader, and does not read a file twice for its settings."""
    with _one_at_a_time:
        reader, names, load = gguf.GGUFReader, gguf.get_tensor_name_map, rules.load_gguf_checkpoint
        kept: dict[str, Any] = {}

        def load_once(path: Any, return_tensors: bool = False, *args: Any, **options: Any) -> Any:
            if return_tensors:
                kept.clear()
                return load(path, return_tensors, *args, **options)
            if str(path) in kept:
                return kept.pop(str(path))  # It takes memory, and is not read a third time.
            found = load(path, return_tensors, *args, **options)
            # The caller may change its own.
            kept[str(path)] = {
                part: {key: list(value) if isinstance(value, list) else value for key, value in table.items()}
                for part, table in found.items()
            }
            return found

        gguf.GGUFReader, rules.load_gguf_checkpoint = FastGGUFReader, load_once
        gguf.get_tensor_name_map = functools.cache(names)
        try:
            yield
        finally:
            gguf.GGUFReader, gguf.get_tensor_name_map, rules.load_gguf_checkpoint = reader, names, load
