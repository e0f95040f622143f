"""The process in which chat templates run: programs of strangers, under limits of memory and of processor time.

Run as a script, so that it starts within a fraction of a second: of this package it imports nothing, and of
transformers nothing but the one module that renders templates. `chat_template` starts it and has the other side.

    {"request": 1, "template": …, "messages": [{"role": …, "content": …}, …], "thinking": …, "values": {…},
     "generation": true, "longest": …}                 one line on standard input
    {"result": {"request": 1, "text": …}}               or `refused` with a reason, or `exceeded` with a limit
"""

from __future__ import annotations

import contextlib
import datetime
import importlib.util
import json
import re
import sys
import time
import types
from functools import lru_cache
from pathlib import Path
from typing import Any

import jinja2
from jinja2 import meta

ENABLING = (
    *("enable_thinking", "enable_reasoning", "thinking", "think", "reasoning", "force_thinking", "force_reasoning"),
    *("use_think", "use_thinking", "use_reasoning", "thinking_enabled", "reasoning_enabled", "thinking_mode"),
)
"""Variables of chat templates that are true where the model is to think, unless they are compared with words."""
DISABLING = ("skip_reasoning", "skip_thinking", "no_thinking", "disable_thinking")
"""Variables that are true where the model is not to think."""
EFFORTS = {"reasoning_effort": ("none", "high"), "thinking_effort": ("none", "high")}
"""Variables that take a word → the words for off and on, where the template compares with them."""
WORD_PAIRS = (
    *(("disabled", "enabled"), ("chat", "thinking"), ("off", "on"), ("no_think", "think"), ("fast", "slow")),
    *(("disable", "enable"), ("non-thinking", "thinking"), ("no_thinking", "thinking"), ("nothink", "think")),
    *(("none", "high"), ("false", "true"), ("no", "yes")),
)
"""Words for off and on that other variables take."""
TODAY = datetime.date(2024, 7, 26)
"""What templates that write the date take for it. It is the one that those of Llama 3 write where they are given none:
the prompts of one run, of two models and of two days are to differ in nothing but what was asked for."""
MEMORY_BYTES = 256 * 2**20
"""Memory that a template may take, the conversation included."""
CPU_SECONDS = 2
"""Processor time of one rendering. Usual templates take less than a millisecond."""
MAX_REASON_CHARS = 1_000


# --- the switches of a template ---------------------------------------------------------------------------


@lru_cache(maxsize=16)
def template_arguments(template: str, thinking: str) -> dict[str, Any]:
    """Arguments of a chat template with which the model thinks, or does not.

    A switch is passed if the template reads a variable of its name. `enable_thinking`, the most usual one, is always
    passed when thinking is off.

    Args:
        template: the text of the template.
        thinking: `off`, `on`, or `default`, with which nothing is passed.
    """
    if thinking == "default":
        return {}
    on = thinking == "on"
    arguments: dict[str, Any] = {} if on else {"enable_thinking": False}
    names = _variables(template)
    for name in names & set(ENABLING):
        if (words := _words(template, name)) is None:
            arguments[name] = on
        elif words:
            arguments[name] = words[on]
    arguments |= {name: not on for name in DISABLING if name in names}
    for name in names & set(EFFORTS):
        # Effort without a word for none is how long to think, not whether.
        if re.search(f"[\"']{EFFORTS[name][0]}[\"']", template):
            arguments[name] = EFFORTS[name][on]
    if "thinking_budget" in names and not on:
        arguments["thinking_budget"] = 0
    return arguments


def _words(template: str, name: str) -> tuple[str, str] | tuple[()] | None:
    """The words for off and on that a template compares a variable with; None if it takes true or false, empty if the
    words are others."""
    # The template may give its value another name: {% set mode = thinking_mode if … %}.
    aliases = re.findall(rf"\bset\s+(\w+)\s*=\s*{name}\b(?!\s*[=!]=)", template)
    names = "|".join(map(re.escape, {name, *aliases}))
    value = r"[\"']([\w\-]+)[\"']"
    compared = re.findall(rf"(?<![\w.])(?:{names})(?:\s*\|\s*lower)?\s*[=!]=\s*{value}", template)
    for words in re.findall(rf"(?<![\w.])(?:{names})\s+(?:not\s+)?in\s*[\[(]([^\])]*)[\])]", template):
        compared += re.findall(value, words)
    if not compared:
        return None
    pair = sorted(WORD_PAIRS, key=lambda pair: -sum(word in compared for word in pair))[0]
    return pair if any(word in compared for word in pair) else ()


def _variables(template: str) -> frozenset[str]:
    """Names of the variables that a template uses."""
    try:
        # `generation` marks the model's own turns; it is a tag of transformers.
        plain = re.sub(r"{%-?\s*(?:end)?generation\s*-?%}", "", template)
        parsed = jinja2.Environment(extensions=["jinja2.ext.loopcontrols"]).parse(plain)
    except jinja2.TemplateError:
        return frozenset(re.findall(r"(?<![\w.'\"])[a-z_]+(?![\w'\"])", template))
    return frozenset(meta.find_undeclared_variables(parsed))


class OneDay(datetime.datetime):
    """The clock of templates."""

    @classmethod
    def now(cls, tz: datetime.tzinfo | None = None) -> OneDay:
        """The same on every day."""
        return cls(TODAY.year, TODAY.month, TODAY.day, tzinfo=tz)


# --- rendering --------------------------------------------------------------------------------------------


def import_renderer() -> types.ModuleType:
    """The module of transformers that renders chat templates, without the rest of the package where that works."""
    name = "transformers.utils.chat_template_utils"
    spec = importlib.util.find_spec("transformers")
    if spec is not None and spec.origin is not None:
        root = Path(spec.origin).parent
        for package, folder in (("transformers", root), ("transformers.utils", root / "utils")):
            module = types.ModuleType(package)
            module.__path__ = [str(folder)]
            sys.modules[package] = module
        with contextlib.suppress(Exception):  # Of another version: what it needs is not known.
            return importlib.import_module(name)
        for imported in [key for key in sys.modules if key.partition(".")[0] == "transformers"]:
            del sys.modules[imported]
    return importlib.import_module(name)


def limit_process() -> None:
    """Bound memory for good, and forbid files; a system without such limits has those of the other side alone."""
    try:
        import resource
    except ImportError:  # Windows.
        return
    with contextlib.suppress(OSError, ValueError):
        # If the machine's memory ends all the same, this process is to go and not the one with the model.
        Path("/proc/self/oom_score_adj").write_text("1000")
    with contextlib.suppress(OSError, ValueError):
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        bytes_ = pages * resource.getpagesize() + MEMORY_BYTES
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        bytes_ = bytes_ if hard == resource.RLIM_INFINITY else min(bytes_, hard)
        resource.setrlimit(resource.RLIMIT_AS, (bytes_, bytes_))
    for limit in (resource.RLIMIT_CORE, resource.RLIMIT_FSIZE):
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(limit, (0, 0))


def limit_time() -> None:
    """End the process when it has used `CPU_SECONDS` from now on."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
        seconds = int(time.process_time()) + 1 + CPU_SECONDS
        resource.setrlimit(resource.RLIMIT_CPU, (seconds if hard < 0 else min(seconds, hard), hard))


def answer(renderer: types.ModuleType, request: dict[str, Any]) -> dict[str, Any]:
    """The text of one request, or why there is none."""
    try:
        values = request["values"] | template_arguments(request["template"], request["thinking"])
        texts, _ = renderer.render_jinja_template(
            conversations=[request["messages"]],
            chat_template=request["template"],
            add_generation_prompt=request["generation"],
            **values,
        )
        text = str(texts[0])
    except MemoryError:
        return {"exceeded": "memory"}
    except Exception as e:  # Jinja templates of any repository may raise anything.
        return {"refused": (str(e).strip() or type(e).__name__)[:MAX_REASON_CHARS]}
    if len(text) > request["longest"]:
        return {"exceeded": "length"}
    return {"text": text}


def main() -> None:
    """Render what is asked for until standard input ends."""
    renderer = import_renderer()
    renderer.datetime = OneDay  # type: ignore[attr-defined]  # What `strftime_now` of templates asks.
    limit_process()
    for line in sys.stdin:
        limit_time()
        found: dict[str, Any] = {"exceeded": "memory"}
        number = None
        with contextlib.suppress(MemoryError):
            request = json.loads(line)
            number = request["request"]
            found = answer(renderer, request)
        print(json.dumps({"result": {"request": number, **found}}), flush=True)
        if found.get("exceeded") == "memory":
            return  # What is left of it is not known; the next request has a new process.


if __name__ == "__main__":
    main()
