# SPDX-License-Identifier: Apache-2.0
"""Any other store, by three functions."""

from __future__ import annotations

import functools
import importlib
import re
from collections.abc import Callable, Sequence
from typing import Any

from airflow_provider_adobe_audiences.errors import AdobeConfigurationError, SecretStoreError
from airflow_provider_adobe_audiences.rotation.stores.base import PLACEHOLDER, SecretStore

_IS_MODULE = re.compile(r"[\w-]+").fullmatch


class CallableStore(SecretStore):
    """A store made of functions.

    :param read: returns the secret, or ``None`` for none. Like the others, a function or its import path
        ``package.module.name``; only the latter can be waited with in the triggerer.
    :param write: takes the secret and stores it; raises when it is not stored.
    :param prove_writable: raises, or returns ``False``, when ``write`` will not work. Without it, what is
        there is written back, which in the moment when somebody else writes could undo that for as long as
        this rotation takes.
    :param key: when the value is a JSON object: the key of the token. Other keys are kept.
    :param loggers: loggers of the client that the functions use; they say nothing below INFO meanwhile.
    :param name: for messages.
    """

    def __init__(
        self,
        read: Callable[[], str | None] | str,
        write: Callable[[str], Any] | str | None = None,
        prove_writable: Callable[[], Any] | str | None = None,
        *,
        key: str | None = None,
        loggers: Sequence[str] = (),
        name: str = "the secret store",
    ) -> None:
        self._check_texts({"key": key}, name=name)
        self._loggers = (loggers,) if isinstance(loggers, str) else tuple(loggers)
        if isinstance(loggers, str) or not all(isinstance(logger, str) for logger in self._loggers):
            raise AdobeConfigurationError(
                f"CallableStore: argument 'loggers' is {loggers!r}: should be a list of names"
            )
        self.key = key
        self._functions = {"read": read, "write": write, "prove_writable": prove_writable}
        self._name = name
        for what, function in self._functions.items():
            if function is None and what != "read":
                continue
            if not (_is_import_path(function) if isinstance(function, str) else callable(function)):
                # A text may be the token itself.
                given = "a text" if isinstance(function, str) else f"of type {type(function).__name__}"
                raise AdobeConfigurationError(
                    f"CallableStore: argument {what!r} is {given}: should be a function or its import path, "
                    "such as 'package.module.name'"
                )

    def quiet_loggers(self) -> tuple[str, ...]:
        """Return the loggers that were named for this store."""
        return self._loggers

    def __str__(self) -> str:
        return self._name

    def _function(self, what: str) -> Callable[..., Any]:
        function = self._functions[what]
        if function is None:
            raise AdobeConfigurationError(
                f"{self}: CallableStore was made without {what}, so it can only be read"
            )
        if isinstance(function, str):
            module, _, name = function.rpartition(".")
            function = getattr(importlib.import_module(module), name)
        assert callable(function)
        return function

    def _read(self) -> str | None:
        value: str | None = self._function("read")()
        return value

    def _write(self, secret: str) -> None:
        self._function("write")(secret)

    def _prove_writable(self) -> None:
        if self._functions["prove_writable"] is not None:
            if self._function("prove_writable")() is False:
                raise SecretStoreError(f"{self} cannot be written, as its prove_writable says")
            return
        value = self._value() or PLACEHOLDER
        failure = self._attempt("proven writable", functools.partial(self._write, value), value)
        if isinstance(failure, BaseException):
            raise failure

    def reference(self) -> tuple[str, list[Any], dict[str, Any]]:
        """Return how to make this store again, if its functions are import paths.

        :raises AdobeConfigurationError: when they are functions.
        """
        if not all(function is None or isinstance(function, str) for function in self._functions.values()):
            raise AdobeConfigurationError(
                f"{self} is made of functions, which cannot be handed to the triggerer",
                hint=(
                    "Give their import paths ('package.module.name') instead, or wait with deferrable=False."
                ),
            )
        return super().reference()


def _is_import_path(text: str) -> bool:
    *modules, name = text.split(".")
    # Files of Dags may have dashes in their names. A token with dots is longer.
    return len(text) <= 100 and bool(modules) and name.isidentifier() and all(map(_IS_MODULE, modules))
