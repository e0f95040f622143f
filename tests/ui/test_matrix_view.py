"""Several runs against a baseline, by subset, item and part; and reliability diagrams."""

from __future__ import annotations

import pytest

from jglue_app.scoring.calibration import of_confidences
from jglue_app.scoring.comparison import main_difference
from jglue_app.scoring.judged import judge_run
from jglue_app.scoring.leaderboard import run_scores
from jglue_app.scoring.protocols import get_protocol
from jglue_app.scoring.report import report_run
from jglue_app.scoring.scoreboard import OUTCOMES
from jglue_app.scoring.slices import slices
from jglue_app.scoring.types import Difference
from jglue_app.tasks import TASKS
from jglue_app.types import RunData
from jglue_app.ui import views
from jglue_app.ui.views.calibration import calibration_view
from jglue_app.ui.views.matrix import item_matrix, score_matrix
from jglue_app.ui.views.slices import slice_table
from tests.scoring.test_report import nli, output

SAID = {"o": "含意", "x": "矛盾", "?": "さあ"}


def run(marks: str) -> RunData:
    return nli(*[("entailment", output(SAID[mark])) for mark in marks])


RUNS = {
    "base": run("x" * 20 + "o" * 10),
    "more": run("o" * 12 + "x" * 8 + "o" * 10),
    "less": run("x" * 29 + "o"),
    "alike": run("x" * 19 + "o" * 11),
    "few": run("o" * 9),
}
JUDGED = {name: judge_run(data, "official") for name, data in RUNS.items()}
SCORES = {name: run_scores(report_run(data, "official")).tasks for name, data in RUNS.items()}


def difference(a: str, b: str, task: str) -> Difference | None:
    rows = [JUDGED[name].get(task, {}) for name in (a, b)]
    return main_difference(TASKS[task], rows[0], rows[1], get_protocol("official"))


def test_each_cell_has_the_score_the_difference_and_a_verdict_corrected_over_the_table() -> None:
    payload = score_matrix({name: name for name in RUNS}, "base", SCORES, difference, ["jnli", "jsts"], "en")
    cells = {row["name"]: row["cells"] for row in payload["rows"]}
    assert [row["number"] for row in payload["rows"]] == ["", "1", "2", "3", "4"]
    assert {name: (c[0]["value"], c[0]["n"], c[0]["verdict"]) for name, c in cells.items()} == {
        "base": ("0.333", 30, ""),
        "more": ("0.733", 30, "better"),
        "less": ("0.033", 30, "worse"),
        "alike": ("0.367", 30, "undecided"),
        "few": ("1.000", 9, "few"),
    }
    assert cells["more"][0]["difference"].startswith("+0.400 [")
    # Four differences: 12 items that only `more` has right, p = 2 · ½¹², times four.
    assert cells["more"][0]["p"] == "corrected p 0.002"
    # Nine that only `base` has right, p = 2 · ½⁹, times two: `few` differs in nine items too, and comes first.
    assert cells["less"][0]["p"] == "corrected p 0.012"
    assert cells["few"][0]["text"] == "fewer than 10 items: no verdict"
    assert {cells[name][1]["verdict"] for name in RUNS if name != "base"} == {"none"}
    assert "corrected over the 4 differences" in payload["note"]
    assert "about" in cells["alike"][0]["p"]
    html = views.render("matrix", payload, "en")
    assert html.count("jg-open-pair") == 4
    assert "▲ better than the baseline" in html


@pytest.mark.parametrize("lang", ["ja", "en"])
def test_without_two_runs_there_is_a_sentence(lang: str) -> None:
    assert "jg-empty" in views.render("matrix", {}, lang)


def test_items_have_the_outcome_of_every_run_and_none_where_it_is_missing() -> None:
    value = item_matrix({"more": "More", "base": "Base", "few": "Few"}, "base", JUDGED, "ja")
    assert value["runs"] == [["base", "Base"], ["more", "More"], ["few", "Few"]]
    assert len(value["rows"]) == 30
    right, wrong = OUTCOMES.index("correct"), OUTCOMES.index("wrong")
    assert value["rows"][0] == ["jnli", "0", value["rows"][0][2], "entailment", [wrong, right, right]]
    assert value["rows"][12][4] == [wrong, wrong, -1]
    assert value["rows"][29][4] == [right, right, -1]
    assert [name for name, _, _ in value["outcomes"]] == list(OUTCOMES)


def test_another_item_of_the_same_id_is_not_the_same_item() -> None:
    other = nli(("neutral", output("中立")))
    value = item_matrix({"base": "a", "b": "b"}, "base", {**JUDGED, "b": judge_run(other, "official")}, "en")
    assert value["rows"][0][4][1] == -1


# --- parts of the items, and calibration ------------------------------------------------------------------


def test_parts_have_their_size_their_difference_and_few_items_have_no_verdict() -> None:
    found = slices(RUNS["more"], "official", JUDGED["more"], JUDGED["base"])
    payload = slice_table(found, "en", compared=True)
    (task,) = payload["tasks"]
    rows = {row["key"]: row for kind in task["kinds"] for row in kind["rows"]}
    assert [kind["title"] for kind in task["kinds"]][:2] == ["By gold label", "By length of the question (characters)"]
    whole = rows["entailment"]
    assert (whole["n"], whole["value"], whole["few"], whole["verdict"]) == (30, "0.733", False, "better")
    first = rows["All other items"]
    assert (first["n"], first["few"], first["verdict"], first["text"]) == (
        1,
        True,
        "few",
        "fewer than 10 items: no verdict",
    )
    html = views.render("slices", payload, "en")
    assert "fewer than 10" in html
    alone = slice_table(slices(RUNS["more"], "official", JUDGED["more"]), "ja", compared=False)
    assert "差（実行" not in views.render("slices", alone, "ja")


def test_a_diagram_says_in_which_direction_probabilities_are_wrong_and_what_chance_allows() -> None:
    sure = of_confidences([0.9] * 40, [True] * 10 + [False] * 30)
    shy = of_confidences([0.5] * 40, [True] * 40)
    right = of_confidences([0.75] * 40, [True] * 30 + [False] * 10)
    views_of = calibration_view({"jnli": sure, "marc_ja": shy, "jcommonsenseqa": right}, "en")["diagrams"]
    assert [one["verdict"].split(" this")[0].split(":")[0] for one in views_of] == [
        "Overconfident",
        "Underconfident",
        "Chance can explain",
    ]
    (only,) = views_of[0]["bins"]
    # 200 pixels from the bottom: 0.9 across; a quarter of the way up.
    assert (only["x"], only["y"], only["n"]) == ("180.0", "150.0", "40")
    assert float(only["top"]) < 150 < float(only["bottom"])
    assert views_of[0]["means"] == "Mean probability 0.900, share of right answers 0.250"
