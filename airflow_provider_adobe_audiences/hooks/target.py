# SPDX-License-Identifier: Apache-2.0
"""Adobe Target from a task: one method for each thing to do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from airflow.providers.common.compat.sdk import mask_secret

from airflow_provider_adobe_audiences.adobe import target
from airflow_provider_adobe_audiences.adobe.client.call import Call, Content
from airflow_provider_adobe_audiences.adobe.target import (
    ProfileBatch,
    ProfileBatchStatus,
    ProfileToken,
    TokenScope,
)
from airflow_provider_adobe_audiences.errors import AdobeAuthenticationError, AdobeError
from airflow_provider_adobe_audiences.get_provider_info import DEFAULT_CONN_ID
from airflow_provider_adobe_audiences.hooks.adobe import AdobeHook

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
        """Return the token that exists, which Adobe gives in clear; it is masked in logs. ``None`` when there
        is none.
        """
        token = self._admin(target.get_profile_token(self.settings.tenant(), scope))
        if token is not None:
            mask_secret(token.value)
        return token

    def create_profile_token(self, scope: TokenScope = "profile_api") -> ProfileToken:
        """Create a token. **The previous one stops working at once**; use ``AdobeRotateProfileTokenOperator``
        if you can.

        :raises AdobeUnknownOutcomeError: when it is not known whether it was created: read it and compare.
        """
        token = self._admin(target.create_profile_token(self.settings.tenant(), scope))
        mask_secret(token.value)
        return token

    def get_settings(self) -> dict[str, Any]:
        """Return the settings of the tenant."""
        return self._admin(target.get_settings(self.settings.tenant()))

    def change_settings(self, changes: Mapping[str, Any]) -> dict[str, Any]:
        """Change these settings and no other; return all of them, read back.

        Where Adobe knows no PATCH yet (it was added in 2026), all settings are read and replaced; nobody else
        should change any then.
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
        try:
            return self.send(call)
        except AdobeError as error:
            better = target.explain_permission(error)
            if better is error:
                raise
            raise better from error

    # -- profile API

    def submit_profile_batch(
        self, session: AdobeSession, content: Content, version: Literal[1, 2] = 2
    ) -> ProfileBatch:
        """Submit one file of profiles; ``content`` begins with ``batch=``.

        :raises AdobeUnknownOutcomeError: when it is not known whether Adobe took it.
        """
        code = self.settings.client_code()
        return self.send_with_token(
            session, lambda token: target.submit_profile_batch(code, content, token, version)
        )

    def get_profile_batch_status(self, session: AdobeSession, status_url: str) -> ProfileBatchStatus:
        """Return how far a batch is, with its counts."""
        return self.send_with_token(session, lambda token: target.get_profile_batch_status(status_url, token))

    async def get_profile_batch_status_async(
        self, session: AsyncAdobeSession, status_url: str
    ) -> ProfileBatchStatus:
        """Return the same, for an event loop."""
        from asgiref.sync import sync_to_async

        read = sync_to_async(self._token)
        token = await read()
        try:
            return await session.send(target.get_profile_batch_status(status_url, token))
        except AdobeAuthenticationError as error:
            again = await read()
            self._check_refusal(error, token, again)
        return await session.send(target.get_profile_batch_status(status_url, again))

    def update_profile(
        self,
        parameters: Mapping[str, str],
        *,
        third_party_id: str | None = None,
        mbox_pc: str | None = None,
        path_name: str | None = None,
    ) -> str:
        """Set attributes of one profile that exists; return Adobe's message.

        :param path_name: the word after ``/m2/``; by default the client code. Adobe's page prints the literal
            word ``client``.
        """
        code = self.settings.client_code()
        with self.session() as session:
            return self.send_with_token(
                session,
                lambda token: target.update_profile(
                    code,
                    parameters,
                    third_party_id=third_party_id,
                    mbox_pc=mbox_pc,
                    bearer=token,
                    path_name=path_name,
                ),
            )

    def fetch_profile(
        self,
        profile_id: str,
        kind: Literal["thirdPartyId", "tntId", "marketingCloudVisitorId"] = "thirdPartyId",
    ) -> dict[str, Any] | None:
        """Return a profile, ``None`` when there is none."""
        code = self.settings.client_code()
        with self.session() as session:
            return self.send_with_token(
                session, lambda token: target.fetch_profile(code, profile_id, kind, token)
            )

    def send_with_token(self, session: AdobeSession, call_with: Callable[[str | None], Call[T]]) -> T:
        """Send a call with the token as it is in the store now; when it is refused, look once whether the
        store has another.

        :raises AdobeAuthenticationError: when the store has no other, or that one is refused, too.
        """
        token = self._token()
        try:
            return session.send(call_with(token))
        except AdobeAuthenticationError as error:
            again = self._token()
            self._check_refusal(error, token, again)
        self.log.info("The profile token was refused; the store has another one now.")
        return session.send(call_with(again))

    def _token(self) -> str | None:
        if self.store is None:
            return None
        token = self.store.read()
        if token:
            mask_secret(token)
        return token

    def _check_refusal(self, error: AdobeAuthenticationError, token: str | None, again: str | None) -> None:
        """Raise ``error`` unless the store has another token by now."""
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
            error.hint = f"{target.TOKEN_REFUSED} The store ({self.store}) has no other."
            raise error
