"""What the command line prints when it is not a terminal."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from rich.table import Table

from jglue_app.cli.agreement import token_parts
from jglue_app.cli.tables import (
    print_comparison,
    print_disagreements,
    print_lines,
    print_parts,
    print_report,
    print_table,
)
from jglue_app.results.first_differences import FirstDifference, FirstDifferences
from jglue_app.runs.events import Event
from jglue_app.runs.progress import ProgressView
from jglue_app.scoring.disagreement import Disagreement, Verdict
from jglue_app.scoring.types import (
    Agreement,
    Comparison,
    Cost,
    Difference,
    Estimate,
    Flips,
    LogprobAgreement,
    LogprobDifference,
    Report,
    TaskReport,
    TextAgreement,
)
from jglue_app.types import Item, ModelInfo, Prompt, Record, Source

NO_DATA = Estimate(None, None, None, 0)


@pytest.fixture(autouse=True)
def _no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)


def task(name: str, source: Source, metric: str, strict: Estimate, lenient: Estimate, **changes: Any) -> TaskReport:
    values: dict[str, Any] = {
        "task": name,
        "source": source,
        "n": 50,
        "planned": 50,
        "metrics": {metric: strict},
        "lenient": {metric: lenient},
        "choose": {},
        "imputed": {},
        "outcomes": {},
        "unreadable": 0,
        "unreadable_lenient": 0,
        "floors": {},
    }
    return TaskReport(**{**values, **changes})


MARC = task(
    "marc_ja",
    "sample",
    "accuracy",
    Estimate(0.42, 0.301, 0.549, 50),
    Estimate(0.62, 0.4816, 0.7419, 50),
    choose={"accuracy": Estimate(0.7, 0.5, 0.8, 48)},
    outcomes={"correct": 21, "wrong_form": 10, "unreadable": 19},
    unreadable=29,
    unreadable_lenient=19,
    floors={"accuracy": 0.54},
    knows=7,
)
JSTS = task(
    "jsts",
    "official",
    "pearson",
    Estimate(None, None, None, 1),
    Estimate(-0.125, None, None, 3),
    outcomes={"wrong": 2, "correct": 1, "error": 1},
    unreadable=2,
)
JNLI = task("jnli", "user", "accuracy", Estimate(0.5, 0.25, 0.75, 4), Estimate(0.5, 0.25, 0.75, 4))
REPORT = Report(
    "0123456789abcdef",
    "m [bold] :smile: · plain",
    "official",
    {"marc_ja": MARC, "jsts": JSTS},
    NO_DATA,
    ("marc_ja", "jsts"),
    ("jsts",),
)


REFERENCES = [
    [""],
    ["for comparison, official metrics on all of dev", "JSTS pearson", "JSTS spearman"],
    ["human", "0.899", "0.861"],
    ["Tohoku BERT base, fine-tuned", "0.909", "0.868"],
    ["Waseda RoBERTa large (s512), fine-tuned", "0.926", "0.892"],
]
OUTCOMES = ["outcomes in", "correct", "wrong form", "wrong", "unreadable", "truncated", "empty"]
KNOWS = ["knows but cannot format: ranked the gold answer first and wrote it in no right form."]


def printed(capsys: pytest.CaptureFixture[str]) -> list[list[str]]:
    """Lines of standard output, split at columns; there must be no escape codes and nothing on standard error."""
    out, err = capsys.readouterr()
    assert err == ""
    assert "\x1b" not in out
    assert "…" not in out
    return [re.split(r"\s{2,}", line.strip()) for line in out.splitlines()]


def test_a_report_shows_each_score_with_interval_n_floor_and_unreadable_and_marks_samples(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_report(REPORT)
    assert printed(capsys) == [
        ["m [bold] :smile: · plain", "(run 0123456789abcdef, protocol official)"],
        ["subset", "metric", "score (95 % interval)", "n", "floor", "unreadable"],
        ["MARC-ja (sample)", "accuracy", "0.420 [0.301, 0.549]", "50", "0.540", "29"],
        ["MARC-ja (sample)", "accuracy, lenient", "0.620 [0.482, 0.742]", "50", "0.540", "19"],
        ["MARC-ja (sample)", "accuracy, log-likelihood", "0.700 [0.500, 0.800]", "48", "0.540", "0"],
        ["JSTS", "pearson", "–", "1", "–", "2"],
        ["JSTS", "pearson, lenient", "-0.125", "3", "–", "0"],
        *REFERENCES,
        [""],
        [*OUTCOMES, "error", "knows but cannot format"],
        ["MARC-ja (sample)", "21", "10", "0", "19", "0", "0", "0", "7"],
        ["JSTS", "1", "0", "2", "0", "0", "0", "1", "–"],
        KNOWS,
        [""],
        ["average of the main metric over MARC-ja (sample), JSTS: – (no value for JSTS)"],
    ]


@pytest.mark.parametrize(("unreadable", "ranked", "told"), [(25, False, True), (24, False, False), (50, True, False)])
def test_texts_that_could_mostly_not_be_read_lead_to_the_ranking(
    capsys: pytest.CaptureFixture[str], unreadable: int, ranked: bool, told: bool
) -> None:
    one = replace(MARC, unreadable=unreadable, choose=MARC.choose if ranked else {})
    tasks = {"marc_ja": one, "jsts": replace(JSTS, unreadable=50)}
    print_report(replace(REPORT, tasks=tasks))
    out = capsys.readouterr().out
    assert ("MARC-ja: half of the outputs or more could not be read as one of the answers" in out) is told
    assert ("--method both" in out) is told


def test_an_average_names_its_subsets_and_their_sources(capsys: pytest.CaptureFixture[str]) -> None:
    tasks = {"marc_ja": MARC, "jnli": JNLI}
    print_report(Report("00", "m", "official", tasks, Estimate(0.46, None, None, 54), tuple(tasks), ()))
    assert printed(capsys)[-1] == ["average of the main metric over MARC-ja (sample), JNLI (own file): 0.460"]


def test_a_report_without_any_output_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    empty = replace(JNLI, source="official", metrics={}, lenient={}, n=0)
    print_report(Report("00", "m", "official", {"jnli": empty}, NO_DATA, ("jnli",), ("jnli",)))
    assert printed(capsys)[-3:] == [
        OUTCOMES,
        [""],
        ["average of the main metric over JNLI: – (no value for JNLI)"],
    ]


@pytest.mark.parametrize(
    ("verdict", "difference", "shown"),
    [
        (
            "a",
            Estimate(-0.25, -0.375, -0.125, 48),
            ["-0.250 [-0.375, -0.125]", "0.010", "0.020", "A is better", "48", "1,234"],
        ),
        (
            "b",
            Estimate(0.25, 0.125, 0.375, 48),
            ["+0.250 [+0.125, +0.375]", "0.010", "0.020", "B is better", "48", "1,234"],
        ),
        (
            "undecided",
            Estimate(0.0, -0.125, 0.125, 48),
            ["+0.000 [-0.125, +0.125]", "0.010", "0.020", "cannot tell", "48", "1,234"],
        ),
        ("undecided", Estimate(None, None, None, 48), ["–"] * 6),
    ],
)
def test_a_comparison_shows_both_scores_the_difference_and_what_it_means(
    capsys: pytest.CaptureFixture[str], verdict: str, difference: Estimate, shown: list[str]
) -> None:
    other = task(
        "marc_ja",
        "sample",
        "accuracy",
        Estimate(0.5, 0.25, 0.75, 48),
        Estimate(0.625, 0.5, 0.75, 48),
        outcomes={"correct": 24, "wrong": 24},
        unreadable=5,
    )
    b = Report(
        "fedcba9876543210", "other", "official", {"marc_ja": other}, Estimate(0.5, 0.36, 0.64, 48), ("marc_ja",), ()
    )
    found = Difference(
        MARC.metrics["accuracy"], other.metrics["accuracy"], difference, verdict, 0.01, 0.02, "mcnemar", 1234
    )
    print_comparison(Comparison(REPORT, b, {"marc_ja": {"accuracy": found}}, {}, {}))
    assert printed(capsys) == [
        ["A: m [bold] :smile: · plain", "(run 0123456789abcdef)"],
        ["B: other", "(run fedcba9876543210)"],
        ["protocol official"],
        [""],
        [
            *["subset", "metric", "A", "B", "B − A", "p", "p (Holm)", "verdict", "n", "n for 80 %", "floor"],
            "unreadable A/B",
        ],
        ["MARC-ja (sample)", "accuracy", "0.420 [0.301, 0.549]", "0.500 [0.250, 0.750]", *shown, "0.540", "29/5"],
        [
            *["MARC-ja (sample)", "accuracy, lenient", "0.620 [0.482, 0.742]", "0.625 [0.500, 0.750]"],
            *["–"] * 6,
            *["0.540", "19/0"],
        ],
        [
            *["MARC-ja (sample)", "accuracy, log-likelihood", "0.700 [0.500, 0.800]", "–"],
            *["–"] * 6,
            *["0.540", "0/0"],
        ],
        ["JSTS", "pearson", *["–"] * 9, "2/0"],
        ["JSTS", "pearson, lenient", "-0.125", *["–"] * 8, "0/0"],
        ["p: McNemar's exact test where answers are right or wrong, else paired bootstrap; Holm: over the subsets."],
        ["n for 80 %: items with which a difference of this size would be found four times in five, with p (Holm)."],
        *REFERENCES,
        [""],
        [*OUTCOMES, "error", "knows but cannot format"],
        ["MARC-ja (sample) A", "21", "10", "0", "19", "0", "0", "0", "7"],
        ["MARC-ja (sample) B", "24", "0", "24", "0", "0", "0", "0", "–"],
        ["JSTS A", "1", "0", "2", "0", "0", "0", "1", "–"],
        KNOWS,
        [""],
        ["A average of the main metric over MARC-ja (sample), JSTS: – (no value for JSTS)"],
        ["B average of the main metric over MARC-ja (sample): 0.500 [0.360, 0.640]"],
    ]


def test_a_long_or_odd_cell_is_printed_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table("path", "state", box=None)
    table.add_row("/data/[bold]x[/]/:smile:/[/b]/" + "y" * 500, "ok")
    print_table(table)
    assert printed(capsys)[1] == ["/data/[bold]x[/]/:smile:/[/b]/" + "y" * 500, "ok"]


def test_a_table_wraps_words_and_heads_and_where_that_is_not_enough_has_a_block_for_each_row(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def shown(width: int) -> list[str]:
        table = Table("id", "run", "score (95 % interval)", box=None, pad_edge=False)
        table.add_row("bed0123456789abc", "gemma-3-270m · plain · 日本語の名前", "0.420 [0.301, 0.549]")
        monkeypatch.setenv("COLUMNS", str(width))
        print_table(table)
        return [line.rstrip() for line in re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out).splitlines()]

    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    assert shown(63) == [
        "id                run                   score (95 % interval)",
        "bed0123456789abc  gemma-3-270m · plain  0.420 [0.301, 0.549]",
        "                  · 日本語の名前",
    ]
    assert shown(50) == [
        "id: bed0123456789abc",
        "run: gemma-3-270m · plain · 日本語の名前",
        "score (95 % interval): 0.420 [0.301, 0.549]",
        "",
    ]


def event(done: int, total: int, *, speed: float | None = 2.0, side: Any = "a", task: str = "jnli") -> Event:
    left = (total - done) / speed if speed else None
    return Event("record", "m", side, task=task, done=done, total=total, items_per_s=speed, seconds_left=left)


def test_progress_is_a_first_and_a_last_plain_line_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    with ProgressView(names_sides=True) as view:
        for done in range(1, 31):
            view.show(event(done, 30))
        view.show(event(1, 1, side="b", task="marc_ja", speed=12.345))
        view.show(Event("done", "m"))
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "A JNLI: 1/30 items, 2.0 items/s, 14 s left",
        "A JNLI: 30/30 items, 2.0 items/s",
        "B MARC-ja: 1/1 items, 12.3 items/s",
    ]


def test_slow_progress_is_told_in_seconds_for_each_item(capsys: pytest.CaptureFixture[str]) -> None:
    with ProgressView() as view:
        view.show(event(1, 10, speed=0.05))
    assert capsys.readouterr().err == "JNLI: 1/10 items, 20 s/item, 180 s left\n"


def test_progress_is_told_every_ten_seconds(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    with ProgressView() as view:
        for done in range(1, 26):
            view.show(event(done, 100, speed=1.0))
            now += 1.0
    assert [line.split(" items")[0] for line in capsys.readouterr().err.splitlines()] == [
        "JNLI: 1/100",
        "JNLI: 12/100",
        "JNLI: 23/100",
    ]


def test_a_notice_is_printed_as_it_is_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    message = "Preparing [red]/models/[/red] :smile: " + "長い名前" * 100
    with ProgressView() as view:
        view.show(Event("notice", "m", message=message))
    assert capsys.readouterr().err == message + "\n"


def test_a_download_is_told_once_when_it_is_complete(capsys: pytest.CaptureFixture[str]) -> None:
    url = "http://127.0.0.1/jnli-v1.3/valid-v1.3.json"
    with ProgressView() as view:
        for done in (65_536, 131_072, 131_072, 131_072):
            view.download(url, done, 131_072)
        view.download("http://127.0.0.1/of-unknown/size.json", 500, 0)
    assert capsys.readouterr().err.splitlines() == [f"Downloaded {url} (131,072 bytes)."]


def test_a_comparison_shows_whose_answers_differ_and_what_both_cost(capsys: pytest.CaptureFixture[str]) -> None:
    info = ModelInfo("m", "c", "float32", "cpu", None, "", False, "", False, 3 * 2**29)
    small = replace(info, memory_bytes=2**20)
    flips = {
        "marc_ja": {"strict": Flips(48, 3, 2, 1), "choose": Flips(40, 0, 0, 0)},
        "jsts": {"strict": Flips(8, 4, None, None)},
    }
    cost = Cost(info, "none", 48, 12.0), Cost(small, "8bit", 0, 0.0)
    print_comparison(Comparison(REPORT, REPORT, {}, {}, {}, None, flips, cost))
    lines = printed(capsys)
    start = lines.index(["other answers in", "by", "items", "differ", "only A right", "only B right"])
    assert lines[start + 1 : start + 7] == [
        ["MARC-ja", "score", "48", "3 (6.2 %)", "1", "2"],
        ["MARC-ja", "log-likelihood", "40", "0 (0.0 %)", "0", "0"],
        ["JSTS", "score", "8", "4 (50.0 %)", "–", "–"],
        [""],
        ["cost of", "dtype", "quantization", "device", "weights", "items/s"],
        ["A", "float32", "none", "cpu", "1,536 MiB", "4.00"],
    ]
    assert lines[start + 7] == ["B", "float32", "8bit", "cpu", "1 MiB", "–"]


def test_a_comparison_shows_how_far_log_probabilities_and_texts_are_the_same(
    capsys: pytest.CaptureFixture[str],
) -> None:
    logprobs = LogprobAgreement(
        kl=Estimate(0.0123456, 0.01, 0.015, 40),
        total_variation=Estimate(0.00002, None, None, 40),
        bits_a=Estimate(2.5, 2.25, 2.75, 40),
        bits_b=Estimate(2.0, 1.75, 2.25, 40),
        bits_difference=Estimate(-0.5, -0.75, -0.25, 40),
        mean_difference=Estimate(0.25, 0.125, 0.5, 40),
        largest=LogprobDifference("m1", "否定\n", -2.0, -3.5),
    )
    agreement = {
        "marc_ja": Agreement(logprobs, TextAgreement(48, 36, 12.5, 3, "m7"), other_answers=8),
        "jsts": Agreement(None, TextAgreement(3, 3, None, None, "")),
        "jnli": Agreement(None, None, approximate=True),
    }
    print_comparison(Comparison(REPORT, REPORT, {}, {}, {}, agreement=agreement))
    lines = printed(capsys)
    start = next(i for i, line in enumerate(lines) if line[0] == "log-probabilities in")
    assert lines[start : start + 2] == [
        [
            "log-probabilities in",
            "items",
            "KL(A‖B), nats",
            "total variation",
            "bits/char A",
            "bits/char B",
            "B − A",
            "mean |Δ ln P|",
            "largest |Δ ln P|",
            "in item",
            "answer",
        ],
        [
            "MARC-ja",
            "40",
            "0.0123 [0.01, 0.015]",
            "2e-05",
            "2.5 [2.25, 2.75]",
            "2 [1.75, 2.25]",
            "-0.5 [-0.75, -0.25]",
            "0.25 [0.125, 0.5]",
            "1.5",
            "m1",
            "否定⏎",
        ],
    ]
    start = next(i for i, line in enumerate(lines) if line[0] == "texts in")
    assert lines[start : start + 3] == [
        ["texts in", "items", "identical", "first difference (median)", "earliest", "in item"],
        ["MARC-ja", "48", "36 (75.0 %)", "12.5", "3", "m7"],
        ["JSTS", "3", "3 (100.0 %)", "–", "–"],
    ]
    notes = [line[0] for line in lines if line[0].startswith("note: ")]
    assert notes[0].startswith("note: MARC-ja: Log-probabilities of 8 of the items are not compared")
    assert notes[1].startswith("note: JNLI: Log-probabilities are not compared: answers of at least one side")


def test_first_differing_tokens_are_shown_with_the_median_and_the_earliest(capsys: pytest.CaptureFixture[str]) -> None:
    differences = (
        FirstDifference("j1", 9, 4, "です", ""),
        FirstDifference("j2", 3, 1, "含", "\n"),
        FirstDifference("j3", 9, 2, "は", "が"),
    )
    print_parts(token_parts(FirstDifferences("owner/m", {"jnli": differences})))
    assert printed(capsys)[1:3] == [
        ["first differing token in", "items that differ", "median", "earliest", "in item", "token of A", "token of B"],
        ["JNLI", "3", "2", "1", "j2", "含", "⏎"],
    ]
    print_parts(token_parts(FirstDifferences("owner/m", {"jnli": differences[:1]})))
    assert printed(capsys)[2] == ["JNLI", "1", "4", "4", "j1", "です", "(end)"]
    print_parts(token_parts(FirstDifferences("owner/m", {})))
    assert printed(capsys) == []


def test_what_a_terminal_would_obey_is_spelled_out(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table("model", "output", box=None, pad_edge=False)
    table.add_row("a\x1b[2Jb", "[red]東京[/red]\x07\x9b31m")
    print_table(table)
    print_lines(["\x1b]0;title\x07 東京\t1", "two\nlines"])
    printed = capsys.readouterr().out
    assert "a\\x1b[2Jb" in printed and "[red]東京[/red]\\x07\\x9b31m" in printed
    assert "\\x1b]0;title\\x07 東京\t1\ntwo\nlines\n" in printed
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f]", printed)


@pytest.mark.parametrize(
    ("task", "verdicts", "lines"),
    [
        (
            "jnli",
            (
                Verdict(("official", "flexeval"), None, "no_label", False),
                Verdict(("nejumi-3",), "entailment", "mention", False),
                Verdict(("official, lenient",), "neutral", "mention", True),
            ),
            [
                "    wrong, nothing read: it names no label  [official; flexeval]",
                "    wrong 「entailment」: the only answer that the text asserts  [nejumi-3]",
                "    right 「neutral」: the only answer that the text asserts  [official, lenient]",
            ],
        ),
        (
            "jsts",
            (
                Verdict(("official",), None, "no_number", None),
                Verdict(("flexeval",), 3.0, "exact", None),
            ),
            [
                "    nothing read: it holds no number  [official]",
                "    read as 「3.0」: the output as it is, apart from surrounding white space  [flexeval]",
            ],
        ),
    ],
)
def test_a_disagreement_says_in_words_what_was_read_and_whether_that_is_right(
    task: str, verdicts: tuple[Verdict, ...], lines: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    item = Item(task, "7", {}, 3.0 if task == "jsts" else ("neutral",))
    record = Record("s", task, "7", Prompt(task, "7", "p", None, (), (), "", (), ""))
    print_disagreements({task: [Disagreement(item, record, verdicts)]}, 1)
    assert capsys.readouterr().out.splitlines()[3:] == lines
