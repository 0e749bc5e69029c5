# SPDX-License-Identifier: Apache-2.0
"""No value leaves its place in a path."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_adobe_audiences.adobe.client.call import (
    Call,
    Idempotency,
    Service,
    no_content,
    path,
    segment,
)


@pytest.mark.parametrize(
    "value",
    [
        "",
        " ",
        "a/b",
        "..",
        ".",
        "a\nb",
        "a\r\nHost: x",
        "a%2fb",
        "a%2Fb",
        "a%5cb",
        "a\\b",
        "a?b",
        "a#b",
        "a\0b",
        "%00",
    ],
)
def test_a_value_that_could_leave_its_segment_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="batch"):
        path("/batches/{batch}", batch=value)


@given(st.text(min_size=1, max_size=40))
def test_whatever_is_accepted_stays_one_segment(value: str) -> None:
    try:
        quoted = segment(value)
    except (ValueError, UnicodeEncodeError):
        return
    assert "/" not in quoted
    assert quoted.isascii()
    assert unquote(quoted) == value
    assert urlsplit(f"https://host/a/{quoted}/b").path == f"/a/{quoted}/b"


def test_a_call_shows_neither_its_body_nor_its_credentials() -> None:
    call = Call(
        name="n",
        service=Service.IMS,
        method="POST",
        path="/p",
        idempotency=Idempotency.READ,
        parse=no_content,
        headers={"Authorization": "Basic secret"},
        form={"client_secret": "secret"},
        json={"token": "secret"},
        bearer="secret",
    )
    assert "secret" not in repr(call)
    assert "secret" not in str(call)
