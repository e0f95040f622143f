"""What the About tab says that is not the same everywhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from jglue_app.messages import LANGUAGES
from jglue_app.scoring.protocols import PROTOCOLS
from jglue_app.ui.tabs import about


@pytest.mark.parametrize("lang", LANGUAGES)
def test_about_names_every_protocol_as_the_menus_do(lang: str) -> None:
    html = about._section("protocols", lang)
    names = html.split("：" if lang == "ja" else ": ", 1)[1].split("。" if lang == "ja" else ". ", 1)[0]
    assert names.split("、" if lang == "ja" else ", ") == list(PROTOCOLS)


def test_about_names_the_readme_only_where_a_reader_finds_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("SPACE_ID", raising=False)
    assert "<p>README.md has more: " in about._section("programs", "en")
    # As in a container and in an installed package.
    monkeypatch.setattr(about, "ASSETS", tmp_path / "assets")
    assert "README" not in about._section("programs", "en")
    monkeypatch.setenv("SPACE_ID", "me/jglue")
    address = "https://huggingface.co/spaces/me/jglue/blob/main/README.md"
    assert f'href="{address}"' in about._section("programs", "ja")
