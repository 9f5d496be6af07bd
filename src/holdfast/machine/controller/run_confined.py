"""The wrapper around one command that the plane runs in a machine.

    python -I -m holdfast.machine.controller.run_confined -- PROGRAM ARGUMENT...

It runs the program with the confinement of the machine's agent, in the machine's environment
without the variables between plane and controller, and ends as the program does: with its exit code
or by its signal.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Sequence
from typing import Final

from holdfast.kernel.failure import brief
from holdfast.machine.confine.landlock import FAILED
from holdfast.machine.confine.report import Report
from holdfast.machine.confine.sandbox import ConfineError, Launch, open_confinement
from holdfast.machine.controller.settings import process_environment, read_running

_INSTALL: Final = "HOLDFAST_OPENCLAW_HOME"
"""The only variable of ours that such commands use: the agent's installation folder."""


def main(arguments: list[str]) -> int:
    """Run the command; return the exit code."""
    if arguments[:1] == ["--"] and len(arguments) > 1:
        try:
            return run(arguments[1:])
        except (ConfineError, OSError, ValueError) as error:
            sys.stderr.write(f"holdfast: cannot be confined: {brief(error)}\n")
            return FAILED
    sys.stderr.write(
        "usage: python -I -m holdfast.machine.controller.run_confined -- PROGRAM ...\n"
    )
    return 2


def run(argv: Sequence[str]) -> int:
    """Run a program confined; return its exit code, or end by the same signal."""
    environ = process_environment()
    running = read_running(environ)
    env = dict(running.child_env)
    if running.install:
        env[_INSTALL] = running.install
    confinement = open_confinement(running.confine, agent_port=running.agent_port)
    launch = confinement.wrap(
        argv, env=env, cwd=os.getcwd(),  # noqa: PTH109  a text is wanted
        read=(running.install,) if running.install else (),
        write=(running.agent_home,) if running.agent_home else (),
    )  # fmt: skip
    if launch.report is None:
        for descriptor in launch.inherited:
            os.set_inheritable(descriptor, True)  # noqa: FBT003  its only argument
        os.execvpe(launch.argv[0], launch.argv, launch.env)  # noqa: S606  that is the point
    code = _wait(launch, launch.report)
    if code < 0:
        signal.signal(-code, signal.SIG_DFL) if -code not in _FIXED else None
        os.kill(os.getpid(), -code)
    return code


def _wait(launch: Launch, report: Report) -> int:
    """Start a program in its sandbox and wait for it; return how it ended."""
    process = subprocess.Popen(launch.argv, env=launch.env, pass_fds=launch.inherited)
    launch.started()
    while report.take():
        select.select([report], [], [])
    code = report.code(process.wait())
    report.close()
    return code


_FIXED: Final = (signal.SIGKILL, signal.SIGSTOP)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
