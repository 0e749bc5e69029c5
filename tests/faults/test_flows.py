# SPDX-License-Identifier: Apache-2.0
"""The mapped Dag, every act of people, at every request."""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable
from typing import Any

import pytest

from tests.faults.cases import SEED
from tests.faults.flows import FLOW, FLOW_ACTS, FlowRequest, undisturbed
from tests.faults.harness import World
from tests.faults.known import KNOWN

pytestmark = [pytest.mark.people, pytest.mark.timeout(1800)]

_requests: list[FlowRequest] = []


@pytest.mark.parametrize(
    "act",
    [
        pytest.param(act, marks=[pytest.mark.xfail(reason=KNOWN[FLOW, act])] if (FLOW, act) in KNOWN else [])
        for act in FLOW_ACTS
    ],
)
def test_right_data_or_a_clear_failure(
    act: str,
    new_world: Callable[[], World],
    request: pytest.FixtureRequest,
    record_property: Callable[[str, Any], None],
) -> None:
    if not _requests:
        _requests.extend(undisturbed(new_world()))
    places = FLOW_ACTS[act].places(_requests)
    possible = len(places)
    sampled = not request.config.getoption("--every-case", False)
    if sampled and (FLOW, act) not in KNOWN:
        places = random.Random(SEED + zlib.crc32(act.encode())).sample(places, 1)
    wrong: list[str] = []
    log = ""
    for place, phase in places:
        world = new_world()
        try:
            FLOW_ACTS[act].play(world, place, phase)
        except Exception as error:
            wrong.append(
                f"request {place.number}, {phase} {place.method} {place.path} ({place.task}): {error!r}"
            )
            log = log or world.log()
            if sampled:
                break
    record_property(
        "fault_cases",
        {
            "row": FLOW,
            "fault": act,
            "possible": possible,
            "tried": len(places),
            "survived": len(places) - len(wrong),
            "wrong": wrong,
        },
    )
    assert not wrong, "\n".join([*wrong, "", "The log of the first of them:", log])
