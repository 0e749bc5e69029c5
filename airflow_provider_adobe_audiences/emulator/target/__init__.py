# SPDX-License-Identifier: Apache-2.0
"""Adobe Target: the Admin API's token and settings, and the profile API on the edge."""

from __future__ import annotations

from .models import Target
from .routes import routes

__all__ = ["Target", "routes"]
