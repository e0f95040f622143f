"""Files in the calls of strangers, which a public server must not even look at."""

from __future__ import annotations

from typing import Any

import pytest

from jglue_app.ui.call_check import Call, brings_file

PLAIN = Call("repeat", 2, 2, is_long=False)
WITH_FILE = Call("import_run", 2, 2, is_long=False, files=frozenset({0}))
ADDRESS = {"path": "http://203.0.113.9/x.zip", "meta": {"_type": "gradio.FileData"}}


@pytest.mark.parametrize(
    ("call", "data", "expected"),
    [
        (PLAIN, ["a", 1], False),
        (PLAIN, ["a", {"path": "a"}], False),
        (PLAIN, ["a", ADDRESS], True),
        (PLAIN, [[{"x": [ADDRESS]}], 1], True),
        (PLAIN, [{**ADDRESS, "url": None, "orig_name": "x"}], True),
        (WITH_FILE, [None, "a"], False),
        (WITH_FILE, [[], "a"], False),
        (WITH_FILE, ["/etc/passwd", "a"], True),
        (WITH_FILE, [5, "a"], True),
        (WITH_FILE, [[["x"]], "a"], True),
        (WITH_FILE, [], False),
        (None, [ADDRESS], True),
    ],
)
def test_a_file_is_seen_wherever_it_stands(call: Call | None, data: list[Any], expected: bool) -> None:
    assert brings_file({"data": data, "fn_index": 1}, call) is expected
