"""Stands for the models of the registry in the server that is tried: an answer is the id of its item, in `ITEM_S`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from jglue_app.backends.scripted import ScriptedBackend, memory_free, memory_needed
from jglue_app.settings import Settings
from jglue_app.types import ModelSpec, Output, Prompt, RunError

__all__ = ["memory_free", "memory_needed", "open_model"]

ITEM_S = float(os.environ.get("LOAD_ITEM_S", "0.03"))


class Echo(ScriptedBackend):
    """Answers every item with its id."""

    def generate(
        self,
        prompts: Sequence[Prompt],
        max_new_tokens: int,
        should_stop: Callable[[], bool],
        repetition_penalty: float = 1.0,
    ) -> Iterator[tuple[int, Output | RunError]]:
        """The ids, one after the other."""
        for at, prompt in enumerate(prompts):
            if not self._wait({"seconds": ITEM_S}, should_stop):
                return
            yield at, Output(prompt.item_id, "stop", len(prompt.text), len(prompt.item_id), 0.0)


def open_model(spec: ModelSpec, settings: Settings, device: str, notify: Callable[[str], None], **_: Any) -> Echo:
    """Nothing is loaded."""
    return Echo({})
