"""The command line as a script sees it: output, errors, exit code. The models are tables of answers."""

from __future__ import annotations

import contextlib
import json
import math
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

import jglue_app
from jglue_app.cli import main
from jglue_app.scoring.protocols import PROTOCOLS
from jglue_app.settings import ASSETS
from tests.conftest import TinyModel
from tests.peft_adapters import make_adapter

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = (
    *("run", "compare", "score", "rescore", "audit", "runs", "leaderboard", "export", "import", "delete", "sweep"),
    *("grid",),
    *("embed", "show-prompt", "lint-prompt", "bench", "data", "models", "protocols", "serve", "make-showcase"),
)
# Models that have to be known by name.
NAMED = (
    *("gemma-3-270m", "rinna/japanese-gpt-neox-3.6b", "rinna/japanese-gpt-neox-3.6b-instruction-sft"),
    *("rinna/japanese-gpt-neox-3.6b-instruction-ppo", "rinna/bilingual-gpt-neox-4b-instruction-ppo"),
    *("cyberagent/open-calm-small", "cyberagent/open-calm-1b", "cyberagent/open-calm-7b", "mosaicml/mpt-7b-instruct"),
    *("bigscience/bloomz-560m", "EleutherAI/pythia-410m", "meta-llama/Llama-2-7b-chat-hf"),
    *("sbintuitions/sarashina2.2-0.5b-instruct-v0.1", "llm-jp/llm-jp-3-150m-instruct3", "Qwen/Qwen3-0.6B"),
    "google/gemma-3-270m-it",
)
WORDS = {"entailment": "含意", "contradiction": "矛盾", "neutral": "中立", "positive": "肯定", "negative": "否定"}


def golds(task: str) -> dict[str, str]:
    """Item id → gold label of the samples, read without the code under test."""
    lines = (ASSETS / "samples" / task / "valid.json").read_text("utf-8").splitlines()
    key = {"jnli": "sentence_pair_id", "marc_ja": "review_id"}[task]
    return {row[key]: row["label"] for row in map(json.loads, lines)}


JNLI, MARC = golds("jnli"), golds("marc_ja")


def lines(*rows: Mapping[str, Any]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def table(path: Path, *, wrong: Sequence[str] = (), leave_out: Sequence[str] = (), **more: Any) -> Path:
    """Right answers to JNLI and MARC-ja in the words of the style ja-labels, but for the ids in `wrong`."""
    rows = [
        {"item_id": i, "text": "わかりません" if i in wrong else WORDS[gold], **more}
        for i, gold in {**JNLI, **MARC}.items()
        if i not in leave_out
    ]
    path.write_text(lines(*rows), "utf-8")
    return path


@pytest.fixture(autouse=True)
def _no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE", "PY_COLORS", "GITHUB_ACTIONS", "COLUMNS", "TERMINAL_WIDTH"):
        monkeypatch.delenv(name, raising=False)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "*")


@pytest.fixture
def right(tmp_path: Path) -> Path:
    return table(tmp_path / "right.jsonl")


@dataclass(frozen=True)
class Told:
    """What a command left behind."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out)


def start(*arguments: object, **environment: str) -> subprocess.Popen[str]:
    """A process of its own, as a script would start it."""
    return subprocess.Popen(
        [sys.executable, "-m", "jglue_app", *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "PYTHONIOENCODING": "utf-8", **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="surrogateescape",
    )


def end(process: subprocess.Popen[str]) -> Told:
    """Wait for it; whatever it was, there is no traceback and there are no escape codes."""
    out, err = process.communicate(timeout=60)
    assert "Traceback" not in err, err
    assert "\x1b" not in out + err
    assert "\r" not in out + err
    return Told(process.returncode, out, err)


def cli(*arguments: object, **environment: str) -> Told:
    return end(start(*arguments, **environment))


def several(*commands: Sequence[object]) -> list[Told]:
    """Several commands, two at a time."""
    with ThreadPoolExecutor(2) as executor:
        return list(executor.map(lambda command: cli(*command), commands))


Here = Callable[..., Told]


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Here:
    """A command in this process: the same entry point, without the second that a start takes."""

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


def sample(*arguments: object, model: Path, tasks: str = "jnli") -> tuple[object, ...]:
    return ("run", "--model", model, "--data", "sample", "--tasks", tasks, *arguments)


def stored_lines(runs_dir: Path) -> int:
    return sum(file.read_bytes().count(b"\n") for file in runs_dir.glob("*/records.jsonl"))


# --- help, version, names ---------------------------------------------------------------------------------


def test_help_version_and_models_are_told_on_standard_output(here: Here) -> None:
    version, machine = several(["--version"], ["models", "--json"])
    usage, plain = here("--help"), here("models")
    assert {told.code for told in (usage, version, plain, machine)} == {0}
    assert {told.err for told in (usage, version, plain, machine)} == {""}
    assert all(re.search(rf"^\W*{name} ", usage.out, re.MULTILINE) for name in COMMANDS)
    assert "130 interrupted" in usage.out
    assert version.out == jglue_app.__version__ + "\n"
    entries = {entry["id"]: entry for entry in machine.json()}
    assert set(NAMED) <= set(entries)
    for entry in entries.values():
        assert {"family", "parameters", "licence", "format", "memory_gb", "note", "gated"} <= set(entry)
    rows = plain.out.splitlines()
    assert rows[0].split()[:2] == ["id", "family"]
    assert len(rows) == 1 + len(entries)
    assert [row.split()[0] for row in rows[1:]] == list(entries)
    (llama,) = (row for row in rows if row.startswith("meta-llama/Llama-2-7b-chat-hf"))
    assert "(gated)" in llama


@pytest.mark.parametrize("command", [*COMMANDS, "data list", "data fetch", "data verify", "data check"])
def test_every_command_explains_itself(here: Here, command: str) -> None:
    told = here(*command.split(), "--help")
    assert (told.code, told.err) == (0, "")
    assert f"python -m jglue_app {command}" in told.out


@pytest.mark.parametrize("command", ["", "data"])
def test_without_a_command_there_is_help(here: Here, command: str) -> None:
    told = here(*command.split())
    assert "Usage: python -m jglue_app" in told.out + told.err


# --- stored runs ------------------------------------------------------------------------------------------


def test_stored_runs_are_listed_ranked_exported_brought_back_and_deleted(tmp_path: Path, here: Here) -> None:
    good = here(*sample(model=table(tmp_path / "good.jsonl")), "--json").json()["run"]
    poor = here(*sample(model=table(tmp_path / "poor.jsonl", wrong=list(JNLI)[:30])), "--json").json()["run"]
    listed = here("runs", "--json").json()
    assert {row["id"] for row in listed} == {Path(good).name, Path(poor).name}
    assert all(row["done"] == row["planned"] == len(JNLI) for row in listed)
    assert "good.jsonl" in here("runs").out
    ranked = here("leaderboard", "--data", "sample", "--tasks", "jnli", "--json").json()["entries"]
    assert [(entry["rank"], entry["name"]) for entry in ranked] == [(1, Path(good).name), (2, Path(poor).name)]
    shown = here("leaderboard", "--data", "sample", "--tasks", "jnli", "--protocol", "wandb-2023-0shot").out
    assert "vs official" in shown
    told = here("leaderboard", "--tasks", "jnli").out
    assert "There is no run over official data yet. 2 runs are over sample data: --data sample." in told
    unranked = here("leaderboard", "--data", "sample", "--tasks", "jnli,jsts").out
    assert "–: no score in one of these subsets, so no rank." in unranked
    assert "so no rank" not in shown
    by_ranking = here("leaderboard", "--data", "sample", "--tasks", "jnli", "--protocol", "stability-jp").out
    assert "ranks the answers by log-likelihood, and the run wrote texts" in " ".join(by_ranking.split())
    assert here("name", poor, "下の\x1b[1m実行").code == 2
    assert (
        here("name", Path(poor).name, "下の実行", "--description", "一行目\n二行目").out == "下の実行\n一行目\n二行目\n"
    )
    assert here("name", poor, "--json").json() == {"run": poor, "name": "下の実行", "description": "一行目\n二行目"}
    assert here("name", "gone").code == 5
    assert "下の実行" in here("runs").out
    both = here("leaderboard", "--data", "sample", "--tasks", "jnli", "--json").json()
    assert [entry["label"] for entry in both["entries"]][1] == "下の実行"
    (ranking,) = both["rankings"]
    places = {name: (place["rank"], place["last"]) for name, place in ranking["places"].items()}
    assert places == {Path(good).name: (1, 1), Path(poor).name: (2, 2)}
    assert both["apart"] == {}
    for name in ("rows.jsonl", "rows.csv", "rows.parquet", "run.zip"):
        exported = here("export", Path(good).name, tmp_path / name)
        assert (exported.code, exported.out.strip()) == (0, str(tmp_path / name))
    assert len((tmp_path / "rows.jsonl").read_text("utf-8").splitlines()) == len(JNLI)
    assert here("export", Path(good).name, tmp_path / "rows.xlsx").code == 2
    assert here("import", tmp_path / "run.zip").code == 5
    # By its folder, as `run --json` names it; below, by its id.
    assert here("delete", good, "--yes").code == 0
    assert [row["id"] for row in here("runs", "--json").json()] == [Path(poor).name]
    assert here("delete", Path(good).name, "--yes").code == 5
    assert here("import", tmp_path / "run.zip").out.strip() == good
    assert len(here("runs", "--json").json()) == 2


def test_nothing_is_deleted_without_a_yes(tmp_path: Path, here: Here) -> None:
    run = Path(here(*sample(model=table(tmp_path / "good.jsonl")), "--json").json()["run"]).name
    assert cli("delete", run).code != 0
    assert [row["id"] for row in here("runs", "--json").json()] == [run]


def test_a_prompt_is_shown_token_by_token(here: Here, tiny_model: TinyModel) -> None:
    shown = here("show-prompt")
    assert shown.out.startswith("<bos>·")
    assert "Answers and their tokens: 含意 (" in shown.out
    # A small vocabulary is read sooner.
    tiny = ("show-prompt", "--model", tiny_model("llama"))
    expected = here(*tiny, "--next", "3", "--json").json()
    assert len(expected["next"]["top"]) == expected["prompt"]["count"] + 1
    likely = [f"{math.exp(token['logprob']):.2%}" for token in expected["next"]["top"][-1]]
    assert len(likely) == 3
    assert all(share in here(*tiny, "--next", "3").out for share in likely)
    machine = here(*tiny, "--json").json()
    assert [token["text"] for token in machine["tokens"][:1]] == ["<s>"]
    assert "".join(token["text"] for token in machine["tokens"][1:]) == machine["prompt"]["text"]
    assert here(*tiny, "--item", "nothing").code == 2


def test_a_sweep_shows_what_the_format_changes(tmp_path: Path, here: Here) -> None:
    model = table(tmp_path / "good.jsonl", choice_logprobs=[-1, -2, -3])
    rows = here("sweep", "--model", model, "--styles", "ja-labels,en-labels", "--formats", "plain", "--json").json()
    assert [row["side"]["style"] for row in rows] == ["ja-labels", "en-labels"]
    assert (rows[0]["flips"], rows[1]["flips"]["changed"]) == (None, 10)
    assert "10/10" in here("sweep", "--model", model, "--styles", "ja-labels,en-labels", "--formats", "plain").out
    assert here("sweep", "--model", model, "--formats", "plain").code == 2


def test_a_sweep_of_adapters_has_a_row_for_the_model_and_for_each(
    tmp_path: Path, here: Here, tiny_model: TinyModel
) -> None:
    base = tiny_model("llama")
    adapters = [str(make_adapter(base, tmp_path / kind, kind)) for kind in ("lora", "ia3")]
    options = ["sweep", "--model", str(base), "--limit", "2", "--device", "cpu", *(f"--adapter={a}" for a in adapters)]
    rows = here(*options, "--json").json()
    assert [(row["side"]["format"], row["side"]["adapter"]) for row in rows] == [
        ("plain", adapter) for adapter in (None, *adapters)
    ]
    shown = here(*options).out
    assert re.split(r"\s{2,}", shown.splitlines()[0].strip())[:3] == ["adapter", "format", "style"]


# --- run --------------------------------------------------------------------------------------------------


def test_a_run_prints_its_scores_and_where_they_are_and_again_as_json(tmp_path: Path, here: Here) -> None:
    model = table(tmp_path / "表.jsonl", wrong=list(JNLI)[:9])
    n = len(JNLI)
    plain = cli(*sample(model=model, tasks="jnli,marc_ja"))
    assert plain.code == 0
    first, head, *rows, average, where = plain.out.splitlines()
    run_id = Path(where.removeprefix("stored in ")).name
    assert where == f"stored in {tmp_path / 'runs' / run_id}"
    assert first == f"表.jsonl · plain · ja-labels · 0-shot  (run {run_id}, protocol official)"
    assert re.split(r"\s{2,}", head) == ["subset", "metric", "score (95 % interval)", "n", "floor", "unreadable"]
    assert [re.split(r"\s{2,}", row.strip()) for row in rows] == [
        ["MARC-ja (sample)", "accuracy", "1.000 [0.920, 1.000]", "44", "0.500", "0"],
        ["MARC-ja (sample)", "accuracy, lenient", "1.000 [0.920, 1.000]", "44", "0.500", "0"],
        ["JNLI (sample)", "accuracy", "0.800 [0.662, 0.891]", "45", "0.333", "9"],
        ["JNLI (sample)", "accuracy, lenient", "0.800 [0.662, 0.891]", "45", "0.333", "9"],
        [""],
        ["outcomes in", "correct", "wrong form", "wrong", "unreadable", "truncated", "empty"],
        ["MARC-ja (sample)", "44", "0", "0", "0", "0", "0"],
        ["JNLI (sample)", "36", "0", "0", "9", "0", "0"],
        [""],
    ]
    assert average == "average of the main metric over MARC-ja (sample), JNLI (sample): 0.900 [0.820, 0.946]"
    assert plain.err.splitlines()[0] == f"Preparing {model}."
    assert re.search(rf"^JNLI: {n}/{n} items, [\d.]+ items/s$", plain.err, re.MULTILINE)

    # The same again, with the subsets the other way round.
    machine = here(*sample("--json", model=model, tasks="marc_ja, jnli"))
    assert (machine.code, machine.err) == (0, ""), "nothing is done again"
    found = machine.json()
    assert set(found) == {"run", "report", "without"}
    assert found["without"] == [], "no sample item is faulty, repeated, leaked or relabelled"
    assert found["run"] == str(tmp_path / "runs" / run_id)
    assert found["report"]["spec_id"] == run_id
    assert list(found["report"]["tasks"]) == ["marc_ja", "jnli"]
    jnli = found["report"]["tasks"]["jnli"]
    assert (jnli["n"], jnli["planned"], jnli["source"], jnli["unreadable"]) == (n, n, "sample", 9)
    assert jnli["metrics"]["accuracy"]["value"] == pytest.approx((n - 9) / n)
    assert set(jnli["metrics"]["accuracy"]) == {"value", "low", "high", "n"}
    assert jnli["outcomes"] == {"correct": n - 9, "unreadable": 9}


def test_every_kind_of_failure_has_its_exit_code_and_one_sentence(
    tmp_path: Path, right: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{free.getsockname()[1]}"
    monkeypatch.setenv("JGLUE_DATA_URL", nobody)
    missing = list(JNLI)[7]
    partly = table(tmp_path / "partly.jsonl", leave_out=[missing])
    bad, no_model, incomplete, no_run, network = several(
        sample("--json", model=right, tasks="jnil"),
        sample("--json", model=tmp_path / "none.jsonl"),
        sample("--json", model=partly),
        ["compare", "none", "nothing", "--json"],
        ["run", "--model", right, "--tasks", "jnli", "--json"],
    )
    assert [told.code for told in (bad, no_model, network, no_run, incomplete)] == [2, 3, 4, 5, 6]
    for told, says in (
        (bad, "error: Unknown task 'jnil'. Did you mean 'jnli'?"),
        (no_model, "error: The table of answers "),
        (network, f"error: {nobody}/jnli-v1.3/valid-v1.3.json could not be downloaded"),
        (no_run, "error: There is no run none. `python -m jglue_app runs` lists"),
    ):
        assert told.out == ""
        assert told.err.splitlines()[-1].startswith(says)
        assert [line for line in told.err.splitlines() if not line.startswith(("error: ", "Preparing "))] == []
    jnli = incomplete.json()["report"]["tasks"]["jnli"]
    assert (jnli["n"], jnli["planned"], jnli["outcomes"]["error"]) == (len(JNLI) - 1, len(JNLI), 1)
    assert f"jnli {missing}: The table has no text for item {missing}." in incomplete.err.splitlines()
    assert incomplete.err.endswith("1 item has no output. Start the same command again to try it again.\n")


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_no_terminal_is_too_narrow_for_what_a_table_says(
    tmp_path: Path, here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    def scored(name: str, wrong: int) -> Path:
        model = table(tmp_path / name, wrong=list(JNLI)[:wrong], choice_logprobs=[-1.0, -2.0, -3.0])
        return Path(here(*sample("--method", "both", "--json", model=model)).json()["run"])

    a, b = scored("a-model-with-a-long-name.jsonl", 9).name, scored("b.jsonl", 0).name
    board = tmp_path / "board.csv"
    board.write_text("model,JNLI\nowner/model-a,0.3016\nowner/model-b,0.3022\nowner/model-c,0.5530\n", "utf-8")
    commands = (
        *(("models",), ("protocols",), ("runs",), ("data", "list"), ("data", "systems"), ("data", "check")),
        *(("compare", a, b), ("rescore", a, "--items", "1"), ("audit", board, "--column", "jnli:acc=JNLI")),
        ("data", "check", "--data", "sample"),
        ("rescore", a, "--explain", "official", "stability-jp"),
        ("leaderboard", "--data", "sample", "--tasks", "jnli", "--protocol", "stability-jp"),
    )
    for command in commands:
        piped = here(*command).out
        for width in (60, 80, 120):
            with monkeypatch.context() as terminal:
                terminal.setattr("jglue_app.cli.tables._console", lambda width=width: terminal_of(width))
                shown = here(*command).out
            assert shown.count("…") == piped.count("…"), (command, width)
            missing = numbers(piped) - numbers(shown)
            assert not missing, (command, width, missing)


def terminal_of(width: int) -> Console:
    return Console(
        file=sys.stdout, width=width, force_terminal=True, color_system=None, highlight=False, markup=False, emoji=False
    )


def numbers(text: str) -> Counter[str]:
    """All words with a digit: numbers, ids, names of models and paths."""
    return Counter(word.rstrip(":") for word in re.findall(r"\S*\d\S*", text))


def test_ctrl_c_keeps_what_is_finished_and_the_same_command_does_the_rest(tmp_path: Path, here: Here) -> None:
    model, runs = table(tmp_path / "slow.jsonl", seconds=0.15), tmp_path / "runs"
    process = start(*sample("--json", model=model))
    wait_for(lambda: stored_lines(runs) >= 6, process)
    process.send_signal(signal.SIGINT)
    stopped = time.monotonic()
    told = end(process)
    assert time.monotonic() - stopped < 5
    assert told.code == 130
    assert "Stopping; what is finished is kept." in told.err.splitlines()
    done = stored_lines(runs)
    assert 6 <= done < len(JNLI)
    assert told.json()["report"]["tasks"]["jnli"]["n"] == done
    (file,) = runs.glob("*/records.jsonl")
    before = file.read_bytes()
    assert before.endswith(b"}\n")
    again = here(*sample("--json", model=model))
    assert again.code == 0
    assert file.read_bytes().startswith(before)
    assert stored_lines(runs) == len(JNLI)
    assert again.json()["report"]["tasks"]["jnli"]["n"] == len(JNLI)


def test_a_comparison_that_is_ended_before_b_began_keeps_what_a_has(tmp_path: Path, right: Path) -> None:
    slow, runs = table(tmp_path / "slow.jsonl", seconds=1.0), tmp_path / "runs"
    process = start("compare", "--a", slow, "--b", right, "--data", "sample", "--tasks", "jnli", "--json")
    wait_for(lambda: stored_lines(runs) >= 2, process)
    process.send_signal(signal.SIGTERM)
    told = end(process)
    assert (told.code, told.out) == (130, "")
    assert "error" not in told.err
    assert 2 <= stored_lines(runs) < len(JNLI)
    assert len(list(runs.iterdir())) == 1


def test_on_a_full_disk_the_run_ends_in_one_sentence_and_goes_on_when_there_is_room(
    tmp_path: Path, right: Path, here: Here
) -> None:
    script = (
        "import resource, runpy; resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000)); "
        "runpy.run_module('jglue_app', run_name='__main__', alter_sys=True)"
    )
    command = [sys.executable, "-c", script, *map(str, sample(model=right))]
    full = subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8", timeout=60, check=False)
    assert full.returncode == 5
    assert re.search(r"^error: A record of [\d,]+ bytes could not be written .*free some space", full.stderr, re.M)
    assert "Traceback" not in full.stderr
    done = stored_lines(tmp_path / "runs")
    assert 3 < done < len(JNLI)
    told = here(*sample("--json", model=right))
    assert (told.code, told.json()["report"]["tasks"]["jnli"]["n"]) == (0, len(JNLI))
    assert stored_lines(tmp_path / "runs") == len(JNLI)


def test_on_a_terminal_progress_is_a_bar_on_standard_error_alone(right: Path) -> None:
    ours, theirs = pty.openpty()
    shown = bytearray()

    def watch() -> None:
        with contextlib.suppress(OSError):  # Linux ends a terminal that nobody holds any more with an error.
            while piece := os.read(ours, 4096):
                shown.extend(piece)

    command = [sys.executable, "-m", "jglue_app", *map(str, sample("--json", model=right))]
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100"}
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdin=theirs, stdout=subprocess.PIPE, stderr=theirs, encoding="utf-8"
    )
    os.close(theirs)
    watcher = threading.Thread(target=watch)
    watcher.start()
    out, _ = process.communicate(timeout=60)
    watcher.join(timeout=10)
    os.close(ours)
    assert process.returncode == 0
    assert json.loads(out)["report"]["tasks"]["jnli"]["n"] == len(JNLI)
    text = shown.decode("utf-8", "replace")
    assert "JNLI" in text
    assert "A JNLI" not in text, "there is no B"
    assert f"{len(JNLI)}/{len(JNLI)}" in text
    assert "━" in text
    assert "\x1b[" in text


def test_what_an_output_cannot_encode_is_escaped_and_a_reader_that_left_is_no_fault(tmp_path: Path) -> None:
    model = table(Path(os.fsdecode(os.fsencode(tmp_path) + "/表".encode() + b"\xff.jsonl")))
    told = cli(*sample("--limit", "2", model=model), PYTHONIOENCODING="ascii:strict")
    assert told.code == 0
    assert told.out.startswith(r"\u8868\udcff.jsonl \xb7 plain")
    with start("--version", PYTHONUNBUFFERED="") as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == ""
    assert process.returncode == 0


# --- compare ----------------------------------------------------------------------------------------------


def test_two_models_are_compared_and_later_by_the_ids_of_their_runs(tmp_path: Path, right: Path, here: Here) -> None:
    poor, runs = table(tmp_path / "poor.jsonl", wrong=list(JNLI)[:9]), tmp_path / "runs"
    words = ("--data", "sample", "--tasks", "jnli", "--b-format", "alpaca")
    machine = cli("compare", "--a", poor, "--b", right, *words, "--json")
    assert machine.code == 0
    found = machine.json()
    assert set(found) == {"run_a", "run_b", "comparison"}
    a, b = (Path(found[name]).name for name in ("run_a", "run_b"))
    assert {runs / a, runs / b} == set(runs.iterdir())
    assert found["comparison"]["a"]["label"] == "poor.jsonl · plain · ja-labels · 0-shot"
    assert found["comparison"]["b"]["label"] == "right.jsonl · alpaca · ja-labels · 0-shot"
    difference = found["comparison"]["differences"]["jnli"]["accuracy"]
    assert difference["difference"]["value"] == pytest.approx(9 / len(JNLI))
    assert difference["difference"]["n"] == len(JNLI)
    assert difference["verdict"] == "b"
    assert re.search(rf"^A JNLI: {len(JNLI)}/{len(JNLI)} items", machine.err, re.MULTILINE)
    assert re.search(rf"^B JNLI: {len(JNLI)}/{len(JNLI)} items", machine.err, re.MULTILINE)

    again, plain = cli("compare", a, b, "--json"), here("compare", a, b)
    folders = here("compare", runs / b, runs / a, "--json")
    assert (again.code, again.json(), again.err) == (0, found, "")
    assert folders.json()["comparison"]["differences"]["jnli"]["accuracy"]["verdict"] == "a"
    assert plain.code == 0
    first, second, *_, where = plain.out.splitlines()
    assert first == f"A: poor.jsonl · plain · ja-labels · 0-shot  (run {a})"
    assert second == f"B: right.jsonl · alpaca · ja-labels · 0-shot  (run {b})"
    assert where == f"stored in {runs / a} and {runs / b}"
    (row,) = (line for line in plain.out.splitlines() if re.match(r"JNLI \(sample\) +accuracy +\d", line))
    columns = re.split(r"\s{2,}", row.strip())
    assert columns[:4] == ["JNLI (sample)", "accuracy", "0.800 [0.662, 0.891]", "1.000 [0.921, 1.000]"]
    assert columns[4].startswith("+0.200 [+0.")
    assert columns[5:] == ["0.004", "0.004", "B is better", "45", "37", "0.333", "9/0"]


def test_thinking_is_an_option_of_a_run_and_an_unfinished_thought_is_counted_as_one(tmp_path: Path, here: Here) -> None:
    rows = [{"item_id": id_, "text": "<think>\n" + WORDS[gold]} for id_, gold in JNLI.items()]
    model = tmp_path / "thinker.jsonl"
    model.write_text(lines(*rows), "utf-8")
    off = here(*sample("--method", "generate", "--limit", 3, "--json", model=model))
    on = here(
        *sample("--method", "generate", "--limit", 3, model=model),
        *("--format", "chat", "--thinking", "on", "--max-thinking-tokens", 99, "--json"),
    )
    reports = [json.loads(told.out)["report"] for told in (off, on)]
    assert [report["tasks"]["jnli"]["outcomes"] for report in reports] == [{"unfinished_thought": 3}] * 2
    assert [report["tasks"]["jnli"]["lenient"]["accuracy"]["value"] for report in reports] == [0, 0]
    assert "thinking" not in reports[0]["label"] and reports[1]["label"].endswith(" · thinking")
    assert "nothing in the prompt turns it on" in on.err and "model whose template has a switch for thinking" in on.err
    assert "--max-thinking-tokens" not in on.err
    assert [notice["kind"] for notice in reports[1]["notices"]] == ["thinking_ignored"]
    # It stays: in the manifest, where the run is printed again, and where it is scored again.
    run_id = Path(on.json()["run"]).name
    manifest = json.loads((Path(on.json()["run"]) / "manifest.json").read_text("utf-8"))
    assert manifest["thought"]["turned_on"] is False
    for told in (
        here(
            *sample("--method", "generate", "--limit", 3, model=model),
            *("--format", "chat", "--thinking", "on", "--max-thinking-tokens", 99),
        ),
        here("rescore", run_id),
        here("rescore", run_id, "--protocol", "official"),
    ):
        assert "nothing in the prompts turns it on: the model answered as it does without" in " ".join(told.out.split())
    rescored = here("rescore", run_id, "--protocol", "official", "--json").json()["notices"]
    assert [notice["kind"] for notice in rescored["official"]] == ["thinking_ignored"]
    shown = here(*sample("--method", "generate", "--limit", 3, model=model))
    assert "unfinished thought" in shown.out
    assert "3 of 3 outputs never end their thought" in " ".join(shown.out.split())
    wrong = here(*sample("--thinking", "perhaps", model=model))
    assert wrong.code == 2 and "Unknown thinking 'perhaps'. Known: off, on, default." in wrong.err
    none = here(*sample("--max-thinking-tokens", 0, model=model))
    assert none.code == 2 and "from 1 to 32,768" in none.err


def test_settings_of_b_are_those_of_a_unless_given(here: Here, right: Path, tmp_path: Path) -> None:
    words = ("--data", "sample", "--tasks", "jnli", "--limit", "2", "--a-style", "number", "--a-format", "rinna")
    told = here("compare", "--a", right, *words, "--a-shots", "3", "--b-shots", "0", "--json")
    assert told.code == 0
    labels = [told.json()["comparison"][side]["label"] for side in "ab"]
    assert labels == ["right.jsonl · rinna · number · 3-shot", "right.jsonl · rinna · number · 0-shot"]


def test_a_repetition_penalty_is_named_in_the_label_and_refused_where_it_is_none(here: Here, right: Path) -> None:
    words = ("--data", "sample", "--tasks", "jnli", "--limit", "2", "--method", "generate")
    told = here("run", "--model", right, *words, "--repetition-penalty", "1.2", "--json")
    assert told.code == 0
    assert told.json()["report"]["label"] == "right.jsonl · plain · ja-labels · 0-shot · repetition penalty 1.2"
    assert "a table of answers gives them as they stand in it" in " ".join(told.err.split())
    both = here("compare", "--a", right, *words, "--a-repetition-penalty", 1.2, "--b-repetition-penalty", 1, "--json")
    labels = [both.json()["comparison"][side]["label"] for side in "ab"]
    assert [label.partition("0-shot")[2] for label in labels] == [" · repetition penalty 1.2", ""]
    same = here("compare", "--a", right, *words, "--a-repetition-penalty", 1.2)
    assert same.code == 2 and "A and B are the same" in same.err
    for value in ("0", "-1", "nan", "inf"):
        refused = here("run", "--model", right, *words, "--repetition-penalty", value)
        assert refused.code == 2 and "The repetition penalty is a number above 0" in " ".join(refused.err.split())


# --- score ------------------------------------------------------------------------------------------------


def test_outputs_made_elsewhere_are_scored_for_people_and_for_machines(tmp_path: Path, here: Here) -> None:
    texts = {i: "neutral" if k < 9 and gold != "neutral" else gold for k, (i, gold) in enumerate(JNLI.items())}
    wrong = sum(texts[i] != gold for i, gold in JNLI.items())
    assert 0 < wrong < 9
    file = tmp_path / "outputs.jsonl"
    file.write_text(lines(*({"item_id": i, "text": text} for i, text in texts.items())), "utf-8")
    few = tmp_path / "few.jsonl"
    few.write_text(lines(*({"item_id": i, "text": "?"} for i in list(JNLI)[:3])), "utf-8")
    words = ("score", "--task", "jnli", "--data", "sample", "--predictions")
    machine, plain = cli(*words, file, "--protocol", "all", "--json"), here(*words, file)
    partial, refused = here(*words, few, "--partial", "--json"), here(*words, few, "--json")
    n = len(JNLI)
    assert [told.code for told in (machine, plain, partial, refused)] == [0, 0, 0, 2]
    found = machine.json()
    assert set(found) == {"task", "source", "n", "protocols", "disagreements"}
    assert (found["task"], found["source"], found["n"]) == ("jnli", "sample", n)
    assert list(found["protocols"]) == list(PROTOCOLS)
    for name, protocol in found["protocols"].items():
        assert {"metrics", "unreadable", "floors"} <= set(protocol)
        if PROTOCOLS[name].ranked:
            assert (protocol["metrics"], protocol["unscored"]) == ({}, "no_logprobs")
            continue
        assert list(protocol["metrics"]) == list(PROTOCOLS[name].metrics["jnli"])
        metric = PROTOCOLS[name].metrics["jnli"][0]
        assert set(protocol["metrics"][metric]) == {"value", "low", "high", "n"}
        assert protocol["metrics"][metric]["value"] == pytest.approx((n - wrong) / n)
        assert protocol["metrics"][metric]["n"] == n
        assert protocol["unreadable"] == 0
        # The classes are as frequent as one another, so one of them is a third by either metric.
        floors = dict.fromkeys(PROTOCOLS[name].metrics["jnli"], pytest.approx(1 / 3))
        default = floors if name.startswith("wandb-2023") else {}
        assert protocol["floors"] == {"constant": floors, "default": default}
    assert found["disagreements"] == []
    assert "outputs.jsonl" in plain.out.splitlines()[0]
    assert re.search(rf"^JNLI \(sample\) +{n - wrong} +0 +{wrong} +0 +0 +0$", plain.out, re.MULTILINE)
    official = partial.json()["protocols"]["official"]
    assert (partial.json()["n"], official["unreadable"], official["metrics"]["accuracy"]["value"]) == (3, 3, 0)
    assert refused.out == ""
    assert f"{n - 3} of {n} items have no prediction" in refused.err
    assert "--partial" in refused.err


def test_a_protocol_alone_sets_all_that_its_system_does(tmp_path: Path, here: Here) -> None:
    rows = [{"item_id": i, "text": "？", "choice_logprobs": [-1.0] * 3} for i in JNLI]
    model = tmp_path / "any.jsonl"
    model.write_text(lines(*rows), "utf-8")
    words = ("run", "--model", model, "--data", "sample", "--tasks", "jnli", "--limit", 3, "--json", "--protocol")
    specs = {}
    for protocol in ("official", "wandb-2023-4shot", "stability-jp", "lm-eval-ja"):
        told = here(*words, protocol)
        assert told.code == 0
        manifest = json.loads((Path(told.json()["run"]) / "manifest.json").read_text("utf-8"))
        specs[protocol] = manifest["label"], manifest["spec"]["decoding"]["method"]
        assert told.json()["report"]["protocol"] == protocol
        assert told.json()["report"]["notices"] == []
    assert specs == {
        "official": ("any.jsonl · plain · ja-labels · 0-shot", "generate"),
        "wandb-2023-4shot": ("any.jsonl · plain · wandb-2023 · 4-shot · repetition penalty 1.2", "generate"),
        "stability-jp": ("any.jsonl · plain · stability-jp · 3-shot", "both"),
        "lm-eval-ja": ("any.jsonl · alpaca · lm-eval-ja · 3-shot", "both"),
    }


def test_a_stored_run_is_scored_again_as_other_systems_would(tmp_path: Path, here: Here) -> None:
    rows = [
        {"item_id": i, "text": "？" if k < 9 else gold, "choice_logprobs": [-1.0, -2.0, -3.0]}
        for k, (i, gold) in enumerate(JNLI.items())
    ]
    model = tmp_path / "any.jsonl"
    model.write_text(lines(*rows), "utf-8")
    made = here(*sample("--json", "--style", "en-labels", "--method", "both", model=model))
    run_id = Path(made.json()["run"]).name
    machine, plain = here("rescore", run_id, "--json"), here("rescore", run_id, "--items", "1")
    assert (machine.code, plain.code) == (0, 0)
    found = machine.json()
    assert (found["task"], found["n"], list(found["protocols"])) == ("jnli", len(JNLI), list(PROTOCOLS))
    lucky = sum(gold == "entailment" for gold in list(JNLI.values())[:9])
    n, share = len(JNLI), list(JNLI.values()).count("entailment") / len(JNLI)
    values = {
        name: protocol["metrics"].get("accuracy", protocol["metrics"].get("exact_match"))["value"]
        for name, protocol in found["protocols"].items()
    }
    assert 0 < lucky < 9
    assert values == {
        "official": pytest.approx((n - 9) / n),
        "wandb-2023-0shot": pytest.approx((n - 9 + lucky) / n),
        "wandb-2023-4shot": pytest.approx((n - 9 + lucky) / n),
        "wandb-2023-10-0shot": pytest.approx((n - 9 + lucky) / n),
        "stability-jp-capped": pytest.approx(share),
        "swallow-202411": pytest.approx((n - 9) / n),
        "nejumi-4": pytest.approx((n - 9) / n),
        "stability-jp": pytest.approx(share),
        "llm-jp-eval": pytest.approx((n - 9) / n),
        "flexeval": pytest.approx((n - 9) / n),
        "lm-eval-ja": pytest.approx(share),
    }
    assert set(found["protocols"]["stability-jp"]["metrics"]) == {
        *("accuracy", "acc_norm", "balanced_accuracy", "macro_f1", "mcc")
    }
    disputed = [row["item_id"] for row in found["disagreements"]]
    # Below nine a default may be right; from there on the text always is, and the ranking if it has to be entailment.
    assert disputed == [i for k, (i, gold) in enumerate(JNLI.items()) if (gold == "entailment") == (k < 9)]
    first = found["disagreements"][0]
    assert (first["text"], first["gold"]) == ("？", ["entailment"])
    assert {name for verdict in first["verdicts"] for name in verdict["protocols"]} >= set(PROTOCOLS)
    assert f"JNLI: the protocols disagree about {len(disputed)} items." in plain.out
    assert len(re.findall(r"^  item ", plain.out, re.MULTILINE)) == 1
    table = plain.out.split("\n\n")[1].splitlines()
    assert {re.split(r"\s{2,}", row)[1] for row in table if row.startswith("JNLI (sample)")} == set(PROTOCOLS)
    wrong = here("rescore", run_id, "--tasks", "jsts")
    assert (wrong.code, wrong.out) == (2, "")
    assert "The run has no jsts. It has jnli." in wrong.err


def test_log_probabilities_made_elsewhere_are_ranked_and_those_not_finite_are_counted(
    tmp_path: Path, here: Here
) -> None:
    ids = list(JNLI)
    file = tmp_path / "ranked.jsonl"
    good = [{"item_id": i, "choice_logprobs": [-1, -2.5, -3]} for i in ids[3:]]
    bad = (
        f'{{"item_id": "{i}", "text": "neutral", "choice_logprobs": [{three}]}}'
        for i, three in zip(ids[:3], ("NaN, -1, -2", "-Infinity, -1, -2", "-1, 1e999, -2"), strict=True)
    )
    file.write_text(lines(*good) + "".join(line + "\n" for line in bad), "utf-8")
    words = ("score", "--task", "jnli", "--data", "sample", "--predictions", file, "--json", "--protocol")
    told = here(*words, "stability-jp,wandb-2023-0shot")
    assert told.code == 0
    ranked, read = (told.json()["protocols"][name] for name in ("stability-jp", "wandb-2023-0shot"))
    assert ranked["metrics"]["accuracy"]["n"] == len(ids) - 3
    assert ranked["outcomes"]["error"] == 3
    assert read["metrics"]["accuracy"]["n"] == 3
    assert read["outcomes"]["unscored"] == len(ids) - 3
    for wrong in ("[-1, -2]", '["a", -1, -2]', "[true, -1, -2]", "[null, -1, -2]", "-1", "{}"):
        file.write_text(f'{{"item_id": "{ids[0]}", "choice_logprobs": {wrong}}}\n', "utf-8")
        refused = here(*words, "stability-jp")
        assert (refused.code, refused.out) == (2, "")
        assert f"line 1: 'choice_logprobs' of item {ids[0]!r} must be one number each for entailment" in refused.err


# --- lint-prompt ------------------------------------------------------------------------------------------


def test_prompts_are_looked_at_before_a_model_is_run(tiny_model: Any, here: Here, right: Path) -> None:
    words = ("lint-prompt", "--tasks", "jnli", "--limit", 3, "--model")
    model = tiny_model("qwen3", bos=False)
    plain, machine = here(*words, model, "--max-new-tokens", 1), here(*words, model, "--json")
    assert plain.code == 2
    *_, last = plain.out.splitlines()
    assert re.match(r"error   JNLI: Labels need more than the 1 new tokens allowed: .* \[answer_too_long\]", plain.out)
    assert re.fullmatch(rf"{re.escape(str(model))}: 2 errors, 0 warnings, 2 notes\. Items checked: JNLI 3\.", last)
    found = machine.json()
    assert (found["model"], found["checked"]) == (str(model), {"jnli": 3})
    assert {"rule", "level", "task", "message", "items", "of", "example", "facts"} == set(found["findings"][0])
    assert "missing_bos" in [finding["rule"] for finding in found["findings"]]
    refused = here(*words, right)
    assert (refused.code, refused.out) == (2, "")
    assert "has no tokenizer to look at" in refused.err


# --- data -------------------------------------------------------------------------------------------------


@pytest.fixture
def site() -> Iterator[tuple[str, dict[str, bytes]]]:
    """The address of a web server on this machine, and its pages."""
    pages: dict[str, bytes] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = pages.get(self.path)
            self.send_response(404 if body is None else 200)
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}", pages
        server.shutdown()
        thread.join()


TRAIN = lines(
    {"sentence_pair_id": "t1", "sentence1": "犬が走る。", "sentence2": "動物が動く。", "label": "entailment"},
    {"sentence_pair_id": "t2", "sentence1": "空は青い。", "sentence2": "空は赤い。", "label": "contradiction"},
).encode()


def test_files_are_listed_fetched_and_verified(
    tmp_path: Path, site: tuple[str, dict[str, bytes]], monkeypatch: pytest.MonkeyPatch, here: Here
) -> None:
    url, pages = site
    pages["/jnli-v1.3/train-v1.3.json"] = TRAIN
    pages["/jnli-v1.3/valid-v1.3.json"] = TRAIN  # not the file whose checksum is known
    folder = tmp_path / "jglue"
    (folder / "marc_ja-v1.1").mkdir(parents=True)
    (folder / "marc_ja-v1.1" / "valid-v1.1.json").write_text(
        lines({"review_id": "m1", "sentence": "よい。", "label": "positive"}), "utf-8"
    )
    monkeypatch.setenv("JGLUE_DATA_URL", url)
    monkeypatch.setenv("JGLUE_DATA_DIR", str(folder))
    fetch = ("data", "fetch", "--task", "jnli")
    cached = tmp_path / "cache" / "jglue" / "v1.3.0" / "jnli-v1.3" / "train-v1.3.json"
    nothing = here("data", "verify", "--json")
    assert (nothing.code, len(nothing.json())) == (2, 19)
    assert (
        "None of the files that can be fetched is here. Fetch them with `python -m jglue_app data fetch`" in nothing.err
    )
    good = cli(*fetch, "--split", "train", "--json")
    altered, missing = here(*fetch), here(*fetch, "--split", "test")
    assert (good.code, good.json()) == (0, [str(cached)])
    assert good.err == f"Downloaded {url}/jnli-v1.3/train-v1.3.json ({len(TRAIN)} bytes).\n"
    assert cached.read_bytes() == TRAIN
    assert (altered.code, missing.code) == (2, 4)
    assert "not the official JGLUE v1.3 file" in altered.err
    assert "answered 404" in missing.err and "--data" not in missing.err
    assert here(*fetch, "--split", "train").out == f"{cached}\n"

    table_, verified, listed = cli("data", "list"), here("data", "verify"), here("data", "list", "--json")
    rows = {(row["task"], row["split"]): row for row in listed.json()}
    assert len(rows) == 19
    assert {key: row["path"] for key, row in rows.items() if row["path"]} == {
        ("jnli", "train"): str(cached),
        ("marc_ja", "valid"): str(folder / "marc_ja-v1.1" / "valid-v1.1.json"),
    }
    assert [row["task"] for row in rows.values() if not row["distributed"]] == ["marc_ja"] * 3 + ["jcola"] * 4
    assert len([row for row in rows.values() if row["pinned"]]) == 10
    assert len([row for row in rows.values() if row["sample"]]) == 12
    columns = [re.split(r"\s{2,}", line.strip()) for line in table_.out.splitlines()]
    assert ["JNLI", "train", str(cached), "yes"] in columns
    assert ["JSQuAD", "valid", "not here; fetched when needed", "yes"] in columns
    assert ["MARC-ja", "test", "no longer distributed", "–"] in columns
    assert ["JCoLA", "valid", "bring your own copy", "yes"] in columns
    assert ["JCoLA", "out_of_domain", "bring your own copy", "–"] in columns
    assert verified.code == 0
    columns = [re.split(r"\s{2,}", line.strip()) for line in verified.out.splitlines()]
    assert columns[0] == ["subset", "split", "version", "state", "items", "sha256"]
    assert [row[:5] for row in columns if row[3:4] == ["unpinned"]] == [
        ["marc_ja", "valid", "user", "unpinned", "1"],
        ["jnli", "train", "v1.3", "unpinned", "2"],
    ]

    cached.write_bytes(TRAIN.replace(b"t2", b"t1"))
    damaged = here("data", "verify", "--json")
    assert damaged.code == 2
    (row,) = (row for row in damaged.json() if row["state"] == "damaged")
    assert (row["task"], row["split"], row["path"]) == ("jnli", "train", str(cached))
    assert "line 2: the id 't1' was already used at line 1" in row["message"]
    plain = here("data", "verify")
    assert plain.code == 2
    assert row["message"] in plain.out.splitlines()

    # A copy of one's own is what would be read: it is verified, and nothing is downloaded.
    own = folder / "jnli-v1.3" / "train-v1.3.json"
    own.parent.mkdir()
    own.write_bytes(TRAIN)
    pages.clear()
    assert here(*fetch, "--split", "train").out == f"{own}\n"
    own.write_bytes(TRAIN.replace(b"t2", b"t1"))
    assert "was already used at line 1" in here(*fetch, "--split", "train").err


# --- bad input --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("run --tasks jnil", "Did you mean 'jnli'?"),
        ("run --tasks=", "Choose at least one subset"),
        ("run --tasks ,", "Choose at least one subset"),
        ("run --limit 0", "at least 1"),
        ("run --limit=-3", "at least 1"),
        ("run --tasks jnli --split dev", "Known: train, valid, test."),
        ("run --tasks jcola --split dev", "Known: train, valid, test, out_of_domain."),
        ("run --split test", "Choose valid for “Split” (--split), or the official “Data” (--data official)."),
        ("run --data sampel", "Did you mean 'sample'?"),
        ("run --style none", "Or give the path of your own .toml file."),
        ("run --style none.toml", "Known styles:"),
        ("run --format chatml", "Did you mean 'chat'?"),
        ("run --shots=-1", "must be 0 or more"),
        ("run --shots 500", "Ask for fewer"),
        ("run --shots 1 --shot-selection even", "Known: fixed, random, balanced."),
        ("run --method rank", "Known: generate, choose, both."),
        ("run --method choose --tasks jsquad", "Choose the method generate or both"),
        ("run --max-new-tokens 0", "from 1 to 4096"),
        ("run --backend vllm", "Known: hf, openai_api, scripted."),
        ("run --protocol offical", "Did you mean 'official'?"),
        ("run --tasks marc_ja --marc-ja none.json", "Give the path of a readable file."),
        ("run --model {tmp}/broken.jsonl", "broken.jsonl, line 2: not valid JSON"),
        ("compare 0123", "Name exactly two stored runs, or none."),
        ("compare 1 2 3", "Name exactly two stored runs, or none."),
        ("compare --a {model} --b {model}", "A and B are the same. Change one of them"),
        ("compare --a {model} --b-shots 500", "Ask for fewer"),
        ("compare --a {model} --protocol x --b-shots 1", "Unknown protocol 'x'. Known: official"),
        ("score --task jnil --predictions {model}", "Did you mean 'jnli'?"),
        ("score --task jnli --predictions none.jsonl", "Give the path of a JSON Lines file."),
        ("score --task jnli --predictions {tmp}", "Give the path of a JSON Lines file."),
        ("score --task jnli --predictions {tmp}/broken.jsonl", "broken.jsonl, line 2: not valid JSON"),
        ("score --task jnli --predictions {model}", "there is no item 'sm001' in jnli/valid. Check --task"),
        ("score --task jnli --predictions {model} --protocol x", "Unknown protocol 'x'. Known: official"),
        ("data fetch --task marc_ja", "“Your own MARC-ja file” (--marc-ja)"),
        ("data fetch --task jnil", "Did you mean 'jnli'?"),
        ("data fetch --split dev", "Known: train, valid, test."),
    ],
)
def test_bad_input_is_exit_code_2_and_one_sentence_with_a_remedy(
    here: Here, tmp_path: Path, right: Path, arguments: str, says: str
) -> None:
    (tmp_path / "broken.jsonl").write_text('{"item_id": "sn001", "text": "neutral"}\n{"item_id": \n', "utf-8")
    words = [word.format(tmp=tmp_path, model=right) for word in arguments.split()]
    if words[0] == "run":
        words += [] if "--model" in words else ["--model", str(right)]
    if words[0] != "data":
        words += [] if "--data" in words else ["--data", "sample"]
        words += ["--json"] + ([] if "--tasks" in arguments or words[0] == "score" else ["--tasks", "jnli"])
    told = here(*words)
    assert told.code == 2
    assert told.out == ""
    *before, last = told.err.splitlines()
    assert last.startswith("error: ")
    assert says in last
    assert all(line.startswith("Preparing ") for line in before)
    assert stored_lines(tmp_path / "runs") == 0


@pytest.mark.parametrize(
    "arguments",
    [
        *("runn", "run --limit many", "run --limit 2.5", "run extra", "run --no-such-option"),
        *("score", "score --task jnli", "data lst", "serve --port high", "--limit 3"),
    ],
)
def test_a_command_that_cannot_be_understood_is_exit_code_2_with_its_usage(here: Here, arguments: str) -> None:
    told = here(*arguments.split())
    assert (told.code, told.out) == (2, "")
    assert "Usage: python -m jglue_app" in told.err
    assert "--help" in told.err


def test_a_run_folder_at_fault_is_exit_code_5(here: Here, right: Path, tmp_path: Path) -> None:
    def fault(*arguments: object) -> str:
        told = here(*arguments)
        assert (told.code, told.out) == (5, "")
        (sentence,) = (line for line in told.err.splitlines() if not line.startswith("Preparing "))
        assert sentence.startswith("error: ")
        return sentence

    assert here(*sample("--limit", 3, model=right)).code == 0
    (run,) = (tmp_path / "runs").iterdir()
    file = run / "records.jsonl"
    whole = file.read_bytes()

    assert "There is no run none" in fault("compare", run.name, "none")
    assert "cannot be made" in fault(*sample("--runs-dir", right, model=right))
    file.write_bytes(b"{}\n" + whole)
    assert "records.jsonl, line 1: damaged" in fault("compare", run.name, run.name)
    assert "Delete the line" in fault(*sample("--limit", 4, model=right))
    file.write_bytes(whole)
    manifest = json.loads((run / "manifest.json").read_text("utf-8"))
    other = {**manifest, "model": {**manifest["model"], "commit": "another"}}
    (run / "manifest.json").write_text(json.dumps(other), "utf-8")
    assert "have changed since this run was started" in fault(*sample("--limit", 4, model=right))
    (run / "manifest.json").write_text('{"format": 99}')
    assert "another version" in fault(*sample("--limit", 4, model=right))
    assert file.read_bytes() == whole


def test_a_folder_for_data_that_is_none_is_said_by_its_variable(
    here: Here, right: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JGLUE_DATA_DIR", str(right))
    for command in ("data list", "data verify", f"run --model {right} --tasks jnli"):
        told = here(*command.split())
        assert (told.code, told.out) == (2, "")
        assert "error: JGLUE_DATA_DIR names" in told.err


def test_files_are_checked_for_leaks_repeats_and_labels_of_another_version(
    tmp_path: Path, here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pair(id_: int, label: object, text: str) -> dict[str, object]:
        return {"sentence_pair_id": str(id_), "sentence1": f"{text}。", "sentence2": f"{text}だ。", "label": label}

    def put(name: str, *rows: Mapping[str, Any]) -> Path:
        path = tmp_path / "jglue" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(lines(*rows), "utf-8")
        return path

    put("jnli-v1.3/valid-v1.3.json", pair(1, "neutral", "犬"), pair(2, "neutral", "猫"), pair(3, "neutral", "犬"))
    put("jsts-v1.3/train-v1.3.json", pair(7, 3.0, "猫"))
    monkeypatch.setenv("JGLUE_DATA_DIR", str(tmp_path / "jglue"))
    monkeypatch.setattr("jglue_app.data.files.PINNED_SHA256", {})
    machine, plain = here("data", "check", "--json"), here("data", "check")
    assert (machine.code, plain.code) == (0, 0)
    found = machine.json()
    assert [row["state"] for row in found["files"] if row["items"]] == ["unpinned", "unpinned"]
    (leak,) = found["leaks"]
    assert (leak["evaluated"], leak["other"], leak["items"], leak["of"]) == ("jnli/valid", "jsts/train", 1, 3)
    (again,) = found["repeats"]
    assert (again["file"], again["items"], again["contradicting"]) == ("jnli/valid", 1, 0)
    assert (found["shared"], found["jnli_labels"]) == ([], [])
    assert re.search(r"^jnli/valid +jsts/train +1 +3 +33\.3% +2 = 7", plain.out, re.MULTILINE)
    assert "No other version of JNLI valid is at hand" in plain.out
    # In the folder, or given by name.
    old = put("jnli-v1.1/valid-v1.1.json", pair(1, "entailment", "犬"), pair(2, "neutral", "猫"))
    elsewhere = old.rename(tmp_path / "old.json")
    given = here("data", "check", "--jnli-old", elsewhere)
    elsewhere.rename(old)
    for told in (given, here("data", "check")):
        assert "1 of 2 common items have another label; 1 item is new, 0 gone." in told.out
        assert "  entailment → neutral: 1\n  ids: 1\n" in told.out
    (tmp_path / "jglue/jnli-v1.3/valid-v1.3.json").write_text("{", "utf-8")
    damaged = here("data", "check")
    assert damaged.code == 2
    assert re.search(r"^jnli +valid +v1\.3 +damaged", damaged.out, re.MULTILINE)
    nothing = here("data", "check", "--jnli-old", old)
    assert "JNLI valid of v1.3 is not at hand, so there is nothing to compare" in nothing.out
    assert here("data", "check", "--split", "dev").code == 2
    monkeypatch.delenv("JGLUE_DATA_DIR")
    empty = here("data", "check")
    assert (empty.code, "None of these files is here, so there is nothing to compare." in empty.out) == (0, True)
    samples = here("data", "check", "--data", "sample")
    assert (samples.code, samples.out.count("  none")) == (0, 3)


def test_in_public_mode_tables_of_answers_are_refused(here: Here, right: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JGLUE_MODE", "public")
    told = here(*sample("--limit", "1", model=right))
    assert told.code == 2
    assert "local mode only" in told.err


@pytest.mark.parametrize("option", ["--tasks=colours", "--limit=0", "--a-shots=-1", "--data=mine"])
def test_options_of_a_request_are_not_looked_at_where_two_stored_runs_are_named(
    option: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["jglue_app", "compare", "none", "nor-this", option])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 5
    assert "There is no run none." in capsys.readouterr().err
