"""How far the conversion of a GGUF file is, told while transformers reads it and expands its weights."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import transformers.modeling_gguf_pytorch_utils as reader

from jglue_app.messages import Message

READ = (10, 40, 65)
"""Percent after the file was read for the tokenizer, the tokenizer was made and the configuration read, and before the
weights are expanded: about their shares of the processor's time, measured on the embedded model."""
EXPANDED = 90
"""Percent at which all weights are expanded; what is left is writing them."""
_one_at_a_time = threading.Lock()


class _Steps:
    """Stands in for two functions of transformers, and tells how far they have come."""

    def __init__(self, file: str, notify: Callable[[str], None]) -> None:
        self._file, self._notify = file, notify
        self._last = -1
        self._reads = 0
        self._read, self._bar = reader.load_gguf_checkpoint, reader.tqdm

    def tell(self, percent: int) -> None:
        """Say it, if it is more than was said: whatever the order of the steps, it never falls or leaves its bounds."""
        percent = max(0, min(EXPANDED, percent))
        if percent > self._last:
            self._last = percent
            self._notify(Message("Converting {file} to safetensors: {percent} %.", file=self._file, percent=percent))

    def read(self, *args: Any, **options: Any) -> Any:
        """Reading the file, for which transformers asks twice or three times."""
        found = self._read(*args, **options)
        if not options.get("return_tensors"):
            self.tell(READ[min(self._reads, 1)])
            self._reads += 1
        return found

    def expand(self, tensors: Iterable[Any], **_: object) -> Iterator[Any]:
        """Going through the tensors while they are expanded, by their sizes."""
        parts = list(tensors)
        # A tensor that does not say its size counts for nothing, so that the conversion goes on.
        sizes = [max(0, int(getattr(tensor, "n_bytes", 0))) for tensor in parts]
        total, done = max(1, sum(sizes)), 0
        for tensor, size in zip(parts, sizes, strict=True):
            self.tell(READ[2] + (EXPANDED - READ[2]) * done // total)
            yield tensor
            done += size
        self.tell(EXPANDED)

    def stop(self) -> None:
        """Put the functions of transformers back."""
        reader.load_gguf_checkpoint, reader.tqdm = self._read, self._bar


@contextlib.contextmanager
def conversion_progress(file: str, notify: Callable[[str], None]) -> Iterator[None]:
    """Tell, while a GGUF file is read, how far that is.

    transformers has no way to be asked, and draws a bar for one step of several. Where it has other functions than
    are known here, nothing is told.

    Args:
        file: its name.
        notify: called with a sentence whose value `percent` is a whole number.
    """
    if not (hasattr(reader, "tqdm") and hasattr(reader, "load_gguf_checkpoint")):
        yield
        return
    with _one_at_a_time:
        steps = _Steps(file, notify)
        reader.load_gguf_checkpoint, reader.tqdm = steps.read, steps.expand
        try:
            steps.tell(0)
            yield
        finally:
            steps.stop()
