"""Effects of a grid's factors against statsmodels, and against values worked out by hand."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest

from jglue_app.scoring.design import design_of
from jglue_app.scoring.effect_types import EffectFactor, EffectTable, GridScores, MetricEffects
from jglue_app.scoring.effects import metric_effects
from jglue_app.scoring.grid_intervals import within
from jglue_app.scoring.grid_scores import Key, grid_scores, unseen_errors
from jglue_app.scoring.metrics import Floats
from jglue_app.scoring.significance import proportion
from jglue_app.scoring.types import Estimate

MODEL = EffectFactor("model", "model", ("a", "b"), False)
STYLE = EffectFactor("style", "prompt", ("x", "y", "z", "w"), True)
SHOTS = EffectFactor("shots", "prompt", ("1", "2"), False)
SEED = EffectFactor("shot_seed", "prompt", ("0", "1", "2"), True)
T_2 = 4.302652729911275
"""scipy.stats.t.ppf(.975, 2)"""
Z2 = 3.8414588206941227
"""scipy.stats.norm.ppf(.975)²"""


def rows_of(*factors: EffectFactor) -> list[dict[str, str | None]]:
    names = [factor.name for factor in factors]
    return [dict(zip(names, levels, strict=True)) for levels in itertools.product(*(f.levels for f in factors))]


def exactly(values: Sequence[float]) -> GridScores:
    """Scores that no item moves: without any group they are the same."""
    column = np.array(values, dtype=np.float64)
    return GridScores("jnli", "accuracy", "strict", column, np.repeat(column[:, None], 5, axis=1), 50)


def of_items(right: Floats, metric: str = "accuracy") -> GridScores:
    """Shares of right answers of runs to the same items, shape (runs, items)."""
    n = right.shape[1]
    without = (right.sum(axis=1, keepdims=True) - right) / (n - 1)
    values = right.mean(axis=1)
    return GridScores("jnli", metric, "strict", values, without, n, unseen_errors(metric, values, [n] * len(values)))


def effects_of(
    factors: Sequence[EffectFactor], rows: Sequence[Mapping[str, str | None]], scores: GridScores
) -> MetricEffects:
    found = metric_effects(factors, rows, scores)
    assert found is not None
    return found


def means(effects: MetricEffects, factor: str) -> dict[str, float | None]:
    return {level.level: level.mean.value for level in effects.levels[factor]}


# --- shares of variance and means against statsmodels ------------------------------------------------------

UNBALANCED = [row for row in rows_of(MODEL, STYLE, SHOTS) if row != {"model": "a", "style": "w", "shots": "2"}]
VALUES = [0.52, 0.55, 0.61, 0.58, 0.44, 0.49, 0.47, 0.70, 0.66, 0.75, 0.71, 0.40, 0.43, 0.52, 0.57]


def test_sums_of_squares_of_an_unbalanced_grid_are_those_of_statsmodels() -> None:
    """`anova_lm(ols("y ~ (model + style + shots)**2", data).fit(), typ=2)` of statsmodels 0.15."""
    effects = effects_of([MODEL, STYLE, SHOTS], UNBALANCED, exactly(VALUES))
    expected = {
        ("model",): (0.018579, 1),
        ("style",): (0.115550, 3),
        ("shots",): (0.000179, 1),
        ("model", "style"): (0.024821, 3),
        ("model", "shots"): (0.000833, 1),
        ("style", "shots"): (0.004517, 3),
        (): (0.000517, 2),
    }
    total = float(np.sum((np.array(VALUES) - np.mean(VALUES)) ** 2))
    assert {share.term: share.df for share in effects.shares} == {term: df for term, (_, df) in expected.items()}
    for share in effects.shares:
        assert share.observed * total == pytest.approx(expected[share.term][0], abs=6e-7)
        assert share.beyond_items == share.observed


def test_omega_squared_is_the_formula_of_hays() -> None:
    effects = effects_of([MODEL, STYLE, SHOTS], UNBALANCED, exactly(VALUES))
    total, error = float(np.sum((np.array(VALUES) - np.mean(VALUES)) ** 2)), 0.000516666 / 2
    (style,) = (share for share in effects.shares if share.term == ("style",))
    assert style.omega == pytest.approx((0.115550 - 3 * error) / (total + error), abs=1e-5)


def test_means_of_levels_of_an_unbalanced_grid_are_least_squares_means() -> None:
    """Of the model with interactions, which every two levels together determine here."""
    effects = effects_of([MODEL, STYLE, SHOTS], UNBALANCED, exactly(VALUES))
    columns = np.array(
        [
            [1.0, 1.0 if row["model"] == "a" else -1.0, 1.0 if row["shots"] == "1" else -1.0]
            + [float(row["style"] == name) - float(row["style"] == "w") for name in "xyz"]
            for row in UNBALANCED
        ]
    )
    a, one, styles = columns[:, 1:2], columns[:, 2:3], columns[:, 3:]
    columns = np.hstack([columns, a * one, a * styles, one * styles])
    middle, a, one, *styles = np.linalg.lstsq(columns, np.array(VALUES), rcond=None)[0][:6]
    assert means(effects, "model") == pytest.approx({"a": middle + a, "b": middle - a})
    assert means(effects, "shots") == pytest.approx({"1": middle + one, "2": middle - one})
    assert means(effects, "style") == pytest.approx(
        dict(zip("xyz", middle + np.array(styles), strict=True)) | {"w": middle - sum(styles)}
    )


def test_shares_and_means_of_a_balanced_grid_by_hand() -> None:
    # a: .2 .4, b: .6 .8 (styles x, y): model differs by .4, style by .2, nothing else.
    style = EffectFactor("style", "prompt", ("x", "y"), True)
    effects = effects_of([MODEL, style], rows_of(MODEL, style), exactly([0.2, 0.4, 0.6, 0.8]))
    shares = {share.term: share.observed for share in effects.shares}
    assert shares == pytest.approx({("model",): 0.8, ("style",): 0.2, ("model", "style"): 0.0}, abs=1e-12)
    assert effects.by_group == pytest.approx({"model": 0.8, "prompt": 0.2, "mixed": 0.0}, abs=1e-12)
    assert means(effects, "model") == pytest.approx({"a": 0.3, "b": 0.7})
    assert [level.effect.value for level in effects.levels["style"]] == pytest.approx([-0.1, 0.1])
    assert effects.mean == pytest.approx(0.5)
    assert effects.deviation == pytest.approx(np.std([0.2, 0.4, 0.6, 0.8], ddof=1))
    assert not effects.notices


# --- items -------------------------------------------------------------------------------------------------


def test_the_covariance_over_items_is_the_sample_covariance_of_the_mean() -> None:
    right = np.array([[1, 1, 0, 0, 1], [1, 0, 0, 0, 1], [0, 1, 1, 0, 1]], dtype=np.float64)
    assert of_items(right).covariance == pytest.approx(np.cov(right) / 5)


def test_what_items_alone_do_is_taken_off_the_effect_of_a_factor() -> None:
    # Two wordings, four items: one run has items 1-3 right, the other items 2-3. The difference is .25.
    right = np.array([[1, 1, 1, 0], [0, 1, 1, 0]], dtype=np.float64)
    style = EffectFactor("style", "prompt", ("x", "y"), True)
    effects = effects_of([style], rows_of(style), of_items(right))
    (share,) = effects.shares
    # d = (1, 0, 0, 0): mean .25, variance of the mean .25² … its sum of squares is d̄²/2, and s²/n/2 of it is noise.
    square, noise = 0.25**2 / 2, float(np.var([1, 0, 0, 0], ddof=1)) / 4 / 2
    assert share.observed == pytest.approx(1.0)
    assert share.beyond_items == pytest.approx((square - noise) / square, abs=1e-12)
    assert effects.items_share == pytest.approx(noise / square)


def test_a_factor_that_does_nothing_has_no_share_on_average_whatever_the_items() -> None:
    rng = np.random.default_rng(1)
    style = EffectFactor("style", "prompt", tuple("pqrstuvw"), True)
    rows, observed, beyond = rows_of(style), [], []
    for _ in range(200):
        effects = effects_of([style], rows, of_items((rng.random((8, 20)) < 0.6).astype(np.float64)))
        observed.append(effects.items_share or 0.0)
        beyond.append(effects.by_group["prompt"])
    # Every run has other right answers by chance alone: all the variance between them is of that.
    assert np.median(observed) > 0.85
    assert np.mean(beyond) < 0.2
    assert all(one + two <= 1 + 1e-9 for one, two in zip(observed, beyond, strict=True))


# --- intervals ---------------------------------------------------------------------------------------------


def test_an_interval_over_seeds_is_the_t_interval_of_their_values() -> None:
    model = rows_of(MODEL, SEED)
    effects = effects_of([MODEL, SEED], model, exactly([0.50, 0.60, 0.55, 0.70, 0.80, 0.75]))
    first = effects.levels["model"][0].mean
    half = T_2 * float(np.std([0.50, 0.60, 0.55], ddof=1)) / math.sqrt(3)
    assert (first.value, first.low, first.high) == pytest.approx((0.55, 0.55 - half, 0.55 + half))
    # Both models move with the seed alike, so that their difference is certain: it has no width to show.
    assert effects.levels["model"][0].effect.value == pytest.approx(-0.1)
    assert effects.levels["model"][0].effect.low is None


def test_an_interval_over_items_is_that_of_their_mean() -> None:
    right = np.array([[1, 1, 0, 0, 1, 1], [1, 0, 0, 0, 1, 0]], dtype=np.float64)
    effects = effects_of([MODEL], rows_of(MODEL), of_items(right))
    half = 2.5705818366147395 * float(np.std(right[0], ddof=1)) / math.sqrt(6)  # t.ppf(.975, 5)
    mean = effects.levels["model"][0].mean
    assert (mean.value, mean.low, mean.high) == pytest.approx((4 / 6, 4 / 6 - half, 1.0))


def test_runs_that_are_all_wrong_or_all_right_have_the_interval_of_their_reports() -> None:
    style = EffectFactor("style", "prompt", ("x", "y"), True)
    right = np.zeros((4, 20))
    right[2:] = 1.0
    effects = effects_of([MODEL, style], rows_of(MODEL, style), of_items(right))
    of_report = proportion(0, 20), proportion(20, 20)
    for one, report in zip(effects.levels["model"], of_report, strict=True):
        assert (one.mean.value, one.mean.low, one.mean.high) == pytest.approx((report.value, report.low, report.high))
    assert effects.levels["model"][0].mean.high == pytest.approx(Z2 / (20 + Z2)) == pytest.approx(0.16113, abs=1e-5)
    # Their prompts do not differ, and what other items would have done to that cannot be seen: it is not called 0.
    assert [(one.spread, one.items, one.beyond_items) for one in effects.stability] == [(0.0, None, 0.0)] * 2
    # Half a run each: from .5 down by half of what the right ones may fall, and up by half of what the wrong may rise.
    (mean, _) = (one.mean for one in effects.levels["style"])
    assert (mean.low, mean.high) == pytest.approx((0.5 - 0.16113 / 2, 0.5 + 0.16113 / 2), abs=1e-5)
    # The wrong model could only be better, the right one only worse: both take off of the difference of the two.
    effect = effects.levels["model"][0].effect
    assert (effect.low, effect.high) == pytest.approx((-0.5, -0.5 + math.hypot(0.16113, 0.16113) / 2), abs=1e-5)


def test_what_items_show_and_what_they_cannot_show_are_added_in_squares() -> None:
    # Of model a one run is all wrong, the other has 10 of 20 right; model b is there to compare with.
    half = np.tile([1.0, 0.0], 10)
    style = EffectFactor("style", "prompt", ("x", "y"), False)
    effects = effects_of([MODEL, style], rows_of(MODEL, style), of_items(np.array([half * 0, half, half, 1 - half])))
    mean = effects.levels["model"][0].mean
    seen = 2.093024054408263 * float(np.std(half, ddof=1)) / math.sqrt(20) / 2  # t.ppf(.975, 19)
    assert mean.low == pytest.approx(0.25 - seen)
    assert mean.high == pytest.approx(0.25 + math.hypot(seen, Z2 / (20 + Z2) / 2))


@pytest.mark.parametrize(("metric", "notices"), [("accuracy", 0), ("char_f1", 0), ("mcc", 1), ("balanced_accuracy", 1)])
def test_where_no_interval_makes_up_for_it_a_notice_says_that_items_show_nothing(metric: str, notices: int) -> None:
    right = np.array([[1.0] * 6, [1, 0, 1, 1, 0, 1]])
    effects = effects_of([MODEL], rows_of(MODEL), of_items(right, metric))
    said = [notice for notice in effects.notices if notice.startswith("In 1 runs all answers count alike")]
    assert len(said) == notices
    assert (effects.levels["model"][0].mean.low is None) == bool(notices)


def test_one_item_has_means_without_intervals_and_shares() -> None:
    style = EffectFactor("style", "prompt", ("x", "y"), True)
    values = np.array([1.0, 1.0, 0.0, 1.0])
    scores = GridScores(
        "jnli", "accuracy", "strict", values, values[:, None], 1, unseen_errors("accuracy", values, [1] * 4)
    )
    effects = effects_of([MODEL, style], rows_of(MODEL, style), scores)
    assert effects.notices == ("One item is no sample: there are no intervals.",)
    assert means(effects, "model") == pytest.approx({"a": 1.0, "b": 0.5})
    assert {one.mean.low for levels in effects.levels.values() for one in levels} == {None}
    assert (effects.shares, effects.items_share, effects.by_group) == ((), None, {})
    assert [(one.items, one.beyond_items) for one in effects.stability] == [(None, None)] * 2
    assert effects.stability[1].spread == pytest.approx(math.sqrt(0.5))


@pytest.mark.parametrize(
    ("value", "low", "high", "expected"),
    [(0.5, -0.2, 1.3, (0.0, 1.0)), (-0.05, -0.2, 0.1, (-0.05, 0.1)), (1.1, 0.9, 1.2, (0.9, 1.1))],
)
def test_an_interval_ends_where_the_metric_does_and_holds_its_value(
    value: float, low: float, high: float, expected: tuple[float, float]
) -> None:
    found = within(Estimate(value, low, high, 9), (0.0, 1.0))
    assert (found.value, found.low, found.high) == (value, *expected)


def test_a_factor_is_no_replicate_of_itself() -> None:
    style = EffectFactor("style", "prompt", ("x", "y"), True)
    effects = effects_of([style], rows_of(style), exactly([0.2, 0.8]))
    assert [level.mean.low for level in effects.levels["style"]] == [None, None]


def test_no_interval_where_a_level_occurs_with_one_replicate_alone() -> None:
    rows = [row for row in rows_of(MODEL, SEED) if row["model"] == "a" or row["shot_seed"] == "0"]
    effects = effects_of([MODEL, SEED], rows, exactly([0.5, 0.6, 0.7, 0.9]))
    assert any("not balanced" in notice for notice in effects.notices)
    assert effects.levels["model"][1].mean.value is not None
    assert effects.levels["model"][1].mean.low is None


# --- grids that are not whole ------------------------------------------------------------------------------


def test_a_seed_concerns_only_runs_with_examples() -> None:
    # Without examples .4; with them .5, .6, .7 by seed.
    rows: list[dict[str, str | None]] = [{"shots": "1", "shot_seed": None}]
    rows += [{"shots": "2", "shot_seed": seed} for seed in SEED.levels]
    effects = effects_of([SHOTS, SEED], rows, exactly([0.4, 0.5, 0.6, 0.7]))
    shares = {share.term: share.observed for share in effects.shares}
    total = float(np.var([0.4, 0.5, 0.6, 0.7]) * 4)
    assert shares[("shot_seed",)] == pytest.approx(0.02 / total)
    assert shares[("shots",)] == pytest.approx((total - 0.02) / total)
    assert means(effects, "shots") == pytest.approx({"1": 0.4, "2": 0.6})
    # The mean of a seed is of the runs that it concerns, not of half of those without examples.
    assert means(effects, "shot_seed") == pytest.approx({"0": 0.5, "1": 0.6, "2": 0.7})
    assert {share.term: share.df for share in effects.shares}[("shots", "shot_seed")] == 0


def test_runs_without_a_value_are_left_out_and_numbered() -> None:
    scores = exactly([0.2, math.nan, 0.6, 0.8])
    style = EffectFactor("style", "prompt", ("x", "y"), True)
    effects = effects_of([MODEL, style], rows_of(MODEL, style), scores)
    assert (effects.runs, effects.undefined) == (3, (1,))
    assert any("Left out here: 1 of 4 runs, without a value" in notice for notice in effects.notices)
    assert means(effects, "model") == pytest.approx({"a": 0.3, "b": 0.7})


def test_a_value_that_rests_on_one_item_is_none() -> None:
    scores = exactly([0.2, 0.4, 0.6, 0.8])
    scores.without[2, 1] = math.nan
    style = EffectFactor("style", "prompt", ("x", "y"), True)
    assert effects_of([MODEL, style], rows_of(MODEL, style), scores).undefined == (2,)


def test_factors_that_vary_together_are_named_and_have_no_mean() -> None:
    rows = [{"model": "a", "shots": "1"}, {"model": "b", "shots": "2"}] * 2
    effects = effects_of([MODEL, SHOTS], rows, exactly([0.2, 0.6, 0.3, 0.7]))
    assert {share.term: share.df for share in effects.shares}[("model",)] == 0
    assert means(effects, "model") == {"a": None, "b": None}
    assert any(notice.startswith("model, shots cannot be told from other factors") for notice in effects.notices)


def test_a_factor_with_one_level_is_no_factor() -> None:
    rows = [row | {"model": "a"} for row in rows_of(SHOTS)]
    effects = effects_of([MODEL, SHOTS], rows, exactly([0.2, 0.6]))
    assert list(effects.levels) == ["shots"]
    assert any(notice.startswith("Only one level of model") for notice in effects.notices)


def test_runs_that_all_score_the_same_have_no_shares() -> None:
    effects = effects_of([MODEL, SHOTS], rows_of(MODEL, SHOTS), exactly([0.5] * 4))
    assert (effects.shares, effects.items_share) == ((), None)
    assert any("All runs score the same" in notice for notice in effects.notices)


@pytest.mark.parametrize("values", [[0.5, math.nan], [math.nan, math.nan]])
def test_fewer_than_two_values_are_no_table(values: list[float]) -> None:
    assert metric_effects([MODEL], rows_of(MODEL), exactly(values)) is None


def test_a_design_without_factors_is_the_mean_alone() -> None:
    assert design_of([], [{}, {}]).bases == {}


# --- stability ---------------------------------------------------------------------------------------------


def test_stability_is_the_spread_over_prompts_without_what_items_alone_would_give() -> None:
    right = np.array([[1, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 0], [1, 1, 1, 1]], dtype=np.float64)
    style = EffectFactor("style", "prompt", ("x", "y"), True)
    effects = effects_of([MODEL, style], rows_of(MODEL, style), of_items(right))
    first, second = effects.stability
    assert (first.model, first.runs, first.lowest, first.highest) == ("a", 2, 0.5, 0.75)
    assert (first.lowest_run, first.highest_run) == (1, 0)
    # Variance of .75 and .5; of it, the variance of the mean of d = (1, 0, 0, 0) over two.
    observed, noise = 0.25**2 / 2, float(np.var([1, 0, 0, 0], ddof=1)) / 4 / 2
    assert first.spread == pytest.approx(math.sqrt(observed))
    assert first.items == pytest.approx(math.sqrt(noise))
    assert first.beyond_items == pytest.approx(math.sqrt(observed - noise), abs=1e-9)
    # All wrong and all right on 4 items: Wilson's intervals [0, z²/(4 + z²)] and [4/(4 + z²), 1] imply a variance of
    # (z/2(4 + z²))² each, about .0156 of the .5 that is seen between 0 and 1.
    noise = Z2 / (2 * (4 + Z2)) ** 2
    assert second.spread == pytest.approx(math.sqrt(0.5))
    assert second.items == pytest.approx(math.sqrt(noise)) == pytest.approx(0.12497, abs=1e-5)
    assert second.beyond_items == pytest.approx(math.sqrt(0.5 - noise))
    # Under x the first is better, under y the second.
    assert (first.best, second.best) == (0.5, 0.5)


def test_other_settings_than_the_prompt_are_no_instability() -> None:
    method = EffectFactor("method", "answering", ("generate", "choose"), False)
    style = EffectFactor("style", "prompt", ("x", "y"), True)
    effects = effects_of([method, style], rows_of(method, style), exactly([0.2, 0.4, 0.8, 0.6]))
    (only,) = effects.stability
    assert only.spread == pytest.approx(math.sqrt(0.02))
    assert (only.model, only.best) == ("", None)


def test_a_tie_is_divided() -> None:
    effects = effects_of([MODEL, SHOTS], rows_of(MODEL, SHOTS), exactly([0.5, 0.9, 0.5, 0.1]))
    assert [one.best for one in effects.stability] == [0.75, 0.25]


def test_an_average_with_correlations_reaches_below_0() -> None:
    """Of a correlation from −1 and an accuracy from 0, the mean can be as low as −0.5: an interval is cut there."""
    keys: list[Key] = [("jsts", "pearson", "strict"), ("jnli", "accuracy", "strict")]
    scores = [(-0.30, 0.15), (-0.25, 0.20)]
    without = np.array([0.0, 0.1, -0.1])
    runs = [{key: (value + without, 2) for key, value in zip(keys, of_run, strict=True)} for of_run in scores]
    groups = {"jsts": {"1": 0, "2": 1}, "jnli": {"1": 0, "2": 1}}
    found = {scores.task: scores for scores in grid_scores(runs, groups)}
    assert {task: scores.low for task, scores in found.items()} == {"jsts": -1, "jnli": 0, "average": -0.5}
    factor = EffectFactor("shots", "prompt", ("1", "2"), False)
    average = effects_of([factor], rows_of(factor), found["average"])
    level = average.levels["shots"][0].mean
    assert level.value == pytest.approx(-0.075)
    assert level.low == -0.5
    assert average.low == -0.5


def test_what_decided_the_answers_is_that_of_the_protocol() -> None:
    scores = exactly([0.2, 0.4, 0.6, 0.8])
    found = [
        effects_of([MODEL, SHOTS], rows_of(MODEL, SHOTS), replace(scores, task=task))
        for task in ("jnli", "jsquad", "average")
    ]
    kinds = {}
    for protocol in ("official", "stability-jp"):
        table = EffectTable("g", protocol, (MODEL, SHOTS), (), (), (), tuple(found), ())
        kinds[protocol] = [table.evidence([effects]) for effects in found]
    assert kinds == {"official": ["text"] * 3, "stability-jp": ["log_likelihood", "text", "both"]}
