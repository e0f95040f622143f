"""What `bench` prints: a table of the runs here, of those in other harnesses, and of those in other precisions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from rich.table import Table

from jglue_app.bench.harness_comparison import HarnessComparison
from jglue_app.bench.measure import Measurement
from jglue_app.bench.precision_comparison import PrecisionComparison, ResultDifference
from jglue_app.bench.repetition import MAX_SPREAD
from jglue_app.cli.counts import counted
from jglue_app.cli.tables import print_lines, print_table

if TYPE_CHECKING:
    from jglue_app.backends.hf.machine import Machine

PARTS = ("prefill", "decode", "head", "tokenize", "other")
UNSTEADY = "!"
"""Stands beside a spread that is too large."""


def print_measurements(rows: Sequence[Measurement]) -> None:
    """The runs here."""
    titles = ("subset", "method", "shots", "precision", "items", "items/s", "spread", "runs")
    more = ("distinct tok/s", "naive tok/s", "sharing", "prefill", "decode", "head", "tokenizer", "other")
    table = Table(*titles, *more, "of the bound", box=None, pad_edge=False)
    for row in rows:
        table.add_row(
            row.task,
            row.method,
            str(row.shots),
            row.precision,
            str(row.items),
            f"{row.items_per_s:.2f}",
            _spread(row.spread),
            str(len(row.run_seconds)),
            f"{row.distinct_tokens_per_s:.0f}",
            f"{row.naive_tokens_per_s:.0f}",
            f"{row.sharing:.1f} ×",
            *(f"{row.parts[name]:.2f} s" for name in PARTS),
            f"{100 * row.fraction:.0f} %",
        )
    print_table(table)


def print_harnesses(rows: Sequence[HarnessComparison], resident: int) -> None:
    """The same in other harnesses, and below it why a ratio is marked or not given."""
    titles = ("subset", "method", "shots", "harness", "weights", "batch", "items/s", "spread", "here", "spread")
    table = Table(*titles, "ratio", "spread", "pairs", "tokens", "same", "memory", "here", box=None, pad_edge=False)
    notes: list[str] = []
    for row in rows:
        same = f"{row.equal_texts}/{row.items} texts" if row.most_apart is None else f"within {row.most_apart:.1g}"
        tokens = row.tokens
        table.add_row(
            row.task,
            row.method,
            str(row.shots),
            f"{row.peer} {row.version}",
            row.weights,
            str(row.batch) if row.tried else "its own",
            f"{row.items_per_s:.3g}",
            _spread(row.spread),
            f"{row.ours_per_s:.3g}",
            _spread(row.ours_spread),
            _ratio(row.ratio) + (" *" if row.doubts else ""),
            _spread(row.ratio_spread),
            str(len(row.pairs.theirs)),
            "the same" if tokens.same == tokens.items else f"{tokens.same}/{tokens.items} the same",
            same,
            f"{row.peak_bytes / 2**30:.2f} GiB",
            f"{resident / 2**30:.2f} GiB",
        )
        notes += [
            f"* {row.task}, {row.method}, {counted(row.shots, 'example')}, {row.peer}: {doubt}." for doubt in row.doubts
        ]
    print_lines([""])
    print_table(table)
    print_lines(notes)


def print_precisions(rows: Sequence[PrecisionComparison]) -> None:
    """The same in other precisions."""
    titles = ("subset", "method", "shots", "precision", "items/s", "spread", "beside", "items/s", "spread", "ratio")
    table = Table(*titles, "spread", "pairs", "results", box=None, pad_edge=False)
    for row in rows:
        table.add_row(
            row.task,
            row.method,
            str(row.shots),
            row.precision,
            f"{row.items_per_s:.3g}",
            _spread(row.spread),
            row.base,
            f"{row.base_per_s:.3g}",
            _spread(row.base_spread),
            _ratio(row.ratio),
            _spread(row.ratio_spread),
            str(len(row.pairs.theirs)),
            _results(row.results),
        )
    print_lines([""])
    print_table(table)


def spread_lines(spreads: Sequence[float | None], runs: int) -> Iterator[str]:
    """What the spreads of all tables are, and what a mark beside one means.

    Args:
        spreads: all of them.
        runs: how many runs each is of.
    """
    if runs == 1:
        yield "One run of each: how much such runs spread is not known."
        return
    yield f"Medians of the last {runs} runs or pairs; spread: (largest − smallest) ÷ median."
    if any(spread is not None and spread >= MAX_SPREAD for spread in spreads):
        yield (
            f"{UNSTEADY} a spread of {100 * MAX_SPREAD:.0f} % or more: end other programs, or allow more with "
            "--time-limit or a larger --limit."
        )


def machine_lines(
    machines: Sequence[Machine], packed: bool, budget: int, load_seconds: float, peaks: Mapping[str, int | None]
) -> Iterator[str]:
    """The machine, and what the model took."""
    path = "prompts share their tokens" if packed else "padded batches"
    rates = ", ".join(f"{machine.gflops:.0f} GFLOP/s in {machine.dtype}" for machine in machines)
    first = machines[0]
    yield f"{first.device}, {counted(first.threads, 'thread')}, torch {first.torch}: {rates} ({path})."
    peak = f"at most {(peaks['resident'] or 0) / 2**30:.2f} GiB of memory"
    if on_device := peaks["accelerator"]:
        peak += f", {on_device / 2**30:.2f} GiB on the accelerator"
    yield f"Loaded in {load_seconds:.1f} s; {peak}; {budget / 2**30:.1f} GiB may be worked in."


def _spread(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{100 * value:.1f} %" + (f" {UNSTEADY}" if value >= MAX_SPREAD else "")


def _ratio(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f} ×"


def _results(found: ResultDifference) -> str:
    parts: list[str] = []
    if found.other_texts is not None:
        parts.append(f"{found.other_texts}/{found.items} other texts")
    elif found.most_apart is not None:
        parts.append(f"{found.flips}/{found.items} other choices, log-probabilities within {found.most_apart:.2g}")
    if found.without:
        parts.append(f"{counted(found.without, 'item')} without an output")
    return ", ".join(parts)
