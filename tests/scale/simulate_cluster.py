"""The scheduler of a cluster on paper: `python -m tests.scale.simulate_cluster --gpus 8 64`.

A hundred models of several sizes answer the 9,452 items of four subsets in six formats. Rates are those measured with
Gemma 3 270M on two cores (the table in README), scaled by the number of weights and by `--speed`, how many times as
fast a GPU is; a batch's time varies as measured. `cluster` has the policies.
"""

from __future__ import annotations

import argparse
import random

from tests.scale.cluster import POLICIES, Cluster, Model, Outcome, simulate
from tests.scale.shipped import Shipped

ITEMS = {"jsts": 1_457, "jnli": 2_434, "jsquad": 4_442, "jcommonsenseqa": 1_119}
RATES = {"jsts": 17.7, "jnli": 19.8, "jsquad": 7.0, "jcommonsenseqa": 16.7}
"""Items a second of a model with 0.27 billion weights on two cores."""
SIZES = {0.27: 8, 0.5: 12, 1.3: 16, 1.8: 12, 3.0: 12, 7.0: 20, 13.0: 12, 32.0: 8}
"""Billion weights → how many of the hundred models have them."""
SPREAD = 0.25
"""Standard deviation of the logarithm of a batch's time: texts differ in length."""


def models_of(count: int, formats: int, batch: int, speed: float, read_gb_s: float, seed: int = 0) -> list[Model]:
    """Models in the order of a grid's file, which says nothing of their size.

    Args:
        count: how many models, in the shares of `SIZES`.
        formats: how many runs each has.
        batch: items of one batch.
        speed: how many times as fast as two cores a GPU is.
        read_gb_s: gigabytes of weights (two bytes each) that are read, moved and checked in a second.
    """
    rng = random.Random(seed)
    items = tuple(tuple(min(batch, count - first) for first in range(0, count, batch)) for count in ITEMS.values())
    sizes = [size for size, share in SIZES.items() for _ in range(share)]
    rng.shuffle(sizes)
    models = []
    for number in range(count):
        size = sizes[number % len(sizes)]
        runs = tuple(tuple(_batches(size / 0.27 / speed, batch, rng)) for _ in range(formats))
        models.append(Model(f"model-{number:03}", 2 + 2 * size / read_gb_s, runs, items))
    return models


def _batches(slower: float, batch: int, rng: random.Random) -> list[float]:
    return [
        min(batch, items - first) / RATES[task] * slower * rng.lognormvariate(-(SPREAD**2) / 2, SPREAD)
        for task, items in ITEMS.items()
        for first in range(0, items, batch)
    ]


def line(name: str, gpus: int, found: Outcome) -> str:
    """One row of the table."""
    return (
        f"{name:<30} {gpus:>5} {found.makespan / 3_600:>9.2f} {found.bound / 3_600:>7.2f} "
        f"{found.makespan / found.bound:>6.3f} {found.idle:>7.1%} {found.loading:>8.1%} "
        f"{found.preparing:>8.1%} {found.loads:>6} {found.deaths:>6} {found.again:>6} {found.driver_s * 1e3:>7.2f}"
    )


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gpus", type=int, nargs="+", default=[8, 64])
    parser.add_argument("--models", type=int, default=100)
    parser.add_argument("--formats", type=int, default=6)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--speed", type=float, default=150.0)
    parser.add_argument("--read-gb-s", type=float, default=1.0)
    parser.add_argument("--deaths-per-hour", type=float, default=0.1, help="Of each GPU's actor.")
    parser.add_argument("--prepare-items-s", type=float, default=1_000.0, help="Prompts made in a second.")
    parser.add_argument("--at-once", type=int, nargs="+", default=[100, 600], help="Runs of one call of the package.")
    given = parser.parse_args()
    models = models_of(given.models, given.formats, given.batch, given.speed, given.read_gb_s)
    print(
        f"{'policy':<30} {'GPUs':>5} {'makespan':>9} {'bound':>7} {'ratio':>6} {'idle':>7} {'loading':>8} "
        f"{'prompts':>8} {'loads':>6} {'deaths':>6} {'again':>6} {'driver':>7}"
    )
    for gpus in given.gpus:
        for name in POLICIES:
            print(line(name, gpus, simulate(models, Cluster(gpus, deaths_per_hour=given.deaths_per_hour), name)))
        for at_once in given.at_once:
            cluster = Cluster(gpus, deaths_per_hour=given.deaths_per_hour)
            found = Shipped(models, cluster, at_once, given.prepare_items_s).outcome()
            print(line(f"as shipped, {at_once} runs at once", gpus, found), flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
