"""Small requests that ask for much work: none may keep the server busy, or grow its memory, before it is refused."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tests.attacks.calls import Program
from tests.attacks.outcome import Outcome
from tests.attacks.world import MODEL, Served, World

KIND = "costly requests"
PROCESSOR_SECONDS = 10.0
GROWTH = 1 << 30
KANJI = "".join(chr(0x4E00 + at * 7919 % 20_000) for at in range(14_500))
"""Characters that are three tokens each to most tokenizers."""
EMBEDDED = "gemma-3-270m"
SHIPPED = "shipped:base-0-shot"
SQUAD = {"title": "題", "question": "何ですか"}


def _requests() -> dict[str, tuple[str, dict[str, Any]]]:
    """What is asked → endpoint and parameters."""
    return {
        "3,000 formats in 3,000 styles": (
            "sweep_formats",
            {"formats": ["plain"] * 3_000, "styles": ["ja-labels"] * 3_000},
        ),
        "100,000 formats": ("sweep_formats", {"formats": [f"x{at}" for at in range(100_000)]}),
        "100,000 styles": ("sweep_formats", {"formats": ["plain", "chat"], "styles": ["ja-labels"] * 100_000}),
        "items without an end in a sweep": ("sweep_formats", {"items": 10**12}),
        "9,999 gold answers": (
            "show_prompt",
            {
                "task": "jsquad",
                "fields": {**SQUAD, "context": KANJI[:2_000]},
                "gold": "\n".join(map(str, range(9_999))),
            },
        ),
        "a prompt of 14,500 kanji": (
            "try_prompt",
            {"task": "jsquad", "fields": {**SQUAD, "context": KANJI}, "gold": "x", "model": MODEL, "format": "chat"},
        ),
        "a prompt of 14,500 kanji to the embedded model": (
            "try_prompt",
            {"task": "jsquad", "fields": {**SQUAD, "context": KANJI}, "gold": "x", "model": EMBEDDED},
        ),
        "the tokens of 1,000,000 characters": (
            "show_prompt",
            {"task": "jsquad", "fields": {**SQUAD, "context": KANJI * 69}, "gold": "x", "model": EMBEDDED},
        ),
        "10**9 solved examples": ("show_prompt", {"shots": 10**9}),
        "100,000 subsets": ("compare_models", {"a_model": MODEL, "tasks": ["jnli"] * 100_000}),
        "100,000 subsets in a ranking": ("leaderboard", {"tasks": ["jnli"] * 100_000}),
        "items without an end": ("compare_models", {"a_model": MODEL, "tasks": ["jnli"], "limit": 10**15}),
        "new tokens without an end": (
            "compare_models",
            {"a_model": MODEL, "tasks": ["jnli"], "limit": 1, "max_new_tokens": 10**9},
        ),
        "a thought without an end": (
            "compare_models",
            {"a_model": MODEL, "tasks": ["jnli"], "limit": 1, "a_thinking": "on", "a_max_thinking_tokens": 10**9},
        ),
        "a table of 500,000 cells": ("audit_table", {"table": "model,JNLI\n" + "x,30.16\n" * 500_000}),
        "a table of 100,000 columns": ("audit_table", {"table": "model" + ",JNLI" * 100_000}),
        "a table of 500 models": (
            "audit_table",
            {"table": "model,JNLI\n" + "".join(f"m{at},{20 + at / 10}\n" for at in range(499))},
        ),
        "a score of a million digits": ("audit_score", {"score": "0." + "3" * 1_000_000}),
        "items without an end in an audit": ("audit_score", {"n": 10**18}),
        "all protocols of a run": ("disagreements", {"run": SHIPPED, "task": "jsquad"}),
        "steps between protocols": ("explain", {"run": SHIPPED, "start": "lm-eval-ja", "end": "flexeval"}),
    }


def attack(world: World) -> Iterator[Outcome]:
    """Each request, with the processor time and the memory that the server takes for it."""
    server = world.public
    yield _sessions(world, 20 if world.quick else 100)
    with Program(world, timeout=120) as program:
        for what, (name, given) in _requests().items():
            if world.quick and EMBEDDED in given.values():
                continue  # It is loaded first, which takes its time.
            before, memory, began = _seconds(server), server.memory(), time.monotonic()
            answer = program.call(name, **given)
            program.call("stop", kind="sweep")
            program.call("stop", kind="try")
            used, grown = _seconds(server) - before, server.memory() - memory
            of_model = EMBEDDED in given.values()
            yield Outcome(KIND, f"{name}: {what}", _judged(server, answer.fault, used, grown, of_model, began))
        for query in ("run_a=" + "x" * 15_000, "runs=" + ",".join(map(str, range(3_000))), "tasks=" + "jnli," * 3_000):
            before, memory, began = _seconds(server), server.memory(), time.monotonic()
            answer = program.get(f"/?{quote(query, safe='=,')}")
            used, grown = _seconds(server) - before, server.memory() - memory
            yield Outcome(KIND, f"link: {query[:30]}…", _judged(server, answer.fault, used, grown, False, began))


def _sessions(world: World, count: int) -> Outcome:
    """New sessions that send 5 MB each and never come back: nothing of it may stay."""
    text = "語" * (5 * 2**20 // 3)
    growth = []
    for number in range(count + 5):
        with Program(world, timeout=120) as program:
            program.call("audit_score", score=text)
        if number == 4:  # What the first calls need stays.
            growth.append(world.public.memory_now())
    growth.append(world.public.memory_now())
    grown = growth[1] - growth[0]
    kept = grown > count * len(text.encode()) // 2
    return Outcome(KIND, f"{count} sessions that send 5 MB each", f"{grown >> 20} MiB stay" if kept else "")


def _judged(server: Served, fault: str, used: float, grown: int, of_model: bool, began: float) -> str:
    if not server.alive():
        return "the server died"
    # Loading the embedded model is no harm: it is done once.
    most, growth = (3 * PROCESSOR_SECONDS, 4 * GROWTH) if of_model else (PROCESSOR_SECONDS, GROWTH)
    if used > most:
        return f"{used:.0f} s of processor time within {time.monotonic() - began:.0f} s"
    return f"{grown >> 20} MiB of memory" if grown > growth else fault


def _seconds(server: Served) -> float:
    """Processor time of the server and of children that have ended."""
    fields = Path(f"/proc/{server.process.pid}/stat").read_text().rpartition(") ")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
