# SPDX-License-Identifier: Apache-2.0
"""What every store can do, and how its failures are told without telling the secret."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from airflow_provider_adobe_audiences.errors import AdobeConfigurationError, AdobeError, SecretStoreError
from airflow_provider_adobe_audiences.text import one_line

# Stands in a store that cannot hold an empty secret, until there is a token.
PLACEHOLDER = "no-token-yet"

# The syntax of a bearer token (RFC 6750, section 2.1).
_BEARER_TOKEN = re.compile(r"[A-Za-z0-9\-._~+/]+=*").fullmatch
# Shorter ones are rather passwords of people.
_MIN_TOKEN_LENGTH = 16
_MAX_REASON = 300
# So many characters in a row of a token may stand in a message: any word may have as many in common with it.
_MAX_QUOTED = 5


class SecretStore(ABC):
    """Keeps one secret. Subclasses implement ``_read``, ``_write`` and ``_prove_writable``.

    Constructing one does no I/O and needs no secret, so it may stand in a DAG file. What is in the store and
    looks like something else than a token is never replaced.

    :raises AdobeConfigurationError: from the constructor, when a package that the store needs is not
        installed.
    """

    #: Module that must be importable -> how to install it.
    requires: ClassVar[Mapping[str, str]] = {}
    #: Loggers of the store's client that would tell at DEBUG what goes over the wire.
    loggers: ClassVar[tuple[str, ...]] = ()
    #: Which key of a JSON object holds the token; ``None`` when the whole value is the token.
    key: str | None = None
    # Whether what is there may be replaced; not known before it was read.
    _replaceable: bool | None = None
    _written = False

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        """Note the arguments, for :meth:`reference`."""
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

    def _check_texts(self, optional: Mapping[str, Any], **required: Any) -> None:
        """Raise unless each argument is a text that is not blank.

        :param optional: those that may be ``None``.
        """
        given = {**required, **{name: value for name, value in optional.items() if value is not None}}
        problems = [
            f"argument {name!r} is {value!r:.120}: should be a text that is not blank"
            for name, value in given.items()
            if not isinstance(value, str) or not value.strip()
        ]
        if problems:
            raise AdobeConfigurationError(f"{type(self).__name__}: {'; '.join(problems)}")

    def quiet_loggers(self) -> tuple[str, ...]:
        """Return the loggers that say nothing below INFO while the store is used."""
        return self.loggers

    @abstractmethod
    def __str__(self) -> str:
        """Return what and where it is, without its secret."""

    def __repr__(self) -> str:
        return f"<{self}>"

    def read(self) -> str | None:
        """Return the secret as it is now, ``None`` when there is none.

        :returns: the secret.
        :raises SecretStoreError: when the store cannot tell.
        """
        found = self._attempt("read", self._token)
        if isinstance(found, BaseException):
            raise found
        return found if found and found != PLACEHOLDER else None

    def write(self, secret: str) -> None:
        """Replace the secret. Other keys of a JSON value are kept.

        :param secret: the new token.
        :raises SecretStoreConflict: in a store with compare-and-set, when somebody else wrote since
            :meth:`read`.
        :raises SecretStoreError: when it is not known to be written, or what is there is no token.
        """
        failure = self._attempt("written", functools.partial(self._replace, secret), secret)
        # Whoever reports this error with the variables of its frames must not find the secret there.
        del secret
        if isinstance(failure, BaseException):
            raise failure

    def prove_writable(self) -> None:
        """Prove that :meth:`write` will work, without changing what readers see.

        :raises SecretStoreError: when it will not.
        """

        def prove() -> None:
            self._check_replaceable()
            self._prove_writable()

        failure = self._attempt("proven writable", prove)
        if isinstance(failure, BaseException):
            raise failure

    def reference(self) -> tuple[str, list[Any], dict[str, Any]]:
        """Return class path and arguments, which :func:`store_of` makes the same store of elsewhere. Never a
        secret.
        """
        args, kwargs = self._arguments
        return f"{type(self).__module__}.{type(self).__qualname__}", list(args), dict(kwargs)

    @abstractmethod
    def _read(self) -> str | None:
        """Return the whole value, ``None`` when there is none."""

    @abstractmethod
    def _write(self, secret: str) -> None:
        """Replace the whole value."""

    @abstractmethod
    def _prove_writable(self) -> None:
        """Raise unless the value could be replaced."""

    def _value(self) -> str | None:
        value: Any = self._read()
        if value is None or isinstance(value, str):
            return value
        raise AdobeConfigurationError(
            f"{self} gave a value of type {type(value).__name__}, where a text or None is expected",
            hint="Let the store return a text: it decodes bytes, and writes anything else as it reads it.",
        )

    def _token(self) -> str | None:
        value = self._value()
        self._replaceable = self._written or not value or is_token(value)
        return _token_in(value, self.key, str(self))

    def _check_replaceable(self) -> None:
        """Raise unless what is there may be replaced."""
        if self.key is not None:
            with_token(self._value(), PLACEHOLDER, self.key, str(self))
            return
        if self._replaceable is None:
            self._token()
        if not self._replaceable:
            if is_token((self._value() or "").strip()):
                raise AdobeConfigurationError(
                    f"{self} holds a token with blanks or a line break around it, which is not replaced",
                    hint="Write it there again without them, or delete it; then run the rotation again.",
                )
            raise AdobeConfigurationError(
                f"{self} holds something that does not look like a token; it is not replaced",
                hint="Check the name of the store. If what it holds may go, delete it first.",
            )

    def _replace(self, secret: str) -> None:
        """Replace the token. Here without compare-and-set: what others write to other keys at the very same
        moment is lost.
        """
        if self.key is None:
            self._check_replaceable()
            self._write(secret)
            self._replaceable = self._written = True
        else:
            self._write(with_token(self._value(), secret, self.key, str(self)))

    def _attempt(self, what: str, action: Callable[[], Any], secret: str | None = None) -> Any:
        """Return what ``action`` returns, or the failure to raise: without frames, which hold the secret."""
        from airflow_provider_adobe_audiences.rotation.stores.quiet import quiet

        try:
            with quiet(self.quiet_loggers()):
                return action()
        except AdobeError as error:
            failure: BaseException = error
        except Exception as error:  # noqa: BLE001  whatever a vendor's client raises
            # Not chained: a vendor's exception may carry the secret anywhere.
            failure = SecretStoreError(f"{self} could not be {what} ({_reason(error, secret)})")
        except BaseException as stop:  # noqa: BLE001  raised again by the caller
            failure = stop
        failure.__context__ = failure.__cause__ = None
        return failure.with_traceback(None)


class ClientStore(SecretStore):
    """A store with a vendor's client, which is made once, and goes to no other process."""

    _kept: Any = None

    @abstractmethod
    def _new_client(self) -> Any:
        """Return a client of the vendor's."""

    def _client(self) -> Any:
        if self._kept is None:
            self._kept = self._new_client()
        return self._kept

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_kept": None}


def _reason(error: Exception, secret: str | None) -> str:
    """Return what went wrong, without the text of an exception that quotes a part of the secret."""
    from airflow_provider_adobe_audiences.adobe.client.redaction import Redactor, all_forms

    kind = type(error).__name__
    if not secret or secret == PLACEHOLDER:
        return one_line(f"{kind}: {error}")[:_MAX_REASON]
    reason = Redactor([secret]).text(f"{kind}: {error}")[: 10 * _MAX_REASON]
    if any(_runs(form) & _runs(reason) for form in all_forms(secret)):
        return f"{kind}, whose text quotes a part of the token and is not shown"
    return one_line(reason)[:_MAX_REASON]


def _runs(text: str) -> set[str]:
    return {text[i : i + _MAX_QUOTED + 1].lower() for i in range(len(text) - _MAX_QUOTED)}


def is_token(value: str) -> bool:
    """Return whether a value looks like a token that may be replaced.

    :param value: what a store holds.
    """
    return value == PLACEHOLDER or (len(value) >= _MIN_TOKEN_LENGTH and bool(_BEARER_TOKEN(value)))


def _token_in(value: str | None, key: str | None, store: str) -> str | None:
    if not value or value == PLACEHOLDER:
        return None
    if key is None:
        if value.lstrip().startswith("{"):
            # Sent as a token, it would tell Adobe what else is in it.
            raise AdobeConfigurationError(
                f"{store} holds JSON, not a token",
                hint="Pass key=…, the name under which the token is kept in it; other keys stay.",
            )
        return value
    found = _json_object(value, key, store).get(key)
    return found if isinstance(found, str) else None


def with_token(value: str | None, secret: str, key: str, store: str) -> str:
    """Return the JSON that a store shall hold: with the new token, and all else as it is, to the character.

    :param value: what it holds now, ``None`` for nothing.
    :param secret: the new token.
    :param key: the key of the token.
    :param store: its name, for messages.
    :raises AdobeConfigurationError: when what the key has now looks like something else than a token.
    """
    token, member = (json.dumps(text, ensure_ascii=False) for text in (secret, key))
    if not value or value == PLACEHOLDER:
        return f"{{{member}: {token}}}"
    content = _json_object(value, key, store)
    check_key(content.get(key), store)
    if key in content:
        start, end = _span(value, key)
        return f"{value[:start]}{token}{value[end:]}"
    before = value[: value.rindex("}")].rstrip()
    return f"{before}{', ' if content else ''}{member}: {token}{value[len(before) :]}"


def _span(text: str, key: str) -> tuple[int, int]:
    """Return where the value of a key begins and ends.

    :param text: a JSON object that has the key.
    """
    end = text.index("{")
    name = None
    while name != key:
        name, end = _DECODER.raw_decode(text, _past_blanks(text, end + 1))
        start = _past_blanks(text, _past_blanks(text, end) + 1)
        _, end = _DECODER.raw_decode(text, start)
        value_end, end = end, _past_blanks(text, end)
    return start, value_end


def _past_blanks(text: str, place: int) -> int:
    return len(text) - len(text[place:].lstrip(" \t\r\n"))


def check_key(found: Any, store: str) -> None:
    """Raise unless the value of a key may be replaced by a token.

    :param found: the value, ``None`` for none.
    :param store: its name, for messages.
    :raises AdobeConfigurationError: when it looks like something else than a token.
    """
    if found and not (isinstance(found, str) and _BEARER_TOKEN(found)):
        raise AdobeConfigurationError(
            f"{store} holds something that does not look like a token; it is not replaced",
            hint="Check key=… of the store. If that value may go, delete it first.",
        )


def _json_object(value: str, key: str, store: str) -> dict[str, Any]:
    try:
        content = _DECODER.decode(value)
    except _NotKept as error:
        raise AdobeConfigurationError(
            f"{store} holds a JSON object with {error}",
            hint="Correct the value, so that every key is there once and every number is one.",
        ) from None
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise AdobeConfigurationError(
            f"{store} holds no JSON object, so it has no key {key!r}",
            hint="Leave key=… out when the whole value is the token; or make it a JSON object first.",
        )
    return content


class _NotKept(ValueError):
    """A part of a JSON value that its readers understand differently, or not at all."""


def _once(members: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(members)
    if len(content) < len(members):
        raise _NotKept("a key that is there twice")
    return content


def _no_number(constant: str) -> Any:
    raise _NotKept(f"{constant}, which is not JSON")


# Numbers are only told from texts: some have more digits than Python converts.
_DECODER = json.JSONDecoder(
    object_pairs_hook=_once, parse_constant=_no_number, parse_int=len, parse_float=len
)


def store_of(reference: tuple[str, list[Any], dict[str, Any]] | list[Any]) -> SecretStore:
    """Return the store that :meth:`SecretStore.reference` described.

    :param reference: class path, positional and keyword arguments.
    :raises AdobeConfigurationError: when the class is no store.
    """
    class_path, args, kwargs = reference
    module, _, name = class_path.rpartition(".")
    cls = getattr(importlib.import_module(module), name)
    if not (isinstance(cls, type) and issubclass(cls, SecretStore)):
        raise AdobeConfigurationError(f"{class_path} is no secret store")
    store: SecretStore = cls(*args, **kwargs)
    return store


def is_installed(module: str) -> bool:
    """Return whether a module can be imported, without importing it.

    :param module: its path.
    """
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False
