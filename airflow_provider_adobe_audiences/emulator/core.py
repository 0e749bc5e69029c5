# SPDX-License-Identifier: Apache-2.0
"""The emulator: all services, their switches, and what one needs to watch and to disturb them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from pydantic import Field

from .audience_manager import AudienceManager
from .clock import Clock
from .experience_platform import ExperiencePlatform
from .faults import Faults, Holds
from .gateway import Gateway
from .ims import Ims
from .journal import Journal
from .redact import Redactor
from .service import Service
from .switches import ServiceSwitches, Switchboard
from .target import Target


class GeneralSwitches(ServiceSwitches):
    """Switches of the emulator as a whole."""

    journal_bodies: int = Field(
        2048,
        ge=0,
        description=(
            "so many bytes of each request and response body are kept in the journal (file uploads: none)"
        ),
    )
    request_id: bool = Field(
        True,
        description=(
            "responses carry `x-request-id`, the caller's if it sent one (documented for a neighbouring API "
            "only)"
        ),
    )


class Emulator:
    """Adobe on localhost.

    :param switches: values of switches to start with.
    """

    def __init__(self, **switches: Any) -> None:
        #: Where it listens; set by the server.
        self.url = ""
        #: How to restart the server; set by the server.
        self.on_restart: Callable[[float], Awaitable[None]] | None = None
        self.restarting: object = None
        self.clock = Clock()
        self.redactor = Redactor()
        self.journal = Journal()
        self.faults = Faults()
        self.holds = Holds()
        self.general = GeneralSwitches()
        self.ims = Ims(self)
        self.gateway = Gateway(self, self.ims)
        self.platform = ExperiencePlatform(self, self.gateway)
        self.audience_manager = AudienceManager(self, self.gateway, self.ims)
        self.target = Target(self, self.gateway)
        #: By the names of their packages.
        self.services: dict[str, Service] = {
            "ims": self.ims,
            "gateway": self.gateway,
            "experience_platform": self.platform,
            "audience_manager": self.audience_manager,
            "target": self.target,
        }
        self.switches = Switchboard(
            {"general": self.general} | {name: s.switches for name, s in self.services.items()}, switches
        )
        self.reset()

    def reset(self) -> None:
        """Go back to the beginning: state, switches, journal, faults, clock; held requests are dropped."""
        self.holds.release("drop")
        self.faults.clear()
        self.redactor.clear()
        self.clock.offset = 0.0
        self.switches.reset()
        for service in self.services.values():
            service.reset()
        self.journal.clear()

    def snapshot(self) -> dict[str, Any]:
        """Return the readable state of every service."""
        return {name: service.snapshot() for name, service in self.services.items()}

    def left_out(self) -> dict[str, tuple[str, ...]]:
        """Return the operations that the services leave out, by path template."""
        services = self.services.values()
        return {template: methods for one in services for template, methods in one.left_out.items()}

    def expire_token(self, token: str) -> bool:
        """Let an access token, of whichever service, end at once."""
        return any(service.expire_token(token) for service in self.services.values())

    def close(self) -> None:
        """Give back what the services hold outside of memory."""
        for service in self.services.values():
            service.close()
