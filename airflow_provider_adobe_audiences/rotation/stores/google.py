# SPDX-License-Identifier: Apache-2.0
"""Google Secret Manager."""

from __future__ import annotations

from typing import Any

from airflow_provider_adobe_audiences.errors import AdobeConfigurationError, SecretStoreError
from airflow_provider_adobe_audiences.rotation.stores.base import SecretStore, is_installed

_NEEDED = "secretmanager.versions.add"


class GoogleSecretManagerStore(SecretStore):
    """A secret whose latest version is the token. Writing needs ``secretmanager.versions.add`` (and
    ``secrets.create`` the first time).

    :param project_id: of the secret.
    :param secret_id: ``airflow-variables-<key>`` is what Airflow's secrets backend expects of a Variable.
    :param gcp_conn_id: connection of type ``google_cloud_platform``, which needs Google's Airflow provider;
        ``None`` for Application Default Credentials.
    """

    requires = {  # noqa: RUF012  ClassVar in the base
        "google.cloud.secretmanager_v1": (
            "Install it with: pip install 'airflow-provider-adobe-audiences[google]'"
        )
    }

    def __init__(self, project_id: str, secret_id: str, *, gcp_conn_id: str | None = None) -> None:
        if gcp_conn_id is not None and not is_installed("airflow.providers.google.common.hooks.base_google"):
            raise AdobeConfigurationError(
                "GoogleSecretManagerStore needs Google's Airflow provider for gcp_conn_id, which is not "
                "installed",
                hint=(
                    "Install it with: pip install apache-airflow-providers-google. Or leave gcp_conn_id out."
                ),
            )
        self.project_id, self.secret_id, self.gcp_conn_id = project_id, secret_id, gcp_conn_id
        self._kept: Any = None

    def __str__(self) -> str:
        return f"Google secret {self._name!r}"

    @property
    def _name(self) -> str:
        return f"projects/{self.project_id}/secrets/{self.secret_id}"

    def _client(self) -> Any:
        if self._kept is None:
            from google.cloud.secretmanager_v1 import SecretManagerServiceClient

            credentials = None
            if self.gcp_conn_id is not None:
                from airflow.providers.google.common.hooks.base_google import GoogleBaseHook

                credentials = GoogleBaseHook(gcp_conn_id=self.gcp_conn_id).get_credentials()
            self._kept = SecretManagerServiceClient(credentials=credentials)
        return self._kept

    def _read(self) -> str | None:
        from google.api_core.exceptions import NotFound

        try:
            answer = self._client().access_secret_version(name=f"{self._name}/versions/latest")
        except NotFound:
            return None
        return str(answer.payload.data.decode())

    def _write(self, secret: str) -> None:
        from google.api_core.exceptions import NotFound

        version = {"parent": self._name, "payload": {"data": secret.encode()}}
        try:
            self._client().add_secret_version(request=version)
        except NotFound:
            self._create()
            self._client().add_secret_version(request=version)

    def _create(self) -> None:
        parent = f"projects/{self.project_id}"
        self._client().create_secret(
            request={
                "parent": parent,
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
        answer = self._client().test_iam_permissions(
            request={"resource": self._name, "permissions": [_NEEDED]}
        )
        if _NEEDED not in answer.permissions:
            raise SecretStoreError(
                f"{self}: the credential lacks the permission {_NEEDED}",
                hint="Grant it the role roles/secretmanager.secretVersionAdder.",
            )

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_kept": None}
