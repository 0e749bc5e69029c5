# SPDX-License-Identifier: Apache-2.0
"""What Airflow learns about this package. Every ``import airflow`` loads this file: standard library only."""

from __future__ import annotations

from typing import Any

_PACKAGE = "airflow_provider_adobe_audiences"
CONN_TYPE = "adobe"
DEFAULT_CONN_ID = "adobe_default"

_DOCS = "https://developer.adobe.com"


def _text(label: str, description: str, default: str | None = None, **schema: Any) -> dict[str, Any]:
    return {
        "label": label,
        "description": description,
        "schema": {"type": ["string", "null"], "default": default, **schema},
    }


# The one list of connection fields. `hooks/adobe.py` generates the form of Airflow 2.11 to 3.1 from it, and a
# test compares it with `adobe/client/settings.py`.
CONNECTION_FIELDS: dict[str, dict[str, Any]] = {
    "org_id": _text("IMS organisation id", "24 hexadecimal digits followed by @AdobeOrg"),
    "sandbox": _text("Sandbox", "Experience Platform sandbox name, in lower case", "prod"),
    "deployment": _text(
        "Airflow deployment",
        "A name of this Airflow's own, kept for good; only when another Airflow with Dags of the same ids "
        "ingests into the same sandbox",
    ),
    "scopes": _text(
        "Scopes",
        "Comma separated, as the Developer Console shows them for this credential; empty for Experience "
        "Platform's",
    ),
    "authentication": _text(
        "Authentication",
        "OAuth Server-to-Server; or a ready-made access token; or Audience Manager's legacy password grant",
        "oauth_server_to_server",
        enum=["oauth_server_to_server", "access_token", "audience_manager_password"],
    ),
    "access_token": _text("Access token", "Only with authentication = access_token", format="password"),
    "username": _text("Audience Manager user name", "Only with authentication = audience_manager_password"),
    "user_password": _text(
        "Audience Manager password", "Only with authentication = audience_manager_password", format="password"
    ),
    "ims_url": _text("IMS URL", "Where access tokens are issued", "https://ims-na1.adobelogin.com"),
    "platform_url": _text("Experience Platform URL", "Gateway of your region", "https://platform.adobe.io"),
    "ais_base_path": _text(
        "Audience metadata base path",
        "Older pages of Adobe print /core/ais",
        "/data/core/ais",
        enum=["/data/core/ais", "/core/ais"],
    ),
    "audience_manager_url": _text(
        "Audience Manager URL",
        "https://api.demdex.com with the legacy password grant",
        "https://aam.adobe.io",
    ),
    "audience_manager_prefix": _text(
        "Audience Manager prefix",
        "Adobe's pages print both; Test connection tells which one answers",
        "/api/v1",
        enum=["/api/v1", "/v1"],
    ),
    "target_url": _text(
        "Target Admin URL", "Where settings and profile tokens are managed", "https://mc.adobe.io"
    ),
    "target_tenant": _text("Target tenant", "Your company's name in the address of Adobe Experience Cloud"),
    "target_client_code": _text("Target client code", "Administration > Implementation in Target"),
    "target_edge_url": _text("Target edge URL", "Empty for https://<client code>.tt.omtrdc.net"),
    "connect_timeout": {
        "label": "Connect timeout (seconds)",
        "description": "For each attempt",
        "schema": {"type": ["number", "null"], "default": 10, "exclusiveMinimum": 0},
    },
    "read_timeout": {
        "label": "Read timeout (seconds)",
        "description": "Longest silence of the other side that is tolerated in an attempt",
        "schema": {"type": ["number", "null"], "default": 60, "exclusiveMinimum": 0},
    },
    "total_timeout": {
        "label": "Total deadline (seconds)",
        "description": "For one call with all its retries; sending a large body is not cut short",
        "schema": {"type": ["number", "null"], "default": 300, "exclusiveMinimum": 0},
    },
    "max_attempts": {
        "label": "Attempts",
        "description": "How often a call that may be repeated is tried before the task fails",
        "schema": {"type": ["integer", "null"], "default": 6, "minimum": 1},
    },
    "requests_per_minute": {
        "label": "Requests per minute",
        "description": "Limit of each process, which is one running task, or the triggerer; empty for none",
        "schema": {"type": ["integer", "null"], "minimum": 1},
    },
    "ca_bundle": _text("CA bundle", "File with the certificates to trust instead of the system's"),
    "verify_tls": {
        "label": "Verify TLS certificates",
        "description": "Switching it off is only allowed for loopback addresses",
        "schema": {"type": ["boolean", "null"], "default": True},
    },
    "session_cache": {
        "label": "Share access tokens",
        "description": (
            "Keep access tokens, encrypted, in a private folder so that the tasks of a worker share them"
        ),
        "schema": {"type": ["boolean", "null"], "default": True},
    },
}

UI_FIELD_BEHAVIOUR: dict[str, Any] = {
    "hidden-fields": ["host", "port", "schema", "extra"],
    "relabeling": {"login": "Client ID", "password": "Client secret"},
    "placeholders": {
        "login": "API key of the credential in Adobe's Developer Console",
        "password": "Client secret of the same credential",
        "org_id": "0123456789ABCDEF01234567@AdobeOrg",
        "sandbox": "prod",
    },
}

_SERVICES = {
    "Adobe Experience Platform": "experience_platform",
    "Adobe Audience Manager": "audience_manager",
    "Adobe Target": "target",
}


def _modules(layer: str, *services: str) -> list[dict[str, Any]]:
    return [
        {"integration-name": name, "python-modules": [f"{_PACKAGE}.{layer}.{module}"]}
        for name, module in _SERVICES.items()
        if not services or module in services
    ]


def get_provider_info() -> dict[str, Any]:
    """Return the provider's metadata, in the shape of Airflow's ``provider_info.schema.json``."""
    return {
        "package-name": "airflow-provider-adobe-audiences",
        "name": "Adobe Audiences",
        "description": "Audiences in Adobe Experience Platform, user groups in "
        "Adobe Audience Manager and profile "
        "authentication tokens in Adobe Target.",
        "integrations": [
            {"integration-name": name, "external-doc-url": _DOCS, "tags": ["service"]} for name in _SERVICES
        ],
        "operators": _modules("operators"),
        "sensors": _modules("sensors", "experience_platform", "target"),
        "hooks": _modules("hooks"),
        "triggers": _modules("triggers", "experience_platform", "target"),
        "connection-types": [
            {
                "connection-type": CONN_TYPE,
                "hook-class-name": f"{_PACKAGE}.hooks.adobe.AdobeHook",
                "hook-name": "Adobe",
                "conn-fields": CONNECTION_FIELDS,
                "ui-field-behaviour": UI_FIELD_BEHAVIOUR,
            }
        ],
    }
