"""TOML that others have written is read, or refused in bounded time."""

from __future__ import annotations

import time

import pytest

from jglue_app.data.toml_text import load_toml


def test_a_table_is_read() -> None:
    text = 'a.b."c.d" = 1\nurl = "x.x.x"\ntext = """\n' + "one. two. three. " * 40 + '\n"""\n'
    table = load_toml(text)
    assert table["a"] == {"b": {"c.d": 1}}
    assert table["url"] == "x.x.x"
    assert table["text"].startswith("one. two.")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a." * 50_000 + "a = 1", "a key of more than 40 parts"),
        ("[" + '"a" . ' * 20_000 + "a]", "a key of more than 40 parts"),
        ("a = " + "[" * 20_000, "brackets in thousands of brackets"),
        ("a = " + "{b = " * 20_000, "brackets in thousands of brackets"),
        ("a" * 200_000, "Expected '='"),
        ('a = """' + '\\"""' * 50_000, "Unterminated string"),
        ("a = " + "'" * 200_000, "Expected newline"),
        ("'a'." * 50_000 + "b = 1", "a key of more than 40 parts"),
        ("a = ", "Invalid value"),
        ("a = 1\na = 2", "Cannot overwrite a value"),
    ],
)
def test_what_cannot_be_read_is_refused_soon(text: str, reason: str) -> None:
    start = time.thread_time()
    with pytest.raises(ValueError, match=reason):
        load_toml(text)
    assert time.thread_time() - start < 0.5


def test_forty_parts_are_the_most() -> None:
    assert load_toml("a." * 39 + "a = 1")["a"]
    with pytest.raises(ValueError, match="parts"):
        load_toml("a." * 40 + "a = 1")
