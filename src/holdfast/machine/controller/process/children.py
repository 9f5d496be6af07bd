"""Processes: started in their own group, read, killed as a group, and reaped at once.

Every child of the controller is started here, so one place reaps them all. A child's group is
killed while its ended leader still holds the group's number, so no foreign process can be hit. The
controller is a subreaper: descendants that the agent orphans become our children, are reaped, and
are killed once the agent has ended. A child gets a parent death signal, so a killed controller
leaves no agent behind.

Everything started runs code that an agent can influence, so all of it is confined, and only here;
the one exception is our own observer, which `launch_ours` starts. A confined program has a process
around it: its sandbox, which leads the group and the session. Signals go to the program itself, and
its exit status is the one reported.

Use from the main thread only: a child's parent death signal follows the thread that made it.
"""

from __future__ import annotations

import asyncio
import codecs
import ctypes
import errno
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Final, Literal, TypeAlias

from holdfast.machine.confine.report import Report
from holdfast.machine.confine.sandbox import Confinement, Launch
from holdfast.machine.controller.limits import (
    DRAIN_BYTES_MAX,
    LINE_CHARS_MAX,
    PURGE_ROUNDS_MAX,
    READ_BYTES,
)
from holdfast.machine.controller.process.tree import adopt_orphans

CUT = " [cut]"


class Lines:
    """An incremental splitter; invalid UTF-8 becomes the replacement character."""

    __slots__ = ("_cut", "_decoder", "_limit", "_rest")

    def __init__(self, limit: int = LINE_CHARS_MAX) -> None:
        """Keep at most `limit` characters of a line; the rest is dropped and marked."""
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._limit = limit
        self._rest = ""
        self._cut = False

    def feed(self, data: bytes) -> list[str]:
        """Return the lines that `data` completes, without their ends."""
        *whole, last = self._decoder.decode(data).split("\n")
        lines = []
        for piece in whole:
            self._take(piece)
            lines.append(self._finish())
        self._take(last)
        return lines

    def rest(self) -> str:
        """Return and clear the unfinished line; the child has ended."""
        self._take(self._decoder.decode(b"", final=True))
        return self._finish()

    def _take(self, piece: str) -> None:
        left = self._limit - len(self._rest)
        self._cut = self._cut or len(piece) > left
        self._rest += piece[:left]

    def _finish(self) -> str:
        line, cut = self._rest.removesuffix("\r"), self._cut
        self._rest, self._cut = "", False
        return line + CUT if cut else line


Stream: TypeAlias = Literal["stdout", "stderr"]
OnLine: TypeAlias = Callable[[Stream, str], None]
OnExit: TypeAlias = Callable[[int], None]

_PR_SET_PDEATHSIG: Final = 1

_libc = ctypes.CDLL(None, use_errno=True)


class Child:
    """One process that we started."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        report: Report | None,
        *,
        on_line: OnLine,
        on_rest: OnLine,
        on_exit: OnExit,
    ) -> None:
        """Wrap a process that was just made; `report` reports from its sandbox."""
        self._process = process
        self._report = report
        self._on_line = on_line
        self._on_exit = on_exit
        self._killed = False
        if report is not None:
            asyncio.get_running_loop().add_reader(report.fileno(), self._read_report)
        streams: tuple[tuple[Stream, IO[bytes] | None], ...] = (
            ("stdout", process.stdout),
            ("stderr", process.stderr),
        )
        self._pipes = [
            _Pipe(pipe, name, on_line, on_rest) for name, pipe in streams if pipe is not None
        ]

    @property
    def session(self) -> int:
        """Return its session id, which is also its group's and its sandbox's process id."""
        return self._process.pid

    @property
    def pid(self) -> int:
        """Return the program's process id; its sandbox's until that is known."""
        if self._report is None or self._report.pid is None:
            return self._process.pid
        return self._report.pid

    def send(self, number: int) -> None:
        """Signal the program itself; does nothing after its end."""
        if self._process.returncode is not None:
            return
        if self._report is None:
            _quietly(os.kill, self._process.pid, number)
        else:
            self._report.send(number)

    def kill(self) -> None:
        """Kill the whole group; does nothing after its end."""
        if self._process.returncode is None:
            self._killed = True
            self.end_group()

    def end_group(self) -> None:
        """Kill the rest of its group, whose number its first process still holds."""
        _quietly(os.killpg, self._process.pid, signal.SIGKILL)

    def finish(self, code: int) -> None:
        """Handle the end: read the rest, close the pipes, call the owner."""
        self._process.returncode = code
        if self._report is not None:
            self._report.take()
            lingering = self._report.lingering
            if lingering is not None:
                # Its sandbox was killed before its contents: they end too, in a moment.
                loop = asyncio.get_running_loop()
                loop.add_reader(lingering, self._finish_late, lingering, code)
                return
        self._finish(code)

    def _finish_late(self, lingering: int, code: int) -> None:
        asyncio.get_running_loop().remove_reader(lingering)
        self._finish(code)

    def _finish(self, code: int) -> None:
        for pipe in self._pipes:
            pipe.finish()
        if self._report is not None:
            code = self._finish_report(self._report, code)
        self._on_exit(code)

    def _read_report(self) -> None:
        assert self._report is not None, "it is read"
        if not self._report.take():
            asyncio.get_running_loop().remove_reader(self._report.fileno())

    def _finish_report(self, report: Report, sandbox: int) -> int:
        """Return how the program ended, by its report; log if there is none."""
        asyncio.get_running_loop().remove_reader(report.fileno())
        report.close()
        if not report.ended and not self._killed:
            what = "ended with the program in it" if report.began else "could not be made"
            self._on_line("stderr", f"[holdfast: the sandbox {what}: {sandbox}]")
        return report.code(sandbox)


class _Pipe:
    """The reading end of a child's output."""

    def __init__(self, pipe: IO[bytes], stream: Stream, on_line: OnLine, on_rest: OnLine) -> None:
        self._pipe = pipe
        self._stream: Stream = stream
        self._on_line = on_line
        self._on_rest = on_rest
        self._lines = Lines()
        os.set_blocking(pipe.fileno(), False)
        asyncio.get_running_loop().add_reader(pipe.fileno(), self._read)

    def finish(self) -> None:
        """Read what the pipe still holds, pass on an unfinished line, close it."""
        drained = 0
        while not self._pipe.closed and drained < DRAIN_BYTES_MAX:
            taken = self._read()
            drained += taken
            if not taken:
                break
        rest = self._lines.rest()
        if rest:
            self._on_rest(self._stream, rest)
        self._close()

    def _read(self) -> int:
        """Read once and pass the lines on; return the number of bytes."""
        try:
            data = os.read(self._pipe.fileno(), READ_BYTES)
        except BlockingIOError:
            return 0
        except OSError:
            data = b""
        if not data:
            self._close()
            return 0
        for line in self._lines.feed(data):
            self._on_line(self._stream, line)
        return len(data)

    def _close(self) -> None:
        if not self._pipe.closed:
            asyncio.get_running_loop().remove_reader(self._pipe.fileno())
            self._pipe.close()


class ChildProcesses:
    """Starts children and handles their ends."""

    def __init__(self, confinement: Confinement) -> None:
        """Every child will get this confinement."""
        self.confinement = confinement
        self._children: dict[int, Child] = {}
        self._parent = os.getpid()
        self.strays_reaped = 0

    def open(self) -> None:
        """Start to adopt and reap; call once, in the main thread, with a running loop."""
        adopt_orphans()
        asyncio.get_running_loop().add_signal_handler(signal.SIGCHLD, self._reap)

    def launch(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: str,
        on_line: OnLine,
        on_exit: OnExit,
        on_rest: OnLine = lambda _stream, _line: None,
        read: Sequence[str] = (),
        write: Sequence[str] = (),
        expendable: bool = False,
    ) -> Child:
        """Start a program, confined to these files and the system's; raise OSError.

        `on_exit` gets the code, negative for a signal, after the last line. `on_rest` gets output
        without a final newline. An `expendable` one is killed before the agent when memory runs
        out.
        """
        if self.confinement.kind != "none" and shutil.which(argv[0], path=env.get("PATH")) is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), argv[0])
        launch = self.confinement.wrap(argv, env=env, cwd=cwd, read=read, write=write)
        return self._launch(
            launch, cwd, on_line=on_line, on_exit=on_exit, on_rest=on_rest, expendable=expendable
        )

    def launch_ours(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: str,
        on_line: OnLine,
        on_exit: OnExit,
        on_rest: OnLine,
    ) -> Child:
        """Start a program of ours outside of the agent's sandbox; raise OSError.

        It runs no code of the agent's and confines itself. It is killed before the agent when
        memory runs out.
        """
        launch = Launch(tuple(argv), dict(env))
        return self._launch(
            launch, cwd, on_line=on_line, on_exit=on_exit, on_rest=on_rest, expendable=True
        )

    def _launch(
        self,
        launch: Launch,
        cwd: str,
        *,
        on_line: OnLine,
        on_exit: OnExit,
        on_rest: OnLine,
        expendable: bool,
    ) -> Child:
        def prepare() -> None:
            self._die_with_parent()
            if expendable:
                _offer_to_the_kernel()

        try:
            process = subprocess.Popen(
                launch.argv,
                env=launch.env,
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                start_new_session=True,
                pass_fds=launch.inherited,
                preexec_fn=prepare,  # noqa: PLW1509  the one way to set it for a child
            )
        except BaseException:
            launch.failed()
            raise
        launch.started()
        child = Child(process, launch.report, on_line=on_line, on_rest=on_rest, on_exit=on_exit)
        self._children[child.session] = child
        return child

    @property
    def sessions(self) -> tuple[int, ...]:
        """Return the sessions of living children; each is its leader's process id too."""
        return tuple(self._children)

    def abandon(self) -> None:
        """Kill every child with its group, from any thread, without waiting."""
        for pid in tuple(self._children):
            _quietly(os.killpg, pid, signal.SIGKILL)

    def purge(self) -> int:
        """Kill what ended children left behind, with all descendants; return how many.

        The orphans of an ended parent become our children before its end is reported, so only what
        is being forked at this moment is missed; hence once more before each start.
        """
        found: set[int] = set()
        for _ in range(PURGE_ROUNDS_MAX):
            left = [pid for pid in _children_of("self") if pid not in self._children]
            if found.issuperset(left):
                break
            while left:
                pid = left.pop()
                left += _children_of(str(pid))
                _quietly(os.kill, pid, signal.SIGKILL)
                found.add(pid)
        return len(found)

    def _die_with_parent(self) -> None:
        _libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        if os.getppid() != self._parent:
            os._exit(1)

    def _reap(self) -> None:
        while (pid := _ended_child()) is not None:
            child = self._children.pop(pid, None)
            if child is not None:
                child.end_group()
            _, status = os.waitpid(pid, 0)
            if child is None:
                self.strays_reaped += 1
            else:
                child.finish(os.waitstatus_to_exitcode(status))


def _ended_child() -> int | None:
    """Return the id of a child that has ended and is not reaped yet."""
    try:
        found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return None
    return None if found is None else found.si_pid


def _children_of(process: str) -> list[int]:
    pids: list[int] = []
    try:
        for task in Path("/proc", process, "task").iterdir():
            pids += map(int, (task / "children").read_text().split())
    except (FileNotFoundError, ProcessLookupError):
        return pids  # ended meanwhile, or not supported by the kernel
    return pids


def _offer_to_the_kernel() -> None:
    """Mark this process and its children to be killed first when memory runs out."""
    with suppress(OSError):  # not supported by this kernel
        Path("/proc/self/oom_score_adj").write_text("1000")


def _quietly(send: Callable[[int, int], None], pid: int, number: int) -> None:
    try:
        send(pid, number)
    except (ProcessLookupError, PermissionError):
        return  # it ended, or changed its user: not ours to signal
