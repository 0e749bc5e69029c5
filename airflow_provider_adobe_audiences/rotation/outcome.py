# SPDX-License-Identifier: Apache-2.0
"""What became of a rotation."""

from __future__ import annotations

from dataclasses import dataclass

from airflow_provider_adobe_audiences.rotation.stores.base import SecretStore


@dataclass(frozen=True, slots=True)
class Rotation:
    """What was done. Holds no secret.

    :param rotated: this task, in this or an earlier attempt, created a token.
    :param adopted: the store took over a token that was read from Adobe instead of from the response to its
        creation.
    :param reason: why, in words.
    :param expires_at: when the token expires, in ISO 8601.
    :param fingerprint: of the token.
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


# What mode="check" says, by what a rotation would do.
_NEEDED = {
    "adopt": "{store} does not hold Target's token: a rotation would adopt it",
    "rotate": "a rotation is due: it would create a token and put it into {store}",
    "refuse": "a rotation into {store} would be refused",
}


def told(rotation: Rotation, store: SecretStore) -> str:
    """Return what was done, as one line for the log.

    :param rotation: what was done.
    :param store: where the token is kept.
    """
    done = (
        "New token"
        if rotation.rotated
        else "Adopted token"
        if rotation.adopted
        else "The token is still good:"
        if rotation.needed == "nothing"
        else None
    )
    if done is None:
        token = rotation.fingerprint
        live = f"{token}, valid until {rotation.expires_at}" if token else "none"
        needed = _NEEDED[rotation.needed].format(store=store)
        return f"Nothing was done, and {needed}. Reason: {rotation.reason}. Target's token: {live}."
    outage = "" if rotation.outage_seconds is None else f", outage {rotation.outage_seconds:g} s"
    return (
        f"{done} {rotation.fingerprint or 'none'} in {store}, valid until {rotation.expires_at}; edge: "
        f"{rotation.verified}{outage}. Reason: {rotation.reason}."
    )
