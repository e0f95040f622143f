"""The folder of files that visitors bring and take away: this process's own, and gone with it.

Gradio's has one name for all users and processes of a machine, and what was uploaded before a server was killed stays.
"""

from __future__ import annotations

import atexit
import os
import re
import shutil
import tempfile
from pathlib import Path

import psutil

VARIABLE = "GRADIO_TEMP_DIR"
_NAME = re.compile(r"jglue-gradio-(\d+)-.+")


def use_own_folder() -> None:
    """Have Gradio keep its files in a folder that only this user can open, unless the operator has chosen one; remove
    it at the end, and now those of processes that were killed."""
    if os.environ.get(VARIABLE):
        return
    temporary = Path(tempfile.gettempdir())
    for folder in temporary.glob("jglue-gradio-*"):
        if is_left_behind(folder):
            shutil.rmtree(folder, ignore_errors=True)
    own = tempfile.mkdtemp(prefix=f"jglue-gradio-{os.getpid()}-")
    os.environ[VARIABLE] = own
    atexit.register(shutil.rmtree, own, ignore_errors=True)


def is_left_behind(folder: Path) -> bool:
    """Whether a folder is one of this user whose process has ended. A container that starts again has the same
    processes, so a folder of this one is from before too."""
    match = _NAME.fullmatch(folder.name)
    try:
        is_own = folder.lstat().st_uid == os.getuid() if hasattr(os, "getuid") else True
    except OSError:
        return False
    if match is None or not is_own or folder.is_symlink():
        return False
    process = int(match[1])
    return process == os.getpid() or not psutil.pid_exists(process)
