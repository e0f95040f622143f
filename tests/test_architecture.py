"""The rules of the house that a machine can hold: who may import what, and what stays pure."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "jglue_app"
FILES = sorted([ROOT / "app.py", *PACKAGE.rglob("*.py")])

BACKENDS = ("jglue_app/backends/",)
PAGE = ("jglue_app/ui/", "app.py")
BENCH = ("jglue_app/bench/adapters/",)
"""What runs in processes of other Python environments."""
HOME = {
    "torch": (*BACKENDS, *BENCH),
    "transformers": (*BACKENDS, *BENCH),
    "bitsandbytes": BACKENDS,
    "peft": BACKENDS,
    "openai": BACKENDS,
    "httpx2": (*BACKENDS, "jglue_app/hub_sink/uploader.py"),
    "huggingface_hub": (*BACKENDS, "jglue_app/hub_sink/uploader.py"),
    "gguf": BACKENDS,
    "accelerate": BACKENDS,
    "sentence_transformers": BACKENDS,
    "gradio": PAGE,
    "wandb": ("jglue_app/wandb_sink/client/",),
    "wandb_workspaces": ("jglue_app/wandb_sink/client/",),
}
"""Library → the only places that may import it."""

ROOMS = (
    *(
        "version",
        "messages",
        "types",
        "money",
        "errors",
        "environment",
        "whole_files",
        "child_process",
        "settings",
        "tasks",
        "data",
        "prompts",
        "backends",
        "scoring",
    ),
    *(
        "runs",
        "grid",
        "bench",
        "audit",
        "results",
        "prompt_lab",
        "wandb_sink",
        "hub_sink",
        "launch",
        "ui",
        "api",
        "cli",
    ),
)
"""Folders and modules at the top of the package; each imports only from those before it. An item is asked (tasks, data,
prompts), answered (backends), judged (scoring), stored (runs), collected (results) and shown (the rest)."""

PURE = (
    *("prompts/build", "prompts/examples", "prompts/findings", "prompts/formats", "prompts/lint", "prompts/thoughts"),
    *("data/check", "data/known_items", "data/system_data"),
    *(path.relative_to(PACKAGE).with_suffix("").as_posix() for path in sorted((PACKAGE / "scoring").rglob("*.py"))),
    *(f"audit/{name}" for name in ("benchmarks", "column_scores", "grim", "intervals", "leaderboard_audit", "query")),
    *("audit/published_comparison", "audit/reported_score", "audit/score_audit", "audit/sentences"),
    *("audit/table", "audit/table_parser"),
)
OUTSIDE_WORLD = {
    *("os", "io", "sys", "pathlib", "shutil", "tempfile", "glob", "subprocess"),
    *("time", "datetime", "secrets", "uuid", "locale", "logging"),
    *("httpx", "requests", "urllib", "socket", "http"),
}
OWN_GENERATORS = {"Random", "default_rng", "Generator", "SeedSequence", "PCG64"}
"""What may be taken from `random` and `numpy.random`: generators with a state of their own."""


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"), str(path))


def imported(module: ast.Module) -> Iterator[str]:
    """Dotted names of everything a module imports, wherever the import stands, `import_module("x")` included."""
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide where a name comes from"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = ast.unparse(node.func)
            if called in {"importlib.import_module", "import_module", "__import__"}:
                yield str(node.args[0].value)


def own(module: ast.Module) -> set[str]:
    """Modules of this package that a module imports, by their first name: `backends.hf` counts as `backends`."""
    parts = [dotted.split(".") for dotted in imported(module)]
    return {part[1] for part in parts if part[0] == "jglue_app" and len(part) > 1}


def test_there_is_something_to_look_at() -> None:
    names = {name(path) for path in FILES}
    assert {"app.py", "jglue_app/types.py", "jglue_app/backends/hf/load.py", "jglue_app/tasks/jnli.py"} <= names


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import torch.nn as nn", ["torch.nn"]),
        ("def f():\n    from gradio import Blocks", ["gradio.Blocks"]),
        ("import importlib\nimportlib.import_module('wandb')", ["importlib", "wandb"]),
        ("from jglue_app import data, prompts", ["jglue_app.data", "jglue_app.prompts"]),
    ],
)
def test_an_import_is_seen_in_every_shape(source: str, found: list[str]) -> None:
    assert list(imported(ast.parse(source))) == found


@pytest.mark.parametrize("library", HOME)
def test_a_heavy_library_is_imported_only_where_it_lives(library: str) -> None:
    strangers = [
        name(path)
        for path in FILES
        if library in {dotted.split(".")[0] for dotted in imported(tree(path))}
        and not name(path).startswith(HOME[library])
    ]
    assert strangers == []


@pytest.mark.parametrize("module", PURE)
def test_a_pure_module_imports_nothing_that_reaches_outside(module: str) -> None:
    roots = {dotted.split(".")[0] for dotted in imported(tree(PACKAGE / f"{module}.py"))}
    assert roots & OUTSIDE_WORLD == set()


@pytest.mark.parametrize("module", PURE)
def test_a_pure_module_uses_no_global_random_state_and_neither_reads_nor_prints(module: str) -> None:
    faults = []
    for node in ast.walk(tree(PACKAGE / f"{module}.py")):
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) in {"random", "np.random", "numpy.random"}:
            faults += [ast.unparse(node)] if node.attr not in OWN_GENERATORS else []
        if isinstance(node, ast.ImportFrom) and node.module in {"random", "numpy.random"}:
            faults += [alias.name for alias in node.names if alias.name not in OWN_GENERATORS]
        if isinstance(node, ast.Call) and ast.unparse(node.func) in {"open", "print", "input"}:
            faults.append(ast.unparse(node))
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith((".default_rng", "random.Random")):
            faults += [] if node.args else [f"{ast.unparse(node)} without a seed"]
        if isinstance(node, ast.Global):
            faults.append(ast.unparse(node))
    assert faults == []


@pytest.mark.parametrize("module", ["types.py", "errors.py"])
def test_the_vocabulary_needs_the_standard_library_only(module: str) -> None:
    roots = {dotted.split(".")[0] for dotted in imported(tree(PACKAGE / module))}
    assert roots - set(sys.stdlib_module_names) <= {"jglue_app"}
    assert own(tree(PACKAGE / module)) <= {"messages"}


def test_every_module_belongs_to_a_room() -> None:
    tops = {path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in FILES[1:]}
    assert tops - {"__init__", "__main__"} == set(ROOMS)


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_from_those_before_it(room: str) -> None:
    later = set(ROOMS[ROOMS.index(room) + 1 :])
    files = [path for path in FILES[1:] if path.relative_to(PACKAGE).parts[0].removesuffix(".py") == room]
    assert files
    upwards = {name(path): own(tree(path)) & later for path in files}
    assert {path: names for path, names in upwards.items() if names} == {}


def test_scoring_does_not_know_how_items_were_asked() -> None:
    asking = ("jglue_app.backends", "jglue_app.data.files", "jglue_app.prompts.build", "jglue_app.prompts.styles")
    known = {name(path): imported(tree(path)) for path in FILES if path.is_relative_to(PACKAGE / "scoring")}
    assert known
    assert {path for path, names in known.items() if any(n.startswith(asking) for n in names)} == set()


def test_no_module_is_called_utils_or_helpers() -> None:
    catch_alls = {"util", "utils", "helper", "helpers"}
    named = [path for path in PACKAGE.rglob("*") if path.stem.strip("_").lower() in catch_alls]
    assert named == []


@pytest.mark.parametrize("module", ["jglue_app", "jglue_app.cli"])
def test_importing_it_loads_no_model_library_and_no_page(module: str) -> None:
    heavy = ["torch", "transformers", "gradio", "bitsandbytes", "wandb", "openai", "peft"]
    script = f"import json, sys, {module}; print(json.dumps([m for m in {heavy} if m in sys.modules]))"
    told = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr
    assert json.loads(told.stdout) == []
