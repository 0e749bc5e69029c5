# SPDX-License-Identifier: Apache-2.0
"""What all services of the emulator have in common.

A service is a package next to this module: ``models`` has its state (a :class:`Service`, named in
:mod:`.core`), ``switches`` a described field for each behaviour that Adobe leaves open, ``routes`` its
endpoints. It sees an :class:`Environment` and, where it needs them, the gateway and IMS; never the emulator.
Handlers are ``async def``: they share one event loop, so what lies between two ``await`` is atomic. They end
early by raising :class:`.responses.ErrorResponse`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar, Protocol

from starlette.requests import Request

from .clock import Clock
from .redact import Redactor
from .responses import ErrorResponse
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
    #: The paths that belong to the service, whether or not anything is there.
    paths: ClassVar[re.Pattern[str]]
    #: Operations that Adobe documents and the emulator leaves out, by path template.
    left_out: ClassVar[Mapping[str, tuple[str, ...]]] = {}

    def __init__(self, environment: Environment) -> None:
        self.environment = environment

    def reset(self) -> None:
        """Forget everything but the switches."""

    def snapshot(self) -> dict[str, Any]:
        """Return the readable state, without secrets."""
        return {}

    def refuse(self, request: Request, status: int) -> ErrorResponse:
        """Return the error for a request that no handler takes, after the checks that all requests meet.

        :param status: 404: no such path; 405: no such method; 501: an operation of :attr:`left_out`.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Give back what is held outside of memory."""

    def expire_token(self, token: str) -> bool:
        """Let an access token end at once; return whether it is one of this service."""
        return False
