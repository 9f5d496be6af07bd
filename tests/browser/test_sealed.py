"""What a machine sealed opens in its owner's browsers alone: a real plane, observer, Chromium."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Final
from urllib.parse import unquote_plus

import pytest
from playwright.sync_api import Browser, Page, Request, Route, expect

from holdfast.machine.content_key import id_of_key, key_of, seal_to
from holdfast.machine.observer.sealing import Sealer
from holdfast.wire.browser_keys import CONTENT_KEY, PREVIEW, fingerprint_of, id_of
from tests.browser.conftest import open_real_page
from tests.support.browser_seal import new_pair, open_from, point_of, raw_of, text_of, unlock
from tests.support.observed import Observed, ask, content_of
from tests.support.patience import patience
from tests.support.planes import PlaneProcess, plane_at, until

LONG_MS = 1_000 * patience(20)
MARKER = "MARKER-of-what-was-said"
MACHINES: Final = "machines"
OPENS = "This browser opens what this node sealed."


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlaneProcess]:
    home = tmp_path_factory.mktemp("sealed") / "home"
    with plane_at(home, HOLDFAST_OBSERVERS="true") as made:
        yield made


@pytest.fixture(scope="module")
def one(plane: PlaneProcess) -> Observed:
    made = Observed.created(plane, "sealed")
    made.say(MARKER)
    made.say("another turn")
    plane.cli("consent", "grant", made.node.id, "transcripts", "--backfill", "everything", "--yes")
    until("its transcript arrives", lambda: MARKER in made.arrived(), seconds=30)
    return made


class Watched:
    """One browser of the owner, and every request that it sends."""

    def __init__(self, page: Page, plane: PlaneProcess, node: str) -> None:
        self.page = page
        self._base = f"{plane.url}/nodes/{node}"
        self.sent: list[Request] = []
        page.context.on("request", self._note)

    def _note(self, request: Request) -> None:
        self.sent.append(request)

    def keys(self) -> Page:
        """Open the page of the node's keys."""
        self.page.goto(f"{self._base}/keys")
        return self.page

    def says(self, text: str) -> None:
        """Expect what the page says of this browser."""
        expect(self.page.locator("#keys-state")).to_contain_text(text, timeout=LONG_MS)

    def made(self, name: str) -> str:
        """Make this browser's key, and return the fingerprint that it shows."""
        page = self.keys()
        page.get_by_label("Name of this browser").fill(name)
        page.get_by_role("button", name="Make its key").click()
        shown = page.locator("#keys-waits code[data-fingerprint]").first
        expect(shown).to_have_text(re.compile(r"^([A-Z2-7]{4}-){4}[A-Z2-7]{4}$"), timeout=LONG_MS)
        return shown.inner_text()

    def opens(self) -> None:
        """Expect that this browser opens the node."""
        expect(self.page.locator("#keys-state")).to_have_text(OPENS, timeout=LONG_MS)

    def session(self) -> Page:
        """Open the node's only session."""
        self.page.goto(f"{self._base}/sessions")
        self.page.locator("[data-row-link]").first.click()
        return self.page

    def told(self, words: str) -> bool:
        """Return whether words were sent: in an address, a header or a body, however written."""
        sent = "\n".join(
            f"{request.url} {request.headers} {(request.post_data_buffer or b'')!r}"
            for request in self.sent
        )
        return plain(words) in plain(unquote_plus(sent))


def plain(text: str) -> str:
    """Return letters and digits alone: neither case, spaces, padding nor the alphabet hides one."""
    return re.sub(r"[^a-z0-9]", "", text.lower())


@pytest.fixture
def browsers(browser: Browser, plane: PlaneProcess, one: Observed) -> Iterator[list[Watched]]:
    with ExitStack() as stack:
        pages = [stack.enter_context(open_real_page(browser, plane)) for _ in range(3)]
        yield [Watched(page, plane, one.node.id) for page in pages]
    # The machine lets in the first browser alone, so each test begins without any.
    listed = json.loads(plane.cli("consent", "browsers", one.node.id, "--json").stdout)
    for row in listed["items"] if isinstance(listed, dict) else listed:
        plane.cli("consent", "revoke-browser", row["fingerprint"])


def test_from_enrolling_to_revoking(
    browsers: list[Watched], plane: PlaneProcess, one: Observed
) -> None:
    first, second, third = browsers
    shown = first.made("Desk")
    assert shown in plane.cli("consent", "browsers", one.node.id).stdout
    first.says("nothing of this node")
    first.page.get_by_role("button", name="Have the instance's machine").click()
    first.opens()
    assert [row["fingerprint"] for row in one.log("observer.enrolled")] == [shown]

    page = first.session()
    turns = page.locator("[data-opened]")
    expect(turns).to_have_count(2, timeout=LONG_MS)
    expect(turns.first).to_contain_text(MARKER)
    page.get_by_label("Search this page").fill("ANOTHER turn")
    expect(page.locator("#replay-found")).to_have_text("1 of 2 turns")
    expect(turns.first).to_be_hidden()

    # A second browser, which the first one lets in by the fingerprint that it shows.
    other = second.made("Phone")
    page = first.keys()
    page.get_by_label("Fingerprint that the other browser shows").fill(other.lower())
    page.get_by_role("button", name="Enrol it").click()
    expect(page.get_by_text("Phone opens this node now")).to_be_visible(timeout=LONG_MS)
    second.keys()
    second.opens()

    # A recovery code, and every browser gone.
    first.page.get_by_role("button", name="Make a recovery code").click()
    code = first.page.locator("[data-code]")
    expect(code).to_have_text(re.compile(r"^([A-Z2-7]{4}-){7}[A-Z2-7]{4}$"), timeout=LONG_MS)
    words = code.inner_text()
    second.page.on("dialog", lambda asked: asked.accept())
    for fingerprint in (shown, other):
        row = second.page.locator("tr", has_text=fingerprint)
        row.get_by_role("button", name="Revoke").click()
        expect(row).to_have_count(0, timeout=LONG_MS)
    expect(second.page.locator("#keys-state")).to_contain_text("has no key", timeout=LONG_MS)
    expect(second.session().locator("#replay-note")).to_contain_text("this browser has none")
    expect(second.page.locator("[data-opened]")).to_have_count(0)

    third.made("New")
    third.page.get_by_label("Recovery code").fill(words[:-1])
    third.page.get_by_role("button", name="Use it").click()
    expect(third.page.locator("#toasts")).to_contain_text("opens nothing", timeout=LONG_MS)
    third.page.get_by_label("Recovery code").fill(words)
    third.page.get_by_role("button", name="Use it").click()
    third.opens()
    expect(third.session().locator("[data-opened]").first).to_contain_text(MARKER, timeout=LONG_MS)

    content_key = one.registration["encryption_key"]
    assert first.told(shown), "what is sent is found"
    for each in browsers:
        assert len(each.sent) > 10
        for secret in (MARKER, "another turn", words, content_key, key_of(content_key).hex()):
            assert not each.told(secret)


def test_a_key_that_the_plane_exchanged_is_never_sealed_to(
    browsers: list[Watched], one: Observed
) -> None:
    first, second, _ = browsers
    fingerprint = first.made("Trusted")
    first.page.get_by_role("button", name="Have the instance's machine").click()
    first.opens()
    wanted = second.made("Waiting")

    def exchanged(listed: dict[str, object]) -> dict[str, object]:
        items = listed["items"]
        assert isinstance(items, list)
        mine = next(item for item in items if item["name"] == "Trusted")
        for item in items:
            if item["name"] == "Waiting":
                item["public_key"] = mine["public_key"]
        return listed

    # A hostile plane: the id that was asked for, with another's public key.
    first.page.route(
        "**/sealed-keys",
        lambda route: (
            route.fulfill(json=exchanged(route.fetch().json()))
            if route.request.method == "GET"
            else route.continue_()
        ),
    )
    first.keys()
    first.page.get_by_label("Fingerprint that the other browser shows").fill(wanted)
    first.page.get_by_role("button", name="Enrol it").click()
    told = first.page.locator("#toasts")
    expect(told).to_contain_text("gave another key for that fingerprint", timeout=LONG_MS)
    sealed_to = [one for one in first.sent if one.method == "POST" and "sealed-keys" in one.url]
    assert [one.post_data_json for one in sealed_to] == [{"fingerprint": fingerprint}]


def test_an_agent_enrols_nobody_with_all_that_it_can_read(
    browsers: list[Watched], plane: PlaneProcess, one: Observed
) -> None:
    first = browsers[0]
    wanted = first.made("Not yet")
    read = one.registration
    api_key, node = read["api_key"], one.node.id
    listed = ask(plane.url, f"/api/observer/browser-keys?node_id={read['node_id']}", api_key)
    copy = {"node_id": read["node_id"], "browser": "bk_" + wanted.replace("-", "").lower(),
            "key_id": "0" * 25, "sealed": "A" * 60}  # fmt: skip
    given = ask(plane.url, "/api/observer/sealed-keys", api_key, method="POST", body=copy)
    for status, body in (listed, given):
        assert (status, json.loads(body)["code"]) == (403, "agent_cannot_enrol")
    asked = {"fingerprint": wanted}
    by_machine = f"/api/nodes/{node}/sealed-keys/by-machine"
    assert ask(plane.url, by_machine, api_key, method="POST", body=asked)[0] == 401
    assert ask(plane.url, f"/api/nodes/{node}/sealed-keys", api_key)[0] == 401
    first.keys()
    first.says("nothing of this node")


def test_browser_and_machine_seal_and_open_alike(
    browsers: list[Watched],
) -> None:
    page = browsers[0].keys()
    pair, key = new_pair(), bytes(range(32))
    point = point_of(pair)
    run = """async ([point, key]) => {
        const keys = await import('/static/browser_keys.js');
        const raw = keys.fromBase64url(point);
        const made = await keys.makeRecovery();
        return {
            fingerprint: await keys.fingerprint(raw),
            id: keys.idOf(await keys.fingerprint(raw)),
            key_id: await keys.keyId(keys.fromBase64url(key)),
            sealed: await keys.sealTo(raw, keys.CONTENT_KEY, 'nd_1', keys.fromBase64url(key)),
            code: made.code, locked: made.locked, point: keys.toBase64url(made.point),
        };
    }"""
    told = page.evaluate(run, [text_of(point), text_of(key)])
    shown = fingerprint_of(point)
    assert (told["fingerprint"], told["id"]) == (shown, id_of(shown))
    assert told["key_id"] == id_of_key(key)
    assert open_from(pair, CONTENT_KEY, "nd_1", told["sealed"]) == key
    # The recovery code unlocks its pair, to which a machine's seal opens.
    recovery = unlock(told["code"], raw_of(told["point"]), told["locked"])
    assert text_of(point_of(recovery)) == told["point"]
    sealed = seal_to(raw_of(told["point"]), PREVIEW, "nd_1", b"samples")
    opened = page.evaluate(
        """async ([code, point, locked, sealed]) => {
            const keys = await import('/static/browser_keys.js');
            const holder = await keys.unlockRecovery(code, keys.fromBase64url(point), locked);
            const plain = await keys.openFrom(holder, keys.PREVIEW, 'nd_1', sealed);
            const other = keys.openFrom(holder, keys.CONTENT_KEY, 'nd_1', sealed);
            const refused = await other.catch(() => 'refused');
            return [new TextDecoder().decode(plain), refused];
        }""",
        [told["code"].lower(), told["point"], told["locked"], sealed],
    )
    assert opened == ["samples", "refused"]


def test_samples_are_asked_for_before_a_yes_and_opened_in_the_page(
    browsers: list[Watched], plane: PlaneProcess, one: Observed
) -> None:
    first = browsers[0]
    one.remember("SAMPLE-of-memory")
    page = first.page
    page.goto(f"{plane.url}/nodes/{one.node.id}")
    page.get_by_role("button", name="Show samples").click()
    expect(page.locator("#samples-state")).to_contain_text("does not open this node yet")
    assert "previewed" not in plane.cli("consent", "receipts", one.node.id).stdout

    first.made("Looking")
    page.get_by_role("button", name="Have the instance's machine").click()
    first.opens()
    answers: list[str] = []

    def carried(route: Route) -> None:
        answer = route.fetch()
        answers.append(answer.json()["sealed"])
        route.fulfill(response=answer)

    page.route("**/samples", carried)
    page.goto(f"{plane.url}/nodes/{one.node.id}")
    page.get_by_role("button", name="Show samples").click()
    shown = page.locator("#samples-shown")
    expect(shown).to_contain_text("SAMPLE-of-memory", timeout=LONG_MS)
    expect(shown).to_contain_text("memory: 1 items of 1 sources")
    expect(page.locator("#samples-state")).to_contain_text("Nothing of it was stored")
    assert "previewed" in plane.cli("consent", "receipts", one.node.id).stdout
    assert "SAMPLE-of-memory" not in one.arrived(), "memory was not granted"
    assert not first.told("SAMPLE-of-memory")
    sealed = [one for one in answers if one]
    assert sealed, "it came by the plane"
    # Folders of machines, which run, change all the while, and hold the agent's own text.
    tops = [path for path in plane.home.iterdir() if path.name != MACHINES]
    stored = [path for top in tops for path in (top, *top.rglob("*")) if path.is_file()]
    assert any(path.name == "content.db" for path in stored)
    for path in stored:
        content = content_of(path)
        assert not any(one.encode() in content for one in sealed), path
        assert b"SAMPLE-of-memory" not in content, path


OPEN: Final = """async ([copies, blobs]) => {
    const keys = await import('/static/browser_keys.js');
    const mine = await keys.myKey('stage');
    const told = {account: 'stage', instance: '', items: [{id: mine.id, copies}]};
    const before = globalThis.fetch;
    globalThis.fetch = async () => new Response(JSON.stringify(told));
    try {
        const { opener } = await import('/static/sealed.js');
        const open = await opener('nd_1');
        if (!open) return null;
        const found = [];
        for (const blob of blobs) {
            const opened = open(blob).then((body) => Object.keys(body).join());
            found.push(await opened.catch((error) => error.message));
        }
        return found;
    } finally {
        globalThis.fetch = before;
    }
}"""
"""Opens blobs with the copies of a plane that the test plays."""


def test_a_plane_cannot_name_its_own_key_as_the_machines_nor_spoil_a_good_copy(
    browsers: list[Watched],
) -> None:
    page = browsers[0].keys()
    point = raw_of(
        page.evaluate(
            """async () => {
                const keys = await import('/static/browser_keys.js');
                return keys.toBase64url((await keys.makeKey('stage')).point);
            }"""
        )
    )
    good, evil = bytes(range(32)), bytes(32)

    def copy(key: bytes, key_id: str) -> dict[str, str]:
        return {"key_id": key_id, "sealed": seal_to(point, CONTENT_KEY, "nd_1", key)}

    false = copy(evil, id_of_key(good))
    by_good, by_evil = (
        Sealer(key, draw=os.urandom).seal(b'{"events":[]}', compress=False) for key in (good, evil)
    )
    assert page.evaluate(OPEN, [[false], [by_evil]]) is None
    short, broken = copy(b"short", id_of_key(b"short")), {"key_id": "0" * 25, "sealed": "~"}
    middle = copy(bytes(24), id_of_key(bytes(24)))
    mixed = [false, short, middle, broken, copy(good, id_of_key(good))]
    found = page.evaluate(OPEN, [mixed, [by_good, by_evil]])
    assert found[0] == "events"
    assert "No key in this browser" in found[1]
    # What unpacks to more than a page can show is cut, and the rest opens.
    sealer = Sealer(good, draw=os.urandom)
    bomb = sealer.seal(b'{"events":["' + b" " * (64 << 20) + b'"]}', compress=True)
    assert len(bomb) < 200_000
    found = page.evaluate(OPEN, [mixed, [bomb, by_good]])
    assert found == ["Cut: it is larger than a page can show.", "events"]
    large = sealer.seal(b'{"events":["' + b" " * (7 << 20) + b'"]}', compress=True)
    found = page.evaluate(OPEN, [mixed, [large] * 20])
    assert (found[0], found[-1]) == ("events", "Cut: it is larger than a page can show.")
    assert page.evaluate(
        """async () => {
            const { turnsOf } = await import('/static/turns.js');
            return turnsOf({ events: Array(90_000).fill('x') }).length;
        }"""
    ) == 2_000  # fmt: skip


def test_each_account_has_a_key_of_its_own_in_a_browser(browsers: list[Watched]) -> None:
    page = browsers[0].keys()
    told = page.evaluate(
        """async () => {
            const keys = await import('/static/browser_keys.js');
            const [one, other] = [await keys.makeKey('one'), await keys.makeKey('other')];
            await keys.forgetKey('other');
            const left = [await keys.myKey('one'), await keys.myKey('other')];
            return [one.id === other.id, left[0]?.id === one.id, left[1]];
        }"""
    )
    assert told == [False, True, None]


def test_a_recovery_code_that_opens_nothing_leaves_no_key(browsers: list[Watched]) -> None:
    first = browsers[0]
    first.made("Coding")
    first.page.get_by_role("button", name="Have the instance's machine").click()
    first.opens()
    first.page.evaluate(
        """() => {
            const make = crypto.subtle.generateKey.bind(crypto.subtle);
            let made = 0;
            crypto.subtle.generateKey = (...how) =>
                made++ ? Promise.reject(new Error("No second key.")) : make(...how);
        }"""
    )  # its own pair is made, and nothing can be sealed to it
    first.page.get_by_role("button", name="Make a recovery code").click()
    expect(first.page.locator("#toasts")).to_contain_text("No second key", timeout=LONG_MS)
    expect(first.page.locator("[data-code]")).to_have_text("")
    orders = [one.method for one in first.sent if "/browser-keys/bk_" in one.url]
    assert orders == ["DELETE"]
    first.keys()
    expect(first.page.locator("#keys-list tr")).to_have_count(1, timeout=LONG_MS)
