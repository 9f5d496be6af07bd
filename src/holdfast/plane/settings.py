"""Every setting of the plane: its name, its default, its unit, and what it is for.

A setting comes from the environment (`HOLDFAST_PORT`), else from `config.toml` in the data folder
(`port = 8700`), else from the default here. An invalid value is an error that names the setting and
its source; so is an unknown name in the file, so that a misspelt setting is not silently ignored.
This is one of the few files that may read the environment.
"""

from __future__ import annotations

import ipaddress
import os
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NamedTuple

import msgspec
from msgspec import Meta, Struct

from holdfast.corrections.limits import CORRECTIONS_PER_MINUTE
from holdfast.kernel.failure import reason
from holdfast.kernel.secret import Secret
from holdfast.wire.address import Address, Base
from holdfast.world.clouds.fly.names import API as FLY_API
from holdfast.world.clouds.fly.names import PREFIX as PREFIX_OF_APPS

PREFIX: Final = "HOLDFAST_"
FILE_NAME: Final = "config.toml"

Port = Annotated[int, Meta(ge=0, le=65_535)]
Count = Annotated[int, Meta(ge=1, le=10_000_000)]
Seconds = Annotated[float, Meta(ge=0, le=10**9)]

PORTS_PER_MACHINE: Final = 4
"""Ports that the process cloud gives to each machine."""
PORTS_END: Final = 65_536
SUBNET_PREFIX_MAX: Final = 28
"""The smallest network for machines in containers: of two machines."""


def _doc(text: str, **limits: Any) -> Meta:
    """Return the description of a setting, for the reference page."""
    return Meta(description=text, **limits)


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of an operator. Durations end in `_s` and are seconds."""

    home: Annotated[str, _doc("The data folder: stores, machines, logs.")] = "~/.holdfast"
    keys: Annotated[
        str,
        _doc("The folder of the plane's keys, outside of the data folder; `HOME.keys` if empty."),
    ] = ""
    host: Annotated[str, _doc("The address to listen on; loopback unless you mean it.")] = (
        "127.0.0.1"
    )
    port: Annotated[Port, _doc("The port to listen on; 0 takes a free one.")] = 8_700
    public_url: Annotated[
        str, _doc("How machines and people reach the plane; made from host and port if empty.")
    ] = ""
    trusted_proxies: Annotated[
        str, _doc("Addresses, comma-separated, whose forwarded headers are trusted.")
    ] = ""
    agents_domain: Annotated[
        str,
        _doc("The domain below which each agent's own page has its host; never the dashboard's."),
    ] = "agents.localhost"
    region: Annotated[str, _doc("The region written for machines placed here.")] = "local"
    gateway_token_secret: Annotated[
        str,
        _doc("The secret that machines' gateway tokens derive from; made and kept if empty."),
    ] = ""
    cloud: Annotated[
        Literal["process", "docker", "fly"],
        _doc(
            "Where new machines run: process, as processes on this host; docker, as containers"
            " of Docker or Podman (needs the extra `docker` and an image); or fly."
        ),
    ] = "process"
    docker_socket: Annotated[
        str,
        _doc(
            "The engine, as unix:///path or tcp://host:port; Docker's usual socket if empty."
            " Where it is set, machines in containers are looked after whatever cloud says."
        ),
    ] = ""
    docker_tls: Annotated[
        str, _doc("A folder with ca.pem, cert.pem and key.pem for an engine at tcp://.")
    ] = ""
    docker_image: Annotated[
        str, _doc("The image of machines in containers, as holdfast image build makes it.")
    ] = "localhost/holdfast-machine:latest"
    docker_egress: Annotated[
        Literal["internal", "open"],
        _doc(
            "internal: machines in containers reach the plane and docker_proxy alone; open: they"
            " have a default route."
        ),
    ] = "internal"
    docker_proxy: Annotated[
        str,
        _doc(
            "A proxy on this host, as host:port, through which machines in containers may reach"
            " out; they are told of it as HTTPS_PROXY."
        ),
    ] = ""
    docker_subnet: Annotated[
        str, _doc("Addresses for the networks of machines in containers; each takes eight.")
    ] = "10.213.0.0/16"
    docker_publish: Annotated[
        str,
        _doc(
            "The engine's address on which controllers are published, for engines whose networks"
            " this host is not in; needs docker_egress=open."
        ),
    ] = ""
    docker_pids: Annotated[
        Count, _doc("Processes and threads that a machine in a container may have.")
    ] = 512
    docker_open_files: Annotated[
        Count, _doc("Files that a program in a container may have open.")
    ] = 4_096
    docker_tmp_mb: Annotated[
        Count, _doc("MB of temporary files of a machine in a container; it is in memory.")
    ] = 256
    docker_disk_gb: Annotated[
        int,
        _doc(
            "GB at which a machine in a container is stopped; the size of its volume if 0.",
            ge=0,
            le=1_000_000,
        ),
    ] = 0
    fly_org: Annotated[
        str, _doc("The organisation at Fly whose apps are used; without one, Fly is not used.")
    ] = ""
    fly_token_file: Annotated[
        str,
        _doc(
            "The file with a token for that organisation, which only the plane's user may read;"
            " `fly-token` in the keys folder if empty."
        ),
    ] = ""
    fly_image: Annotated[str, _doc("The image of machines at Fly, with its tag or digest.")] = ""
    fly_regions: Annotated[
        str, _doc("Regions of machines at Fly, separated by commas; a full one leads to the next.")
    ] = "eu,us"
    fly_prefix: Annotated[
        str,
        _doc("What names of apps at Fly begin with; another one does not find what was made."),
    ] = "holdfast"
    fly_api: Annotated[str, _doc("Where Fly's Machines API answers.")] = FLY_API
    accept_unconfined: Annotated[
        bool,
        _doc("Allow more than one account where the host offers no confinement of agents."),
    ] = False
    machines_max: Annotated[
        Count, _doc("Machines that the process cloud keeps at most; more are refused.")
    ] = 1_000
    port_first: Annotated[Port, _doc("The first port given to machines; each takes four.")] = 20_000
    confine: Annotated[
        Literal["auto", "bubblewrap+landlock", "bubblewrap", "landlock", "none"],
        _doc(
            "What confines agents on the process cloud; auto is all that the host offers, and one"
            " that is named and not to be had keeps machines from starting."
        ),
    ] = "auto"
    confine_read: Annotated[
        str, _doc("Paths besides the system's that agents may read, separated by colons.")
    ] = ""
    confine_write: Annotated[
        str, _doc("Paths besides their own that all agents may write to, separated by colons.")
    ] = ""
    town_variables: Annotated[
        str,
        _doc(
            "Variables of the plane's own environment, keys of models say, and which towns' agents"
            " on this host get each: NAME@TOWN, NAME@TOWN/ROLE with a town's id, or NAME@* for all"
            " towns, separated by commas. What is not named here no agent gets."
        ),
    ] = ""
    checkin_first_s: Annotated[Seconds, _doc("A machine's first check-in after its start.")] = 120
    checkin_interval_s: Annotated[Seconds, _doc("Between a machine's check-ins.")] = 300
    checkin_min_s: Annotated[
        Seconds, _doc("Check-ins of one machine are refused with 429 when closer than this.")
    ] = 30
    start_timeout_s: Annotated[Seconds, _doc("A start that has not settled by then ends.")] = 300
    restart_soft_s: Annotated[Seconds, _doc("A restart may be declared over by then.")] = 300
    restart_hard_s: Annotated[Seconds, _doc("A restart that has not settled by then ends.")] = 900
    destroy_retry_s: Annotated[
        Seconds, _doc("Between attempts to destroy a machine after its cloud failed to.")
    ] = 60
    daily_look_s: Annotated[Seconds, _doc("Between checks of a machine in its desired state.")] = (
        86_400
    )
    stale_provision_s: Annotated[
        Seconds, _doc("An instance never started and without a machine is destroyed after this.")
    ] = 28_800
    stop_grace_s: Annotated[
        Seconds, _doc("A machine may take this long to stop before it is killed.")
    ] = 15
    telemetry_days: Annotated[Count, _doc("Days that check-ins are kept for the charts.")] = 30
    telemetry_buffer_s: Annotated[
        Seconds, _doc("Datapoints are written this often; a crash loses at most so much.")
    ] = 1
    telemetry_memory_mb: Annotated[
        Count, _doc("Memory that each of the two analytics stores may use.")
    ] = 256
    town_tick_days: Annotated[
        Count, _doc("Days that ticks of towns are kept; minutes of them as telemetry_days.")
    ] = 7
    sentry_dsn: Annotated[
        str,
        _doc(
            "Where broken invariants of towns are reported to, in Sentry's form; nothing is sent"
            " if empty. Needs the extra `sentry`."
        ),
    ] = ""
    journal_days: Annotated[Count, _doc("Days that events and tick records are kept.")] = 90
    correction_days: Annotated[Count, _doc("Days that corrections of brains are kept.")] = 365
    brain_event_days: Annotated[
        Count, _doc("Days that events of brains other than corrections are kept.")
    ] = 30
    corrections_per_minute: Annotated[
        Count, _doc("Corrections that one brain may send in any minute; more are refused with 429.")
    ] = CORRECTIONS_PER_MINUTE
    observers: Annotated[
        bool,
        _doc(
            "Run an observer beside each agent: it sends signs of life, and content once its owner"
            " agreed. A change reaches a machine with its next start."
        ),
    ] = True
    content_days: Annotated[Count, _doc("Days that content of observed nodes is kept.")] = 30
    counter_days: Annotated[
        int,
        _doc(
            "Days that numbers of what agents used are kept; as content_days if 0.",
            ge=0,
            le=10_000_000,
        ),
    ] = 400
    content_node_mb: Annotated[
        Count, _doc("Content that is kept of one node, in MB; more is refused and counted.")
    ] = 1_024
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], _doc("debug, info, warning or error.")
    ] = "info"
    session_days: Annotated[
        Count, _doc("Days that a signed-in browser stays signed in at most.")
    ] = 1
    session_idle_s: Annotated[
        float, _doc("Seconds without a request until a browser is signed out.", ge=300, le=10**7)
    ] = 3_600

    def __repr__(self) -> str:
        """Return a form without the secret."""
        return f"Settings(home={self.home!r}, host={self.host!r}, port={self.port})"

    @property
    def keys_folder(self) -> Path:
        """Return the keys folder: the one that is set, else one beside the data folder."""
        home = Path(self.home)
        return Path(self.keys).expanduser() if self.keys else home.parent / f"{home.name}.keys"


class SettingError(ValueError):
    """A setting is invalid; the text has its name, its source and the fix."""


def load_settings(environment: Mapping[str, str] | None = None, **overrides: Any) -> Settings:
    """Return the settings of this process: overrides, environment, file, defaults, in that order.

    `overrides` that are None count as not given. Raise SettingError for an invalid value.
    """
    env = os.environ if environment is None else environment
    given = {key: value for key, value in overrides.items() if value is not None}
    home = Path(given.get("home") or env.get(PREFIX + "HOME") or Settings().home).expanduser()
    file = home / FILE_NAME
    values: dict[str, Any] = dict(_from_file(file))
    sources = dict.fromkeys(values, f"{file}: ")
    from_environment = _from_environment(env)
    values.update(from_environment)
    sources.update({name: PREFIX + name.upper() for name in from_environment})
    values.update(given)
    sources.update({name: f"--{name.replace('_', '-')}" for name in given})
    values["home"] = str(home)
    return _checked(values, sources)


def refuse_overlap(settings: Settings) -> None:
    """Raise SettingError when keys and data folder are the same, or one contains the other.

    Links are resolved.
    """
    home, keys = Path(settings.home).resolve(), settings.keys_folder.resolve()
    if keys.is_relative_to(home) or home.is_relative_to(keys):
        raise SettingError(
            f"{PREFIX}KEYS: {settings.keys_folder} and the data folder {settings.home} overlap, and"
            f" machines live in the data folder; set {PREFIX}KEYS to a folder outside of it"
        )


def url_of(host: str, port: int) -> str:
    """Return the URL of a listener from this machine; "every address" becomes loopback."""
    here = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    return f"http://{Address(here, port)}"


def paths_in(text: str) -> list[str]:
    """Return the paths of a colon-separated text."""
    return [path for path in text.split(":") if path]


class Given(NamedTuple):
    """A variable that agents of a town get: `*` is all towns, an empty role all roles."""

    name: str
    town: str
    role: str


_GIVEN: Final = re.compile(
    rf"(?!{PREFIX})([A-Za-z_]\w*)@(\*|town-[0-9a-f]+)(?:/(polecat|refinery|mayor))?", re.ASCII
)


def given_in(text: str) -> tuple[Given, ...]:
    """Return what a comma-separated text gives to agents; raise ValueError where that is not sure.

    Variables of ours are refused: some are secrets of the plane. A town is its id, because a name
    is any account's to choose.
    """
    parts = [part.strip() for part in text.split(",") if part.strip()]
    found = [_GIVEN.fullmatch(part) for part in parts]
    if not all(found):
        raise ValueError("no variables that agents may have, or not said whose agents")
    return tuple(Given(one[1], one[2], one[3] or "") for one in found if one is not None)


def names_for(given: Sequence[Given], town: str, role: str) -> tuple[str, ...]:
    """Return the names of the variables that an agent gets."""
    return tuple(one.name for one in given if one.town in {"*", town} and one.role in {"", role})


def describe_settings() -> list[tuple[str, str, str, str]]:
    """Return (name, environment variable, default, meaning) for the reference page."""
    rows = []
    for info in msgspec.inspect.type_info(Settings).fields:  # type: ignore[attr-defined]
        meta = info.type
        description = ""
        while isinstance(meta, msgspec.inspect.Metadata):
            description = (meta.extra_json_schema or {}).get("description", description)
            meta = meta.type
        name = info.encode_name
        rows.append((name, PREFIX + name.upper(), str(info.default), description))
    return rows


def _from_file(path: Path) -> Mapping[str, Any]:
    """Return the settings of the file; none where it does not exist."""
    try:
        text = path.read_text()
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise SettingError(f"{path}: cannot be read: {reason(error)}") from None
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        line = str(error).rpartition("(")[2].rstrip(")")  # the rest may quote the file
        raise SettingError(f"{path}: not valid TOML {line}") from None
    unknown = sorted(values.keys() - set(Settings.__struct_fields__))
    if unknown:
        raise SettingError(f"{path}: no setting is called {unknown[0]!r}; see docs/reference")
    return values


def _from_environment(env: Mapping[str, str]) -> Mapping[str, Any]:
    """Return the settings of the environment; variables of other parts of Holdfast are ignored."""
    values: dict[str, Any] = {}
    for name in Settings.__struct_fields__:
        text = env.get(PREFIX + name.upper())
        if text:
            values[name] = text
    return values


def _checked(values: Mapping[str, Any], sources: Mapping[str, str]) -> Settings:
    """Return the values as settings; texts are decoded to the setting's type."""
    try:
        settings = msgspec.convert(dict(values), Settings, strict=False)
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at ")
        name = where.strip("`$.")
        source = sources.get(name, "")
        named = source + name if source.endswith(": ") else source or name
        raise SettingError(f"{named}: {_unquoted(what, name)}") from None
    _check_parsed(settings, sources)
    for name in ("confine_read", "confine_write"):
        for path in paths_in(getattr(settings, name)):
            _check_granted(PREFIX + name.upper(), path, Path(settings.home))
            _check_granted(PREFIX + name.upper(), path, settings.keys_folder)
    end = settings.port_first + settings.machines_max * PORTS_PER_MACHINE
    if end > PORTS_END:
        raise SettingError(
            f"{PREFIX}PORT_FIRST and {PREFIX}MACHINES_MAX: {settings.machines_max} machines with"
            f" {PORTS_PER_MACHINE} ports each from {settings.port_first} on would need port"
            f" {end - 1}; the last is {PORTS_END - 1}"
        )
    refuse_overlap(settings)
    for name in ("fly_org", "fly_image") if settings.cloud == "fly" else ():
        if not getattr(settings, name):
            raise SettingError(f"{PREFIX}{name.upper()}: not set, and HOLDFAST_CLOUD=fly needs it")
    return settings


def _unquoted(what: str, name: str) -> str:
    """Return what is wrong with a value, without the value."""
    if not what.startswith("Invalid enum value"):
        return what
    kind: Any = msgspec.inspect.type_info(Settings)
    (field,) = (each for each in kind.fields if each.name == name)
    values = getattr(field.type, "type", field.type).values
    return f"want one of {', '.join(map(str, values))}"


def _check_parsed(settings: Settings, sources: Mapping[str, str]) -> None:
    """Raise SettingError for a text that cannot be parsed."""
    checks: tuple[tuple[str, Callable[[str], object], str], ...] = (
        ("public_url", _root, "want a URL like https://plane.example.com: no password, no path"),
        ("trusted_proxies", _networks, "want addresses or networks, separated by commas"),
        (
            "town_variables",
            given_in,
            f"want NAME@TOWN, NAME@TOWN/ROLE or NAME@*, names without {PREFIX} and ids of towns",
        ),
        ("agents_domain", _domain, "want a domain of two names or more, like agents.localhost"),
        (
            "gateway_token_secret",
            lambda text: Secret.read(text, ""),
            "want one line of visible ASCII",
        ),
        ("fly_api", _https, "want a URL like https://api.machines.dev/v1, with https"),
        ("fly_prefix", _prefix, "want 1 to 16 lower-case letters, digits and hyphens"),
        ("docker_socket", _engine, "want unix:///path or tcp://host:port"),
        ("docker_proxy", Address.parse, "want host:port"),
        ("docker_subnet", _subnet, "want a private IPv4 network of 16 addresses or more"),
        ("docker_publish", ipaddress.ip_address, "want an address of the engine's host"),
        ("sentry_dsn", _dsn, "want a DSN of Sentry like https://key@sentry.example.com/1"),
    )
    for name, check, want in checks:
        value = getattr(settings, name)
        try:
            if value:
                check(value)
        except ValueError:
            raise SettingError(f"{sources.get(name, name)}: {want}") from None


def _root(text: str) -> None:
    """Raise ValueError for what is no URL, or one below a path."""
    if Base.parse(text).prefix:
        raise ValueError("a path")


def _https(text: str) -> None:
    """Raise ValueError for a URL to which no token may be sent."""
    base = Base.parse(text)
    if base.scheme != "https" and base.address.host not in {"127.0.0.1", "::1", "localhost"}:
        raise ValueError("not https")


def _prefix(text: str) -> None:
    if not PREFIX_OF_APPS.fullmatch(text):
        raise ValueError("no beginning of a name")


def _dsn(text: str) -> None:
    """Raise ValueError for a text that names no key, host and project."""
    if not re.fullmatch(r"https?://[^\s/@:]+@[^\s/@]+(/[^\s/]+)*/[0-9]+", text):
        raise ValueError("no DSN")


def _networks(text: str) -> None:
    for part in text.split(","):
        if part.strip():
            ipaddress.ip_network(part.strip(), strict=False)


def _engine(text: str) -> None:
    """Raise ValueError for what is no address of an engine."""
    if text.startswith("tcp://"):
        Address.parse(text.removeprefix("tcp://"))
    elif not re.fullmatch(r"unix:///[!-~]+", text):
        raise ValueError("no engine")


def _subnet(text: str) -> None:
    """Raise ValueError for what has no room for networks of machines."""
    if ipaddress.IPv4Network(text).prefixlen > SUBNET_PREFIX_MAX:
        raise ValueError("too small")


def _secret(text: str) -> None:
    Secret.read(text, "")


def _domain(text: str) -> None:
    if not re.fullmatch(r"[a-z0-9-]+(\.[a-z0-9-]+)+", text.strip(".").lower()):
        raise ValueError


def _check_granted(name: str, path: str, hidden: Path) -> None:
    """Raise SettingError for a path that must not be granted to agents: it contains our files."""
    if not path.startswith("/"):
        raise SettingError(f"{name}: want absolute paths, separated by colons")
    granted, ours = Path(path).resolve(), hidden.resolve()
    if granted == ours or granted in ours.parents or ours in granted.parents:
        raise SettingError(
            f"{name}: a path is, holds or lies in {hidden}, a folder of the plane's, which agents"
            " must not see; grant another folder"
        )
