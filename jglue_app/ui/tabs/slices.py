"""The part of the Results tab with one run's scores on parts of its items, and how far its probabilities can be
believed."""

from __future__ import annotations

from dataclasses import dataclass

import gradio as gr

from jglue_app.errors import InputError
from jglue_app.messages import Message, say, word
from jglue_app.scoring.calibration import calibration
from jglue_app.scoring.slices import slices
from jglue_app.tasks import TASKS
from jglue_app.ui import views
from jglue_app.ui.controls import T, pane, paragraph
from jglue_app.ui.events import PRIVATE, Updates, Values, dropdown_update
from jglue_app.ui.guard import errors_shown_in
from jglue_app.ui.state import AppState
from jglue_app.ui.views.calibration import calibration_view
from jglue_app.ui.views.slices import slice_table
from jglue_app.ui.visitor import language, visitor_id

NO_LOGPROBS = Message(
    "There is no calibration: this run has no log-likelihoods of choices. Run it with another “Method” than free "
    "generation (--method both or choose)."
)


@dataclass(frozen=True, slots=True, eq=False)
class SliceControls:
    """The components."""

    run: gr.Dropdown
    against: gr.Dropdown
    """The baseline; empty for none."""

    @property
    def components(self) -> list[gr.Dropdown]:
        """Those whose choices are the stored runs."""
        return [self.run, self.against]

    def offer(self, choices: list[tuple[str, str]], values: Values, lang: str) -> Updates:
        """The runs to choose from; what is chosen stays, if it is still there."""
        names = [name for _, name in choices]
        run = values[self.run] if values[self.run] in names else next(iter(names), None)
        against = values[self.against] if values[self.against] in names else ""
        none = (word("slice_alone", lang), "")
        return {
            self.run: dropdown_update(choices, values[self.run], run),
            self.against: dropdown_update([none, *choices], values[self.against], against),
        }


def build(state: AppState, t: T, protocol: gr.Dropdown) -> SliceControls:
    """Put the section into the surrounding Blocks; `protocol` is whose scores are shown."""
    paragraph(t("slices"), "jg-section")
    paragraph(t("slices_info"), "jg-hint")
    with gr.Row(equal_height=True, elem_classes="jg-pickrow"):
        run = gr.Dropdown([], label=t("run_name"), elem_id="slice-run", scale=4, min_width=220)
        none = [("–", "")]
        against = gr.Dropdown(none, value="", label=t("baseline"), elem_id="slice-against", scale=4, min_width=220)
        show = gr.Button(t("slices_show"), elem_id="slice-show", scale=2, min_width=140)
    tables = pane("slices")

    def draw(request: gr.Request, values: Values) -> str:
        names = str(values[run] or ""), str(values[against] or "")
        return slices_html(state, visitor_id(request), *names, values[protocol], language(request))

    show.click(errors_shown_in(tables, draw), {run, against, protocol}, tables, **PRIVATE)
    return SliceControls(run, against)


def slices_html(state: AppState, owner: str, name: str, against: str, protocol: str, lang: str) -> str:
    """The scores of a run on parts of its items, and its reliability diagrams.

    Raises:
        StoreError: there is no such run.
        InputError: no run is chosen, or the protocol scores none of it.
        UnknownNameError: no such protocol.
    """
    if not name:
        raise InputError("Choose a run first.")
    data, judged = state.data(owner, name), state.judged(owner, name, protocol)
    baseline = state.judged(owner, against, protocol) if against and against != name else None
    found = slices(data, protocol, judged, baseline)
    if not found:
        raise InputError(
            "The protocol {protocol} scores nothing of this run. Choose another one, or another run.", protocol=protocol
        )
    table = views.render("slices", slice_table(found, lang, compared=baseline is not None), lang)
    # Probabilities depend on no protocol; official judges every subset.
    ranked = {task: one for task, rows in state.judged(owner, name).items() if (one := calibration(rows.values()))}
    diagrams = {task: ranked[task] for task in TASKS if task in ranked}
    if not diagrams:
        return table + views.note(say(NO_LOGPROBS, lang))
    approximate = bool(data.model and data.model.ranking)
    return table + views.render("calibration", calibration_view(diagrams, lang, approximate=approximate), lang)
