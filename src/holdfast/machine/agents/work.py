"""Work that a running agent is handed, as its profile sees it: the files of one attempt."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkFiles:
    """The files of an attempt below the agent's home.

    `folder` is its clone, `prompt` the text, `env` variables as a JSON object. `session` names the
    attempt to the agent.
    """

    session: str
    folder: str
    prompt: str
    env: str
