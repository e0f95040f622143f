"""What the metrics are. Pure, without randomness; `significance.py` says how sure they are.

A metric over n items is a function of weights, how often each item counts: an (n, resamples) matrix gives one value per
column, and a column of ones gives the value itself. NaN where it is undefined.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Metric = Callable[[Floats], Floats]
"""Weights, shape (n, resamples), n > 0 → values, shape (resamples,)."""
_ONE_THREAD = 250_000
"""Multiplications of a product of two matrices for which BLAS starts no threads."""
_COLUMNS = 8
"""A product of parts of a multiple of so many columns has the digits of the whole product by one thread."""


def normalize_span(text: str) -> str:
    """JSQuAD normalisation of the JGLUE repository's evaluation: lower case, trailing 「。」 off, spaces collapsed.

    Punctuation stays; no Unicode normalisation.
    """
    return " ".join(text.lower().rstrip("。").split())


def span_exact_match(prediction: str, references: Sequence[str]) -> float:
    """1.0 if the normalised prediction equals one of the normalised references, else 0.0."""
    answer = normalize_span(prediction)
    return float(any(answer == normalize_span(r) for r in references))


def span_f1(prediction: str, references: Sequence[str]) -> float:
    """Highest F1 over the references, each over the bag of normalised characters, spaces included: 2PR/(P+R)."""
    answer = normalize_span(prediction)
    return max(bag_f1(answer, normalize_span(r)) for r in references)


def bag_f1(prediction: str, reference: str) -> float:
    """F1 over the bags of characters, spaces included: 2PR/(P+R) (JGLUE's evaluation script)."""
    if not prediction or not reference:
        return float(prediction == reference)
    common = sum(min(prediction.count(c), reference.count(c)) for c in set(prediction) & set(reference))
    return 2 * common / (len(prediction) + len(reference))


def mean(values: Sequence[float] | Floats) -> Metric:
    """The weighted average; undefined where there is no item or one that is not finite."""
    x = np.asarray(values, dtype=np.float64)
    if not _usable(x):
        return _undefined
    exponent = _exponent(x)
    x = np.ldexp(x, -exponent)
    middle = np.median(x)
    # About the middle, so that a constant stays exactly what it is.
    return lambda weights: np.ldexp(middle + (x - middle) @ weights / weights.sum(axis=0), exponent)


def pearson(x: Sequence[float] | Floats, y: Sequence[float] | Floats) -> Metric:
    """Pearson's r; undefined where a side is constant or a value is not finite."""
    moments = pearson_moments(x, y)
    if moments is None:
        return _undefined
    return lambda weights: pearson_of(_sums(moments, weights) / weights.sum(axis=0))


def pearson_moments(x: Sequence[float] | Floats, y: Sequence[float] | Floats) -> Floats | None:
    """What Pearson's r of n items is computed from: shape (5, n); None where it is undefined."""
    columns = [np.asarray(c, dtype=np.float64) for c in (x, y)]
    if not all(_usable(c) for c in columns):
        return None
    u, v = (_centered(c) for c in columns)
    return np.stack([u, v, u * u, v * v, u * v])


def pearson_of(means: Floats) -> Floats:
    """Pearson's r of the weighted means of the moments: shape (5, resamples) → (resamples,)."""
    mu, mv, uu, vv, uv = means
    return _ratio(uv - mu * mv, _variance(uu, mu), _variance(vv, mv))


def spearman(x: Sequence[float] | Floats, y: Sequence[float] | Floats) -> Metric:
    """Spearman's ρ: Pearson's r of the ranks, ties at their middle rank; undefined as `pearson` is."""
    columns = [np.asarray(c, dtype=np.float64) for c in (x, y)]
    if not all(_usable(c) for c in columns):
        return _undefined
    x_place, y_place = (np.unique(c, return_inverse=True)[1] for c in columns)
    # Scores repeat: work on the distinct pairs, with the summed weight of their items.
    width = y_place.max() + 1
    pairs, place = np.unique(x_place * width + y_place, return_inverse=True)
    merged = _group_sums(place)
    rank_x, rank_y = _ranks(pairs // width), _ranks(pairs % width)

    def metric(weights: Floats) -> Floats:
        weights = merged(weights)
        u, v = rank_x(weights), rank_y(weights)
        weighted = weights * u
        products = (np.einsum("ij,ij->j", *pair) for pair in ((weighted, v), (weighted, u), (weights * v, v)))
        return _ratio(*products)

    return metric


def balanced_accuracy(predictions: Sequence[str | None], golds: Sequence[str]) -> Metric:
    """Recall averaged over the classes that occur in gold (scikit-learn's `balanced_accuracy_score`)."""
    counts = _class_counts(predictions, golds)

    def metric(weights: Floats) -> Floats:
        hits, _, gold = counts(weights)
        return _average(hits / np.maximum(gold, 1), gold > 0)

    return metric


def macro_f1(predictions: Sequence[str | None], golds: Sequence[str]) -> Metric:
    """F1 averaged over the classes in gold or predictions (scikit-learn's `f1_score(average="macro")`).

    Unreadable (None) is no class, so it costs recall and has no F1 of its own.
    """
    counts = _class_counts(predictions, golds)

    def metric(weights: Floats) -> Floats:
        hits, predicted, gold = counts(weights)[:, :-1]
        return _average(2 * hits / np.maximum(predicted + gold, 1), predicted + gold > 0)

    return metric


def mcc(predictions: Sequence[str | None], golds: Sequence[str]) -> Metric:
    """Matthews' correlation for any number of classes (Gorodkin 2004, eq. 8); 0.0 where a side is constant.

    Unreadable (None) is a class that gold never has.
    """
    counts = _class_counts(predictions, golds)

    def metric(weights: Floats) -> Floats:
        hits, predicted, gold = counts(weights)
        n = weights.sum(axis=0)
        covariance = n * hits.sum(axis=0) - (predicted * gold).sum(axis=0)
        spreads = (n * n - (side * side).sum(axis=0) for side in (predicted, gold))
        return np.nan_to_num(_ratio(covariance, *spreads), nan=0.0)

    return metric


def _sums(rows: Floats, weights: Floats) -> Floats:
    """`rows @ weights`, a few columns at a time: threads of BLAS would wait for each other longer than they work, and
    how they share the sums among them changes the last digits with the number of cores.

    Args:
        rows: shape (…, rows, n).
        weights: shape (n, resamples).
    """
    n, columns = weights.shape
    step = max(1, _ONE_THREAD // (rows.shape[-2] * n) // _COLUMNS) * _COLUMNS
    starts = [*range(0, columns, step)]
    if len(starts) > 1 and columns - starts[-1] == 1:
        starts.pop()  # A single column would be multiplied in another order.
    parts = zip(starts, [*starts[1:], columns], strict=True)
    return np.concatenate([rows @ weights[:, first:end] for first, end in parts], axis=-1)


def _undefined(weights: Floats) -> Floats:
    return np.full(weights.shape[1], np.nan)


def _usable(x: Floats) -> bool:
    return x.size > 0 and bool(np.isfinite(x).all())


def _exponent(x: Floats) -> int:
    """The power of two that brings the largest value to 0.5–1: dividing by it is exact, and squares stay finite."""
    return int(np.frexp(np.abs(x).max())[1])


def _centered(x: Floats) -> Floats:
    """Scaled and shifted, for moments that survive cancellation.

    The median is within one standard deviation of the mean, and one extreme value does not move it, so a resample
    without that value keeps its digits.
    """
    x = np.ldexp(x, -_exponent(x))
    return x - np.median(x)


def _variance(square: Floats, mean: Floats) -> Floats:
    """Second moment less squared mean; 0 where nothing but rounding is left."""
    variance = square - mean * mean
    return np.where(variance > 1e-13 * square, variance, 0.0)


def _ratio(covariance: Floats, variance_x: Floats, variance_y: Floats) -> Floats:
    spread = np.sqrt(variance_x * variance_y)
    r = np.full_like(spread, np.nan)
    np.divide(covariance, spread, out=r, where=spread > 0)
    return np.clip(r, -1, 1)


def _group_sums(place: NDArray[np.int64]) -> Metric:
    """Weights → their sums over each group, shape (groups, resamples), for the number of the group of each item."""
    order = np.argsort(place, kind="stable")
    sizes = np.bincount(place)
    first = np.cumsum(sizes) - sizes
    return lambda weights: np.add.reduceat(weights[order], first, axis=0)


def _ranks(place: NDArray[np.int64]) -> Metric:
    """Weights → middle ranks less their mean, shape (n, resamples): multiples of ½, so sums of them are exact.

    Items stand in the order of the number that each has, and tie where it is the same.
    """
    group_sums = _group_sums(place)

    def ranks(weights: Floats) -> Floats:
        counts = group_sums(weights)
        middle: Floats = np.cumsum(counts, axis=0) - (counts + weights.sum(axis=0)) / 2
        return middle[place]

    return ranks


def _class_counts(predictions: Sequence[str | None], golds: Sequence[str]) -> Metric:
    """Weights → hits, predictions and golds of each class, shape (3, classes, resamples); None is the last class."""
    classes: list[str | None] = [*sorted({*golds, *(p for p in predictions if p is not None)}), None]
    code: dict[Hashable, int] = {label: i for i, label in enumerate(classes)}
    rows = np.arange(len(classes))[:, None]
    predicted = rows == np.array([code[p] for p in predictions], dtype=np.int64)
    gold = rows == np.array([code[g] for g in golds], dtype=np.int64)
    members = np.stack([predicted & gold, predicted, gold]).astype(np.float64)
    return lambda weights: _sums(members, weights)


def _average(values: Floats, counted: NDArray[np.bool_]) -> Floats:
    """Mean over the classes that count, shape (classes, resamples) → (resamples,)."""
    means: Floats = np.where(counted, values, 0.0).sum(axis=0) / counted.sum(axis=0)
    return means
