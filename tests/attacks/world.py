"""What is attacked: a public and a local server in processes of their own, the model server behind them, and secrets.

Each server has a home, a folder for temporary files and one for runs of its own; `tests/attacks/inside` writes down
what it connects to. The model on the model server says whatever an attack wants it to.
"""

from __future__ import annotations

import http.server
import itertools
import os
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx

from tests.api_server import ApiConfig, ApiServer
from tests.api_server.model import Generation, LanguageModel
from tests.conftest import USER_CACHE
from tests.ui.conftest import ROOT, free_port

P = TypeVar("P")
T = TypeVar("T")
INSIDE = Path(__file__).with_name("inside")
MODEL = "shop:tiny"
"""The model of the model server, as visitors name it."""


def planted() -> dict[str, str]:
    """Variable → a secret of its usual shape, new with each start."""
    return {
        "HF_TOKEN": f"hf_{secrets.token_hex(17)}",
        "OPENAI_API_KEY": f"sk-proj-{secrets.token_urlsafe(36)}",
        "WANDB_API_KEY": secrets.token_hex(20),
        "SHOP_KEY": f"key-{secrets.token_hex(16)}",
        "OAUTH_CLIENT_SECRET": f"hf_oauth_{secrets.token_hex(24)}",
    }


class Talker(LanguageModel):
    """A model that gives the texts of a list in turn."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: Sequence[str] = ("含意",)
        self.said = 0

    def generate(self, prompt: Sequence[int], max_tokens: int, *args: Any, **named: Any) -> Generation:
        """The next text; where few tokens are asked for, as in a handshake, one token."""
        if max_tokens < 4:
            return Generation(tuple(self.encode("含意")[:1]), "length", "含意")
        text = self.texts[self.said % len(self.texts)]
        self.said += 1
        return Generation(tuple(self.encode(text)[: max_tokens - 1]), "stop", text, True)


class Listener:
    """An internal service: nobody may be made to call it. It writes down who does."""

    SECRET = f"internal-{secrets.token_hex(12)}"

    def __init__(self) -> None:
        self.hits: list[str] = []
        hits, secret = self.hits, self.SECRET.encode()

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                hits.append(f"{self.command} {self.headers.get('host')}{self.path}")
                self.send_response(200)
                self.end_headers()
                self.wfile.write(secret)

            do_POST = do_HEAD = do_GET  # noqa: N815  # Names that the library looks for.

            def log_message(self, format: str, *args: Any) -> None:
                """Nothing is printed."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()


@dataclass
class Served:
    """One running server."""

    url: str
    process: subprocess.Popen[bytes]
    folder: Path
    """Holds all that the server writes: `home`, `tmp`, `runs`, `cache`, `log`."""
    mode: str

    @property
    def runs(self) -> Path:
        """Where it keeps its runs."""
        return self.folder / "runs"

    @property
    def log(self) -> str:
        """What it printed."""
        return (self.folder / "log").read_text("utf-8", "replace")

    @property
    def connections(self) -> list[str]:
        """What it looked up and connected to, in order."""
        path = self.folder / "connections"
        return path.read_text("utf-8", "replace").splitlines() if path.exists() else []

    def alive(self) -> bool:
        """Whether the process is still there."""
        return self.process.poll() is None

    def memory(self) -> int:
        """Bytes of its resident memory at their largest."""
        return self._status("VmHWM")

    def memory_now(self) -> int:
        """Bytes of its resident memory."""
        return self._status("VmRSS")

    def _status(self, name: str) -> int:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(next(line.split()[1] for line in status.splitlines() if line.startswith(name))) * 1024


@dataclass
class World:
    """Everything that attacks need."""

    folder: Path
    secrets: Mapping[str, str]
    listener: Listener
    models: ApiServer
    talker: Talker
    public: Served
    local: Served | None = None
    quick: bool = False
    """Whether each text is tried at one or two places in turn, and not at all of them."""
    answers: list[tuple[str, str]] = field(default_factory=list)
    """(What was asked, answer) of every call, for the search for secrets."""

    def pairs(self, places: Iterable[P], texts: Iterable[T]) -> Iterator[tuple[P, T]]:
        """Every text at every place; if it is to be quick, each at one place in turn, and every place at least once."""
        all_places, all_texts = list(places), list(texts)
        if not self.quick:
            yield from itertools.product(all_places, all_texts)
            return
        for at in range(max(len(all_places), len(all_texts))):
            yield all_places[at % len(all_places)], all_texts[at % len(all_texts)]

    def say(self, *texts: str) -> None:
        """Let the model give these texts in turn from now on."""
        self.talker.texts, self.talker.said = texts, 0


@contextmanager
def world(folder: Path, *, local: bool = True, quick: bool = False) -> Iterator[World]:
    """Start everything in an empty folder, and stop it."""
    keys, talker = planted(), Talker()
    with ExitStack() as stack:
        listener = Listener()
        stack.callback(listener.close)
        config = ApiConfig(key=keys["SHOP_KEY"], completions=False, embeddings=False, top_logprobs="refused")
        models = ApiServer(config)
        stack.callback(models.close)
        models.model = talker
        (folder / "secret.txt").write_text(Listener.SECRET, "utf-8")
        made = World(
            folder, keys, listener, models, talker, stack.enter_context(_served(folder, "public", keys, models))
        )
        made.quick = quick
        if local:
            made.local = stack.enter_context(_served(folder, "local", keys, models))
        yield made


@contextmanager
def _served(folder: Path, mode: str, keys: Mapping[str, str], models: ApiServer) -> Iterator[Served]:
    own = folder / mode
    for name in ("home", "tmp", "runs", "cache"):
        (own / name).mkdir(parents=True)
    converted = USER_CACHE / "converted"
    if converted.is_dir():  # Converted models are expensive.
        (own / "cache" / "converted").symlink_to(converted, target_is_directory=True)
    (own / "endpoints.toml").write_text(
        f'[shop]\nbase_url = "{models.base_url}"\nkey_env = "SHOP_KEY"\nmodels = {{ "tiny" = {{}} }}\n'
        'interfaces = ["chat"]\n[shop.visitors]\ntokens = 900000000\ntokens_per_day = 900000000\n',
        "utf-8",
    )
    port = free_port()
    environment = {
        **{name: os.environ[name] for name in ("PATH", "LANG", "LD_LIBRARY_PATH") if name in os.environ},
        **keys,
        **{"HOME": str(own / "home"), "TMPDIR": str(own / "tmp"), "JGLUE_CACHE_DIR": str(own / "cache")},
        **{"JGLUE_MODE": mode, "JGLUE_ENDPOINTS": str(own / "endpoints.toml"), "PYTHONPATH": str(INSIDE)},
        **{"ATTACK_CONNECTIONS": str(own / "connections"), "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"},
    }
    # One attacker makes thousands of calls here; the limits by the hour would refuse most before they are checked.
    environment |= {"JGLUE_JOBS_PER_HOUR": "0", "JGLUE_ADDRESS_JOBS_PER_HOUR": "0"}
    command = [sys.executable, "-m", "jglue_app", "serve", "--port", str(port), "--runs-dir", str(own / "runs")]
    with (
        (own / "log").open("wb") as log,
        subprocess.Popen(
            command + (["--mcp"] if mode == "local" else []), cwd=ROOT, env=environment, stdout=log, stderr=log
        ) as process,
    ):
        served = Served(f"http://127.0.0.1:{port}", process, own, mode)
        try:
            for _ in range(1200):
                try:
                    httpx.get(served.url, timeout=5, trust_env=False)
                    break
                except httpx.HTTPError:
                    assert process.poll() is None, served.log
                    time.sleep(0.1)
            yield served
        finally:
            process.terminate()
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
