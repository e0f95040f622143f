"""The linear model of a grid: columns of its factors, sums of squares, and means of levels. No I/O.

Factors are coded so that the effects of their levels add up to 0; a run that a factor does not concern (the seed of
examples that it has none of) has that factor's mean.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from jglue_app.scoring.effect_types import EffectFactor, Levels
from jglue_app.scoring.metrics import Floats

TOLERANCE = 1e-8
"""Singular values below it, against those of columns of ones, are rounding."""
Term = tuple[str, ...]
"""One factor, or two."""


@dataclass(slots=True)
class Design:
    """The runs of a grid as a linear model of main effects and interactions of two factors."""

    factors: tuple[EffectFactor, ...]
    """With two levels or more that occur; the levels are those that do."""
    rows: tuple[Levels, ...]
    bases: dict[Term, Floats] = field(default_factory=dict)
    """Term → orthonormal columns, shape (runs, degrees of freedom), of what it explains beyond all terms that do not
    contain it: the squared length of a vector on them is its sum of squares of type II."""
    full: Floats = field(default_factory=lambda: np.empty((0, 0)))
    """The same of all terms together, and the mean."""
    means: dict[str, Floats] = field(default_factory=dict)
    """Factor → weights of the runs in the least-squares mean of each level, shape (levels, runs); NaN where the runs do
    not tell it from other factors."""
    means_without: dict[str, list[dict[str, Floats]]] = field(default_factory=dict)
    """Replicate factor → the same `means` without the runs of each of its levels."""

    @property
    def names(self) -> list[str]:
        """Names of the factors."""
        return [factor.name for factor in self.factors]


def design_of(factors: Sequence[EffectFactor], rows: Sequence[Levels]) -> Design:
    """The linear model of some runs.

    Args:
        factors: those of the grid; of which fewer than two levels occur among the runs, it is left out.
        rows: levels of each run.
    """
    design = Design(tuple(_occurring(factors, rows)), tuple(rows))
    columns = {term: _columns(term, design) for term in _terms(design.names)}
    one = np.ones((len(rows), 1))
    for term in columns:
        others = [columns[other] for other in columns if not set(term) <= set(other)]
        design.bases[term] = _beyond(columns[term], _orthonormal(np.hstack([one, *others])))
    design.full = _orthonormal(np.hstack([one, *columns.values()]))
    everything = np.ones(len(rows), dtype=bool)
    design.means = _level_means(design, everything)
    for factor in design.factors:
        if factor.replicate:
            kept = [np.array([row.get(factor.name) != level for row in rows]) for level in factor.levels]
            design.means_without[factor.name] = [_level_means(design, keep) for keep in kept]
    return design


def _occurring(factors: Sequence[EffectFactor], rows: Sequence[Levels]) -> Iterator[EffectFactor]:
    for factor in factors:
        there = {row.get(factor.name) for row in rows}
        levels = tuple(level for level in factor.levels if level in there)
        if len(levels) > 1:
            yield EffectFactor(factor.name, factor.group, levels, factor.replicate)


def _terms(names: Sequence[str]) -> list[Term]:
    return [*((name,) for name in names), *itertools.combinations(names, 2)]


def _coded(levels: Sequence[str], values: Sequence[str | None]) -> Floats:
    """Columns of one factor, shape (runs, levels − 1): each level against the last, so that effects add up to 0."""
    found: Floats = np.array([[float(value == level) for level in levels] for value in values])
    return found[:, :-1] - found[:, -1:]


def _columns(term: Term, design: Design) -> Floats:
    """Columns of a term: of two factors all products of theirs."""
    by_name = {factor.name: factor for factor in design.factors}
    parts = [_coded(by_name[name].levels, [row.get(name) for row in design.rows]) for name in term]
    product = parts[0]
    for part in parts[1:]:
        product = (product[:, :, None] * part[:, None, :]).reshape(len(product), -1)
    return product


def _orthonormal(matrix: Floats) -> Floats:
    """Orthonormal columns of the space that the columns of a matrix span."""
    u, s, _ = np.linalg.svd(matrix, full_matrices=False)
    kept: Floats = u[:, s > TOLERANCE * np.sqrt(len(matrix))]
    return kept


def _beyond(columns: Floats, others: Floats) -> Floats:
    """Orthonormal columns of what some columns span beyond an orthonormal basis."""
    rest = columns - others @ (others.T @ columns)
    return _orthonormal(rest - others @ (others.T @ rest))  # Twice: once leaves rounding behind.


def _level_means(design: Design, keep: NDArray[np.bool_]) -> dict[str, Floats]:
    """Weights of the runs in the least-squares mean of every level, of an additive model over some of the runs; runs
    that are left out have the weight 0."""
    rows = [row for row, kept in zip(design.rows, keep, strict=True) if kept]
    found = {factor.name: np.full((len(factor.levels), len(keep)), np.nan) for factor in design.factors}
    if not rows:
        return found
    columns, places, width = [np.ones((len(rows), 1))], {}, 1
    for factor in design.factors:
        there = {row.get(factor.name) for row in rows}
        levels = [level for level in factor.levels if level in there]
        coded = _coded(levels, [row.get(factor.name) for row in rows]) if len(levels) > 1 else np.empty((len(rows), 0))
        columns.append(coded)
        places[factor.name] = (levels, width)
        width += coded.shape[1]
    matrix = np.hstack(columns)
    inverse = np.linalg.pinv(matrix, rcond=TOLERANCE)
    projection = inverse @ matrix
    for factor in design.factors:
        levels, start = places[factor.name]
        for level in levels:
            wanted = np.zeros(width)
            wanted[0] = 1.0
            if len(levels) > 1:
                wanted[start : start + len(levels) - 1] = _coded(levels, [level])[0]
            # What the runs do not determine is not in the space of their rows.
            if np.abs(wanted @ projection - wanted).max() < 1e-6:
                place = factor.levels.index(level)
                found[factor.name][place] = 0.0
                found[factor.name][place, keep] = wanted @ inverse
    return found
