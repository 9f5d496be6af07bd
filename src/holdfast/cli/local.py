"""The local operator token, so that no sign-in is needed on the plane's own machine.

It is stored in a file of the keys folder with mode 0600, created on first use. A user who can read
that file can read the stores too, so it reveals nothing more.
"""

from __future__ import annotations

import getpass
import re
from pathlib import Path
from typing import Final

from holdfast.kernel.secret import Secret, SecretError
from holdfast.plane.key_folder import TOKEN_FILE, KeysError, prepare_keys, write_key
from holdfast.plane.settings import Settings

NAME_PART_MAX: Final = 40
"""Characters of a user's name in that of their token; a name has at most 63."""


def local_token(settings: Settings) -> str:
    """Return the local token, created if necessary; empty if there is no data folder.

    Raise OSError or KeysError if a folder exists and cannot be used.
    """
    path = settings.keys_folder / TOKEN_FILE
    known = _read(path)
    if known:
        return known
    if not Path(settings.home).is_dir():
        return ""
    # The other files are moved by the plane only: one of an earlier version may be running on them.
    prepare_keys(settings, [TOKEN_FILE])
    known = _read(path)
    if known:
        return known
    import asyncio  # noqa: PLC0415  slow to load, and only for the first command ever

    secret = asyncio.run(_make(settings))
    write_key(path, f"{secret}\n".encode())
    return secret


def _read(path: Path) -> str:
    """Return the token in a file; empty without one. Raise KeysError where it is none."""
    try:
        return Secret.read(path.read_bytes().decode("latin-1"), str(path)).reveal()
    except FileNotFoundError:
        return ""
    except SecretError as error:
        raise KeysError(f"{error}; remove it, and it is made anew") from None


def name_of(user: str) -> str:
    """Return the name of a user's token, in the form that names have."""
    found = re.sub(r"[^a-z0-9]+", "-", user.lower())[:NAME_PART_MAX].strip("-")
    return f"command-line-{found}" if found else "command-line"


async def _make(settings: Settings) -> str:
    """Create an operator's token named after this user."""
    from holdfast.plane.wiring.local_admin import make_token, open_directory  # noqa: PLC0415  as above

    async with open_directory(settings) as directory:
        secret, _token = await make_token(
            directory, name_of(getpass.getuser()), scope="operator", account=None
        )
        return secret
