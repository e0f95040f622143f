"""Endpoints that audit published scores. They need no model and no run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jglue_app.audit import auditor
from jglue_app.ui.endpoints.plain import plain


def endpoints() -> tuple[Callable[..., Any], ...]:
    """The functions, whose names, parameters and docstrings are those of the endpoints."""
    return audit_score, audit_table


def audit_score(
    task: str = "jnli", score: str = "0.3016", n: int = 0, metric: str = "", system: str = "", scale: str = ""
) -> dict[str, Any]:
    """What a published score is consistent with: constant answers, numbers of items, its interval, and published
    scores that it cannot be told from. Each finding is a sentence with its reason.

    Args:
        task: The subset: marc_ja, jsts, jnli, jsquad, jcommonsenseqa or jcola.
        score: The score as it is printed, such as 0.3016 or 30.16.
        n: The number of items; 0 if it is not known.
        metric: accuracy, acc_norm, balanced_accuracy, macro_f1, mcc, exact_match, f1, char_f1, pearson or spearman;
            empty if it is not known.
        system: Whose protocol gave it, such as wandb-2023 or stability-jp; empty if it is not known.
        scale: fraction or percent; empty to decide by the value.
    """
    audit = auditor.audit_score(task, score, n=n or None, metric=metric, system=system, scale=scale)
    return dict(plain(audit.plain()))


def audit_table(table: str, columns: dict[str, str] | None = None, system: str = "", scale: str = "") -> dict[str, Any]:
    """What a whole leaderboard is consistent with: scores on a floor, impossible scores, mixed scales, and groups
    of models that cannot be told apart.

    Args:
        table: CSV, TSV, a Markdown table or JSON, with a row for each model.
        columns: Head of a column and what it is, such as {"score": "jnli:acc"}; none where heads name subsets.
        system: Whose protocol gave the scores; empty if it is not known.
        scale: fraction or percent; empty to decide by the values of each column.
    """
    audit = auditor.audit_table(table, columns=columns, system=system, scale=scale)
    return dict(plain(audit.plain()))
