# SPDX-License-Identifier: Apache-2.0
"""A call of a session beside the same request of a bare ``requests.Session``, one after another.

Both read the permissions of a group from the sink, which responds at once: what is compared is the client.
Ours has the limiter, retries, redaction and all checks; the peer has nothing but its headers.
"""

from __future__ import annotations

import json
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

import requests

from airflow_provider_adobe_audiences.adobe.audience_manager import list_group_permissions
from airflow_provider_adobe_audiences.adobe.client.session import AdobeSession
from airflow_provider_adobe_audiences.adobe.client.settings import AdobeSettings
from benchmarks import figures, sink

CALLS = int(os.environ.get("BENCH_CALLS", "2000"))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "5"))


def timed(do: Callable[[], object]) -> tuple[float, float]:
    """Return the milliseconds of one call, and those of the processor."""
    begun, worked = time.perf_counter(), time.process_time()
    for _ in range(CALLS):
        do()
    return (
        (time.perf_counter() - begun) * 1000 / CALLS,
        (time.process_time() - worked) * 1000 / CALLS,
    )


def run() -> dict[str, Any]:
    """Measure, and return the figures."""
    found: dict[str, Any] = {"machine": figures.machine(), "calls": CALLS}
    with sink.compiled() as program, sink.running(program, "http://127.0.0.1:9") as url:
        settings = AdobeSettings.of(
            {
                "client_id": "benchmark",
                "authentication": "access_token",
                "access_token": "a-token-of-the-benchmark",
                "audience_manager_url": f"{url}/sink",
            },
            "the benchmark",
        )
        address = f"{settings.audience_manager_url}{list_group_permissions(1).path}"
        with AdobeSession(settings) as session, requests.Session() as peer:
            peer.headers.update(
                {"Authorization": "Bearer a-token-of-the-benchmark", "x-api-key": "benchmark"}
            )

            def ours() -> object:
                return session.send(list_group_permissions(1))

            def bare() -> object:
                response = peer.get(address)
                response.raise_for_status()
                return response.json()

            assert ours() == ()
            assert bare() == []
            timed(ours)
            timed(bare)
            rounds = [(timed(ours), timed(bare)) for _ in range(ROUNDS)]
    for number, what in enumerate(("milliseconds", "processor_milliseconds")):
        one, other = ([pair[number] for pair in series] for series in zip(*rounds, strict=True))
        found |= {
            f"ours_{what}": round(statistics.median(one), 3),
            f"requests_{what}": round(statistics.median(other), 3),
            f"times_requests_{what}": round(
                statistics.median(a / b for a, b in zip(one, other, strict=True)), 2
            ),
        }
    return found | {"load_average": figures.load()}


if __name__ == "__main__":
    print(json.dumps(run(), indent=2))
