# SPDX-License-Identifier: Apache-2.0
"""What all services of the emulator have in common.

A service is a module next to this one with three things: its switches (:class:`ServiceSwitches` with a
described field for each behaviour that Adobe leaves open), its state (a :class:`Service`, named in
:mod:`.core`), and ``router(emulator) -> APIRouter``. Its handlers are ``async def``: they share one event
loop, so what lies between two ``await`` is atomic. They end early by raising :class:`.answers.Answer`, ask
``emulator.gateway.check(request)`` who is calling, take the time from ``emulator.clock``, and tell
``emulator.redactor`` every secret that they issue.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .switches import ServiceSwitches

if TYPE_CHECKING:
    from .core import Emulator


class Service:
    """The state of one of Adobe's services.

    :param emulator: the emulator that it belongs to; gives the clock, the redactor, the tokens.
    """

    #: Narrowed by each service to its own model.
    switches: ServiceSwitches

    def __init__(self, emulator: Emulator) -> None:
        self.emulator = emulator

    def reset(self) -> None:
        """Forget everything but the switches."""

    def snapshot(self) -> dict[str, Any]:
        """Return the readable state, without secrets."""
        return {}

    def close(self) -> None:
        """Give back what is held outside of memory."""

    def expire_token(self, token: str) -> bool:
        """Let an access token end at once; return whether it is one of this service."""
        return False
