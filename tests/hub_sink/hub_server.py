"""A server that speaks what the Hub's client needs to make a dataset repository and to put files into it.

Files that its owner's `.gitattributes` would name (here .zip and .parquet) go the way of Git LFS, others stand in the
commit itself, as on the Hub.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

LARGE = (".zip", ".parquet")


@dataclass
class Repository:
    """One repository."""

    private: bool
    files: dict[str, bytes] = field(default_factory=dict)
    commits: list[str] = field(default_factory=list)


@dataclass
class Hub:
    """What the server has, and what was asked of it."""

    address: str = ""
    accounts: dict[str, str] = field(default_factory=dict)
    """Token → account."""
    scopes: dict[str, str] = field(default_factory=dict)
    """Token → what it may do; without an entry, `contribute-repos`."""
    repositories: dict[str, Repository] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)
    """SHA-256 → content that was uploaded by the way of Git LFS."""
    tokens: list[tuple[str, str]] = field(default_factory=list)
    """(path, authorization) of each request."""
    fault: int = 0
    """Status with which every request is answered, if any."""
    delay_s: float = 0.0


@contextmanager
def hub() -> Iterator[Hub]:
    """A Hub on the loopback address."""
    state = Hub()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

        def _body(self) -> bytes:
            return self.rfile.read(int(self.headers.get("content-length") or 0))

        def _answer(self, status: int, value: Any = None) -> None:
            body = b"" if value is None else json.dumps(value).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def _serve(self) -> None:
            body = self._body()
            authorization = self.headers.get("authorization") or ""
            state.tokens.append((self.path, authorization))
            time.sleep(state.delay_s)
            if state.fault:
                self._answer(state.fault, {"error": f"fault {state.fault}"})
                return
            if self.path.startswith("/storage/"):
                state.objects[self.path.rpartition("/")[2]] = body
                self._answer(200)
                return
            token = authorization.removeprefix("Bearer ")
            account = state.accounts.get(token)
            if account is None:
                self._answer(401, {"error": "Invalid credentials in Authorization header"})
            elif self.path == "/api/validate-yaml":
                self._answer(200, {"errors": [], "warnings": []})
            else:
                self._answer(*self._of_account(account, token, body))

        do_GET = do_POST = do_PUT = _serve  # noqa: N815

        def _of_account(self, account: str, token: str, body: bytes) -> tuple[int, Any]:
            allowed = state.scopes.get(token, "contribute-repos") == "contribute-repos"
            if self.path == "/api/repos/create":
                wanted = json.loads(body)
                name = f"{wanted.get('organization') or account}/{wanted['name']}"
                assert wanted["type"] == "dataset"
                if not allowed or not name.startswith(f"{account}/"):
                    return 403, {"error": "You don't have the rights to create a dataset under this namespace"}
                url = f"{state.address}/datasets/{name}"
                if name in state.repositories:
                    return 409, {"error": "You already created this dataset repo", "url": url}
                # Versions of the client before 2 say `private`, later ones `visibility`.
                private = wanted.get("visibility", "private" if wanted.get("private") else "public") == "private"
                state.repositories[name] = Repository(private)
                return 200, {"url": url, "name": name}
            name = next((name for name in state.repositories if f"/{name}" in self.path), "")
            if not name.startswith(f"{account}/"):
                return 404, {"error": "Repository not found"}
            return self._of_repository(name, body)

        def _of_repository(self, name: str, body: bytes) -> tuple[int, Any]:
            repository = state.repositories[name]
            if "/preupload/" in self.path:
                files = [
                    {
                        "path": one["path"],
                        "uploadMode": "lfs" if one["path"].endswith(LARGE) else "regular",
                        "shouldIgnore": False,
                    }
                    for one in json.loads(body)["files"]
                ]
                return 200, {"files": files}
            if self.path.endswith("/info/lfs/objects/batch"):
                objects = [
                    {"oid": one["oid"], "size": one["size"], "actions": self._upload(one["oid"])}
                    for one in json.loads(body)["objects"]
                ]
                return 200, {"transfer": "basic", "objects": objects}
            if "/commit/" in self.path:
                return 200, self._commit(name, repository, body)
            return 200, {"id": name, "private": repository.private, "tags": [], "siblings": [], "sha": "0" * 40}

        def _upload(self, oid: str) -> dict[str, Any]:
            return {} if oid in state.objects else {"upload": {"href": f"{state.address}/storage/{oid}"}}

        def _commit(self, name: str, repository: Repository, body: bytes) -> dict[str, Any]:
            for line in map(json.loads, body.splitlines()):
                value = line["value"]
                if line["key"] == "file":
                    repository.files[value["path"]] = base64.b64decode(value["content"])
                elif line["key"] == "lfsFile":
                    content = state.objects[value["oid"]]
                    assert (hashlib.sha256(content).hexdigest(), len(content)) == (value["oid"], value["size"])
                    repository.files[value["path"]] = content
                else:
                    repository.commits.append(value["summary"])
            commit = f"{len(repository.commits):040x}"
            return {
                "success": True,
                "commitOid": commit,
                "commitUrl": f"{state.address}/datasets/{name}/commit/{commit}",
            }

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.address = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
