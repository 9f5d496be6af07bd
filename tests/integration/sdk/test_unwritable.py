"""A folder that cannot be written still serves the rules that it knows, and says so."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.patience import patience

PROGRAM = """
import ctypes, json, os, resource, signal, sys
from holdfast.compat import gradata
from holdfast.sdk import Brain, doctor

folder, case = sys.argv[1:]
notices = []


def teach(brain, word):
    for count in range(6):
        assert brain.correct(f"{word} {count}a", f"use {count}a", session=str(count)).persisted


def as_others():
    # Without capabilities root is asked for rights, as everybody is.
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    assert os.geteuid() or ctypes.CDLL(None).capset(header, (ctypes.c_uint32 * 6)()) == 0


def read_only():
    as_others()
    for name in os.listdir(folder):
        os.chmod(os.path.join(folder, name), 0o400)
    os.chmod(folder, 0o500)


def closed():
    as_others()
    os.chmod(folder, 0)


def full():
    # Every write fails from now on, in every file.
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))


def left_with_a_log():
    if not os.fork():
        teach(Brain(folder, notice=notices.append), "leverage")
        os._exit(0)
    assert os.wait()[1] == 0


brain = Brain(folder, notice=notices.append)
teach(brain, "utilize")
before = brain.rules_for("text")
if case.startswith("opened"):
    brain.close(0)
    if case == "opened with a log":
        left_with_a_log()
    notices.clear()
    {"full": full, "read-only": read_only, "a log": read_only}[case.rpartition(" with ")[2]]()
    brain = Brain(folder, notice=notices.append)
else:
    notices.clear()
    {"full": full, "read-only": read_only, "closed": closed}[case]()
first = brain.rules_for("text")
made = brain.correct("a", "b")
other = gradata.Brain(folder).apply_brain_rules("text") if case != "closed" else first
answer = {
    "before": before, "first": first, "again": brain.rules_for("text"), "other": other,
    "name": brain.name(), "notices": notices, "persisted": made.persisted, "reason": made.reason,
    "dropped": brain.stats().dropped, "report": doctor.examine(folder).as_json(),
}
os.write(1, json.dumps(answer).encode())
os._exit(0)
"""


def unwritable(folder: Path, case: str) -> dict[str, Any]:
    environment = {"HOLDFAST_KEY_FILE": str(folder / "none"), "HOME": str(folder.parent)}
    done = subprocess.run(
        (sys.executable, "-c", PROGRAM, str(folder), case),
        env=environment, capture_output=True, check=False, timeout=patience(60),
    )  # fmt: skip
    folder.chmod(0o700)
    assert done.returncode == 0, done.stderr.decode()
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


CASES = ("full", "read-only", "closed", "opened with full", "opened with read-only")


@pytest.mark.parametrize("case", CASES)
def test_rules_known_before_are_served_loudly(tmp_path: Path, case: str) -> None:
    answer = unwritable(tmp_path / "brain", case)
    assert "instead of “utilize”" in answer["before"]
    assert answer["first"] == answer["again"] == answer["other"] == answer["before"]
    if answer["persisted"]:
        # An open database needs no name: it goes on being written.
        assert case == "read-only"
    else:
        told = [text for text in answer["notices"] if "cannot be" in text]
        assert told, answer["notices"]
        assert all(str(tmp_path / "brain") in text for text in told)
        assert not any("corrections are kept" in text for text in answer["notices"]), case
        assert answer["dropped"] >= 1
        assert answer["reason"]


def test_rules_that_are_only_in_the_log_are_served(tmp_path: Path) -> None:
    answer = unwritable(tmp_path / "brain", "opened with a log")
    assert "instead of “leverage”" in answer["first"]
    assert answer["report"]["facts"]["lessons"] == 2


def test_the_name_on_the_plane_stays(tmp_path: Path) -> None:
    answer = unwritable(tmp_path / "brain", "opened with read-only")
    assert answer["name"].startswith("brain-")


def test_a_doctor_reads_what_it_cannot_write(tmp_path: Path) -> None:
    answer = unwritable(tmp_path / "brain", "opened with read-only")
    found = {check["name"]: check for check in answer["report"]["checks"]}
    assert found["folder"]["status"] == "fail"
    assert "not writable" in found["folder"]["detail"]
    assert found["database"]["detail"].startswith("6 corrections, 1 lessons")
