# SPDX-License-Identifier: Apache-2.0
"""The rotation: carries out what :mod:`.decision` decides."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import SecretStr

from airflow_provider_adobe_audiences.adobe.client.call import Call, Service
from airflow_provider_adobe_audiences.adobe.target import (
    AUTHENTICATION_SETTING,
    ProfileToken,
    create_profile_token,
    explained,
    get_profile_token,
    get_settings,
    probe_profile_token,
)
from airflow_provider_adobe_audiences.errors import (
    AdobeAuthenticationError,
    AdobeConfigurationError,
    AdobeConflictError,
    AdobeError,
    AdobeJobFailedError,
    AdobeNotFoundError,
    AdobeUnknownOutcomeError,
    SecretStoreConflict,
    SecretStoreError,
)
from airflow_provider_adobe_audiences.rotation.decision import (
    Decision,
    Intent,
    Step,
    decide,
    fingerprint,
    in_words,
    key_id,
)
from airflow_provider_adobe_audiences.rotation.intents import IntentLog, NoIntentLog
from airflow_provider_adobe_audiences.rotation.options import Mode, OnDrift
from airflow_provider_adobe_audiences.rotation.outcome import Rotation
from airflow_provider_adobe_audiences.rotation.stores.base import SecretStore

if TYPE_CHECKING:
    from airflow_provider_adobe_audiences.adobe.client.session import AdobeSession

T = TypeVar("T")
log = logging.getLogger(__name__)

# Edge nodes may learn of a new token at different moments.
_PROBES_IN_A_ROW = 3
_MAX_LAST_LOOKS = 5


@dataclass(slots=True)
class Rotator:
    """Keeps the token in the store equal to the one that Target accepts.

    :param session: to Adobe.
    :param store: where the token is kept.
    :param tenant: of Target.
    :param client_code: of Target; ``None`` when the edge cannot be asked.
    :param key: of the fingerprints; a secret.
    :param mask: is told every token before it is used.
    :param intents: what is remembered between attempts.
    :param mode: what may be done.
    :param min_remaining: rotate when not more than this is left.
    :param force: rotate even when more is left.
    :param on_drift: what to do when Target has another token than the store.
    :param verify: ask the edge whether it accepts the token.
    :param verify_timeout: seconds that the edge may take to accept a new token.
    :param fail_below: with ``mode="check"``: fail when less than this is left, or the store has another
        token.
    :param pauses: seconds before each attempt to write to the store.
    :param last_look: seconds after a rotation until Target is asked once more. Who had decided to create a
        token before ours was to be seen, has done so by then.
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
    fail_below: timedelta | None = None
    pauses: Sequence[float] = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0)
    last_look: float = 1.0

    def run(self) -> Rotation:
        """Compare, then do what is needed.

        :returns: what was done.
        :raises AdobeError: saying what state token and store were left in. Running again is always right.
        """
        live, stored = self._live(), self._stored()
        decision = self._decide(live, stored)
        log.info(
            "Target's token %s, the store's %s: %s.",
            self._name(live),
            self._name(stored),
            decision.reason,
        )
        if self.mode == "check":
            self._check_remaining(live, decision)
            return self._result(live, decision, verified="not asked")
        if decision.step is Step.REFUSE:
            raise self._refusal(decision)
        outage, needed = None, decision
        rotated, adopted = decision.resumed, False
        if decision.step is Step.ADOPT:
            assert live is not None
            live, adopted = self._adopt(live, decision), True
            if not decision.resumed:
                decision = self._decide(live, SecretStr(live.value))
        if decision.step is Step.ROTATE:
            self._preflight()
            live, rotated, recovered, outage = self._rotate(live, stored)
            adopted = adopted or recovered
        assert live is not None
        live, verified = self._verify(live)
        if outage is not None:
            live, verified = self._look_again(live, verified)
        self.intents.clear()
        reason = (
            needed
            if needed is decision
            else Decision(needed.step, f"{needed.reason}; then: {decision.reason}")
        )
        return self._result(live, reason, rotated=rotated, adopted=adopted, outage=outage, verified=verified)

    def _adopt(self, live: ProfileToken, decision: Decision) -> ProfileToken:
        say = log.info if decision.resumed else log.warning
        say("Adopting Target's token %s into %s: %s.", self._name(live), self.store, decision.reason)
        return self._settle(live, None)[0]

    def _check_remaining(self, live: ProfileToken | None, decision: Decision) -> None:
        """Raise when less is left than ``fail_below``, or users of the store are locked out."""
        if self.fail_below is None:
            return
        if decision.step in (Step.ADOPT, Step.REFUSE):
            raise AdobeJobFailedError(
                f"{self.store} does not hold the token that Target accepts ({decision.reason})",
                hint="Run AdobeRotateProfileTokenOperator on this store: it adopts Target's token.",
            )
        left = timedelta(seconds=max(0, live.expires_in) if live else 0)
        if left < self.fail_below:
            raise AdobeJobFailedError(
                f"{in_words(left)} of the profile token are left, which is less than "
                f"{in_words(self.fail_below)} ({decision.reason})",
                hint="Find out why no rotation renewed it; then run AdobeRotateProfileTokenOperator.",
            )

    def _decide(self, live: ProfileToken | None, stored: SecretStr | None) -> Decision:
        intent = self.intents.load()
        return decide(
            live,
            stored.get_secret_value() if stored else None,
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

    def _rotate(
        self, old: ProfileToken | None, stored: SecretStr | None
    ) -> tuple[ProfileToken, bool, bool, float | None]:
        """Create a token and store it; return it, whether it was created here, whether it had to be read, and
        the outage.
        """
        live = self._live()
        if live is not None and old is None and self._is_not_new(live, stored):
            log.warning("Target has a token (%s) after all; it is renewed.", self._name(live))
            old = live
        old_fingerprint = self._name(old) if old else ""
        # Somebody else's rotation, perhaps into another store: one more would lock out its users.
        if live is not None and live.expires_in > 0 and self._name(live) != old_fingerprint:
            log.warning(
                "Another token (%s) was created since the comparison; adopting it instead of creating one.",
                self._name(live),
            )
            return self._settle(live, None)[0], False, True, None
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
        return token, True, recovered, round(stored_at - begun, 3)

    def _is_not_new(self, live: ProfileToken, stored: SecretStr | None) -> bool:
        """Return whether a token that the first look did not find is to be renewed all the same: nobody has
        just made it.
        """
        known = stored is not None and self._name(live) == self._name(stored)
        return (known and self.force) or live.expires_in <= self.min_remaining.total_seconds()

    def _create(self, old_fingerprint: str) -> tuple[ProfileToken, bool]:
        """Create a token; return it, and whether it had to be read because the response was lost.

        Two requests at most, and never two without looking in between.
        """
        for again in (True, False):
            try:
                return self._masked(self._admin(create_profile_token(self.tenant))), False
            except AdobeUnknownOutcomeError as error:
                live = self._live()
                if live is not None and fingerprint(live.value, self.key) != old_fingerprint:
                    log.warning(
                        "The response to the creation was lost (%s); the token was created and is read from "
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
        for attempt, pause in enumerate(self.pauses, 1):
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
                log.warning(
                    "The store failed while a new token waits to be written (attempt %d of %d). %s",
                    attempt,
                    len(self.pauses),
                    error,
                )
                continue
            except AdobeConfigurationError as error:  # the same again, however often
                problem = error
                break
            if _same(back, token):
                stored_at = stored_at or time.monotonic()
            live = self._live()
            if live is None or (
                old_fingerprint is not None and fingerprint(live.value, self.key) == old_fingerprint
            ):
                live = token  # what was read is older than the response that we hold
            if _same(back, live):
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

    def _look_again(self, token: ProfileToken, verified: str) -> tuple[ProfileToken, str]:
        """Follow whoever has created a token while ours was new; return the token that lives, and what the
        edge says of it.
        """
        for _ in range(_MAX_LAST_LOOKS):
            time.sleep(self.last_look)
            live = self._live()
            if live is None or live.value == token.value:
                return token, verified
            log.warning("Somebody else has created a token meanwhile; following it.")
            token, verified = self._verify(self._settle(live, None)[0])
        return token, verified

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

    def _stored(self) -> SecretStr | None:
        stored = SecretStr(self.store.read() or "")
        if not stored.get_secret_value():
            return None
        self.mask(stored.get_secret_value())
        return stored

    def _masked(self, token: ProfileToken) -> ProfileToken:
        self.mask(token.value)
        return token

    def _admin(self, call: Call[T]) -> T:
        return explained(self.session.send, call)

    def _name(self, token: ProfileToken | SecretStr | None) -> str:
        if token is None:
            return "none"
        return fingerprint(
            token.get_secret_value() if isinstance(token, SecretStr) else token.value, self.key
        )

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


def _same(stored: SecretStr | None, token: ProfileToken) -> bool:
    return stored is not None and stored.get_secret_value() == token.value
