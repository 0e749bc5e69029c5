# SPDX-License-Identifier: Apache-2.0
"""Keeping the profile authentication token fresh, and requiring it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Unpack

from airflow.providers.common.compat.sdk import AssetAlias, Context

from airflow_provider_adobe_audiences.assets import profile_token_asset
from airflow_provider_adobe_audiences.errors import AdobeConfigurationError, AdobeJobFailedError
from airflow_provider_adobe_audiences.get_provider_info import DEFAULT_CONN_ID
from airflow_provider_adobe_audiences.operators.target.base import AdobeTargetOperator
from airflow_provider_adobe_audiences.rotation.options import Mode, OnDrift
from airflow_provider_adobe_audiences.rotation.stores.base import SecretStore
from airflow_provider_adobe_audiences.tasks.operator import AdobeOperator, fail_without_retry
from airflow_provider_adobe_audiences.tasks.validation import Duration, Template, Text

if TYPE_CHECKING:
    from airflow_provider_adobe_audiences.rotation.decision import Intent
    from airflow_provider_adobe_audiences.rotation.intents import IntentLog
    from airflow_provider_adobe_audiences.rotation.outcome import Rotation
    from airflow_provider_adobe_audiences.tasks.airflow_arguments import OperatorArguments
    from airflow_provider_adobe_audiences.tasks.record import TaskRecord


class AdobeRotateProfileTokenOperator(AdobeTargetOperator):
    """Keep the profile authentication token in a secret store fresh, and equal to the one that Target
    accepts.

    A new token kills the old one at once, so this only rolls forward: it compares Target's token with the
    store's, adopts, keeps or rotates, writes, reads back, and asks the edge. Whatever crashes and whoever
    else rotates, a retry ends with the store holding the token that works. See
    :mod:`airflow_provider_adobe_audiences.rotation.decision` for the whole table.

    Returns ``{"rotated", "adopted", "reason", "expires_at", "fingerprint", "outage_seconds", "verified",
    "needed"}``, never the token. When the store got another token, the asset that
    :func:`..assets.profile_token_asset` returns gets an event.

    .. seealso:: Adobe's pages "Profile API settings" and the Admin API reference, section "Authentication".

    :param store: where the token is kept; one of :mod:`airflow_provider_adobe_audiences.rotation.stores`.
    :param min_remaining: rotate when not more than this is left of the token (templated).
    :param force: rotate even when more is left (templated).
    :param on_drift: when Target has another token than the store, because somebody pressed the button in the
        UI: ``adopt`` it, or ``fail`` (templated).
    :param verify: ask the edge whether it accepts the token (it must be required at Target for that to tell
        anything).
    :param verify_timeout: how long the edge may take to accept a new token.
    :param mode: ``rotate``; ``adopt`` only puts Target's token into the store; ``check`` only says what would
        be done (templated).
    :param fail_below: with ``mode="check"``: fail when less than this is left, or when the store does not
        hold Target's token (templated).
    :param announce: let the asset have an event when the store got another token.
    :param adobe_conn_id: connection of type ``adobe`` (templated).
    :raises AdobeConfigurationError: on bad arguments, before any request.
    """

    template_fields: Sequence[str] = (
        *AdobeOperator.template_fields,
        "min_remaining",
        "force",
        "on_drift",
        "mode",
        "fail_below",
    )

    def __init__(
        self,
        *,
        store: SecretStore,
        min_remaining: Duration | Template = timedelta(days=14),
        force: bool | Template = False,
        on_drift: OnDrift | Template = "adopt",
        verify: bool = True,
        verify_timeout: Duration = timedelta(minutes=1),
        mode: Mode | Template = "rotate",
        fail_below: Duration | Template | None = None,
        announce: bool = True,
        adobe_conn_id: Text | Template = DEFAULT_CONN_ID,
        **kwargs: Unpack[OperatorArguments],
    ) -> None:
        # Two rotations at once end well, but cost an outage each.
        kwargs.setdefault("max_active_tis_per_dag", 1)
        super().__init__(adobe_conn_id=adobe_conn_id, **kwargs)
        self.store = store
        self.min_remaining: Any = min_remaining
        self.force: Any = force
        self.on_drift: Any = on_drift
        self.verify = verify
        self.verify_timeout = verify_timeout
        self.mode: Any = mode
        self.fail_below: Any = fail_below
        self.announce = announce
        self.check_constants()
        if announce and mode != "check":
            # An alias, so that there is an event only when something happened.
            self.outlets = [*self.outlets, self._alias()]

    def _alias(self) -> AssetAlias:
        return AssetAlias(f"{self.task_id}: new profile token")

    def execute(self, context: Context) -> dict[str, Any]:
        """Compare, and do what is needed.

        :param context: the task's.
        :returns: what was done.
        :raises AdobeConfigurationError: on bad arguments, before any request.
        """
        with fail_without_retry():
            self.check_arguments()
            if self.fail_below is not None and self.mode != "check":
                raise AdobeConfigurationError(
                    f"argument 'fail_below' is given with mode={self.mode!r}: should be given with "
                    "mode='check'"
                )
            intents = _intents(context)
            rotation = self._rotate(intents)
            if (
                self.mode != "check"
                and rotation.needed == "nothing"
                and isinstance(intents, _StoredIntents)
                and intents.ended_before
            ):
                # Airflow took that attempt for failed, and forgot its event.
                rotation = replace(
                    rotation,
                    rotated=True,
                    reason="an earlier attempt created the token, stored and verified it",
                )
            result = asdict(rotation)
            if self.announce and (rotation.rotated or rotation.adopted or self._may_have(context, intents)):
                told = {name: result[name] for name in ("fingerprint", "expires_at", "rotated", "adopted")}
                context["outlet_events"][self._alias()].add(
                    profile_token_asset(self.adobe_conn_id), extra=told
                )
            return result

    def _may_have(self, context: Context, intents: IntentLog) -> bool:
        """Whether an earlier try may have done it, for all that this Airflow remembers of it."""
        if self.mode == "check" or isinstance(intents, _StoredIntents) or context["ti"].try_number < 2:
            return False
        self.log.info("Consumers of the token are told, perhaps again: an earlier try may have stored it.")
        return True

    def _rotate(self, intents: IntentLog) -> Rotation:
        from airflow_provider_adobe_audiences.hooks.adobe import mask_all_forms
        from airflow_provider_adobe_audiences.rotation.outcome import told
        from airflow_provider_adobe_audiences.rotation.rotate import Rotator

        assert self.store is not None
        settings = self.hook.settings
        if self.verify and self.mode != "check":
            settings.client_code()  # missing, it is said before anything is done
        with self.hook.session() as session:
            rotation = Rotator(
                session=session,
                store=self.store,
                tenant=settings.tenant(),
                client_code=settings.target_client_code,
                key=next(iter(settings.secrets()), settings.client_id),
                mask=mask_all_forms,
                intents=intents,
                mode=self.mode,
                min_remaining=self.min_remaining,
                force=self.force,
                on_drift=self.on_drift,
                verify=self.verify,
                verify_timeout=self.verify_timeout.total_seconds(),
                fail_below=self.fail_below,
            ).run()
        self.log.info("%s", told(rotation, self.store))
        return rotation


class _StoredIntents:
    """Keeps the intent where Airflow keeps it for the tries of one task: in clear, so never a token.

    :ivar ended_before: an earlier attempt came to the end of its rotation; whether Airflow noted its success
        is not known.
    """

    _ENDED = "ended"

    def __init__(self, memory: TaskRecord) -> None:
        self._memory = memory
        self.ended_before = self._ENDED in (memory.load() or {})

    def load(self) -> Intent | None:
        from airflow_provider_adobe_audiences.rotation.decision import Intent

        found = self._memory.load()
        return Intent(**found) if found and self._ENDED not in found else None

    def save(self, intent: Intent) -> None:
        self._memory.save(asdict(intent))

    def clear(self) -> None:
        if found := self._memory.load():
            self._memory.save({**found, self._ENDED: True})


def _intents(context: Context) -> IntentLog:
    from airflow_provider_adobe_audiences.rotation.intents import NoIntentLog
    from airflow_provider_adobe_audiences.tasks.record import task_record

    memory = task_record(context, "adobe_target_rotation")
    return NoIntentLog() if memory is None else _StoredIntents(memory)


class AdobeSetProfileAuthenticationOperator(AdobeTargetOperator):
    """Require the profile token for the profile API, or require it no longer. Changes that setting and no
    other.

    Returns ``{"enabled", "changed"}``.

    .. seealso:: Adobe's page "Profile API settings"; it is the toggle "Require authentication".

    :param enabled: whether the token is required (templated). Without it, anybody who knows the client code
        can write profiles.
    :param adobe_conn_id: connection of type ``adobe`` (templated).
    :raises AdobeConfigurationError: on bad arguments, before any request.
    """

    template_fields: Sequence[str] = (*AdobeOperator.template_fields, "enabled")

    def __init__(
        self,
        *,
        enabled: bool | Template,
        adobe_conn_id: Text | Template = DEFAULT_CONN_ID,
        **kwargs: Unpack[OperatorArguments],
    ) -> None:
        # Where Adobe knows no PATCH, all settings are read and replaced: one at a time.
        kwargs.setdefault("max_active_tis_per_dag", 1)
        super().__init__(adobe_conn_id=adobe_conn_id, **kwargs)
        self.enabled: Any = enabled
        self.check_constants()

    def execute(self, context: Context) -> dict[str, Any]:
        """Change the setting unless it is right, and read it back.

        :param context: the task's.
        :returns: the setting, and whether it was changed.
        :raises AdobeJobFailedError: when Target did not keep it.
        """
        with fail_without_retry():
            self.check_arguments()
            from airflow_provider_adobe_audiences.adobe.target import AUTHENTICATION_SETTING

            before = self.hook.get_settings().get(AUTHENTICATION_SETTING)
            if before is self.enabled:
                self.log.info("Target's setting 'Require authentication' is %s already.", before)
                return {"enabled": self.enabled, "changed": False}
            after = self.hook.change_settings({AUTHENTICATION_SETTING: self.enabled}).get(
                AUTHENTICATION_SETTING
            )
            if after is not self.enabled:
                raise AdobeJobFailedError(
                    f"Target still has {AUTHENTICATION_SETTING} = {after!r} after it was set to "
                    f"{self.enabled!r}",
                    hint=(
                        "Somebody may have changed it back meanwhile; look at Administration > "
                        "Implementation in Target."
                    ),
                )
            self.log.info("Target's setting 'Require authentication' was %s and is now %s.", before, after)
            return {"enabled": self.enabled, "changed": True}
