"""The stand-in for a W&B server, with what W&B Launch asks of it: queues, agents, items."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from tests.wandb_server import Json, WandbServer


@dataclass
class Item:
    """A job in a queue."""

    id: str
    spec: Json
    """What an agent is given; queue and job are merged by the server."""
    state: str = "PENDING"
    """`PENDING`, `LEASED` (an agent has taken it), `CLAIMED` (it runs as `run`) or `FAILED`."""
    run: str | None = None
    error: str | None = None
    warnings: list[str] = field(default_factory=list)


@dataclass
class Queue:
    """A queue of an entity."""

    id: str
    name: str
    resource: str
    config: Json
    """`{"resource_args": {resource: …}}`."""
    variables: Json
    """Template variable → its JSON schema."""
    items: list[Item] = field(default_factory=list)


@dataclass
class Agent:
    """A `wandb launch-agent`."""

    id: str
    hostname: str
    queues: list[str]
    status: str = "POLLING"


class LaunchServer(WandbServer):
    """How the queue's settings are merged into an item is a model of what W&B's server does; no client sees it."""

    def __init__(self, users: dict[str, str] | None = None, entities: set[str] | None = None) -> None:
        self.queues: dict[str, Queue] = {}
        self.agents: dict[str, Agent] = {}
        self.stop_agents = False
        """What agents are told when they ask next."""
        super().__init__(users, entities)

    @property
    def items(self) -> list[Item]:
        """Of all queues."""
        return [item for queue in self.queues.values() for item in queue.items]

    def _graphql(self, op: str, call: Json, key: str | None) -> Json:
        method = LAUNCH.get(op.lower())
        if method is None:
            return super()._graphql(op, call, key)
        self._entity_of(key)
        sent = call.get("variables") or {}
        return {"data": method(self, {**sent, **(sent.get("input") or {})})}

    def _plain(self, method: str, path: str, body: bytes, key: str | None) -> Json | bytes:
        parts = path.strip("/").split("/")
        if parts[0] == "artifactsV2":
            *_, artifact_id, _digest, name = parts
            return self._by_id(artifact_id).files[name]
        return super()._plain(method, path, body, key)

    # --- queues -----------------------------------------------------------------------------------------

    def op_entity_is_team(self, v: Json) -> Json:
        return {"entity": {"id": "team", "isTeam": False}}

    def op_upsert_run_queue(self, v: Json) -> Json:
        old = self.queues.get(v["queueName"])
        self.queues[v["queueName"]] = Queue(
            old.id if old else f"queue-{len(self.queues)}",
            v["queueName"],
            v["resourceType"],
            json.loads(v["resourceConfig"]),
            {name: found["schema"] for name, found in json.loads(v.get("templateVariables") or "{}").items()},
            old.items if old else [],
        )
        return {"upsertRunQueue": {"success": True, "configSchemaValidationErrors": []}}

    def op_project_run_queues(self, v: Json) -> Json:
        return {"project": {"runQueues": [self._queue_node(queue) for queue in self.queues.values()]}}

    def op_get_run_queue_metadata(self, v: Json) -> Json:
        queue = self.queues.get(v["runQueue"])
        more = {"prioritizationMode": "DISABLED", "externalLinks": "{}"}
        return {"project": {"runQueue": queue and self._queue_node(queue) | more}}

    def _queue_node(self, queue: Queue) -> Json:
        same = {"id": queue.id, "name": queue.name, "createdBy": "tester", "access": "PROJECT"}
        return {**same, "defaultResourceConfigID": queue.name}

    def op_get_default_resource_config(self, v: Json) -> Json:
        queue = self.queues[v["id"]]
        variables = [{"name": name, "schema": json.dumps(schema)} for name, schema in queue.variables.items()]
        config = {"config": queue.config, "resource": queue.resource, "templateVariables": variables}
        return {"entity": {"defaultResourceConfig": config}}

    def op_push_to_run_queue_by_name(self, v: Json) -> Json:
        queue = self.queues.get(v["queueName"])
        if queue is None:
            return {"pushToRunQueueByName": None}
        spec = json.loads(v["runSpec"])
        given = json.loads(v.get("templateVariableValues") or "{}")
        filled = json.dumps(queue.config.get("resource_args", {}))
        for name, schema in queue.variables.items():
            value = given.get(name, schema.get("default"))
            filled = filled.replace('"{{%s}}"' % name, json.dumps(value))  # noqa: UP031
        spec["resource"] = spec.get("resource") or queue.resource
        spec["resource_args"] = spec.get("resource_args") or json.loads(filled)
        spec["author"] = "tester"
        item = Item(f"item-{len(self.items)}", spec)
        queue.items.append(item)
        return {"pushToRunQueueByName": {"runQueueItemId": item.id, "runSpec": json.dumps(spec)}}

    # --- agents -----------------------------------------------------------------------------------------

    def op_create_launch_agent(self, v: Json) -> Json:
        agent = Agent(f"agent-{len(self.agents)}", v["hostname"], v["queues"])
        self.agents[agent.id] = agent
        return {"createLaunchAgent": {"launchAgentId": agent.id}}

    def op_launch_agent(self, v: Json) -> Json:
        agent = self.agents[v["agentId"]]
        node: Json = {"id": agent.id, "name": agent.id, "runQueues": agent.queues, "hostname": agent.hostname}
        node |= {"agentStatus": agent.status, "stopPolling": self.stop_agents, "heartbeatAt": "2026-01-01T00:00:00"}
        return {"launchAgent": node}

    def op_update_launch_agent(self, v: Json) -> Json:
        self.agents[v["agentId"]].status = v["agentStatus"]
        return {"updateLaunchAgent": {"success": True}}

    def op_pop_from_run_queue(self, v: Json) -> Json:
        waiting = [item for item in self.queues[v["queueName"]].items if item.state == "PENDING"]
        if not waiting:
            return {"popFromRunQueue": None}
        waiting[0].state = "LEASED"
        return {"popFromRunQueue": {"runQueueItemId": waiting[0].id, "runSpec": waiting[0].spec}}

    def op_ack_run_queue_item(self, v: Json) -> Json:
        item = self._item(v["itemId"])
        taken = item.state == "LEASED"
        if taken:
            item.state, item.run = "CLAIMED", v["runId"]
        return {"ackRunQueueItem": {"success": taken}}

    def op_fail_run_queue_item(self, v: Json) -> Json:
        item = self._item(v["runQueueItemId"])
        item.state, item.error = "FAILED", v["message"]
        return {"failRunQueueItem": {"success": True}}

    def op_update_run_queue_item_warning(self, v: Json) -> Json:
        self._item(v["runQueueItemId"]).warnings.append(v["message"])
        return {"updateRunQueueItemWarning": {"success": True}}

    def _item(self, item_id: str) -> Item:
        return next(item for item in self.items if item.id == item_id)


LAUNCH: dict[str, Any] = {
    name.removeprefix("op_").replace("_", ""): method
    for name, method in vars(LaunchServer).items()
    if name.startswith("op_")
}
