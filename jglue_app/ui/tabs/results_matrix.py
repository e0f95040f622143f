"""The part of the Results tab where any number of runs is compared with a baseline, by subset and by item."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import gradio as gr
from gradio.blocks import Block

from jglue_app.errors import StoreError
from jglue_app.messages import listed as names_in
from jglue_app.messages import word
from jglue_app.results.library import StoredRun
from jglue_app.scoring.leaderboard import run_scores
from jglue_app.ui import views
from jglue_app.ui.controls import T, pane, paragraph
from jglue_app.ui.events import Updates, Values, dropdown_update
from jglue_app.ui.state import AppState
from jglue_app.ui.views.matrix import item_matrix, score_matrix
from jglue_app.ui.views.ranking import run_label
from jglue_app.ui.views.run_labels import labels_of

PAIRS = """
element.addEventListener('click', (event) => {
  const button = event.target.closest('.jg-open-pair');
  if (button) trigger('select', { run: button.dataset.run });
});
"""


@dataclass(frozen=True, slots=True, eq=False)
class MatrixControls:
    """The components, and the values that show something in them."""

    state: AppState
    runs: gr.Dropdown
    """The runs that are compared, the baseline among them."""
    baseline: gr.Dropdown
    gone: gr.HTML
    table: gr.HTML
    items: gr.HTML

    @property
    def inputs(self) -> list[gr.Dropdown]:
        """What is chosen."""
        return [self.runs, self.baseline]

    @property
    def outputs(self) -> list[Block]:
        """What `update` has values for."""
        return [self.runs, self.baseline, self.gone, self.table, self.items]

    def chosen(self, values: Values) -> list[str]:
        """The names of the chosen runs, as the browser sends them."""
        return [str(name) for name in values[self.runs] or []]

    def in_order(self, values: Values) -> tuple[str, ...]:
        """The names of the chosen runs, the baseline first."""
        names = self.chosen(values)
        return tuple(sorted(names, key=lambda name: name != values[self.baseline]))

    def ticked(self, values: Values, name: str, on: bool) -> list[str]:
        """The names of the chosen runs after a tick in the list."""
        names = [other for other in self.chosen(values) if other != name]
        return [*names, name] if on else names

    def update(
        self, owner: str, values: Values, runs: Mapping[str, StoredRun], tasks: Sequence[str], protocol: str, lang: str
    ) -> Updates:
        """Both matrices of the chosen runs.

        Args:
            owner: the visitor.
            values: those of `inputs`.
            runs: name → run, of those that can be chosen.
            tasks: the subsets.
            protocol: whose scores and outcomes.
            lang: `ja` or `en`.
        """
        wanted = self.chosen(values)
        chosen = [name for name in wanted if name in runs]
        baseline = values[self.baseline] if values[self.baseline] in chosen else next(iter(chosen), None)
        labels = labels_of({name: runs[name] for name in chosen}, lang)
        missing = [name[:100] for name in wanted if name not in runs]
        gone = word("matrix_gone", lang).format(names_in(missing, lang))
        updates: Updates = {
            self.runs: dropdown_update(
                [(run_label(run, name, lang), name) for name, run in runs.items()], wanted, chosen
            ),
            self.baseline: dropdown_update([(labels[name], name) for name in chosen], values[self.baseline], baseline),
            # It stays until other runs are chosen: a page that is opened draws the tab more than once.
            **({self.gone: views.note(gone)} if missing else {}),
        }
        if baseline is None or len(chosen) < 2:
            return {**updates, self.table: views.render("matrix", {}, lang), self.items: None}
        return {**updates, **self._matrices(owner, labels, baseline, tasks, protocol, lang)}

    def _matrices(
        self, owner: str, labels: Mapping[str, str], baseline: str, tasks: Sequence[str], protocol: str, lang: str
    ) -> Updates:
        reader = self.state.reader(owner, protocol)
        scores, judged = {}, {}
        for name in labels:
            with contextlib.suppress(StoreError):  # Deleted since it was listed.
                scores[name], judged[name] = run_scores(reader.report(name)).tasks, reader.judged(name)
        readable = {name: label for name, label in labels.items() if name in scores}
        if baseline not in readable or len(readable) < 2:
            return {self.table: views.render("matrix", {}, lang), self.items: None}
        payload = score_matrix(readable, baseline, scores, reader.difference, tasks, lang)
        judged = {name: {task: rows for task, rows in of.items() if task in tasks} for name, of in judged.items()}
        return {
            self.table: views.render("matrix", payload, lang),
            self.items: item_matrix(readable, baseline, judged, lang),
        }


def build(state: AppState, t: T) -> MatrixControls:
    """Put the controls into the surrounding Blocks; the tab listens to them."""
    paragraph(t("matrix"), "jg-section", elem_id="matrix-head")
    with gr.Row(elem_classes="jg-controls"):
        runs = gr.Dropdown(
            [],
            multiselect=True,
            label=t("matrix_runs"),
            info=t("matrix_runs_info"),
            elem_id="matrix-runs",
            scale=3,
            min_width=280,
        )
        baseline = gr.Dropdown(
            [], label=t("baseline"), info=t("baseline_info"), elem_id="baseline", scale=1, min_width=220
        )
    gone = pane("matrix-gone")
    table = pane("matrix", js_on_load=PAIRS)
    items = gr.HTML(
        None,
        html_template='<div class="jg-tools"></div><div class="jg-grid" role="grid" tabindex="0"></div>',
        js_on_load=(views.STATIC / "matrix.js").read_text("utf-8"),
        apply_default_css=False,
        elem_id="matrix-items",
    )
    return MatrixControls(state=state, runs=runs, baseline=baseline, gone=gone, table=table, items=items)
