"""Sending runs to Weights & Biases from the page: the controls that tabs share, and who may use whose key.

A key lives for one push: in the browser's box until the button is pressed, then in the one process that sends.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from jglue_app import wandb_sink
from jglue_app.errors import InputError, JglueAppError, NetworkError
from jglue_app.messages import say, word
from jglue_app.settings import Settings
from jglue_app.tasks import TASKS
from jglue_app.ui import views
from jglue_app.ui.controls import T, pane
from jglue_app.ui.jobs import Job
from jglue_app.ui.progress import changes
from jglue_app.ui.state import AppState
from jglue_app.ui.visitor import language, visitor
from jglue_app.wandb_sink import Login, Sent

KIND = "push"
MOST_AT_ONCE = 3
"""Pushes that send at the same time, over all visitors: each is a process of a few hundred MiB."""
MOST_SECONDS = 900.0
"""Longest push of a visitor of a public page."""
MOST_SECONDS_TO_STOP = 30.0
"""How long the page waits for the end of a push that was told to stop; it takes about a second."""
ON_THE_WAY = "Sending "
"""How sentences begin that say nothing after the end."""
Chosen = Callable[..., tuple[str, str, str]]
"""`one` or `pair` and values of a tab's controls → names of the run to push and, for a comparison, of the other, else
an empty name; and the protocol."""
_turns = threading.BoundedSemaphore(MOST_AT_ONCE)


@dataclass(frozen=True, slots=True)
class Panel:
    """The controls; where there is no run yet, `box` is hidden."""

    box: gr.Column
    status: gr.HTML
    follow: Callable[[gr.Request], Iterator[Any]]
    """Handler whose output is `status`: the visitor's last push, until its end."""


def own_place() -> tuple[str, bool]:
    """Where runs go with the key of whoever runs this server, and whether there is such a key.

    What is wrong with an environment that may be set for something else is said where a push is asked for; it keeps
    nobody from the page.
    """
    try:
        server = wandb_sink.base_url()
        return f"{server} · {wandb_sink.target().path}", bool(wandb_sink.own_key(server))
    except InputError as e:
        return str(e), False


def build(
    desk: AppState, t: T, prefix: str, chosen: Chosen, inputs: list[Any], *, pairs: bool = False, visible: bool = True
) -> Panel:
    """Put the controls into the surrounding Blocks.

    Args:
        desk: the server's.
        t: words for the browser.
        prefix: of element ids.
        chosen: which run or pair to push, from `one` or `pair` and the values of `inputs`.
        inputs: controls of the tab.
        pairs: whether there is a pair to choose.
        visible: whether they are there from the start.
    """
    settings = desk.settings
    _, own = own_place()
    try:
        server = f"→ `{wandb_sink.base_url()}`"
    except InputError as e:
        server = str(e)
    with gr.Column(visible=visible, elem_id=f"{prefix}-wandb", elem_classes="jg-wandb") as box:
        gr.Markdown(t("wandb"), elem_classes="jg-section")
        # A key goes to this server, which need not be the one that a visitor thinks of.
        gr.Markdown(server, elem_classes="jg-small")
        what = gr.Radio(
            [(t("wandb_one"), "one"), (t("wandb_pair"), "pair")],
            value="one",
            label=t("wandb_what"),
            visible=pairs,
            elem_id=f"{prefix}-wandb-what",
        )
        with gr.Row(elem_classes="jg-controls"):
            project = gr.Textbox(
                label=t("wandb_project"),
                placeholder=wandb_sink.DEFAULT_PROJECT,
                info=t("wandb_project_info"),
                max_length=130,
                min_width=180,
                elem_id=f"{prefix}-wandb-project",
            )
            entity = gr.Textbox(
                label=t("wandb_entity"),
                info=t("wandb_entity_info"),
                max_length=130,
                min_width=180,
                elem_id=f"{prefix}-wandb-entity",
            )
            key = gr.Textbox(
                label=t("wandb_key"),
                info=t("wandb_key_info_own" if may_lend(settings) and own else "wandb_key_info"),
                type="password",
                max_length=400,
                min_width=180,
                elem_id=f"{prefix}-wandb-key",
            )
        with gr.Row():
            go = gr.Button(t("wandb_go"), elem_id=f"{prefix}-wandb-go", scale=2)
            stop = gr.Button(t("stop"), elem_id=f"{prefix}-wandb-stop", scale=1)
        status = pane(f"{prefix}-wandb-status")

    def send(
        request: gr.Request, to_project: str, to_entity: str, secret: str, *values: Any
    ) -> Iterator[tuple[Any, Any]]:
        """The second value empties the box of the key, whatever comes of it."""
        lang = language(request)
        try:
            run, other, protocol = chosen(*values)
            job = begin(desk, visitor(request), run, other, to_project, to_entity, secret, protocol)
        except JglueAppError as e:
            yield views.failure(e, lang), ""
            return
        yield view(job, lang), ""
        for html in watch(job, lang):
            yield html, gr.skip()

    def follow(request: gr.Request) -> Iterator[Any]:
        job = desk.jobs.latest(visitor(request), KIND)
        yield gr.skip()  # A handler that yields nothing empties its output.
        if job is not None:
            yield from watch(job, language(request))

    def halt(request: gr.Request) -> Iterator[str]:
        lang = language(request)
        job = desk.jobs.latest(visitor(request), KIND)
        if job is None or not job.active:
            yield views.note(word("nothing_runs", lang))
            return
        desk.jobs.stop(job)
        yield view(job, lang)
        # Before its process is gone the run cannot be pushed again.
        job.ended.wait(MOST_SECONDS_TO_STOP)
        yield view(job, lang)

    quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden", "concurrency_limit": None}
    go.click(send, [project, entity, key, what, *inputs], [status, key], **quiet)
    stop.click(halt, None, status, **quiet)
    return Panel(box, status, follow)


def may_lend(settings: Settings) -> bool:
    """Whether a push without a key uses that of the server."""
    return not settings.public or settings.share_wandb_key


def login_for(settings: Settings, project: str, entity: str, key: str) -> Login:
    """Where a visitor's push goes, and with which key.

    With a key of their own they name any project. With the server's key, where the operator lends it to visitors, runs
    go to the operator's project alone.

    Raises:
        InputError: the key is empty and none is lent, or W&B takes no such key or name.
    """
    if key.strip():
        return Login(wandb_sink.target(project, entity, own=not settings.public), wandb_sink.checked_key(key))
    if not may_lend(settings):
        raise InputError("The W&B key is empty. Paste your own: it is used for this push and kept nowhere.")
    if settings.public and (project.strip() or entity.strip()):
        raise InputError(
            "With this server's key runs go to the project that its operator chose: leave project and entity empty, or "
            "paste a key of your own."
        )
    return wandb_sink.log_in(wandb_sink.target(project, entity))


def begin(
    desk: AppState,
    owner: str,
    run: str,
    other: str = "",
    project: str = "",
    entity: str = "",
    key: str = "",
    protocol: str = "official",
) -> Job:
    """Start pushing a run, or two and what joins them; `result` is then a list of `Sent`.

    Raises:
        StoreError: the owner has no such run.
        InputError: nothing was chosen, or as `login_for`.
        BusyError: the owner pushes already.
    """
    if not run:
        raise InputError("Choose a run to send first.")
    a = desk.visible_folder(owner, run)
    b = desk.visible_folder(owner, other) if other else None
    login = login_for(desk.settings, project, entity, key)

    limit = MOST_SECONDS if desk.settings.public else math.inf

    def work(job: Job) -> None:
        began = time.monotonic()

        def enough() -> bool:
            return job.stop.is_set() or time.monotonic() - began > limit

        def say(text: str) -> None:
            job.notices.append(text)
            job.version += 1

        while not _turns.acquire(timeout=0.2):
            if job.stop.is_set():
                return
            if enough():
                raise NetworkError(
                    "Other pushes have kept this server busy too long. Nothing was sent: try again later."
                )
        try:
            job.result = _send(a, b, login, protocol, say, enough)
        except JglueAppError:
            if not job.stop.is_set():
                raise
        finally:
            _turns.release()

    return desk.jobs.start(owner, KIND, work)


def _send(
    a: Path,
    b: Path | None,
    login: Login,
    protocol: str,
    say: Callable[[str], None],
    enough: Callable[[], bool],
) -> list[Sent]:
    if b is None:
        return [wandb_sink.push(a, login, protocol=protocol, say=say, should_stop=enough)]
    return list(wandb_sink.push_comparison(a, b, login, protocol=protocol, say=say, should_stop=enough))


def watch(job: Job, lang: str) -> Iterator[str]:
    """A push's views until it ends."""
    for _ in changes(job):
        yield view(job, lang)
    yield view(job, lang)


def view(job: Job, lang: str) -> str:
    """HTML of how far a push is."""
    if job.state == "failed":
        return views.failure(job.failure, lang) if job.failure else views.sentence("", lang, incident=job.incident)
    if job.stop.is_set() and job.result is None:
        return views.note(word("wandb_stopped" if job.ended.is_set() else "stopping", lang))
    if job.result is None:
        return views.render(
            "status",
            {"text": word("wandb_sending", lang), "going": True, "notes": [say(text, lang) for text in job.notices]},
        )
    sent = [
        {
            "letter": "AB"[at : at + 1] if len(job.result) > 1 else "",
            "name": each.name,
            "path": each.path,
            "url": each.url if each.url.startswith(("https://", "http://")) else "",
            "rows": [
                f"{TASKS[task].title} {rows:,}"
                for name, rows in each.tables.items()
                if (task := name.rsplit("/", 1)[-1]) in TASKS
            ],
        }
        for at, each in enumerate(job.result)
    ]
    notes = [say(text, lang) for text in job.notices if not text.startswith(ON_THE_WAY)]
    return views.render("pushed", {"sent": sent, "notes": notes}, lang)
