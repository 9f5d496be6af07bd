"""The token of whoever owns the data folder, so that nobody signs in on the machine itself.

It is an operator's token in a file that only its owner may read, made when it is first needed.
Who can read that file can read the stores too, so nothing is given away by it.
"""

from __future__ import annotations

import getpass
import os
from pathlib import Path
from typing import Final

from holdfast.plane.settings import load_settings

FILE_NAME: Final = "cli.token"


def local_token(home: Path) -> str:
    """Return the local token, making it if need be; empty where there is no data folder.

    Raise OSError when the folder is there and cannot be used.
    """
    path = home / FILE_NAME
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        pass
    if not home.is_dir():
        return ""
    import asyncio  # noqa: PLC0415  slow to load, and only for the first command ever

    secret = asyncio.run(_make(home))
    partial = path.with_suffix(f".{os.getpid()}")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(secret + "\n")
    partial.rename(path)
    return secret


async def _make(home: Path) -> str:
    """Make an operator's token named after this person."""
    from holdfast.plane.wiring.desk import make_token, with_register  # noqa: PLC0415  as above

    async with with_register(load_settings(home=str(home))) as register:
        secret, _token = await make_token(
            register, f"command line of {getpass.getuser()}", scope="operator", account=None
        )
        return secret
