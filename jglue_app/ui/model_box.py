"""The box in which a model is named: any name can be typed, and a list offers those that are known.

`static/form.js` draws it. What was typed wins over the list unless a row was moved to; the value is a plain id.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gradio as gr

from jglue_app.backends import model_facts
from jglue_app.backends.endpoints import refused_sections
from jglue_app.errors import JglueAppError
from jglue_app.messages import LANGUAGES, say, word
from jglue_app.settings import Settings
from jglue_app.ui.views.models import model_rows

ON_LOAD = "(globalThis.jgFormParts ??= []).push({ kind: 'model', element, props, trigger, watch, server });"
WORDS = (
    *("model", "model_info", "model_info_public", "same_model", "model_list", "model_none", "model_open"),
    *("model_list_fetching", "model_list_failed"),
)


def model_box(settings: Settings, elem_id: str, value: str, *, same: str = "", device: str = "auto") -> gr.HTML:
    """A box for the name of a model.

    Args:
        settings: whose models are listed.
        elem_id: of the component.
        value: the model it begins with.
        same: the value that stands for the other side's model, which is offered first; empty if there is none.
        device: where models go.
    """
    return gr.HTML(
        value,
        html_template='<div class="jg-model"></div>',
        js_on_load=ON_LOAD,
        apply_default_css=False,
        elem_id=elem_id,
        server_functions=_listing(settings, device),
        name=elem_id,
        words={lang: {name: word(name, lang) for name in WORDS} for lang in LANGUAGES},
        same=same,
        public=settings.public,
    )


def _listing(settings: Settings, device: str) -> list[Callable[[Any], dict[str, Any]]]:
    """What the browser asks for when a list is opened: the rows at once, and with the memory if that takes a moment."""

    def rows(language: Any, *, memory: bool) -> dict[str, Any]:
        lang = language if language in LANGUAGES else "en"
        try:
            models = model_facts.known_models(settings)
            note = "\n".join(say(sentence, lang) for sentence in refused_sections(settings))
        except JglueAppError as e:
            return {"rows": [], "note": say(e.message, lang), "whole": True}
        free = None
        if memory or model_facts.is_memory_known():
            models = model_facts.with_memory(models, settings, device)
            free = model_facts.memory_free(device)
        return {
            "rows": model_rows(models, free, lang),
            "note": "" if settings.public else note,
            "whole": free is not None,
        }

    def models(language: Any) -> dict[str, Any]:
        return rows(language, memory=False)

    def models_with_memory(language: Any) -> dict[str, Any]:
        return rows(language, memory=True)

    return [models, models_with_memory]
