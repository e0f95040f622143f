"""Labels of runs in the language of the page: what tells runs apart in English tells them apart in Japanese."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from jglue_app.results.library import StoredRun
from jglue_app.ui.views.option_words import option_value
from jglue_app.ui.views.run_labels import labels_of


def runs(*prompts: dict[str, Any]) -> dict[str, StoredRun]:
    """Runs of one model with one label, whose prompts differ."""
    spec = {"model": {"id": "org/m", "files_sha256": "0"}}
    return {
        f"run-{i}": StoredRun(f"run-{i}", Path(), "m · plain", "", 1, 1, spec | {"prompt": prompt}, {})
        for i, prompt in enumerate(prompts)
    }


@pytest.mark.parametrize("lang", ["ja", "en"])
def test_wordings_of_one_file_name_stay_apart(lang: str) -> None:
    labels = labels_of(runs({"style": "/a/mine.toml"}, {"style": "/b/mine.toml"}, {"style": "number"}), lang)
    assert len(set(labels.values())) == 3
    assert lang == "en" or labels["run-2"] == "m · plain · 言い回し number"


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [("style", "/home/ann/mine.toml", "mine.toml"), ("system", "/a/b", "/a/b"), ("system", "/no_think", "/no_think")],
)
def test_a_path_is_shown_by_its_last_part_and_words_of_a_prompt_as_they_are(name: str, value: str, shown: str) -> None:
    assert option_value(name, value, "ja") == shown
