from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest
from msgspec.structs import replace

from holdfast.kernel.secret import Secret
from holdfast.world.clouds.docker.answers import (
    Config,
    Container,
    EngineVolume,
    NetworkSettings,
    Published,
    State,
)
from holdfast.world.clouds.docker.answers import Endpoint as Place
from holdfast.world.clouds.docker.examine import INTERNET, METADATA, host_ports, in_words
from holdfast.world.clouds.docker.machines import key_archive
from holdfast.world.clouds.docker.shape import (
    LABEL_UID,
    Limits,
    Plan,
    container_config,
    environment,
    machine_of,
    sealed_in,
)
from holdfast.world.clouds.docker.volumes import UID_COUNT, UID_FIRST, free_uid
from holdfast.world.clouds.port import MachineSpec, Size

SPEC = MachineSpec(
    name="box",
    instance_id="one",
    sandbox_id="box",
    account_id="a",
    epoch=3,
    size=Size(cpus=2, memory_mb=512),
    labels={"team": "blue"},
    env={
        "HOLDFAST_CHECKIN_URL": "http://127.0.0.1:8700/api/controller/checkin",
        "OTHER_URL": "http://127.0.0.1:8700/x",
        "LD_PRELOAD": "/data/home/x.so",
    },
    sealed={"TOKEN": "enc:v1:abc"},
    volume_id="holdfast-vol-1",
)
PLAN = Plan(
    spec=SPEC, machine_id="m1", owner="plane", image="image", uid=12_345, network="holdfast-box",
    plane="http://127.0.0.1:8700", plane_here="http://10.213.0.1:8700", gateway="10.213.0.1",
    limits=Limits(pids=99, open_files=77, temporary_mb=5),
)  # fmt: skip


def test_nothing_that_keeps_an_agent_in_is_left_out() -> None:
    config = container_config(PLAN)
    host = config["HostConfig"]
    assert config["User"] == "12345:12345"
    assert host["ReadonlyRootfs"] is True
    assert host["CapDrop"] == ["ALL"]
    assert "CapAdd" not in host
    assert host["SecurityOpt"] == ["no-new-privileges"]
    assert host["Privileged"] is False
    assert (host["Memory"], host["MemorySwap"]) == (512 * 1_048_576, 512 * 1_048_576)
    assert (host["NanoCpus"], host["PidsLimit"]) == (2_000_000_000, 99)
    assert {(one["Name"], one["Hard"]) for one in host["Ulimits"]} == {
        ("nofile", 77), ("nproc", 99),
    }  # fmt: skip
    assert host["Tmpfs"] == {"/tmp": "rw,nosuid,nodev,size=5m,mode=1777"}
    assert host["NetworkMode"] == "holdfast-box"
    assert host["Mounts"] == [{"Type": "volume", "Source": "holdfast-vol-1", "Target": "/data"}]
    assert "PortBindings" not in host
    assert config["Volumes"] == {"/run/holdfast": {}}


def test_a_port_is_published_where_that_is_asked_for_only() -> None:
    config = container_config(replace(PLAN, publish="127.0.0.1"))
    assert config["HostConfig"]["PortBindings"] == {
        "18789/tcp": [{"HostIp": "127.0.0.1", "HostPort": ""}]
    }


def test_a_machine_is_told_the_plane_at_its_own_networks_address() -> None:
    told = environment(PLAN)
    assert told["HOLDFAST_CHECKIN_URL"] == "http://10.213.0.1:8700/api/controller/checkin"
    assert told["OTHER_URL"] == "http://127.0.0.1:8700/x", "what an owner set stays"
    assert "LD_PRELOAD" not in told, "the controller does not load an owner's code"
    assert told["HOLDFAST_AGENT_ENV_LD_PRELOAD"] == "/data/home/x.so"
    assert "HTTPS_PROXY" not in told


def test_a_proxy_is_told_by_its_variables() -> None:
    told = environment(replace(PLAN, proxy_here="http://10.213.0.1:3128"))
    assert told["HTTPS_PROXY"] == "http://10.213.0.1:3128"
    assert "10.213.0.1" in told["NO_PROXY"].split(",")


def test_sealed_values_stay_sealed_and_the_key_is_a_file() -> None:
    told = environment(PLAN)
    assert sealed_in(told) == {"TOKEN": "enc:v1:abc"}
    assert told["HOLDFAST_ENV_KEY_FILE"] == "/run/holdfast/env-key"
    assert "HOLDFAST_ENV_KEY" not in told
    assert "HOLDFAST_ENV_KEY_FILE" not in environment(replace(PLAN, spec=replace(SPEC, sealed={})))


def test_the_key_is_for_the_machines_user_alone() -> None:
    with tarfile.open(fileobj=io.BytesIO(key_archive(Secret("the-key"), 12_345))) as archive:
        (entry,) = archive.getmembers()
        content = archive.extractfile(entry)
        assert content is not None
        assert content.read() == b"the-key"
    assert (entry.name, entry.uid, entry.mode) == ("env-key", 12_345, 0o600)


def container(status: str) -> Container:
    labels = container_config(PLAN)["Labels"]
    return Container(
        id="c" * 64,
        name="/holdfast-box",
        state=State(status=status, started_at="2026-12-01T00:58:21.9Z"),
        config=Config(labels={**labels, "org.image": "of the image"}),
        network_settings=NetworkSettings(
            networks={"holdfast-box": Place(address="10.213.0.2")},
            ports={"18789/tcp": [Published(host_ip="127.0.0.1", host_port="4711")]},
        ),
    )


def test_a_container_as_a_machine() -> None:
    machine = machine_of(container("running"), direct=True)
    assert (machine.id, machine.name, machine.volume_id) == ("m1", "box", "holdfast-vol-1")
    assert machine.address == "10.213.0.2:18789"
    assert machine_of(container("running"), direct=False).address == "127.0.0.1:4711"
    assert machine_of(container("exited"), direct=True).address == ""
    assert machine.labels == {
        "team": "blue", "holdfast_instance": "one", "holdfast_sandbox": "box",
        "holdfast_epoch": "3",
    }  # fmt: skip


def test_each_volume_has_a_user_of_its_own() -> None:
    taken: list[EngineVolume] = []
    for number in range(300):
        uid = free_uid(f"volume-{number}", taken)
        assert UID_FIRST <= uid < UID_FIRST + UID_COUNT
        taken.append(EngineVolume(name=str(number), labels={LABEL_UID: str(uid)}))
    assert len({(one.labels or {})[LABEL_UID] for one in taken}) == 300
    first = free_uid("same", [])
    assert free_uid("same", [EngineVolume(name="x", labels={LABEL_UID: str(first)})]) != first


def test_the_hosts_open_ports(tmp_path: Path) -> None:
    table = tmp_path / "tcp"
    row = "  0: {place} 00000000:0000 {state} 00000000:00000000 00:00000000 00000000 0 0 1\n"
    table.write_text(
        "  sl  local_address\n"
        + row.format(place="00000000:0016", state="0A")
        + row.format(place="0100007F:1F90", state="0A")
        + row.format(place="0100000A:01BB", state="01")
    )
    assert host_ports(table) == [22]
    assert host_ports(tmp_path / "nothing") == []


@pytest.mark.parametrize(
    ("reached", "internal", "said"),
    [
        ([], True, []),
        ([METADATA], True, ["metadata"]),
        ([INTERNET], False, []),
        ([INTERNET], True, ["internet"]),
        ([("10.213.0.1", 22), ("10.213.0.1", 5432)], True, ["22, 5432"]),
    ],
)
def test_what_is_reached_is_said(
    reached: list[tuple[str, int]],
    internal: bool,  # noqa: FBT001  a parameter of the test
    said: list[str],
) -> None:
    words = in_words(reached, internal=internal)
    assert len(words) == len(said)
    assert all(part in word for part, word in zip(said, words, strict=True))
