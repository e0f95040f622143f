"""What paid requests may still cost: an amount is reserved before each request and settled when it was answered.

Amounts are in the currency of the endpoint. They are added up as fractions, so that a thousand small ones make exactly
their sum, and reserving and giving back leaves nothing behind.
"""

from __future__ import annotations

import math
import threading
from fractions import Fraction

from jglue_app.types import Account

TOLERANCE = Fraction(1, 10**9)
"""Part of the limit by which a sum may be over it: 0.1 + 0.2 is a little more than 0.3 in binary."""


class Spending:
    """What one run may spend, and what it has spent. Safe for several threads.

    Args:
        limit: most that all requests may cost; None or infinity for no limit.
        spent: what earlier requests of the same run have cost already.
        also: an account that every request is charged to as well, such as a visitor's; a request that this one refuses
            is refused.

    Raises:
        ValueError: an amount below zero, or one that is no number.
    """

    def __init__(self, limit: float | None, spent: float = 0.0, also: Account | None = None) -> None:
        self.limit = None if limit is None or limit == math.inf else limit
        self._most = None if self.limit is None else _amount(self.limit) * (1 + TOLERANCE)
        self._spent = _amount(spent)
        self._reserved = Fraction(0)
        self._exhausted = False
        self._refused_by_other = False
        self._also = also
        self._lock = threading.Lock()

    @property
    def spent(self) -> float:
        """Cost of all requests that were settled, with that of earlier ones."""
        with self._lock:
            return float(self._spent)

    @property
    def exhausted(self) -> bool:
        """Whether a request was refused; stays true."""
        with self._lock:
            return self._exhausted

    @property
    def refused_by_other(self) -> bool:
        """Whether it was the other account that refused a request first."""
        with self._lock:
            return self._refused_by_other

    def reserve(self, cost: float, tokens: int = 0) -> bool:
        """Set aside what a request may cost at most.

        Args:
            cost: most that it may cost.
            tokens: most tokens that it may take, prompt and answer together; for accounts that count them.

        Returns:
            False if that would exceed what may be spent: then nothing is set aside, and `exhausted` is true.
        """
        amount = _amount(cost)
        with self._lock:
            if self._most is not None and self._spent + self._reserved + amount > self._most:
                self._exhausted = True
                return False
            self._reserved += amount
        if self._also is None or self._also.reserve(cost, tokens):
            return True
        with self._lock:
            self._reserved -= amount
            self._refused_by_other = self._refused_by_other or not self._exhausted
            self._exhausted = True
        return False

    def settle(self, reserved: float, cost: float, reserved_tokens: int = 0, tokens: int = 0) -> None:
        """Give back what was set aside for a request, and note what it did cost.

        Args:
            reserved: what `reserve` was given for it.
            cost: what it did cost; 0 for one that was not answered.
            reserved_tokens: the tokens that `reserve` was given for it.
            tokens: those that it did take.
        """
        paid = _amount(cost)
        with self._lock:
            self._reserved = max(Fraction(0), self._reserved - _amount(reserved))
            self._spent += paid
        if self._also is not None:
            self._also.settle(reserved, cost, reserved_tokens, tokens)

    def hold(self, cost: float) -> None:
        """Leave room for good for an answer that was paid for in an earlier session and is found again: nothing is
        sent, so nothing is refused, and the other account has it already.

        Args:
            cost: what it did cost.
        """
        amount = _amount(cost)
        with self._lock:
            self._reserved += amount


def _amount(value: float) -> Fraction:
    """An amount of money as an exact fraction; raises ValueError if it is none."""
    if not math.isfinite(value) or value < 0:
        raise ValueError(f"{value!r} is no amount of money")
    return Fraction(value)
