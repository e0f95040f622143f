"""Run folders that a test changes by hand, without what would tell of the change."""

from __future__ import annotations

import json
from pathlib import Path


def unsealed(run: Path) -> Path:
    """The same folder, its manifest no longer telling how many items and answers there are: as if the run had been
    killed before its end, or made by an older version."""
    table = json.loads((run / "manifest.json").read_text("utf-8"))
    for name in ("items", "records"):
        table.pop(name, None)
    (run / "manifest.json").write_text(json.dumps(table), "utf-8")
    return run
