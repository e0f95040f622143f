"""A page in a real browser, with what ran or was loaded in it that should not have."""

from __future__ import annotations

import contextlib
from urllib.parse import urlsplit

from playwright.sync_api import Browser, BrowserContext, Dialog, Page
from playwright.sync_api import Error as BrowserError

VISITOR = "attackattackattackatta"
STRANGE = """() => {
  const found = [];
  const runs = ['src', 'srcset', 'srcdoc', 'action', 'formaction', 'data'];
  const look = (root) => {
    for (const element of root.querySelectorAll('*')) {
      for (const { name, value } of element.attributes) {
        if (!/jgHit|canary\\.attack\\.test/.test(value)) continue;
        if (/^on/i.test(name) || /^\\s*(javascript|data):/i.test(value) || runs.includes(name))
          found.push(`${element.tagName} ${name}=${value}`.slice(0, 200));
      }
      const text = ['STYLE', 'TEMPLATE'].includes(element.tagName) ? element.textContent ?? '' : '';
      if (element.tagName === 'SCRIPT' && /^\\s*jgHit\\(\\d/.test(element.textContent ?? ''))
        found.push(`SCRIPT ${element.textContent}`.slice(0, 200));
      if (/jgHit\\(\\d|canary\\.attack/.test(text))
        found.push(`${element.tagName} ${element.textContent}`.slice(0, 200));
      if (element.shadowRoot) look(element.shadowRoot);
    }
  };
  look(document);
  return found;
}"""
"""Elements that carry a payload where it could run, as when somebody moves the mouse over them."""


class Watched:
    """A page of a visitor, with what ran or was loaded in it."""

    def __init__(self, browser: Browser, url: str, locale: str = "en-US") -> None:
        # The policy for scripts is set aside: escaping has to hold without it.
        self.context: BrowserContext = browser.new_context(
            locale=locale, viewport={"width": 1300, "height": 900}, bypass_csp=True
        )
        if url.startswith("http"):
            self.context.add_cookies([{"name": "jg_visitor", "value": VISITOR, "url": url}])
        self.hits: list[str] = []
        self.context.expose_function("jgHit", lambda *given: self.hits.append(f"payload {given} ran"))
        self.page: Page = self.context.new_page()
        self.page.set_default_timeout(60_000)
        self.page.on("dialog", self._opened)
        self.page.on("request", lambda request: self._requested(request.url))

    def _opened(self, dialog: Dialog) -> None:
        self.hits.append(f"dialog {dialog.message}")
        dialog.dismiss()

    def _requested(self, url: str) -> None:
        # What a visitor opens may have the name in its path; what counts is the host that is asked.
        if (urlsplit(url).hostname or "").endswith("canary.attack.test"):
            self.hits.append(f"loaded {url}")

    def open(self, url: str) -> None:
        """Go there, and wait for what the page shows first."""
        try:
            self.page.goto(url)
        except BrowserError:  # The page before was still going somewhere.
            self.settle()
            self.page.goto(url)
        with contextlib.suppress(BrowserError):
            self.page.wait_for_selector("#own > button", state="attached", timeout=30_000)
        self.settle()

    def settle(self, milliseconds: int = 400) -> None:
        """Let events run."""
        self.page.wait_for_timeout(milliseconds)

    def found(self, milliseconds: int = 400) -> str:
        """What ran or could run, after some time for events; empty if nothing."""
        self.settle(milliseconds)
        strange = self.page.evaluate(STRANGE)
        seen, self.hits[:] = [*self.hits, *strange], []
        return "; ".join(seen[:3])

    def close(self) -> None:
        """Leave."""
        self.context.close()
