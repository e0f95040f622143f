"""Planted secrets, looked for in everything that the servers wrote, said, started and gave.

The operator's keys are in the environment of each server, as they are on a Space. This runs last: it sends keys through
paths that succeed and paths that fail, and then reads everything that there is.
"""

from __future__ import annotations

import base64
import json
import secrets
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from tests.api_server.faults import Fault, error
from tests.attacks.calls import Program
from tests.attacks.outcome import Outcome
from tests.attacks.world import MODEL, Served, World

KIND = "planted secrets"
MOST = 64 << 20
"""Bytes of a file that are read."""


def attack(world: World) -> Iterator[Outcome]:
    """Send keys everywhere, then look everywhere."""
    visitors = {f"visitor's {name}": value for name, value in _of_visitors().items()}
    watched = _Children(world)
    for server in filter(None, (world.public, world.local)):
        _send(world, server, list(visitors.values()))
    watched.end()
    signs = {**world.secrets, **visitors}
    for name, value in signs.items():
        for server in filter(None, (world.public, world.local)):
            where = _in_files(server.folder, value)
            yield Outcome(KIND, f"{name} in what the {server.mode} server wrote", where)
            yield Outcome(
                KIND, f"{name} in the log of the {server.mode} server", "there" if value in server.log else ""
            )
        own = name.startswith("visitor's")
        told = [asked for asked, answer in world.answers if value in answer and not (own and value in asked)]
        yield Outcome(KIND, f"{name} in answers", f"in the answer to {told[0]}" if told else "")
        yield Outcome(KIND, f"{name} in arguments and environments of children", watched.holders(name, value))
        sent = [one for one in world.models.requests if value in json.dumps(dict(one.headers)) and name != "SHOP_KEY"]
        yield Outcome(KIND, f"{name} in requests to the model server", f"{sent[0].path}" if sent else "")
        listened = [hit for hit in world.listener.hits if value in hit]
        yield Outcome(KIND, f"{name} in requests to the internal service", listened[0] if listened else "")


def _of_visitors() -> dict[str, str]:
    return {
        "W&B key": secrets.token_hex(20),
        "Hub token": f"hf_{secrets.token_hex(17)}",
        "sign-in token": f"hf_oauth_{secrets.token_urlsafe(48)}",
        "API key": f"sk-proj-{secrets.token_urlsafe(36)}",
    }


def _send(world: World, server: Served, keys: list[str]) -> None:
    """Paths that succeed and fail, with the operator's keys behind them and a visitor's keys in every text."""
    world.say("含意")
    with Program(world, server.url, timeout=90) as program:
        chat = {"a_format": "chat", "b_model": "", "tasks": ["jnli"], "limit": 1, "method": "generate"}
        program.call("compare_models", a_model=MODEL, **chat)
        for fault in (
            *(error(401, f"Incorrect API key provided: {world.secrets['SHOP_KEY']}", "invalid_request_error"),),
            *(error(500, f"key {world.secrets['SHOP_KEY'][:12]}", "server_error"), Fault("redirect", location="/x")),
            *(Fault("html", status=403), Fault("shape", body={"echo": world.secrets["SHOP_KEY"]}), Fault("half_json")),
        ):
            world.models.inject(fault)
            program.call("try_prompt", model=MODEL, format="chat")
            program.call("compare_models", a_model=MODEL, **{**chat, "limit": 2})
            world.models.heal()
        run = "shipped:base-0-shot"
        for key in keys:
            program.call("push_to_wandb", run=run, key=key)
            program.call("push_to_wandb", run=run, key=key, project="x" * 300, entity="../..")
            program.call("push_to_wandb", run="none", key=key)
            program.call("push_to_wandb", run=run, compare_with=run, key=f" {key}\n", protocol="none")
            for index in (one["id"] for one in program.config["dependencies"] if "push" in str(one["api_name"])):
                inputs = next(one["inputs"] for one in program.config["dependencies"] if one["id"] == index)
                program.handler(index, [key] * len(inputs))
        for path in ("/", "/config", "/gradio_api/info", "/gradio_api/startup-events", "/health", "/gradio_api/token"):
            program.get(path, headers={"authorization": f"Bearer {keys[1]}", "cookie": f"token={keys[2]}"})


class _Children:
    """Looks at what the servers start, again and again, until it is ended."""

    def __init__(self, world: World) -> None:
        self._world, self._seen = world, {}  # type: ignore[var-annotated]
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._over.wait(0.02):
            for server in filter(None, (self._world.public, self._world.local)):
                for pid in _descendants(server.process.pid):
                    for what in ("cmdline", "environ"):
                        try:
                            raw = Path(f"/proc/{pid}/{what}").read_bytes().decode("utf-8", "replace")
                        except OSError:
                            continue
                        self._seen[pid, what, server.mode] = raw

    def end(self) -> None:
        """Look no more."""
        self._over.set()
        self._thread.join()

    def holders(self, name: str, value: str) -> str:
        """Which process had a secret in its arguments or environment. The key that a visitor gives for W&B is what one
        child is started for: it is in the environment of that one, as its key; the operator's is for local ones."""
        own = name.startswith("visitor's")
        for (pid, what, mode), raw in self._seen.items():
            for entry in raw.split("\0"):
                allowed = what == "environ" and entry.startswith("WANDB_API_KEY=")
                if value in entry and not (allowed and (own or mode == "local")):
                    return f"{what} of process {pid} of the {mode} server"
        return ""


def _descendants(pid: int) -> list[int]:
    found: list[int] = []
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                found += [int(child), *_descendants(int(child))]
    except OSError:
        return found
    return found


def _in_files(folder: Path, value: str) -> str:
    """The file that holds a secret, as it is or as some programs write it."""
    forms = {value, quote(value, safe=""), base64.b64encode(value.encode()).decode(), value[::-1]}
    needles = [form.encode() for form in forms]
    for path in folder.rglob("*"):
        if path.is_symlink() or not path.is_file() or "converted" in path.parts or path.stat().st_size > MOST:
            continue
        content = path.read_bytes()
        if any(needle in content or needle in str(path).encode() for needle in needles):
            return str(path.relative_to(folder))
    return ""
