"""What happens where memory is short: limit x action, in real processes under real limits.

    python -m tests.memory                      all of it, some minutes on two cores
    python -m tests.memory --kinds group --limits 1.5 --actions rank,write

Each line says how the process ended: completed, with the memory that it worked in and the same results as without a
limit; refused, with its sentence; or killed, which must never be.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import socket
import sys
import tempfile
import urllib.request
from pathlib import Path
from typing import Any

from tests.memory.limits import KINDS, Ended, run_limited

GIB = 2**30
LIMITS = ("2.5", "1.5", "1")
ACTIONS = ("convert", "rank", "write", "page")
BOUND = 2e-3
"""The most by which log-likelihoods may differ: batches are cut otherwise, and sums are rounded otherwise."""
CONVERT = """
import sys
from jglue_app.backends.hf.checkpoint.find_weights import find_model
from jglue_app.errors import JglueAppError
from jglue_app.settings import load_settings
from jglue_app.types import ModelSpec
try:
    print(find_model(ModelSpec("gemma-3-270m"), load_settings(), print).path)
except JglueAppError as e:
    print(f"error: {e}")
    sys.exit(4)
"""


def command(action: str, folder: Path, port: int) -> list[str]:
    """The program of an action and its arguments."""
    if action == "convert":
        return [sys.executable, "-c", CONVERT]
    if action == "page":
        return [sys.executable, "-m", "jglue_app", "serve", "--port", str(port)]
    method = "choose" if action == "rank" else "generate"
    options = ["--tasks", "jnli,jsquad" if action == "write" else "jnli", "--data", "sample", "--limit", "6"]
    return [sys.executable, "-m", "jglue_app", "run", *options, "--method", method, "--runs-dir", str(folder / "runs")]


def answers(folder: Path) -> list[tuple[Any, ...]]:
    """What a run has stored of each item: text and log-likelihoods."""
    found = []
    for file in sorted((folder / "runs").glob("*/items.jsonl")):
        for line in file.read_text("utf-8").splitlines():
            output = json.loads(line).get("output") or {}
            found.append((output.get("text"), *(output.get("choice_logprobs") or ())))
    return sorted(found, key=str)


def same(found: list[tuple[Any, ...]], expected: list[tuple[Any, ...]]) -> bool:
    """Whether texts are equal and log-likelihoods nearly so."""
    return len(found) == len(expected) and all(
        a[0] == b[0] and len(a) == len(b) and all(abs(x - y) <= BOUND for x, y in zip(a[1:], b[1:], strict=True))
        for a, b in zip(found, expected, strict=True)
    )


def verdict(ended: Ended, folder: Path, expected: list[tuple[Any, ...]] | None) -> tuple[str, str]:
    """How it went, and what it said."""
    lines = [line for line in ended.output.splitlines() if line.strip()]
    if ended.killed or "Traceback" in ended.output:
        return "KILLED", f"code {ended.code}: {lines[-1] if lines else 'without a word'}"
    if ended.code:
        text = " ".join(line.strip("│╭╰─╮╯ ") for line in lines)
        sentence = re.search(r"[^.]*(?:needs about|not enough memory|does not fit)[^!]*", text)
        return ("refused", sentence[0].strip()) if sentence else ("FAILED", f"code {ended.code}: {text[-200:]}")
    budget = re.search(r"works in up to ([\d.]+ GiB)", ended.output)
    if expected is not None and not same(answers(folder), expected):
        return "DIFFERENT", "results are not those without a limit"
    return "completed", f"working in {budget[1]}" if budget else ""


def attempt(action: str, kind: str, limit: int | None, cache: Path, seconds: float, folder: Path) -> Ended:
    """One action under one limit."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    def answers_page() -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as response:
                return bool(response.status == 200)
        except OSError:
            return False

    where = folder / "cache" if action == "convert" else cache
    env = {"JGLUE_CACHE_DIR": str(where), "GRADIO_ANALYTICS_ENABLED": "False", "COLUMNS": "400"}
    until = answers_page if action == "page" else None
    return run_limited(command(action, folder, port), kind, limit, env=env, seconds=seconds, until=until)


def main() -> None:
    """Print the table; exit code 1 if anything was killed, failed or differed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, values in (("kinds", KINDS), ("limits", LIMITS), ("actions", ACTIONS)):
        parser.add_argument(f"--{name}", default=",".join(values), help=f"of {', '.join(values)}; limits in GiB")
    parser.add_argument("--seconds", type=float, default=300.0, help="after which a process is ended")
    parser.add_argument("--cache", type=Path, help="a cache folder with the converted model; default: this user's")
    options = parser.parse_args()
    import platformdirs

    cache = options.cache or Path(platformdirs.user_cache_dir("jglue-app"))
    bad, base = 0, Path(tempfile.mkdtemp(prefix="jglue-memory-"))
    try:
        actions, expected = options.actions.split(","), {}
        for action in [name for name in actions if name in ("rank", "write")]:
            folder = base / f"{action}-free"
            ended = attempt(action, "", None, cache, options.seconds, folder)
            expected[action] = answers(folder)
            if ended.code or not expected[action]:
                sys.exit(f"{action} fails without a limit: {ended.output[-500:]}")
        print(f"{'limit':<16} {'action':<8} {'ended':<10} {'peak':>8}  what it said", flush=True)
        for kind in options.kinds.split(","):
            for size in options.limits.split(","):
                for action in actions:
                    folder = base / f"{action}-{kind}-{size}"
                    try:
                        ended = attempt(action, kind, int(float(size) * GIB), cache, options.seconds, folder)
                        how, said = verdict(ended, folder, expected.get(action))
                    except OSError as e:
                        ended, how, said = Ended(0, ""), "not tried", str(e)
                    peak = f"{ended.peak / 2**20:,.0f} M" if ended.peak else ""
                    bad += how.isupper()
                    print(f"{kind + ' ' + size + ' GiB':<16} {action:<8} {how:<10} {peak:>8}  {said}", flush=True)
                    shutil.rmtree(folder, ignore_errors=True)
    finally:
        shutil.rmtree(base, ignore_errors=True)
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
