"""Two Japanese language models side by side on JGLUE, item by item.

    from jglue_app import TASKS, check_data, compare, embed, evaluate, explain, import_log
    from jglue_app import effects, first_differences, lint_prompt, open_run, rescore
    from jglue_app import audit_score, audit_table, score

The functions are described in `jglue_app.api`, those of the auditor in `jglue_app.audit.auditor`; every record type in
`jglue_app.types`.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from jglue_app.version import __version__

if TYPE_CHECKING:
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

_ELSEWHERE = {"TASKS": "jglue_app.tasks"} | dict.fromkeys(("audit_score", "audit_table"), "jglue_app.audit.auditor")


def __getattr__(name: str) -> Any:
    """Imports what is asked for, and numpy with it, then: processes that need one small module start sooner."""
    if name not in __all__:
        if not name.startswith("_") and find_spec(f"{__name__}.{name}"):
            return import_module(f"{__name__}.{name}")
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_ELSEWHERE.get(name, "jglue_app.api")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
