# SPDX-License-Identifier: Apache-2.0
"""Azure Key Vault."""

from __future__ import annotations

import re
from typing import Any

from airflow_provider_adobe_audiences.errors import AdobeConfigurationError
from airflow_provider_adobe_audiences.rotation.stores.base import PLACEHOLDER, ClientStore

_INSTALL = "Install it with: pip install 'airflow-provider-adobe-audiences[azure]'"


class AzureKeyVaultStore(ClientStore):
    """A secret of a key vault.

    Azure knows no compare-and-set: with ``key``, a change of another key between reading and writing, which
    follow each other at once, is lost. Writing needs the access policies *Get* and *Set*, or the role *Key
    Vault Secrets Officer*.

    :param vault_url: such as ``https://my-vault.vault.azure.net``.
    :param secret_name: letters, digits and hyphens; ``airflow-variables-<key>`` is what Airflow's secrets
        backend expects of a Variable.
    :param key: when the value is a JSON object: the key of the token. Other keys are kept.
    """

    requires = {"azure.keyvault.secrets": _INSTALL, "azure.identity": _INSTALL}  # noqa: RUF012  ClassVar in the base

    loggers = ("azure", "msal", "urllib3", "requests")

    def __init__(self, vault_url: str, secret_name: str, *, key: str | None = None) -> None:
        self._check_texts({"key": key}, vault_url=vault_url, secret_name=secret_name)
        if not vault_url.startswith("https://"):
            raise AdobeConfigurationError(
                f"AzureKeyVaultStore: argument 'vault_url' is {vault_url!r}: must begin with https://"
            )
        if not re.fullmatch(r"[0-9A-Za-z-]{1,127}", secret_name):
            raise AdobeConfigurationError(
                f"AzureKeyVaultStore: argument 'secret_name' is {secret_name!r}: should be 1 to 127 letters, "
                "digits and hyphens"
            )
        self.vault_url, self.secret_name, self.key = vault_url, secret_name, key

    def __str__(self) -> str:
        key = f"key {self.key!r} of " if self.key is not None else ""
        return f"{key}secret {self.secret_name!r} of {self.vault_url}"

    def _new_client(self) -> Any:
        from azure.identity import DefaultAzureCredential
        from azure.keyvault.secrets import SecretClient

        return SecretClient(vault_url=self.vault_url, credential=DefaultAzureCredential())

    def _read(self) -> str | None:
        from azure.core.exceptions import ResourceNotFoundError

        try:
            value: str | None = self._client().get_secret(self.secret_name).value
        except ResourceNotFoundError:
            return None
        return value

    def _write(self, secret: str) -> None:
        self._client().set_secret(self.secret_name, secret)

    def _prove_writable(self) -> None:
        from azure.core.exceptions import ResourceNotFoundError

        client = self._client()
        try:
            current = client.get_secret(self.secret_name).properties
        except ResourceNotFoundError:
            client.set_secret(self.secret_name, PLACEHOLDER)
        else:
            # Tags as they are: it needs the same permission as a new value, and changes nothing.
            client.update_secret_properties(
                self.secret_name, version=current.version, tags=current.tags or {}
            )
