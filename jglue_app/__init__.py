"""Two Japanese language models side by side on JGLUE, item by item.

    from jglue_app import TASKS, check_data, compare, embed, evaluate, explain, import_log
    from jglue_app import effects, first_differences, lint_prompt, open_run, rescore
    from jglue_app import audit_score, audit_table, score

The functions are described in `jglue_app.api`, those of the auditor in `jglue_app.audit.auditor`; every record type in
`jglue_app.types`.
"""

from __future__ import annotations

from jglue_app.api import (
    check_data,
    compare,
    effects,
    embed,
    evaluate,
    explain,
    first_differences,
    import_log,
    lint_prompt,
    open_run,
    rescore,
    score,
)
from jglue_app.audit.auditor import audit_score, audit_table
from jglue_app.tasks import TASKS
from jglue_app.version import __version__

__all__ = [
    "TASKS",
    "__version__",
    "audit_score",
    "audit_table",
    "check_data",
    "compare",
    "effects",
    "embed",
    "evaluate",
    "explain",
    "first_differences",
    "import_log",
    "lint_prompt",
    "open_run",
    "rescore",
    "score",
]
