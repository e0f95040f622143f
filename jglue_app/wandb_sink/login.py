"""A W&B project and the key for it, both validated before anything is sent."""

from __future__ import annotations

import configparser
import netrc
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from jglue_app.errors import InputError
from jglue_app.messages import Message
from jglue_app.wandb_sink.paths import project_path, split_project

PUBLIC_HOST = "https://api.wandb.ai"
DEFAULT_PROJECT = "jglue"
_FORBIDDEN = re.compile(r"[/\\#?%:\s\x00-\x1f]")
_ENTITY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
_KEY = re.compile(r"[\w.-]+", re.ASCII)
MIN_KEY_CHARS = 40
"""Characters of a key; on-premises servers add a prefix and a dash."""
NOTHING = {False: Message("Nothing was sent."), True: Message("Nothing was read.")}
"""What an error says beside the reason: `True` where W&B was to be read alone."""
MAX_NAME = 128
"""Characters of the name of a project."""
MAX_QUOTED_CHARS = 140
"""Characters of a name that an error quotes."""


@dataclass(frozen=True, slots=True)
class Target:
    """A project at a W&B server."""

    entity: str
    """User or team; empty for the default one of the key."""
    project: str
    base_url: str = PUBLIC_HOST

    @property
    def path(self) -> str:
        """`entity/project`, or the project alone."""
        return project_path(self.entity, self.project)


@dataclass(frozen=True, slots=True)
class Login:
    """A target and the key for it. Never printed, stored or put into a command line."""

    target: Target
    key: str = field(repr=False)


def target(project: str | None = None, entity: str | None = None, *, use_environment: bool = True) -> Target:
    """A target from names and the environment (`WANDB_PROJECT`, `WANDB_ENTITY`, `WANDB_BASE_URL`).

    Args:
        project: its name, or `entity/project`; None or empty for `WANDB_PROJECT`, else `jglue`.
        entity: user or team; None or empty for `WANDB_ENTITY`, else the default entity of the key.
        use_environment: whether to read names from the environment; False for another person's key.

    Raises:
        InputError: W&B does not accept such a name or URL.
    """
    env = os.environ if use_environment else {}
    name = (project or "").strip() or env.get("WANDB_PROJECT", "").strip() or DEFAULT_PROJECT
    owner = (entity or "").strip()
    if not owner:
        owner, name = split_project(name)
    owner = owner or env.get("WANDB_ENTITY", "").strip()
    if not name or len(name) > MAX_NAME or _FORBIDDEN.search(name):
        raise InputError(
            "W&B takes no project named {project!r}: 1 to {max_name} characters, without spaces and / \\ # ? % :. A "
            "team is named apart, as the entity (--entity), or as ENTITY/PROJECT.",
            project=name[:MAX_QUOTED_CHARS],
            max_name=MAX_NAME,
        )
    if owner and not _ENTITY.fullmatch(owner):
        raise InputError(
            "W&B has no entity named {entity!r}. Name your user or team as in the address of its page.",
            entity=owner[:MAX_QUOTED_CHARS],
        )
    return Target(owner, name, base_url())


def base_url() -> str:
    """The server: `WANDB_BASE_URL`, else the one of `wandb login --host`, else the public one.

    Raises:
        InputError: it is no http(s) address.
    """
    url = os.environ.get("WANDB_BASE_URL") or _settings_file().get("base_url") or PUBLIC_HOST
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and not (parts.username or parts.query)
    except ValueError:
        usable = None
    if not usable:
        # The URL is not quoted: it may contain a password.
        raise InputError(
            "WANDB_BASE_URL takes the address of a W&B server, such as {public_host}, and nothing else.",
            public_host=PUBLIC_HOST,
        )
    return url.rstrip("/")


def _settings_file() -> dict[str, str]:
    """The settings that `wandb login --host` has stored for this user."""
    folder = Path(os.environ.get("WANDB_CONFIG_DIR") or _at_home(".config", "wandb"))
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read(folder / "settings", encoding="utf-8")
    except (configparser.Error, OSError, UnicodeDecodeError):
        return {}
    return dict(parser["default"]) if parser.has_section("default") else {}


def _at_home(*parts: str) -> Path:
    """A path below the home folder; for a user who has none, one that does not exist."""
    try:
        return Path.home().joinpath(*parts)
    except RuntimeError:
        return Path(os.devnull, *parts)


def checked_key(key: str, *, reads: bool = False) -> str:
    """The key without surrounding white space, after a check of its format.

    Args:
        key: as it was given.
        reads: whether it is for reading alone.

    Raises:
        InputError: it is empty, or not in the format of W&B keys. The message does not quote it.
    """
    key = key.strip()
    if not key:
        raise InputError(
            "The W&B key is empty. {nothing} Keys are at https://wandb.ai/authorize.", nothing=NOTHING[reads]
        )
    secret = key.split("-", 1)[-1]
    if not _KEY.fullmatch(key) or (len(secret) < MIN_KEY_CHARS and key.count(".") != 2):
        raise InputError(
            "This is no W&B key: they have {min_length} or more letters, digits and underscores, and "
            "this one has {length} characters. Copy it once more from https://wandb.ai/authorize. "
            "{nothing}",
            nothing=NOTHING[reads],
            min_length=MIN_KEY_CHARS,
            length=len(key),
        )
    return key


def operator_key(server: str) -> str:
    """The key of the user of this process: `WANDB_API_KEY`, else the key that `wandb login` has stored for the server;
    empty if there is none.

    An empty `WANDB_API_KEY` is an error to be reported, not a reason to use another key.
    """
    if "WANDB_API_KEY" in os.environ:
        return os.environ["WANDB_API_KEY"].strip()
    file = Path(os.environ.get("NETRC") or _at_home(".netrc"))
    try:
        entry = netrc.netrc(str(file.expanduser())).authenticators(urlsplit(server).hostname or "")
    except (OSError, RuntimeError, netrc.NetrcParseError, UnicodeDecodeError):
        return ""
    return entry[2] if entry and entry[2] else ""


def log_in(target: Target, *, offline_hint: bool = False, reads: bool = False) -> Login:
    """Log in with the key of the user of this process.

    Args:
        target: where.
        offline_hint: whether the error names the option --offline.
        reads: whether it is for reading alone.

    Raises:
        InputError: there is no key, or it is not in the format of W&B keys.
    """
    key = operator_key(target.base_url)
    if not key:
        raise InputError(
            Message(
                "There is no key for {server}. Set WANDB_API_KEY (keys are at https://wandb.ai/authorize) or run "
                "`wandb login`; an offline copy (`--offline`) needs none. {nothing}",
                nothing=NOTHING[reads],
                server=target.base_url,
            )
            if offline_hint
            else Message(
                "There is no key for {server}. Set WANDB_API_KEY (keys are at https://wandb.ai/authorize) or run "
                "`wandb login`. {nothing}",
                nothing=NOTHING[reads],
                server=target.base_url,
            )
        )
    return Login(target, checked_key(key, reads=reads))
