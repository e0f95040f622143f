"""Who has requested what is known after a restart, and the file holds nothing with which to be somebody else."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from jglue_app.ui.ownership import FILE, Ownership

ANA = "aB3_-" * 4 + "xy"
RUNS = [("run", {"jnli": frozenset({"1", "2"}), "jsts": frozenset({"7"})})]
MORE = [("run", {"jnli": frozenset({"2", "3"})}), ("other", {"jcola": frozenset({"é"})})]
TOGETHER = {
    "run": {"jnli": frozenset({"1", "2", "3"}), "jsts": frozenset({"7"})},
    "other": {"jcola": frozenset({"é"})},
}


def test_what_was_requested_adds_up_and_outlives_the_process_that_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "runs" / FILE
    before = Ownership(path, 10)
    assert before.of(ANA) == {}
    assert not path.parent.exists()
    before.add(ANA, RUNS)
    before.add(ANA, MORE)
    before.add("ben", RUNS)
    # Not closed: nobody closes it in a process that is killed.
    after = Ownership(path, 10)
    assert after.of(ANA) == before.of(ANA) == TOGETHER
    assert after.of("ben") == dict(RUNS)
    assert after.of("eva") == {}
    for one in (before, after):
        one.close()
    assert all(ANA.encode() not in file.read_bytes() for file in path.parent.iterdir())


def test_who_has_not_come_for_longest_is_forgotten_first(tmp_path: Path) -> None:
    kept = Ownership(tmp_path / FILE, 2)
    for owner in (ANA, "ben", ANA, "eva"):
        kept.add(owner, RUNS)
    kept.close()
    again = Ownership(tmp_path / FILE, 2)
    assert [bool(again.of(owner)) for owner in (ANA, "ben", "eva")] == [True, False, True]
    again.close()


def test_without_a_file_and_with_a_damaged_one_it_is_remembered_until_the_end(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / FILE).write_bytes(b"no database" * 100)
    for path, warned in ((None, False), (tmp_path / FILE, True)):
        kept = Ownership(path, 10)
        kept.add(ANA, RUNS)
        kept.add(ANA, MORE)
        assert kept.of(ANA) == TOGETHER
        assert ("forgotten at a restart" in caplog.text) == warned
        kept.close()


def test_another_process_may_write_too(tmp_path: Path) -> None:
    one, two = Ownership(tmp_path / FILE, 10), Ownership(tmp_path / FILE, 10)
    one.add(ANA, RUNS)
    two.add("ben", RUNS)
    one.close()
    two.close()
    with sqlite3.connect(tmp_path / FILE) as db:
        assert db.execute("SELECT COUNT(*) FROM visitors").fetchone() == (2,)
