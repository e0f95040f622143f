"""What models need is imported once the page is there, one thread at a time, and not where memory is short."""

from __future__ import annotations

import gc
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from jglue_app.backends import library_imports
from jglue_app.backends.embedding import open_embedder
from jglue_app.backends.free_memory import GROUP, FreeMemory
from jglue_app.backends.pool import ModelPool
from jglue_app.errors import InputError
from jglue_app.settings import Settings
from jglue_app.types import ModelSpec


@pytest.fixture
def not_begun(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(library_imports, "_started", threading.Event())
    monkeypatch.setattr(library_imports, "_needed", threading.Event())
    enough = FreeMemory(library_imports.MIN_FREE_BYTES, GROUP)
    monkeypatch.setattr(library_imports, "free_memory", lambda: enough)
    monkeypatch.setattr(library_imports, "AHEAD", ("no_such_library_of_ours", "wave"))
    monkeypatch.delitem(sys.modules, "wave", raising=False)
    yield
    gc.unfreeze()


@pytest.mark.usefixtures("not_begun")
def test_it_is_begun_once_and_a_library_that_fails_stops_nothing() -> None:
    thread = library_imports.import_ahead(delay_s=0)
    assert thread is not None
    assert library_imports.import_ahead(delay_s=0) is None
    thread.join(10)
    assert not thread.is_alive()
    assert "wave" in sys.modules
    assert gc.get_freeze_count() > 0


@pytest.mark.usefixtures("not_begun")
def test_nothing_is_imported_ahead_or_frozen_once_somebody_needs_a_library() -> None:
    # What is loaded with it imports more without a turn, and has to be freed one day.
    library_imports.import_library("colorsys")
    thread = library_imports.import_ahead(delay_s=0)
    assert thread is not None
    thread.join(10)
    assert "wave" not in sys.modules
    assert gc.get_freeze_count() == 0


@pytest.mark.usefixtures("not_begun")
def test_a_model_that_needs_no_library_does_not_wait_while_they_are_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shared_settings: Settings
) -> None:
    (tmp_path / "takes_long.py").write_text("import threading\nend = threading.Event()\nend.wait(200)\n", "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(library_imports, "AHEAD", ("takes_long",))
    served = ModelSpec("nowhere:model", "openai_api")
    thread = library_imports.import_ahead(delay_s=0)
    assert thread is not None
    while not hasattr(sys.modules.get("takes_long"), "end"):
        time.sleep(0.01)
    try:
        with ThreadPoolExecutor() as threads:
            assert threads.submit(ModelPool(shared_settings).fit_together, {ModelSpec("a.jsonl", "scripted")}).result(
                10
            )
            assert threads.submit(library_imports.is_importing).result(100)
            with pytest.raises(InputError, match="nowhere"):
                threads.submit(open_embedder, served, shared_settings).result(100)
    finally:
        sys.modules["takes_long"].end.set()
        thread.join(10)
    assert not library_imports.is_importing()


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
