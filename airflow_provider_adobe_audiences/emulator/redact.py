# SPDX-License-Identifier: Apache-2.0
"""Keeping secrets out of what the emulator shows."""

from __future__ import annotations

import re
from collections.abc import Iterable

HIDDEN = "***"

_HEADERS = {
    "authorization",
    "proxy-authorization",
    "cookie",
    "set-cookie",
    "access_token",
    "x-user-token",
    "www-authenticate",
}
_NAMES = (
    r"client_?secrets?|access_?token|refresh_?token|id_?token|jwt_?token|profile_?(?:api_?)?(?:authentication_?)?token"
    r"|auth(?:orization)?_?token|password|passwd|assertion|secret"
)
_JSON = re.compile(rf'("(?:{_NAMES})"\s*:\s*)("(?:[^"\\]|\\.)*"?|[^\s,}}\]]+)', re.IGNORECASE)
_FORM = re.compile(rf"((?:^|[?&\s])(?:{_NAMES})=)([^&\s]*)", re.IGNORECASE)
_BEARER = re.compile(r"(\b(?:bearer|basic)\s+)[A-Za-z0-9._~+/=-]{8,}", re.IGNORECASE)
#: Access tokens of IMS are many, and all look like this.
_JWT = re.compile(r"\beyJ[\w-]{10,}(?:\.[\w-]*){0,2}")


class Redactor:
    """Hides what is known to be secret by value, and what looks secret by name."""

    def __init__(self) -> None:
        self._values: dict[str, None] = {}

    def add(self, *values: str) -> None:
        """Remember values that must never be shown."""
        for value in values:
            if len(value) >= 6:
                self._values[value] = None

    def clear(self, keep: Iterable[str] = ()) -> None:
        """Forget all values but those to keep."""
        self._values = {value: None for value in keep if len(value) >= 6}

    def text(self, text: str) -> str:
        """Return the text of a body or query without its secrets."""
        for value in list(self._values):
            if value in text:
                text = text.replace(value, HIDDEN)
        text = _JWT.sub(HIDDEN, text)
        text = _JSON.sub(rf'\1"{HIDDEN}"', text)
        text = _FORM.sub(rf"\1{HIDDEN}", text)
        return _BEARER.sub(rf"\1{HIDDEN}", text)

    def headers(self, headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
        """Return header names (lower case) and values without their secrets."""
        shown = {}
        for raw_name, raw_value in headers:
            name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
            if name in _HEADERS:
                scheme, _, rest = value.partition(" ")
                value = f"{scheme} {HIDDEN}" if rest and scheme.lower() in {"bearer", "basic"} else HIDDEN
            shown[name] = self.text(value)
        return shown
