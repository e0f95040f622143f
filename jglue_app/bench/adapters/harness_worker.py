"""Runs another harness in its own Python environment, as a script with nothing but the standard library and it.

    python harness_worker.py lm-eval|flexeval|vllm|llama-cpp|transformers

One request a line on standard input, one `{"result": …}` a line on standard output, both JSON. What the harness prints
goes to standard error. The seconds of a result are those of the harness's own call, without loading the model and
building prompts.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import json
import os
import resource
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

ADAPTERS = {
    "lm-eval": "lm_eval_adapter",
    "flexeval": "flexeval_adapter",
    "vllm": "vllm_adapter",
    "llama-cpp": "llama_cpp_adapter",
    "transformers": "transformers_adapter",
}
"""Modules in this folder, each with `PACKAGE` (what it imports) and `Adapter`."""


Fingerprint = tuple[int, int, str]
"""Numbers of tokens before and in an answer, and a checksum of which they are."""


class Adapter(Protocol):
    """What is called of another harness. It uses nothing that an earlier call has computed.

    An adapter of weights in a precision of their own has a text `weights` that says which.
    """

    def __init__(self, model: str, dtype: str, device: str) -> None: ...

    def prompt_ids(self, contexts: Sequence[str]) -> list[list[int]]:
        """The tokens that `generate` reads for each context."""
        ...

    def answer_ids(self, pairs: Sequence[tuple[str, str]]) -> list[tuple[list[int], list[int]]]:
        """The tokens that `choose` reads for each pair, and those after them that it scores."""
        ...

    def choose(self, pairs: Sequence[tuple[str, str]], batch: int) -> Callable[[], list[float]]:
        """A call that gives the summed log-probability of each pair's answer after its context."""
        ...

    def generate(
        self, contexts: Sequence[str], stops: Sequence[Sequence[str]], max_new_tokens: int, batch: int
    ) -> Callable[[], list[str]]:
        """A call that generates greedily; it returns one text for each context."""
        ...


def fingerprint(context: Sequence[int], answer: Sequence[int] = ()) -> Fingerprint:
    """Of the tokens before and in an answer."""
    text = " ".join(map(str, (*context, *answer)))
    return len(context), len(answer), hashlib.sha256(text.encode("ascii")).hexdigest()[:16]


def _tokens(harness: Adapter, request: dict[str, Any]) -> dict[str, Any]:
    """The fingerprints of each item's tokens, one for each answer."""
    if request["answers"] is None:
        return {"tokens": [[fingerprint(ids)] for ids in harness.prompt_ids(request["contexts"])]}
    encoded = harness.answer_ids(_pairs(request))
    return {"tokens": _by_item([fingerprint(*ids) for ids in encoded], request["answers"])}


def _timed(harness: Adapter, request: dict[str, Any]) -> dict[str, Any]:
    batch = request["batch"]
    call: Callable[[], list[Any]]
    if request["do"] == "choose":
        call = harness.choose(_pairs(request), batch)
    else:
        call = harness.generate(request["contexts"], request["stops"], request["max_new_tokens"], batch)
    started = time.perf_counter()
    results = call()
    seconds = time.perf_counter() - started
    if request["do"] == "choose":
        results = _by_item(results, request["answers"])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1_024)
    return {"seconds": seconds, "results": results, "peak_bytes": peak}


def _pairs(request: dict[str, Any]) -> list[tuple[str, str]]:
    return [
        (context, answer)
        for context, answers in zip(request["contexts"], request["answers"], strict=True)
        for answer in answers
    ]


def _by_item(flat: Sequence[Any], answers: Sequence[Sequence[str]]) -> list[Any]:
    rows, first = [], 0
    for item_answers in answers:
        rows.append(list(flat[first : first + len(item_answers)]))
        first += len(item_answers)
    return rows


def _load(module: Any, request: dict[str, Any]) -> tuple[Adapter, dict[str, Any]]:
    started = time.perf_counter()
    harness: Adapter = module.Adapter(request["model"], request["dtype"], request["device"])
    seconds = time.perf_counter() - started
    names = importlib.metadata.packages_distributions().get(module.PACKAGE, [module.PACKAGE])
    weights = getattr(harness, "weights", request["dtype"])
    return harness, {"seconds": seconds, "version": importlib.metadata.version(names[0]), "weights": weights}


def serve(name: str) -> None:
    """Answer requests until there are no more; the first one loads the model."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    sys.stdout = sys.stderr

    def send(result: dict[str, Any]) -> None:
        print(json.dumps({"result": result}), file=out, flush=True)

    module: Any = importlib.import_module(ADAPTERS[name])
    try:
        importlib.import_module(module.PACKAGE)
    except ModuleNotFoundError as e:
        send({"missing": e.name})
        return
    harness: Adapter | None = None
    for line in sys.stdin:
        request = json.loads(line)
        if harness is None:
            harness, loaded = _load(module, request)
            send(loaded)
        else:
            send(_tokens(harness, request) if request["do"] == "tokens" else _timed(harness, request))


if __name__ == "__main__":
    serve(sys.argv[1])
