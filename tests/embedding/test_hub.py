"""Models of sentence-transformers from the Hugging Face Hub, which a server on the loopback address stands for."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.backends.test_find_weights import COMMIT, ROOT, Hub
from tests.conftest import TinyModel

pytestmark = pytest.mark.harness


@dataclass
class Place:
    """A machine with a folder of its own, and what it takes for the Hub."""

    home: Path
    hub: Hub
    endpoint: str

    def embed(self, model: str, *more: str, endpoint: str = "") -> subprocess.CompletedProcess[str]:
        env = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "JGLUE_"))}
        env |= {"HF_ENDPOINT": endpoint or self.endpoint, "HF_HOME": str(self.home / "hub"), "HOME": str(self.home)}
        env |= {"JGLUE_CACHE_DIR": str(self.home / "cache"), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "jglue_app", "embed", "--model", model, "--data", "sample", "--json", *more]
        command += ["--runs-dir", str(self.home / "runs"), "--device", "cpu"]
        return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, encoding="utf-8", check=False)


@pytest.fixture(scope="module")
def place(sentence_model: Path, tiny_model: TinyModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    home = tmp_path_factory.mktemp("home")
    folder = Path(shutil.copytree(sentence_model, home / "repository"))
    (folder / "pytorch_model.bin").write_bytes(b"pickled")
    (folder / "evil.py").write_text("raise SystemExit", "utf-8")
    (folder / "onnx").mkdir()
    (folder / "onnx" / "model.onnx").write_bytes(b"onnx")
    repositories = {"tiny/sentences": folder, "tiny/causal": tiny_model("llama"), "tiny/gated": folder}
    hub = Hub(repositories, hidden=set(), gated={"tiny/gated"}, broken={"tiny/broken"}, pages=set())
    server = hub.serve()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield Place(home, hub, f"http://127.0.0.1:{server.server_port}")
    server.shutdown()
    server.server_close()


def table_of(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr
    table: dict[str, Any] = json.loads(done.stdout)
    return table


def test_a_repository_is_fetched_with_its_prefix_and_goes_on_without_the_hub(place: Place) -> None:
    there = table_of(place.embed("tiny/sentences", "--limit", "3"))
    assert there["report"]["label"] == 'sentences · sentence embeddings · prefix "類似："'
    manifest = json.loads((Path(there["run"]) / "manifest.json").read_text("utf-8"))
    assert manifest["model"]["commit"] == COMMIT
    assert manifest["model_files"] == {"commit": COMMIT}
    fetched = {question.rsplit("/", 1)[-1] for question in place.hub.asked if question.startswith("GET tiny/sentences")}
    assert {"model.safetensors", "modules.json", "tokenizer.json"} <= fetched
    assert not fetched & {"pytorch_model.bin", "evil.py", "model.onnx"}
    away = table_of(place.embed("tiny/sentences", "--limit", "5", endpoint="http://127.0.0.1:9"))
    assert away["run"] == there["run"]
    assert away["report"]["tasks"]["jsts"]["n"] == 5


def test_a_causal_model_of_the_hub_gives_its_hidden_states(place: Place) -> None:
    table = table_of(place.embed("tiny/causal", "--limit", "3"))
    assert table["report"]["label"] == "causal · mean of hidden states"


@pytest.mark.parametrize(
    ("model", "code", "says"),
    [
        ("tiny/none", 3, "There is no model 'tiny/none'"),
        ("tiny/gated", 3, "tiny/gated is gated or private"),
        ("tiny/broken", 4, "cannot be reached (HfHubHTTPError)"),
    ],
)
def test_what_the_hub_refuses_is_a_sentence(place: Place, model: str, code: int, says: str) -> None:
    done = place.embed(model, "--limit", "3")
    assert done.returncode == code, done.stderr
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_a_repository_without_modules_is_refused_where_the_source_is_named(place: Place) -> None:
    done = place.embed("tiny/causal", "--source", "sentence-transformers", "--limit", "3")
    assert done.returncode == 3
    assert "tiny/causal has no modules.json" in done.stderr
