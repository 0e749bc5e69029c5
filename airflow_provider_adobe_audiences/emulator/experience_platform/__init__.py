# SPDX-License-Identifier: Apache-2.0
"""Adobe Experience Platform: audiences, external audiences, batch ingestion, Catalog, Data Access."""

from __future__ import annotations

from .routes import routes
from .service import ExperiencePlatform

__all__ = ["ExperiencePlatform", "routes"]
