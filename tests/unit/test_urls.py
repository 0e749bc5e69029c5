# SPDX-License-Identifier: Apache-2.0
"""One strict reading of a URL: every client agrees with it, or it is refused."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from airflow_provider_adobe_audiences.adobe.client import urls
from airflow_provider_adobe_audiences.adobe.client.urls import Url
from scripts.fuzz import URL_PIECES
from tests.security.fuzz import FUZZ

GOOD = {
    "https://platform.adobe.io": Url("https", "platform.adobe.io"),
    "HTTPS://Platform.Adobe.IO/A/b": Url("https", "platform.adobe.io", None, "/A/b"),
    "https://acme.tt.omtrdc.net/m2/acme/profile/batchStatus?batchId=acme-1%20x": Url(
        "https", "acme.tt.omtrdc.net", None, "/m2/acme/profile/batchStatus", "batchId=acme-1%20x"
    ),
    "http://127.0.0.1:8080": Url("http", "127.0.0.1", 8080),
    "http://[::1]:9/x": Url("http", "::1", 9, "/x"),
    "http://[0:0:0:0:0:0:0:1]/": Url("http", "::1", None, "/"),
    "https://xn--bcher-kva.example": Url("https", "xn--bcher-kva.example"),
    "https://a_b.example?x=/?y": Url("https", "a_b.example", None, "", "x=/?y"),
    "https://host/a/%7Eb/@c:d": Url("https", "host", None, "/a/%7Eb/@c:d"),
}

BAD = [
    "",
    " ",
    "host",
    "/path",
    "//host/path",
    "///host",
    "https:",
    "https:/host",
    "https:host",
    "https://",
    "https:///path",
    "https://?x",
    "https://[",
    "https://[]",
    "https://[::1",
    "https://::1/",
    "http://[::1]evil.com",
    "http://[::1].evil.com",
    "http://[::1]@evil.com",
    "http://[::1%25eth0]/",
    "http://[::g]/",
    "http://[127.0.0.1]/",
    "https://user@host",
    "https://user:password@host",
    "https://@host",
    "https://host\\@evil.example",
    "https://host\\.evil.example",
    "https://host#@evil.example",
    "https://host/#fragment",
    "https://host%00.evil.example",
    "https://host%2f.evil.example",
    "https://host%5c.evil.example",
    "https://ho st",
    "https://host\t",
    "https://host\n.example",
    "\x00https://host",
    " https://host",
    "https://host/a b",
    'https://host/"',
    "https://host/<x>",
    "https://host/{x}",
    "https://host/%",
    "https://host/%zz",
    "https://host/%00",
    "https://host/%0d%0aX:1",
    "https://host/a%2fb",
    "https://host/a%5cb",
    "https://host/a/../b",
    "https://host/a/%2e%2E/b",
    "https://host/.",
    "https://host/?x=%00",
    "https://host:",
    "https://host:0",
    "https://host:65536",
    "https://host:99999999",
    "https://host:+443",
    "https://host:443:443",
    "https://host:\u0664\u0664\u0663",
    "https://-host",
    "https://host-",
    "https://.host",
    "https://host.",
    "https://a..b",
    f"https://{'a' * 64}.example",
    f"https://{'a.' * 127}example",
    "https://2130706433",
    "https://0x7f000001",
    "https://127.1",
    "https://0177.0.0.1",
    "https://256.0.0.1",
    "https://host.0x1",
    "https://platform\u3002adobe\u3002io",
    "https://pl\u0430tform.adobe.io",
    "https://b\u00fccher.example",
    "https://xn--\u00e4.example",
    "https://xn--.example",
    "https://xn--0.example",
    "https://xn--a-ecp.ru.example",
    "https://host\u2044x",
    "https://host\u200b",
    "https://host/" + "a" * 9000,
]


@pytest.mark.parametrize("url", GOOD)
def test_a_plain_url_is_read(url: str) -> None:
    assert urls.parse(url) == GOOD[url]


@pytest.mark.parametrize("url", BAD)
def test_anything_that_could_be_read_in_two_ways_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(ValueError, match=r"^it") as raised:
        urls.parse(url)
    assert str(raised.value).isprintable()
    assert "password@" not in str(raised.value)


@pytest.mark.parametrize("value", [None, 7, b"https://host", ["https://host"]])
def test_what_is_no_text_is_no_url(value: object) -> None:
    with pytest.raises(ValueError, match="no text"):
        urls.parse(value)  # type: ignore[arg-type]


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.8.9.1", "::1"])
def test_this_machine(host: str) -> None:
    assert urls.is_loopback(host)


@pytest.mark.parametrize("host", [None, "", "localhost.evil.example", "0.0.0.0", "::", "10.0.0.1", "host"])
def test_another_machine(host: str | None) -> None:
    assert not urls.is_loopback(host)


PIECES = st.sampled_from(URL_PIECES)


@given(st.lists(PIECES, min_size=1, max_size=10).map("".join) | st.text(max_size=30), st.booleans())
@example("[::1]evil.com", True)
@FUZZ
def test_every_client_reads_what_is_accepted_alike(rest: str, prefixed: bool) -> None:
    import httpx
    import requests
    from urllib3.util import parse_url

    url = f"https://{rest}" if prefixed else rest
    try:
        read = urls.parse(url)
    except ValueError:
        return
    assert urls.parse(str(read)) == read, "written down again it says the same"
    if read.scheme not in ("http", "https"):
        return
    host = f"[{read.host}]" if ":" in read.host else read.host
    prepared = requests.Request("GET", str(read)).prepare().url
    assert {
        parse_url(str(read)).host,
        parse_url(prepared).host,
        httpx.URL(str(read)).raw_host.decode().join("[]" if ":" in read.host else ("", "")),
    } == {host}
    assert urlsplit(str(read)).hostname == read.host
    port = read.port or {"https": 443, "http": 80}[read.scheme]
    assert (parse_url(prepared).port or port, httpx.URL(str(read)).port or port) == (port, port)
    path = httpx.URL(str(read)).raw_path.partition(b"?")[0].decode()
    assert path == (read.path or "/")
