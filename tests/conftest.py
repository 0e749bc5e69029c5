# SPDX-License-Identifier: Apache-2.0
"""What every suite stands on: a private Airflow home per process, the emulator, a connection that points at
it.
"""

from __future__ import annotations

import base64
import functools
import json
import logging
import os
import re
import shutil
import sys
import tempfile
import threading
import zlib
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from scripts.local_airflow import REPO, connection_to

# Airflow reads its environment on the first import, so this comes before everything else. One home per
# process: each xdist worker has its own.
_HOME = Path(tempfile.mkdtemp(prefix="adobe-tests-"))
(_HOME / "dags").mkdir()
for _name in [name for name in os.environ if name.startswith(("AIRFLOW__", "AIRFLOW_CONN_", "AIRFLOW_VAR_"))]:
    del os.environ[_name]
os.environ.update(
    AIRFLOW_HOME=str(_HOME),
    AIRFLOW__CORE__DAGS_FOLDER=str(_HOME / "dags"),
    AIRFLOW__CORE__FERNET_KEY=base64.urlsafe_b64encode(os.urandom(32)).decode(),
    AIRFLOW__CORE__LOAD_EXAMPLES="False",
    AIRFLOW__CORE__UNIT_TEST_MODE="False",
    AIRFLOW__DATABASE__SQL_ALCHEMY_CONN=f"sqlite:///{_HOME}/airflow.db",
    AIRFLOW__LOGGING__BASE_LOG_FOLDER=str(_HOME / "logs"),
)

if TYPE_CHECKING:
    from airflow_provider_adobe_audiences.emulator.server import RunningEmulator


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--one-in",
        type=int,
        default=1,
        help="of the tests that run Dags and of the faults run one in so many, others on each Airflow",
    )
    parser.addoption("--share", type=int, help="which of these, from 0 on, instead of others on each Airflow")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    parts, share = config.getoption("--one-in"), config.getoption("--share")
    if share is None:
        share = zlib.crc32(version("apache-airflow").encode())
    left_out = [
        item
        for item in items
        if item.path.parent.name in ("airflow", "faults")
        and (zlib.crc32(item.nodeid.encode()) + share) % parts
    ]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in set(left_out)]


def pytest_configure(config: pytest.Config) -> None:
    # Not in pyproject.toml: pytest would import Airflow from there before this file has set its environment.
    config.addinivalue_line("filterwarnings", "error::airflow.exceptions.AirflowProviderDeprecationWarning")


def pytest_unconfigure() -> None:
    shutil.rmtree(_HOME, ignore_errors=True)


@pytest.fixture(autouse=True)
def _no_masks_of_other_tests() -> Iterator[None]:
    """Airflow masks what a process has learned, and compiles all of it anew with each secret: thousands of
    tests in one process would wait for that.
    """
    yield
    for name, module in list(sys.modules.items()):
        if name.endswith(".secrets_masker") and hasattr(module, "_secrets_masker"):
            masker = module._secrets_masker()
            masker.patterns, masker.replacer = set(), None


@pytest.fixture(autouse=True)
def _no_threads_of_other_tests() -> Iterator[None]:
    """What was interrupted waits for none of its threads: the next test would see their last requests."""
    yield
    for thread in threading.enumerate():
        if re.fullmatch(r"adobe-\d+", thread.name):
            thread.join(5)


@pytest.fixture(scope="session")
def repo() -> Path:
    """The root of the repository."""
    return REPO


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with Adobe's specifications and the large data set; tests that need it are skipped without
    it, but never in CI.
    """
    folder = Path(os.environ.get("ADOBE_SHARED") or REPO.parent / "shared")
    if not folder.is_dir():
        message = f"{folder} does not exist; set ADOBE_SHARED to the folder with specs/ and data/"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return folder


@pytest.fixture(scope="session")
def airflow_home() -> Path:
    """``AIRFLOW_HOME`` of this process: its logs are in ``logs/``."""
    return _HOME


@pytest.fixture(scope="session")
def airflow_db() -> None:
    """A migrated database in this process' own home."""
    from airflow.utils.db import initdb

    initdb()
    try:
        import structlog
        from airflow.sdk.execution_time import supervisor
    except ImportError:  # Airflow 2.11 has neither
        return
    if not hasattr(supervisor.in_process_api_server, "cache_clear"):
        # As Airflow 3.3 does; without it dag.test() builds the API anew for each task, a second each time.
        supervisor.in_process_api_server = functools.cache(supervisor.in_process_api_server)
    if not structlog.is_configured():
        # Airflow 3.0 does this in a task's process only; dag.test() would print all messages, with the
        # Variables that tasks set.
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.INFO))


@pytest.fixture(scope="session")
def dag_bag(airflow_db: None) -> Callable[[Path], Any]:
    """``dag_bag(path)`` reads the Dags of a file or folder as Airflow does."""
    try:
        from airflow.dag_processing.dagbag import DagBag
    except ImportError:  # Airflow before 3.2
        from airflow.models.dagbag import DagBag
    return lambda path: DagBag(path)


@pytest.fixture
def run_dag(airflow_db: None) -> Callable[..., Any]:
    """``run_dag(dag, **kwargs)`` runs a DAG to its end with ``dag.test()`` and returns the DAG run.

    Assert its ``state``: ``dag.test()`` swallows exceptions.
    """

    def run(dag: Any, **kwargs: Any) -> Any:
        try:
            from airflow.dag_processing.bundles.manager import DagBundlesManager
        except ImportError:  # Airflow 2.11
            dag.sync_to_db()
            return dag.test(**kwargs)
        from airflow.models import dag as scheduler_dag
        from airflow.models.serialized_dag import SerializedDagModel
        from airflow.serialization.serialized_objects import LazyDeserializedDAG, SerializedDAG
        from airflow.utils.session import create_session

        DagBundlesManager().sync_bundles_to_db()
        with create_session() as session:
            if hasattr(LazyDeserializedDAG, "from_dag"):
                lazy, owner = LazyDeserializedDAG.from_dag(dag), SerializedDAG
            else:  # Airflow 3.0
                dag.relative_fileloc = f"{dag.dag_id}.py"
                lazy, owner = LazyDeserializedDAG(data=SerializedDAG.to_dict(dag)), scheduler_dag.DAG
            owner.bulk_write_to_db("dags-folder", None, [lazy], session=session)
            SerializedDagModel.write_dag(lazy, bundle_name="dags-folder", session=session)
        return dag.test(**kwargs)

    return run


@pytest.fixture
def xcom() -> Callable[..., Any]:
    """``xcom(dag_run, task_id, key="return_value", map_index=-1)`` returns what a task pushed, or
    ``None``.
    """

    def read(dag_run: Any, task_id: str, key: str = "return_value", map_index: int = -1) -> Any:
        from airflow.models import xcom as models
        from airflow.utils.session import create_session

        model = getattr(models, "XComModel", None) or models.XCom  # Airflow 2.11 has the latter only
        where = {
            "dag_id": dag_run.dag_id,
            "run_id": dag_run.run_id,
            "task_id": task_id,
            "key": key,
            "map_index": map_index,
        }
        with create_session() as session:
            row = session.query(model).filter_by(**where).first()
            if row is None:
                return None
            return model.deserialize_value(row) if hasattr(models, "XComModel") else row.value

    return read


@pytest.fixture(scope="session")
def _emulator() -> Iterator[RunningEmulator]:
    from airflow_provider_adobe_audiences.emulator.server import running_emulator

    with running_emulator() as emulator:
        yield emulator


@pytest.fixture
def emulator(_emulator: RunningEmulator) -> RunningEmulator:
    """Adobe on a loopback port, empty and with default switches at the start of each test."""
    _emulator.reset()
    return _emulator


@pytest.fixture
def adobe_connection(
    emulator: RunningEmulator, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., dict[str, Any]]:
    """``adobe_default`` points at the emulator. Call the fixture to change fields of its extra:
    ``adobe_connection(sandbox="dev")``.
    """

    def point(**extra: Any) -> dict[str, Any]:
        connection = connection_to(emulator.url, **extra)
        monkeypatch.setenv("AIRFLOW_CONN_ADOBE_DEFAULT", json.dumps(connection))
        return connection

    point()
    return point
