# SPDX-License-Identifier: Apache-2.0
"""HashiCorp Vault (or OpenBao), KV version 2."""

from __future__ import annotations

from typing import Any

from airflow_provider_adobe_audiences.errors import SecretStoreConflict
from airflow_provider_adobe_audiences.rotation.stores.base import SecretStore


class VaultStore(SecretStore):
    """One key of a secret in a KV version 2 engine. Every write is a compare-and-set.

    :param path: of the secret, below the mount point that the connection names as its schema.
    :param key: in the secret; ``value`` is what Airflow's secrets backend expects of a Variable. Other keys
        are kept.
    :param vault_conn_id: connection of type ``vault``.
    """

    requires = {  # noqa: RUF012  ClassVar in the base
        "airflow.providers.hashicorp.hooks.vault": (
            "Install it with: pip install 'airflow-provider-adobe-audiences[vault]'"
        )
    }

    def __init__(self, path: str, *, key: str = "value", vault_conn_id: str = "vault_default") -> None:
        self.path, self.key, self.vault_conn_id = path, key, vault_conn_id
        self._version: int | None = None
        self._secret: dict[str, Any] = {}

    def __str__(self) -> str:
        return f"key {self.key!r} of Vault secret {self.path!r}"

    def _hook(self) -> Any:
        from airflow.providers.hashicorp.hooks.vault import VaultHook

        return VaultHook(vault_conn_id=self.vault_conn_id, kv_engine_version=2)

    def _read(self) -> str | None:
        self._load(self._hook())
        return self._secret.get(self.key)

    def _load(self, hook: Any) -> None:
        from hvac.exceptions import InvalidPath

        # hvac's own client: the hook returns nothing for a deleted version, whose number compare-and-set
        # needs.
        client = hook.vault_client.client
        where = {"path": self.path, "mount_point": hook.vault_client.mount_point}
        try:
            answer = client.secrets.kv.v2.read_secret_version(**where, raise_on_deleted_version=False)
            self._secret, self._version = (
                dict(answer["data"]["data"] or {}),
                int(answer["data"]["metadata"]["version"]),
            )
        except InvalidPath:
            self._secret, self._version = {}, 0

    def _write(self, secret: str) -> None:
        hook = self._hook()
        if self._version is None:
            self._load(hook)
        self._put(hook, self._secret | {self.key: secret})

    def _prove_writable(self) -> None:
        # The very same content: with compare-and-set nobody's change can be undone by it.
        hook = self._hook()
        for last in (False, False, True):
            self._load(hook)
            try:
                self._put(hook, self._secret or {self.key: ""})
            except SecretStoreConflict:
                if last:
                    raise
            else:
                return

    def _put(self, hook: Any, content: dict[str, Any]) -> None:
        from hvac.exceptions import InvalidRequest

        try:
            answer = hook.create_or_update_secret(self.path, content, cas=self._version)
        except InvalidRequest as error:
            if "check-and-set" not in str(error):
                raise
            self._version = None
            conflict = SecretStoreConflict(f"{self} was changed by somebody else meanwhile")
        else:
            body = answer.json() if hasattr(answer, "json") else answer
            self._secret, self._version = content, int(body["data"]["version"])
            return
        raise conflict
