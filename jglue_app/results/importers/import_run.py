"""Files of another harness → one run folder, as a whole or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from jglue_app.data import files as data
from jglue_app.errors import DataError, InputError, JglueAppError
from jglue_app.messages import Joined, Message
from jglue_app.results.importers import open_log, scores
from jglue_app.results.importers.build import build
from jglue_app.results.importers.collect import OtherItemsError
from jglue_app.results.importers.log import Log
from jglue_app.results.importers.scores import ReportedScore
from jglue_app.results.importers.write_run import run_spec, write_run
from jglue_app.scoring.notices import sentence
from jglue_app.settings import Settings
from jglue_app.tasks import TASKS, get_task
from jglue_app.types import Dataset, Notice, RunData

PATTERNS = ("samples_*.jsonl", "outputs.jsonl", "*.eval", "*.eval-generated.json")
"""File name patterns of logs, for a folder."""


@dataclass(frozen=True, slots=True)
class ImportResult:
    """The result of an import."""

    path: Path
    """The run's folder."""
    data: RunData
    notices: tuple[Notice, ...]
    """Caveats of the import; each has the fact `task`."""
    reported_scores: tuple[ReportedScore, ...]
    """The scores that the harness reported, with ours."""
    left_out: tuple[str, ...]
    """Tasks of the log that are not subsets of JGLUE."""


@dataclass(frozen=True, slots=True)
class Items:
    """Where the items come from that a log is matched with."""

    data: str = "official"
    """`official`, `sample`, or the path of a file in the official format."""
    split: str = "valid"
    marc_ja: Path | None = None

    def of(self, settings: Settings, task: str) -> Dataset:
        """The items of a subset; raises InputError if there are none."""
        if self.data in data.DATA_KINDS:
            return data.load(settings, task, self.split, data=self.data, marc_ja=self.marc_ja)
        path = Path(self.data)
        if not path.is_file():
            raise InputError("--data must be official, sample or a file, and {data} is none of these.", data=self.data)
        return data.read_file(task, self.split, path, "user", "user")


def import_summary(imported: ImportResult) -> list[str]:
    """The messages for the user about an import, one sentence each."""
    lines: list[str] = []
    for task, items in imported.data.items.items():
        title = TASKS[task].title
        lines.append(Message("{title}: items imported: {count:,}.", title=title, count=len(items)))
        lines += [
            Message(
                "{title}: {metric} {printed:.4f} as the harness printed it, and {here:.4f} here ({protocol}).",
                title=title,
                metric=score.metric,
                printed=score.reported,
                here=score.recomputed,
                protocol=score.protocol,
            )
            for score in imported.reported_scores
            if score.task == task and score.same
        ]
    lines += [
        Message("{title}: {notice}", title=TASKS[str(notice.facts["task"])].title, notice=sentence(notice))
        for notice in imported.notices
    ]
    names = Joined(", ", (name[:60] for name in imported.left_out[:5]))
    if n_more := len(imported.left_out[5:]):
        lines.append(Message("Not imported: {names} and {more} more.", names=names, more=n_more))
    elif names:
        lines.append(Message("Not imported: {names}.", names=names))
    return lines


def import_logs(
    settings: Settings,
    paths: Sequence[Path],
    *,
    tasks: Sequence[str] = (),
    format: str | None = None,
    results: Path | None = None,
    partial: bool = False,
    items: Items | None = None,
    model: str = "",
) -> ImportResult:
    """Import logs of one model and one harness as a run.

    Args:
        settings: where data is and where runs are stored.
        paths: logs, or folders that hold some.
        tasks: subsets to import; empty for all that the logs have. A single one also names the subset of a single log
            that does not say.
        format: a key of `FORMATS`; None to detect it from each file.
        results: the harness's file of scores, where it is not next to the log.
        partial: accept answers without an item, and items without an answer.
        items: the items that were answered; None for the official validation items.
        model: name of the model; empty for the name in the logs.

    Raises:
        DataError: a log that is damaged, of another benchmark, or does not fit the others.
        InputError: nothing to import, or no data.
        StoreError: the run is here already, or cannot be written.
    """
    for name in tasks:
        get_task(name)
    item_source = items or Items()
    if item_source.data not in data.DATA_KINDS and len(tasks) != 1:
        raise InputError("A file of items is of one subset. Name it: --task.")
    files = _log_files(paths)
    # With several logs it is not clear which one the subset is for.
    default_subset = tasks[0] if len(tasks) == 1 and len(files) == 1 else ""
    logs = [open_log(path, format, results, default_subset) for path in files]
    _check_one_model(logs)
    parts = build(logs, lambda name: item_source.of(settings, name), tasks, partial)
    spec = run_spec(logs, parts, model, item_source.split)
    run = RunData(
        spec,
        {part.dataset.task: {item.id: item for item in part.items} for part in parts},
        {part.dataset.task: part.dataset.source for part in parts},
        [record for part in parts for record in part.records(spec.spec_id)],
        assumed=tuple(notice for part in parts for notice in part.notices),
    )
    reported = scores.compare(run, parts, logs)
    notices = (*run.assumed, *(_unequal_score(logs[0], score) for score in reported if not score.same))
    run = replace(run, assumed=notices)
    left_out = tuple(dict.fromkeys(name for log in logs for name in log.left_out))
    path = write_run(settings.runs_dir, run, logs, parts, reported)
    return ImportResult(path, run, notices, tuple(reported), left_out)


def import_to_either(
    settings: Settings, folder: Path, names: Sequence[str], partial: bool, model: str = ""
) -> ImportResult:
    """Import logs in a folder that answer the embedded samples or, failing that, the official validation items.

    Args:
        settings: where data is and where runs are stored.
        folder: holds the logs and their other files; errors name files relative to it.
        names: of the logs.
        partial: accept answers without an item, and items without an answer.
        model: name of the model; empty for the name in the logs.

    Raises:
        JglueAppError: as `import_logs`.
    """
    paths = [folder / name for name in names]
    try:
        try:
            return import_logs(settings, paths, partial=partial, items=Items("sample"), model=model)
        except OtherItemsError:
            return import_logs(settings, paths, partial=partial, model=model)
    except JglueAppError as e:
        e.message = _named_from(folder, e.message)
        e.args = (e.message,)
        raise


def _named_from(folder: Path, message: Message) -> Message:
    """The message with paths below a folder made relative to it."""

    def named(value: object) -> object:
        if isinstance(value, Path) and value.is_relative_to(folder):
            return value.relative_to(folder)
        return _named_from(folder, value) if isinstance(value, Message) else value

    if isinstance(message, Joined):
        return Joined(
            message.template,
            [str(part) if not isinstance(part, Message) else _named_from(folder, part) for part in message.parts],
        )
    return Message(message.template, **{name: named(value) for name, value in message.values.items()})


def _log_files(paths: Sequence[Path]) -> list[Path]:
    """The logs among some files and in some folders; raises InputError if there are none."""
    files: list[Path] = []
    for path in paths:
        if not path.is_dir():
            files.append(path)
            continue
        in_folder = [file for pattern in PATTERNS for file in sorted(path.rglob(pattern))]
        if not in_folder:
            raise InputError(
                "{path} holds no log ({patterns}). Give the log's own path.", path=path, patterns=Joined(", ", PATTERNS)
            )
        files += in_folder
    if not files:
        raise InputError("There is no log. Give the path of one.")
    return files


def _check_one_model(logs: Sequence[Log]) -> None:
    """Reject logs of several models, harnesses or versions in one run; raises DataError."""
    first = logs[0]
    for log in logs[1:]:
        if log.name != first.name:
            raise DataError(
                "{file} is of {harness} and {first_file} of {first_harness}. Import them one by one.",
                file=log.path.name,
                harness=log.name,
                first_file=first.path.name,
                first_harness=first.name,
            )
        if log.model != first.model:
            raise DataError(
                "{file} is of the model {model!r} and {first_file} of {first_model!r}. Import them one by one.",
                file=log.path.name,
                model=log.model,
                first_file=first.path.name,
                first_model=first.model,
            )


def _unequal_score(log: Log, score: ReportedScore) -> Notice:
    facts: dict[str, str | float] = {
        "task": score.task,
        "harness": log.name,
        "metric": score.metric,
        "printed": f"{score.reported:.4f}",
        "protocol": score.protocol,
        "here": f"{score.recomputed:.4f}",
    }
    return Notice("imported_score", facts=facts)
