"""The last step before a confined program: Landlock, the system call filter, then exec.

Run by path with `python -I -S -E`: it uses the standard library alone with few imports, because as
the first process of a PID namespace it stays in memory beside the program. Its command line names a
descriptor that holds a `Plan`.

Bubblewrap runs before it, because Landlock forbids mounts. Access not listed is refused. The
program must never start with less confinement than planned: any failure exits with `FAILED` and a
line on stderr.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Final, NoReturn

FAILED: Final = 126
"""Exit code when the program could not be started confined; a shell's for "cannot execute"."""

NOT_FOUND: Final = 127
"""Exit code when there is no such program; a shell's."""

FIRST: Final = b"first"
"""Sent by the first process of the sandbox, as `HERE`: all others end with it."""

HERE: Final = b"here"
"""Sent by the process that will become the program; the kernel attaches its process id."""

GO: Final = b"go"
"""The answer it waits for before it executes the program."""

# Rights on files, from <linux/landlock.h>.
EXECUTE: Final = 1 << 0
WRITE_FILE: Final = 1 << 1
READ_FILE: Final = 1 << 2
READ_DIR: Final = 1 << 3
REFER: Final = 1 << 13
TRUNCATE: Final = 1 << 14
IOCTL_DEV: Final = 1 << 15
READ: Final = EXECUTE | READ_FILE | READ_DIR
WRITE: Final = (1 << 16) - 1
_FIRST_RIGHTS: Final = REFER - 1
_OF_A_FILE: Final = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV

PRIVATE: Final = ("/tmp", "/var/tmp", "/run")  # noqa: S108  the sandbox's own, empty at first
"""Folders a sandbox gets its own copy of: sockets of other programs are in the host's."""

ABI_REFER: Final = 2
ABI_TRUNCATE: Final = 3
ABI_PORTS: Final = 4
ABI_IOCTL_DEV: Final = 5
ABI_SCOPES: Final = 6

BIND_TCP: Final = 1
CONNECT_TCP: Final = 2
SCOPES: Final = 3
"""Abstract Unix sockets and signals do not reach processes outside the confinement."""

_CREATE_RULESET: Final = 444
_ADD_RULE: Final = 445
_RESTRICT_SELF: Final = 446
_RULESET_VERSION: Final = 1
_PATH_BENEATH: Final = 1
_NET_PORT: Final = 2
_O_PATH: Final = 0o10000000
_FOLDER: Final = 0o040000
_KIND_OF_FILE: Final = 0o170000

_PR_SET_SECCOMP: Final = 22
_PR_CAPBSET_DROP: Final = 24
_PR_SET_NO_NEW_PRIVS: Final = 38
_SECCOMP_MODE_FILTER: Final = 2
_CAPABILITY_VERSION_3: Final = 0x20080522
_CAPABILITIES: Final = 64
_CHANGED_SIGNALS: Final = (2, 13, 25)  # SIGINT, SIGPIPE, SIGXFSZ

_CHUNK_BYTES: Final = 1 << 16
PORTS_END: Final = 1 << 16
NO_SOCKETS: Final = -2
"""In the place of a plan's ports: the program can make no socket of any kind."""


class Plan:
    """What to do, encoded as texts that end with NUL.

    `report` is the descriptor of the socket for start and end reports, -1 to become the program
    with no process beside it. `ports` is the descriptor of a ruleset of ports, -1 for none, or
    NO_SOCKETS. `abi` is the version of Landlock to use, 0 for none. `rules` are rights on paths.
    The environment is included, so that none of its variables affects what runs before the program.
    """

    def __init__(
        self, *, report: int, ports: int, abi: int, rules: Sequence[tuple[int, str]],
        argv: list[str], env: Mapping[str, str],
    ) -> None:  # fmt: skip
        self.report = report
        self.ports = ports
        self.abi = abi
        self.rules = rules
        self.argv = argv
        self.env = env

    def encode(self) -> bytes:
        """Return the plan as bytes."""
        numbers = (self.report, self.ports, self.abi, len(self.rules), len(self.argv))
        texts = [str(number) for number in numbers]
        for access, path in self.rules:
            texts += [str(access), path]
        texts += self.argv
        for name, value in self.env.items():
            texts += [name, value]
        return b"".join(os.fsencode(text) + b"\0" for text in texts)

    @staticmethod
    def decode(data: bytes) -> Plan:
        """Decode a plan."""
        texts = [os.fsdecode(text) for text in data.split(b"\0")[:-1]]
        report, ports, abi, rules, words = map(int, texts[:5])
        paths, rest = texts[5 : 5 + 2 * rules], texts[5 + 2 * rules :]
        return Plan(
            report=report, ports=ports, abi=abi,
            rules=list(zip(map(int, paths[::2]), paths[1::2], strict=True)),
            argv=rest[:words], env=dict(zip(rest[words::2], rest[words + 1 :: 2], strict=True)),
        )  # fmt: skip


class Kernel:
    """System calls that the standard library does not wrap; each raises OSError."""

    def __init__(self) -> None:
        """Load ctypes here, only when a call is needed."""
        import ctypes  # noqa: PLC0415  a megabyte, which the resident process does without

        self._ctypes = ctypes
        self._libc = ctypes.CDLL(None, use_errno=True)

    def find_abi(self) -> int:
        """Return the kernel's Landlock version, 0 for none."""
        return max(0, int(self._libc.syscall(_CREATE_RULESET, None, 0, _RULESET_VERSION)))

    def restrict_files(self, abi: int, rules: Iterable[tuple[int, str]]) -> None:
        """Restrict this process and its descendants to the files of `rules`.

        A path that does not exist grants nothing. From ABI 6 on, signals and abstract Unix sockets
        reach only processes in the same confinement.
        """
        handled = files_handled(abi)
        attributes = (handled, 0, SCOPES) if abi >= ABI_SCOPES else (handled,)
        ruleset = self._create_ruleset(*attributes)
        for access, path in rules:
            try:
                parent = os.open(path, _O_PATH | os.O_CLOEXEC)
            except (FileNotFoundError, NotADirectoryError):
                continue
            is_folder = os.fstat(parent).st_mode & _KIND_OF_FILE == _FOLDER
            allowed = access & handled & (WRITE if is_folder else _OF_A_FILE)
            rule = allowed.to_bytes(8, sys.byteorder) + parent.to_bytes(4, sys.byteorder)
            self._check(self._libc.syscall(_ADD_RULE, ruleset, _PATH_BENEATH, rule, 0))
            os.close(parent)
        self.enforce(ruleset)
        os.close(ruleset)

    def allow_ports(self, connect: Iterable[int], bind: Iterable[int]) -> int:
        """Return the descriptor of a ruleset that allows TCP on these ports alone.

        Passing it to other processes saves them tens of thousands of calls. As every ruleset it
        refuses moves from one folder to another; `allow_moves` allows some.
        """
        ruleset = self._create_ruleset(REFER, BIND_TCP | CONNECT_TCP)
        connects, binds = set(connect), set(bind)
        for port in sorted(connects | binds):
            access = CONNECT_TCP * (port in connects) | BIND_TCP * (port in binds)
            rule = access.to_bytes(8, sys.byteorder) + port.to_bytes(8, sys.byteorder)
            self._check(self._libc.syscall(_ADD_RULE, ruleset, _NET_PORT, rule, 0))
        return ruleset

    def allow_moves(self, ruleset: int, folders: Iterable[str]) -> None:
        """Let files be moved and linked within these folders, as far as other rules allow it.

        A ruleset that says nothing of it refuses it, with EXDEV: git cannot push there. The same
        folder again takes no memory.
        """
        for folder in folders:
            try:
                parent = os.open(folder, _O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            except (FileNotFoundError, NotADirectoryError):
                continue
            rule = REFER.to_bytes(8, sys.byteorder) + parent.to_bytes(4, sys.byteorder)
            self._check(self._libc.syscall(_ADD_RULE, ruleset, _PATH_BENEATH, rule, 0))
            os.close(parent)

    def enforce(self, ruleset: int) -> None:
        """Enforce a ruleset on this process and its descendants."""
        self._check(self._libc.syscall(_RESTRICT_SELF, ruleset, 0))

    def reset_signals(self) -> None:
        """Undo Python's changes of signal handling, which a program would inherit."""
        for number in _CHANGED_SIGNALS:
            self._libc.signal(number, None)

    def give_up_privileges(self) -> None:
        """Drop capabilities, and prevent executed programs from gaining any."""
        for capability in range(_CAPABILITIES):
            self._libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)  # refused without privileges
        head = (self._ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
        self._check(self._libc.capset(head, (self._ctypes.c_uint32 * 6)()))
        self._check(self._libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))

    def filter_calls(self, program: bytes) -> None:
        """Install this BPF program as the filter of all further system calls."""
        ctypes = self._ctypes
        code = ctypes.create_string_buffer(program, len(program))
        # struct sock_fprog: the number of instructions, and where they are.
        fields = (ctypes.c_size_t * 2)(len(program) // 8, ctypes.addressof(code))
        self._check(self._libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, fields, 0, 0))

    def _create_ruleset(self, *attributes: int) -> int:
        packed = b"".join(number.to_bytes(8, sys.byteorder) for number in attributes)
        made: int = self._libc.syscall(_CREATE_RULESET, packed, len(packed), 0)
        self._check(made)
        return made

    def _check(self, answer: int) -> None:
        if answer < 0:
            number = self._ctypes.get_errno()
            raise OSError(number, os.strerror(number))


def files_handled(abi: int) -> int:
    """Return every file right of this version of Landlock."""
    rights = _FIRST_RIGHTS
    rights |= REFER if abi >= ABI_REFER else 0
    rights |= TRUNCATE if abi >= ABI_TRUNCATE else 0
    return rights | (IOCTL_DEV if abi >= ABI_IOCTL_DEV else 0)


class _Filter:
    """A BPF program, made of instructions that jump to labels."""

    def __init__(self) -> None:
        self._rows: list[tuple[int, int, str, str]] = []
        self._labels: dict[str, int] = {}

    def label(self, name: str) -> None:
        self._labels[name] = len(self._rows)

    def load(self, offset: int) -> None:
        self._rows.append((0x20, offset, "", ""))  # BPF_LD | BPF_W | BPF_ABS

    def if_equal(self, value: int, then: str) -> None:
        self._rows.append((0x15, value, then, ""))  # BPF_JMP | BPF_JEQ | BPF_K

    def unless_equal(self, value: int, then: str) -> None:
        self._rows.append((0x15, value, "", then))

    def if_at_least(self, value: int, then: str) -> None:
        self._rows.append((0x35, value, then, ""))  # BPF_JMP | BPF_JGE | BPF_K

    def if_any_bit(self, value: int, then: str) -> None:
        self._rows.append((0x45, value, then, ""))  # BPF_JMP | BPF_JSET | BPF_K

    def answer(self, value: int) -> None:
        self._rows.append((0x06, value, "", ""))  # BPF_RET | BPF_K

    def encode(self) -> bytes:
        code = bytearray()
        for place, (kind, value, then, otherwise) in enumerate(self._rows):
            code += kind.to_bytes(2, "little")
            for label in (then, otherwise):
                code.append(self._labels[label] - place - 1 if label else 0)
            code += value.to_bytes(4, "little")
        return bytes(code)


class _Calls:
    """Numbers of the system calls that open or use a socket, and their architecture."""

    def __init__(
        self, architecture: int, socket: int, sendto: int, sendmsg: int, many: int
    ) -> None:
        self.architecture = architecture
        self.socket = socket
        self.sendto = sendto
        self.sendmsg = sendmsg
        self.sendmmsg = many


_CALLS: Final = {
    "x86_64": _Calls(0xC000003E, 41, 44, 46, 307),
    "aarch64": _Calls(0xC00000B7, 198, 206, 211, 269),
}
_IO_URING_SETUP: Final = 425
_OTHER_ABI: Final = 0x40000000
"""From this number on they are calls of x32, which the others would not match."""

_INTERNET: Final = (2, 10)  # AF_INET, AF_INET6
_AF_SMC: Final = 43
_PROTOCOLS: Final = (0, 1, 6, 17, 58)  # default, ICMP, TCP, UDP, ICMPv6
_MSG_FASTOPEN: Final = 0x20000000
_NR, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16
_ALLOW: Final = 0x7FFF0000
_REFUSE: Final = 0x00050000
_EACCES, _ENOSYS, _EPROTONOSUPPORT, _EOPNOTSUPP = 13, 38, 93, 95


def port_filter(machine: str) -> bytes | None:
    """Return the filter that closes the ways around Landlock's rules of ports.

    Landlock checks bind and connect of plain TCP sockets. Multipath TCP, SMC and SCTP reach the
    same listeners, data in the first packet connects without connect, and io_uring bypasses
    filters; each is refused as if the kernel did not support it. Calls of other architectures have
    other numbers and are refused too. None on architectures whose numbers are not listed here.
    """
    calls = _CALLS.get(machine)
    if calls is None:
        return None
    code = _Filter()
    code.load(_ARCHITECTURE)
    code.unless_equal(calls.architecture, "unknown")
    code.load(_NR)
    code.if_at_least(_OTHER_ABI, "unknown")
    code.if_equal(_IO_URING_SETUP, "unknown")
    code.if_equal(calls.socket, "socket")
    code.if_equal(calls.sendto, "flags fourth")
    code.if_equal(calls.sendmmsg, "flags fourth")
    code.if_equal(calls.sendmsg, "flags third")
    code.answer(_ALLOW)
    code.label("socket")
    code.load(_ARGUMENTS)
    code.if_equal(_AF_SMC, "no protocol")
    for family in _INTERNET:
        code.if_equal(family, "internet")
    code.answer(_ALLOW)
    code.label("internet")
    code.load(_ARGUMENTS + 2 * 8)
    for protocol in _PROTOCOLS:
        code.if_equal(protocol, "allow")
    code.label("no protocol")
    code.answer(_REFUSE | _EPROTONOSUPPORT)
    code.label("flags fourth")
    code.load(_ARGUMENTS + 3 * 8)
    code.if_any_bit(_MSG_FASTOPEN, "no option")
    code.answer(_ALLOW)
    code.label("flags third")
    code.load(_ARGUMENTS + 2 * 8)
    code.if_any_bit(_MSG_FASTOPEN, "no option")
    code.label("allow")
    code.answer(_ALLOW)
    code.label("no option")
    code.answer(_REFUSE | _EOPNOTSUPP)
    code.label("unknown")
    code.answer(_REFUSE | _ENOSYS)
    return code.encode()


def socket_filter(machine: str) -> bytes | None:
    """Return the filter that refuses every new socket, a pair of connected ones apart.

    None on architectures whose numbers are not listed here.
    """
    calls = _CALLS.get(machine)
    if calls is None:
        return None
    code = _Filter()
    code.load(_ARCHITECTURE)
    code.unless_equal(calls.architecture, "unknown")
    code.load(_NR)
    code.if_at_least(_OTHER_ABI, "unknown")
    code.if_equal(_IO_URING_SETUP, "unknown")
    code.if_equal(calls.socket, "socket")
    code.answer(_ALLOW)
    code.label("socket")
    code.answer(_REFUSE | _EACCES)
    code.label("unknown")
    code.answer(_REFUSE | _ENOSYS)
    return code.encode()


_FRESH: Final = (*PRIVATE, "/dev")
"""Mounted anew for each sandbox. The ruleset of ports is shared and would grow by each of them; so
a move between two folders of these copies."""


def become(plan: Plan) -> NoReturn:
    """Confine this process, then run the program in it."""
    try:
        kernel = Kernel()
        kernel.reset_signals()
        kernel.give_up_privileges()
        if plan.abi:
            kernel.restrict_files(plan.abi, plan.rules)
        machine, program = os.uname().machine, None
        if plan.ports >= 0:
            own = (path for access, path in plan.rules if access & REFER and path not in _FRESH)
            kernel.allow_moves(plan.ports, own)
            kernel.enforce(plan.ports)
            program = port_filter(machine)
        elif plan.ports == NO_SOCKETS:
            program = socket_filter(machine)
        if program is not None:
            kernel.filter_calls(program)
    except OSError as error:
        _give_up(FAILED, f"cannot be confined: {error}")
    try:
        os.execvpe(plan.argv[0], plan.argv, plan.env)  # noqa: S606  that is the point
    except FileNotFoundError as error:
        _give_up(NOT_FOUND, f"{plan.argv[0]}: {error.strerror}")
    except OSError as error:
        _give_up(FAILED, f"{plan.argv[0]}: {error.strerror}")


def watch(plan: Plan, program: int) -> NoReturn:
    """Reap every child and report how the program ended; all remaining processes end with us."""
    if plan.ports >= 0:
        os.close(plan.ports)
    while True:
        pid, status = os.wait()
        if pid == program:
            os.write(plan.report, b"%d" % status)
            os._exit(0)


def try_landlock() -> NoReturn:
    """Print the Landlock version; exit with 0 if it could be enforced."""
    kernel = Kernel()
    abi = kernel.find_abi()
    os.write(1, b"%d\n" % abi)
    if abi:
        kernel.give_up_privileges()
        kernel.restrict_files(abi, ())
        try:
            os.listdir("/")  # noqa: PTH208  pathlib is a megabyte
        except PermissionError:
            os._exit(0)
        _give_up(FAILED, "Landlock is there and refuses nothing")
    os._exit(0)


def main(argument: str) -> NoReturn:
    """Execute the plan."""
    if argument == "--try":
        try_landlock()
    descriptor = int(argument)
    data = b""
    while part := os.read(descriptor, _CHUNK_BYTES):
        data += part
    os.close(descriptor)
    plan = Plan.decode(data)
    for inherited in (plan.report, plan.ports):
        if inherited >= 0:
            os.set_inheritable(inherited, False)  # noqa: FBT003  its only argument
    if plan.report < 0:
        become(plan)
    os.write(plan.report, FIRST)
    program = os.fork()
    if program == 0:
        os.write(plan.report, HERE)
        if os.read(plan.report, len(GO)) != GO:
            os._exit(FAILED)  # its supervisor is gone
        become(plan)
    watch(plan, program)


def _give_up(code: int, text: str) -> NoReturn:
    os.write(2, f"holdfast: {text}\n".encode(errors="backslashreplace"))
    os._exit(code)


if __name__ == "__main__":
    main(sys.argv[1])
