"""Pushes of a visitor's run to their own account on the Hugging Face Hub, as jobs of the page."""

from __future__ import annotations

from collections.abc import Callable

from jglue_app import hub_sink
from jglue_app.errors import InputError
from jglue_app.hub_sink import Account, HubPush
from jglue_app.messages import word
from jglue_app.ui import views
from jglue_app.ui.jobs import Job
from jglue_app.ui.progress import failed_html
from jglue_app.ui.push_places import PushPlaces
from jglue_app.ui.state import AppState

KIND = "hub_push"
MAX_PUSHES = 3
"""Pushes that send at the same time, over all visitors: each is a process of about 100 MiB."""
MAX_SECONDS = 300.0
"""Longest push of a visitor of a public page."""
_places = PushPlaces(MAX_PUSHES, MAX_SECONDS)


def start_push(state: AppState, owner: str, run: str, account: Account | None, *, public: bool = False) -> Job:
    """Start sending a run; the job's result is then a `HubPush`.

    Args:
        state: the server's.
        owner: whose run.
        run: its name; empty for none.
        account: whose repository it becomes; None if nobody has signed in.
        public: whether everybody may read the repository.

    Raises:
        InputError: nothing was chosen, or nobody has signed in.
        StoreError: the owner has no such run.
        BusyError: work of theirs is going on.
    """
    if account is None:
        raise InputError("Sign in with your account of the Hugging Face Hub first: the link stands above the button.")
    if not run:
        raise InputError("Choose a run to send first.")
    folder = state.visible_folder(owner, run)

    def send(_: Job, should_stop: Callable[[], bool]) -> HubPush:
        return hub_sink.push(folder, account, public=public, should_stop=should_stop)

    return state.jobs.start(owner, KIND, _places.work(state.settings, send))


def push_html(job: Job, lang: str) -> str:
    """HTML of a push's progress, or of what it sent."""
    if job.state == "failed":
        return failed_html(job, lang)
    if job.stop.is_set() and job.result is None:
        return views.note(word("hub_stopped" if job.ended.is_set() else "stopping", lang))
    sent: HubPush | None = job.result
    if sent is None:
        return views.render("status", {"text": word("hub_sending", lang), "going": True})
    return views.render("hub_push", {"sent": sent}, lang)
