# SPDX-License-Identifier: Apache-2.0
"""Time, as the emulator sees it."""

from __future__ import annotations

import time

CENTURY = 3.2e9


class Clock:
    """Wall clock that can be moved, so that hours of waiting need no waiting."""

    def __init__(self) -> None:
        self.offset = 0.0

    def now(self) -> float:
        """Return seconds since the epoch."""
        return time.time() + self.offset

    def milliseconds(self) -> int:
        """Return milliseconds since the epoch."""
        return int(self.now() * 1000)

    def advance(self, seconds: float) -> None:
        """Move the clock forward (or, with a negative value, back).

        :raises ValueError: when that is more than a century.
        """
        if not isinstance(seconds, int | float) or not abs(seconds) <= CENTURY:
            raise ValueError(f"the clock moves by at most a century, not by {seconds!r} seconds")
        self.offset += seconds
