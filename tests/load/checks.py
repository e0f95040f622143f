"""What is tried, each a row of the table."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import signal
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from tests.load.machine import Machine, resident
from tests.load.serving import Served
from tests.load.visitors import RefusedError, Site, Visitor

VIEW_S, STOP_S = 1.0, 2.0
"""Most that a page view and a stop may take."""
ABANDONED_BYTES = 50 * 2**20
"""Most by which the server's memory may grow over the abandoned sessions."""
RUN = {"tasks": ["jnli"], "data": "sample", "method": "generate"}
FORMATS = ("plain", "alpaca", "rinna", "llama2")
LONG = {"tasks": ["jnli", "jcola", "jcommonsenseqa"], "data": "sample", "limit": 50, "method": "generate"}


@dataclass(frozen=True, slots=True)
class Row:
    """One figure."""

    kind: str
    tried: int
    measured: str
    wanted: str
    held: bool
    others: float
    """Processors that others kept busy meanwhile."""


def p95(seconds: Sequence[float]) -> float:
    """The 95th percentile."""
    return statistics.quantiles(seconds, n=20, method="inclusive")[-1] if len(seconds) > 1 else seconds[0]


def timed(kind: str, seconds: Sequence[float], most: float, machine: Machine) -> Row:
    """The row of a time, which may be as many times longer as others have made the machine slower."""
    found, allowed = p95(seconds), most * machine.slower
    wanted = f"p95 ≤ {most:g} s" + (f" (× {machine.slower:.1f} for the load)" if machine.slower > 1.05 else "")
    return Row(kind, len(seconds), f"p95 {found:.2f} s", wanted, found <= allowed, machine.others)


@asynccontextmanager
async def crowd(site: Site, count: int, network: str) -> AsyncIterator[list[Visitor]]:
    """So many visitors, each from an address of their own."""
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(Visitor(site, f"{network}.{at // 250}.{at % 250 + 1}"))
            for at in range(count)
        ]


async def together(works: Sequence[Awaitable[Any]]) -> list[Any]:
    """All of them at once; the first error is raised."""
    return list(await asyncio.gather(*works))


# --- many at once -----------------------------------------------------------------------------------------


async def many_visitors(server: Served, site: Site, count: int) -> list[Row]:
    """So many visitors run something at once, and look at pages and at what they have got."""
    machine = Machine(server.pid)
    views: list[float] = []
    told: list[list[dict[str, Any]]] = [[] for _ in range(count)]
    began = time.monotonic()

    async def visit(at: int, visitor: Visitor) -> dict[str, Any]:
        views.append(await visitor.view())
        wanted = {**RUN, "limit": 1 + at % 5, "a_format": FORMATS[at % 4], "a_shots": at // 4 % 8}
        last: dict[str, Any] = {}
        async for last in visitor.states("compare_models", **wanted):
            told[at].append({**last, "at": time.monotonic()})
        views.append(await visitor.view())
        return last

    async with crowd(site, count, "10.1") as visitors:
        ends = await together([visit(at, visitor) for at, visitor in enumerate(visitors)])
        took = time.monotonic() - began
        strangers = 0
        runs = {at: end["runs"]["a"] for at, end in enumerate(ends)}
        for at, visitor in enumerate(visitors):
            strangers += await _of_others(visitor, runs[at], 1 + at % 5, [r for r in runs.values() if r != runs[at]])
    done = sum(end["state"] == "done" for end in ends)
    rises, most_off = _told_times(told)
    most = max(len(states) and max((s.get("ahead", 0) for s in states), default=0) for states in told)
    return [
        Row(
            f"{count} visitors run at once",
            count,
            f"{done} done in {took:.0f} s",
            f"{count}",
            done == count,
            machine.others,
        ),
        Row("records that cross over", count, str(strangers), "0", strangers == 0, machine.others),
        timed("page view among them", views, VIEW_S, machine),
        Row("wait that is told rises, nobody being new in front", count, str(rises), "0", rises == 0, machine.others),
        Row("longest line; how far off its time was told", most, most_off, "is told", most > 0, machine.others),
    ]


async def _of_others(visitor: Visitor, run: str, asked: int, others: Sequence[str]) -> int:
    """How much a visitor sees that is not theirs."""
    listed = [row["run"] for row in await visitor.call("runs") if not row["run"].startswith("shipped:")]
    items = await visitor.call("items", a=run)
    wrong: int = len(set(listed) - {run}) + abs(len(items) - asked)
    wrong += sum(str(item["a_said"]).strip() != item["item_id"] for item in items)
    for other in others[:2]:
        with contextlib.suppress(RefusedError):
            await visitor.call("items", a=other)
            wrong += 1
    return wrong


def _told_times(told: Sequence[Sequence[dict[str, Any]]]) -> tuple[int, str]:
    """How often a time that was told rose while nobody came in front, and how far off it was in the middle."""
    rises = 0
    off: list[float] = []
    for states in told:
        waiting = [s for s in states if s["state"] == "waiting" and s.get("about_s") is not None]
        turn = next((s["at"] for s in states if s["state"] not in ("waiting", "preparing")), None)
        for before, after in itertools.pairwise(waiting):
            rises += after["ahead"] <= before["ahead"] and after["about_s"] > 1.5 * before["about_s"] + 10
        off += [abs(s["about_s"] - (turn - s["at"])) for s in waiting if turn is not None]
    return rises, f"median {statistics.median(off):.0f} s off" if off else "no time was told"


async def stops(server: Served, site: Site, count: int) -> list[Row]:
    """Visitors stop long runs, among others that wait."""
    machine = Machine(server.pid)
    took: list[float] = []

    async def visit(visitor: Visitor) -> None:
        await visitor.view()
        stopped_at: float | None = None
        async for state in visitor.states("compare_models", **LONG):
            if stopped_at is None and state["state"] in ("running", "waiting"):
                await visitor.call("stop", kind="compare")
                stopped_at = time.monotonic()
        took.append(time.monotonic() - (stopped_at or time.monotonic()))

    async with crowd(site, count, "10.2") as visitors:
        await together([visit(visitor) for visitor in visitors])
    return [timed("stop", took, STOP_S, machine)]


# --- those who leave --------------------------------------------------------------------------------------


async def abandoned(server: Served, site: Site, count: int) -> list[Row]:
    """So many visitors open a page, ask for something and are never heard of again; every tenth starts a long run."""
    machine = Machine(server.pid)

    async def leave(at: int, network: str) -> bool:
        async with Visitor(site, f"{network}.{at // 250}.{at % 250 + 1}") as visitor:
            await visitor.view()
            try:
                await visitor.join("scores", a="shipped:base-0-shot")
                await visitor.join("runs", visitor.session)
                if at % 10 == 0:
                    await visitor.join("compare_models", visitor.session, **LONG)
            except RefusedError:
                return False
        return True

    async def leave_all(number: int, network: str) -> int:
        refused, some = 0, 16
        for start in range(0, number, some):
            works = [leave(at, network) for at in range(start, min(number, start + some))]
            refused += sum(not kept for kept in await together(works))
        return refused

    # What is loaded by the first ones stays, whoever comes after.
    await leave_all(100, "10.3")
    await _settled(server, site)
    before = resident(server.pid)
    refused = await leave_all(count, "10.4")
    await _settled(server, site)
    grown = resident(server.pid) - before
    server.write_memory()
    rows = [
        Row("reads refused to abandoned sessions", count, str(refused), "0", refused == 0, machine.others),
        Row(
            *("memory over abandoned sessions", count, f"{grown / 2**20:+.0f} MiB"),
            *(f"< {ABANDONED_BYTES >> 20} MiB", grown < ABANDONED_BYTES, machine.others),
        ),
    ]
    async with Visitor(site, "10.5.0.1") as visitor:
        began = time.monotonic()
        await visitor.view()
        last = await visitor.call("compare_models", **RUN, limit=1, a_shots=9)
        took, most = time.monotonic() - began, 20.0 * machine.slower
        held = last["state"] == "done" and took <= most
        rows.append(Row("a run after them", 1, f"{last['state']} in {took:.1f} s", "done", held, machine.others))
    return rows


async def _settled(server: Served, site: Site) -> None:
    """Wait until abandoned runs and sessions have been cleaned."""
    await asyncio.sleep(server.abandoned_after_s + 25)


# --- those who mean harm, or have a bad line --------------------------------------------------------------


async def slow_clients(server: Served, site: Site, count: int) -> list[Row]:
    """Clients whose headers or bodies never end, and who never read their streams."""
    machine = Machine(server.pid)
    parts = urlsplit(server.url)
    host = f"Host: {parts.netloc}\r\nX-Forwarded-For: 10.6.0.1\r\n"
    beginnings = [
        f"GET / HTTP/1.1\r\n{host}",
        f"POST /gradio_api/queue/join HTTP/1.1\r\n{host}Content-Type: application/json\r\n"
        "Content-Length: 500\r\n\r\n{",
    ]
    writers = []
    async with AsyncExitStack() as stack:
        for at in range(count):
            if at % 3 == 2:
                visitor = await stack.enter_async_context(Visitor(site, "10.6.0.2"))
                with contextlib.suppress(RefusedError):
                    session = await visitor.join("leaderboard")
                    request = f"GET /gradio_api/queue/data?session_hash={session} HTTP/1.1\r\n{host}\r\n"
                    writers.append(await _written(parts.port or 80, request))
                continue
            writers.append(await _written(parts.port or 80, beginnings[at % 3]))
        visitor = await stack.enter_async_context(Visitor(site, "10.7.0.1"))
        views = []
        for _ in range(10):
            views.append(await visitor.view())
            began = time.monotonic()
            await visitor.call("scores", a="shipped:base-0-shot")
            views.append(time.monotonic() - began)
    for writer in writers:
        writer.close()
    return [timed(f"views and reads beside {count} slow clients", views, VIEW_S, machine)]


async def _written(port: int, text: str) -> asyncio.StreamWriter:
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(text.encode())
    await writer.drain()
    return writer


async def flood(server: Served, site: Site, count: int) -> list[Row]:
    """Somebody sends everything at once from one address; another visitor reads and runs."""
    machine = Machine(server.pid)
    refused = 0

    async def send(visitor: Visitor, at: int) -> None:
        nonlocal refused
        try:
            if at % 4 == 0:
                await visitor.join("compare_models", **LONG)
            else:
                await visitor.join("leaderboard" if at % 2 else "runs")
        except RefusedError:
            refused += 1

    async with AsyncExitStack() as stack:
        flooding = [await stack.enter_async_context(Visitor(site, "10.8.0.1")) for _ in range(count // 8)]
        for visitor in flooding:
            await visitor.view()
        sent = asyncio.gather(*(send(flooding[at % len(flooding)], at) for at in range(count)))
        other = await stack.enter_async_context(Visitor(site, "10.9.0.1"))
        views, reads = [], []
        for _ in range(8):
            views.append(await other.view())
            began = time.monotonic()
            await other.call("scores", a="shipped:base-0-shot")
            reads.append(time.monotonic() - began)
        ahead, end = 0, ""
        async for state in other.states("compare_models", **RUN, limit=1, a_shots=10):
            ahead, end = max(ahead, state.get("ahead", 0)), state["state"]
        await sent
    return [
        timed(f"page view beside a flood of {count} calls", views, VIEW_S, machine),
        timed("read beside the flood", reads, 2 * VIEW_S, machine),
        Row("a run beside it", 1, f"{end}, {ahead} before it", "done", end == "done", machine.others),
    ]


# --- a server that is killed ------------------------------------------------------------------------------


async def restarted(server: Served, site: Site, restart: Callable[[], None], count: int) -> list[Row]:
    """Visitors find their own runs, and nobody else's, after the server was killed and started again."""
    async with crowd(site, count, "10.10") as visitors:

        async def run(at: int, visitor: Visitor) -> str:
            await visitor.view()
            last = await visitor.call("compare_models", **RUN, limit=1 + at % 3, a_shots=at % 8, a_format="rinna")
            return str(last["runs"]["a"])

        made = await together([run(at, visitor) for at, visitor in enumerate(visitors)])
        server.process.send_signal(signal.SIGKILL)
        server.process.wait()
        restart()
        lost = strangers = 0
        for at, visitor in enumerate(visitors):
            await visitor.view()
            listed = {row["run"] for row in await visitor.call("runs") if not row["run"].startswith("shipped:")}
            items = len(await visitor.call("items", a=made[at])) if made[at] in listed else 0
            lost += items != 1 + at % 3
            strangers += len(listed - {made[at]})
    return [
        Row("own runs after kill -9 and a restart: lost", count, str(lost), "0", lost == 0, 0.0),
        Row("those of others that are seen then", count, str(strangers), "0", strangers == 0, 0.0),
    ]
