# SPDX-License-Identifier: Apache-2.0
"""Peers that live in an environment of their own (``make foreign``): aepp, and pandas that comes with it.

    python -m benchmarks.peers aepp URL BATCH CALLS     milliseconds of one ``getBatch``, and of the processor
    python -m benchmarks.peers pandas FILE              seconds and rows of a bulk body, and its SHA-256

Run by the Python of that environment, so nothing but the standard library and the peer is imported here.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

REPO = Path(__file__).parents[1]
PYTHON = REPO / ".venv-foreign" / "bin" / "python"
MISSING = "not installed: run make foreign"


def measured(*arguments: str) -> dict[str, Any] | None:
    """Return the figures of a peer, or ``None`` when it is not installed.

    :param arguments: which, and of what.
    """
    if not PYTHON.exists():
        return None
    command = [str(PYTHON), "-m", "benchmarks.peers", *arguments]
    output = subprocess.run(command, cwd=REPO, capture_output=True, text=True, check=True).stdout
    found: dict[str, Any] = json.loads(output.splitlines()[-1])
    return found


def aepp_get_batch(url: str, batch: str, calls: int) -> dict[str, Any]:
    """Ask for a batch as often as that. Nothing of aepp is changed but the hosts that it calls."""
    import aepp
    import requests
    from aepp import catalog

    send = requests.Session.send

    def to_emulator(session: requests.Session, request: requests.PreparedRequest, **more: Any) -> Any:
        request.url = url + str(request.url).partition(urlsplit(str(request.url)).netloc)[2]
        return send(session, request, **more)

    requests.Session.send = to_emulator  # type: ignore[method-assign]
    with contextlib.redirect_stdout(io.StringIO()):
        aepp.configure(
            org_id="0123456789ABCDEF01234567@AdobeOrg",
            client_id="emulator-client",
            secret="emulator-client-secret",
            scopes="openid,AdobeID",
            sandbox="prod",
        )
        client = catalog.Catalog()
        assert batch in client.getBatch(batch)
        begun, worked = time.perf_counter(), time.process_time()
        for _ in range(calls):
            client.getBatch(batch)
    return {
        "milliseconds": (time.perf_counter() - begun) * 1000 / calls,
        "processor_milliseconds": (time.process_time() - worked) * 1000 / calls,
    }


def pandas_body(file: str) -> dict[str, Any]:
    """Make a bulk body of a CSV file: read in pieces, quoted column by column, written."""
    import pandas as pd

    idle = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begun = time.process_time()
    rows, first = 0, True
    with tempfile.TemporaryFile("w+", encoding="ascii", newline="") as body:
        for frame in pd.read_csv(file, dtype=str, keep_default_na=False, chunksize=50_000):
            if first:
                body.write("batch=thirdPartyId," + ",".join(frame.columns[1:]))
                first = False
            encoded = [[quote(cell, safe="") for cell in frame[name]] for name in frame.columns]
            for cells in zip(*encoded, strict=True):
                body.write("\n" + ",".join(cells))
            rows += len(frame)
        seconds = time.process_time() - begun
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        body.seek(0)
        digest = hashlib.sha256(body.read().encode()).hexdigest()
    return {
        "seconds": seconds,
        "rows": rows,
        "megabytes_above_idle": round((peak - idle) / 1024, 1),
        "sha256": digest,
    }


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["aepp", url, batch, calls]:
            print(json.dumps(aepp_get_batch(url, batch, int(calls))))
        case ["pandas", file]:
            print(json.dumps(pandas_body(file)))
        case _:
            raise SystemExit(__doc__)
