"""What the page shows of embeddings: the reference row beside a JSTS result, the item, and whose runs these are."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from jglue_app.runs.store import RunStore
from jglue_app.settings import Settings
from jglue_app.ui.state import AppState
from jglue_app.ui.tabs.compare_panel import request_of
from jglue_app.ui.tabs.results import ranked
from jglue_app.ui.views.comparison import Pair, board_html, item_html
from jglue_app.ui.views.items import item_rows
from tests.embedding.making import N

OWNER = "somebody"


def words(html: str) -> str:
    """The text of a page without its tags, with one space between words."""
    return " ".join(re.sub(r"<[^>]*>", " ", html).split())


@pytest.fixture
def state(settings: Settings) -> Iterator[AppState]:
    state = AppState(settings, device="cpu")
    yield state
    state._scratch.cleanup()


def first_item(path: Path) -> str:
    return next(iter(RunStore(path).data().items["jsts"]))


@pytest.mark.parametrize(
    ("lang", "says", "label", "metric"),
    [
        (
            "en",
            "on the same items (for comparison)",
            "tiny · sentence embeddings · prefix “類似：”",
            "Spearman correlation",
        ),
        ("ja", "同じ問題での参考値", "tiny · 文の埋め込み · 接頭辞「類似：」", "スピアマン相関"),
    ],
)
def test_embeddings_of_the_same_items_stand_among_the_references(
    state: AppState,
    run: Path,
    written: Path,
    lang: str,
    says: str,
    label: str,
    metric: str,
) -> None:
    metrics = state.report(OWNER, run.name).tasks["jsts"].metrics
    html = words(board_html(state, OWNER, Pair(written.name), lang))
    assert says in html
    assert label in html
    value = metrics["spearman"].value
    assert value is not None
    assert f"/ {metric} {value:.3f} [" in html


def test_a_run_of_embeddings_has_a_scoreboard_without_readings_of_text(
    state: AppState,
    run: Path,
) -> None:
    html = words(board_html(state, OWNER, Pair(run.name), "en"))
    assert f"{N} items · cosine of embeddings" in html
    assert "lenient" not in html
    assert "within 0.5 of the gold" not in html
    assert "on a scale of their own and not 0–5" in html


def test_beside_a_run_that_writes_there_is_a_difference_and_no_right_or_wrong(
    state: AppState,
    run: Path,
    written: Path,
) -> None:
    pair = Pair(run.name, written.name)
    html = words(board_html(state, OWNER, pair, "en"))
    assert "for comparison" not in html.replace("(all of dev, for comparison)", "")
    assert "p " in html
    rows = item_rows(state.judged(OWNER, run.name), state.judged(OWNER, written.name), "en")
    assert {row["ao"] for row in rows} == {"cosine"}
    assert not any({"disagree", "only_a", "only_b", "form"} & set(row["f"]) for row in rows)


def test_an_item_shows_its_cosine_with_its_rank_and_no_distance_to_the_gold(
    state: AppState,
    run: Path,
    written: Path,
) -> None:
    id_ = first_item(run)
    own = words(item_html(state, OWNER, {"a": run.name}, "jsts", id_, "en"))
    assert re.search(rf"-?\d\.\d\d\d · rank \d+ of {N} cosines", own)
    assert "off the gold" not in own
    assert "類似：" in own
    assert "▌" not in own
    assert own.count("nothing was written") == 2  # The strict reading, and that of official; no lenient one.
    other = words(item_html(state, OWNER, {"a": written.name}, "jsts", id_, "en"))
    assert re.search(rf"cosine of embeddings -?\d\.\d\d\d · rank \d+ of {N} cosines tiny", other)
    assert "off the gold by" in other


def test_an_item_of_another_subset_has_no_cosine(state: AppState, run: Path, tmp_path: Path) -> None:
    from jglue_app import api

    table = tmp_path / "labels.jsonl"
    table.write_text('{"item_id": "s01", "text": "含意"}\n', "utf-8")
    path = api.evaluate(str(table), ["jnli"], data="sample", limit=3).path
    id_ = next(iter(RunStore(path).data().items["jnli"]))
    assert "cosine" not in item_html(state, OWNER, {"a": path.name}, "jnli", id_, "en")
    assert "cosine" not in board_html(state, OWNER, Pair(path.name), "en")


def test_the_results_tab_ranks_it_and_offers_no_request_that_would_not_make_it(
    state: AppState,
    run: Path,
    written: Path,
) -> None:
    entries, tasks = ranked(state, OWNER, "sample", ["jsts"], "official", "official")
    assert tasks == ["jsts"]
    assert {entry.name for entry in entries if entry.rank} >= {run.name, written.name}
    assert request_of(state, OWNER, run.name, "") is None
    assert request_of(state, OWNER, run.name, written.name) is None


def test_a_visitor_of_a_public_server_sees_no_run_that_is_not_theirs(
    settings: Settings,
    run: Path,
    written: Path,
) -> None:
    public = AppState(replace(settings, public=True), device="cpu")
    # The visitor has asked for the written run alone.
    items = {"jsts": frozenset(RunStore(written).data().items["jsts"])}
    public._ownership.add(OWNER, [(written.name, items)])
    html = words(board_html(public, OWNER, Pair(written.name), "en"))
    assert "pearson" in html
    assert "tiny" not in html
    shown = words(item_html(public, OWNER, {"a": written.name}, "jsts", first_item(written), "en"))
    public._scratch.cleanup()
    assert "cosine" not in shown
