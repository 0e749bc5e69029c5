# SPDX-License-Identifier: Apache-2.0
"""Random chains of acts and faults, with fixed seeds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.faults.chains import play, row_of
from tests.faults.harness import World
from tests.faults.test_people import requests_of

pytestmark = pytest.mark.chains

#: As many as take two cores three minutes.
SEEDS = range(120)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_chain_ends_right(
    seed: int, new_world: Callable[[], World], record_property: Callable[[str, Any], None]
) -> None:
    row = row_of(seed)
    requests = requests_of(row, new_world)
    play(new_world(), row, requests, seed)
    record_property("fault_cases", {"row": row, "fault": "chain", "possible": 1, "tried": 1, "survived": 1})
