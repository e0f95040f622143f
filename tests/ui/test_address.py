"""Addresses of what a page shows: what they restore, and what is refused."""

from __future__ import annotations

from urllib.parse import parse_qsl

import pytest

from jglue_app.errors import InputError, UnknownNameError
from jglue_app.messages import say
from jglue_app.ui.address import MAX_RUNS, Address, from_query, to_query

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "javascript:alert(1)",
    "//example.com/",
    "https://example.com",
    "../../etc/passwd",
    "\0\r\nSet-Cookie: a=b",
    "{{7*7}}${7*7}",
    "\u202egnp.exe",
    "\ud800",
    "あ" * 200,
)


@pytest.mark.parametrize(
    ("address", "query"),
    [
        (Address(), ""),
        (Address(tab="results", protocol="swallow-202411"), "tab=results&protocol=swallow-202411"),
        (
            Address(run_a="shipped:base-0-shot", run_b="0123456789abcdef", item=("jnli", "5")),
            "run_a=shipped:base-0-shot&run_b=0123456789abcdef&item=jnli/5",
        ),
        (
            Address(subset="jsts", filter="only_a", search="犬 & 猫"),
            "subset=jsts&filter=only_a&search=%E7%8A%AC+%26+%E7%8C%AB",
        ),
        (
            Address(tab="results", against="nejumi-4", results_data="test", results_subsets=("jnli", "jsts")),
            "tab=results&against=nejumi-4&results_data=test&results_subsets=jnli,jsts",
        ),
        (Address(tab="results", runs=("a1", "b2", "c3"), baseline="b2"), "tab=results&runs=a1,b2,c3&baseline=b2"),
    ],
)
def test_an_address_as_a_query_and_back(address: Address, query: str) -> None:
    assert to_query(address) == query
    assert from_query(dict(parse_qsl(query))) == address


def test_an_item_id_may_have_any_characters() -> None:
    address = Address(item=("jsquad", "a/b c&d=é?#%"))
    assert from_query(dict(parse_qsl(to_query(address)))) == address


def test_other_parameters_say_nothing() -> None:
    params = {"lang": "en", "__theme": "dark", "fbclid": "x", "a": "some/model", "tab": "", "visitor": "x"}
    assert from_query(params) == Address()


@pytest.mark.parametrize(
    ("params", "sentence"),
    [
        ({"tab": "comparison"}, "Unknown tab 'comparison'. Did you mean 'compare'? Known: compare, lab, full"),
        ({"protocol": "offical"}, "Unknown protocol 'offical'. Did you mean 'official'?"),
        ({"subset": "jnil"}, "Unknown subset 'jnil'. Did you mean 'jnli'?"),
        ({"item": "jnli"}, "“jnli” in the address is no item"),
        ({"item": "jnli/"}, "“jnli/” in the address is no item"),
        ({"item": "jlni/5"}, "Unknown subset 'jlni'. Did you mean 'jnli'?"),
        ({"run_b": "x"}, "The address names run_b and no run_a."),
        ({"search": "x" * 201}, "“search” in the address has 201 characters; at most 200 are read."),
        ({"runs": ",".join(map(str, range(MAX_RUNS + 1)))}, "The address names 51 runs; at most 50 are put side by"),
        ({"runs": "x" * 10_001}, "“runs” in the address has 10,001 characters; at most 10,000 are read."),
    ],
)
def test_what_cannot_be_restored_is_refused_in_a_sentence(params: dict[str, str], sentence: str) -> None:
    with pytest.raises(InputError) as raised:
        from_query(params)
    assert str(raised.value).startswith(sentence)
    assert say(raised.value.message, "ja") != str(raised.value)


def test_the_longest_values_that_are_read() -> None:
    address = Address(search="x" * 200, runs=tuple(map(str, range(MAX_RUNS))))
    assert from_query(dict(parse_qsl(to_query(address)))) == address


@pytest.mark.parametrize("value", HOSTILE)
@pytest.mark.parametrize("name", ["tab", "protocol", "subset", "item"])
def test_a_hostile_name_is_unknown(name: str, value: str) -> None:
    with pytest.raises((UnknownNameError, InputError)):
        from_query({name: value})


@pytest.mark.parametrize("value", HOSTILE)
@pytest.mark.parametrize("name", ["run_a", "filter", "search", "baseline"])
def test_a_hostile_text_is_one_value_of_one_parameter(name: str, value: str) -> None:
    query = to_query(from_query({name: value}))
    readable = value.encode("utf-8", "replace").decode()
    assert parse_qsl(query, errors="replace") == [(name, readable)]
    assert not set(query) & set("<>\"'\r\n\0 ")


def test_a_list_begins_as_the_address_says() -> None:
    address = from_query({"filter": "disagree", "subset": "jnli", "search": "犬", "item": "jnli/5"})
    assert address.item_list_view() == {
        "filter": "disagree",
        "task": "jnli",
        "search": "犬",
        "open": {"task": "jnli", "id": "5"},
    }
    assert Address().item_list_view() == {"filter": "", "task": "", "search": "", "open": None}
