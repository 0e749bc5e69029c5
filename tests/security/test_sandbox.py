# SPDX-License-Identifier: Apache-2.0
"""Every request to Experience Platform names its sandbox. Adobe takes one that does not as meant for the
default sandbox, which is production.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from scripts.local_airflow import connection_to
from tests.security.calls import MAKERS, Async, Blocking, Maker, settings_at

if TYPE_CHECKING:
    from airflow_provider_adobe_audiences.emulator.journal import Entry
    from airflow_provider_adobe_audiences.emulator.server import RunningEmulator

PLATFORM = [
    maker
    for maker in MAKERS
    if "experience_platform" in maker.function.__module__ and "target" not in maker.function.__module__
]
ELSEWHERE = "/data/foundation/catalog/batches"


def platform_entries(emulator: RunningEmulator) -> list[Entry]:
    return [entry for entry in emulator.journal.entries if entry.path.startswith(("/data/", "/core/"))]


def check(emulator: RunningEmulator, sandbox: str) -> None:
    entries = platform_entries(emulator)
    assert entries
    assert {entry.headers.get("x-sandbox-name") for entry in entries} == {sandbox}
    assert not any(entry.default_sandbox for entry in entries)


def test_there_are_calls() -> None:
    assert len(PLATFORM) >= 15


@pytest.fixture(params=(Blocking, Async))
def sender(emulator: RunningEmulator, request: pytest.FixtureRequest) -> Iterator[Any]:
    emulator.switches["sandboxes"] = []
    made = request.param(settings_at(emulator.url, sandbox="dev", access_token=emulator.ims.issue()))
    yield made
    made.close()


@pytest.mark.parametrize("maker", PLATFORM, ids=lambda maker: maker.name)
def test_every_call_names_the_sandbox(emulator: RunningEmulator, sender: Any, maker: Maker) -> None:
    sender(maker())
    check(emulator, "dev")


@pytest.mark.parametrize("status", (302, 307))
def test_a_redirect_is_not_followed_and_so_cannot_lose_it(
    emulator: RunningEmulator, sender: Any, status: int
) -> None:
    for maker in PLATFORM:
        emulator.faults.clear()
        emulator.faults.add(
            path="^/(data|core)/", status=status, headers={"location": emulator.url + ELSEWHERE}
        )
        emulator.journal.clear()
        sender(maker())
        assert len(platform_entries(emulator)) == 1
        check(emulator, "dev")


def test_another_try_names_it_again(emulator: RunningEmulator) -> None:
    emulator.switches["sandboxes"] = []
    for kind in (Blocking, Async):
        token = emulator.ims.issue()
        fields = {"sandbox": "dev", "access_token": token, "max_attempts": 3}
        sender: Any = kind(settings_at(emulator.url, **fields))
        reading = [maker for maker in PLATFORM if maker.name.endswith("get_batch")]
        assert reading
        emulator.faults.add(path="^/data/", status=503, times=1, headers={"retry-after": "0"})
        emulator.journal.clear()
        sender(reading[0]())
        sender.close()
        assert len(platform_entries(emulator)) == 2
        check(emulator, "dev")


@pytest.mark.parametrize("of_connection", (True, False))
def test_a_task_that_is_deferred_names_it_in_the_trigger_too(
    emulator: RunningEmulator,
    adobe_connection: Callable[..., dict[str, Any]],
    run_dag: Callable[..., Any],
    tmp_path: Any,
    of_connection: bool,
) -> None:
    from airflow_provider_adobe_audiences.operators.experience_platform import AdobeIngestBatchOperator

    try:
        from airflow.sdk import DAG
    except ImportError:  # Airflow 2.11
        from airflow import DAG

    emulator.switches.update({"sandboxes": [], "batch_polls": 2})
    adobe_connection(**({"sandbox": "dev"} if of_connection else {}))
    source = tmp_path / "rows.json"
    source.write_text('{"a": 1}\n')
    with DAG(f"sandbox_{of_connection}", schedule=None) as dag:
        AdobeIngestBatchOperator(
            task_id="ingest",
            dataset_id="ds",
            source=str(source),
            file_format="json",
            deferrable=True,
            poll_interval=0.05,
            **({} if of_connection else {"sandbox": "dev"}),
        )
    run = run_dag(dag)
    assert str(run.state).rpartition(".")[2].lower() == "success"
    assert len([entry for entry in platform_entries(emulator) if entry.path.startswith(ELSEWHERE)]) >= 3
    check(emulator, "dev")


def test_the_default_of_a_connection_is_named_too(emulator: RunningEmulator) -> None:
    assert connection_to(emulator.url)["extra"].get("sandbox") in (None, "prod")
    made = Blocking(settings_at(emulator.url, access_token=emulator.ims.issue()))
    made(PLATFORM[0]())
    made.close()
    check(emulator, "prod")
