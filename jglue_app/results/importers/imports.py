"""Files of another harness → one run folder, as a whole or not at all."""

from __future__ import annotations

import datetime
import hashlib
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from jglue_app.data import files as data
from jglue_app.errors import DataError, InputError, JglueAppError, StoreError, reason_of
from jglue_app.messages import Joined, Message
from jglue_app.results.importers import open_log, scores
from jglue_app.results.importers.build import OtherItemsError, Part, build
from jglue_app.results.importers.log import Log, sha256
from jglue_app.results.importers.scores import Printed
from jglue_app.runs.manifest import dataset_facts
from jglue_app.runs.store import RunStore, facts_of
from jglue_app.scoring.notices import sentence
from jglue_app.settings import Settings
from jglue_app.tasks import TASKS, get_task
from jglue_app.types import IMPORTED, Dataset, Decoding, ModelSpec, Notice, PromptSpec, RunData, RunSpec
from jglue_app.version import __version__

PATTERNS = ("samples_*.jsonl", "outputs.jsonl", "*.eval", "*.eval-generated.json")
"""What logs are called, in a folder that is given."""
UNKNOWN_MODEL = "unknown model"
LONGEST_NAME = 200
"""Characters of a model's name."""


@dataclass(frozen=True, slots=True)
class Imported:
    """What has come of an import."""

    path: Path
    """The run's folder."""
    data: RunData
    notices: tuple[Notice, ...]
    """What has to be known of it; each has the fact `task`."""
    printed: tuple[Printed, ...]
    """The scores that the harness has printed, beside those here."""
    left_out: tuple[str, ...]
    """Tasks of the log that are no subset of JGLUE."""


@dataclass(frozen=True, slots=True)
class Items:
    """Where the items come from that a log is aligned with."""

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


def import_summary(imported: Imported) -> list[str]:
    """What a person has to know of an import, a sentence each."""
    lines: list[str] = []
    for task, items in imported.data.items.items():
        title = TASKS[task].title
        lines.append(Message("{title}: items imported: {count:,}.", title=title, count=len(items)))
        lines += [
            Message(
                "{title}: {metric} {printed:.4f} as the harness printed it, and {here:.4f} here ({protocol}).",
                title=title,
                metric=score.metric,
                printed=score.printed,
                here=score.here,
                protocol=score.protocol,
            )
            for score in imported.printed
            if score.task == task and score.same
        ]
    lines += [
        Message("{title}: {notice}", title=TASKS[str(notice.facts["task"])].title, notice=sentence(notice))
        for notice in imported.notices
    ]
    names = ", ".join(name[:60] for name in imported.left_out[:5])
    if more := len(imported.left_out[5:]):
        lines.append(Message("Not imported: {names} and {more} more.", names=names, more=more))
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
) -> Imported:
    """Make a run of logs of one model and one harness.

    Args:
        settings: where data is and where runs are stored.
        paths: logs, or folders that hold some.
        tasks: subsets that are wanted; without them, all that the logs have. One says what a single log is of that
            does not tell it.
        format: a key of `FORMATS`; None to tell it from each file.
        results: the harness's file of scores, where it is not beside the log.
        partial: accept answers without an item, and items without an answer.
        items: what the answers are to; the official validation items if not given.
        model: what to call the model; empty for what the logs say.

    Raises:
        DataError: a log that is damaged, of another benchmark, or does not fit the others.
        InputError: nothing to import, or no data.
        StoreError: the run is here already, or cannot be written.
    """
    for name in tasks:
        get_task(name)
    where = items or Items()
    if where.data not in data.DATA_KINDS and len(tasks) != 1:
        raise InputError("A file of items is of one subset. Name it: --task.")
    files = _files(paths)
    # Of several logs it is not known which one is meant.
    meant = tasks[0] if len(tasks) == 1 and len(files) == 1 else ""
    logs = [open_log(path, format, results, meant) for path in files]
    _of_one(logs)
    parts = build(logs, lambda name: where.of(settings, name), tasks, partial)
    spec = _spec(logs, parts, model, where.split)
    found = RunData(
        spec,
        {part.dataset.task: {item.id: item for item in part.items} for part in parts},
        {part.dataset.task: part.dataset.source for part in parts},
        [record for part in parts for record in part.records(spec.spec_id)],
        assumed=tuple(notice for part in parts for notice in part.notices),
    )
    printed = scores.compare(found, parts, logs)
    notices = (*found.assumed, *(_unequal(logs[0], one) for one in printed if not one.same))
    found = replace(found, assumed=notices)
    left_out = tuple(dict.fromkeys(name for log in logs for name in log.left_out))
    path = _store(settings.runs_dir, found, logs, parts, printed)
    return Imported(path, found, notices, tuple(printed), left_out)


def import_to_either(
    settings: Settings, folder: Path, names: Sequence[str], partial: bool, model: str = ""
) -> Imported:
    """The same for logs in a folder, whose answers are to the embedded samples or to the official validation items.

    Args:
        settings: where data is and where runs are stored.
        folder: holds the logs and what lies beside them; errors name its files without it.
        names: of the logs.
        partial: accept answers without an item, and items without an answer.
        model: what to call the model; empty for what the logs say.

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
    """A message whose paths below a folder are named from there."""

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


def _files(paths: Sequence[Path]) -> list[Path]:
    found: list[Path] = []
    for path in paths:
        if not path.is_dir():
            found.append(path)
            continue
        inside = [file for pattern in PATTERNS for file in sorted(path.rglob(pattern))]
        if not inside:
            raise InputError(
                "{path} holds no log ({patterns}). Give the log's own path.", path=path, patterns=", ".join(PATTERNS)
            )
        found += inside
    if not found:
        raise InputError("There is no log. Give the path of one.")
    return found


def _of_one(logs: Sequence[Log]) -> None:
    """Refuse logs of several models, harnesses or versions in one run; raises DataError."""
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


def _spec(logs: Sequence[Log], parts: Sequence[Part], model: str, split: str) -> RunSpec:
    sums = sorted(sha256(log.path) for log in logs)
    outputs = [output for part in parts for output in part.outputs]
    ranked = any(getattr(output, "choice_logprobs", None) for output in outputs)
    written = any(getattr(output, "text", None) is not None for output in outputs)
    shots = {part.dataset.task: part.shots for part in parts if part.shots is not None}
    versions = {part.dataset.version for part in parts}
    return RunSpec(
        model=ModelSpec(
            model or _name(logs[0].model) or UNKNOWN_MODEL,
            backend=IMPORTED,
            files_sha256=hashlib.sha256(" ".join(sums).encode()).hexdigest(),
        ),
        tasks=tuple(part.dataset.task for part in parts),
        data_version=data.OFFICIAL_VERSION if data.OFFICIAL_VERSION in versions else min(versions),
        data_sha256={f"{part.dataset.task}/{part.dataset.split}": part.dataset.sha256 for part in parts},
        prompt=PromptSpec(
            style=logs[0].name,
            format="unknown",
            shots=max(shots.values(), default=0),
            shots_by_task=tuple(shots.items()) if len(set(shots.values())) > 1 else (),
        ),
        style_sha256="",
        decoding=Decoding(method="both" if ranked and written else "choose" if ranked else "generate"),
        code_version=__version__,
        split=split,
    )


def _name(text: str) -> str:
    """What a log calls its model, on one line of bearable length: a log may hold anything there."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:LONGEST_NAME]


def _unequal(log: Log, found: Printed) -> Notice:
    facts: dict[str, str | float] = {
        "task": found.task,
        "harness": log.name,
        "metric": found.metric,
        "printed": f"{found.printed:.4f}",
        "protocol": found.protocol,
        "here": f"{found.here:.4f}",
    }
    return Notice("imported_score", facts=facts)


def _store(
    runs_dir: Path, found: RunData, logs: Sequence[Log], parts: Sequence[Part], printed: Sequence[Printed]
) -> Path:
    """Write the run beside the others, and name it as one of them when all of it is there."""
    items = [item for part in parts for item in part.items]
    answered = sum(record.output is not None for record in found.records)
    spec = found.spec
    head: dict[str, Any] = {
        "label": spec.label,
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "spec_id": spec.spec_id,
        "spec": spec,
        "data": {part.dataset.task: dataset_facts(part.dataset) for part in parts},
        "model": None,
        "machine": {},
        "items": facts_of(items),
        "records": {"answered": answered, "tried": len(found.records)},
        "imported": {
            "harness": logs[0].harness,
            "version": logs[0].version,
            "tasks": {
                part.dataset.task: {"name": part.task, "version": part.version, "shots": part.shots} for part in parts
            },
            "files": [_file_facts(path) for log in logs for path in (log.path, *log.beside)],
            "printed": [{"same": one.same, **_plain(one)} for one in printed],
            "notices": list(found.assumed),
        },
    }
    target = runs_dir / spec.spec_id
    try:
        runs_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=runs_dir, prefix=".import-") as scratch:
            store = RunStore(Path(scratch) / "run")
            with store.writing() as writer:
                writer.items(items)
                writer.append(found.records)
                writer.manifest(head)
            (store.path / ".lock").unlink(missing_ok=True)
            store.data()
            if target.exists():
                raise StoreError(
                    "The run {spec_id} is here already: this log was imported before. Delete it "
                    "first, or look at the one that is here.",
                    spec_id=spec.spec_id,
                )
            store.path.rename(target)
    except OSError as e:
        raise StoreError(
            "The run cannot be stored in {runs_dir} ({reason}). Check permissions and free space.",
            runs_dir=runs_dir,
            reason=reason_of(e) or e,
        ) from e
    return target


def _file_facts(path: Path) -> dict[str, Any]:
    return {"name": path.name, "sha256": sha256(path), "bytes": path.stat().st_size}


def _plain(found: Printed) -> dict[str, Any]:
    return {
        "task": found.task,
        "metric": found.metric,
        "printed": found.printed,
        "protocol": found.protocol,
        "here": found.here,
    }
