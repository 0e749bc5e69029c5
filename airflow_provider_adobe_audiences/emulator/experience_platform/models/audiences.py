# SPDX-License-Identifier: Apache-2.0
"""Audiences, as the audiences API (UPS) shows them."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

from airflow_provider_adobe_audiences.emulator.experience_platform.errors import ups_error
from airflow_provider_adobe_audiences.emulator.experience_platform.switches import ExperiencePlatformSwitches
from airflow_provider_adobe_audiences.emulator.gateway import Caller
from airflow_provider_adobe_audiences.emulator.service import Environment

#: Kept by the system; nobody can edit them.
SYSTEM_FIELDS = {
    "id",
    "audienceId",
    "namespace",
    "imsOrgId",
    "sandbox",
    "createEpoch",
    "creationTime",
    "updateEpoch",
    "updateTime",
    "_etag",
}


@dataclass
class Audience:
    """An audience in one sandbox."""

    caller: Caller
    document: dict[str, Any]
    #: Seconds since the epoch; before, reads do not show it.
    visible: float

    @property
    def id(self) -> str:
        """Its id."""
        return str(self.document["id"])


class Audiences:
    """All audiences of all organisations and sandboxes."""

    def __init__(self, environment: Environment, switches: ExperiencePlatformSwitches) -> None:
        self._environment, self._switches = environment, switches
        self.audiences: dict[str, Audience] = {}

    def reset(self) -> None:
        """Forget all audiences."""
        self.audiences.clear()

    def of(self, caller: Caller, *, hidden: bool = False) -> list[Audience]:
        """Return the audiences of a sandbox; ``hidden`` ones too: they exist, but reads do not show them
        yet.
        """
        now = self._environment.clock.now()
        return [
            audience
            for audience in self.audiences.values()
            if audience.caller.place == caller.place and (hidden or audience.visible <= now)
        ]

    def find(self, caller: Caller, number: str) -> Audience:
        """Return the audience with this id.

        :raises ErrorResponse: 404 when there is none in the caller's sandbox.
        """
        found = next((audience for audience in self.of(caller) if audience.id == number), None)
        if found is None:
            message = f"The audience entity {number} is not found. Use a valid entity and try again."
            raise ups_error(404, "UPAPI-113430-404", message)
        return found

    def duplicate(self, caller: Caller, namespace: str, audience_id: str) -> Audience | None:
        """Return the audience with this namespace and ``audienceId``."""
        for audience in self.of(caller, hidden=True):
            if (audience.document["namespace"], audience.document["audienceId"]) == (namespace, audience_id):
                return audience
        return None

    def add(self, caller: Caller, **fields: Any) -> Audience:
        """Register an external audience."""
        now = self._environment.clock.now()
        number = str(uuid.uuid4())
        document = {
            "id": number,
            "audienceId": number,
            "imsOrgId": caller.org_id,
            "sandbox": {
                "sandboxId": caller.sandbox_id,
                "sandboxName": caller.sandbox,
                "type": "production" if caller.sandbox == "prod" else "development",
                "default": caller.sandbox == "prod",
            },
            "isSystem": False,
            "type": self._switches.audiences_external_type,
            "lifecycleState": "published",
            "createdBy": caller.user,
            "createEpoch": int(now),
            "creationTime": int(now * 1000),
            "saveSegmentMembership": True,
        }
        document |= {name: value for name, value in fields.items() if value is not None}
        audience = Audience(caller, document, now + self._switches.audience_visible_seconds)
        self.touch(audience)
        self.audiences[number] = audience
        return audience

    def touch(self, audience: Audience) -> None:
        """Note that an audience was changed just now."""
        now = self._environment.clock.now()
        etag = f'"{uuid.uuid4()}"'
        audience.document |= {"updateEpoch": int(now), "updateTime": int(now * 1000), "_etag": etag}

    def snapshot(self) -> list[dict[str, Any]]:
        """Return all audiences."""
        return [audience.document for audience in self.audiences.values()]
