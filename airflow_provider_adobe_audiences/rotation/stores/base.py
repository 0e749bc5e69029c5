# SPDX-License-Identifier: Apache-2.0
"""What every store can do, and how its failures are told without telling the secret."""

from __future__ import annotations

import importlib
import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar

from airflow_provider_adobe_audiences.errors import AdobeConfigurationError, AdobeError, SecretStoreError

# Stands in a store that cannot hold an empty secret, until there is a token.
PLACEHOLDER = "no-token-yet"

_MAX_REASON = 300


class SecretStore(ABC):
    """Keeps one secret. Subclasses implement ``_read``, ``_write`` and ``_prove_writable``.

    Constructing one does no I/O and needs no secret, so it may stand in a DAG file.

    :raises AdobeConfigurationError: from the constructor, when a package that the store needs is not
        installed.
    """

    #: Module that must be importable -> how to install it.
    requires: ClassVar[Mapping[str, str]] = {}

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        for module, how in cls.requires.items():
            if not is_installed(module):
                raise AdobeConfigurationError(
                    f"{cls.__name__} needs the package that brings {module!r}, which is not installed",
                    hint=how,
                )
        store = super().__new__(cls)
        store._arguments = (args, kwargs)
        return store

    _arguments: tuple[tuple[Any, ...], dict[str, Any]]

    @abstractmethod
    def __str__(self) -> str:
        """Return what and where it is, without its secret."""

    def __repr__(self) -> str:
        return f"<{self}>"

    def read(self) -> str | None:
        """Return the secret as it is now, ``None`` when there is none.

        :raises SecretStoreError: when the store cannot tell.
        """
        with self._failures("read"):
            value = self._read()
        return value if value and value != PLACEHOLDER else None

    def write(self, secret: str) -> None:
        """Replace the secret.

        :raises SecretStoreConflict: in a store with compare-and-set, when somebody else wrote since
            :meth:`read`.
        :raises SecretStoreError: when it is not known to be written.
        """
        with self._failures("written", secret):
            self._write(secret)

    def prove_writable(self) -> None:
        """Prove that :meth:`write` will work, without changing what readers see.

        :raises SecretStoreError: when it will not.
        """
        with self._failures("proven writable"):
            self._prove_writable()

    def reference(self) -> tuple[str, list[Any], dict[str, Any]]:
        """Return class path and arguments, which :func:`store_of` makes the same store of elsewhere. Never a
        secret.
        """
        args, kwargs = self._arguments
        return f"{type(self).__module__}.{type(self).__qualname__}", list(args), dict(kwargs)

    @abstractmethod
    def _read(self) -> str | None: ...

    @abstractmethod
    def _write(self, secret: str) -> None: ...

    @abstractmethod
    def _prove_writable(self) -> None: ...

    @contextmanager
    def _failures(self, what: str, secret: str | None = None) -> Iterator[None]:
        try:
            yield
        except AdobeError:
            raise
        except Exception as error:  # noqa: BLE001  whatever a vendor's client raises
            reason = f"{type(error).__name__}: {error}"
            if secret:
                reason = reason.replace(secret, "***")
            # Not chained: a vendor's exception may carry the secret anywhere.
            failure = SecretStoreError(f"{self} could not be {what} ({reason[:_MAX_REASON]})")
        else:
            return
        raise failure


def store_of(reference: tuple[str, list[Any], dict[str, Any]] | list[Any]) -> SecretStore:
    """Return the store that :meth:`SecretStore.reference` described."""
    class_path, args, kwargs = reference
    module, _, name = class_path.rpartition(".")
    cls = getattr(importlib.import_module(module), name)
    if not (isinstance(cls, type) and issubclass(cls, SecretStore)):
        raise AdobeConfigurationError(f"{class_path} is no secret store")
    store: SecretStore = cls(*args, **kwargs)
    return store


def is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False
