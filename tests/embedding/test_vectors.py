"""Cosines worked out by hand, and the choice of a prefix."""

from __future__ import annotations

from typing import Any

import pytest

from jglue_app.backends.embedding.prefixes import choose_prefix
from jglue_app.backends.embedding.vectors import Embedding, as_vector, cosine
from jglue_app.runs.embedding import cosine_of
from jglue_app.types import Output, RunError


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ([3, 4], [4, 3], 24 / 25),
        ([1, 0, 0], [0, 1, 0], 0.0),
        ([1, 2, 2], [-2, -4, -4], -1.0),
        ([1, 1], [1, 0], 0.5**0.5),
        ([3e200, 4e200], [4e-200, 3e-200], 24 / 25),
        ([3e-310, 4e-310], [4, 3], 24 / 25),
    ],
)
def test_the_cosine_of_two_vectors(a: list[float], b: list[float], expected: float) -> None:
    assert cosine(as_vector(a), as_vector(b)) == pytest.approx(expected, abs=1e-12)


def test_no_rounding_takes_a_cosine_out_of_its_range() -> None:
    for k in range(1, 200):
        vector = as_vector([0.1 * k, 0.7, k / 3])
        assert cosine(vector, vector) == pytest.approx(1, abs=1e-15)
        value = cosine(vector, vector)
        assert isinstance(value, float)
        assert value <= 1


@pytest.mark.parametrize(
    ("vector", "kind"),
    [
        ([0.0, 0.0], "zero_vector"),
        ([float("nan"), 1.0], "non_finite"),
        ([float("inf"), 1.0], "non_finite"),
    ],
)
def test_a_vector_without_a_cosine_is_an_error_of_the_item(vector: list[float], kind: str) -> None:
    for pair in ((vector, [1.0, 0.0]), ([1.0, 0.0], vector)):
        result = cosine(*map(as_vector, pair))
        assert isinstance(result, RunError)
        assert result.kind == kind


def test_an_output_holds_every_digit_of_the_cosine() -> None:
    result = cosine_of([Embedding(as_vector([3, 4]), 5), Embedding(as_vector([4, 3.5]), 7)])
    assert isinstance(result, Output)
    assert result.finish == "scored"
    assert result.prompt_tokens == 12
    assert float(result.text or "") == pytest.approx(26 / (5 * 28.25**0.5), abs=1e-15)


def test_a_text_that_is_too_long_is_an_overflow_and_an_error_stays_one() -> None:
    long, usual = Embedding(None, 600), Embedding(as_vector([1, 0]), 5)
    result = cosine_of([usual, long])
    assert isinstance(result, Output)
    assert (result.text, result.finish, result.prompt_tokens) == ("", "overflow", 605)
    error = RunError("no_tokens", "none")
    assert cosine_of([long, error]) is error


@pytest.mark.parametrize(
    ("model", "config", "expected"),
    [
        ("owner/name", {}, ""),
        ("owner/name", {"prompts": {"query": "q: ", "STS": "sts: "}}, "sts: "),
        ("owner/name", {"prompts": {"Sentence similarity": "sim: ", "JSTS": "jsts: "}}, "jsts: "),
        ("owner/name", {"prompts": {"text-matching": "match: "}, "default_prompt_name": None}, "match: "),
        ("owner/name", {"prompts": {"query": "q: ", "document": ""}, "default_prompt_name": "query"}, "q: "),
        ("owner/name", {"prompts": {"query": "q: "}, "default_prompt_name": "absent"}, ""),
        ("owner/name", {"prompts": {"query": "q: ", "PairClassification": "p: "}}, ""),
        ("intfloat/multilingual-e5-small", {}, "query: "),
        ("intfloat/multilingual-e5-large-instruct", {}, ""),
        ("pkshatech/GLuCoSE-base-ja-v2", {}, "query: "),
        ("intfloat/multilingual-e5-base", {"prompts": {"STS": ""}}, ""),
        ("owner/name", {"prompts": ["no table"], "default_prompt_name": 3}, ""),
    ],
)
def test_the_prefix_is_what_the_files_store_for_similarity_else_what_the_card_wants(
    model: str, config: dict[str, Any], expected: str
) -> None:
    assert choose_prefix(model, config).text == expected


def test_prefixes_of_which_none_is_for_similarity_are_named() -> None:
    note = choose_prefix("owner/name", {"prompts": {"query": "q: ", "passage": "p: "}}).note
    assert note is not None
    assert "query, passage" in note
    assert "--prefix" in note
