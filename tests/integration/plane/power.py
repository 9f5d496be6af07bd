"""A program that writes the files of a plane and of a controller, and what a loss of power leaves.

    python -m tests.integration.plane.power FILES FOLDER [--rounds N]

It prints a line for each answer; its words are facts that must be found later, as for the stores.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

from holdfast.disk.durable_file import sync_folder
from holdfast.kernel.clock import ManualClock
from holdfast.kernel.log import NoLog
from holdfast.machine.controller import boot
from holdfast.machine.controller.config.files import VersionFiles
from holdfast.machine.controller.config.history import Version, note
from holdfast.machine.controller.log import Field, Log
from holdfast.machine.controller.pairing.files import VerdictsFile
from holdfast.machine.controller.pairing.state import Verdict
from holdfast.machine.controller.process import atomic_file
from holdfast.machine.observer.gate_file import Gate
from holdfast.plane import secret_encryption
from holdfast.plane.consent_key import (
    key_id,
    read_or_make_consent_key,
    rotate_consent_key,
    trusted_keys,
)
from holdfast.plane.key_folder import TOKEN_FILE, KeysError, prepare_keys, write_key
from holdfast.plane.settings import Settings, load_settings
from holdfast.plane.wiring import daily
from holdfast.plane.wiring.holder import ACCOUNTS_FILE, JOURNAL_FILE, prepare_home
from holdfast.plane.wiring.secret_files import open_keys
from holdfast.sdk.destination import FILE_NAME, Destination, keep
from holdfast.stores.sqlite.accounts import open_accounts
from holdfast.stores.sqlite.journal import SqliteJournal
from holdfast.wire.consent import CLASSES
from holdfast.world.clouds.port import MachineSpec, VolumeSpec
from holdfast.world.clouds.process_folders import MachineFolders
from holdfast.world.clouds.process_record import Record
from holdfast.world.clouds.process_volumes import Volumes
from tests.support import power_loss
from tests.support.consent_signer import NODE, Signer, answer

NOW: Final = 1_700_000_000_000
HOME: Final = "data/holdfast"
MACHINE: Final = "machines/one/home"
VERSIONS: Final = "config-versions"
TEXT_BYTES_MAX: Final = 1_000_000
T = TypeVar("T")


def say(*facts: str) -> None:
    """Print what an answer says is stored."""
    os.write(1, f"{' '.join(facts)}\n".encode())


def settings_of(folder: Path) -> Settings:
    """Return the settings of a plane whose data folder is below a watched one."""
    return load_settings({}, home=str(folder / HOME))


# --------------------------------------------------------------------------------------- keys


def _key_facts(settings: Settings) -> list[str]:
    keys = open_keys(settings, now_ms=NOW)
    secret = hashlib.sha256(keys.token_secret.reveal().encode()).hexdigest()
    mine = keys.plane_key.derive("power").hex()
    return [f"gateway:{secret}", f"plane:{mine}", *(f"key:{key}" for key in keys.ring.ids)]


async def use_keys(folder: Path, rounds: int) -> None:
    """Make the keys of a new plane, then its stores; rotate, and keep a token."""
    settings = settings_of(folder)
    home = prepare_home(settings)
    made = _key_facts(settings)
    journal = SqliteJournal(home / JOURNAL_FILE, clock=ManualClock())
    accounts = open_accounts(home / ACCOUNTS_FILE, now_ms=NOW)
    say(*made)
    await accounts.close()
    await journal.close()
    for count in range(rounds):
        secret_encryption.rotate(settings.keys_folder, now_ms=NOW + count)
        say(*(f"key:{key.id}" for key in secret_encryption.list_keys(settings.keys_folder)))
        write_key(settings.keys_folder / TOKEN_FILE, f"{count + 1:064}\n".encode())
        say(*(f"token:{number}" for number in range(1, count + 2)))


async def find_keys(folder: Path) -> set[str]:
    """Open the keys as a plane that starts: where there is a journal they must be there."""
    settings = settings_of(folder)
    prepare_home(settings)
    found = set(_key_facts(settings))
    token = settings.keys_folder / TOKEN_FILE
    if token.exists():
        found.update(f"token:{number}" for number in range(1, int(token.read_text()) + 1))
    return found


async def use_old_keys(folder: Path, _rounds: int) -> None:
    """Move the keys that an earlier version kept in the data folder."""
    settings = settings_of(folder)
    say(*MOVED)
    prepare_keys(settings)
    say(*MOVED, "moved")


async def find_old_keys(folder: Path) -> set[str]:
    """Move what is still to be moved; the contents are the facts."""
    settings = settings_of(folder)
    found = {"moved"}
    if not settings.keys_folder.exists():
        found = set[str]()
    prepare_keys(settings)
    for path in settings.keys_folder.iterdir():
        found.add(f"{path.name}:{path.read_text().strip()}")
    return found


MOVED: Final = ("keyring.json:a", "gateway.key:b", "cli.token:c")


def make_old_keys(folder: Path) -> None:
    """Leave the keys where an earlier version left them."""
    home = folder / HOME
    home.mkdir(parents=True)
    for fact in MOVED:
        name, _, text = fact.partition(":")
        (home / name).write_text(f"{text}\n")
        (home / name).chmod(0o600)


# -------------------------------------------------------------------- daily jobs and a machine


async def use_daily(folder: Path, rounds: int) -> None:
    """Note that jobs were done."""
    home = prepare_home(settings_of(folder))
    for number in range(1, rounds + 1):
        for name in ("purge", "prune"):
            daily._note(home, name, number)
            say(f"{name}:{number}")


async def find_daily(folder: Path) -> set[str]:
    """Read them; a file that cannot be read is a job done twice."""
    known = daily._read(folder / HOME)
    return {f"{name}:{number}" for name, last in known.items() for number in range(1, last + 1)}


class Refused(Log):
    """Of a file that a loss of power can spoil, nothing may have to be said."""

    def emit(self, event: str, **fields: Field) -> None:
        """Fail."""
        raise AssertionError(f"{event}: {fields}")


def _versions(home: Path, damaged: list[str]) -> VersionFiles:
    return VersionFiles(home / VERSIONS, on_damage=damaged.append)


async def use_machine(folder: Path, rounds: int) -> None:
    """Keep versions, verdicts, a token and a text that is exchanged."""
    home = folder / MACHINE
    boot.make_folders(home)
    files = _versions(home, [])
    ledger = files.load()
    verdicts = VerdictsFile(home / "run" / "verdicts.json", Refused(ManualClock()))
    atomic_file.write(home / "run" / "token", "secret", below=home)
    say("token:secret")
    over: bytes | None = None
    ruled: dict[str, Verdict] = {}
    for number in range(1, rounds + 1):
        etag = f"{number:064}"
        files.keep(etag, b"x" * 3_000)
        version = Version(etag=etag, content=etag, at_ms=number, origin="patch")
        ledger = note(ledger, version)
        files.save(ledger)
        say(f"version:{number}", f"text:{number}")
        key = f"request-{number}"
        ruled = {
            **ruled,
            key: Verdict(
                key=key, kind="channels", channel="c", code="1", ruling="approved", at_ms=number,
                until_ms=NOW,
            ),
        }  # fmt: skip
        await verdicts.write(ruled)
        say(f"verdict:{key}")
        with atomic_file.open_folder(home) as opened:
            content = f"{number} {'y' * 9_000}".encode()
            assert atomic_file.put(opened, "openclaw.json", content, over=over)
            over = content
        say(f"config:{number}")


async def find_machine(folder: Path) -> set[str]:
    """Read them as the controller does; later numbers stand for those before."""
    home = folder / MACHINE
    boot.make_folders(home)
    damaged: list[str] = []
    files = _versions(home, damaged)
    known = [version.at_ms for version in files.load().versions]
    last = max(known, default=0)
    found = {f"version:{number}" for number in range(1, last + 1)}
    found |= {f"text:{number}" for number in range(1, min(known, default=1))}  # pruned
    found |= {f"text:{number}" for number in known if files.text(f"{number:064}") == b"x" * 3_000}
    verdicts = VerdictsFile(home / "run" / "verdicts.json", Refused(ManualClock())).read()
    found |= {f"verdict:{key}" for key in verdicts}
    assert not damaged, damaged
    token, config = home / "run" / "token", home / "openclaw.json"
    if token.exists():
        found.add(f"token:{atomic_file.read_file(token, 100).decode()}")
    if config.exists():
        number, _, rest = atomic_file.read_file(config, TEXT_BYTES_MAX).decode().partition(" ")
        assert rest == "y" * 9_000, "half of a text"
        found |= {f"config:{each}" for each in range(1, int(number) + 1)}
    return found


def _record(name: str) -> Record:
    spec = MachineSpec(name=name, instance_id=name, sandbox_id=name, account_id="local")
    return Record(
        id=f"id-{name}", spec=spec, phase="created", port=1, created_at_ms=NOW, updated_at_ms=NOW
    )


def _cloud(folder: Path) -> tuple[MachineFolders, Volumes]:
    folders = MachineFolders(folder / HOME / "machines")
    folders.prepare()
    return folders, Volumes(folder / HOME / "volumes", holds=lambda _machine, _volume: False)


async def use_records(folder: Path, rounds: int) -> None:
    """Make machines and volumes as the process cloud does."""
    folders, volumes = _cloud(folder)
    for number in range(1, rounds + 1):
        made = _record(f"m{number}")
        folders.folder(made.spec.name).make()
        folders.put(made)
        sync_folder(folders.root)
        say(f"machine:{made.id}")
        volume = volumes.create(VolumeSpec(name=f"v{number}"), idempotency_key="", now_ms=NOW)
        say(f"volume:v{number}")
        _fill(volumes.data_of(volume.id))
        forked = VolumeSpec(name=f"fork{number}", source_volume_id=volume.id)
        volumes.create(forked, idempotency_key="", now_ms=NOW)
        say(f"fork:fork{number}")


FORKED: Final = {"state.json": b"s" * 9_000, "memory/notes/today.md": b"n" * 700}


def _fill(data: Path) -> None:
    """Write what a machine leaves in its volume, and does not sync itself."""
    for name, content in FORKED.items():
        (data / name).parent.mkdir(parents=True, exist_ok=True)
        (data / name).write_bytes(content)


def _whole(data: Path) -> bool:
    """Return whether a volume has all that the machine wrote into the one it was forked from."""
    try:
        return all((data / name).read_bytes() == content for name, content in FORKED.items())
    except FileNotFoundError:
        return False


async def find_records(folder: Path) -> set[str]:
    """Read them as the process cloud does."""
    folders, volumes = _cloud(folder)
    names = [f"{number}" for number in range(1, 100)]
    found = {f"volume:v{name}" for name in names if volumes.find(f"v{name}")}
    forks = [one for name in names for one in volumes.find(f"fork{name}")]
    assert all(_whole(volumes.data_of(one.id)) for one in forks), "a fork is there, and not whole"
    found |= {f"fork:{one.name}" for one in forks}
    kept = map(folders.record, (f"m{name}" for name in names))
    return found | {f"machine:{record.id}" for record in kept if record}


# --------------------------------------------------------------------------- the key of a brain

KEY_FILE: Final = "config/holdfast/brain.json"


async def use_brain_key(folder: Path, rounds: int) -> None:
    """Keep a plane's address and a key, as a person who connects a brain does."""
    for number in range(1, rounds + 1):
        keep("https://plane.test", f"key-{number}", path=str(folder / KEY_FILE))
        say(f"brain:{number}")


async def find_brain_key(folder: Path) -> set[str]:
    """Look it up as a brain does; later keys stand for those before."""
    found = Destination(environment={FILE_NAME: str(folder / KEY_FILE)}).find()
    last = int(found.key.rpartition("-")[2]) if found.key else 0
    return {f"brain:{number}" for number in range(1, last + 1)}


# -------------------------------------------------------------------------- consent, at both ends


async def use_consent_key(folder: Path, rounds: int) -> None:
    """Make the key that signs consent and replace it; nodes pin what it is answered with."""
    settings = settings_of(folder)
    prepare_home(settings)
    prepare_keys(settings)
    say(f"signs:{read_or_make_consent_key(settings.keys_folder, now_ms=NOW).key_id}")
    for number in range(1, rounds + 1):
        say(f"signs:{rotate_consent_key(settings.keys_folder, now_ms=NOW + number).key_id}")


async def find_consent_key(folder: Path) -> set[str]:
    """Read it as a plane that starts; every key that signed must be followed to the newest."""
    settings = settings_of(folder)
    prepare_home(settings)
    prepare_keys(settings)
    known = read_or_make_consent_key(settings.keys_folder, now_ms=NOW)
    first = known.keys[0].public_key
    assert key_id(known.public_key) in trusted_keys([first], known.successors)
    return {f"signs:{key_id(one.public_key)}" for one in known.keys}


GATE: Final = "machines/one/home/.holdfast/observer"


async def use_gate(folder: Path, rounds: int) -> None:
    """Open and close a node's gate in turn; what the next heartbeat names has been seen."""
    signer, gate = Signer(), Gate(folder / GATE, clock=ManualClock(), log=NoLog())
    assert not gate.pin(NODE, signer.public)
    say("pinned")
    for number in range(1, rounds + 1):
        gate.heard(200, answer(signer.grant(number, CLASSES if number % 2 else ())))
        assert gate.number == number
        say(f"seen:{number}")


async def find_gate(folder: Path) -> set[str]:
    """Read it as an observer that starts: it must not open by a grant before one that closed."""
    gate = Gate(folder / GATE, clock=ManualClock(), log=NoLog())
    assert not gate.problem, gate.problem
    assert bool(gate.open_classes()) == bool(gate.number % 2), gate.number
    found = {f"seen:{each}" for each in range(1, gate.number + 1)}
    return found | ({"pinned"} if gate.pinned else set())


# --------------------------------------------------------------------------------- the program


class Files(NamedTuple):
    """Files of one use: what is there before, what writes them and what reads them."""

    use: Callable[[Path, int], Awaitable[None]]
    find: Callable[[Path], Awaitable[set[str]]]
    before: Callable[[Path], None] | None = None


FILES: Final = {
    "keys": Files(use_keys, find_keys),
    "old keys": Files(use_old_keys, find_old_keys, make_old_keys),
    "daily": Files(use_daily, find_daily),
    "machine": Files(use_machine, find_machine),
    "records": Files(use_records, find_records),
    "brain key": Files(use_brain_key, find_brain_key),
    "consent key": Files(use_consent_key, find_consent_key),
    "gate": Files(use_gate, find_gate),
}


def main() -> None:
    """Write, as the arguments say."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", choices=FILES)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rounds", type=int, default=6)
    given = parser.parse_args()
    asyncio.run(_run(FILES[given.files].use(given.folder, given.rounds)))


async def _run(use: Awaitable[T]) -> T:
    return await use


def record(scratch: Path, files: str, *, rounds: int = 6) -> power_loss.Recorded:
    """Run the program on a new folder in `scratch`, and return what it did there."""
    watched = scratch / "watched"
    watched.mkdir(parents=True)
    before = FILES[files].before
    if before is not None:
        before(watched)
    command = [sys.executable, "-m", "tests.integration.plane.power", files, str(watched)]
    command.append(f"--rounds={rounds}")
    return power_loss.record(command, watched=watched, scratch=scratch)


class Found(NamedTuple):
    """What a restart finds after one cut; `problem` says why a file is of no use."""

    lost: tuple[int, ...]
    problem: str


def after(files: str, recorded: power_loss.Recorded, cut: power_loss.Cut) -> Found:
    """Read the files as a plane or a controller would after a restart."""
    try:
        found, problem = asyncio.run(_run(FILES[files].find(cut.folder))), ""
    except (KeysError, OSError, ValueError, AssertionError) as error:
        found, problem = set[str](), f"{type(error).__name__}: {error}"
    return Found(power_loss.judge(recorded, cut, found).lost, problem)


if __name__ == "__main__":
    main()
