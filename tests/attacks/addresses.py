"""Forbidden addresses at every place that takes an address or the name of a model.

The listener is an internal service on the loopback address. An attack is through when it was called, when the server
looked up or connected to a forbidden host, or when an unexpected fault was the answer.
"""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

from jglue_app.backends.endpoint_settings import Endpoint
from jglue_app.backends.endpoints import served_model
from jglue_app.errors import InputError
from jglue_app.settings import Settings, load_settings
from tests.api_server.faults import Fault
from tests.attacks.calls import Answer, Program, texts_of
from tests.attacks.outcome import Outcome
from tests.attacks.world import MODEL, World

KIND = "forbidden addresses"
HOSTS = (
    # This machine, in the notations of numbers that libraries read.
    *("127.0.0.1", "127.1", "127.0.1", "127.255.255.254", "0.0.0.0", "0", "2130706433", "0x7f000001", "0x7f.0.0.1"),
    *("0177.0.0.1", "017700000001", "0x7F.1", "127.0.0.1.", "[::1]", "[::]", "[0:0:0:0:0:0:0:1]", "[::ffff:127.0.0.1]"),
    *("[::ffff:7f00:1]", "[::127.0.0.1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]"),
    # By name.
    *("localhost", "LOCALHOST", "localhost.", "localhost.localdomain", "ip6-localhost"),
    *("127-0-0-1.attack.test", "169-254-169-254.attack.test", "10-0-0-1.attack.test", "rebind.attack.test"),
    # Services of clouds, and private networks.
    *("169.254.169.254", "2852039166", "0xa9fea9fe", "0251.0376.0251.0376", "[::ffff:169.254.169.254]"),
    *("[fd00:ec2::254]", "[fe80::1]", "[fe80::1%25lo]", "metadata.google.internal", "100.100.100.200"),
    *("10.0.0.1", "192.168.0.1", "172.16.0.1", "[fc00::1]"),
    # Digits and dots that become ASCII on the way.
    *("①②⑦.⓪.⓪.①", "１２７.０.０.１", "127。0。0。1", "127.0.0.1", "𝟏𝟐𝟕.𝟎.𝟎.𝟏", "ⓛⓞⓒⓐⓛⓗⓞⓢⓣ"),
    # Names and passwords, and signs that parsers read in different ways.
    *("user@127.0.0.1", "huggingface.co@127.0.0.1", "huggingface.co:80@127.0.0.1", "127.0.0.1%00.huggingface.co"),
    *("127.0.0.1%2f@huggingface.co", "127.0.0.1#@huggingface.co", "127.0.0.1?@huggingface.co"),
    *("127.0.0.1\\@huggingface.co", "127.0.0.1\t", "127.0.0.1 .huggingface.co", "[::1]@huggingface.co"),
)
URLS = (
    *("http:127.0.0.1:{port}/", "http:/127.0.0.1:{port}/", "http:\\\\127.0.0.1:{port}/", "//127.0.0.1:{port}/"),
    *(
        "HTTP://127.0.0.1:{port}/",
        " http://127.0.0.1:{port}/",
        "http://127.0.0.1:{port}/..;/",
        "https://127.0.0.1:{port}",
    ),
    *("file:///etc/passwd", "file://localhost/etc/passwd", "ftp://127.0.0.1:{port}/", "gopher://127.0.0.1:{port}/_GET"),
    *(
        "hf://127.0.0.1:{port}/x",
        "data:text/plain,127.0.0.1",
        "unix:///run/docker.sock",
        "jar:http://127.0.0.1:{port}!/",
    ),
)
ALLOWED = ("huggingface.co", "0.0.0.0")
"""What the server may look up by itself: the Hub, and the address at which it listens."""

Place = Callable[[Program, str], Answer]


def written(port: int) -> list[str]:
    """All addresses, with the port of the listener where one has its place."""
    return [f"http://{host}:{port}/latest/meta-data/" for host in HOSTS] + [url.format(port=port) for url in URLS]


def _places() -> dict[str, Place]:
    """Where an address or the name of a model can be given → how."""

    def endpoint(name: str, parameter: str, **more: object) -> Place:
        return lambda program, address: program.call(name, **{parameter: address}, **more)

    def upload(program: Program, address: str) -> Answer:
        file = {"path": address, "url": address, "orig_name": "x.zip", "meta": {"_type": "gradio.FileData"}}
        return program.handler(program.function("import_run"), [file])

    return {
        "compare_models A": endpoint("compare_models", "a_model", tasks=["jnli"], limit=1),
        "compare_models B": endpoint("compare_models", "b_model", tasks=["jnli"], limit=1, a_model=MODEL),
        "served model": lambda program, address: program.call("try_prompt", model=f"shop:{address}"),
        "endpoint in the name": lambda program, address: program.call("try_prompt", model=f"{address}:tiny"),
        "full_run": endpoint("full_run", "model", tasks=["jnli"]),
        "repeat": endpoint("repeat", "b_model"),
        "show_prompt": endpoint("show_prompt", "model"),
        "try_prompt": endpoint("try_prompt", "model"),
        "sweep_formats": endpoint("sweep_formats", "model", items=1),
        "run id": endpoint("scores", "a"),
        "push project": endpoint("push_to_wandb", "project", run="shipped:x", key="0" * 40),
        "push entity": endpoint("push_to_wandb", "entity", run="shipped:x", key="0" * 40),
        "audit_table": endpoint("audit_table", "table"),
        "uploaded file": upload,
        "/gradio_api/file=": lambda program, address: program.get(f"/gradio_api/file={quote(address, safe=':/@[]')}"),
        "/gradio_api/file/": lambda program, address: program.get(f"/gradio_api/file/{quote(address, safe=':/@[]')}"),
        "/gradio_api/proxy=": lambda program, address: program.get(f"/gradio_api/proxy={quote(address, safe=':/@[]')}"),
        "link of the page": lambda program, address: program.get(f"/?a={quote(address)}&b={quote(address)}&tasks=jnli"),
        "runs of a link": lambda program, address: program.get(f"/?run_a={quote(address)}&tab=compare"),
    }


def attack(world: World) -> Iterator[Outcome]:
    """All addresses at all places of the public server, then what only an operator's file can name."""
    with Program(world) as program:
        for (place, give), address in world.pairs(_places().items(), written(world.listener.port)):
            yield _judged(world, f"{place}: {address}", functools.partial(give, program, address))
        # Every text of every hidden handler is an address at once: those that read one all get it.
        hosts = (f"http://127.0.0.1:{world.listener.port}/", "169-254-169-254.attack.test", "rebind.attack.test/x")
        handlers = [one for one in program.config["dependencies"] if one["backend_fn"]]
        for one, address in world.pairs(handlers, hosts):
            data = [address if kind != "state" else None for kind in texts_of(program, one["id"])]
            yield _judged(
                world,
                f"handler {one['id']} ({one['api_name']}): {address}",
                functools.partial(program.handler, one["id"], data),
                faults=False,
            )
        # A public server is no proxy for addresses on the internet either.
        for address in ("http://example.com/", "https://203.0.113.9/x.zip", "http://93.184.216.34/"):
            for place in ("/gradio_api/file=", "uploaded file", "/gradio_api/proxy="):
                give = _places()[place]
                yield _judged(world, f"{place}: {address}", functools.partial(give, program, address))
        yield from _redirects(world, program)
    yield from _operators(world)


def _judged(world: World, tried: str, give: Callable[[], Answer], *, faults: bool = True) -> Outcome:
    hits, before = len(world.listener.hits), len(world.public.connections)
    answer = give()
    if world.listener.hits[hits:]:
        return Outcome(KIND, tried, f"the internal service was called: {world.listener.hits[hits]}")
    if world.listener.SECRET in answer.text or "root:x:0:0" in answer.text:
        return Outcome(KIND, tried, "what only this machine has was in the answer")
    for line in world.public.connections[before:]:
        where = line.split(" ", 1)[1]
        of_models = f"{world.models.url.rpartition(':')[2]})" in where or where == "127.0.0.1"
        if not of_models and not any(host in where for host in ALLOWED):
            return Outcome(KIND, tried, f"the server went there: {line}")
    return Outcome(KIND, tried, answer.fault if faults else "")


def _redirects(world: World, program: Program) -> Iterator[Outcome]:
    """The model server leads elsewhere."""
    port = world.listener.port
    for to in (
        *(
            f"http://127.0.0.1:{port}/",
            f"http://169.254.169.254:{port}/",
            f"//127.0.0.1:{port}/x",
            f"http://[::1]:{port}/",
        ),
        *(
            f"http://169-254-169-254.attack.test:{port}/",
            "http://metadata.google.internal/",
            f"http://2130706433:{port}/",
        ),
    ):
        world.models.inject(Fault("redirect", location=to))
        yield _judged(
            world,
            f"redirect of the model server: {to}",
            functools.partial(program.call, "try_prompt", model=MODEL, format="chat"),
        )
        world.models.heal()


def _operators(world: World) -> Iterator[Outcome]:
    """A key would leave without encryption, or to whom a name in the address hides: entries of endpoints.toml."""
    settings = load_settings()
    for host in (
        "user@127.0.0.1",
        "example.com:x@127.0.0.1",
        "example.com\\@127.0.0.1",
        "0x7f.1.example",
        "example.com",
    ):
        yield _entry(settings, world, f"http://{host}/v1")
    for host in (
        "１２７.０.０.１",
        "127。0。0。1",
        "2130706433",
        "0x7f000001",
        "①.①.①.①",
        "127.0.0.1.",
        "[::ffff:8.8.8.8]",
    ):
        yield _entry(settings, world, f"http://{host}/v1")
    for url in ("file:///etc/passwd", "//127.0.0.1/v1", "ftp://127.0.0.1/", "http:127.0.0.1", "http://127.0.0.1:0/v1"):
        yield _entry(settings, world, url)


def _entry(settings: Settings, world: World, url: str) -> Outcome:
    with tempfile.TemporaryDirectory(dir=world.folder) as folder:
        file = Path(folder) / "endpoints.toml"
        file.write_text(f'[odd]\nbase_url = """{url.replace(chr(92), chr(92) * 2)}"""\nkey_env = "SHOP_KEY"\n', "utf-8")
        try:
            found: Endpoint = served_model("odd:model", replace(settings, endpoints_file=file)).endpoint
        except InputError:
            return Outcome(KIND, f"endpoints.toml: {url}")
    return Outcome(KIND, f"endpoints.toml: {url}", f"a key would be sent to {found.base_url}")
