# SPDX-License-Identifier: Apache-2.0
"""A real Airflow (3.x) and an emulator, each in processes of their own, for the demo and the system tests.

Everything they write is below one temporary folder, they listen on free loopback ports, and they end with
the ``with`` block::

    with emulator_process() as emulator, airflow_standalone(DAGS, connections={"adobe_default":
    connection_to(emulator.url)}) as airflow:
        run_id = airflow.trigger("my_dag")
        assert airflow.wait("my_dag", run_id) == "success", airflow.report("my_dag", run_id)
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import httpx

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

REPO = Path(__file__).resolve().parent.parent
FINISHED = ("success", "failed")


def free_port() -> int:
    """Return a loopback port that nobody listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def connection_to(url: str, **extra: Any) -> dict[str, Any]:
    """Return an ``adobe`` connection whose hosts are all ``url``, with the emulator's own credential."""
    return {
        "conn_type": "adobe",
        "login": "emulator-client",
        "password": "emulator-client-secret",
        "extra": {
            "org_id": "0123456789ABCDEF01234567@AdobeOrg",
            "sandbox": "prod",
            "ims_url": url,
            "platform_url": url,
            "audience_manager_url": url,
            "target_url": url,
            "target_tenant": "emulator",
            "target_client_code": "emulator",
            "target_edge_url": url,
            "session_cache": False,
            **extra,
        },
    }


class NotReady(Exception):
    """A server did not come up in time, or went away."""


@dataclass
class Server:
    """A process with children, in a session of its own, that serves HTTP."""

    name: str
    url: str
    process: subprocess.Popen[bytes]
    output: Path

    def wait_until(self, ready: Any, seconds: float) -> None:
        """Poll ``ready()`` until it is true; a refused connection counts as not yet."""
        deadline = time.monotonic() + seconds
        while True:
            if self.process.poll() is not None:
                raise NotReady(
                    f"{self.name} ended with exit code {self.process.returncode}. Its last "
                    f"words:\n{self.tail()}"
                )
            try:
                if ready():
                    return
            except httpx.TransportError:
                pass
            if time.monotonic() > deadline:
                raise NotReady(
                    f"{self.name} was not ready after {seconds:.0f} s. Its last words:\n{self.tail()}"
                )
            time.sleep(0.2)

    def tail(self, lines: int = 40) -> str:
        """Return the last lines of what the process has printed."""
        return "\n".join(self.output.read_text(errors="replace").splitlines()[-lines:])

    def stop(self, grace: float = 20) -> None:
        """End the whole process group: SIGTERM, and SIGKILL for what is left after ``grace`` seconds."""
        # To the group: SIGTERM to the parent alone leaves its children behind.
        deadline = time.monotonic() + grace
        self._signal(signal.SIGTERM)
        while self._signal(0) and time.monotonic() < deadline:
            self.process.poll()
            time.sleep(0.1)
        self._signal(signal.SIGKILL)
        self.process.wait()

    def _signal(self, number: int) -> bool:
        try:
            os.killpg(self.process.pid, number)
        except ProcessLookupError:
            return False
        return True


def start_server(name: str, url: str, command: Sequence[str], env: Mapping[str, str], folder: Path) -> Server:
    output = folder / f"{name}.log"
    stream: IO[bytes]
    with output.open("wb") as stream:
        process = subprocess.Popen(
            command,
            env=dict(env),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    return Server(name, url, process, output)


def clean_environment() -> dict[str, str]:
    """Return this process' environment without anything that is meant for another Airflow; `airflow` is this
    virtual environment's.
    """
    env = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    env["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), env.get("PATH", os.defpath)])
    env["NO_PROXY"] = env["no_proxy"] = "127.0.0.1,localhost"
    return env


@contextmanager
def emulator_process(*arguments: str, port: int | None = None) -> Iterator[Server]:
    """Run the emulator as users do, in a process of its own.

    :param arguments: more arguments of ``python -m airflow_provider_adobe_audiences.emulator``.
    :param port: a free one when not given.
    """
    port = port or free_port()
    folder = Path(tempfile.mkdtemp(prefix="adobe-emulator-"))
    command = [
        sys.executable,
        "-m",
        "airflow_provider_adobe_audiences.emulator",
        "--port",
        str(port),
        *arguments,
    ]
    server = start_server("emulator", f"http://127.0.0.1:{port}", command, clean_environment(), folder)
    try:
        server.wait_until(lambda: httpx.get(f"{server.url}/_emulator/health", trust_env=False).is_success, 30)
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


@dataclass
class LocalAirflow:
    """What one asks of a running Airflow through its REST API."""

    server: Server
    home: Path
    api: httpx.Client = field(repr=False)
    password: str = field(repr=False)

    @property
    def url(self) -> str:
        return self.server.url

    def _get(self, path: str, **params: Any) -> Any:
        response = self.api.get(path, params=params)
        response.raise_for_status()
        return response.json()

    def components(self) -> dict[str, str]:
        """Return the state of each component: ``{"scheduler": "healthy", ...}``."""
        health = self.api.get("/monitor/health").json()
        return {
            name: str((health.get(name) or {}).get("status"))
            for name in ("metadatabase", "scheduler", "triggerer", "dag_processor")
        }

    def log_in(self) -> str:
        """Let the client of the REST API be the admin, and return the token that says so."""
        login = {"username": ADMIN, "password": self.password}
        token = self.api.post(f"{self.url}/auth/token", json=login).raise_for_status().json()["access_token"]
        self.api.headers["Authorization"] = f"Bearer {token}"
        return str(token)

    def import_errors(self) -> dict[str, str]:
        """Return the stack trace of each file that could not be loaded."""
        return {
            error["filename"]: error["stack_trace"] for error in self._get("/importErrors")["import_errors"]
        }

    def wait_for_dag(self, dag_id: str, seconds: float = 90) -> None:
        """Wait until the DAG processor has read the DAG.

        :raises NotReady: when it has not, in that time; at once when a file cannot be imported.
        """
        deadline = time.monotonic() + seconds
        while not self.api.get(f"/dags/{dag_id}").is_success:
            if errors := self.import_errors():
                raise NotReady(
                    "\n".join(f"{file} cannot be imported:\n{trace}" for file, trace in errors.items())
                )
            if time.monotonic() > deadline:
                known = [dag["dag_id"] for dag in self._get("/dags", limit=100)["dags"]]
                raise NotReady(
                    f"Airflow does not know the Dag {dag_id!r} after {seconds:.0f} s, only {known}"
                )
            time.sleep(0.5)

    def trigger(self, dag_id: str, conf: Mapping[str, Any] | None = None) -> str:
        """Start a DAG run, as a person would; return its run id."""
        self.wait_for_dag(dag_id)
        self.api.patch(f"/dags/{dag_id}", json={"is_paused": False}).raise_for_status()
        response = self.api.post(
            f"/dags/{dag_id}/dagRuns", json={"logical_date": None, "conf": dict(conf or {})}
        ).raise_for_status()
        return str(response.json()["dag_run_id"])

    def clear(self, dag_id: str, run_id: str, *tasks: str | tuple[str, int]) -> None:
        """Clear a run as a person would: all of it, or these tasks with everything downstream.

        :param tasks: ids, or pairs of id and map index.
        """
        body: dict[str, Any] = {"dry_run": False, "only_failed": False}
        path = f"/dags/{dag_id}/dagRuns/{run_id}/clear"
        if tasks:
            path = f"/dags/{dag_id}/clearTaskInstances"
            body |= {"dag_run_id": run_id, "include_downstream": True, "reset_dag_runs": True}
            body["task_ids"] = [task if isinstance(task, str) else list(task) for task in tasks]
        # On SQLite Airflow answers 500 now and then, when many write at once.
        for left in (4, 3, 2, 1, 0):
            response = self.api.post(path, json=body)
            if response.status_code < 500 or not left:
                break
            time.sleep(1)
        response.raise_for_status()

    def mark(self, dag_id: str, run_id: str, task_id: str, state: str, map_index: int = -1) -> None:
        """Mark a task as ``success`` or ``failed``, as a person would."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}"
        path += f"/{map_index}" if map_index >= 0 else ""
        self.api.patch(path, json={"new_state": state}).raise_for_status()

    def state(self, dag_id: str, run_id: str) -> str:
        return str(self._get(f"/dags/{dag_id}/dagRuns/{run_id}")["state"])

    def wait(self, dag_id: str, run_id: str, seconds: float = 120) -> str:
        """Wait until the run has finished; return its state, which is the unfinished one when time is up."""
        deadline = time.monotonic() + seconds
        while (state := self.state(dag_id, run_id)) not in FINISHED and time.monotonic() < deadline:
            time.sleep(0.3)
        return state

    def task_instances(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """Return the run's task instances, with ``task_id``, ``map_index``, ``state``, ``try_number`` …"""
        return list(self._get(f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances", limit=100)["task_instances"])

    def xcom(
        self, dag_id: str, run_id: str, task_id: str, key: str = "return_value", map_index: int = -1
    ) -> Any:
        """Return what a task pushed, or ``None``."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/{key}"
        response = self.api.get(path, params={"map_index": map_index, "deserialize": True})
        return None if response.status_code == 404 else response.raise_for_status().json()["value"]

    def log(self, dag_id: str, run_id: str, task_id: str, try_number: int = 1, map_index: int = -1) -> str:
        """Return a task's log as text."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/logs/{try_number}"
        response = self.api.get(
            path,
            params={"map_index": map_index, "full_content": True},
            headers={"Accept": "application/x-ndjson"},
        )
        if not response.is_success:
            return f"(no log: {response.status_code} {response.text})"
        return "\n".join(_readable(line) for line in response.text.splitlines())

    def report(self, dag_id: str, run_id: str) -> str:
        """Describe a run that went wrong: the state of each task, and the log of each that failed or has not
        finished.
        """
        lines = [f"{dag_id}, {run_id}: {self.state(dag_id, run_id)}"]
        logs = []
        for task in self.task_instances(dag_id, run_id):
            name = task["task_id"] if task["map_index"] < 0 else f"{task['task_id']}[{task['map_index']}]"
            lines.append(f"  {name}: {task['state']}, try {task['try_number']}")
            if (
                task["state"] not in ("success", "skipped", "removed", "upstream_failed", None)
                and task["try_number"]
            ):
                logs += [
                    f"--- log of {name}",
                    self.log(dag_id, run_id, task["task_id"], task["try_number"], task["map_index"]),
                ]
        return "\n".join(lines + logs)


def _readable(line: str) -> str:
    """Turn one structured log line into text, with the stack trace of an exception below it."""
    try:
        entry = json.loads(line)
    except ValueError:
        return line
    if not isinstance(entry, dict) or not entry.get("timestamp"):
        return str(entry.get("event", "")) if isinstance(entry, dict) else line
    text = f"{entry['timestamp'][:19]} {str(entry.get('level', '')).upper():7} {entry.get('event')}"
    for error in entry.get("error_detail") or ():
        frames = "".join(
            f"\n    {frame['filename']}:{frame['lineno']} in {frame['name']}"
            for frame in error.get("frames") or ()
        )
        text += f"{frames}\n  {error.get('exc_type')}: {error.get('exc_value')}"
    return text


# What `airflow standalone` runs. That would also serve the logs of scheduler and triggerer, on all network
# interfaces.
ADMIN = "admin"
COMPONENTS = """
airflow db migrate || exit
airflow scheduler --skip-serve-logs &
airflow triggerer --skip-serve-logs &
airflow dag-processor &
airflow api-server &
wait
"""


@contextmanager
def airflow_standalone(
    dags_folder: Path,
    *,
    connections: Mapping[str, Mapping[str, Any]] | None = None,
    env: Mapping[str, str] | None = None,
    parallelism: int = 2,
) -> Iterator[LocalAirflow]:
    """Run scheduler, triggerer, DAG processor and API server, on a new sqlite database and on loopback only.
    Whoever wants to use it needs the password that is generated: all users of the machine reach its port.

    :param dags_folder: where the DAGs are.
    :param connections: Airflow connections by their id.
    :param env: more environment variables, for example ``AIRFLOW__...`` options.
    :param parallelism: how many tasks may run at once.
    """
    home = Path(tempfile.mkdtemp(prefix="adobe-airflow-"))
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    environment = clean_environment() | {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__API__BASE_URL": url,
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "True",
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags_folder.resolve()),
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__PARALLELISM": str(parallelism),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{ADMIN}:admin",
        "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "5",
        # On a busy machine sqlite's five seconds are too short: the scheduler ends with "database is locked"
        # then.
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db?timeout=60",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        **{
            f"AIRFLOW_CONN_{name.upper()}": json.dumps(connection)
            for name, connection in (connections or {}).items()
        },
        **(env or {}),
    }
    password = secrets.token_urlsafe(12)
    # The home is private (mkdtemp). Airflow takes this file for the passwords that it would generate.
    (home / "simple_auth_manager_passwords.json.generated").write_text(json.dumps({ADMIN: password}))
    server = start_server("airflow", url, ["sh", "-c", COMPONENTS], environment, home)
    # trust_env: a proxy of the machine has no business with the loopback address.
    api = httpx.Client(base_url=f"{url}/api/v2", timeout=120, trust_env=False)
    airflow = LocalAirflow(server, home, api, password)
    try:
        server.wait_until(lambda: set(airflow.components().values()) == {"healthy"}, 120)
        airflow.log_in()
        yield airflow
    finally:
        api.close()
        server.stop()
        shutil.rmtree(home, ignore_errors=True)


COMPONENTS_OF_AIRFLOW_2 = """
airflow db migrate || exit
airflow scheduler --skip-serve-logs &
airflow triggerer --skip-serve-logs &
wait
"""


@contextmanager
def any_airflow(
    dags_folder: Path, *, connections: Mapping[str, Mapping[str, Any]], env: Mapping[str, str] | None = None
) -> Iterator[Path]:
    """Run the Airflow that is installed, 2 or 3, and yield its home. What happens is read from its database.

    :param dags_folder: where the DAGs are; none of them is paused.
    :param connections: Airflow connections by their id.
    :param env: more environment variables.
    """
    if version("apache-airflow").startswith("2."):
        with _airflow_2(dags_folder, connections, env or {}) as home:
            yield home
        return
    unpaused = {"AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False"}
    with airflow_standalone(dags_folder, connections=connections, env=unpaused | dict(env or {})) as three:
        yield three.home


def rows_of_database(home: Path, query: str) -> list[tuple[Any, ...]]:
    """Return what an Airflow's database answers; nothing while it is not there or not migrated yet."""
    try:
        with closing(
            sqlite3.connect(f"file:{home / 'airflow.db'}?mode=ro", uri=True, timeout=30)
        ) as database:
            return database.execute(query).fetchall()
    except sqlite3.OperationalError:
        return []


@contextmanager
def _airflow_2(
    dags_folder: Path, connections: Mapping[str, Mapping[str, Any]], env: Mapping[str, str]
) -> Iterator[Path]:
    """Run scheduler and triggerer of Airflow 2, which need no API server."""
    home = Path(tempfile.mkdtemp(prefix="adobe-airflow-"))
    environment = clean_environment() | {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags_folder.resolve()),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db?timeout=60",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        **{f"AIRFLOW_CONN_{name.upper()}": json.dumps(value) for name, value in connections.items()},
        **env,
    }
    server = start_server("airflow", "", ["sh", "-c", COMPONENTS_OF_AIRFLOW_2], environment, home)
    try:
        yield home
    finally:
        server.stop()
        shutil.rmtree(home, ignore_errors=True)
