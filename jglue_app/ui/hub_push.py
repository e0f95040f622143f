"""Pushes of a visitor's run to their own account on the Hugging Face Hub, as jobs of the page."""

from __future__ import annotations

import math
import threading
import time

from jglue_app import hub_sink
from jglue_app.errors import InputError, JglueAppError, NetworkError
from jglue_app.hub_sink import Account, HubPush
from jglue_app.messages import word
from jglue_app.ui import views
from jglue_app.ui.jobs import Job
from jglue_app.ui.progress import failed_html
from jglue_app.ui.state import AppState

KIND = "hub_push"
MAX_PUSHES = 3
"""Pushes that send at the same time, over all visitors: each is a process of about 100 MiB."""
MAX_SECONDS = 300.0
"""Longest push of a visitor of a public page."""
_push_slots = threading.BoundedSemaphore(MAX_PUSHES)


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
    limit = MAX_SECONDS if state.settings.public else math.inf

    def work(job: Job) -> None:
        started = time.monotonic()

        def should_stop() -> bool:
            return job.stop.is_set() or time.monotonic() - started > limit

        while not _push_slots.acquire(timeout=0.2):
            if job.stop.is_set():
                return
            if should_stop():
                raise NetworkError(
                    "Other pushes have kept this server busy too long. Nothing was sent: try again later."
                )
        try:
            job.result = hub_sink.push(folder, account, public=public, should_stop=should_stop)
        except JglueAppError:
            if not job.stop.is_set():
                raise
        finally:
            _push_slots.release()

    return state.jobs.start(owner, KIND, work)


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
