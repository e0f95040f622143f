"""The mean of a causal language model's hidden states as the vector of a text.

The states are those after the last layer, with the norm that follows it (`hidden_states[-1]` of transformers), the mean
is over the tokens of the text with its prefix, and leaves out what the tokenizer puts before a text by itself (BOS).
Every text runs alone through the model's own attention, so its vector does not depend on other texts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from jglue_app.backends import open_backend
from jglue_app.backends.embedding.vectors import Embedding
from jglue_app.backends.hf.backend import HFBackend
from jglue_app.backends.hf.engine.equivalence import StopRequested
from jglue_app.settings import Settings
from jglue_app.types import ModelInfo, ModelSpec, RunError

HOW = "mean of the last hidden states over the text's tokens, without BOS; one text at a time"


def open_embedder(
    spec: ModelSpec, settings: Settings, device: str, notify: Callable[[str], None]
) -> HiddenStateEmbedder:
    """Load a causal language model as for other runs, with the same checks; see `backends.open_backend`."""
    backend = open_backend(spec, settings, device=device, notify=notify)
    assert isinstance(backend, HFBackend)
    return HiddenStateEmbedder(backend)


class HiddenStateEmbedder:
    """The hidden states of a loaded model; see `backends.embedding.Embedder`."""

    def __init__(self, backend: HFBackend) -> None:
        self._backend = backend
        self.info: ModelInfo = replace(backend.info, engine=HOW, engine_reason="")

    items_at_once = 1

    def embed(
        self, texts: Sequence[str], prefix: str, should_stop: Callable[[], bool] = lambda: False
    ) -> list[Embedding | RunError]:
        """The vector of each text with the prefix before it; the tokens of the prefix are part of the mean."""
        try:
            return list(self._backend.embed([prefix + text for text in texts], should_stop))
        except StopRequested:
            return []

    def close(self) -> None:
        """Drop the weights."""
        self._backend.close()
