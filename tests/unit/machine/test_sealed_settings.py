from __future__ import annotations

import base64
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from holdfast.machine.controller.sealed_settings import SealError, decrypt_settings
from holdfast.machine.controller.settings import child_environment

KEY = bytes(range(32))
KEY_TEXT = base64.b64encode(KEY).decode()


def seal(text: str, nonce: bytes = b"n" * 12) -> str:
    blob = nonce + AESGCM(KEY).encrypt(nonce, text.encode(), None)
    return "enc:v1:" + base64.b64encode(blob).decode()


@pytest.mark.parametrize("maker", ["HOLDFAST", "KILOCLAW"])
def test_sealed_values_open_under_either_name(maker: str) -> None:
    environ = {f"{maker}_ENC_API_KEY": seal("geheim é"), f"{maker}_ENV_KEY": KEY_TEXT}
    assert decrypt_settings(environ) == {"API_KEY": "geheim é"}


def test_ours_wins_over_the_contracts() -> None:
    environ = {
        "HOLDFAST_ENC_X": seal("ours"),
        "KILOCLAW_ENC_X": seal("theirs"),
        "HOLDFAST_ENV_KEY": KEY_TEXT,
    }
    assert decrypt_settings(environ) == {"X": "ours"}


def test_an_empty_text_may_be_sealed() -> None:
    environ = {"HOLDFAST_ENC_X": seal(""), "HOLDFAST_ENV_KEY": KEY_TEXT}
    assert decrypt_settings(environ) == {"X": ""}


def test_the_key_may_come_in_a_file_that_is_emptied(tmp_path: Path) -> None:
    file = tmp_path / "env-key"
    file.write_text(KEY_TEXT)
    environ = {"HOLDFAST_ENC_X": seal("v"), "HOLDFAST_ENV_KEY_FILE": str(file)}
    assert decrypt_settings(environ) == {"X": "v"}
    assert not file.exists()
    with pytest.raises(SealError, match="HOLDFAST_ENV_KEY_FILE"):
        decrypt_settings(environ)
    assert "HOLDFAST_ENV_KEY_FILE" not in child_environment(environ)


def test_nothing_sealed_needs_no_key() -> None:
    assert decrypt_settings({"PATH": "/bin"}) == {}


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"HOLDFAST_ENC_X": seal("v")}, "HOLDFAST_ENV_KEY: missing"),
        ({"HOLDFAST_ENC_X": seal("v"), "HOLDFAST_ENV_KEY": "AAAA"}, "3 bytes, want 32"),
        ({"HOLDFAST_ENC_X": seal("v"), "HOLDFAST_ENV_KEY": "no base64"}, "not base64"),
        ({"HOLDFAST_ENC_A-B": seal("v"), "HOLDFAST_ENV_KEY": KEY_TEXT}, "shell"),
        ({"HOLDFAST_ENC_X\n": seal("v"), "HOLDFAST_ENV_KEY": KEY_TEXT}, "shell"),
        ({"HOLDFAST_ENC_X": "plain", "HOLDFAST_ENV_KEY": KEY_TEXT}, "does not begin"),
        ({"HOLDFAST_ENC_X": "", "HOLDFAST_ENV_KEY": KEY_TEXT}, "does not begin"),
        ({"HOLDFAST_ENC_X": "enc:v1:", "HOLDFAST_ENV_KEY": KEY_TEXT}, "too short"),
        ({"HOLDFAST_ENC_X": seal("a\0b"), "HOLDFAST_ENV_KEY": KEY_TEXT}, "no variable"),
        ({"HOLDFAST_ENC_X": "enc:v1:AAAA", "HOLDFAST_ENV_KEY": KEY_TEXT}, "too short"),
        ({"HOLDFAST_ENC_X": seal("v")[:-8] + "AAAAAAA=", "HOLDFAST_ENV_KEY": KEY_TEXT}, "open"),
    ],
)
def test_anything_odd_refuses_the_whole_set(environ: dict[str, str], said: str) -> None:
    with pytest.raises(SealError, match=said):
        decrypt_settings({**environ, "HOLDFAST_ENC_GOOD": seal("good")})


def test_the_agent_sees_the_opened_secrets_but_not_ours() -> None:
    seen = child_environment(
        {
            "PATH": "/bin",
            "MODEL_KEY": "for the agent",
            "HOLDFAST_MACHINE_ID": "m-1",
            "HOLDFAST_API_KEY": "ours",
            "HOLDFAST_ENV_KEY": "ours",
            "HOLDFAST_ENC_X": "ours",
            "KILOCLAW_ENC_X": "ours",
            "KILOCLAW_ENV_KEY": "ours",
            "OPENCLAW_GATEWAY_TOKEN": "ours",
        }
    )
    assert seen == {
        "PATH": "/bin",
        "MODEL_KEY": "for the agent",
        "HOLDFAST_MACHINE_ID": "m-1",
    }
