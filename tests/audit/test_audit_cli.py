"""`audit` as a script sees it, and as the Python API has it."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from jglue_app import audit_score, audit_table
from jglue_app.cli import main


def call(
    arguments: Sequence[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["jglue_app", "audit", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    told = capsys.readouterr()
    return int(ended.value.code or 0), told.out, told.err


class Here:
    """The command in this process."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.monkeypatch, self.capsys = monkeypatch, capsys

    def __call__(self, *arguments: str) -> tuple[int, str, str]:
        return call(arguments, self.monkeypatch, self.capsys)

    def json(self, *arguments: str) -> Any:
        code, out, _ = self(*arguments, "--json")
        assert code == 0
        return json.loads(out)


@pytest.fixture
def audit(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Here:
    return Here(monkeypatch, capsys)


def test_a_score_is_explained_in_sentences_with_reasons(audit: Here) -> None:
    code, out, err = audit("--task", "jnli", "--score", "0.3015", "--n", "2434", "--system", "stability-jp")
    assert (code, err) == (0, "")
    first = out.splitlines()[:3]
    assert first[0] == "Doubts:"
    assert first[1].startswith("- 0.3015 is 734 of 2,434 (0.301561) with the digits cut off: what always answering")
    assert first[2].startswith("  No number of right answers of 2,434 rounds to 0.3015")


def test_json_has_findings_interval_and_published_scores_with_their_sources(audit: Here) -> None:
    found = audit.json("--task", "JComQA", "--score", "19.3", "--metric", "acc")
    assert (found["task"], found["metric"], found["value"], found["n"]) == ("jcommonsenseqa", "accuracy", 0.193, 1119)
    assert found["findings"][0]["kind"] == "constant"
    assert found["findings"][0]["facts"]["k"] == 216
    assert found["interval"][0] < 0.193 < found["interval"][1]
    assert {"model", "system", "value", "p", "told_apart", "source", "url"} <= set(found["published"][0])


def test_a_negative_correlation_can_be_given(audit: Here) -> None:
    assert audit.json("--task", "jsts", "--score", "-0.05", "--metric", "spearman")["value"] == -0.05


def test_the_scale_can_be_said(audit: Here) -> None:
    assert audit.json("--task", "jnli", "--score", "0.9", "--percent")["value"] == pytest.approx(0.009)
    assert audit.json("--task", "jnli", "--score", "0.9", "--fraction")["value"] == 0.9


def test_a_leaderboard_is_explained_and_ranked(audit: Here, tmp_path: Path) -> None:
    path = tmp_path / "board.csv"
    path.write_text("model,JNLI\na,30.16\nb,47.1\nc,48.2\n", "utf-8")
    code, out, _ = audit(str(path))
    assert code == 0
    assert "- JNLI: a 30.16 is what always answering contradiction scores" in out
    lines = [line.split() for line in out.splitlines()[-3:]]
    assert [(line[0], line[1], line[2]) for line in lines] == [
        ("1", "c", "48.2"),
        ("2", "b", "47.1"),
        ("3", "a", "30.16"),
    ]
    assert (lines[0][-1], lines[1][-1]) == ("b", "c")
    models = audit.json(str(path), "--column", "jnli:acc:2434=JNLI")["columns"][0]["models"]
    assert [(m["model"], m["not_told_from"]) for m in models] == [("c", ["b"]), ("b", ["c"]), ("a", [])]


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ([], "Give --task and --score"),
        (["--task", "jnli"], "Give --task and --score"),
        (["--task", "jnli", "--score", "0.3", "--n", "0"], "n is the number of items"),
        (["--task", "jnli", "--score", "abc"], "is no number"),
        (["--task", "jnli", "--score", "nan"], "not a finite number"),
        (["--task", "jnli", "--score", "-0.3"], "outside the range"),
        (["--task", "jnli", "--score", "101"], "outside the range"),
        (["--task", "xnli", "--score", "0.3"], "Unknown task"),
        (["--task", "jnli", "--score", "0.3", "--metric", "pearson"], "Unknown metric"),
        (["--task", "jnli", "--score", "0.3", "--system", "helm"], "Unknown system"),
        (["--task", "jnli", "--score", "0.3", "--percent", "--fraction"], "Give one of --percent and --fraction"),
        (["--task", "jnli", "--score", "0.3", "--column", "jnli=x"], "belong to a file"),
        (["nowhere.csv"], "nowhere.csv: cannot be read"),
        (["nowhere.csv", "--score", "0.3"], "A file has its own scores"),
        (["nowhere.csv", "--column", "jnli"], "--column takes"),
        (["nowhere.csv", "--column", "jnli=x", "--column", "jsts=x"], "--column names 'x' twice"),
    ],
)
def test_a_bad_request_is_one_sentence_and_exit_code_2(arguments: list[str], why: str, audit: Here) -> None:
    code, out, err = audit(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert why in err
    assert err.count("\n") == 1


def test_a_million_lines_are_refused_at_once(audit: Here, tmp_path: Path) -> None:
    path = tmp_path / "huge.csv"
    path.write_text("model,JNLI\n" + "some model,0.301\n" * 1_000_000, "utf-8")
    code, _, err = audit(str(path))
    assert (code, err) == (
        2,
        "error: The table has more than 5,000,000 bytes: no leaderboard does. Give its scores alone.\n",
    )


def test_python_has_the_same(tmp_path: Path) -> None:
    assert audit_score("jnli", 0.3016, n=2434).findings[0].kind == "constant"
    assert audit_table("model,JNLI\na,30.16\n").findings[0].kind == "board_constant"
