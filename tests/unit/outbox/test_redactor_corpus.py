"""A thousand secrets of every kind that the redactor knows, in the places agents leave them.

None may survive, in a text or as a line of a transcript. They are generated, so that no scanner
takes this file for a leak.
"""

from __future__ import annotations

import json
import random
import string
from collections.abc import Callable

import pytest

from holdfast.machine.observer.readers.records import read_record
from holdfast.outbox.redactor import redact

SECRETS = 1_000
WORD = string.ascii_letters + string.digits
DRAWS = random.Random(58)


def some(size: int, letters: str = WORD) -> str:
    return "".join(DRAWS.choice(letters) for _ in range(size))


def card() -> str:
    digits = [4, *(DRAWS.randrange(10) for _ in range(14))]
    doubled = [sum(divmod(digit * 2, 10)) for digit in digits[-1::-2]]
    total = sum(digits[-2::-2]) + sum(doubled)
    text = "".join(map(str, [*digits, -total % 10]))
    return DRAWS.choice([text, " ".join(text[at : at + 4] for at in range(0, 16, 4))])


def iban() -> str:
    account = some(18, string.digits)
    rest = int(account + "131400") % 97
    return f"DE{98 - rest:02d}{account}"


def private_key() -> str:
    body = "\n".join(some(64, WORD + "+/") for _ in range(12))
    name = DRAWS.choice(["RSA ", "EC ", "OPENSSH ", ""]) + "PRIVATE KEY"
    return f"-----BEGIN {name}-----\n{body}\n-----END {name}-----"


KINDS: dict[str, Callable[[], str]] = {
    "openai": lambda: "sk-" + some(48),
    "anthropic": lambda: "sk-ant-api03-" + some(80, WORD + "-_"),
    "openrouter": lambda: "sk-or-v1-" + some(64, "0123456789abcdef"),
    "stripe": lambda: DRAWS.choice(["sk_live_", "rk_test_", "pk_live_"]) + some(24),
    "webhook": lambda: "whsec_" + some(32),
    "github": lambda: DRAWS.choice(["ghp_", "gho_", "ghs_", "ghu_", "ghr_"]) + some(36),
    "github fine": lambda: "github_pat_" + some(22) + "_" + some(59),
    "gitlab": lambda: "glpat-" + some(20),
    "slack": lambda: (
        DRAWS.choice(["xoxb-", "xoxp-", "xoxa-"]) + some(12, "123456789") + "-" + some(24)
    ),
    "slack app": lambda: "xapp-1-" + some(30),
    "amazon": lambda: DRAWS.choice(["AKIA", "ASIA"]) + some(16, string.ascii_uppercase + "234567"),
    "google": lambda: "AIza" + some(35),
    "google token": lambda: "ya29." + some(60, WORD + "-_"),
    "jwt": lambda: f"eyJ{some(20)}.{some(40)}.{some(43, WORD + '-_')}",
    "hugging face": lambda: "hf_" + some(34),
    "npm": lambda: "npm_" + some(36),
    "pypi": lambda: "pypi-" + some(80, WORD + "-_"),
    "sendgrid": lambda: f"SG.{some(22)}.{some(43)}",
    "digital ocean": lambda: "dop_v1_" + some(64, "0123456789abcdef"),
    "age": lambda: "AGE-SECRET-KEY-" + some(58, string.ascii_uppercase + "0123456789"),
    "telegram": lambda: some(9, "123456789") + ":" + some(35),
    "bearer": lambda: some(40, WORD + "-._~"),
    "password": lambda: some(14, WORD + "!$%*"),
    "in a url": lambda: some(20),
    "private key": private_key,
    "mail": lambda: f"{some(8).lower()}.{some(6).lower()}@{some(9).lower()}.example.com",
    "phone": lambda: f"+49 {some(3, '123456789')} {some(8, '0123456789')}",
    "card": card,
    "iban": iban,
    "ip": lambda: f"10.{DRAWS.randrange(256)}.{DRAWS.randrange(256)}.{DRAWS.randrange(1, 255)}",
    "ssn": lambda: f"{DRAWS.randrange(100, 999)}-{DRAWS.randrange(10, 99)}-{some(4, '123456789')}",
}

# How a kind that no form gives away is written; every other one stands anywhere.
WRITTEN = {
    "bearer": ("Authorization: Bearer {}", "curl -H 'Authorization: Bearer {}' https://x.example"),
    "password": ("password={}", 'PGPASSWORD="{}"', "db_password: {}", "export API_KEY={}"),
    "in a url": (
        "postgres://admin:{}@db.internal:5432/app",
        "git clone https://bot:{}@git.example/r",
    ),
}
PROSE = (
    "{}",
    "use {} for this",
    "the key is {}, keep it",
    "$ env\nTOKEN_FILE=/run/x\n{}\n",
    "I set it to `{}` and it worked.",
    "({})",
)


def corpus() -> list[tuple[str, str, str]]:
    """Return kinds, secrets, and the texts they stand in."""
    kinds = list(KINDS)
    found = []
    for number in range(SECRETS):
        kind = kinds[number % len(kinds)]
        secret = KINDS[kind]()
        found.append((kind, secret, DRAWS.choice(WRITTEN.get(kind, PROSE)).format(secret)))
    return found


CORPUS = corpus()


def pieces(secret: str) -> list[str]:
    """Return what of a secret must not be found: it, or each line of a long one."""
    return [line for line in secret.splitlines() if "-----" not in line] or [secret]


def test_the_corpus_has_a_thousand_secrets_of_every_kind() -> None:
    assert len(CORPUS) == SECRETS
    assert {kind for kind, _, _ in CORPUS} == set(KINDS)
    assert len({secret for _, secret, _ in CORPUS}) > SECRETS - 5


def test_no_secret_survives_in_a_text() -> None:
    left = [
        (kind, text)
        for kind, secret, text in CORPUS
        if any(piece in redact(text) for piece in pieces(secret))
    ]
    assert not left


@pytest.mark.parametrize("shape", ["message", "tool", "raw"])
def test_no_secret_survives_in_a_line_of_a_transcript(shape: str) -> None:
    left = []
    for kind, secret, text in CORPUS:
        line = {
            "message": json.dumps({"message": {"content": [{"type": "text", "text": text}]}}),
            "tool": json.dumps({"toolCall": {"arguments": {"command": text, "n": 1}}}),
            "raw": f"12:00 agent {text}".replace("\n", " "),
        }[shape]
        kept = json.dumps(read_record(line.encode()).value)
        if any(piece in kept for piece in pieces(secret)):
            left.append((kind, kept))
    assert not left


def test_a_value_under_a_secrets_name_goes_as_a_whole() -> None:
    for _, secret, _ in CORPUS[:200]:
        line = json.dumps({"args": {"apiKey": secret, "password": secret, "x_token": secret}})
        assert all(piece not in line_kept(line) for piece in pieces(secret))


def line_kept(line: str) -> str:
    return json.dumps(read_record(line.encode()).value)
