"""Which files a model is loaded from, and checksums of them: what tells runs of one model's name apart.

Looked up when a run is planned and again when its model is loaded, so it has to be cheap: neither torch nor
transformers is imported, and a large file is read as a whole only when it may have changed.

- A folder: every file of it that can change an output (`files_of`).
- A GGUF file, the package with the embedded model, a table of answers: that file.
- A repository of the Hugging Face Hub: its commit. When the Hub does not answer, that of the local copy. Small files of
  the local copy that somebody has edited count too; its weights are taken to be what was downloaded.

What is remembered of a large file is its size, its times of modification and of change of the inode, and a checksum of
blocks spread over it. While all of these stay as they were, the file counts as unchanged. On POSIX systems a program
cannot set the inode's time, so this misses nothing that was written through the file system. Where that time means
something else (Windows) or is not kept (some network file systems), a change is missed that keeps the size, restores
the time of modification, and lies outside the blocks.

An adapter counts with the base model that it names, if that is a folder of this machine. The device, and the number
format that `auto` stands for on it, do not count here: `runner` refuses to mix number formats.
"""

from __future__ import annotations

import concurrent.futures
import hashlib
import importlib
import json
import os
import re
import tempfile
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jglue_app.backends import weight_files
from jglue_app.backends.named_models import named_models
from jglue_app.errors import ModelError
from jglue_app.settings import Settings
from jglue_app.types import ModelSpec

MEMORY = "model-files.json"
"""File in the cache folder that holds what is known of large files."""
SMALL = 1 << 20
"""Bytes up to which a file is read as a whole each time."""
CHUNK = 32 << 20
"""Bytes of a file that are hashed in one piece; the pieces of a larger file are hashed in parallel."""
BLOCK, BLOCKS = 64 << 10, 24
"""Bytes and number of the blocks that are looked at in a large file."""
SETTLED_S = 2.0
"""A file that was changed less than this ago is not remembered: a second change may leave its times as they are."""
MOST_REMEMBERED = 4_096
HUB_TIMEOUT_S = 5.0
AWAY_S = 30.0
"""How long a Hub that did not answer is not asked again."""
READS = 3
"""How often a file is read that changes meanwhile."""
COMMIT = "commit"
"""Stands for the files of a repository of the Hub, with its commit as their checksum."""
UNREADABLE = "unreadable"
"""Stands for the checksum of a file that cannot be read. Neither can it be loaded, so it has no part in any output."""

_KINDS = (".json", ".jinja", ".model", ".txt", ".tiktoken", ".vocab", ".spm", ".bpe", ".codes", ".tokenizer")
"""Endings of configurations, tokenizers and templates."""
_IDLE = re.compile(
    r"(readme|licen[cs]e|notice|copying|changelog|citation|requirements|use_policy)\b.*"
    r"|(trainer_state|training_args|dataset_info|eval_results|train_results|all_results|test_results"
    r"|preprocessor_config|processor_config|video_preprocessor_config|image_processor_config)\.json",
    re.IGNORECASE,
)
"""Names of files that no output depends on: texts for people, and what training leaves behind."""
_DIGEST = re.compile(r"[0-9a-f]{64}")
_HUB_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, slots=True)
class Identity:
    """The files that a model is loaded from."""

    files: Mapping[str, str]
    """Name within the folder → checksum of the content, 64 hex digits. Of a repository of the Hub, `commit` → 40 hex
    digits, and files of the local copy that are not as they were downloaded."""

    @property
    def digest(self) -> str:
        """A checksum over names and contents of all files, 64 hex digits."""
        return hashlib.sha256(json.dumps(dict(self.files), sort_keys=True).encode()).hexdigest()


def identify(spec: ModelSpec, settings: Settings) -> Identity | None:
    """The files that a model would be loaded from now; None where there are none, which loading explains.

    Raises:
        ModelError: the files are being written.
    """
    found = _here(spec, settings)
    if found is not None or spec.backend != "hf" or not _hub_allowed(spec, settings):
        return found
    commit = _hub_commit(spec, settings)
    return _of_repository(spec, commit) if commit else None


def require_same(spec: ModelSpec, settings: Settings, loaded: str = "") -> None:
    """Refuse to answer with other files than a run was planned for.

    Args:
        spec: of a plan; one without `files_sha256` is not looked at.
        settings: mode and folders.
        loaded: the commit that was loaded, for a repository of the Hub; empty before it is loaded.

    Raises:
        ModelError: they have changed since, or are being written.
    """
    if spec.files_sha256 is None:
        return
    found = _here(spec, settings)
    if found is None and loaded and spec.backend == "hf":
        commit = loaded if _HUB_COMMIT.fullmatch(loaded) else _cached_commit(spec)
        found = _of_repository(spec, commit) if commit else None
    if found is not None and found.digest != spec.files_sha256:
        raise ModelError(
            "The files of {model} have changed since the run was planned. Start it again: that makes another run.",
            model=spec.id,
        )


def local_commit(spec: ModelSpec, settings: Settings) -> str:
    """A short name for the content of a model folder, for people and manifests."""
    digest = spec.files_sha256
    if digest is None:
        found = _here(spec, settings)
        digest = found.digest if found else "unknown"
    return f"local-{digest[:16]}"


def as_path(name: str) -> Path | None:
    """A model's id as a path; None if it cannot be one (blank, too long, somebody else's home, …)."""
    try:
        path = Path(name).expanduser()
        path.exists()
    except (OSError, RuntimeError, ValueError):
        return None
    return path if name.strip() else None


def changed(old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    """Names of the files that differ between two identities, or are in one of them only, in order."""
    return sorted(name for name in {*old, *new} if old.get(name) != new.get(name))


# --- files of this machine --------------------------------------------------------------------------------


def _here(spec: ModelSpec, settings: Settings) -> Identity | None:
    """The identity of a model whose files are on this machine, found in the order in which `locate` finds them."""
    path = as_path(spec.id)
    if spec.backend == "scripted":
        table = Path(spec.id)
        return _of_file(table, settings) if path and not settings.public and table.is_file() else None
    if spec.backend != "hf":
        return None
    named = named_models().get(spec.id)
    if named and named.package:
        return _packaged(named.package)
    if settings.public or path is None:
        return None
    if spec.id.endswith(".gguf"):
        return _of_file(path, settings) if path.is_file() else None
    return _of_folder(path, spec, settings) if path.is_dir() else None


def _packaged(package: str) -> Identity | None:
    """By the checksum that the package holds its own file against when it hands it out."""
    try:
        module = importlib.import_module(package)
    except ImportError:
        return None
    digest = getattr(module, "EXPECTED_SHA256", None)
    return Identity({str(getattr(module, "MODEL_NAME", package)): str(digest)}) if digest else None


def _of_file(path: Path, settings: Settings) -> Identity:
    return Identity({path.name: _digests([path], settings.cache_dir)[path]})


def _of_folder(folder: Path, spec: ModelSpec, settings: Settings) -> Identity | None:
    try:
        names = files_of(folder, allow_bin=spec.allow_bin)
    except OSError:
        return None
    if not {"config.json", "adapter_config.json"} & set(names):
        return None
    digests = _digests([folder / name for name in names], settings.cache_dir)
    files = {name: digests[folder / name] for name in names}
    if "adapter_config.json" in names:
        files |= _of_base(_table(folder / "adapter_config.json").get("base_model_name_or_path"), settings)
    return Identity(files)


def _of_base(base: object, settings: Settings) -> dict[str, str]:
    """The files of the model that an adapter is made for, if it is on this machine."""
    path = as_path(base) if isinstance(base, str) else None
    if path is None or not path.is_dir():
        return {}
    names = files_of(path)
    digests = _digests([path / name for name in names], settings.cache_dir)
    return {f"base model: {name}": digests[path / name] for name in names}


def files_of(folder: Path, *, allow_bin: bool = False) -> list[str]:
    """Names of the files in a model folder that can change an output, with `/`, in order.

    Configurations, generation settings, tokenizers of every kind, chat templates, adapters, and the weights: those that
    are loaded (`weights.first_file`), and besides them `model*.safetensors` and what the index of the safetensors
    names, else all safetensors, else, if they are allowed, the `.bin` files. A file that is read although nothing is
    loaded from it makes another run at worst; one that is left out would mix two models.

    Raises:
        OSError: the folder cannot be listed.
    """
    there = {path.name for path in folder.iterdir() if not path.name.startswith(".") and path.is_file()}
    found = {name for name in there if name.endswith(_KINDS) and not _IDLE.fullmatch(name)}
    found -= {name for name in found if name.endswith(".index.json")}
    found |= _weights(folder, there, allow_bin)
    found |= {name for name in there if name.startswith("adapter_model.")}
    templates = folder / "additional_chat_templates"
    if templates.is_dir():
        found |= {f"{templates.name}/{path.name}" for path in templates.glob("*.jinja")}
    return sorted(found)


def _weights(folder: Path, there: set[str], allow_bin: bool) -> set[str]:
    safe = {name for name in there if name.endswith(".safetensors")}
    own = {name for name in safe if name.startswith("model")}
    loaded = _loaded(folder)
    if not any(name.endswith(".bin") for name in loaded):
        own |= loaded
        loaded = set()
    index = "model.safetensors.index.json"
    own |= {index} | _indexed(folder, index) if (folder / index).is_file() else set()
    safe -= {name for name in safe if name.startswith("adapter_")}
    if not allow_bin:
        return own or safe
    # Whatever lies beside them: pickled weights that are loaded count.
    if own or safe:
        return (own or safe) | loaded
    bins = {name for name in there if name.endswith(".bin") and name != "training_args.bin"}
    index = "pytorch_model.bin.index.json"
    return bins | loaded | ({index} | _indexed(folder, index) if index in there else set())


def _loaded(folder: Path) -> set[str]:
    """The files that the weights are loaded from, with the list of them, as far as they are there."""
    first = weight_files.first_file(lambda name: (folder / name).is_file(), _table(folder / "config.json"))
    if first is None or not (folder / first).is_file():
        return set()
    return {first} | (_indexed(folder, first) if weight_files.is_list(first) else set())


def _indexed(folder: Path, index: str) -> set[str]:
    """The files that an index names, as far as they are there."""
    return {name for name in weight_files.listed(_table(folder / index)) if (folder / name).is_file()}


def _table(path: Path) -> dict[str, Any]:
    """A JSON object in a file; empty if there is none."""
    try:
        table = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return table if isinstance(table, dict) else {}


# --- checksums of files -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Seen:
    """A large file as it was when its checksum was taken."""

    stamp: tuple[int, int, int]
    """Size, time of modification, time of the inode's change; nanoseconds."""
    blocks: str
    """Checksum of the blocks spread over it."""
    digest: str


_known: dict[str, _Seen] = {}
"""What this process has seen itself; its blocks are not looked at again while the stamp stays."""
_lock = threading.Lock()


def _digests(paths: Iterable[Path], cache_dir: Path) -> dict[Path, str]:
    """Path → checksum of the content. Up to `CHUNK` bytes it is the SHA-256 of the file, beyond that the SHA-256 of
    the SHA-256 of its pieces, which can be taken in parallel.

    Raises:
        ModelError: a file is being written.
    """
    found: dict[Path, str] = {}
    new: dict[str, _Seen] = {}
    remembered: dict[str, _Seen] | None = None
    for path in paths:
        try:
            stamp = _stamp(path)
            if stamp[0] <= SMALL:
                found[path] = _whole(path)[1]
                continue
            key = str(path.resolve())
            with _lock:
                seen = _known.get(key)
            if seen is None or seen.stamp != stamp:
                if remembered is None:
                    remembered = _recall(cache_dir)
                seen = remembered.get(key)
                if seen is None or seen.stamp != stamp or seen.blocks != _blocks(path, stamp[0]):
                    stamp, digest = _whole(path)
                    seen = _Seen(stamp, _blocks(path, stamp[0]), digest)
                    if _settled(stamp):
                        new[key] = seen
                if _settled(stamp):
                    with _lock:
                        _known[key] = seen
            found[path] = seen.digest
        except OSError:
            found[path] = UNREADABLE
    if new:
        _remember(cache_dir, new)
    return found


def _stamp(path: Path) -> tuple[int, int, int]:
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns


def _settled(stamp: tuple[int, int, int]) -> bool:
    now = time.time_ns()
    return all(abs(now - moment) > SETTLED_S * 1e9 for moment in stamp[1:])


def _whole(path: Path) -> tuple[tuple[int, int, int], str]:
    """Stamp and checksum of a file that did not change while it was read."""
    for _ in range(READS):
        before = _stamp(path)
        digest = _sha256(path, before[0])
        if _stamp(path) == before:
            return before, digest
    raise ModelError("{file} is being written. Wait until that is done, and start again.", file=path.name)


def _sha256(path: Path, size: int) -> str:
    if size <= CHUNK:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    whole = hashlib.sha256()
    with concurrent.futures.ThreadPoolExecutor(min(16, os.cpu_count() or 1)) as executor:
        for piece in executor.map(lambda start: _piece(path, start), range(0, size, CHUNK)):
            whole.update(piece)
    return whole.hexdigest()


def _piece(path: Path, start: int) -> bytes:
    digest, left, buffer = hashlib.sha256(), CHUNK, memoryview(bytearray(SMALL))
    with path.open("rb", buffering=0) as file:
        file.seek(start)
        while left > 0 and (count := file.readinto(buffer[: min(left, len(buffer))])):
            digest.update(buffer[:count])
            left -= count
    return digest.digest()


def _blocks(path: Path, size: int) -> str:
    """Checksum of the first and the last block and of others at equal distances."""
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        for k in range(BLOCKS):
            file.seek((size - BLOCK) * k // (BLOCKS - 1))
            digest.update(file.read(BLOCK))
    return digest.hexdigest()


def _recall(cache_dir: Path) -> dict[str, _Seen]:
    """What earlier processes have seen; whatever is damaged is left out."""
    found = {}
    for key, row in _table(cache_dir / MEMORY).items():
        if isinstance(row, list) and len(row) == 5 and all(isinstance(number, int) for number in row[:3]):
            blocks, digest = row[3:]
            if all(isinstance(text, str) and _DIGEST.fullmatch(text) for text in (blocks, digest)):
                found[key] = _Seen((row[0], row[1], row[2]), blocks, digest)
    return found


def _remember(cache_dir: Path, new: Mapping[str, _Seen]) -> None:
    """Add to the cache file. Of two processes at once one may be lost, and a folder that cannot be written to keeps
    nothing: the files are read again then.
    """
    rows = {**_recall(cache_dir), **new}
    if len(rows) > MOST_REMEMBERED:
        rows = {key: seen for key, seen in rows.items() if key in new or Path(key).exists()}
    table = {key: [*seen.stamp, seen.blocks, seen.digest] for key, seen in list(rows.items())[-MOST_REMEMBERED:]}
    part = ""
    try:
        cache_dir.mkdir(parents=True, exist_ok=True)
        handle, part = tempfile.mkstemp(dir=cache_dir, prefix=f".{MEMORY}-")
        with os.fdopen(handle, "w", encoding="utf-8") as out:
            out.write(json.dumps(table))
        Path(part).replace(cache_dir / MEMORY)
    except (OSError, ValueError):  # A path may hold what is no UTF-8.
        if part:
            Path(part).unlink(missing_ok=True)


# --- the Hub ----------------------------------------------------------------------------------------------


def _hub_allowed(spec: ModelSpec, settings: Settings) -> bool:
    """Whether loading would ask the Hub: no visitor of a public page makes this machine look up any other name."""
    named = named_models().get(spec.id)
    if named and named.package:
        return False
    if settings.public:
        return named is not None and not (spec.revision or spec.gguf_file or spec.allow_bin)
    path = as_path(spec.id)
    return path is not None and not path.is_dir() and not spec.id.endswith(".gguf")


_away: dict[tuple[str, str | None], float] = {}
"""(id, revision) → when the Hub was asked for it in vain."""


def _hub_commit(spec: ModelSpec, settings: Settings) -> str | None:
    """The commit that a branch or tag of a repository is at; None if neither the Hub nor the local copy knows."""
    if spec.revision and _HUB_COMMIT.fullmatch(spec.revision):
        return spec.revision
    key = (spec.id, spec.revision)
    if time.monotonic() - _away.get(key, -AWAY_S) >= AWAY_S:
        from huggingface_hub import HfApi  # Half a second that only models of the Hub need.

        try:
            api = HfApi(token=settings.hub_token)
            commit = api.model_info(spec.id, revision=spec.revision, timeout=HUB_TIMEOUT_S).sha
            if commit and _HUB_COMMIT.fullmatch(commit):
                return commit
        except Exception:  # Of the HTTP library, of a proxy's page, of a name that is none. Loading tells which.
            _away[key] = time.monotonic()
    return _cached_commit(spec)


def _of_repository(spec: ModelSpec, commit: str) -> Identity:
    folder = _copy(spec)
    return Identity({COMMIT: commit} | (_edited(folder / "snapshots" / commit) if folder else {}))


def _edited(snapshot: Path) -> dict[str, str]:
    """Small files of a local copy that differ from what was downloaded, with the checksums of what they are now.

    A file of the copy is a link to one that is named by the checksum of its content: SHA-256, or that of git. Where
    there are no links at all (as on some file systems), it cannot be told.
    """
    try:
        paths = {name: snapshot / name for name in files_of(snapshot)}
        if not any(path.is_symlink() for path in paths.values()):
            return {}
        found = {}
        for name, path in paths.items():
            if path.stat().st_size > SMALL:
                continue
            content = path.read_bytes()
            as_in_git = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
            digest = hashlib.sha256(content).hexdigest()
            if not path.is_symlink() or path.resolve().name not in (digest, as_in_git):
                found[name] = digest
        return found
    except OSError:  # Nothing was downloaded yet.
        return {}


def _copy(spec: ModelSpec) -> Path | None:
    """The folder with the local copy of a repository, which need not be there; None if there can be none."""
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    try:
        return Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=spec.id, repo_type="model")
    except ValueError:  # A name that no repository can have.
        return None


def _cached_commit(spec: ModelSpec) -> str | None:
    """The commit of the local copy of a repository."""
    folder = _copy(spec)
    try:
        commit = (folder / "refs" / (spec.revision or "main")).read_text("utf-8").strip() if folder else ""
    except (OSError, ValueError):
        return None
    return commit if _HUB_COMMIT.fullmatch(commit) else None
