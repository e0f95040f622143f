"""Files in the calls of strangers: a public server takes none, wherever one stands."""

from __future__ import annotations

from typing import Any

import pytest

from jglue_app.errors import InputError
from jglue_app.ui.call_check import Call, PageCalls, check
from jglue_app.ui.open_routes import find_route, open_routes

FOLDER = "/srv/uploads"
META = {"_type": "gradio.FileData"}
UPLOADED = {"path": f"{FOLDER}/a/run.zip", "meta": META}
ADDRESS = {"path": "http://203.0.113.9/x.zip", "meta": META}


def calls(folder: str) -> PageCalls:
    """A page with one function, which takes a file and a text."""
    call = Call(name="", values=2, visible_values=2, takes_files=(True, False), is_long=False)
    return PageCalls({0: call}, {}, parameters=dict, files=folder)


def sent(folder: str, *data: Any) -> None:
    found = find_route(open_routes(uploads=bool(folder), mcp=False, sign_in=False), "POST", "/gradio_api/queue/join")
    assert found
    check(*found, {"data": list(data), "fn_index": 0, "session_hash": "a"}, calls(folder))


@pytest.mark.parametrize("value", [UPLOADED, [UPLOADED], ADDRESS, {"path": "x"}, "/etc/passwd", 5, [[]], {}, [None]])
def test_a_public_server_takes_none_in_place_of_a_file(value: Any) -> None:
    with pytest.raises(InputError, match="a file that was uploaded"):
        sent("", value, "text")


@pytest.mark.parametrize("value", [ADDRESS, [ADDRESS], {"a": [{"b": UPLOADED}]}])
def test_nor_in_place_of_a_text(value: Any) -> None:
    with pytest.raises(InputError, match="a file that was uploaded"):
        sent("", None, value)


@pytest.mark.parametrize("value", [None, []])
def test_no_file_is_no_fault(value: Any) -> None:
    sent("", value, "text")
    sent(FOLDER, value, "text")


def test_elsewhere_files_that_were_uploaded_are_taken() -> None:
    sent(FOLDER, UPLOADED, "text")
    sent(FOLDER, [UPLOADED, UPLOADED], "text")
    for path in ("/etc/passwd", f"{FOLDER}/../x", f"{FOLDER}2/x"):
        with pytest.raises(InputError):
            sent(FOLDER, {"path": path, "meta": META}, "text")
