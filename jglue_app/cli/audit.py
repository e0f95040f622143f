"""`audit`: what a published score, or a whole leaderboard, is consistent with."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from jglue_app.audit.auditor import audit_score, audit_table
from jglue_app.audit.leaderboard_audit import Ranking
from jglue_app.audit.sentences import Finding, sentence
from jglue_app.cli.options import JsonOption
from jglue_app.cli.tables import print_json, print_lines, print_table
from jglue_app.errors import InputError

HEADS = {"alert": "Doubts:", "note": "Findings:", "info": "Details:"}
MAX_NAMED = 3
"""Models that a line of a table names."""


def audit(
    file: Annotated[
        Path | None,
        typer.Argument(help="A leaderboard: .csv, .tsv, .json or a Markdown table, with a row for each model."),
    ] = None,
    task: Annotated[str | None, typer.Option(help="The subset of a single score.")] = None,
    score: Annotated[
        str | None, typer.Option(help="The score as it is printed: 0.3016, .3016, 30.16 or 30.16%.")
    ] = None,
    n: Annotated[
        int | None, typer.Option("--n", help="Its number of items; without it, known numbers are tried.")
    ] = None,
    metric: Annotated[
        str | None, typer.Option(help="acc, acc_norm, balanced_accuracy, macro_f1, mcc, em, f1, char_f1, pearson, …")
    ] = None,
    system: Annotated[
        str | None, typer.Option(help="Whose protocol gave it: wandb-2023, stability-jp, swallow-202411, …")
    ] = None,
    percent: Annotated[bool, typer.Option("--percent", help="Scores are percentages.")] = False,
    fraction: Annotated[bool, typer.Option("--fraction", help="Scores are fractions of 1.")] = False,
    column: Annotated[
        list[str] | None,
        typer.Option(help="What a column is, as TASK[:METRIC[:N]]=HEAD; may be given several times."),
    ] = None,
    model_column: Annotated[str, typer.Option(help="The head of the column with the models.")] = "",
    as_json: JsonOption = False,
) -> None:
    """Say what a published score is consistent with: constant answers, numbers of items, other published scores. With
    a file, which scores of a leaderboard sit on a floor or are impossible, and which cannot be told apart."""
    if percent and fraction:
        raise InputError("Scores are percentages or fractions. Give one of --percent and --fraction.")
    scale = "percent" if percent else "fraction" if fraction else None
    if file is not None:
        if score is not None or task is not None or n is not None or metric is not None:
            raise InputError("A file has its own scores. Leave out --task, --score, --n and --metric, or the file.")
        board = audit_table(file, columns=_columns(column or ()), model_column=model_column, system=system, scale=scale)
        if as_json:
            print_json(board.plain())
            return
        _print_findings(board.findings)
        for ranking in board.rankings:
            _print_ranking(ranking)
        return
    if task is None or score is None:
        raise InputError("Give --task and --score, such as --task jnli --score 0.3016, or the file of a leaderboard.")
    if column or model_column:
        raise InputError("--column and --model-column belong to a file. Name one, or leave them out.")
    result = audit_score(task, score, n=n, metric=metric, system=system, scale=scale)
    if as_json:
        print_json(result.plain())
        return
    _print_findings(result.findings)


def _columns(columns: Iterable[str]) -> dict[str, str]:
    by_head: dict[str, str] = {}
    for text in columns:
        what, equals, head = text.partition("=")
        if not equals or not what or not head:
            raise InputError(
                "--column takes TASK[:METRIC[:N]]=HEAD, such as jnli:acc=JNLI, and not {text!r}.", text=text[:80]
            )
        if head in by_head:
            raise InputError("--column names {head!r} twice. Leave one of them.", head=head[:80])
        by_head[head] = what
    return by_head


def _print_findings(findings: Iterable[Finding]) -> None:
    weight = ""
    for finding in findings:
        if finding.weight != weight:
            print_lines([*([""] if weight else []), HEADS[finding.weight]])
            weight = finding.weight
        what, why = sentence(finding)
        print_lines([f"- {what}", f"  {why}"])


def _print_ranking(ranking: Ranking) -> None:
    """A column, best first, and the models that each cannot be told from."""
    print_lines(["", ranking.title])
    table = Table("", "model", "score", "95 % interval", "cannot be told from", box=None, pad_edge=False)
    for place, standing in enumerate(ranking.standings, 1):
        show = standing.query.score.show
        interval = " – ".join(show(end) for end in standing.interval) if standing.interval else ""
        named = ", ".join(standing.indistinguishable[:MAX_NAMED]) + (
            f" … (+{len(standing.indistinguishable) - MAX_NAMED})" * (len(standing.indistinguishable) > MAX_NAMED)
        )
        table.add_row(str(place), standing.model, standing.query.score.text, interval, named)
    print_table(table)
