"""How a report stores values of thousands of items, and how templates become its script."""

from __future__ import annotations

import json
import re

import pytest
from jinja2 import DictLoader, Environment

from jglue_app.ui.static_report.shared_values import SharedValues, pack
from jglue_app.ui.static_report.template_script import UntranslatedError, labels_used, translate
from jglue_app.ui.views import STATIC
from tests.ui.reading_reports import unpacked, value


def test_shared_values_come_back_as_they_were() -> None:
    payloads = [
        ({"a": [1, True, 1.5, None, "同じ"], "b": {"c": "日"}}, {"a": [1, True, 1.5, None, "同じ"], "b": {"c": "en"}}),
        ({"a": [], "b": {}}, {"a": ["longer"], "b": {"other": "keys"}}),
        (["\ud800", "\u2028", False, 0, ""], ["\ud800", "\u2028", False, 0, ""]),
        ("ja", {"not": "alike"}),
    ]
    values = SharedValues()
    numbers = [values.add(*payload) for payload in payloads]
    values.add_block(numbers[:2])
    values.add_block(numbers[1:])
    first, *blocks = map(unpacked, values.packed(numbers[3]))
    for block, expected in zip(blocks, (payloads[:2], payloads[1:]), strict=True):
        for i, lang in enumerate(("ja", "en")):
            found = [value(first, block["nodes"], root, lang) for root in block["roots"]]
            assert [json.dumps(v) for v in found] == [json.dumps(payload[i]) for payload in expected]
    assert value(first, [], first["head"], "en") == {"not": "alike"}


def test_what_occurs_twice_is_stored_once() -> None:
    values = SharedValues()
    rows = [{"examples": ["長い例題" * 9] * 3, "i": str(i)} for i in range(50)]
    values.add_block([values.add(row, row) for row in rows[:25]])
    values.add_block([values.add(row, row) for row in rows[25:]])
    stored_texts = [text for packed in values.packed(values.add("", "")) for text in unpacked(packed)["nodes"]]
    assert stored_texts.count("長い例題" * 9) == 1
    assert len(stored_texts) == 1 + 1 + 1 + 50 + 50  # the head, the example, its list, numbers, rows


def test_a_block_with_half_a_character_is_ascii() -> None:
    assert unpacked(pack({"x": "\udfff含意"})) == {"x": "\udfff含意"}


@pytest.mark.parametrize(
    "source",
    [
        "{% block x %}{% endblock %}",
        "{{ x | urlize }}",
        "{{ x.items }}",
        "{{ x.title() }}",
        "{% for a in b if a %}{% endfor %}",
    ],
)
def test_what_cannot_be_translated_is_named_when_the_script_is_made(source: str) -> None:
    environment = Environment(loader=DictLoader({"odd.html": source}), autoescape=True)
    with pytest.raises(UntranslatedError, match=r"odd\.html:1: \w+"):
        translate(environment, "odd.html")


def test_labels_of_a_template_are_those_of_what_it_imports_too() -> None:
    sources = {
        "a.html": "{% from 'b.html' import m %}{{ w.one }}{{ m(w) }}",
        "b.html": "{% macro m(w) %}{{ w.items }}{% endmacro %}",
    }
    assert labels_used(Environment(loader=DictLoader(sources)), "a.html") == ["items", "one"]


def test_every_variable_of_the_style_is_defined_without_gradio() -> None:
    page_style, own = ((STATIC / name).read_text("utf-8") for name in ("style.css", "report.css"))
    # What is asked for, in forms, is no part of a report.
    sections = [part for part in page_style.split("/* --- ") if not part.startswith("forms ")]
    assert len(sections) == page_style.count("/* --- ")
    used = set(re.findall(r"var\((--[\w-]+)", "".join(sections) + own))
    defined = set(re.findall(r"(--[\w-]+)\s*:", page_style + own))
    assert used - defined == set()
