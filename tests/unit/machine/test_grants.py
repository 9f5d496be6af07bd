"""The grants of a confined program: a list, with folders that contain hidden ones split up."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.machine.confine.grants import Scope, ScopeError, Wishes, find_scope, programs_on
from holdfast.machine.confine.landlock import Plan, files_handled, port_filter
from holdfast.machine.confine.sandbox import ConfineError, read_order


@pytest.fixture
def home(tmp_path: Path) -> Path:
    for name in ("machines/own/home", "machines/other/home", "agents/openclaw-1", "keys"):
        (tmp_path / "opt" / "holdfast" / name).mkdir(parents=True)
    (tmp_path / "opt" / "tool" / "bin").mkdir(parents=True)
    (tmp_path / "opt" / "link").symlink_to("tool")
    return tmp_path / "opt" / "holdfast"


def granted(scope: Scope, below: Path) -> set[str]:
    return {
        str(Path(path).relative_to(below))
        for path in scope.granted
        if Path(path).is_relative_to(below)
    }


def test_a_folder_that_holds_what_is_hidden_is_granted_without_that(home: Path) -> None:
    scope = find_scope(Wishes(programs=(str(home.parent),), hidden=(str(home),)))
    assert granted(scope, home.parent) == {"tool"}
    assert scope.links[f"{home.parent}/link"] == "tool"


def test_what_the_program_needs_may_lie_in_what_is_hidden(home: Path) -> None:
    own, install = home / "machines/own/home", home / "agents/openclaw-1"
    scope = find_scope(Wishes(read=(str(install),), write=(str(own),), hidden=(str(home),)))
    assert granted(scope, home) == {"machines/own/home", "agents/openclaw-1"}
    assert scope.write == {str(own)}
    assert str(install) in scope.read


def test_a_folder_on_a_path_that_lies_in_what_is_hidden_is_passed_over(home: Path) -> None:
    names = (str(home), str(home / "keys"), str(home / "machines/other/home"))
    assert not granted(find_scope(Wishes(programs=names, hidden=(str(home),))), home)


def test_a_link_to_what_is_hidden_grants_nothing(home: Path) -> None:
    link = home.parent / "inviting"
    link.symlink_to(home / "keys")
    scope = find_scope(Wishes(programs=(str(link),), hidden=(str(home),)))
    assert not granted(scope, home)


@pytest.mark.parametrize("name", ["", "keys", "machines/other", "..", "../..", "keys/../machines"])
def test_an_operator_may_grant_nothing_of_it(home: Path, name: str) -> None:
    path = f"{home}/{name}"
    for wishes in (
        Wishes(asked_read=(path,), hidden=(str(home),)),
        Wishes(asked_write=(path,), hidden=(str(home),)),
    ):
        with pytest.raises(ScopeError, match="what agents must not see"):
            find_scope(wishes)
    with pytest.raises(ScopeError, match="want an absolute path"):
        find_scope(Wishes(asked_read=("tool",), hidden=(str(home),)))


def test_what_is_to_be_written_to_never_holds_what_is_hidden(home: Path) -> None:
    for path in (home, home.parent):
        with pytest.raises(ScopeError, match="not theirs to write to"):
            find_scope(Wishes(write=(str(path),), hidden=(str(home),)))


def test_links_on_the_way_are_made_and_parents_come_first(home: Path) -> None:
    (home / "agents/openclaw").symlink_to("openclaw-1")
    scope = find_scope(Wishes(read=(str(home / "agents/openclaw"),), hidden=(str(home),)))
    words = scope.mounts()
    links = {words[i + 2]: words[i + 1] for i, word in enumerate(words) if word == "--symlink"}
    assert links[str(home / "agents/openclaw")] == "openclaw-1"
    places = [word for word in words if word.startswith(str(home))]
    assert places == sorted(places, key=lambda path: path.count("/"))
    assert words.index("/tmp") < words.index(str(home / "agents/openclaw-1"))  # it lies in there


def test_a_folder_to_read_in_one_to_write_to_is_mounted_for_itself(home: Path) -> None:
    own = home / "machines/own/home"
    (own / "program").mkdir()
    scope = find_scope(Wishes(read=(str(own / "program"),), write=(str(own),)))
    words = scope.mounts()
    assert words.index(str(own)) < words.index(str(own / "program"))
    assert words[words.index(str(own / "program")) - 1] == "--ro-bind"


def test_alone_landlock_grants_nothing_of_proc_to_write_and_no_terminal(home: Path) -> None:
    rules = {path: access for access, path in find_scope(Wishes()).rules(alone=True)}
    assert rules["/proc"] & 0b10 == 0
    assert not {"/", "/tmp", "/run", "/dev", "/dev/pts", "/dev/ptmx"} & rules.keys()


def test_node_modules_beside_a_folder_of_a_path_are_programs_too(tmp_path: Path) -> None:
    found = list(programs_on(f"{tmp_path}/node/bin:relative::/usr/bin"))
    assert f"{tmp_path}/node/lib/node_modules" in found
    assert "relative" not in found


@given(
    st.lists(st.tuples(st.integers(0, 2**16), st.text(st.characters(exclude_characters="\0")))),
    st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))),
    st.dictionaries(st.text(st.characters(exclude_characters="\0")), st.just("x")),
)
def test_a_plan_is_read_as_it_was_written(
    rules: list[tuple[int, str]], argv: list[str], env: dict[str, str]
) -> None:
    plan = Plan(report=4, ports=-1, abi=7, rules=rules, argv=argv, env=env)
    try:
        encoded = plan.encode()
    except UnicodeEncodeError:
        return  # a name that no file can have
    assert vars(Plan.decode(encoded)) == vars(plan)


def test_the_filter_is_whole_instructions_and_its_jumps_stay_inside() -> None:
    for machine in ("x86_64", "aarch64"):
        code = port_filter(machine)
        assert code is not None
        rows = list(struct.iter_unpack("<HBBI", code))
        jumps = [(place, row) for place, row in enumerate(rows) if row[0] & 0b111 == 0b101]
        assert all(place + 1 + max(row[1:3]) < len(rows) for place, row in jumps)
        assert rows[-1][0] == 0x06, "it ends with an answer"
    assert port_filter("pdp11") is None


def test_rights_follow_the_version() -> None:
    assert [files_handled(abi).bit_length() for abi in (1, 2, 3, 4, 5, 7)] == [
        13, 14, 15, 15, 16, 16,
    ]  # fmt: skip


@pytest.mark.parametrize(
    "text", ["{", "[]", "1", '{"kind": "jail"}', '{"unknown": 1}', '{"kind": []}']
)
def test_a_malformed_order_is_refused(text: str) -> None:
    with pytest.raises(ConfineError, match="HOLDFAST_CONFINE_ORDER"):
        read_order(text)


def test_no_order_confines_nothing() -> None:
    assert read_order("").kind == "none"
