"""What paid runs cost, on the command line: shown before, asked about on a terminal, and shown afterwards."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from jglue_app import api
from jglue_app.cli import main
from jglue_app.errors import InputError
from tests.paid_backend import SENT, register

ROOT = Path(__file__).resolve().parents[2]
MODEL = "1000000/10000000/USD"
"""One dollar a character of prompts, ten a character of answers, which have two."""
RUN = ("run", "--model", MODEL, "--backend", "paid", "--data", "sample", "--tasks", "jnli", "--limit", "3")
LENGTH = 423
"""Characters of the three prompts."""
COST = LENGTH + 3 * 2 * 10


class Told(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Callable[..., Told]:
    """A command in this process, whose standard input is no terminal."""
    register(monkeypatch)
    monkeypatch.setenv("JGLUE_RUNS_DIR", str(tmp_path / "runs"))
    monkeypatch.setenv("JGLUE_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(sys, "stdin", io.StringIO())

    def call(*arguments: object) -> Told:
        monkeypatch.setattr(sys, "argv", ["jglue_app", *map(str, arguments)])
        capfd.readouterr()
        code: object = 0
        try:
            main()
        except SystemExit as e:
            code = e.code or 0
        out, err = capfd.readouterr()
        assert "Traceback" not in err
        assert isinstance(code, int)
        return Told(code, out, err)

    return call


def manifest(tmp_path: Path) -> Mapping[str, Any]:
    (path,) = (tmp_path / "runs").glob("*/manifest.json")
    table: Mapping[str, Any] = json.loads(path.read_text("utf-8"))
    return table


def test_without_a_terminal_a_budget_or_a_yes_nothing_is_sent(here: Callable[..., Told], tmp_path: Path) -> None:
    told = here(*RUN)
    assert told.code == 2 and told.out == "" and SENT == []
    assert "no budget is set" in told.err and f"about {LENGTH} tokens in" in told.err and "--budget" in told.err
    assert not list((tmp_path / "runs").glob("*/manifest.json"))


def test_yes_goes_on_and_the_report_has_the_cost(here: Callable[..., Told], tmp_path: Path) -> None:
    told = here(*RUN, "--yes")
    assert told.code == 0 and len(SENT) == 3
    assert f"about {LENGTH} tokens in, at most" in told.err
    assert f"cost: ${COST}.00 for 3 requests, {LENGTH} tokens in and 6 out" in told.out
    assert manifest(tmp_path)["cost"]["price"] == COST
    again = here(*RUN, "--json")
    assert again.code == 0 and len(SENT) == 3, "what is answered needs no budget"
    paid = json.loads(again.out)["report"]["paid"]
    assert (paid["price"], paid["currency"], paid["requests"]) == (COST, "USD", 3)


def test_a_budget_needs_no_question_and_is_not_exceeded(here: Callable[..., Told], tmp_path: Path) -> None:
    told = here(*RUN, "--budget", "10")
    assert told.code == 6 and SENT == []
    assert "That may be more than the budget of $10.00" in told.err
    assert "the budget of $10.00 has no room for another request ($0.00 are spent), and 3 items are open" in told.err
    assert "Start the same command again" not in told.err
    assert here(*RUN, "--budget", str(COST + 1000)).code == 0
    assert manifest(tmp_path)["cost"]["price"] == COST


def test_a_comparison_shows_what_both_sides_cost(here: Callable[..., Told]) -> None:
    words = ("compare", "--a", MODEL, "--a-backend", "paid", "--b-backend", "paid", *RUN[5:], "--b-format", "alpaca")
    assert here(*words).code == 2 and SENT == []
    told = here(*words, "--yes")
    assert told.code == 0 and len(SENT) == 6
    costs = [line for line in told.out.splitlines() if line.startswith("cost of")]
    assert len(costs) == 1 and "paid" in costs[0]
    (row,) = (line for line in told.out.splitlines() if line.startswith("A  ") and "$" in line)
    assert f"${COST}.00" in row


@pytest.mark.parametrize("budget", ["inf", "nan", "-1", "1,5"])
def test_a_budget_is_read_alike_by_every_command(
    here: Callable[..., Told], budget: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    sweep_backend(monkeypatch)
    grid = tmp_path / "small.toml"
    grid.write_text(
        "[run]\nmodel = 'gemma-3-270m'\ndata = 'sample'\ntasks = ['jnli']\nlimit = 1\n[factors]\nshots = [0, 1]\n",
        "utf-8",
    )
    commands = (RUN, SWEEP, ("show-prompt", "--model", MODEL, "--next", "1"), ("embed", "--data", "sample"), ("grid",))
    told = [here(*command, "--budget", budget, *((str(grid),) if command == ("grid",) else ())) for command in commands]
    sentences = [" ".join(one.err.replace("│", "").split()).partition("error: ")[2] or "usage" for one in told]
    assert {one.code for one in told} == {2} and SENT == []
    assert len(set(sentences)) == 1
    assert "takes a" in sentences[0] or all("--budget takes a number, not '1,5'." in one.err for one in told)


SWEEP = ("sweep", "--model", MODEL, "--task", "jnli", "--limit", "2", "--formats", "plain,alpaca,rinna", "--json")


def sweep_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sweep has no option for the backend: the paid one is what the model's name says."""
    monkeypatch.setattr("jglue_app.runs.request.backend_for", lambda model: "paid")


def test_the_budget_of_a_sweep_is_of_all_its_runs_together(
    here: Callable[..., Told], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    sweep_backend(monkeypatch)
    refused = here(*SWEEP)
    assert refused.code == 2 and SENT == []
    none = here(*SWEEP, "--budget", "0")
    assert (none.code, none.err) == (2, refused.err), "0 says that there is none"
    told = here(*SWEEP, "--yes")
    assert told.code == 0 and len(json.loads(told.out)) == 3
    costs = [json.loads(p.read_text("utf-8"))["cost"]["price"] for p in (tmp_path / "runs").glob("*/manifest.json")]
    assert len(costs) == 3 and f"up to about ${total_of(told.err):,.2f}" in refused.err

    sent = len(SENT)
    again = here(*SWEEP[:6], "3", *SWEEP[7:], "--budget", "50")
    assert again.code == 6 and len(SENT) == sent, "what is answered is not paid again, and one more does not fit"
    assert "has no room" in again.err


def total_of(err: str) -> float:
    """The price of the estimate that was shown."""
    (price,) = re.findall(r"up to about \$([0-9,.]+)\.\n", err)
    return float(price.replace(",", ""))


@pytest.fixture
def paid_grid(tmp_path: Path) -> Path:
    """Two runs of the paid model."""
    path = tmp_path / "paid.toml"
    path.write_text(
        f"[run]\nmodel = '{MODEL}'\nbackend = 'paid'\ntasks = ['jnli']\ndata = 'sample'\nlimit = 3\n"
        "method = 'generate'\n[factors]\nstyle = ['ja-labels', 'en-labels']\n",
        "utf-8",
    )
    return path


def test_a_grid_that_is_paid_needs_a_budget_or_a_yes(here: Callable[..., Told], paid_grid: Path) -> None:
    told = here("grid", paid_grid)
    assert told.code == 2 and told.out == "" and SENT == []
    assert "no budget is set" in told.err
    dry = here("grid", paid_grid, "--dry-run")
    assert dry.code == 0 and SENT == []
    assert "out: up to about $" in dry.out
    told = here("grid", paid_grid, "--yes")
    assert told.code == 0 and len(SENT) == 6


def test_the_budget_of_a_grid_is_of_all_its_runs_together(here: Callable[..., Told], paid_grid: Path) -> None:
    # The first run costs COST at most; what is left is not enough for the second.
    told = here("grid", paid_grid, "--budget", str(COST + 100))
    assert told.code == 6 and 3 <= len(SENT) < 6
    assert "That may be more than the budget" in told.err
    assert "to go on" in told.err
    sent = len(SENT)
    told = here("grid", paid_grid, "--budget", "2000")
    assert told.code == 0 and len(SENT) == 6 and sent < 6, "what is answered is not paid again"


def test_help_names_it(here: Callable[..., Told]) -> None:
    assert all("--yes" in here(command, "--help").out for command in ("run", "compare", "sweep", "grid"))


SCRIPT = """
import sys
import pytest
from tests.paid_backend import SENT, register
register(pytest.MonkeyPatch())
from jglue_app import api
from jglue_app.cli import main
from jglue_app.errors import InputError
try:
    main()
finally:
    print("SENT", len(SENT), flush=True)
"""


@pytest.mark.parametrize(("answer", "code", "sent"), [("y", 0, 3), ("n", 6, 0)])
def test_on_a_terminal_it_is_asked(tmp_path: Path, answer: str, code: int, sent: int) -> None:
    (tmp_path / "script.py").write_text(SCRIPT, "utf-8")
    main_end, child_end = pty.openpty()
    environment = {
        **os.environ,
        **{"JGLUE_RUNS_DIR": str(tmp_path / "runs"), "JGLUE_CACHE_DIR": str(tmp_path / "cache")},
        "PYTHONPATH": str(ROOT),
    }
    process = subprocess.Popen(
        [sys.executable, str(tmp_path / "script.py"), *RUN],
        stdin=child_end,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        cwd=ROOT,
    )
    os.close(child_end)
    os.write(main_end, f"{answer}\n".encode())
    out, err = process.communicate(timeout=60)
    os.close(main_end)
    assert process.returncode == code, err
    assert f"SENT {sent}" in out and "Go on?" in err
    assert ("No item was sent." in err) is (answer == "n")


@pytest.mark.parametrize(("budget", "sentence"), [("0", "no budget is set"), ("inf", "finite")])
def test_a_budget_of_a_grid_is_read_as_that_of_a_run(
    here: Callable[..., Told], paid_grid: Path, budget: str, sentence: str
) -> None:
    paid_grid.write_text(paid_grid.read_text("utf-8").replace("[run]\n", "[run]\nbudget = 5000\n"), "utf-8")
    told = here("grid", paid_grid, "--budget", budget)
    assert (told.code, told.out, SENT) == (2, "", [])
    assert sentence in told.err
    with pytest.raises(InputError, match=sentence):
        api.grid(paid_grid, budget=float(budget))
    assert SENT == []
    assert here("grid", paid_grid).code == 0 and len(SENT) == 6, "the file's is taken where none is given"
