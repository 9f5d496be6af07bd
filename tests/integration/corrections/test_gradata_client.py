"""The gradata SDK as PyPI has it, unchanged, against a served plane; and what its later versions
send, made of the events that the real one wrote."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfast.wire.api.brains import BrainKeyCreate, CorrectionView
from tests.support.patience import patience
from tests.support.planes import PlaneProcess, plane_at

PROGRAM = """
import json, sys
from pathlib import Path
from gradata import Brain, _telemetry
from gradata.cloud import CloudClient
from gradata.cloud import sync

folder = Path(sys.argv[1])
brain = Brain.init(folder, name="kalle", domain="mail", interactive=False)
local = [brain.correct(f"Dear sir number {n}, the thing is ready.", f"Hi {n}, it is ready!",
                       session=1) for n in range(5)]
brain.end_session()
cloud = CloudClient(folder)
assert cloud.connect(), "connect"
brain._cloud = cloud
answers = [brain.correct(draft, "Best, K", category="TONE", session=2)
           for draft in ("With kind regards, K", "With kind regards, K", "Sincerely, K")]
assert cloud.connected, "correct fell back to the local brain"
rules = brain.apply_brain_rules("write a mail")
assert cloud.connected, "rules fell back to the local brain"
manifest = cloud.sync()
config = sync.CloudConfig(sync_enabled=True, token=cloud.api_key, contribute_corpus=True)
payload = sync.TelemetryPayload("b", 1, 1, 1, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 1, 1)
metrics = sync.CloudClient(folder, config)
told = [metrics.sync_metrics(payload), metrics.contribute_corpus([{"p": 1}])]
beat = _telemetry._post(_telemetry._build_payload("brain_initialized"))
print(json.dumps({"brain_id": cloud._brain_id, "answers": answers, "rules": rules,
                  "manifest": manifest, "told": told, "beat": beat}))
"""


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlaneProcess]:
    with plane_at(tmp_path_factory.mktemp("gradata") / "home") as served:
        yield served


class Kalle:
    """A brain of the real SDK, its key, and what the plane shows of it."""

    def __init__(self, plane: PlaneProcess, folder: Path, name: str) -> None:
        self.plane = plane
        self.folder = folder / name
        self.folder.mkdir()
        with plane.client() as client:
            made = client.call("brain-key.create", body=BrainKeyCreate(name="k", brain=name))
        self.key = made.key
        self.brain = made.view.brain

    def run(self) -> dict[str, Any]:
        """Run the program with nothing but environment variables to point it here."""
        environment = {
            "PATH": "/usr/bin:/bin",
            "HOME": str(self.folder),
            "GRADATA_API_KEY": self.key,
            "GRADATA_ENDPOINT": f"{self.plane.url}/api/v1",
            "GRADATA_CLOUD_API_BASE": f"{self.plane.url}/api",
            "GRADATA_TELEMETRY_ENDPOINT": f"{self.plane.url}/telemetry/event",
        }
        done = subprocess.run(
            (sys.executable, "-c", PROGRAM, str(self.folder / "brain")),
            env=environment, capture_output=True, text=True, timeout=patience(50), check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return found

    def events(self) -> list[dict[str, Any]]:
        """Return the events that the real SDK wrote."""
        lines = (self.folder / "brain" / "events.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines]

    def post(self, path: str, body: Any) -> Any:
        """Return what a later version of the SDK would be answered."""
        import urllib.request  # noqa: PLC0415

        request = urllib.request.Request(
            f"{self.plane.url}/api/v1{path}", json.dumps(body).encode(),
            {"Content-Type": "application/json", "Authorization": f"Bearer {self.key}"},
        )  # fmt: skip
        with urllib.request.urlopen(request, timeout=patience(20)) as answer:
            return json.loads(answer.read())

    def shown(self) -> list[CorrectionView]:
        """Return the corrections of the brain, oldest first."""
        with self.plane.client() as client:
            found = client.call("correction.list", query={"brain": self.brain, "limit": "100"})
        return list(reversed(found.items))


def test_the_published_sdk_works_unchanged(plane: PlaneProcess, tmp_path: Path) -> None:
    kalle = Kalle(plane, tmp_path, "kalle")
    found = kalle.run()
    assert found["brain_id"] == kalle.brain
    assert [one["deduplicated"] for one in found["answers"]] == [False, True, False]
    assert found["answers"][0]["data"]["category"] == "TONE"
    assert found["answers"][0]["type"] == "CORRECTION"
    assert found["manifest"]["status"] == "ok"
    assert isinstance(found["rules"], str)
    assert found["told"] == [True, True]
    assert found["beat"] is True
    first, second = kalle.shown()
    assert (first.draft, first.count, first.session) == ("With kind regards, K", 2, "2")
    assert (second.draft, second.count) == ("Sincerely, K", 1)
    assert not [path for path in plane.home.glob("*.log") if kalle.key in path.read_text()]


def test_its_events_by_three_routes_are_each_one_correction(
    plane: PlaneProcess, tmp_path: Path
) -> None:
    kalle = Kalle(plane, tmp_path, "olga")
    kalle.run()
    ours = len(kalle.shown())
    made = [
        {
            "event_id": f"01J{number:023d}", "type": one["type"], "source": one["source"],
            "data": one["data"], "tags": one["tags"], "session": one["session"],
            "created_at": one["ts"],
        }
        for number, one in enumerate(kalle.events())
    ]  # fmt: skip
    told = [one for one in made if one["type"] == "CORRECTION"]
    assert len(told) == 5
    synced = kalle.post("/sync", {"brain_name": "olga", "manifest": {}, "events": made})
    assert synced["new_watermark"] == max(one["created_at"] for one in made)
    assert synced["ingested_count"] == len(made)
    pushed = [
        {**one, "event_id": "02J" + one["event_id"][3:], "ts": one["created_at"],
         "device_id": "dev_1", "content_hash": "0" * 64}
        for one in told
    ]  # fmt: skip
    answer = kalle.post("/events/push", {"brain_id": "uuid", "device_id": "d", "events": pushed})
    assert (answer["accepted"], answer["rejected"], answer["deduplicated"]) == (5, [], 5)
    for number, one in enumerate(told):
        draft, final = one["data"]["draft_text"], one["data"]["final_text"]
        digest = hashlib.sha1(f"{draft}\0{final}".encode()).hexdigest()[:16]
        single = {
            "brain_id": "uuid", "event_id": f"correct:1:{1_780_000_000_000 + number}:{digest}",
            "correction": {"session": 1, "category": "UNKNOWN", "severity": "minor",
                           "description": final[:500], "draft": draft, "final": final},
        }  # fmt: skip
        assert kalle.post("/ingest", single)["deduplicated"] is True
    again = kalle.post("/sync", {"brain_name": "olga", "manifest": {}, "events": made})
    assert again["ingested_count"] == len(made)
    rows = kalle.shown()[ours:]
    assert [(row.count, set(row.routes)) for row in rows] == [(1, {"sync", "push", "single"})] * 5
    assert {row.severity for row in rows} == {one["data"]["severity"] for one in told}
    with plane.client() as client:
        assert client.call("lesson.list", query={"brain": kalle.brain}).items


def cyrillic(number: int) -> dict[str, Any]:
    """Return an event as the SDK sends it: two texts, cut at 2,000 characters, six bytes each."""
    texts = {"draft_text": f"{number} " + "щ" * 1_995, "final_text": f"{number} " + "ж" * 1_995}
    return {
        "event_id": f"03J{number:023d}", "type": "CORRECTION", "source": "brain.correct",
        "data": {**texts, "category": "TONE", "severity": "moderate"}, "tags": [], "session": 1,
        "created_at": f"2026-11-30T10:00:00.{number:06d}+00:00",
    }  # fmt: skip


def test_the_largest_bodies_that_it_sends_are_taken(plane: PlaneProcess, tmp_path: Path) -> None:
    kalle, other = Kalle(plane, tmp_path, "ivan"), Kalle(plane, tmp_path, "masha")
    events = [cyrillic(number) for number in range(500)]
    body = {"brain_name": "ivan", "manifest": {}, "events": events[:200]}
    assert len(json.dumps(body)) > 4_800_000
    assert kalle.post("/sync", body)["new_watermark"] == events[199]["created_at"]
    pushed = [
        {**one, "ts": one["created_at"], "device_id": "dev_1", "content_hash": "0" * 64}
        for one in events
    ]
    page = {"brain_id": "uuid", "device_id": "dev_1", "events": pushed}
    assert len(json.dumps(page)) > 12_000_000
    answer = other.post("/events/push", page)
    assert (answer["accepted"], answer["rejected"]) == (500, [])
    assert len(kalle.shown()) == len(other.shown()) == 100  # a page of them


def test_a_body_that_is_too_large_is_refused_so_that_its_sender_reads_it(
    plane: PlaneProcess, tmp_path: Path
) -> None:
    import urllib.error  # noqa: PLC0415

    kalle = Kalle(plane, tmp_path, "petr")
    events = [cyrillic(number) for number in range(800)]
    with pytest.raises(urllib.error.HTTPError) as refused:
        kalle.post("/sync", {"brain_name": "petr", "manifest": {}, "events": events})
    assert refused.value.code == 413
    with refused.value as answer:
        assert json.loads(answer.read())["code"] == "body_too_large"


def test_an_event_that_cannot_be_read_is_refused_alone_counted_and_shown(
    plane: PlaneProcess, tmp_path: Path
) -> None:
    kalle = Kalle(plane, tmp_path, "oleg")
    bad = {**cyrillic(1), "data": {"n": float("inf"), "text": "NaN, Infinity"}}
    good = {**cyrillic(2), "data": {**cyrillic(2)["data"], "summary": "a: NaN, b"}}
    body = {"brain_name": "oleg", "manifest": {}, "events": [good, bad]}
    synced = kalle.post("/sync", body)
    assert synced["ingested_count"] == 1
    assert [one["event_id"] for one in synced["refused"]] == [bad["event_id"]]
    assert synced["new_watermark"] == good["created_at"]
    alone = kalle.post("/sync", {**body, "events": [bad]})
    assert alone["new_watermark"] == bad["created_at"], "its cursor would never pass this event"
    pushed = kalle.post("/events/push", {"brain_id": "u", "device_id": "d", "events": [bad]})
    assert (pushed["accepted"], pushed["rejected"], len(pushed["refused"])) == (1, [], 1)
    (shown,) = kalle.shown()
    assert shown.summary == "a: NaN, b"
    with plane.client() as client:
        detail = client.call("brain.get", path={"id": kalle.brain})
    assert detail.view.refused == 3
    assert "intake.rows_refused" in plane.log()


def test_what_it_asks_and_what_is_not_offered(plane: PlaneProcess, tmp_path: Path) -> None:
    import urllib.error  # noqa: PLC0415
    import urllib.request  # noqa: PLC0415

    kalle = Kalle(plane, tmp_path, "vera")

    def get(path: str, key: str) -> tuple[int, Any]:
        asked = urllib.request.Request(
            f"{plane.url}/api/v1{path}", headers={"Authorization": f"Bearer {key}"}
        )
        try:
            with urllib.request.urlopen(asked, timeout=patience(20)) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())

    status, told = get("/auth/whoami", kalle.key)
    assert (status, told["brain_id"]) == (200, kalle.brain)
    for path in ("/brains/whatever-it-calls-itself", f"/brains/{kalle.brain}/analytics"):
        status, told = get(path, kalle.key)
        assert (status, told["brain_name"], told["session_count"]) == (200, "vera", 0)
    assert get("/events/pull?brain_id=u&device_id=d&limit=100&cursor=", kalle.key)[0] == 501
    status, told = get("/auth/whoami", "gd_wrong")
    assert (status, told["code"]) == (401, "not_authenticated")
    assert told["detail"]
