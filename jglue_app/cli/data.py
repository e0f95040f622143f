"""`data`: which JGLUE files are here, fetching, verifying and checking them, and which data other systems had."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from jglue_app import api
from jglue_app.cli.counts import counted
from jglue_app.cli.options import DataOption, JsonOption, MarcOption
from jglue_app.cli.tables import print_json, print_lines, print_table
from jglue_app.data import check
from jglue_app.data import files as data
from jglue_app.data.system_data import SYSTEM_DATA
from jglue_app.errors import InputError
from jglue_app.runs.progress import ProgressView
from jglue_app.settings import Settings, load_settings
from jglue_app.tasks import TASKS, get_task


def data_list(as_json: JsonOption = False) -> None:
    """Which files are here, and which data each subset would be scored on. Reads names only."""
    settings = load_settings()
    rows: list[dict[str, Any]] = []
    for name, task in TASKS.items():
        for split in data.splits_of(name):
            path = data.find_official(settings, name, split)
            sample = data.sample_path(name, split)
            rows.append(
                {
                    "task": name,
                    "title": task.title,
                    "split": split,
                    "path": str(path) if path else None,
                    "distributed": name in data.DISTRIBUTED,
                    "pinned": f"{name}/{split}" in data.PINNED_SHA256,
                    "sample": str(sample) if sample.is_file() else None,
                }
            )
    if as_json:
        print_json(rows)
        return
    table = Table("subset", "split", "official file", "embedded sample", box=None, pad_edge=False)
    for row in rows:
        absent = "bring your own copy" if get_task(row["task"]).files else "no longer distributed"
        here = row["path"] or ("not here; fetched when needed" if row["distributed"] else absent)
        table.add_row(row["title"], row["split"], here, "yes" if row["sample"] else "–")
    print_table(table)


def data_fetch(
    task: Annotated[str, typer.Option(help="A subset, or 'all' that are still distributed.")] = "all",
    split: Annotated[str, typer.Option(help="train, valid, test, or 'all'.")] = "valid",
    as_json: JsonOption = False,
) -> None:
    """Download official files into the cache and verify them; a copy in JGLUE_DATA_DIR is verified alone."""
    settings = load_settings()
    tasks = list(data.DISTRIBUTED) if task == "all" else [get_task(task).name]
    splits = list(data.SPLITS) if split == "all" else [split]
    paths = []
    with ProgressView() as view:
        for name in tasks:
            paths += [str(_own_copy(settings, name, s) or data.fetch(settings, name, s, view.download)) for s in splits]
    print_json(paths) if as_json else print_lines(paths)


def _own_copy(settings: Settings, task: str, split: str) -> Path | None:
    """The verified file in the user's own folder, which is read before one in the cache; None without one."""
    path = data.find_official(settings, task, split) if settings.data_dir and task in data.DISTRIBUTED else None
    if path is None or path == data.cached_path(settings, task, split):
        return None
    data.read_local(task, split, path)
    return path


def data_verify(as_json: JsonOption = False) -> None:
    """Check every official file that is here: checksum, format, ids, labels.

    Exit code 2 when one is damaged, and when none of those that can be fetched is here.
    """
    rows = data.verify(load_settings())
    print_json(rows) if as_json else _print_files(rows)
    _refuse_damaged(rows)
    if all(row["state"] == "missing" for row in rows if row["task"] in data.DISTRIBUTED):
        raise InputError(
            "None of the files that can be fetched is here. Fetch them with `python -m jglue_app data fetch`, or set "
            "JGLUE_DATA_DIR to a folder that has them."
        )


def _print_files(rows: Sequence[Mapping[str, object]]) -> None:
    table = Table("subset", "split", "version", "state", "items", "sha256", box=None, pad_edge=False)
    for row in rows:
        digest = str(row["sha256"] or "–")[:16]
        items = "–" if row["items"] is None else str(row["items"])
        table.add_row(str(row["task"]), str(row["split"]), str(row["version"]), str(row["state"]), items, digest)
    print_table(table)
    print_lines(str(row["message"]) for row in rows if row["message"])


def _refuse_damaged(rows: Sequence[Mapping[str, object]]) -> None:
    if any(row["state"] == "damaged" for row in rows):
        raise typer.Exit(InputError.exit_code)


def data_check(
    jnli_old: Annotated[
        Path | None, typer.Option(help="Another version's JNLI file of the same split, to compare labels with.")
    ] = None,
    split: Annotated[str, typer.Option(help="The split that is compared with it: train, valid or test.")] = "valid",
    marc_ja: MarcOption = None,
    data_kind: DataOption = "official",
    ids: Annotated[bool, typer.Option("--ids", help="Print every id, not a few examples.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Look for damaged files, items that are also in train files, items that appear twice, faulty items and changed
    labels.

    Exit code 2 when a file is damaged. What leaks or repeats is part of JGLUE and no fault of the files.
    """
    result = api.check_data(data_kind, jnli_old=jnli_old, split=split, marc_ja=marc_ja)
    if as_json:
        print_json(result)
    else:
        _print_files(result.files)
        if not any(row["items"] for row in result.files):
            hint = (
                "Fetch them with `python -m jglue_app data fetch --split all`, or look at the samples: --data sample."
            )
            print_lines(["", f"None of these files is here, so there is nothing to compare. {hint}"])
            return
        print_lines(["", "Evaluated items that are also in a train file:"])
        _print_overlaps(result.leaks, ids)
        print_lines(_missing_trains(result.files))
        print_lines(["Such items are never shown as examples in a run that evaluates them: they are left out first."])
        print_lines(["", "Items that two evaluated files share:"])
        _print_overlaps(result.shared, ids)
        print_lines(["", "Items that are in a file more than once:"])
        _print_repeats(result.repeats, ids)
        print_lines(_known_lines(result, ids))
        print_lines(["", *_label_lines(result, split)])
    _refuse_damaged(result.files)


def _missing_trains(files: Sequence[Mapping[str, object]]) -> Iterator[str]:
    """Which train files nothing could be compared with."""
    here = {row["task"] for row in files if row["split"] == "train" and row["items"]}
    missing = [TASKS[name].title for name in data.DISTRIBUTED if name not in here]
    if missing:
        yield (
            f"Not compared with: train of {', '.join(missing)}, which is not here. "
            "`python -m jglue_app data fetch --split train` fetches it."
        )


def _print_overlaps(overlaps: Sequence[check.Overlap], ids: bool) -> None:
    if not overlaps:
        print_lines(["  none"])
        return
    table = Table("evaluated", "also in", "items", "of", "share", "for example", box=None, pad_edge=False)
    for row in overlaps:
        pairs = ", ".join(f"{here} = {there}" for here, there in row.examples)
        table.add_row(row.evaluated, row.other, f"{row.items:,}", f"{row.of:,}", f"{row.items / row.of:.1%}", pairs)
    print_table(table)
    if ids:
        print_lines(_pairs(f"{row.evaluated}, {row.other}", row.pairs) for row in overlaps)


def _print_repeats(repeats: Sequence[check.Repeats], ids: bool) -> None:
    if not repeats:
        print_lines(["  none"])
        return
    table = Table("file", "items", "with another answer", "for example", box=None, pad_edge=False)
    for row in repeats:
        pairs = ", ".join(f"{again} = {first}" for again, first in row.examples)
        table.add_row(row.file, f"{row.items:,}", f"{row.contradicting:,}", pairs)
    print_table(table)
    if ids:
        print_lines(_pairs(row.file, row.pairs) for row in repeats)


def _pairs(head: str, pairs: Sequence[tuple[str, str]]) -> str:
    return f"  {head}: {', '.join(f'{here} = {there}' for here, there in pairs)}"


def _known_lines(result: check.DataCheck, ids: bool) -> Iterator[str]:
    """What is known of single items: the faulty ones, and the labels that changed."""
    for fault in result.known:
        yield ""
        if fault.group == "faulty":
            named = ", ".join(fault.ids if ids else fault.ids[: check.MAX_EXAMPLES])
            questions = counted(fault.items, "question")
            yield f"{fault.file}: {questions} about a damaged paragraph, which any system may miss."
            yield f"  {named}" if ids or fault.items <= check.MAX_EXAMPLES else f"  {named}, … (--ids names all)"
            continue
        yield f"{fault.file}: {counted(fault.items, 'item')} had another label in v1.1 (v1.1 → v1.3)."
        for change in dict.fromkeys(fault.labels.values()):
            changed = [id_ for id_, label in fault.labels.items() if label == change]
            yield f"  {change} ({len(changed)}): {', '.join(changed)}"
        yield "  `rescore RUN --labels v1.1` scores a run against the old ones."


def _label_lines(result: check.DataCheck, split: str) -> Iterator[str]:
    known = any(fault.file == f"jnli/{split}" and fault.group == "relabelled" for fault in result.known)
    if not result.other_versions and not known:
        yield (
            f"No other version of JNLI {split} is at hand. To see which labels changed, name its file with --jnli-old, "
            f"or put it into JGLUE_DATA_DIR as jnli-v1.1/{split}-v1.1.json."
        )
    elif not result.jnli_labels and result.other_versions:
        yield (
            f"JNLI {split} of v1.3 is not at hand, so there is nothing to compare {result.other_versions[0]} with. "
            f"Run `python -m jglue_app data fetch --task jnli --split {split}`."
        )
    for row in result.jnli_labels:
        yield (
            f"JNLI {split} against {row.old}: {len(row.ids)} of {row.common:,} common items have another label; "
            f"{row.added:,} {'item is' if row.added == 1 else 'items are'} new, {row.removed:,} gone."
        )
        yield from (f"  {change}: {count}" for change, count in row.changed.items())
        if row.ids:
            yield f"  ids: {', '.join(row.ids)}"


def data_systems(as_json: JsonOption = False) -> None:
    """Which data each system behind a protocol evaluated on: labels, copy of JGLUE, items a subset, and the source."""
    if as_json:
        print_json(SYSTEM_DATA)
        return
    table = Table("system", "JNLI labels", *(TASKS[name].title for name in data.DISTRIBUTED), box=None, pad_edge=False)
    table.add_column("copy")
    for row in SYSTEM_DATA:
        counts = (f"{row.items[name]:,}" if name in row.items else "–" for name in data.DISTRIBUTED)
        table.add_row(row.system, row.labels, *counts, row.copy)
    print_table(table)
    for row in SYSTEM_DATA:
        print_lines(["", f"{row.system}: {row.note}".rstrip().removesuffix(":"), f"  source: {row.source}"])


def data_commands() -> typer.Typer:
    """The commands below `data`."""
    commands = typer.Typer(help="The JGLUE files: what is here, fetch, verify, check.", no_args_is_help=True)
    commands.command("list")(data_list)
    commands.command("fetch")(data_fetch)
    commands.command("verify")(data_verify)
    commands.command("check")(data_check)
    commands.command("systems")(data_systems)
    return commands
