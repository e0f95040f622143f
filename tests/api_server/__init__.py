"""A small OpenAI-compatible server over real HTTP, with a deterministic language model of its own behind it.

`model` is the language model, `config` what the server does and does not, `answers` the bodies, `faults` what can go
wrong on the way, `server` the connections and the record.
"""

from tests.api_server.config import ApiConfig
from tests.api_server.faults import Fault
from tests.api_server.server import ApiServer, Request

__all__ = ["ApiConfig", "ApiServer", "Fault", "Request"]
