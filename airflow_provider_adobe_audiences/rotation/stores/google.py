# SPDX-License-Identifier: Apache-2.0
"""Google Secret Manager."""

from __future__ import annotations

from typing import Any

from airflow_provider_adobe_audiences.errors import (
    AdobeConfigurationError,
    SecretStoreConflict,
    SecretStoreError,
)
from airflow_provider_adobe_audiences.rotation.stores.base import ClientStore, is_installed, with_token

_NEEDED = "secretmanager.versions.add"
_MAX_MERGES = 5


class GoogleSecretManagerStore(ClientStore):
    """A secret whose latest version is the token. Writing needs ``secretmanager.versions.add`` (and
    ``secrets.create`` the first time).

    :param project_id: of the secret.
    :param secret_id: ``airflow-variables-<key>`` is what Airflow's secrets backend expects of a Variable.
    :param key: when the value is a JSON object: the key of the token. Other keys are kept: a version that
        somebody adds at the same time is noticed, and the token put on top of it.
    :param gcp_conn_id: connection of type ``google_cloud_platform``, which needs Google's Airflow provider;
        ``None`` for Application Default Credentials.
    """

    requires = {  # noqa: RUF012  ClassVar in the base
        "google.cloud.secretmanager_v1": (
            "Install it with: pip install 'airflow-provider-adobe-audiences[google]'"
        )
    }

    # With a switch of its own, Google's client logs requests and responses with their content.
    loggers = ("google", "grpc")

    def __init__(
        self, project_id: str, secret_id: str, *, key: str | None = None, gcp_conn_id: str | None = None
    ) -> None:
        optional = {"key": key, "gcp_conn_id": gcp_conn_id}
        self._check_texts(optional, project_id=project_id, secret_id=secret_id)
        if gcp_conn_id is not None and not is_installed("airflow.providers.google.common.hooks.base_google"):
            raise AdobeConfigurationError(
                "GoogleSecretManagerStore needs Google's Airflow provider for gcp_conn_id, which is not "
                "installed",
                hint=(
                    "Install it with: pip install apache-airflow-providers-google. Or leave gcp_conn_id out."
                ),
            )
        self.project_id, self.secret_id, self.key = project_id, secret_id, key
        self.gcp_conn_id = gcp_conn_id

    def __str__(self) -> str:
        key = f"key {self.key!r} of " if self.key is not None else ""
        return f"{key}Google secret {self._name!r}"

    @property
    def _name(self) -> str:
        return f"projects/{self.project_id}/secrets/{self.secret_id}"

    def _new_client(self) -> Any:
        from google.cloud.secretmanager_v1 import SecretManagerServiceClient

        credentials = None
        if self.gcp_conn_id is not None:
            from airflow.providers.google.common.hooks.base_google import GoogleBaseHook

            credentials = GoogleBaseHook(gcp_conn_id=self.gcp_conn_id).get_credentials()
        return SecretManagerServiceClient(credentials=credentials)

    def _read(self) -> str | None:
        return self._version("latest")[0]

    def _version(self, number: int | str) -> tuple[str | None, int]:
        """Return the value of a version and its number; 0 when there is none."""
        from google.api_core.exceptions import NotFound

        try:
            found = self._client().access_secret_version(name=f"{self._name}/versions/{number}")
        except NotFound:
            return None, 0
        return str(found.payload.data.decode()), _number_of(found.name)

    def _write(self, secret: str) -> None:
        self._add(secret)

    def _add(self, value: str) -> int:
        """Add a version, and return its number."""
        from google.api_core.exceptions import NotFound

        version = {"parent": self._name, "payload": {"data": value.encode()}}
        try:
            added = self._client().add_secret_version(request=version)
        except NotFound:
            self._create()
            added = self._client().add_secret_version(request=version)
        return _number_of(added.name)

    def _replace(self, secret: str) -> None:
        if self.key is None:
            super()._replace(secret)
            return
        value, number = self._version("latest")
        for _ in range(_MAX_MERGES):
            added = self._add(with_token(value, secret, self.key, str(self)))
            if added <= number + 1 or number == 0:
                return
            # Somebody's version came in between and is hidden by ours: the token goes on top of theirs.
            value, _of_others = self._version(added - 1)
            number = added
        raise SecretStoreConflict(f"{self} is being changed by somebody else without end")

    def _create(self) -> None:
        self._client().create_secret(
            request={
                "parent": f"projects/{self.project_id}",
                "secret_id": self.secret_id,
                "secret": {"replication": {"automatic": {}}},
            }
        )

    def _prove_writable(self) -> None:
        from google.api_core.exceptions import NotFound

        try:
            self._client().get_secret(name=self._name)
        except NotFound:
            self._create()
        # Adding a version would change what readers see, so the permission itself is asked for.
        granted = self._client().test_iam_permissions(
            request={"resource": self._name, "permissions": [_NEEDED]}
        )
        if _NEEDED not in granted.permissions:
            raise SecretStoreError(
                f"{self}: the credential lacks the permission {_NEEDED}",
                hint="Grant it the role roles/secretmanager.secretVersionAdder.",
            )


def _number_of(name: str) -> int:
    number = name.rpartition("/")[2]
    return int(number) if number.isdigit() else 0
