"""Opens the Fly cloud where an organisation is set, and checks it for the doctor.

Starting the plane sends nothing to Fly. The token is read once, from a file that only the plane's
user may read; a new one takes effect with the next start.
"""

from __future__ import annotations

import ipaddress
from functools import partial
from pathlib import Path
from typing import Final

from holdfast.kernel.failure import reason
from holdfast.kernel.outcome import Ok, Permanent
from holdfast.kernel.secret import Secret, SecretError
from holdfast.plane.about import Check
from holdfast.plane.key_folder import KeysError, refuse_loose
from holdfast.plane.settings import PREFIX, Settings
from holdfast.plane.wiring.core import Core
from holdfast.plane.wiring.secret_files import env_key_text
from holdfast.wire.address import Base
from holdfast.wire.api.plane import DoctorCheck
from holdfast.wire.limits import REASON_MAX
from holdfast.world.clouds.fly.client import FlyClient, read_token
from holdfast.world.clouds.fly.cloud import FlyCloud, Options
from holdfast.world.clouds.port import DENIED
from holdfast.world.clouds.regions import parse_regions

FLY: Final = "fly"
TOKEN_FILE: Final = "fly-token"  # noqa: S105  the name of a file

FLY_CALLS_MAX: Final = 256
"""Concurrent calls to Fly: most of them wait for a machine, and each machine has its own rate."""


def open_fly(core: Core) -> FlyCloud | None:
    """Return the Fly cloud, None where no organisation is set; raise KeysError without a token."""
    settings = core.settings
    if not settings.fly_org:
        return None
    cloud = FlyCloud(
        FlyClient(Base.parse(settings.fly_api), _token(settings), clock=core.clock),
        org=settings.fly_org,
        prefix=settings.fly_prefix,
        options=Options(image=settings.fly_image, regions=parse_regions(settings.fly_regions)),
        clock=core.clock,
        keys=partial(env_key_text, core.keyring),
    )
    core.closing.push_async_callback(cloud.close)
    return cloud


def region_of(settings: Settings) -> str:
    """Return the region written for new instances; at Fly it is that of the volume they get."""
    return "" if settings.cloud == FLY else settings.region


def fly_check(core: Core, cloud: FlyCloud) -> Check:
    """Return the doctor's check of the token, the organisation, and the way back to the plane."""

    async def check_fly() -> DoctorCheck:
        outcome = await cloud.check()
        if isinstance(outcome, Ok):
            if not _is_public(core.url):
                return DoctorCheck(
                    name="fly",
                    result="warning",
                    message=f"machines at Fly cannot reach the plane at {core.url}",
                    fix=f"set {PREFIX}PUBLIC_URL to an address that the internet reaches",
                )
            text = f"{core.settings.fly_org} is reached: {outcome.value} apps of this plane"
            return DoctorCheck(name="fly", result="ok", message=text)
        is_denied = isinstance(outcome, Permanent) and outcome.code == DENIED
        fix = (
            f"put a valid token into {_token_path(core.settings)}, and start the plane again"
            if is_denied
            else f"compare {PREFIX}FLY_ORG and {PREFIX}FLY_API, then ask again"
        )
        text = f"{outcome.code}: {outcome.message}"[:REASON_MAX]
        return DoctorCheck(name="fly", result="failed", message=text, fix=fix)

    return check_fly


def _token_path(settings: Settings) -> Path:
    given = settings.fly_token_file
    return Path(given).expanduser() if given else settings.keys_folder / TOKEN_FILE


def _token(settings: Settings) -> Secret:
    path = _token_path(settings)
    try:
        refuse_loose(path)
        token = read_token(path.read_bytes().decode("latin-1"), str(path))
    except OSError as error:
        raise KeysError(
            f"{path}: no token for Fly: {reason(error)}; write one there with mode 600, name"
            f" another file with {PREFIX}FLY_TOKEN_FILE, or unset {PREFIX}FLY_ORG"
        ) from None
    except SecretError as error:
        raise KeysError(f"{error}: the token for Fly") from None
    if not token:
        raise KeysError(f"{path}: it is empty, and should have a token for Fly")
    return token


def _is_public(url: str) -> bool:
    """Return whether a URL may be reached from outside: its host is no number of this host."""
    host = Base.parse(url).address.host
    try:
        return not ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host != "localhost"
