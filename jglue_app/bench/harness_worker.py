"""Runs another harness in its own Python environment, as a script with nothing but the standard library and it.

    python harness_worker.py lm-eval|flexeval|vllm

One request a line on standard input, one `{"result": …}` a line on standard output, both JSON. What the harness prints
goes to standard error. The seconds of a result are those of the harness's own call, without loading the model and
building prompts.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import os
import resource
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol


class Adapter(Protocol):
    """What is called of another harness."""

    package: str

    def __init__(self, model: str, dtype: str, device: str) -> None: ...

    def choose(self, contexts: Sequence[str], answers: Sequence[Sequence[str]], batch: int) -> Callable[[], Any]:
        """A call that scores every answer; it returns one list of summed log-probabilities for each context."""
        ...

    def generate(
        self, contexts: Sequence[str], stops: Sequence[Sequence[str]], max_new_tokens: int, batch: int
    ) -> Callable[[], Any]:
        """A call that generates greedily; it returns one text for each context."""
        ...


class LmEval:
    """`HFLM`, the transformers models of lm-evaluation-harness."""

    package = "lm_eval"

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

    def choose(self, contexts: Sequence[str], answers: Sequence[Sequence[str]], batch: int) -> Callable[[], Any]:
        pairs = [
            (context, answer)
            for context, item_answers in zip(contexts, answers, strict=True)
            for answer in item_answers
        ]
        requests = self._requests("loglikelihood", pairs, batch)

        def call() -> Any:
            return _by_item([float(score) for score, _ in self._lm.loglikelihood(requests)], answers)

        return call

    def generate(
        self, contexts: Sequence[str], stops: Sequence[Sequence[str]], max_new_tokens: int, batch: int
    ) -> Callable[[], Any]:
        settings = [{"until": list(stop), "max_gen_toks": max_new_tokens, "do_sample": False} for stop in stops]
        requests = self._requests("generate_until", list(zip(contexts, settings, strict=True)), batch)
        return lambda: self._lm.generate_until(requests)


class Flexeval:
    """`HuggingFaceLM` of flexeval."""

    package = "flexeval"

    def __init__(self, model: str, dtype: str, device: str) -> None:
        module = importlib.import_module("flexeval")
        kwargs = {"device_map": device, "dtype": dtype}
        self._lm: Any = module.HuggingFaceLM(model=model, model_kwargs=kwargs, add_special_tokens=True)
        self._lm.compute_log_probs(["a"], ["a"])  # It loads the model at its first call.

    def choose(self, contexts: Sequence[str], answers: Sequence[Sequence[str]], batch: int) -> Callable[[], Any]:
        prefixes = [context for context, item_answers in zip(contexts, answers, strict=True) for _ in item_answers]
        texts = [answer for item_answers in answers for answer in item_answers]

        def call() -> Any:
            flat: list[float] = []
            for first in range(0, len(texts), batch):
                here = slice(first, first + batch)
                flat += map(float, self._lm.compute_log_probs(texts[here], prefixes[here]))
            return _by_item(flat, answers)

        return call

    def generate(
        self, contexts: Sequence[str], stops: Sequence[Sequence[str]], max_new_tokens: int, batch: int
    ) -> Callable[[], Any]:
        def call() -> Any:
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


class Vllm:
    """`LLM` of vLLM in this process, with its prefix cache."""

    package = "vllm"

    def __init__(self, model: str, dtype: str, device: str) -> None:
        os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
        os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "4")
        module = importlib.import_module("vllm")
        self._sampling: Any = module.SamplingParams
        self._llm: Any = module.LLM(model=model, dtype=dtype, enable_prefix_caching=True, max_model_len=8_192)
        self._tokenizer: Any = self._llm.get_tokenizer()

    def _ids(self, text: str) -> list[int]:
        return list(self._tokenizer(text)["input_ids"])

    def choose(self, contexts: Sequence[str], answers: Sequence[Sequence[str]], batch: int) -> Callable[[], Any]:
        lengths: list[int] = []
        prompts: list[dict[str, Any]] = []
        for context, item_answers in zip(contexts, answers, strict=True):
            start = len(self._ids(context))
            for answer in item_answers:
                ids = self._ids(context + answer)
                lengths.append(min(start, len(ids) - 1))
                prompts.append({"prompt_token_ids": ids})
        settings = self._sampling(temperature=0, max_tokens=1, prompt_logprobs=0)

        def call() -> Any:
            flat: list[float] = []
            for start, prompt, output in zip(
                lengths, prompts, self._llm.generate(prompts, settings, use_tqdm=False), strict=True
            ):
                ids = prompt["prompt_token_ids"]
                flat.append(sum(output.prompt_logprobs[k][ids[k]].logprob for k in range(start, len(ids))))
            return _by_item(flat, answers)

        return call

    def generate(
        self, contexts: Sequence[str], stops: Sequence[Sequence[str]], max_new_tokens: int, batch: int
    ) -> Callable[[], Any]:
        prompts = [{"prompt_token_ids": self._ids(context)} for context in contexts]
        settings = [self._sampling(temperature=0, max_tokens=max_new_tokens, stop=list(stop)) for stop in stops]

        def call() -> Any:
            return [output.outputs[0].text for output in self._llm.generate(prompts, settings, use_tqdm=False)]

        return call


ADAPTERS: dict[str, type[Adapter]] = {"lm-eval": LmEval, "flexeval": Flexeval, "vllm": Vllm}


def _by_item(flat: list[float], answers: Sequence[Sequence[str]]) -> list[list[float]]:
    rows, first = [], 0
    for item_answers in answers:
        rows.append(flat[first : first + len(item_answers)])
        first += len(item_answers)
    return rows


def run(harness: Adapter, request: dict[str, Any]) -> dict[str, Any]:
    """One request, timed."""
    contexts, batch = request["contexts"], request["batch"]
    if request["do"] == "choose":
        call = harness.choose(contexts, request["answers"], batch)
    else:
        call = harness.generate(contexts, request["stops"], request["max_new_tokens"], batch)
    started = time.perf_counter()
    results = call()
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1_024)
    return {"seconds": seconds, "results": results, "peak_bytes": peak}


def serve(adapter: type[Adapter]) -> None:
    """Answer requests until there are no more; the first one loads the model."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    sys.stdout = sys.stderr

    def send(result: dict[str, Any]) -> None:
        print(json.dumps({"result": result}), file=out, flush=True)

    try:
        importlib.import_module(adapter.package)
    except ModuleNotFoundError as e:
        send({"missing": e.name})
        return
    harness: Adapter | None = None
    for line in sys.stdin:
        request = json.loads(line)
        if harness is None:
            started = time.perf_counter()
            harness = adapter(request["model"], request["dtype"], request["device"])
            versions = importlib.metadata.packages_distributions().get(adapter.package, [adapter.package])
            send({"seconds": time.perf_counter() - started, "version": importlib.metadata.version(versions[0])})
        else:
            send(run(harness, request))


if __name__ == "__main__":
    serve(ADAPTERS[sys.argv[1]])
