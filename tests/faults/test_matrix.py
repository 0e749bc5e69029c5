# SPDX-License-Identifier: Apache-2.0
"""Every operator, every fault, every request."""

from __future__ import annotations

import itertools
import random
import zlib
from collections.abc import Callable
from typing import Any

import pytest

from tests.faults.cases import SEED, Case
from tests.faults.faults import FAULTS
from tests.faults.harness import Request, World, undisturbed
from tests.faults.rows import ROWS

pytestmark = pytest.mark.faults

#: So many places of one fault in one row are tried unless all are asked for (``--every-case``).
SAMPLE = 1
#: But these, the central promise, always at every request.
IN_FULL = list(
    itertools.product(
        ("AdobeIngestBatchOperator", "AdobeSyncGroupsOperator", "AdobeRotateProfileTokenOperator"),
        ("SIGKILL before the request is processed", "SIGKILL after it is committed"),
    )
)
_requests: dict[str, list[Request]] = {}


def requests_of(row: str, new_world: Callable[[], World]) -> list[Request]:
    if row not in _requests:
        world = new_world()
        world.emulator.switches.update(ROWS[row].switches)
        _requests[row] = undisturbed(world, ROWS[row])
    return _requests[row]


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        pytest.param(row, fault, id=f"{row}-{fault}")
        for row in ROWS
        for fault in FAULTS
        if fault not in ROWS[row].not_with
    ],
)
def test_nothing_is_lost_or_doubled(
    row: str,
    fault: str,
    new_world: Callable[[], World],
    request: pytest.FixtureRequest,
    record_property: Callable[[str, Any], None],
) -> None:
    requests = requests_of(row, new_world)
    places = list(FAULTS[fault].places(requests))
    possible = len(places)
    if (
        possible > SAMPLE
        and (row, fault) not in IN_FULL
        and not request.config.getoption("--every-case", False)
    ):
        places = random.Random(SEED + zlib.crc32(f"{row} {fault}".encode())).sample(places, SAMPLE)
    wrong: list[str] = []
    log = ""
    for place, detail in places:
        world = new_world()
        try:
            FAULTS[fault].play(Case(world, ROWS[row], fault, place, requests, detail))
        except Exception as error:
            wrong.append(
                f"request {place.number}, {place.method} {place.path} ({place.phase}), detail {detail}: "
                f"{error!r}"
            )
            log = log or world.log()
    survived = len(places) - len(wrong)
    record_property(
        "fault_cases",
        {"row": row, "fault": fault, "possible": possible, "tried": len(places), "survived": survived},
    )
    assert not wrong, "\n".join([*wrong, "", "The log of the first of them:", log])
