"""The page of costs: what is not known is named as such, and its parts are drawn alone too."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import msgspec

from holdfast.content.cost_calls import CostCalls
from holdfast.content.costing import Costing, PriceNow
from holdfast.content.directory import Directory
from holdfast.content.gate import Admitted
from holdfast.content.records import ABOUT, DAY, Node, Row, Usage
from holdfast.kernel.clock import DAY_MS, ManualClock
from holdfast.kernel.log import NoLog
from holdfast.plane.wiring.costs import shipped_prices
from holdfast.stores.memory.content import MemoryContent
from holdfast.web.pages.costs import PAGE, closed_text
from holdfast.web.parts.moments import NOTHING
from holdfast.wire.api.call import Call, Refusal, Reply
from holdfast.wire.api.consent import ConsentList, NodeConsent
from holdfast.wire.consent import ContentClass, node_of_name
from holdfast.wire.times import day_of, time_text
from tests.support.toys.consents import ToyConsents
from tests.unit.web.sample_pages import HOSTILE, NOW, OWNER, SamplePages

COUNTERS: tuple[ContentClass, ...] = ("counters",)


class WithNodes(SamplePages):
    """Pages over real costs, of nodes in memory."""

    def __init__(self) -> None:
        self.store, self.consents, self.trouble = MemoryContent(), ToyConsents(), ""
        self.listed: tuple[NodeConsent, ...] = ()
        clock = ManualClock(NOW)
        self.nodes = Directory(self.store, clock=clock, entropy=lambda n: b"e" * n, log=NoLog())
        super().__init__()

    def handlers(self) -> dict[str, Any]:
        prices = PriceNow(shipped_prices(), "")
        costing = Costing(self.store, self.consents, lambda: prices._replace(trouble=self.trouble))
        calls = CostCalls(costing, self.nodes, keep_ms=30 * DAY_MS)

        async def nodes(_call: Call) -> Reply:
            return Reply(ConsentList(items=self.listed, total=1, looked_at=0, granted=0))

        async def unheard(_call: Call) -> Reply:
            raise Refusal(404, "no_such_node", "There is no such node.")

        others = {"consent.list": nodes, "content.node": unheard}
        return super().handlers() | calls.by_endpoint() | others

    def add(self, no: int, name: str, *, account: str = "local", is_open: bool = True) -> str:
        node = Node(no=no, id=node_of_name(account, name), account=account, name=name, key="k")
        self.nodes._put_node(node)
        self.consents.grant(node.id, COUNTERS if is_open else ())
        return node.id

    async def use(self, no: int, *usage: Usage, ago: int = 0) -> None:
        day = str(day_of(NOW) - timedelta(days=ago))
        row = Row(DAY + day, "latest", ABOUT, NOW, sealed=False, body=repr(usage).encode())
        await self.store.write(Admitted(no, "counters", [row._replace(usage=usage)], NOW))


def usage(model: str, *, tokens: int = 1_000_000, reported: int = 0) -> Usage:
    return Usage(model, 3, 4, tokens, 0, 0, 0, reported)


def rows(html: str, table: str) -> list[str]:
    """Return the texts of the rows of a table."""
    found = re.search(rf'id="{table}">(.*?)</tbody>', html, re.DOTALL)
    assert found is not None
    parts = re.findall(r"<tr.*?</tr>", found[1], re.DOTALL)
    return [" ".join(re.sub(r"<[^>]*>", " ", part).split()) for part in parts]


def cards(html: str) -> list[str]:
    found = re.search(r'<dl id="cost-totals".*?</dl>', html, re.DOTALL)
    assert found is not None
    parts = re.findall(r"<div>(.*?)</div>", found[0], re.DOTALL)
    return [" ".join(re.sub(r"<[^>]*>", " ", part).split()) for part in parts]


async def test_totals_tables_and_charts_say_what_was_used() -> None:
    samples = WithNodes()
    samples.add(1, "laptop")
    samples.add(2, "desk")
    await samples.use(1, usage("claude-opus-4-5"), usage("who"))
    await samples.use(2, usage("claude-opus-4-5", reported=250_000), ago=8)
    html = await samples.show("page.costs", OWNER)
    assert cards(html) == [
        "Today $5.00 2M tokens 1M of them have no price",
        "7 days $5.00 2M tokens 1M of them have no price",
        "30 days $5.25 3M tokens 1M of them have no price",
        "This month $5.25 2026-11",
        "Projected $5.63 the mean of 8 days goes on",
    ]
    assert rows(html, "cost-agents") == [
        "laptop $5.00 without 1M tokens that have no price 6 8 2M 0 0",
        "desk $0.25 as reported 3 4 1M 0 0",
    ]
    assert rows(html, "cost-models") == [
        "claude-opus-4-5 $5.25 $0.25 reported 6 8 2M 0 0", "who no price 3 4 1M 0 0"
    ]  # fmt: skip
    assert html.count('<figure class="bar-chart">') == 2
    assert html.count('class="bar-value"') == 60
    week = await samples.show("page.costs", OWNER, query={"days": "7"})
    assert rows(week, "cost-agents")[1] == " ".join(["desk", *[NOTHING] * 6])
    assert week.count('class="bar-value"') == 14
    year = await samples.show("page.costs", OWNER, query={"days": "365"})
    assert year.count('class="bar-value"') == 730


async def test_a_node_without_consent_is_named_as_such_and_never_0() -> None:
    samples = WithNodes()
    samples.add(1, "shut", is_open=False)
    html = await samples.show("page.costs", OWNER)
    assert rows(html, "cost-agents") == ["shut Its owner has not let counters out. not known"]
    assert "The only node lets no counters out, so what is used there is not known." in html
    assert "$" not in html
    samples.add(2, "revoked", is_open=False)
    await samples.use(2, usage("claude-opus-4-5"))
    html = await samples.show("page.costs", OWNER)
    assert "2 of 2 nodes let no counters out" in html
    assert rows(html, "cost-agents")[0].startswith(
        "revoked Its owner lets no counters out any more. $5.00"
    )
    assert (closed_text(9, 0), closed_text(9, 1)[:11]) == ("", "1 of 9 node")


async def test_each_account_is_drawn_for_itself_and_names_are_escaped() -> None:
    samples = WithNodes()
    samples.add(1, "mine")
    samples.add(2, "theirs", account="other")
    await samples.use(1, usage(HOSTILE))
    html = await samples.show("page.costs", OWNER)
    assert "theirs" not in html
    assert HOSTILE not in html
    everything = await samples.show("page.costs")
    assert "theirs" in everything
    one = await samples.show("page.costs", query={"account": "other"})
    assert "Account other" in one
    assert "mine" not in one


async def test_without_nodes_the_page_says_what_it_waits_for() -> None:
    html = await WithNodes().show("page.costs", OWNER)
    assert "No node has registered yet." in html
    assert "Nothing was used in these days." in html
    assert "<figure" not in html


async def test_a_wrong_price_file_is_shown() -> None:
    samples = WithNodes()
    samples.trouble = "prices.toml: price 1: model: want one line of text"
    assert "price 1: model: want one line of text" in await samples.show("page.costs", OWNER)


async def test_the_page_is_live() -> None:
    samples = WithNodes()
    samples.add(1, "laptop")
    await samples.use(1, usage("claude-opus-4-5"))
    assert PAGE.live is not None
    page = PAGE.live(samples.pages.context, PAGE, samples.call("page.costs", OWNER))
    assert "$5.00" in await page.full()
    assert await page.idle() == ""
    await samples.use(1, usage("claude-opus-4-5", tokens=2_000_000))
    drawn = await page.idle()
    assert "$10.00" in drawn
    for element in ("totals", "notes", "charts", "agents", "models"):
        assert f'hx-target="#cost-{element}"' in drawn
    stream = await samples.stream(OWNER, page="costs", days="7")
    assert b"$10.00" in await anext(stream)
    await stream.aclose()


async def test_the_way_to_a_node_says_what_it_cost() -> None:
    samples = WithNodes()
    listed = NodeConsent(
        id=samples.add(1, "laptop"), name="laptop", account="local", instance="in-0000",
        source="auto", state="sending", classes=("counters",), registered_at=time_text(NOW),
    )  # fmt: skip
    samples.listed = (listed,)
    await samples.use(1, usage("claude-opus-4-5"), usage("who", tokens=5))
    path = {"id": "in-0000"}
    html = await samples.show("page.observability", path=path)
    assert "Cost of 30 days: $5.00; without 5 tokens that have no price." in html
    await samples.store.delete(1, ("counters",))
    html = await samples.show("page.observability", path=path)
    assert "Cost of 30 days: nothing." in html
    samples.consents.revoke(listed.id)
    html = await samples.show("page.observability", path=path)
    assert "What it costs is not known: its owner has not let counters out." in html
    samples.listed = (msgspec.structs.replace(listed, id="nd_gone"),)
    html = await samples.show("page.observability", path=path)
    assert "What may leave it" in html
    assert "ost" not in html.partition('<div id="observability">')[2].partition("</main>")[0]
