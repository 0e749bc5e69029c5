# SPDX-License-Identifier: Apache-2.0
"""What a rotation notes down before it creates a token."""

from __future__ import annotations

from typing import Protocol

from airflow_provider_adobe_audiences.rotation.decision import Intent


class IntentLog(Protocol):
    """Remembers an :class:`Intent` between the attempts of one task."""

    def load(self) -> Intent | None:
        """Return what an earlier attempt has saved, ``None`` for nothing."""

    def save(self, intent: Intent) -> None:
        """Note that a token is about to be created.

        :param intent: what was true before.
        """

    def clear(self) -> None:
        """Note that the rotation has come to its end."""


class NoIntentLog:
    """For an Airflow without a task state store: each attempt then only has Adobe and the secret store to
    compare.
    """

    def load(self) -> Intent | None:
        """Return nothing."""
        return None

    def save(self, intent: Intent) -> None:
        """Do nothing.

        :param intent: is not kept.
        """

    def clear(self) -> None:
        """Do nothing."""
