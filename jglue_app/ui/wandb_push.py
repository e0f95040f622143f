"""Pushes to Weights & Biases as jobs of the page, and which key a visitor may use.

A key lives for one push: in the browser's box until the button is pressed, then in the one process that sends.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from jglue_app import wandb_sink
from jglue_app.errors import InputError
from jglue_app.messages import of as message_of
from jglue_app.messages import say, word
from jglue_app.settings import Settings
from jglue_app.tasks import TASKS
from jglue_app.ui import views
from jglue_app.ui.jobs import Job
from jglue_app.ui.progress import failed_html
from jglue_app.ui.push_places import PushPlaces
from jglue_app.ui.state import AppState
from jglue_app.wandb_sink import Login, PushResult

KIND = "push"
MAX_PUSHES = 3
"""Pushes that send at the same time, over all visitors: each is a process of a few hundred MiB."""
MAX_SECONDS = 900.0
"""Longest push of a visitor of a public page."""
_places = PushPlaces(MAX_PUSHES, MAX_SECONDS)


class Selection(NamedTuple):
    """What to push."""

    run: str
    """Name of the run; empty for none."""
    other: str = ""
    """Name of the run that it is compared with; empty for none."""
    protocol: str = "official"


def operator_target() -> tuple[str, bool]:
    """Where runs go with the key of whoever runs this server, and whether there is such a key.

    The environment may be set for another program. What is wrong with it is said where a push is requested, and does
    not keep the page from being served.
    """
    try:
        server = wandb_sink.base_url()
        return f"{server} · {wandb_sink.target().path}", bool(wandb_sink.operator_key(server))
    except InputError as e:
        return message_of(e), False


def may_share_key(settings: Settings) -> bool:
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
        return Login(
            wandb_sink.target(project, entity, use_environment=not settings.public), wandb_sink.checked_key(key)
        )
    if not may_share_key(settings):
        raise InputError("The W&B key is empty. Paste your own: it is used for this push and kept nowhere.")
    if settings.public and (project.strip() or entity.strip()):
        raise InputError(
            "With this server's key runs go to the project that its operator chose: leave project and entity empty, or "
            "paste a key of your own."
        )
    return wandb_sink.log_in(wandb_sink.target(project, entity))


def start_push(
    state: AppState, owner: str, selection: Selection, project: str = "", entity: str = "", key: str = ""
) -> Job:
    """Start pushing a run, or two and what joins them; the job's result is then a list of `PushResult`.

    Raises:
        StoreError: the owner has no such run.
        InputError: nothing was chosen, or as `login_for`.
        BusyError: the owner pushes already.
    """
    if not selection.run:
        raise InputError("Choose a run to send first.")
    a = state.visible_folder(owner, selection.run)
    b = state.visible_folder(owner, selection.other) if selection.other else None
    login = login_for(state.settings, project, entity, key)

    def send(job: Job, should_stop: Callable[[], bool]) -> list[PushResult]:
        # Marks that the operator of a public server put on shipped runs are not its visitors'.
        runs_dir = None if state.settings.public else state.settings.runs_dir
        return _push(a, b, login, selection.protocol, runs_dir, _listener(job), should_stop)

    return state.jobs.start(owner, KIND, _places.work(state.settings, send))


def start_offline(state: AppState, owner: str, selection: Selection, project: str = "", entity: str = "") -> Job:
    """Start writing offline copies of a run, or of two and what joins them, on this machine; the job's result is then a
    list of `PushResult`. No key is used.

    Raises:
        StoreError: the owner has no such run.
        InputError: nothing was chosen, this server is public, or W&B takes no such name.
        BusyError: the owner pushes already.
    """
    if state.settings.public:
        raise InputError("A copy would lie on this server, out of your reach. Export the run as .zip instead.")
    if not selection.run:
        raise InputError("Choose a run to send first.")
    names = [selection.run, *([selection.other] if selection.other else [])]
    runs = tuple(state.visible_folder(owner, name) for name in names)
    target = wandb_sink.target(project, entity)

    def write(job: Job, should_stop: Callable[[], bool]) -> list[PushResult]:
        return wandb_sink.write_offline(
            runs,
            target,
            wandb_sink.offline_folder(),
            protocol=selection.protocol,
            compare=len(runs) > 1,
            runs_dir=state.settings.runs_dir,
            on_message=_listener(job),
            should_stop=should_stop,
        )

    return state.jobs.start(owner, KIND, _places.work(state.settings, write))


def _listener(job: Job) -> Callable[[str], None]:
    """Takes the sentences of a push: what it is doing at the moment says nothing after its end."""

    def on_message(text: str) -> None:
        if isinstance(text, wandb_sink.ProgressMessage):
            job.activity = text
        else:
            job.notices.append(text)
        job.version += 1

    return on_message


def _push(
    a: Path,
    b: Path | None,
    login: Login,
    protocol: str,
    runs_dir: Path | None,
    on_message: Callable[[str], None],
    should_stop: Callable[[], bool],
) -> list[PushResult]:
    options: dict[str, Any] = {"protocol": protocol, "runs_dir": runs_dir}
    options |= {"on_message": on_message, "should_stop": should_stop}
    if b is None:
        return [wandb_sink.push(a, login, **options)]
    return list(wandb_sink.push_comparison(a, b, login, **options))


def push_html(job: Job, lang: str) -> str:
    """HTML of a push's progress, or of what it sent."""
    if job.state == "failed":
        return failed_html(job, lang)
    if job.stop.is_set() and job.result is None:
        return views.note(word("wandb_stopped" if job.ended.is_set() else "stopping", lang))
    notes = [say(text, lang) for text in job.notices]
    if job.result is None:
        notes += [say(job.activity, lang)] if job.activity else []
        return views.render("status", {"text": word("wandb_sending", lang), "going": True, "notes": notes})
    letters = "AB" if len(job.result) > 1 else ""
    sent = [_sent(each, letters[at : at + 1]) for at, each in enumerate(job.result)]
    return views.render("wandb_push", {"sent": sent, "notes": notes}, lang)


def _sent(each: PushResult, letter: str) -> dict[str, object]:
    rows = [
        f"{TASKS[task].title} {count:,}"
        for name, count in each.tables.items()
        if (task := name.rsplit("/", 1)[-1]) in TASKS
    ]
    return {
        "letter": letter,
        "name": each.name,
        "path": each.path,
        "url": each.url if each.url.startswith(("https://", "http://")) else "",
        "command": wandb_sink.sync_command(each) if each.offline else "",
        "rows": rows,
    }
