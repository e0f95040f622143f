"""Find, download, verify and read the JGLUE files.

Official files are looked for in `JGLUE_DATA_DIR`, then in the user's cache, then fetched from the official
repository at tag v1.3.0. A file with a pinned checksum is rejected if it differs. MARC-ja is no longer
distributed, and the sentences of JCoLA belong to the works they were taken from: they come from a user's own file, or
from the items shipped with this application.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from jglue_app import environment
from jglue_app.data import user_files
from jglue_app.data.redirects import check_redirect
from jglue_app.errors import DataError, InputError, NetworkError, UnknownNameError, reason_of
from jglue_app.messages import Joined, Message, of
from jglue_app.settings import ASSETS, Settings
from jglue_app.tasks import TASKS, get_task, jsquad
from jglue_app.types import Dataset, Item, Source
from jglue_app.whole_files import put_in_place, scratch_folder

OFFICIAL_VERSION = "v1.3"
SAMPLE_VERSION = "sample-1"
SPLITS = ("train", "valid", "test")
DATA_KINDS = ("official", "sample")
RANKED_KINDS = ("official", "test", "sample")
"""Kinds of data that have a leaderboard; see `types.data_kind`."""
DISTRIBUTED = tuple(name for name, task in TASKS.items() if task.distributed)
"""Subsets whose files are in the official repository."""

PINNED_SHA256 = {f"{name}/{split}": digest for name, task in TASKS.items() for split, digest in task.sha256.items()}
"""`task/split` → checksum of the official file."""

Progress = Callable[[str, int, int], None]
"""Called with (file, bytes so far, bytes in all or 0)."""


def official_name(task: str, split: str) -> str:
    """Relative path of a file in the official layout, e.g. `jnli-v1.3/valid-v1.3.json`."""
    if files := get_task(task).files:
        return files.path(split)
    return f"{task}-{OFFICIAL_VERSION}/{split}-{OFFICIAL_VERSION}.json"


def cached_path(settings: Settings, task: str, split: str) -> Path:
    """Path of a downloaded file in the user's cache."""
    return settings.cache_dir / "jglue" / "v1.3.0" / official_name(task, split)


def find_official(settings: Settings, task: str, split: str) -> Path | None:
    """The file in the data folder or in the cache; None if it is in neither. Nothing is downloaded."""
    _check_split(split, task)
    try:
        return _find_in_folders(settings, task, split)
    except OSError as e:
        raise InputError(
            "{path} cannot be read ({reason}). Check its permissions, or point JGLUE_DATA_DIR "
            "and JGLUE_CACHE_DIR at other folders.",
            path=e.filename,
            reason=reason_of(e),
        ) from e


def _find_in_folders(settings: Settings, task: str, split: str) -> Path | None:
    if settings.data_dir is not None:
        if not settings.data_dir.is_dir():
            raise InputError(
                "JGLUE_DATA_DIR names {folder}, which is not a folder. Point it at the folder "
                "that holds jnli-v1.3 and its siblings, or unset it.",
                folder=settings.data_dir,
            )
        if task == "marc_ja":
            for suffix in user_files.SUFFIXES:
                if matches := sorted(settings.data_dir.glob(f"marc_ja*/{split}*{suffix}")):
                    return matches[-1]
            return None
        if path := _find_in_folder(settings.data_dir, task, split):
            return path
    path = cached_path(settings, task, split)
    return path if task in DISTRIBUTED and path.is_file() else None


def _find_in_folder(folder: Path, task: str, split: str) -> Path | None:
    """The official file, or an export of it from the Hugging Face Hub under the same name."""
    path = folder / official_name(task, split)
    return next(
        (candidate for suffix in user_files.SUFFIXES if (candidate := path.with_suffix(suffix)).is_file()), None
    )


def fetch(
    settings: Settings, task: str, split: str, progress: Progress | None = None, *, sampled: bool = False
) -> Path:
    """Download one official file into the cache, atomically, and verify it.

    Raises:
        InputError: MARC-ja, which is no longer distributed, or JCoLA, which users have to obtain themselves.
        NetworkError: the server cannot be reached, or has no such file.
        DataError: what arrived is not the pinned file; nothing is kept.
    """
    _check_split(split, task)
    if files := get_task(task).files:
        raise InputError(files.how_to_obtain, file=files.path(split))
    if task not in DISTRIBUTED:
        raise InputError(
            "MARC-ja is no longer distributed. Give your own file in the official format as “Your own MARC-ja file” "
            "(--marc-ja), or put it in the data folder as marc_ja-v1.1/valid-v1.1.json."
        )
    target = cached_path(settings, task, split)
    url = f"{settings.data_url.rstrip('/')}/{official_name(task, split)}"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with scratch_folder(target.parent, ".download-") as scratch:
            partial_file = scratch / target.name
            with partial_file.open("wb") as out:
                _download(url, settings.data_dir, out.write, progress, sampled)
            _verify_download(partial_file, task, split, url)
            put_in_place(partial_file, target)
    except OSError as e:
        raise InputError(
            "{folder}: the download cannot be stored there ({reason}). Set JGLUE_CACHE_DIR to a "
            "folder that can be written to.",
            folder=target.parent,
            reason=reason_of(e),
        ) from e
    return target


def _verify_download(partial_file: Path, task: str, split: str, url: str) -> None:
    try:
        read_official(task, split, partial_file, filename=url)
    except DataError as e:
        raise DataError(
            "{fault} It was a download, and nothing of it was kept: check the connection and JGLUE_DATA_URL.",
            fault=of(e),
        ) from e


def _download(
    url: str, data_dir: Path | None, write: Callable[[bytes], object], progress: Progress | None, sampled: bool
) -> None:
    """Stream the content at `url` to `write`; `sampled` is whether embedded samples could be used instead."""
    if data_dir and sampled:
        remedy = Message(
            "Check the connection, put the file into {folder} (JGLUE_DATA_DIR), or choose “Sample” as “Data” (--data "
            "sample).",
            folder=data_dir,
        )
    elif data_dir:
        remedy = Message("Check the connection, or put the file into {folder} (JGLUE_DATA_DIR).", folder=data_dir)
    elif sampled:
        remedy = Message(
            "Check the connection, set JGLUE_DATA_DIR to a local copy of the files, or choose “Sample” as “Data” "
            "(--data sample)."
        )
    else:
        remedy = Message("Check the connection, or set JGLUE_DATA_DIR to a local copy of the files.")
    environment.check_network(url)
    import httpx  # Nothing else here needs it, and most commands download nothing.

    def check(request: httpx.Request) -> None:
        if str(request.url) != str(httpx.URL(url)):
            check_redirect(url, str(request.url), remedy)

    hooks = {"request": [check]}  # Called before each request, that of a redirect too.
    try:
        with (
            httpx.Client(event_hooks=hooks, follow_redirects=True, timeout=30) as client,
            client.stream("GET", url) as response,
        ):
            response.raise_for_status()
            total = int(response.headers.get("content-length", 0))
            for chunk in response.iter_bytes(1 << 16):
                write(chunk)
                if progress:
                    progress(url, response.num_bytes_downloaded, total)
    except httpx.HTTPStatusError as e:
        raise NetworkError(
            "{url} answered {status}. {remedy}", url=url, status=e.response.status_code, remedy=remedy
        ) from e
    except (httpx.HTTPError, httpx.InvalidURL) as e:
        raise NetworkError(
            "{url} could not be downloaded ({error}: {reason}). {remedy}",
            url=url,
            error=type(e).__name__,
            reason=e,
            remedy=remedy,
        ) from e


def read_official(task: str, split: str, path: Path, filename: str | None = None) -> Dataset:
    """Read an official file and verify its checksum where one is pinned: that of the file, else of its text with LF
    line ends (git may convert them), else of its rows serialised as in the official file.

    Args:
        task, split: which file is expected.
        path: the file.
        filename: where it came from, for messages about a download.

    Raises:
        DataError: as `read_file`, or it is not the official file.
    """
    expected = PINNED_SHA256.get(f"{task}/{split}")
    if expected is None:
        content = user_files.read(path, filename=filename)
        return _dataset(task, split, path, content, "official", OFFICIAL_VERSION, filename)
    content = user_files.read(path, filename=filename)
    note = ""
    if content.sha256 == expected and content.changed:
        note = Message(
            "{path}: {changed}. Verified after normalising: the text is that of the official file.",
            path=path,
            changed=content.changed,
        )
    elif content.sha256 != expected:
        text = _as_official(task, content)
        if text is None or hashlib.sha256(text.encode("utf-8")).hexdigest() != expected:
            actual = content.sha256
            if filename:
                raise DataError(
                    "{url}: this is not the official JGLUE v1.3 file (sha256 {actual}, expected {expected}). "
                    "It is truncated or altered.",
                    url=filename,
                    actual=actual,
                    expected=expected,
                )
            raise DataError(
                "{path}: this is not the official JGLUE v1.3 file (sha256 {actual}, expected {expected}). "
                "It is truncated or altered: delete it and run "
                "`python -m jglue_app data fetch --task {task} --split {split}`.",
                path=path,
                actual=actual,
                expected=expected,
                task=task,
                split=split,
            )
        content = user_files.Content(text, None, sha256=expected)
        note = Message(
            "{path}: another format. Verified after normalising: its rows are those of the official file.", path=path
        )
    return replace(_dataset(task, split, path, content, "official", OFFICIAL_VERSION, filename), note=note)


def _as_official(task: str, content: user_files.Content) -> str | None:
    """The rows of a file serialised as in the official file of a subset; None if that is impossible."""
    spec = get_task(task)
    try:
        rows = [row for _, row in (spec.rows(content.text) if content.rows is None else content.rows)]
    except ValueError:
        return None
    if spec.kind == "span":
        return jsquad.document(rows)
    names = content.names.get("label", spec.labels)
    # Numbers without names are tried as numbers of the labels in their official order: the checksum decides.
    lines = []
    for row in rows:
        label = row.get("label")
        if spec.labels and task != "jcommonsenseqa" and isinstance(label, int) and 0 <= label < len(names):
            row = {**row, "label": names[label]}
        lines.append(json.dumps(row, ensure_ascii=False) + "\n")
    return "".join(lines)


def splits_of(task: str) -> tuple[str, ...]:
    """The splits of a subset: the common ones and its additional ones.

    Raises:
        UnknownNameError: there is no such subset.
    """
    files = get_task(task).files
    return (*SPLITS, *(files.more_splits if files else ()))


def _check_split(split: str, task: str) -> None:
    known = splits_of(task)
    if split in known:
        return
    if any(split in splits_of(other) for other in TASKS):
        raise InputError(
            "{subset} has no split {split!r}. It has {known}.",
            subset=get_task(task).title,
            split=split,
            known=Joined(", ", known),
        )
    raise UnknownNameError("split", split, known)


def read_local(task: str, split: str, path: Path) -> Dataset:
    """Read a local file of a subset: as the official file, verified, if the subset is distributed or the checksum is
    known; else as a user file.

    Raises:
        DataError: as `read_official` and `read_file`.
    """
    if task in DISTRIBUTED:
        return read_official(task, split, path)
    dataset = read_file(task, split, path, "user", "user")
    files = get_task(task).files
    if files and dataset.sha256 == files.sha256.get(split):
        return replace(dataset, source="official", version=files.version)
    return dataset


def read_file(task: str, split: str, path: Path, source: Source, version: str) -> Dataset:
    """Read and validate a file in the official format.

    Raises:
        DataError: unreadable, damaged, a duplicate id, a missing field or an unknown label; names file and place.
    """
    get_task(task)
    return _dataset(task, split, path, user_files.read(path), source, version)


def _dataset(
    task: str,
    split: str,
    path: Path,
    content: user_files.Content,
    source: Source,
    version: str,
    filename: str | None = None,
) -> Dataset:
    spec = get_task(task)
    rows = spec.rows(content.text) if content.rows is None else content.rows
    items: list[Item] = []
    place_of_id: dict[str, str] = {}
    where = ""
    try:
        for where, row in user_files.with_label_names(rows, content.names):
            item = _item(spec.item, row, where)
            if item.id in place_of_id:
                raise ValueError(
                    Message(
                        "{where}: the id {id!r} was already used at {first}",
                        where=where,
                        id=item.id,
                        first=place_of_id[item.id],
                    )
                )
            place_of_id[item.id] = where
            items.append(item)
    except ValueError as e:
        if task in DISTRIBUTED:
            raise DataError(
                "{path}, {fault}. Correct the file, or delete it and run "
                "`python -m jglue_app data fetch --task {task} --split {split}`.",
                path=filename or path,
                fault=of(e),
                task=task,
                split=split,
            ) from e
        raise DataError("{path}, {fault}. Correct the file.", path=path, fault=of(e)) from e
    if not items:
        raise DataError(
            "{path}: holds no items. Give a file in the official {subset} format.",
            path=filename or path,
            subset=spec.title,
        )
    return Dataset(task, split, tuple(items), source, version, str(path), content.sha256)


def _item(read: Callable[..., Item], row: object, where: str) -> Item:
    try:
        return read(row)
    except ValueError as e:
        raise ValueError(Message("{where}: {reason}", where=where, reason=e)) from e


def sample_path(task: str, split: str) -> Path:
    """Path of our sample items."""
    return ASSETS / "samples" / task / f"{split}.json"


def load(
    settings: Settings,
    task: str,
    split: str = "valid",
    *,
    data: str = "official",
    marc_ja: Path | None = None,
    progress: Progress | None = None,
) -> Dataset:
    """The items of one subset, validated.

    Args:
        settings: where to look.
        task: a key of `TASKS`.
        split: `train`, `valid` or `test`.
        data: `official` (downloaded when missing) or `sample`.
        marc_ja: the user's MARC-ja file, which takes precedence.
        progress: called during downloads.

    Raises:
        UnknownNameError, DataError, NetworkError, InputError: see the functions above.
    """
    spec = get_task(task)
    _check_split(split, task)
    if data not in DATA_KINDS:
        raise UnknownNameError("data", data, DATA_KINDS)
    if task == "marc_ja" and marc_ja is not None and split != "train":
        return read_file(task, split, marc_ja, "user", "user")
    if data == "official":
        path = find_official(settings, task, split)
        if path is None and task in DISTRIBUTED:
            path = fetch(settings, task, split, progress, sampled=sample_path(task, split).is_file())
        if path is not None:
            return read_local(task, split, path)
    path = sample_path(task, split)
    if not path.is_file() and data == "official":
        if spec.files:
            raise InputError(spec.files.how_to_obtain, file=spec.files.path(split))
        raise InputError(
            "There are no {split} items of {subset}: its official files are not distributed, and the embedded "
            "samples have none. Leave it out of the subsets, or choose valid for “Split” (--split).",
            split=split,
            subset=spec.title,
        )
    if not path.is_file():
        raise InputError(
            "The embedded samples of {subset} have no {split!r} split. Choose valid for “Split” (--split), or the "
            "official “Data” (--data official).",
            subset=spec.title,
            split=split,
        )
    return read_file(task, split, path, "sample", SAMPLE_VERSION)


def available_datasets(
    settings: Settings, rows: Sequence[Mapping[str, object]] | None = None, marc_ja: Path | None = None
) -> list[Dataset]:
    """Every intact file that is available, according to the rows of `verify`; with None, the embedded samples. Nothing
    is downloaded."""
    datasets = []
    for task in TASKS:
        for split in splits_of(task):
            state = next((r["state"] for r in rows or () if (r["task"], r["split"]) == (task, split)), None)
            if task == "marc_ja" and marc_ja is not None and split == "valid":
                datasets.append(load(settings, task, split, marc_ja=marc_ja))
            elif state in ("ok", "unpinned"):
                datasets.append(load(settings, task, split))
            elif rows is None and sample_path(task, split).is_file():
                datasets.append(load(settings, task, split, data="sample"))
    return datasets


def other_versions(settings: Settings, task: str, split: str) -> list[Path]:
    """Other versions of a subset's official file in the data folder, such as `jnli-v1.1/valid-v1.1.json`."""
    _check_split(split, task)
    if settings.data_dir is None:
        return []
    official_folder = official_name(task, split).split("/")[0]
    paths = sorted(settings.data_dir.glob(f"{task}-v*/{split}-*.json"))
    return [path for path in paths if path.parent.name != official_folder]


def verify(settings: Settings) -> list[dict[str, object]]:
    """The state of every official file: `ok`, `unpinned`, `missing` or `damaged`, with a message.

    Files are read and validated, nothing is downloaded.
    """
    rows: list[dict[str, object]] = []
    for task in TASKS:
        for split in splits_of(task):
            path = find_official(settings, task, split)
            row: dict[str, object] = {
                "task": task,
                "split": split,
                "version": OFFICIAL_VERSION if task in DISTRIBUTED else "user",
                "path": str(path) if path else None,
                "sha256": None,
                "items": None,
                "message": "",
            }
            pinned = f"{task}/{split}" in PINNED_SHA256
            row["state"] = "missing" if path is None else "ok" if pinned else "unpinned"
            if path is not None:
                try:
                    dataset = read_local(task, split, path)
                    if not pinned and dataset.source == "official" and task not in DISTRIBUTED:
                        row["state"], row["version"] = "ok", dataset.version
                    row["sha256"], row["items"], row["message"] = dataset.sha256, len(dataset.items), dataset.note
                except DataError as e:
                    row["state"], row["message"] = "damaged", of(e)
            rows.append(row)
    return rows
