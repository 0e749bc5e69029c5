# SPDX-License-Identifier: Apache-2.0
"""The rotation: carries out what :mod:`.decision` decides."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from airflow_provider_adobe_audiences.adobe.client.call import Call, Service
from airflow_provider_adobe_audiences.adobe.target import (
    AUTHENTICATION_SETTING,
    ProfileToken,
    create_profile_token,
    explain_permission,
    get_profile_token,
    get_settings,
    probe_profile_token,
)
from airflow_provider_adobe_audiences.errors import (
    AdobeAuthenticationError,
    AdobeConflictError,
    AdobeError,
    AdobeNotFoundError,
    AdobeUnknownOutcomeError,
    SecretStoreConflict,
    SecretStoreError,
)
from airflow_provider_adobe_audiences.rotation.decision import (
    Decision,
    Intent,
    Mode,
    OnDrift,
    Step,
    decide,
    fingerprint,
    key_id,
)
from airflow_provider_adobe_audiences.rotation.stores.base import SecretStore

if TYPE_CHECKING:
    from airflow_provider_adobe_audiences.adobe.client.session import AdobeSession

T = TypeVar("T")
log = logging.getLogger(__name__)

# Edge nodes may learn of a new token at different moments.
_PROBES_IN_A_ROW = 3


class IntentLog(Protocol):
    """Remembers an :class:`Intent` between the attempts of one task."""

    def load(self) -> Intent | None: ...

    def save(self, intent: Intent) -> None: ...

    def clear(self) -> None: ...


class NoIntentLog:
    """For an Airflow without a task state store: each attempt then only has Adobe and the secret store to
    compare.
    """

    def load(self) -> Intent | None:
        return None

    def save(self, intent: Intent) -> None:
        pass

    def clear(self) -> None:
        pass


@dataclass(frozen=True, slots=True)
class Rotation:
    """What was done. Holds no secret.

    :param rotated: this task, in this or an earlier attempt, created a token.
    :param adopted: the store took over a token that was read from Adobe instead of from the answer to its
        creation.
    :param outage_seconds: from sending the request that kills the old token until the store gave back the new
        one; ``None`` when this attempt sent none.
    :param verified: ``accepted``, or ``inconclusive`` with the reason, or ``not asked``.
    :param needed: ``nothing``, ``adopt``, ``rotate`` or ``refuse``: what the comparison at the beginning
        called for.
    """

    rotated: bool
    adopted: bool
    reason: str
    expires_at: str | None
    fingerprint: str | None
    outage_seconds: float | None
    verified: str
    needed: str


@dataclass(slots=True)
class Rotator:
    """Keeps the token in the store equal to the one that Target accepts.

    :param session: to Adobe.
    :param key: of the fingerprints; a secret.
    :param mask: is told every token before it is used.
    :param verify_timeout: seconds that the edge may take to accept a new token.
    :param pauses: seconds before each attempt to write to the store.
    """

    session: AdobeSession
    store: SecretStore
    tenant: str
    client_code: str | None
    key: str = field(repr=False)
    mask: Callable[[str], None] = field(repr=False)
    intents: IntentLog = field(default_factory=NoIntentLog)
    mode: Mode = "rotate"
    min_remaining: timedelta = timedelta(days=14)
    force: bool = False
    on_drift: OnDrift = "adopt"
    verify: bool = True
    verify_timeout: float = 60.0
    pauses: Sequence[float] = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0)

    def run(self) -> Rotation:
        """Compare, then do what is needed.

        :raises AdobeError: saying what state token and store were left in. Running again is always right.
        """
        live, stored = self._live(), self._stored()
        decision = self._decide(live, stored)
        log.info(
            "Target's token %s, the store's %s: %s.",
            self._name(live),
            fingerprint(stored, self.key) or "none",
            decision.reason,
        )
        if self.mode == "check":
            return self._result(live, decision, verified="not asked")
        if decision.step is Step.REFUSE:
            raise self._refusal(decision)
        outage, needed = None, decision
        rotated, adopted = decision.resumed, False
        if decision.step is Step.ADOPT:
            assert live is not None
            live, adopted = self._settle(live, None)[0], True
            if not decision.resumed:
                decision = self._decide(live, live.value)
        if decision.step is Step.ROTATE:
            self._preflight()
            live, recovered, outage = self._rotate(live)
            rotated, adopted = True, adopted or recovered
        assert live is not None
        live, verified = self._verify(live)
        self.intents.clear()
        reason = (
            needed
            if needed is decision
            else Decision(needed.step, f"{needed.reason}; then: {decision.reason}")
        )
        return self._result(live, reason, rotated=rotated, adopted=adopted, outage=outage, verified=verified)

    def _decide(self, live: ProfileToken | None, stored: str | None) -> Decision:
        intent = self.intents.load()
        return decide(
            live,
            stored,
            intent,
            key=self.key,
            mode=self.mode,
            min_remaining=self.min_remaining,
            force=self.force,
            on_drift=self.on_drift,
        )

    def _preflight(self) -> None:
        """Prove, while the old token still works, that nothing stands in the way of the new one."""
        self.store.prove_writable()
        self._admin(get_settings(self.tenant))

    def _rotate(self, old: ProfileToken | None) -> tuple[ProfileToken, bool, float]:
        old_fingerprint = fingerprint(old.value if old else None, self.key)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        self.intents.save(Intent(str(uuid.uuid4()), old_fingerprint, now, key_id(self.key)))
        begun = time.monotonic()
        token, recovered = self._create(old_fingerprint)
        token, stored_at = self._settle(token, old_fingerprint)
        if token.expires_in <= self.min_remaining.total_seconds():
            log.warning(
                "The new token lives for %d s, not longer than min_remaining (%s): every run will rotate. "
                "Lower min_remaining.",
                token.expires_in,
                self.min_remaining,
            )
        return token, recovered, round(stored_at - begun, 3)

    def _create(self, old_fingerprint: str) -> tuple[ProfileToken, bool]:
        """Create a token; return it, and whether it had to be read because the answer was lost.

        Two requests at most, and never two without looking in between.
        """
        for again in (True, False):
            try:
                return self._masked(self._admin(create_profile_token(self.tenant))), False
            except AdobeUnknownOutcomeError as error:
                live = self._live()
                if live is not None and fingerprint(live.value, self.key) != old_fingerprint:
                    log.warning(
                        "The answer to the creation was lost (%s); the token was created and is read from "
                        "Target.",
                        error.message,
                    )
                    return live, True
                if not again:
                    raise
                log.warning("The creation was not processed (%s); sending it once more.", error.message)
        raise AssertionError("unreachable")

    def _settle(self, token: ProfileToken, old_fingerprint: str | None) -> tuple[ProfileToken, float]:
        """Write until the store gives back the very token that Target has; return it and when the store first
        had it.

        Whoever else rotates meanwhile does the same, so all end with what Target has.
        """
        problem: AdobeError | None = None
        stored_at: float | None = None
        for pause in self.pauses:
            time.sleep(pause)
            try:
                try:
                    self.store.write(token.value)
                except SecretStoreConflict as conflict:
                    log.warning("%s", conflict)
                    problem = conflict
                back = self._stored()
            except SecretStoreError as error:
                problem = error
                log.warning("The store failed while a new token waits to be written: %s", error)
                continue
            if back == token.value:
                stored_at = stored_at or time.monotonic()
            live = self._live()
            if live is None or (
                old_fingerprint is not None and fingerprint(live.value, self.key) == old_fingerprint
            ):
                live = token  # what was read is older than the answer that we hold
            if back == live.value:
                return live, stored_at or time.monotonic()
            if live.value != token.value:
                log.warning("Another token was created meanwhile; following it.")
            else:
                problem = problem or SecretStoreError(
                    f"{self.store} does not give back what was written to it",
                    hint="Something that takes precedence hides it (a secrets backend, an environment "
                    "variable), or somebody writes, too.",
                )
            token = live
        message = problem.message if problem else "somebody else creates tokens without end"
        raise SecretStoreError(
            f"the token {self._name(token)} is live at Target but not in {self.store}: {message}",
            hint="Users of the store are locked out until it has the token. Mend the store, "
            "then run this task again or with "
            "mode='adopt': that reads the token from Target and creates none.",
        )

    def _verify(self, token: ProfileToken) -> tuple[ProfileToken, str]:
        """Ask the edge whether it takes the token; return the token that lives, and the answer."""
        if not self.verify:
            return token, "not asked"
        if self.client_code is None:
            return token, "inconclusive: the connection has no Target client code"
        if not self._admin(get_settings(self.tenant)).get(AUTHENTICATION_SETTING):
            return (
                token,
                "inconclusive: Target does not require a token (its setting 'Require authentication' is off)",
            )
        if self.session.send(probe_profile_token(self.client_code, None)):
            return token, "inconclusive: the edge also answers without a token"
        deadline = time.monotonic() + self.verify_timeout
        accepted, pause = 0, 0.25
        while accepted < _PROBES_IN_A_ROW:
            if self.session.send(probe_profile_token(self.client_code, token.value)):
                accepted += 1
                continue
            accepted = 0
            live = self._live()
            if live is not None and live.value != token.value:
                log.warning("Somebody else has created a token meanwhile; following it.")
                token = self._settle(live, None)[0]
            elif time.monotonic() + pause > deadline:
                raise self._not_accepted(token)
            else:
                time.sleep(pause)
                pause = min(2 * pause, 5.0)
        return token, "accepted"

    def _not_accepted(self, token: ProfileToken) -> AdobeError:
        error = AdobeAuthenticationError(
            f"after {self.verify_timeout:.0f} s the edge still refuses the token {self._name(token)}, which "
            "is Target's own",
            service=Service.TARGET_EDGE,
            call="fetch profile",
            method="GET",
            path="/rest/v1/profiles",
            hint="The store has the right token. Let the task retry: it asks the edge again. "
            "If it lasts, ask Adobe's support.",
        )
        error.transient = True
        return error

    def _refusal(self, decision: Decision) -> AdobeError:
        if self.mode == "adopt":
            return AdobeNotFoundError(
                f"{decision.reason}: nothing to adopt",
                service=Service.TARGET,
                call="get profile token",
                method="GET",
                path=f"/{self.tenant}/target/authentication/token", hint="Create a token with mode='rotate'.",
            )  # fmt: skip
        return AdobeConflictError(
            decision.reason,
            service=Service.TARGET,
            call="get profile token",
            method="GET",
            path=f"/{self.tenant}/target/authentication/token",
            hint="Find out who did it. To put Target's token into the store, run with mode='adopt' "
            "or on_drift='adopt'.",
        )

    def _live(self) -> ProfileToken | None:
        token = self._admin(get_profile_token(self.tenant))
        return None if token is None else self._masked(token)

    def _stored(self) -> str | None:
        stored = self.store.read()
        if stored:
            self.mask(stored)
        return stored

    def _masked(self, token: ProfileToken) -> ProfileToken:
        self.mask(token.value)
        return token

    def _admin(self, call: Call[T]) -> T:
        try:
            return self.session.send(call)
        except AdobeError as error:
            better = explain_permission(error)
            if better is error:
                raise
            raise better from error

    def _name(self, token: ProfileToken | None) -> str:
        return fingerprint(token.value, self.key) if token else "none"

    def _result(self, live: ProfileToken | None, decision: Decision, **done: Any) -> Rotation:
        expires = None if live is None else datetime.now(UTC) + timedelta(seconds=live.expires_in)
        return Rotation(
            rotated=done.get("rotated", False),
            adopted=done.get("adopted", False),
            reason=decision.reason,
            expires_at=expires.isoformat(timespec="seconds") if expires else None,
            fingerprint=self._name(live) if live else None,
            outage_seconds=done.get("outage"),
            verified=done["verified"],
            needed=decision.step.value,
        )
