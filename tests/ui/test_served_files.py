"""The folder of files that visitors bring and take away."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from jglue_app.ui.served_files import is_left_behind

OWN = "import os, sys, jglue_app.ui.served_files as f; f.use_own_folder(); print(os.environ[f.VARIABLE], flush=True); "


def start(folder: Path, then: str) -> Path:
    """The folder of a process that ends in some way."""
    clean = {name: value for name, value in os.environ.items() if name != "GRADIO_TEMP_DIR"}
    done = subprocess.run(
        [sys.executable, "-c", OWN + then],
        env=clean | {"TMPDIR": str(folder)},
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    return Path(done.stdout.strip())


def test_it_is_gone_with_its_process_and_that_of_a_killed_one_with_the_next(tmp_path: Path) -> None:
    killed = start(tmp_path, "open(os.environ[f.VARIABLE] + '/x', 'w').close(); os.kill(os.getpid(), 9)")
    assert (killed / "x").exists()
    assert killed.stat().st_mode & 0o077 == 0
    ended = start(tmp_path, f"assert not os.path.exists({str(killed)!r})")
    assert ended.parent == tmp_path and not list(tmp_path.glob("jglue-gradio-*"))


def test_those_of_others_stay(tmp_path: Path) -> None:
    running = tmp_path / f"jglue-gradio-{os.getppid()}-a"
    other, link = tmp_path / "jglue-gradio-x", tmp_path / "jglue-gradio-99999999-b"
    for folder in (running, other):
        folder.mkdir()
    link.symlink_to(other)
    assert not [folder for folder in (running, other, link, tmp_path / "jglue-gradio-1-x") if is_left_behind(folder)]
