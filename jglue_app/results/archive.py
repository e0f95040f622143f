"""A run folder as one .zip file, and back, to exchange runs between machines."""

from __future__ import annotations

import io
import shutil
import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from jglue_app.errors import DataError, StoreError, reason_of
from jglue_app.messages import Message
from jglue_app.results import marks, run_name
from jglue_app.results.library import Library
from jglue_app.runs.store import RunStore
from jglue_app.scoring.judged import judge_run
from jglue_app.tasks import TASKS
from jglue_app.whole_files import put_in_place, scratch_folder

CONTENT = ("manifest.json", "items.jsonl", "records.jsonl")
"""What makes the run."""
MEMBERS = (*CONTENT, marks.FILE, run_name.FILE)
"""And what people have put on it."""
TABLES = ("manifest.json", run_name.FILE)
"""Those that hold one JSON value."""
MAX_BYTES = 2**30
"""Largest size of a run's files, unpacked."""
MAX_TABLE_BYTES = 2**24
"""Largest size of the files that are read as one JSON value: the manifest and the run's name."""
SMALL_BYTES, MAX_RATIO = 2**26, 200
"""A file above this size unpacks to so many times its packed size at most; what runs hold packs into a tenth or so."""
MAX_DIRECTORY_BYTES = 2**20
"""Largest size of the list of members."""
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""How members may be packed. Unpacking by other methods may take any memory."""
_END = struct.Struct("<12xI6x")
"""The end of an archive: after its signature and counts the size of its list of members."""
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
        _check_directory(source)
        with zipfile.ZipFile(source) as archive:
            members = {
                PurePosixPath(info.filename).name: info
                for info in archive.infolist()
                if PurePosixPath(info.filename).name in MEMBERS and len(PurePosixPath(info.filename).parts) <= 2
            }
            _check_sizes(source, members)
            for name, info in members.items():
                # The size that the archive states is not trusted: no more than that is read.
                with archive.open(info) as packed, (folder / name).open("wb") as out:
                    remaining = info.file_size
                    while remaining > 0 and (block := packed.read(min(remaining, 1 << 20))):
                        out.write(block)
                        remaining -= len(block)
    except (zipfile.BadZipFile, zlib.error, struct.error, NotImplementedError, RuntimeError, EOFError, ValueError) as e:
        raise DataError(
            "{file} is not a readable .zip file ({reason}). Export the run once more.", file=source.name, reason=e
        ) from e


def _check_directory(source: Path) -> None:
    """Refuse an archive whose list of members is long, before all of it is read into memory; raises BadZipFile."""
    with source.open("rb") as file:
        size = file.seek(0, io.SEEK_END)
        file.seek(max(0, size - _END.size - 2**16))
        end = file.read()
    at = end.rfind(b"PK\x05\x06")
    if at < 0 or len(end) - at < _END.size:
        raise zipfile.BadZipFile("File is not a zip file")
    (directory_bytes,) = _END.unpack_from(end, at)
    if directory_bytes > MAX_DIRECTORY_BYTES:
        raise zipfile.BadZipFile("too many members")


def _check_sizes(source: Path, members: Mapping[str, zipfile.ZipInfo]) -> None:
    """Refuse what would unpack to more than a run has; raises DataError."""
    if sum(info.file_size for info in members.values()) > MAX_BYTES:
        raise DataError(
            "{file} holds more than {max_bytes} GiB. Import the folder instead.",
            file=source.name,
            max_bytes=MAX_BYTES >> 30,
        )
    for name, info in members.items():
        too_large = name in TABLES and info.file_size > MAX_TABLE_BYTES
        too_dense = info.file_size > max(SMALL_BYTES, MAX_RATIO * info.compress_size)
        if too_large or too_dense:
            raise DataError(
                "{file} holds a file {name} that unpacks to {size} MiB, which no run's file does. Export the run once "
                "more.",
                file=source.name,
                name=name,
                size=info.file_size >> 20,
            )
        if info.compress_type not in METHODS:
            raise NotImplementedError("packed in an unknown way")


def _check_listing(folder: Path, source: Path) -> None:
    """Refuse a run that could not be listed once it is here."""
    try:
        Library(folder.parent).stored(folder)
    except StoreError as e:
        raise DataError(
            "{file} has a manifest that lacks something, such as when the run was made. {remedy}",
            file=source.name,
            remedy=CHOOSE_RUN,
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
        _check_listing(folder, source)
        marks.read(folder, named=Path(source.name))
    except StoreError as e:
        raise DataError(
            "{file} holds no run: {reason} {remedy}", file=source.name, reason=e.message, remedy=CHOOSE_RUN
        ) from e
    except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError, AssertionError, RecursionError) as e:
        raise DataError(
            "{file} holds a run that cannot be scored ({kind}: {reason}). {remedy}",
            file=source.name,
            kind=type(e).__name__,
            reason=e,
            remedy=CHOOSE_RUN,
        ) from e
    return spec.spec_id
