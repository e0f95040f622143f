"""The attacks themselves: a short form of each, and that a hole would be seen."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

from tests.attacks import archives, exports, forged_headers, strangers, traversals
from tests.attacks.addresses import HOSTS, URLS
from tests.attacks.calls import Answer
from tests.attacks.outcome import Outcome, table
from tests.attacks.script_payloads import PAYLOADS
from tests.attacks.world import world


def test_there_are_as_many_ways_as_are_claimed() -> None:
    assert len(set(HOSTS) | set(URLS)) >= 40
    assert len(set(traversals.names(Path("/x/secret.txt")))) >= 30
    assert len(set(PAYLOADS)) >= 30
    assert all(f"jgHit({at})" in text or "canary.attack.test" in text for at, text in enumerate(PAYLOADS))


def test_the_table_counts_what_went_through() -> None:
    outcomes = [Outcome("a", "1"), Outcome("a", "2", "got it"), Outcome("b", "3")]
    assert [line.split() for line in table(outcomes).splitlines()[1:]] == [
        ["a", "2", "1", "1"],
        ["b", "1", "1", "0"],
        ["all", "3", "2", "1"],
    ]


def test_a_fault_is_no_refusal() -> None:
    assert Answer(False, "An unexpected fault. Please report it with the number 1234abcd.").fault
    assert Answer(False, "Internal Server Error", 500).fault
    assert not Answer(False, "There is no run 'x' here.").fault


def test_a_formula_in_a_table_would_be_seen() -> None:
    text = io.StringIO()
    csv.writer(text).writerows([["raw"], ["=1+1"], ["'=1+1"], ["\u3000+1+1"], ["-0.5"]])
    found = [one for one in exports.dangerous_cells(text.getvalue().encode()) if one.through]
    assert [one.tried for one in found] == ["csv '=1+1'", "csv '\\u3000+1+1'"]


@pytest.mark.harness
def test_nothing_goes_through_a_public_server(tmp_path: Path) -> None:
    with world(tmp_path, local=False, quick=True) as attacked:
        outcomes = [outcome for kind in (strangers, forged_headers) for outcome in kind.attack(attacked)]
    assert len(outcomes) > 200
    assert [(one.kind, one.tried, one.through) for one in outcomes if one.through] == []


@pytest.mark.harness
def test_nothing_that_is_imported_goes_through(tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("x", "utf-8")
    outcomes = list(archives.attack_in(tmp_path, mutants=4))
    assert len(outcomes) >= 44 + 21 + 4
    assert [(one.kind, one.tried, one.through) for one in outcomes if one.through] == []
