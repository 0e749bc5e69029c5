# SPDX-License-Identifier: Apache-2.0
"""Adobe Experience Platform: audiences, external audiences, batch ingestion, Catalog, Data Access."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request

from airflow_provider_adobe_audiences.emulator.gateway import LONGEST_URL, Caller
from airflow_provider_adobe_audiences.emulator.service import Service

from . import audiences, batch_import, catalog, data_access, external_audiences, inspection
from .audiences import Audiences
from .batches import Batches
from .external_audiences import ExternalAudiences
from .problems import problem
from .switches import ExperiencePlatformSwitches

if TYPE_CHECKING:
    from airflow_provider_adobe_audiences.emulator.clock import Clock
    from airflow_provider_adobe_audiences.emulator.core import Emulator


class ExperiencePlatform(Service):
    """What stands in Experience Platform."""

    switches: ExperiencePlatformSwitches

    def __init__(self, emulator: Emulator) -> None:
        super().__init__(emulator)
        self.switches = ExperiencePlatformSwitches()
        self.audiences = Audiences(self)
        self.external_audiences = ExternalAudiences(self)
        self.batches = Batches(self)

    @property
    def clock(self) -> Clock:
        return self.emulator.clock

    @property
    def url(self) -> str:
        return self.emulator.url

    def reset(self) -> None:
        self.audiences.reset()
        self.external_audiences.reset()
        self.batches.reset()

    def close(self) -> None:
        self.batches.close()

    def snapshot(self) -> dict[str, Any]:
        return {
            "audiences": self.audiences.snapshot(),
            "external_audiences": self.external_audiences.snapshot(),
            "batches": self.batches.snapshot(),
        }

    def rows(self, dataset_id: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield batch id and row of everything that successful batches have brought into a dataset."""
        return self.batches.rows(dataset_id)

    def digest(self, dataset_id: str) -> dict[str, Any]:
        """Return count and order-free digest of a dataset's rows."""
        return inspection.digest(self.rows(dataset_id))

    def sandbox_id(self, caller: Caller) -> str:
        return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{caller.org_id}/{caller.sandbox}"))

    async def caller(self, request: Request) -> Caller:
        """Check a request as the gateway does, and return who is calling."""
        who: Caller = self.emulator.gateway.check(request, sandbox=True)
        if len(str(request.url)) > LONGEST_URL:
            raise problem(414, "URITooLong", f"The URL has more than {LONGEST_URL} characters.")
        return who


def router(emulator: Emulator) -> APIRouter:
    platform = emulator.platform
    routes = APIRouter()
    for module in (audiences, external_audiences, batch_import, catalog, data_access, inspection):
        routes.include_router(module.router(platform))
    return routes
