"""Every action of the page for programs: API endpoints, which are MCP tools too when the page is started with `--mcp`.

They take and give plain values. They may do what the page may do: the same limits, the same visitor's runs. The
guard of the page turns their errors into `gr.Error`.
"""

from __future__ import annotations

import inspect

from gradio.events import api

from jglue_app.ui.endpoints import audit, lab, runs, stored
from jglue_app.ui.endpoints.given import typed
from jglue_app.ui.state import AppState


def build(state: AppState) -> None:
    """Add the endpoints to the surrounding Blocks."""
    for function in (
        *runs.endpoints(state),
        *stored.endpoints(state),
        *audit.endpoints(),
        *lab.endpoints(state),
    ):
        read = function if function.__name__ in runs.READ_AS_FORM else typed(function)
        # What follows a job only waits; a client that reads nothing of it must keep no place from others.
        api(read, concurrency_limit=None if inspect.isgeneratorfunction(function) else 16)
    stored.build_file_endpoints(state)
