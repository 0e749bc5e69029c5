# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.faults.harness import World, forkserver

if TYPE_CHECKING:
    from airflow_provider_adobe_audiences.emulator.server import RunningEmulator


@pytest.fixture(scope="session")
def processes() -> Any:
    return forkserver()


@pytest.fixture
def new_world(_emulator: RunningEmulator, processes: Any) -> Iterator[Callable[[], World]]:
    """``new_world()`` resets Adobe and gives a case all that it needs."""
    worlds: list[World] = []

    def new() -> World:
        for world in worlds:
            world.close()
        worlds[:] = [World(_emulator, processes)]
        return worlds[0]

    yield new
    for world in worlds:
        world.close()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--every-case",
        action="store_true",
        help="try every fault at every request, not a sample with a fixed seed",
    )
    parser.addoption(
        "--record-shapes",
        action="store_true",
        help="write what each operator leaves in XCom into tests/contract (make api)",
    )
    parser.addoption(
        "--fault-results",
        metavar="FILE",
        help="one line of JSON for each row and fault, for python -m tests.faults.table",
    )


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):  # with xdist, all reports come to one process in the end
        config.pluginmanager.register(Results(config.getoption("--fault-results", None)))


class Results:
    """Counts the cases as they end, so that a run that was interrupted leaves its counts, too."""

    def __init__(self, file: str | None) -> None:
        self._cases: list[dict[str, Any]] = []
        self._file = Path(file) if file else None
        if self._file is not None:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            self._file.write_text("")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        new = (
            [value for name, value in report.user_properties if name == "fault_cases"]
            if report.when == "call"
            else []
        )
        self._cases += new
        if self._file is not None and new:
            with self._file.open("a") as file:
                file.writelines(json.dumps(case) + "\n" for case in new)

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        if self._cases:
            tried, survived = (sum(case[key] for case in self._cases) for key in ("tried", "survived"))
            terminalreporter.write_line(f"cases tried {tried}, survived {survived}")
