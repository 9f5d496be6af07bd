"""What a machine of the process cloud sees of the plane's environment: no secret, and npm's way."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.machine.controller.settings import child_environment
from holdfast.world.clouds.spec import carried
from holdfast.world.processes.barrier import INHERITED, inherited_from


def test_only_what_is_named_is_handed_on(tmp_path: Path) -> None:
    given = {"PATH": "/bin", "HOLDFAST_KEY": "s", "MINE": "1", "HOME": str(tmp_path)}
    assert inherited_from(given) == {"PATH": "/bin"}
    assert inherited_from(given, ("MINE",)) == {"PATH": "/bin", "MINE": "1"}
    assert not [name for name in INHERITED if "TOKEN" in name or "AUTH" in name or "KEY" in name]


def test_npm_finds_the_settings_of_whoever_runs_the_plane(tmp_path: Path) -> None:
    npmrc = tmp_path / ".npmrc"
    npmrc.write_text("registry=https://npm.example\n")
    assert inherited_from({"HOME": str(tmp_path)}) == {"NPM_CONFIG_USERCONFIG": str(npmrc)}


@pytest.mark.parametrize("name", ["NPM_CONFIG_USERCONFIG", "npm_config_userconfig"])
def test_a_named_user_configuration_is_the_one(tmp_path: Path, name: str) -> None:
    (tmp_path / ".npmrc").write_text("")
    given = {"HOME": str(tmp_path), name: "/etc/own.npmrc", "npm_config_registry": "https://r"}
    assert inherited_from(given) == {name: "/etc/own.npmrc", "npm_config_registry": "https://r"}


@pytest.mark.parametrize("name", ["LD_PRELOAD", "LD_LIBRARY_PATH", "OPENSSL_CONF", "GCONV_PATH"])
def test_a_variable_that_loads_code_works_on_the_agent_alone(name: str) -> None:
    assert carried(name) != name
    assert child_environment({carried(name): "x", "PATH": "/bin"}) == {name: "x", "PATH": "/bin"}
    assert carried("MODEL") == "MODEL"
