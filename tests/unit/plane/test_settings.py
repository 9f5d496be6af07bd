"""Settings: from where they come, and how a wrong one is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.plane import log_file
from holdfast.plane.settings import SettingError, given_in, load_settings, names_for, url_of


def test_the_nearer_source_counts(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("port = 1111\nregion = 'file'\nlog_level = 'debug'\n")
    env = {"HOLDFAST_HOME": str(tmp_path), "HOLDFAST_PORT": "2222", "HOLDFAST_REGION": "env"}
    found = load_settings(env, port=3333)
    assert (found.port, found.region, found.log_level) == (3333, "env", "debug")
    assert load_settings(env, port=None).port == 2222
    assert load_settings({}, home=str(tmp_path)).port == 1111


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HOLDFAST_PORT", "70000"),
        ("HOLDFAST_PORT", "many"),
        ("HOLDFAST_CLOUD", "sky"),
        ("HOLDFAST_LOG_LEVEL", "loud"),
        ("HOLDFAST_CHECKIN_INTERVAL_S", "-1"),
        ("HOLDFAST_JOURNAL_DAYS", "0"),
        ("HOLDFAST_MACHINES_MAX", "60000"),
    ],
)
def test_a_wrong_one_is_named_by_its_variable(tmp_path: Path, name: str, value: str) -> None:
    with pytest.raises(SettingError, match=name):
        load_settings({"HOLDFAST_HOME": str(tmp_path), name: value})


def test_a_wrong_one_in_the_file_is_named_with_the_file(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    for text, told in (("prot = 1", "'prot'"), ("port = 'x'", "port"), ("port =", "TOML")):
        file.write_text(text)
        with pytest.raises(SettingError, match=told) as caught:
            load_settings({}, home=str(tmp_path))
        assert str(file) in str(caught.value)
    with pytest.raises(SettingError, match="--port"):
        load_settings({}, home=str(tmp_path / "none"), port=-1)


def test_no_secret_is_shown(tmp_path: Path) -> None:
    secret = "a-secret-to-derive-from"
    env = {"HOLDFAST_HOME": str(tmp_path), "HOLDFAST_GATEWAY_TOKEN_SECRET": secret}
    assert secret not in repr(load_settings(env))


def test_addresses_as_this_machine_reaches_them() -> None:
    assert url_of("127.0.0.1", 1) == "http://127.0.0.1:1"
    assert url_of("0.0.0.0", 1) == "http://127.0.0.1:1"
    assert url_of("::", 1) == "http://[::1]:1"
    assert url_of("plane.example", 1) == "http://plane.example:1"


def test_the_log_is_kept_below_its_bound(tmp_path: Path) -> None:
    assert log_file.tail(tmp_path, 3) == []
    with log_file.open_log(tmp_path) as log:
        assert log_file.is_ours(tmp_path, log.fileno())
        log.write(b"one\ntwo\nthree\n")
        log.flush()
        assert not log_file.shrink(tmp_path, bytes_max=100)
        assert log_file.shrink(tmp_path, bytes_max=4)
        log.write(b"four\n")
    path = tmp_path / log_file.NAME
    assert path.read_text() == "four\n"
    kept = path.with_name("plane.log.1")
    assert kept.read_text() == "one\ntwo\nthree\n"
    assert [p.stat().st_mode & 0o777 for p in (path, kept)] == [0o600, 0o600]
    assert log_file.tail(tmp_path, 1) == ["four"]
    other = tmp_path / "other"
    other.touch()
    with other.open() as file:
        assert not log_file.is_ours(tmp_path, file.fileno())


@pytest.mark.parametrize(
    "names",
    [
        "A B@*", "1A@*", "A@*,HOLDFAST_GATEWAY_TOKEN_SECRET@*", "A", "A@", "A@elm", "@*",
        "A@town-1f/boss", "A@*x", "A@town-1f,B", "A@town-1f/polecat/mayor",
    ],
)  # fmt: skip
def test_agents_of_towns_get_no_variable_of_ours_and_none_unless_said_whose(
    tmp_path: Path, names: str
) -> None:
    env = {"HOLDFAST_HOME": str(tmp_path), "HOLDFAST_TOWN_VARIABLES": names}
    with pytest.raises(SettingError, match="HOLDFAST_TOWN_VARIABLES"):
        load_settings(env)


def test_each_town_and_role_gets_the_variables_that_name_it() -> None:
    given = given_in(" MODEL_KEY@town-1f, OTHER@town-2e/mayor,PROXY@*, LAND@*/refinery,")
    assert names_for(given, "town-1f", "polecat") == ("MODEL_KEY", "PROXY")
    assert names_for(given, "town-1f", "refinery") == ("MODEL_KEY", "PROXY", "LAND")
    assert names_for(given, "town-2e", "mayor") == ("OTHER", "PROXY")
    assert names_for(given, "town-1", "mayor") == ("PROXY",)
    assert names_for(given_in(""), "town-1f", "polecat") == ()


@pytest.mark.parametrize("name", ["confine_read", "confine_write"])
@pytest.mark.parametrize("path", ["{home}", "{home}/keys", "{home}/..", "/", "relative"])
def test_nothing_of_the_data_folder_can_be_granted_to_agents(
    tmp_path: Path, name: str, path: str
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    given = {"HOLDFAST_HOME": str(home), f"HOLDFAST_{name.upper()}": path.format(home=home)}
    with pytest.raises(SettingError, match=f"HOLDFAST_{name.upper()}"):
        load_settings(given)
    link = tmp_path / "link"
    link.symlink_to(home)
    with pytest.raises(SettingError, match="grant another folder"):
        load_settings({**given, f"HOLDFAST_{name.upper()}": f"/opt/tool:{link}"})
    fine = load_settings({**given, f"HOLDFAST_{name.upper()}": f"/opt/tool:{tmp_path}/other"})
    assert getattr(fine, name).startswith("/opt/tool")


@pytest.mark.parametrize(
    "url",
    ["plane.example", "http://u@plane.example", "http://a/?x", "ftp://a", "https://a/below"],
)
def test_a_public_address_that_is_none_is_refused_by_its_name(url: str, tmp_path: Path) -> None:
    env = {"HOLDFAST_HOME": str(tmp_path), "HOLDFAST_PUBLIC_URL": url}
    with pytest.raises(SettingError, match="HOLDFAST_PUBLIC_URL"):
        load_settings(env)
    assert load_settings({**env, "HOLDFAST_PUBLIC_URL": "https://plane.example/"}).public_url
