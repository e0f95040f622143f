"""Two Japanese language models side by side on JGLUE, item by item.

    from jglue_app import TASKS, check_data, compare, evaluate, explain, lint_prompt, open_run, rescore, score

The functions are described in `jglue_app.api`; every record type in `jglue_app.types`.
"""

from __future__ import annotations

__version__ = "0.1.0"

from jglue_app.api import check_data, compare, evaluate, explain, lint_prompt, open_run, rescore, score
from jglue_app.tasks import TASKS

__all__ = [
    "TASKS",
    "__version__",
    "check_data",
    "compare",
    "evaluate",
    "explain",
    "lint_prompt",
    "open_run",
    "rescore",
    "score",
]
