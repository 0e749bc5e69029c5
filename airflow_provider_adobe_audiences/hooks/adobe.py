# SPDX-License-Identifier: Apache-2.0
"""The connection, the authentication and its headers, for all three services."""

from __future__ import annotations

import asyncio
import importlib
import json
import re
import threading
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from airflow.providers.common.compat.sdk import BaseHook, Connection, mask_secret

from airflow_provider_adobe_audiences.adobe.client.call import Call
from airflow_provider_adobe_audiences.adobe.client.settings import AdobeSettings, sandbox_name
from airflow_provider_adobe_audiences.errors import AdobeConfigurationError, AdobeError
from airflow_provider_adobe_audiences.get_provider_info import (
    CONN_TYPE,
    CONNECTION_FIELDS,
    DEFAULT_CONN_ID,
    UI_FIELD_BEHAVIOUR,
)

if TYPE_CHECKING:
    from airflow_provider_adobe_audiences.adobe.client.async_session import AsyncAdobeSession
    from airflow_provider_adobe_audiences.adobe.client.poller import Subscription
    from airflow_provider_adobe_audiences.adobe.client.session import AdobeSession

T = TypeVar("T")


class AdobeHook(BaseHook):
    """Turns an Airflow connection of type ``adobe`` into sessions with Adobe's services.

    :param adobe_conn_id: the connection. Login is the client id, password the client secret of an OAuth
        Server-to-Server credential in Adobe's Developer Console; all else is in the fields of the form.
    :param sandbox: another Experience Platform sandbox than the connection's.
    """

    conn_name_attr = "adobe_conn_id"
    default_conn_name = DEFAULT_CONN_ID
    conn_type = CONN_TYPE
    hook_name = "Adobe"

    def __init__(
        self, adobe_conn_id: str = DEFAULT_CONN_ID, *, sandbox: str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.adobe_conn_id = adobe_conn_id
        self.sandbox = sandbox
        self._lock = threading.Lock()
        self._session: AdobeSession | None = None
        self._users = 0

    @cached_property
    def settings(self) -> AdobeSettings:
        """The checked fields of the connection.

        :raises AdobeConfigurationError: naming every field that is wrong.
        """
        connection = self.get_connection(self.adobe_conn_id)
        return _settings(connection, connection.extra_dejson, self.sandbox)

    def get_conn(self) -> AdobeSession:
        """Return a new session. Close it, or use :meth:`session`."""
        from airflow_provider_adobe_audiences.adobe.client.session import AdobeSession

        return AdobeSession(self.settings, on_token=mask)

    @contextmanager
    def session(self, **limits: Any) -> Iterator[AdobeSession]:
        """Give one session for several calls, from any number of threads.

        Within it, :meth:`send` and every method of a hook use the same one: a loop around them costs no
        further connection.

        :param limits: other values of the connection's limits for this session, such as ``max_attempts``.
        :returns: a context manager that closes the session.
        """
        from airflow_provider_adobe_audiences.adobe.client.session import AdobeSession

        if limits:
            with AdobeSession(self.settings.model_copy(update=limits), on_token=mask) as session:
                yield session
            return
        settings = self.settings  # before the lock: Airflow may let others run while it is asked
        with self._lock:
            if self._session is None:
                self._session = AdobeSession(settings, on_token=mask)
            session = self._session
            self._users += 1
        try:
            yield session
        finally:
            with self._lock:
                self._users -= 1
                if self._users == 0:
                    self._session = None
                    session.close()

    def send(self, call: Call[T]) -> T:
        """Send one call and return its result, in the :meth:`session` that is open, or in one of its own.

        :param call: what to send.
        :returns: what the call makes of the response.
        """
        with self.session() as session:
            return session.send(call)

    @asynccontextmanager
    async def async_session(self) -> AsyncIterator[AsyncAdobeSession]:
        """Give one session for the event loop of a trigger: one look-up of the connection, one HTTP
        client.

        :returns: an async context manager that closes the session.
        """
        from airflow_provider_adobe_audiences.adobe.client.async_session import AsyncAdobeSession

        await self._look_up()
        async with AsyncAdobeSession(self.settings, on_token=mask) as session:
            yield session

    @asynccontextmanager
    async def subscription(self) -> AsyncIterator[Subscription]:
        """Give a trigger its place at the poller that all triggers of this connection and sandbox share.

        :returns: an async context manager that gives the place back; the last one closes the poller.
        """
        from airflow_provider_adobe_audiences.adobe.client.poller import subscribed

        await self._look_up()
        async with subscribed(self.settings, on_token=mask) as subscription:
            yield subscription

    async def _look_up(self) -> None:
        if "settings" not in self.__dict__:
            self.__dict__["settings"] = await _looked_up(self.adobe_conn_id, self.sandbox)

    def test_connection(self) -> tuple[bool, str]:
        """Get an access token, then ask each service that the connection is set up for. Changes nothing at
        Adobe.

        :returns: whether everything works that is set up, and one message for a person.
        """
        from airflow_provider_adobe_audiences.adobe.check import check_connection

        try:
            return check_connection(self.settings, mask)
        except AdobeError as error:
            return False, str(error)

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """Return the form for Airflow 2.11 to 3.1; later versions read it from the provider's metadata."""
        from flask_appbuilder.fieldwidgets import BS3PasswordFieldWidget, BS3TextFieldWidget
        from flask_babel import lazy_gettext
        from wtforms import BooleanField, IntegerField, PasswordField, StringField
        from wtforms.validators import Optional, any_of

        def widget(field: Mapping[str, Any]) -> Any:
            schema = field["schema"]
            common: dict[str, Any] = {
                "description": field["description"],
                "default": schema.get("default"),
                "validators": [Optional()],
            }
            label = lazy_gettext(field["label"])
            if schema.get("format") == "password":
                return PasswordField(label, widget=BS3PasswordFieldWidget(), **common)
            if "boolean" in schema["type"]:
                return BooleanField(label, **common)
            if "integer" in schema["type"]:
                return IntegerField(label, widget=BS3TextFieldWidget(), **common)
            # Airflow 2 drops the whole hook for any other class of field, so choices and fractions are text
            # too.
            if "enum" in schema:
                common["validators"].append(any_of(schema["enum"]))
            if common["default"] is not None:
                common["default"] = str(common["default"])
            return StringField(label, widget=BS3TextFieldWidget(), **common)

        return {name: widget(field) for name, field in CONNECTION_FIELDS.items()}

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Return which of Airflow's own fields are shown and how they are called."""
        return {
            "hidden_fields": UI_FIELD_BEHAVIOUR["hidden-fields"],
            "relabeling": UI_FIELD_BEHAVIOUR["relabeling"],
            "placeholders": UI_FIELD_BEHAVIOUR["placeholders"],
        }


_look_ups: dict[tuple[asyncio.AbstractEventLoop, str, str | None], asyncio.Task[AdobeSettings]] = {}


async def _looked_up(conn_id: str, sandbox: str | None) -> AdobeSettings:
    """Return the settings of a connection; who asks while somebody else does shares the look-up, as thousands
    of triggers do after a restart.
    """
    loop = asyncio.get_running_loop()
    key = (loop, conn_id, sandbox)
    if key not in _look_ups:
        task = _look_ups[key] = loop.create_task(_look_up_anew(conn_id, sandbox))
        task.add_done_callback(lambda _: _look_ups.pop(key))
    return await asyncio.shield(_look_ups[key])


async def _look_up_anew(conn_id: str, sandbox: str | None) -> AdobeSettings:
    from airflow.providers.common.compat.connection import get_async_connection, get_async_extra_dejson

    connection = await get_async_connection(conn_id)
    return _settings(connection, await get_async_extra_dejson(connection), sandbox)


def _settings(connection: Connection, extra: Mapping[str, Any], sandbox: str | None) -> AdobeSettings:

    where = f"connection {connection.conn_id!r}"
    if connection.conn_type != CONN_TYPE:
        raise AdobeConfigurationError(
            f"{where} has the type {connection.conn_type!r}, not {CONN_TYPE!r}",
            hint=(
                "Choose the connection type 'Adobe', or pass the adobe_conn_id of a connection of that type."
            ),
        )
    if connection.host or connection.schema or connection.port:
        raise AdobeConfigurationError(
            f"{where} has a host, port or schema; hosts are set by the URL fields (ims_url, platform_url, …)"
        )
    text = connection.extra or ""
    if not extra and text.strip():
        # Airflow takes what is no JSON for nothing.
        wrong = ""
        try:
            json.loads(text)
        except ValueError as error:  # which holds the whole text, and must not be anybody's context
            wrong = (
                f"{getattr(error, 'msg', 'it cannot be read')} (line {getattr(error, 'lineno', 1)}, column "
                f"{getattr(error, 'colno', 1)})"
            )
        if wrong:
            raise AdobeConfigurationError(f"{where} has an extra that is no JSON: {wrong}")
    if not isinstance(extra, Mapping):
        raise AdobeConfigurationError(f"{where} has an extra that is no JSON object")
    # Forms of Airflow 2 may store a field under its long name.
    fields = {name.removeprefix(f"extra__{CONN_TYPE}__"): value for name, value in extra.items()}
    for name in ("client_id", "client_secret"):
        if name in fields:
            raise AdobeConfigurationError(
                f"{where} has {name!r} in extra; client id and client secret are its login and password"
            )
    if sandbox is not None:
        try:
            fields["sandbox"] = sandbox_name(sandbox)
        except ValueError as error:
            raise AdobeConfigurationError(f"argument 'sandbox' is {str(sandbox)[:120]!r}: {error}") from None
    settings = AdobeSettings.of(
        {**fields, "client_id": connection.login, "client_secret": connection.password}, where
    )
    for secret in settings.secrets():
        mask_all_forms(secret)
    return settings


def mask_all_forms(secret: str) -> None:
    """Let Airflow mask a short secret in the log, in each form in which it may be written.

    :param secret: in clear.
    """
    from airflow_provider_adobe_audiences.adobe.client.redaction import all_forms

    mask(all_forms(secret))


_masked: set[int] = set()


def mask(forms: Sequence[str]) -> None:
    """Let Airflow mask these texts in the log.

    :param forms: a secret in each form in which it may be written, see
        :func:`~airflow_provider_adobe_audiences.adobe.client.redaction.all_forms`.
    """
    secrets: list[Any] = list(forms)
    try:
        mask_secret(secrets)
    except RuntimeError:
        # Airflow 3.0 tells the supervisor first, which it cannot from within the event loop of a triggerer.
        # What is logged in there is masked in there.
        asyncio.get_running_loop()
        masker = importlib.import_module("airflow.sdk.execution_time.secrets_masker")
        masker._secrets_masker().add_mask(secrets)
    # Airflow compiles all secrets anew with each further one, and re keeps what was compiled: a triggerer of
    # many tenants would hold a gigabyte of that after some days.
    known = {hash(form) for form in forms}
    if not known <= _masked:
        _masked.update(known)
        re.purge()
