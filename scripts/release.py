# SPDX-License-Identifier: Apache-2.0
"""``make release-check``: everything of a release but its publication.

One version, in the changelog and in the tag if there is one; two builds with one hash; ``twine check``; the
contents and licence of what is shipped; a software bill of materials (CycloneDX) of the newest environment.
Leaves wheel, source distribution, bill and checksums in ``dist/``. Runs in the environment of
``requirements/tools.txt``.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

from packaging.version import Version

REPO = Path(__file__).resolve().parent.parent
NAME = "airflow_provider_adobe_audiences"
DIST = REPO / "dist"
LICENCES = ("LICENSE", "NOTICE")


def version() -> str:
    """Return the version from the one place that has it."""
    found = re.search(r'^__version__ = "([^"]+)"', (REPO / NAME / "__init__.py").read_text(), re.MULTILINE)
    if not found:
        raise SystemExit(f"{NAME}/__init__.py has no __version__")
    return found[1]


def check_version(tag: str | None) -> None:
    """Compare version, tag and the first section of the changelog."""
    said = version()
    if str(Version(said)) != said:
        raise SystemExit(f"{said!r} is not how the version is written; write {Version(said)}")
    section = re.search(
        r"^## ([^ ]+) - (\d{4}-\d{2}-\d{2}|unreleased)\n(.*?)(?=^## |\Z)",
        (REPO / "CHANGELOG.md").read_text(),
        re.MULTILINE | re.DOTALL,
    )
    if not section or section[1] != said or not section[3].strip():
        raise SystemExit(f"the first section of CHANGELOG.md has to be '## {said} - <day>' and say something")
    if tag is None:
        print(f"version {said}, {section[2]}; no tag to compare")
    elif tag != f"v{said}":
        raise SystemExit(f"the tag is {tag!r}, the version {said!r}: the tag has to be v{said}")
    elif section[2] == "unreleased":
        raise SystemExit(f"CHANGELOG.md says that {said} is unreleased: give it its day before it is tagged")
    else:
        print(f"version {said} of {section[2]}, tag {tag}")


def build(folder: Path) -> dict[str, str]:
    """Build source distribution and wheel; return the hashes."""
    day = _said("git", "log", "-1", "--format=%ct") if (REPO / ".git").exists() else "1767225600"
    subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(REPO)],
        env=os.environ | {"SOURCE_DATE_EPOCH": day},
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(folder.iterdir())}


def check_contents(folder: Path) -> None:
    """The wheel holds the package and its licences, the source distribution what is needed to test it."""
    (wheel,) = folder.glob("*.whl")
    (sdist,) = folder.glob("*.tar.gz")
    with zipfile.ZipFile(wheel) as archive:
        inside = archive.namelist()
    tops = {name.split("/")[0] for name in inside}
    info = f"{NAME}-{version()}.dist-info"
    if tops != {NAME, info}:
        raise SystemExit(f"the wheel holds {sorted(tops)}")
    absent = [name for name in LICENCES if f"{info}/licenses/{name}" not in inside]
    with tarfile.open(sdist) as tar:
        inside = [name.partition("/")[2] for name in tar.getnames()]
    absent += [
        name for name in (*LICENCES, "pyproject.toml", "CHANGELOG.md", "README.md") if name not in inside
    ]
    stray = [name for name in inside if re.search(r"(^|/)(\.venv|\.git/|__pycache__|build/|dist/)", name)]
    if absent or stray:
        raise SystemExit(f"missing: {absent}, should not be there: {stray}")


def bill_of_materials(file: Path) -> int:
    """Write what the newest pinned set consists of; return the number of components."""
    pinned = REPO / "requirements" / "airflow-3.3.txt"
    command = ["requirements", str(pinned), "--pyproject", "pyproject.toml", "--output-reproducible"]
    _said(str(Path(sys.executable).with_name("cyclonedx-py")), *command, "--of", "JSON", "-o", str(file))
    document = json.loads(file.read_text())
    if (
        document["bomFormat"] != "CycloneDX"
        or "airflow-provider" not in document["metadata"]["component"]["name"]
    ):
        raise SystemExit(f"{file.name} is no bill of this package")
    return len(document["components"])


def _said(*command: str) -> str:
    return subprocess.run(command, cwd=REPO, check=True, capture_output=True, text=True).stdout.strip()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--tag", help="the tag that is released, such as v0.1.0; then the changelog has a day"
    )
    tag = parser.parse_args().tag
    check_version(tag)
    with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second:
        hashes = build(Path(first))
        if hashes != build(Path(second)):
            raise SystemExit("two builds of one commit differ")
        check_contents(Path(first))
        shutil.rmtree(DIST, ignore_errors=True)
        shutil.copytree(first, DIST)
    subprocess.run(
        [sys.executable, "-m", "twine", "check", "--strict", *map(str, DIST.iterdir())], check=True
    )
    bill = DIST.parent / "build" / f"{NAME}-{version()}.cdx.json"
    bill.parent.mkdir(exist_ok=True)
    print(f"{bill_of_materials(bill)} components in {bill.relative_to(REPO)}")
    sums = "".join(f"{digest}  {name}\n" for name, digest in hashes.items())
    (bill.parent / "SHA256SUMS").write_text(sums)
    print(f"two builds, one hash:\n{sums}", end="")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
