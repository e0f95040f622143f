"""What is said of a whole leaderboard."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from jglue_app.audit import leaderboard_audit
from jglue_app.audit.auditor import TableAudit, audit_score, audit_table
from jglue_app.audit.sentences import sentence
from jglue_app.errors import DataError, InputError, UnknownNameError


def kinds(audit: TableAudit) -> set[str]:
    return {found.kind for found in audit.findings}


def said(audit: TableAudit, kind: str) -> list[str]:
    return [sentence(found)[0] for found in audit.findings if found.kind == kind]


def who(audit: TableAudit, kind: str) -> list[str]:
    listed = [found.facts["who"] for found in audit.findings if found.kind == kind]
    return [name for names in listed if isinstance(names, tuple) for name in names]


def test_scores_on_a_floor_are_named_with_the_answer() -> None:
    audit = audit_table("model,JNLI,JCommonsenseQA\na,30.16,19.3\nb,55.46,62.0\nc,70.01,88.0\n")
    assert said(audit, "board_constant") == [
        "JNLI: a 30.16 is what always answering contradiction scores with the labels of JGLUE v1.1 (734 of 2,434).",
        "JNLI: b 55.46 is what always answering neutral scores with the labels of JGLUE v1.3 (1,350 of 2,434).",
        "JCommonsenseQA: a 19.3 is what always answering 0 scores with the labels of JGLUE v1.1–v1.3 (216 of 1,119).",
    ]
    assert said(audit, "board_default")[0].startswith("JCommonsenseQA: if W&B 2023 made this table")
    assert who(audit, "board_below") == ["a"]


def test_impossible_scores_are_named() -> None:
    # 1,700 of 2,434 is .69844 and 1,701 is .69885; of 2,508 items .69856 (1,752) and .69896 (1,753).
    audit = audit_table("model,JNLI\na,0.69844\nb,0.69870\nc,0.30156\n")
    assert who(audit, "board_impossible") == ["b 0.69870"]


def test_a_column_that_fits_one_number_of_items_says_so() -> None:
    audit = audit_table("model,JCQA\na,0.200179\nb,0.701519\nc,0.709562\n")
    assert said(audit, "board_sizes") == ["JCQA: all 3 scores fit 1,119 items."]
    assert {s.n for s in audit.rankings[0].standings} == {1119}


def test_the_number_of_items_of_a_row_counts() -> None:
    audit = audit_table("model,JNLI,n\na,0.57,100\nb,0.571,100\n")
    assert who(audit, "board_impossible") == ["b 0.571"]
    assert {s.n for s in audit.rankings[0].standings} == {100}


def test_fractions_among_percentages_are_left_aside_unless_the_scale_is_said() -> None:
    text = "model,JNLI\na,30.11\nb,0.9026\nc,90.39\nd,0.3\n"
    audit = audit_table(text)
    assert who(audit, "board_mixed") == ["b 0.9026", "d 0.3"]
    assert [s.model for s in audit.rankings[0].standings] == ["c", "a"]
    read = audit_table(text, scale="percent")
    assert "board_mixed" not in kinds(read)
    assert [round(s.query.value, 6) for s in read.rankings[0].standings] == [0.9039, 0.3011, 0.009026, 0.003]


def test_a_tie_of_scales_is_said_to_be_one() -> None:
    audit = audit_table("model,JNLI\na,0.9026\nb,30.11\n")
    why = next(sentence(f)[1] for f in audit.findings if f.kind == "board_mixed")
    assert why.startswith(
        "Scores above 1: 1; others: 1. It is read on the scale of the larger number, as percentages if"
    )
    assert "Most of" not in why
    assert [s.model for s in audit.rankings[0].standings] == ["b"]
    more = audit_table("model,JNLI\na,0.9026\nb,30.11\nc,31.11\n")
    assert next(f.facts["above"] for f in more.findings if f.kind == "board_mixed") == 2


def test_the_scale_of_columns_is_said_once_and_by_whom() -> None:
    text = "model,JNLI,JCQA,JSTS pearson\na,60.11,62.0,0.871\nb,61.11,63.1,0.881\n"
    audit = audit_table(text)
    assert said(audit, "board_percent") == ["Read as percentages: JNLI, JCQA."]
    assert said(audit, "board_fraction") == ["Read as fractions of 1: JSTS pearson."]
    told = audit_table(text, scale="percent")
    assert [sentence(f) for f in told.findings if f.kind == "board_percent_said"] == [
        ("Read as percentages: JNLI, JCQA, JSTS pearson.", "It was said so.")
    ]
    assert not kinds(told) & {"board_percent", "board_fraction"}


def test_a_table_of_averages_is_said_to_be_compared_at_the_widest() -> None:
    audit = audit_table("model,JSQuAD F1,JNLI balanced acc,JNLI acc\na,80,60,60\nb,81,61,61\n")
    assert [f.facts["column"] for f in audit.findings if f.kind == "board_widest"] == [
        "JSQuAD F1",
        "JNLI balanced acc",
    ]
    whys = [sentence(f)[1] for f in audit.findings if f.kind in ("board_top", "board_alone")]
    assert "the score test for two shares, which is at the widest" in whys[0]
    assert "the largest standard errors" in whys[1]
    assert "Each p is by the score test for two shares, corrected" in whys[2]


def test_sentences_agree_with_one_and_with_several() -> None:
    one = audit_table("model,JNLI\na,30.16\nb,60.11\n")
    assert said(one, "board_constant")[0].startswith("JNLI: a 30.16 is what")
    assert said(one, "board_below")[0].startswith("JNLI: 1 of 2 scores is below")
    assert "Pairs compared: 1." in next(sentence(f)[1] for f in one.findings if f.kind == "board_alone")
    several = audit_table("model,JNLI\na,30.16\nb,60.11\nc,30.16\n")
    assert said(several, "board_constant")[0].startswith("JNLI: a 30.16, c 30.16 are what")
    assert said(several, "board_below")[0].startswith("JNLI: 2 of 3 scores are below")


def test_nothing_left_aside_is_said_so() -> None:
    found = next(f for f in audit_table("model,JNLI\na,0.512\n").findings if f.kind == "read_columns_all")
    assert sentence(found) == ("Rows: 1. Read as scores: JNLI.", "No column is left aside.")


def test_percentages_among_fractions_too() -> None:
    audit = audit_table("model,JNLI\na,0.301\nb,90.26\nc,0.904\n")
    assert who(audit, "board_mixed") == ["b 90.26"]


def test_a_percent_sign_settles_the_scale_of_its_cell() -> None:
    audit = audit_table("model,JNLI\na,30.1%\nb,0.90%\nc,0.904\nd,0.9131\n")
    assert "board_mixed" not in kinds(audit)
    assert [s.model for s in audit.rankings[0].standings] == ["d", "c", "a", "b"]


def test_a_single_short_number_leaves_the_scale_open() -> None:
    assert "board_open" in kinds(audit_table("model,JNLI\na,0.9\n"))
    assert "board_open" not in kinds(audit_table("model,JNLI\na,0.9\n", scale="fraction"))


def test_cells_that_are_no_score_are_named_and_left_aside() -> None:
    audit = audit_table("model,JNLI\na,abc\nb,-5.0\nc,130\nd,-\ne,60.11\nf,NaN\n")
    assert who(audit, "board_unread") == ["a 'abc'", "f 'NaN'"]
    assert who(audit, "board_range") == ["b -5.0", "c 130"]
    assert [s.model for s in audit.rankings[0].standings] == ["e"]


def test_zero_correlations_and_balanced_constants_are_named() -> None:
    audit = audit_table("model,JSTS pearson,JNLI balanced_acc\na,0.000,0.333\nb,0.871,0.613\n")
    assert who(audit, "board_zero") == ["a"]
    assert who(audit, "board_balanced") == ["a"]


def test_an_exact_match_above_its_f1_is_named() -> None:
    audit = audit_table("model,JSQuAD EM,JSQuAD F1\na,44.1,41.0\nb,80.1,91.3\n")
    assert who(audit, "board_over") == ["a 44.1 / 41.0"]


def test_doubled_models_and_doubled_rows_are_named() -> None:
    audit = audit_table("model,JNLI,JCQA\na,0.51,0.62\nb,0.51,0.62\na,0.5,0.6\n")
    assert who(audit, "board_same") == ["a", "b"]
    assert said(audit, "board_twice") == ["In more than one row: a."]


def test_groups_that_cannot_be_told_apart_after_holm() -> None:
    # Of 2,434 items .90 and .88 differ by 2.2 standard errors (p = .026), .90 and .50 by 30.
    audit = audit_table("model,JNLI\nfirst,0.9001\nsecond,0.8801\nlast,0.5001\n")
    ranking = audit.rankings[0]
    # Three pairs: the two with `last` hold at any level; the remaining one is held to .05.
    assert [(s.model, s.indistinguishable) for s in ranking.standings] == [("first", ()), ("second", ()), ("last", ())]
    assert said(audit, "board_alone") == ["JNLI: first 0.9001 is above all the others."]
    # With a fourth model near, the same pair is one of three left and is held to .05/3.
    more = audit_table("model,JNLI\nfirst,0.9001\nsecond,0.8801\nthird,0.8901\nlast,0.5001\n").rankings[0]
    assert {s.model: s.indistinguishable for s in more.standings} == {
        "first": ("third", "second"),
        "third": ("first", "second"),
        "second": ("first", "third"),
        "last": (),
    }
    assert more.groups == (("first", "third", "second"), ("last",))


def test_not_told_apart_does_not_carry_over() -> None:
    # .9101 and .8951, and .8951 and .8801, differ by 1.8 and 1.7 standard errors; .9101 and .8801 by 3.4.
    audit = audit_table("model,JNLI\na,0.9101\nb,0.8951\nc,0.8801\nlast,0.5001\n")
    indistinguishable = {s.model: s.indistinguishable for s in audit.rankings[0].standings}
    assert indistinguishable == {"a": ("b",), "b": ("a", "c"), "c": ("b",), "last": ()}
    assert audit.rankings[0].groups == (("a", "b"), ("b", "c"), ("last",))
    assert "does not carry over" in next(sentence(f)[1] for f in audit.findings if f.kind == "board_groups")


def test_columns_without_a_test_say_so() -> None:
    audit = audit_table("model,JCoLA mcc\na,0.31\nb,0.41\n")
    assert said(audit, "board_untested") == ["JCoLA mcc: no groups."]


def test_equal_scores_are_one_group_and_one_model_is_none() -> None:
    assert "board_identical" in kinds(audit_table("model,JNLI\na,0.5\nb,0.5\n"))
    alone = audit_table("model,JNLI\na,0.5123\n")
    assert alone.rankings[0].groups == ()
    assert not kinds(alone) & {"board_top", "board_alone", "board_groups"}


def test_a_system_decides_the_labels_and_sizes() -> None:
    audit = audit_table("model,JSQuAD EM\na,9.0\nb,8.0\n", system="wandb-2023")
    assert {s.n for s in audit.rankings[0].standings} == {4422}


def test_what_was_read_and_what_was_not_is_said() -> None:
    audit = audit_table("model,JNLI,JMMLU,avg\na,0.512,0.2,0.3\n")
    found = next(f for f in audit.findings if f.kind == "read_columns")
    assert sentence(found) == ("Rows: 1. Read as scores: JNLI.", "Left aside: JMMLU, avg.")


def test_a_file_is_read_from_its_path_and_a_bad_one_named(tmp_path: Path) -> None:
    path = tmp_path / "board.csv"
    path.write_bytes("モデル,JNLI\n甲,30.16\n".encode("cp932"))
    assert who(audit_table(path), "board_constant") == ["甲 30.16"]
    for missing in (tmp_path / "none.csv", tmp_path):
        with pytest.raises(DataError, match="cannot be read"):
            audit_table(missing)
    with pytest.raises(UnknownNameError, match="Unknown scale"):
        audit_table("model,JNLI\na,1\n", scale="x")


def test_every_finding_fills_its_sentences() -> None:
    audit = audit_table(
        "model,JNLI,JNLI balanced acc,JSTS,JSQuAD EM,JSQuAD F1,JCoLA mcc\n"
        "a,30.16,33.3,0,50,40,0\nb,0.9,50,0.5,x,60,0.2\nc,55.34,40.1,0.61,140,61,0.3\nc,55.4,40,0.6,60,62,0.3\n"
    )
    for row in audit.plain()["findings"]:
        assert "{" not in row["text"] + row["why"]
    assert len(kinds(audit)) >= 10


def test_a_table_of_the_longest_kind_is_compared_in_seconds() -> None:
    heads = ("JNLI balanced acc", "JNLI")
    lines = [f"m{i},{50 + i / 1000:.3f},{50 + i / 1000:.3f}" for i in range(500)]
    began = time.process_time()
    audit = audit_table("\n".join([f"model,{','.join(heads)}", *lines]))
    assert time.process_time() - began < 15
    # The best and the worst are half a point apart: of 2,434 items no two differ.
    assert [len(ranking.groups) for ranking in audit.rankings] == [1, 1]
    assert [len(ranking.groups[0]) for ranking in audit.rankings] == [500, 500]


def test_a_correlation_that_is_no_number_is_named_and_an_infinite_one_is_no_score() -> None:
    audit = audit_table("model,JSTS pearson\na,NaN\nb,0.8512\nc,-inf\nd,0.7012\n")
    assert said(audit, "board_nan") == ["JSTS pearson: a is not a number (NaN), as of one constant answer."]
    assert said(audit, "board_unread") == ["JSTS pearson: no number in c '-inf'."]
    assert audit_score("jsts", " nan ").findings[0].kind == "constant_nan"
    for infinite in ("inf", "-Infinity", float("inf")):
        with pytest.raises(InputError, match="is not a finite number"):
            audit_score("jsts", infinite)


@pytest.mark.parametrize(
    ("told", "groups"),
    [
        ([], [(0, 4)]),
        ([(0, 3)], [(0, 3), (1, 4)]),
        ([(0, 1), (1, 2), (2, 3)], [(0, 1), (1, 2), (2, 3), (3, 4)]),
        # With other numbers of items the second can be told from the third, and the first from neither.
        ([(1, 2)], [(0, 2), (2, 4)]),
        ([(1, 3), (0, 2)], [(0, 2), (1, 3), (2, 4)]),
    ],
)
def test_groups_are_the_largest_runs_without_a_told_pair(
    told: list[tuple[int, int]], groups: list[tuple[int, int]]
) -> None:
    assert [(run.start, run.stop) for run in leaderboard_audit._largest_groups(4, set(told))] == groups
