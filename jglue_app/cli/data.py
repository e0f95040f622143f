"""`data`: which JGLUE files are here, fetching and verifying them."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.table import Table

from jglue_app import data
from jglue_app.cli.options import JsonOption
from jglue_app.console import ProgressView, print_lines, print_table
from jglue_app.errors import InputError
from jglue_app.settings import load_settings
from jglue_app.store import dumps
from jglue_app.tasks import TASKS, get_task


def data_list(as_json: JsonOption = False) -> None:
    """Which files are here, and which data each subset would be scored on. Reads names only."""
    settings = load_settings()
    rows: list[dict[str, Any]] = []
    for name, task in TASKS.items():
        for split in data.SPLITS:
            path = data.find_official(settings, name, split)
            sample = data.sample_path(name, split)
            rows.append(
                {
                    "task": name,
                    "title": task.title,
                    "split": split,
                    "path": str(path) if path else None,
                    "distributed": name in data.DISTRIBUTED,
                    "pinned": f"{name}/{split}" in data.PINS,
                    "sample": str(sample) if sample.is_file() else None,
                }
            )
    if as_json:
        print(dumps(rows, indent=2))
        return
    table = Table("subset", "split", "official file", "embedded sample", box=None, pad_edge=False)
    for row in rows:
        here = row["path"] or ("not here; fetched when needed" if row["distributed"] else "no longer distributed")
        table.add_row(row["title"], row["split"], here, "yes" if row["sample"] else "–")
    print_table(table)


def data_fetch(
    task: Annotated[str, typer.Option(help="A subset, or 'all' that are still distributed.")] = "all",
    split: Annotated[str, typer.Option(help="train, valid, test, or 'all'.")] = "valid",
    as_json: JsonOption = False,
) -> None:
    """Download official files into the cache and verify them."""
    settings = load_settings()
    tasks = list(data.DISTRIBUTED) if task == "all" else [get_task(task).name]
    splits = list(data.SPLITS) if split == "all" else [split]
    paths = []
    with ProgressView() as view:
        for name in tasks:
            paths += [str(data.fetch(settings, name, s, view.download)) for s in splits]
    print(dumps(paths, indent=2)) if as_json else print_lines(paths)


def data_verify(as_json: JsonOption = False) -> None:
    """Check every official file that is here: checksum, format, ids, labels. Exit code 2 when one is damaged."""
    rows = data.verify(load_settings())
    if as_json:
        print(dumps(rows, indent=2))
    else:
        table = Table("subset", "split", "state", "items", "sha256", box=None, pad_edge=False)
        for row in rows:
            digest = str(row["sha256"] or "–")[:16]
            items = "–" if row["items"] is None else str(row["items"])
            table.add_row(str(row["task"]), str(row["split"]), str(row["state"]), items, digest)
        print_table(table)
        print_lines(str(row["message"]) for row in rows if row["message"])
    if any(row["state"] == "damaged" for row in rows):
        raise typer.Exit(InputError.exit_code)


def data_commands() -> typer.Typer:
    """The commands below `data`."""
    commands = typer.Typer(help="The JGLUE files: what is here, fetch, verify.", no_args_is_help=True)
    commands.command("list")(data_list)
    commands.command("fetch")(data_fetch)
    commands.command("verify")(data_verify)
    return commands
