"""People who write to a demo agent that runs in a real machine of a real plane."""

from __future__ import annotations

import json
import urllib.parse
import urllib.request
from typing import Any

from tests.support.patience import patience
from tests.support.planes import PlaneProcess

ANSWERED_S = 10.0


class DemoAgent:
    """One running demo agent."""

    def __init__(self, plane: PlaneProcess, name: str) -> None:
        """Make and start it."""
        plane.cli("instance", "create", name)
        self.plane = plane
        self.name = name
        self.id = plane.ready(name).id
        with plane.client() as client:
            sandbox = client.call("instance.get", path={"id": self.id}).sandbox_id
        self.home = plane.home / "machines" / sandbox

    def _post(self, path: str, data: bytes, **headers: str) -> str:
        port = json.loads(next(self.home.rglob("controller.json")).read_text())["agentPort"]
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}{path}", data=data, headers=headers
        )
        with urllib.request.urlopen(request, timeout=patience(ANSWERED_S)) as answer:
            return str(answer.read().decode())

    def _token(self) -> str:
        """Return the token that guards the agent, from its own environment."""
        found = [process.environ() for process in self.plane.agents()]
        (mine,) = (each for each in found if str(self.home) in each.get("DEMO_STATE_DIR", ""))
        return str(mine["DEMO_TOKEN"])

    def hears(self, sender: str, text: str = "hi") -> str:
        """Return the agent's answer to a sender."""
        return self._post("/say", urllib.parse.urlencode({"sender": sender, "text": text}).encode())

    def is_knocked_at(self) -> str:
        """Make a device's pairing request; return its id."""
        token = self._token()
        answer: dict[str, Any] = json.loads(
            self._post("/_demo/device", b"", Authorization=f"Bearer {token}")
        )
        return str(answer["requestId"])
