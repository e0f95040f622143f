"""A run folder as one .zip file, and back, to exchange runs between machines."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path, PurePosixPath

from jglue_app.errors import DataError, StoreError, reason_of
from jglue_app.messages import Message
from jglue_app.results import marks, run_name
from jglue_app.runs.store import RunStore
from jglue_app.scoring.judged import judge_run
from jglue_app.tasks import TASKS
from jglue_app.whole_files import put_in_place, scratch_folder

CONTENT = ("manifest.json", "items.jsonl", "records.jsonl")
"""What makes the run."""
MEMBERS = (*CONTENT, marks.FILE, run_name.FILE)
"""And what people have put on it."""
MAX_BYTES = 2**30
"""Largest size of a run's files, unpacked."""
CHOOSE_RUN = Message("Choose a .zip file that this application has exported, or a run folder.")


def pack(run: Path, target: Path) -> Path:
    """Write a run's files into a .zip file, in one folder of the run's name.

    Raises:
        StoreError: there is no run, or the file cannot be written.
    """
    RunStore(run).data()  # A damaged run must not be exported: the recipient cannot repair it.
    try:
        with scratch_folder(target.absolute().parent, ".export-") as scratch:
            packed = scratch / "packed.zip"
            with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as out:
                for name in MEMBERS:
                    if (run / name).is_file():
                        out.write(run / name, f"{run.name}/{name}")
            put_in_place(packed, target)
    except OSError as e:
        raise StoreError(
            "{target} cannot be written ({reason}). Choose another place.", target=target, reason=reason_of(e)
        ) from e
    return target


def is_run(source: Path) -> bool:
    """Whether a path is to be read as a run (a .zip file, a run folder, or a path that does not exist), not as the log
    of a harness or a folder of logs."""
    if source.is_dir():
        return (source / "manifest.json").exists() or not any(source.iterdir())
    return source.suffix.lower() == ".zip" or not source.exists()


def unpack(source: Path, runs_dir: Path) -> Path:
    """Put a run from a .zip file or a folder below `runs_dir`, after all of it has been read and checked.

    Raises:
        DataError: it is not a run, or one that cannot be scored here.
        StoreError: the same run is here already, or the folder cannot be written.
    """
    try:
        runs_dir.mkdir(parents=True, exist_ok=True)
        with scratch_folder(runs_dir, ".import-") as scratch:
            folder = scratch / "run"
            folder.mkdir()
            _copy(source, folder) if source.is_dir() else _extract(source, folder)
            name = _checked(folder, source)
            target = runs_dir / name
            if target.exists():
                raise StoreError(
                    "The run {name} is here already. Delete it first, or look at the one that is here.", name=name
                )
            put_in_place(folder, target)
            return target
    except OSError as e:
        raise StoreError(
            "{source} cannot be imported ({reason}). Check permissions and free space.",
            source=source,
            reason=reason_of(e),
        ) from e


def _copy(source: Path, folder: Path) -> None:
    for name in MEMBERS:
        if (source / name).is_file():
            shutil.copyfile(source / name, folder / name)


def _extract(source: Path, folder: Path) -> None:
    try:
        with zipfile.ZipFile(source) as archive:
            members = {
                PurePosixPath(info.filename).name: info
                for info in archive.infolist()
                if PurePosixPath(info.filename).name in MEMBERS and len(PurePosixPath(info.filename).parts) <= 2
            }
            if sum(info.file_size for info in members.values()) > MAX_BYTES:
                raise DataError(
                    "{file} holds more than {max_bytes} GiB. Import the folder instead.",
                    file=source.name,
                    max_bytes=MAX_BYTES >> 30,
                )
            for name, info in members.items():
                # The size that the archive states is not trusted: no more than that is read.
                with archive.open(info) as packed, (folder / name).open("wb") as out:
                    remaining = info.file_size
                    while remaining > 0 and (block := packed.read(min(remaining, 1 << 20))):
                        out.write(block)
                        remaining -= len(block)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as e:
        raise DataError(
            "{file} is not a readable .zip file ({reason}). Export the run once more.", file=source.name, reason=e
        ) from e


def _checked(folder: Path, source: Path) -> str:
    """The run id, after all files have been read and scored."""
    try:
        store = RunStore(folder, named=Path(source.name))
        spec, manifest, data = store.spec(), store.manifest(), store.data()
        if not all(isinstance(manifest.get(name) or {}, dict) for name in ("model", "machine", "data")):
            raise DataError(
                "{file} has a manifest whose model or machine is no table. {remedy}",
                file=source.name,
                remedy=CHOOSE_RUN,
            )
        if set(data.items) - set(TASKS) or not data.items:
            raise DataError(
                "{file} has no items of a subset that is known here. {remedy}", file=source.name, remedy=CHOOSE_RUN
            )
        judge_run(data, "official")
        marks.read(folder, named=Path(source.name))
    except StoreError as e:
        raise DataError(
            "{file} holds no run: {reason} {remedy}", file=source.name, reason=e.message, remedy=CHOOSE_RUN
        ) from e
    except (KeyError, TypeError, ValueError, AttributeError, AssertionError) as e:
        raise DataError(
            "{file} holds a run that cannot be scored ({kind}: {reason}). {remedy}",
            file=source.name,
            kind=type(e).__name__,
            reason=e,
            remedy=CHOOSE_RUN,
        ) from e
    return spec.spec_id
