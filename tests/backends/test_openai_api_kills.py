"""A process that asks a priced server and is killed: what was answered is not paid again."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jglue_app.backends.openai_api.backend import identity
from jglue_app.settings import Settings
from jglue_app.types import ModelSpec
from tests.api_server import ApiConfig, ApiServer
from tests.api_server.record import Request
from tests.served_models import with_server

ROOT = Path(__file__).resolve().parents[2]
ITEMS, AT_ONCE = 40, 4
SPEC = ModelSpec("here:tiny", backend="openai_api")

CHILD = f"""
import json
from jglue_app.backends import open_backend
from jglue_app.settings import load_settings
from jglue_app.types import ModelSpec
from tests.backends.contract import make_prompt
backend = open_backend(ModelSpec("here:tiny", backend="openai_api"), load_settings())
prompts = [make_prompt(f"{{i}}：", item_id=str(i)) for i in range({ITEMS})]
for i, result in backend.generate(prompts, 4, lambda: False):
    print(json.dumps([str(i), result.text]), flush=True)
print("done", flush=True)
"""


@pytest.mark.harness
def test_a_killed_process_pays_for_no_answer_twice(settings: Settings) -> None:
    with ApiServer(ApiConfig(latency=0.03, price_in=1, price_out=4)) as server:
        here = with_server(settings, server, price_in=1, price_out=4, requests_at_once=AT_ONCE)
        identity(SPEC, here)
        server.requests.clear()
        environment = {**os.environ, "JGLUE_ENDPOINTS": str(here.endpoints_file), "PYTHONPATH": str(ROOT)}
        rng, kills, texts, done = random.Random(19), 0, dict[str, str](), False
        while not done:
            process = subprocess.Popen(
                [sys.executable, "-c", CHILD], env=environment, cwd=ROOT, stdout=subprocess.PIPE, text=True
            )
            assert process.stdout
            until = len(of_items(server)) + rng.randint(4, 12)
            while len(of_items(server)) < until and process.poll() is None:
                time.sleep(0.002)
            time.sleep(rng.random() * 0.03)
            done = process.poll() is not None
            process.send_signal(signal.SIGKILL)
            printed, _ = process.communicate()
            # The last line may be torn.
            for i, text in (json.loads(line) for line in printed.splitlines() if line.endswith("]")):
                assert texts.setdefault(i, text) == text
            kills += not done
        assert printed.endswith("done\n")
        assert len(texts) == ITEMS and kills >= 3
        # A process may die between the arrival of an answer and its being kept: of each request that is out then.
        answered, twice = set[str](), 0
        for request in of_items(server):
            twice += request.billed and request.fingerprint in answered
            if request.answered:
                answered.add(request.fingerprint)
        assert len(answered) == ITEMS
        assert twice <= kills * AT_ONCE


def of_items(server: ApiServer) -> list[Request]:
    """The requests of items; each process asks known questions beside them."""
    return [one for one in server.posts if re.search(r'"\d+：', json.dumps(one.body, ensure_ascii=False))]
