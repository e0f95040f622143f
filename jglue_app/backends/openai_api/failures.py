"""What can go wrong between a server and us, as sentences: of one item, or of the whole run."""

from __future__ import annotations

import email.utils
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any

from jglue_app.backends.endpoint_settings import Endpoint
from jglue_app.errors import JglueAppError, ModelAccessError, ModelError, ModelNotFoundError, NetworkError, redact_key
from jglue_app.messages import Joined, Message
from jglue_app.types import RunError

MAX_LISTED = 8
"""Models of a server that a sentence names."""
MAX_REASON = 300
"""Characters of a server's message that a sentence repeats."""
OVERFLOW = "overflow"
"""Kind of failure: the prompt is longer than the model's context."""
REFUSED = "refused"
"""Kind of failure: the server does not take the request as it is."""
_CONTEXT = re.compile(
    r"context[ _-]?(length|window|size)|maximum context|context_length_exceeded|too many tokens|prompt is too long"
    r"|exceed\w* (the )?(model'?s? )?(max\w*|context)|longer than the (model|maximum)|max_model_len|n_ctx",
    re.IGNORECASE,
)
_QUOTA = re.compile(r"insufficient_quota|quota|billing|credit|balance|payment", re.IGNORECASE)
_MODEL = re.compile(r"model", re.IGNORECASE)


class RequestError(Exception):
    """A request that got no usable answer.

    Args:
        kind: machine-readable, as in `RunError.kind`.
        message: a sentence for people.
        transient: whether trying again may help.
        retry_after: seconds that the server asks to wait.
        run: what ends the whole run where the failure concerns all its requests; None if it concerns this one.
        detail: what the server said of it, lower-case, to look parameter names up in; never shown.
        status: the HTTP status; 0 where there was none.
        lost: whether the model may have answered, so that the request may be paid for without an answer here.
    """

    def __init__(
        self,
        kind: str,
        message: Message,
        *,
        transient: bool = False,
        retry_after: float | None = None,
        run: type[JglueAppError] | None = None,
        detail: str = "",
        status: int = 0,
        lost: bool = False,
    ) -> None:
        super().__init__(message)
        self.kind, self.message, self.transient = kind, message, transient
        self.retry_after, self.run, self.detail, self.lost = retry_after, run, detail, lost
        self.status = status

    def as_run_error(self) -> RunError:
        """The failure as the result of one item."""
        return RunError(self.kind, self.message)

    def as_exception(self, default: type[JglueAppError] = ModelError) -> JglueAppError:
        """The failure as the end of the run."""
        return (self.run or default)(self.message)


def of_status(
    endpoint: Endpoint, status: int, headers: Mapping[str, str], body: Any, model: str, key: str
) -> RequestError:
    """The failure that an HTTP status and its body stand for.

    Args:
        endpoint: the server.
        status: 300 or above.
        headers: of the response.
        body: JSON, or a text where it is none.
        model: the model that was named in the request.
        key: the endpoint's key, and what else of its headers is secret, each in a line: no part of it is repeated.
    """
    text = _reason_text(body)
    code = _code(body)
    reason = _shown(text, key)
    detail = f"{code} {text}".lower()
    name = endpoint.id
    if 300 <= status < 400:
        return RequestError(
            "redirected",
            Message(
                "The endpoint {endpoint} redirects to another address (HTTP {status}), which is not followed, so that "
                "no key goes there. Write the address that it means into base_url.",
                endpoint=name,
                status=status,
            ),
            run=NetworkError,
        )
    if status in (401, 403):
        return RequestError("no_access", _no_access(endpoint, status), run=ModelAccessError)
    if status == 402 or (status == 429 and _QUOTA.search(detail)):
        return RequestError(
            "no_quota",
            Message(
                "The account behind the endpoint {endpoint} has no quota left (HTTP {status}: {reason}). What is "
                "answered is kept: start the same run again when there is some.",
                endpoint=name,
                status=status,
                reason=reason,
            ),
            run=ModelAccessError,
        )
    if status == 404:
        return _not_found(endpoint, model, detail, reason)
    if status == 429 or status in (408, 409, 425) or status >= 500:
        kind = "rate_limited" if status == 429 else "server_error"
        message = Message(
            "The endpoint {endpoint} did not answer (HTTP {status}: {reason}). Try it again later: what was answered "
            "is kept.",
            endpoint=name,
            status=status,
            reason=reason,
        )
        wait = _retry_after(headers)
        return RequestError(kind, message, transient=True, retry_after=wait, detail=detail, status=status)
    kind = OVERFLOW if _CONTEXT.search(detail) else REFUSED
    message = Message(
        "The endpoint {endpoint} does not take this request (HTTP {status}: {reason}).",
        endpoint=name,
        status=status,
        reason=reason,
    )
    return RequestError(kind, message, detail=detail)


def unreachable(endpoint: Endpoint, error: BaseException, *, lost: bool = True) -> RequestError:
    """No connection, or one that was dropped (`lost`)."""
    message = Message(
        "The endpoint {endpoint} at {address} cannot be reached, or broke the connection off ({reason}). Check that "
        "the server runs and that base_url is right.",
        endpoint=endpoint.name,
        address=endpoint.address,
        reason=type(error).__name__,
    )
    return RequestError("unreachable", message, transient=True, lost=lost)


def timed_out(endpoint: Endpoint, *, lost: bool = True) -> RequestError:
    """No whole answer within the time that one try may take."""
    message = Message(
        "The endpoint {endpoint} did not answer within {seconds:g} seconds. Raise its timeout in endpoints.toml, or "
        "send fewer requests at once.",
        endpoint=endpoint.id,
        seconds=endpoint.timeout,
    )
    return RequestError("timeout", message, transient=True, lost=lost)


def too_large(endpoint: Endpoint, most: int) -> RequestError:
    """An answer of more bytes than any that was asked for."""
    message = Message(
        "The endpoint {endpoint} sent more than {megabytes} MB for one request, which is no answer to it.",
        endpoint=endpoint.id,
        megabytes=most // 2**20,
    )
    return RequestError("too_large", message, lost=True)


def not_json(endpoint: Endpoint, content_type: str) -> RequestError:
    """An answer that is no JSON object, such as a web page or half an object."""
    message = Message(
        "The endpoint {endpoint} at {address} answers with something that is no JSON object ({type}). Check that "
        "base_url is that of the interface, such as http://127.0.0.1:8000/v1.",
        endpoint=endpoint.name,
        address=endpoint.address,
        type=content_type[:60] or "?",
    )
    return RequestError("not_json", message, transient=True, lost="json" in content_type.lower())


def other_shape(endpoint: Endpoint, what: str) -> RequestError:
    """JSON without the parts that the interface has."""
    message = Message(
        "The answer of the endpoint {endpoint} is not in the form of the interface ({what}).",
        endpoint=endpoint.id,
        what=what,
    )
    return RequestError("other_shape", message)


def changed(endpoint: Endpoint) -> RequestError:
    """An answer of a server of a pool that is another than the one that was asked known questions."""
    message = Message(
        "The endpoint {endpoint} was started anew during the run, with another model or version.", endpoint=endpoint.id
    )
    return RequestError("changed", message, transient=True, lost=True)


def cancelled() -> RequestError:
    """The run was stopped while a request waited."""
    return RequestError("cancelled", Message("The run was stopped."))


def _no_access(endpoint: Endpoint, status: int) -> Message:
    if not endpoint.key_env:
        return Message(
            "The endpoint {endpoint} asks for a key (HTTP {status}). Name the environment variable that holds it with "
            "key_env in endpoints.toml.",
            endpoint=endpoint.id,
            status=status,
        )
    return Message(
        "The endpoint {endpoint} refuses the key of the environment variable {name} (HTTP {status}). Check that it is "
        "the key for this server and that it may use the model.",
        endpoint=endpoint.id,
        name=endpoint.key_env,
        status=status,
    )


def _not_found(endpoint: Endpoint, model: str, detail: str, reason: str) -> RequestError:
    if _MODEL.search(detail):
        message = Message(
            "The endpoint {endpoint} has no model {model!r} ({reason}). Write its name as the server does.",
            endpoint=endpoint.id,
            model=model,
            reason=reason,
        )
        return RequestError("no_model", message, run=ModelNotFoundError, detail=detail)
    message = Message(
        "The endpoint {endpoint} at {address} does not have what was asked for (HTTP 404): its base_url is another "
        "(it mostly ends with /v1), or the server does not offer it.",
        endpoint=endpoint.name,
        address=endpoint.address,
    )
    return RequestError("no_interface", message, run=NetworkError, detail=detail)


def unlisted(endpoint: Endpoint, model: str, listed: Sequence[str]) -> RequestError:
    """A model that the server does not list, where it answers to any name and so with another model."""
    message = Message(
        "The endpoint {endpoint} does not list {model!r} and answers to any name, so that another model would answer. "
        "It lists: {names}.",
        endpoint=endpoint.id,
        model=model,
        names=Joined(", ", listed[:MAX_LISTED]),
    )
    return RequestError("no_model", message, run=ModelNotFoundError)


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds of `Retry-After-Ms` or `Retry-After`, which is a number or a date; None if there is none."""
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        text = headers.get(name, "").strip()
        try:
            seconds = float(text) * unit
        except ValueError:
            parsed = email.utils.parsedate_tz(text) if text else None
            seconds = email.utils.mktime_tz(parsed) - time.time() if parsed else -1.0
        if 0 <= seconds < 10**9:
            return seconds
    return None


def _reason_text(body: Any) -> str:
    """What a server says in the body of an error."""
    if isinstance(body, Mapping):
        error = body.get("error", body)
        if isinstance(error, Mapping):
            found = error.get("message") or error.get("detail") or error.get("msg") or ""
            return str(found)
        if isinstance(error, str):
            return error
        return str(body.get("message") or body.get("detail") or "")
    return str(body or "")


def _code(body: Any) -> str:
    error = body.get("error", body) if isinstance(body, Mapping) else None
    if not isinstance(error, Mapping):
        return ""
    return " ".join(str(error[name]) for name in ("code", "type", "param") if error.get(name))


def _shown(text: str, key: str) -> str:
    """A server's words in one line, without any part of the key; of a web page nothing."""
    line = " ".join(text.split())
    if line.startswith("<") or "<html" in line.lower():
        return "HTML"
    line = "".join(c for c in line if c.isprintable())[:MAX_REASON]
    return redact_key(key, line) if key else line
