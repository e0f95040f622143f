"""`protocols`: what each decides, with where its own code says so."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable

import pytest

from jglue_app.cli import main
from jglue_app.scoring.protocols import PROTOCOLS

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def protocols(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["jglue_app", "protocols", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        told = capsys.readouterr()
        return int(ended.value.code or 0), told.out, told.err

    return call


def test_all_are_listed_with_what_they_are_a_variant_of(protocols: Command) -> None:
    code, out, err = protocols()
    assert (code, err) == (0, "")
    rows = {line.split()[0]: line for line in out.splitlines() if line.split()[:1] and line.split()[0] in PROTOCOLS}
    assert set(rows) == set(PROTOCOLS)
    assert re.search(r"^stability-jp-capped +stability-jp +MARC-ja accuracy", out, re.MULTILINE)
    assert "JSQuAD char_f1" in rows["swallow-202411"]
    assert "JSTS" not in rows["stability-jp"]


@pytest.mark.parametrize("name", [name for name in PROTOCOLS if name != "official"])
def test_one_has_its_decisions_for_each_subset_each_with_its_source(protocols: Command, name: str) -> None:
    code, out, err = protocols(name)
    assert (code, err) == (0, "")
    rows = [line for line in out.splitlines() if line.startswith("  ")]
    assert len(rows) > 4 * len(PROTOCOLS[name].metrics)
    assert [line for line in rows if not re.search(r"  \[\S+.*\S/?\S*\]$", line)] == []


def test_decisions_are_in_words_with_repository_commit_file_and_lines(protocols: Command) -> None:
    _, out, _ = protocols("wandb-2023-0shot")
    subset = out.split("\nJCommonsenseQA\n")[1].split("\n\n")[0].splitlines()
    source = "[wandb/llm-leaderboard@07fcaf5 src/utils.py:192–210]"
    assert f"  how the answer is found: the digits it begins with  {source}" in subset
    assert f"  an unreadable answer counts as: 0  {source}" in subset
    _, june, _ = protocols("wandb-2023-4shot")
    assert june.splitlines()[0] == "wandb-2023-4shot, a variant of wandb-2023-0shot"
    assert "  repetition penalty: 1.2 in MARC-ja, JSTS and JNLI, 1.1 in JSQuAD and JCommonsenseQA  [" in june


def test_our_own_protocol_says_so(protocols: Command) -> None:
    _, out, _ = protocols("official")
    assert out.splitlines()[-1] == "These decisions are this application's own."
    assert "[" not in out


def test_json_has_the_same(protocols: Command) -> None:
    found = json.loads(protocols("--json")[1])
    assert [row["protocol"] for row in found] == list(PROTOCOLS)
    one = json.loads(protocols("llm-jp-eval", "--json")[1])
    assert one in found
    undefined = next(row for row in one["subsets"]["jsts"] if row["decision"] == "undefined")
    assert undefined["value"] == "0"
    assert undefined["source"].startswith("swallow-llm/swallow-evaluation@")
    assert "repetition_penalty" in [row["decision"] for row in one["outputs"]]


def test_an_unknown_name_is_refused_in_one_sentence(protocols: Command) -> None:
    code, out, err = protocols("stability")
    assert (code, out) == (2, "")
    assert err.startswith("error: Unknown protocol 'stability'.")
    assert "stability-jp" in err
