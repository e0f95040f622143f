"""Several servers of one model behind one name: each request goes where it is answered soonest.

A server that does not answer is left out and comes back once it has answered known questions as the others do; what was
sent to it goes to another. It stands where the client of one server does.
"""

from __future__ import annotations

import functools
import math
import random
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from jglue_app.backends.endpoint_settings import ServedModel
from jglue_app.backends.openai_api import client as clients
from jglue_app.backends.openai_api import failures
from jglue_app.backends.openai_api.client import TRIES, Client
from jglue_app.backends.openai_api.failures import RequestError
from jglue_app.backends.openai_api.parallel import in_parallel
from jglue_app.backends.openai_api.pool_member import PoolMember

POLL_S = 0.05
"""How often a request that waits looks whether it was cancelled, or a server is due to be asked again."""
AT_ONCE = 16
"""Servers that are asked at once."""
NONE_LEFT_S = 10.0
"""How long a request waits for a server while none answers."""

Check = Callable[[Client], tuple[str, ...]]
"""Asks a server known questions; returns the configurations that answered, raises RequestError if it is not to be
used."""


class ServerPool:
    """Requests to the servers of one model. Safe for use by several threads.

    Args:
        served: the model, on an endpoint with several addresses.
        check: what a server has to answer before it gets work.
        models: names under which it answers; an answer under another one is not used.
        ready: addresses of servers that have just been asked, with the configurations that are known.

    Raises:
        InputError: as `Client`.
    """

    def __init__(
        self,
        served: ServedModel,
        check: Check,
        models: Collection[str] = (),
        ready: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self.endpoint = served.endpoint
        self._check, self._models, self._is_paid = check, models, served.priced
        self._members = [PoolMember(Client(server)) for server in served.servers]
        for member in self._members:
            if ready is not None and member.address in ready:
                member.take_in(tuple(ready[member.address]))
        self._changed = threading.Condition()
        self._closed = False

    @property
    def at_once(self) -> int:
        """Requests that all servers take at once."""
        return sum(member.limit for member in self._members)

    @property
    def left_out(self) -> tuple[str, ...]:
        """Servers that are not the model of the pool, with the reason."""
        with self._changed:
            return tuple(text for member in self._members if (text := member.left_out))

    def ask_again(self, seconds: float) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Ask all servers known questions that have answered anything since they were last asked.

        Returns:
            Addresses of those whose answers since then may be of another model, and of those that did not answer.
        """
        end = time.monotonic() + seconds
        with self._changed:
            asked = [member for member in self._members if member.state == "ready" and member.is_unasked]
        jobs = [functools.partial(self._recheck, member) for member in asked]
        for _ in in_parallel(jobs, AT_ONCE, lambda: time.monotonic() >= end, threading.Event()):
            pass
        with self._changed:
            others = tuple(member.address for member in self._members if member.is_doubtful)
            silent = tuple(member.address for member in asked if member.state == "ready" and member.is_unasked)
            for member in self._members:
                member.is_doubtful = False
        return others, silent

    def for_item(self) -> ItemRequests:
        """Requests that go to one server, as long as it answers."""
        return ItemRequests(self)

    def post(
        self,
        path: str,
        body: Mapping[str, Any],
        cancelled: threading.Event | None = None,
        lost: Callable[[], None] = lambda: None,
        tries: int = TRIES,
    ) -> dict[str, Any]:
        """As `Client.post`, on any of the servers."""
        return self.send(path, body, cancelled, lost, tries)[0]

    def send(
        self,
        path: str,
        body: Mapping[str, Any],
        cancelled: threading.Event | None = None,
        lost: Callable[[], None] = lambda: None,
        tries: int = TRIES,
        preferred: PoolMember | None = None,
    ) -> tuple[dict[str, Any], PoolMember]:
        """As `Client.post`, with the server that answered.

        Args:
            path, body, cancelled, lost, tries: see there. A server at which nothing arrived counts as no try.
            preferred: waited for, as long as it gets work.

        Raises:
            RequestError: no usable answer of any server.
        """
        event, end = cancelled or threading.Event(), math.inf
        failed: set[PoolMember] = set()
        sent = 0
        while True:
            member, breaks = self._take(event, end, preferred, failed)
            start = time.monotonic()
            end = min(end, start + self.endpoint.deadline)
            try:
                answer = member.client.once(path, body, event)
                self._look_at(member, breaks, answer)
            except RequestError as e:
                self._give_back(member, e)
                if e.lost:
                    lost()
                if e.kind == "cancelled" or not (e.transient or e.run is not None):
                    raise
                sent += e.lost or e.kind != "unreachable"
                failed.add(member)
                if event.is_set() or (sent >= tries and e.run is None) or time.monotonic() >= end:
                    raise
                self._pause(failed, sent, event)
                continue
            except BaseException:
                self._give_back(member, failures.cancelled())
                raise
            with self._changed:
                member.in_flight -= 1
                member.answered(time.monotonic() - start)
                self._changed.notify_all()
            return answer, member

    def close(self) -> None:
        """Close all connections. Calling it twice is fine."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for member in self._members:
            member.client.close()

    # --- which server ---

    def _take(
        self, cancelled: threading.Event, end: float, preferred: PoolMember | None, failed: Collection[PoolMember]
    ) -> tuple[PoolMember, int]:
        """A server with room, which is waited for, and how often its connections broke before; raises RequestError if
        there is none any more."""
        none_since: float | None = None
        with self._changed:
            while True:
                if cancelled.is_set() or self._closed:
                    raise failures.cancelled()
                self._ask_those_due()
                now = time.monotonic()
                working = [member for member in self._members if member.state == "ready"]
                if not working:
                    for member in self._members:
                        member.hurry()
                    none_since = now if none_since is None else none_since
                    if now - none_since >= NONE_LEFT_S or self._all_refused() or now >= end:
                        raise self._none_left()
                else:
                    none_since = None
                    chosen = _choice(working, preferred, failed)
                    if chosen is not None:
                        chosen.in_flight += 1
                        return chosen, chosen.breaks
                    if now >= end:
                        raise failures.timed_out(self.endpoint, lost=False)
                    if min(member.limited_for for member in working) > self.endpoint.deadline:
                        raise working[0].error or failures.timed_out(self.endpoint, lost=False)
                self._changed.wait(POLL_S)

    def _all_refused(self) -> bool:
        return all(member.state == "refused" for member in self._members)

    def _none_left(self) -> RequestError:
        """What is said where no server answers: as of one that does not, with all addresses."""
        errors = [member.error for member in self._members if member.error is not None]
        if self._all_refused() and errors:
            return errors[0]
        down = next((member.error for member in self._members if member.state == "down" and member.error), None)
        if down is not None and down.kind != "unreachable":
            return down
        return failures.unreachable(self.endpoint, ConnectionError(), lost=False)

    def _give_back(self, member: PoolMember, error: RequestError) -> None:
        with self._changed:
            member.in_flight -= 1
            member.failed(error)
            self._changed.notify_all()

    def _pause(self, failed: set[PoolMember], sent: int, cancelled: threading.Event) -> None:
        """Wait before another try where no server is left that has not been tried; these are all tried again then."""
        with self._changed:
            others = any(member.state == "ready" and member not in failed for member in self._members)
        if not others:
            failed.clear()
            cancelled.wait(random.uniform(0, min(clients.MAX_WAIT_S, clients.FIRST_WAIT_S * 2**sent)))

    # --- whether it is the model of the pool ---

    def _look_at(self, member: PoolMember, breaks: int, answer: Mapping[str, Any]) -> None:
        """Raise RequestError where it may not be the server that has answered the known questions: another model or
        configuration answers, or other connections have broken since the request left (`breaks`)."""
        model, fingerprint = answer.get("model"), answer.get("system_fingerprint")
        other = isinstance(model, str) and model and self._models and model not in self._models
        with self._changed:
            unknown = isinstance(fingerprint, str) and bool(fingerprint) and fingerprint not in member.fingerprints
            if other or unknown:
                if member.state == "ready":
                    member.ask_again(fingerprint if isinstance(fingerprint, str) else "")
            elif member.breaks == breaks or (self._is_paid and self._is_itself(member)):
                return
        raise failures.changed(member.client.endpoint)

    def _is_itself(self, member: PoolMember) -> bool:
        """Whether a server answers the known questions again, which is waited for: its answer is paid already."""
        end = time.monotonic() + NONE_LEFT_S
        while member.state in ("down", "unchecked") and time.monotonic() < end and not self._closed:
            self._ask_those_due()
            self._changed.wait(POLL_S)
        return member.state == "ready"

    def _ask_those_due(self) -> None:
        """Let those that get no work be asked again, each in a thread of its own."""
        for member in self._members:
            if member.is_idle:
                member.ask_again()
            if member.is_due:
                member.checking = True
                threading.Thread(target=self._ask, args=(member,), daemon=True).start()

    def _ask(self, member: PoolMember) -> None:
        error: RequestError | None = None
        fingerprints: tuple[str, ...] = ()
        try:
            fingerprints = self._check(member.client)
        except RequestError as e:
            error = e
        except Exception as e:  # Whatever it is, it gets no work.
            error = failures.unreachable(member.client.endpoint, e, lost=False)
        with self._changed:
            member.checking = False
            if error is None:
                member.take_in(fingerprints)
            elif error.run is not None or not error.transient:
                member.refuse(error)
            else:
                member.leave_out(error)
            self._changed.notify_all()

    def _recheck(self, member: PoolMember) -> None:
        """Ask a server that gets work whether it is still the model; twice, where it answers otherwise."""
        for last in (False, True):
            try:
                fingerprints = self._check(member.client)
            except RequestError as e:
                if e.run is None:
                    return
                if last:
                    with self._changed:
                        member.refuse(e)
                continue
            with self._changed:
                if member.state == "ready":
                    member.take_in(fingerprints)
            return


class ItemRequests:
    """The requests of one item: to one server, so that its answers are compared with each other, and prefixes are in
    that server's cache."""

    def __init__(self, pool: ServerPool) -> None:
        self._pool = pool
        self._member: PoolMember | None = None
        self.servers: list[str] = []
        """Addresses of those that answered."""

    def post(
        self,
        path: str,
        body: Mapping[str, Any],
        cancelled: threading.Event | None = None,
        lost: Callable[[], None] = lambda: None,
        tries: int = TRIES,
    ) -> dict[str, Any]:
        """As `Client.post`."""
        answer, self._member = self._pool.send(path, body, cancelled, lost, tries, self._member)
        if self._member.address not in self.servers:
            self.servers.append(self._member.address)
        return answer


def _choice(
    working: Sequence[PoolMember], preferred: PoolMember | None, failed: Collection[PoolMember]
) -> PoolMember | None:
    """The server that gets a request; None to wait for one with room."""
    if preferred is not None and preferred in working and preferred not in failed and preferred.limited_for <= 0:
        return preferred if preferred.has_room else None
    untried = [member for member in working if member not in failed] or working
    free = [member for member in untried if member.has_room]
    return min(free, key=lambda member: member.load, default=None)
