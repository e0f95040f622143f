"""How much work one visitor, and all those behind one address, may start on a public server.

A visitor with an account is counted by it, whatever browser or address they come from. Anybody else is counted twice:
by the cookie of their browser, which is easily thrown away, and by their address, which is not.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Sequence

from cachetools import LRUCache

from jglue_app.errors import InputError
from jglue_app.settings import Settings
from jglue_app.ui.visitor import account_of, address_of

HOUR_S = 3_600.0
MAX_COUNTED = 20_000
"""Visitors and addresses that are counted; those of whom was not heard longest are forgotten first."""


class Visits:
    """Counts what visitors start. Not safe for several threads: `Jobs` asks it under its lock.

    Args:
        settings: the operator's limits; without any, everything is admitted.
        now: a clock in seconds.
    """

    def __init__(self, settings: Settings, now: Callable[[], float] = time.monotonic) -> None:
        self._settings, self._now = settings, now
        self._starts: LRUCache[str, deque[float]] = LRUCache(MAX_COUNTED)
        """Visitor, account or address → when something was started within the last hour."""

    def admit(self, owner: str, active: Sequence[str]) -> None:
        """Count that a visitor starts something.

        Args:
            owner: the visitor.
            active: the addresses of what is under way.

        Raises:
            InputError: it would be too much; when it will be possible again is told. It is not counted then.
        """
        account, address = account_of(owner), address_of(owner)
        most_at_once = self._settings.address_jobs
        if most_at_once is not None and address and not account and active.count(address) >= most_at_once:
            raise InputError(
                "From your network {most} runs are under way, the most that this server takes from one. The next can "
                "begin when one of them has ended.",
                most=most_at_once,
            )
        counted = [(f"account {account}" if account else f"visitor {owner}", self._settings.jobs_per_hour)]
        if address and not account:
            counted.append((f"address {address}", self._settings.address_jobs_per_hour))
        for who, most in counted:
            self._check(who, most)
        for who, most in counted:
            if most is not None:
                self._starts.setdefault(who, deque()).append(self._now())

    def _check(self, who: str, most: int | None) -> None:
        starts = self._starts.get(who)
        if most is None or starts is None:
            return
        now = self._now()
        while starts and now - starts[0] >= HOUR_S:
            starts.popleft()
        if len(starts) < most:
            return
        minutes = max(1, math.ceil((starts[len(starts) - most] + HOUR_S - now) / 60))
        if who.startswith("address "):
            raise InputError(
                "From your network {most} runs were started within an hour, the most that this server takes from one. "
                "The next can be started in about {minutes} min.",
                most=most,
                minutes=minutes,
            )
        raise InputError(
            "You have started {most} runs within an hour, the most that this server takes from one visitor. You can "
            "start the next one in about {minutes} min.",
            most=most,
            minutes=minutes,
        )
