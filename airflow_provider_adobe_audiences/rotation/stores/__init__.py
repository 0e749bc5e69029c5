# SPDX-License-Identifier: Apache-2.0
"""Where the profile token is kept. Each store says at parse time what is missing to use it."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from airflow_provider_adobe_audiences.errors import SecretStoreConflict, SecretStoreError
from airflow_provider_adobe_audiences.rotation.stores.base import SecretStore, store_of

if TYPE_CHECKING:
    from airflow_provider_adobe_audiences.rotation.stores.airflow import (
        AirflowConnectionStore,
        AirflowVariableStore,
    )
    from airflow_provider_adobe_audiences.rotation.stores.amazon import AwsSecretsManagerStore
    from airflow_provider_adobe_audiences.rotation.stores.azure import AzureKeyVaultStore
    from airflow_provider_adobe_audiences.rotation.stores.function import CallableStore
    from airflow_provider_adobe_audiences.rotation.stores.google import GoogleSecretManagerStore
    from airflow_provider_adobe_audiences.rotation.stores.vault import VaultStore

__all__ = [
    "AirflowConnectionStore",
    "AirflowVariableStore",
    "AwsSecretsManagerStore",
    "AzureKeyVaultStore",
    "CallableStore",
    "GoogleSecretManagerStore",
    "SecretStore",
    "SecretStoreConflict",
    "SecretStoreError",
    "VaultStore",
    "store_of",
]

# A Dag pays for the store that it uses.
_MODULES = {
    "AirflowConnectionStore": "airflow",
    "AirflowVariableStore": "airflow",
    "AwsSecretsManagerStore": "amazon",
    "AzureKeyVaultStore": "azure",
    "CallableStore": "function",
    "GoogleSecretManagerStore": "google",
    "VaultStore": "vault",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
