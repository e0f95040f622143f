"""The text that a model wants before each sentence whose similarity is measured. Pure.

Many embedding models were trained with a short text before every input that says what it is for. Those of
sentence-transformers may store theirs by name in `config_sentence_transformers.json`; others tell it in their card
alone. In `CARDS` are only such as say in so many words what symmetric similarity takes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jglue_app.messages import Joined, Message

SIMILARITY_NAMES = (
    *("jsts", "sts", "similarity", "sentencesimilarity", "semanticsimilarity", "semantictextualsimilarity"),
    *("textmatching", "s2squery"),
)
"""Names of stored prompts for similarity, in lower case and without other signs; the first that there is counts."""
CARDS: Mapping[str, str] = {
    # "Use 'query: ' prefix for symmetric tasks such as semantic similarity": the FAQ of these cards.
    r"intfloat/(multilingual-e5|e5)-(small|base|large)(-v2)?": "query: ",
    # "For tasks other than retrieval, you can simply use the 'query: ' prefix": its card.
    r"pkshatech/GLuCoSE-base-ja-v2": "query: ",
}
"""Pattern of a Hub id → the prefix of its card."""


@dataclass(frozen=True, slots=True)
class Prefix:
    """A prefix, and where it is from."""

    text: str
    note: Message | None = None
    """What a person should know of the choice; None where there was nothing to choose."""


def choose_prefix(model: str, config: Mapping[str, Any]) -> Prefix:
    """The prefix that a model's own files or its card want for similarity.

    Args:
        model: the model's id.
        config: the table of its config_sentence_transformers.json; empty if there is none.
    """
    stored = config.get("prompts")
    prompts = (
        {name: text for name, text in stored.items() if isinstance(name, str) and isinstance(text, str)}
        if isinstance(stored, Mapping)
        else {}
    )
    by_name = {re.sub(r"[^a-z0-9]", "", name.lower()): name for name in reversed(prompts)}
    default = config.get("default_prompt_name")
    found = next((by_name[name] for name in SIMILARITY_NAMES if name in by_name), None)
    if found is None and isinstance(default, str) and default in prompts:
        found = default
    if found is not None:
        note = Message("{model} stores the prefix {prefix!r} ({name}).", model=model, prefix=prompts[found], name=found)
        return Prefix(prompts[found], note if prompts[found] else None)
    for pattern, prefix in CARDS.items():
        if re.fullmatch(pattern, model, re.IGNORECASE):
            return Prefix(
                prefix, Message("The card of {model} wants the prefix {prefix!r}.", model=model, prefix=prefix)
            )
    if named := [name for name, text in prompts.items() if text]:
        note = Message(
            "{model} stores prefixes ({names}), and none of them is named for similarity: none is used. Choose one "
            "with --prefix if its card says so.",
            model=model,
            names=Joined(", ", named),
        )
        return Prefix("", note)
    return Prefix("")
