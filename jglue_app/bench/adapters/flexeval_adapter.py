"""flexeval: its `HuggingFaceLM`."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import Any

PACKAGE = "flexeval"


class Adapter:
    """See `harness_worker.Adapter`."""

    def __init__(self, model: str, dtype: str, device: str) -> None:
        module = importlib.import_module("flexeval")
        kwargs = {"device_map": device, "dtype": dtype}
        self._lm: Any = module.HuggingFaceLM(model=model, model_kwargs=kwargs, add_special_tokens=True)
        self._lm.compute_log_probs(["a"], ["a"])  # It loads the model at its first call.
        self._encoding: Any = importlib.import_module("flexeval.core.language_model.hf_lm")

    def prompt_ids(self, contexts: Sequence[str]) -> list[list[int]]:
        return [self._context_ids(context) for context in contexts]

    def answer_ids(self, pairs: Sequence[tuple[str, str]]) -> list[tuple[list[int], list[int]]]:
        return [self._pair_ids(context, answer) for context, answer in pairs]

    def _context_ids(self, context: str) -> list[int]:
        encoded = self._encoding.tokenize_text_for_lm_prefix([context], self._lm.tokenizer, add_special_tokens=True)
        return list(encoded["input_ids"][0].tolist())

    def _pair_ids(self, context: str, answer: str) -> tuple[list[int], list[int]]:
        # It tokenizes an answer alone, which can give other tokens than together with what stands before.
        first = self._context_ids(context)
        special = first[-1] in self._lm.tokenizer.all_special_ids
        encoded = self._encoding.tokenize_text_for_lm_continuation(
            [answer], self._lm.tokenizer, as_continuation=[not special]
        )
        return first, list(encoded["input_ids"][0].tolist())

    def choose(self, pairs: Sequence[tuple[str, str]], batch: int) -> Callable[[], list[float]]:
        prefixes, texts = [context for context, _ in pairs], [answer for _, answer in pairs]

        def call() -> list[float]:
            scores: list[float] = []
            for first in range(0, len(texts), batch):
                here = slice(first, first + batch)
                scores += map(float, self._lm.compute_log_probs(texts[here], prefixes[here]))
            return scores

        return call

    def generate(
        self, contexts: Sequence[str], stops: Sequence[Sequence[str]], max_new_tokens: int, batch: int
    ) -> Callable[[], list[str]]:
        def call() -> list[str]:
            texts: list[str] = []
            for first in range(0, len(contexts), batch):
                here = slice(first, first + batch)
                stop = list(stops[first])
                outputs = self._lm.complete_text(
                    list(contexts[here]), stop_sequences=stop, max_new_tokens=max_new_tokens, do_sample=False
                )
                texts += [str(output.text) for output in outputs]
            return texts

        return call
