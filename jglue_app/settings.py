"""What the operator decides: mode, folders, limits. Read from the environment, never from a visitor."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import platformdirs

APP_NAME = "jglue-app"
ASSETS = Path(__file__).resolve().parent.parent / "assets"


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


def load_settings() -> Settings:
    """The settings in force, from the environment.

    `JGLUE_MODE` (local or public; public by itself when `SPACE_ID` is set), `JGLUE_DATA_DIR`,
    `JGLUE_DATA_URL`, `JGLUE_CACHE_DIR`, `JGLUE_RUNS_DIR`.
    """
    env = os.environ
    mode = env.get("JGLUE_MODE") or ("public" if env.get("SPACE_ID") else "local")
    public = mode != "local"
    data_dir = env.get("JGLUE_DATA_DIR")
    return Settings(
        public=public,
        data_dir=Path(data_dir).expanduser() if data_dir else None,
        data_url=env.get("JGLUE_DATA_URL") or "https://raw.githubusercontent.com/yahoojapan/JGLUE/v1.3.0/datasets",
        cache_dir=Path(env.get("JGLUE_CACHE_DIR") or platformdirs.user_cache_dir(APP_NAME)),
        runs_dir=Path(env.get("JGLUE_RUNS_DIR") or "runs"),
        max_items=50 if public else 20_000,
    )
