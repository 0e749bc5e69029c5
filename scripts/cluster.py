# SPDX-License-Identifier: Apache-2.0
"""A cluster on one machine: Postgres, Redis, CeleryExecutor with two workers, each part a process that can be
killed and started again.

Each worker and the triggerer have a home, a temporary and a runtime folder of their own, as on machines of
their own; what they share is the database, the broker, the Dags and the folder of the logs.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import psutil  # type: ignore[import-untyped]

from scripts.local_airflow import (
    ADMIN,
    LocalAirflow,
    NotReady,
    Server,
    clean_environment,
    free_port,
    start_server,
)

WORKERS = ("worker1", "worker2")
#: These run tasks and triggers.
HOSTS = (*WORKERS, "triggerer")
PACKAGES = "apt-get install --no-install-recommends postgresql redis-server"


@dataclass
class Cluster:
    """The parts, by name: redis, api, scheduler, dag-processor, triggerer, worker1, worker2."""

    folder: Path
    commands: dict[str, list[str]]
    environment: dict[str, str]
    parts: dict[str, Server] = field(default_factory=dict)
    starts: dict[str, int] = field(default_factory=dict)

    def start(self, name: str) -> None:
        """Start a part, for the first time or again."""
        environment = dict(self.environment)
        if name in HOSTS:
            home = self.folder / "hosts" / name
            for variable, place in (
                ("AIRFLOW_HOME", "airflow"),
                ("HOME", "home"),
                ("TMPDIR", "tmp"),
                ("XDG_RUNTIME_DIR", "run"),
            ):
                (home / place).mkdir(parents=True, exist_ok=True, mode=0o700)
                environment[variable] = str(home / place)
        number = self.starts[name] = self.starts.get(name, 0) + 1
        part = start_server(f"{name}-{number}", "", self.commands[name], environment, self.folder / "private")
        self.parts[name] = part

    def processes(self, name: str) -> list[psutil.Process]:
        """Return the processes of a part: tasks may have left its process group."""
        try:
            parent = psutil.Process(self.parts[name].process.pid)
            return [parent, *parent.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def kill(self, name: str) -> int:
        """Kill a part and all that it has started, at once; return how many processes that were."""
        found = self.processes(name)
        for process in found:
            process.send_signal(signal.SIGSTOP)  # so that none sees another one die
        for process in found:
            process.kill()
        psutil.wait_procs(found, timeout=10)
        self.parts[name].process.wait()
        return len(found)

    def restart(self, name: str) -> None:
        """Kill a part and start it again."""
        self.kill(name)
        self.start(name)

    def talking_to(self, port: int) -> list[str]:
        """Return the workers of which a process is connected to a port of this machine."""
        return [
            name
            for name in WORKERS
            if any(
                one.raddr and one.raddr.port == port and one.status == psutil.CONN_ESTABLISHED
                for process in self.processes(name)
                for one in _connections(process)
            )
        ]

    def has_said(self, name: str, text: str) -> bool:
        """Whether a part has printed this since it was started."""
        return text in self.parts[name].output.read_text(errors="replace")

    def memory(self) -> dict[str, int]:
        """Return the megabytes of each part (proportional set size)."""
        return {
            name: sum(_pss(process) for process in self.processes(name)) // (1 << 20) for name in self.parts
        }

    def stop(self) -> None:
        """End everything."""
        for name in ("worker1", "worker2", "triggerer", "scheduler", "dag-processor", "api", "redis"):
            if name in self.parts:
                self.kill(name)


def _connections(process: psutil.Process) -> list[Any]:
    try:
        return list(process.net_connections("tcp"))
    except psutil.Error:
        return []


def _pss(process: psutil.Process) -> int:
    try:
        return int(process.memory_full_info().pss)
    except psutil.Error:
        return 0


def wait_for(ready: Callable[[], Any], seconds: float, what: str) -> Any:
    """Return the first true value of ``ready()``.

    :raises NotReady: when there was none in that time.
    """
    deadline = time.monotonic() + seconds
    while not (value := ready()):
        if time.monotonic() > deadline:
            raise NotReady(f"{what}: not after {seconds:.0f} s")
        time.sleep(0.1)
    return value


@contextmanager
def postgres(folder: Path, port: int, password: str) -> Iterator[None]:
    """Run a database of its own. It refuses to be run by root, so root gives it to the user ``postgres``."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if not found and not shutil.which("initdb"):
        raise NotReady(f"PostgreSQL was not found: {PACKAGES}")
    binaries = found[-1].parent if found else Path(str(shutil.which("initdb"))).parent
    as_user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    home, secret = folder / "postgres", folder / "postgres" / "password"
    data = home / "data"
    home.mkdir(mode=0o700)
    secret.write_text(password)
    if as_user:
        shutil.chown(home, "postgres")
        shutil.chown(secret, "postgres")
    users = ["-A", "scram-sha-256", "-U", "airflow", "--pwfile", str(secret)]
    _run(*as_user, str(binaries / "initdb"), "-D", str(data), "--no-sync", *users)
    control = [*as_user, str(binaries / "pg_ctl"), "-D", str(data), "-w"]
    options = (
        f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={home} -c max_connections=200"
    )
    _run(*control, "-l", str(home / "log"), "-o", options, "start")
    try:
        create = [str(binaries / "createdb"), "-h", "127.0.0.1", "-p", str(port), "-U", "airflow", "airflow"]
        _run(*create, PGPASSWORD=password)
        yield
    finally:
        subprocess.run([*control, "-m", "immediate", "stop"], check=False, stdout=subprocess.DEVNULL, cwd="/")


def _run(*command: str, **environment: str) -> None:
    process = subprocess.run(
        command, check=False, capture_output=True, text=True, cwd="/", env=os.environ | environment
    )
    if process.returncode:
        raise NotReady(f"{' '.join(command)}\n{process.stdout[-2000:]}\n{process.stderr[-2000:]}")


def _environment(
    folder: Path,
    dags: Path,
    ports: Mapping[str, int],
    password: str,
    connections: Mapping[str, Any],
) -> dict[str, str]:
    url = f"http://127.0.0.1:{ports['api']}"
    conn = f"postgresql+psycopg2://airflow:{password}@127.0.0.1:{ports['postgres']}/airflow"
    return clean_environment() | {
        "AIRFLOW_HOME": str(folder / "airflow"),
        "AIRFLOW__API__BASE_URL": url,
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(ports["api"]),
        "AIRFLOW__API__SECRET_KEY": secrets.token_urlsafe(32),
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_urlsafe(48),
        "AIRFLOW__CELERY__BROKER_URL": f"redis://:{password}@127.0.0.1:{ports['redis']}/0",
        "AIRFLOW__CELERY__RESULT_BACKEND": f"db+{conn}",
        "AIRFLOW__CELERY__WORKER_CONCURRENCY": "2",
        "AIRFLOW__CELERY_BROKER_TRANSPORT_OPTIONS__VISIBILITY_TIMEOUT": "86400",
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "True",
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags.resolve()),
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
        "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
        "AIRFLOW__CORE__FERNET_KEY": base64.urlsafe_b64encode(os.urandom(32)).decode(),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{ADMIN}:admin",
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "5",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": conn,
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(folder / "logs"),
        # Workers derive their heartbeat from it. Airflow's own 300 s would be five minutes for each kill.
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "15",
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "3",
        "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "10",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        **{f"AIRFLOW_CONN_{name.upper()}": json.dumps(value) for name, value in connections.items()},
    }


def _commands(folder: Path, port: int, password: str) -> dict[str, list[str]]:
    airflow = [sys.executable, "-m", "airflow"]
    broker = folder / "private" / "redis.conf"
    # What it has accepted survives a kill, as on any broker that production relies on.
    broker.write_text(
        f'bind 127.0.0.1\nport {port}\nrequirepass {password}\ndir {broker.parent}\nsave ""\n'
        "appendonly yes\nappendfsync always\n"
    )
    commands = {
        "redis": ["redis-server", str(broker)],
        "api": [*airflow, "api-server"],
        "scheduler": [*airflow, "scheduler", "--skip-serve-logs"],
        "dag-processor": [*airflow, "dag-processor"],
        "triggerer": [*airflow, "triggerer", "--skip-serve-logs"],
    }
    for name in WORKERS:
        options = ["--celery-hostname", f"{name}@%h", "--skip-serve-logs"]
        commands[name] = [*airflow, "celery", "worker", *options]
    return commands


@contextmanager
def cluster(
    dags: Path, connections: Mapping[str, Mapping[str, Any]]
) -> Iterator[tuple[Cluster, LocalAirflow]]:
    """Run the cluster, with every part healthy and both workers ready.

    :param dags: where the Dags are; all are paused.
    :param connections: Airflow connections by their id.
    """
    if not shutil.which("redis-server"):
        raise NotReady(f"Redis was not found: {PACKAGES}")
    folder = Path(tempfile.mkdtemp(prefix="adobe-cluster-"))
    folder.chmod(0o711)  # Postgres' user has to find its own folder below
    for name in ("airflow", "hosts", "logs", "private"):
        (folder / name).mkdir(mode=0o700)
    ports = {name: free_port() for name in ("postgres", "redis", "api")}
    # Other users of the machine reach the ports.
    password = secrets.token_hex(16)
    try:
        with postgres(folder, ports["postgres"], password):
            environment = _environment(folder, dags, ports, password, connections)
            parts = Cluster(folder, _commands(folder, ports["redis"], password), environment)
            users = folder / "airflow" / "simple_auth_manager_passwords.json.generated"
            users.write_text(json.dumps({ADMIN: password}))
            url = f"http://127.0.0.1:{ports['api']}"
            api = httpx.Client(base_url=f"{url}/api/v2", timeout=120, trust_env=False)
            try:
                parts.start("redis")
                _run(sys.executable, "-m", "airflow", "db", "migrate", **environment)
                for name in ("api", "scheduler", "dag-processor", *HOSTS):
                    parts.start(name)
                server = parts.parts["api"]
                server.url = url
                airflow = LocalAirflow(server, folder / "airflow", api, password)
                server.wait_until(lambda: set(airflow.components().values()) == {"healthy"}, 180)
                for name in WORKERS:
                    wait_for(partial(parts.has_said, name, "ready."), 120, f"{name} is ready")
                airflow.log_in()
                yield parts, airflow
            finally:
                api.close()
                parts.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
