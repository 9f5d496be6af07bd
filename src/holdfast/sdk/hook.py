"""The recording hook: `python -m holdfast.sdk.hook --agent NAME --brain FOLDER`, fed on stdin.

An agent runs it after each edit of its own with a JSON object on standard input. It records the
edits it recognises; whatever goes wrong it prints to standard error, counts in the folder for a
doctor, and exits 0, because an agent must never stop for a record. It prints an empty JSON object,
which agents that read a hook's output treat as "go on".

It does not synchronise: the brain it opens sends by itself, as in every other program.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final

from holdfast.kernel.clock import SystemClock
from holdfast.sdk import hook_tally, payload
from holdfast.sdk.hook_tally import Outcome

INPUT_BYTES_MAX: Final = 4 * 1024 * 1024
"""Maximum size of a payload: an agent may send a whole file, and some send it twice."""
CLOSE_S: Final = 1.0
"""How long the agent may wait for a correction to be sent; else the next one sends it."""


def main(argv: Sequence[str] | None = None) -> None:
    """Record one payload from standard input."""
    parser = argparse.ArgumentParser(prog="holdfast.sdk.hook", description=main.__doc__)
    parser.add_argument("--agent", required=True, help="who runs the hook, e.g. claude-code")
    parser.add_argument("--brain", required=True, type=Path, help="the brain's folder")
    try:
        options = parser.parse_args(argv)
    except SystemExit as ended:
        # Some agents take another exit code for a refusal of their edit.
        if ended.code:
            _say("nothing was recorded: the hook's arguments are wrong; install it again")
        _go_on()
        return
    try:
        outcome = record(sys.stdin.buffer, agent=options.agent, folder=options.brain)
    except Exception as error:  # noqa: BLE001  an agent must never stop for a record
        outcome = Outcome(dropped=1, problem=str(error) or type(error).__name__)
    try:
        hook_tally.note(options.brain, options.agent, outcome, now_ms=SystemClock().now_ms())
    except Exception as error:  # noqa: BLE001  as above
        outcome = outcome._replace(problem=outcome.problem or f"not counted: {error}")
    _tell(outcome)
    _go_on()


def _tell(outcome: Outcome) -> None:
    problem = " ".join(outcome.problem.split())
    if problem and outcome.recorded:
        _say(f"{outcome.dropped} not recorded: {problem}")
    elif problem:
        _say(f"nothing was recorded: {problem}")
    if outcome.recorded:
        _say(f"{outcome.recorded} recorded")
    elif not problem:
        _say("nothing was recorded: the call holds no edit")


def _say(text: str) -> None:
    with suppress(OSError, ValueError):  # closed by the agent
        print(f"holdfast: {text}", file=sys.stderr, flush=True)  # noqa: T201  a program


def _go_on() -> None:
    """Print the answer that agents read; one that has closed its end reads none."""
    try:
        print("{}", flush=True)  # noqa: T201  a program
    except (OSError, ValueError):
        # Python would flush it once more at its exit, and end with another code.
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def record(source: BinaryIO, *, agent: str, folder: Path) -> Outcome:
    """Record the edits of a payload; return how many were recorded, and why others were not.

    Raise ValueError if it is not a JSON object or too long, OSError for the folder.
    """
    raw = source.read(INPUT_BYTES_MAX + 1)
    if len(raw) > INPUT_BYTES_MAX:
        raise ValueError(f"the payload is longer than {INPUT_BYTES_MAX} bytes")
    # A byte that is not UTF-8 costs its letter, not the record.
    text = raw.decode("utf-8-sig", "replace")
    parsed = json.loads(text) if text.strip() else {}
    if not isinstance(parsed, dict):
        raise ValueError("the payload is not a JSON object")  # noqa: TRY004  it is about a text
    report = payload.read(parsed)
    if report.unknown:
        keys = ", ".join(sorted(report.unknown)[:10])
        problem = f"an edit of {report.tool or agent} in a form that is not known ({keys})"
        return Outcome(problem=problem, understood=False)
    if not report.edits:
        return Outcome()
    return _kept(report, agent=agent, folder=folder)


def _kept(report: payload.Report, *, agent: str, folder: Path) -> Outcome:
    from holdfast.sdk import Brain, compose  # noqa: PLC0415  most calls tell of no edit: be quick

    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    session = report.session and compose.session_fitting(report.session)
    recorded, problem = 0, ""
    brain = Brain(folder)
    try:
        for edit in report.edits:
            context = " ".join(filter(None, (agent, report.tool, edit.path)))
            try:
                made = brain.correct(edit.draft, edit.final, session=session, context=context)
            except ValueError as error:  # one that is too long; the others are not
                problem = problem or str(error)
            else:
                recorded += made.persisted
                problem = problem or ("" if made.persisted else made.reason)
    finally:
        brain.close(CLOSE_S)
    dropped = len(report.edits) - recorded + report.beyond
    if report.beyond:
        problem = problem or f"more than {payload.EDITS_MAX} edits in one call"
    return Outcome(recorded, dropped, problem)


if __name__ == "__main__":
    main()
