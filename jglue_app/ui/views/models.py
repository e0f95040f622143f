"""The list of models to choose from: one row a model, of facts that are known without loading it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jglue_app.backends.model_facts import ModelFacts
from jglue_app.messages import word


def model_rows(models: Sequence[ModelFacts], free: int | None, lang: str) -> list[dict[str, Any]]:
    """A row for each model: `id` (what is chosen), `facts` (texts) and, where the memory it needs is known, `memory`
    with its text and whether it `fits`.

    Args:
        models: what to list, in this order.
        free: bytes of memory that are free; None where that is not known yet.
        lang: `ja` or `en`.
    """
    return [{"id": model.id, "facts": _facts(model, lang), "memory": _memory(model, free, lang)} for model in models]


def _facts(model: ModelFacts, lang: str) -> list[str]:
    facts = []
    if model.parameters is not None:
        facts.append(_size(model.parameters))
    if model.follows_instructions is not None:
        facts.append(word("model_chat" if model.follows_instructions else "model_base", lang))
    if model.served is not None:
        facts += [word("model_on_server", lang), *_price(model, lang)]
    if model.here is not None:
        facts.append(word("model_here" if model.here else "model_fetched", lang))
    if model.gated and not model.here:
        facts.append(word("model_gated", lang))
    return facts


def _size(millions: int) -> str:
    return f"{millions / 1000:.1f}B" if millions >= 1000 else f"{millions}M"


def _price(model: ModelFacts, lang: str) -> list[str]:
    if model.served is None or not model.served.priced:
        return []
    facts = model.served.facts
    prices = (f"{facts.price_in or 0:g}", f"{facts.price_out or 0:g}", model.served.endpoint.currency)
    return [word("model_price", lang).format(*prices)]


def _memory(model: ModelFacts, free: int | None, lang: str) -> dict[str, Any] | None:
    if model.memory_needed is None or free is None:
        return None
    fits = model.memory_needed <= free
    text = word("model_fits" if fits else "model_too_large", lang)
    return {"text": text.format(f"{model.memory_needed / 1e9:.1f}", f"{free / 1e9:.1f}"), "fits": fits}
