# SPDX-License-Identifier: Apache-2.0
"""AWS Secrets Manager."""

from __future__ import annotations

import uuid
from typing import Any

from airflow_provider_adobe_audiences.errors import SecretStoreConflict
from airflow_provider_adobe_audiences.rotation.stores.base import PLACEHOLDER, ClientStore, with_token

_TEST_STAGE = "ADOBE_WRITE_TEST"
_CURRENT = "AWSCURRENT"


class AwsSecretsManagerStore(ClientStore):
    """A secret whose ``SecretString`` is the token, or a JSON object with the token under ``key``. Writing
    needs ``secretsmanager:PutSecretValue`` (and ``CreateSecret`` the first time); with ``key`` also
    ``UpdateSecretVersionStage``, by which every write is a compare-and-set.

    :param secret_id: name or ARN; ``airflow/variables/<key>`` is what Airflow's secrets backend expects of a
        Variable.
    :param key: when the value is a JSON object: the key of the token. Other keys are kept.
    :param aws_conn_id: connection of type ``aws``; ``None`` for boto3's own search.
    :param region_name: when the connection does not name it.
    """

    requires = {  # noqa: RUF012  ClassVar in the base
        "airflow.providers.amazon.aws.hooks.secrets_manager": (
            "Install it with: pip install 'airflow-provider-adobe-audiences[amazon]'"
        )
    }
    # botocore logs requests and responses with their bodies.
    loggers = ("boto3", "botocore", "urllib3")

    def __init__(
        self,
        secret_id: str,
        *,
        key: str | None = None,
        aws_conn_id: str | None = "aws_default",
        region_name: str | None = None,
    ) -> None:
        optional = {"key": key, "aws_conn_id": aws_conn_id, "region_name": region_name}
        self._check_texts(optional, secret_id=secret_id)
        self.secret_id, self.key = secret_id, key
        self.aws_conn_id, self.region_name = aws_conn_id, region_name

    def __str__(self) -> str:
        key = f"key {self.key!r} of " if self.key is not None else ""
        return f"{key}AWS secret {self.secret_id!r}"

    def _new_client(self) -> Any:
        from airflow.providers.amazon.aws.hooks.secrets_manager import SecretsManagerHook

        return SecretsManagerHook(aws_conn_id=self.aws_conn_id, region_name=self.region_name).get_conn()

    def _read(self) -> str | None:
        return self._current()[0]

    def _current(self) -> tuple[str | None, str | None]:
        """Return the current value and the id of its version."""
        client = self._client()
        try:
            found = client.get_secret_value(SecretId=self.secret_id, VersionStage=_CURRENT)
        except client.exceptions.ResourceNotFoundException:
            return None, None
        return found.get("SecretString"), found["VersionId"]

    def _write(self, secret: str) -> None:
        client = self._client()
        try:
            client.put_secret_value(SecretId=self.secret_id, SecretString=secret)
        except client.exceptions.ResourceNotFoundException:
            client.create_secret(Name=self.secret_id, SecretString=secret)

    def _replace(self, secret: str) -> None:
        if self.key is None:
            super()._replace(secret)
            return
        value, version = self._current()
        content = with_token(value, secret, self.key, str(self))
        if version is None:
            self._write(content)
            return
        client = self._client()
        # A version that nobody sees becomes the current one, if that is still the one that was read.
        put = client.put_secret_value(
            SecretId=self.secret_id, SecretString=content, VersionStages=[f"ADOBE-{uuid.uuid4()}"]
        )
        try:
            client.update_secret_version_stage(
                SecretId=self.secret_id,
                VersionStage=_CURRENT,
                MoveToVersionId=put["VersionId"],
                RemoveFromVersionId=version,
            )
        except client.exceptions.InvalidParameterException:
            raise SecretStoreConflict(f"{self} was changed by somebody else meanwhile") from None

    def _prove_writable(self) -> None:
        client = self._client()
        try:
            # A version of its own label: readers go on to see the current one.
            put = client.put_secret_value(
                SecretId=self.secret_id, SecretString=PLACEHOLDER, VersionStages=[_TEST_STAGE]
            )
        except client.exceptions.ResourceNotFoundException:
            client.create_secret(Name=self.secret_id, SecretString=PLACEHOLDER)
            return
        if self.key is not None:
            client.update_secret_version_stage(
                SecretId=self.secret_id, VersionStage=_TEST_STAGE, RemoveFromVersionId=put["VersionId"]
            )
