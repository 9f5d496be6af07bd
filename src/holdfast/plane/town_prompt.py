"""The prompt of an attempt: what its agent is to do, where, and how it reports.

What people wrote stands below a heading of its own, after the facts: a text cannot pass for one.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from holdfast.towns.ports import StartCall
from holdfast.towns.records import RigSettings, Text
from holdfast.towns.state import Role

TEXT_CHARS_MAX: Final = 200_000
"""Characters of a bead's text in a prompt; `holdfast-tool prime` has no more of it."""

_WORK: Final[dict[Role, str]] = {
    "polecat": """\
Work in the current folder: it is a clone of the repository for you alone, on your branch. Commit
what you make to that branch and do not push. When the work is complete and committed, run
`holdfast-tool done`, then end. If you need a person to go on, run `holdfast-tool escalate`.""",
    "refinery": """\
Review the branch above against its target; the current folder is a clone of the repository for you
alone. If it may land, run `holdfast-tool done`. If it has to change, say what by
`holdfast-tool request-changes`. Then end. Do not merge or push: the plane lands it.""",
    "mayor": """\
You coordinate this town. `holdfast-tool prime` says what waits for you, and how to answer it; what
you took care of you `holdfast-tool acknowledge`. You are started when something waits, and stopped
when nothing has for long: end when you are done, or stay and look again. The current folder is a
clone of a repository of the town to look into; what you commit to it is not taken.""",
}

_TOOLS: Final = """\
- `holdfast-tool prime`: what you are to do, with messages that wait
- `holdfast-tool heartbeat`: a sign of life, as every call here is; without one for 90 s, and
  with no program running, your attempt is given up
- `holdfast-tool mail`, `holdfast-tool nudge`: write to another agent
- `holdfast-tool --help`: all of them"""


class Work(Struct, frozen=True, kw_only=True):
    """What a prompt is made of."""

    town: str
    call: StartCall
    text: Text | None
    settings: RigSettings


def make_prompt(work: Work) -> str:
    """Return the prompt in Markdown."""
    call = work.call
    facts = {
        "town": work.town, "role": call.role, "agent": call.agent, "attempt": call.attempt,
        "rig": call.rig, "bead": call.bead, "branch": call.branch, "target": call.target,
    }  # fmt: skip
    parts = [
        "# Your work",
        "\n".join(f"- {name}: {_line(value)}" for name, value in facts.items()),
        f"## How to work\n\n{_WORK[call.role]}",
        f"## Tools\n\n{_TOOLS}",
    ]
    if work.settings.gates:
        gates = (f"- {one.name}: `{' '.join(one.command)}`" for one in work.settings.gates)
        parts.append("## Checks that must pass before it lands\n\n" + "\n".join(gates))
    if work.text is not None:
        text = f"{work.text.title}\n\n{work.text.body}".strip()
        parts.append(f"## What is asked\n\n{text[:TEXT_CHARS_MAX]}")
    return "\n\n".join(parts) + "\n"


def _line(value: str) -> str:
    return " ".join(value.split())
