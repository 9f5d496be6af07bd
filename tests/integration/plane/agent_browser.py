"""A browser that signs in at a plane and is signed over to agents."""

from __future__ import annotations

import asyncio
import json
from urllib.parse import parse_qs, urlsplit

import aiohttp
from multidict import CIMultiDictProxy

from holdfast.wire.api.instances import InstanceView
from tests.support.planes import PlaneProcess

PAGE = {"Accept": "text/html", "Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate"}


class Browser:
    """What a browser sends, over one plane; cookies are kept by host, as browsers keep them."""

    def __init__(self, plane: PlaneProcess, session: aiohttp.ClientSession) -> None:
        self.plane = plane
        self.session = session
        self.cookies: dict[str, str] = {}
        self.csrf = ""

    @property
    def home(self) -> str:
        return f"127.0.0.1:{self.plane.port}"

    async def ask(
        self, host: str, path: str, method: str = "GET", /, *body: bytes, **headers: str
    ) -> tuple[int, CIMultiDictProxy[str], str]:
        """Send a request to the plane under a host name; return status, headers and body."""
        sent = {**PAGE, "Host": host, **{k.replace("_", "-"): v for k, v in headers.items()}}
        if host in self.cookies and "Cookie" not in sent:
            sent["Cookie"] = self.cookies[host]
        async with self.session.request(
            method,
            self.plane.url + path,
            headers=sent,
            data=b"".join(body) or None,
            allow_redirects=False,
        ) as answer:
            for cookie in answer.headers.getall("Set-Cookie", []):
                assert "domain" not in cookie.lower(), "every cookie is for its host alone"
                self.cookies[host] = cookie.partition(";")[0]
            return answer.status, answer.headers, await answer.text()

    async def sign_in(self) -> None:
        link = parse_qs(urlsplit(self.plane.json("link")["link"]).query)["link"][0]
        wait_s = await self._take_link(link)
        if wait_s:  # sign-ins are limited, and tests are quick
            await asyncio.sleep(wait_s)
            assert await self._take_link(link) == 0

    async def _take_link(self, link: str) -> int:
        """Sign in with a link; return 0, or the seconds to wait where that was too soon."""
        headers = {"Origin": self.plane.url, "Sec-Fetch-Site": "same-origin"}
        async with self.session.post(
            f"{self.plane.url}/api/session/link", json={"link": link}, headers=headers
        ) as answer:
            if answer.status == 429:
                return int(answer.headers["Retry-After"])
            assert answer.status == 200, await answer.text()
            self.cookies[self.home] = answer.headers["Set-Cookie"].partition(";")[0]
            self.csrf = (await answer.json()).get("csrf", "")
            return 0

    async def order_to_open(self, view: InstanceView) -> str:
        """Give the order that the page on the way to an agent gives; return where that leads."""
        path = f"/api/instances/{view.id}/open"
        ours = {"Origin": self.plane.url, "Sec_Fetch_Site": "same-origin"}
        ours |= {"Accept": "application/json", "Content_Type": "application/json"}
        status, _, body = await self.ask(
            self.home, path, "POST", b"{}", X_CSRF_Token=self.csrf, **ours
        )
        assert status == 200, body
        return str(json.loads(body)["url"])

    async def open(self, view: InstanceView) -> str:
        """Open an agent from the dashboard; return its host."""
        there = urlsplit(await self.order_to_open(view))
        assert there.hostname == f"{view.id.replace('-', '')}.agents.localhost"
        status, headers, _ = await self.ask(there.netloc, f"{there.path}?{there.query}")
        assert (status, headers["Location"]) == (303, "/")
        again, _, _ = await self.ask(there.netloc, f"{there.path}?{there.query}", Cookie="")
        assert again == 401, "a code is good once"
        return there.netloc


def demo(browser: Browser) -> InstanceView:
    view = browser.plane.view("demo")
    assert view is not None
    return view
