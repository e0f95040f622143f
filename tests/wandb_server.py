"""A loopback stand-in for a W&B server: what the real client of wandb 0.31 needs, over real HTTP.

It keeps what it is sent and answers with what it keeps. A GraphQL operation `SomeName` is answered by the method
`op_some_name`; one without such a method is answered with an error and noted in `unknown`.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import operator
import re
import socket
import sys
import threading
import traceback
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote, unquote, urlsplit

Json = dict[str, Any]

HISTORY, SUMMARY, EVENTS, CONSOLE = "wandb-history.jsonl", "wandb-summary.json", "wandb-events.jsonl", "output.log"


# --- what is kept ---------------------------------------------------------------------------------------


@dataclass
class Request:
    """One request as it arrived."""

    method: str
    path: str
    """Path without query, or `graphql:` and the name of the operation."""
    key: str | None
    nbytes: int
    """Length of the body, after decompression."""
    status: int = 200


@dataclass
class Run:
    """One run."""

    entity: str
    project: str
    id: str
    display_name: str = ""
    group: str | None = None
    job_type: str | None = None
    tags: list[str] = field(default_factory=list)
    notes: str | None = None
    state: str = "running"
    """`running`, `finished` (exit code 0) or `failed`; a test may set `crashed`."""
    exit_code: int | None = None
    keys: set[str] = field(default_factory=set)
    """Every API key that wrote to it."""
    created: str = ""
    metadata: Json = field(default_factory=dict)
    """Host, program, commit and the like, as the client names them."""
    raw_config: Json = field(default_factory=dict)
    """As on the wire: key → `{"value": …}`, `_wandb` included."""
    raw_summary: Json = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    lines: dict[str, list[str]] = field(default_factory=dict)
    """Name of a streamed file → its lines."""
    used: list[str] = field(default_factory=list)
    """Ids of the artifacts it used."""

    @property
    def path(self) -> str:
        """`entity/project/id`."""
        return f"{self.entity}/{self.project}/{self.id}"

    @property
    def config(self) -> Json:
        """Plain values, without W&B's own."""
        plain = {k: v["value"] if isinstance(v, dict) and "value" in v else v for k, v in self.raw_config.items()}
        plain.pop("_wandb", None)
        return plain

    @property
    def summary(self) -> Json:
        """Without W&B's own `_wandb`."""
        return {key: value for key, value in self.raw_summary.items() if key != "_wandb"}

    @property
    def history(self) -> list[Json]:
        """Rows in the order of their lines."""
        return [json.loads(line) for line in self.lines.get(HISTORY, [])]


@dataclass
class Artifact:
    """One version of a collection."""

    id: str
    entity: str
    project: str
    type: str
    name: str
    """Of the collection."""
    digest: str
    version: int = -1
    """-1 until it is committed."""
    aliases: list[str] = field(default_factory=list)
    """Without the `v0` that every version has."""
    metadata: Json = field(default_factory=dict)
    description: str | None = None
    files: dict[str, bytes] = field(default_factory=dict)
    """Filled when it is committed."""
    manifest: Json = field(default_factory=dict)
    state: str = "PENDING"
    run: str | None = None
    """Id of the run that logged it."""
    client_id: str | None = None
    created: str = ""
    wanted: list[str] = field(default_factory=list)
    """Aliases it gets when it is committed."""


@dataclass
class _Fault:
    pattern: re.Pattern[str]
    status: int = 0
    times: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0


class RefusedError(Exception):
    """An answer with an error status, in the form in which W&B words it."""

    def __init__(self, status: int, message: str, **extensions: str) -> None:
        super().__init__(message)
        self.status = status
        self.extensions = extensions


# --- the server -----------------------------------------------------------------------------------------


class WandbServer:
    """Listens on a free port of 127.0.0.1 from its creation to `close`.

    `users` maps API keys to default entities, and a key outside it is answered with 401; None takes every key, for
    the entity `tester`. `entities` are those that exist besides these; None: every entity exists.
    """

    def __init__(self, users: dict[str, str] | None = None, entities: set[str] | None = None) -> None:
        self.users = users
        self.entities = entities
        self.runs: dict[str, Run] = {}
        """`entity/project/id` → run."""
        self.artifacts: list[Artifact] = []
        self.views: list[Json] = []
        self.requests: list[Request] = []
        self.unknown: list[str] = []
        """What was asked and is not understood."""
        self.projects: dict[str, int] = {}
        """`entity/project` → its number."""
        self._blobs: dict[str, bytes] = {}
        """MD5 in hexadecimal → file of artifacts."""
        self._manifests: dict[str, bytes] = {}
        """Id of an artifact → its manifest."""
        self._faults: list[_Fault] = []
        self._lock = threading.RLock()
        self._closing = threading.Event()
        self._http: _Http | None = None
        self._port = 0
        self.up()

    @property
    def url(self) -> str:
        """Base URL; stays the same from `down` to `up`."""
        return f"http://127.0.0.1:{self._port}"

    def up(self) -> None:
        """Listen (again)."""
        self._closing.clear()
        self._http = _Http(("127.0.0.1", self._port), _Handler)
        self._http.store = self
        self._port = self._http.server_port
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def down(self) -> None:
        """Stop listening and cut all connections; what is kept is kept."""
        if self._http is None:
            return
        self._closing.set()
        self._http.shutdown()
        self._http.cut()
        self._http.server_close()
        self._thread.join()
        self._http = None

    close = down

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.close()

    # --- for tests --------------------------------------------------------------------------------------

    def fail(self, pattern: str, status: int, times: int = 1, headers: dict[str, str] | None = None) -> None:
        """Answer the next `times` requests whose `METHOD /path` or `graphql:Op` has `pattern` with `status`."""
        self._faults.append(_Fault(re.compile(pattern), status, times, headers or {}))

    def slow(self, pattern: str, seconds: float) -> None:
        """Hold every matching request for some seconds; 0 ends that."""
        self._faults = [fault for fault in self._faults if not (fault.seconds and fault.pattern.pattern == pattern)]
        if seconds:
            self._faults.append(_Fault(re.compile(pattern), seconds=seconds))

    def add_run(self, run: Run) -> Run:
        """Keep a run, as if it had been sent."""
        self._project(run.entity, run.project)
        run.created = run.created or _now()
        self.runs[run.path] = run
        return run

    def run(self, path_or_id: str) -> Run:
        """The only run of this path or id."""
        (found,) = [run for path, run in self.runs.items() if path_or_id in (path, run.id)]
        return found

    def table(self, run: Run, key: str) -> list[Json]:
        """Rows of the table that stands in a run's summary."""
        data = json.loads(run.files[run.summary[key]["path"]])
        return [dict(zip(data["columns"], row, strict=True)) for row in data["data"]]

    def artifact(self, name: str, alias: str = "latest") -> Artifact:
        """The only committed version of the collection `name` or `entity/project/name` with this alias."""
        (found,) = [
            a for a in self._committed() if name in (a.name, f"{a.entity}/{a.project}/{a.name}") and _has(a, alias)
        ]
        return found

    # --- HTTP -------------------------------------------------------------------------------------------

    def answer(self, method: str, path: str, body: bytes, key: str | None) -> tuple[int, Mapping[str, str], bytes]:
        """Status, headers and body for one request."""
        call = json.loads(body) if path == "/graphql" else {}
        found = re.search(r"\b(?:query|mutation)\s+(\w+)", call.get("query", ""))
        op = found[1] if found else ""
        seen = Request(method, f"graphql:{op}" if call else path, key, len(body))
        with self._lock:
            self.requests.append(seen)
            fault, seconds = self._fault(seen)
        self._closing.wait(seconds)
        try:
            if fault:
                raise RefusedError(fault.status, "told to fail")
            with self._lock:
                try:
                    data = self._graphql(op, call, key) if call else self._plain(method, path, body, key)
                except (LookupError, ValueError, TypeError, AttributeError) as error:
                    # Not left to break the connection, after which the client would ask again without end.
                    self.unknown.append(f"{seen.method} {seen.path} {body!r}\n{traceback.format_exc()}")
                    raise RefusedError(400, repr(error)) from error
        except RefusedError as error:
            seen.status = error.status
            told: Json = {"message": str(error)}
            if error.extensions:
                told["extensions"] = error.extensions
            return error.status, fault.headers if fault else {}, json.dumps({"errors": [told], "data": None}).encode()
        return 200, {}, data if isinstance(data, bytes) else json.dumps(data).encode()

    def _fault(self, seen: Request) -> tuple[_Fault | None, float]:
        text = seen.path if seen.path.startswith("graphql:") else f"{seen.method} {seen.path}"
        hits = [fault for fault in self._faults if fault.pattern.search(text)]
        failing = next((fault for fault in hits if fault.times > 0), None)
        if failing:
            failing.times -= 1
        return failing, sum(fault.seconds for fault in hits)

    def _plain(self, method: str, path: str, body: bytes, key: str | None) -> Json | bytes:
        kind, *parts = [unquote(part) for part in path.strip("/").split("/")]
        if kind == "sdk":
            return {}
        if kind == "files" and parts[-1] == "file_stream":
            self._entity_of(key)
            return self._stream("/".join(parts[:3]), json.loads(body), key)
        folders = {"blobs": self._blobs, "manifests": self._manifests}
        if kind == "run-files":
            folder, name = self.runs["/".join(parts[:3])].files, "/".join(parts[3:])
        elif kind in folders:
            folder, name = folders[kind], "/".join(parts)
        else:
            self.unknown.append(f"{method} {path}")
            raise RefusedError(404, f"not found: {path}")
        if method == "PUT":
            folder[name] = body
            return {}
        if name not in folder:
            raise RefusedError(404, f"not found: {path}")
        return folder[name]

    def _stream(self, path: str, sent: Json, key: str | None) -> Json:
        run = self.runs.get(path)
        if run is None:
            raise RefusedError(404, f"run {path} not found")
        run.keys.add(key or "")
        run.state = "running"
        for name, chunk in (sent.get("files") or {}).items():
            if name == SUMMARY:
                run.raw_summary = json.loads(chunk["content"][-1])
                continue
            lines = run.lines.setdefault(name, [])
            at = chunk["offset"]
            if at > len(lines):
                self.unknown.append(f"{path}: {name} goes on from line {at} of {len(lines)}")
            # A chunk is sent again when its answer was lost, and a run that starts over starts at 0.
            lines[at : None if name == HISTORY else at + len(chunk["content"])] = chunk["content"]
        if sent.get("complete"):
            run.exit_code = sent.get("exitcode")
            run.state = "failed" if run.exit_code else "finished"
        return {"exitcode": None, "limits": {}}

    # --- GraphQL: users and projects --------------------------------------------------------------------

    def _graphql(self, op: str, call: Json, key: str | None) -> Json:
        method = OPERATIONS.get(op.lower())
        if method is None:
            self.unknown.append(f"{op} {json.dumps(call)}")
            raise RefusedError(400, f"the stand-in has no operation {op or call['query']}")
        sent = call.get("variables") or {}
        v = {**sent, **(sent.get("input") or {})}
        me = self._entity_of(key)
        # Operations name the same thing differently.
        entity = v.get("entity") or v.get("entityName") or me
        project = v.get("project") or v.get("projectName") or "uncategorized"
        run = v.get("run") or v.get("runName") or v.get("name")
        return {"data": method(self, {**v, "key": key, "me": me, "entity": entity, "project": project, "run": run})}

    def _entity_of(self, key: str | None) -> str:
        if not key or (self.users is not None and key not in self.users):
            raise RefusedError(401, "user is not logged in", code="PERMISSION_ERROR")
        return "tester" if self.users is None else self.users[key]

    def _known(self, entity: str) -> bool:
        return self.entities is None or entity in self.entities or entity in (self.users or {}).values()

    def _project(self, entity: str, project: str) -> Json:
        """The project's node; it is made if need be."""
        if not self._known(entity):
            raise RefusedError(404, f"entity {entity} not found")
        number = self.projects.setdefault(f"{entity}/{project}", len(self.projects) + 1)
        return {
            "__typename": "Project",
            "id": _id("Project", entity, project),
            "internalId": _id("ProjectInternalId", str(number)),
            "name": project,
            "entityName": entity,
            "entity": {"id": _id("Entity", entity), "name": entity, "organization": None},
            "readOnly": False,
            "createdAt": "2026-01-01T00:00:00Z",
            "isBenchmark": False,
            "description": None,
            "access": None,
            "views": None,
            "user": None,
        }

    def _in_project(self, v: Json, **fields: Any) -> Json:
        """What a query asks about the project that it names; null if there is none."""
        entity, project = v["entity"], v["project"]
        there = f"{entity}/{project}" in self.projects
        return {"project": {**self._project(entity, project), **fields} if there else None}

    def op_get_project(self, v: Json) -> Json:
        return self._in_project({**v, "project": v["name"]})

    def op_project_internal_id(self, v: Json) -> Json:
        return self._in_project(v)

    op_is_project_read_only = op_project_internal_id

    def op_get_projects(self, v: Json) -> Json:
        paths = [path.split("/") for path in self.projects]
        return {"models": _page([self._project(*path) for path in paths if path[0] == v["entity"]], v)}

    def op_create_project(self, v: Json) -> Json:
        node = self._project(v["entity"], v["name"])
        return {"result": {"project": node, "model": node, "inserted": True}}

    def op_viewer(self, v: Json) -> Json:
        return {
            "viewer": {
                "id": _id("User", v["me"]),
                "name": v["me"],
                "username": v["me"],
                "entity": v["me"],
                "email": f"{v['me']}@example.org",
                "flags": "{}",
                "admin": False,
                "deletedAt": None,
                "apiKeys": {"edges": []},
                "teams": {"edges": [{"node": {"name": name}} for name in sorted(self.entities or {v["me"]})]},
            }
        }

    op_get_viewer = op_get_default_entity = op_viewer

    def op_server_features_query(self, v: Json) -> Json:
        return {"serverInfo": {"features": []}}

    def op_organization_core_weave_organization_id(self, v: Json) -> Json:
        return {"entity": {"organization": None}}

    # --- GraphQL: runs ----------------------------------------------------------------------------------

    def op_upsert_bucket(self, v: Json) -> Json:
        run = self._run_by_id(v["id"]) if v.get("id") else self._run_of(v)
        inserted = run is None
        if run is None:
            if not self._known(v["entity"]):
                raise RefusedError(404, f"entity {v['entity']} not found during upsertBucket")
            run = self.add_run(Run(v["entity"], v["project"], v["name"]))
        run.keys.add(v["key"])
        # Only a run that starts tells its host; later updates, and those of the public API, do not.
        run.state = v.get("state") or ("running" if v.get("host") else run.state)
        names = {"displayName": "display_name", "groupName": "group", "jobType": "job_type", "notes": "notes"}
        for sent, name in {**names, "display_name": "display_name", "tags": "tags"}.items():
            if v.get(sent) is not None:
                setattr(run, name, v[sent])
        for sent, name in {"config": "raw_config", "summaryMetrics": "raw_summary"}.items():
            if v.get(sent):
                setattr(run, name, json.loads(v[sent]))
        for name in ("host", "program", "commit", "repo"):
            if v.get(name):
                run.metadata[name] = v[name]
        # The client writes behind this line: a run that it did not ask to resume, by `id`, is written anew.
        anew = {} if v.get("id") else {"historyLineCount": 0}
        return {"upsertBucket": {"bucket": {**self._run_node(run), **anew}, "inserted": inserted}}

    def op_run_resume_status(self, v: Json) -> Json:
        run = self._run_of(v)
        return {"model": self._in_project(v, bucket=run and self._run_node(run))["project"]}

    def _run_by_id(self, run_id: str) -> Run:
        return next(run for run in self.runs.values() if _id("Run", run.path) == run_id)

    def _run_of(self, v: Json) -> Run | None:
        """The run that a query names, if it exists."""
        return self.runs.get(f"{v['entity']}/{v['project']}/{v['run']}")

    def op_run(self, v: Json) -> Json:
        run = self._run_of(v)
        return self._in_project(v, run=run and self._run_node(run))

    op_run_state = op_run_history_keys = op_run

    def op_runs(self, v: Json) -> Json:
        filters, order = json.loads(v.get("filters") or "{}"), v.get("order") or "+created_at"
        runs = [run for run in self.runs.values() if (run.entity, run.project) == (v["entity"], v["project"])]
        runs = [run for run in runs if matches(run, filters)]
        runs.sort(key=lambda run: (_value(run, order.lstrip("+-")) is not None, _value(run, order.lstrip("+-"))))
        # Not sort's own reversal, which leaves runs of the same second in their order.
        if order.startswith("-"):
            runs.reverse()
        return self._in_project(v, runCount=len(runs), runs=_page([self._run_node(run) for run in runs], v))

    def op_history_page(self, v: Json) -> Json:
        run = self._run_of(v)
        steps = range(v.get("minStep", 0), v.get("maxStep", sys.maxsize))
        lines = [json.dumps(row) for row in run.history if row.get("_step") in steps] if run else []
        return self._in_project(v, run=run and {"history": lines, "events": run.lines.get(EVENTS, [])})

    op_run_full_history = op_history_page

    def op_run_sampled_history(self, v: Json) -> Json:
        run = self._run_of(v)
        found = []
        for spec in map(json.loads, v.get("specs") or [v["spec"]]):
            # Here the last step is meant to be in it.
            steps = range(spec.get("minStep", 0), spec.get("maxStep", sys.maxsize) + 1)
            rows = [row for row in run.history if row.get("_step") in steps] if run else []
            found.append([{key: row[key] for key in spec["keys"]} for row in rows if set(spec["keys"]) <= set(row)])
        return self._in_project(v, run=run and {"sampledHistory": found})

    op_sampled_history_page = op_run_sampled_history

    def op_run_parquet_history(self, v: Json) -> Json:
        return self._in_project(v, run=self._run_of(v) and {"parquetHistory": {"parquetUrls": [], "liveData": []}})

    def op_run_files(self, v: Json) -> Json:
        run = self._run_of(v)
        files = run.files if run else {}
        asked = v.get("fileNames") or files
        like = re.escape(v.get("pattern") or "%").replace("%", ".*")
        names = [name for name in sorted(files) if name in asked and re.fullmatch(like, name)]
        nodes = [self._file_node(name, files[name], self._file_url(run, name)) for name in names] if run else []
        return self._in_project(v, run=run and {"fileCount": len(nodes), "files": _page(nodes, v)})

    def _file_node(self, name: str, data: bytes, url: str) -> Json:
        return {
            "__typename": "File",
            "id": _id("File", name),
            "name": name,
            "displayName": name,
            "url": url,
            "directUrl": url,
            "sizeBytes": len(data),
            "mimetype": "application/octet-stream",
            "updatedAt": None,
            "storagePath": None,
            "digest": base64.b64encode(hashlib.md5(data).digest()).decode(),
            "md5": hashlib.md5(data).hexdigest(),
        }

    def op_delete_run(self, v: Json) -> Json:
        run = self._run_by_id(v["id"])
        del self.runs[run.path]
        if v.get("deleteArtifacts"):
            self.artifacts = [artifact for artifact in self.artifacts if artifact.run != run.id]
        return {"deleteRun": {"clientMutationId": None}}

    def op_run_stopped_status(self, v: Json) -> Json:
        return {"project": {"run": {"stopped": False}}}

    def op_create_run_files(self, v: Json) -> Json:
        run = self.runs[f"{v['entity']}/{v['project']}/{v['run']}"]
        files = [{"name": name, "uploadUrl": self._file_url(run, name)} for name in v["files"]]
        return {"createRunFiles": {"runID": _id("Run", run.path), "uploadHeaders": [], "files": files}}

    def _file_url(self, run: Run, name: str) -> str:
        return f"{self.url}/run-files/{quote(run.path)}/{quote(name)}"

    def _run_node(self, run: Run) -> Json:
        lines = {name: run.lines.get(name, []) for name in (HISTORY, EVENTS, CONSOLE)}
        return {
            "__typename": "Run",
            "id": _id("Run", run.path),
            "name": run.id,
            "displayName": run.display_name,
            "description": run.notes,
            "notes": run.notes,
            "sweepName": None,
            "state": run.state,
            "config": json.dumps(run.raw_config),
            "wandbConfig": json.dumps({"t": (run.raw_config.get("_wandb") or {}).get("value", {}).get("t", {})}),
            "summaryMetrics": json.dumps(run.raw_summary),
            "systemMetrics": "{}",
            "tags": run.tags,
            "group": run.group,
            "jobType": run.job_type,
            "commit": run.metadata.get("commit"),
            "readOnly": False,
            "createdAt": run.created,
            "heartbeatAt": run.created,
            "user": {"name": run.entity, "username": run.entity},
            "project": self._project(run.entity, run.project),
            "projectId": str(self.projects[f"{run.entity}/{run.project}"]),
            "historyKeys": {"lastStep": max([row.get("_step", -1) for row in run.history], default=-1)},
            "historyLineCount": len(lines[HISTORY]),
            "eventsLineCount": len(lines[EVENTS]),
            "logLineCount": len(lines[CONSOLE]),
            "historyTail": json.dumps(lines[HISTORY][-1:]),
            "eventsTail": json.dumps(lines[EVENTS][-1:]),
        }

    # --- GraphQL: artifacts -----------------------------------------------------------------------------

    def _committed(self) -> list[Artifact]:
        return [artifact for artifact in self.artifacts if artifact.state == "COMMITTED"]

    def _collection(self, entity: str, project: str, name: str) -> list[Artifact]:
        return [a for a in self._committed() if (a.entity, a.project, a.name) == (entity, project, name)]

    def _by_id(self, artifact_id: str) -> Artifact:
        return next(artifact for artifact in self.artifacts if artifact.id == artifact_id)

    def _give(self, artifact: Artifact, aliases: Iterable[str]) -> None:
        """An alias belongs to one version of a collection."""
        for alias in aliases:
            for other in self._collection(artifact.entity, artifact.project, artifact.name):
                if alias in other.aliases:
                    other.aliases.remove(alias)
            artifact.aliases.append(alias)

    def op_create_artifact(self, v: Json) -> Json:
        entity, project = v["entity"], v["project"]
        self._project(entity, project)
        names = v.get("artifactCollectionNames") or [v["artifactCollectionName"]]
        versions = self._collection(entity, project, names[0])
        aliases = [given["alias"] for given in v.get("aliases") or []]
        latest = next((a for a in versions if "latest" in a.aliases), None)
        known = [a for a in versions if a.digest == v["digest"]]
        known += [a for a in self.artifacts if v.get("clientID") and a.client_id == v["clientID"]]
        artifact = known[0] if known else None
        if artifact is not None and artifact.state == "COMMITTED":
            self._give(artifact, aliases)
        elif artifact is not None:
            artifact.wanted = aliases
        else:
            artifact = Artifact(
                id=_id("Artifact", str(len(self.artifacts) + 1)),
                entity=entity,
                project=project,
                type=v["artifactTypeName"],
                name=names[0],
                digest=v["digest"],
                metadata=json.loads(v.get("metadata") or "{}"),
                description=v.get("description"),
                run=v["run"],
                client_id=v.get("clientID"),
                created=_now(),
                wanted=aliases,
            )
            self.artifacts.append(artifact)
        sequence = {
            "id": _id("ArtifactSequence", entity, project, names[0]),
            "latestArtifact": latest and {"id": latest.id, "versionIndex": latest.version},
        }
        return {"createArtifact": {"artifact": {**self._artifact_node(artifact), "artifactSequence": sequence}}}

    def op_create_artifact_manifest(self, v: Json) -> Json:
        return {"createArtifactManifest": {"artifactManifest": self._manifest_node(v["artifactID"])}}

    def op_update_artifact_manifest(self, v: Json) -> Json:
        return {"updateArtifactManifest": {"artifactManifest": self._manifest_node(v["artifactManifestID"])}}

    def _manifest_node(self, artifact_id: str) -> Json:
        """An artifact has one manifest here, so that the artifact's id does for it."""
        url = f"{self.url}/manifests/{quote(artifact_id)}"
        file = {"id": artifact_id, "uploadUrl": url, "uploadHeaders": [], "directUrl": url}
        return {"id": artifact_id, "file": file}

    def op_create_artifact_files(self, v: Json) -> Json:
        edges = []
        for sent in v["artifactFiles"]:
            name = base64.b64decode(sent["md5"]).hex() if "=" in sent["md5"] else sent["md5"]
            node = {
                "name": sent["name"],
                "storagePath": f"blobs/{name}",
                "uploadUrl": None if name in self._blobs else f"{self.url}/blobs/{name}",
                "uploadHeaders": [],
                "uploadMultipartUrls": None,
                "artifact": {"id": sent["artifactID"]},
            }
            edges.append({"node": node})
        return {"createArtifactFiles": {"files": {"edges": edges}}}

    def op_commit_artifact(self, v: Json) -> Json:
        artifact = self._by_id(v["artifactID"])
        if artifact.state == "PENDING":
            artifact.manifest = json.loads(self._manifests[artifact.id])
            artifact.files = {
                name: self._blobs[base64.b64decode(entry["digest"]).hex()]
                for name, entry in artifact.manifest["contents"].items()
                if "ref" not in entry
            }
            artifact.version = len(self._collection(artifact.entity, artifact.project, artifact.name))
            self._give(artifact, artifact.wanted)
            artifact.state = "COMMITTED"
        return {"commitArtifact": {"artifact": {"id": artifact.id, "digest": artifact.digest}}}

    def op_update_artifact(self, v: Json) -> Json:
        artifact = self._by_id(v["artifactID"])
        if v.get("metadata") is not None:
            artifact.metadata = json.loads(v["metadata"])
        if v.get("description") is not None:
            artifact.description = v["description"]
        return {"result": {"artifact": self._artifact_node(artifact)}}

    def op_add_aliases(self, v: Json) -> Json:
        self._give(self._by_id(v["artifactID"]), [given["alias"] for given in v["aliases"]])
        return {"result": {"success": True}}

    def op_delete_aliases(self, v: Json) -> Json:
        gone = {given["alias"] for given in v["aliases"]}
        artifact = self._by_id(v["artifactID"])
        artifact.aliases = [alias for alias in artifact.aliases if alias not in gone]
        return {"result": {"success": True}}

    def op_project_artifacts(self, v: Json) -> Json:
        """Versions of a collection, newest first."""
        versions = [a for a in self._collection(v["entity"], v["project"], v["collection"]) if a.type == v["type"]]
        page = _page([self._artifact_node(artifact) for artifact in reversed(versions)], v)
        for edge in page["edges"]:
            edge["version"] = f"v{edge['node']['versionIndex']}"
        collection = {**self._collection_node(versions[0]), "artifacts": page} if versions else None
        return self._in_project(v, artifactType={"artifactCollection": collection})

    def op_artifact_of_type(self, v: Json) -> Json:
        """All versions of a type, by collection."""
        by_name: dict[str, list[Json]] = {}
        for a in self._committed():
            if (a.entity, a.project, a.type) == (v["entity"], v["project"], v["artifactTypeName"]):
                by_name.setdefault(a.name, []).append({"node": self._artifact_node(a)})
        collections = [{"node": {"artifacts": {"edges": edges}}} for edges in by_name.values()]
        return self._in_project(v, artifactType={"artifactCollections": {"edges": collections}})

    def op_use_artifact(self, v: Json) -> Json:
        run = self.runs[f"{v['entity']}/{v['project']}/{v['run']}"]
        artifact = self._by_id(v["artifactID"])
        if artifact.id not in run.used:
            run.used.append(artifact.id)
        return {"useArtifact": {"artifact": self._artifact_node(artifact)}}

    def op_client_id_mapping(self, v: Json) -> Json:
        found = next((a for a in self.artifacts if a.client_id == v["clientID"]), None)
        return {"clientIDMapping": found and {"serverID": found.id}}

    def op_artifact_type(self, v: Json) -> Json:
        found = self._named(v)
        return self._in_project(v, artifact=found and self._artifact_node(found))

    def op_artifact_membership_by_name(self, v: Json) -> Json:
        found = self._named(v)
        return self._in_project(v, artifactCollectionMembership=found and self._membership_node(found))

    def op_artifact_membership_files(self, v: Json) -> Json:
        found = self._named({**v, "name": f"{v['collection']}:{v['alias']}"})
        if found is None:
            return self._in_project(v, artifactCollection=None)
        nodes = []
        for name in v.get("fileNames") or sorted(found.files):
            data = found.files[name]
            nodes.append(self._file_node(name, data, f"{self.url}/blobs/{hashlib.md5(data).hexdigest()}"))
        files = {"files": _page(nodes, v)}
        return self._in_project(v, artifactCollection={**self._collection_node(found), "artifactMembership": files})

    op_get_artifact_membership_file_urls = op_artifact_membership_files

    def op_run_output_artifacts(self, v: Json) -> Json:
        logged = [a for a in self._committed() if (a.entity, a.project, a.run) == (v["entity"], v["project"], v["run"])]
        return self._in_project(v, run={"artifacts": _page([self._artifact_node(a) for a in logged], v)})

    def op_run_input_artifacts(self, v: Json) -> Json:
        run = self._run_of(v)
        used = [self._artifact_node(self._by_id(artifact_id)) for artifact_id in run.used] if run else []
        return self._in_project(v, run=run and {"artifacts": _page(used, v)})

    def op_artifact_used_by(self, v: Json) -> Json:
        runs = [self._run_node(run) for run in self.runs.values() if v["id"] in run.used]
        return {"artifact": {"usedBy": _page(runs, v)}}

    def op_artifact_created_by(self, v: Json) -> Json:
        artifact = self._by_id(v["id"])
        run = self.runs.get(f"{artifact.entity}/{artifact.project}/{artifact.run}")
        return {"artifact": {"createdBy": run and self._run_node(run)}}

    def op_artifact_by_id(self, v: Json) -> Json:
        return {"artifact": self._artifact_node(self._by_id(v["id"]))}

    def op_fetch_artifact_manifest(self, v: Json) -> Json:
        return {"artifact": {"currentManifest": self._manifest_node(v["id"])}}

    op_artifact_manifest = op_fetch_artifact_manifest

    def _named(self, v: Json) -> Artifact | None:
        """The version that `collection:alias` in a query names, if it exists."""
        collection, _, alias = v["name"].partition(":")
        versions = self._collection(v["entity"], v["project"], collection)
        return next((a for a in versions if _has(a, alias or "latest")), None)

    def _collection_node(self, artifact: Artifact) -> Json:
        return {
            "__typename": "ArtifactSequence",
            "id": _id("ArtifactSequence", artifact.entity, artifact.project, artifact.name),
            "name": artifact.name,
            "project": self._project(artifact.entity, artifact.project),
        }

    def _alias_nodes(self, artifact: Artifact) -> list[Json]:
        node = {"__typename": "ArtifactAlias", "artifactCollection": self._collection_node(artifact)}
        return [{**node, "id": _id("Alias", alias), "alias": alias} for alias in artifact.aliases]

    def _membership_node(self, artifact: Artifact) -> Json:
        return {
            "__typename": "ArtifactCollectionMembership",
            "id": _id("ArtifactCollectionMembership", artifact.id),
            "versionIndex": artifact.version,
            "createdAt": artifact.created,
            "aliases": self._alias_nodes(artifact),
            "artifactCollection": self._collection_node(artifact),
            "artifact": self._artifact_node(artifact),
        }

    def _artifact_node(self, artifact: Artifact) -> Json:
        return {
            "__typename": "Artifact",
            "id": artifact.id,
            "artifactSequence": self._collection_node(artifact),
            "versionIndex": artifact.version,
            "artifactType": {"name": artifact.type},
            "description": artifact.description,
            "metadata": json.dumps(artifact.metadata),
            "ttlDurationSeconds": -2,
            "ttlIsInherited": True,
            "tags": [],
            "historyStep": None,
            "state": artifact.state,
            "size": sum(map(len, artifact.files.values())),
            "digest": artifact.digest,
            "digestAlgorithm": "MANIFEST_MD5",
            "commitHash": hashlib.md5(artifact.id.encode()).hexdigest(),
            "fileCount": len(artifact.files),
            "createdAt": artifact.created,
            "updatedAt": None,
            "aliases": self._alias_nodes(artifact),
        }

    # --- GraphQL: reports -------------------------------------------------------------------------------

    def op_upsert_view(self, v: Json) -> Json:
        view = next((view for view in self.views if view["id"] == v.get("id")), None)
        inserted = view is None
        if view is None:
            view = {"id": _id("View", str(len(self.views) + 1)), "createdAt": _now()}
            self._project(v["entity"], v["project"])
            self.views.append(view)
        kept = ("name", "displayName", "description", "type", "entity", "project")
        view |= {name: v[name] for name in kept if v.get(name) is not None}
        view |= {"spec": json.loads(v["spec"]), "updatedAt": _now()}
        return {"upsertView": {"view": self._view_node(view), "inserted": inserted}}

    def op_specific_report(self, v: Json) -> Json:
        found = next((view for view in self.views if view["id"].rstrip("=") == v["reportId"].rstrip("=")), None)
        return {"view": found and self._view_node(found)}

    def op_project_views(self, v: Json) -> Json:
        views = [view for view in self.views if (view["entity"], view["project"]) == (v["entity"], v["project"])]
        views = [view for view in views if view["type"] == v.get("viewType", "runs")]
        views = [view for view in views if v.get("viewName") in (None, view["name"])]
        return self._in_project(v, allViews=_page([self._view_node(view) for view in views], v))

    def op_delete_view(self, v: Json) -> Json:
        self.views = [view for view in self.views if view["id"] != v["id"]]
        return {"deleteView": {"success": True, "pendingDrafts": None, "__typename": "DeleteViewPayload"}}

    def _view_node(self, view: Json) -> Json:
        node = {**view, "spec": json.dumps(view["spec"]), "project": self._project(view["entity"], view["project"])}
        user = {"username": view["entity"], "photoUrl": None, "email": None}
        return {"description": None, "displayName": None, **node, "user": user}


OPERATIONS = {
    name.removeprefix("op_").replace("_", ""): method
    for name, method in vars(WandbServer).items()
    if name.startswith("op_")
}
"""Name of a GraphQL operation in small letters → the method that answers it."""


# --- lists ----------------------------------------------------------------------------------------------


def _page(nodes: list[Json], v: Json) -> Json:
    """One page of a list; a cursor is the number of nodes up to it."""
    start = int(v.get("cursor") or v.get("fileCursor") or v.get("reportCursor") or 0)
    size = v.get("perPage") or v.get("fileLimit") or v.get("reportLimit") or 50
    edges = [{"node": node, "cursor": str(start + n)} for n, node in enumerate(nodes[start : start + size], 1)]
    end = start + len(edges)
    info = {"__typename": "PageInfo", "endCursor": str(end) if edges else None, "hasNextPage": end < len(nodes)}
    return {"edges": edges, "pageInfo": info, "totalCount": len(nodes)}


def _value(run: Run, name: str) -> Any:
    """A field of a run by the name that filters and orders use; None if it is not set."""
    kind, _, path = name.partition(".")
    if kind not in ("config", "summary_metrics"):
        names = {"name": "id", "displayName": "display_name", "jobType": "job_type", "created_at": "created"}
        names |= {"createdAt": "created", "heartbeat_at": "created"}
        value = getattr(run, names.get(name, name))
        return None if value == "" else value
    value = run.config if kind == "config" else run.summary
    for part in path.removesuffix(".value").split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def matches(run: Run, filters: Json) -> bool:
    """Whether a run passes filters in MongoDB's language."""
    for name, asked in filters.items():
        if name in ("$and", "$or"):
            if not (all if name == "$and" else any)(matches(run, part) for part in asked):
                return False
            continue
        value = _value(run, name)
        tests = asked if isinstance(asked, dict) else {"$eq": asked}
        if not all(_passes(value, test, wanted) for test, wanted in tests.items()):
            return False
    return True


ORDERS = {"$gt": operator.gt, "$gte": operator.ge, "$lt": operator.lt, "$lte": operator.le}


def _passes(value: Any, test: str, wanted: Any) -> bool:
    values = value if isinstance(value, list) else [value]
    match test:
        case "$eq":
            return bool(value == wanted or wanted in values)
        case "$in":
            return any(one in wanted for one in values)
        case "$ne" | "$nin":
            return not _passes(value, "$eq" if test == "$ne" else "$in", wanted)
        case "$exists":
            return (value is not None) is bool(wanted)
        case "$regex":
            return any(isinstance(one, str) and re.search(wanted, one) is not None for one in values)
        case _ if test in ORDERS:
            return value is not None and bool(ORDERS[test](value, wanted))
    raise RefusedError(400, f"the stand-in knows no filter {test}")


# --- small ----------------------------------------------------------------------------------------------


def _id(kind: str, *parts: str) -> str:
    return base64.b64encode(":".join((kind, *parts)).encode()).decode()


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _has(artifact: Artifact, alias: str) -> bool:
    return alias in artifact.aliases or alias == f"v{artifact.version}"


# --- sockets --------------------------------------------------------------------------------------------


class _Http(ThreadingHTTPServer):
    """Knows its open connections, because the client keeps them and a server that goes down must cut them."""

    daemon_threads = False
    request_queue_size = 128
    store: WandbServer

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.open: set[socket.socket] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        self.open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self.open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """The client resets connections that it no longer needs."""

    def cut(self) -> None:
        for request in list(self.open):
            try:
                request.shutdown(socket.SHUT_RDWR)
            except OSError:
                self.open.discard(request)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Http

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing."""

    def _body(self) -> bytes:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        return gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body

    def _answer(self) -> None:
        given = self.headers.get("Authorization", "")
        key = base64.b64decode(given[6:]).decode().partition(":")[2] if given.startswith("Basic ") else None
        status, headers, data = self.server.store.answer(self.command, urlsplit(self.path).path, self._body(), key)
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(data)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = do_PUT = _answer  # noqa: N815
