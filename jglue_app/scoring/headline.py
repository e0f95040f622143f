"""One sentence on a comparison: its finding, and the catch that keeps a reader from taking it for more. No I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from jglue_app.messages import Message
from jglue_app.scoring import headline_words as words
from jglue_app.scoring.comparison import MIN_PAIRED
from jglue_app.scoring.standing import Gap, Standing, gap_of, standings, widest_gap
from jglue_app.scoring.types import Comparison, Difference, Report, TaskReport

EQUAL = 1e-9
"""Scores that are nearer are equal: sums in another order differ by less."""


@dataclass(frozen=True, slots=True)
class Headline:
    """A sentence, and the subset that bears it out best."""

    kind: str
    """`better`, `gap`, `undecided`, `same`, `score`, `undefined`, `apart` (no item in common) or `no_scores`."""
    sentence: Message
    task: str = ""
    """Empty where it is about no subset in particular."""


@dataclass(frozen=True, slots=True)
class _Pair:
    """Two sides with scores over the same items."""

    comparison: Comparison
    of: Mapping[str, Mapping[str, Standing]]
    """Side (`A`, `B`) → subset → where its score stands, by the reading and over the items of the difference."""
    differences: Mapping[str, Difference] = field(default_factory=dict)
    """Subset → of its main metric, where both have one."""

    def won_by(self, side: str) -> list[str]:
        return [name for name, d in self.differences.items() if d.verdict == side.lower()]

    def report(self, side: str) -> Report:
        """Of the items that the differences rest on."""
        a, b = self.comparison.common or (self.comparison.a, self.comparison.b)
        return a if side == "A" else b

    def gaps(self, side: str) -> list[Gap]:
        """Where the written answers that are compared fall behind the ranking of the same answers."""
        found = (gap_of(self.report(side), name) for name, d in self.differences.items() if d.reading == "strict")
        return [gap for gap in found if gap]


def headline(
    a: Report, b: Report | None = None, comparison: Comparison | None = None, change: Message | None = None
) -> Headline:
    """What one report, or two side by side, come to.

    Args:
        a, b: the reports; None for B if there is one alone.
        comparison: of both, where there are two.
        change: by what B differs from A, if they are the same model; see `model_change.change_between`.
    """
    of = {"A": standings(a), "B": standings(b) if b else {}}
    if b is not None and _is_apart(a, b):
        return Headline("apart", words.nothing_in_common())
    if comparison is None or not (of["A"] and of["B"]):
        sides = [side for side in "AB" if of[side]]
        if not sides:
            return _without_scores([report for report in (a, b) if report])
        if comparison is not None and (half := _half_defined(comparison, of)):
            return half
        report, other = (a, b) if sides == ["A"] or b is None else (b, a)
        failed = _failed(other) if other else 0
        if failed:
            task = max(of[sides[0]], key=lambda name: of[sides[0]][name].margin)
            finding = words.scores(of[sides[0]][task], sides[0])
            return Headline("score", words.joined(finding, words.all_failed("AB".strip(sides[0]), failed)), task)
        return _of_one(report, of[sides[0]], sides[0] if b else "")
    return _of_pair(comparison, of, change)


def _of_pair(comparison: Comparison, of: Mapping[str, Mapping[str, Standing]], change: Message | None) -> Headline:
    """Of two sides that have a score somewhere."""
    differences = {name: d for name in comparison.a.tasks if (d := comparison.main(name))}
    readings = {name: d.reading for name, d in differences.items()}
    common = comparison.common or (comparison.a, comparison.b)
    pair = _Pair(comparison, {side: standings(r, readings) for side, r in zip("AB", common, strict=True)}, differences)
    if any(d.verdict in ("a", "b") for d in differences.values()):
        return _better(pair, change)
    gaps = [(side, gap) for side in "AB" for gap in pair.gaps(side)]
    if gaps:
        side, gap = max(gaps, key=lambda found: found[1].size)
        finding = words.scores(pair.of[side][gap.task], side)
        return Headline("gap", words.joined(finding, words.ranks_better(gap)), gap.task)
    if differences:
        return _undecided(pair)
    return _half_defined(comparison, of) or Headline("apart", words.nothing_in_common())


def _is_apart(a: Report, b: Report) -> bool:
    """Whether two runs have no item in common, so that nothing is left of the subsets of both."""
    shared = [(a.tasks[name], b.tasks[name]) for name in a.tasks if name in b.tasks]
    covered = [pair for pair in shared if pair[0].unscored != "not_covered"]
    return bool(covered) and not any(task.planned or task.n for pair in covered for task in pair)


def _failed(report: Report) -> int:
    """Items of a run of which every item ended in an error; 0 for any other run."""
    counts = [task.outcomes for task in report.tasks.values() if task.outcomes]
    total = sum(sum(outcomes.values()) for outcomes in counts)
    failed = sum(outcomes.get("error", 0) for outcomes in counts)
    return failed if failed == total else 0


def _size(difference: Difference) -> float:
    return abs(difference.difference.value or 0.0)


# --- one side is better -----------------------------------------------------------------------------------


def _better(pair: _Pair, change: Message | None) -> Headline:
    """The side that wins on most subsets, on the subset of the largest difference, above a floor if any is."""
    winner, loser = max((("B", "A"), ("A", "B")), key=lambda sides: len(pair.won_by(sides[0])))
    won = pair.won_by(winner)
    above = [name for name in won if not pair.of[winner][name].floor]
    task = max(above or won, key=lambda name: _size(pair.differences[name]))
    difference, standing = pair.differences[task], pair.of[winner][task]
    if change is not None:
        finding = words.changes(change, difference, standing)
    else:
        finding = words.is_better(winner, loser, difference, standing, (len(won), len(pair.differences)))
    return Headline("better", words.joined(finding, _catch(pair, winner, loser, task)), task)


def _catch(pair: _Pair, winner: str, loser: str, task: str) -> Message | None:
    """The weightiest thing that a reader of "it is better" would get wrong."""
    of_winner = pair.of[winner]
    if of_winner[task].floor:
        difference = pair.differences[task]
        return words.on_floor(of_winner[task], (difference.a if winner == "A" else difference.b).value)
    if pair.won_by(loser):
        return words.is_ahead_on(loser, pair.won_by(loser))
    if pair.differences[task].reading == "choose":
        written = _written(pair.report(winner).tasks[task])
        if written is not None:
            return words.writes_worse(winner, written)
    gap = next((gap for gap in pair.gaps(loser) if gap.task == task), None)
    if gap is not None:
        return words.loses_on_form(loser, gap)
    on_floor = [name for name in pair.won_by(winner) if of_winner[name].is_constant]
    if on_floor:
        return words.floors_elsewhere(on_floor)
    undecided = [name for name, d in pair.differences.items() if d.verdict == "undecided"]
    return words.undecided_on(undecided) if undecided else None


def _written(task: TaskReport) -> float | None:
    """The score of the written answers where it is below that of the same items' ranking; None elsewhere."""
    gain = task.gain
    if gain is None or gain.text.value is None or gain.ranked.value is None or gain.text.n != task.n:
        return None
    return gain.text.value if gain.text.value < gain.ranked.value else None


# --- no side is -------------------------------------------------------------------------------------------


def _undecided(pair: _Pair) -> Headline:
    """No difference is one that chance would not explain."""
    task = max(pair.differences, key=lambda name: _size(pair.differences[name]))
    difference = pair.differences[task]
    other = _beside_the_main(pair)
    if other is not None:
        name, metric, beside = other
        return Headline("undecided", words.joined(words.no_main_difference(), words.beside(name, metric, beside)), name)
    n, ranked = difference.difference.n, all(d.reading == "choose" for d in pair.differences.values())
    if _size(difference) < EQUAL:
        return _same(pair, task) or Headline(
            "undecided",
            words.followed(words.no_difference(ranked), words.few_in_common(n) if n < MIN_PAIRED else None),
            task,
        )
    needed = max(difference.needed or 0, MIN_PAIRED if n < MIN_PAIRED else 0)
    catch = words.needs_items(task, difference, needed) if needed > n else None
    return Headline("undecided", words.followed(words.no_difference(ranked), catch), task)


def _beside_the_main(pair: _Pair) -> tuple[str, str, Difference] | None:
    """The largest difference with a verdict that is not of a subset's main score: (subset, metric, difference). One of
    the strict reading comes before one of the ranking, and that before one of the lenient reading."""
    for by_task in (pair.comparison.differences, pair.comparison.choose, pair.comparison.lenient):
        found = [(name, metric, d) for name, ds in by_task.items() for metric, d in ds.items() if d.verdict in "ab"]
        if found:
            return max(found, key=lambda each: _size(each[2]))
    return None


def _same(pair: _Pair, task: str) -> Headline | None:
    """That both have the same scores, on the subsets of which every score of all items can be compared."""
    if not all(_is_equal(pair, name) for name in pair.differences):
        return None
    shown = [flips for name in pair.differences for flips in pair.comparison.flips.get(name, {}).values()]
    main = [next(iter(by.values())) for name in pair.differences if (by := pair.comparison.flips.get(name))]
    changed, n = sum(f.changed for f in main), sum(f.n for f in main)
    if len(main) < len(pair.differences) or (not changed and any(f.changed for f in shown)):
        changed = n = 0
    every = set(pair.comparison.a.tasks) == set(pair.comparison.b.tasks) == set(pair.differences)
    return Headline("same", words.same_scores(changed, n, () if every else tuple(pair.differences)), task)


def _is_equal(pair: _Pair, name: str) -> bool:
    """Whether both have answered all items of a subset, enough of them, with the same value of every metric."""
    comparison = pair.comparison
    tasks = [report.tasks[name] for report in (comparison.a, comparison.b)]
    n, flips = pair.differences[name].difference.n, comparison.flips.get(name, {}).get("strict")
    # Of similarities, only those that both have as a number are compared.
    unchanged = flips is not None and not flips.changed and flips.n >= n
    if n < MIN_PAIRED or any(t.n < t.planned or (n < t.n and not unchanged) for t in tasks):
        return False
    # What only one of them has, a text or a ranking, is another answer.
    if any(bool(getattr(tasks[0], kind)) != bool(getattr(tasks[1], kind)) for kind in ("metrics", "choose")):
        return False
    of = [by_task.get(name, {}) for by_task in (comparison.differences, comparison.choose, comparison.lenient)]
    return all(_size(d) < EQUAL for metrics in of for d in metrics.values())


def _half_defined(comparison: Comparison, of: Mapping[str, Mapping[str, Standing]]) -> Headline | None:
    """A subset of which only one side has a correlation, though the other has answered too."""
    for has, lacks in (("A", "B"), ("B", "A")):
        for name, standing in of[has].items():
            task = (comparison.a if lacks == "A" else comparison.b).tasks.get(name)
            if task is not None and task.n and not task.unscored and name not in of[lacks]:
                finding, catch = words.scores(standing, has), words.is_undefined(task, lacks)
                return Headline("undefined", words.joined(finding, catch), name)
    return None


# --- one run, or none -------------------------------------------------------------------------------------


def _of_one(report: Report, of_run: Mapping[str, Standing], side: str) -> Headline:
    gap = widest_gap(report)
    if gap is not None:
        return Headline("gap", words.joined(words.scores(of_run[gap.task], side), words.ranks_better(gap)), gap.task)
    above = [name for name, standing in of_run.items() if not standing.floor]
    task = max(above or list(of_run), key=lambda name: of_run[name].margin)
    on_floor = [name for name, standing in of_run.items() if standing.is_constant]
    catch = None
    if of_run[task].floor:
        catch = words.on_floor(of_run[task], of_run[task].value)
    elif on_floor:
        catch = words.floors_elsewhere(on_floor)
    return Headline("score", words.joined(words.scores(of_run[task], side), catch), task)


def _without_scores(reports: Sequence[Report]) -> Headline:
    tasks = [(side, task) for side, r in zip("AB", reports, strict=False) for task in r.tasks.values()]
    undefined: list[tuple[str, TaskReport]] = [(side, task) for side, task in tasks if task.n and not task.unscored]
    if undefined:
        sides = " ".join(dict.fromkeys(side for side, _ in undefined)) if len(reports) > 1 else ""
        task = undefined[0][1]
        return Headline("undefined", words.joined(words.no_score(words.is_undefined(task, sides)), None), task.task)
    reasons = {task.unscored for _, task in tasks}
    protocol = reports[0].protocol
    if reasons == {"not_covered"}:
        return Headline("no_scores", words.not_covered(protocol, list(dict.fromkeys(task.task for _, task in tasks))))
    failed = [_failed(report) for report in reports]
    if failed and all(failed):
        return Headline("no_scores", words.failed(failed))
    if reasons <= {"", "no_answers", "not_covered"}:
        return Headline("no_scores", words.no_answers())
    return Headline("no_scores", words.not_scored(protocol))
