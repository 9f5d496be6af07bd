"""The recording hook: `python -m holdfast.sdk.hook --agent NAME --brain FOLDER`, fed on stdin.

An agent runs it after each edit of its own with a JSON object on standard input. It records the
edits it recognises; on any error it prints to standard error and exits 0, because an agent must
never stop for a record. It prints an empty JSON object, which agents that read a hook's output
treat as "go on".

It does not synchronise: the brain it opens sends by itself, as in every other program.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, TextIO

from holdfast.sdk import payload

INPUT_CHARS_MAX: Final = 4 * 1024 * 1024
"""Maximum size of a payload: an agent may send a whole file, and some send it twice."""
CLOSE_S: Final = 1.0
"""How long the agent may wait for a correction to be sent; else the next one sends it."""


def main(argv: Sequence[str] | None = None) -> None:
    """Record one payload from standard input."""
    parser = argparse.ArgumentParser(prog="holdfast.sdk.hook", description=main.__doc__)
    parser.add_argument("--agent", required=True, help="who runs the hook, e.g. claude-code")
    parser.add_argument("--brain", required=True, type=Path, help="the brain's folder")
    options = parser.parse_args(argv)
    try:
        recorded = record(sys.stdin, agent=options.agent, folder=options.brain)
    except Exception as error:  # noqa: BLE001  an agent must never stop for a record
        print(f"holdfast: nothing was recorded: {error}", file=sys.stderr)  # noqa: T201  a program
    else:
        if recorded:
            print(f"holdfast: {recorded} recorded", file=sys.stderr)  # noqa: T201  a program
    print("{}")  # noqa: T201  the answer that agents read


def record(source: TextIO, *, agent: str, folder: Path) -> int:
    """Record the edits of a payload and return how many were recorded.

    Raise ValueError if it is not a JSON object or too long, OSError for the folder.
    """
    text = source.read(INPUT_CHARS_MAX + 1)
    if len(text) > INPUT_CHARS_MAX:
        raise ValueError(f"the payload is longer than {INPUT_CHARS_MAX} characters")
    parsed = json.loads(text) if text.strip() else {}
    if not isinstance(parsed, dict):
        raise ValueError("the payload is not a JSON object")  # noqa: TRY004  it is about a text
    report = payload.read(parsed)
    if not report.edits:
        return 0
    from holdfast.sdk import Brain, compose  # noqa: PLC0415  most calls tell of no edit: be quick

    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    session = report.session and compose.session_fitting(report.session)
    recorded = 0
    brain = Brain(folder)
    try:
        for edit in report.edits:
            context = " ".join(filter(None, (agent, report.tool, edit.path)))
            with suppress(ValueError):  # one that is too long; the others are not
                made = brain.correct(edit.draft, edit.final, session=session, context=context)
                recorded += made.persisted
    finally:
        brain.close(CLOSE_S)
    return recorded


if __name__ == "__main__":
    main()
