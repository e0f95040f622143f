"""What a number of items can show, told beside the box in which it is typed."""

from __future__ import annotations

from functools import cache

from jglue_app.data.files import sample_path
from jglue_app.messages import Message
from jglue_app.runs.request import RunRequest
from jglue_app.scoring.comparison import MIN_PAIRED
from jglue_app.scoring.significance import fewest_differing, smallest_difference

DISAGREE = 1 / 3
"""A share of items on which two models may well disagree; no difference is larger than that share."""


def enough_items(request: RunRequest) -> Message:
    """How large a difference of accuracies has to be to show with the number of items of a request, and how many a
    verdict needs."""
    count = fewest_items(request)
    if count is None:
        return Message("All items of each subset. A verdict needs at least {least}.", least=MIN_PAIRED)
    if count < MIN_PAIRED:
        return Message(
            "{count:,} of each: too few for a verdict, which needs at least {least}.", count=count, least=MIN_PAIRED
        )
    tests = len(request.tasks)
    difference = smallest_difference(count, DISAGREE, tests)
    facts: dict[str, int | float] = {"count": count, "tests": tests}
    if difference <= DISAGREE:
        facts |= {"difference": difference}
        if tests == 1:
            return Message(
                "{count:,}: a difference of about {difference:.2f} in accuracy can be shown, where the two disagree on "
                "a third of the items.",
                **facts,
            )
        return Message(
            "{count:,} of each: a difference of about {difference:.2f} in accuracy can be shown, where the two "
            "disagree on a third of the items. This allows for the correction over {tests} subsets (Holm).",
            **facts,
        )
    facts |= {"least": fewest_differing() / count}
    if tests == 1:
        return Message(
            "{count:,}: even if all disagreements go one way, a verdict takes a difference of about {least:.2f} in "
            "accuracy.",
            **facts,
        )
    return Message(
        "{count:,} of each: even if all disagreements go one way, a verdict takes a difference of about {least:.2f} in "
        "accuracy, and up to {most:.2f} after the correction over {tests} subsets (Holm).",
        most=fewest_differing(tests) / count,
        **facts,
    )


def fewest_items(request: RunRequest) -> int | None:
    """Items of the subset that has the fewest; None for all of official data, whose number is not known here."""
    if request.data != "sample":
        return request.limit
    there_are = min(_samples(task, request.split) for task in request.tasks)
    return there_are if request.limit is None else min(request.limit, there_are)


@cache
def _samples(task: str, split: str) -> int:
    path = sample_path(task, split)
    return sum(bool(line.strip()) for line in path.read_text("utf-8").splitlines()) if path.is_file() else 0
