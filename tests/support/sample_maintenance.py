"""An agent's configurations and its doctor, in memory: sample answers for an instance's page."""

from __future__ import annotations

from typing import Any

from holdfast.wire.api.call import Call, Refusal, Reply
from holdfast.wire.api.maintenance import (
    ConfigChanged,
    ConfigVersion,
    ConfigVersions,
    DoctorRun,
    Retried,
)
from holdfast.wire.times import time_text


class SampleMaintenance:
    """Configurations and doctor runs, the same for each of them."""

    def __init__(self, *, now_ms: int) -> None:
        self.now_ms = now_ms
        self.run = DoctorRun(status="")
        self.restored: list[str] = []

    async def versions(self, call: Call) -> Reply:
        at = time_text(self.now_ms)
        versions = (
            ConfigVersion(etag="c0ffee" * 10, at=at, origin="replace", verdict="unknown"),
            ConfigVersion(
                etag="bad0" * 15, at=at, origin="patch", verdict="bad", verdict_at=at,
                reason="the agent was not ready in 40 s",
            ),
            ConfigVersion(etag="ab12" * 15, at=at, origin="base", verdict="healthy"),
        )  # fmt: skip
        assert call.path["id"]
        return Reply(ConfigVersions(versions=versions))

    async def restore(self, call: Call) -> Reply:
        self.restored.append(call.body.version)
        return Reply(ConfigChanged(etag=call.body.version, changed=True))

    async def doctor(self, call: Call) -> Reply:
        if call.endpoint == "doctor.start":
            self.run = DoctorRun(
                status="completed", fix=call.body.fix, finished_at=time_text(self.now_ms),
                exit_code=0, output="channels: ok\nstore: ok\n",
            )  # fmt: skip
        return Reply(self.run)

    async def retry(self, call: Call) -> Reply:
        if call.path["id"] != "in-0009":
            text = "No phase of the start has failed"
            raise Refusal(409, "bootstrap_not_failed", text)
        return Reply(Retried(phase="directories"))

    def handlers(self) -> dict[str, Any]:
        """Return the handlers by endpoint."""
        return {
            "config.versions": self.versions,
            "config.restore": self.restore,
            "doctor.run": self.doctor,
            "doctor.start": self.doctor,
            "doctor.cancel": self.doctor,
            "bootstrap.retry": self.retry,
        }
