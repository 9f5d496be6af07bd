"""A burst of 2,000 corrections, until the plane shows all: by our SDK, and by the real 0.6.0.

Our Brain records them one after another and flushes; a connected gradata 0.6.0 sends a request for
each. Missed where a burst takes longer than a minute or one is not shown.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from holdfast.sdk import Brain
from holdfast.wire.api.brains import BrainKeyCreate
from tests.bench.figures import parser, tell
from tests.support.planes import PlaneProcess, plane_at

MANY = 2_000
WITHIN_S = 60.0
REAL = """
import sys
from gradata import Brain
from gradata.cloud import CloudClient

brain = Brain.init(sys.argv[1], name="real", interactive=False)
cloud = CloudClient(sys.argv[1])
assert cloud.connect()
brain._cloud = cloud
for n in range(int(sys.argv[2])):
    brain.correct(f"Please utilize part {n} of {n % 40}", f"Please use part {n} of {n % 40}",
                  category="STYLE", session=n // 50 + 1)
assert cloud.connected
"""


def ours(plane: PlaneProcess, folder: Path, key: str) -> None:
    """Record the burst by our SDK and send all of it."""
    with Brain(folder / "ours", url=plane.url, api_key=key) as brain:
        for n in range(MANY):
            brain.correct(
                f"Please utilize part {n} of {n % 40}", f"Please use part {n} of {n % 40}",
                category="STYLE", session=n // 50 + 1,
            )  # fmt: skip
        while brain.flush(10).pending:
            pass


def real(plane: PlaneProcess, folder: Path, key: str) -> None:
    """Record the burst by the published SDK, connected."""
    environment = {
        "PATH": "/usr/bin:/bin", "HOME": str(folder), "GRADATA_API_KEY": key,
        "GRADATA_ENDPOINT": f"{plane.url}/api/v1",
    }  # fmt: skip
    command = (sys.executable, "-c", REAL, str(folder / "real"), str(MANY))
    subprocess.run(command, env=environment, check=True)


def measure() -> dict[str, float]:
    """Return the seconds that each burst took, and how many of it are not shown."""
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder, plane_at(Path(folder) / "home") as plane:
        for name, send in (("ours", ours), ("real", real)):
            with plane.client() as client:
                made = client.call("brain-key.create", body=BrainKeyCreate(name=name, brain=name))
                began = time.monotonic()
                send(plane, Path(folder), made.key)
                found[f"{name}_s"] = round(time.monotonic() - began, 1)
                trend = client.call(
                    "brain.trend", path={"id": made.view.brain}, query={"window": "24h"}
                )
                counts = [point or 0 for one in trend.charts[0].series for point in one.values]
                found[f"{name}_not_shown"] = MANY - sum(counts)
    return found


def main() -> None:
    """Measure, print, and exit with 1 where a figure is missed."""
    given = parser(__doc__).parse_args()
    found = measure()
    tell("a burst of 2,000 corrections", found, as_json=given.json)
    slow = [name for name, value in found.items() if name.endswith("_s") and value > WITHIN_S]
    sys.exit(1 if slow or any(v for k, v in found.items() if k.endswith("not_shown")) else 0)


if __name__ == "__main__":
    main()
