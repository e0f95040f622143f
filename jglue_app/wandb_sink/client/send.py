"""In the process of `worker.py`: stored runs and comparisons → W&B runs with tables and artifacts.

Nothing is put into a W&B run's history but the progress of `follow`: scores and tables live in its summary, so that a
second push replaces what the first one left, and W&B's own checksums keep equal artifacts from being stored twice.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import wandb
from wandb.sdk.artifacts.exceptions import WaitTimeoutError

from jglue_app.errors import InputError, JglueAppError, NetworkError, StoreError, first_line
from jglue_app.messages import Message
from jglue_app.results import archive
from jglue_app.runs.store import RunStore
from jglue_app.scoring.protocols import PROTOCOLS
from jglue_app.wandb_sink.payload import (
    OWN_KEYS,
    OWN_TABLES,
    RUN_ARTIFACT,
    Payload,
    comparison_payload,
    run_payload,
    share_items,
)
from jglue_app.wandb_sink.tables import Table

Say = Callable[[str], None]
Lines = Iterator[dict[str, Any]]
RETRIES = 6
"""After the first try, for every request; with pauses of up to ten seconds these are about half a minute."""
PATIENCE_S = 120.0
"""Longest wait for W&B to store what it is sent, beside the time that the bytes take."""
BYTES_PER_S = 50_000.0
"""A slow uplink: files may take that long."""
SHORT_S = 20.0
"""Longest wait for the end of a W&B run of which something has failed already."""
TELL_AFTER_S = 20.0
"""When a wait for W&B is told of."""
TIMEOUT_S = 60
"""Longest wait for the answer to a question to W&B's public API."""
UNREACHED = (
    "giving up",
    "connection refused",
    "timed out",
    "timeout",
    "process is busy",
    "no such host",
    "reset by",
    "connection error",
)
"""What the client says when a server is not there or does not answer."""
CLIENT = ("wandb", "requests", "urllib3", "httpx", "wandb_workspaces")
"""Packages whose errors are those of W&B or of the way to it."""
LOOKS_S = (*(1.0 for _ in range(10)), 2.0, 5.0)
"""Pauses between looks whether all has arrived, the last one again and again: the client sends files about five seconds
after it was given them, and W&B shows what it was sent a while later."""
AGAIN = "The run here is untouched: push it again, and what is missing arrives in the same W&B run."
LATER = "Try again when it answers."
"""What to do where nothing was to be sent."""


def settings(offline: bool) -> wandb.Settings:
    """Of a W&B run: nothing of the machine is sent that we do not send ourselves, and no retry goes on for hours."""
    retries = {
        f"x_{part}_{name}": value
        for part in ("graphql", "file_stream", "file_transfer")
        for name, value in (
            ("retry_max", RETRIES),
            ("retry_wait_min_seconds", 0.5),
            ("retry_wait_max_seconds", 10.0),
        )
    }
    found: dict[str, Any] = {
        "mode": "offline" if offline else "online",
        "silent": True,
        "console": "off",
        "disable_git": True,
        "disable_code": True,
        "save_code": False,
        "disable_job_creation": True,
        "x_disable_stats": True,
        "x_disable_meta": True,
        "x_save_requirements": False,
        "host": "jglue_app",  # Of the machine nothing is told but what the manifest has.
        "program": "jglue_app",
        "init_timeout": float(os.environ.get("WANDB_INIT_TIMEOUT") or 60),
        **retries,
    }
    return wandb.Settings(**found)


def reach(then: str = AGAIN) -> None:
    """Knock at the server's door: the client would try for a minute before it says that nobody is there.

    Raises:
        NetworkError: nobody is.
    """
    server = urlsplit(os.environ.get("WANDB_BASE_URL", ""))
    if any(os.environ.get(name) for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy")):
        return  # The proxy is to find it.
    port = server.port or (443 if server.scheme == "https" else 80)
    for pause in (1.0, 2.0, None):
        try:
            socket.create_connection((server.hostname or "", port), timeout=10).close()
            return
        except OSError as e:
            if pause is None:
                raise NetworkError(
                    "{geturl} could not be reached ({reason}). {then}",
                    geturl=server.geturl(),
                    reason=e.strerror or e,
                    then=then,
                ) from e
            time.sleep(pause)


@contextlib.contextmanager
def mapped(where: str, offline: bool = False, then: str = AGAIN) -> Iterator[None]:
    """Errors of W&B's client become ours, with what to do then; without a server there is nothing to try."""
    if not offline:
        reach(then)
    try:
        yield
    except JglueAppError:
        raise
    except Exception as e:
        if not isinstance(e, OSError | ValueError) and type(e).__module__.split(".")[0] not in CLIENT:
            raise  # A fault of ours is not W&B's.
        raise fault(e, where, then) from e


def fault(error: Exception, where: str, then: str = AGAIN) -> JglueAppError:
    """Our sentence about an error of W&B's client."""
    text, line = str(error), first_line(error)
    low = text.lower()
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    if full or "no space left" in low or "disk quota" in low:
        return StoreError(
            "There is no room to prepare what is sent to W&B. Free some space, or set TMPDIR to a larger disk. "
            "The run here is untouched."
        )
    if isinstance(error, OSError) and error.filename:
        return StoreError(
            "{filename} cannot be used to prepare what is sent ({reason}).",
            filename=error.filename,
            reason=error.strerror,
        )
    if "previously created and deleted" in low:
        return InputError(
            "Somebody has deleted this run at {where}, and W&B never takes the id of a deleted "
            "run again. Restore it there, or push to another project.",
            where=where,
        )
    # The client calls it an authentication error when a server that is gone cannot check the key.
    if not any(sign in low for sign in UNREACHED):
        if isinstance(error, wandb.errors.AuthenticationError) or _has(text, 401) or "not logged in" in low:
            return InputError(
                "W&B does not accept this key. Copy it once more from https://wandb.ai/authorize (of your own server: "
                "its /authorize page)."
            )
        if "permission" in low or "forbidden" in low or _has(text, 403):
            return InputError(
                "This key may not write to {where}. Check entity and project, or ask its owner. ({line})",
                where=where,
                line=line,
            )
        if "not found" in low or "could not find" in low or _has(text, 404):
            parts = "the run's id, entity and project" if where.count("/") > 1 else "entity and project"
            return InputError(
                "W&B knows no {where}. Check {parts}: a team has to exist. ({line})",
                where=where,
                parts=parts,
                line=line,
            )
    return NetworkError("W&B did not answer properly: {line} {then}", line=line, then=then)


def _has(text: str, status: int) -> bool:
    """Whether a text names an HTTP status; ids hold digits too."""
    return re.search(rf"(?<![\w.:-]){status}(?![\w.:-]\w)", text) is not None


# --- a run ----------------------------------------------------------------------------------------------


def push(job: Mapping[str, Any], say: Say, _: Lines) -> dict[str, Any]:
    """Send one stored run: `{folder, protocol, group, replace, also, joined, entity, project, offline}` → as `send`.

    `also` are folders of runs that are to be sent next, and `joined` says whether something is to join them: what
    speaks against any of that does so before the first is sent.
    """
    store = RunStore(Path(job["folder"]))
    payload = run_payload(store.data(), store.manifest(), job["protocol"], job.get("group"))
    others = [RunStore(Path(folder)) for folder in job.get("also", ())]
    payloads = [run_payload(other.data(), other.manifest(), job["protocol"]) for other in others]
    for other in others if job.get("joined") else ():
        share_items(store.data(), other.data())
    if not payload.summary["push/finished"]:
        done, planned = payload.summary["push/items"], payload.summary["push/planned"]
        say(
            Message(
                "This run has {done:,} of its {planned:,} items: it is sent as it is and tagged 'unfinished'.",
                done=done,
                planned=planned,
            )
        )
    with mapped(_where(job), bool(job.get("offline"))):
        before = None if job.get("offline") else _at_wandb(job, payload.id)
        _is_no_loss(before, payload, job)
        for next_ in payloads:
            _is_no_loss(_at_wandb(job, next_.id), next_, job)
        rows = sum(len(table.rows) for table in payload.tables.values())
        size = sum((store.path / name).stat().st_size for name in archive.MEMBERS if (store.path / name).is_file())
        say(
            Message(
                "Sending {rows:,} rows and a run folder of {value:,.1f} MiB.", rows=rows, value=max(0.1, size / 2**20)
            )
        )
        with open_run(payload, job, new=before is None) as run:
            return send(run, payload, store.path, bool(job.get("offline")), say)


def _at_wandb(job: Mapping[str, Any], id_: str) -> Any:
    """The run of an id as W&B has it; None if it has none."""
    api = wandb.Api(timeout=TIMEOUT_S)
    try:
        return api.run(f"{job.get('entity') or api.default_entity}/{job['project']}/{id_}")
    except wandb.errors.CommError as e:
        if "could not find" in str(e).lower():
            return None
        raise


def _is_no_loss(before: Any, payload: Payload, job: Mapping[str, Any]) -> None:
    """Refuse to replace a run by a smaller part of it: a limit does not change what a run is called."""
    there = int(before.summary.get("push/items") or 0) if before is not None else 0
    here = int(payload.summary["push/items"])
    if there > here and not job.get("replace"):
        raise InputError(
            "W&B has {there:,} items of this run already, and here it has {here:,}. Nothing was "
            "sent. Extend the run (the same command with a higher --limit), or pull the larger "
            "one; `push --replace` sends the smaller. ({payload})",
            there=there,
            here=here,
            payload=payload.name,
        )


def push_comparison(job: Mapping[str, Any], say: Say, _: Lines) -> dict[str, Any]:
    """Send two stored runs side by side: `{a, b, protocol, links, entity, project, offline}` → as `send`."""
    a, b = (RunStore(Path(job[side])).data() for side in ("a", "b"))
    payload = comparison_payload(a, b, job["protocol"], job["links"])
    with mapped(_where(job), bool(job.get("offline"))):
        new = bool(job.get("offline")) or _at_wandb(job, payload.id) is None
        with open_run(payload, job, new=new) as run:
            return send(run, payload, None, bool(job.get("offline")), say)


def _where(job: Mapping[str, Any]) -> str:
    return f"{job['entity']}/{job['project']}" if job.get("entity") else str(job["project"])


@contextlib.contextmanager
def open_run(payload: Payload, job: Mapping[str, Any], *, new: bool) -> Iterator[wandb.Run]:
    """The W&B run of a payload, new or taken up again; ends as failed when what is inside fails.

    One that is there keeps the name that people may have given it.
    """
    offline = bool(job.get("offline"))
    run = wandb.init(
        entity=job.get("entity") or None,
        project=job["project"],
        id=payload.id,
        name=payload.name if new else None,
        group=payload.group,
        job_type=payload.job_type,
        resume="allow",
        settings=settings(offline),
    )
    try:
        yield run
    except BaseException:
        with contextlib.suppress(Exception):
            finish(run, 1, SHORT_S)
        raise


def finish(run: wandb.Run, code: int = 0, seconds: float | None = None) -> None:
    """End a W&B run; the client itself waits as long as a transfer hangs.

    Args:
        run: an open one.
        code: anything but 0 is a failed run.
        seconds: the longest wait; None for `PATIENCE_S`.

    Raises:
        NetworkError: it took longer. The client's threads go on until the process ends.
    """
    failures: list[BaseException] = []

    def end() -> None:
        try:
            run.finish(exit_code=code)
        except BaseException as e:
            failures.append(e)

    limit = PATIENCE_S if seconds is None else seconds
    thread = threading.Thread(target=end, daemon=True)
    thread.start()
    thread.join(limit)
    if thread.is_alive():
        raise NetworkError("W&B has not answered for {limit:.0f} s. {again}", limit=limit, again=AGAIN)
    if failures:
        raise failures[0]


def send(run: wandb.Run, payload: Payload, folder: Path | None, offline: bool, say: Say) -> dict[str, Any]:
    """Fill a W&B run, end it, and see that all has arrived.

    Returns:
        `{id, path, url, tables: {key: rows}, scalars, offline, name}`; url is empty offline, and `offline` names the
        folder to synchronise.

    Raises:
        NetworkError: a part has not arrived.
    """
    fill(run, payload, folder, say, offline)
    told: dict[str, Any] = {
        "id": run.id,
        "path": f"{run.entity}/{run.project}/{run.id}",
        "url": "" if offline else run.url or "",
        "tables": {key: len(table.rows) for key, table in payload.tables.items()},
        "scalars": len(payload.summary),
        "offline": str(Path(run.settings.sync_dir)) if offline else "",
        "name": run.name or "",
    }
    finish(run)
    if not offline:
        arrived(told["path"], payload)
    return told


def fill(run: wandb.Run, payload: Payload, folder: Path | None, say: Say, offline: bool = False) -> None:
    """Put a payload into an open W&B run; tags and whatever else people have added there stay.

    Raises:
        NetworkError: a file is not stored there in the time that files of that size take on a slow line.
    """
    summary: Any = run.summary  # The client gives neither a type.
    config: Any = run.config
    summary["push/state"] = "sending"
    of_others = [tag for tag in run.tags or () if tag not in ("unfinished", *PROTOCOLS)]
    run.tags = tuple(dict.fromkeys((*of_others, *payload.tags)))
    config.update(payload.config, allow_val_change=True)
    new = {*payload.summary, *payload.tables, "push/state", "push/digest"}
    for key in list(summary.keys()):
        if key not in new and (key in OWN_TABLES or key.startswith(OWN_KEYS)):
            del summary[key]
    for name in payload.uses:
        if not offline:
            with contextlib.suppress(wandb.errors.CommError, ValueError):  # A run that was not pushed itself.
                run.use_artifact(f"{run.entity}/{run.project}/{name}:latest")
    for key, table in payload.tables.items():
        summary[key] = as_table(table)
    if payload.artifact and folder is not None:
        _log_folder(run, payload, folder, say, offline)
    if not offline:
        tables = {key: summary[key] for key in payload.tables}
        _wait_for_tables(f"{run.entity}/{run.project}/{run.id}", tables, say)
    summary.update({**payload.summary, "push/digest": payload.digest, "push/state": "complete"})


def as_table(table: Table) -> wandb.Table:
    """A table with every row: the client's limits cut without a word, and are meant for training loops."""
    wandb.Table.MAX_ROWS = wandb.Table.MAX_ARTIFACT_ROWS = max(len(table.rows), 200_000)
    kinds = [
        next((type(row[at]) for row in table.rows if row[at] is not None), str) for at in range(len(table.columns))
    ]
    # Types are given: guessing them row by row takes longer than sending the table.
    data: list[Any] = list(table.rows)
    return wandb.Table(columns=list(table.columns), data=data, dtype=kinds, optional=True)


def _log_folder(run: wandb.Run, payload: Payload, folder: Path, say: Say, offline: bool) -> None:
    artifact = wandb.Artifact(payload.artifact, RUN_ARTIFACT, metadata=payload.metadata)
    for name in archive.MEMBERS:
        if (folder / name).is_file():
            artifact.add_file(str(folder / name), name=name)
    patience = Patience(f"{run.entity}/{run.project}/{run.id}", artifact.size, say)
    logged = run.log_artifact(artifact)
    if offline:
        return
    clock = threading.Timer(TELL_AFTER_S, patience.tell)
    clock.daemon = True
    clock.start()
    try:
        logged.wait(timeout=int(patience.seconds))
    except WaitTimeoutError as e:
        raise patience.error() from e
    finally:
        clock.cancel()


def _wait_for_tables(path: str, tables: Mapping[str, Any], say: Say) -> None:
    """See on the server that the files of an open run's tables are there: their uploads fail without an error."""
    wanted = {str(table["path"]): int(table["size"]) for table in tables.values()}

    def there(run: Any) -> bool:
        return {file.name: file.size for file in run.files(names=list(wanted))} == wanted

    if wanted:
        _confirm(there, Patience(path, sum(wanted.values()), say))


def arrived(path: str, payload: Payload) -> None:
    """See on the server that the summary of an ended run is there: the client ends without an error when it is not.

    Raises:
        NetworkError: it is not.
    """
    _confirm(lambda run: run.summary.get("push/digest") == payload.digest, Patience(path))


class Patience:
    """How long W&B may take to store something, and a sentence when that takes a while."""

    def __init__(self, path: str, size: int = 0, say: Say = lambda _: None) -> None:
        """
        Args:
            path: the W&B run, `entity/project/id`.
            size: bytes that are sent.
            say: takes the sentence.
        """
        self.path = path
        self.seconds = PATIENCE_S + size / BYTES_PER_S
        self._say = say
        self._told = False
        self._began = time.monotonic()

    def tell(self) -> None:
        """Say once that it takes a while."""
        if not self._told:
            self._told = True
            left = max(0.0, self.seconds - (time.monotonic() - self._began))
            self._say(f"Sending takes a while: W&B may take {left:.0f} s more to store what it has.")

    def is_over(self) -> bool:
        """Whether that was long enough."""
        waited = time.monotonic() - self._began
        if waited > TELL_AFTER_S:
            self.tell()
        return waited > self.seconds

    def error(self) -> NetworkError:
        """What is to be raised then."""
        return NetworkError("W&B does not confirm that all of {path} has arrived. {again}", path=self.path, again=AGAIN)


def _confirm(there: Callable[[Any], bool], patience: Patience) -> None:
    for pause in itertools.chain(LOOKS_S, itertools.repeat(LOOKS_S[-1])):
        with mapped(patience.path):
            if there(wandb.Api(timeout=TIMEOUT_S).run(patience.path)):
                return
        if patience.is_over():
            raise patience.error()
        time.sleep(pause)


# --- progress -------------------------------------------------------------------------------------------


def follow(job: Mapping[str, Any], say: Say, lines: Lines) -> dict[str, Any]:
    """Log `{"log": {…}}` lines to the W&B run until `{"end": exit code}` or the end of the input.

    Takes `{id, name, job_type, group, config, tags, entity, project}`. W&B draws over `progress/items` and not over
    its own steps, which may not go back: a session that tries failed items again begins before the end of the last.
    """
    payload = Payload(job["id"], job["name"], job["job_type"], job.get("group"), tuple(job["tags"]), job["config"], {})
    with mapped(_where(job)), open_run(payload, job, new=_at_wandb(job, payload.id) is None) as run:
        run.tags = tuple(dict.fromkeys((*(run.tags or ()), *payload.tags)))
        config: Any = run.config
        config.update(payload.config, allow_val_change=True)
        run.define_metric("progress/*", step_metric="progress/items")
        say(Message("Progress is at {url}", url=run.url))
        code = 1  # No word at the end: whoever started this was killed.
        for line in lines:
            if "end" in line:
                code = int(line["end"])
                break
            run.log(line["log"])
        finish(run, code)
        return {"id": run.id, "path": f"{run.entity}/{run.project}/{run.id}", "url": run.url or ""}
