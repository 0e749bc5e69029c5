# SPDX-License-Identifier: Apache-2.0
"""Servers on loopback that note every byte: one that answers whatever it is told, with or without TLS, and a
proxy.
"""

from __future__ import annotations

import datetime
import ipaddress
import select
import socket
import socketserver
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

JSON_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"


@dataclass(frozen=True)
class Seen:
    """One request, byte by byte."""

    line: bytes
    headers: list[bytes]
    body: bytes

    @property
    def target(self) -> str:
        return self.line.split(b" ")[1].decode("latin-1")

    @property
    def names(self) -> set[str]:
        return {header.split(b":", 1)[0].decode("latin-1").lower() for header in self.headers}


Answer = bytes | Iterable[bytes]


@dataclass
class Server:
    """A server that notes what it gets."""

    port: int
    answer: Callable[[Seen], Answer]
    connections: int = 0
    seen: list[Seen] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


class _Tcp(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away, as it should when it does not trust us."""


@contextmanager
def _running(handler: type[socketserver.BaseRequestHandler]) -> Iterator[int]:
    with _Tcp(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def running(
    answer: bytes | Callable[[Seen], Answer] = JSON_ANSWER, tls: ssl.SSLContext | None = None
) -> Iterator[Server]:
    """Answer every request with these bytes, or with what the function returns: bytes, or pieces that may
    never end.
    """
    server = Server(0, answer if callable(answer) else lambda _: answer)

    class Handler(socketserver.StreamRequestHandler):
        timeout = 10
        disable_nagle_algorithm = True

        def setup(self) -> None:
            server.connections += 1
            if tls is not None:
                self.request = tls.wrap_socket(self.request, server_side=True)
            super().setup()

        def handle(self) -> None:
            while line := self.rfile.readline().rstrip(b"\r\n"):
                headers = []
                while header := self.rfile.readline().rstrip(b"\r\n"):
                    headers.append(header)
                fields = {
                    name.lower(): value.strip()
                    for name, _, value in (header.partition(b":") for header in headers)
                }
                seen = Seen(line, headers, self.rfile.read(int(fields.get(b"content-length", 0))))
                server.seen.append(seen)
                answer = server.answer(seen)
                if isinstance(answer, bytes):
                    answer = [
                        answer.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
                        if line.startswith(b"HEAD ")
                        else answer
                    ]
                for piece in answer:
                    self.wfile.write(piece)

    with _running(Handler) as port:
        server.port = port
        yield server


@dataclass
class Proxy:
    """A proxy that leads every ``CONNECT`` to one port, and notes what it can read."""

    port: int
    clear: bytearray = field(default_factory=bytearray)
    tunnelled: bytearray = field(default_factory=bytearray)


@contextmanager
def proxy(target_port: int, refuse: bool = False) -> Iterator[Proxy]:
    noted = Proxy(0)

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            request: socket.socket = self.request
            head = b""
            while b"\r\n\r\n" not in head and (piece := request.recv(65536)):
                head += piece
            noted.clear.extend(head)
            if refuse or not head.startswith(b"CONNECT "):
                request.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                return
            with socket.create_connection(("127.0.0.1", target_port), 5) as target:
                request.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                pairs = {request: target, target: request}
                while ready := select.select(list(pairs), [], [], 10)[0]:
                    for source in ready:
                        data = source.recv(65536)
                        if not data:
                            return
                        noted.tunnelled.extend(data)
                        pairs[source].sendall(data)

    with _running(Handler) as port:
        noted.port = port
        yield noted


class Authority:
    """A certificate authority of our own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Authority of this test")])
        certificate = self._signed(self._name, self._key, days=1, authority=True)
        self.bundle = folder / f"ca-{id(self)}.pem"
        self.bundle.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def _signed(
        self,
        name: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        *,
        days: int,
        hosts: tuple[str, ...] = (),
        authority: bool = False,
    ):  # type: ignore[no-untyped-def]
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=3))
            .not_valid_after(now + datetime.timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False
            )
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        )
        usage = dict.fromkeys(
            ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement"), False
        )
        usage |= {
            "encipher_only": False,
            "decipher_only": False,
            "key_cert_sign": authority,
            "crl_sign": authority,
        }
        builder = builder.add_extension(x509.KeyUsage(digital_signature=True, **usage), critical=True)
        if not authority:
            builder = builder.add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False
            )
            builder = builder.add_extension(
                x509.SubjectAlternativeName([_general_name(host) for host in hosts]), critical=False
            )
        return builder.sign(self._key, hashes.SHA256())

    def server(self, *hosts: str, days: int = 1) -> ssl.SSLContext:
        """Return what a server for these hosts needs; ``days`` below zero for an expired certificate."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._signed(
            x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hosts[0])]), key, days=days, hosts=hosts
        )
        file = self._folder / f"server-{certificate.serial_number}.pem"
        file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            + certificate.public_bytes(serialization.Encoding.PEM)
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
