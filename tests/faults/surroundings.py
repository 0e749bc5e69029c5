# SPDX-License-Identifier: Apache-2.0
"""What is wrong around a whole try, rather than at one of its requests: names, connections, certificates,
proxies, the disk.

Each is a context manager that is given the world, and gives the URL that Adobe has meanwhile.
"""

from __future__ import annotations

import select
import socket
import socketserver
import ssl
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tests.faults.file_store import KNOCK
from tests.security.servers import Authority, proxy, running

if TYPE_CHECKING:
    from tests.faults.harness import World

#: Nobody resolves it: the proxy gets the name as it is.
ELSEWHERE = "https://adobe.test"


def everything_at(url: str) -> dict[str, Any]:
    """Return the changes of a connection that lead all its services to ``url``."""
    return dict.fromkeys(
        ("ims_url", "platform_url", "audience_manager_url", "target_url", "target_edge_url"), url
    )


def facts_at(url: str, instead_of: str, facts: dict[str, Any]) -> dict[str, Any]:
    """Return facts of a row with the URLs of Adobe's that they name changed likewise."""
    return {
        name: [one.replace(instead_of, url) for one in value] if name == "batches" else value
        for name, value in facts.items()
    }


@contextmanager
def name_not_resolved(world: World) -> Iterator[str]:
    # .invalid is reserved (RFC 6761). The resolver shall not wait long for name servers that do not answer.
    world.environment["RES_OPTIONS"] = "attempts:1 timeout:1"
    yield "https://adobe.invalid"


@contextmanager
def nobody_listens(world: World) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    yield f"http://127.0.0.1:{port}"


@contextmanager
def connect_times_out(world: World) -> Iterator[str]:
    world.connection["connect_timeout"] = 0.2
    with ExitStack() as stack:
        full = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):  # with its queue full, the kernel drops whatever else wants to connect
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        yield f"http://127.0.0.1:{full.getsockname()[1]}"


@contextmanager
def stranger_with_a_certificate(world: World) -> Iterator[str]:
    with running(tls=Authority(world.folder).server("localhost")) as stranger:
        yield f"https://localhost:{stranger.port}"
        assert stranger.connections, "nobody came"
        assert stranger.seen == [], "something was sent to somebody whose certificate is not trusted"


@contextmanager
def plain_text_for_tls(world: World) -> Iterator[str]:
    def from_the_task() -> int:
        return sum(not entry.path.startswith(KNOCK) for entry in world.emulator.journal.entries)

    before = from_the_task()
    yield world.emulator.url.replace("http://", "https://")
    assert from_the_task() == before, "a request was sent in clear"


@contextmanager
def proxy_refuses(world: World) -> Iterator[str]:
    with proxy(0, refuse=True) as between:
        world.environment["HTTPS_PROXY"] = f"http://127.0.0.1:{between.port}"
        yield ELSEWHERE
        assert between.clear.startswith(b"CONNECT adobe.test:443"), "nobody came"


@contextmanager
def disk_full(world: World) -> Iterator[str]:
    world.largest_file = 100_000
    yield world.emulator.url


@contextmanager
def behind_a_proxy(world: World) -> Iterator[str]:
    """Adobe has a host name, speaks TLS with a certificate of a company's authority, and a proxy leads to
    it.
    """
    authority = Authority(world.folder)
    own_url = world.emulator.url
    with _tls_in_front_of(own_url, authority.server("adobe.test")) as port, proxy(port) as between:
        world.environment["HTTPS_PROXY"] = f"http://127.0.0.1:{between.port}"
        world.connection["ca_bundle"] = str(authority.bundle)
        world.emulator.url = ELSEWHERE  # for the URLs that Adobe's answers name
        try:
            yield ELSEWHERE
        finally:
            world.emulator.url = own_url
        assert between.tunnelled, "nobody came through the proxy"
        assert b"Bearer" not in between.clear + between.tunnelled


@contextmanager
def _tls_in_front_of(url: str, tls: ssl.SSLContext) -> Iterator[int]:
    address = (urlsplit(url).hostname, urlsplit(url).port)

    class Relay(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            try:
                with (
                    closing(tls.wrap_socket(self.request, server_side=True)) as client,
                    socket.create_connection(address) as server,
                ):
                    other = {client: server, server: client}
                    while True:
                        for source in select.select(list(other), [], [], 30)[0]:
                            data = source.recv(65536)
                            if not data:
                                return
                            other[source].sendall(data)
            except OSError:
                return  # it breaks as its other side broke

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True

    with Server(("127.0.0.1", 0), Relay) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()
