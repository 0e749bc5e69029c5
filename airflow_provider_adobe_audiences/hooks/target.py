# SPDX-License-Identifier: Apache-2.0
"""Adobe Target from a task: one method for each thing to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from pydantic import SecretStr

from airflow_provider_adobe_audiences.adobe import target
from airflow_provider_adobe_audiences.adobe.client.call import Call, Content
from airflow_provider_adobe_audiences.adobe.client.problems import TOKEN_REFUSED
from airflow_provider_adobe_audiences.adobe.target import (
    ProfileBatch,
    ProfileBatchStatus,
    ProfileIdKind,
    ProfileToken,
    TokenScope,
)
from airflow_provider_adobe_audiences.errors import AdobeAuthenticationError, AdobeError
from airflow_provider_adobe_audiences.get_provider_info import DEFAULT_CONN_ID
from airflow_provider_adobe_audiences.hooks.adobe import AdobeHook, mask_all_forms

if TYPE_CHECKING:
    from airflow_provider_adobe_audiences.adobe.client.async_session import AsyncAdobeSession
    from airflow_provider_adobe_audiences.adobe.client.session import AdobeSession
    from airflow_provider_adobe_audiences.rotation.stores.base import SecretStore

T = TypeVar("T")


class AdobeTargetHook(AdobeHook):
    """Profile token, settings and profiles of the tenant that the connection names.

    :param adobe_conn_id: connection of type ``adobe``, with Target tenant and Target client code.
    :param store: where the profile token is; needed for the profile API while Target requires one. Read at
        each call.
    """

    hook_name = "Adobe Target"

    def __init__(
        self, adobe_conn_id: str = DEFAULT_CONN_ID, store: SecretStore | None = None, **kwargs: Any
    ) -> None:
        super().__init__(adobe_conn_id, **kwargs)
        self.store = store

    # -- Admin API

    def get_profile_token(self, scope: TokenScope = "profile_api") -> ProfileToken | None:
        """Return the token that exists, which Adobe gives in clear; it is masked in logs.

        :param scope: what the token opens.
        :returns: the token, ``None`` when there is none.
        :raises AdobePermissionError: when the credential may not read it.
        """
        token = self._admin(target.get_profile_token(self.settings.tenant(), scope))
        if token is not None:
            mask_all_forms(token.value)
        return token

    def create_profile_token(self, scope: TokenScope = "profile_api") -> ProfileToken:
        """Create a token. **The previous one stops working at once**; use ``AdobeRotateProfileTokenOperator``
        if you can.

        :param scope: what the token opens.
        :returns: the token.
        :raises AdobeUnknownOutcomeError: when it is not known whether it was created: read it and compare.
        """
        token = self._admin(target.create_profile_token(self.settings.tenant(), scope))
        mask_all_forms(token.value)
        return token

    def get_settings(self) -> dict[str, Any]:
        """Return the settings of the tenant, by name.

        :raises AdobePermissionError: when the credential may not read them.
        """
        return self._admin(target.get_settings(self.settings.tenant()))

    def change_settings(self, changes: Mapping[str, Any]) -> dict[str, Any]:
        """Change these settings and no other.

        Where Adobe knows no PATCH yet (it was added in 2026), all settings are read and replaced; nobody else
        should change any then.

        :param changes: the settings to change, by name.
        :returns: all settings, read back.
        :raises AdobePermissionError: when the credential may not change them.
        """
        tenant = self.settings.tenant()
        try:
            self._admin(target.patch_settings(tenant, changes))
        except AdobeError as error:
            if error.status not in (404, 405):
                raise
            self.log.info("This tenant does not take PATCH (%s); replacing all settings.", error.status)
            self._admin(target.replace_settings(tenant, {**self.get_settings(), **changes}))
        return self.get_settings()

    def _admin(self, call: Call[T]) -> T:
        return target.explained(self.send, call)

    # -- profile API

    def submit_profile_batch(
        self, session: AdobeSession, content: Content, version: Literal[1, 2] = 2
    ) -> ProfileBatch:
        """Submit one file of profiles.

        :param session: sends the call.
        :param content: the file; begins with ``batch=``.
        :param version: of the API; 2 creates profiles that are unknown.
        :returns: the batch that Adobe accepted.
        :raises AdobeUnknownOutcomeError: when it is not known whether Adobe took it.
        """
        code = self.settings.client_code()
        return self.send_with_token(session, target.submit_profile_batch(code, content, version=version))

    def get_profile_batch_status(self, session: AdobeSession, status_url: str) -> ProfileBatchStatus:
        """Return how far a batch is, with its counts.

        :param session: sends the call.
        :param status_url: as Adobe returned it.
        :raises AdobeNotFoundError: when Adobe does not know the batch any more.
        """
        return self.send_with_token(session, target.get_profile_batch_status(status_url))

    async def get_profile_batch_status_async(
        self, session: AsyncAdobeSession, status_url: str
    ) -> ProfileBatchStatus:
        """Return the same as :meth:`get_profile_batch_status`, for an event loop.

        :param session: sends the call.
        :param status_url: as Adobe returned it.
        """
        return await self.send_with_token_async(session, target.get_profile_batch_status(status_url))

    def update_profile(
        self,
        parameters: Mapping[str, str],
        *,
        third_party_id: str | None = None,
        mbox_pc: str | None = None,
        path_name: str | None = None,
    ) -> str:
        """Set attributes of one profile that exists.

        :param parameters: attribute names, without ``profile.``, and their values.
        :param third_party_id: the profile's id of yours; either this or ``mbox_pc``.
        :param mbox_pc: the profile's id of Target's.
        :param path_name: the word after ``/m2/``; by default the client code. Adobe's page prints the literal
            word ``client``.
        :returns: Adobe's message.
        :raises AdobeConfigurationError: when not exactly one id is given.
        """
        call = target.update_profile(
            self.settings.client_code(),
            parameters,
            third_party_id=third_party_id,
            mbox_pc=mbox_pc,
            path_name=path_name,
        )
        with self.session() as session:
            return self.send_with_token(session, call)

    def fetch_profile(self, profile_id: str, kind: ProfileIdKind = "thirdPartyId") -> dict[str, Any] | None:
        """Return a profile.

        :param profile_id: the id.
        :param kind: which kind of id it is.
        :returns: the profile as Adobe returns it, ``None`` when there is none.
        """
        call = target.fetch_profile(self.settings.client_code(), profile_id, kind)
        with self.session() as session:
            return self.send_with_token(session, call)

    def send_with_token(self, session: AdobeSession, call: Call[T]) -> T:
        """Send a call with the token as it is in the store now; when it is refused, look once whether the
        store has another.

        :param session: sends the call.
        :param call: of the profile API, without a token.
        :returns: its result.
        :raises AdobeAuthenticationError: when the store has no other, or that one is refused, too.
        """
        token = self._read_token()
        try:
            return session.send(_bearing(call, token))
        except AdobeAuthenticationError as error:
            again = self._read_token()
            self._check_refusal(error, token, again)
        return session.send(_bearing(call, again))

    async def send_with_token_async(self, session: AsyncAdobeSession, call: Call[T]) -> T:
        """Do the same as :meth:`send_with_token`, for an event loop.

        :param session: sends the call.
        :param call: of the profile API, without a token.
        :returns: its result.
        """
        from asgiref.sync import sync_to_async

        read_token = sync_to_async(self._read_token)
        token = await read_token()
        try:
            return await session.send(_bearing(call, token))
        except AdobeAuthenticationError as error:
            again = await read_token()
            self._check_refusal(error, token, again)
        return await session.send(_bearing(call, again))

    def _read_token(self) -> SecretStr | None:
        token = SecretStr((self.store.read() if self.store is not None else None) or "")
        if not token.get_secret_value():
            return None
        mask_all_forms(token.get_secret_value())
        return token

    def _check_refusal(
        self, error: AdobeAuthenticationError, token: SecretStr | None, again: SecretStr | None
    ) -> None:
        """Raise ``error`` unless the store has another token by now, and tell so."""
        if self.store is None:
            error.hint = (
                "Target requires a profile authentication token: pass the store that holds it (store=…)."
            )
            raise error
        # A rotation that is under way, or edge nodes that have not heard of it, are over when the task is
        # retried.
        error.transient = True
        if not again:
            error.hint = (
                f"There is no token in {self.store}. Run AdobeRotateProfileTokenOperator with that store "
                "first."
            )
            raise error
        if again == token:
            error.hint = f"{TOKEN_REFUSED} The store ({self.store}) has no other."
            raise error
        self.log.info("The profile token was refused; the store has another one now.")


def _bearing(call: Call[T], token: SecretStr | None) -> Call[T]:
    return call if token is None else replace(call, bearer=token)
