# SPDX-License-Identifier: Apache-2.0
"""No credential goes to a host that the connection does not name: redirects, status URLs, downgrades, tricks
with URLs.
"""

from __future__ import annotations

import socket
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from airflow_provider_adobe_audiences.adobe import experience_platform, target
from airflow_provider_adobe_audiences.adobe.client.call import Service
from airflow_provider_adobe_audiences.adobe.client.settings import AdobeSettings
from airflow_provider_adobe_audiences.errors import AdobeConfigurationError
from tests.security.calls import settings, settings_at
from tests.security.fuzz import FUZZ
from tests.security.servers import running

READ = experience_platform.list_batches(external_id="x")


@pytest.fixture
def looked_up(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The host names that anything wanted to connect to; none is resolved."""
    names: list[str] = []

    def look_up(host: Any, *_: Any, **__: Any) -> Any:
        names.append(host.decode() if isinstance(host, bytes) else str(host))
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return names


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_takes_nothing_to_another_host(status: int, opened: Any) -> None:
    with running() as other:
        answer = f"HTTP/1.1 {status} Moved\r\nLocation: {other.url}/x\r\nContent-Length: 0\r\n\r\n".encode()
        with running(answer) as server:
            assert "redirect, which is never followed" in str(opened(settings_at(server.url))(READ))
            secret = {
                "authentication": "oauth_server_to_server",
                "access_token": None,
                "client_secret": "the-client-secret",
            }
            assert "redirect, which is never followed" in str(opened(settings_at(server.url, **secret))(READ))
            assert [seen.target.partition("?")[0] for seen in server.seen] == [
                "/data/foundation/catalog/batches",
                "/ims/token/v3",
            ]
        assert other.connections == 0


FOREIGN = [
    "https://evil.example/m2/acme/profile/batchStatus?batchId=1",
    "https://evil.example\\.tt.omtrdc.net/m2",
    "https://evil.example%2f.tt.omtrdc.net/m2",
    "https://evil.example%5c.tt.omtrdc.net/m2",
    "https://evil.example%00.tt.omtrdc.net/m2",
    "https://evil.example#.tt.omtrdc.net/m2",
    "https://evil.example?.tt.omtrdc.net/m2",
    "https://evil.example/.tt.omtrdc.net",
    "https://evil.example;.tt.omtrdc.net/m2",
    "https://evil.example .tt.omtrdc.net/m2",
    "https://evil.example\u2044.tt.omtrdc.net/m2",
    "https://evil.example\u3002tt.omtrdc.net/m2",
    "https://\u0430cme.tt.omtrdc.net/m2",
    "https://acme.tt.omtrdc.net@evil.example/m2",
    "https://acme.tt.omtrdc.net:443@evil.example/m2",
    "https://acme.tt.omtrdc.net\\@evil.example/m2",
    "https://user:password@acme.tt.omtrdc.net/m2",
    "https://@acme.tt.omtrdc.net/m2",
    "https://acme.tt.omtrdc.net.evil.example/m2",
    "https://evil-tt.omtrdc.net/m2",
    "https://tt.omtrdc.net/m2",
    "https://.tt.omtrdc.net/m2",
    "https://-.tt.omtrdc.net/m2",
    "https://acme.tt.omtrdc.net:8443/m2",
    "https://acme.tt.omtrdc.net:443:443/m2",
    "https://acme.tt.omtrdc.net:+443/m2",
    "https://acme.tt.omtrdc.net:\u0664\u0664\u0663/m2",
    "https://127.0.0.1/m2",
    "https://localhost/m2",
    "https://[::1]/m2",
    "https://2130706433/m2",
    "https://169.254.169.254/latest/meta-data/",
    "//evil.example/m2",
    "///evil.example/m2",
    "https:evil.example",
    "https:/evil.example/m2",
    "https://[",
    "https://[::1",
    "file:///etc/passwd",
    "",
    "/m2/acme/profile/batchStatus",
    "\x00https://evil.example/",
    "https://[::1]acme.tt.omtrdc.net/m2",
    "https://xn--0.tt.omtrdc.net/m2",
    "https://b\u00fccher.tt.omtrdc.net/m2",
    "https://acme.tt.omtrdc.net./m2",
    "https://acme..tt.omtrdc.net/m2",
    "https://acme.tt.omtrdc.net:0/m2",
    "https://acme.tt.omtrdc.net/m2/../../x",
    "https://acme.tt.omtrdc.net/m2/%2e%2e/x",
    "https://acme.tt.omtrdc.net/m2%2fx",
    "https://acme.tt.omtrdc.net/m2%00",
]


@pytest.mark.parametrize("url", FOREIGN)
def test_a_status_url_that_leads_elsewhere_is_not_even_looked_up(
    url: str, opened: Any, looked_up: list[str]
) -> None:
    try:
        error: Any = opened(settings())(target.get_profile_batch_status(url, "the-profile-token"))
    except AdobeConfigurationError as raised:
        error = raised
    assert isinstance(error, AdobeConfigurationError)
    assert error.hint
    assert "the-profile-token" not in str(error)
    assert all(line.isprintable() for line in str(error).splitlines())
    assert len(str(error).splitlines()) == 2
    assert looked_up == []


@pytest.mark.parametrize("scheme", ["http", "https", "HTTP", "ftp", "gopher"])
def test_a_status_url_of_target_is_called_as_https_whatever_it_says(
    scheme: str, opened: Any, looked_up: list[str]
) -> None:
    allowed = settings().allowed_url(
        Service.TARGET_EDGE, f"{scheme}://mboxedge45.tt.omtrdc.net/m2/acme?batchId=1"
    )
    assert allowed == "https://mboxedge45.tt.omtrdc.net/m2/acme?batchId=1"
    opened(settings())(
        target.get_profile_batch_status(f"{scheme}://mboxedge45.tt.omtrdc.net/m2/acme?batchId=1", None)
    )
    assert set(looked_up) == {"mboxedge45.tt.omtrdc.net"}


@pytest.mark.parametrize("sign", ["\t", "\n", "\r"])
def test_a_line_break_in_a_status_url_is_taken_out_before_the_host_is_judged(
    sign: str, opened: Any, looked_up: list[str]
) -> None:
    assert (
        opened(settings())(
            target.get_profile_batch_status(f"https://evil.example{sign}.tt.omtrdc.net/m2", None)
        )
        is not None
    )
    assert set(looked_up) == {"evil.example.tt.omtrdc.net"}  # which is Adobe's to give away


PIECES = st.sampled_from(
    [
        *(
            "https://",
            "http://",
            "//",
            "/",
            "\\",
            "@",
            ":",
            "#",
            "?",
            "%2f",
            "%5c",
            ".",
            "evil.example",
            ".tt.omtrdc.net",
            "acme",
            "443",
        ),
        *("[", "]", "\t", "\n", " ", ";", "&", "\u3002", "\u2044", "\x00", "-", "_", "1"),
    ]
)


@given(pieces=st.lists(PIECES, min_size=1, max_size=9), begin=st.sampled_from(["https://", "http://", ""]))
@example(pieces=["evil.example", "\\", ".tt.omtrdc.net", "/"], begin="https://")
@FUZZ
def test_all_clients_agree_on_the_host_of_an_allowed_url(pieces: list[str], begin: str) -> None:
    import httpx
    import requests
    from urllib3.util import parse_url

    try:
        allowed = settings().allowed_url(Service.TARGET_EDGE, begin + "".join(pieces))
    except AdobeConfigurationError:
        return
    hosts = {
        parse_url(allowed).host,
        httpx.URL(allowed).host,
        parse_url(requests.Request("GET", allowed).prepare().url).host,
    }
    assert len(hosts) == 1, hosts
    assert hosts.pop().endswith(".tt.omtrdc.net")
    assert allowed.startswith("https://")


@pytest.mark.parametrize(
    "url",
    [
        "http://platform.adobe.io",
        "http://127.0.0.1.evil.example",
        "http://localhost.evil.example",
        "http://2130706433",
        "http://0.0.0.0",
        "http://[::]",
        "ftp://platform.adobe.io",
        "javascript:alert(1)",
        "file:///etc/passwd",
        "platform.adobe.io",
        "//platform.adobe.io",
        "https://",
        "https:///path",
        "https://user@platform.adobe.io",
        "https://user:password-in-the-url@platform.adobe.io",
        "https://@platform.adobe.io",
        "https://127.0.0.1\\@evil.example",
        "http://127.0.0.1\\@evil.example",
        "http://127.0.0.1@evil.example",
        "http://127.0.0.1#@evil.example",
        "https://platform.adobe.io/?x=1",
        "https://platform.adobe.io/#x",
        "https://platform.adobe.io:99999",
        "https://platform.adobe.io:x",
        "https://pl\u0430tform.adobe.io",
        "https://platform\u3002adobe\u3002io",
        "https://plat form.adobe.io",
        "https://platform.adobe.io\r\nX-Evil: 1",
        "https://[",
        "http://[::1]evil.com",
        "http://[::1].evil.com",
        "http://[::1%25eth0]",
        "https://127.1",
        "https://xn--0.example",
        "https://b\u00fccher.example",
        "https://platform.adobe.io/%2e%2e/x",
        "https://platform.adobe.io/a%2fb",
        "https://platform.adobe.io/a%00",
        "https://platform.adobe.io:0",
    ],
)
@pytest.mark.parametrize(
    "field", ["ims_url", "platform_url", "audience_manager_url", "target_url", "target_edge_url"]
)
def test_a_host_of_the_connection_is_plain_https_or_this_machine(field: str, url: str) -> None:
    with pytest.raises(AdobeConfigurationError, match=field) as raised:
        settings(**{field: url})
    assert "password-in-the-url" not in str(raised.value)


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:1", "http://localhost:1", "http://[::1]:1", "http://127.8.9.1", "https://[::1]/x"],
)
def test_this_machine_may_be_plain_http(url: str) -> None:
    assert isinstance(settings_at(url), AdobeSettings)
