"""What a number of items can show, told beside the box in which it is typed."""

from __future__ import annotations

from functools import cache

from jglue_app.data.files import sample_path
from jglue_app.messages import Message
from jglue_app.runs.request import RunRequest
from jglue_app.scoring.comparison import MIN_PAIRED
from jglue_app.scoring.significance import smallest_difference


def enough_items(request: RunRequest) -> Message:
    """How large a difference of accuracies has to be to show with the number of items of a request, and how many a
    verdict needs."""
    count = _count(request)
    if count is None:
        return Message("All items of each subset. A verdict needs at least {least}.", least=MIN_PAIRED)
    if count < MIN_PAIRED:
        return Message(
            "{count:,} of each: too few for a verdict, which needs at least {least}.", count=count, least=MIN_PAIRED
        )
    return Message(
        "{count:,} of each: a difference of about {difference:.2f} in accuracy can be shown, where the two disagree on "
        "a third of the items. A verdict needs at least {least}.",
        count=count,
        difference=smallest_difference(count),
        least=MIN_PAIRED,
    )


def _count(request: RunRequest) -> int | None:
    """Items of the subset that has the fewest; None for all of official data, whose number is not known here."""
    if request.data != "sample":
        return request.limit
    there_are = min(_samples(task, request.split) for task in request.tasks)
    return there_are if request.limit is None else min(request.limit, there_are)


@cache
def _samples(task: str, split: str) -> int:
    path = sample_path(task, split)
    return sum(bool(line.strip()) for line in path.read_text("utf-8").splitlines()) if path.is_file() else 0
