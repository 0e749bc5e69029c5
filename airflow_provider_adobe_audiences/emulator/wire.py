# SPDX-License-Identifier: Apache-2.0
"""The layer next to the network: journals each request and applies the fault rules. Pure ASGI, so that
uploads stream.
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
import struct
import uuid
import zlib
from collections.abc import AsyncIterator
from email.utils import formatdate
from typing import TYPE_CHECKING

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .faults import FaultRule, Then
from .journal import Entry
from .responses import JSON
from .routing import CONTROL

if TYPE_CHECKING:
    from .core import Emulator

SAFE_METHODS = {"GET", "HEAD", "OPTIONS"}
#: They create nothing that lasts: tokens, and questions too long for a URL.
READ_ONLY_POSTS = re.compile(r"/ims/token|/oauth/token|/bulk-get$")
SMALL = 65_536
NO_BODY = {204, 304}

RawHeaders = list[tuple[bytes, bytes]]


class Wire:
    """ASGI middleware around all of Adobe's services; the control API passes untouched."""

    def __init__(self, app: ASGIApp, emulator: Emulator) -> None:
        self.app = app
        self.emulator = emulator

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith(CONTROL):
            await self.app(scope, receive, send)
            return
        await _Exchange(self.emulator, scope, receive, send).run(self.app)


class _Exchange:
    """One request with its response."""

    def __init__(self, emulator: Emulator, scope: Scope, receive: Receive, send: Send) -> None:
        self.emulator, self.scope, self._receive, self._send = emulator, scope, receive, send
        self.transport: asyncio.Transport | None = scope.get("extensions", {}).get("emulator.transport")
        query = scope["query_string"].decode("latin-1")
        self.headers = dict(scope["headers"])
        self.target = scope["path"] + (f"?{query}" if query else "")
        self.entry: Entry = emulator.journal.add(
            time=emulator.clock.now(),
            method=scope["method"],
            path=emulator.redactor.text(scope["path"]),
            query=emulator.redactor.text(query),
            headers=emulator.redactor.headers(scope["headers"]),
            write=scope["method"] not in SAFE_METHODS and not READ_ONLY_POSTS.search(scope["path"]),
        )
        scope["emulator.entry"] = self.entry
        binary = self.headers.get(b"content-type", b"").startswith(b"application/octet-stream")
        self._request_room = 0 if binary else emulator.general.journal_bodies
        self._response_room = emulator.general.journal_bodies
        self._request_body = bytearray()
        self._response_body = bytearray()
        self._early: list[Message] = []
        self._silent = False

    async def run(self, app: ASGIApp) -> None:
        """Let the application respond, under the first fault rule that applies."""
        found = self.emulator.faults.match(self.scope["method"], self.target)
        try:
            if found is None:
                await app(self.scope, self.receive, self.relay)
            else:
                self.entry.fault, rule = found
                await self._disturbed(rule, app)
        finally:
            self._note_bodies()

    # -- what the service reads and sends, undisturbed

    async def receive(self) -> Message:
        """Return the next message of the client."""
        return self._early.pop(0) if self._early else await self._read()

    async def _read(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            body = message["body"]
            self.entry.request_bytes += len(body)
            if self._request_room > 0:
                self._request_body += body[: self._request_room]
                self._request_room -= len(body)
        return message

    async def relay(self, message: Message) -> None:
        """Pass a message of the service on to the client."""
        self._note_commit(message)
        await self.send(message)

    async def send(self, message: Message) -> None:
        """Send to the client, and note what it was told."""
        if self._silent:
            return
        if message["type"] == "http.response.start":
            headers: RawHeaders = list(message.get("headers", []))
            names = {name.lower() for name, _ in headers}
            if b"x-request-id" not in names and self.emulator.general.request_id:
                headers.append(
                    (b"x-request-id", self.headers.get(b"x-request-id") or uuid.uuid4().hex.encode())
                )
            if b"date" not in names:
                headers.append((b"date", formatdate(self.emulator.clock.now(), usegmt=True).encode()))
            message["headers"] = headers
            self.entry.status = message["status"]
            self.entry.response_headers = self.emulator.redactor.headers(headers)
        else:
            body = message.get("body", b"")
            self.entry.response_bytes += len(body)
            if self._response_room > 0:
                self._response_body += body[: self._response_room]
                self._response_room -= len(body)
            if not message.get("more_body"):
                self._note_bodies()  # before the client can look
        await self._send(message)

    def _note_commit(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.entry.committed = self.entry.write and message["status"] < 400

    def _note_bodies(self) -> None:
        if self._request_body:
            self.entry.request_body = self.emulator.redactor.text(
                self._request_body.decode("utf-8", "replace")
            )
        if self._response_body:
            self.entry.response_body = self.emulator.redactor.text(
                self._response_body.decode("utf-8", "replace")
            )

    # -- faults

    async def _disturbed(self, rule: FaultRule, app: ASGIApp) -> None:
        phase = rule.phase
        if phase == "body" and (
            int(self.headers.get(b"content-length", b"0")) or b"transfer-encoding" in self.headers
        ):
            await self._disturb_body(rule, app)
            return
        response: list[Message] = []
        if phase == "after":
            response = await self._buffered(app)
        elif int(self.headers.get(b"content-length", b"0")) <= SMALL:
            await self._read_ahead()
        if await self._trouble(rule) == "drop" or rule.drop:
            self._drop(rule)
        elif rule.responds:
            await self._own_response(rule)
        elif rule.reshapes:
            await self._reshape(rule, response or await self._buffered(app))
        elif response:
            for message in response:
                await self.send(message)
        else:
            await app(self.scope, self.receive, self.relay)

    async def _disturb_body(self, rule: FaultRule, app: ASGIApp) -> None:
        """Apply the rule when half of the body has come in; a service that shall not go on sees the client
        leave.
        """
        middle = max(1, int(self.headers.get(b"content-length", b"0")) // 2)
        done = over = False

        async def receive() -> Message:
            nonlocal done, over
            if over:
                return {"type": "http.disconnect"}
            message = await self.receive()
            if not done and self.entry.request_bytes >= middle:
                done = True
                then = await self._trouble(rule)
                if then == "drop" or rule.drop or rule.responds:
                    over = True
                    if then == "drop" or rule.drop:
                        self._drop(rule)
                    return {"type": "http.disconnect"}
            return message

        async def relay(message: Message) -> None:
            if not over:
                await self.relay(message)

        if rule.reshapes:
            await self._reshape(rule, await self._buffered(app, receive))
            return
        try:
            await app(self.scope, receive, relay)
        finally:
            if over and not self._silent:
                await self._own_response(rule)

    async def _read_ahead(self) -> None:
        """Let a small request come in whole, so that every client has sent it when the fault strikes."""
        while not self._early or self._early[-1].get("more_body"):
            self._early.append(await self._read())

    async def _buffered(self, app: ASGIApp, receive: Receive | None = None) -> list[Message]:
        """Let the service do its work and keep its response back."""
        messages: list[Message] = []

        async def keep(message: Message) -> None:
            self._note_commit(message)
            messages.append(message)

        await app(self.scope, receive or self.receive, keep)
        return messages

    async def _trouble(self, rule: FaultRule) -> Then:
        if rule.delay:
            await asyncio.sleep(rule.delay)
        if rule.expire_token:
            scheme, _, token = self.headers.get(b"authorization", b"").decode("latin-1").partition(" ")
            self.emulator.expire_token(token if scheme.lower() == "bearer" else "")
        if rule.hold:
            then = await self.emulator.holds.park(
                self.scope["method"], self.target, rule.phase, self.entry.sequence
            )
            # A client that went away meanwhile never finished asking, and can get no response.
            return "drop" if self._gone() and then != "process" else then
        return "continue"

    def _gone(self) -> bool:
        return self.transport is not None and self.transport.is_closing()

    def _drop(self, rule: FaultRule) -> None:
        self._silent = True
        self.entry.status = None
        if self.transport is None:
            raise RuntimeError("a connection can only be dropped when the emulator runs on its own server")
        if rule.drop == "close":
            self.transport.close()
        else:
            reset(self.transport)

    async def _own_response(self, rule: FaultRule) -> None:
        headers = {"content-type": JSON, **{name.lower(): value for name, value in rule.headers.items()}}
        body = (
            b""
            if rule.body is None
            else rule.body.encode()
            if isinstance(rule.body, str)
            else json.dumps(rule.body).encode()
        )
        status = rule.status or 200
        if rule.endless:
            await self._stream(status, headers, _endless(body))
        elif rule.bomb is not None:
            await self._stream(status, headers | {"content-encoding": "gzip"}, _gzip_bomb(rule.bomb))
        else:
            start: Message = {"type": "http.response.start", "status": status, "headers": _raw(headers)}
            await self._reshape(rule, [start, {"type": "http.response.body", "body": body}])

    async def _stream(self, status: int, headers: dict[str, str], chunks: AsyncIterator[bytes]) -> None:
        await self.send({"type": "http.response.start", "status": status, "headers": _raw(headers)})
        async for chunk in chunks:
            if self.transport is None or self._gone():
                return
            await self.send({"type": "http.response.body", "body": chunk, "more_body": True})
        await self.send({"type": "http.response.body", "body": b""})

    async def _reshape(self, rule: FaultRule, response: list[Message]) -> None:
        if not response:
            return
        start, body = response[0], b"".join(message.get("body", b"") for message in response[1:])
        headers = [
            (name, value)
            for name, value in start["headers"]
            if name.lower() not in (b"content-length", b"transfer-encoding")
        ]
        if start["status"] not in NO_BODY:
            headers.append((b"content-length", b"%d" % len(body)))
        await self.send({"type": "http.response.start", "status": start["status"], "headers": headers})
        sent = body if rule.truncate is None else body[: rule.truncate]
        for chunk in [sent] if rule.drip is None else (bytes([byte]) for byte in sent):
            if rule.drip is not None:
                await asyncio.sleep(rule.drip)
                if self._gone():
                    return
            await self.send({"type": "http.response.body", "body": chunk, "more_body": True})
        if len(sent) < len(body) and self.transport is not None:
            self._silent = True
            self.transport.close()
            return
        await self.send({"type": "http.response.body", "body": b""})


def reset(transport: asyncio.Transport) -> None:
    """Cut a connection so that the client sees a reset."""
    connection = transport.get_extra_info("socket")
    if connection is not None and not transport.is_closing():
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


def _raw(headers: dict[str, str]) -> RawHeaders:
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]


async def _endless(first: bytes) -> AsyncIterator[bytes]:
    yield first or b'{"children": ["'
    filling = b"a" * 65_536
    while True:
        yield filling
        await asyncio.sleep(0)


async def _gzip_bomb(size: int) -> AsyncIterator[bytes]:
    """Yield a gzip stream of so many blanks. One block is compressed once and repeated, so that it costs next
    to nothing.
    """
    block = b" " * min(size, 1 << 20)
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = deflate.compress(block) + deflate.flush(zlib.Z_FULL_FLUSH)
    yield b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\xff"
    checksum, left = 0, size
    while left >= len(block):
        checksum = zlib.crc32(block, checksum)
        left -= len(block)
        yield packed
        await asyncio.sleep(0)
    last = zlib.compressobj(9, zlib.DEFLATED, -15)
    yield last.compress(block[:left]) + last.flush(zlib.Z_FINISH)
    yield struct.pack("<LL", zlib.crc32(block[:left], checksum), size & 0xFFFFFFFF)
