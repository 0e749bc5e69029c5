# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable, Iterator
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
    parser.addoption("--every-case", action="store_true", help="try every fault at every request, not a sample with a fixed seed")


def pytest_terminal_summary(terminalreporter: Any) -> None:
    cases = [
        value
        for reports in terminalreporter.stats.values()
        for report in reports
        if getattr(report, "when", None) == "call"
        for name, value in report.user_properties
        if name == "fault_cases"
    ]
    if cases:
        tried, survived = (sum(case[key] for case in cases) for key in ("tried", "survived"))
        terminalreporter.write_line(f"cases tried {tried}, survived {survived}")
