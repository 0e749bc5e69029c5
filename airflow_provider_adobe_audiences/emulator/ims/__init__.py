# SPDX-License-Identifier: Apache-2.0
"""Adobe IMS: client credentials in, access token out."""

from __future__ import annotations

from .models import CLIENT_ID, CLIENT_SECRET, ORG_ID, Credential, Ims, Token
from .routes import routes

__all__ = ["CLIENT_ID", "CLIENT_SECRET", "ORG_ID", "Credential", "Ims", "Token", "routes"]
