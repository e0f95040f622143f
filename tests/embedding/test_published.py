"""Published Spearman correlations of JSTS, reproduced where the weights can be had: `JGLUE_TEST_HUB=1 pytest -m slow`.

The numbers are those of JMTEB (sbintuitions/JMTEB on GitHub, `docs/results/*/*/summary.json`: snapshot 52876d5 of
2025-03-03, those marked v2 of 847751336d), the Spearman correlation of the cosine on JSTS dev. They need the Hugging
Face Hub and the official files (downloaded, or `JGLUE_DATA_DIR`).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "HF_HUB_OFFLINE"}
"""Before a test has one of its own."""
PUBLISHED = {
    # Model: (Spearman of JSTS, the prefix that is expected to be chosen for it)
    "cl-nagoya/sup-simcse-ja-base": (0.8127259236647225, ""),
    "cl-nagoya/ruri-v3-30m": (0.819463211043541, ""),  # v2
    "hotchpotch/static-embedding-japanese": (0.7781260135980573, ""),  # v2
    "intfloat/multilingual-e5-small": (0.786450077409501, "query: "),
    "pkshatech/GLuCoSE-base-ja-v2": (0.8095684318108997, "query: "),
    "google/embeddinggemma-300m": (0.8381005453815682, "task: sentence similarity | query: "),  # v2
    "sentence-transformers/LaBSE": (0.7612337568248777, ""),
    "sentence-transformers/stsb-xlm-r-multilingual": (0.7843597058304203, ""),
}
TOLERANCE = 0.002
"""For other versions of libraries, and the precision in which they were computed."""


@pytest.mark.slow
@pytest.mark.skipif(
    not os.environ.get("JGLUE_TEST_HUB"), reason="JGLUE_TEST_HUB is not set: weights are not downloaded"
)
@pytest.mark.parametrize("model", PUBLISHED)
def test_the_published_correlation_comes_out(model: str, tmp_path: Path) -> None:
    published, prefix = PUBLISHED[model]
    command = [sys.executable, "-m", "jglue_app", "embed", "--model", model, "--runs-dir", str(tmp_path), "--json"]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    table = json.loads(done.stdout)
    (manifest,) = (json.loads(path.read_text("utf-8")) for path in tmp_path.glob("*/manifest.json"))
    assert manifest["spec"]["prompt"]["prefix"] == prefix
    spearman = table["report"]["tasks"]["jsts"]["metrics"]["spearman"]
    assert spearman["n"] == 1_457
    assert spearman["value"] == pytest.approx(published, abs=TOLERANCE)
