"""The small table of scores without faulty, repeated, leaked and relabelled items."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from jglue_app import evaluate
from jglue_app.scoring.item_groups import GroupScore
from jglue_app.scoring.types import Estimate
from jglue_app.settings import Settings
from jglue_app.ui import views
from jglue_app.ui.state import AppState
from jglue_app.ui.views import comparison
from jglue_app.ui.views.comparison import Pair
from jglue_app.ui.views.groups import group_rows
from tests.test_api import GOLDS, WORDS


@pytest.fixture
def state(settings: Settings) -> Iterator[AppState]:
    """A server on somebody's own machine."""
    made = AppState(settings, "cpu")
    yield made
    made._scratch.cleanup()


def score(group: str, metric: str, without: Estimate, **labels: Estimate) -> GroupScore:
    task = "jsquad" if group == "faulty" else "jnli"
    of = {name.replace("_", "."): found for name, found in labels.items()}
    return GroupScore(group, task, metric, 29, Estimate(0.5, 0.48, 0.52, 2434), without, of)


LESS = Estimate(0.25, 0.2, 0.3, 2405)


@pytest.mark.parametrize(
    ("lang", "faulty", "metrics"),
    [
        ("ja", "本文の壊れた問題", ("完全一致", "文字 F1", "正解率")),
        ("en", "Questions about a damaged paragraph", ("exact match", "character F1", "accuracy")),
    ],
)
def test_a_line_says_the_score_with_and_without_for_each_side(lang: str, faulty: str, metrics: tuple[str, ...]) -> None:
    a = [score("faulty", "exact_match", LESS), score("faulty", "f1", LESS), score("relabelled", "accuracy", LESS)]
    rows = group_rows(a, a[:1], lang)
    assert [(row["group"] != "", row["task"], row["metric"], row["left_out"]) for row in rows] == [
        (True, "JSQuAD", metrics[0], "29"),
        (False, "JSQuAD", metrics[1], "29"),
        (True, "JNLI", metrics[2], "29"),
    ]
    assert rows[0]["group"] == faulty
    assert rows[0]["sides"][0] == {"all": "0.500", "without": "0.250 [0.200, 0.300]", "old": ""}
    assert [side["all"] for side in rows[1]["sides"]] == ["0.500", "–"]
    html = views.render("board", {"groups": rows, "a": "m", "b": "n"}, lang)
    assert html.count("0.500 → 0.250 [0.200, 0.300]") == 4
    assert f"<strong>{faulty}</strong>" in html
    assert html.count(">29</td>") == 3


def test_labels_of_v1_1_stand_beside_the_relabelled_items() -> None:
    labels = {"v1_1": Estimate(0.3016, 0.28, 0.32, 2434), "v1_3": Estimate(0.5, 0.48, 0.52, 2434)}
    (row,) = group_rows([score("relabelled", "accuracy", LESS, **labels)], None, "en")
    assert row["sides"][0]["old"] == "with the labels of v1.1: 0.302 [0.280, 0.320] (all items)"
    assert len(row["sides"]) == 1


def test_a_group_that_is_all_there_is_leaves_no_score() -> None:
    (row,) = group_rows([score("faulty", "f1", Estimate(None, None, None, 0))], None, "ja")
    assert row["sides"][0]["without"] == "–"


def test_without_such_items_there_is_no_table(tmp_path: Path, state: AppState) -> None:
    rows = [{"item_id": i, "text": WORDS[gold]} for i, gold in GOLDS.items()]
    table = tmp_path / "right.jsonl"
    table.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    run = evaluate(str(table), tasks=["jnli"], data="sample", limit=10)
    html = comparison.board_html(state, "me", Pair(run.path.name), "ja")
    assert "JNLI" in html
    assert "jg-groups" not in html


def test_a_run_with_such_items_has_the_table_for_both_sides(
    tmp_path: Path, state: AppState, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Items of one's own under ids of faulty JSQuAD questions, taken for the official file."""
    question = {"is_impossible": False, "answers": [{"text": "京都", "answer_start": 2}]}
    qas = [{**question, "id": f"a4596p0q{i}", "question": f"{i}番目はどこ？"} for i in range(3)]
    qas.append({**question, "id": "a1p0q0", "question": "どこ？"})
    paragraph = {"context": "寺 [SEP] 寺は京都にある。", "qas": qas}
    folder = tmp_path / "jglue/jsquad-v1.3"
    folder.mkdir(parents=True)
    document = {"version": "1", "data": [{"title": "寺", "paragraphs": [paragraph]}]}
    (folder / "valid-v1.3.json").write_text(json.dumps(document), "utf-8")
    monkeypatch.setattr("jglue_app.data.files.PINNED_SHA256", {})
    monkeypatch.setenv("JGLUE_DATA_DIR", str(tmp_path / "jglue"))
    made = []
    for name, right in (("one", "a1p0q0"), ("two", "a4596p0q0")):
        said = [{"item_id": q["id"], "text": "京都" if q["id"] == right else "奈良"} for q in qas]
        table = tmp_path / f"{name}.jsonl"
        table.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in said), "utf-8")
        made.append(evaluate(str(table), tasks=["jsquad"]).path.name)
    html = comparison.board_html(state, "me", Pair(made[0], made[1]), "en")
    assert "Questions about a damaged paragraph" in html
    assert 'data-side="A">0.250 → 1.000' in html
    assert 'data-side="B">0.250 → 0.000' in html
    alone = comparison.board_html(state, "me", Pair(made[0]), "en")
    assert 'data-side="B"' not in alone
    assert 'data-side="A">0.250 → 1.000' in alone
