"""Script payloads through every place that shows text, in a real browser. None may run, and none may load anything."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from playwright.sync_api import Browser, sync_playwright
from playwright.sync_api import Error as BrowserError

from jglue_app.messages.labels import LABELS
from jglue_app.results import marks, run_name
from tests.attacks import browser_storage, script_sources
from tests.attacks.calls import Program
from tests.attacks.outcome import Outcome
from tests.attacks.script_payloads import PAYLOADS
from tests.attacks.watched_page import VISITOR, Watched
from tests.attacks.world import MODEL, Served, World
from tests.ui.conftest import BROWSERS
from tests.ui.driving import tab

KIND = "script payloads"


def attack(world: World) -> Iterator[Outcome]:
    """Everything in Chromium, if there is one."""
    path = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if path is None:
        yield Outcome(KIND, "a browser", "there is none: install chromium, or leave this part out with --no-browser")
        return
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-background-networking"]
        browser = playwright.chromium.launch(executable_path=path, args=arguments)
        yield from _works(browser, world)
        for server in filter(None, (world.public, world.local)):
            yield from _server(browser, world, server)
        browser.close()


def _works(browser: Browser, world: World) -> Iterator[Outcome]:
    """That the watch sees what it is to see: a page that shows payloads as they are is caught."""
    page = world.folder / "naive.html"
    page.write_text(f"<!doctype html><body>{PAYLOADS[1]}{PAYLOADS[21]}<div {PAYLOADS[21][2:]}></div>", "utf-8")
    watched = Watched(browser, "file:")
    watched.page.goto(page.as_uri())
    watched.settle()
    yield Outcome(KIND, "a page without escaping is caught", "" if watched.found() else "the watch does not see it")
    watched.close()


def _server(browser: Browser, world: World, server: Served) -> Iterator[Outcome]:
    payloads = PAYLOADS[:: 6 if world.quick else 1]
    world.say(*PAYLOADS)
    cookie = {"cookie": f"jg_visitor={VISITOR}"}
    with Program(world, server.url, headers=cookie) as program:
        runs = [_run(program, style) for style in ("ja-labels", "en-labels")]
        report = _exported(world, program, runs[0])
        brought = {}
        if server.mode == "local":
            brought["an imported log"] = script_sources.imported(program, world.folder / "log")
            brought["a chat template"] = script_sources.templated(program, world.folder / "model")
            _decorate(server, runs)
    watched = Watched(browser, server.url)
    places = (_items, _tabs, _links, _forms)
    for place in places:
        yield from place(watched, server, runs, payloads)
    for source, run in brought.items():
        yield from _brought(watched, server, source, run)
    yield from browser_storage.storage(watched, world, server, runs[0])
    watched.close()
    if report is not None:
        yield from _report(browser, server, report)


def _run(program: Program, style: str) -> str:
    answer = program.call(
        "compare_models",
        **{"a_model": MODEL, "b_model": "", "tasks": ["jnli"], "limit": len(PAYLOADS), "method": "generate"},
        **{"a_format": "chat", "a_style": style},
    )
    found = re.findall(r'"a":\s*"([0-9a-f]{16})"', answer.text)
    assert found, answer.text[-500:]
    return str(found[-1])


def _exported(world: World, program: Program, run: str) -> Path | None:
    answer = program.call("export_run", run=run, format="html", protocol="official")
    found = re.findall(r'"path":\s*"([^"]+)"', answer.text)
    if not found:
        return None
    target = world.folder / "report.html"
    target.write_bytes(program.http.get(f"/gradio_api/file={found[-1]}").content)
    return target


def _decorate(server: Served, runs: list[str]) -> None:
    """Names, descriptions, notes and manifests with payloads, as another program writes them."""
    first = server.runs / runs[0]
    rows = [json.loads(line) for line in (first / "items.jsonl").read_text("utf-8").splitlines()]
    for at, payload in enumerate(PAYLOADS):
        copy = server.runs / f"copy-{at}"
        shutil.copytree(server.runs / runs[at % 2], copy)
        table = {"name": payload[:100], "description": payload}
        (copy / run_name.FILE).write_text(json.dumps(table), "utf-8")
        with contextlib.suppress(Exception):  # What may not be in a note is refused.
            marks.write(first, ("jnli", str(rows[at % len(rows)]["id"])), marks.item_marks(["star"], payload))
        if at % 3 == 0:
            manifest = json.loads((copy / "manifest.json").read_text("utf-8"))
            manifest["model"] = _filled(manifest.get("model"), payload)
            manifest["machine"] = _filled(manifest.get("machine"), payload)
            manifest["notices"] = [payload]
            manifest["spec"]["model"]["id"] = payload
            (copy / "manifest.json").write_text(json.dumps(manifest), "utf-8")
        if at % 3 == 1:
            (copy / "records.jsonl").write_text(json.dumps({"task": payload, payload: payload}) + "\n", "utf-8")


def _filled(value: object, payload: str) -> object:
    """A table whose texts are a payload."""
    if isinstance(value, dict):
        return {key: _filled(part, payload) for key, part in value.items()}
    return payload if isinstance(value, str) else value


# --- places ----------------------------------------------------------------------------------------------


def _items(watched: Watched, server: Served, runs: list[str], payloads: tuple[str, ...]) -> Iterator[Outcome]:
    """Outputs: the board, the list, every item, the picture to share."""
    where = f"{server.mode}: outputs"
    watched.open(f"{server.url}/?run_a={runs[0]}&run_b={runs[1]}&protocol=flexeval")
    page = watched.page
    page.wait_for_selector("#items .jg-row")
    yield Outcome(KIND, f"{where}, first card and list", watched.found())
    for at in range(len(PAYLOADS)):
        _next_item(watched, at)
        share = page.locator("#item [data-jg-share]:visible")
        if at % 6 == 0 and share.count():
            with contextlib.suppress(BrowserError):
                share.first.click(timeout=3_000)
                watched.settle()
                page.keyboard.press("Escape")
        yield Outcome(KIND, f"{where}, item {at}", watched.found(50) or _shown(watched))
    for payload in payloads[:8]:
        with contextlib.suppress(BrowserError):
            page.locator("#items input[type=search], #items input").first.fill(payload, timeout=5_000)
        yield Outcome(KIND, f"{where}, search {payload}", watched.found())


def _next_item(watched: Watched, number: int) -> None:
    """Open the first item of the list, then one after the other by a key."""
    with contextlib.suppress(BrowserError):
        if number:
            watched.page.keyboard.press("j")
        else:
            watched.page.locator("#items .jg-row").first.click(timeout=5_000)
    watched.settle(150)


def _shown(watched: Watched) -> str:
    """That a payload is on the page at all, as text: else nothing was tried."""
    text = watched.page.locator("#item").inner_text()
    return "" if "jgHit(" in text or "canary.attack.test" in text else f"no payload is shown: {text[:80]}"


def _brought(watched: Watched, server: Served, source: str, run: str) -> Iterator[Outcome]:
    """Prompts and outputs of a run whose texts others wrote, with everything unfolded."""
    watched.open(f"{server.url}/?run_a={run}")
    watched.page.wait_for_selector("#items .jg-row")
    for at in range(min(watched.page.locator("#items .jg-row").count(), len(PAYLOADS))):
        _next_item(watched, at)
        for closed in watched.page.locator("#item details:not([open]) > summary:visible").all():
            with contextlib.suppress(BrowserError):
                closed.click(timeout=2_000)
        yield Outcome(KIND, f"{server.mode}: {source}, item {at}", watched.found(50) or _shown(watched))


def _tabs(watched: Watched, server: Served, runs: list[str], payloads: tuple[str, ...]) -> Iterator[Outcome]:
    """Names, descriptions, notes and manifests: everything that lists runs."""
    for key in ("results", "full", "lab", "audit", "about", "compare"):
        with contextlib.suppress(BrowserError, AssertionError):
            tab(watched.page, LABELS[f"tab_{key}"])
        watched.settle(800)
        for box in watched.page.locator("[role=tabpanel]:visible input[role=listbox], #manage-run input").all()[:4]:
            with contextlib.suppress(BrowserError):
                box.click(timeout=2_000)
                watched.settle(200)
                watched.page.keyboard.press("Escape")
        yield Outcome(KIND, f"{server.mode}: tab {key}", watched.found())
    if server.mode == "local":
        names = [f"copy-{at}" for at in range(0, len(PAYLOADS), max(1, len(PAYLOADS) // len(payloads)))]
        for name in names:
            watched.open(f"{server.url}/?run_a={name}&run_b={runs[0]}")
            yield Outcome(KIND, f"local: a run whose names and manifest are hostile, {name}", watched.found())
        watched.open(f"{server.url}/?tab=results&runs={','.join(names[:6])}")
        watched.settle(1500)
        yield Outcome(KIND, "local: such runs side by side", watched.found())


def _links(watched: Watched, server: Served, runs: list[str], payloads: tuple[str, ...]) -> Iterator[Outcome]:
    """Query strings, and the error sentences about them."""
    for payload in payloads:
        text = quote(payload)
        watched.open(f"{server.url}/?a={text}&b={text}&tasks={text}&data={text}&method={text}&a_style={text}&x={text}")
        yield Outcome(KIND, f"{server.mode}: request in a link, {payload}", watched.found())
    for payload in payloads[:: 2 if len(payloads) > 8 else 1]:
        text = quote(payload)
        watched.open(
            f"{server.url}/?run_a={text}&run_b={text}&item=jnli/{text}&protocol={text}&search={text}&lang={text}"
        )
        yield Outcome(KIND, f"{server.mode}: view in a link, {payload}", watched.found())
        watched.open(f"{server.url}/?tab=results&runs={text},{runs[0]}&baseline={text}&view={text}&__theme={text}")
        yield Outcome(KIND, f"{server.mode}: results in a link, {payload}", watched.found())
        with contextlib.suppress(BrowserError):  # A file that there is not.
            watched.page.goto(f"{server.url}/gradio_api/file={text}")
        yield Outcome(KIND, f"{server.mode}: a file's address, {payload}", watched.found())


def _forms(watched: Watched, server: Served, runs: list[str], payloads: tuple[str, ...]) -> Iterator[Outcome]:
    """Texts that a visitor types or pastes: an audited table, an item of their own, names of models."""
    rows = [json.dumps(payload.replace("|", ""), ensure_ascii=False) for payload in PAYLOADS]
    with_quotes = ["model,JNLI", *(f"{row.replace(chr(92) + chr(34), chr(34) * 2)},30.16" for row in rows)]
    page = watched.page
    watched.open(f"{server.url}/?tab=audit")
    with contextlib.suppress(BrowserError):
        page.locator("#audit-paste textarea").fill("\n".join(with_quotes), timeout=10_000)
        page.click("#audit-look", timeout=10_000)
        watched.settle(3000)
    yield Outcome(KIND, f"{server.mode}: an audited table", watched.found())
    for payload in payloads:
        with contextlib.suppress(BrowserError):
            page.locator("#audit-score input, #audit-score textarea").first.fill(payload, timeout=5_000)
            page.click("#audit-ask", timeout=5_000)
        yield Outcome(KIND, f"{server.mode}: an audited score, {payload}", watched.found())
    watched.open(f"{server.url}/?tab=compare")
    with contextlib.suppress(BrowserError):
        page.click("#own > button", timeout=10_000)
    for payload in payloads:
        with contextlib.suppress(BrowserError):
            field = page.locator("#a-model input").first
            field.fill(payload, timeout=5_000)
            field.press("Enter")
            watched.settle()
        yield Outcome(KIND, f"{server.mode}: the name of a model, {payload}", watched.found())


def _report(browser: Browser, server: Served, report: Path) -> Iterator[Outcome]:
    """The exported report, opened from a file."""
    watched = Watched(browser, "file:", "ja-JP")
    page = watched.page
    page.goto(report.as_uri())
    page.wait_for_selector("#item .jg-item")
    yield Outcome(KIND, f"{server.mode}: static report", watched.found())
    for at in range(len(PAYLOADS)):
        _next_item(watched, at)
        yield Outcome(KIND, f"{server.mode}: static report, item {at}", watched.found(50) or _shown(watched))
    watched.close()
