"""The halves of a headline: findings, and the catches that follow a "but". No I/O."""

from __future__ import annotations

from collections.abc import Sequence

from jglue_app.messages import Joined, Message, mark
from jglue_app.scoring.standing import Gap, Standing
from jglue_app.scoring.types import Difference, TaskReport
from jglue_app.tasks import TASKS

SCORES = {
    "text": mark("the score of what it writes"),
    "ranking": mark("the score of what it ranks first"),
    "correlation": mark("the correlation with the gold values"),
}
"""What a standing is of → its name."""
ON_FLOOR = {
    "equal": mark("{floor} is also what always giving one and the same answer scores"),
    "on_floor_constant": mark("{value} cannot be told from {floor}, what always giving one and the same answer scores"),
    "below_floor": mark("{value} is below {floor}, what always giving one and the same answer scores"),
    "on_floor_default": mark("{value} cannot be told from {floor}, what never giving a readable answer scores"),
    "no_correlation": mark("{value} cannot be told from no correlation at all"),
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


# --- findings ---------------------------------------------------------------------------------------------


def changes(change: Message, difference: Difference, standing: Standing) -> Message:
    """How a score changes with one setting of a model."""
    return Message(
        "Same model, {change}: {score} goes from {a} to {b} ({task}, {n} items)",
        change=change,
        score=_score(standing.what),
        a=_number(difference.a.value),
        b=_number(difference.b.value),
        task=TASKS[standing.task].title,
        n=difference.difference.n,
    )


def is_better(winner: str, loser: str, difference: Difference, standing: Standing, subsets: tuple[int, int]) -> Message:
    """Which of two models is better, by how much on a subset, and on how many subsets of all."""
    high, low = (difference.b, difference.a) if winner == "B" else (difference.a, difference.b)
    facts = {
        "winner": winner,
        "loser": loser,
        "score": _score(standing.what),
        "high": _number(high.value),
        "low": _number(low.value),
        "task": TASKS[standing.task].title,
        "n": difference.difference.n,
    }
    won, scored = subsets
    if won == 1:
        return Message("{winner} is better: {score} is {high} against {low} of {loser} ({task}, {n} items)", **facts)
    return Message(
        "{winner} is better on {won} of {scored} subsets: {score} is {high} against {low} of {loser} ({task}, {n} "
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
    return Message("Here {score} is {value} ({task}, {n} items)", **facts)


def no_difference() -> Message:
    return Message("With this many items no difference between A and B can be shown")


def same_scores(changed: int, n: int) -> Message:
    """Both have the same scores, though answers may differ; `n` is 0 where answers are not compared."""
    if changed or not n:
        other = Message("they give another answer to {changed} of {n} items", changed=changed, n=n) if n else None
        return joined(Message("A and B have the same scores"), other)
    return Message("A and B have the same scores and give the same answers.")


def nothing_in_common() -> Message:
    return Message("A and B have no item in common that both have a score for.")


def not_covered(protocol: str, names: Sequence[str]) -> Message:
    return Message(
        "{protocol} does not score {tasks}. Choose another protocol.", protocol=protocol, tasks=titles(names)
    )


def no_answers() -> Message:
    return Message("No item has an answer yet.")


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
    return Message("{reason} ({k} of {n} outputs are no number)", reason=reason, k=task.unreadable, n=task.n)


# --- catches ----------------------------------------------------------------------------------------------


def on_floor(standing: Standing, value: float | None) -> Message:
    """That a score says nothing; `value` is as the finding has it."""
    kind, floor = standing.floor, standing.floor_value
    if kind == "on_floor_constant" and _number(floor) == _number(value):
        kind = "equal"
    return Message(ON_FLOOR[kind], value=_number(value), floor=_number(floor))


def floors_elsewhere(names: Sequence[str]) -> Message:
    """That other scores say nothing."""
    return Message(
        "the scores on {tasks} are no better than always giving one and the same answer", tasks=titles(names)
    )


def is_ahead_on(other: str, names: Sequence[str]) -> Message:
    """That the other side wins elsewhere."""
    return Message("{other} is better on {tasks}", other=other, tasks=titles(names))


def loses_on_form(loser: str, gap: Gap) -> Message:
    """That the loser has the answer, and loses on how it writes it."""
    return Message(
        "{loser} ranks the right answer first on {ranked}: it loses on form", loser=loser, ranked=_number(gap.ranked)
    )


def ranks_better(gap: Gap) -> Message:
    """That the same answers score better when they are ranked."""
    return Message(
        "ranked by log-likelihood the same answers score {ranked}: the model knows, and cannot write it",
        ranked=_number(gap.ranked),
    )


def undecided_on(names: Sequence[str]) -> Message:
    """That nothing can be said elsewhere."""
    return Message("on {tasks} this many items show no difference", tasks=titles(names))


def needs_items(task: str, difference: Difference, needed: int) -> Message:
    """How many items the largest difference needs."""
    return Message(
        "it would take about {needed} items to show the largest one ({task}: A {a}, B {b})",
        needed=f"{needed:,}",
        task=TASKS[task].title,
        a=_number(difference.a.value),
        b=_number(difference.b.value),
    )
