from __future__ import annotations

import hashlib
import re

from holdfast.accounts.browser import (
    AGENT_COOKIE,
    COOKIES_TRIED,
    OUR_COOKIE,
    SESSION_COOKIE,
    BrowserSessions,
)

ONE, TWO = BrowserSessions(b"1" * 32), BrowserSessions(b"2" * 32)
SECRET = "hfs_" + "A" * 43
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:136.0) Gecko/20100101 Firefox/136.0"


def test_what_a_change_repeats_does_not_follow_from_the_cookie() -> None:
    told = ONE.change_secret(SECRET)
    assert re.fullmatch(r"[0-9a-f]{64}", told)
    assert told == ONE.change_secret(SECRET)
    assert told != TWO.change_secret(SECRET), "it takes the plane's key"
    assert told != ONE.change_secret(SECRET[:-1] + "B")
    for text in (SECRET, f"csrf:{SECRET}", f"change:{SECRET}"):
        assert not hashlib.sha256(text.encode()).hexdigest().startswith(told[:16])


def test_cookies_are_named_after_plane_kind_and_scheme() -> None:
    names = {
        plane.cookie_name(kind, secure=secure)
        for plane in (ONE, TWO)
        for kind in (SESSION_COOKIE, AGENT_COOKIE)
        for secure in (True, False)
    }
    assert len(names) == 8
    assert all(OUR_COOKIE.fullmatch(name) for name in names)
    assert all(name.startswith(("__Host-hf_", "hf_")) for name in names)
    assert not any(OUR_COOKIE.fullmatch(name) for name in ("hf_theme", "xhf_session", "session"))


def test_a_secure_cookie_is_for_its_host_alone() -> None:
    text = ONE.set_cookie(SESSION_COOKIE, "s", secure=True, life_s=60)
    name = ONE.cookie_name(SESSION_COOKIE, secure=True)
    assert text == f"{name}=s; Path=/; HttpOnly; SameSite=Lax; Max-Age=60; Secure"
    assert "Secure" not in ONE.set_cookie(SESSION_COOKIE, "s", secure=False)
    assert "Max-Age" not in ONE.set_cookie(AGENT_COOKIE, "s", secure=False)


def test_a_cookie_that_another_page_added_hides_none() -> None:
    name = ONE.cookie_name(SESSION_COOKIE, secure=False)
    other = TWO.cookie_name(SESSION_COOKIE, secure=False)
    header = f"{name}=planted; {other}=theirs; theme=dark; {name}=mine; {name}="
    assert list(ONE.sent(SESSION_COOKIE, header, secure=False)) == ["planted", "mine"]
    assert list(ONE.sent(SESSION_COOKIE, header, secure=True)) == []
    many = "; ".join([f"{name}=x"] * 100)
    assert len(list(ONE.sent(SESSION_COOKIE, many, secure=False))) == COOKIES_TRIED


def test_a_browser_that_updates_itself_stays_the_same_one() -> None:
    here = ONE.bound(FIREFOX, secure=False)
    assert here == ONE.bound(FIREFOX.replace("136.0", "137.0.1"), secure=False)
    assert here != ONE.bound("curl/8.5.0", secure=False)
    assert here != ONE.bound(FIREFOX, secure=True), "what https began is not used without"
    assert "Firefox" not in here
    assert "1" * 32 not in repr(ONE)
