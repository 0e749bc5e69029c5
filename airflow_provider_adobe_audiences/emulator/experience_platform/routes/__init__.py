# SPDX-License-Identifier: Apache-2.0
"""The endpoints of Experience Platform, one module per API."""

from __future__ import annotations

from fastapi import APIRouter

from . import ais, audiences, catalog, control, data_access, datasets, external_audiences, files, ingestion

routes = APIRouter()
for module in (ais, audiences, external_audiences, ingestion, files, catalog, datasets, data_access, control):
    routes.include_router(module.routes)
