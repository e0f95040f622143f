"""What models need is imported once the page is there, one thread at a time, and not where memory is short."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from jglue_app.backends import library_imports
from jglue_app.backends.free_memory import GROUP, FreeMemory


@pytest.fixture
def not_begun(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(library_imports, "_started", threading.Event())
    yield
    gc.unfreeze()


@pytest.mark.usefixtures("not_begun")
def test_it_is_begun_once_and_a_library_that_fails_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library_imports, "AHEAD", ("no_such_library_of_ours", "wave"))
    enough = FreeMemory(library_imports.MIN_FREE_BYTES, GROUP)
    monkeypatch.setattr(library_imports, "free_memory", lambda: enough)
    thread = library_imports.import_ahead(delay_s=0)
    assert thread is not None
    assert library_imports.import_ahead(delay_s=0) is None
    thread.join(10)
    assert not thread.is_alive()
    assert library_imports.import_library("wave").__name__ == "wave"


@pytest.mark.usefixtures("not_begun")
def test_nothing_is_imported_ahead_where_memory_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    little = FreeMemory(library_imports.MIN_FREE_BYTES - 1, GROUP)
    monkeypatch.setattr(library_imports, "free_memory", lambda: little)
    assert library_imports.import_ahead(delay_s=0) is None


def test_whoever_needs_a_library_waits_until_another_thread_has_imported_all_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Two modules that import each other: in two threads at once, one of them is given half of the other.
    for name, other in (("first_half", "second_half"), ("second_half", "first_half")):
        text = f"import time\ntime.sleep(0.1)\nimport {other}\ntime.sleep(0.1)\nwhole = True\n"
        (tmp_path / f"{name}.py").write_text(text, "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    whole: list[bool] = []

    def load(name: str) -> None:
        whole.append(hasattr(library_imports.import_library(name), "whole"))

    threads = [threading.Thread(target=load, args=(name,)) for name in ("first_half", "second_half")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert whole == [True, True]
