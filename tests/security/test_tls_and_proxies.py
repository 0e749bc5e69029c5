# SPDX-License-Identifier: Apache-2.0
"""TLS is verified, cannot be switched off unnoticed, and hides every credential from a proxy."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_adobe_audiences.adobe import experience_platform, target
from airflow_provider_adobe_audiences.errors import AdobeConfigurationError, AdobeTransportError
from tests.security.calls import settings, settings_at
from tests.security.servers import JSON_ANSWER, Authority, proxy, running

READ = experience_platform.get_failed_file("b", "f")
HOSTS = ("ims_url", "platform_url", "audience_manager_url", "target_url", "target_edge_url")
SECRET = "the-access-token"
IMS = {"authentication": "oauth_server_to_server", "access_token": None, "client_secret": "the-client-secret"}


def test_a_certificate_of_the_ca_bundle_is_trusted(authority: Authority, opened: Any) -> None:
    with running(tls=authority.server("localhost")) as server:
        assert (
            opened(settings_at(f"https://localhost:{server.port}", ca_bundle=str(authority.bundle)))(READ)
            is None
        )
        assert [seen.names >= {"authorization"} for seen in server.seen] == [True]


@pytest.mark.parametrize(
    "case", ["no bundle", "another authority", "another host", "expired", "an address instead of the name"]
)
def test_any_other_certificate_is_refused_before_anything_is_sent(
    case: str, authority: Authority, opened: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle: str | None = str(authority.bundle)
    tls = authority.server("localhost")
    match case:
        case "no bundle":
            bundle = None
        case "another authority":
            bundle = str(Authority(tmp_path).bundle)
            # What the worker trusts in general must not replace what the connection says.
            monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority.bundle))
            monkeypatch.setenv("SSL_CERT_FILE", str(authority.bundle))
        case "another host":
            tls = authority.server("other.example")
        case "expired":
            tls = authority.server("localhost", days=-1)
        case "an address instead of the name":
            tls = authority.server("127.0.0.1")
    with running(tls=tls) as server:
        send = opened(settings_at(f"https://localhost:{server.port}", ca_bundle=bundle))
        for call in (READ, target.fetch_profile("acme", "x", bearer="the-profile-token")):
            error = send(call)
            assert isinstance(error, AdobeTransportError)
            assert "the TLS certificate of localhost cannot be verified" in str(error)
            assert "CA bundle" in error.hint
        error = opened(settings_at(f"https://localhost:{server.port}", ca_bundle=bundle, **IMS))(READ)
        assert "cannot be verified" in str(error)
        assert server.seen == []


def test_plain_http_does_not_answer_for_https(opened: Any) -> None:
    with running() as server:
        error = opened(settings_at(f"https://localhost:{server.port}", read_timeout=0.5))(READ)
        assert isinstance(error, AdobeTransportError)
        assert all(SECRET.encode() not in seen.line + b"".join(seen.headers) for seen in server.seen)


@pytest.mark.parametrize("content", [None, "", "no certificate"])
def test_a_ca_bundle_that_cannot_be_used_is_told(content: str | None, tmp_path: Path, opened: Any) -> None:
    bundle = tmp_path / "ca.pem"
    if content is not None:
        bundle.write_text(content)
    with running() as server:
        error = opened(settings_at(server.url, ca_bundle=str(bundle)))(READ)
        assert isinstance(error, AdobeConfigurationError)
        assert str(bundle) in str(error)
        assert server.connections == 0


@pytest.mark.filterwarnings("ignore::urllib3.exceptions.InsecureRequestWarning")
def test_verification_off_is_loud_and_for_this_machine_only(
    authority: Authority, opened: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with running(tls=authority.server("other.example")) as server:
        send = opened(settings_at(f"https://127.0.0.1:{server.port}", verify_tls=False))
        assert send(READ) is None
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert any("TLS certificates are NOT verified" in text for text in warnings)


@pytest.mark.parametrize("field", HOSTS)
def test_verification_off_is_refused_when_any_host_is_elsewhere(field: str) -> None:
    with pytest.raises(AdobeConfigurationError, match="only allowed when every URL is on this machine"):
        settings(
            verify_tls=False, **{**dict.fromkeys(HOSTS, "https://127.0.0.1"), field: "https://adobe.example"}
        )


def test_a_proxy_sees_no_credential(
    authority: Authority, opened: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = b'{"access_token": "an-issued-token", "expires_in": 1000}'
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(token), token)
    with running(answer, tls=authority.server("platform.test")) as server, proxy(server.port) as between:
        monkeypatch.setenv("HTTPS_PROXY", f"http://worker:proxy-password@127.0.0.1:{between.port}")
        fields = {"ca_bundle": str(authority.bundle), **IMS}
        assert opened(settings_at(f"https://platform.test:{server.port}", **fields))(READ) is None
        assert [seen.line.split(b" ")[0] for seen in server.seen] == [b"POST", b"GET"]
        assert b"the-client-secret" in server.seen[0].body
        assert "proxy-authorization" not in server.seen[0].names | server.seen[1].names
    assert between.clear.startswith(b"CONNECT platform.test:")
    assert between.tunnelled
    for secret in (b"the-client-secret", b"an-issued-token", b"Bearer", b"x-api-key"):
        assert secret not in between.clear + between.tunnelled


def test_a_proxy_that_answers_in_adobes_place_is_refused(
    authority: Authority, opened: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(tls=Authority(tmp_path).server("platform.test")) as server, proxy(server.port) as between:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{between.port}")
        error = opened(settings_at(f"https://platform.test:{server.port}", ca_bundle=str(authority.bundle)))(
            READ
        )
        assert "the TLS certificate of platform.test cannot be verified" in str(error)
        assert server.seen == []


def test_a_proxys_password_is_in_no_message(
    opened: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with proxy(0, refuse=True) as between:
        monkeypatch.setenv("HTTPS_PROXY", f"http://worker:proxy-password@127.0.0.1:{between.port}")
        error = opened(settings_at("https://platform.test"))(READ)
    assert isinstance(error, AdobeTransportError)
    assert "proxy-password" not in str(error)
    assert "proxy-password" not in caplog.text


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.0.0.2"])
def test_what_is_for_this_machine_is_not_carried_to_a_proxy(
    host: str, opened: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = b'HTTP/1.1 200 OK\r\nContent-Length: 41\r\n\r\n{"access_token": "t", "expires_in": 1000 }'[:-1]
    with (
        running(answer.replace(b"41", b"%d" % len(answer.partition(b"\r\n\r\n")[2]))) as server,
        proxy(server.port) as between,
    ):
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{between.port}")
        opened(settings_at(f"http://{host}:{server.port}", **IMS))(READ)
    assert between.clear == b""


def test_a_netrc_file_is_not_read(opened: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("default login somebody password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HOME", str(tmp_path))
    with running() as server:
        send = opened(settings_at(server.url))
        assert send(READ) is None
        assert send(target.fetch_profile("acme", "x")) is None
    given = [
        [header for header in seen.headers if header.lower().startswith(b"authorization:")]
        for seen in server.seen
    ]
    assert given[0][0].endswith(b"Bearer the-access-token")
    assert given[1] == []


def test_no_cookie_is_kept(opened: Any) -> None:
    """What one response sets is no business of the next request."""
    head, _, body = JSON_ANSWER.partition(b"\r\n")
    with running(head + b"\r\nSet-Cookie: session=somebody; Path=/\r\n" + body) as server:
        send = opened(settings_at(server.url))
        assert [send(READ), send(READ)] == [None, None]
    names = [header.lower().partition(b":")[0] for seen in server.seen for header in seen.headers]
    assert len(server.seen) == 2
    assert b"cookie" not in names
