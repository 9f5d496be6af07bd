"""The plane's keys: where they are, how they get there, and what happens without them."""

from __future__ import annotations

import shutil

from holdfast.plane.consent_key import CONSENT_KEY_FILE
from holdfast.plane.key_folder import GATEWAY_FILE, KEY_FILES, KEYRING_FILE, TOKEN_FILE
from holdfast.plane.plane_key import PLANE_KEY_FILE, read_or_make_plane_key
from tests.support.planes import PlaneProcess, until

BUSY_S = 45
"""How long a plane may take to start anew on a busy machine."""


def move_back(plane: PlaneProcess) -> None:
    """Lay the keys of a plane that stands where the versions before the keys folder had them."""
    for name in KEY_FILES:
        (plane.keys / name).replace(plane.home / name)
    shutil.rmtree(plane.keys)  # with what those versions did not have


def test_a_data_folder_of_the_version_before_opens_as_it_is(own: PlaneProcess) -> None:
    own.cli("instance", "create", "old", "--secret", "MY_SECRET=-", given="sealed before")
    before = own.ready("old")
    assert own.terminate() == 0
    move_back(own)
    token = (own.home / TOKEN_FILE).read_text()
    own.start(wait=False)
    own.wait(BUSY_S)
    assert own.keys.stat().st_mode & 0o777 == 0o700
    assert {path.name for path in own.keys.iterdir()} == {
        *KEY_FILES, PLANE_KEY_FILE, CONSENT_KEY_FILE,
    }  # fmt: skip
    assert not (own.home / GATEWAY_FILE).exists()
    assert (own.keys / TOKEN_FILE).read_text() == token, "the command line goes on with its token"
    own.cli("instance", "restart", "old")

    def again() -> bool:
        view = own.view("old")
        return bool(view and view.epoch > before.epoch and view.agent_ready)

    until("the machine is started with what was sealed before", again, seconds=30)
    assert own.json("doctor")["ok"]


def test_the_command_line_takes_its_token_and_leaves_the_planes_keys(own: PlaneProcess) -> None:
    token, known = own.token(), read_or_make_plane_key(own.keys)
    move_back(own)
    own.keys.mkdir(mode=0o700)
    refused = own.cli("instance", "list", code=3)
    assert "did not prove" in refused.stderr, "a plane of an earlier version has no such key"
    (own.keys / PLANE_KEY_FILE).write_text(f"{known._raw.hex()}\n")
    (own.keys / PLANE_KEY_FILE).chmod(0o600)
    own.cli("instance", "list")
    assert (own.keys / TOKEN_FILE).read_text().strip() == token
    assert {path.name for path in own.keys.iterdir()} == {TOKEN_FILE, PLANE_KEY_FILE}
    assert (own.home / KEYRING_FILE).exists(), "a plane of an earlier version may be running on it"


def test_without_its_key_ring_a_plane_with_a_journal_does_not_start(own: PlaneProcess) -> None:
    assert own.terminate() == 0
    lost = own.keys.with_name("lost")
    own.keys.rename(lost)
    for words in (("serve",), ("up",)):
        done = own.cli(*words, code=1)
        assert str(own.keys / KEYRING_FILE) in done.stderr
        assert "Traceback" not in done.stderr
        assert not (own.keys / KEYRING_FILE).exists()
    report = own.json("doctor", code=3)
    (check,) = [c for c in report["checks"] if c["name"] == "keys"]
    assert (check["result"], str(own.keys) in check["message"]) == ("failed", True)
    assert "HOLDFAST_KEYS" in own.cli("serve", code=2, HOLDFAST_KEYS=str(own.home / "k")).stderr
    elsewhere = PlaneProcess(own.home, HOLDFAST_KEYS=str(lost))
    elsewhere.start(wait=False)
    elsewhere.wait(BUSY_S)
    assert elsewhere.terminate() == 0


def test_a_new_key_ring_is_made_on_purpose_and_instances_go_on_with_new_secrets(
    own: PlaneProcess,
) -> None:
    own.cli("instance", "create", "kept", "--stopped", "--secret", "MY_SECRET=-", given="value")
    assert own.terminate() == 0
    shutil.rmtree(own.keys)
    assert "--lose-secrets" in own.cli("keys", "new", code=1).stderr
    own.cli("keys", "new", "--lose-secrets")
    assert "there is a key ring" in own.cli("keys", "new", "--lose-secrets", code=1).stderr
    own.start(wait=False)
    own.wait(BUSY_S)
    assert "is in use by" in own.cli("keys", "new", "--lose-secrets", code=1).stderr
    own.cli("instance", "start", "kept", code=None)
    until("it says what is lost", lambda: "not on the ring" in _error(own, "kept"))
    own.cli("instance", "rotate-secrets", "kept")
    own.cli("instance", "secrets", "kept", "--set", "MY_SECRET=-", given="value")
    own.cli("instance", "start", "kept")
    own.ready("kept")


def _error(plane: PlaneProcess, name: str) -> str:
    view = plane.view(name)
    return view.error if view else ""


def test_a_new_data_folder_takes_up_the_keys_of_the_one_before(own: PlaneProcess) -> None:
    """Removing only the data folder must not leave a token that no account accepts."""
    own.cli("instance", "list")
    assert own.terminate() == 0
    shutil.rmtree(own.home)
    own.start(wait=False)
    own.wait(BUSY_S)
    assert own.json("instance", "list") == []
