# SPDX-License-Identifier: Apache-2.0
"""What tests of tasks share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.airflow.tries import Tasks


@pytest.fixture
def tasks(emulator: Any, tmp_path: Path) -> Tasks:
    """Tries of tasks; batches end at once, and Target wants no profile token."""
    emulator.switches.update({"batch_seconds": 0.0})
    emulator.target.settings["enableProfileApiAuthentication"] = False
    return Tasks(emulator, tmp_path)
