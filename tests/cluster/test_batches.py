"""Which items a worker is to answer next."""

from __future__ import annotations

from collections import Counter

import pytest

from jglue_app.cluster.batches import Part, batch_size, choose_part, items_left, workers_wanted
from jglue_app.types import ModelSpec, Prompt

A, B = ModelSpec("a"), ModelSpec("b")


def prompts(count: int) -> list[Prompt]:
    return [Prompt("jnli", str(n), f"{n}", None, (), (), "", (), "") for n in range(count)]


def ready(model: ModelSpec, count: int) -> Part:
    part = Part(model, count)
    part.set_prompts(prompts(count), {})
    return part


@pytest.mark.parametrize(
    ("left", "workers", "speed", "size"),
    [
        (1_000, 2, 0.0, 64),  # Nothing is known of the speed.
        (10_000, 2, 100.0, 500),  # Five seconds.
        (100_000, 2, 10_000.0, 2_048),
        (100, 2, 100.0, 25),  # Two rounds for each of two workers.
        (10, 4, 0.0, 4),
        (3, 4, 0.0, 3),
    ],
)
def test_batches_take_seconds_and_end_together(left: int, workers: int, speed: float, size: int) -> None:
    assert batch_size(left, workers, speed) == size


def test_what_a_lost_worker_had_comes_first_and_in_order() -> None:
    part = ready(A, 6)
    batch = part.take(4)
    assert [p.item_id for p in batch] == ["0", "1", "2", "3"]
    part.give_back(batch[2:])
    assert [p.item_id for p in part.take(10)] == ["2", "3", "4", "5"]
    assert not part.is_done
    part.give_back([])
    assert part.is_done


def test_a_worker_goes_on_with_its_model_and_prepares_only_when_nothing_waits() -> None:
    new, own, other = Part(A, 50), ready(A, 10), ready(B, 1_000)
    parts = [new, other, own]
    assert choose_part(parts, A, Counter(), lambda _: True) is own
    own.take(10)
    assert choose_part(parts, A, Counter(), lambda _: True) is new
    new.state = "preparing"
    assert choose_part(parts, A, Counter(), lambda _: True) is other


def test_two_models_are_shared_among_workers_by_what_is_left_of_each() -> None:
    parts = [ready(A, 100), ready(B, 90)]
    assert choose_part(parts, None, Counter(), lambda _: True) is parts[0]
    assert choose_part(parts, None, Counter({A: 1}), lambda _: True) is parts[1]
    assert choose_part(parts, None, Counter({A: 1, B: 1}), lambda _: True) is parts[0]


def test_a_worker_does_not_load_a_model_for_which_the_others_are_enough() -> None:
    parts = [ready(A, 3)]
    assert workers_wanted(parts) == 1
    assert choose_part(parts, B, Counter({A: 1}), lambda _: True) is None


def test_nothing_is_answered_before_it_may_be() -> None:
    parts = [ready(A, 10), Part(A, 5)]
    assert choose_part(parts, A, Counter(), lambda _: False) is parts[1]
    parts[1].state = "preparing"
    assert choose_part(parts, A, Counter(), lambda _: False) is None


def test_a_worker_keeps_its_model_until_it_may_answer() -> None:
    own, other, new = ready(A, 10), ready(B, 1_000), Part(B, 1_000)
    assert choose_part([own, other, new], A, Counter(), lambda _: False) is None
    assert choose_part([own, other, new], A, Counter(), lambda _: True) is own
    own.take(10)
    assert choose_part([own, other, new], A, Counter(), lambda _: True) is other


def test_workers_are_counted_no_further_than_is_asked() -> None:
    parts = [ready(A, 10), ready(B, 1_000)]
    assert (workers_wanted(parts), workers_wanted(parts, 2), workers_wanted(parts, 500)) == (253, 2, 253)
    assert items_left(parts) == 1_010
