"""`protocols`: the named protocols, and every decision of one with where its system's own code makes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer
from rich.table import Table

from jglue_app.cli.options import JsonOption
from jglue_app.cli.tables import print_json, print_lines, print_table
from jglue_app.scoring.protocols import PROTOCOLS, get_protocol
from jglue_app.scoring.protocols.decisions import as_table
from jglue_app.tasks import TASKS


def protocols(
    name: Annotated[str, typer.Argument(help="A protocol: prints its decisions. Without one, all are listed.")] = "",
    as_json: JsonOption = False,
) -> None:
    """The protocols: what each scores, every decision of one, and where its system's own code makes it."""
    if as_json:
        tables = [as_table(protocol) for protocol in PROTOCOLS.values()]
        print_json(as_table(get_protocol(name)) if name else tables)
        return
    if name:
        _print_protocol(as_table(get_protocol(name)))
        return
    table = Table("protocol", "variant of", "main metric of each subset", box=None, pad_edge=False)
    for protocol in PROTOCOLS.values():
        scored = (f"{TASKS[task].title} {metrics[0]}" for task, metrics in protocol.metrics.items())
        table.add_row(protocol.name, protocol.variant_of or "–", ", ".join(scored))
    print_table(table)
    print_lines(
        ["", "All decisions of one, with where its code makes them: python -m jglue_app protocols stability-jp"]
    )


def _print_protocol(decisions: Mapping[str, Any]) -> None:
    variant = f", a variant of {decisions['variant_of']}" if decisions["variant_of"] else ""
    print_lines([f"{decisions['protocol']}{variant}"])
    for task, rows in decisions["subsets"].items():
        _print_rows(TASKS[task].title, rows)
    if decisions["outputs"]:
        _print_rows("Before an answer is read (to have these otherwise, run the model again)", decisions["outputs"])
    if all(row["source"] is None for rows in decisions["subsets"].values() for row in rows):
        print_lines(["", "These decisions are this application's own."])


def _print_rows(title: str, rows: Sequence[Mapping[str, Any]]) -> None:
    print_lines(["", title])
    for row in rows:
        source = f"  [{row['source']}]" if row["source"] else ""
        print_lines([f"  {row['about']}: {row['value']}{source}"])
