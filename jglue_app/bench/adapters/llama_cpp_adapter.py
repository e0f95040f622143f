"""llama.cpp through llama-cpp-python: one prompt after the other, each continuing from what it shares with the one
before; what is left of earlier calls is dropped.

It only generates. Its log-probabilities depend on what ran before, as that decides what is computed together.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Sequence
from typing import Any

PACKAGE = "llama_cpp"
CONTEXT_TOKENS = 8_192


class Adapter:
    """See `harness_worker.Adapter`. The model is a GGUF file, whose weights have the precision that they have there."""

    def __init__(self, model: str, dtype: str, device: str) -> None:
        self._api: Any = importlib.import_module("llama_cpp")
        threads = int(os.environ.get("OMP_NUM_THREADS", "0")) or None
        self._llm: Any = self._api.Llama(
            model_path=model,
            n_ctx=CONTEXT_TOKENS,
            n_threads=threads,
            n_threads_batch=threads,
            n_gpu_layers=-1 if device == "cuda" else 0,
            verbose=False,
        )

    @property
    def weights(self) -> str:
        """What the file says of itself, such as `gemma3 270M Q4_K - Medium`."""
        text: Any = importlib.import_module("ctypes").create_string_buffer(256)
        self._api.llama_model_desc(self._llm.model, text, 256)
        return str(text.value.decode("utf-8", "replace"))

    def prompt_ids(self, contexts: Sequence[str]) -> list[list[int]]:
        return [list(self._llm.tokenize(context.encode("utf-8"), add_bos=True, special=True)) for context in contexts]

    def answer_ids(self, pairs: Sequence[tuple[str, str]]) -> list[tuple[list[int], list[int]]]:
        raise NotImplementedError

    def choose(self, pairs: Sequence[tuple[str, str]], batch: int) -> Callable[[], list[float]]:
        raise NotImplementedError

    def generate(
        self, contexts: Sequence[str], stops: Sequence[Sequence[str]], max_new_tokens: int, batch: int
    ) -> Callable[[], list[str]]:
        prompts = self.prompt_ids(contexts)
        self._llm.reset()

        def call() -> list[str]:
            return [
                str(
                    self._llm.create_completion(
                        ids, max_tokens=max_new_tokens, temperature=0.0, repeat_penalty=1.0, stop=list(stop)
                    )["choices"][0]["text"]
                )
                for ids, stop in zip(prompts, stops, strict=True)
            ]

        return call
