"""Opens model folders one by one, in all the ways that the application opens one.

    python -m tests.attacks.open_child FOLDER…

A line of JSON for each: `through` is empty where every way was refused in a sentence.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable

from jglue_app.backends import open_backend, open_tokenizer
from jglue_app.backends.embedding import open_embedder, with_source
from jglue_app.errors import JglueAppError
from jglue_app.settings import load_settings
from jglue_app.types import ModelSpec


def main() -> None:
    """Open each."""
    for name in sys.argv[1:]:
        print(json.dumps({"through": _through(name)}), flush=True)


def _through(name: str) -> str:
    settings = load_settings()
    ways: dict[str, Callable[[], object]] = {
        "model": lambda: open_backend(ModelSpec(name), settings, device="cpu"),
        "tokenizer": lambda: open_tokenizer(ModelSpec(name), settings, lambda _: None),
        "embedder": lambda: open_embedder(with_source(ModelSpec(name), None, settings), settings, device="cpu"),
    }
    for way, open_it in ways.items():
        try:
            open_it()
        except JglueAppError:
            continue
        except BaseException as e:
            return f"{way}: {type(e).__name__}: {e}"[:300]
        return f"opened as a {way}"
    return ""


if __name__ == "__main__":
    main()
