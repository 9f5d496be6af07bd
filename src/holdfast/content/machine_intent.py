"""The owner's wish to see a node, as the controller of its machine passes it on.

It comes with both credentials of a machine, which lie where no confined agent can read them, so it
counts as the owner's: whoever called the controller had its token. The key of the node, which lies
in the agent's home, is no proof here.
"""

from __future__ import annotations

from holdfast.content.ports import Nodes, ProveMachine
from holdfast.wire.api.call import Call, Refusal, Reply
from holdfast.wire.api.controller import MachineIntent, MachineIntentAnswer
from holdfast.wire.consent import node_of_instance


class MachineIntents:
    """Takes intents of machines."""

    def __init__(self, nodes: Nodes, prove: ProveMachine) -> None:
        """Tell `nodes` of what a machine that `prove` knows passes on."""
        self._nodes = nodes
        self._prove = prove

    async def take(self, call: Call) -> Reply:
        """Take an intent; refuse (401, 403) what no machine proves, (404) a node not registered."""
        body: MachineIntent = call.body
        machine = self._prove(call.header, body.sandbox_id, call.now_ms)
        if machine is None:
            raise Refusal(
                401, "credentials_missing", "a machine shows two credentials, and one is missing",
                fix="send `Authorization: Bearer <api key>` and `x-holdfast-gateway-token`",
            )  # fmt: skip
        known = await self._nodes.intent(
            node_of_instance(machine.account, machine.instance),
            by=f"controller of {machine.instance}",
            credential=f"controller:{body.sandbox_id}",
            address=call.peer,
        )
        return Reply(MachineIntentAnswer(ok=True, already_started=known))
