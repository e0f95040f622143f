"""Grids on the Results tab, in a real browser."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from jglue_app.backends.pool import ModelPool
from jglue_app.grid.grid_file import read_grid
from jglue_app.grid.grid_plan import plan_grid
from jglue_app.grid.grid_run import one_after_other, run_grid
from jglue_app.settings import Settings
from tests.ui.conftest import OpenPage, Tables, serve
from tests.ui.driving import tab


@pytest.mark.slow
def test_a_stored_grid_is_offered_and_its_effects_are_shown(
    open_page: OpenPage, table: Tables, tmp_path: Path, settings: Settings
) -> None:
    runs = tmp_path / "with-a-grid"
    with serve(runs) as address:
        page = open_page(address=address)
        tab(page, "結果")
        page.wait_for_selector("#leaderboard .jg-ranking")
        assert page.locator("#grids").count() == 0 or not page.locator("#grids").is_visible()
        file = tmp_path / "two-styles.toml"
        text = "[run]\nmodel = '{}'\ntasks = ['jnli']\ndata = 'sample'\nlimit = 4\nmethod = 'generate'\n"
        factors = "[factors]\nstyle = ['ja-labels', 'number']\n"
        file.write_text(text.format(table("grid", "含意", 0.0)) + factors, "utf-8")
        here = replace(settings, runs_dir=runs)
        with ModelPool(here) as pool:
            for _ in run_grid(plan_grid(read_grid(file), here), here, one_after_other(here, pool)):
                pass
        tab(page, "スコアを調べる")
        tab(page, "結果")
        page.get_by_text("グリッド two-styles の実行結果 2 件").wait_for()
        page.locator("#grids button").first.click()
        page.click("#grid-show")
        page.wait_for_selector("#grid-effects table")
        shown = page.locator("#grid-effects").inner_text()
        assert "グリッド two-styles：2 件の実行結果" in shown
        assert "ja-labels" in shown
