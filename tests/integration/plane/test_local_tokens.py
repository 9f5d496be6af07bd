"""Tokens made on the plane's own machine, past the edge."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.accounts import audit
from holdfast.plane.settings import Settings
from holdfast.plane.wiring.local_admin import make_token, open_directory
from holdfast.wire.api.call import Refusal


async def test_a_token_that_is_made_locally_is_audited(tmp_path: Path) -> None:
    async with open_directory(Settings(home=str(tmp_path / "home"))) as directory:
        secret, token = await make_token(directory, "ci", scope="operator", account=None)
        with pytest.raises(Refusal, match="no_such_account"):
            await make_token(directory, "ci", scope="owner", account="nowhere")
        refused, made = await directory.store.audit(None, None, 10)
        chain = await directory.store.audit_chain(0, 10)
    assert (made.status, refused.status) == (201, 404)
    entry = made.row.entry
    assert (entry.endpoint, entry.how, entry.target) == (
        "token.create", "local", "operator token 'ci'",
    )  # fmt: skip
    assert entry.who == token.created_by
    assert secret not in repr(chain)
    assert audit.first_broken(chain) is None
