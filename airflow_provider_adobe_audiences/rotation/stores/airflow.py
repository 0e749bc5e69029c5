# SPDX-License-Identifier: Apache-2.0
"""Airflow's own stores: a Variable, or the password of a Connection. Airflow is imported when they are used,
not before.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote, urlsplit

from airflow_provider_adobe_audiences.adobe.client.urls import is_loopback
from airflow_provider_adobe_audiences.errors import AdobeConfigurationError, SecretStoreError
from airflow_provider_adobe_audiences.rotation.stores.base import SecretStore

_MASKED_NAMES = ("token", "secret", "password", "api_key", "authorization", "bearer")
_DATABASE = ("MetastoreBackend", "ExecutionAPISecretsBackend")


class AirflowVariableStore(SecretStore):
    """An Airflow Variable. Airflow encrypts it with the Fernet key, if there is one.

    At the log level DEBUG, Airflow 3 itself would write the token into the worker's log; the store then
    refuses to be written, unless the logger ``supervisor`` has a higher level (``[logging]
    namespace_levels``).

    :param variable: its key. Must contain ``token`` or another word by which Airflow masks values.
    :param key: when the value is a JSON object: the key of the token. Other keys are kept.
    :param description: written along with every value; without one, Airflow would delete the description that
        is there.
    """

    def __init__(
        self,
        variable: str,
        *,
        key: str | None = None,
        description: str = "Profile authentication token of Adobe Target; rotated by a DAG, do not edit.",
    ) -> None:
        self._check_texts({"key": key, "description": description or None}, variable=variable)
        if not any(word in variable.lower() for word in _MASKED_NAMES):
            raise AdobeConfigurationError(
                f"the Variable {variable!r} needs a name that contains 'token' or 'secret': only then does "
                "Airflow mask its value in the UI"
            )
        self.variable, self.key, self.description = variable, key, description

    def __str__(self) -> str:
        return f"Airflow Variable {self.variable!r}"

    def _read(self) -> str | None:
        from airflow.providers.common.compat.sdk import Variable
        from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_0_PLUS

        no_value: dict[str, Any] = {"default" if AIRFLOW_V_3_0_PLUS else "default_var": None}
        value = Variable.get(self.variable, **no_value)
        return None if value is None else str(value)

    def _write(self, secret: str) -> None:
        from airflow.providers.common.compat.sdk import Variable

        self._check_that_airflow_does_not_log_it()
        _refuse_hidden(self, "get_variable", self.variable, is_certain=False)
        Variable.set(self.variable, secret, description=self.description)

    def _check_that_airflow_does_not_log_it(self) -> None:
        """Raise when Airflow's supervisor would log what a task sets: at level DEBUG it does, and masks
        nothing of it.
        """
        from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_0_PLUS

        if not AIRFLOW_V_3_0_PLUS:
            return
        import structlog

        if structlog.get_logger(logger_name="supervisor").is_enabled_for(logging.DEBUG):
            raise AdobeConfigurationError(
                f"{self}: at the log level DEBUG Airflow writes every Variable that a task sets, with its "
                "value, into the worker's log",
                hint="Give the workers AIRFLOW__LOGGING__NAMESPACE_LEVELS='supervisor=INFO' "
                "(from Airflow 3.2), or a higher log level; or use another store.",
            )

    def _prove_writable(self) -> None:
        from airflow.providers.common.compat.sdk import Variable

        self._check_that_airflow_does_not_log_it()
        _refuse_hidden(self, "get_variable", self.variable)
        # Under another key: the value itself may be changed by somebody else at this very moment.
        probe = f"{self.variable}__write_test"
        Variable.set(probe, "writable", description="Left by an interrupted test; may be deleted.")
        Variable.delete(probe)


class AirflowConnectionStore(SecretStore):
    """The password of an Airflow Connection, written through Airflow's REST API (Airflow 3): tasks may only
    read connections.

    :param conn_id: the connection, which must exist in Airflow's database.
    :param key: when the password is a JSON object: the key of the token. Other keys are kept.
    :param api_conn_id: a connection of type ``http`` that leads to Airflow's API server: host, and login and
        password of a user who may edit connections (or no login, and a token as the password).
    :param timeout: of each request, in seconds.
    """

    loggers = ("urllib3", "requests")

    def __init__(
        self,
        conn_id: str,
        *,
        key: str | None = None,
        api_conn_id: str = "airflow_api",
        timeout: float = 30.0,
    ) -> None:
        from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_0_PLUS

        if not AIRFLOW_V_3_0_PLUS:
            raise AdobeConfigurationError(
                "AirflowConnectionStore needs Airflow 3",
                hint="On Airflow 2 use AirflowVariableStore, or an external secret store.",
            )
        self._check_texts({"key": key}, conn_id=conn_id, api_conn_id=api_conn_id)
        self.conn_id, self.key, self.api_conn_id, self.timeout = conn_id, key, api_conn_id, timeout

    def __str__(self) -> str:
        return f"password of Airflow Connection {self.conn_id!r}"

    def _read(self) -> str | None:
        return self._connection().password or None

    def _connection(self) -> Any:
        from airflow.providers.common.compat.sdk import BaseHook

        return BaseHook.get_connection(self.conn_id)

    def _write(self, secret: str) -> None:
        _refuse_hidden(self, "get_connection", self.conn_id, is_certain=False)
        self._patch(secret)

    def _prove_writable(self) -> None:
        _refuse_hidden(self, "get_connection", self.conn_id)
        # Airflow takes *** for: leave the password as it is.
        self._patch("***")

    def _patch(self, password: str) -> None:
        import requests

        with requests.Session() as api:
            base = self._log_in(api)
            body = {
                "connection_id": self.conn_id,
                "conn_type": self._connection().conn_type,
                "password": password,
            }
            url = f"{base}/api/v2/connections/{quote(self.conn_id, safe='')}"
            response = api.patch(
                url,
                params={"update_mask": "password"},
                json=body,
                timeout=self.timeout,
                allow_redirects=False,
            )
        if response.status_code != 200:
            hint = {
                401: f"Check login and password of the connection {self.api_conn_id!r}.",
                403: f"Allow the user of the connection {self.api_conn_id!r} to edit connections.",
                404: f"Create the connection {self.conn_id!r} in Airflow: one that lives in a secrets "
                "backend cannot be changed here.",
            }.get(response.status_code)
            raise SecretStoreError(
                f"{self}: Airflow's API answered {response.status_code} to the change",
                status=response.status_code,
                hint=hint,
            )

    def _log_in(self, api: Any) -> str:
        """Authenticate the session, and return the URL of the API server."""
        from airflow.providers.common.compat.sdk import BaseHook, mask_secret

        server = BaseHook.get_connection(self.api_conn_id)
        host = server.host or ""
        base = host if "://" in host else f"{server.schema or 'https'}://{host}"
        if server.port:
            base = f"{base.rstrip('/')}:{server.port}"
        parts = urlsplit(base)
        if not parts.hostname or (parts.scheme != "https" and not is_loopback(parts.hostname)):
            raise AdobeConfigurationError(
                f"connection {self.api_conn_id!r} must lead to https://…: the token must not travel in clear"
            )
        base = base.rstrip("/")
        api.trust_env = False  # no .netrc; a proxy has no business between two parts of Airflow
        token = server.password
        if server.login:
            credentials = {"username": server.login, "password": server.password}
            response = api.post(
                f"{base}/auth/token", json=credentials, timeout=self.timeout, allow_redirects=False
            )
            if response.status_code != 201:
                raise SecretStoreError(
                    f"{self}: Airflow's API answered {response.status_code} to the login",
                    status=response.status_code,
                    hint=f"Check login and password of the connection {self.api_conn_id!r}.",
                )
            token = response.json()["access_token"]
        if not token:
            raise AdobeConfigurationError(
                f"connection {self.api_conn_id!r} has neither a login nor a token as its password"
            )
        mask_secret(token)
        api.headers["Authorization"] = f"Bearer {token}"
        return base


def _refuse_hidden(store: SecretStore, method: str, key: str, *, is_certain: bool = True) -> None:
    """Raise when what would be written could never be read; if that shall be certain, also when a secrets
    backend fails. Airflow reads past one that fails.
    """
    if backend := _shadowing(method, key, is_certain):
        raise AdobeConfigurationError(
            f"{store} is hidden by {backend}, which takes precedence: what is written would never be read",
            hint=f"Remove {key!r} from there, or use the store that it is in.",
        )


def _shadowing(method: str, key: str, is_certain: bool) -> str | None:
    """Return the name of the secrets backend that hides Airflow's database for ``key``, if there is one."""
    for backend in _backends():
        name = type(backend).__name__
        if name in _DATABASE:
            continue
        try:
            found = getattr(backend, method)(key)
        except Exception:
            if is_certain:
                raise
            continue
        if found is not None:
            return (
                "an environment variable"
                if name == "EnvironmentVariablesBackend"
                else f"the secrets backend {name}"
            )
    return None


def _backends() -> Iterable[Any]:
    try:
        from airflow.sdk.execution_time.supervisor import ensure_secrets_backend_loaded

        return ensure_secrets_backend_loaded()
    except ImportError:  # Airflow 2
        from airflow.configuration import ensure_secrets_loaded

        return ensure_secrets_loaded()
