"""The commit of a repository of the Hugging Face Hub, and files of its local copy that were edited."""

from __future__ import annotations

import hashlib
import re
import time
from pathlib import Path

from jglue_app.backends.file_checksums import SMALL
from jglue_app.backends.relevant_files import relevant_files
from jglue_app.settings import Settings
from jglue_app.types import ModelSpec

HUB_TIMEOUT_S = 5.0
RETRY_AFTER_S = 30.0
"""How long a Hub that did not answer is not asked again."""

_COMMIT = re.compile(r"[0-9a-f]{40}")
_failed_at: dict[tuple[str, str | None], float] = {}
"""(id, revision) → when the Hub did not answer."""


def is_commit(name: str) -> bool:
    """Whether a name is that of a commit."""
    return _COMMIT.fullmatch(name) is not None


def current_commit(spec: ModelSpec, settings: Settings) -> str | None:
    """The commit that a branch or tag of a repository is at; None if neither the Hub nor the local copy knows."""
    if spec.revision and is_commit(spec.revision):
        return spec.revision
    key = (spec.id, spec.revision)
    if time.monotonic() - _failed_at.get(key, -RETRY_AFTER_S) >= RETRY_AFTER_S:
        from huggingface_hub import HfApi  # Half a second that only models of the Hub need.

        try:
            api = HfApi(token=settings.hub_token)
            commit = api.model_info(spec.id, revision=spec.revision, timeout=HUB_TIMEOUT_S).sha
            if commit and is_commit(commit):
                return commit
        except Exception:  # Of the HTTP library, of a proxy's page, of an invalid name. Loading reports which.
            _failed_at[key] = time.monotonic()
    return cached_commit(spec)


def edited_files(spec: ModelSpec, commit: str) -> dict[str, str]:
    """Small files of the local copy of a commit that differ from what was downloaded → their checksums."""
    folder = _copy_folder(spec)
    return edited_in_snapshot(folder / "snapshots" / commit) if folder else {}


def edited_in_snapshot(snapshot: Path) -> dict[str, str]:
    """Small files of a snapshot that differ from what was downloaded → their checksums.

    A file of a snapshot is a link to one that is named by the checksum of its content: SHA-256, or that of git. Where
    there are no links at all (as on some file systems), edits cannot be detected.
    """
    try:
        paths = {name: snapshot / name for name in relevant_files(snapshot)}
        if not any(path.is_symlink() for path in paths.values()):
            return {}
        edited = {}
        for name, path in paths.items():
            if path.stat().st_size > SMALL:
                continue
            content = path.read_bytes()
            as_in_git = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
            digest = hashlib.sha256(content).hexdigest()
            if not path.is_symlink() or path.resolve().name not in (digest, as_in_git):
                edited[name] = digest
        return edited
    except OSError:  # Nothing was downloaded yet.
        return {}


def _copy_folder(spec: ModelSpec) -> Path | None:
    """The folder with the local copy of a repository, which may not exist; None if there can be none."""
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    try:
        return Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=spec.id, repo_type="model")
    except ValueError:  # A name that no repository can have.
        return None


def cached_commit(spec: ModelSpec) -> str | None:
    """The commit of the local copy of a repository."""
    folder = _copy_folder(spec)
    try:
        commit = (folder / "refs" / (spec.revision or "main")).read_text("utf-8").strip() if folder else ""
    except (OSError, ValueError):
        return None
    return commit if is_commit(commit) else None


def cached_snapshot(spec: ModelSpec) -> Path | None:
    """The folder of the local copy of a repository, at the commit that was fetched last; None if there is none."""
    folder, commit = _copy_folder(spec), cached_commit(spec)
    snapshot = folder / "snapshots" / commit if folder and commit else None
    return snapshot if snapshot and snapshot.is_dir() else None
