# SPDX-License-Identifier: Apache-2.0
"""Bodies on their way: files to Adobe in pieces, and responses of Adobe, bounded in memory and in time."""

from __future__ import annotations

import asyncio
import io
import re
import socket
import time
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import IO, Any, Self

from airflow_provider_adobe_audiences.adobe.client.call import Content
from airflow_provider_adobe_audiences.errors import AdobeSourceError
from airflow_provider_adobe_audiences.text import counted

MAX_RESPONSE_BYTES = 16 * 1024 * 1024
# The only encoding that is asked for. HTTP clients also unpack what was not asked for, several layers of it,
# each a thousandfold.
ACCEPTED_ENCODING = "gzip"
UPLOAD_PIECE = 1024 * 1024
_PIECE = 64 * 1024


_WEB_PAGE = re.compile(rb"\s*<(!doctype html|html|head|body)\b", re.IGNORECASE)


def is_web_page(beginning: bytes) -> bool:
    """Return whether a body that begins so is a page for people, such as the login page of a network.
    Adobe sends none with success.

    :param beginning: of the body, any number of bytes.
    """
    return _WEB_PAGE.match(beginning) is not None


class BadResponse(Exception):
    """The response passed the limit, in bytes or in time, or it is not as long, or not packed, as
    announced.
    """


class Upload:
    """A :class:`Content` as requests wants it: of known length, readable in pieces, for one attempt.

    :param content: what to send.
    """

    def __init__(self, content: Content) -> None:
        self._content = content
        self._left = content.length

    def __enter__(self) -> Self:
        try:
            self._source = self._content.open()
        except OSError as error:
            raise AdobeSourceError(f"the source cannot be opened: {error}") from error
        return self

    def __exit__(self, *_: object) -> None:
        self._source.close()

    def __len__(self) -> int:
        return self._content.length

    def __iter__(self) -> Any:
        return iter(lambda: self.read(UPLOAD_PIECE), b"")

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes; none after the last one.

        :param size: how many at most; all that are left by default.
        :raises AdobeSourceError: when the source cannot be read, or is shorter than it was said to be.
        """
        if self._left <= 0:
            return b""
        try:
            piece = self._source.read(self._left if size is None or size < 0 else min(size, self._left))
        except OSError as error:
            # Raised as it is, the HTTP client would take it for a broken connection.
            raise AdobeSourceError(f"the source cannot be read: {error}") from error
        if not piece:
            raise AdobeSourceError(
                f"the source ended {self._left} bytes before the expected {self._content.length}"
            )
        self._left -= len(piece)
        return piece


async def pieces(upload: Upload) -> AsyncIterator[bytes]:
    """Yield what is to be uploaded, read in a thread.

    :param upload: one attempt.
    """
    while piece := await asyncio.to_thread(upload.read, UPLOAD_PIECE):
        yield piece


@dataclass(frozen=True, slots=True)
class Download:
    """Where the body of a response goes to, in one attempt after the other.

    :param file: a file that can be written and cut off.
    :param begin: its position where the body begins.
    :param length: how many bytes there must be; ``None`` when that is not known.
    """

    file: IO[bytes]
    begin: int
    length: int | None

    def receive(self, pieces: Iterator[bytes], seconds: float) -> None:
        """Write what comes; large files may take long, but not for ever.

        :param pieces: of the body, unpacked.
        :param seconds: how long the next megabyte may take.
        :raises BadResponse: when there is more or less than announced, it takes too long, or it is a web
            page.
        """
        self._write(lambda: (self.file.seek(self.begin), self.file.truncate()))
        received, milestone, deadline = 0, 0, time.monotonic() + seconds
        for piece in pieces:
            if not received and is_web_page(piece):
                raise BadResponse("a web page came instead of the file")
            received += len(piece)
            if self.length is not None and received > self.length:
                raise BadResponse(
                    f"more than the {self.length} bytes came that Adobe had announced; they were not read "
                    "further"
                )
            self._write(lambda piece=piece: self.file.write(piece))
            if received - milestone >= UPLOAD_PIECE:
                milestone, deadline = received, time.monotonic() + seconds
            elif time.monotonic() > deadline:
                raise BadResponse(
                    f"the response was not complete, and less than 1 MB of it came in the last "
                    f"{counted(seconds, 'second')}"
                )
        self._write(self.file.flush)
        if self.length is not None and received < self.length:
            raise BadResponse(f"{received} bytes came, not the {self.length} that Adobe had announced")

    def _write(self, do: Callable[..., object]) -> None:
        try:
            do()
        except OSError as error:
            # Raised as it is, the HTTP client would take it for a broken connection.
            raise AdobeSourceError(
                f"what Adobe sends cannot be written: {error.strerror}",
                hint="Make room on the worker's disk, then run the task again.",
            ) from error


def check_size(received: int, deadline: float, seconds: float) -> None:
    """Raise :class:`BadResponse` when so many bytes are too many, or the deadline is over.

    :param received: bytes.
    :param deadline: by the monotonic clock.
    :param seconds: how long it could take, for the message.
    """
    if received > MAX_RESPONSE_BYTES:
        raise BadResponse(
            f"the response is larger than {MAX_RESPONSE_BYTES // (1024 * 1024)} MB and was not read further"
        )
    if time.monotonic() > deadline:
        raise BadResponse(f"the response was not complete after {counted(seconds, 'second')}")


class Unpacker:
    """Unpacks a body in pieces of bounded size.

    :param encoding: value of ``Content-Encoding``.
    :raises BadResponse: for any encoding but gzip, also from the methods when the body is not what it says.
    """

    def __init__(self, encoding: str | None) -> None:
        encoding = (encoding or "identity").strip().lower()
        if encoding not in ("identity", "gzip", "x-gzip"):
            raise BadResponse("the response is encoded in a way that was not asked for")
        self._packed = encoding != "identity"
        self._stream: Any = None

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield what ``data`` unpacks to.

        :param data: as it came.
        :raises BadResponse: when it is not packed as announced.
        """
        if not self._packed:
            yield data
            return
        while data:
            if self._stream is None or self._stream.eof:
                self._stream = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
            try:
                yield self._stream.decompress(data, _PIECE)
            except zlib.error:
                raise BadResponse("the response cannot be unpacked") from None
            data = self._stream.unconsumed_tail or self._stream.unused_data

    def finish(self) -> None:
        """Check that the body was whole.

        :raises BadResponse: when it was not.
        """
        if self._stream is not None and not self._stream.eof:
            raise BadResponse("the response broke off before it was unpacked")


class _UntilDeadline(io.RawIOBase):
    """Reads from a socket. Whatever arrives restarts the socket's own timeout, but not the deadline."""

    def __init__(self, raw: io.RawIOBase) -> None:
        self._raw = raw
        self.deadline = float("inf")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if time.monotonic() > self.deadline:
            raise TimeoutError("the response took too long")
        return self._raw.readinto(buffer)

    def close(self) -> None:
        if not self.closed:
            self._raw.close()
            super().close()


def bounded_steps(seconds: float) -> type[Any]:
    """Return a class of responses for :mod:`http.client` that begin, and go on, within ``seconds``.

    Without it a head that drips, an endless row of ``100 Continue`` or an endless trailer would hold the
    caller for ever.

    :param seconds: for the head, and for each further reading.
    """
    import http.client

    class BoundedSteps(http.client.HTTPResponse):
        def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
            super().__init__(sock, *args, **kwargs)
            self._reader: _UntilDeadline | None = None
            if isinstance(sock, socket.socket):  # TLS inside of TLS, to a proxy, is none
                self.fp.close()
                self._reader = _UntilDeadline(sock.makefile("rb", buffering=0))
                self.fp = io.BufferedReader(self._reader)
                self._reader.deadline = time.monotonic() + seconds

        def read1(self, n: int = -1) -> bytes:
            if self._reader is not None:
                self._reader.deadline = time.monotonic() + seconds
            return super().read1(n)

    return BoundedSteps


def unpacked(raw: Any, encoding: str | None) -> Iterator[bytes]:
    """Yield the body of a response of requests.

    :param raw: the response of urllib3.
    :param encoding: value of ``Content-Encoding``.
    """
    unpacker = Unpacker(encoding)
    # read1 returns what has arrived, so that a response that drips cannot hold us beyond the deadline.
    while packed := raw.read1(_PIECE, decode_content=False):
        yield from unpacker.feed(packed)
    unpacker.finish()
