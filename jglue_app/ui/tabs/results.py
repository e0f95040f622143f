"""The Results tab: stored runs ranked under a protocol, pictures of them, and what can be done with one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import gradio as gr
from gradio.blocks import Block

from jglue_app.errors import InputError, UnknownNameError
from jglue_app.messages import listed, named, say, word
from jglue_app.results.library import StoredRun
from jglue_app.results.rankings import rankings
from jglue_app.scoring.leaderboard import Entry, rank
from jglue_app.scoring.protocols import PROTOCOLS, get_protocol
from jglue_app.tasks import DEFAULT_TASKS, TASKS
from jglue_app.ui import controls, views
from jglue_app.ui.address import Address
from jglue_app.ui.controls import T, pane
from jglue_app.ui.events import AS_TYPED, LATEST, PRIVATE, Updates, Values, changes_of, dropdown_update
from jglue_app.ui.guard import errors_shown_in
from jglue_app.ui.state import AppState
from jglue_app.ui.static_report import ReportRequest
from jglue_app.ui.tabs import (
    grid_panel,
    hub_panel,
    manage_runs,
    report_controls,
    results_matrix,
    slices,
    wandb_panel,
    waterfall,
)
from jglue_app.ui.tabs.grid_panel import GridPanel
from jglue_app.ui.tabs.manage_runs import ManageControls
from jglue_app.ui.tabs.report_controls import ReportControls
from jglue_app.ui.tabs.results_matrix import MatrixControls
from jglue_app.ui.tabs.slices import SliceControls
from jglue_app.ui.views.ranking import (
    Listed,
    Marked,
    matching,
    order_of_rows,
    pictures,
    ranking,
    run_label,
)
from jglue_app.ui.views.run_labels import labels_of
from jglue_app.ui.visitor import language, visitor_id
from jglue_app.ui.wandb_push import Selection

ROWS = 100
"""Runs that are listed at first, and that one click adds: a browser draws no thousand at once."""
FEW = 30
"""Runs among which nobody has to search."""
MAX_SEARCH = 200
"""Characters that are searched for."""
MAX_DAMAGED = 5
"""Damaged runs that are named; the command line lists them all."""


@dataclass(frozen=True, slots=True, eq=False)
class ResultsTab:
    """The components of the tab, and what happens with them."""

    state: AppState
    data: gr.Radio
    tasks: gr.CheckboxGroup
    protocol: gr.Dropdown
    against: gr.Dropdown
    """The protocol whose ranks are compared."""
    search: gr.Textbox
    """Words of the runs that are listed; where there are few runs it is seen only while it holds some."""
    rows: gr.Number
    """How many runs are listed at most. It is not seen."""
    status: gr.HTML
    table: gr.HTML
    a: gr.Dropdown
    b: gr.Dropdown
    compare: gr.Button
    matrix: MatrixControls
    slices: SliceControls
    grids: GridPanel
    report: ReportControls
    figures: gr.HTML
    manage: ManageControls

    @property
    def inputs(self) -> set[Block]:
        """What `refresh` has to know."""
        filters = {self.data, self.tasks, self.protocol, self.against, self.search, self.rows}
        return {
            *filters,
            self.a,
            self.b,
            *self.matrix.inputs,
            *self.slices.components,
            self.grids.grid,
            self.manage.run,
        }

    @property
    def outputs(self) -> list[Block]:
        """What `refresh` has values for."""
        chosen = [self.a, self.b, *self.slices.components, *self.grids.components, self.manage.run]
        return [self.search, self.status, self.table, self.figures, *self.matrix.outputs, *chosen]

    def connect(self) -> None:
        """Listen to the events of the tab."""
        refresh = errors_shown_in(self.status, self.refresh)
        filters = [self.data, self.tasks, self.protocol, self.against, self.a, self.b, *self.matrix.inputs]
        # What is pasted, cut, or deleted as a whole into a text is a change and no input.
        gr.on([*changes_of(filters), self.search.change], refresh, self.inputs, self.outputs, **LATEST)
        chosen: set[Block] = {self.protocol, *self.matrix.inputs}
        self.report.connect(
            self.state, lambda v: ReportRequest(self.matrix.in_order(v), str(v[self.protocol])[:50]), chosen
        )
        picked = self.table.select(
            self.pick,
            {self.a, self.b, self.matrix.runs, self.rows},
            [self.a, self.b, self.matrix.runs, self.matrix.gone, self.rows],
            trigger_mode="multiple",
            **PRIVATE,
        )
        self.matrix.runs.input(lambda: "", None, self.matrix.gone, **AS_TYPED)
        for changed in (picked, *self.manage.connect(self.protocol)):
            changed.then(refresh, self.inputs, self.outputs, **LATEST)

    def refresh(self, request: gr.Request, values: Values) -> Updates:
        """The list of runs, the matrices, pictures, and the runs to choose from."""
        lang, owner = language(request), visitor_id(request)
        protocol, tasks = values[self.protocol], values[self.tasks]
        runs = self.state.runs(owner)
        shown = listing(self.state, owner, values[self.data], tasks, protocol, values[self.against], runs)
        names = [entry.name for entry in shown.entries if entry.name in runs]
        searched = str(values[self.search] or "")[:MAX_SEARCH]
        matches = matching(order_of_rows(shown, runs), runs, searched, lang)
        rows = matches[: max(ROWS, int(values[self.rows] or 0))]
        a = values[self.a] if values[self.a] in names else next(iter(names), None)
        b = values[self.b] if values[self.b] in names else next((name for name in names if name != a), None)
        marked = Marked(a or "", b or "", self.matrix.chosen(values))
        picked = {name: entry for name in (a, b) for entry in shown.entries if entry.name == name}
        pictured = [*picked.values(), *(entry for entry in shown.entries if entry.name not in picked)]
        # A list to choose from has the runs of the table, and those that are chosen somewhere.
        chosen = {a, b, values[self.manage.run], *marked.ticked, *(values[box] for box in self.slices.components)}
        in_lists = chosen | set(rows)
        offered = [name for name in names if name in in_lists] if len(rows) < len(names) else names
        choices = [(run_label(runs[name], name, lang), name) for name in offered]
        of_kind = {name: runs[name] for name in offered}
        others = {name: run for name, run in runs.items() if name in in_lists or len(runs) <= ROWS}
        return {
            self.status: _left_out(shown.tasks, tasks, protocol, lang) + _damaged(self.state, owner, lang),
            self.search: gr.update(visible=len(names) > FEW or bool(searched)),
            self.table: views.render(
                "ranking",
                {
                    **ranking(shown, runs, lang, marked, None if len(rows) == len(names) else rows, self.grids.runs()),
                    "address": self._address(values),
                    "more": len(rows) < len(matches),
                },
                lang,
            ),
            self.figures: views.render(
                "pictures", pictures(pictured, shown.tasks, lang, labels_of(of_kind, lang)), lang
            ),
            self.a: dropdown_update(choices, values[self.a], a),
            self.b: dropdown_update(choices, values[self.b], b),
            **self.matrix.update(owner, values, of_kind, shown.tasks, protocol, lang),
            **self.slices.offer(choices, values, lang),
            **self.grids.offer(values[self.grids.grid], lang),
            **self.manage.offer(others, values[self.manage.run], a, lang),
        }

    def _address(self, values: Values) -> dict[str, str | None]:
        """What the address has of the list: None for what is as it begins."""
        chosen = {
            "protocol": (values[self.protocol], "official"),
            "against": (values[self.against], "official"),
            "results_data": (values[self.data], "sample"),
            "results_subsets": (
                ",".join(name for name in TASKS if name in values[self.tasks]),
                ",".join(DEFAULT_TASKS),
            ),
        }
        return {name: None if value == usual else str(value) for name, (value, usual) in chosen.items()}

    def restore(self, owner: str, address: Address) -> Updates:
        """Choose what an address names: protocols, data, subsets and runs. Runs say themselves which data they are
        over."""
        updates: Updates = {}
        for component, value in (
            (self.protocol, address.protocol),
            (self.against, address.against),
            (self.data, address.results_data),
            (self.tasks, list(address.results_subsets)),
        ):
            if value:
                updates[component] = value
        return updates | self.choose_runs(owner, address) if address.runs else updates

    def choose_runs(self, owner: str, address: Address) -> Updates:
        """Choose the runs that an address names, and the data that the first of them is over. What is not there stands
        in a sentence once the tab is drawn."""
        runs = self.state.runs(owner)
        kinds = [runs[name].data_kind for name in address.runs if name in runs]
        names = [(name, name) for name in address.runs]
        baseline = address.baseline if address.baseline in address.runs else address.runs[0]
        return {
            **({self.data: kinds[0]} if kinds and kinds[0] in controls.DATA_CHOICES else {}),
            self.matrix.runs: gr.update(choices=names, value=list(address.runs)),
            self.matrix.baseline: gr.update(choices=names, value=baseline),
        }

    def pick(self, event: gr.EventData, values: Values) -> Updates:
        """Take a run of the list as A or B, or tick it; a run that is on the other side changes places."""
        data = event._data if isinstance(event._data, dict) else {}
        if "more" in data:
            return {self.rows: int(values[self.rows] or ROWS) + ROWS}
        name = str(data.get("run", ""))
        if "tick" in data:
            return {self.matrix.runs: self.matrix.ticked(values, name, bool(data["tick"])), self.matrix.gone: ""}
        side, other = (self.a, self.b) if data.get("side") == "a" else (self.b, self.a)
        return {side: name, other: values[side]} if values[other] == name else {side: name}


def build(state: AppState, t: T) -> ResultsTab:
    """Put the tab's content into the surrounding Blocks."""
    with gr.Row(elem_classes="jg-controls"):
        data, tasks, protocol, against = _filters(t)
    search = gr.Textbox("", label=t("results_search"), elem_id="results-search", max_length=MAX_SEARCH, visible=False)
    rows = gr.Number(ROWS, visible=False)
    status = pane("results-status")
    table = pane("leaderboard", js_on_load=(views.STATIC / "runs.js").read_text("utf-8"))
    grids = grid_panel.build(state, protocol)
    with gr.Row(equal_height=True, elem_classes="jg-pickrow"):
        a = gr.Dropdown([], label="A", elem_id="pick-a", scale=4, min_width=220)
        b = gr.Dropdown([], label="B", elem_id="pick-b", scale=4, min_width=220)
        compare = gr.Button(t("open_pair"), variant="primary", elem_id="open-pair", scale=2, min_width=140)
    figures = pane("figures")
    matrix = results_matrix.build(state, t)
    report = report_controls.build(t, "results-report")
    of_parts = slices.build(state, t, protocol)
    waterfall.build(state, t, a)
    manage = manage_runs.build(state, t)

    def select(values: Values, pair: bool) -> Selection:
        if not pair:
            return Selection(values[manage.run] or "", "", values[protocol])
        if not (values[a] and values[b]):
            raise InputError("Choose two runs to compare first: A and B above.")
        return Selection(values[a], values[b], values[protocol])

    wandb_panel.build(state, t, "results", select, [manage.run, a, b, protocol], pairs=True)
    hub_panel.build(state, t, manage.run)
    tab = ResultsTab(
        state=state,
        data=data,
        tasks=tasks,
        protocol=protocol,
        against=against,
        search=search,
        rows=rows,
        status=status,
        table=table,
        a=a,
        b=b,
        compare=compare,
        matrix=matrix,
        slices=of_parts,
        grids=grids,
        report=report,
        figures=figures,
        manage=manage,
    )
    tab.connect()
    return tab


def _filters(t: T) -> tuple[gr.Radio, gr.CheckboxGroup, gr.Dropdown, gr.Dropdown]:
    """Which runs are ranked, by which subsets, under which protocol, and against which."""
    with gr.Column(min_width=260):
        data = gr.Radio(
            controls.data_choices(t),
            value="sample",
            label=t("data"),
            info=t("results_data_info"),
            elem_id="results-data",
        )
        tasks = gr.CheckboxGroup(
            controls.subset_choices(), value=list(DEFAULT_TASKS), label=t("results_tasks"), elem_id="results-tasks"
        )
    with gr.Column(min_width=260):
        protocol = gr.Dropdown(
            list(PROTOCOLS),
            value="official",
            label=t("results_protocol"),
            info=t("results_protocol_info"),
            elem_id="protocol",
        )
        against = gr.Dropdown(list(PROTOCOLS), value="official", label=t("results_against"), elem_id="against")
    return data, tasks, protocol, against


def ranked(
    state: AppState,
    owner: str,
    data: str,
    names: Sequence[str],
    protocol: str,
    against: str,
    runs: Mapping[str, StoredRun] | None = None,
) -> tuple[list[Entry], list[str]]:
    """The leaderboard and the subsets it rests on: of those requested, the ones that both protocols score.

    `runs` are those that the owner may see, where they are known.

    Raises:
        InputError: none is left, or no such protocol or data.
    """
    if data not in tuple(controls.DATA_CHOICES):
        raise UnknownNameError("data", str(data)[:50], controls.DATA_CHOICES)
    if not names:
        raise InputError("Choose at least one subset.")
    for name in names:
        if name not in TASKS:
            raise UnknownNameError("task", str(name)[:50], TASKS)
    tasks = [
        name for name in TASKS if name in names and all(name in get_protocol(p).metrics for p in (protocol, against))
    ]
    if not tasks:
        raise InputError(
            "None of the chosen subsets is scored by both {protocol} and {against}. Choose others.",
            protocol=protocol,
            against=against,
        )
    runs = state.runs(owner) if runs is None else runs
    scores = state.scores(owner, protocol, runs, data)
    others = scores if against == protocol else state.scores(owner, against, runs, data)
    return rank(scores, others, tasks), tasks


def listing(
    state: AppState,
    owner: str,
    data: str,
    names: Sequence[str],
    protocol: str,
    against: str,
    stored: Mapping[str, StoredRun] | None = None,
) -> Listed:
    """The same with the ranks of runs on the same items, under both protocols; raises as `ranked` does."""
    entries, tasks = ranked(state, owner, data, names, protocol, against, stored)
    runs = [entry.name for entry in entries]
    found = rankings(runs, state.reader(owner, protocol), tasks, protocol)
    before = found if against == protocol else rankings(runs, state.reader(owner, against), tasks, against)
    return Listed(entries, found, before.places, tasks, protocol, against)


def _left_out(ranked_tasks: Sequence[str], names: Sequence[str], protocol: str, lang: str) -> str:
    missing = [TASKS[name].title for name in TASKS if name in names and name not in ranked_tasks]
    return views.note(word("tasks_left_out", lang).format(listed(missing, lang), protocol)) if missing else ""


def _damaged(state: AppState, owner: str, lang: str) -> str:
    """A sentence on each run that cannot be read; without it a run would be missing silently."""
    damaged = dict(list(state.damaged(owner).items())[:MAX_DAMAGED])
    sentences = (word("damaged_run", lang).format(named(name, say(why, lang), lang)) for name, why in damaged.items())
    return "".join(map(views.note, sentences))
