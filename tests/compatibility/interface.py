"""How a program or a person reaches the application, and what comes back as plain JSON.

Nothing here knows how the package is built inside: the command line is called as a shell calls it, the page is asked
over HTTP, runs are opened with `jglue_app.open_run`. What W&B is sent is taken from where it is put together, since
sending it takes a server.
"""

from __future__ import annotations

import contextlib
import html
import importlib
import io
import json
import re
import shlex
import sys
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx
import typer

import jglue_app
from jglue_app import errors
from jglue_app.cli import app, main
from jglue_app.errors import JglueAppError
from jglue_app.wandb_sink import Standings
from jglue_app.wandb_sink.comparison_payload import comparison_payload
from jglue_app.wandb_sink.payload import Payload
from jglue_app.wandb_sink.run_payload import run_payload
from tests.ui.conftest import serve

Json = dict[str, Any]


# --- the command line -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CommandResult:
    """Exit code and output of a command."""

    code: int
    out: str
    err: str


def call(*arguments: str) -> CommandResult:
    """`python -m jglue_app ARGUMENTS`, in this process."""
    out, err = io.BytesIO(), io.BytesIO()
    texts = [io.TextIOWrapper(stream, "utf-8", write_through=True) for stream in (out, err)]
    code: Any = 0
    before = sys.argv
    sys.argv = ["python -m jglue_app", *arguments]
    try:
        with contextlib.redirect_stdout(texts[0]), contextlib.redirect_stderr(texts[1]):
            main()
    except SystemExit as e:
        code = e.code or 0
    finally:
        sys.argv = before
    return CommandResult(int(code), *(stream.getvalue().decode("utf-8") for stream in (out, err)))


def options() -> Json:
    """Command → its options (name → `value` or `flag`) and the number of its positional arguments."""
    return dict(_commands(typer.main.get_command(app), ""))


def _commands(command: Any, name: str) -> Iterator[tuple[str, Json]]:
    options: dict[str, str] = {}
    for parameter in command.params:
        if parameter.param_type_name == "option":
            kind = "flag" if parameter.is_flag else "value" if parameter.nargs == 1 else "values"
            options |= dict.fromkeys((*parameter.opts, *parameter.secondary_opts), kind)
    arguments = sum(parameter.param_type_name == "argument" for parameter in command.params)
    yield name, {"options": options, "arguments": arguments}
    for child, of in sorted(getattr(command, "commands", {}).items()):
        yield from _commands(of, f"{name} {child}".strip())


def exit_codes() -> dict[str, int]:
    """Name of every kind of error → exit code."""
    return {
        name: kind.exit_code
        for name, kind in sorted(vars(errors).items())
        if isinstance(kind, type) and issubclass(kind, JglueAppError)
    }


def specs_of(command: str, runs_dir: str) -> list[Json]:
    """The runs that a printed command makes below a new folder: their names, and their specs without the version of
    the application."""
    program, *arguments = shlex.split(command)
    assert (program, *arguments[:2]) == ("python", "-m", "jglue_app"), command
    result = call(*arguments[2:], "--runs-dir", runs_dir)
    assert result.code in (0, 6), result.err
    specs = []
    for manifest in sorted(Path(runs_dir).glob("*/manifest.json")):
        spec = json.loads(manifest.read_text("utf-8"))["spec"]
        del spec["code_version"]
        specs.append({"id": manifest.parent.name, "spec": spec})
    return specs


def launch_schema() -> Json:
    """What `python -m jglue_app.launch --schema` prints."""
    out = io.StringIO()
    before = sys.argv
    sys.argv = ["python -m jglue_app.launch", "--schema"]
    try:
        with contextlib.redirect_stdout(out):
            importlib.import_module("jglue_app.launch.__main__").main()
    finally:
        sys.argv = before
    schema: Json = json.loads(out.getvalue())
    return schema


# --- W&B ------------------------------------------------------------------------------------------------


def wandb_run(run: Path, protocol: str) -> Json:
    """What W&B is sent of a run."""
    manifest = json.loads((run / "manifest.json").read_text("utf-8"))
    return _as_json(run_payload(jglue_app.open_run(run).data(), manifest, protocol))


def wandb_comparison(a: Path, b: Path, protocol: str) -> Json:
    """What W&B is sent of two runs side by side."""
    left, right = (jglue_app.open_run(run).data() for run in (a, b))
    return _as_json(comparison_payload(left, right, protocol, {}))


def _as_json(payload: Payload) -> Json:
    plain: Json = json.loads(json.dumps(asdict(payload)))
    return plain


def wandb_ranking(payloads: list[Json], protocol: str, tasks: list[str]) -> list[Json]:
    """The ranking of W&B runs, given as what was sent of them."""
    runs = [
        {"id": one["id"], "name": one["name"], "data_kind": one["config"]["data_kind"], "summary": one["summary"]}
        for one in payloads
    ]
    entries = Standings(tuple(runs), 0).ranked(protocol, "official", "sample", tasks)
    return [json.loads(json.dumps(asdict(entry))) for entry in entries]


# --- the page -------------------------------------------------------------------------------------------


class Page:
    """The page, served over HTTP from this process."""

    def __init__(self, address: str) -> None:
        self._http = httpx.Client(base_url=address, timeout=60, headers={"accept-language": "en"})
        self.config: Json = self._http.get("/config").json()
        self.info: Json = self._http.get("/gradio_api/info").json()

    def endpoints(self) -> Json:
        """Endpoint → its parameters in order, each with its type and default."""
        return {
            name: [
                {
                    "name": one["parameter_name"],
                    "type": one["python_type"]["type"],
                    "default": one["parameter_default"] if one["parameter_has_default"] else "(none)",
                }
                for one in endpoint["parameters"]
            ]
            for name, endpoint in self.info["named_endpoints"].items()
        }

    def predict(self, name: str, given: Json) -> Any:
        """What an endpoint answers, of those that answer once."""
        (dependency,) = [one for one in self.config["dependencies"] if one["api_name"] == name]
        parameters = self.info["named_endpoints"][f"/{name}"]["parameters"]
        unknown = set(given) - {one["parameter_name"] for one in parameters}
        assert not unknown, unknown
        values = [given.get(one["parameter_name"], one.get("parameter_default")) for one in parameters]
        (value,) = self._submit(dependency["id"], values)
        return value

    def open_link(self, query: str) -> Json:
        """What a page shows that is opened by a link: `controls` (element → value), `command` and `link`."""
        ids = {one["id"]: name for one in self.config["components"] if (name := one.get("props", {}).get("elem_id"))}
        (dependency,) = [
            one
            for one in self.config["dependencies"]
            if "load" in {event for _, event in one["targets"]}
            and "repeat" in {ids.get(output) for output in one["outputs"]}
        ]
        values = self._submit(dependency["id"], [], query)
        by_name = {ids[id_]: value for id_, value in zip(dependency["outputs"], values, strict=True) if id_ in ids}
        repeat = str(by_name["repeat"])
        command, link = (
            re.search(pattern, repeat, re.DOTALL) for pattern in (r"<pre[^>]*>(.*?)</pre>", r'href="\?([^"]*)"')
        )
        controls = {name: value for name, value in by_name.items() if _is_control(name)}
        return {
            "controls": controls,
            "command": html.unescape(command.group(1)) if command else None,
            "link": html.unescape(link.group(1)) if link else None,
        }

    def _submit(self, number: int, values: list[Any], query: str = "") -> list[Any]:
        """Ask as a browser asks: put it into the queue, then read what comes."""
        session = uuid.uuid4().hex
        body = {"data": values, "fn_index": number, "session_hash": session, "event_data": None}
        self._http.post(f"/gradio_api/queue/join?{query}", json=body).raise_for_status()
        with self._http.stream("GET", f"/gradio_api/queue/data?session_hash={session}") as stream:
            for line in stream.iter_lines():
                message = json.loads(line.removeprefix("data:")) if line.startswith("data:") else {}
                if message.get("msg") == "process_completed":
                    assert message["success"], message
                    data: list[Any] = message["output"]["data"]
                    return data
        raise AssertionError("the stream ended without an answer")

    def close(self) -> None:
        self._http.close()


def _is_control(name: str) -> bool:
    return name in ("tasks", "data", "limit", "method", "use-b") or name.startswith(("a-", "b-"))


@contextlib.contextmanager
def served(runs_dir: Path) -> Iterator[Page]:
    """The page over a folder of runs, in local mode."""
    with serve(runs_dir) as address:
        page = Page(address)
        try:
            yield page
        finally:
            page.close()
