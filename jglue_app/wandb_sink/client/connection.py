"""The settings of W&B's client, and its errors as errors of this package."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import socket
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import wandb

from jglue_app.errors import InputError, JglueAppError, NetworkError, StoreError, first_line, reason_of
from jglue_app.messages import Message

RETRIES = 6
"""Retries after the first try of every request; with pauses of up to ten seconds, about half a minute in all."""
API_TIMEOUT_S = 60
"""Longest wait for a response of W&B's public API."""
CONNECT_TIMEOUT_S = 10.0
CONNECT_PAUSES_S = (1.0, 2.0)
"""Pauses before the second and the third try to connect."""
NO_ANSWER_SIGNS = (
    "giving up",
    "connection refused",
    "timed out",
    "timeout",
    "process is busy",
    "no such host",
    "reset by",
    "connection error",
)
"""Parts of the client's messages when a server cannot be reached or does not answer."""
CLIENT_PACKAGES = ("wandb", "requests", "urllib3", "httpx", "wandb_workspaces")
"""Packages whose errors come from W&B or from the connection to it."""
PUSH_AGAIN = Message("The run here is untouched: push it again, and what is missing arrives in the same W&B run.")
"""Remedy if something was being sent."""
TRY_LATER = Message("Try again when it answers.")
"""Remedy if nothing was being sent."""


def settings(offline: bool) -> wandb.Settings:
    """Settings of a W&B run: no information on the machine except our own, and no retries for hours."""
    retries = {
        f"x_{part}_{name}": value
        for part in ("graphql", "file_stream", "file_transfer")
        for name, value in (
            ("retry_max", RETRIES),
            ("retry_wait_min_seconds", 0.5),
            ("retry_wait_max_seconds", 10.0),
        )
    }
    values: dict[str, Any] = {
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
        "host": "jglue_app",  # Information on the machine is sent only as part of the manifest.
        "program": "jglue_app",
        "init_timeout": float(os.environ.get("WANDB_INIT_TIMEOUT") or 60),
        **retries,
    }
    return wandb.Settings(**values)


def api() -> wandb.Api:
    """W&B's public API, with a timeout for every request."""
    return wandb.Api(timeout=API_TIMEOUT_S)


def check_connection(remedy: Message = PUSH_AGAIN) -> None:
    """Open a connection to the server and close it: the client would try for a minute before it gives up.

    Raises:
        NetworkError: there is no connection; `remedy` says what to do.
    """
    server = urlsplit(os.environ.get("WANDB_BASE_URL", ""))
    if any(os.environ.get(name) for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy")):
        return  # The server may be reached through the proxy alone.
    port = server.port or (443 if server.scheme == "https" else 80)
    for pause in (*CONNECT_PAUSES_S, None):
        try:
            socket.create_connection((server.hostname or "", port), timeout=CONNECT_TIMEOUT_S).close()
            return
        except OSError as e:
            if pause is None:
                raise NetworkError(
                    "{server} could not be reached ({reason}). {remedy}",
                    server=server.geturl(),
                    reason=reason_of(e),
                    remedy=remedy,
                ) from e
            time.sleep(pause)


@contextlib.contextmanager
def translated_errors(path: str, offline: bool = False, remedy: Message = PUSH_AGAIN) -> Iterator[None]:
    """Raise errors of W&B's client as errors of this package.

    Args:
        path: the project or run that is read or written.
        offline: whether there is no server to be reached.
        remedy: what to do if the server does not answer.

    Raises:
        NetworkError: no server, before anything else is tried; or as `translate`.
    """
    if not offline:
        check_connection(remedy)
    try:
        yield
    except JglueAppError:
        raise
    except Exception as e:
        if not isinstance(e, OSError | ValueError) and type(e).__module__.split(".")[0] not in CLIENT_PACKAGES:
            raise  # An error in our code is not an error of W&B.
        raise translate(e, path, remedy) from e


def translate(error: Exception, path: str, remedy: Message = PUSH_AGAIN) -> JglueAppError:
    """The error of this package for one of W&B's client."""
    text = str(error)
    lower = text.lower()
    if translated := _disk_error(error, lower):
        return translated
    if "previously created and deleted" in lower:
        return InputError(
            "Somebody has deleted this run at {path}, and W&B never takes the id of a deleted run again. Restore it "
            "there, or push to another project.",
            path=path,
        )
    if _has_lost_its_core(error):
        return NetworkError(
            "A process of W&B's client has ended ({line}). {remedy}", line=first_line(error), remedy=remedy
        )
    # The client calls it an authentication error when a server that does not answer cannot check the key.
    if not any(sign in lower for sign in NO_ANSWER_SIGNS):
        if isinstance(error, wandb.errors.AuthenticationError) or _has_status(text, 401) or "not logged in" in lower:
            return InputError(
                "W&B does not accept this key. Copy it once more from https://wandb.ai/authorize (of your own server: "
                "its /authorize page)."
            )
        if "permission" in lower or "forbidden" in lower or _has_status(text, 403):
            return InputError(
                "This key may not write to {path}. Check entity and project, or ask its owner. ({line})",
                path=path,
                line=first_line(error),
            )
        if "not found" in lower or "could not find" in lower or _has_status(text, 404):
            return _not_found(error, path)
    return NetworkError("W&B did not answer properly: {line} {remedy}", line=first_line(error), remedy=remedy)


def _has_lost_its_core(error: Exception) -> bool:
    """Whether the key could not be checked because the process that does it, `wandb-core`, is gone: the client calls
    this an authentication error, too. If the server refuses a key, the cause is an error of its API, or there is
    none."""
    cause = error.__cause__
    return (
        isinstance(error, wandb.errors.AuthenticationError)
        and cause is not None
        and type(cause).__name__ not in ("WandbApiFailedError", "AuthenticationError", "TimeoutError")
    )


def _disk_error(error: Exception, lower: str) -> JglueAppError | None:
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    if full or "no space left" in lower or "disk quota" in lower:
        return StoreError(
            "There is no room to prepare what is sent to W&B. Free some space, or set TMPDIR to a larger disk. "
            "The run here is untouched."
        )
    if isinstance(error, OSError) and error.filename:
        return StoreError(
            "{file} cannot be used to prepare what is sent ({reason}).",
            file=str(error.filename),
            reason=reason_of(error),
        )
    return None


def _not_found(error: Exception, path: str) -> InputError:
    line = first_line(error)
    if path.count("/") > 1:
        return InputError(
            "W&B knows no {path}. Check the run's id, entity and project: a team has to exist. ({line})",
            path=path,
            line=line,
        )
    return InputError(
        "W&B knows no {path}. Check entity and project: a team has to exist. ({line})", path=path, line=line
    )


def _has_status(text: str, status: int) -> bool:
    """Whether a text names an HTTP status; ids hold digits too."""
    return re.search(rf"(?<![\w.:-]){status}(?![\w.:-]\w)", text) is not None
