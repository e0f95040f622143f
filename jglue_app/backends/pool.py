"""The models that are loaded in one process."""

from __future__ import annotations

import importlib
from collections.abc import Collection
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

from jglue_app.backends import BACKENDS, Notify, backend_module, open_backend
from jglue_app.backends.fingerprint import fingerprint_model, require_unchanged
from jglue_app.errors import DeviceError
from jglue_app.messages import Message
from jglue_app.settings import Settings
from jglue_app.types import Backend, ModelSpec


class ModelPool:
    """The models that are loaded in one process: at most two, the least recently used is evicted first.

    Use as a context manager. Not safe for concurrent calls: the owner holds one lock around everything that uses the
    accelerator.
    """

    def __init__(self, settings: Settings, *, device: str = "auto", size: int = 2) -> None:
        self._settings = settings
        self._device = device
        self._size = size
        self._resident: dict[ModelSpec, Backend] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.clear()

    @property
    def resident(self) -> list[ModelSpec]:
        """The models that are loaded, the least recently used first."""
        return list(self._resident)

    def get(self, spec: ModelSpec, notify: Notify = lambda _: None, *, needs_template: bool = False) -> Backend:
        """The loaded model; others are evicted if it needs their memory.

        Args:
            spec: the model; without `files_sha256` with its files as they are now.
            notify: called with what takes long.
            needs_template: reject a model without a chat template instead of loading it.

        Raises:
            ModelError: as `open_backend`; also when the files of a loaded model have changed, since its weights in
                memory may be mapped from them.
        """
        if spec.files_sha256 is None and (fingerprint := fingerprint_model(spec, self._settings)):
            spec = replace(spec, files_sha256=fingerprint.digest)
        if spec in self._resident:
            require_unchanged(spec, self._settings)
            self._resident[spec] = self._resident.pop(spec)
            return self._resident[spec]
        for stale in [s for s in self._resident if replace(s, files_sha256=spec.files_sha256) == spec]:
            notify(Message("Unloading {model}: its files have changed.", model=stale.id))
            self._resident.pop(stale).close()
        notify(Message("Preparing {model}.", model=spec.id))
        while self._resident and (len(self._resident) >= self._size or not self.fits(spec)):
            oldest = next(iter(self._resident))
            notify(Message("Unloading {model} to make room.", model=oldest.id))
            self._resident.pop(oldest).close()
        options: Any = {"device": self._device, "notify": notify, "needs_template": needs_template}
        try:
            backend = open_backend(spec, self._settings, **options)
        except DeviceError:
            if not self._resident:
                raise
            # Its size was not known before: try again with all the memory there is.
            notify(Message("Unloading all other models to make room for {model}.", model=spec.id))
            self.clear()
            backend = open_backend(spec, self._settings, **options)
        self._resident[spec] = backend
        return backend

    def fits(self, spec: ModelSpec) -> bool:
        """Whether the model is loaded, or fits next to those that are. True when its size is not known."""
        return spec in self._resident or self.fit_together({spec})

    def fit_together(self, specs: Collection[ModelSpec]) -> bool:
        """Whether all these models can be loaded at the same time, as far as their sizes are known."""
        if len(specs) > self._size:
            return False
        needed: dict[str, int] = {}
        for spec in specs:
            if spec not in self._resident:
                size = backend_module(spec).memory_needed(spec, self._settings, self._device)
                needed[spec.backend] = needed.get(spec.backend, 0) + (size or 0)
        free = {name: importlib.import_module(BACKENDS[name]).memory_free(self._device) for name in needed}
        return all(size <= free[name] for name, size in needed.items())

    def clear(self) -> None:
        """Close every model."""
        while self._resident:
            self._resident.popitem()[1].close()
