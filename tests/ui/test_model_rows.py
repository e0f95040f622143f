"""The list of models, row by row."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from jglue_app.backends.endpoints import served_models
from jglue_app.backends.model_facts import ModelFacts
from jglue_app.settings import Settings
from jglue_app.ui.views.models import model_rows

GB = 10**9


def test_what_is_known_is_told_in_words() -> None:
    here = ModelFacts("embedded", 268, False, here=True, memory_needed=GB)
    gated = ModelFacts("owner/chat-7b", 6_738, True, gated=True, here=False, memory_needed=27 * GB)
    assert model_rows([here, gated], 8 * GB, "en") == [
        {
            "id": "embedded",
            "facts": ["268M", "base model", "on this machine"],
            "memory": {"text": "fits: about 1.0 GB of 8.0 GB free", "fits": True},
        },
        {
            "id": "owner/chat-7b",
            "facts": ["6.7B", "chat model", "fetched when it is used", "consent on the Hub needed"],
            "memory": {"text": "too large: about 27.0 GB, 8.0 GB free", "fits": False},
        },
    ]


def test_what_is_not_known_is_left_out() -> None:
    assert model_rows([ModelFacts("owner/name")], 8 * GB, "ja") == [{"id": "owner/name", "facts": [], "memory": None}]
    needs = ModelFacts("owner/name", memory_needed=GB)
    assert model_rows([needs], None, "ja")[0]["memory"] is None


def test_a_model_on_a_server_has_its_price(settings: Settings, tmp_path: Path) -> None:
    file = tmp_path / "endpoints.toml"
    file.write_text(
        '[cheap]\nbase_url = "http://127.0.0.1:9/v1"\ncurrency = "JPY"\n'
        "models = { small = { price_in = 20, price_out = 80.5 }, free = {} }\n",
        "utf-8",
    )
    served = served_models(replace(settings, endpoints_file=file))
    rows = model_rows([ModelFacts(id_, served=model) for id_, model in served.items()], None, "en")
    assert [(row["id"], row["facts"]) for row in rows] == [
        ("cheap:small", ["on a server", "20 in, 80.5 out (JPY, per million tokens)"]),
        ("cheap:free", ["on a server"]),
    ]
