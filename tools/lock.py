"""Write the hashed requirement files, so that everybody installs the same bytes.

`make lock` runs it. The files name no index, no find-links and no path: where packages come
from is the machine's business, and the hashes say which bytes are meant. One resolution,
dev, constrains the others, so that `make up` and `make test` never disagree on a version.
It must never write an address or a path into the repository.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

from tools import matrix

ROOT: Final = Path(__file__).resolve().parent.parent
FOLDER: Final = ROOT / "requirements"
IMAGE: Final = ROOT / "src/holdfast/world/clouds/docker/image/requirements.txt"
UV: Final = Path(sys.executable).parent / "uv"

# Where README.md says that no compiler is needed.
WHEELS_FOR: Final = ("x86_64-manylinux_2_28", "aarch64-manylinux_2_28")

# An address, an index option, or an absolute path: none may reach a locked file.
UNWANTED: Final = re.compile(r"https?://|file://|--(extra-)?index-url|--find-links|(?<![\w.])/\w+/")


def compile_requirements(name: str, *sources: str, target: Path | None = None) -> None:
    """Resolve `sources` into requirements/<name>.txt, or `target`, within what dev already chose.

    Raises subprocess.CalledProcessError when uv cannot resolve, ValueError when the result
    names an address or a path.
    """
    target = target or FOLDER / f"{name}.txt"
    constrain = [] if name == "dev" else ["--constraints", "requirements/dev.txt"]
    command = [
        str(UV), "pip", "compile", *sources, *constrain,
        "--universal", "--python-version", "3.11", "--generate-hashes",
        "--no-header", "--no-annotate", "--no-emit-index-url", "--no-emit-find-links",
        "--quiet", "--output-file", str(target.relative_to(ROOT)),
    ]  # fmt: skip
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    refuse_addresses(target)


def refuse_builds() -> None:
    """Hold that each locked package is a wheel wherever README.md says that no compiler is needed.

    Raises subprocess.CalledProcessError; uv names the package that has none.
    """
    for version in matrix.supported():
        for machine in WHEELS_FOR:
            command = [
                str(UV), "pip", "install", "--dry-run", "--quiet", "--only-binary", ":all:",
                "--python-version", version, "--python-platform", machine, "--require-hashes",
                "--target", str(ROOT / "build" / "wheels"),
                "--requirement", "requirements/plane.txt",
            ]  # fmt: skip
            subprocess.run(command, cwd=ROOT, check=True)


def lock_web_assets() -> None:
    """Renew web-assets/package-lock.json without the addresses npm resolved.

    Raises ValueError when an entry lacks its integrity hash or still names an address.
    """
    folder = ROOT / "web-assets"
    command = ["npm", "install", "--package-lock-only", "--ignore-scripts", "--no-audit"]
    subprocess.run([*command, "--no-fund"], cwd=folder, check=True)
    target = folder / "package-lock.json"
    lock = json.loads(target.read_text(encoding="utf-8"))
    for name, entry in lock["packages"].items():
        entry.pop("resolved", None)
        if name and "integrity" not in entry:
            raise ValueError(f"{target}: {name} has no integrity hash; run `npm install` again")
    target.write_text(json.dumps(lock, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    refuse_addresses(target)


def refuse_addresses(path: Path) -> None:
    """Raise ValueError, naming the line, when a locked file says where packages come from."""
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if UNWANTED.search(line):
            raise ValueError(f"{path}:{number} names an address or a path: {line.strip()}")


def main() -> None:
    """Lock everything: dev first, since it constrains the rest."""
    compile_requirements("dev", "pyproject.toml", "--extra", "dev")
    compile_requirements("plane", "pyproject.toml", "--extra", "plane")
    compile_requirements("image", "pyproject.toml", "--extra", "controller", target=IMAGE)
    compile_requirements("build", "requirements/build.in")
    compile_requirements("node", "requirements/node.in")
    compile_requirements("clickhouse", "requirements/clickhouse.in")
    refuse_builds()
    lock_web_assets()
    print("locked: requirements/{dev,plane,build,node,clickhouse}.txt, what an image has,")
    print("  web-assets/package-lock.json")


if __name__ == "__main__":
    main()
