# SPDX-License-Identifier: Apache-2.0
"""One family of errors: what happened, where, and what to do next."""

from __future__ import annotations

import re
import traceback
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar

from airflow_provider_adobe_audiences.text import one_line, seen

E = TypeVar("E", bound="AdobeError")
X = TypeVar("X", bound=BaseException)


class AdobeError(Exception):
    """Something at, or on the way to, an Adobe service failed.

    :ivar service: which service, as :class:`~.call.Service`, or ``None`` when it failed before a call
        existed.
    :ivar call: the name of the call, such as ``create batch``.
    :ivar method: HTTP method.
    :ivar path: path of the request, without its query.
    :ivar status: HTTP status, or ``None`` when there was no response.
    :ivar code: Adobe's own error code.
    :ivar message: Adobe's message, or ours.
    :ivar request_id: Adobe's id of the request, for Adobe's support.
    :ivar hint: what the reader can do next.
    :ivar transient: whether repeating the task later may help.
    """

    transient = False
    default_hint = "Read the message; the log above shows what was done before."

    def __init__(
        self,
        message: str,
        *,
        service: str | None = None,
        call: str | None = None,
        method: str | None = None,
        path: str | None = None,
        status: int | None = None,
        code: str | None = None,
        request_id: str | None = None,
        hint: str | None = None,
    ) -> None:
        self.message = message = seen(message)
        self.service = service
        self.call = call
        self.method = method
        self.path = path and one_line(path)
        self.status = status
        self.code = code and one_line(code)
        self.request_id = request_id and one_line(request_id)
        self.hint = hint or self.default_hint
        super().__init__(message)

    def __str__(self) -> str:
        # Each on a line of its own: Airflow's log does not wrap.
        lines = [f"{self._where()}{_sentence(seen(self.message))}"]
        if self.request_id:
            lines.append(f"Request id: {self.request_id}")
        return "\n".join([*lines, f"What to do: {seen(self.hint)}"])

    @property
    def summary(self) -> str:
        """What happened and Adobe's id in one line without the remedy, for a log or a list."""
        request = f" Request id: {self.request_id}." if self.request_id else ""
        return f"{self._where()}{_sentence(one_line(self.message))}{request}"

    def _where(self) -> str:
        if self.service is None:
            return ""
        call = f", {self.call}" if self.call else ""
        request = f": {self.method} {self.path}" if self.method and self.path else ""
        answered = f" answered {self.status}" if self.status is not None else ""
        code = f" [{self.code}]" if self.code else ""
        return f"{self.service}{call}{request}{answered}{code}: "

    def as_json(self) -> dict[str, Any]:
        """Return class, attributes and cause as plain JSON, for the event of a trigger.

        :returns: what :func:`from_json` makes the same error of, with the same text.
        """
        cause = {"cause": self.__cause__.as_json()} if isinstance(self.__cause__, AdobeError) else {}
        return {
            "error": type(self).__name__,
            "transient": self.transient,
            **cause,
            "attributes": {name: _as_json(value) for name, value in vars(self).items()},
        }

    def __reduce__(self) -> tuple[Any, ...]:
        # Exceptions cross processes in Airflow; keyword-only arguments need help with that.
        return _restore, (
            type(self),
            self.message,
            {k: v for k, v in self.__dict__.items() if k != "message"},
        )


def _restore(kind: type[AdobeError], message: str, state: dict[str, Any]) -> AdobeError:
    error = kind(message)
    error.__dict__.update(state)
    return error


class AdobeConfigurationError(AdobeError, ValueError):
    """The connection, or an argument, cannot work. Nothing was sent."""

    default_hint = "Correct the connection or the argument; nothing was sent to Adobe."


class AdobeAuthenticationError(AdobeError):
    """The credential or a token was refused."""

    default_hint = (
        "Check client id and client secret of the connection against the credential in Adobe's Developer "
        "Console, and that its scopes and product profiles cover this service. With Audience Manager's "
        "password grant, check username and user_password, too."
    )


class AdobePermissionError(AdobeError):
    """The credential is valid but may not do this."""

    default_hint = (
        "Ask your Adobe administrator to add the credential to a product profile (or role) that allows this, "
        "and check organisation id and sandbox of the connection."
    )


class AdobeNotFoundError(AdobeError):
    """Adobe does not know the thing, or the path."""

    default_hint = (
        "Check the id, and that the connection's sandbox (or tenant, or path prefix) is the one that holds "
        "it."
    )


class AdobeConflictError(AdobeError):
    """The thing exists already, or its state forbids the change."""

    default_hint = "Look at what exists at Adobe now; repeating the same request will not help."


class AdobeValidationError(AdobeError):
    """Adobe refused the content of the request."""

    default_hint = (
        "Correct the value that the message names; a retry of the same request will be refused again."
    )


class AdobeRateLimitError(AdobeError):
    """Too many requests, and waiting for longer than the configured deadline.

    :ivar retry_after: seconds that Adobe asked to wait, if it did.
    """

    transient = True
    default_hint = (
        "Let the task retry later, lower its concurrency, or set 'Requests per minute' on the connection."
    )
    retry_after: float | None = None


class AdobeServerError(AdobeError):
    """Adobe failed."""

    transient = True
    default_hint = "Let the task retry; if it lasts, give the request id to Adobe's support."


class AdobeTransportError(AdobeError):
    """No response: DNS, TCP, TLS, a proxy or a timeout."""

    transient = True
    default_hint = (
        "Check host names, proxy and TLS settings of the connection, and the network of the worker; then let "
        "the task retry."
    )


class AdobeResponseError(AdobeError):
    """A response that cannot be understood: not JSON, another shape than documented, or too large."""

    transient = True
    default_hint = "Check that the URL in the connection is Adobe's and that no proxy answers in its place."


class AdobeSourceError(AdobeError):
    """The data to send cannot be read, or changed while it was being sent; or what was received cannot be
    written.
    """

    transient = True
    default_hint = (
        "Check that nothing rewrites the source while the task runs, and that the worker may read it; then "
        "run again."
    )


class AdobeUnknownOutcomeError(AdobeError):
    """A creating request was sent, and it is not known whether Adobe processed it."""

    transient = True
    default_hint = (
        "Look whether it exists at Adobe before sending it again. Operators of this package do so when they "
        "are retried."
    )


class AdobeJobFailedError(AdobeError):
    """Adobe accepted the work and reports that it failed.

    :ivar batch_id: Adobe's id of the batch, if the work is one.
    :ivar external_id: the caller's id of the batch.
    :ivar records_failed: rows that Adobe rejected, as far as it says.
    :param message: what failed.
    """

    default_hint = "Read Adobe's errors in the message, correct the data, and run again."

    def __init__(
        self,
        message: str,
        *,
        batch_id: str | None = None,
        external_id: str | None = None,
        records_failed: int | None = None,
        **details: Any,
    ) -> None:
        super().__init__(message, **details)
        self.batch_id = batch_id
        self.external_id = external_id
        self.records_failed = records_failed


class AdobeBatchLostError(AdobeJobFailedError):
    """Somebody else aborted a batch, or took it out of its dataset, while a task worked on it."""

    transient = True
    default_hint = (
        "Run the task again: a new batch follows. Spread over several tasks, clear the one that creates the "
        "batch, with everything downstream. If this repeats, find out who aborts batches of this dataset."
    )


class AdobeJobTimeoutError(AdobeError):
    """Adobe did not finish within the time allowed. The work may still be going on."""

    transient = True
    default_hint = (
        "Adobe goes on working. A retry finds the work and waits again; or raise the task's timeout."
    )


def _sentence(text: str) -> str:
    text = text.strip()
    return text if re.search(r"[.!?:…][\"')]*$", text) else f"{text}."


class AdobeTriggerError(AdobeError):
    """The triggerer could not find out, or said something that is not understood."""

    transient = True
    default_hint = (
        "Read the triggerer's log. A retry of the task finds what was already done at Adobe and waits again."
    )


class DesiredStateError(AdobeConfigurationError):
    """The desired state cannot be used. Nothing was sent."""

    default_hint = "Correct the file (or the value from the upstream task); nothing was sent to Adobe."


class AmbiguousGroupsError(AdobeConflictError):
    """It is not clear which live group is meant. Nothing was changed."""

    default_hint = (
        "Name the group that is meant with groupId, or tidy up in Audience Manager; nothing was changed."
    )


class PlanRefusedError(AdobeError):
    """A plan from an earlier task cannot be applied. Nothing was changed."""

    default_hint = "Run the planning task again and have the new plan approved; nothing was changed."


class GuardError(AdobeError):
    """A plan does more than it was allowed to. Nothing was changed."""

    default_hint = (
        "If the plan is what you want, set the named parameters and run again; if not, correct the desired "
        "groups."
    )


class StalePlanError(AdobeConflictError):
    """The world moved between reading and writing. What was not written yet was not written."""

    transient = True
    default_hint = "Somebody else changes the same groups now. A retry plans again from what is true then."


class SideEffectError(AdobeError):
    """Adobe changed more than was asked for."""

    default_hint = (
        "Stop using this for updates of groups until it is understood: compare members and wildcards of the "
        "group in Audience Manager's "
        "user interface with the values named here, and restore them."
    )


class ApplyError(AdobeError):
    """Some changes failed, or did not come true. A retry plans again from what is true then.

    :ivar results: what became of each change.
    """

    default_hint = "Read what failed above. What has succeeded stays; running again does only what is left."
    results: tuple[Any, ...] = ()


class SecretStoreError(AdobeError):
    """The secret store could not be read or written."""

    transient = True
    default_hint = "Check the store and the credential it is used with, then run again."


class SecretStoreConflict(SecretStoreError):
    """Somebody else has written since the store was read; nothing was overwritten."""


def from_json(stored: Any) -> AdobeError:
    """Return the error that :meth:`AdobeError.as_json` has described.

    :param stored: the description. One of another version of this package may name a class that is not known
        here, and anything else may have come in its place: both become an error too, never a success.
    :returns: an error of the same class, with the same attributes, cause and text.
    """
    if not isinstance(stored, Mapping) or not isinstance(stored.get("attributes"), Mapping):
        return AdobeTriggerError(f"an error was reported that cannot be read: {one_line(str(stored))}")
    kind = all_errors().get(str(stored.get("error")), AdobeError)
    error = kind(str(stored["attributes"].get("message") or "the error has no message"))
    for name, value in stored["attributes"].items():
        if name == "args" or callable(getattr(kind, name, None)) or not name.isidentifier():
            continue  # no attribute of an error, but a part of its class
        setattr(error, name, tuple(value) if isinstance(getattr(kind, name, None), tuple) else value)
    if "transient" in stored and bool(stored["transient"]) != error.transient:
        error.transient = bool(stored["transient"])
    if "cause" in stored:
        error.__cause__ = from_json(stored["cause"])
    return error


def without_frames(error: X) -> X:
    """Return ``error`` without the frames that it, and what it was raised from, passed through.

    Frames hold local variables, secrets and customers' data among them, and crash reporters print those.
    To be raised at the edge of what handles secrets: ``raise without_frames(error)``. The text of an error of
    ours says what its causes said, and Airflow's own are signals; where anything else came from is kept as a
    note, as lines of code.

    :param error: any exception; it is changed.
    """
    known = isinstance(error, AdobeError) or type(error).__module__.startswith("airflow.")
    if isinstance(error, Exception) and not known and error.__traceback__:
        frames = traceback.extract_tb(error.__traceback__)
        lines = [f"  {frame.filename}:{frame.lineno} in {frame.name}" for frame in frames]
        error.add_note("\n".join(["It came from:", *lines]))
    left: list[BaseException | None] = [error]
    done: set[int] = set()
    while left:
        part = left.pop()
        if part is None or id(part) in done:
            continue
        done.add(id(part))
        part.__traceback__ = None
        if part.__suppress_context__ or isinstance(part, AdobeError):
            part.__context__ = None
        left += [part.__cause__, part.__context__]
    return error


class WithoutFrames:
    """``with WithoutFrames():`` around what handles secrets: whatever leaves it has been through
    :func:`without_frames`.
    """

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if error is not None:
            without_frames(error)


def all_errors() -> dict[str, type[AdobeError]]:
    """Return every class of this family by its name."""
    return {
        name: kind
        for name, kind in globals().items()
        if isinstance(kind, type) and issubclass(kind, AdobeError)
    }


def _as_json(value: Any) -> Any:
    if isinstance(value, str):  # a StrEnum as well
        return str(value)
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Mapping):
        return {str(name): _as_json(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_as_json(inner) for inner in value]
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: _as_json(getattr(value, field.name)) for field in fields(value) if field.repr}
    return one_line(str(value))


def error_at(kind: type[E], call: Any, message: str, **details: Any) -> E:
    """Return an error of ``kind`` that carries where ``call`` goes to.

    :param kind: the class.
    :param call: what was, or would have been, sent.
    :param message: what happened.
    """
    return kind(message, service=call.service, call=call.name, method=call.method, path=call.path, **details)
