"""What the operator decides: mode, folders, limits. Read from the environment, never from a visitor."""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import platformdirs

from jglue_app import environment
from jglue_app.errors import InputError, UnknownNameError

APP_NAME = "jglue-app"
MODES = ("local", "public")
_PACKAGE = Path(__file__).resolve().parent
ASSETS = next(folder for folder in (_PACKAGE.parent / "assets", _PACKAGE / "assets") if (folder / "prompts").is_dir())
"""Beside the package in a checkout, inside it where it was installed from a wheel."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The operator's choices for one process."""

    public: bool
    """Every visitor is a stranger: only models of the registry, no files of the machine, smaller limits."""
    data_dir: Path | None
    """Local copy of the JGLUE files in the official layout, tried first."""
    data_url: str
    """Address below which the official folders lie, tried last."""
    cache_dir: Path
    """Downloads and converted models."""
    runs_dir: Path
    """Where runs are stored."""
    max_items: int
    """Most items per subset that the page accepts in one run."""
    hub_token: Literal[False] | None = None
    """False keeps the operator's HF_TOKEN from being used for visitors; None uses it."""
    max_seconds: float | None = None
    """Longest that one run of the page may take; None for no limit."""
    share_wandb_key: bool = False
    """Whether visitors of a public page may push runs to the operator's W&B project with the operator's key."""
    max_prompt_tokens: int | None = None
    """Tokens of the longest prompt that a model is given; None for no limit but the model's own."""
    memory_bytes: int | None = None
    """Memory that a model may work in beside its weights; None to have it found from what is free."""
    allowed_hosts: tuple[str, ...] = ()
    """Further names under which the page is reached; see `ui.host_check`."""
    endpoints_file: Path | None = None
    """Where servers of models are described; see `backends.endpoints`. None where there is no place for it."""
    jobs_per_hour: int | None = None
    """Runs, sweeps, answers and pushes that one visitor may start within an hour; None for no limit."""
    address_jobs_per_hour: int | None = None
    """The same for all visitors behind one address that are not signed in."""
    address_jobs: int | None = None
    """How many of theirs may be under way at the same time."""
    abandoned_after_s: float | None = None
    """A job at which nobody has looked for so many seconds gives its place up; None for never."""


def load_settings() -> Settings:
    """The settings in force, from the environment.

    `JGLUE_MODE` (local or public; public by itself when `SPACE_ID` is set), `JGLUE_DATA_DIR`,
    `JGLUE_DATA_URL`, `JGLUE_CACHE_DIR`, `JGLUE_RUNS_DIR`, `JGLUE_SHARE_HF_TOKEN` (1: visitors of a public page may
    use gated models with the operator's token), `JGLUE_SHARE_WANDB_KEY` (1: they may push their runs to the operator's
    W&B project with the operator's key), `JGLUE_MEMORY` (GiB that a model may work in beside its weights),
    `JGLUE_ENDPOINTS` (the file that describes servers of models), `JGLUE_ALLOWED_HOSTS` (names with commas between
    them under which the page is reached, such as `jglue.example.org`, `*.example.org` or `example.org:8080`; `*` for
    any), `JGLUE_TRUSTED_PROXIES` (see `ui.client_address`), `JGLUE_IMPORT_AHEAD` (0: libraries of models are
    imported when the first model is needed). Of a public page: `JGLUE_JOBS_PER_HOUR` (what one
    visitor may start, 60), `JGLUE_ADDRESS_JOBS_PER_HOUR` (all behind one address, 240), `JGLUE_ADDRESS_JOBS` (of those
    at the same time, 8), `JGLUE_ABANDONED_AFTER` (seconds, 120); 0 is no limit.

    Raises:
        UnknownNameError: no such mode.
        InputError: the memory is no number of GiB; a limit is no whole number; there is no folder for caches; an
            allowed host is no name.
    """
    environment.prepare()
    env = os.environ
    mode = env.get("JGLUE_MODE") or ("public" if env.get("SPACE_ID") else "local")
    if mode not in MODES:
        raise UnknownNameError("JGLUE_MODE", mode, MODES)
    public = mode == "public"
    data_dir = env.get("JGLUE_DATA_DIR")
    return Settings(
        public=public,
        data_dir=_data_folder(data_dir) if data_dir else None,
        data_url=env.get("JGLUE_DATA_URL") or "https://raw.githubusercontent.com/yahoojapan/JGLUE/v1.3.0/datasets",
        cache_dir=Path(env.get("JGLUE_CACHE_DIR") or _user_cache()),
        runs_dir=Path(env.get("JGLUE_RUNS_DIR") or "runs"),
        hub_token=False if public and env.get("JGLUE_SHARE_HF_TOKEN") != "1" else None,
        share_wandb_key=env.get("JGLUE_SHARE_WANDB_KEY") == "1",
        max_seconds=600.0 if public else None,
        max_items=50 if public else 20_000,
        max_prompt_tokens=4_096 if public else None,
        memory_bytes=gib("JGLUE_MEMORY", env["JGLUE_MEMORY"]) if env.get("JGLUE_MEMORY") else None,
        allowed_hosts=_hosts(env.get("JGLUE_ALLOWED_HOSTS", "")),
        endpoints_file=_endpoints_file(env.get("JGLUE_ENDPOINTS")),
        jobs_per_hour=_limit("JGLUE_JOBS_PER_HOUR", 60) if public else None,
        address_jobs_per_hour=_limit("JGLUE_ADDRESS_JOBS_PER_HOUR", 240) if public else None,
        address_jobs=_limit("JGLUE_ADDRESS_JOBS", 8) if public else None,
        abandoned_after_s=_limit("JGLUE_ABANDONED_AFTER", 120) if public else None,
    )


def _hosts(text: str) -> tuple[str, ...]:
    hosts = tuple(part.strip().lower() for part in text.split(",") if part.strip())
    for host in hosts:
        if not re.fullmatch(r"\*|(\*\.)?[a-z0-9_.-]+(:[0-9]+)?|[0-9a-f:.]+", host):
            raise InputError(
                "JGLUE_ALLOWED_HOSTS takes host names with commas between them, such as jglue.example.org or "
                "*.example.org, without https:// and paths; not {text!r}.",
                text=host[:100],
            )
    return hosts


def _limit(name: str, usual: int) -> int | None:
    """A limit from the environment, None for none; raises InputError if it is no whole number."""
    text = os.environ.get(name, "").strip()
    if not text:
        return usual
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise InputError("{name} takes a whole number, 0 for no limit; not {text!r}.", name=name, text=text[:50])
    return int(text) or None


def _endpoints_file(name: str | None) -> Path | None:
    if name:
        return _data_folder(name)
    if not (environment.has_home() or os.environ.get("XDG_CONFIG_HOME")):
        return None
    return Path(platformdirs.user_config_dir(APP_NAME)) / "endpoints.toml"


def _user_cache() -> str:
    if not (environment.has_home() or os.environ.get("XDG_CACHE_HOME")):
        raise InputError(
            "This user has no home folder, and none can be made among the temporary files. "
            "Set JGLUE_CACHE_DIR (or HOME) to a folder that can be written to."
        )
    return platformdirs.user_cache_dir(APP_NAME)


def _data_folder(name: str) -> Path:
    try:
        return Path(name).expanduser()
    except RuntimeError:  # `~somebody`, who is unknown here.
        return Path(name)


def gib(name: str, text: str) -> int:
    """Bytes of a number of GiB that somebody has written; raises InputError if it is none."""
    try:
        bytes_ = float(text) * 2**30
    except ValueError:
        bytes_ = 0
    if not 0 < bytes_ < math.inf:
        raise InputError("{name} takes a number of GiB above 0, such as 4 or 0.5; not {text!r}.", name=name, text=text)
    return int(bytes_)
