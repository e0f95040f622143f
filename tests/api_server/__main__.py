"""`python -m tests.api_server`: the server for demonstrations. Prints its base URL, and its record once it is ended."""

from __future__ import annotations

import argparse
import json
import signal
import threading
from dataclasses import fields
from types import FrameType

from tests.api_server import ApiConfig, ApiServer
from tests.api_server.faults import rate_limit
from tests.api_server.record import as_json


def _parser() -> argparse.ArgumentParser:
    """An option for each field of the configuration that is a text, a number or a flag."""
    parser = argparse.ArgumentParser(prog="python -m tests.api_server", description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--all-requests", action="store_true", help="list every request at the end")
    parser.add_argument("--limited-share", type=float, default=0.0, help="share of requests answered with 429")
    default = ApiConfig()
    for field in fields(ApiConfig):
        value, option = getattr(default, field.name), f"--{field.name.replace('_', '-')}"
        if isinstance(value, bool):
            parser.add_argument(option, action=argparse.BooleanOptionalAction, default=value)
        elif isinstance(value, int | float):
            parser.add_argument(option, type=type(value), default=value)
        elif isinstance(value, str) or value is None:
            parser.add_argument(option, default=value)
        elif field.name == "models":
            parser.add_argument(option, nargs="+", default=value)
    return parser


def main() -> None:
    """Serve until a signal comes."""
    given = vars(_parser().parse_args())
    port, everything, share = (given.pop(name) for name in ("port", "all_requests", "limited_share"))
    given["models"] = tuple(given["models"])
    ended = threading.Event()

    def end(signal_number: int, frame: FrameType | None) -> None:
        ended.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    with ApiServer(ApiConfig(**given), port=port) as server:
        if share:
            server.inject(rate_limit("0.1"), share=share)
        print(server.base_url, flush=True)
        while not ended.wait(0.2):
            pass
    record = server.record()
    if everything:
        record["each"] = [as_json(request) for request in server.requests]
    print(json.dumps(record, ensure_ascii=False, indent=1), flush=True)


if __name__ == "__main__":
    main()
