"""Paired tests of all pairs of many runs, kept in memory and on disk: with one more run, only its own pairs are tested.

A test depends on nothing but two columns (`scoring.columns`), so its key are their fingerprints: whatever happens to
runs, what is kept never belongs to other answers. Pairs stand in the order (0, 1), (0, 2), (1, 2), (0, 3) …: that of
columns at the end leaves all before them where they are.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from cachetools import LRUCache
from numpy.typing import NDArray

from jglue_app.errors import StoreError
from jglue_app.results import kept_files
from jglue_app.results.cache import KeyLocks
from jglue_app.scoring.columns import Column, Differences, differences, differences_in_common, in_common
from jglue_app.scoring.metrics import Floats

MAX_BYTES = 128 * 2**20
"""Of all tests in memory."""
SPARE = 200
"""Columns that nobody asks for now, and whose tests are kept all the same."""
AT_ONCE = 256
"""Pairs on items of their own that are tested together."""
NUMBERS = 5
"""Of each pair: value, low, high, p, n; n is −1 where it was not tested yet."""

Load = Callable[[int], Column]
"""Number of a run → its column."""


@dataclass(frozen=True, slots=True)
class _Tests:
    """All tests of some columns."""

    fingerprints: tuple[str, ...]
    numbers: Floats
    """Shape (`NUMBERS`, pairs); B minus A for A before B."""


_NONE = _Tests((), np.empty((NUMBERS, 0)))


class PairTests:
    """Tests of pairs of runs.

    Args:
        folder: where they are kept for other processes; None to keep them in memory alone.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._locks = KeyLocks()
        self._guard = threading.Lock()
        self._tests: LRUCache[tuple[str, ...], _Tests] = LRUCache(MAX_BYTES, getsizeof=lambda t: 1 + t.numbers.nbytes)

    def of(
        self,
        key: tuple[str, ...],
        columns: Sequence[tuple[str, int]],
        load: Load,
    ) -> Differences:
        """The tests of all pairs of runs, in the order of `np.triu_indices`: B minus A for A before B.

        Args:
            key: what is tested: protocol, subset, reading, and the items.
            columns: of each run the fingerprint of its column, and its number of items.
            load: gives a column, of runs with pairs that were not tested yet.

        Raises:
            StoreError: of `load`, or it gave another column than the wanted one: the run has changed meanwhile.
        """
        wanted = {fingerprint: i for i, (fingerprint, _) in enumerate(columns)}
        with self._locks.of(key):
            with self._guard:
                before = self._tests.get(key)
            before = before or self._read(key)
            tests = _grown(before, wanted)
            place = {fingerprint: i for i, fingerprint in enumerate(tests.fingerprints)}
            new = _untested(tests, [place[fingerprint] for fingerprint in wanted])
            if new and not tests.numbers.flags.writeable:  # As it was read.
                tests = replace(tests, numbers=tests.numbers.copy())
            try:
                _test(tests, new, lambda i: _unchanged(load(wanted[tests.fingerprints[i]]), tests.fingerprints[i]))
            finally:
                if new or tests is not before:
                    self._keep(key, tests)
                else:
                    self._remember(key, tests)
        return _chosen(tests, np.array([place[fingerprint] for fingerprint, _ in columns], np.int64), columns)

    def _keep(self, key: tuple[str, ...], tests: _Tests) -> None:
        self._remember(key, tests)
        if self._folder is not None:
            values = {"fingerprints": list(tests.fingerprints)}
            kept_files.write(self._path(key), {"pairs": list(key)}, values, {"numbers": tests.numbers.ravel()})

    def _remember(self, key: tuple[str, ...], tests: _Tests) -> None:
        if tests.numbers.nbytes < MAX_BYTES:
            with self._guard:
                self._tests[key] = tests

    def _read(self, key: tuple[str, ...]) -> _Tests:
        kept = None if self._folder is None else kept_files.read(self._path(key), {"pairs": list(key)})
        numbers = kept.array("numbers") if kept is not None else None
        if kept is None or numbers is None:
            return _NONE
        fingerprints = tuple(map(str, kept.values["fingerprints"]))
        if numbers.size != NUMBERS * _pairs(len(fingerprints)):
            return _NONE
        return _Tests(fingerprints, numbers.reshape(NUMBERS, -1))

    def _path(self, key: tuple[str, ...]) -> Path:
        assert self._folder is not None
        return self._folder / f"{hashlib.sha256(repr(key).encode()).hexdigest()[:32]}.pairs"


def _pairs(n: int) -> int:
    return n * (n - 1) // 2


def _grown(tests: _Tests, wanted: dict[str, int]) -> _Tests:
    """The same with room for more columns at the end, without those that nobody asks for if they are many."""
    known = set(tests.fingerprints)
    others = len(known) - sum(fingerprint in known for fingerprint in wanted)
    if others > SPARE + len(wanted):
        left = [i for i, fingerprint in enumerate(tests.fingerprints) if fingerprint in wanted]
        index = np.array(left, np.int64)
        second, first = np.tril_indices(len(left), -1)
        tests = _Tests(
            tuple(tests.fingerprints[i] for i in left), tests.numbers[:, _place(index[first], index[second])]
        )
    new = tuple(fingerprint for fingerprint in wanted if fingerprint not in known)
    if not new:
        return tests
    fingerprints = (*tests.fingerprints, *new)
    numbers = np.full((NUMBERS, _pairs(len(fingerprints))), np.nan)
    numbers[-1] = -1
    numbers[:, : tests.numbers.shape[1]] = tests.numbers
    return _Tests(fingerprints, numbers)


def _place(first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.int64]:
    """Of pairs of columns, the first before the second."""
    return second * (second - 1) // 2 + first


def _untested(tests: _Tests, wanted: list[int]) -> dict[int, list[int]]:
    """Column → those before it with which it was not tested, among the wanted ones."""
    columns = np.array(sorted(wanted), np.int64)
    found = {}
    for at, b in enumerate(columns.tolist()):
        before = columns[:at]
        others = before[tests.numbers[-1, _place(before, np.full(at, b))] < 0]
        if len(others):
            found[b] = others.tolist()
    return found


def _unchanged(column: Column, fingerprint: str) -> Column:
    """The same column, if it is the wanted one: what is tested is kept under the fingerprints, and shown again."""
    if column.fingerprint != fingerprint:
        raise StoreError("A run was changed while it was compared with the others. Try again.")
    return column


def _test(tests: _Tests, new: dict[int, list[int]], load: Load) -> None:
    """Fill in the tests of columns with some of those before them."""
    loaded: dict[int, Column] = {}
    apart: dict[int, list[tuple[int, int]]] = {}
    """Number of items in common → pairs of columns on other items, or in another order."""
    for b, others in new.items():
        for i in (b, *others):
            if i not in loaded:
                loaded[i] = load(i)
        same = [i for i in others if loaded[i].items == loaded[b].items]
        if same:
            found = differences(loaded[b], [loaded[i] for i in same])
            # What was tested is each of the others minus this one.
            _fill(tests, same, [b] * len(same), replace(found, value=-found.value, low=-found.high, high=-found.low))
        for i in others:
            if loaded[i].items != loaded[b].items:
                apart.setdefault(in_common(loaded[i], loaded[b]), []).append((i, b))
    for pairs in apart.values():
        for part in (pairs[first : first + AT_ONCE] for first in range(0, len(pairs), AT_ONCE)):
            first, second = zip(*part, strict=True)
            _fill(tests, first, second, differences_in_common([(loaded[i], loaded[b]) for i, b in part]))


def _fill(tests: _Tests, first: Sequence[int], second: Sequence[int], found: Differences) -> None:
    place = _place(np.array(first, np.int64), np.array(second, np.int64))
    tests.numbers[:, place] = np.stack([found.value, found.low, found.high, found.p, found.n])


def _chosen(tests: _Tests, index: NDArray[np.int64], columns: Sequence[tuple[str, int]]) -> Differences:
    first, second = np.triu_indices(len(index), 1)
    n = np.array([count for _, count in columns], np.int64)[first]
    a, b = index[first], index[second]
    del first, second  # Half a million pairs take four megabytes an array.
    swapped, other = a > b, a != b
    place = _place(np.minimum(a, b), np.maximum(a, b))[other]
    del a, b
    # Two runs of one column: no difference, with certainty.
    value, low, high, p = (np.full(len(other), start) for start in (0.0, 0.0, 0.0, 1.0))
    for row, numbers in enumerate((value, low, high, p, n)):
        numbers[other] = tests.numbers[row, place]
    value[swapped] *= -1
    low[swapped], high[swapped] = -high[swapped], -low[swapped]
    return Differences(value, low, high, p, n)
