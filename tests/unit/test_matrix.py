# SPDX-License-Identifier: Apache-2.0
"""What `make matrix` runs on which machine, and when it fails."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest

from scripts import matrix

ALL = {version: f"/python{version}" for version in matrix.PYTHONS}


def pairs(*, short: bool, available: dict[str, str]) -> list[tuple[str, str]]:
    return [(cell.name, cell.python) for cell in matrix.cells(short, available)]


def test_every_pair_that_airflow_supports_is_run():
    assert pairs(short=False, available=ALL) == [
        *(("2.11", python) for python in ("3.11", "3.12")),
        *(("3.0", python) for python in ("3.11", "3.12")),
        *((name, python) for name in ("3.1", "3.2", "3.3") for python in ("3.11", "3.12", "3.13")),
        ("lowest", "3.11"),
        ("newest", "3.13"),
    ]


def test_scheduler_and_faults_run_once_for_each_version_that_has_them():
    suites = [(cell.name, suite) for cell in matrix.cells(False, ALL) for suite in cell.suites]

    assert suites.count(("2.11", "scheduler")) == suites.count(("2.11", "faults")) == 1
    assert suites.count(("3.0", "scheduler")) == 1
    assert suites.count(("3.3", "scheduler")) == suites.count(("3.3", "faults")) == 1
    assert [name for name, suite in suites if suite not in ("install", "tests", "scheduler", "faults")] == []


@pytest.mark.parametrize("available", [ALL, {"3.12": "/python"}])
def test_the_pythons_of_each_airflow_run_every_test_between_them(available):
    done = list(matrix.cells(False, available))

    assert {"2.11", "3.0", "lowest", "newest"} < {cell.name for cell in done} or len(available) == 1
    for name in {cell.name for cell in done}:
        shares = [(cell.share, cell.shares) for cell in done if cell.name == name]
        assert shares == [(share, len(shares)) for share in range(len(shares))]


@pytest.mark.parametrize("python", ["3.11", "3.12"])
def test_one_python_is_enough_for_every_airflow_in_short_form(python):
    assert pairs(short=True, available={python: "/python"}) == [
        (name, python) for name in ("2.11", "3.0", "3.1", "3.2", "lowest", "newest")
    ]


def test_what_a_machine_cannot_run_is_told():
    done = list(matrix.cells(True, {"3.13": "/python"}))
    text = matrix.table(done, ["3.11", "3.12"])

    assert [cell.name for cell in done] == ["3.1", "3.2", "newest"]
    for line in (
        "Python 3.11 is missing on the machine that made this table.",
        "Not tried here, for want of a Python: Airflow 2.11.",
        "Not tried here, for want of a Python: Airflow 3.0.",
    ):
        assert line in text.splitlines()
    assert "Airflow 3.1." not in text


@pytest.mark.parametrize("skipped", ["lowest", "newest"])
def test_a_run_without_the_lowest_or_the_newest_is_no_success(skipped):
    done = list(matrix.cells(True, ALL))
    for cell in done:
        cell.results = {"install": "ok"} if cell.name == skipped else {"install": "ok", "tests": "1 passed"}

    assert matrix.not_run(done) == [skipped]
    assert matrix.not_run([cell for cell in done if cell.name != skipped]) == [skipped]


def test_the_parts_make_the_table(tmp_path, monkeypatch):
    monkeypatch.setattr(matrix, "PARTS", tmp_path / "matrix")
    document = tmp_path / "compatibility.md"
    document.write_text(f"before\n{matrix.BEGIN}\nold\n{matrix.END}\nafter\n")
    monkeypatch.setattr(matrix, "DOCUMENT", document)
    cell = matrix.Cell("3.3", "3.12", results={"install": "ok (9 s)"}, airflow="3.3.2", commit="abc")
    cell.note()

    noted = matrix.Cell("3.3", "3.12").noted()
    assert noted == cell
    assert json.loads(cell.part.read_text()) == asdict(cell)
    matrix.write([noted], [])

    assert "| 3.3.2 | 3.12 | ok (9 s) |" in document.read_text()
    assert "`make matrix` of abc" in document.read_text()
    assert document.read_text().startswith("before\n")
    assert document.read_text().endswith("after\n")
    assert "old" not in document.read_text()
