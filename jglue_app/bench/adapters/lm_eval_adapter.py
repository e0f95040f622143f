"""lm-evaluation-harness: `HFLM`, its transformers models."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import Any

PACKAGE = "lm_eval"


class Adapter:
    """See `harness_worker.Adapter`."""

    def __init__(self, model: str, dtype: str, device: str) -> None:
        module = importlib.import_module("lm_eval.models.huggingface")
        self._instance: Any = importlib.import_module("lm_eval.api.instance").Instance
        self._lm: Any = module.HFLM(pretrained=model, dtype=dtype, device=device, batch_size=1)

    def _requests(self, kind: str, arguments: Sequence[tuple[Any, ...]], batch: int) -> list[Any]:
        self._lm.batch_size_per_gpu = batch
        return [
            self._instance(kind, {}, request_arguments, k, (None, k, 1))
            for k, request_arguments in enumerate(arguments)
        ]

    def prompt_ids(self, contexts: Sequence[str]) -> list[list[int]]:
        return [self._lm.tok_batch_encode([context])[0][0].tolist() for context in contexts]

    def answer_ids(self, pairs: Sequence[tuple[str, str]]) -> list[tuple[list[int], list[int]]]:
        return [self._lm._encode_pair(context, answer) for context, answer in pairs]

    def choose(self, pairs: Sequence[tuple[str, str]], batch: int) -> Callable[[], list[float]]:
        requests = self._requests("loglikelihood", pairs, batch)
        return lambda: [float(score) for score, _ in self._lm.loglikelihood(requests)]

    def generate(
        self, contexts: Sequence[str], stops: Sequence[Sequence[str]], max_new_tokens: int, batch: int
    ) -> Callable[[], list[str]]:
        settings = [{"until": list(stop), "max_gen_toks": max_new_tokens, "do_sample": False} for stop in stops]
        requests = self._requests("generate_until", list(zip(contexts, settings, strict=True)), batch)
        return lambda: list(self._lm.generate_until(requests))
