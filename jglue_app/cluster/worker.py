"""The actor that answers batches. Its code is sent to the workers' machines, and imports only the standard library
before it is known which versions these have."""

from __future__ import annotations

import importlib.metadata
import platform
import socket
import threading
from collections.abc import Iterator
from typing import Any

PACKAGES = ("torch", "transformers", "tokenizers")
"""Packages on whose versions answers depend."""


def process_facts() -> dict[str, str]:
    """The machine's name, and versions by name; that of a package that is not there is empty."""
    facts = {"host": socket.gethostname(), "Python": ".".join(platform.python_version_tuple()[:2])}
    try:
        from jglue_app.version import __version__

        facts["jglue-app"] = __version__
    except ImportError:
        facts["jglue-app"] = ""
    for name in PACKAGES:
        try:
            facts[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            facts[name] = ""
    return facts


class Worker:
    """One process that keeps models loaded."""

    def __init__(self) -> None:
        self._stopped = threading.Event()
        self._models: dict[str, Any] = {}

    def facts(self) -> dict[str, str]:
        """See `process_facts`."""
        return process_facts()

    def work(self, job: Any) -> Iterator[Any]:
        """The replies to a job; see `serving.serve`."""
        from jglue_app.cluster.serving import serve

        yield from serve(self._models, job, self._stopped.is_set)

    def stop(self) -> None:
        """End the job under way between two of the model's steps. Called while `work` runs."""
        self._stopped.set()
