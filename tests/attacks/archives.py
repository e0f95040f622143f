"""Archives that are bombs, lead outside, nest, or are damaged: imported into the folder of the local server.

Each is tried in a process of its own with 1.5 GiB of address space and 60 s of processor time. Refused is a sentence
of ours; imported is through unless the archive was whole, and then everything that reads a run must read it.
"""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from jglue_app.results import archive, showcase
from tests.attacks import harmful_archives, harmful_logs
from tests.attacks.outcome import Outcome
from tests.attacks.world import World
from tests.ui.conftest import ROOT

BOMB, MUTATED, LOG = "archive bombs and links", "mutated archives", "harmful logs of other harnesses"
ADDRESS_SPACE = 3 * 2**29
SEED = 20_260_801
MUTANTS = 500


def attack(world: World) -> Iterator[Outcome]:
    """Archives made to harm, then mutants of a whole one."""
    yield from attack_in(world.folder, MUTANTS // 5 if world.quick else MUTANTS)


def attack_in(parent: Path, mutants: int) -> Iterator[Outcome]:
    """The same in a folder that holds a `secret.txt`."""
    folder = parent / "archives"
    folder.mkdir()
    secret = parent / "secret.txt"
    whole = archive.pack(showcase.run_folder(showcase.run_names()[0]), folder / "whole.zip")
    made = [make(folder / f"{name}.zip", whole, secret) for name, make in harmful_archives.HARMFUL.items()]
    kinds = dict.fromkeys(made, BOMB)
    kinds |= dict.fromkeys(harmful_logs.write_all(folder / "logs"), LOG)
    kinds |= dict.fromkeys(_mutants(whole, folder / "mutants", mutants), MUTATED)
    yield from _tried(kinds, folder / "runs")


def _tried(kinds: Mapping[Path, str], runs: Path) -> Iterator[Outcome]:
    """Import each in one child, which says what became of it, and starts again after a file that ended it."""
    left = list(kinds)
    while left:
        command = [sys.executable, "-m", "tests.attacks.import_child", str(runs), *map(str, left)]
        environment = {**os.environ, "JGLUE_RUNS_DIR": str(runs), "JGLUE_MODE": "local", "OPENBLAS_NUM_THREADS": "1"}
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, preexec_fn=_limited
        )
        said = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        for file, row in zip(left, said, strict=False):
            yield Outcome(kinds[file], file.name, row["through"])
        if len(said) < len(left):
            last = (done.stderr.strip().splitlines() or [""])[-1]
            ended = left[len(said)]
            yield Outcome(kinds[ended], ended.name, f"the process ended with {done.returncode}: {last}")
        left = left[len(said) + 1 :]
    for path in runs.rglob("*"):
        if path.is_symlink():
            yield Outcome(BOMB, path.name, "a link was unpacked")
    shutil.rmtree(runs, ignore_errors=True)


def _limited() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    resource.setrlimit(resource.RLIMIT_CPU, (60, 60))


# --- mutants ---------------------------------------------------------------------------------------------


def _mutants(whole: Path, folder: Path, count: int) -> Iterator[Path]:
    """Half with changed bytes of the archive, half with changed members under right checksums."""
    folder.mkdir()
    rng = random.Random(SEED)
    with zipfile.ZipFile(whole) as source:
        members = {name: source.read(name) for name in source.namelist()}
    for at in range(count):
        path = folder / f"{at}.zip"
        if at % 2:
            path.write_bytes(_mutated(whole.read_bytes(), rng))
        else:
            chosen = rng.choice(list(members))
            change = _mutated if at % 4 else _changed_json
            with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as out:
                for name, content in members.items():
                    out.writestr(name, change(content, rng) if name == chosen else content)
        yield path


def _mutated(raw: bytes, rng: random.Random) -> bytes:
    """A few bytes changed, taken out, put in or repeated."""
    out = bytearray(raw)
    for _ in range(rng.randint(1, 4)):
        at, length = rng.randrange(len(out)), rng.randint(1, 20)
        match rng.randrange(4):
            case 0:
                out[at : at + 1] = bytes([rng.randrange(256)])
            case 1:
                del out[at : at + length]
            case 2:
                out[at:at] = rng.randbytes(length)
            case _:
                out[at:at] = out[at : at + length]
    return bytes(out)


def _changed_json(raw: bytes, rng: random.Random) -> bytes:
    """One value of one line of JSON replaced by one of another type."""
    lines = raw.splitlines() or [b""]
    whole = raw.lstrip()[:2] in (b"{\n", b"{\r")
    at = 0 if whole else rng.randrange(len(lines))
    try:
        table = json.loads(raw if whole else lines[at])
    except ValueError:
        return _mutated(raw, rng)
    place = table
    while isinstance(place, dict | list) and place:
        key = rng.choice(list(place)) if isinstance(place, dict) else rng.randrange(len(place))
        if not isinstance(place[key], dict | list) or not place[key] or rng.random() < 0.3:
            place[key] = rng.choice([None, True, -1, 1e308, "x", [], {}, [[1]], {"a": 1}, "\ud800", 2**70, 0.5, "\x00"])
            break
        place = place[key]
    changed = json.dumps(table).encode()
    return changed if whole else b"\n".join([*lines[:at], changed, *lines[at + 1 :]]) + b"\n"
