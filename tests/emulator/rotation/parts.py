# SPDX-License-Identifier: Apache-2.0
"""What the tests of the rotation share: a store and an intent log that fail or kill when told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from airflow_provider_adobe_audiences.rotation.decision import Intent
from airflow_provider_adobe_audiences.rotation.outcome import Rotation
from airflow_provider_adobe_audiences.rotation.stores import SecretStore

KEY = "emulator-client-secret"
TOKEN_PATH = "authentication/token"


class Crash(BaseException):
    """Stands for a process that is killed: nothing after it runs, no except clause of the code catches it."""


class MemoryStore(SecretStore):
    """A store whose every operation can fail or kill. ``faults`` maps an operation to what happens at its
    n-th call.
    """

    def __init__(self, value: str | None = None) -> None:
        self.value = value
        self.calls: dict[str, int] = {"read": 0, "write": 0, "prove_writable": 0}
        self.faults: dict[tuple[str, int], Exception | Crash] = {}
        self.after: dict[tuple[str, int], Callable[[], Any]] = {}

    def __str__(self) -> str:
        return "the memory store"

    def _at(self, what: str) -> None:
        self.calls[what] += 1
        fault = self.faults.get((what, self.calls[what]))
        if fault is not None:
            raise fault

    def _then(self, what: str) -> None:
        if action := self.after.get((what, self.calls[what])):
            action()

    def _read(self) -> str | None:
        self._at("read")
        value = self.value
        self._then("read")
        return value

    def _write(self, secret: str) -> None:
        self._at("write")
        self.value = secret
        self._then("write")

    def _prove_writable(self) -> None:
        self._at("prove_writable")


class Intents:
    """An intent log that outlives an attempt, as Airflow's task state store does."""

    def __init__(self) -> None:
        self.intent: Intent | None = None
        self.on_save: Callable[[], Any] = lambda: None
        self.on_clear: Callable[[], Any] = lambda: None

    def load(self) -> Intent | None:
        return self.intent

    def save(self, intent: Intent) -> None:
        self.intent = intent
        self.on_save()

    def clear(self) -> None:
        self.on_clear()
        self.intent = None


Rotate = Callable[..., Rotation]


def posts(emulator: Any) -> int:
    return len(emulator.journal.find("POST", TOKEN_PATH))
