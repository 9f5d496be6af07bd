"""`python -m holdfast.sdk doctor|sync`: for cron, where only the SDK is installed.

`holdfast brain` of the command line prints more; this needs only the standard library, and uses the
same exit codes.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from holdfast.kernel.failure import install
from holdfast.sdk import Brain, doctor


def main(argv: Sequence[str] | None = None) -> int:
    """Check a brain or send its queue; return the exit code (`Report`, `Synced`)."""
    parser = argparse.ArgumentParser(prog="python -m holdfast.sdk", description=main.__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    looking = commands.add_parser("doctor", help="say how a brain stands")
    looking.add_argument("--repair", action="store_true", help="put right what can be")
    sending = commands.add_parser("sync", help="send what waits, here and now")
    sending.add_argument("--full", action="store_true", help="send the whole record again")
    sending.add_argument("--backfill", action="store_true", help="send what another program left")
    for one in (looking, sending):
        one.add_argument("--brain", required=True, type=Path, help="the brain's folder")
        one.add_argument("--json", action="store_true", help="print JSON, for programs")
    options = parser.parse_args(argv)
    if not options.brain.is_dir():
        parser.error(f"--brain: {options.brain} is not there")
    return _look(options) if options.command == "doctor" else _send(options)


def _look(options: argparse.Namespace) -> int:
    if options.repair:
        for done in doctor.repair(options.brain):
            print(done, file=sys.stderr)  # noqa: T201  a program
    report = doctor.examine(options.brain)
    text = json.dumps(report.as_json(), indent=2) if options.json else "\n".join(report.lines())
    print(text)  # noqa: T201  as above
    return report.exit_code


def _send(options: argparse.Namespace) -> int:
    with Brain(options.brain) as brain:
        done = brain.sync(full=options.full, backfill=options.backfill)
    text = f"{done.delivered} delivered, {done.pending} wait, {done.dead} dead letters"
    if done.reason:
        text += f"; they wait because: {done.reason}"
    print(json.dumps(done._asdict()) if options.json else text)  # noqa: T201  a program
    return done.exit_code


if __name__ == "__main__":
    install(sys.stderr.write, threading)
    sys.exit(main())
