"""A real Prometheus scrapes a running plane and evaluates the rules that are shipped."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import msgspec
import pytest
from ruamel.yaml import YAML

import holdfast.monitoring
from tests.house.sources import ROOT
from tests.support.patience import patience
from tests.support.planes import PlaneProcess, until
from tests.support.ports import free_port
from tests.support.real_parts import prometheus
from tools import boards

RULES = Path(holdfast.monitoring.__file__).parent / "prometheus" / "towns.rules.yml"
UNITS = Path(__file__).with_name("towns.rules.test.yml")
BEADS = 25
"""More than the 20 failed attempts after which a breaker opens: this plane has no hosts."""


def rules() -> list[dict[str, Any]]:
    loaded = YAML(typ="safe").load(RULES.read_text(encoding="utf-8"))
    found: list[dict[str, Any]] = loaded["groups"][0]["rules"]
    return found


def test_the_rules_fire_when_they_should_and_only_then() -> None:
    promtool = prometheus("the unit tests of the alert rules") / "promtool"
    for words in (("check", "rules", str(RULES)), ("test", "rules", str(UNITS))):
        done = subprocess.run(
            [promtool, *words], capture_output=True, text=True, check=False, timeout=patience(30)
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_every_rule_has_its_unit_test_and_its_runbook() -> None:
    tested = set(re.findall(r"alertname: (\w+)", UNITS.read_text(encoding="utf-8")))
    assert {rule["alert"] for rule in rules()} == tested
    for rule in rules():
        page = (ROOT / rule["annotations"]["runbook"]).read_text(encoding="utf-8")
        assert f"`{rule['alert']}`" in page
        titles = re.findall(r"^## (.*)$", page, flags=re.MULTILINE)
        assert titles == ["How to see it", "Why", "What to do"]


class Scraper:
    """A Prometheus of this test: its folder, its address."""

    def __init__(self, folder: Path, plane: PlaneProcess) -> None:
        self.port = free_port()
        folder.mkdir()
        (folder / "token").write_text(plane.token())
        # The rules as they are shipped, without the patience that a person wants.
        short = re.sub(r"for: \w+", "for: 5s", RULES.read_text(encoding="utf-8"))
        (folder / "rules.yml").write_text(short)
        config = {
            "global": {"scrape_interval": "5s", "evaluation_interval": "2s"},
            "rule_files": ["rules.yml"],
            "scrape_configs": [
                {
                    "job_name": "plane",
                    "authorization": {"credentials_file": str(folder / "token")},
                    "static_configs": [{"targets": [plane.url.removeprefix("http://")]}],
                }
            ],
        }
        (folder / "prometheus.yml").write_text(json.dumps(config))  # JSON is YAML
        program = prometheus("that Prometheus scrapes a plane and fires its alerts") / "prometheus"
        with (folder / "log").open("wb") as log:
            self.process = subprocess.Popen(
                [
                    program,
                    f"--config.file={folder / 'prometheus.yml'}",
                    f"--storage.tsdb.path={folder / 'data'}",
                    f"--web.listen-address=127.0.0.1:{self.port}",
                ],
                stdout=log,
                stderr=log,
            )

    def get(self, path: str, **query: str) -> Any:
        """Return the data of an answer, or None while it does not serve."""
        try:
            with urlopen(
                f"http://127.0.0.1:{self.port}/api/v1/{path}?{urlencode(query)}",
                timeout=patience(5),
            ) as answer:
                return json.load(answer)["data"]
        except OSError:
            return None

    def value(self, expression: str) -> float | None:
        data = self.get("query", query=expression)
        return float(data["result"][0]["value"][1]) if data and data["result"] else None

    def alerts(self) -> list[str]:
        """Return the alerts that fire; none while it does not answer."""
        found = (self.get("alerts") or {"alerts": []})["alerts"]
        return sorted(one["labels"]["alertname"] for one in found if one["state"] == "firing")

    def result(self, expression: str) -> Any:
        """Return what an expression gives, once it gives anything."""
        return (self.get("query", query=expression) or {}).get("result")

    def rules(self) -> list[dict[str, Any]]:
        groups = (self.get("rules") or {}).get("groups")
        found: list[dict[str, Any]] = groups[0]["rules"] if groups else []
        return found

    def end(self) -> None:
        self.process.terminate()
        self.process.wait(timeout=patience(20))


@pytest.fixture
def plane(tmp_path: Path) -> Iterator[PlaneProcess]:
    made = PlaneProcess(tmp_path / "home")
    try:
        yield made.start()
    finally:
        made.close()


def post(plane: PlaneProcess, path: str, body: Any) -> dict[str, Any]:
    request = Request(
        f"{plane.url}{path}",
        data=msgspec.json.encode(body),
        headers={
            "authorization": f"Bearer {plane.token()}",
            "content-type": "application/json",
        },
    )
    with urlopen(request, timeout=patience(20)) as answer:
        said: dict[str, Any] = json.load(answer)
        return said


@pytest.mark.timeout(240)
def test_a_plane_is_scraped_its_rules_are_evaluated_and_its_panels_answered(
    tmp_path: Path, plane: PlaneProcess
) -> None:
    scraper = Scraper(tmp_path / "prometheus", plane)
    try:
        until("a scrape", lambda: scraper.value("up") == 1, seconds=60)
        town = post(plane, "/api/towns", {"name": "elm"})
        where = f"/api/towns/{town['id']}"
        post(plane, f"{where}/rigs", {"name": "web"})
        for _ in range(BEADS):
            post(plane, f"{where}/beads", {"rig": "web", "title": "Mend"})
        breaker = "HoldfastTownBreakerOpen"
        fired: list[str] = until(
            "the alert", lambda: (now := scraper.alerts()) and breaker in now and now, seconds=90
        )
        assert fired.count(breaker) == 1
        assert "HoldfastTownInvariantBroken" not in fired
        found: list[dict[str, Any]] = until("the rules", scraper.rules, seconds=30)
        assert [rule["name"] for rule in found] == [rule["alert"] for rule in rules()]
        assert {rule["health"] for rule in found} == {"ok"}
        board = json.loads((boards.FOLDER / "towns-prometheus.json").read_text(encoding="utf-8"))
        for panel in board["panels"]:
            for target in panel.get("targets", ()):
                asked = target["expr"].replace("$__rate_interval", "1m").replace("$__range", "1h")
                until(target["expr"], partial(scraper.result, asked), seconds=60)
        counted = "sum(holdfast_town_actions_total)"
        until("equal", lambda: scraper.value(counted) == stored(plane, town["id"]), seconds=30)
        assert stored(plane, town["id"]) >= 20
    finally:
        scraper.end()


def stored(plane: PlaneProcess, town: str) -> float:
    """Return the actions that the plane's own panel of the town has, of the last hour."""
    request = Request(
        f"{plane.url}/api/towns/{town}/panels",
        headers={"authorization": f"Bearer {plane.token()}"},
    )
    with urlopen(request, timeout=patience(20)) as answer:
        charts = json.load(answer)["charts"]
    (actions,) = [chart for chart in charts if chart["name"] == "actions"]
    return float(sum(sum(series["values"]) for series in actions["series"]))
