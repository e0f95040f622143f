"""Keys in the storage of a browser, after a visitor typed one."""

from __future__ import annotations

import contextlib
import json
import re
import secrets
from collections.abc import Iterator

from playwright.sync_api import Error as BrowserError
from playwright.sync_api import Page

from tests.attacks.outcome import Outcome
from tests.attacks.watched_page import Watched
from tests.attacks.world import Served, World

SECRETS = "planted secrets"


def storage(watched: Watched, world: World, server: Served, run: str) -> Iterator[Outcome]:
    """A visitor's key that was typed and sent is nowhere in the browser afterwards; the operator's never are."""
    key = secrets.token_hex(20)
    for query in (f"run_a={run}", f"tab=results&run_a={run}"):
        watched.open(f"{server.url}/?{query}")
        page = watched.page
        for closed in page.locator("button.label-wrap:visible").all()[:12]:
            with contextlib.suppress(BrowserError):
                closed.click(timeout=1_000)
        boxes = page.locator("input[type=password]:visible")
        for box in boxes.all():
            with contextlib.suppress(BrowserError):
                box.fill(key, timeout=2_000)
                box.press("Tab")
                name = re.compile("W&B")
                page.get_by_role("button", name=name).locator("visible=true").last.click(timeout=2_000)
        watched.settle(1500)
        yield Outcome(
            SECRETS, f"{server.mode}: browser after a key was typed", _stored(page, [key, *world.secrets.values()])
        )
        page.reload()
        watched.settle(1500)
        source = page.content()
        kept = [value for value in (key, *world.secrets.values()) if value in source]
        yield Outcome(SECRETS, f"{server.mode}: page after it was loaded again", "a key is in it" if kept else "")


def _stored(page: Page, keys: list[str]) -> str:
    """Where in a browser's storage a key is; empty if nowhere."""
    places = page.evaluate(
        """async () => ({
          local: JSON.stringify({ ...localStorage }), session: JSON.stringify({ ...sessionStorage }),
          cookies: document.cookie, address: location.href, state: JSON.stringify(history.state),
          databases: JSON.stringify(indexedDB.databases ? await indexedDB.databases() : []),
          caches: JSON.stringify(self.caches ? await caches.keys() : []),
        })"""
    )
    cookies = json.dumps(page.context.cookies())
    everything = {**{name: str(text) for name, text in places.items()}, "all cookies": cookies}
    return next((f"in {name}" for name, text in everything.items() if any(key in text for key in keys)), "")
