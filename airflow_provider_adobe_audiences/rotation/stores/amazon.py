# SPDX-License-Identifier: Apache-2.0
"""AWS Secrets Manager."""

from __future__ import annotations

from typing import Any

from airflow_provider_adobe_audiences.rotation.stores.base import PLACEHOLDER, SecretStore

_TEST_STAGE = "ADOBE_WRITE_TEST"


class AwsSecretsManagerStore(SecretStore):
    """A secret whose ``SecretString`` is the token. Writing needs ``secretsmanager:PutSecretValue`` (and
    ``CreateSecret`` the first time).

    :param secret_id: name or ARN; ``airflow/variables/<key>`` is what Airflow's secrets backend expects of a
        Variable.
    :param aws_conn_id: connection of type ``aws``; ``None`` for boto3's own search.
    :param region_name: when the connection does not name it.
    """

    requires = {  # noqa: RUF012  ClassVar in the base
        "airflow.providers.amazon.aws.hooks.secrets_manager": (
            "Install it with: pip install 'airflow-provider-adobe-audiences[amazon]'"
        )
    }

    def __init__(
        self, secret_id: str, *, aws_conn_id: str | None = "aws_default", region_name: str | None = None
    ) -> None:
        self.secret_id, self.aws_conn_id, self.region_name = secret_id, aws_conn_id, region_name
        self._kept: Any = None

    def __str__(self) -> str:
        return f"AWS secret {self.secret_id!r}"

    def _client(self) -> Any:
        if self._kept is None:
            from airflow.providers.amazon.aws.hooks.secrets_manager import SecretsManagerHook

            self._kept = SecretsManagerHook(
                aws_conn_id=self.aws_conn_id, region_name=self.region_name
            ).get_conn()
        return self._kept

    def _read(self) -> str | None:
        client = self._client()
        try:
            answer = client.get_secret_value(SecretId=self.secret_id)
        except client.exceptions.ResourceNotFoundException:
            return None
        value: str | None = answer.get("SecretString")
        return value

    def _write(self, secret: str) -> None:
        client = self._client()
        try:
            client.put_secret_value(SecretId=self.secret_id, SecretString=secret)
        except client.exceptions.ResourceNotFoundException:
            client.create_secret(Name=self.secret_id, SecretString=secret)

    def _prove_writable(self) -> None:
        client = self._client()
        try:
            # A version of its own label: readers go on to see the current one.
            client.put_secret_value(
                SecretId=self.secret_id, SecretString=PLACEHOLDER, VersionStages=[_TEST_STAGE]
            )
        except client.exceptions.ResourceNotFoundException:
            client.create_secret(Name=self.secret_id, SecretString=PLACEHOLDER)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_kept": None}
