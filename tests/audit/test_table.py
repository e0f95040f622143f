"""Leaderboards as people have them."""

from __future__ import annotations

import pytest

from jglue_app.audit.table import Table, read, recognise
from jglue_app.audit.table_parser import MAX_ROWS, decode
from jglue_app.errors import DataError, InputError, UnknownNameError


def shape(table: Table) -> list[tuple[str, str, tuple[str, ...]]]:
    return [(c.of.name, c.metric, c.cells) for c in table.columns]


@pytest.mark.parametrize(
    ("head", "task", "metric"),
    [
        *(("JNLI", "jnli", ""), ("jnli", "jnli", ""), ("ＪＮＬＩ", "jnli", ""), ("jnli_acc", "jnli", "accuracy")),
        *(("JNLI (acc)", "jnli", "accuracy"), ("JNLI 正解率", "jnli", "accuracy"), ("JNLI v1.1", "jnli", "")),
        *(("jnli_dev_balanced_accuracy", "jnli", "balanced_accuracy"), ("jnli n", "jnli", "n")),
        *(("JComQA", "jcommonsenseqa", ""), ("JCQA", "jcommonsenseqa", ""), ("JCom.", "jcommonsenseqa", "")),
        ("jcommonsenseqa-1.1-0.3 acc_norm", "jcommonsenseqa", "acc_norm"),
        ("jcommonsenseqa (3-shot)", "jcommonsenseqa", ""),
        ("JCommonsenseQA v1.1 dev EM", "jcommonsenseqa", "accuracy"),
        *(("MARC-ja", "marc_ja", ""), ("marc_ja", "marc_ja", ""), ("MARC-ja acc", "marc_ja", "accuracy")),
        *(("JSQuAD EM", "jsquad", "exact_match"), ("jsquad_exact_match", "jsquad", "exact_match")),
        *(("JSQuAD F1", "jsquad", "f1"), ("JSQuAD char F1", "jsquad", "char_f1"), ("JSQuAD EM/F1", "jsquad", "")),
        *(("jsts-pearson", "jsts", "pearson"), ("JSTS (Spearman)", "jsts", "spearman")),
        *(("JSTS Pearson/Spearman", "jsts", ""), ("JCoLA mcc", "jcola", "mcc")),
    ],
)
def test_a_column_is_known_in_many_spellings(head: str, task: str, metric: str) -> None:
    found = recognise(head)
    assert found is not None
    assert (found[0].name, found[1]) == (task, metric)


@pytest.mark.parametrize(
    "head",
    ["SQuAD", "XNLI", "JMMLU", "average", "avg", "model", "jnli_stderr", "jnli acc stderr", "n", "JNLI rank", ""],
)
def test_other_columns_are_not_taken_for_scores(head: str) -> None:
    assert recognise(head) is None


def test_a_csv_with_a_row_for_each_model() -> None:
    table = read("model,params,JNLI,JSQuAD EM,n_jnli\na,7,0.30,-,2434\nb,13,0.55,0.4,100\n")
    assert table.models == ("a", "b")
    assert shape(table) == [("jnli", "accuracy", ("0.30", "0.55")), ("jsquad", "exact_match", ("-", "0.4"))]
    assert table.columns[0].n == (2434, 100)
    assert table.columns[1].n == (None, None)
    assert table.ignored == ("params",)


@pytest.mark.parametrize(
    "text",
    [
        "model\tJNLI\na\t0.30\nb\t0.55",
        "model;JNLI\na;0.30\nb;0.55",
        "| model | JNLI |\n|---|:---:|\n| a | 0.30 |\n| b | **0.55** |",
        '[{"model": "a", "JNLI": 0.30}, {"model": "b", "JNLI": "0.55"}]',
        '{"a": {"JNLI": 0.30}, "b": {"JNLI": 0.55}}',
        "\ufeffmodel,JNLI\r\n\r\na,0.30\r\nb,0.55\r\n",
        "model,task,score\na,jnli,0.30\nb,jnli,0.55",
    ],
)
def test_other_shapes_of_the_same_table(text: str) -> None:
    table = read(text)
    assert table.models == ("a", "b")
    assert [(c.of.name, tuple(cell.strip("*") for cell in c.cells)) for c in table.columns] == [
        ("jnli", ("0.30", "0.55"))
    ]


def test_the_digits_of_json_numbers_stay() -> None:
    assert read('[{"model": "a", "jnli": {"acc": 0.3016000}}]').columns[0].cells == ("0.3016000",)


def test_two_scores_in_a_cell_are_two_columns() -> None:
    text = (
        "|Model|JSTS|JSQuAD|\n|---|---|---|\n||Pearson/Spearman|EM/F1|\n"
        "|a|**0.909**/0.868|-/-&dagger;|\n|||\n|b|0.9/0.8|0.5/0.6|"
    )
    table = read(text)
    assert table.models == ("a", "b")
    assert [(c.metric, c.cells) for c in table.columns] == [
        ("pearson", ("0.909", "0.9")),
        ("spearman", ("0.868", "0.8")),
        ("exact_match", ("-", "0.5")),
        ("f1", ("-&dagger;", "0.6")),
    ]


def test_a_row_for_each_model_and_subset() -> None:
    table = read("model,task,metric,score,n\na,jnli,acc,0.3016,2434\na,jsts,pearson,0.5,1457\nb,jnli,acc,0.55,2434\n")
    assert shape(table) == [("jnli", "accuracy", ("0.3016", "0.55")), ("jsts", "pearson", ("0.5", ""))]
    assert table.columns[0].n == (2434, 2434)
    with pytest.raises(DataError, match="two scores for jnli"):
        read("model,task,score\na,jnli,0.3\na,jnli,0.4\n")


def test_columns_can_be_named() -> None:
    table = read("name,推論,x\na,0.3,0.5\n", {"推論": "jnli:acc:100"}, "name")
    assert shape(table) == [("jnli", "accuracy", ("0.3",))]
    assert table.columns[0].n == (100,)
    assert table.ignored == ("x",)
    with pytest.raises(UnknownNameError, match="Unknown column 'zoo'"):
        read("name,x\na,1\n", {"zoo": "jnli"})
    with pytest.raises(UnknownNameError, match="Unknown column 'zoo'"):
        read("name,JNLI\na,1\n", None, "zoo")
    with pytest.raises(InputError, match="no number of items"):
        read("name,x\na,1\n", {"x": "jnli:acc:0"})


def test_a_metric_that_is_not_said_is_the_one_that_claims_least() -> None:
    # JSQuAD is exact match in one table and F1 in the next, so its digits are not taken for a share.
    table = read("model,JSQuAD,JSTS\na,0.5,0.6\n")
    assert [(c.metric, c.metric_given) for c in table.columns] == [("f1", False), ("spearman", False)]


def test_the_number_of_a_model_that_stands_twice_makes_no_other_model_of_it() -> None:
    table = read("model,JNLI\na,0.51\na,0.52\na (2),0.53\na,0.54\na (2),0.55\n")
    assert table.models == ("a", "a (3)", "a (2)", "a (4)", "a (2) (2)")
    assert table.repeated == ("a", "a (2)")


def test_models_that_stand_twice_are_numbered_and_those_without_a_name_too() -> None:
    table = read("model,JNLI\na,0.1\na,0.2\n,0.3\n")
    assert table.models == ("a", "a (2)", "row 3")
    assert table.repeated == ("a",)
    assert read("JNLI\n0.3\n0.4\n").models == ("row 1", "row 2")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "The table is empty"),
        (" \n \n", "The table is empty"),
        ("model,JNLI\n", "has no rows"),
        ("model,foo\na,1\n", "None of the columns is a score"),
        ("model,JNLI,JNLI\na,1,2\n", "appears twice"),
        ("model,JNLI\na,1,2\n", "Row 2 of the table has more cells"),
        ('model,JNLI\n"a,1\n', "not valid CSV"),
        ('[{"model": "a"', "not valid JSON"),
        ("[1, 2]", "list of objects"),
        # Of two values under one name the last one alone would be compared.
        ('{"a": {"JNLI": 0.5}, "b": {"JNLI": 0.6}, "a": {"JNLI": 0.9}}', "'a' stands twice"),
        ('[{"model": "a", "JNLI": 0.5, "JNLI": 0.9}]', "'JNLI' stands twice"),
        ('[{"model": "a", "jnli": {"acc": 0.5}, "jnli acc": 0.9}]', "'jnli acc' stands twice"),
        (
            "model,task,metric,score,n\na,JSTS,pearson,0.5,100\na,JSTS,spearman,0.6,1457\n",
            "two numbers of items for JSTS",
        ),
        ("model,JNLI\n" + "a,0.1\n" * (MAX_ROWS + 1), "at most 500"),
        ("model,JNLI\n" + "a,0.1\n" * 100_000, "more than 500 rows"),
        ("model,JNLI\n" + "a,0.1\n" * 1_000_000, "no leaderboard does"),
        (
            ",".join(["model", *(f"JNLI v{i}" for i in range(30))]) + "\n" + ("a" + ",0.1" * 30 + "\n") * 400,
            "too many rows and columns",
        ),
        (",".join(f"c{i}" for i in range(300)) + "\n" + ",".join("1" * 300) + "\n", "more than 200 columns"),
    ],
)
def test_what_is_no_leaderboard_is_refused_in_one_sentence(text: str, why: str) -> None:
    with pytest.raises(DataError, match=why) as caught:
        read(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "cp932"])
def test_usual_encodings_are_read(encoding: str) -> None:
    assert read(decode("モデル,JNLI\n甲,0.3\n".encode(encoding))).models == ("甲",)


def test_other_bytes_are_refused() -> None:
    with pytest.raises(DataError, match="neither in UTF-8 nor in Shift_JIS"):
        decode(bytes(range(128, 256)))
    with pytest.raises(DataError, match="no leaderboard does"):
        decode(b"a" * 6_000_000)
