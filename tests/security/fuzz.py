# SPDX-License-Identifier: Apache-2.0
"""How much is tried: the same examples in each run, so that CI never fails by chance."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

FUZZ = settings(
    derandomize=True, database=None, deadline=None, max_examples=100, suppress_health_check=list(HealthCheck)
)
FUZZ_A_LITTLE = settings(FUZZ, max_examples=15)
