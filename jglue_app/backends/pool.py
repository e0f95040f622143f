"""The models that are resident in one process."""

from __future__ import annotations

import importlib
from collections.abc import Collection
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

from jglue_app.backends import BACKENDS, Notify, module_of, open_backend
from jglue_app.backends import fingerprint as identity
from jglue_app.errors import DeviceError
from jglue_app.messages import Message
from jglue_app.settings import Settings
from jglue_app.types import Backend, ModelSpec


class ModelPool:
    """The models resident in one process: at most two, the least recently used leaves first.

    The same spec is loaded once, whoever asks. Use as a context manager; not safe for concurrent calls, the owner
    holds one lock around everything that touches the accelerator.
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
        """The models that are loaded, the one to leave first at the beginning."""
        return list(self._resident)

    def get(self, spec: ModelSpec, notify: Notify = lambda _: None, *, needs_template: bool = False) -> Backend:
        """The loaded model, making room for it first.

        Args:
            spec: of a plan, or any: without `files_sha256` it is what its files are now.
            notify: told what takes long.
            needs_template: refuse a model without a chat template instead of loading it.

        Raises:
            ModelError: as `open_backend`; also when the files of a model have changed since it was loaded, on which
                its weights in memory may rest.
        """
        if spec.files_sha256 is None and (found := identity.identify(spec, self._settings)):
            spec = replace(spec, files_sha256=found.digest)
        if spec in self._resident:
            identity.require_same(spec, self._settings)
            self._resident[spec] = self._resident.pop(spec)
            return self._resident[spec]
        for stale in [s for s in self._resident if replace(s, files_sha256=spec.files_sha256) == spec]:
            notify(Message("Unloading {id}: its files have changed.", id=stale.id))
            self._resident.pop(stale).close()
        notify(Message("Preparing {model}.", model=spec.id))
        while self._resident and (len(self._resident) >= self._size or not self.fits(spec)):
            oldest = next(iter(self._resident))
            notify(Message("Unloading {id} to make room.", id=oldest.id))
            self._resident.pop(oldest).close()
        how: Any = {"device": self._device, "notify": notify, "needs_template": needs_template}
        try:
            backend = open_backend(spec, self._settings, **how)
        except DeviceError:
            if not self._resident:
                raise
            # Its size was not known beforehand: once more with all the memory there is.
            notify(Message("Unloading all other models to make room for {model}.", model=spec.id))
            self.clear()
            backend = open_backend(spec, self._settings, **how)
        self._resident[spec] = backend
        return backend

    def fits(self, spec: ModelSpec) -> bool:
        """Whether the model is resident, or fits beside those that are. True when its size is not known."""
        return spec in self._resident or self.fit_together({spec})

    def fit_together(self, specs: Collection[ModelSpec]) -> bool:
        """Whether all these models can be resident at the same time, as far as their sizes are known."""
        if len(specs) > self._size:
            return False
        needs: dict[str, int] = {}
        for spec in specs:
            if spec not in self._resident:
                need = module_of(spec).memory_needed(spec, self._settings, self._device)
                needs[spec.backend] = needs.get(spec.backend, 0) + (need or 0)
        free = {name: importlib.import_module(BACKENDS[name]).memory_free(self._device) for name in needs}
        return all(need <= free[name] for name, need in needs.items())

    def clear(self) -> None:
        """Close every model."""
        while self._resident:
            self._resident.popitem()[1].close()
