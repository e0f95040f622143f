"""Models that the tests of embeddings share: tiny, of random weights, made once a session."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.embedding.sentence_model import save_sentence_model


@pytest.fixture(scope="session")
def sentence_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of sentence-transformers with the prefix 類似： for similarity. Do not write to it: copy it first."""
    folder = tmp_path_factory.mktemp("sentences") / "tiny"
    return save_sentence_model(folder, prompts={"query": "query: ", "STS": "類似："})
