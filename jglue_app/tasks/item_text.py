"""An item as text for people: its question and its gold answer. No I/O."""

from __future__ import annotations

from jglue_app.tasks import TASKS
from jglue_app.types import Item


def question_text(item: Item) -> str:
    """An item's fields, one a line as `name: text`, and its choices on one line."""
    lines = [f"{name}: {text}" for name, text in item.fields.items() if not name.startswith("choice")]
    if TASKS[item.task].kind == "choice" and "choice0" in item.fields:
        lines.append("choices: " + " / ".join(text for name, text in item.fields.items() if name.startswith("choice")))
    return "\n".join(lines)


def question_line(item: Item) -> str:
    """What an item asks, for a list: its question alone where it has one, else all its fields."""
    return item.fields["question"] if "question" in item.fields else " / ".join(item.fields.values())


def gold_text(item: Item) -> str:
    """The distinct accepted answers, or the number as short as it can be written."""
    return f"{item.gold:g}" if isinstance(item.gold, float) else " / ".join(dict.fromkeys(item.gold))


def gold_with_choice(item: Item) -> str:
    """The gold answer with the text of the choice that a label stands for; a number with one decimal."""
    if isinstance(item.gold, float):
        return f"{item.gold:.1f}"
    label = item.gold[0]
    return f"{label} {item.fields[f'choice{label}']}" if f"choice{label}" in item.fields else gold_text(item)
