"""Gold answers of JSQuAD: the official ones where they are at hand, those of our own sample items otherwise."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from jglue_app.data import files


@pytest.fixture(scope="session")
def official_spans() -> tuple[str, ...]:
    """The first gold answer of every dev item."""
    folder = os.environ.get("JGLUE_DATA_DIR")
    if folder:
        path = next(Path(folder).rglob(files.official_name("jsquad", "valid")))
        items = files.read_official("jsquad", "valid", path).items
    else:
        items = files.read_file("jsquad", "valid", files.sample_path("jsquad", "valid"), "sample", "sample").items
    assert items
    return tuple(item.gold[0] for item in items if isinstance(item.gold, tuple))
