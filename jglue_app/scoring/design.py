"""The linear model of a grid: columns of its factors, sums of squares, and means of levels. No I/O.

Factors are coded so that the effects of their levels add up to 0; a run that a factor does not concern (the seed of
examples that it has none of) has that factor's mean.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
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
    interacting: frozenset[str] | None = None
    """The factors whose means are of the model with interactions; None before that is known."""
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
    whole = _means_of_model(design, everything, pairs=True)
    design.interacting = frozenset(name for name, weights in whole.items() if np.isfinite(weights).all())
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
    """Weights of the runs in the least-squares mean of every level, over some of the runs; runs that are left out have
    the weight 0. They are of the model with interactions where that determines all means of a factor, so that they are
    means of runs; else, as where combinations are missing, of the additive model."""
    additive, whole = (_means_of_model(design, keep, pairs=pairs) for pairs in (False, True))
    return {
        factor.name: _chosen(factor, design, whole[factor.name], additive[factor.name]) for factor in design.factors
    }


def _chosen(factor: EffectFactor, design: Design, whole: Floats, additive: Floats) -> Floats:
    """The weights of one factor. Without the runs of a level they are of the same model as with them."""
    if design.interacting is None:
        return whole if np.isfinite(whole).all() else additive
    return whole if factor.name in design.interacting else additive


def _means_of_model(design: Design, keep: NDArray[np.bool_], *, pairs: bool) -> dict[str, Floats]:
    """The weights of all factors under one model; NaN where it does not determine a mean."""
    rows = [row for row, kept in zip(design.rows, keep, strict=True) if kept]
    found = {factor.name: np.full((len(factor.levels), len(keep)), np.nan) for factor in design.factors}
    if not rows:
        return found
    there = {
        f.name: [level for level in f.levels if any(row.get(f.name) == level for row in rows)] for f in design.factors
    }
    codes = {f.name: np.array([_code(there[f.name], row.get(f.name)) for row in rows]) for f in design.factors}
    matrix = _with_products([codes[name] for name in design.names], len(rows), pairs=pairs)
    inverse = np.linalg.pinv(matrix, rcond=TOLERANCE)
    projection = inverse @ matrix
    for factor in design.factors:
        middle = _middle(factor, design, rows, there)
        for level in there[factor.name]:
            parts = {**middle, factor.name: _code(there[factor.name], level)}
            wanted = _with_products([parts[name][None, :] for name in design.names], 1, pairs=pairs)[0]
            # What the runs do not determine is not in the space of their rows.
            if np.abs(wanted @ projection - wanted).max() < 1e-6:
                place = factor.levels.index(level)
                found[factor.name][place] = 0.0
                found[factor.name][place, keep] = wanted @ inverse
    return found


def _code(levels: Sequence[str], value: str | None) -> Floats:
    """Columns of one factor for one level; for none of them its mean."""
    coded: Floats = _coded(levels, [value])[0]
    return coded


def _with_products(columns: Sequence[Floats], count: int, *, pairs: bool) -> Floats:
    """A column of ones, those of every factor, and with `pairs` the products of every two factors."""
    found = [np.ones((count, 1)), *columns]
    for one, other in itertools.combinations(columns, 2) if pairs else ():
        found.append((one[:, :, None] * other[:, None, :]).reshape(count, -1))
    return np.hstack(found)


def _middle(
    factor: EffectFactor, design: Design, rows: Sequence[Levels], there: Mapping[str, Sequence[str]]
) -> dict[str, Floats]:
    """The columns of the mean of every factor: over the levels with which one factor can go together, as there is no
    seed of examples without examples."""
    concerned = [row for row in rows if row.get(factor.name) is not None]
    found = {}
    for other in design.factors:
        levels = there[other.name]
        beside = {row.get(other.name) for row in concerned}
        chosen = [level for level in levels if level in beside]
        found[other.name] = _coded(levels, chosen or [None]).mean(axis=0)
    return found
