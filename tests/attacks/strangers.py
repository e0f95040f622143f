"""What belongs to another visitor: their runs, events, sessions, answers and files."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator
from typing import Any

from tests.attacks.calls import Answer, Program
from tests.attacks.outcome import Outcome
from tests.attacks.world import MODEL, World

KIND = "other visitors"
PRIVATE = "秘密の答え-8c1f"
"""What the victim's model said: nobody else may read it."""


def attack(world: World) -> Iterator[Outcome]:
    """A victim runs a model; a thief knows every id that there is."""
    world.say(PRIVATE)
    with Program(world) as victim, Program(world) as thief:
        run = _run(victim)
        files = re.findall(r'"path":\s*"([^"]+)"', victim.call("export_run", run=run, format="jsonl").text)
        shipped = next(row["run"] for row in _rows(thief.call("runs")) if row["run"].startswith("shipped:"))
        for place, answer in _readings(thief, run, shipped):
            through = "the victim's answers were read" if PRIVATE in answer.text or _acted(answer) else answer.fault
            yield Outcome(KIND, place, through)
        if run in thief.call("runs").text:
            yield Outcome(KIND, "runs", "the victim's run is listed")
        with Program(world) as other:
            # An address with a secret in it may be handed on; a name that can be guessed may not.
            for name in (f"/{run}.jsonl", f"/gradio/{run}.jsonl", f"/jglue-export/{run}.jsonl"):
                answer = other.get(f"/gradio_api/file={world.public.folder}/tmp{name}")
                yield Outcome(KIND, f"file {name}", "the export was read" if PRIVATE in answer.text else "")
            for file in files:
                folder = file.rsplit("/", 2)
                yield Outcome(
                    KIND, "address of an export", "" if len(folder[-2]) >= 16 else "its folder's name can be guessed"
                )
        yield from _same_items(world, run)
        yield from _sessions(world)


def _run(program: Program) -> str:
    answer = program.call(
        "compare_models", a_model=MODEL, b_model="", tasks=["jnli"], limit=3, method="generate", a_format="chat"
    )
    found = re.findall(r'"a":\s*"([0-9a-f]{16})"', answer.text)
    assert found, answer.text[-500:]
    return str(found[-1])


def _rows(answer: Answer) -> list[dict[str, Any]]:
    last = json.loads(answer.text.rpartition("data:")[2])
    return list(last["output"]["data"][0])


def _acted(answer: Answer) -> bool:
    return answer.ok and "deleted " in answer.text


def _readings(thief: Program, run: str, shipped: str) -> Iterator[tuple[str, Answer]]:
    """Every way to read or change a run, with the victim's id."""
    yield "scores", thief.call("scores", a=run)
    yield "scores of B", thief.call("scores", a=shipped, b=run)
    yield "items", thief.call("items", a=run)
    yield "items of B", thief.call("items", a=shipped, b=run)
    yield "item", thief.call("item", run=run, task="jnli", item_id="0")
    yield "disagreements", thief.call("disagreements", run=run, task="jnli")
    yield "explain", thief.call("explain", run=run)
    yield "leaderboard", thief.call("leaderboard")
    yield "delete_run", thief.call("delete_run", run=run, confirm=True)
    yield "push_to_wandb", thief.call("push_to_wandb", run=run, key="0" * 40)
    for format in ("jsonl", "csv", "parquet", "html", "zip", "every-eval-ever", "hub-eval-results", "lm-eval"):
        yield f"export_run {format}", thief.call("export_run", run=run, format=format)
    for name in (
        run,
        run.upper(),
        f" {run}",
        f"{run} ",
        f"./{run}",
        f"{run}/",
        f"{run}/.",
        f"x/../{run}",
        f"shipped:{run}",
    ):
        yield f"scores of {name!r}", thief.call("scores", a=name)
    for query in (f"run_a={run}", f"run_a={run}&run_b={shipped}", f"tab=results&runs={run},{shipped}", f"run={run}"):
        yield f"link ?{query}", thief.get(f"/?{query}")
    ids = [one["id"] for one in thief.config["components"] if one["props"].get("elem_id") == "items"]
    for name in ("item", "mark"):
        asked = {"a": run, "run": run, "task": "jnli", "id": "0", "note": "x", "marks": ["star"]}
        body = {"component_id": ids[0], "fn_name": name, "data": asked, "session_hash": thief.session}
        yield f"item server {name}", thief.request("POST", "/gradio_api/component_server", json=body)
    # Every hidden handler, with the id wherever it takes a text.
    for one in thief.config["dependencies"]:
        if one["backend_fn"] and one["api_visibility"] != "public":
            kinds = {part["id"]: part["type"] for part in thief.config["components"]}
            data = [None if kinds[part] == "state" else run for part in one["inputs"]]
            event = {"run": run, "a": run, "task": "jnli", "id": "0", "index": 0, "value": run}
            yield f"handler {one['api_name']}", thief.handler(one["id"], data, event_data=event)


def _same_items(world: World, run: str) -> Iterator[Outcome]:
    """Who asks the same run for fewer items sees those, and not what the victim asked beyond them."""
    with Program(world) as second:
        second.call(
            "compare_models", a_model=MODEL, b_model="", tasks=["jnli"], limit=1, method="generate", a_format="chat"
        )
        rows = _rows(second.call("items", a=run))
        yield Outcome(KIND, "the same run with fewer items", "" if len(rows) == 1 else f"{len(rows)} items are shown")
        exported = second.call("export_run", run=run, format="jsonl")
        found = re.findall(r'"path":\s*"([^"]+)"', exported.text)
        lines = second.get(f"/gradio_api/file={found[-1]}").text.strip().splitlines() if found else []
        yield Outcome(KIND, "its export", "" if len(lines) == 1 else f"{len(lines)} items are in the file")


def _sessions(world: World) -> Iterator[Outcome]:
    """A thief looks for events and sessions while the victim's call is under way. Their ids are random and are told to
    the victim alone: who has one has been given it."""
    with Program(world, timeout=30) as victim, Program(world, timeout=2) as thief:
        index = victim.function("models")
        joined = victim.http.post(
            "/gradio_api/queue/join", json={"data": [], "fn_index": index, "session_hash": victim.session}
        )
        event = joined.json()["event_id"]
        guesses = (event[:-1] + "0", event[:16], "0" * 32, "*", "%", "", "..", "null", "1")
        for path in (
            *(f"/gradio_api/call/models/{guess}" for guess in guesses),
            *(f"/gradio_api/queue/data?session_hash={guess}" for guess in (*guesses, event, victim.session[:-1])),
            *(
                f"/gradio_api/{path}"
                for path in ("queue/status", "queue/data", "heartbeat/x", "runs", "profiling/traces")
            ),
            *("/gradio_api/deep_link?session_hash=" + guess for guess in guesses),
            *("/monitoring", "/monitoring/summary", "/gradio_api/run-history/records", "/gradio_api/token"),
            f"/gradio_api/stream/{victim.session}/0/1/playlist.m3u8",
            f"/gradio_api/upload_progress?upload_id={event}",
        ):
            answer = thief.get(path)
            known = event in answer.text or victim.session in answer.text
            yield Outcome(KIND, path.replace(event, "EVENT"), "an id of the victim was told" if known else _got(answer))
        yield Outcome(KIND, "the victim's answer still comes", "" if victim.read(victim.session).ok else "it was taken")
    # Cancelling with another's event id but without their session.
    world.say(PRIVATE)
    with Program(world, timeout=60) as victim, Program(world) as thief:
        done: list[Answer] = []
        waiting = threading.Thread(
            target=lambda: done.append(
                victim.call(
                    "compare_models",
                    a_model=MODEL,
                    b_model="",
                    tasks=["jsts"],
                    limit=2,
                    method="generate",
                    a_format="chat",
                )
            )
        )
        waiting.start()
        time.sleep(0.5)
        for kind in ("compare", "full", "try", "push", "sweep"):
            thief.call("stop", kind=kind)
        for index in range(0, 126, 7):
            body = {"session_hash": thief.session, "fn_index": index, "event_id": "x"}
            thief.request("POST", "/gradio_api/cancel", json=body)
        waiting.join()
        yield Outcome(KIND, "stopping everything", "" if done and done[0].ok else "the victim's run ended")


def _got(answer: Answer) -> str:
    return "the victim's event was read" if "gemma-3-270m" in answer.text else answer.fault
