"""The models that are loaded in one process."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

from jglue_app.backends import (
    Notify,
    backend_module,
    open_backend,
    require_no_adapter_elsewhere,
)
from jglue_app.backends.fingerprint import fingerprint_model, require_unchanged, without_adapter
from jglue_app.backends.library_imports import import_library
from jglue_app.backends.zero_gpu import space as zero_gpu
from jglue_app.errors import DeviceError, ModelError
from jglue_app.messages import Message
from jglue_app.settings import Settings
from jglue_app.types import Backend, ModelSpec

MAX_ELSEWHERE = 16
"""Models on ZeroGPU whose tokenizers stay in memory."""
MAX_ADAPTERS = 8
"""Adapters that stay applied: each keeps modules, its own weights and a prefix in memory."""


class ModelPool:
    """The models that are loaded in one process: at most two, the least recently used is evicted first.

    Adapters are applied to the weights of a loaded model and do not count: a model and all its adapters share them.

    Use as a context manager. Not safe for concurrent calls: the owner holds one lock around everything that uses the
    accelerator.
    """

    def __init__(self, settings: Settings, *, device: str = "auto", size: int = 2) -> None:
        self._settings = settings
        self._device = device
        self._size = size
        self._evicts = True
        """Whether models are closed to make room for another."""
        self._resident: dict[ModelSpec, Backend] = {}
        self._elsewhere: dict[ModelSpec, Backend] = {}
        """Models whose weights are loaded on a borrowed GPU; the least recently used first."""
        self._adapted: dict[ModelSpec, tuple[ModelSpec, Backend]] = {}
        """Model with an adapter → the loaded model without it, and the backend of both."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.clear()

    @property
    def resident(self) -> list[ModelSpec]:
        """The models that are loaded, without adapters; the least recently used first."""
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
        if zero_gpu.runs_there(spec):
            return self._there(spec, notify, needs_template=needs_template)
        if spec.adapter is not None:
            return self._with_adapter(spec, notify, needs_template=needs_template)
        if spec in self._resident:
            require_unchanged(spec, self._settings)
            self._resident[spec] = self._resident.pop(spec)
            return self._resident[spec]
        for stale in [s for s in self._resident if replace(s, files_sha256=spec.files_sha256) == spec]:
            notify(Message("Unloading {model}: its files have changed.", model=stale.id))
            self._close(stale)
        notify(Message("Preparing {model}.", model=spec.id))
        while self._evicts and self._resident and (len(self._resident) >= self._size or not self.fits(spec)):
            oldest = next(iter(self._resident))
            notify(Message("Unloading {model} to make room.", model=oldest.id))
            self._close(oldest)
        options: Any = {"device": self._device, "notify": notify, "needs_template": needs_template}
        try:
            backend = open_backend(spec, self._settings, **options)
        except DeviceError:
            if not self._resident or not self._evicts:
                raise
            # Its size was not known before: try again with all the memory there is.
            notify(Message("Unloading all other models to make room for {model}.", model=spec.id))
            self.clear()
            backend = open_backend(spec, self._settings, **options)
        self._resident[spec] = backend
        return backend

    def _there(self, spec: ModelSpec, notify: Notify, *, needs_template: bool) -> Backend:
        """A model that answers on a borrowed GPU, with its adapter if it has one."""
        if spec in self._elsewhere:
            require_unchanged(spec, self._settings)
            self._elsewhere[spec] = self._elsewhere.pop(spec)
            return self._elsewhere[spec]
        notify(Message("Preparing {model}.", model=spec.id))
        module = import_library("jglue_app.backends.zero_gpu.open_there")
        backend: Backend = module.open_there(spec, self._settings, notify, needs_template=needs_template)
        while len(self._elsewhere) >= MAX_ELSEWHERE:
            self._elsewhere.pop(next(iter(self._elsewhere))).close()
        self._elsewhere[spec] = backend
        return backend

    def _with_adapter(self, spec: ModelSpec, notify: Notify, *, needs_template: bool) -> Backend:
        """A model with its adapter, applied to the weights that are loaded, or are loaded for it."""
        require_no_adapter_elsewhere(spec)
        base_spec = without_adapter(spec)
        if fingerprint := fingerprint_model(base_spec, self._settings):
            base_spec = replace(base_spec, files_sha256=fingerprint.digest)
        if spec in self._adapted and self._adapted[spec][0] == base_spec:
            require_unchanged(spec, self._settings)
            self._resident[base_spec] = self._resident.pop(base_spec)
            self._adapted[spec] = self._adapted.pop(spec)
            return self._adapted[spec][1]
        for stale in [s for s in self._adapted if replace(s, files_sha256=spec.files_sha256) == spec]:
            notify(Message("Unloading the adapter {adapter}: its files have changed.", adapter=stale.adapter))
            self._adapted.pop(stale)[1].close()
        module = backend_module(spec)
        # Before the model is loaded: a mistake in its settings need not wait for that.
        files = module.find_adapter(spec, self._settings, notify)
        require_unchanged(spec, self._settings)
        base = self.get(base_spec, notify)
        while len(self._adapted) >= MAX_ADAPTERS:
            self._adapted.pop(next(iter(self._adapted)))[1].close()

        def opened() -> Backend:
            options: Any = {"needs_template": needs_template}
            backend: Backend = module.open_adapter(files, base, spec, self._settings, notify, **options)
            try:
                require_unchanged(spec, self._settings, backend.info.commit)
            except ModelError:
                backend.close()
                raise
            return backend

        try:
            try:
                backend = opened()
            except DeviceError:
                if len(self._resident) + len(self._adapted) < 2 or not self._evicts:
                    raise
                notify(Message("Unloading all other models to make room for {model}.", model=spec.id))
                for other in [s for s in self._resident if s != base_spec]:
                    self._close(other)
                self._close_adapters()
                backend = opened()
        except ModelError:
            if getattr(base, "is_closed", False):  # Its weights were changed.
                self._close(base_spec)
            raise
        self._adapted[spec] = base_spec, backend
        return backend

    def _close(self, spec: ModelSpec) -> None:
        """Close a model, and before it its adapters, which use its weights."""
        self._close_adapters(spec)
        self._resident.pop(spec).close()

    def _close_adapters(self, base: ModelSpec | None = None) -> None:
        """Close the adapters of a model; None for those of all."""
        for spec in [s for s, (model, _) in self._adapted.items() if base in (None, model)]:
            self._adapted.pop(spec)[1].close()

    @contextmanager
    def beside(self, spec: ModelSpec, needed: int) -> Iterator[Backend | None]:
        """A model beside those that are loaded, none of which is evicted for it. It is closed afterwards, unless it was
        loaded before.

        Args:
            spec: the model, as for `get`.
            needed: bytes that it takes; where so many are not free there is no model (None).

        Raises:
            ModelError: as `get`.
        """
        before = set(self._resident)
        if without_adapter(spec) not in before and needed > backend_module(spec).memory_free(self._device):
            yield None
            return
        self._evicts = False
        try:
            yield self.get(spec)
        finally:
            self._evicts = True
            for loaded in [s for s in self._resident if s not in before]:
                self._close(loaded)

    def fits(self, spec: ModelSpec) -> bool:
        """Whether the model is loaded, or fits next to those that are. True when its size is not known."""
        return spec in self._resident or self.fit_together({spec})

    def fit_together(self, specs: Collection[ModelSpec]) -> bool:
        """Whether all these models can be loaded at the same time, as far as their sizes are known.

        Those that differ in their adapters alone are one. Those on a borrowed GPU take no memory here; there, the one
        makes room for the other.
        """
        specs = [spec for spec in specs if not zero_gpu.runs_there(spec)]
        models: dict[ModelSpec, ModelSpec] = {}
        for spec in specs:
            models[without_adapter(spec)] = spec if spec.adapter is None else models.get(without_adapter(spec), spec)
        if len(models) > self._size:
            return False
        loaded = {without_adapter(spec) for spec in self._resident}
        needed: dict[str, int] = {}
        for model, spec in models.items():
            if spec not in self._resident and (spec.adapter is None or model not in loaded):
                size = backend_module(spec).memory_needed(spec, self._settings, self._device)
                needed[spec.backend] = needed.get(spec.backend, 0) + (size or 0)
        free = {name: backend_module(ModelSpec("", name)).memory_free(self._device) for name in needed}
        return all(size <= free[name] for name, size in needed.items())

    def clear(self) -> None:
        """Close every model."""
        while self._elsewhere:
            self._elsewhere.popitem()[1].close()
        self._close_adapters()
        while self._resident:
            self._resident.popitem()[1].close()
