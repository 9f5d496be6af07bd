"""Every tool, declared once: the command line, the MCP server and the call are made from this."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Argument:
    """An argument of a tool, by its name on the wire; `env` names where it comes from if absent."""

    name: str
    summary: str
    kind: Literal["text", "number", "texts"] = "text"
    required: bool = False
    choices: tuple[str, ...] = ()
    env: str = ""

    @property
    def option(self) -> str:
        """Return it as an option of the command line."""
        return "--" + self.name.replace("_", "-")

    def schema(self) -> dict[str, Any]:
        """Return its JSON Schema."""
        made: dict[str, Any] = {"description": self.summary}
        if self.kind == "texts":
            return {**made, "type": "array", "items": {"type": "string"}}
        if self.kind == "number":
            return {**made, "type": "integer", "minimum": 0}
        return {**made, "type": "string", **({"enum": [*self.choices]} if self.choices else {})}


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A tool: its name is the last part of its address, `reads` those that send nothing."""

    name: str
    summary: str
    arguments: tuple[Argument, ...] = ()
    reads: bool = False

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of its arguments."""
        return {
            "type": "object",
            "properties": {one.name: one.schema() for one in self.arguments},
            "required": [one.name for one in self.arguments if one.required],
            "additionalProperties": False,
        }


_BODY: Final = Argument(name="body", summary="The text.", required=True)
_TITLE: Final = Argument(name="title", summary="A line that says what it is about.")
_TO: Final = Argument(name="to", summary="The id of an agent of this town.", required=True)

TOOLS: Final = (
    Tool(
        name="prime",
        summary="Say what you are to do now: the issue, the branch, what was asked to change, the"
        " checks that must pass, and the messages that wait for you.",
        reads=True,
    ),
    Tool(
        name="done",
        summary="Say that the work is committed to its branch, or that the review approves. Your"
        " attempt ends with it.",
        arguments=(
            Argument(
                name="branch",
                summary="The branch that holds the work; yours if it is left out.",
                env="HOLDFAST_TOWN_BRANCH",
            ),
            Argument(name="commit", summary="The commit, in hexadecimal."),
            Argument(name="pr_url", summary="The https address of a pull request that you opened."),
        ),
    ),
    Tool(
        name="request-changes",
        summary="Send the merge request that you review back. Your attempt ends with it.",
        arguments=(Argument(name="body", summary="What has to change.", required=True), _TITLE),
    ),
    Tool(
        name="escalate",
        summary="Ask for a person or the mayor, once about one thing and category.",
        arguments=(
            Argument(
                name="category", required=True,
                summary="A word for the kind of need: lower case, digits, - and _.",
            ),
            _BODY,
            _TITLE,
            Argument(
                name="severity", summary="How urgent it is; medium if it is left out.",
                choices=("low", "medium", "high", "critical"),
            ),
            Argument(name="about", summary="The id of a bead; yours if it is left out."),
        ),
    ),
    Tool(
        name="mail",
        summary="Write to another agent; it is delivered while that agent works.",
        arguments=(_TO, _BODY, _TITLE),
    ),
    Tool(
        name="nudge",
        summary="Poke another agent now; it is dropped if it cannot be delivered within an hour.",
        arguments=(_TO, _BODY),
    ),
    Tool(
        name="acknowledge",
        summary="Say which messages you have read; the mayor also takes escalations on with it.",
        arguments=(Argument(name="ids", summary="Their ids.", kind="texts", required=True),),
    ),
    Tool(
        name="cost",
        summary="Report what a piece of your work cost, while your attempt goes on: the town's"
        " money of the day and of the bead is counted by it.",
        arguments=(
            Argument(
                name="id", required=True,
                summary="The id of the piece, such as that of a request to a model; the same id"
                " counts once.",
            ),
            Argument(
                name="microdollars", kind="number", required=True,
                summary="What it cost, in millionths of a dollar.",
            ),
        ),
    ),
    Tool(
        name="heartbeat",
        summary="Say that you live; the answer has how many messages wait, and while the town"
        " drains a nonce: finish, commit and end then.",
        arguments=(
            Argument(name="tools", summary="The tools that run now.", kind="texts"),
            Argument(
                name="worked_s_ago", kind="number",
                summary="Seconds since you last did something; leave it out if you cannot tell.",
            ),
        ),
    ),
)  # fmt: skip

BY_NAME: Final = {tool.name: tool for tool in TOOLS}
