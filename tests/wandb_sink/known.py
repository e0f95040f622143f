"""Run folders whose every answer is known, and run folders as plain JSON: nothing here asks the code under test."""

from __future__ import annotations

import hashlib
import json
import shutil
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import pytest

import jglue_app
from jglue_app import api
from jglue_app.wandb_sink import Login, Target
from tests.unsealed import answers_of
from tests.wandb_server import Request, WandbServer

T = TypeVar("T")
Json = dict[str, Any]

ROOT = Path(jglue_app.__file__).resolve().parent.parent
SHOWCASE = ROOT / "assets" / "showcase"
KEY = "k" * 40
LONG_S = 120.0
"""More than anything here takes, on a machine that is busy with other things."""
FILES = ("manifest.json", "items.jsonl", "records.jsonl")

WORDS = {"entailment": "含意", "contradiction": "矛盾", "neutral": "中立"}
LABELS = tuple(WORDS)


def samples(task: str, key: str) -> dict[str, Json]:
    """Item id → row of the embedded items, in the order of their ids."""
    lines = (ROOT / "assets" / "samples" / task / "valid.json").read_text("utf-8").splitlines()
    return {row[key]: row for row in sorted(map(json.loads, lines), key=lambda row: str(row[key]))}


JNLI = {id_: str(row["label"]) for id_, row in samples("jnli", "sentence_pair_id").items()}
JSTS = {id_: float(row["label"]) for id_, row in samples("jsts", "sentence_pair_id").items()}


def _jsquad() -> dict[str, list[str]]:
    found = json.loads((ROOT / "assets" / "samples" / "jsquad" / "valid.json").read_text("utf-8"))
    asked_ = [qa for article in found["data"] for paragraph in article["paragraphs"] for qa in paragraph["qas"]]
    return {qa["id"]: [answer["text"] for answer in qa["answers"]] for qa in asked_}


JSQUAD = _jsquad()


# --- what the models say --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Said:
    """An answer to a JNLI item, and what has to become of it. `*` stands for the gold label's word."""

    text: str | None
    parsed: str | None
    """`gold`, `other` or None."""
    status: str
    outcome: str
    verdicts: Mapping[str, float | str | None]
    """Protocol → marks; `default`: 1 where the gold label is entailment, what it takes anything unreadable for."""


def _marks(official: float, flexeval: float, llm_jp_eval: float, wandb: float | str) -> Mapping[str, float | str]:
    alike = dict.fromkeys(WANDB, wandb) | dict.fromkeys(LLM_JP, llm_jp_eval)
    return {"official": official, "flexeval": flexeval, **alike}


WANDB = ("wandb-2023-0shot", "wandb-2023-4shot", "wandb-2023-10-0shot")
LLM_JP = ("llm-jp-eval", "swallow-202411", "nejumi-4")
"""These read a JNLI label alike."""
OF_TEXT = ("official", "flexeval", *LLM_JP, *WANDB)
OF_RANKING = ("stability-jp", "stability-jp-capped", "lm-eval-ja")
SAID: tuple[Said, ...] = (
    Said("*", "gold", "exact", "correct", _marks(1.0, 1.0, 1.0, "default")),
    # White space around it: `flexeval` compares to the character.
    Said(" *\n", "gold", "exact", "correct", _marks(1.0, 0.0, 1.0, "default")),
    Said("答えは「*」です。", None, "off_format", "wrong_form", _marks(0.0, 0.0, 0.0, "default")),
    Said("other", "other", "exact", "wrong", _marks(0.0, 0.0, 0.0, "default")),
    Said("わかりません\t\"<b>&'🐈‍⬛\\", None, "off_format", "unreadable", _marks(0.0, 0.0, 0.0, "default")),
    Said(None, None, "empty", "error", dict.fromkeys((*OF_TEXT, *OF_RANKING))),
    Said("\t*", "gold", "exact", "correct", _marks(1.0, 0.0, 1.0, "default")),
    # Half of a pair: JSON in UTF-8 cannot hold it.
    Said("\ud83d", None, "off_format", "unreadable", _marks(0.0, 0.0, 0.0, "default")),
    Said("", None, "empty", "empty", _marks(0.0, 0.0, 0.0, "default")),
    # The words that were asked of other prompts: `wandb-2023` reads them, and the lenient reading.
    Said("english", None, "off_format", "wrong_form", _marks(0.0, 0.0, 0.0, 1.0)),
)


def other(label: str) -> str:
    return LABELS[(LABELS.index(label) + 1) % 3]


def said(id_: str, shift: int = 0) -> Said:
    """What a model says to a JNLI item; another `shift` is another model."""
    return SAID[(list(JNLI).index(id_) + shift) % len(SAID)]


def text(id_: str, shift: int = 0) -> str | None:
    """The words themselves."""
    template = said(id_, shift).text
    if template is None:
        return None
    named = {"other": WORDS[other(JNLI[id_])], "english": JNLI[id_]}
    return named.get(template, template.replace("*", WORDS[JNLI[id_]]))


def ranked(id_: str, shift: int = 0) -> str:
    """The label of the highest log-likelihood: right for every other item."""
    return JNLI[id_] if (list(JNLI).index(id_) + shift) % 2 == 0 else other(JNLI[id_])


def logprobs(id_: str, shift: int = 0) -> list[float]:
    at = list(JNLI).index(id_)
    return [-0.5 - at / 64 if label == ranked(id_, shift) else -2.5 - at / 64 for label in LABELS]


def similarity(id_: str, shift: int = 0) -> float | None:
    """The number said to a JSTS item: at most one and a half off; None for what is no number."""
    at = list(JSTS).index(id_) + shift
    return None if at % 6 == 5 else round(min(5.0, max(0.0, JSTS[id_] + (-1.5, -0.5, 0.0, 0.25, 1.0)[at % 5])), 2)


def span(id_: str, shift: int = 0) -> str:
    """The words said to a JSQuAD item: the answer, with a full stop, backwards, its first half, none of it."""
    gold = JSQUAD[id_][0]
    return (gold, f"{gold}。", gold[::-1], gold[: len(gold) // 2], "ヴ")[(list(JSQUAD).index(id_) + shift) % 5]


def table(path: Path, shift: int = 0) -> Path:
    """The answers as a file for the scripted backend."""
    rows: list[Json] = [
        {"task": "jnli", "item_id": id_, "text": text(id_, shift), "choice_logprobs": logprobs(id_, shift)}
        for id_ in JNLI
    ]
    numbers = {id_: similarity(id_, shift) for id_ in JSTS}
    rows += [
        {"task": "jsts", "item_id": id_, "text": "とても近い" if value is None else f"{value:g}"}
        for id_, value in numbers.items()
    ]
    rows += [{"task": "jsquad", "item_id": id_, "text": span(id_, shift)} for id_ in JSQUAD]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def steady(path: Path, seconds: float = 0.0) -> Path:
    """The file of a model that answers 含意 to every JNLI item, and never fails."""
    row = {"task": "jnli", "text": "含意", "choice_logprobs": [-1, -2, -3], "seconds": seconds}
    path.write_text("".join(json.dumps({**row, "item_id": id_}) + "\n" for id_ in JNLI), "utf-8")
    return path


def run_of(
    model: Path, runs_dir: Path, tasks: Sequence[str] = ("jnli",), method: str = "both", limit: int | None = None
) -> Path:
    """The folder of the run that a table makes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JGLUE_RUNS_DIR", str(runs_dir))
        return api.evaluate(str(model), list(tasks), data="sample", method=method, limit=limit).path


# --- run folders as plain files -------------------------------------------------------------------------


def lines(file: Path) -> list[Json]:
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()]


def items(run: Path, task: str) -> dict[str, Json]:
    """Item id → item, in the order of the file."""
    return {row["id"]: row for row in lines(run / "items.jsonl") if row["task"] == task}


def records(run: Path, task: str) -> dict[str, Json]:
    """Item id → its last record."""
    return {row["item_id"]: row for row in lines(run / "records.jsonl") if row["task"] == task}


def spec_id(run: Path) -> str:
    found: str = json.loads((run / "manifest.json").read_text("utf-8"))["spec_id"]
    return found


def files(run: Path) -> dict[str, bytes]:
    """What a run folder holds; without the lock, which is no part of it."""
    return {file.name: file.read_bytes() for file in run.iterdir() if not file.name.startswith(".")}


def as_model(run: Path, model: str, runs_dir: Path) -> Path:
    """A copy of a run folder, as if another model had given the same answers."""
    manifest = json.loads((run / "manifest.json").read_text("utf-8"))
    manifest["spec"]["model"] |= {"id": model, "backend": "hf"}
    scratch = runs_dir / f".copy-{hashlib.sha256(model.encode()).hexdigest()[:8]}"
    shutil.copytree(run, scratch, ignore=shutil.ignore_patterns(".lock"))
    (scratch / "manifest.json").write_text(json.dumps(manifest), "utf-8")
    spec = api.open_run(scratch).data().spec
    manifest |= {"spec_id": spec.spec_id, "label": spec.label}
    (scratch / "manifest.json").write_text(json.dumps(manifest), "utf-8")
    answers_of(scratch, spec.spec_id)
    return scratch.rename(runs_dir / spec.spec_id)


# --- servers --------------------------------------------------------------------------------------------


def login(server: WandbServer, entity: str = "team", project: str = "jglue", key: str = KEY) -> Login:
    return Login(Target(entity, project, server.url), key)


def until(true: Callable[[], object], what: str = "it") -> None:
    """Wait for something that has to come."""
    end = time.monotonic() + LONG_S
    while not true():
        assert time.monotonic() < end, f"{what} did not come"
        time.sleep(0.01)


def asked(server: WandbServer, part: str) -> list[Request]:
    """The requests whose path has this part."""
    return [request for request in list(server.requests) if part in request.path]


def together(*calls: Callable[[], T], at_once: int = 2) -> list[T]:
    """Some calls at a time: most of a push is waiting, or work of another process."""
    with ThreadPoolExecutor(at_once) as pool:
        return [future.result() for future in [pool.submit(call) for call in calls]]


class Later(Generic[T]):
    """A call under way in a thread, and what came of it."""

    def __init__(self, call: Callable[[], T]) -> None:
        self.value: T | None = None
        self.error: BaseException | None = None
        self._call = call
        self._thread = threading.Thread(target=self._do)
        self._thread.start()

    def _do(self) -> None:
        try:
            self.value = self._call()
        except BaseException as error:
            self.error = error

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def join(self) -> Later[T]:
        self._thread.join(LONG_S)
        assert not self.alive, "it did not end"
        return self
