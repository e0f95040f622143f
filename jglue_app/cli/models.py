"""`models`, `serve` and `make-showcase`: what can be named, the page, and the comparisons it begins with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from jglue_app import environment
from jglue_app.backends.endpoints import BACKEND, refused_sections, served_models
from jglue_app.backends.named_models import named_models
from jglue_app.cli.options import DeviceOption, JsonOption, RunsOption, settings_of
from jglue_app.cli.tables import print_json, print_lines, print_note, print_table
from jglue_app.messages import Message
from jglue_app.results import showcase
from jglue_app.runs.progress import ProgressView
from jglue_app.settings import Settings, load_settings
from jglue_app.types import ModelSpec

if TYPE_CHECKING:
    from jglue_app.backends.openai_api.capabilities import Fact


def models(
    check: Annotated[
        str | None, typer.Option(help="ENDPOINT:MODEL, to ask its server what it can do, and show that.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """The named models and those of endpoints.toml. Any other Hub id, folder or .gguf file can be given as well."""
    settings = load_settings()
    if check is not None:
        _show_server(check, settings, as_json)
        return
    entries, served = list(named_models().values()), served_models(settings)
    for sentence in refused_sections(settings):
        print_note(sentence)
    if as_json:
        print_json([*entries, *({**entry.as_row(), "address": entry.endpoint.address} for entry in served.values())])
        return
    table = Table("id", "family", "weights", "licence", "format", "memory (16 bit)", box=None, pad_edge=False)
    for entry in entries:
        size = f"{entry.parameters / 1000:.1f}B" if entry.parameters >= 1000 else f"{entry.parameters}M"
        gated = " (gated)" if entry.gated else ""
        memory = f"{entry.memory_gb:.1f} GB"
        table.add_row(entry.id + gated, entry.family, size, entry.licence, entry.format, memory)
    print_table(table)
    if served:
        columns = ("id", "address", "price in / out per million tokens", "at once")
        table = Table(*columns, box=None, pad_edge=False)
        for one in served.values():
            price = f"{one.facts.price_in:g} / {one.facts.price_out:g} {one.endpoint.currency}" if one.priced else "–"
            count = max(1, len(one.servers))
            at_once = f"{count} × {one.endpoint.requests_at_once}" if count > 1 else str(one.endpoint.requests_at_once)
            table.add_row(one.id, one.endpoint.address.replace(", ", "\n"), price, at_once)
        print_lines([""])
        print_table(table)


def _show_server(model: str, settings: Settings, as_json: bool) -> None:
    """What the server of a model can do, asked now; of a pool, each of its servers."""
    from jglue_app.backends.openai_api.backend import servers  # The client takes half a second to import.
    from jglue_app.backends.openai_api.capabilities import plain_facts

    with ProgressView() as view:
        found, states = servers(ModelSpec(model, BACKEND), settings, view.say)
    facts = None if found is None else plain_facts(found)
    rows = [state.as_row() for state in states]
    if as_json:
        print_json((facts or {}) | ({"servers": rows} if rows else {}))
    else:
        if rows:
            _show_pool(rows)
        if facts is not None:
            _show_facts(facts)
    if facts is None:
        raise next(error for state in states if (error := state.as_error()) is not None)


def _show_pool(rows: Sequence[Mapping[str, Any]]) -> None:
    """The servers of a pool, one a line."""
    table = Table("server", "state", "seconds", box=None, pad_edge=False)
    for row in rows:
        table.add_row(row["address"], row["detail"] or row["state"], f"{row['seconds']:.2f}" if row["seconds"] else "–")
    print_table(table)
    print_lines([""])


def _show_facts(facts: Mapping[str, Fact]) -> None:
    """What was seen in a handshake, what matters most first."""
    print_lines(
        [f"chats: {'no' if facts.get('chat') == 'none' else 'yes'}", f"answers are ranked: {_ranking(facts)}", ""]
    )
    table = Table("seen in the handshake", "value", box=None, pad_edge=False)
    for name, value in facts.items():
        table.add_row(name, fact_text(value))
    print_table(table)


def fact_text(value: Fact) -> str:
    """What was seen of a server, in words."""
    if value is None:
        return Message("not known")
    if isinstance(value, bool):
        return Message("yes") if value else Message("no")
    return str(value) or "–"


def _ranking(facts: Mapping[str, Fact]) -> str:
    """How the server lets answers be ranked, in chats and in all other formats."""
    exact = bool(facts["chat_logprobs"]), bool(facts["prompt_logprobs"])
    first = (bool(facts.get(f"{kind}: top_logprobs")) for kind in ("chat", "completions"))
    chats, others = (
        "exactly" if whole else "by the first token" if top else "not" for whole, top in zip(exact, first, strict=True)
    )
    return f"{chats} in chats, {others} in other formats"


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.", envvar="GRADIO_SERVER_NAME")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.", min=0, max=65535, envvar="GRADIO_SERVER_PORT")] = 7860,
    device: DeviceOption = "auto",
    runs_dir: RunsOption = None,
    mcp: Annotated[bool, typer.Option("--mcp", help="Also serve the page's actions as MCP tools.")] = False,
) -> None:
    """Open the page."""
    environment.check_page()
    from jglue_app.ui.page import launch  # gradio takes seconds to import

    launch(settings_of(runs_dir), host=host, port=port, device=device, mcp=mcp)


def make_showcase(
    chat_model: Annotated[Path, typer.Option(help="GGUF file of SmolLM2-135M-Instruct.")],
    device: DeviceOption = "auto",
) -> None:
    """Make the comparisons that the page shows on a first visit: runs over all sample items."""
    with ProgressView() as view:
        for event in showcase.regenerate(load_settings(), chat_model, device):
            view.show(event)
    print_lines(str(showcase.run_folder(name)) for name in showcase.run_names())
