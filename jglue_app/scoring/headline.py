"""One sentence on a comparison: its finding, and the catch that keeps a reader from taking it for more. No I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from jglue_app.messages import Message
from jglue_app.scoring import headline_words as words
from jglue_app.scoring.comparison import MIN_PAIRED, main_difference_in
from jglue_app.scoring.standing import Standing, standings, widest_gap
from jglue_app.scoring.types import Comparison, Difference, Report, TaskReport


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
    """Two sides with scores."""

    comparison: Comparison
    of: Mapping[str, Mapping[str, Standing]]
    """Side (`A`, `B`) → subset → where its score stands."""
    differences: Mapping[str, Difference] = field(default_factory=dict)
    """Subset → of its main metric, where both have one."""

    def won_by(self, side: str) -> list[str]:
        return [name for name, d in self.differences.items() if d.verdict == side.lower()]

    def report(self, side: str) -> Report:
        return self.comparison.a if side == "A" else self.comparison.b


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
    if comparison is None or not (of["A"] and of["B"]):
        sides = [side for side in "AB" if of[side]]
        if not sides:
            return _without_scores([report for report in (a, b) if report])
        report = b if sides == ["B"] and b else a
        if comparison is not None and (half := _half_defined(_Pair(comparison, of))):
            return half
        return _of_one(report, of[sides[0]], sides[0] if b else "")
    pair = _Pair(comparison, of, {name: d for name in of["A"] if (d := main_difference_in(comparison, name))})
    if any(d.verdict in ("a", "b") for d in pair.differences.values()):
        return _better(pair, change)
    gaps = [(side, gap) for side in "AB" if (gap := widest_gap(pair.report(side)))]
    if gaps:
        side, gap = max(gaps, key=lambda found: found[1].size)
        return Headline("gap", words.joined(words.scores(of[side][gap.task], side), words.ranks_better(gap)), gap.task)
    if pair.differences:
        return _undecided(pair)
    return _half_defined(pair) or Headline("apart", words.nothing_in_common())


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
    gap = widest_gap(pair.report(loser))
    if gap is not None and gap.task == task:
        return words.loses_on_form(loser, gap)
    on_floor = [name for name in pair.won_by(winner) if of_winner[name].is_constant]
    if on_floor:
        return words.floors_elsewhere(on_floor)
    undecided = [name for name, d in pair.differences.items() if d.verdict == "undecided"]
    return words.undecided_on(undecided) if undecided else None


# --- no side is -------------------------------------------------------------------------------------------


def _undecided(pair: _Pair) -> Headline:
    """No difference is one that chance would not explain."""
    task = max(pair.differences, key=lambda name: _size(pair.differences[name]))
    difference = pair.differences[task]
    if not _size(difference):
        flips = [flip for by_reading in pair.comparison.flips.values() for flip in list(by_reading.values())[:1]]
        return Headline("same", words.same_scores(sum(f.changed for f in flips), sum(f.n for f in flips)), task)
    n = difference.difference.n
    needed = max(difference.needed or 0, MIN_PAIRED if n < MIN_PAIRED else 0)
    catch = words.needs_items(task, difference, needed) if needed > n else None
    return Headline("undecided", words.followed(words.no_difference(), catch), task)


def _half_defined(pair: _Pair) -> Headline | None:
    """A subset of which only one side has a correlation, though the other has answered too."""
    for has, lacks in (("A", "B"), ("B", "A")):
        for name, standing in pair.of[has].items():
            task = pair.report(lacks).tasks.get(name)
            if task is not None and task.n and not task.unscored and name not in pair.of[lacks]:
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
    if reasons <= {"", "no_answers", "not_covered"}:
        return Headline("no_scores", words.no_answers())
    return Headline("no_scores", words.not_scored(protocol))
