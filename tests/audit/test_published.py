"""The published scores that come with the application."""

from __future__ import annotations

from pathlib import Path

import pytest

from jglue_app.audit import grim
from jglue_app.audit.benchmarks import BENCHMARKS, SHARES, SYSTEMS
from jglue_app.audit.published import FIELDS, FOLDER, Published, published, read, sources
from jglue_app.errors import DataError
from jglue_app.settings import ASSETS

# Right answers by hand from published accuracy and standard error (n = p(1-p)/se² + 1, right = p·n).
RIGHT = {
    ("abeja-gpt-neox-japanese-2.7b", "jcommonsenseqa"): (1119, 224),
    ("abeja-gpt-neox-japanese-2.7b", "jnli"): (2434, 967),
    ("abeja-gpt-neox-japanese-2.7b", "marc_ja"): (5734, 4300),
    ("llama/llama-30b", "jnli"): (2434, 734),
    ("llama2/llama2-13b-chat", "jcommonsenseqa"): (1119, 812),
    ("llama2/llama2-13b-chat", "marc_ja"): (5654, 3388),
    ("rinna/rinna-japanese-gpt-neox-small", "jnli"): (2434, 733),
    ("stabilityai/stabilityai-japanese-stablelm-instruct-alpha-7b", "jnli"): (2434, 1267),
}


def of(source: str) -> list[Published]:
    return [row for row in published() if row.source == source]


def test_every_row_is_in_range_and_has_a_source_that_is_used() -> None:
    rows = published()
    assert len(rows) == 808
    assert {row.source for row in rows} == set(sources())
    for row in rows:
        low = -1 if row.metric in ("pearson", "spearman") else 0
        assert low <= row.value <= 1
        assert row.task in BENCHMARKS
        assert row.system in {*SYSTEMS, "jmteb", "langcheck"}
        assert row.labels in ("", "v1.1", "v1.3")


def test_every_source_has_a_title_an_address_and_a_licence() -> None:
    for source in sources().values():
        assert source.title
        assert source.url.startswith("https://")
        assert source.licence in ("facts", "CC BY 4.0")


def test_who_takes_the_swallow_leaderboard_names_it() -> None:
    assert sources()["swallow-leaderboard"].licence == "CC BY 4.0"
    notice = " ".join((ASSETS.parent / "NOTICE").read_text("utf-8").split())
    for words in (
        "Swallow LLM Leaderboard",
        "creativecommons.org/licenses/by/4.0",
        sources()["swallow-leaderboard"].url,
    ):
        assert words in notice


def test_right_answers_follow_from_the_digits_alone() -> None:
    found = {}
    for row in of("stability-results"):
        if row.metric == "accuracy" and (row.model, row.task) in RIGHT:
            assert row.n is not None
            found[row.model, row.task] = (row.n, *grim.counts(row.score, row.n))
    assert found == RIGHT


def test_every_share_of_the_result_files_is_a_share_of_its_items() -> None:
    shares = [row for row in of("stability-results") if row.metric in SHARES]
    assert len(shares) > 300
    assert [row for row in shares if len(grim.counts(row.score, row.n or 0)) != 1] == []


def test_one_row_of_the_stability_readme_cuts_its_digits_off() -> None:
    rows = [row for row in of("stability-readme") if row.metric in SHARES and row.n]
    cut = [row for row in rows if not grim.counts(row.score, row.n or 0)]
    assert {row.model for row in cut} == {"rinna-japanese-gpt-neox-small"}
    # In the result files: 0.34227, 0.30115 and 5.808195 %, that is 383, 733 and 258 right answers.
    assert [list(grim.truncated_counts(row.score, row.n or 0)) for row in cut] == [[383], [733], [258]]


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ("a,s,,jnli,accuracy,1.5,,,,dev,jglue-readme,,", None),
        ("a,s,,jnli,accuracy,150,,,,dev,jglue-readme,,", "outside the range"),
        ("a,s,,jnli,bleu,0.5,,,,dev,jglue-readme,,", "no such task or metric"),
        ("a,s,,xnli,accuracy,0.5,,,,dev,jglue-readme,,", "no such task or metric"),
        ("a,s,,jnli,accuracy,0.5,,,,dev,nobody,,", "no such source"),
        ("a,s,,jnli,accuracy,0.5,0,,,dev,jglue-readme,,", "no number of items"),
        ("a,s,,jnli,accuracy,0.5,x,,,dev,jglue-readme,,", "invalid literal"),
        (",s,,jnli,accuracy,0.5,,,,dev,jglue-readme,,", "a model, a system and a split"),
        ("a,s,,jnli,accuracy,0.5,,,,train,jglue-readme,,", "a model, a system and a split"),
    ],
)
def test_a_row_that_cannot_be_is_refused_with_its_line(row: str, why: str | None, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(",".join(FIELDS) + "\n" + row + "\n", "utf-8")
    if why is None:
        assert read(path, sources())[0].value == 0.015
        return
    with pytest.raises(DataError, match=f"rows.csv, line 2: .*{why}"):
        read(path, sources())


def test_other_columns_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("model,score\na,1\n", "utf-8")
    with pytest.raises(DataError, match="the columns are not"):
        read(path, sources())
    assert FOLDER.is_dir()
