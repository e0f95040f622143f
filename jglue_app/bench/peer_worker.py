"""Runs in the Python environment of another harness, as a script: the standard library and that harness are all it has.

    python peer_worker.py lm-eval|flexeval|vllm

One request a line on standard input, one `{"result": …}` a line on standard output, both JSON. What the harness prints
goes to standard error. The seconds of an answer are those of the harness's own call, without loading the model and
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


class Harness(Protocol):
    """What is asked of another harness."""

    package: str

    def __init__(self, model: str, dtype: str, device: str) -> None: ...

    def choose(self, contexts: Sequence[str], answers: Sequence[Sequence[str]], batch: int) -> Callable[[], Any]:
        """A call that scores every answer; it gives one list of sums of log-probabilities for each context."""
        ...

    def generate(
        self, contexts: Sequence[str], stops: Sequence[Sequence[str]], most: int, batch: int
    ) -> Callable[[], Any]:
        """A call that writes greedily, at most so many tokens; it gives one text for each context."""
        ...


class LmEval:
    """`HFLM`, the transformers models of lm-evaluation-harness."""

    package = "lm_eval"

    def __init__(self, model: str, dtype: str, device: str) -> None:
        found = importlib.import_module("lm_eval.models.huggingface")
        self._instance: Any = importlib.import_module("lm_eval.api.instance").Instance
        self._lm: Any = found.HFLM(pretrained=model, dtype=dtype, device=device, batch_size=1)

    def _requests(self, kind: str, arguments: Sequence[tuple[Any, ...]], batch: int) -> list[Any]:
        self._lm.batch_size_per_gpu = batch
        return [self._instance(kind, {}, one, k, (None, k, 1)) for k, one in enumerate(arguments)]

    def choose(self, contexts: Sequence[str], answers: Sequence[Sequence[str]], batch: int) -> Callable[[], Any]:
        pairs = [(context, answer) for context, own in zip(contexts, answers, strict=True) for answer in own]
        requests = self._requests("loglikelihood", pairs, batch)

        def call() -> Any:
            return _by_item([float(score) for score, _ in self._lm.loglikelihood(requests)], answers)

        return call

    def generate(
        self, contexts: Sequence[str], stops: Sequence[Sequence[str]], most: int, batch: int
    ) -> Callable[[], Any]:
        settings = [{"until": list(own), "max_gen_toks": most, "do_sample": False} for own in stops]
        requests = self._requests("generate_until", list(zip(contexts, settings, strict=True)), batch)
        return lambda: self._lm.generate_until(requests)


class Flexeval:
    """`HuggingFaceLM` of flexeval."""

    package = "flexeval"

    def __init__(self, model: str, dtype: str, device: str) -> None:
        found = importlib.import_module("flexeval")
        kwargs = {"device_map": device, "dtype": dtype}
        self._lm: Any = found.HuggingFaceLM(model=model, model_kwargs=kwargs, add_special_tokens=True)
        self._lm.compute_log_probs(["a"], ["a"])  # It loads when it is first asked.

    def choose(self, contexts: Sequence[str], answers: Sequence[Sequence[str]], batch: int) -> Callable[[], Any]:
        prefixes = [context for context, own in zip(contexts, answers, strict=True) for _ in own]
        texts = [answer for own in answers for answer in own]

        def call() -> Any:
            flat: list[float] = []
            for first in range(0, len(texts), batch):
                here = slice(first, first + batch)
                flat += map(float, self._lm.compute_log_probs(texts[here], prefixes[here]))
            return _by_item(flat, answers)

        return call

    def generate(
        self, contexts: Sequence[str], stops: Sequence[Sequence[str]], most: int, batch: int
    ) -> Callable[[], Any]:
        def call() -> Any:
            texts: list[str] = []
            for first in range(0, len(contexts), batch):
                here = slice(first, first + batch)
                stop = list(stops[first])
                found = self._lm.complete_text(
                    list(contexts[here]), stop_sequences=stop, max_new_tokens=most, do_sample=False
                )
                texts += [str(one.text) for one in found]
            return texts

        return call


class Vllm:
    """`LLM` of vLLM in this process, with its prefix cache."""

    package = "vllm"

    def __init__(self, model: str, dtype: str, device: str) -> None:
        os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
        os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "4")
        found = importlib.import_module("vllm")
        self._sampling: Any = found.SamplingParams
        self._llm: Any = found.LLM(model=model, dtype=dtype, enable_prefix_caching=True, max_model_len=8_192)
        self._tokenizer: Any = self._llm.get_tokenizer()

    def _ids(self, text: str) -> list[int]:
        return list(self._tokenizer(text)["input_ids"])

    def choose(self, contexts: Sequence[str], answers: Sequence[Sequence[str]], batch: int) -> Callable[[], Any]:
        lengths: list[int] = []
        prompts: list[dict[str, Any]] = []
        for context, own in zip(contexts, answers, strict=True):
            start = len(self._ids(context))
            for answer in own:
                ids = self._ids(context + answer)
                lengths.append(min(start, len(ids) - 1))
                prompts.append({"prompt_token_ids": ids})
        settings = self._sampling(temperature=0, max_tokens=1, prompt_logprobs=0)

        def call() -> Any:
            flat: list[float] = []
            for start, prompt, found in zip(
                lengths, prompts, self._llm.generate(prompts, settings, use_tqdm=False), strict=True
            ):
                ids = prompt["prompt_token_ids"]
                flat.append(sum(found.prompt_logprobs[k][ids[k]].logprob for k in range(start, len(ids))))
            return _by_item(flat, answers)

        return call

    def generate(
        self, contexts: Sequence[str], stops: Sequence[Sequence[str]], most: int, batch: int
    ) -> Callable[[], Any]:
        prompts = [{"prompt_token_ids": self._ids(context)} for context in contexts]
        settings = [self._sampling(temperature=0, max_tokens=most, stop=list(own)) for own in stops]

        def call() -> Any:
            return [one.outputs[0].text for one in self._llm.generate(prompts, settings, use_tqdm=False)]

        return call


HARNESSES: dict[str, type[Harness]] = {"lm-eval": LmEval, "flexeval": Flexeval, "vllm": Vllm}


def _by_item(flat: list[float], answers: Sequence[Sequence[str]]) -> list[list[float]]:
    found, first = [], 0
    for own in answers:
        found.append(flat[first : first + len(own)])
        first += len(own)
    return found


def answer(harness: Harness, request: dict[str, Any]) -> dict[str, Any]:
    """One request, timed."""
    contexts, batch = request["contexts"], request["batch"]
    if request["do"] == "choose":
        call = harness.choose(contexts, request["answers"], batch)
    else:
        call = harness.generate(contexts, request["stops"], request["most"], batch)
    started = time.perf_counter()
    found = call()
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1_024)
    return {"seconds": seconds, "found": found, "peak_bytes": peak}


def serve(kind: type[Harness]) -> None:
    """Answer requests until there are no more; the first one loads the model."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    sys.stdout = sys.stderr

    def send(result: dict[str, Any]) -> None:
        print(json.dumps({"result": result}), file=out, flush=True)

    try:
        importlib.import_module(kind.package)
    except ModuleNotFoundError as e:
        send({"missing": e.name})
        return
    harness: Harness | None = None
    for line in sys.stdin:
        request = json.loads(line)
        if harness is None:
            started = time.perf_counter()
            harness = kind(request["model"], request["dtype"], request["device"])
            versions = importlib.metadata.packages_distributions().get(kind.package, [kind.package])
            send({"seconds": time.perf_counter() - started, "version": importlib.metadata.version(versions[0])})
        else:
            send(answer(harness, request))


if __name__ == "__main__":
    serve(HARNESSES[sys.argv[1]])
