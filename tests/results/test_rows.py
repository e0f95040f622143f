"""Result rows: one an item that has a record, with every protocol's verdict."""

from __future__ import annotations

import json

import pytest

from jglue_app.results import surrogates
from jglue_app.results.rows import result_rows
from jglue_app.scoring.judged import judge_run
from jglue_app.scoring.protocols import PROTOCOLS
from tests.results.test_table_files import made


def test_the_rows_of_a_subset_have_the_chosen_protocols_judgement_and_all_verdicts() -> None:
    data = made("both")
    judged = {name: judge_run(data, name) for name in PROTOCOLS}
    first, second, third = result_rows(judged, "jnli", "stability-jp")
    assert [row.key for row in (first, second, third)] == [("jnli", id_) for id_ in "123"]
    # 中立 with more behind it is no label, and the ranking puts entailment first.
    assert (first.raw, first.finish, first.prompt_tokens, first.new_tokens) == (
        "中立\r=cmd|' /C calc'!A0",
        "stop",
        12,
        3,
    )
    assert (first.official.choice, first.choice_logprobs) == ("entailment", (-1.0, -2.0, -3.0))
    assert first.judgement.protocol == "stability-jp"
    assert first.official.protocol == "official"
    assert (third.raw, third.error, third.seconds, third.choice_logprobs) == (None, "NaN。", None, None)
    assert third.verdicts["official"] is None
    (span, overflown) = result_rows(judged, "jsquad")
    assert span.verdicts["official"] == 1.0
    assert (overflown.raw, overflown.finish) == (None, "overflow")
    assert result_rows(judged, "jcola") == []


def test_where_a_protocol_does_not_score_a_subset_the_official_judgement_is_taken() -> None:
    data = made("generate")
    judged = {"official": judge_run(data, "official"), "other": {}}
    (row,) = result_rows(judged, "marc_ja", "other")
    assert row.judgement is row.official
    assert list(row.verdicts) == ["official"]


@pytest.mark.parametrize("text", ["a\ud83d", '\udcff矛盾\n"\\'])
def test_a_lone_surrogate_is_spelled_for_its_reader(text: str) -> None:
    assert surrogates.escape(text) == text.encode("utf-8", "backslashreplace").decode("utf-8")
    assert surrogates.replace(text) == "".join("\ufffd" if "\ud800" <= c <= "\udfff" else c for c in text)
    assert json.loads(f'"{surrogates.escape_as_json(text)}"') == text
    for spelled in (surrogates.escape(text), surrogates.replace(text), surrogates.escape_as_json(text)):
        spelled.encode("utf-8")


def test_a_text_without_lone_surrogates_stays_as_it_is() -> None:
    for text in ("", '矛盾👍 "\n', "\\ud83d"):
        assert surrogates.escape(text) == surrogates.replace(text) == surrogates.escape_as_json(text) == text
