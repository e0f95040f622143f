"""The halves of a headline: findings, and the catches that follow a "but". No I/O."""

from __future__ import annotations

from collections.abc import Sequence

from jglue_app.messages import Joined, Message, mark
from jglue_app.scoring.metric_names import scored_metric
from jglue_app.scoring.standing import Gap, Standing
from jglue_app.scoring.types import Difference, TaskReport
from jglue_app.tasks import TASKS

SCORES = {
    "text": mark("the score of the written answers"),
    "ranking": mark("the score of the answers ranked first"),
    "correlation": mark("the correlation with the gold values"),
}
"""What a standing is of → its name."""
ON_FLOOR = {
    "equal": mark("always giving the same answer scores {floor} too"),
    "on_floor_constant": mark("{value} cannot be told apart from {floor}, the score of always giving the same answer"),
    "below_floor": mark("{value} is below {floor}, the score of always giving the same answer"),
    "on_floor_default": mark("{value} cannot be told apart from {floor}, the score of never giving a readable answer"),
    "no_correlation": mark("{value} cannot be told apart from no correlation"),
}


def joined(finding: Message, catch: Message | None) -> Message:
    """One sentence of both halves."""
    if catch is None:
        return Message("{finding}.", finding=finding)
    return Message("{finding}, but {catch}.", finding=finding, catch=catch)


def followed(finding: Message, consequence: Message | None) -> Message:
    """A finding and what follows from it."""
    if consequence is None:
        return joined(finding, None)
    return Message("{finding}: {consequence}.", finding=finding, consequence=consequence)


def titles(names: Sequence[str]) -> Joined:
    """Subsets in a sentence."""
    return Joined(", ", [TASKS[name].title for name in names])


def _score(what: str) -> Message:
    return Message(SCORES[what])


def _number(value: float | None) -> str:
    return f"{value or 0.0:z.2f}"


def _numbers(difference: Difference) -> tuple[str, str]:
    """The scores of A and B with as many digits as tell one from the other."""
    a, b = difference.a.value or 0.0, difference.b.value or 0.0
    digits = next((digits for digits in (2, 3) if f"{a:z.{digits}f}" != f"{b:z.{digits}f}"), 4)
    return f"{a:z.{digits}f}", f"{b:z.{digits}f}"


# --- findings ---------------------------------------------------------------------------------------------


def changes(change: Message, difference: Difference, standing: Standing) -> Message:
    """How a score changes with one setting of a model."""
    before, after = _numbers(difference)
    facts = {
        "change": change,
        "score": _score(standing.what),
        "a": before,
        "b": after,
        "task": TASKS[standing.task].title,
        "n": difference.difference.n,
    }
    if (difference.difference.value or 0.0) > 0:
        return Message("Same model, {change}: {score} rises from {a} to {b} ({task}, {n} items)", **facts)
    return Message("Same model, {change}: {score} falls from {a} to {b} ({task}, {n} items)", **facts)


def is_better(winner: str, loser: str, difference: Difference, standing: Standing, subsets: tuple[int, int]) -> Message:
    """Which of two models is better, by how much on a subset, and on how many subsets of all."""
    of_a, of_b = _numbers(difference)
    facts = {
        "winner": winner,
        "loser": loser,
        "score": _score(standing.what),
        "high": of_b if winner == "B" else of_a,
        "low": of_a if winner == "B" else of_b,
        "task": TASKS[standing.task].title,
        "n": difference.difference.n,
    }
    won, scored = subsets
    if won == 1:
        return Message("{winner} is better: {score} is {high}, against {low} for {loser} ({task}, {n} items)", **facts)
    return Message(
        "{winner} is better on {won} of {scored} subsets: {score} is {high}, against {low} for {loser} ({task}, {n} "
        "items)",
        won=won,
        scored=scored,
        **facts,
    )


def scores(standing: Standing, side: str) -> Message:
    """One score; `side` is empty where there is one run alone."""
    facts = {
        "score": _score(standing.what),
        "value": _number(standing.value),
        "task": TASKS[standing.task].title,
        "n": standing.estimate.n,
    }
    if side:
        return Message("{side}: {score} is {value} ({task}, {n} items)", side=side, **facts)
    return Message("In this run {score} is {value} ({task}, {n} items)", **facts)


def no_difference(ranked: bool = False) -> Message:
    """Of scores in general, or of rankings alone where only those can be compared."""
    if ranked:
        return Message("The answers that A and B rank first show no clear difference in score")
    return Message("These items show no clear difference between A and B")


def same_scores(changed: int, n: int, on: Sequence[str] = ()) -> Message:
    """Both have the same scores, though answers may differ.

    Args:
        changed, n: how many of the answers differ; `n` is 0 where they are not compared.
        on: the subsets, where those are not all.
    """
    if changed or not n or on:
        other = Message("their answers differ on {changed} of {n} items", changed=changed, n=n) if changed else None
        same = Message("A and B have the same scores on {tasks}", tasks=titles(on)) if on else None
        return joined(same or Message("A and B have the same scores"), other)
    return Message("A and B have the same scores and give the same answers.")


def no_main_difference() -> Message:
    return Message("The main scores of A and B show no clear difference")


def nothing_in_common() -> Message:
    return Message("A and B have no item in common that both have a score for.")


def not_covered(protocol: str, names: Sequence[str]) -> Message:
    return Message(
        "{protocol} does not score {tasks}. Choose another protocol.", protocol=protocol, tasks=titles(names)
    )


def no_answers() -> Message:
    return Message("No item has an answer yet.")


def failed(counts: Sequence[int]) -> Message:
    """That every item of every run ended in an error."""
    return Message("All items failed ({n} in all): see the list of items for the errors.", n=f"{sum(counts):,}")


def not_scored(protocol: str) -> Message:
    return Message(
        "There is no score under {protocol}: these runs lack what it looks at. Choose another protocol.",
        protocol=protocol,
    )


def no_score(reason: Message) -> Message:
    return Message("There is no score: {reason}", reason=reason)


def is_undefined(task: TaskReport, sides: str) -> Message:
    """Why there is no correlation."""
    title = TASKS[task.task].title
    if sides:
        named = Joined(", ", sides.split())
        reason = Message("no correlation can be computed for {sides} on {task}", sides=named, task=title)
    else:
        reason = Message("no correlation can be computed on {task}", task=title)
    if not task.unreadable or len(sides.split()) > 1:
        return reason
    return Message("{reason} ({k} of {n} outputs are not numbers)", reason=reason, k=task.unreadable, n=task.n)


# --- catches ----------------------------------------------------------------------------------------------


def on_floor(standing: Standing, value: float | None) -> Message:
    """That a score says nothing; `value` is as the finding has it."""
    kind, floor = standing.floor, standing.floor_value
    if kind == "on_floor_constant" and _number(floor) == _number(value):
        kind = "equal"
    return Message(ON_FLOOR[kind], value=_number(value), floor=_number(floor))


def floors_elsewhere(names: Sequence[str]) -> Message:
    """That other scores say nothing."""
    return Message("the scores on {tasks} are no better than always giving the same answer", tasks=titles(names))


def is_ahead_on(other: str, names: Sequence[str]) -> Message:
    """That the other side wins elsewhere."""
    return Message("{other} is better on {tasks}", other=other, tasks=titles(names))


def loses_on_form(loser: str, gap: Gap) -> Message:
    """That the loser has the answer, and loses on how it writes it."""
    facts = {"loser": loser, "ranked": _ranked(gap)}
    if gap.metric != "accuracy":
        return Message("{loser} scores {ranked} where it only has to choose: its form costs points too", **facts)
    if gap.size >= 0.5 * (1 - gap.text):
        return Message(
            "{loser} ranks the right answer first for {ranked} of the items: it loses mostly on form", **facts
        )
    return Message("{loser} ranks the right answer first for {ranked} of the items: its form costs points too", **facts)


def ranks_better(gap: Gap) -> Message:
    """That the same answers score better when they are ranked."""
    if gap.metric != "accuracy":
        return Message(
            "where it only has to choose it scores {ranked}: it knows more than it writes", ranked=_ranked(gap)
        )
    return Message(
        "it ranks the right answer first for {ranked} of the items: it knows more than it writes", ranked=_ranked(gap)
    )


def _ranked(gap: Gap) -> str:
    """How often the right answer is ranked first; for another metric, its value."""
    return f"{100 * gap.ranked:.0f}%" if gap.metric == "accuracy" else _number(gap.ranked)


def undecided_on(names: Sequence[str]) -> Message:
    """That nothing can be said elsewhere."""
    return Message("on {tasks} the items show no clear difference", tasks=titles(names))


def all_failed(side: str, n: int) -> Message:
    """That the other side has nothing but errors."""
    return Message("all items of {side} failed ({n} in all; the list of items has the errors)", side=side, n=f"{n:,}")


def writes_worse(side: str, text: float) -> Message:
    """That the side that ranks better has written worse answers to the same items."""
    return Message("the written answers of {side} score only {value}", side=side, value=_number(text))


def beside(task: str, metric: str, difference: Difference) -> Message:
    """A clear difference of another score than the main one."""
    a, b = _numbers(difference)
    facts = {"metric": Message(scored_metric(metric)), "a": a, "b": b, "task": TASKS[task].title}
    if difference.reading == "choose":
        return Message("for the answers ranked first, {metric} on {task} is {a} for A and {b} for B", **facts)
    if difference.reading == "lenient":
        return Message("read leniently, {metric} on {task} is {a} for A and {b} for B", **facts)
    return Message("{metric} on {task} is {a} for A and {b} for B", **facts)


def few_in_common(n: int) -> Message:
    """That a verdict is impossible."""
    return Message("they have answers to only {n} of the same items", n=n)


def needs_items(task: str, difference: Difference, needed: int) -> Message:
    """How many items the largest difference needs."""
    return Message(
        "it would take about {needed} items to confirm the largest one ({task}: A {a}, B {b})",
        needed=f"{needed:,}",
        task=TASKS[task].title,
        a=_number(difference.a.value),
        b=_number(difference.b.value),
    )
