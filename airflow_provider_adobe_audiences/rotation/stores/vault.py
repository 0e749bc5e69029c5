# SPDX-License-Identifier: Apache-2.0
"""HashiCorp Vault (or OpenBao), KV version 2."""

from __future__ import annotations

from typing import Any

from airflow_provider_adobe_audiences.errors import SecretStoreConflict
from airflow_provider_adobe_audiences.rotation.stores.base import SecretStore, check_key


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

    loggers = ("hvac", "urllib3", "requests")

    def __init__(self, path: str, *, key: str = "value", vault_conn_id: str = "vault_default") -> None:
        self._check_texts({}, path=path, key=key, vault_conn_id=vault_conn_id)
        self.path, self.vault_conn_id = path, vault_conn_id
        self.key: str = key
        self._version: int | None = None
        self._secret: dict[str, Any] = {}

    def __str__(self) -> str:
        return f"key {self.key!r} of Vault secret {self.path!r}"

    def _hook(self) -> Any:
        from airflow.providers.hashicorp.hooks.vault import VaultHook

        return VaultHook(vault_conn_id=self.vault_conn_id, kv_engine_version=2)

    def _read(self) -> str | None:
        self._load(self._hook())
        found = self._secret.get(self.key)
        return found if isinstance(found, str) else None

    def _token(self) -> str | None:
        return self._read()

    def _check_replaceable(self) -> None:
        self._load(self._hook())
        check_key(self._secret.get(self.key), str(self))

    def _replace(self, secret: str) -> None:
        self._write(secret)

    def _load(self, hook: Any) -> None:
        from hvac.exceptions import InvalidPath

        # hvac's own client: the hook returns nothing for a deleted version, whose number compare-and-set
        # needs.
        client = hook.vault_client.client
        where = {"path": self.path, "mount_point": hook.vault_client.mount_point}
        try:
            found = client.secrets.kv.v2.read_secret_version(**where, raise_on_deleted_version=False)
            self._secret, self._version = (
                dict(found["data"]["data"] or {}),
                int(found["data"]["metadata"]["version"]),
            )
        except InvalidPath:
            self._secret, self._version = {}, 0

    def _write(self, secret: str) -> None:
        hook = self._hook()
        if self._version is None:
            self._load(hook)
        check_key(self._secret.get(self.key), str(self))
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
            response = hook.create_or_update_secret(self.path, content, cas=self._version)
        except InvalidRequest as error:
            if "check-and-set" not in str(error):
                raise
            self._version = None
            conflict = SecretStoreConflict(f"{self} was changed by somebody else meanwhile")
        else:
            body = response.json() if hasattr(response, "json") else response
            self._secret, self._version = content, int(body["data"]["version"])
            return
        raise conflict
