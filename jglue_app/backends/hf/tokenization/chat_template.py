"""Chat templates of models: rendered in a process of their own, which ends where one takes too much time or memory.

A chat template is a program that comes with a model. Jinja's sandbox keeps it from the machine, but not from loops
without an end, nor from texts of gigabytes. So `template_worker` runs it, one process for all templates of this one,
which is started when the first is rendered and again after a template has ended it.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from jglue_app.backends.hf.tokenization.template_worker import MEMORY_BYTES, template_arguments
from jglue_app.child_process import ChildExitError, ChildProcess, ChildStoppedError, inherited_environment
from jglue_app.errors import ModelError, first_line
from jglue_app.messages import Message

MAX_TEMPLATE_CHARS = 1_000_000
"""The largest that is known of has some ten thousand."""
MAX_TEXT_CHARS = 1_000_000
"""Characters of a rendered conversation, beside `TIMES_MESSAGES` times those of its turns."""
TIMES_MESSAGES = 4
WALL_SECONDS = 60.0
"""The longest wait for one rendering, however busy the machine is. Its processor time is bounded by the process."""
_WORKER = Path(__file__).with_name("template_worker.py")


class TemplateRefusedError(Exception):
    """A template raised an error over this conversation."""


class TemplateLimitError(ModelError):
    """A template exceeds its limits over this conversation, as it would again: nothing else went wrong."""


class _Renderer:
    """The process, and whoever waits for it: one rendering at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: ChildProcess | None = None
        self._number = 0

    def render(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """The worker's result; raises what `ChildProcess.result` does, and OSError if there can be no process.

        A process that was killed from outside is replaced once: it is the first to go where the machine has no memory
        left, also while it waits for work, and then the template is not to blame.
        """
        with self._lock:
            try:
                return self._rendered(request)
            except ChildExitError as e:
                if e.code != -9:
                    raise
                return self._rendered(request)

    def _rendered(self, request: Mapping[str, Any]) -> dict[str, Any]:
        deadline = time.monotonic() + WALL_SECONDS
        try:
            process = self._running()
            self._number += 1
            process.send({"request": self._number, **request})
            result = process.result(should_stop=lambda: time.monotonic() > deadline)
            if result.pop("request") not in (self._number, None):
                raise ChildExitError(None, ())
        except BaseException:
            self._close()
            raise
        if result.get("exceeded") == "memory":
            self._close()
        return result

    def _running(self) -> ChildProcess:
        if self._process is not None and self._process.alive:
            return self._process
        self._close()
        self._process = ChildProcess(
            # -P: no module of the worker's own folder is imported in place of another.
            [sys.executable, "-P", str(_WORKER)],
            env={
                **inherited_environment("HOME", "USERPROFILE"),
                "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
                "PYTHONUTF8": "1",
                "HF_HUB_OFFLINE": "1",
                # Threads would reserve addresses, of which a template may use few.
                **dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
                "MALLOC_ARENA_MAX": "1",
            },
            stderr=Path(os.devnull),
        )
        return self._process

    def _close(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.close()

    def close(self) -> None:
        """End the process, if nobody is waiting for it."""
        if self._lock.acquire(blocking=False):
            try:
                self._close()
            finally:
                self._lock.release()


_renderer = _Renderer()


def _forget() -> None:
    """In a forked copy of this process: two that talk to one worker would read each other's answers."""
    global _renderer
    _abandoned.append(_renderer)
    _renderer = _Renderer()


_abandoned: list[_Renderer] = []
"""Kept, so that their pipes are not closed and their processes not waited for."""
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
atexit.register(lambda: _renderer.close())


def render_template(
    tokenizer: Any,
    name: str,
    messages: Sequence[Mapping[str, str]],
    *,
    thinking: str = "default",
    generation: bool = False,
) -> str:
    """A conversation in the template that is used without tools.

    Args:
        tokenizer: of transformers, with a template.
        name: of the model, for messages.
        messages: the turns.
        thinking: `off`, `on`, or `default`; see `template_worker.template_arguments`.
        generation: whether the opening of an answer follows.

    Raises:
        TemplateRefusedError: the template raised an error, or there is none by the name `default`.
        TemplateLimitError: it takes too much time or memory, or its result is too long.
        ModelError: it could not be rendered for another reason, which need not come again.
    """
    turns = [dict(message) for message in messages]
    if type(tokenizer).apply_chat_template is not PreTrainedTokenizerBase.apply_chat_template:
        return _by_the_class(tokenizer, turns, thinking, generation=generation)
    try:
        template = str(tokenizer.get_chat_template())
    except ValueError as e:
        raise TemplateRefusedError(first_line(e)) from e
    if len(template) > MAX_TEMPLATE_CHARS:
        too_large = Message(
            "The chat template of {name} has {count:,} characters, and {most:,} are the most. Choose another prompt "
            "format, such as plain or alpaca.",
            name=name,
            count=len(template),
            most=MAX_TEMPLATE_CHARS,
        )
        raise TemplateLimitError(too_large)
    longest = MAX_TEXT_CHARS + TIMES_MESSAGES * sum(len(text) for turn in turns for text in turn.values())
    request = {
        "template": template,
        "messages": turns,
        "thinking": thinking,
        "values": {key: _plain(value) for key, value in tokenizer.special_tokens_map.items()},
        "generation": generation,
        "longest": longest,
    }
    result = _result(name, request)
    if "text" in result:
        return str(result["text"])
    if "refused" in result:
        raise TemplateRefusedError(result["refused"])
    if result["exceeded"] == "length":
        too_much = Message(
            "The chat template of {name} makes more than {most:,} characters of this conversation. Choose another "
            "prompt format, such as plain or alpaca.",
            name=name,
            most=longest,
        )
        raise TemplateLimitError(too_much)
    raise _too_much_memory(TemplateLimitError, name)


def _result(name: str, request: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return _renderer.render(request)
    except ChildStoppedError:
        # By the clock on the wall: the machine may only have been busy.
        raise _too_long(ModelError, name) from None
    except ChildExitError as e:
        import signal

        if e.code is not None and e.code == -getattr(signal, "SIGXCPU", 0):
            raise _too_long(TemplateLimitError, name) from None
        if e.killed:
            # The memory that has ended is that of the machine.
            raise _too_much_memory(ModelError, name) from None
        raise ModelError(
            "The process that renders the chat template of {name} ended without a result (exit code {code}). Choose "
            "another prompt format, such as plain or alpaca.",
            name=name,
            code=e.code,
        ) from None
    except OSError as e:
        raise ModelError(
            "The process that renders the chat template of {name} could not be started ({reason}). Free some memory, "
            "or choose another prompt format, such as plain or alpaca.",
            name=name,
            reason=first_line(e),
        ) from e


def _by_the_class(tokenizer: Any, turns: list[dict[str, str]], thinking: str, *, generation: bool) -> str:
    """By a class of transformers that writes conversations with code of its own instead of a template."""
    template = getattr(tokenizer, "chat_template", None)
    try:
        text = tokenizer.apply_chat_template(
            turns,
            tokenize=False,
            add_generation_prompt=generation,
            **template_arguments(template if isinstance(template, str) else "", thinking),
        )
    except Exception as e:  # Of a class of any kind.
        raise TemplateRefusedError(first_line(e)) from e
    return str(text)


def _plain(value: Any) -> Any:
    """A special token as JSON can hold it."""
    return [str(item) for item in value] if isinstance(value, list | tuple) else str(value)


def _too_long(kind: type[ModelError], name: str) -> ModelError:
    message = Message(
        "The chat template of {name} takes too long over one conversation, and was stopped. Choose another prompt "
        "format, such as plain or alpaca.",
        name=name,
    )
    return kind(message)


def _too_much_memory(kind: type[ModelError], name: str) -> ModelError:
    message = Message(
        "The chat template of {name} takes more than {most} MiB of memory over one conversation, and was stopped. "
        "Choose another prompt format, such as plain or alpaca.",
        name=name,
        most=MEMORY_BYTES // 2**20,
    )
    return kind(message)
