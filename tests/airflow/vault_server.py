# SPDX-License-Identifier: Apache-2.0
"""The part of HashiCorp Vault's HTTP API that a KV version 2 engine is, over a real socket. Written from its API pages."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "vault-root-token"


class Vault:
    """Secrets by path, each a list of versions, with check-and-set."""

    def __init__(self) -> None:
        self.secrets: dict[str, list[dict[str, Any] | None]] = {}
        self.read_only = False
        self.url = ""


class Handler(BaseHTTPRequestHandler):
    vault: Vault

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
        found = {"data": versions[-1], "metadata": self._metadata(len(versions), deleted=versions[-1] is None)}
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
        return {"version": version, "created_time": now, "deletion_time": now if deleted else "", "destroyed": False}

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
def running_vault() -> Iterator[Vault]:
    vault = Vault()
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
