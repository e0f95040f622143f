"""Models and runs that the tests of embeddings share: tiny, of random weights, the models made once a session."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from jglue_app import api
from jglue_app.runs.store import RunStore
from jglue_app.settings import Settings
from jglue_app.types import RunData
from tests.embedding.making import N, make, plan_of
from tests.embedding.sentence_model import save_sentence_model


@pytest.fixture(scope="session")
def sentence_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of sentence-transformers with the prefix 類似： for similarity. Do not write to it: copy it first."""
    folder = tmp_path_factory.mktemp("sentences") / "tiny"
    return save_sentence_model(folder, prompts={"query": "query: ", "STS": "類似："})


@pytest.fixture(scope="session")
def made_run(sentence_model: Path, shared_settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run over the first items, with the prefix that the model stores. Do not write to it."""
    elsewhere = replace(shared_settings, runs_dir=tmp_path_factory.mktemp("made"))
    return make(plan_of(sentence_model, elsewhere), elsewhere)


@pytest.fixture
def run(made_run: Path, settings: Settings) -> Path:
    """A copy of it in the folder for runs."""
    return Path(shutil.copytree(made_run, settings.runs_dir / made_run.name))


@pytest.fixture
def data(run: Path) -> RunData:
    return RunStore(run).data()


@pytest.fixture
def written(data: RunData, tmp_path: Path) -> Path:
    """A run in which a model wrote numbers: the gold value of every item but three."""
    rows = [{"item_id": i, "text": f"{item.gold:.1f}"} for i, item in data.items["jsts"].items()]
    for row, text in zip(rows, ("0.1", "4.9", "分かりません"), strict=False):
        row["text"] = text
    table = tmp_path / "numbers.jsonl"
    table.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return api.evaluate(str(table), ["jsts"], data="sample", limit=N).path
