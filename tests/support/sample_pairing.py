"""People who wait to be let in, in memory: sample answers for the inbox and its orders."""

from __future__ import annotations

from typing import Any

import msgspec

from holdfast.letters.topics import PAIRING
from holdfast.web.hub import Hub
from holdfast.wire.api.call import Call, Refusal, Reply
from holdfast.wire.api.pairing import (
    PairingEntry,
    PairingHistory,
    PairingInbox,
    PairingList,
    PairingOutcome,
    PairingPolicy,
    PairingRequest,
    PairingRule,
    PairingSource,
    PairingTrouble,
)
from holdfast.wire.api.secrets import SecretField, SecretGroup, SecretList
from holdfast.wire.times import time_text

MINUTE = 60_000
CATALOGUE = (
    ("telegram", "Telegram", (("telegramBotToken", "Bot token"),)),
    ("slack", "Slack", (("slackBotToken", "Bot token"), ("slackAppToken", "App token"))),
    ("discord", "Discord", (("discordBotToken", "Bot token"),)),
    ("anthropic", "Anthropic", (("anthropicApiKey", "API key"),)),
)


def channel(at: int, instance: str, name: str, *, now_ms: int, **fields: Any) -> PairingRequest:
    """Return the request of a bot's new sender."""
    plain = {
        "request_id": f"telegram:{'QWERTZUP'[at:]}{'ASDFGHJK'[:at]}",
        "instance": instance,
        "instance_name": name,
        "account": "local",
        "kind": "channel",
        "sender": f"{84_120_000 + at * 7_919}",
        "sender_name": "Ana Souza",
        "channel": "telegram",
        "code": f"{'QWERTZUP'[at:]}{'ASDFGHJK'[:at]}",
        "fingerprint": f"{at:016x}",
        "created_at": time_text(now_ms - 4 * MINUTE),
        "expires_at": time_text(now_ms + 56 * MINUTE - at * 500),
    }
    return msgspec.convert(plain | fields, PairingRequest)


def device(number: int, instance: str, name: str, *, now_ms: int, **fields: Any) -> PairingRequest:
    """Return a request of a device."""
    plain = {
        "request_id": f"00000000-0000-4000-8000-{number:012x}",
        "instance": instance,
        "instance_name": name,
        "account": "local",
        "kind": "device",
        "sender": f"{number:x}".rjust(12, "a"),
        "fingerprint": f"{number:016x}",
        "platform": "macos",
        "client": "openclaw-control-ui",
        "role": "operator",
        "scopes": ("operator.read", "operator.approvals"),
        "created_at": time_text(now_ms - MINUTE),
        "expires_at": time_text(now_ms + 4 * MINUTE),
    }
    return msgspec.convert(plain | fields, PairingRequest)


class SamplePairing:
    """Who waits at which instance, what was decided, by which rules, and which tokens are set."""

    def __init__(self, hub: Hub, *, now_ms: int) -> None:
        self._hub = hub
        self.now_ms = now_ms
        self.waiting: dict[str, PairingRequest] = {}
        self.history: dict[str, list[PairingEntry]] = {}
        self.policies: dict[str, PairingPolicy] = {}
        self.secrets: dict[str, set[str]] = {}
        self.troubles: tuple[PairingTrouble, ...] = ()
        self.refusal: Refusal | None = None

    def fill(self) -> None:
        """Let some wait, and one source be unreadable."""
        now_ms = self.now_ms
        self.come(channel(0, "in-0001", "birch", now_ms=now_ms))
        self.come(
            channel(
                1, "in-0002", "cedar", now_ms=now_ms, channel="discord",
                request_id="discord:MNBVCXY1", code="MNBVCXY1", sender="jonas#4412", sender_name="",
                created_at=time_text(now_ms - 31 * MINUTE),
                expires_at=time_text(now_ms + 29 * MINUTE),
            )
        )  # fmt: skip
        self.come(device(7, "in-0001", "birch", now_ms=now_ms))
        self.secrets["in-0001"] = {"telegramBotToken", "anthropicApiKey", "slackBotToken"}
        self.troubles = (
            PairingTrouble(
                instance="in-0009", instance_name="juniper", at=time_text(now_ms - 3 * MINUTE),
                error="its Slack store has a layout that this controller does not know (version 9)",
            ),
        )  # fmt: skip

    def come(self, request: PairingRequest) -> None:
        """Add a request."""
        self.waiting[request.request_id] = request
        self._hub.publish(PAIRING, request.instance, request.account)

    def note(self, instance: str, **fields: Any) -> None:
        """Write a decision down."""
        entries = self.history.setdefault(instance, [])
        plain = {"event": f"pe-{len(entries)}", "at": time_text(self.now_ms)}
        entries.insert(0, msgspec.convert(plain | fields, PairingEntry))

    async def inbox(self, call: Call) -> Reply:
        visible = [
            each for each in self.waiting.values() if call.principal.account in {None, each.account}
        ]
        counts: dict[str, int] = {}
        for each in visible:
            counts[each.instance] = counts.get(each.instance, 0) + 1
        limit = int(call.query.get("limit", 100))
        return Reply(
            PairingInbox(
                items=tuple(reversed(visible))[:limit],
                total=len(visible),
                counts=counts,
                troubles=self.troubles,
            )
        )

    async def decide(self, call: Call) -> Reply:
        if self.refusal is not None:
            raise self.refusal
        request = self.waiting.get(call.body.request_id)
        if request is None:
            text = "The request is not there any more."
            raise Refusal(404, "no_such_request", text, fix="Ask the sender to write again.")
        if call.body.fingerprint != request.fingerprint:
            text = "The request is not what it was; look again."
            raise Refusal(409, "pairing_changed", text, fix="List who waits.")
        del self.waiting[request.request_id]
        approves = call.endpoint == "pairing.approve"
        instance = request.instance
        self.note(
            instance,
            what="approve" if approves else "dismiss",
            request_id=request.request_id,
            kind=request.kind,
            channel=request.channel,
            sender=request.sender_name or request.sender,
            by=call.principal.name,
        )
        self.note(
            instance,
            what="approved" if approves else "dismissed",
            request_id=request.request_id,
            via="controller",
        )
        remembered = ""
        if approves and call.body.remember:
            remembered = "r1"
            rule = PairingRule(
                kind=request.kind, sender=request.sender, channel=request.channel or None,
                id=remembered, by=call.principal.name,
            )  # fmt: skip
            policy = self._policy(instance)
            self.policies[instance] = msgspec.structs.replace(
                policy, mode="rules", rules=(*policy.rules, rule), version=policy.version + 1
            )
        self._hub.publish(PAIRING, instance, request.account)
        return Reply(
            PairingOutcome(
                instance=instance,
                request_id=request.request_id,
                decision="approve" if approves else "dismiss",
                message="done",
                by=call.principal.name,
                via="controller",
                remembered=remembered,
            )
        )

    async def list(self, call: Call) -> Reply:
        instance = call.path["id"]
        mine = tuple(each for each in self.waiting.values() if each.instance == instance)
        at = time_text(self.now_ms)
        sources = (
            PairingSource(name="telegram", last_success_at=at),
            PairingSource(name="slack", error="the store has a layout this release does not know"),
            PairingSource(name="devices", last_success_at=at, error="the file is busy", stale=True),
        )
        return Reply(
            PairingList(
                instance=instance, items=mine, via="controller", complete=False, sources=sources
            )
        )

    def _policy(self, instance: str) -> PairingPolicy:
        return self.policies.get(
            instance, PairingPolicy(instance=instance, mode="manual", version=1)
        )

    async def policy(self, call: Call) -> Reply:
        return Reply(self._policy(call.path["id"]))

    async def set_policy(self, call: Call) -> Reply:
        instance = call.path["id"]
        present = self._policy(instance)
        if call.body.version not in {None, present.version}:
            raise Refusal(409, "changed", "Somebody else changed it.", fix="Reload the page.")
        made = PairingPolicy(
            instance=instance,
            mode=call.body.mode,
            rules=call.body.rules,
            version=present.version + 1,
        )
        self.policies[instance] = made
        self._hub.publish(PAIRING, instance, "local")
        return Reply(made)

    async def show_history(self, call: Call) -> Reply:
        return Reply(PairingHistory(entries=tuple(self.history.get(call.path["id"], ()))))

    def _secrets(self, instance: str) -> SecretList:
        there = self.secrets.get(instance, set())
        groups = tuple(
            SecretGroup(
                id=name,
                label=label,
                all_required=len(fields) > 1,
                fields=tuple(
                    SecretField(key=key, variable=key.upper(), label=text, is_set=key in there)
                    for key, text in fields
                ),
            )
            for name, label, fields in CATALOGUE
        )
        return SecretList(
            instance=instance, groups=groups, custom=(), configured=tuple(sorted(there)),
            config_version=1, restart_needed=bool(there),
        )  # fmt: skip

    async def show_secrets(self, call: Call) -> Reply:
        return Reply(self._secrets(call.path["id"]))

    async def set_secrets(self, call: Call) -> Reply:
        instance = call.path["id"]
        there = self.secrets.setdefault(instance, set())
        for key, value in call.body.secrets.items():
            there.discard(key)
            if value is not None:
                there.add(key)
        self._hub.publish(PAIRING, instance, "local")
        return Reply(self._secrets(instance))

    def handlers(self) -> dict[str, Any]:
        """Return the handlers by endpoint."""
        return {
            "pairing.inbox": self.inbox,
            "pairing.list": self.list,
            "pairing.approve": self.decide,
            "pairing.dismiss": self.decide,
            "pairing.policy": self.policy,
            "pairing.set-policy": self.set_policy,
            "pairing.history": self.show_history,
            "instance.secrets": self.show_secrets,
            "instance.set-secrets": self.set_secrets,
        }
