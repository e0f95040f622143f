"""What the Compare tab shows of two runs, of an active job or stored: status, origin, scoreboard, items, one item."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.components import Component

from jglue_app.errors import InputError, StoreError, UnknownNameError
from jglue_app.messages import word
from jglue_app.results import showcase
from jglue_app.results.showcase import SHIPPED
from jglue_app.runs.request import RunRequest
from jglue_app.runs.request_text import to_command_line, to_url_query
from jglue_app.scoring.protocols import get_protocol
from jglue_app.ui import views
from jglue_app.ui.address import Address, to_query
from jglue_app.ui.events import Updates
from jglue_app.ui.jobs import Job
from jglue_app.ui.progress import REDRAW_INTERVAL_S, going_html, progress_html
from jglue_app.ui.state import AppState
from jglue_app.ui.views import comparison
from jglue_app.ui.views.comparison import Pair
from jglue_app.ui.views.items import MORE_FILTERS, unknown_filter

KIND = "compare"
"""Of the jobs that the tab starts."""
OWN = "own"
"""The choice among the examples that stands for what the visitor has run or chosen, and the place of
`AppState.current_view` that has it."""
PROTOCOL = "compare protocol"
"""The place of `AppState.current_view` that has the protocol of a page."""
OFFICIAL = "official"
"""The protocol that a page begins with."""


@dataclass(frozen=True, slots=True, eq=False)
class ComparisonPanel:
    """The components, and the values that show something in them."""

    state: AppState
    status: gr.HTML
    pairs: gr.Dropdown
    protocol: gr.Dropdown
    """What the card, the scoreboard, the list and the item are judged by."""
    origin: gr.HTML
    first: gr.HTML
    board: gr.HTML
    items: gr.HTML
    item: gr.HTML

    @property
    def components(self) -> list[Component]:
        """All of them."""
        return [self.status, self.pairs, self.origin, self.first, self.board, self.items, self.item]

    def protocol_of(self, page: str) -> str:
        """The protocol that a page has chosen."""
        return str(self.state.current_view(page, PROTOCOL, OFFICIAL))

    def judge_by(self, page: str, protocol: str) -> Updates:
        """Remember the protocol of a page. What is drawn there from then on is judged by it."""
        self.state.set_current_view(page, PROTOCOL, get_protocol(protocol).name)
        return {self.protocol: protocol}

    def now_shows(self, page: str, view: object) -> None:
        """Remember what a page shows: a job's id, the names of two runs, or the name of an example."""
        self.state.set_current_view(page, KIND, view)
        if not is_example(view):
            self.state.set_current_view(page, OWN, view)

    def examples(self, lang: str, page: str, example: str | None) -> Updates:
        """The choice of an example. Beside one, what the visitor has run or chosen can be chosen again; without one it
        is what is shown."""
        choices = [(word(f"showcase_{pair.name}", lang), pair.name) for pair in showcase.PAIRS]
        if example is None or self.state.current_view(page, OWN) is not None:
            choices.append((word("showcase_own", lang), OWN))
        return {self.pairs: gr.update(choices=choices, value=example or OWN)}

    def drawing(self, job: Job, lang: str, page: str = "", view: Address | None = None) -> Callable[[bool], Updates]:
        """Draws a job for `follow`. Once the page shows another comparison, only the status is drawn.

        Args:
            job: the runs.
            lang: `ja` or `en`.
            page: where they are drawn.
            view: how the item list begins.
        """
        drawing = _JobDrawing(self, job, lang, page, view)

        def draw(last: bool) -> Updates:
            updates = drawing.final() if last else drawing.update()
            if self.state.is_current_view(page, KIND, job.id):
                return updates
            shows_example = is_example(self.state.current_view(page, KIND))
            back = word("run_behind_example" if shows_example else "run_elsewhere", lang)
            return {self.status: updates[self.status] + views.note(back)}

        return draw

    def job_so_far(self, job: Job, lang: str, page: str, view: Address | None = None) -> Updates:
        """What an ended job has to show; of an active one the status, because the next event follows it."""
        if job.active:
            return {self.status: going_html(self.state.jobs, job, lang)}
        return self.drawing(job, lang, page, view)(True)

    def judged_again(self, owner: str, lang: str, pair: Pair, page: str) -> Updates:
        """What is shown of a pair, under the protocol that the page has now. The list asks for its open item again."""
        protocol = self.protocol_of(page)
        return {
            self.first: comparison.first_html(self.state, owner, pair, lang, protocol=protocol),
            self.board: comparison.board_html(self.state, owner, pair, lang, protocol=protocol),
            self.items: comparison.item_list_value(self.state, owner, pair, lang, protocol=protocol),
        }

    def shipped_pair(self, owner: str, lang: str, page: str, name: str = "", view: Address | None = None) -> Updates:
        """The views of a comparison that came with the application, its most instructive item opened."""
        if not showcase.is_available():
            return {
                self.status: "",
                self.pairs: None,
                self.origin: "",
                self.first: views.empty(word("empty_board", lang)),
                self.board: views.empty(word("empty_board", lang)),
                self.items: None,
                self.item: views.empty(word("empty_item", lang)),
            }
        pair = next((pair for pair in showcase.PAIRS if pair.name == name), showcase.PAIRS[0])
        return self.stored_pair(owner, lang, page, *names_of(pair), view)

    def stored_pair(
        self, owner: str, lang: str, page: str, a: str, b: str = "", view: Address | None = None
    ) -> Updates:
        """The views of two stored runs, or one, with the item of the address opened, or the most instructive one."""
        state, protocol, pair = self.state, self.protocol_of(page), Pair(a, b)
        shipped = a.startswith(SHIPPED) and b.startswith(SHIPPED)
        made_by = request_of(state, owner, a, b)
        link = _address_of(pair)
        listed = comparison.item_list_value(
            state, owner, pair, lang, open_first=True, link=link, protocol=protocol, view=view
        )
        opened = listed["open"]
        item = views.empty(word("empty_item", lang))
        if opened:
            names = {"a": a, "b": b}
            item = comparison.item_html(state, owner, names, opened["task"], opened["id"], lang, protocol=protocol)
        made_with = to_command_line(made_by) if made_by and shipped else ""
        return {
            self.status: _not_in_list(listed, view, lang) if view else "",
            **self.examples(lang, page, next((one.name for one in showcase.PAIRS if names_of(one) == (a, b)), None)),
            self.origin: comparison.provenance_html(state, owner, pair, lang, made_with),
            self.first: comparison.first_html(state, owner, pair, lang, protocol=protocol),
            self.board: comparison.board_html(state, owner, pair, lang, protocol=protocol),
            self.items: listed,
            self.item: item,
        }


class _JobDrawing:
    """Draws a job again and again; remembers when it has drawn what takes long."""

    def __init__(self, panel: ComparisonPanel, job: Job, lang: str, page: str, view: Address | None = None) -> None:
        self._panel, self._job, self._lang, self._page, self._view = panel, job, lang, page, view
        self._list_drawn_at = 0.0
        self._bars_drawn = 0
        self._first = True

    def update(self) -> Updates:
        """New values while the job is active."""
        panel, job, lang = self._panel, self._job, self._lang
        updates: Updates = {panel.status: going_html(panel.state.jobs, job, lang)}
        rows = sum(event.done for event in list(job.bars.values()))
        if not (job.runs and rows):
            # What was there before stays until there is something of the run.
            return updates
        panel.state.grant_access(job)
        pair = pair_of(job)
        now = time.monotonic()
        # A long list takes long to draw, and a scoreboard long to test.
        list_due = now - self._list_drawn_at >= max(REDRAW_INTERVAL_S, rows / 800)
        board_due = self._bars_drawn != len(job.bars) or (list_due and rows < 400)
        self._bars_drawn = len(job.bars)
        protocol = panel.protocol_of(self._page)
        if board_due:
            updates[panel.board] = comparison.board_html(panel.state, job.owner, pair, lang, protocol=protocol)
            updates[panel.first] = comparison.first_html(panel.state, job.owner, pair, lang, protocol=protocol)
        if list_due:
            self._list_drawn_at = now
            updates[panel.items] = comparison.item_list_value(
                panel.state, job.owner, pair, lang, link=_link(job), protocol=protocol, view=self._view
            )
            # What a visitor has chosen since then stays.
            self._view = None
        if self._first:
            updates |= self._no_shipped_pair()
        return updates

    def final(self) -> Updates:
        """New values at the job's end."""
        panel, job, lang = self._panel, self._job, self._lang
        if not job.runs:
            return {panel.status: progress_html(job, lang)}
        panel.state.grant_access(job)
        pair = pair_of(job)
        failed = comparison.failed_items(panel.state, job.owner, pair)
        updates: Updates = {panel.status: progress_html(job, lang, failed_items=failed)}
        if not any(data and data.records for data in comparison.load_both(panel.state, job.owner, pair)):
            return updates
        protocol = panel.protocol_of(self._page)
        updates[panel.first] = comparison.first_html(panel.state, job.owner, pair, lang, protocol=protocol)
        updates[panel.board] = comparison.board_html(panel.state, job.owner, pair, lang, protocol=protocol)
        updates[panel.items] = comparison.item_list_value(
            panel.state,
            job.owner,
            pair,
            lang,
            open_first=True,
            fetch=True,
            link=_link(job),
            protocol=protocol,
            view=self._view,
        )
        if self._first:
            updates |= self._no_shipped_pair()
        return {**updates, **panel.examples(lang, self._page, None), panel.origin: ""}

    def _no_shipped_pair(self) -> Updates:
        self._first = False
        panel, lang = self._panel, self._lang
        empty = views.empty(word("empty_item", lang))
        return {**panel.examples(lang, self._page, None), panel.origin: "", panel.item: empty}


def pair_of(job: Job) -> Pair:
    """The runs of a job, as far as it has asked for their items."""
    a, b = job.runs["a"], job.runs.get("b")
    return Pair(a.run, b.run if b else "", a.ids, b.ids if b else None)


def names_of(pair: showcase.Pair) -> tuple[str, str]:
    """The names of the runs of a shipped pair."""
    return SHIPPED + pair.a, SHIPPED + pair.b


def is_example(view: object) -> bool:
    """Whether what a page shows is a pair that came with the application: by its name, or by those of its runs."""
    return any(view in (pair.name, names_of(pair)) for pair in showcase.PAIRS)


def _address_of(pair: Pair) -> str:
    """The query that shows two stored runs; the pair of a first visit needs none."""
    if (pair.a, pair.b) == names_of(showcase.PAIRS[0]):
        return ""
    return to_query(Address(run_a=pair.a, run_b=pair.b))


def _not_in_list(listed: Mapping[str, Any], view: Address, lang: str) -> str:
    """What an address names and the list has not."""
    filters = [name for name, _ in listed["filters"]]
    if view.filter and (unknown := unknown_filter(view.filter, filters)):
        return views.failure(UnknownNameError("filter", unknown, (*filters, *MORE_FILTERS)), lang)
    if view.item and listed["open"] != listed["view"]["open"]:
        error = InputError("This comparison has no item {item}. Choose one from the list.", item="/".join(view.item))
        return views.failure(error, lang)
    return ""


def _link(job: Job) -> str | None:
    return to_url_query(job.request) if isinstance(job.request, RunRequest) else None


def request_of(state: AppState, owner: str, a: str, b: str) -> RunRequest | None:
    """The request that makes stored runs again; None where no single request can."""
    try:
        specs = [state.data(owner, name).spec for name in (a, b) if name]
    except StoreError:
        return None
    if len(specs) == 1:
        return RunRequest.of_spec(specs[0])
    return RunRequest.of_pair(specs[0], specs[1]) if specs else None
