"""The JGLUE subsets. A new one is a file in this folder and a line in `TASKS`."""

from __future__ import annotations

from jglue_app.errors import UnknownNameError
from jglue_app.tasks import jcola, jcommonsenseqa, jnli, jsquad, jsts, marc_ja
from jglue_app.types import Task

TASKS: dict[str, Task] = {
    "marc_ja": marc_ja.TASK,
    "jsts": jsts.TASK,
    "jnli": jnli.TASK,
    "jsquad": jsquad.TASK,
    "jcommonsenseqa": jcommonsenseqa.TASK,
    "jcola": jcola.TASK,
}
DEFAULT_TASKS: tuple[str, ...] = tuple(name for name, task in TASKS.items() if task.core)
"""What `all` means, and what averages count: a subset that is not among them is off until it is named."""


def get_task(name: str) -> Task:
    """The subset called `name`.

    Raises:
        UnknownNameError: there is none.
    """
    if name not in TASKS:
        raise UnknownNameError("task", name, TASKS)
    return TASKS[name]
