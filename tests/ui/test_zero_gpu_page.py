"""The page on ZeroGPU: the real package `spaces`, whose service is ours and lends no GPU."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from jglue_app.runs.store import RunStore
from tests.conftest import TinyModel
from tests.ui.conftest import ROOT, free_port
from tests.zero_gpu_service import DeviceService, device_service

pytestmark = pytest.mark.harness

VISITOR = "head." + base64.urlsafe_b64encode(b'{"user": "somebody"}').decode().rstrip("=") + ".signature"
"""What the proxy of Hugging Face puts into the header X-IP-Token: whose quota is charged."""


@contextmanager
def space(service: DeviceService, folder: Path) -> Iterator[str]:
    """The address of a Space on ZeroGPU."""
    pytest.importorskip("spaces")
    port = free_port()
    (folder / "cgroup").write_text("0::/space\n")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("SPACE_", "GRADIO_", "WANDB_"))} | {
        "SPACES_ZERO_GPU": "true",
        "SPACES_ZERO_DEVICE_API_URL": service.address,
        "ZEROGPU_PROC_SELF_CGROUP_PATH": str(folder / "cgroup"),
        "JGLUE_MODE": "local",
        "JGLUE_RUNS_DIR": str(folder / "runs"),
        "GRADIO_SERVER_PORT": str(port),
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-m", "tests.zero_gpu_app"]
    with (
        (folder / "log").open("w") as log,
        subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log) as process,
    ):
        try:
            for _ in range(600):
                try:
                    httpx.get(f"http://127.0.0.1:{port}/config", timeout=2)
                    break
                except httpx.HTTPError:
                    assert process.poll() is None, (folder / "log").read_text()
                    time.sleep(0.1)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(timeout=20)


def compare(address: str, model: Path, limit: int) -> dict[str, Any]:
    """The last state of a comparison of one model."""
    with httpx.Client(base_url=address + "/gradio_api/call/", timeout=60) as http:
        info = http.get(address + "/gradio_api/info").json()["named_endpoints"]["/compare_models"]["parameters"]
        given = {"a_model": str(model), "a_dtype": "float32", "tasks": ["jnli"], "data": "sample", "limit": limit}
        assert given.keys() <= {p["parameter_name"] for p in info}
        data = [given.get(p["parameter_name"], p.get("parameter_default")) for p in info]
        event = http.post("compare_models", json={"data": data}, headers={"x-ip-token": VISITOR}).json()["event_id"]
        *_, last = (
            line.removeprefix("data: ")
            for line in http.get(f"compare_models/{event}").text.splitlines()
            if line.startswith("data: ")
        )
    answer = json.loads(last)
    assert isinstance(answer, list), answer
    state: dict[str, Any] = answer[0]
    return state


def test_a_run_outlives_a_killed_process_and_ends_in_a_sentence_without_quota(
    tiny_model: TinyModel, tmp_path: Path
) -> None:
    with device_service() as service, space(service, tmp_path) as address:
        assert service.paths == ["/startup-report"]
        service.kill_first_after = 0.3  # While it imports and loads: nothing is answered yet.
        state = compare(address, tiny_model("llama"), 6)
        assert (state["state"], len(service.killed)) == ("done", 1), (tmp_path / "log").read_text()
        # Each request is charged to the visitor who asked, and names its own seconds.
        assert {given["token"] for given in service.scheduled} == {VISITOR}
        assert all(10 <= int(given["durationSeconds"]) <= 40 for given in service.scheduled)
        assert service.paths.count("/allow") == 2
        assert len(service.scheduled) >= service.paths.count("/allow")

        service.quota = 4
        state = compare(address, tiny_model("llama"), 9)
        assert state["state"] == "out_of_gpu_time"
        assert "4 s of your daily quota on ZeroGPU are left. More is there in 3 h 4 min." in state["notices"][-1]

        service.quota = 1_000
        assert compare(address, tiny_model("llama"), 9)["state"] == "done"
    (folder,) = (tmp_path / "runs").iterdir()
    items = [record.item_id for record in RunStore(folder).data().records]
    assert len(items) == len(set(items)) == 9
