# SPDX-License-Identifier: Apache-2.0
"""The server: uvicorn's HTTP protocol on a loopback socket, with connections that can be cut."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

from starlette.requests import ClientDisconnect
from uvicorn import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from .app import create_app
from .core import Emulator
from .wire import reset

BACKLOG = 2048
STARTUP = 30


class Protocol(HttpToolsProtocol):
    """uvicorn's protocol, which lets the application reach the connection itself."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.access_log = False  # it would show query strings, and those may hold secrets

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {"emulator.transport": self.transport}  # type: ignore[dict-item]


class Server:
    """Serves one emulator on one port of the loopback interface.

    :param port: 0 takes any free port.
    :raises ValueError: when the host is not a loopback address.
    """

    def __init__(self, emulator: Emulator, host: str = "127.0.0.1", port: int = 0) -> None:
        if host != "localhost" and not ipaddress.ip_address(host).is_loopback:
            raise ValueError(
                f"{host} is not a loopback address; the emulator has no protection of its own, so it listens "
                "on loopback only"
            )
        self.emulator = emulator
        self._host, self._port = host, port
        logging.getLogger("uvicorn.error").addFilter(_worth_a_line)
        self._config = Config(
            create_app(emulator),
            http=Protocol,
            lifespan="off",
            access_log=False,
            log_config=None,
            proxy_headers=False,
            ws="none",
        )
        self._config.load()
        self._state = ServerState()
        self._listener: asyncio.Server | None = None

    @property
    def url(self) -> str:
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}"

    async def start(self) -> None:
        """Listen."""
        loop = asyncio.get_running_loop()
        listening = socket.create_server(
            (self._host, self._port),
            family=socket.AF_INET6 if ":" in self._host else socket.AF_INET,
            backlog=BACKLOG,
        )
        # Accepted sockets inherit it. Without it a body that follows its head waits for the client's delayed
        # acknowledgement, 40 ms.
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._port = listening.getsockname()[1]
        self._listener = await loop.create_server(
            lambda: Protocol(config=self._config, server_state=self._state, app_state={}, _loop=loop),
            sock=listening,
            backlog=BACKLOG,
        )
        self.emulator.url = self.url
        self.emulator.on_restart = self.restart

    async def stop(self) -> None:
        """Stop listening and cut every connection, as a crash would."""
        if self._listener is not None:
            self._listener.close()
        for connection in list(self._state.connections):
            reset(connection.transport)
        running = [task for task in self._state.tasks if task is not asyncio.current_task()]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def restart(self, downtime: float = 0.0) -> None:
        """Stop, wait, and listen again on the same port; the state stays."""
        await self.stop()
        await asyncio.sleep(downtime)
        await self.start()


def _worth_a_line(record: logging.LogRecord) -> bool:
    """Is it worth a line? Responses that faults cut short and requests that a restart cut off are not: they
    were asked for.
    """
    reason = record.exc_info[1] if record.exc_info else None
    cut_off = isinstance(reason, asyncio.CancelledError | ClientDisconnect)
    cut_short = "returned without completing response", "returned without starting response"
    return not cut_off and not any(words in record.msg for words in cut_short)


class RunningEmulator(Emulator):
    """An emulator that is served by a thread of this process."""

    def __init__(self, **switches: Any) -> None:
        super().__init__(**switches)
        self._loop = asyncio.new_event_loop()
        self._server = Server(self)
        self._thread = threading.Thread(target=self._run, name="adobe-emulator", daemon=True)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def start(self) -> None:
        self._thread.start()
        self._do(self._server.start())

    def restart(self, downtime: float = 0.0) -> None:
        """Cut all connections and listen again on the same port; the state stays."""
        self._do(self._server.restart(downtime), STARTUP + downtime)

    @contextmanager
    def down(self) -> Iterator[None]:
        """Cut all connections, and refuse new ones while the block runs."""
        self._do(self._server.stop())
        try:
            yield
        finally:
            self._do(self._server.start())

    def _do(self, work: Coroutine[Any, Any, None], timeout: float = STARTUP) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout)

    def stop(self) -> None:
        self._do(self._server.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(STARTUP)
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()
        self.close()


@contextmanager
def running_emulator(**switches: Any) -> Iterator[RunningEmulator]:
    """Run an emulator on a free loopback port while the block runs.

    :param switches: values of switches, by name.
    """
    emulator = RunningEmulator(**switches)
    emulator.start()
    try:
        yield emulator
    finally:
        emulator.stop()
