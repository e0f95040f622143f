"""What paid requests may cost: sums to the last digit, and no thread ever goes past the limit."""

from __future__ import annotations

import math
import random
import threading

import pytest

from jglue_app.backends.spending import Spending


def test_a_request_that_would_exceed_the_limit_is_refused_and_a_smaller_one_is_not() -> None:
    spending = Spending(1.0)
    assert spending.reserve(0.75) and not spending.exhausted
    assert not spending.reserve(0.5)
    assert spending.exhausted and not spending.refused_by_other
    spending.settle(0.75, 0.5)
    assert spending.spent == 0.5
    assert spending.reserve(0.5), "what was reserved and not spent is there again"
    spending.settle(0.5, 0.5)
    assert spending.spent == 1.0
    assert not spending.reserve(2**-20)


def test_what_earlier_requests_have_cost_counts() -> None:
    spending = Spending(1.0, spent=0.75)
    assert not spending.reserve(0.5)
    assert spending.reserve(0.25)
    spending.settle(0.25, 0.125)
    assert spending.spent == 0.875


def test_ten_tenths_fit_into_one() -> None:
    spending = Spending(1.0)
    for _ in range(10):
        assert spending.reserve(0.1)
        spending.settle(0.1, 0.1)
    assert math.isclose(spending.spent, 1.0, rel_tol=1e-15)
    assert not spending.reserve(1e-6)


@pytest.mark.parametrize("limit", [None, math.inf])
def test_without_a_limit_everything_is_counted_and_nothing_refused(limit: float | None) -> None:
    spending = Spending(limit, spent=5)
    assert spending.limit is None and spending.reserve(1e12)
    spending.settle(1e12, 2.5)
    assert spending.spent == 7.5 and not spending.exhausted


@pytest.mark.parametrize("cost", [-1.0, math.nan, math.inf])
def test_what_is_no_amount_of_money_is_a_fault_of_the_caller(cost: float) -> None:
    spending = Spending(10.0)
    with pytest.raises(ValueError, match="no amount"):
        spending.reserve(cost)
    with pytest.raises(ValueError, match="no amount"):
        spending.settle(0.0, cost)
    assert spending.spent == 0 and spending.reserve(10.0)


class Other:
    """An account that counts tokens and takes at most so many."""

    def __init__(self, most: int) -> None:
        self.most, self.reserved, self.spent, self.cost = most, 0, 0, 0.0

    def reserve(self, cost: float, tokens: int = 0) -> bool:
        if self.reserved + self.spent + tokens > self.most:
            return False
        self.reserved += tokens
        return True

    def settle(self, reserved: float, cost: float, reserved_tokens: int = 0, tokens: int = 0) -> None:
        self.reserved -= reserved_tokens
        self.spent += tokens
        self.cost += cost

    def hold(self, cost: float) -> None:
        raise AssertionError("what is found again is not charged to another account")


def test_another_account_is_charged_too_and_may_refuse() -> None:
    other = Other(100)
    spending = Spending(10.0, also=other)
    assert spending.reserve(4.0, 80)
    assert not spending.reserve(4.0, 30)
    assert spending.exhausted and spending.refused_by_other
    spending.settle(4.0, 1.5, 80, 60)
    assert (other.reserved, other.spent, other.cost, spending.spent) == (0, 60, 1.5, 1.5)
    assert spending.reserve(8.5, 40), "what the other one refused is reserved nowhere"


def test_an_answer_that_is_found_again_takes_room_and_is_neither_refused_nor_charged_to_the_other_account() -> None:
    other = Other(100)
    spending = Spending(1.0, also=other)
    spending.hold(0.75)
    spending.hold(0.75)
    assert not spending.exhausted and spending.spent == 0
    assert not spending.reserve(0.25) and not spending.refused_by_other
    assert (other.reserved, other.spent) == (0, 0)


def test_threads_that_reserve_at_once_never_go_past_the_limit() -> None:
    spending, most = Spending(100.0), 100.0
    over: list[float] = []
    granted: list[float] = []
    lock, start = threading.Lock(), threading.Barrier(16)
    in_flight = [0.0]

    def work(seed: int) -> None:
        rng = random.Random(seed)
        start.wait()
        for _ in range(300):
            cost = rng.randint(1, 64) / 64
            if not spending.reserve(cost):
                continue
            with lock:
                in_flight[0] += cost
                if sum(granted) + in_flight[0] > most:
                    over.append(in_flight[0])
            paid = cost * rng.choice((0, 0.5, 1))
            # Counted as paid before it is settled: what the lock sees is never more than what is reserved.
            with lock:
                in_flight[0] -= cost
                granted.append(paid)
            spending.settle(cost, paid)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert over == []
    assert spending.spent == sum(granted) <= most
    assert spending.spent > most - 1 and spending.exhausted
