"""What a server can do, as the handshake has it, and where that is kept."""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from filelock import FileLock
from pydantic import TypeAdapter, ValidationError

from jglue_app.backends.endpoint_settings import ServedModel
from jglue_app.settings import Settings
from jglue_app.whole_files import write_atomically

NO_PART_OF_IDENTITY = ("usage", "deterministic", "stop", "repetition_penalty", "sample")
"""What changes no answer, or is seen now and then of a server whose answers vary. Of the sample the checksum counts."""
INTERFACES = ("chat", "completions")
VERSION = 9
"""Of the handshake: raised when it asks otherwise, so that what is kept is not used any more."""
MAX_AGE = datetime.timedelta(hours=24)
"""How long a handshake holds. After it the server is asked again before the next run."""


@dataclass(frozen=True, slots=True)
class Interface:
    """What one of the two interfaces of a server does with the parameters of a request."""

    limit: str
    """The parameter that bounds new tokens: `max_tokens` or `max_completion_tokens`."""
    temperature: bool
    """Whether it takes temperature 0."""
    seed: bool
    """Whether it takes a seed."""
    deterministic: bool
    """Whether three tries of one prompt, at temperature 0 with three seeds, gave one text."""
    stop: bool
    """Whether it stops at a stop string."""
    top_logprobs: int
    """How many most likely tokens it gives for the first new one; 0 if none."""
    repetition_penalty: bool
    """Whether a repetition penalty changes its answer."""
    usage: bool
    """Whether it counts tokens."""
    sample: str
    """What it answers to a known question, where it is deterministic; else empty. Another model answers otherwise."""
    reasoning: bool = False
    """Whether it thinks although it is told not to."""
    thinking_off: str = ""
    """The value of `reasoning_effort` that it takes for no thinking; empty where that is not its way."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a server can do for one model."""

    models: tuple[str, ...]
    """Names under which the model answers."""
    fingerprints: tuple[str, ...]
    """Values of `system_fingerprint`."""
    chat: Interface | None
    completions: Interface | None
    prompt_logprobs: str
    """How it gives log-probabilities of a prompt: `echo`, `prompt_logprobs`, or empty if it does not."""
    chat_logprobs: bool
    """Whether it gives log-probabilities of a whole chat, the answer's among them (`prompt_logprobs`)."""
    token_ids: bool
    """Whether it takes token ids for a prompt and counts them as they are."""
    applies_template: bool
    """Whether it puts a chat template around what is sent to be completed."""
    tokens_per_character: float
    """Of Japanese text, for estimates."""
    overhead: int
    """Tokens of a chat besides its text, for estimates."""
    context_length: int | None
    """Most tokens of prompt and answer together, as the server's list of models has it; None if it does not say."""

    @property
    def identity(self) -> dict[str, str]:
        """What distinguishes runs: name → value. What is only for estimates is left out."""
        facts = {"model": ", ".join(self.models), "system_fingerprint": ", ".join(self.fingerprints)}
        for name in INTERFACES:
            interface = getattr(self, name)
            if interface is None:
                facts[name] = "none"
                continue
            facts |= {
                f"{name}: {f.name}": str(getattr(interface, f.name))
                for f in dataclasses.fields(interface)
                if f.name not in NO_PART_OF_IDENTITY
            }
            if interface.sample:
                facts[f"{name}: answer"] = hashlib.sha256(interface.sample.encode()).hexdigest()[:16]
        for name in ("prompt_logprobs", "chat_logprobs", "token_ids", "applies_template", "context_length"):
            facts[name] = str(getattr(self, name))
        return facts


Fact = str | int | bool | None
"""What is said of a server: a text, a number, whether it does something, or None where that is not known."""


def plain_facts(identity: Mapping[str, str]) -> dict[str, Fact]:
    """What distinguishes runs of a model on a server (`Capabilities.identity`, where everything is a text), with each
    value as the type of its field: identities are checksums of texts, and people and programs read these."""
    types = {f.name: f.type for f in dataclasses.fields(Capabilities)}
    types |= {f"{name}: {f.name}": f.type for name in INTERFACES for f in dataclasses.fields(Interface)}
    return {name: _typed(text, str(types.get(name, "str"))) for name, text in identity.items()}


def _typed(text: str, kind: str) -> Fact:
    """A text as a value of the type that an annotation names; as it is where it can be none."""
    if "None" in kind and text == "None":
        return None
    if kind == "bool":
        return {"True": True, "False": False}.get(text, text)
    return int(text) if kind.startswith("int") and text.isdecimal() else text


@dataclass(frozen=True, slots=True)
class Handshake:
    """The capabilities of a server at a time."""

    version: int
    date: str
    """ISO 8601, in UTC."""
    address: str
    capabilities: Capabilities

    @property
    def fresh(self) -> bool:
        """Whether it still holds."""
        return self.seconds < MAX_AGE.total_seconds()

    @property
    def seconds(self) -> float:
        """How long ago it was; infinite where that cannot be told."""
        try:
            age = datetime.datetime.now(datetime.UTC) - datetime.datetime.fromisoformat(self.date)
        except (TypeError, ValueError):
            return math.inf
        return abs(age.total_seconds())

    @property
    def identity(self) -> dict[str, str]:
        """What a run's identity has of it."""
        return {"server": self.address, **self.capabilities.identity}


def load(served: ServedModel, settings: Settings) -> Handshake | None:
    """The handshake that is kept of a model, fresh or not; None if there is none that can be used."""
    try:
        table = json.loads(_path(served, settings).read_bytes())
        found: Handshake = TypeAdapter(Handshake).validate_python(table)
    except (OSError, ValueError, ValidationError, RecursionError):
        return None
    return found if found.version == VERSION and found.address == served.endpoint.address else None


def keep(served: ServedModel, settings: Settings, capabilities: Capabilities) -> Handshake:
    """Keep what a handshake has given, in place of an earlier one.

    Of one that differs in nothing but that the server has configurations which were known before, the earlier stays
    with a new date: servers behind one address take turns, and each turn is no change.
    """
    before = load(served, settings)
    if before is not None and _is_same(before.capabilities, capabilities):
        capabilities = before.capabilities
    date = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    handshake = Handshake(VERSION, date, served.endpoint.address, capabilities)
    path = _path(served, settings)
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_name(f".{path.name}.lock")):
        write_atomically(path, json.dumps(dataclasses.asdict(handshake), ensure_ascii=False, indent=1))
    return handshake


def forget(served: ServedModel, settings: Settings) -> None:
    """Drop what is kept of a model, so that its server is asked again."""
    _path(served, settings).unlink(missing_ok=True)


def described(served: ServedModel) -> dict[str, str]:
    """What distinguishes runs of what endpoints.toml says of a model: name → value, of what is set. Of parameters there
    is a checksum, as somebody may have written a secret into them."""
    endpoint, facts = served.endpoint, served.facts
    found = {"tokenizer": facts.tokenizer or "", "context_length (endpoints.toml)": str(facts.context_length or "")}
    for name in ("body", "query", "headers"):
        text = json.dumps(dict(getattr(endpoint, name)), sort_keys=True, default=str)
        found[f"{name} (checksum)"] = hashlib.sha256(text.encode()).hexdigest()[:16] if text != "{}" else ""
    if facts.thinking is not None:
        values = f" {endpoint.thinking_off}, {endpoint.thinking_on}" if facts.thinking == "reasoning_effort" else ""
        found["thinking"] = facts.thinking + values
    return {name: value for name, value in found.items() if value}


def _is_same(old: Capabilities, new: Capabilities) -> bool:
    known = set(new.fingerprints) & set(old.fingerprints) or not (new.fingerprints or old.fingerprints)
    same_models = set(new.models) <= set(old.models)
    of_who = ("model", "system_fingerprint")
    before, after = ({k: v for k, v in of.identity.items() if k not in of_who} for of in (old, new))
    return bool(known) and same_models and before == after


def _path(served: ServedModel, settings: Settings) -> Any:
    endpoint = served.endpoint
    parts = (endpoint.address, served.name, dict(endpoint.query), list(endpoint.interfaces), dict(endpoint.can))
    more = (
        dict(endpoint.body),
        dict(endpoint.headers),
        served.facts.tokenizer,
        served.facts.thinking,
        endpoint.thinking_off,
    )
    name = hashlib.sha256(json.dumps([*parts, *more], sort_keys=True, default=str).encode()).hexdigest()[:32]
    return settings.cache_dir / "endpoints" / f"{name}.json"
