"""A small OpenAI-compatible server over real HTTP, with a deterministic language model of its own behind it.

`model` is the language model, `config` what the server does and does not, `answers` the bodies, `faults` what can go
wrong on the way, `connection` how responses are written, `record` what is kept of requests, `server` the rest.
"""

from tests.api_server.config import ApiConfig
from tests.api_server.faults import Fault
from tests.api_server.record import Request
from tests.api_server.server import ApiServer

__all__ = ["ApiConfig", "ApiServer", "Fault", "Request"]
