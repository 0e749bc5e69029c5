# SPDX-License-Identifier: Apache-2.0
"""Experience Platform as a whole."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from typing import Any

from starlette.requests import Request

from airflow_provider_adobe_audiences.emulator.gateway import MAX_URL_LENGTH, Caller, Gateway, missing_reason
from airflow_provider_adobe_audiences.emulator.responses import ErrorResponse
from airflow_provider_adobe_audiences.emulator.service import Environment, Service

from .errors import bad_request, platform_error
from .left_out import LEFT_OUT
from .models.audiences import Audiences
from .models.batches import Batches
from .models.datasets import Datasets
from .models.external_audiences import ExternalAudiences
from .models.records import as_json
from .switches import ExperiencePlatformSwitches

JSON_TYPE = re.compile(r"application/(?:[\w.+-]+\+)?json")
OCTETS = "application/octet-stream"
PAYLOAD_METHODS = {"POST", "PUT", "PATCH"}


class ExperiencePlatform(Service):
    """What stands in Experience Platform."""

    switches: ExperiencePlatformSwitches
    paths = re.compile("/(data|core)/")
    left_out = LEFT_OUT

    def __init__(self, environment: Environment, gateway: Gateway) -> None:
        super().__init__(environment)
        self._gateway = gateway
        self.switches = ExperiencePlatformSwitches()
        self.audiences = Audiences(environment, self.switches)
        self.external_audiences = ExternalAudiences(environment, self.switches, self.audiences)
        self.datasets = Datasets(environment, self.switches)
        self.batches = Batches(environment, self.switches, self.datasets)

    @property
    def url(self) -> str:
        """Where the emulator listens."""
        return self.environment.url

    def reset(self) -> None:
        """Forget everything but the switches."""
        self.audiences.reset()
        self.external_audiences.reset()
        self.datasets.reset()
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
        self._check_content_type(request)
        return caller

    def _check_content_type(self, request: Request) -> None:
        """Refuse JSON that is not declared as such. Files have a check of their own."""
        required = self.switches.content_type_required
        if request.method not in PAYLOAD_METHODS or required == "never":
            return
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind == OCTETS if "/files/" in request.url.path else JSON_TYPE.fullmatch(kind):
            return
        length = request.headers.get("content-length", "0")
        has_body = length != "0" or "transfer-encoding" in request.headers
        if required == "always" or (has_body and "/files/" not in request.url.path):
            raise bad_request("A valid content-type must be specified.")

    def refuse(self, request: Request, status: int) -> ErrorResponse:
        """Return the error for a request that no handler takes."""
        self._gateway.check(request, sandbox=True)
        titles = {404: "NotFoundError", 405: "MethodNotAllowedError", 501: "NotImplementedError"}
        return platform_error(status, titles[status], missing_reason(status))
