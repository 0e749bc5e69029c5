# SPDX-License-Identifier: Apache-2.0
"""Every operator, every act of people, at every request."""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable
from typing import Any

import pytest

import tests.faults.deployments
import tests.faults.editors
import tests.faults.sources  # noqa: F401
from tests.faults.acts import ACTS
from tests.faults.cases import SEED, Case
from tests.faults.harness import Request, World, undisturbed
from tests.faults.known import KNOWN
from tests.faults.rows import ROWS, ROWS_OF_PEOPLE, find

pytestmark = [pytest.mark.people, pytest.mark.timeout(1800)]

_requests: dict[str, list[Request]] = {}


def requests_of(row: str, new_world: Callable[[], World]) -> list[Request]:
    if row not in _requests:
        world = new_world()
        world.emulator.switches.update(find(row).switches)
        _requests[row] = undisturbed(world, find(row))
    return _requests[row]


def cases() -> list[Any]:
    return [
        pytest.param(
            row,
            act,
            id=f"{row}-{act}",
            marks=[pytest.mark.xfail(reason=KNOWN[row, act])] if (row, act) in KNOWN else [],
        )
        for row in [*ROWS, *ROWS_OF_PEOPLE]
        for act in ACTS
        if ACTS[act].can_happen_to(row)
    ]


@pytest.mark.parametrize(("row", "act"), cases())
def test_right_data_or_a_clear_failure(
    row: str,
    act: str,
    new_world: Callable[[], World],
    request: pytest.FixtureRequest,
    record_property: Callable[[str, Any], None],
) -> None:
    requests = requests_of(row, new_world)
    places = list(ACTS[act].places(requests))
    if not places:
        pytest.skip("the act cannot happen to this operator")
    possible = len(places)
    sampled = not request.config.getoption("--every-case", False)
    if sampled and (row, act) not in KNOWN:  # of a known fault nobody knows at which place it shows
        places = random.Random(SEED + zlib.crc32(f"{row} {act}".encode())).sample(places, 1)
    wrong: list[str] = []
    log = ""
    for place, detail in places:
        world = new_world()
        try:
            ACTS[act].play(Case(world, find(row), act, place, requests, detail))
        except Exception as error:
            wrong.append(
                f"request {place.number}, {place.method} {place.path} ({place.phase}), detail {detail}: "
                f"{error!r}"
            )
            log = log or world.log()
            if sampled:
                break
    record_property(
        "fault_cases",
        {
            "row": row,
            "fault": act,
            "possible": possible,
            "tried": len(places),
            "survived": len(places) - len(wrong),
            "wrong": wrong,
        },
    )
    assert not wrong, "\n".join([*wrong, "", "The log of the first of them:", log])
