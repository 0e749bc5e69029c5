# SPDX-License-Identifier: Apache-2.0
"""Ids, names and connection fields that try to be more than that: over a real socket, or refused before any
request.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote

import pytest

from airflow_provider_adobe_audiences.adobe import audience_manager, experience_platform, target
from airflow_provider_adobe_audiences.adobe.client.call import Call, Idempotency, Service, no_content
from airflow_provider_adobe_audiences.errors import AdobeConfigurationError
from tests.security.calls import MAKERS, MARK, Maker, settings, settings_at
from tests.security.servers import Seen, Server, running

HOSTILE = [
    "",
    " ",
    ".",
    "..",
    "/",
    "a/b",
    "../..",
    "../../ims/token/v3",
    "..%2f..%2fims",
    "%2e%2e",
    "%2e%2e%2f",
    "%252e%252e%252f",
    "a%00b",
    "a\x00b",
    "a\\..\\b",
    "a\r\nX-Evil: 1",
    "a\nX-Evil: 1",
    "a\r\n\r\nDELETE /evil HTTP/1.1\r\nHost: x\r\n\r\n",
    "a%0d%0aX-Evil: 1",
    "a HTTP/1.1",
    "a?action=ABORT",
    "a#fragment",
    "a&limit=1",
    "a;jsessionid=1",
    "@evil.example",
    "//evil.example/a",
    "https://evil.example/a",
    "\u202egnp.exe",
    "\uff0e\uff0e\uff0fa",
    "\u2024\u2024/a",
    "ä",
    "\ud800",
    "\x1b[31m",
    "{id}",
    "{0.__class__}",
    "%",
    "%zz",
    "x" * 20_000,
]


#: In test_hosts.py; and below, since it is a field of the connection.
ELSEWHERE = {"status_url", "base_path"}


def _fixed_part(harmless: str, target: str, *, may_have_folders: bool) -> None:
    """Check that ``target`` is what ``harmless`` is, but for the segment that the value stands in."""
    assert re.fullmatch(r"[\x21-\x7e]+", target), target
    path, wanted = target.partition("?")[0], harmless.partition("?")[0]
    decoded = path
    for _ in range(3):
        parts = re.split(r"[/\\]", decoded)
        assert not {".", ".."} & {part.partition(";")[0] for part in parts} or "%25" in path, path
        decoded = unquote(decoded)
    segments, expected = path.split("/"), wanted.split("/")
    if may_have_folders:
        segments = segments[: len(expected)]
    assert len(segments) == len(expected), (path, wanted)
    for segment, fixed in zip(segments, expected, strict=True):
        assert segment == fixed or MARK in fixed or fixed == "7", (path, wanted)


@pytest.fixture(scope="module")
def server() -> Any:
    with running() as noted:
        yield noted


@pytest.mark.parametrize("maker", MAKERS, ids=lambda maker: maker.name)
def test_no_value_leaves_its_place(maker: Maker, server: Server, opened: Any) -> None:
    send = opened(settings_at(server.url))
    server.seen.clear()
    harmless = maker()
    if maker.function is target.get_profile_batch_status:
        harmless = maker(status_url=f"{server.url}/m2/acme/profile/batchStatus?batchId=b1")
    send(harmless)
    if harmless.service is Service.IMS and harmless.url is not None:
        assert server.seen == []  # Audience Manager's host is its own
        return
    [usual] = server.seen
    sent = refused = 0
    for name in maker.texts:
        if name in ELSEWHERE:
            continue
        for value in HOSTILE:
            server.seen.clear()
            try:
                call = maker(**{name: value})
            except (ValueError, TypeError):  # AdobeConfigurationError is a ValueError
                refused += 1
                continue
            error = send(call)
            if isinstance(error, AdobeConfigurationError):
                assert server.seen == []
                refused += 1
                continue
            [seen] = server.seen
            sent += 1
            assert seen.line.split(b" ")[0] == usual.line.split(b" ")[0]
            assert seen.line.endswith(b" HTTP/1.1")
            assert seen.line.count(b" ") == 2
            # A body, and the headers that tell of it, may come and go with an optional value.
            assert seen.names - usual.names <= {"content-length", "content-type"}
            assert "x-evil" not in seen.names
            _fixed_part(usual.target, seen.target, may_have_folders=name == "file_path")
            _same_parameters(usual, seen)
    assert sent + refused == len(HOSTILE) * len(set(maker.texts) - ELSEWHERE)


def _same_parameters(usual: Seen, seen: Seen) -> None:
    names = [pair.partition("=")[0] for pair in seen.target.partition("?")[2].split("&")]
    known = [pair.partition("=")[0] for pair in usual.target.partition("?")[2].split("&")]
    assert set(names) <= {*known, ""}, seen.target
    assert len(names) == len(set(names)), seen.target


def test_every_module_with_calls_is_tried() -> None:
    modules = {maker.name.partition(".")[0] for maker in MAKERS}
    platform = {"audiences", "batches", "catalog", "data_access"}
    assert modules == platform | {"audience_manager", "admin", "profiles", "ims"}
    assert len(MAKERS) >= 35


def test_a_path_that_would_be_part_of_the_host_is_refused(opened: Any) -> None:
    with running() as server:
        send = opened(settings_at(server.url))
        for path in ("@evil.example/", ".evil.example/", ":1@evil.example/", ""):
            call = Call(
                name="x",
                service=Service.EXPERIENCE_PLATFORM,
                method="GET",
                path=path,
                idempotency=Idempotency.READ,
                parse=no_content,
            )
            assert "does not begin with '/'" in str(send(call))
        assert server.connections == 0


BROKEN = ["a\r\nX-Evil: 1", "a\nb", "a\x00b", "a Qz b", "\u20ac", "a\u2028b", "\x1b[31m", "a\x7f", "\ud800"]


@pytest.mark.parametrize("value", BROKEN)
@pytest.mark.parametrize(
    "name",
    [
        "client_id",
        "access_token",
        "org_id",
        "sandbox",
        "target_tenant",
        "target_client_code",
        "ais_base_path",
    ],
)
def test_a_connection_field_cannot_bring_a_header_of_its_own(name: str, value: str) -> None:
    with pytest.raises(AdobeConfigurationError, match=name) as raised:
        settings(**{name: value})
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f]", str(raised.value))
    if name == "access_token":
        assert value not in str(raised.value)


@pytest.mark.parametrize(
    "value", ["/..", "/a/../b", "/.", "/a//b", "a", "/a?b", "/a#b", "@evil.example", "/a%2f", "/a\n"]
)
@pytest.mark.parametrize("name", ["ais_base_path", "audience_manager_prefix"])
def test_a_prefix_is_a_plain_path(name: str, value: str) -> None:
    if value.strip() != value:
        assert getattr(settings(**{name: value}), name) == value.strip()
        return
    with pytest.raises(AdobeConfigurationError, match=name):
        settings(**{name: value})


@pytest.mark.parametrize("token", ["qz77\r\nX-Evil: 1", "qz77\n", "qz77\x00", "t\u00f6k", "\u20ac"])
def test_a_token_from_a_store_cannot_bring_a_header(token: str, opened: Any) -> None:
    with running() as server:
        send = opened(settings_at(server.url))
        error = send(target.fetch_profile("acme", "someone", bearer=token))
        assert isinstance(error, AdobeConfigurationError)
        assert "Authorization" in str(error)
        assert token.strip() not in str(error)
        assert server.connections == 0


@pytest.mark.parametrize("token", ["tok\\r\\nX-Evil: 1", "t\\u20ac", "\\ud800"])
def test_a_token_of_a_false_ims_cannot_bring_a_header(token: str, opened: Any) -> None:
    body = f'{{"access_token": "{token}", "expires_in": 1000}}'.encode()
    with running(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)) as server:
        fields = {
            "authentication": "oauth_server_to_server",
            "access_token": None,
            "client_secret": "the-client-secret",
        }
        error = opened(settings_at(server.url, **fields))(audience_manager.get_self())
        assert "access_token fits into no header" in str(error)
        assert [seen.target for seen in server.seen] == ["/ims/token/v3"]


@pytest.mark.parametrize(
    "call",
    [
        audience_manager.create_group("a", "half a character: \ud800"),
        experience_platform.list_batches(external_id="\ud800"),
        experience_platform.patch_audience("a", {"x": float("nan")}),
        experience_platform.patch_audience("a", {"x": object()}),
        target.patch_settings("acme", {"x": float("inf")}),
    ],
    ids=lambda call: call.name,
)
def test_what_cannot_be_written_down_is_refused_before_any_request(call: Call[Any], opened: Any) -> None:
    with running() as server:
        error = opened(settings_at(server.url))(call)
        assert isinstance(error, AdobeConfigurationError)
        assert "cannot be sent" in str(error)
        assert server.connections == 0
