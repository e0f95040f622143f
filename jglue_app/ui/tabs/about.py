"""The About tab: what JGLUE is, the decisions of each protocol, licences, MARC-ja and JCoLA, what is stored where."""

from __future__ import annotations

import os
from urllib.parse import quote

import gradio as gr

from jglue_app.messages import listed, word
from jglue_app.scoring.protocols import PROTOCOLS
from jglue_app.scoring.protocols.decisions import decisions_of
from jglue_app.settings import ASSETS
from jglue_app.ui import views
from jglue_app.ui.controls import T, pane
from jglue_app.ui.events import PRIVATE, Updates
from jglue_app.ui.guard import errors_shown_in
from jglue_app.ui.state import AppState
from jglue_app.ui.views import markdown
from jglue_app.ui.views.decisions import decisions_view
from jglue_app.ui.visitor import language

SECTIONS = ("jglue", "marc", "jcola", "metrics", "protocols", "stored", "privacy", "licences", "programs")


def build(state: AppState, t: T) -> None:
    """Put the tab's content into the surrounding Blocks."""
    with gr.Column(elem_classes="jg-about"):
        places = {name: pane(f"about-{name}") for name in SECTIONS[: SECTIONS.index("protocols") + 1]}
        _decisions(t)
        places |= {name: pane(f"about-{name}") for name in SECTIONS[len(places) :]}

    def show_sections(request: gr.Request) -> Updates:
        return {place: _section(name, language(request)) for name, place in places.items()}

    gr.on(None, show_sections, None, list(places.values()), **PRIVATE)


def _section(name: str, lang: str) -> str:
    text = word(f"about_{name}", lang)
    if name == "protocols":
        text = text.format(listed(PROTOCOLS, lang))
        text += f"\n\n{_systems()}"
    if name == "programs" and (readme := _readme()):
        text += "\n\n" + word("about_readme", lang).format(readme)
    return markdown(text)


def _readme() -> str:
    """How to name the README: with its address on a Space; empty where it did not come along, as into a container."""
    if space := os.environ.get("SPACE_ID"):
        return f"[README.md](https://huggingface.co/spaces/{quote(space)}/blob/main/README.md)"
    return "README.md" if (ASSETS.parent / "README.md").is_file() else ""


def _systems() -> str:
    """Links to the code of the systems whose protocols these are."""
    found: dict[str, str] = {}
    for protocol in PROTOCOLS.values():
        for source in (d.source for task in protocol.rules for d in decisions_of(protocol, task) if d.source):
            is_package = "/" not in source.repository
            found[source.repository] = source.url if is_package else f"https://github.com/{source.repository}"
    return " · ".join(f"[{name}]({url})" for name, url in sorted(found.items()))


def _decisions(t: T) -> None:
    """Every decision of a protocol that the visitor chooses."""
    protocol = gr.Dropdown(list(PROTOCOLS), value=None, label=t("decisions_of"), elem_id="decisions-of")
    decisions = pane("decisions")

    def show(request: gr.Request, name: str | None) -> str:
        lang = language(request)
        return views.render("decisions", decisions_view(str(name), lang), lang) if name else ""

    protocol.change(errors_shown_in(decisions, show), protocol, decisions, **PRIVATE)
