from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.plane.settings import SettingError, Settings, load_settings
from holdfast.plane.wiring.containers import DEFAULT_ENGINE, container_options
from holdfast.wire.address import Address

URL = "http://127.0.0.1:8700"


def options(**given: str | int) -> object:
    return container_options(Settings(cloud="docker", **given), URL, owner="o")  # type: ignore[arg-type]


def test_by_default_machines_reach_the_plane_in_their_own_network() -> None:
    found = container_options(Settings(cloud="docker"), URL, owner="o")
    assert (found.url, found.internal, found.publish) == (DEFAULT_ENGINE, True, "")
    assert (found.plane, found.plane_at) == (URL, Address("127.0.0.1", 8_700))


def test_a_free_port_is_that_of_the_listener() -> None:
    found = container_options(Settings(port=0), "http://127.0.0.1:4711", owner="o")
    assert found.plane_at == Address("127.0.0.1", 4_711)


def test_a_plane_that_listens_everywhere_is_reached_on_the_loopback() -> None:
    found = container_options(Settings(host="0.0.0.0"), URL, owner="o")
    assert found.plane_at == Address("127.0.0.1", 8_700)


def test_with_a_way_out_the_public_url_is_used_as_it_is() -> None:
    given = Settings(public_url="https://plane.example.com", docker_egress="open")
    found = container_options(given, "https://plane.example.com", owner="o")
    assert found.plane_at is None
    inside = Settings(public_url="https://plane.example.com")
    found = container_options(inside, "https://plane.example.com", owner="o")
    assert found.plane_at == Address("127.0.0.1", 8_700)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"docker_publish": "127.0.0.1"}, "HOLDFAST_DOCKER_PUBLISH"),
        ({"docker_socket": "tcp://engine:2376"}, "HOLDFAST_DOCKER_TLS"),
        ({"docker_socket": "tcp://engine:2376", "docker_tls": "/x"}, "HOLDFAST_DOCKER_SOCKET"),
        ({"port": 0, "public_url": "https://plane.example.com"}, "HOLDFAST_PORT"),
    ],
)
def test_what_cannot_reach_each_other_is_refused(given: dict[str, str], named: str) -> None:
    with pytest.raises(SettingError, match=named):
        options(**given)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DOCKER_SOCKET", "/var/run/docker.sock"),
        ("DOCKER_SOCKET", "http://engine:2375"),
        ("DOCKER_PROXY", "nowhere"),
        ("DOCKER_SUBNET", "10.213.0.0/30"),
        ("DOCKER_SUBNET", "10.213.0.1/16"),
        ("DOCKER_PUBLISH", "here"),
        ("DOCKER_DISK_GB", "-1"),
        ("CLOUD", "podman"),
    ],
)
def test_a_malformed_setting_is_named(name: str, value: str, tmp_path: Path) -> None:
    environment = {"HOLDFAST_HOME": str(tmp_path), f"HOLDFAST_{name}": value}
    with pytest.raises(SettingError, match=f"HOLDFAST_{name}"):
        load_settings(environment)
