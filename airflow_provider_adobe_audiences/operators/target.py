# SPDX-License-Identifier: Apache-2.0
"""Adobe Target: the profile authentication token, whether it is required, and the bulk update that lives on
it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

from airflow.providers.common.compat.sdk import AssetAlias, Context, conf, mask_secret

from airflow_provider_adobe_audiences.adobe.target import (
    AUTHENTICATION_SETTING,
    ProfileBatch,
    check_outcome,
    outcome,
)
from airflow_provider_adobe_audiences.assets import profile_token_asset
from airflow_provider_adobe_audiences.errors import (
    AdobeConfigurationError,
    AdobeJobFailedError,
    AdobeNotFoundError,
    AdobeUnknownOutcomeError,
    AdobeValidationError,
)
from airflow_provider_adobe_audiences.profiles.rows import (
    Columns,
    Key,
    Part,
    Parts,
    SourceFormat,
    Table,
    table_of_file,
    table_of_rows,
)
from airflow_provider_adobe_audiences.rotation.decision import Intent, Mode, OnDrift
from airflow_provider_adobe_audiences.rotation.stores.base import SecretStore
from airflow_provider_adobe_audiences.tasks.operator import AdobeOperator, fail_without_retry
from airflow_provider_adobe_audiences.tasks.waiting import check_waiting, poll_until, result_of

if TYPE_CHECKING:
    from airflow_provider_adobe_audiences.adobe.client.session import AdobeSession
    from airflow_provider_adobe_audiences.hooks.target import AdobeTargetHook
    from airflow_provider_adobe_audiences.rotation.rotate import IntentLog
    from airflow_provider_adobe_audiences.tasks.files import Source

# Adobe remembers the status of the last ten uploads of a client.
_MAX_PARTS_TO_WAIT_FOR = 10


class AdobeTargetOperator(AdobeOperator):
    """Base of the operators of this module."""

    def hook(self, store: SecretStore | None = None) -> AdobeTargetHook:
        from airflow_provider_adobe_audiences.hooks.target import AdobeTargetHook

        return AdobeTargetHook(self.adobe_conn_id, store)


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
    :param min_remaining: rotate when not more than this is left of the token.
    :param force: rotate even when more is left.
    :param on_drift: when Target has another token than the store, because somebody pressed the button in the
        UI: ``adopt`` it, or ``fail``.
    :param verify: ask the edge whether it accepts the token (it must be required at Target for that to tell
        anything).
    :param verify_timeout: how long the edge may take to accept a new token.
    :param mode: ``rotate``; ``adopt`` only puts Target's token into the store; ``check`` only says what would
        be done.
    :param announce: let the asset have an event when the store got another token.
    :raises AdobeConfigurationError: on bad arguments, before any request.
    """

    def __init__(
        self,
        *,
        store: SecretStore,
        min_remaining: timedelta = timedelta(days=14),
        force: bool = False,
        on_drift: OnDrift = "adopt",
        verify: bool = True,
        verify_timeout: timedelta = timedelta(minutes=1),
        mode: Mode = "rotate",
        announce: bool = True,
        **kwargs: Any,
    ) -> None:
        # Two rotations at once end well, but cost an outage each.
        kwargs.setdefault("max_active_tis_per_dag", 1)
        super().__init__(**kwargs)
        _check_store(store)
        _check_choice("mode", mode, ("rotate", "adopt", "check"))
        _check_choice("on_drift", on_drift, ("adopt", "fail"))
        for name, value in (("min_remaining", min_remaining), ("verify_timeout", verify_timeout)):
            if not isinstance(value, timedelta) or value < timedelta(0):
                raise AdobeConfigurationError(
                    f"{name} is {value!r}: must be a timedelta that is not negative"
                )
        self.store = store
        self.min_remaining = min_remaining
        self.force = force
        self.on_drift = on_drift
        self.verify = verify
        self.verify_timeout = verify_timeout
        self.mode = mode
        self.announce = announce
        if announce and mode != "check":
            # An alias, so that there is an event only when something happened.
            self.outlets = [*self.outlets, self._alias()]

    def _alias(self) -> AssetAlias:
        return AssetAlias(f"{self.task_id}: new profile token")

    def execute(self, context: Context) -> dict[str, Any]:
        with fail_without_retry():
            from airflow_provider_adobe_audiences.rotation.rotate import Rotator

            hook = self.hook()
            settings = hook.settings
            if self.verify and self.mode != "check":
                settings.client_code()  # missing, it is said before anything is done
            intents = _intents(context)
            with hook.session() as session:
                rotation = Rotator(
                    session=session,
                    store=self.store,
                    tenant=settings.tenant(),
                    client_code=settings.target_client_code,
                    key=next(iter(settings.secrets()), settings.client_id),
                    mask=mask_secret,
                    intents=intents,
                    mode=self.mode,
                    min_remaining=self.min_remaining,
                    force=self.force,
                    on_drift=self.on_drift,
                    verify=self.verify,
                    verify_timeout=self.verify_timeout.total_seconds(),
                ).run()
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
            self.log.info("%s", json.dumps(result))
            if self.announce and (rotation.rotated or rotation.adopted):
                told = {name: result[name] for name in ("fingerprint", "expires_at", "rotated", "adopted")}
                context["outlet_events"][self._alias()].add(
                    profile_token_asset(self.adobe_conn_id), extra=told
                )
            return result


class _StoredIntents:
    """Keeps the intent where Airflow keeps it for the tries of one task: in clear, so never a token.

    :ivar ended_before: an earlier attempt came to the end of its rotation; whether Airflow noted its success
        is not known.
    """

    _KEY = "adobe_target_rotation"
    _ENDED = "ended"

    def __init__(self, states: Any) -> None:
        self._states = states
        self.ended_before = self._ENDED in self._found()

    def _found(self) -> dict[str, Any]:
        found = self._states.get(self._KEY)
        return found if isinstance(found, dict) else {}

    def load(self) -> Intent | None:
        found = self._found()
        return Intent(**found) if found and self._ENDED not in found else None

    def save(self, intent: Intent) -> None:
        self._states.set(self._KEY, asdict(intent))

    def clear(self) -> None:
        if found := self._found():
            self._states.set(self._KEY, {**found, self._ENDED: True})


def _intents(context: Context) -> IntentLog:
    from airflow_provider_adobe_audiences.rotation.rotate import NoIntentLog

    states = context.get("task_state_store")  # since Airflow 3.3
    return NoIntentLog() if states is None else _StoredIntents(states)


class AdobeSetProfileAuthenticationOperator(AdobeTargetOperator):
    """Require the profile token for the profile API, or require it no longer. Changes that setting and no
    other.

    Returns ``{"enabled", "changed"}``.

    .. seealso:: Adobe's page "Profile API settings"; it is the toggle "Require authentication".

    :param enabled: whether the token is required. Without it, anybody who knows the client code can write
        profiles.
    """

    def __init__(self, *, enabled: bool, **kwargs: Any) -> None:
        # Where Adobe knows no PATCH, all settings are read and replaced: one at a time.
        kwargs.setdefault("max_active_tis_per_dag", 1)
        super().__init__(**kwargs)
        if not isinstance(enabled, bool):
            raise AdobeConfigurationError(f"enabled is {enabled!r}: must be True or False")
        self.enabled = enabled

    def execute(self, context: Context) -> dict[str, Any]:
        with fail_without_retry():
            hook = self.hook()
            before = hook.get_settings().get(AUTHENTICATION_SETTING)
            if before is self.enabled:
                return {"enabled": self.enabled, "changed": False}
            after = hook.change_settings({AUTHENTICATION_SETTING: self.enabled}).get(AUTHENTICATION_SETTING)
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


class AdobeBulkProfileUpdateOperator(AdobeTargetOperator):
    """Set attributes of many profiles: check and encode the rows, upload them in as few batches as Adobe
    takes, wait for the outcome.

    Every row is checked before the first request; a row that cannot be sent is named by its number (the first
    after the column names is row 1). Batches hold at most 500,000 rows and less than 50 MB.

    Returns ``{"rows", "successful", "not_found", "failed", "batches": [{"batch_id", "status_url", "rows",
    "status", …}]}``, alike in blocking, deferred and resumed runs.

    .. seealso:: Adobe's page "Bulk profile update API". An empty cell leaves an attribute as it is. Adobe may
        take up to 24 hours, and may lose up to 0.1 % of a large batch.

    :param source: path or glob, or a list of them, that ``ObjectStoragePath`` reads: local,
        ``s3://conn@bucket/key`` … (templated).
    :param rows: instead of ``source``: a list of mappings from column to value, such as an upstream task
        returns (templated).
    :param file_format: ``csv`` with a first line of column names, ``json`` with one object per line, or
        ``parquet``.
    :param delimiter: between the cells of a CSV file.
    :param key: ``thirdPartyId``, or ``pcId`` (not with Experience Cloud ids).
    :param key_column: the column that holds it; by default the one of that name (templated).
    :param parameters: the columns to send, or column -> attribute name; by default all, under their own names
        (templated).
    :param store: where the profile token is. Read at each call; when the token is refused, once more.
    :param api_version: 2 creates profiles that are unknown; 1 counts them as not found.
    :param max_failed_rows: how many rows may fail, in all batches together; ``None`` for any number.
    :param max_not_found: how many profiles may be unknown; ``None`` for any number.
    :param on_unknown_outcome: when an upload was sent and its answer was lost: ``send_again`` (the rows set
        values, so the same rows twice leave the same profiles) or ``fail`` without a retry, for those who
        write the same attributes from elsewhere at the same time.
    :param wait_for_completion: wait until Adobe has taken in every batch; otherwise return when they are
        accepted.
    :param deferrable: wait in the triggerer, without a worker slot.
    :param poll_interval: seconds between two looks at the status.
    :param timeout: longest wait; Adobe goes on, and from Airflow 3.3 a retry waits for the same batches.
    :raises AdobeConfigurationError: on bad arguments or rows, before any request.
    """

    template_fields: Sequence[str] = (
        *AdobeOperator.template_fields,
        "source",
        "rows",
        "key_column",
        "parameters",
    )

    def __init__(
        self,
        *,
        source: Source | None = None,
        rows: Sequence[Mapping[str, Any]] | None = None,
        file_format: SourceFormat = "csv",
        delimiter: str = ",",
        key: Key = "thirdPartyId",
        key_column: str | None = None,
        parameters: Sequence[str] | Mapping[str, str] | None = None,
        store: SecretStore | None = None,
        api_version: Literal[1, 2] = 2,
        max_failed_rows: int | None = 0,
        max_not_found: int | None = None,
        on_unknown_outcome: Literal["send_again", "fail"] = "send_again",
        wait_for_completion: bool = True,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poll_interval: float = 60.0,
        timeout: timedelta = timedelta(hours=24),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if (source is None) == (rows is None):
            raise AdobeConfigurationError("give either source or rows")
        if store is not None:
            _check_store(store)
        _check_choice("file_format", file_format, ("csv", "json", "parquet"))
        _check_choice("key", key, ("thirdPartyId", "pcId"))
        _check_choice("api_version", api_version, (1, 2))
        _check_choice("on_unknown_outcome", on_unknown_outcome, ("send_again", "fail"))
        check_limits(max_failed_rows, max_not_found)
        check_waiting(poll_interval, timeout)
        if not isinstance(delimiter, str) or len(delimiter) != 1:
            raise AdobeConfigurationError(f"delimiter is {delimiter!r}: must be one character")
        if deferrable and wait_for_completion and store is not None:
            store.reference()  # a store that the triggerer could not use is found out now
        self.source = source
        self.rows = rows
        self.file_format = file_format
        self.delimiter = delimiter
        self.key = key
        self.key_column = key_column
        self.parameters = parameters
        self.store = store
        self.api_version = api_version
        self.max_failed_rows = max_failed_rows
        self.max_not_found = max_not_found
        self.on_unknown_outcome = on_unknown_outcome
        self.wait_for_completion = wait_for_completion
        self.deferrable = deferrable
        self.poll_interval = poll_interval
        self.timeout = timeout

    def execute(self, context: Context) -> Any:
        with fail_without_retry():
            hook = self.hook(self.store)
            code = hook.settings.client_code()
            with Parts(self._columns()) as writer, hook.session() as session:
                parts = writer.write(self._tables())
                if self.wait_for_completion and len(parts) > _MAX_PARTS_TO_WAIT_FOR:
                    raise AdobeConfigurationError(
                        f"{sum(part.rows for part in parts)} rows are {len(parts)} uploads, but Adobe "
                        "remembers the status of "
                        f"{_MAX_PARTS_TO_WAIT_FOR} only",
                        hint=(
                            "Split the source over several tasks that run one after the other, or set "
                            "wait_for_completion=False."
                        ),
                    )
                accepted = _Accepted(context, f"{code}/v{self.api_version}")
                batches = [self._upload(hook, session, part, accepted) for part in parts]
                if not self.wait_for_completion or not batches:
                    accepted.forget()
                    return result_of_batches([{**batch, **_UNKNOWN} for batch in batches])
                try:
                    if self.deferrable:
                        # A retry often finds them ended: no need for a triggerer then.
                        ended = [ended_batch(hook, session, batch) for batch in batches]
                        if not all(ended):
                            self._defer(batches)
                        outcomes = [batch for batch in ended if batch]
                    else:
                        outcomes = wait_for_batches(hook, session, batches, self.poll_interval, self.timeout)
                except (AdobeNotFoundError, AdobeValidationError):
                    accepted.forget()  # waiting for them again cannot help
                    raise
            return self._checked_outcome(context, outcomes)

    def _defer(self, batches: list[dict[str, Any]]) -> None:
        from airflow_provider_adobe_audiences.triggers.target import AdobeBulkProfileUpdateTrigger

        self.defer(
            trigger=AdobeBulkProfileUpdateTrigger(
                adobe_conn_id=self.adobe_conn_id,
                batches=batches,
                store=self.store.reference() if self.store is not None else None,
                poll_interval=self.poll_interval,
                deadline=time.time() + self.timeout.total_seconds(),
            ),
            method_name="execute_complete",
        )

    def execute_complete(self, context: Context, event: Any = None) -> dict[str, Any]:
        """Judge what the trigger saw."""
        with fail_without_retry():
            if isinstance(event, Mapping) and event.get("status") == "error" and not event.get("transient"):
                _Accepted(context, "").forget()  # waiting for them again cannot help
            result = result_of(event, what="the bulk profile update", timeout=self.timeout)
            return self._checked_outcome(context, result["batches"])

    def _checked_outcome(self, context: Context, outcomes: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        # They have ended, well or not: whoever runs this task again wants to upload again.
        _Accepted(context, "").forget()
        check_outcome(outcomes, self.max_failed_rows, self.max_not_found)
        return result_of_batches(outcomes)

    def _columns(self) -> Columns:
        parameters = self.parameters
        if parameters is not None and not isinstance(parameters, Mapping):
            if isinstance(parameters, str):
                raise AdobeConfigurationError(
                    f"parameters is the text {parameters!r}: give a list of columns, or column -> attribute "
                    "name"
                )
            parameters = {name: name for name in parameters}
        return Columns(self.key, self.key_column or self.key, parameters)

    def _tables(self) -> Iterable[Table]:
        from airflow_provider_adobe_audiences.tasks.files import resolve

        if self.rows is not None:
            if isinstance(self.rows, (str, bytes, Mapping)) or not isinstance(self.rows, Iterable):
                raise AdobeConfigurationError(
                    f"rows is of type {type(self.rows).__name__}: give a list of mappings"
                )
            return [table_of_rows(self.rows)]
        assert self.source is not None
        return [
            table_of_file(
                lambda file=file: file.open_at(0),  # type: ignore[misc]
                self.file_format,
                file.name.partition("-")[2],
                delimiter=self.delimiter,
            )
            for file in resolve(self.source, self.file_format)
        ]

    def _upload(
        self, hook: AdobeTargetHook, session: AdobeSession, part: Part, accepted: _Accepted
    ) -> dict[str, Any]:
        """Upload one part, unless an earlier try has."""
        if (known := accepted.batch_of(part)) and self._is_remembered(hook, session, known, accepted):
            self.log.info(
                "Rows %d and following (%d) were uploaded before, as batch %s.",
                part.first_row,
                part.rows,
                known["batch_id"],
            )
            return known
        if accepted.may_have_been_sent(part) and self.on_unknown_outcome == "fail":
            accepted.done_with(part)
            raise self._not_again(part)
        for again in (True, False):
            accepted.sending(part)
            try:
                batch = hook.submit_profile_batch(session, part.content(), self.api_version)
            except AdobeUnknownOutcomeError as error:
                if self.on_unknown_outcome == "fail":
                    accepted.done_with(part)
                    raise self._not_again(part) from error
                if not again:
                    raise
                self.log.warning(
                    "The answer to the upload was lost (%s); sending the same rows again.", error.message
                )
            else:
                self.log.info(
                    "%d rows (%d bytes) are accepted as batch %s.", part.rows, part.size, batch.batch_id
                )
                return accepted.take(part, batch)
        raise AssertionError("unreachable")

    def _is_remembered(
        self, hook: AdobeTargetHook, session: AdobeSession, batch: Mapping[str, Any], accepted: _Accepted
    ) -> bool:
        """Whether Adobe can still tell of a batch of an earlier try: after ten others, or a day, it
        cannot.
        """
        try:
            hook.get_profile_batch_status(session, batch["status_url"])
        except (AdobeNotFoundError, AdobeValidationError) as error:
            if self.on_unknown_outcome == "fail":
                accepted.forget()
                raise
            self.log.warning(
                "Batch %s was uploaded before (%s); sending the same rows again.",
                batch["batch_id"],
                error.message,
            )
            return False
        return True

    def _not_again(self, part: Part) -> AdobeJobFailedError:
        return AdobeJobFailedError(
            f"rows {part.first_row} to {part.first_row + part.rows - 1} were sent, and it is not known "
            "whether Adobe took them",
            hint=(
                "Clear the task to send them again; parts that Adobe accepted are not repeated (from Airflow "
                "3.3)."
            ),
        )


class _Accepted:
    """Which uploads Adobe has accepted in this or an earlier try of the task, by the hash of their bytes.
    Airflow 3.3 remembers it.
    """

    _KEY = "adobe_target_bulk_update"

    def __init__(self, context: Context, where: str) -> None:
        self._states: Any = context.get("task_state_store")
        self._where = where
        self._record: dict[str, Any] = {"parts": {}, "sending": None}
        if self._states is not None:
            found = self._states.get(self._KEY)
            if isinstance(found, dict) and found.get("where") == where:
                self._record = found

    def _save(self) -> None:
        if self._states is not None:
            self._states.set(self._KEY, {**self._record, "where": self._where})

    def batch_of(self, part: Part) -> dict[str, Any] | None:
        batch: dict[str, Any] | None = self._record["parts"].get(part.sha256)
        return batch

    def may_have_been_sent(self, part: Part) -> bool:
        return bool(self._record["sending"] == part.sha256)

    def sending(self, part: Part) -> None:
        self._record["sending"] = part.sha256
        self._save()

    def done_with(self, part: Part) -> None:
        self._record["sending"] = None
        self._save()

    def take(self, part: Part, batch: ProfileBatch) -> dict[str, Any]:
        taken = {"batch_id": batch.batch_id, "status_url": batch.status_url, "rows": part.rows}
        self._record["parts"][part.sha256] = taken
        self._record["sending"] = None
        self._save()
        return taken

    def forget(self) -> None:
        if self._states is not None:
            self._states.delete(self._KEY)


_UNKNOWN: dict[str, Any] = {
    "status": "submitted",
    "successful": None,
    "not_found": None,
    "failed": None,
    "failed_ids": [],
}


def wait_for_batches(
    hook: AdobeTargetHook,
    session: AdobeSession,
    batches: Sequence[Mapping[str, Any]],
    poll_interval: float,
    timeout: timedelta,
) -> list[dict[str, Any]]:
    """Wait until every batch has ended; return what is known of each."""
    outcomes: dict[str, dict[str, Any]] = {}

    def ask() -> list[dict[str, Any]] | None:
        for batch in batches:
            url = batch["status_url"]
            if url not in outcomes and (ended := ended_batch(hook, session, batch)):
                outcomes[url] = ended
        return (
            [outcomes[batch["status_url"]] for batch in batches]
            if len(outcomes) == len({b["status_url"] for b in batches})
            else None
        )

    return poll_until(ask, poll_interval=poll_interval, timeout=timeout, what="the bulk profile update")


def ended_batch(
    hook: AdobeTargetHook, session: AdobeSession, batch: Mapping[str, Any]
) -> dict[str, Any] | None:
    """Return what is known of a batch if it has ended, else ``None``."""
    status = hook.get_profile_batch_status(session, batch["status_url"])
    if status.state.is_terminal:
        return outcome(batch, status)
    hook.log.info("Batch %s is %s.", batch["batch_id"], status.status)
    return None


def result_of_batches(outcomes: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what the operator and the sensor return."""

    def total(name: str) -> int | None:
        counts = [batch[name] for batch in outcomes]
        return None if any(count is None for count in counts) else sum(counts)

    return {
        "rows": total("rows"),
        "successful": total("successful"),
        "not_found": total("not_found"),
        "failed": total("failed"),
        "batches": [dict(batch) for batch in outcomes],
    }


def check_limits(max_failed_rows: int | None, max_not_found: int | None) -> None:
    """Raise :class:`AdobeConfigurationError` unless these are counts."""
    for name, most in (("max_failed_rows", max_failed_rows), ("max_not_found", max_not_found)):
        if most is not None and (isinstance(most, bool) or not isinstance(most, int) or most < 0):
            raise AdobeConfigurationError(
                f"{name} is {most!r}: must be a whole number that is not negative, or None"
            )


def _check_choice(name: str, value: Any, choices: Sequence[Any]) -> None:
    if value not in choices:
        raise AdobeConfigurationError(f"{name} is {value!r}: must be one of {', '.join(map(repr, choices))}")


def _check_store(store: Any) -> None:
    if not isinstance(store, SecretStore):
        raise AdobeConfigurationError(
            f"store is of type {type(store).__name__}: must be a store of "
            "airflow_provider_adobe_audiences.rotation.stores",
            hint="For instance AirflowVariableStore('adobe_target_profile_token').",
        )
