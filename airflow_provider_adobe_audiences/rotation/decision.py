# SPDX-License-Identifier: Apache-2.0
"""What to do about the token. Pure: no clock, no network. This is the whole decision logic of the rotation.

A new token kills the old one at once, and Adobe returns the token that lives in clear. So the token is never
lost, it can only be out of step with the store; and every run begins by comparing the two. What follows from
that, wherever an earlier run has died:

================================  =============  =====  ====================================
the earlier run died              old token      store  this run
================================  =============  =====  ====================================
before its intent                 valid          old    starts over
after its intent, before POST     valid          old    sees no change at Adobe, and creates
while POST was on its way         valid or dead  old    no change: creates; a change: adopts
before the store was written      dead           old    adopts
before the token was verified     dead           new    verifies
before the intent was cleared     dead           new    clears it
before Airflow noted its success  dead           new    tells the consumers again
================================  =============  =====  ====================================
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum

from airflow_provider_adobe_audiences.adobe.target.admin import ProfileToken
from airflow_provider_adobe_audiences.rotation.options import Mode, OnDrift


def fingerprint(token: str | None, key: str) -> str:
    """Return what identifies a token without giving any of it away; empty for no token.

    :param token: the secret, ``None`` for none.
    :param key: a secret, so that nobody can try tokens against fingerprints.
    :returns: 16 hexadecimal digits.
    """
    return hmac.new(key.encode(), token.encode(), hashlib.sha256).hexdigest()[:16] if token else ""


def key_id(key: str) -> str:
    """Return what identifies the key of fingerprints without giving any of it away.

    :param key: the secret.
    """
    return fingerprint("which key is it", key)


@dataclass(frozen=True, slots=True)
class Intent:
    """Written down before a token is created; tells a later attempt that a change at Adobe is its own.

    :param rotation_id: unique.
    :param old_fingerprint: of the token that will die; empty for none.
    :param begun_at: in ISO 8601.
    :param key_id: tells which key the fingerprint was made with, see :func:`key_id`. With another key, every
        token looks changed.
    """

    rotation_id: str
    old_fingerprint: str
    begun_at: str
    key_id: str


class Step(Enum):
    """What is to be done."""

    NOTHING = "nothing"
    ADOPT = "adopt"
    ROTATE = "rotate"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class Decision:
    """The next step and why.

    :param step: what to do.
    :param reason: in words.
    :param resumed: the token was created by an earlier attempt of this very task.
    """

    step: Step
    reason: str
    resumed: bool = False


def decide(
    live: ProfileToken | None,
    stored: str | None,
    intent: Intent | None,
    *,
    key: str,
    mode: Mode = "rotate",
    min_remaining: timedelta = timedelta(days=14),
    force: bool = False,
    on_drift: OnDrift = "adopt",
) -> Decision:
    """Return the next step.

    :param live: the token that Adobe has, ``None`` for none.
    :param stored: the token that the store has, ``None`` for none.
    :param intent: what an earlier attempt of this task has written down, if any.
    :param key: of the fingerprints.
    :param mode: what may be done.
    :param min_remaining: rotate when not more than this is left.
    :param force: rotate even when more is left.
    :param on_drift: what to do when Adobe has another token than the store.
    :returns: the step, and why.
    """
    if live is None or live.expires_in <= 0:
        reason = "Target has no token" if live is None else "Target's token has expired"
        return Decision(Step.REFUSE if mode == "adopt" else Step.ROTATE, reason)
    begun = (
        intent is not None
        and intent.key_id == key_id(key)
        and intent.old_fingerprint != fingerprint(live.value, key)
    )
    if live.value != stored:
        if begun:
            return Decision(
                Step.ADOPT, "an earlier attempt created the token, but did not store it", resumed=True
            )
        if not stored:
            return Decision(Step.ADOPT, "the store had no token")
        if on_drift == "fail" and mode != "adopt":
            return Decision(
                Step.REFUSE,
                "drift: Target's token is not the one in the store; somebody else has created one, or has "
                "changed the store",
            )
        return Decision(Step.ADOPT, "drift: somebody else has created a token, or has changed the store")
    if begun:
        return Decision(Step.NOTHING, "an earlier attempt created the token and stored it", resumed=True)
    left = timedelta(seconds=live.expires_in)
    if mode == "adopt":
        return Decision(Step.NOTHING, "the store has Target's token")
    if force:
        return Decision(Step.ROTATE, "forced")
    if left <= min_remaining:
        return Decision(
            Step.ROTATE, f"{in_words(left)} left, which is not more than {in_words(min_remaining)}"
        )
    return Decision(Step.NOTHING, f"{in_words(left)} left, which is more than {in_words(min_remaining)}")


def in_words(span: timedelta) -> str:
    """Return a span of time in one unit.

    :param span: not negative.
    """
    if span >= timedelta(days=2):
        return f"{span.days} days"
    if span >= timedelta(hours=2):
        return f"{span // timedelta(hours=1)} hours"
    return f"{int(span.total_seconds())} seconds"
