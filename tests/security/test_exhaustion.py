# SPDX-License-Identifier: Apache-2.0
"""When the process, not Adobe, is what is at its end."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from airflow_provider_adobe_audiences.adobe import experience_platform, target
from airflow_provider_adobe_audiences.errors import AdobeConfigurationError, AdobeTransportError
from tests.security.calls import settings_at
from tests.security.servers import running

READ = experience_platform.get_failed_file("b", "f")


@contextmanager
def no_file_left() -> Iterator[None]:
    """Open files until the limit of this process is reached."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    opened: list[int] = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 400), hard))
    try:
        while True:
            try:
                opened.append(os.open(os.devnull, os.O_RDONLY))
            except OSError:
                break
        yield
    finally:
        for descriptor in opened:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_too_many_open_files_are_not_taken_for_adobe_that_refuses(host: str, opened: Any) -> None:
    with running() as first, running() as second:
        fields = {"target_edge_url": f"http://{host}:{second.port}"}
        settings = settings_at(first.url).model_copy(update=fields)
        send = opened(settings)
        assert send(READ) is None  # everything is loaded
        with no_file_left():
            error = send(target.fetch_profile("acme", "x"))
    assert isinstance(error, AdobeTransportError)
    assert "this process has too many open files" in str(error)
    assert "ulimit -n" in error.hint
    assert "refused" not in str(error)
    assert second.seen == []


@pytest.mark.parametrize(
    "host",
    [
        "b\u00fccher.tt.omtrdc.net",
        "xn--0.tt.omtrdc.net",
        "xn--\u00e4.tt.omtrdc.net",
        f"{'a' * 64}.tt.omtrdc.net",
        f"{'a.' * 125}tt.omtrdc.net",
    ],
)
def test_a_status_url_that_no_client_can_encode_is_an_error_of_ours(host: str, opened: Any) -> None:
    send = opened(settings_at("https://acme.tt.omtrdc.net"))
    error = send(
        target.get_profile_batch_status(f"https://{host}/m2/acme/profile/batchStatus?batchId=1", None)
    )
    assert isinstance(error, AdobeConfigurationError)
    assert "no plain URL" in str(error)
