# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from airflow_provider_adobe_audiences.emulator.core import Emulator
from airflow_provider_adobe_audiences.emulator.server import Server, running_emulator

COMMAND = [sys.executable, "-m", "airflow_provider_adobe_audiences.emulator"]


def test_it_runs_and_leaves_nothing_behind() -> None:
    threads = threading.active_count()
    with running_emulator(batch_seconds=3) as emulator:
        assert emulator.platform.switches.batch_seconds == 3
        assert httpx.get(f"{emulator.url}/_emulator/health").json() == {"status": "ok", "url": emulator.url}
        place = emulator.platform.batches.disk.place()
        place.write_text("x")
    assert threading.active_count() == threads
    assert not place.parent.exists()
    with pytest.raises(httpx.ConnectError):
        httpx.get(emulator.url)


def test_a_restart_cuts_connections_and_keeps_state(
    emulator: Any, adobe: httpx.Client, create_batch: Any, headers: dict[str, str]
) -> None:
    batch = create_batch()
    emulator.faults.add(method="GET", path="audiences", hold=True)
    with ThreadPoolExecutor(1) as pool:
        cut = pool.submit(adobe.get, "/data/core/ups/audiences")
        emulator.holds.wait()
        url = emulator.url
        emulator.restart()
        with pytest.raises(httpx.TransportError):
            cut.result(10)
    assert emulator.url == url
    assert httpx.get(f"{url}/data/foundation/catalog/batches/{batch}", headers=headers).status_code == 200
    assert emulator.holds.as_list() == []


def test_connections_are_refused_while_it_is_down(
    emulator: Any, adobe: httpx.Client, create_batch: Any
) -> None:
    batch = create_batch()
    with emulator.down(), pytest.raises(httpx.ConnectError):
        httpx.get(f"{emulator.url}/_emulator/health")
    assert batch in emulator.platform.batches.batches
    assert httpx.get(f"{emulator.url}/_emulator/health").status_code == 200


def test_a_restart_over_http(emulator: Any, headers: dict[str, str]) -> None:
    emulator.faults.add(path="audiences", hold=True)
    with ThreadPoolExecutor(1) as pool:
        cut = pool.submit(httpx.get, f"{emulator.url}/data/core/ups/audiences", headers=headers, timeout=30)
        emulator.holds.wait()
        assert httpx.post(f"{emulator.url}/_emulator/restart", json={"downtime": 0.01}).status_code == 202
        with pytest.raises(httpx.TransportError):
            cut.result(30)
    back = httpx.Client(base_url=emulator.url, transport=httpx.HTTPTransport(retries=5))
    with back:
        assert back.get("/_emulator/health").status_code == 200


@pytest.mark.parametrize("host", ("0.0.0.0", "192.0.2.1", "::"))
def test_loopback_only(host: str) -> None:
    with pytest.raises(ValueError, match="loopback"):
        Server(Emulator(), host)


def test_the_command(tmp_path: Path) -> None:
    with subprocess.Popen(
        [*COMMAND, "--port", "0", "--switch", "batch_polls=4"], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        found = re.search(r"http://127\.0\.0\.1:\d+", process.stdout.readline())
        assert found is not None
        switches = {row["name"]: row["value"] for row in httpx.get(f"{found[0]}/_emulator/switches").json()}
        assert switches["batch_polls"] == 4
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    (
        (["--switch", "nonsense=1"], "no switch 'nonsense'"),
        (["--switch", "batch_polls=many"], "batch_polls"),
        (["--switch", "batch_polls"], "NAME=VALUE"),
        (["--host", "0.0.0.0"], "loopback"),
        (["--port", "99999"], "no port"),
        (["--port", "-1"], "no port"),
    ),
)
def test_the_command_refuses_nonsense(arguments: list[str], message: str) -> None:
    done = subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=30)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_the_command_documents_the_switches() -> None:
    assert (
        "ais_duplicate"
        in subprocess.run([*COMMAND, "--help"], capture_output=True, text=True, timeout=30).stdout
    )
    table = subprocess.run([*COMMAND, "--switch-table"], capture_output=True, text=True, timeout=30).stdout
    assert table == Emulator().switches.markdown()


def test_a_missing_extra_is_named() -> None:
    program = (
        "import sys; sys.modules['fastapi'] = None\n"
        "from airflow_provider_adobe_audiences.emulator.__main__ import main\n"
        "raise SystemExit(main([]))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30)
    assert done.returncode == 2
    assert "airflow-provider-adobe-audiences[emulator]" in done.stderr
