"""vLLM: `LLM` in this process, with its prefix cache, which is emptied before each call."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Sequence
from typing import Any

PACKAGE = "vllm"
MAX_CONTEXT_TOKENS = 8_192
"""More would take memory that no prompt needs."""


class Adapter:
    """See `harness_worker.Adapter`. It makes its own batches."""

    def __init__(self, model: str, dtype: str, device: str) -> None:
        os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
        os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "4")
        module = importlib.import_module("vllm")
        self._sampling: Any = module.SamplingParams
        config: Any = importlib.import_module("transformers").AutoConfig.from_pretrained(model).get_text_config()
        longest = min(MAX_CONTEXT_TOKENS, getattr(config, "max_position_embeddings", MAX_CONTEXT_TOKENS))
        self._llm: Any = module.LLM(model=model, dtype=dtype, enable_prefix_caching=True, max_model_len=longest)
        self._tokenizer: Any = self._llm.get_tokenizer()

    def _ids(self, text: str) -> list[int]:
        return list(self._tokenizer(text)["input_ids"])

    def prompt_ids(self, contexts: Sequence[str]) -> list[list[int]]:
        return [self._ids(context) for context in contexts]

    def answer_ids(self, pairs: Sequence[tuple[str, str]]) -> list[tuple[list[int], list[int]]]:
        return [self._pair_ids(context, answer) for context, answer in pairs]

    def _pair_ids(self, context: str, answer: str) -> tuple[list[int], list[int]]:
        whole = self._ids(context + answer)
        start = min(len(self._ids(context)), len(whole) - 1)
        return whole[:start], whole[start:]

    def choose(self, pairs: Sequence[tuple[str, str]], batch: int) -> Callable[[], list[float]]:
        encoded = self.answer_ids(pairs)
        prompts = [{"prompt_token_ids": [*context, *answer]} for context, answer in encoded]
        settings = self._sampling(temperature=0, max_tokens=1, prompt_logprobs=0)
        self._llm.reset_prefix_cache()

        def call() -> list[float]:
            scores: list[float] = []
            outputs = self._llm.generate(prompts, settings, use_tqdm=False)
            for (context, answer), output in zip(encoded, outputs, strict=True):
                logprobs = output.prompt_logprobs[len(context) :]
                scores.append(sum(at[token].logprob for at, token in zip(logprobs, answer, strict=True)))
            return scores

        return call

    def generate(
        self, contexts: Sequence[str], stops: Sequence[Sequence[str]], max_new_tokens: int, batch: int
    ) -> Callable[[], list[str]]:
        prompts = [{"prompt_token_ids": ids} for ids in self.prompt_ids(contexts)]
        settings = [self._sampling(temperature=0, max_tokens=max_new_tokens, stop=list(stop)) for stop in stops]
        self._llm.reset_prefix_cache()
        return lambda: [str(out.outputs[0].text) for out in self._llm.generate(prompts, settings, use_tqdm=False)]
