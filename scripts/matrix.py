# SPDX-License-Identifier: Apache-2.0
"""``make matrix``: the built wheel on every supported Airflow and Python, each in an environment of its own.

Prints versions x suites and writes the table into docs/compatibility.md. The Pythons of one Airflow share the
tests that run Dags, so that every Airflow runs each of them; all other tests run on every pair. ``--short``,
for CI, takes one Python for each Airflow, a quarter of the tests that run Dags (another one on each version),
and writes nothing. Both also run with the lowest version of everything that the package asks for, and with
the newest that there is today. A suite in which nothing passed counts as failed. ``--only`` runs a part; each
part is noted below build/matrix, and ``--write`` writes the table when all parts are there. Standard library
only.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent
PACKAGE = "airflow_provider_adobe_audiences"
DOCUMENT = REPO / "docs" / "compatibility.md"
PARTS = REPO / "build" / "matrix"
BEGIN, END = "<!-- written by make matrix -->", "<!-- end -->"
PYTHONS = ("3.11", "3.12", "3.13")
# The first Airflow with this Python is 3.1.
FIRST_WITH = {"3.13": (3, 1)}
SUITES = ("install", "tests", "scheduler", "faults")
OLDEST, NEWEST = "2.11", "3.3"
WITH_SCHEDULER = (OLDEST, "3.0", NEWEST)


@dataclass
class Cell:
    """One environment.

    :ivar name: ``2.11`` to ``3.3``, ``lowest`` or ``newest``.
    :ivar python: such as ``3.12``.
    :ivar results: what each suite said, by its name.
    :ivar share: which of the tests that run Dags it runs, of as many ``shares`` as Pythons run this Airflow.
    """

    name: str
    python: str
    results: dict[str, str] = field(default_factory=dict)
    airflow: str = ""
    failed: bool = False
    first_python: str = PYTHONS[0]
    share: int = 0
    shares: int = 1
    commit: str = ""
    seconds: float = 0
    cpu_seconds: float = 0

    @property
    def suites(self) -> tuple[str, ...]:
        suites = ["install", "tests"]
        suites += ["scheduler"] * (self.name in WITH_SCHEDULER and self.python == self.first_python)
        suites += ["faults"] * (self.name in (OLDEST, NEWEST) and self.python == self.first_python)
        return tuple(suites)

    @property
    def part(self) -> Path:
        """Where the results of a full run are noted."""
        return PARTS / f"{self.name}-{self.python}.json"

    def note(self) -> None:
        """Note the results."""
        PARTS.mkdir(parents=True, exist_ok=True)
        self.part.write_text(json.dumps(asdict(self), indent=1))

    def noted(self) -> Cell | None:
        """Return what was noted of this environment."""
        return Cell(**json.loads(self.part.read_text())) if self.part.exists() else None


def pythons() -> dict[str, str]:
    """Return the interpreters of this machine, by version: uv's, pyenv's, those in the path."""
    found = {}
    for version in PYTHONS:
        pyenv = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))
        uv = sorted(Path.home().glob(f".local/share/uv/python/cpython-{version}.*/bin/python{version}"))
        for candidate in (*map(str, (*uv, *pyenv)), shutil.which(f"python{version}"), sys.executable):
            command = [candidate or "", "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
            try:
                said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
            except (OSError, subprocess.CalledProcessError):
                continue
            if said == version:
                found[version] = str(candidate)
                break
    return found


def cells(short: bool, available: dict[str, str]) -> Iterator[Cell]:
    """Yield every supported pair; in short form one Python for each Airflow, in turns."""
    turn = 0
    for lock in _locks():
        name = lock.stem.removeprefix("airflow-")
        fitting = [python for python in available if FIRST_WITH.get(python, (0,)) <= _numbers(name)]
        if short and name == NEWEST:
            continue  # in full, by the rest of CI
        if short and fitting:
            fitting = [fitting[turn % len(fitting)]]
            turn += 1
        for share, python in enumerate(fitting):
            yield Cell(name, python, first_python=fitting[0], share=share, shares=len(fitting))
    # The lowest Airflow has the lowest Pythons only.
    for name, fitting in (
        ("lowest", [python for python in available if python not in FIRST_WITH]),
        ("newest", list(available)[::-1]),
    ):
        if fitting:
            yield Cell(name, fitting[0], first_python=fitting[0])


def _locks() -> list[Path]:
    return sorted((REPO / "requirements").glob("airflow-*.txt"), key=lambda file: _numbers(file.stem))


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", text))


class Matrix:
    """The wheel, a copy of the tests without the package next to them, and what came of it."""

    def __init__(self, folder: Path, *, short: bool, leaks: bool) -> None:
        self.folder = folder
        self.short = short
        self.leaks = leaks
        self.uv = str(Path(sys.executable).with_name("uv"))
        self.wheel = self._build()
        self.checkout = folder / "checkout"
        skipped = shutil.ignore_patterns(".git", ".venv*", "*cache*__", ".*_cache", PACKAGE, "build", "dist")
        shutil.copytree(REPO, self.checkout, ignore=skipped)

    def _build(self) -> Path:
        command = [
            sys.executable,
            "-m",
            "build",
            "--wheel",
            "--no-isolation",
            "--outdir",
            str(self.folder / "dist"),
        ]
        subprocess.run([*command, str(REPO)], check=True, stdout=subprocess.DEVNULL)
        (wheel,) = (self.folder / "dist").glob("*.whl")
        return wheel

    def run(self, cell: Cell, interpreter: str) -> None:
        """Run the suites of one environment, and note what came of each."""
        cell.commit = _commit()
        started, used = time.monotonic(), _cpu_seconds()
        for suite in cell.suites:
            began = time.monotonic()
            print(f"--- {cell.name}, Python {cell.python}: {suite}", flush=True)
            try:
                said = getattr(self, suite)(cell, interpreter)
            except (subprocess.CalledProcessError, Failed) as error:
                print(error, flush=True)
                said, cell.failed = "FAILED", True
            cell.results[suite] = f"{said} ({time.monotonic() - began:.0f} s)"
            print(cell.results[suite], flush=True)
            if suite == "install" and cell.failed:
                break
        cell.seconds, cell.cpu_seconds = time.monotonic() - started, _cpu_seconds() - used

    def _python(self, cell: Cell) -> Path:
        return REPO / f".venv-matrix-{cell.name}-{cell.python}" / "bin" / "python"

    def install(self, cell: Cell, interpreter: str) -> str:
        """Make the environment, or take the one of the same pinned set, and put the wheel into it."""
        python = self._python(cell)
        home = python.parent.parent
        lock = REPO / "requirements" / f"{'airflow-' * (cell.name[0].isdigit())}{cell.name}.txt"
        pip = [self.uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", str(python)]
        mark = home / ".made-of"
        wanted = hashlib.sha256(lock.read_bytes()).hexdigest() if lock.exists() else ""
        if not wanted or not mark.exists() or mark.read_text() != wanted:
            _call(self.uv, "venv", "--quiet", "--clear", "--python", interpreter, str(home))
            if wanted:
                _call(*pip, "--require-hashes", "-r", str(lock))
            else:
                groups = [f"--group={REPO / 'pyproject.toml'}:{group}" for group in ("dev", "stores")]
                _call(*pip, *groups, f"{self.wheel}[emulator]")
            mark.write_text(wanted)
        _call(*pip, "--no-deps", "--reinstall-package", "airflow-provider-adobe-audiences", str(self.wheel))
        _call(self.uv, "pip", "check", "--quiet", "--python", str(python))
        # Tests that read the source find what the wheel has installed.
        (installed,) = home.glob(f"lib/python*/site-packages/{PACKAGE}")
        link = self.checkout / PACKAGE
        link.unlink(missing_ok=True)
        link.symlink_to(installed)
        _call(str(python), str(self.checkout / "scripts" / "smoke.py"), path=python.parent, cwd=self.folder)
        code = "from importlib.metadata import version; print(version('apache-airflow'))"
        cell.airflow = subprocess.run(
            [python, "-c", code], capture_output=True, text=True, check=True
        ).stdout.strip()
        return "ok"

    def tests(self, cell: Cell, _: str) -> str:
        """Unit tests, contracts and the tests that run Dags."""
        share = ["--one-in", "4"]
        if not self.short:
            share = ["--one-in", str(cell.shares), "--share", str(cell.share)]
        return self._pytest(cell, "tests/unit", "tests/contract", "tests/airflow", "-n", "2", *share)

    def scheduler(self, cell: Cell, _: str) -> str:
        """The example Dags on a running Airflow; with ``--leaks`` also every operator, and a search for what
        they leave behind.
        """
        hunt = ["tests/system/test_nothing_leaks.py"] if self.leaks else []
        return self._pytest(cell, "tests/system/test_any_airflow.py", *hunt, "-m", "system")

    def faults(self, cell: Cell, _: str) -> str:
        """A sample of the fault matrix."""
        return self._pytest(cell, "tests/faults", "-m", "faults", "-n", "2", "--one-in", "10")

    def _pytest(self, cell: Cell, *arguments: str) -> str:
        report = self.folder / "report.xml"
        report.unlink(missing_ok=True)
        python = self._python(cell)
        command = [
            str(python),
            "-m",
            "pytest",
            "-q",
            "--color=no",
            "-p",
            "no:cacheprovider",
            "--disable-warnings",
            "--durations=12",
        ]
        present = [
            item for item in arguments if not item.startswith("tests/") or (self.checkout / item).exists()
        ]
        options = ["--dist", "worksteal"] if "-n" in present else []
        code = subprocess.run(
            [*command, f"--junitxml={report}", *options, *present],
            cwd=self.checkout,
            env=_environment(python.parent),
            check=False,
        ).returncode
        text = report.read_text() if report.exists() else ""
        count = {
            name: sum(map(int, re.findall(rf'<testsuite [^>]*\b{name}="(\d+)"', text)))
            for name in ("tests", "failures", "errors", "skipped")
        }
        passed = count["tests"] - count["failures"] - count["errors"] - count["skipped"]
        if code or not passed:
            raise Failed(f"pytest ended with {code}, {passed} passed")
        return f"{passed} passed, {count['skipped']} skipped"


class Failed(Exception):
    """A suite failed, or nothing in it passed."""


def _environment(path: Path) -> dict[str, str]:
    import os

    shared = os.environ.get("ADOBE_SHARED") or str(REPO.parent / "shared")
    return os.environ | {"PATH": f"{path}{os.pathsep}{os.environ.get('PATH', '')}", "ADOBE_SHARED": shared}


def _call(*command: str, path: Path | None = None, cwd: Path | None = None) -> None:
    environment = _environment(path) if path else None
    process = subprocess.run(command, env=environment, cwd=cwd, check=False, capture_output=True, text=True)
    if process.returncode:
        raise Failed(f"{' '.join(command)}\n{process.stdout[-3000:]}\n{process.stderr[-3000:]}")


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty"]
    try:
        return subprocess.run(command, cwd=REPO, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def table(done: list[Cell], missing: list[str]) -> str:
    """Return versions x suites, in Markdown."""
    lines = [
        "| Airflow | Python | installed, `pip check`, smoke test | unit tests, contracts, Dag runs, examples "
        "| scheduler and triggerer | fault sample |",
        "|---|---|---|---|---|---|",
    ]
    for cell in done:
        name = cell.airflow if cell.name[0].isdigit() else f"{cell.airflow} ({cell.name} of everything)"
        results = (
            " | ".join(cell.results.get(suite, "") for suite in SUITES) if cell.results else "not run | | |"
        )
        lines.append(f"| {name or cell.name} | {cell.python} | {results} |")
    lines += [f"\nPython {version} is missing on the machine that made this table." for version in missing]
    for lock in _locks():
        name = lock.stem.removeprefix("airflow-")
        if all(python in missing for python in PYTHONS if FIRST_WITH.get(python, (0,)) <= _numbers(name)):
            lines.append(f"\nNot tried here, for want of a Python: Airflow {name}.")
    return "\n".join(lines)


def write(done: list[Cell], missing: list[str]) -> None:
    """Put the table into the document, with the date."""
    document = DOCUMENT.read_text()
    before, _, rest = document.partition(BEGIN)
    _, _, after = rest.partition(END)
    today = date.today().isoformat()  # noqa: DTZ011  the day where it was made
    commits = ", ".join(dict.fromkeys(cell.commit for cell in done if cell.commit))
    took = f"{sum(cell.seconds for cell in done) / 60:.0f} minutes"
    used = f"{sum(cell.cpu_seconds for cell in done) / 60:.0f} minutes of processor time"
    head = f"As of {today}, made by `make matrix` of {commits} in {took} ({used})."
    DOCUMENT.write_text(f"{before}{BEGIN}\n{head}\n\n{table(done, missing)}\n{END}{after}")


def not_run(done: list[Cell]) -> list[str]:
    """Return which of the two runs that prove the bounds of dependencies is not there."""
    return sorted({"lowest", "newest"} - {cell.name for cell in done if "tests" in cell.results})


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="one Python for each Airflow, fewer tests")
    parser.add_argument("--only", help="only this Airflow, `lowest` or `newest`, or `3.1/3.12` with a Python")
    parser.add_argument("--leaks", action="store_true", help="also search for secrets on a running Airflow")
    parser.add_argument("--write", action="store_true", help="run nothing, but write the table of the parts")
    options = parser.parse_args()
    available = pythons()
    missing = [version for version in PYTHONS if version not in available]
    every = list(cells(options.short, available))
    chosen = [cell for cell in every if options.only in (None, cell.name, f"{cell.name}/{cell.python}")]
    if options.write:
        chosen = [cell.noted() or cell for cell in every]
    elif not chosen:
        parser.error(f"there is nothing of the name {options.only}")
    else:
        with tempfile.TemporaryDirectory(prefix="adobe-matrix-") as folder:
            matrix = Matrix(Path(folder), short=options.short, leaks=options.leaks)
            for cell in chosen:
                matrix.run(cell, available[cell.python])
                if not options.short:
                    cell.note()
    print(f"\n{table(chosen, missing)}", flush=True)
    absent = [f"{cell.name}/{cell.python}" for cell in chosen if not cell.results]
    if not options.only:
        absent += not_run(chosen)
    if absent:
        print(f"not run: {', '.join(dict.fromkeys(absent))}")
    if not options.short and not options.only:
        write(chosen, missing)
    return 1 if absent or any(cell.failed for cell in chosen) else 0


if __name__ == "__main__":
    raise SystemExit(main())
