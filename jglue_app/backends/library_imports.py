"""Imports of torch and transformers, which take seconds: one thread at a time, and ahead of the first model.

Two threads that import parts of the same libraries in different orders may each be given modules that are only half
there. So whoever imports a module of a backend that needs them takes its turn here. Loading a model imports further
parts, without a turn: while that may go on, nothing is imported ahead.
"""

from __future__ import annotations

import gc
import importlib
import logging
import threading
import time
from types import ModuleType

from jglue_app.backends.free_memory import free_memory
from jglue_app.backends.zero_gpu import space as zero_gpu

AHEAD = ("jglue_app.backends.hf.load", "transformers.models.gemma3.modeling_gemma3", "gguf")
"""What the first run of the embedded model imports."""
MIN_FREE_BYTES = 2 * 2**30
"""Memory without which nothing is imported ahead: the libraries take half a gigabyte, which a page needs not have."""
DELAY_S = 1.0
"""How long a browser that has the document is left alone, so that it gets the rest of the page."""

log = logging.getLogger(__name__)
_turn = threading.RLock()
_started = threading.Event()
_needed = threading.Event()
"""Set as soon as anybody has imported a library for use."""


def import_library(name: str) -> ModuleType:
    """Import a module that needs torch or transformers, once no other thread does so."""
    with _turn:
        _needed.set()
        return importlib.import_module(name)


def is_importing() -> bool:
    """Whether another thread imports a library at the moment, so that `import_library` would wait for seconds."""
    if not _turn.acquire(blocking=False):
        return True
    _turn.release()
    return False


def import_ahead(delay_s: float = DELAY_S) -> threading.Thread | None:
    """Begin to import what models need, in the background, the first time that this is called.

    Returns:
        The thread; None if it was begun before, where memory is short, and where models run on a borrowed GPU.
    """
    if _started.is_set():
        return None
    _started.set()
    if zero_gpu.gpu_call() is not None or free_memory().bytes < MIN_FREE_BYTES:
        return None

    def work() -> None:
        time.sleep(delay_s)
        with _turn:
            # A model that is being loaded would import at the same time, and stay for good once objects are frozen.
            if not _needed.is_set():
                _import_all()

    thread = threading.Thread(target=work, name="import-ahead", daemon=True)
    thread.start()
    return thread


def _import_all() -> None:
    for name in AHEAD:
        try:
            importlib.import_module(name)
        except Exception:  # Whoever needs it is told.
            log.info("%s could not be imported ahead", name, exc_info=True)
    # They stay for good: else each full search for cycles stops all threads for a quarter of a second.
    gc.collect()
    gc.freeze()
