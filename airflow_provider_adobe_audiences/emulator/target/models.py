# SPDX-License-Identifier: Apache-2.0
"""Tokens, settings, profiles and batches of Target."""

from __future__ import annotations

import copy
import hashlib
import re
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request

from airflow_provider_adobe_audiences.emulator.gateway import Gateway, missing_reason
from airflow_provider_adobe_audiences.emulator.responses import ErrorResponse
from airflow_provider_adobe_audiences.emulator.service import Environment, Service

from .errors import error
from .left_out import LEFT_OUT
from .settings import SETTINGS
from .switches import TargetSwitches

SCOPES = ("profile_api", "debug_tools")
MAX_KEPT_BODY = 1_000_000


@dataclass
class ProfileToken:
    """A token that was issued."""

    value: str
    issued: float
    expires: float


@dataclass
class Batch:
    """A bulk update that was accepted."""

    batch_id: str
    version: int
    rows: int
    size: int
    sha256: str
    received: float
    body: bytes | None
    polls: int = 0
    outcome: str = "complete"
    failed: list[str] = field(default_factory=list)
    successful: int = 0
    not_found: int = 0


class Target(Service):
    """Tokens, settings, profiles and batches of one tenant; every tenant and client code leads to it."""

    switches: TargetSwitches
    paths = re.compile("/[^/]+/target/|/m2/|/rest/")
    left_out = LEFT_OUT

    def __init__(self, environment: Environment, gateway: Gateway) -> None:
        super().__init__(environment)
        self.gateway = gateway
        self.switches = TargetSwitches()
        self.reset()

    def reset(self) -> None:
        """Forget everything but the switches."""
        self.settings: dict[str, Any] = copy.deepcopy(SETTINGS)
        #: Every token ever issued, per scope, oldest first.
        self.issued: dict[str, list[ProfileToken]] = {scope: [] for scope in SCOPES}
        #: (kind of id, id) -> attributes.
        self.profiles: dict[tuple[str, str], dict[str, str]] = {}
        #: Attributes that a bulk update v2 has set and nobody has read since.
        self._unread: dict[tuple[str, str], tuple[str, ...]] = {}
        self.batches: dict[str, Batch] = {}
        self.audiences: list[dict[str, Any]] = []
        self._turn = 0
        self._number = 13_029_383

    def snapshot(self) -> dict[str, Any]:
        """Return what there is, without secrets."""
        return {
            "settings": self.settings,
            # Enough to compare a token with, not enough to use.
            "tokens": {
                scope: {
                    "issued": len(tokens),
                    "sha256": hashlib.sha256(tokens[-1].value.encode()).hexdigest() if tokens else None,
                    "expires": tokens[-1].expires if tokens else None,
                }
                for scope, tokens in self.issued.items()
            },
            "profiles": len(self.profiles),
            "batches": [
                {name: getattr(batch, name) for name in ("batch_id", "version", "rows", "size", "sha256")}
                for batch in self.batches.values()
            ],
        }

    # -- tokens

    def token(self, scope: str = "profile_api") -> str | None:
        """Return the token that lives, for tests to compare with."""
        tokens = self.issued[scope]
        return tokens[-1].value if tokens and tokens[-1].expires > self.environment.clock.now() else None

    def issue(self, scope: str = "profile_api") -> ProfileToken:
        """Create a token, as the button in Target's UI does; the one before is dead."""
        now = self.environment.clock.now()
        seconds = (
            self.switches.profile_token_seconds
            if scope == "profile_api"
            else self.switches.debug_token_seconds
        )
        token = ProfileToken(str(uuid.uuid4()), now, now + seconds)
        self.environment.redactor.add(token.value, token.value.upper())
        self.issued[scope].append(token)
        return token

    def expire_token(self, token: str) -> bool:
        """Let a profile token end at once; return whether it is known."""
        known = [issued for tokens in self.issued.values() for issued in tokens if issued.value == token]
        for issued in known:
            issued.expires = 0
        return bool(known)

    def accepted_by_edge(self, token: str) -> bool:
        """Is this token the one that the node whose turn it is knows?"""
        node, self._turn = self._turn % self.switches.edge_nodes, self._turn + 1
        now = self.environment.clock.now()
        known = now - self.switches.propagation_delay - node * self.switches.edge_node_skew
        current = next(
            (issued for issued in reversed(self.issued["profile_api"]) if issued.issued <= known), None
        )
        return current is not None and current.value == token and current.expires > now

    def add_audience(self, name: str, **fields: Any) -> dict[str, Any]:
        """Add an audience as if it had always been there; ``fields`` as in the Admin API.

        :raises TypeError: when the name is no text.
        """
        if not isinstance(name, str):
            raise TypeError("name is a text")
        now = datetime.fromtimestamp(self.environment.clock.now(), UTC).isoformat(timespec="seconds")
        document = {"id": len(self.audiences) + 1, "name": name, "origin": "target", "type": "reusable"}
        times = {"createdAt": now.replace("+00:00", "Z"), "modifiedAt": now.replace("+00:00", "Z")}
        self.audiences.append(document | times | fields)
        return self.audiences[-1]

    # -- batches

    def accept(
        self, version: int, client: str, body: bytes, rows: list[tuple[str, dict[str, str]]], key: str
    ) -> Batch:
        """Take a bulk update in.

        :param version: 1, or 2, which creates profiles that are not known.
        :param client: client code.
        :param rows: id and attributes of each row.
        :param key: kind of the ids.
        """
        now = self.environment.clock.now()
        self._number += 1
        batch = Batch(
            batch_id=f"{client}-{int(now * 1000)}-{self._number}",
            version=version,
            rows=len(rows),
            size=len(body),
            sha256=hashlib.sha256(body).hexdigest(),
            received=now,
            body=body if len(body) <= MAX_KEPT_BODY else None,
            outcome=self.switches.profile_batch_outcome,
        )
        for number, (identity, attributes) in enumerate(rows):
            if number < self.switches.profile_batch_failed_rows or (
                key == "thirdPartyId" and ("+" in identity or "/" in identity)
            ):
                batch.failed.append(identity)
                continue
            if not attributes:
                continue  # skipped
            known = self.profiles.get((key, identity))
            if known is None:
                if version == 1:
                    batch.not_found += 1
                    continue
                known = self.profiles[key, identity] = {}
            if version == 2:
                self._replace_unread((key, identity), known, attributes)
            known.update(attributes)
            batch.successful += 1
        self.batches[batch.batch_id] = batch
        return batch

    def _replace_unread(
        self, identity: tuple[str, str], known: dict[str, str], attributes: dict[str, str]
    ) -> None:
        """Forget what an earlier bulk update v2 has set and nobody has read since."""
        if self.switches.bulk_v2_replaces:
            for name in self._unread.get(identity, ()):
                known.pop(name, None)
            self._unread[identity] = tuple(attributes)

    def read(self, kind: str, identity: str) -> dict[str, str] | None:
        """Return the attributes of a profile; from now on they have been read."""
        self._unread.pop((kind, identity), None)
        return self.profiles.get((kind, identity))

    def remembered(self, batch_id: str) -> Batch | None:
        """Return a batch whose status is still known."""
        newest = list(self.batches)[-self.switches.batch_status_memory :]
        batch = self.batches.get(batch_id)
        too_old = (
            batch is not None
            and self.environment.clock.now() - batch.received > self.switches.batch_status_hours * 3600
        )
        return batch if batch_id in newest and not too_old else None

    def status_url(self, batch: Batch, client: str) -> str:
        """Return where the status of a batch can be read."""
        host = {
            "own": self.environment.url,
            "edge": "http://mboxedge45.tt.omtrdc.net",
            "foreign": "http://status.example.org",
        }[self.switches.batch_status_host]
        return f"{host}/m2/{client}/profile/batchStatus?{urlencode({'batchId': batch.batch_id})}"

    def error(self, status: int, code: str, message: str) -> ErrorResponse:
        """Return an error of the Admin API."""
        return error(self.environment.clock, status, code, message)

    def refuse(self, request: Request, status: int) -> ErrorResponse:
        """Return the error for a request that no handler takes."""
        if request.url.path.startswith(("/m2/", "/rest/")):
            return ErrorResponse(status, {"status": status, "message": missing_reason(status)})
        self.gateway.check(request, org=False)
        codes = {404: "Not.Found", 405: "Method.Not.Allowed", 501: "Not.Implemented"}
        return self.error(status, codes[status], missing_reason(status))
