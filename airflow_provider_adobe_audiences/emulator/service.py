# SPDX-License-Identifier: Apache-2.0
"""What all services of the emulator have in common.

A service is a package next to this module: ``models`` has its state (a :class:`Service`, named in
:mod:`.core`), ``switches`` a described field for each behaviour that Adobe leaves open, ``routes`` its
endpoints. It sees an :class:`Environment` and, where it needs them, the gateway and IMS; never the emulator.
Handlers are ``async def``: they share one event loop, so what lies between two ``await`` is atomic. They end
early by raising :class:`.responses.ErrorResponse`.
"""

from __future__ import annotations

from typing import Any, Protocol

from .clock import Clock
from .redact import Redactor
from .switches import ServiceSwitches


class Environment(Protocol):
    """Where a service lives."""

    @property
    def clock(self) -> Clock:
        """The time, which tests can move."""

    @property
    def redactor(self) -> Redactor:
        """Is told every secret that the service issues."""

    @property
    def url(self) -> str:
        """Where the emulator listens, without a slash at the end."""


class Service:
    """The state of one of Adobe's services.

    :param environment: gives the clock, the redactor, the URL.
    """

    #: Narrowed by each service to its own model.
    switches: ServiceSwitches

    def __init__(self, environment: Environment) -> None:
        self.environment = environment

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
