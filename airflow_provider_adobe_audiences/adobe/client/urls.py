# SPDX-License-Identifier: Apache-2.0
"""One strict reading of a URL, for every URL that is given to us or that a response names.

HTTP clients disagree about backslashes, user names, other scripts' full stops, numbers as hosts and more;
a URL that two of them could read in two ways may not decide where a credential goes, and is refused.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

_MAX_LENGTH = 8192
# RFC 3986, without user information; percent signs only where they encode something.
_PATH_CHARACTERS = r"(?:[A-Za-z0-9._~!$&'()*+,;=:@/-]|%[0-9A-Fa-f]{2})"
_SHAPE = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://"
    r"(?:\[(?P<ipv6>[0-9A-Fa-f:.]+)\]|(?P<name>[A-Za-z0-9._-]+))"
    r"(?::(?P<port>[0-9]{1,5}))?"
    rf"(?P<path>/{_PATH_CHARACTERS}*)?"
    rf"(?:\?(?P<query>(?:{_PATH_CHARACTERS}|\?)*))?"
)
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
# Decoded by one part of the way and not by another, it would lead elsewhere: control characters, / and \.
_DANGEROUS = re.compile(r"%(?:[01][0-9a-f]|7f|2f|5c)", re.IGNORECASE)
_DOTS = re.compile(r"/(?:\.|%2e){1,2}(?:/|$)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Url:
    """A URL that every client reads alike.

    :param scheme: in lower case.
    :param host: in lower case; an IPv6 address without its brackets.
    :param port: ``None`` when none is written.
    :param path: as written, from its first ``/``; may be empty.
    :param query: as written, without ``?``.
    """

    scheme: str
    host: str
    port: int | None = None
    path: str = ""
    query: str = ""

    @property
    def netloc(self) -> str:
        """Host and port as a URL writes them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port is None else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.netloc}{self.path}{'?' if self.query else ''}{self.query}"


def parse(url: str) -> Url:
    """Return the parts of ``url``.

    :param url: an absolute URL with a host. Letters of other scripts must be written as ``xn--…`` in its
        host and percent-encoded elsewhere.
    :raises ValueError: saying what is wrong with it, without repeating it: it may hold a password.
    """
    if not isinstance(url, str) or len(url) > _MAX_LENGTH:
        raise ValueError(f"it is no text of at most {_MAX_LENGTH} characters")
    if not url.isascii():
        raise ValueError("it holds a character that is not ASCII; write other scripts as xn--… or %…")
    if "#" in url:
        raise ValueError("it has a fragment (#)")
    if "@" in url.partition("://")[2].partition("/")[0].partition("?")[0]:
        raise ValueError("it has a user name or password (@)")
    found = _SHAPE.fullmatch(url)
    if found is None:
        raise ValueError("it is no absolute URL of scheme, host, port, path and query")
    rest = f"{found['path'] or ''}?{found['query'] or ''}"
    if _DANGEROUS.search(found["path"] or "") or "%00" in rest or _DOTS.search(found["path"] or ""):
        raise ValueError("its path or query holds '.', '..' or an encoded '/', '\\' or control character")
    port = int(found["port"]) if found["port"] else None
    if port is not None and not 0 < port < 65536:
        raise ValueError(f"its port {port} does not exist")
    host = _ipv6(found["ipv6"]) if found["ipv6"] else _name(found["name"].lower())
    return Url(found["scheme"].lower(), host, port, found["path"] or "", found["query"] or "")


def _ipv6(text: str) -> str:
    try:
        return str(ipaddress.IPv6Address(text))
    except ValueError:
        raise ValueError("its host is no IPv6 address") from None


def _name(host: str) -> str:
    labels = host.split(".")
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise ValueError("its host is no name of letters, digits, hyphens and full stops")
    if re.fullmatch(r"[0-9]+|0x[0-9a-f]*", labels[-1]):  # some clients take any number for an address
        try:
            return str(ipaddress.IPv4Address(host))
        except ValueError:
            raise ValueError("its host is a number, but no IPv4 address") from None
    if any(label.startswith("xn--") for label in labels):
        import idna

        try:
            idna.decode(host)
        except UnicodeError:
            raise ValueError("its host holds an xn--… that stands for nothing") from None
    return host


def is_loopback(host: str | None) -> bool:
    """Return whether ``host`` is this machine, so that plain http cannot leak a token.

    :param host: a name or an IP address, without brackets.
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False
