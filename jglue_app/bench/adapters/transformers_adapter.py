"""transformers alone, as one would write it by hand: `generate` with a static cache and plain forward passes, both in
padded batches of prompts of similar length."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import Any

PACKAGE = "transformers"


class Adapter:
    """See `harness_worker.Adapter`."""

    def __init__(self, model: str, dtype: str, device: str) -> None:
        self._torch: Any = importlib.import_module("torch")
        library: Any = importlib.import_module("transformers")
        self._tokenizer: Any = library.AutoTokenizer.from_pretrained(model)
        loaded: Any = library.AutoModelForCausalLM.from_pretrained(model, dtype=getattr(self._torch, dtype))
        self._model = loaded.to(device).eval()
        self._device = device
        ends = loaded.generation_config.eos_token_id
        ends = self._tokenizer.eos_token_id if ends is None else ends
        # Without the checkpoint's own settings, which may sample.
        loaded.generation_config = library.GenerationConfig(
            do_sample=False, eos_token_id=ends, pad_token_id=0, cache_implementation="static"
        )
        forward = inspect.signature(loaded.forward).parameters
        self._takes = {name for name in ("logits_to_keep", "position_ids") if name in forward}

    def prompt_ids(self, contexts: Sequence[str]) -> list[list[int]]:
        return [list(self._tokenizer(context)["input_ids"]) for context in contexts]

    def answer_ids(self, pairs: Sequence[tuple[str, str]]) -> list[tuple[list[int], list[int]]]:
        return [self._pair_ids(context, answer) for context, answer in pairs]

    def _pair_ids(self, context: str, answer: str) -> tuple[list[int], list[int]]:
        first, whole = self.prompt_ids([context, context + answer])
        start = min(len(first), len(whole) - 1)
        return whole[:start], whole[start:]

    def _padded(self, rows: Sequence[list[int]]) -> dict[str, Any]:
        """Rows with padding before them, so that all end in the last column; and where padding is."""
        width = max(map(len, rows))
        ids = self._torch.tensor([[0] * (width - len(row)) + row for row in rows], device=self._device)
        mask = self._torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows], device=self._device)
        return {"input_ids": ids, "attention_mask": mask}

    def choose(self, pairs: Sequence[tuple[str, str]], batch: int) -> Callable[[], list[float]]:
        def call() -> list[float]:
            encoded = self.answer_ids(pairs)
            scores = [0.0] * len(encoded)
            with self._torch.inference_mode():
                for chosen in _batches([len(context) + len(answer) for context, answer in encoded], batch):
                    found = self._scores([encoded[k] for k in chosen])
                    for k, score in zip(chosen, found, strict=True):
                        scores[k] = score
            return scores

        return call

    def _scores(self, encoded: Sequence[tuple[list[int], list[int]]]) -> list[float]:
        inputs = self._padded([[*context, *answer] for context, answer in encoded])
        last = max(len(answer) for _, answer in encoded) + 1
        options = {}
        if "position_ids" in self._takes:
            options["position_ids"] = (inputs["attention_mask"].cumsum(-1) - 1).clamp(min=0)
        if "logits_to_keep" in self._takes:
            options["logits_to_keep"] = last
        logits = self._model(**inputs, **options, use_cache=False).logits
        scores: list[float] = []
        for row, (_, answer) in enumerate(encoded):
            logprobs = logits[row, -len(answer) - 1 : -1].float().log_softmax(-1)
            targets = self._torch.tensor(answer, device=self._device)
            scores.append(float(logprobs.gather(-1, targets[:, None]).sum()))
        return scores

    def generate(
        self, contexts: Sequence[str], stops: Sequence[Sequence[str]], max_new_tokens: int, batch: int
    ) -> Callable[[], list[str]]:
        def call() -> list[str]:
            encoded = self.prompt_ids(contexts)
            texts = [""] * len(encoded)
            for chosen in _batches([len(ids) for ids in encoded], batch):
                inputs = self._padded([encoded[k] for k in chosen])
                # A batch has one set of stop strings: that of the prompts of a subset is the same.
                stop = list(stops[chosen[0]])
                options = {"stop_strings": stop, "tokenizer": self._tokenizer} if stop else {}
                with self._torch.inference_mode():
                    rows = self._model.generate(**inputs, **options, max_new_tokens=max_new_tokens)
                new = rows[:, inputs["input_ids"].shape[1] :]
                for k, text in zip(chosen, self._tokenizer.batch_decode(new, skip_special_tokens=True), strict=True):
                    texts[k] = str(text)
            return texts

        return call


def _batches(lengths: Sequence[int], size: int) -> Iterator[list[int]]:
    """Numbers of prompts in batches, the longest first."""
    order = sorted(range(len(lengths)), key=lambda k: -lengths[k])
    for first in range(0, len(order), size):
        yield order[first : first + size]
