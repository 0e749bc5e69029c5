# SPDX-License-Identifier: Apache-2.0
"""What is shipped, and what must never be: a wheel with the package only, no trace of a machine or a package
registry.
"""

from __future__ import annotations

import email
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import airflow_provider_adobe_audiences
from scripts.local_airflow import REPO

PACKAGE = "airflow_provider_adobe_audiences"
TEXT_LIMIT = 1_000_000


@pytest.fixture(scope="module")
def tracked(repo) -> list[Path]:
    """Every file under version control, and those about to be."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    try:
        names = subprocess.run(command, cwd=repo, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git repository")
    return [path for name in names.split("\0") if name and (path := repo / name).is_file()]


@pytest.fixture(scope="module")
def wheel(repo, tmp_path_factory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(repo)],
        check=True,
        capture_output=True,
    )
    (file,) = folder.iterdir()
    return zipfile.ZipFile(file)


def lines_with(pattern: str, files: list[Path], repo: Path) -> list[str]:
    found = []
    for file in files:
        if file.stat().st_size > TEXT_LIMIT:
            continue
        for number, line in enumerate(file.read_text(errors="replace").splitlines(), 1):
            if re.search(pattern, line):
                found.append(f"{file.relative_to(repo)}:{number}: {line.strip()[:160]}")
    return found


def test_no_path_of_a_machine(tracked, repo):
    patterns = [
        r"(?<![\w.])/(work|root|Users|opt)/\w",
        re.escape(str(repo)) + r"\b",
        re.escape(str(Path.home())) + "/",
    ]

    assert lines_with("|".join(patterns), [file for file in tracked if file != Path(__file__)], repo) == []


def test_no_package_registry(tracked, repo):
    hosts = [
        r"pypi\.(org|python)",
        r"pythonhosted\.org",
        r"npmjs\.(org|com)",
        r"deb\.debian\.org",
        r"https?://[^ ]*/(simple|packages)/",
    ]

    assert lines_with("|".join(hosts), [file for file in tracked if file != Path(__file__)], repo) == []


def test_every_source_file_names_its_licence(tracked, repo):
    sources = [file for file in tracked if file.suffix == ".py" and file.stat().st_size]

    def licensed(file: Path) -> bool:
        return "# SPDX-License-Identifier: Apache-2.0" in file.read_text().splitlines()[:2]

    assert len(sources) > 20
    assert [str(file.relative_to(repo)) for file in sources if not licensed(file)] == []


def test_the_newest_changelog_entry_is_this_version(repo):
    newest = re.search(r"^## \[?([^\] ]+)", (repo / "CHANGELOG.md").read_text(), re.MULTILINE)

    assert newest is not None
    assert newest[1] == airflow_provider_adobe_audiences.__version__


@pytest.mark.parametrize("airflow", ["2.11", "3.0", "3.1", "3.2", "3.3"])
def test_each_supported_airflow_has_a_pinned_set(airflow, repo):
    lines = (repo / "requirements" / f"airflow-{airflow}.txt").read_text().splitlines()

    assert any(line.startswith(f"apache-airflow=={airflow}.") for line in lines)


def test_the_installer_is_pinned(repo):
    assert re.match(r"uv==[0-9.]+ ", (repo / "requirements/uv.txt").read_text()), "make venv starts with it"


@pytest.mark.parametrize(
    "file", sorted((REPO / "requirements").glob("*.txt")), ids=lambda file: file.stem.replace("airflow-", "")
)
def test_each_pin_has_its_hashes_and_nothing_says_where_it_comes_from(file):
    pin = r"[a-z0-9.\[\]_-]+==[^ ]+( ; [^\\]+)?"
    hashed = rf"{pin} \\\n( +--hash=sha256:[0-9a-f]{{64}}( \\)?\n)+"

    assert re.fullmatch(rf"({hashed})+", file.read_text())


def test_each_action_is_pinned_to_a_commit(repo):
    used = [
        f"{file.name}: {line.strip()}"
        for file in (repo / ".github" / "workflows").glob("*.yml")
        for line in file.read_text().splitlines()
        if re.match(r"\s*(- )?uses:", line)
    ]

    assert used
    assert [line for line in used if not re.search(r"uses: [\w./-]+@[0-9a-f]{40} # v[\d.]+$", line)] == []


def test_the_wheel_contains_the_package_and_nothing_else(wheel, tracked, repo):
    names = set(wheel.namelist())
    tops = {name.split("/")[0] for name in names}
    expected = {str(file.relative_to(repo)) for file in tracked if file.is_relative_to(repo / PACKAGE)}

    assert tops == {PACKAGE, f"{PACKAGE}-{airflow_provider_adobe_audiences.__version__}.dist-info"}
    assert {name for name in names if name.startswith(f"{PACKAGE}/")} == expected
    assert f"{PACKAGE}/py.typed" in names
    assert any(name.endswith("/licenses/LICENSE") for name in names)
    assert any(name.endswith("/licenses/NOTICE") for name in names)


def test_the_metadata_of_the_wheel(wheel, repo):
    project = tomllib.loads((repo / "pyproject.toml").read_text())["project"]
    (name,) = [name for name in wheel.namelist() if name.endswith("/METADATA")]
    metadata = email.message_from_bytes(wheel.read(name))
    requires = metadata.get_all("Requires-Dist") or []

    assert metadata["Name"] == "airflow-provider-adobe-audiences"
    assert metadata["Version"] == airflow_provider_adobe_audiences.__version__
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Requires-Python"] == ">=3.11"
    assert "apache-airflow>=2.11.0" in requires
    assert {
        "Framework :: Apache Airflow",
        "Framework :: Apache Airflow :: Provider",
        "Typing :: Typed",
    } <= set(metadata.get_all("Classifier"))
    assert sorted(metadata.get_all("Provides-Extra")) == sorted(project["optional-dependencies"])
    assert not any("<" in r.partition(";")[0] and r.startswith("apache-airflow") for r in requires), (
        "no upper bound for Airflow"
    )
