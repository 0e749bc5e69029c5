# SPDX-License-Identifier: Apache-2.0
"""Operations of Experience Platform that the emulator leaves out."""

from __future__ import annotations

READ = ("GET",)
CREATE = ("POST",)
MANY = ("GET", "POST")
ALL = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")

_CATALOG = "/data/foundation/catalog"
_UPS = "/data/core/ups"

LEFT_OUT: dict[str, tuple[str, ...]] = {
    f"{_CATALOG}/": MANY,
    f"{_CATALOG}/batches": CREATE,
    f"{_CATALOG}/batches/uniques/{{field}}": READ,
    f"{_CATALOG}/batches/{{batch_id}}": ("PUT", "POST"),
    f"{_CATALOG}/dataSets/{{dataset_id}}/credentials": READ,
    f"{_CATALOG}/tags/{{namespace}}": READ,
    f"{_UPS}/audiences/bulk-patch-metric": CREATE,
    f"{_UPS}/config/schedules": MANY,
    f"{_UPS}/config/schedules/{{schedule_id}}": ("GET", "PATCH", "DELETE"),
    f"{_UPS}/estimate/{{estimate_id}}": READ,
    f"{_UPS}/export/jobs": MANY,
    f"{_UPS}/export/jobs/{{job_id}}": ("GET", "DELETE"),
    f"{_UPS}/preview": CREATE,
    f"{_UPS}/preview/{{preview_id}}": ("GET", "DELETE"),
    f"{_UPS}/search/{{kind}}": READ,
    f"{_UPS}/segment/conversion": CREATE,
    f"{_UPS}/segment/definitions": MANY,
    f"{_UPS}/segment/definitions/bulk-get": CREATE,
    f"{_UPS}/segment/definitions/{{segment_id}}": ("GET", "PATCH", "DELETE"),
    f"{_UPS}/segment/jobs": MANY,
    f"{_UPS}/segment/jobs/bulk-get": CREATE,
    f"{_UPS}/segment/jobs/{{job_id}}": ("GET", "DELETE"),
    # Whole APIs.
    "/data/core/activation/{rest:any}": ALL,
    "/data/core/hygiene/{rest:any}": ALL,
    "/data/foundation/flowservice/{rest:any}": ALL,
    "/data/foundation/schemaregistry/{rest:any}": ALL,
    "/data/foundation/sandbox-management/{rest:any}": ALL,
    "/data/infrastructure/observability/{rest:any}": ALL,
}
