"""What is sent to the Hub, and the process that sends it."""

from __future__ import annotations

import os
import re
import site
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from jglue_app import environment
from jglue_app.child_process import ChildExitError, ChildProcess, ChildStoppedError, OnMessage, inherited_environment
from jglue_app.errors import InputError, NetworkError, StoreError, reason_of, redact_key
from jglue_app.hub_sink.card import TABLE, card
from jglue_app.results import archive, table_files
from jglue_app.results.local_paths import folder_notice, shareable
from jglue_app.runs.store import RunStore
from jglue_app.types import RunData

UPLOADER = "jglue_app.hub_sink.uploader"
DEFAULT_ENDPOINT = "https://huggingface.co"
MAX_STDERR_CHARS = 300
"""Characters of the last line of standard error that an error quotes."""
_ACCOUNT = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,94}[A-Za-z0-9])?")


@dataclass(frozen=True, slots=True)
class Account:
    """Whose repository it becomes."""

    name: str
    token: str = field(repr=False)
    """Given when they signed in; allows this application to make repositories."""


@dataclass(frozen=True, slots=True)
class HubPush:
    """What arrived."""

    repository: str
    """`account/name`."""
    url: str
    private: bool
    """Whether only its owner sees the repository."""


def endpoint() -> str:
    """Address of the Hub: the public one, or that of `HF_ENDPOINT`."""
    return (os.environ.get("HF_ENDPOINT") or DEFAULT_ENDPOINT).rstrip("/")


def repository_name(run: str) -> str:
    """The name that the Hub takes for a run's repository: the same for the same run, so that sending it again replaces
    what was sent."""
    return f"jglue-{re.sub(r'[-.]*[^A-Za-z0-9]+', '-', run).strip('-')}"[:90].rstrip("-")


def push(
    run: Path,
    account: Account,
    *,
    public: bool = False,
    on_message: OnMessage = lambda _: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> HubPush:
    """Send a run to a dataset repository of an account, which is made if it is not there.

    The token is in the memory of two processes, this one and one that ends with the push; in no file, argument or
    variable.

    Args:
        run: the run's folder.
        account: whose repository.
        public: whether everybody may read a repository that is made here. One that is there stays as it is.
        on_message: takes sentences on the way.
        should_stop: called a few times a second; the push ends when it returns true.

    Raises:
        StoreError: the run cannot be read, or the files cannot be written.
        InputError: the Hub takes neither sign-in nor name, or what must not be published was to be.
        NetworkError: the Hub cannot be reached, or the push was stopped.
    """
    if not _ACCOUNT.fullmatch(account.name):
        raise InputError(
            "The account {name!r} has no name that the Hub knows. Sign out and in again.", name=account.name
        )
    data = RunStore(run).data()
    if public:
        _check_may_be_published(data)
    if notice := folder_notice(data.spec):
        on_message(notice)
    server = endpoint()
    environment.check_network(server)
    repository = f"{account.name}/{repository_name(run.name)}"
    try:
        with tempfile.TemporaryDirectory(prefix="jglue-hub-", ignore_cleanup_errors=True) as home:
            folder = Path(home) / "upload"
            _write(data, run, folder)
            job = {"endpoint": server, "token": account.token, "repository": repository, "private": not public}
            result = _send({**job, "folder": str(folder)}, Path(home), account.token, on_message, should_stop)
    except OSError as e:
        raise StoreError(
            "The files to send cannot be written ({reason}). Check free space and permissions of the folder for "
            "temporary files.",
            reason=reason_of(e),
        ) from None
    return HubPush(repository, str(result["url"]), bool(result["private"]))


def _check_may_be_published(data: RunData) -> None:
    """MARC-ja's reviews are no longer given away by those who own them."""
    if data.sources.get("marc_ja", "sample") != "sample":
        raise InputError(
            "This run holds reviews of MARC-ja, which may not be passed on. Send it to a private repository: leave "
            "“public” unticked."
        )


def _write(data: RunData, run: Path, folder: Path) -> None:
    folder.mkdir()
    packed = archive.pack(run, folder / f"{run.name}.zip")
    rows = [row if row["error"] is None else row | {"error": shareable(row["error"])} for row in table_files.rows(data)]
    table_files.write(rows, folder / TABLE, "parquet")
    (folder / "README.md").write_text(card(data, run.name, packed.name), "utf-8", errors="replace")


def _send(
    job: dict[str, object], home: Path, token: str, on_message: OnMessage, should_stop: Callable[[], bool]
) -> dict[str, object]:
    """Have a process of its own send the files; raises as `push` does."""
    try:
        with ChildProcess(
            # -P: do not import a module of that name from the working folder.
            [sys.executable, "-P", "-m", UPLOADER],
            env=_environment(home),
            stderr=home / "stderr",
            cwd=home,
            clean=lambda text: redact_key(token, text),
        ) as uploader:
            uploader.send(job)
            return uploader.result(on_message, should_stop)
    except ChildStoppedError:
        raise NetworkError("The push was stopped. What had arrived stays; push again to complete it.") from None
    except ChildExitError as e:
        if e.killed:
            raise NetworkError(
                "The process that talks to the Hub exited without a result (exit code {code}): the system killed it, "
                "most likely because memory ran out. The run here is untouched: free some memory and send it again.",
                code=e.code,
            ) from None
        raise NetworkError(
            "The process that talks to the Hub exited without a result (exit code {code}). {line} The run here is "
            "untouched: send it again.",
            code=e.code,
            line=e.stderr[-1][:MAX_STDERR_CHARS] if e.stderr else "",
        ) from None


def _environment(home: Path) -> dict[str, str]:
    package_parent = str(Path(__file__).resolve().parents[2])
    return {
        **inherited_environment(),
        # Nobody's stored login is found, and nothing is left.
        **dict.fromkeys(("HOME", "HF_HOME", "USERPROFILE", "TMPDIR", "TEMP", "TMP"), str(home)),
        "PYTHONUSERBASE": site.getuserbase(),
        "PYTHONPATH": os.pathsep.join(filter(None, (package_parent, os.environ.get("PYTHONPATH")))),
        "PYTHONUTF8": "1",
        "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        # A few megabytes need no store of chunks beside the files.
        "HF_HUB_DISABLE_XET": "1",
    }
