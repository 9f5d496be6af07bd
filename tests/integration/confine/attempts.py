"""An agent that attempts attacks: each returns what it got, or raises what prevented it.

It runs as the agent, isolated, with the standard library alone. Its one argument is a file with the
outside paths of everything; it prints a JSON object of what succeeded. Signals are number 0, and
writes repeat the existing content, so that a success does no harm.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import resource
import signal
import socket
import struct
import subprocess
import sys
import termios
from collections.abc import Callable
from pathlib import Path
from typing import Any

Attempt = Callable[[dict[str, Any]], object]

LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNS, CLONE_NEWUSER = 0x20000, 0x10000000
MS_BIND, MS_PRIVATE, MNT_DETACH = 0x1000, 0x4000 | 0x40000, 2
PIVOT_ROOT, OPEN_BY_HANDLE_AT, PIDFD_GETFD = 155, 304, 438  # x86-64
IPPROTO_MPTCP = 262
SECRET = "the-plane's-secret"


def checked(answer: int) -> int:
    if answer < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return answer


def secret_in(path: str) -> str:
    found = Path(path).read_bytes()
    return SECRET if SECRET.encode() in found else ""


def find_inherited_descriptors(at: dict[str, Any]) -> list[str]:
    """Run first: the others leave some open."""
    found = [(number, link(f"/proc/self/fd/{number}")) for number in os.listdir("/proc/self/fd")]
    return [f"{number} {to}" for number, to in found if int(number) > 2 and to]


def link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""  # the listing's own, closed by now


# -- files


def read_keyring(at: dict[str, Any]) -> str:
    return secret_in(at["keyring"])


def read_store(at: dict[str, Any]) -> str:
    return secret_in(at["store"])


def read_plane_settings(at: dict[str, Any]) -> str:
    return secret_in(at["settings"])


def read_operator_token(at: dict[str, Any]) -> str:
    return secret_in(at["token"])


def read_own_record(at: dict[str, Any]) -> str:
    return secret_in(at["record"])


def read_controller_state(at: dict[str, Any]) -> str:
    return secret_in(at["state"])


def read_own_machine_log(at: dict[str, Any]) -> str:
    return secret_in(at["log"])


def read_neighbour_home(at: dict[str, Any]) -> str:
    return secret_in(at["neighbour_file"])


def read_neighbour_record(at: dict[str, Any]) -> str:
    return secret_in(at["neighbour_record"])


def list_neighbours(at: dict[str, Any]) -> list[str]:
    return [name for name in os.listdir(at["machines"]) if name != "own"]


def write_to_neighbour(at: dict[str, Any]) -> str:
    with open(at["neighbour_file"], "r+b") as file:
        file.write(SECRET.encode())
    return "written"


def read_ssh_key(at: dict[str, Any]) -> str:
    return secret_in(at["ssh"])


def read_through_symbolic_link(at: dict[str, Any]) -> str:
    os.symlink(at["keyring"], "symbolic")
    return secret_in("symbolic")


def read_through_hard_link(at: dict[str, Any]) -> str:
    os.link(at["keyring"], "hard")
    return secret_in("hard")


def read_through_parent_of_cwd(at: dict[str, Any]) -> str:
    return secret_in(f"/proc/self/cwd/../../../{Path(at['keyring']).name}")


def read_through_root_of_first_process(at: dict[str, Any]) -> str:
    return secret_in(f"/proc/1/root{at['keyring']}")


def read_by_file_handle(at: dict[str, Any]) -> str:
    handle = ctypes.create_string_buffer(bytes.fromhex(at["handle"]))
    mounted = os.open(at["home"], os.O_RDONLY | os.O_DIRECTORY)
    opened = checked(LIBC.syscall(OPEN_BY_HANDLE_AT, mounted, handle, os.O_RDONLY))
    return SECRET if SECRET.encode() in os.read(opened, 4096) else ""


def move_a_file_out(at: dict[str, Any]) -> str:
    Path("moving").write_text("x")
    os.rename("moving", Path(at["machines"], "moved"))
    return "moved"


def write_to_package(at: dict[str, Any]) -> str:
    with open(at["package"], "ab"):
        return "opened to write"


def write_to_installation(at: dict[str, Any]) -> str:
    with open(at["installation"], "ab"):
        return "opened to write"


def write_to_etc(at: dict[str, Any]) -> str:
    with open("/etc/passwd", "ab"):
        return "opened to write"


def read_shared_memory(at: dict[str, Any]) -> str:
    return secret_in(at["shared_memory"])


# -- other processes


def read_controller_environment(at: dict[str, Any]) -> str:
    return secret_in(f"/proc/{at['controller']}/environ")


def read_controller_memory(at: dict[str, Any]) -> str:
    with open(f"/proc/{at['controller']}/mem", "rb"):
        return "opened"


def list_controller_files(at: dict[str, Any]) -> list[str]:
    return os.listdir(f"/proc/{at['controller']}/fd")


def read_through_controller_root(at: dict[str, Any]) -> str:
    return secret_in(f"/proc/{at['controller']}/root{at['keyring']}")


def read_neighbour_environment(at: dict[str, Any]) -> str:
    return secret_in(f"/proc/{at['neighbour']}/environ")


def see_other_command_lines(at: dict[str, Any]) -> str:
    return Path(f"/proc/{at['neighbour']}/cmdline").read_text()


def signal_controller(at: dict[str, Any]) -> str:
    os.kill(at["controller"], 0)
    return "sent"


def signal_plane(at: dict[str, Any]) -> str:
    os.kill(at["plane"], 0)
    return "sent"


def signal_neighbour(at: dict[str, Any]) -> str:
    os.kill(at["neighbour"], 0)
    return "sent"


def signal_neighbour_by_pidfd(at: dict[str, Any]) -> str:
    signal.pidfd_send_signal(os.pidfd_open(at["neighbour"]), 0)
    return "sent"


def trace_neighbour(at: dict[str, Any]) -> str:
    checked(LIBC.ptrace(0x4206, at["neighbour"], 0, 0))  # PTRACE_SEIZE, which does not stop it
    return "traced"


def read_neighbour_memory(at: dict[str, Any]) -> str:
    mine, theirs = ctypes.create_string_buffer(8), ctypes.c_size_t * 2
    local = theirs(ctypes.addressof(mine), 8)
    remote = theirs(at["address"], 8)
    checked(LIBC.process_vm_readv(at["neighbour"], local, 1, remote, 1, ctypes.c_ulong(0)))
    return mine.raw.decode()


def take_neighbour_descriptor(at: dict[str, Any]) -> str:
    checked(LIBC.syscall(PIDFD_GETFD, os.pidfd_open(at["neighbour"]), 0, 0))
    return "taken"


def change_neighbour_limits(at: dict[str, Any]) -> str:
    now = resource.prlimit(at["neighbour"], resource.RLIMIT_CORE)
    resource.prlimit(at["neighbour"], resource.RLIMIT_CORE, now)
    return "changed"


# -- sockets


def said_by(connection: socket.socket) -> str:
    with connection:
        connection.settimeout(10)
        return connection.recv(64).decode()


def connect_to_neighbour_agent(at: dict[str, Any]) -> str:
    return said_by(socket.create_connection(("127.0.0.1", at["neighbour_port"]), 10))


def connect_to_neighbour_controller(at: dict[str, Any]) -> str:
    return said_by(socket.create_connection(("127.0.0.1", at["neighbour_controller"]), 10))


def connect_to_own_controller(at: dict[str, Any]) -> str:
    return said_by(socket.create_connection(("127.0.0.1", at["own_controller"]), 10))


def connect_by_multipath(at: dict[str, Any]) -> str:
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM, IPPROTO_MPTCP)
    made.connect(("127.0.0.1", at["neighbour_port"]))
    return said_by(made)


def connect_by_ip6_multipath(at: dict[str, Any]) -> str:
    made = socket.socket(socket.AF_INET6, socket.SOCK_STREAM, IPPROTO_MPTCP)
    made.connect(("::ffff:127.0.0.1", at["neighbour_port"]))
    return said_by(made)


def connect_with_first_packet(at: dict[str, Any]) -> str:
    made = socket.socket()
    made.sendto(b"hello", socket.MSG_FASTOPEN, ("127.0.0.1", at["neighbour_port"]))
    return said_by(made)


def connect_with_first_message(at: dict[str, Any]) -> str:
    made = socket.socket()
    made.sendmsg([b"hello"], [], socket.MSG_FASTOPEN, ("127.0.0.1", at["neighbour_port"]))
    return said_by(made)


def take_neighbour_port(at: dict[str, Any]) -> str:
    socket.create_server(("127.0.0.1", at["neighbour_free_port"])).close()
    return "taken"


def take_neighbour_port_by_multipath(at: dict[str, Any]) -> str:
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM, IPPROTO_MPTCP)
    made.bind(("127.0.0.1", at["neighbour_free_port"]))
    return "taken"


def take_plane_port(at: dict[str, Any]) -> str:
    socket.create_server(("127.0.0.1", at["plane_port"])).close()
    return "taken"


def connect_to_abstract_socket(at: dict[str, Any]) -> str:
    made = socket.socket(socket.AF_UNIX)
    made.connect("\0" + at["abstract"])
    return said_by(made)


def connect_to_socket_in_run(at: dict[str, Any]) -> str:
    made = socket.socket(socket.AF_UNIX)
    made.connect(at["run_socket"])
    return said_by(made)


def connect_to_socket_in_tmp(at: dict[str, Any]) -> str:
    made = socket.socket(socket.AF_UNIX)
    made.connect(at["tmp_socket"])
    return said_by(made)


# -- the sandbox itself


def mount_a_file_system(at: dict[str, Any]) -> str:
    def work() -> str:
        checked(LIBC.mount(b"none", at["home"].encode(), b"tmpfs", 0, None))
        return "mounted"

    return in_child(work)


def mount_over_settings(at: dict[str, Any]) -> str:
    def work() -> str:
        checked(LIBC.mount(at["home"].encode(), b"/etc", None, MS_BIND, None))
        return "bound"

    return in_child(work)


def uncover(at: dict[str, Any]) -> str:
    def work() -> str:
        checked(LIBC.umount2(b"/tmp", MNT_DETACH))
        return secret_in(at["keyring"])

    return in_child(work)


def uncover_as_root_of_a_namespace(at: dict[str, Any]) -> str:
    def work() -> str:
        checked(LIBC.unshare(CLONE_NEWUSER | CLONE_NEWNS))
        for covered in (b"/tmp", b"/run", at["machines"].encode(), b"/proc", b"/"):
            LIBC.umount2(covered, MNT_DETACH)
        return secret_in(at["keyring"])

    return in_child(work)


def pivot_as_root_of_a_namespace(at: dict[str, Any]) -> str:
    def work() -> str:
        checked(LIBC.unshare(CLONE_NEWUSER | CLONE_NEWNS))
        os.mkdir("root")
        checked(LIBC.mount(b"/", b"root", None, MS_BIND | 0x4000, None))
        os.mkdir("root/tmp/old")
        checked(LIBC.syscall(PIVOT_ROOT, b"root", b"root/tmp/old"))
        return secret_in(at["keyring"]) or secret_in(f"/tmp/old{at['keyring']}")

    return in_child(work)


def mount_proc_of_the_host(at: dict[str, Any]) -> str:
    def work() -> str:
        checked(LIBC.unshare(CLONE_NEWUSER | CLONE_NEWNS))
        checked(LIBC.mount(b"proc", b"/proc", b"proc", 0, None))
        return secret_in(f"/proc/{at['controller']}/environ")

    return in_child(work)


def in_child(work: Callable[[], str]) -> str:
    """Return the result of a child process: where it may mount, its mounts are its own."""
    here, there = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            if LIBC.unshare(CLONE_NEWNS) == 0:
                checked(LIBC.mount(None, b"/", None, MS_PRIVATE, None))
            os.write(there, work().encode())
        except BaseException:  # noqa: BLE001  whatever kept it from it
            os._exit(1)
        os._exit(0)
    os.close(there)
    os.waitpid(child, 0)
    with os.fdopen(here) as said:
        return said.read()


def change_kernel_settings(at: dict[str, Any]) -> str:
    path = Path("/proc/sys/kernel/core_pattern")
    was = path.read_text()
    path.write_text(was)
    return "written"


def write_to_control_group(at: dict[str, Any]) -> str:
    with open("/sys/fs/cgroup/cgroup.procs", "w") as file:
        file.write("0")
    return "moved"


def open_a_disk_or_memory(at: dict[str, Any]) -> str:
    for name in ("mem", "kmsg", "vda", "sda", "nvme0n1"):
        try:
            os.close(os.open(f"/dev/{name}", os.O_RDONLY))
        except OSError:
            continue
        return name
    return ""


def make_a_device(at: dict[str, Any]) -> str:
    os.mknod("device", 0o600 | 0o020000, os.makedev(1, 1))
    return "made"


def change_owner(at: dict[str, Any]) -> str:
    Path("owned").write_text("x")
    os.chown("owned", 12_345, 12_345)
    return "changed"


def have_capabilities(at: dict[str, Any]) -> str:
    """As root, an executed program regains all of them, unless it may never gain any."""
    status = subprocess.run(
        ["/bin/cat", "/proc/self/status"], capture_output=True, text=True, check=False
    )
    held = next(line for line in status.stdout.splitlines() if line.startswith("CapEff"))
    return "" if int(held.split()[1], 16) == 0 and "NoNewPrivs:\t1" in status.stdout else held


def type_into_the_terminal(at: dict[str, Any]) -> str:
    fcntl.ioctl(os.open("/dev/tty", os.O_RDWR), termios.TIOCSTI, b"x")
    return "typed"


def read_the_operators_terminal(at: dict[str, Any]) -> str:
    os.close(os.open(at["terminal"], os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK))
    return "opened"


def find_secret_variables(at: dict[str, Any]) -> list[str]:
    return [name for name, value in os.environ.items() if SECRET in value]


ATTEMPTS: dict[str, Attempt] = {
    name: value
    for name, value in list(globals().items())
    if callable(value)
    and name.islower()
    and getattr(value, "__module__", "") == "__main__"
    and value.__code__.co_varnames[:1] == ("at",)
}


def main() -> None:
    at = json.loads(Path(sys.argv[1]).read_text())
    os.chdir(at["home"])
    got = {}
    for name, attempt in ATTEMPTS.items():
        try:
            found = attempt(at)
        except (OSError, ValueError, struct.error) as error:
            found = None
            print(f"{name}: {error}", file=sys.stderr)
        if found:
            got[name] = str(found)[:100]
    print(json.dumps({"tried": len(ATTEMPTS), "got": got}), flush=True)


if __name__ == "__main__":
    main()
