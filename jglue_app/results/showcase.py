"""The comparisons shipped with the application: real runs on all of our sample items, in `assets/showcase/`, and how to
regenerate them. They contain no JGLUE text.
"""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from jglue_app.backends.pool import ModelPool
from jglue_app.errors import InputError
from jglue_app.runs.events import Event
from jglue_app.runs.request import RunRequest, Side
from jglue_app.runs.runner import run_plan
from jglue_app.runs.store import RunStore
from jglue_app.settings import ASSETS, Settings

FOLDER = ASSETS / "showcase"
SHIPPED = "shipped:"
"""Prefix of the names of these runs on the page, before the folder name."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two stored runs to look at side by side."""

    name: str
    """Its label has the key `showcase_<name>`."""
    a: str
    """Folder of a run below `FOLDER`."""
    b: str


PAIRS = (
    Pair("knows", "base-0-shot", "words-4-shot"),
    Pair("words", "base-4-shot", "words-4-shot"),
    Pair("examples", "base-0-shot", "base-3-shot"),
    Pair("template", "bare-3-shot", "chat-3-shot"),
    Pair("chat", "base-3-shot", "chat-3-shot"),
)
"""The page opens with the first: a base model asked without examples, where it ranks answers right that it does not
write, and the same model asked in other words with examples. Then one change at a time: the wording, the examples,
the chat template; and a base model beside a chat model."""


def sides(chat_model: str) -> dict[str, Side]:
    """Folder of a shipped run → model and prompt that made it.

    Args:
        chat_model: file name of the GGUF file of the chat model.
    """
    return {
        "base-0-shot": Side("gemma-3-270m"),
        "base-3-shot": Side("gemma-3-270m", shots=3),
        "base-4-shot": Side("gemma-3-270m", shots=4),
        "words-4-shot": Side("gemma-3-270m", style="choice-text", shots=4),
        "bare-3-shot": Side(chat_model, shots=3),
        "chat-3-shot": Side(chat_model, "chat", shots=3),
    }


def run_names() -> tuple[str, ...]:
    """Folders of the shipped runs, in the order in which the pairs name them."""
    return tuple(dict.fromkeys(name for pair in PAIRS for name in (pair.a, pair.b)))


def run_folder(run: str) -> Path:
    """The folder of a showcase run."""
    return FOLDER / run


def is_available() -> bool:
    """Whether the showcase is installed; a copy of this application may come without it."""
    return all((run_folder(name) / "manifest.json").is_file() for name in run_names())


def regenerate(
    settings: Settings, chat_model: Path, device: str = "auto", should_stop: Callable[[], bool] = lambda: False
) -> Iterator[Event]:
    """Run everything and replace the shipped runs.

    Args:
        settings: folders.
        chat_model: a GGUF file of a model with a chat template; only its file name is kept.
        device: see `backends.open_backend`.
        should_stop: if True, stops without replacing anything.

    Raises:
        InputError: there is no such file.
        ModelError: a model cannot be loaded.
    """
    if not chat_model.is_file():
        raise InputError(
            "{chat_model} is not there. Give the GGUF file of SmolLM2-135M-Instruct.", chat_model=chat_model
        )
    absolute = dataclasses.replace(settings, cache_dir=settings.cache_dir.resolve(), max_items=20_000)
    with tempfile.TemporaryDirectory() as scratch, ModelPool(absolute, device=device) as pool:
        run_folders: dict[str, Path] = {}
        # The file is named without its folder, which would be a path of this machine in the manifest.
        with contextlib.chdir(chat_model.resolve().parent):
            for name, side in sides(chat_model.name).items():
                ((_, plan),) = RunRequest(limit=None, a=side).for_page(absolute).plans(absolute)
                yield from run_plan(plan, pool, Path(scratch), should_stop)
                run_folders[name] = RunStore.of(Path(scratch), plan.spec).path
        if should_stop():
            return
        for name, path in run_folders.items():
            shutil.rmtree(run_folder(name), ignore_errors=True)
            shutil.copytree(path, run_folder(name), ignore=shutil.ignore_patterns(".lock"))
