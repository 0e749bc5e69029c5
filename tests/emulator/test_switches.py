# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest

from airflow_provider_adobe_audiences.emulator.core import Emulator

if TYPE_CHECKING:
    from airflow_provider_adobe_audiences.emulator.server import RunningEmulator


def test_every_switch_says_what_it_decides(emulator: RunningEmulator) -> None:
    rows = httpx.get(f"{emulator.url}/_emulator/switches").json()
    assert len(rows) > 40
    assert [
        row["name"]
        for row in rows
        if not row["description"] or not row["type"] or row["value"] != row["default"]
    ] == []
    table = emulator.switches.markdown()
    assert all(f"| `{row['name']}` |" in table for row in rows)


def test_changing_them_over_http(emulator: RunningEmulator) -> None:
    url = f"{emulator.url}/_emulator/switches"
    assert httpx.patch(url, json={"batch_seconds": 5}).json()["batch_seconds"] == 5
    assert (
        httpx.patch(url, json={"batch_polls": 2}).json() | {"batch_seconds": 5, "batch_polls": 2}
        == emulator.switches.values()
    )
    assert httpx.put(url, json={"batch_polls": 3}).json()["batch_seconds"] == 1
    assert emulator.platform.switches.batch_polls == 3


@pytest.mark.parametrize("values", ({"nonsense": 1}, {"batch_polls": -1}, {"ais_duplicate": "maybe"}))
def test_wrong_values_change_nothing(emulator: RunningEmulator, values: dict[str, object]) -> None:
    answer = httpx.patch(f"{emulator.url}/_emulator/switches", json={"batch_seconds": 7} | values)
    assert answer.status_code == 400
    assert answer.json()["message"]
    assert emulator.platform.switches.batch_seconds == 1


def test_reset_goes_back_to_the_values_of_the_start() -> None:
    emulator = Emulator(batch_seconds="0.5", core_ais_served="false")
    emulator.switches.update({"batch_seconds": 9, "ups_write_status": 201})
    emulator.reset()
    switches = emulator.platform.switches
    assert (switches.batch_seconds, switches.core_ais_served, switches.ups_write_status) == (0.5, False, 200)


def test_an_unknown_switch_is_named() -> None:
    with pytest.raises(KeyError, match="no switch 'nonsense'"):
        Emulator(nonsense=1)
