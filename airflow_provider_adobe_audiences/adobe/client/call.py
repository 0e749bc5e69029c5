# SPDX-License-Identifier: Apache-2.0
"""An API call is a value. How it is sent is the business of :mod:`.flow` and its drivers."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from typing import IO, Any, Generic, TypeVar
from urllib.parse import quote

from pydantic import SecretStr

T = TypeVar("T")

JSON = "application/json"
ANY = "*/*"

_MAX_MEMORY = 60 * 1024 * 1024
# Python gives every character of a text the size of the largest; these bytes begin one beyond U+FFFF, or
# beyond U+00FF.
_FOUR_BYTES, _THREE_BYTES = re.compile(rb"[\xf0-\xff]"), re.compile(rb"[\xc4-\xff]")


class Service(StrEnum):
    """The Adobe service that answers a call; decides host, authentication and headers."""

    IMS = "Adobe IMS"
    EXPERIENCE_PLATFORM = "Experience Platform"
    AUDIENCE_MANAGER = "Audience Manager"
    TARGET = "Target Admin API"
    TARGET_EDGE = "Target edge"


class Idempotency(Enum):
    """What may be done when it is unknown whether a call was processed."""

    READ = "changes nothing: send it again"
    IDEMPOTENT = "leaves the same state however often it is processed: send it again"
    CREATE = "processed twice it does harm: send it again only if it surely was not processed"


@dataclass(frozen=True, slots=True)
class Response:
    """What came back. Header names are lower case; ``body`` is already decompressed.

    :param status: HTTP status.
    :param headers: their names in lower case.
    :param body: all of it; empty for a download.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    def json(self) -> Any:
        """Return the body as JSON; raise :class:`ValueError` when it is not, or would fill too much
        memory.
        """
        if self._memory() > _MAX_MEMORY:
            raise ValueError("the response holds too many values")
        return json.loads(self.body)

    def _memory(self) -> int:
        """Return how many bytes the body, its text and its values fill at most: a few million '{},' are a
        bomb, too.
        """
        character = 4 if _FOUR_BYTES.search(self.body) else 2 if _THREE_BYTES.search(self.body) else 1
        values = 240 * self.body.count(b"{") + 64 * (self.body.count(b"[") + self.body.count(b","))
        return len(self.body) * (1 + 2 * character) + values

    @property
    def text(self) -> str:
        """The body as text, whatever it holds."""
        return self.body.decode("utf-8", "replace")


@dataclass(frozen=True, slots=True)
class Content:
    """Bytes to send that may be larger than memory.

    :param open: opens the source at the first byte to send; called once per attempt, so that a retry starts
        afresh.
    :param length: how many bytes follow, exactly.
    :param media_type: value of ``Content-Type``.
    """

    open: Callable[[], IO[bytes]]
    length: int
    media_type: str = "application/octet-stream"


def no_content(response: Response) -> None:
    """Parse a response whose body does not matter.

    :param response: is not looked at.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Call(Generic[T]):
    """One request to one endpoint.

    :param name: the operation in Adobe's words, for logs and errors, such as ``create batch``.
    :param service: who answers.
    :param method: HTTP method.
    :param path: path below the service's base URL, built with :func:`path` so that values cannot break out of
        it.
    :param idempotency: see :class:`Idempotency`.
    :param parse: turns a 2xx :class:`Response` into the result. Raises :class:`ValueError` on an unexpected
        shape.
    :param params: query parameters, in order.
    :param headers: further headers of this endpoint; authentication is added when it is sent.
    :param accept: value of ``Accept``.
    :param json: JSON body.
    :param form: form body.
    :param content: a body of raw bytes.
    :param url: absolute URL that replaces base and path (one that Adobe returned). Foreign hosts are refused.
    :param bearer: a token other than the IMS token, for the Target edge. A text is kept as a secret.
    :param treat_as_success: statuses beyond 2xx that ``parse`` understands, such as a 404 that means *none*.
    """

    name: str
    service: Service
    method: str
    path: str
    idempotency: Idempotency
    parse: Callable[[Response], T]
    params: Sequence[tuple[str, str]] = ()
    headers: Mapping[str, str | SecretStr] = field(default_factory=dict, repr=False)
    accept: str = JSON
    json: Any = field(default=None, repr=False)
    form: Mapping[str, str | SecretStr] | None = field(default=None, repr=False)
    content: Content | None = field(default=None, repr=False)
    url: str | None = None
    bearer: SecretStr | str | None = field(default=None, repr=False)
    treat_as_success: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if isinstance(self.bearer, str):
            object.__setattr__(self, "bearer", SecretStr(self.bearer))

    def __str__(self) -> str:
        return f"{self.name} ({self.service}: {self.method} {self.path})"


@dataclass(frozen=True, slots=True)
class Listing(Generic[T]):
    """How the status of many jobs is asked for at once.

    :param call: makes the call for some keys; its result has the status of each that Adobe listed. Who is
        left out asks alone, and meets whatever is wrong there.
    :param takes: whether a key may be listed; one that a URL would have to encode may not.
    :param max_keys: the most keys of one call.
    :param max_characters: what they may fill of the URL, each with the ``%2C`` that parts it from the next.
    """

    call: Callable[[Sequence[str]], Call[Mapping[str, T]]]
    takes: Callable[[str], bool]
    max_keys: int
    max_characters: int


_UNSAFE_SEGMENT = re.compile(r"[\x00-\x1f\x7f/\\?#]|%2f|%5c|%00", re.IGNORECASE)


def segment(value: object, what: str = "id") -> str:
    """Return ``value`` quoted for use as one segment of a path.

    :param value: an id or a name; anything that is no text is written as one.
    :param what: how messages call it.
    :raises ValueError: when it is empty or could leave its segment (``/``, ``..``, a line break, ``%2f``).
    """
    text = str(value)
    if not text.strip():
        raise ValueError(f"{what} is empty")
    if _UNSAFE_SEGMENT.search(text) or text in {".", ".."}:
        raise ValueError(
            f"{what} {text!r} may not contain '/', '\\', '?', '#', '%2f' or control characters, nor be '.' "
            "or '..'"
        )
    return quote(text, safe="")


def checked_segment(value: str) -> str:
    """Return an id as it is.

    :param value: to stand in a path.
    :raises ValueError: as :func:`segment` does.
    """
    segment(value, "the id")
    return value


def given(**fields: T | None) -> dict[str, T]:
    """Return the fields, or parameters, of a call that have a value.

    :param fields: by name; ``None`` for what is left out.
    """
    return {name: value for name, value in fields.items() if value is not None}


def path(template: str, **values: object) -> str:
    """Fill ``{names}`` of ``template`` with values quoted by :func:`segment`.

    :param template: a path with ``{names}``, which are all fixed by Adobe but for them.
    :returns: the path, in ASCII.
    """
    return template.format(**{name: segment(value, name) for name, value in values.items()})
