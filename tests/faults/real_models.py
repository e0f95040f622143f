"""Faults of a real model of random weights: killed, out of memory in a batch, converted by half, changed meanwhile."""

from __future__ import annotations

import errno
import functools
import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.faults.at_calls import spread
from tests.faults.bench import Bench, Workload
from tests.faults.process import Ended
from tests.faults.shim import Call, Fault, Mode
from tests.faults.state import answers, state_of, temporary_files
from tests.faults.verdict import Case, Verdict

LIMIT = 10
KILLS = 12
MEMORY = 16
CONVERSIONS = 12


def cases(bench: Bench) -> Iterator[Case]:
    """All of them; their numbers are known without loading anything."""
    for at in range(KILLS):
        do = functools.partial(_killed, bench, at)
        yield Case("real model killed at a call", f"{at} of {KILLS}", do, heavy=True)
    for at in range(MEMORY):
        do = functools.partial(_out_of_memory, bench, at, (1, 1, 3, 10_000)[at % 4])
        yield Case("memory of the accelerator lost", f"{at} of {MEMORY}", do, heavy=True)
    for at in range(CONVERSIONS):
        do = functools.partial(_converted_by_half, bench, at)
        yield Case("killed or full conversion of a GGUF file", f"{at} of {CONVERSIONS}", do, heavy=True)
    for name, damage in DAMAGE.items():
        do = functools.partial(_damaged_conversion, bench, damage)
        yield Case("damaged converted weights", name, do, heavy=True)
        do = functools.partial(_changed_model, bench, damage)
        yield Case("weights changed between two commands", name, do, heavy=True)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-2_000])


def _zeros(path: Path) -> None:
    content = path.read_bytes()
    at = len(content) // 2
    path.write_bytes(content[:at] + b"\0" * 4_096 + content[at + 4_096 :])


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-4_001] ^= 4
    path.write_bytes(bytes(content))


DAMAGE: Mapping[str, Callable[[Path], object]] = {
    "missing": Path.unlink,
    "torn": _cut,
    "zero bytes in the middle": _zeros,
    "a bit changed": _flip,
    "blank": lambda path: path.write_bytes(b""),
}


@functools.cache
def _models(bench: Bench) -> tuple[Path, Path]:
    """A tiny model's folder, and the same as a GGUF file; the libraries are loaded in this process, once."""
    import torch
    from transformers import AutoModelForCausalLM

    from tests.conftest import _config, _tokenizer, write_gguf

    torch.set_num_threads(1)
    folder = bench.root / "model"
    child = os.fork()
    if not child:
        # In a process of its own: what torch starts does not outlive a fork.
        code = 1
        try:
            tokenizer = _tokenizer(bos=True, pad=True, chat=False, appends_eos=False)
            torch.manual_seed(0)
            config = _config("llama", len(tokenizer))
            config.max_position_embeddings = 2_048
            model = AutoModelForCausalLM.from_config(config)
            model.save_pretrained(folder)
            tokenizer.save_pretrained(folder)
            write_gguf(folder, bench.root / "tiny.gguf")
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    import jglue_app.backends.hf.load  # noqa: F401

    return folder, bench.root / "tiny.gguf"


@functools.cache
def _workload(bench: Bench, model: Path, before: bool = False) -> Workload:
    def command(world: Path, limit: int = LIMIT) -> list[str]:
        return [
            *("run", "--model", str(model), "--tasks", "jcommonsenseqa", "--data", "sample", "--method", "choose"),
            *(
                "--style",
                "number",
                "--limit",
                str(limit),
                "--device",
                "cpu",
                "--runs-dir",
                str(world / "runs"),
                "--json",
            ),
        ]

    return Workload(f"real model {model.name}", command)


def _cache_of(world: Path) -> dict[str, str]:
    return {"JGLUE_CACHE_DIR": str(world / "cache")}


def _killed(bench: Bench, number: int) -> Verdict:
    workload = _workload(bench, _models(bench)[0])
    at = spread(bench.calls(workload), KILLS, 1)[number]
    return bench.try_fault(workload, Fault(Mode.KILL_BEFORE, at))


def _out_of_memory(bench: Bench, number: int, times: int) -> Verdict:
    """Memory runs out in the n-th matrix product, once or several times; less at a time is tried, or items fail."""
    workload = _workload(bench, _models(bench)[0])

    def in_child() -> None:
        import torch

        original = torch.nn.functional.linear
        calls = [0]

        def failing(*given: Any, **named: Any) -> Any:
            calls[0] += 1
            if number * 9 + 40 <= calls[0] < number * 9 + 40 + times:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")
            return original(*given, **named)

        torch.nn.functional.linear = failing

    return bench.try_fault(workload, Fault(), in_child=in_child)


def _converted_by_half(bench: Bench, number: int) -> Verdict:
    """The process is killed, or the disk is full, while weights are converted."""
    workload = _workload(bench, _models(bench)[1])
    world = bench.world(workload)
    try:
        whole = bench.call(workload, world, env=_cache_of(world))
        count = whole.calls[Call.WRITE] + whole.calls[Call.RENAME]
        target = state_of(world)
    finally:
        bench.drop(world)
    at = spread(count, CONVERSIONS, 0)[number]
    calls = Call.WRITE | Call.RENAME
    modes = (Mode.KILL_BEFORE, Mode.KILL_MIDDLE, Mode.FAIL_FROM)
    return _twice(bench, workload, Fault(modes[number % 3], at, calls, errno.ENOSPC), target, whole)


def _twice(bench: Bench, workload: Workload, fault: Fault, target: Any, whole: Ended) -> Verdict:
    world = bench.world(workload)
    try:
        hurt = bench.call(workload, world, fault, env=_cache_of(world))
        verdict = Verdict(acknowledged=len(hurt.acknowledged))
        verdict.lost = len(hurt.acknowledged - {(task, item) for _, task, item in answers(world)})
        bench.judge_end(verdict, hurt, fault, world, whole, target)
        again = bench.call(workload, world, env=_cache_of(world))
        if again.code != 0 or state_of(world) != target:
            verdict.differing = 1
            verdict.wrong.append(f"given again: exit code {again.code}: {again.err[-500:]}")
        verdict.doubled = sum(count - 1 for count in answers(world).values())
        verdict.left = temporary_files(world)
        return verdict
    finally:
        bench.drop(world)


def _damaged_conversion(bench: Bench, damage: Callable[[Path], object]) -> Verdict:
    """Converted weights are damaged on the disk: they are converted again, or the model is refused."""
    workload = _workload(bench, _models(bench)[1])
    world = bench.world(workload)
    try:
        expected = bench.call(workload, world, env=_cache_of(world))
        target = _numbers(world)
        (weights,) = (world / "cache" / "converted").glob("*/model.safetensors")
        damage(weights)
        (run,) = (world / "runs").glob("[!.]*/")
        for name in ("records.jsonl", "manifest.json", "items.jsonl"):
            (run / name).unlink()
        again = bench.call(workload, world, env=_cache_of(world))
        verdict = Verdict(acknowledged=len(expected.acknowledged))
        if again.code == 0 and _numbers(world) != target:
            verdict.differing = 1
        elif again.code not in (0, 3) or "Traceback" in again.err:
            verdict.wrong.append(f"exit code {again.code}: {again.err[-500:]}")
        return verdict
    finally:
        bench.drop(world)


def _changed_model(bench: Bench, damage: Callable[[Path], object]) -> Verdict:
    """Half of a run is there when the weights change: nothing is answered by the others."""
    import shutil

    folder = bench.root / "worlds" / "changed-model"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(_models(bench)[0], folder)
    workload = _workload(bench, folder)
    world = bench.world(workload)
    try:
        arguments = [*workload.command(world)]
        arguments[arguments.index("--limit") + 1] = "4"
        first = bench.call(Workload("half", lambda w: arguments), world)
        assert first.code == 0, first.err
        damage(folder / "model.safetensors")
        again = bench.call(workload, world)
        verdict = Verdict(acknowledged=len(first.acknowledged))
        verdict.lost = len(first.acknowledged - {(task, item) for _, task, item in answers(world)})
        models = {path.parent.name for path in (world / "runs").glob("[!.]*/records.jsonl")}
        if again.code == 0 and len(models) == 1:
            verdict.wrong.append("other weights went on with the run")
        elif again.code not in (0, 2, 3, 5) or "Traceback" in again.err:
            verdict.wrong.append(f"exit code {again.code}: {again.err[-500:]}")
        return verdict
    finally:
        bench.drop(world)


def _numbers(world: Path) -> list[Any]:
    """The log-probabilities of all answers, in the order of the items."""
    (path,) = (world / "runs").glob("[!.]*/records.jsonl")
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    return sorted((row["item_id"], [round(x, 3) for x in row["output"]["choice_logprobs"]]) for row in rows)
