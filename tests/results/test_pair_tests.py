"""Tests of pairs that are kept belong to the answers that they were made from, whatever happens to runs meanwhile."""

from __future__ import annotations

import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cachetools import LRUCache

from jglue_app.errors import StoreError
from jglue_app.results.library import Library
from jglue_app.results.pair_tests import PairTests
from jglue_app.results.rankings import Rankings, rankings, reader_of
from jglue_app.results.summaries import FINE_S
from jglue_app.scoring.columns import Column
from tests.results.test_library import stored
from tests.test_api import GOLDS

KEY = ("official", "jnli", "strict", "items")


def column(right: int, n: int = 40) -> Column:
    """That of a run that is right on the first items."""
    values = (np.arange(n) < right).astype(np.int8)
    draws = np.random.default_rng(0).integers(0, n, (1_000, n))
    shares = np.array([values.mean(), *values[draws].mean(axis=1)])
    return Column("accuracy", "items", np.arange(n, dtype=np.int8), values, np.empty(0), (), shares)


def values(tests: PairTests, columns: list[Column], loaded: list[Column] | None = None) -> list[float]:
    wanted = [(one.fingerprint, len(one.values)) for one in columns]
    found: list[float] = tests.of(KEY, wanted, lambda i: (loaded or columns)[i]).value.tolist()
    return found


def test_the_column_of_other_answers_is_never_kept_as_that_of_these(tmp_path: Path) -> None:
    before, after, other = column(10), column(30), column(10)
    other = replace(other, values=other.values[::-1].copy())
    tests = PairTests(tmp_path)
    with pytest.raises(StoreError, match="changed while it was compared"):
        values(tests, [before, other], [after, other])
    for again in (tests, PairTests(tmp_path)):
        assert values(again, [before, other]) == [0.0]
        assert values(again, [after, other]) == [-0.5]


def test_a_run_that_changes_while_it_is_ranked_is_read_again(tmp_path: Path) -> None:
    good, half, other = (stored(tmp_path / f"{n}.jsonl", list(GOLDS)[:n], limit=None) for n in (0, 20, 40))
    time.sleep(1.5 * FINE_S)
    library, kept = Library(tmp_path / "runs", tmp_path / "kept"), tmp_path / "kept"
    read = library.column
    changes = iter([half])

    def late(path: Path, task: str, protocol: str) -> Column:
        for run in changes:  # Once, after all summaries were read.
            shutil.copytree(other, run, dirs_exist_ok=True)
        return read(path, task, protocol)

    shutil.copytree(half, tmp_path / "half")
    library.column = late  # type: ignore[method-assign, assignment]
    found = ranked(library)
    assert found.places[half.name] == replace(found.places[other.name], alike=(other.name,))
    assert found.places[half.name].better == (good.name,)
    for again in (library, Library(tmp_path / "runs", kept), Library(tmp_path / "runs")):
        assert ranked(again) == found
    # With its old answers it has its old tests.
    shutil.copytree(tmp_path / "half", half, dirs_exist_ok=True)
    found = ranked(Library(tmp_path / "runs"))
    assert found.places[half.name].worse == (other.name,)
    for again in (library, Library(tmp_path / "runs", kept)):
        assert ranked(again) == found


def ranked(library: Library) -> Rankings:
    names = sorted(run.name for run in library.all())
    return rankings(names, reader_of(library, "official"), ["jnli"], "official")


class Watched(LRUCache[Any, Any]):
    """Notes whether two threads were in it at once, which it is not made for."""

    inside, most = 0, 0

    def _work(self) -> None:
        self.inside += 1
        self.most = max(self.most, self.inside)
        time.sleep(0.001)
        self.inside -= 1

    def __getitem__(self, key: Any) -> Any:
        self._work()
        return super().__getitem__(key)

    def __setitem__(self, key: Any, value: Any) -> None:
        self._work()
        super().__setitem__(key, value)


def test_threads_that_rank_other_subsets_take_turns_in_memory() -> None:
    tests, columns = PairTests(None), [column(10), column(20), column(30)]
    tests._tests = Watched(5)
    wanted = [(one.fingerprint, len(one.values)) for one in columns]

    def work(number: int) -> list[float]:
        key = (*KEY, str(number % 7))
        return tests.of(key, wanted, columns.__getitem__).value.tolist()  # type: ignore[no-any-return]

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(work, range(42))) == [[0.25, 0.5, 0.25]] * 42
    assert tests._tests.most == 1
