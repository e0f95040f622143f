"""Links that people keep, and programs that call the page, as version 0.1.0 knew them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.compatibility.comparing import differences
from tests.compatibility.conftest import RUNS, read_stored
from tests.compatibility.interface import Page
from tests.compatibility.make import arguments_with_ids
from tests.compatibility.requests import ENDPOINTS

LINKS = read_stored("links.json")
PARAMETERS = read_stored("endpoints.json")


@pytest.mark.parametrize("link", LINKS)
def test_a_link_asks_for_the_same_and_is_printed_the_same(link: str, page: Page) -> None:
    old, new = LINKS[link], page.open_link(link)
    assert list(differences(old, new)) == []
    assert page.open_link(old["link"]) == new


def test_no_endpoint_is_lost(page: Page) -> None:
    assert set(PARAMETERS) - set(page.endpoints()) == set()


@pytest.mark.parametrize("endpoint", PARAMETERS)
def test_an_endpoint_keeps_its_parameters_in_their_places(endpoint: str, page: Page) -> None:
    # Over HTTP they are given by their places, so that new ones come last.
    old = PARAMETERS[endpoint]
    assert page.endpoints()[endpoint][: len(old)] == old


@pytest.mark.parametrize("number", range(len(ENDPOINTS)))
def test_an_endpoint_answers_what_it_answered(number: int, page: Page) -> None:
    name, given = ENDPOINTS[number]
    old, new = read_stored("endpoint-answers.json.gz")[number], page.predict(name, arguments_with_ids(given, RUNS))
    if name == "runs":
        old, new = _stored_runs(old), _stored_runs(new)
    assert list(differences(old, new)) == []


def _stored_runs(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Without those that come with the application."""
    return [row for row in rows if row["run"] in RUNS.values()]
