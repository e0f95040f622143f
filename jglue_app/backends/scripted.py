"""A backend that takes its outputs from a table: for demonstrations, tests, and outputs made elsewhere.

The table is a JSON Lines file of `{"item_id": …, "text": …}` with, optionally, `task` (to tell items of different
subsets apart), `choice_logprobs` (a list in the order of the choices) and `seconds` (how long answering takes).
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from jglue_app import messages
from jglue_app.errors import InputError, ModelNotFoundError, reason_of
from jglue_app.messages import Message
from jglue_app.settings import Settings
from jglue_app.tasks.rows import json_lines
from jglue_app.types import Finish, ModelInfo, ModelSpec, Output, Prompt, RunError

Table = Mapping[tuple[str | None, str], Mapping[str, Any]]


def open_model(
    spec: ModelSpec,
    settings: Settings,
    device: str,
    notify: Callable[[str], None],
    *,
    needs_template: bool = False,
) -> ScriptedBackend:
    """Read the table named by the spec's id. The backend has a plain chat template.

    Raises:
        ModelNotFoundError: there is no such file.
        InputError: a line is not in the format, or the table is used in public mode.
    """
    if settings.public:
        raise InputError("Tables of answers can be used in local mode only.")
    path = Path(spec.id)
    try:
        raw = path.read_bytes()
    except (OSError, ValueError) as e:
        raise ModelNotFoundError(
            "The table of answers {model!r} cannot be read ({reason}). Give the path of a JSON Lines file.",
            model=spec.id,
            reason=reason_of(e),
        ) from e
    return ScriptedBackend(read_table(raw.decode("utf-8-sig", "replace"), spec.id), hashlib.sha256(raw).hexdigest())


def read_table(text: str, name: str) -> Table:
    """Parse a table.

    Raises:
        InputError: a line is not in the format, or answers an item again.
    """
    table: dict[tuple[str | None, str], Mapping[str, Any]] = {}
    try:
        for where, row in json_lines(text):
            _check(row, where)
            key = row.get("task"), str(row["item_id"])
            if key in table:
                raise ValueError(Message("{where}: the table has item {id!r} already", where=where, id=key[1]))
            table[key] = row
    except (ValueError, OverflowError) as e:
        raise InputError(
            "{name}, {reason}. Each line is an object with 'item_id' and 'text'.", name=name, reason=messages.of(e)
        ) from e
    return table


def _check(row: Mapping[str, Any], where: str) -> None:
    scores = row.get("choice_logprobs")
    if not isinstance(row.get("item_id"), str | int):
        raise ValueError(Message("{where}: 'item_id' is missing", where=where))
    for name in ("task", "text"):
        if not isinstance(row.get(name), str | None):
            raise ValueError(Message("{where}: {field!r} must be a text", where=where, field=name))
    if not _finite(row.get("seconds", 0)):
        raise ValueError(Message("{where}: 'seconds' must be a number", where=where))
    if scores is not None and not (isinstance(scores, list) and all(map(_finite, scores))):
        raise ValueError(Message("{where}: 'choice_logprobs' must be a list of finite numbers", where=where))
    if any(score > 0 for score in scores or ()):
        raise ValueError(
            Message(
                "{where}: 'choice_logprobs' must be natural logarithms of probabilities, none of which is above 0",
                where=where,
            )
        )


def _finite(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def memory_needed(spec: ModelSpec, settings: Settings, device: str = "auto") -> int | None:
    """Bytes the weights need; a table needs none to speak of."""
    return 0


def memory_free(device: str) -> int:
    """Bytes free; irrelevant for a table."""
    return 1


class ScriptedBackend:
    """Outputs of a table, returned whole whatever the stop strings, the token limit and the repetition penalty."""

    def __init__(self, table: Table, commit: str = "scripted") -> None:
        self._table = table
        self.info = ModelInfo(
            name="scripted",
            commit=commit,
            dtype="none",
            device="none",
            context_length=None,
            bos="",
            adds_bos=False,
            eos="",
            has_chat_template=True,
            memory_bytes=0,
        )

    def render_chat(self, messages: Sequence[Mapping[str, str]], thinking: str = "off") -> str:
        """A plain transcript, one turn a line; a table has no thoughts."""
        return "\n".join(f"{m['role']}: {m['content']}" for m in messages) + "\nassistant: "

    def generate(
        self,
        prompts: Sequence[Prompt],
        max_new_tokens: int,
        should_stop: Callable[[], bool],
        repetition_penalty: float = 1.0,
    ) -> Iterator[tuple[int, Output | RunError]]:
        """The texts of the table; an error for every item that is not in it."""
        for i, prompt in enumerate(prompts):
            if should_stop():
                return
            row = self._row(prompt)
            if row is None or not isinstance(row.get("text"), str):
                yield (
                    i,
                    RunError(
                        "not_in_table", Message("The table has no text for item {item_id}.", item_id=prompt.item_id)
                    ),
                )
                continue
            if not self._wait(row, should_stop):
                return
            text = row["text"]
            finish: Finish = "stop" if text.strip() else "empty"
            yield i, Output(text, finish, len(prompt.text), len(text), 0.0)

    def choose(
        self, prompts: Sequence[Prompt], should_stop: Callable[[], bool]
    ) -> Iterator[tuple[int, Output | RunError]]:
        """The log-probabilities of the table."""
        for i, prompt in enumerate(prompts):
            if should_stop():
                return
            row = self._row(prompt)
            scores = row.get("choice_logprobs") if row else None
            if not isinstance(scores, list) or len(scores) != len(prompt.answers):
                yield (
                    i,
                    RunError(
                        "not_in_table",
                        Message("The table has no log-probabilities for {item_id}.", item_id=prompt.item_id),
                    ),
                )
                continue
            yield i, Output(None, "scored", len(prompt.text), 0, 0.0, tuple(float(s) for s in scores))

    def count_tokens(self, text: str) -> int:
        """Characters: here a token is one."""
        return len(text)

    def close(self) -> None:
        """Nothing to release."""

    def _row(self, prompt: Prompt) -> Mapping[str, Any] | None:
        return self._table.get((prompt.task, prompt.item_id)) or self._table.get((None, prompt.item_id))

    @staticmethod
    def _wait(row: Mapping[str, Any], should_stop: Callable[[], bool]) -> bool:
        end = time.monotonic() + float(row.get("seconds", 0))
        while time.monotonic() < end:
            if should_stop():
                return False
            time.sleep(0.01)
        return not should_stop()
