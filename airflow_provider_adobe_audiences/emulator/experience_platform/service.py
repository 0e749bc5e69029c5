# SPDX-License-Identifier: Apache-2.0
"""Experience Platform as a whole."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

from starlette.requests import Request

from airflow_provider_adobe_audiences.emulator.gateway import MAX_URL_LENGTH, Caller, Gateway
from airflow_provider_adobe_audiences.emulator.service import Environment, Service

from .errors import platform_error
from .models.audiences import Audiences
from .models.batches import Batches
from .models.external_audiences import ExternalAudiences
from .models.records import as_json
from .switches import ExperiencePlatformSwitches


class ExperiencePlatform(Service):
    """What stands in Experience Platform."""

    switches: ExperiencePlatformSwitches

    def __init__(self, environment: Environment, gateway: Gateway) -> None:
        super().__init__(environment)
        self._gateway = gateway
        self.switches = ExperiencePlatformSwitches()
        self.audiences = Audiences(environment, self.switches)
        self.external_audiences = ExternalAudiences(environment, self.switches, self.audiences)
        self.batches = Batches(environment, self.switches)

    @property
    def url(self) -> str:
        """Where the emulator listens."""
        return self.environment.url

    def reset(self) -> None:
        """Forget everything but the switches."""
        self.audiences.reset()
        self.external_audiences.reset()
        self.batches.reset()

    def close(self) -> None:
        """Remove the files of all batches."""
        self.batches.close()

    def snapshot(self) -> dict[str, Any]:
        """Return what there is."""
        return {
            "audiences": self.audiences.snapshot(),
            "external_audiences": self.external_audiences.snapshot(),
            "batches": self.batches.snapshot(),
        }

    def rows(self, dataset_id: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield batch id and row of everything that successful batches have brought into a dataset."""
        return self.batches.rows(dataset_id)

    def digest(self, dataset_id: str) -> dict[str, Any]:
        """Return count and digest of a dataset's rows.

        The digest does not depend on their order (it is the sum of their SHA-256), and needs constant memory.
        """
        count, total = 0, 0
        for _, row in self.rows(dataset_id):
            count += 1
            total += int.from_bytes(hashlib.sha256(as_json(row).encode()).digest(), "big")
        return {"count": count, "digest": f"{total % (1 << 256):064x}"}

    def authenticate(self, request: Request) -> Caller:
        """Check a request as the gateway does.

        :returns: who is calling, and in which sandbox.
        :raises ErrorResponse: when the request is refused.
        """
        caller = self._gateway.check(request, sandbox=True)
        if len(str(request.url)) > MAX_URL_LENGTH:
            raise platform_error(414, "URITooLong", f"The URL has more than {MAX_URL_LENGTH} characters.")
        return caller
