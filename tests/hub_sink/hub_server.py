"""A server that speaks what the Hub's client needs to make a dataset repository and to put files into it, and what
Gradio needs to let people sign in.

Files that its owner's `.gitattributes` would name (here .zip and .parquet) go the way of Git LFS, others stand in the
commit itself, as on the Hub.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import RSAKey

HUB = "https://huggingface.co"
"""By which name browsers find it, in tests that have them look here."""
KEY = RSAKey.generate_key(2048, {"use": "sig", "kid": "k"})
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
    clients: dict[str, str] = field(default_factory=dict)
    """Applications that people may sign in to: client id → secret."""
    scopes_asked: list[str] = field(default_factory=list)
    spaces: dict[str, str] = field(default_factory=dict)
    """Path of a Space's page → address of what its frame shows."""
    codes: dict[str, str] = field(default_factory=dict)
    """Code of a sign-in → its nonce."""
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
            if self._sign_in(authorization, body):
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

        def _page(self, html: str = "", location: str = "") -> None:
            self.send_response(302 if location else 200)
            self.send_header("location", location) if location else None
            self.send_header("content-type", "text/html")
            self.send_header("content-length", str(len(html.encode())))
            self.end_headers()
            self.wfile.write(html.encode())

        def _sign_in(self, authorization: str, body: bytes) -> bool:
            """Answer what belongs to signing in, or to the page of a Space: whether it does."""
            parts = urlsplit(self.path)
            query = dict(parse_qsl(parts.query))
            if parts.path in state.spaces:
                self._page(f'<iframe width=1200 height=800 src="{state.spaces[parts.path]}"></iframe>')
            elif parts.path == "/.well-known/openid-configuration":
                own = {name: f"{state.address}/oauth/{name}" for name in ("token", "jwks", "userinfo")}
                self._answer(
                    200,
                    {
                        "issuer": HUB,
                        "authorization_endpoint": f"{HUB}/oauth/authorize",
                        "token_endpoint": own["token"],
                        "jwks_uri": own["jwks"],
                        "userinfo_endpoint": own["userinfo"],
                        "id_token_signing_alg_values_supported": ["RS256"],
                    },
                )
            elif parts.path == "/oauth/authorize":
                assert query["client_id"] in state.clients
                state.scopes_asked.append(query["scope"])
                code = secrets.token_hex(8)
                state.codes[code] = query.get("nonce", "")
                back = urlsplit(query["redirect_uri"])
                given = urlencode({**dict(parse_qsl(back.query)), "code": code, "state": query["state"]})
                self._page(location=f"{back.scheme}://{back.netloc}{back.path}?{given}")
            elif parts.path == "/oauth/jwks":
                self._answer(200, {"keys": [KEY.as_dict(private=False)]})
            elif parts.path == "/oauth/token":
                client, _, secret = base64.b64decode(authorization.removeprefix("Basic ")).decode().partition(":")
                assert state.clients[client] == secret
                self._answer(200, self._tokens(client, dict(parse_qsl(body.decode()))["code"]))
            else:
                return False
            return True

        def _tokens(self, client: str, code: str) -> dict[str, Any]:
            """For whoever the first account is."""
            token, account = next(iter(state.accounts.items()))
            now = int(time.time())
            claims = {
                "iss": HUB,
                "aud": client,
                "sub": "1",
                "iat": now,
                "exp": now + 600,
                "nonce": state.codes.pop(code),
            }
            profile = {"name": account.title(), "preferred_username": account, "profile": f"{HUB}/{account}"}
            id_token = jwt.encode({"alg": "RS256", "kid": KEY.kid}, {**claims, **profile, "picture": ""}, KEY)
            answer = {"access_token": token, "token_type": "bearer", "expires_in": 600, "id_token": id_token}
            return {**answer, "scope": state.scopes_asked[-1]}

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
