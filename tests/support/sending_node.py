"""A node of a real plane that sends what a test says, in the clear or sealed, as a client would."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from typing import Any

from holdfast.machine.content_key import key_of
from holdfast.machine.observer.sealing import Sealer
from holdfast.wire.api.content import NodeKeyCreate
from holdfast.wire.times import time_text
from tests.support.patience import patience
from tests.support.planes import PlaneProcess, until

CONTENT_KEY = "0123456789abcdef0123456789abcdef0123456789a="
"""Base64 of 32 bytes: what the node seals with."""
OURS = "holdfast-observer/0.1.0"
DAEMON = "Python-urllib/3.11"


class SendingNode:
    """One node; make it with `granted` or `waiting`."""

    def __init__(self, plane: PlaneProcess, name: str, key: str, node: str) -> None:
        self.plane = plane
        self.name = name
        self.key = key
        self.id = node
        self.sealer = Sealer(key_of(CONTENT_KEY), draw=os.urandom)

    @classmethod
    def waiting(cls, plane: PlaneProcess, name: str) -> SendingNode:
        """Register a node as a program does: nothing of it is let in."""
        made = cls(plane, name, "", "")
        answer = made.post("/api/register", {"hostname": name, "source": "test"})
        return cls(plane, answer["node_id"], answer["api_key"], answer["node"])

    @classmethod
    def granted(cls, plane: PlaneProcess, name: str) -> SendingNode:
        """Connect a node by its owner's key, with everything let in, older content too."""
        with plane.client() as client:
            key = client.call("node-key.create", body=NodeKeyCreate(name=name)).key
        made = cls(plane, name, key, "")
        answer = made.post("/auth", {"api_key": key, "hostname": name})
        made.id = answer["node"]
        plane.cli("consent", "grant", made.id, "all", "--backfill", "everything", "--yes")
        until("the grant is signed", lambda: "logs" in made.about()["node"]["classes"])
        return made

    def about(self) -> Any:
        """Return what the API says of the node."""
        return self.plane.json("nodes", "show", self.id)

    def post(self, path: str, body: Any, *, agent: str = OURS) -> Any:
        """Return what a request is answered with, whatever its status."""
        request = urllib.request.Request(self.plane.url + path, data=json.dumps(body).encode())
        request.add_header("content-type", "application/json")
        request.add_header("user-agent", agent)
        if self.key:
            request.add_header("x-api-key", self.key)
        try:
            with urllib.request.urlopen(request, timeout=patience(10)) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            return json.load(error)

    def beat(self, *, agent: str = OURS, version: str = "0.1.0") -> Any:
        """Return what a heartbeat is answered with."""
        body = {"node_id": self.name, "version": version, "platform": "Linux"}
        return self.post("/ingest/heartbeat", body, agent=agent)

    def send(self, path: str, *, agent: str = OURS, **fields: Any) -> Any:
        """Return what an upload in the clear is answered with."""
        return self.post(path, {"node_id": self.name, **fields}, agent=agent)

    def show(self, path: str, **fields: Any) -> None:
        """Send an upload in the clear that is taken."""
        answer = self.send(path, **fields)
        assert answer["ok"], answer

    def seal(self, path: str, *, named: str = "", **fields: Any) -> None:
        """Send the same sealed, as our observer does; `named` is the name of a session outside."""
        blob = self.sealer.seal(
            json.dumps({"node_id": self.name, **fields}).encode(), compress=False
        )
        outside = {"session_file": named} if named else {}
        answer = self.send(path, encrypted=True, blob=blob, **outside)
        assert answer["ok"], answer

    # -- what an agent did

    def tell(self, how: str, now_ms: int) -> None:
        """Send logs, two versions of a memory file, cron jobs, and a session with sub-agents.

        `how` is `send` or `seal`.
        """
        say = self.show if how == "send" else self.seal
        say("/ingest/logs", lines=[_log(at, now_ms) for at in range(40)])
        for text in ("# Notes\n\n- likes tea\n", "# Notes\n\n- likes coffee\n- rises early\n"):
            file = {"path": "MEMORY.md", "content": text}
            say("/ingest/memory", memory_content=[file])
        say("/api/ingest", events=[_job(at, now_ms) for at in range(3)])
        keys = ("agent:main:main", "agent:main:subagent:a", "agent:main:subagent:a:subagent:b")
        rows = [
            {"session_id": f"s{at}", "session_key": key, "display_name": f"Session {at}",
             "model": "m-1", "channel": "telegram", "total_tokens": 1_200 * (at + 1),
             "updated_at": time_text(now_ms - at * 60_000)}
            for at, key in enumerate(keys)
        ]  # fmt: skip
        say("/ingest/sessions", sessions=rows)
        outside = {} if how == "send" else {"named": f"{'0' * 16}.jsonl"}
        say("/ingest/events", session_file="s0.jsonl", events=_turns(now_ms), **outside)


def _log(at: int, now_ms: int) -> dict[str, Any]:
    level = "ERROR" if at % 13 == 5 else "WARN" if at % 7 == 3 else "INFO"
    said = "could not reach the mail server" if level == "ERROR" else f"tool finished, round {at}"
    return {"0": '{"subsystem":"gateway"}', "1": said, "_meta": {"logLevelName": level},
            "time": time_text(now_ms - (40 - at) * 7_000)}  # fmt: skip


def _job(at: int, now_ms: int) -> dict[str, Any]:
    state = {"nextRunAtMs": now_ms + at * 3_600_000, "lastRunAtMs": now_ms - 60_000,
             "lastStatus": ("ok", "error", "ok")[at], "lastDurationMs": 1_200 * at}  # fmt: skip
    data = {"job_id": f"j{at}", "name": ("tidy the inbox", "daily report", "back up")[at],
            "enabled": at != 2, "expr": "0 * * * *", "state": state}  # fmt: skip
    return {"type": "cron_state", "session_id": "", "data": data}


def _turns(now_ms: int) -> list[dict[str, Any]]:
    call = {"type": "toolCall", "id": "t1", "name": "exec", "arguments": {"command": "ls"}}
    return [
        {"id": "1", "type": "message", "timestamp": time_text(now_ms - 9_000),
         "message": {"role": "user", "content": "What is in the folder?"}},
        {"id": "2", "type": "message", "timestamp": time_text(now_ms - 8_000),
         "message": {"role": "assistant", "content": [call]}},
        {"id": "3", "type": "message", "timestamp": time_text(now_ms - 5_500),
         "message": {"role": "toolResult", "toolCallId": "t1", "toolName": "exec",
                     "content": "report.txt"}},
        {"id": "4", "type": "message", "timestamp": time_text(now_ms - 4_000),
         "message": {"role": "assistant", "content": "One file, report.txt."}},
    ]  # fmt: skip
