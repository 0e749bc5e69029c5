# SPDX-License-Identifier: Apache-2.0
"""Every operator and sensor, blocking and deferred, successful and refused in several ways, on the scheduler
and the triggerer of whichever Airflow is installed, with all loggers at DEBUG and a crash reporter. Then
secrets and customers are searched for in all that is left: text logs of Airflow 2, JSON logs of Airflow 3.
"""

from __future__ import annotations

import gzip
import json
import re
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_adobe_audiences.emulator.server import running_emulator
from scripts.local_airflow import any_airflow, connection_to, rows_of_database
from tests import leaks
from tests.airflow import dialect

pytestmark = [pytest.mark.system, pytest.mark.timeout(1000)]

SECRET = 'it\'s a "secret"\\ & <more>/é+='
CUSTOMERS = ("jane.roe@example.com", "john.doe@example.com")
#: What would steer a terminal, turn a text round or begin a line of its own in a log.
HOSTILE = "a\x9b31m\u202eb\u2028c\x1b[2J\u2066d"
STEERS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
#: The lines of a task's log that tell why it failed: Airflow 2 writes text, Airflow 3 JSON.
ERRORS = re.compile(r'.*(?: ERROR |"level":"(?:error|critical)").*')
#: A service that sends back what it should not know, however it writes it.
ECHO = f"{HOSTILE} " + " ".join(
    spelled.decode("latin-1") if isinstance(spelled, bytes) else spelled
    for name, spelled in leaks.spellings(SECRET).items()
    if name != "upper case"
)
BUT_IMS = r"^/(?!ims/)"
#: What the service of each connection does with every request; the first works.
SERVICES: dict[str, dict[str, Any] | None] = {
    "works": None,
    "echoes": {"status": 400, "body": {"message": ECHO, "error_code": "1"}, "path": BUT_IMS},
    "fails": {"status": 500, "body": ECHO, "path": BUT_IMS},
    "cuts": {"drop": True, "path": BUT_IMS},
    "garbles": {"status": 200, "body": f"<html>Sign in {HOSTILE}</html>", "path": BUT_IMS},
    "knows_nobody": {"status": 401, "body": {"error": "invalid_client", "error_description": ECHO}},
}
if version("apache-airflow").startswith("2."):
    # On SQLite it runs one task at a time.
    SERVICES = {name: SERVICES[name] for name in ("works", "echoes", "cuts")}
DONE = ("success", "failed", "skipped", "upstream_failed")
#: Refused before any request, since nobody has made them a plan.
NOT_REFUSED_BY_ADOBE = {"apply"}


@contextmanager
def crash_reporter() -> Iterator[tuple[str, list[bytes]]]:
    """Yield the DSN of a Sentry on this machine, and the list of all that it is sent."""
    sent: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            sent.append(gzip.decompress(body) if self.headers["Content-Encoding"] == "gzip" else body)
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://public@127.0.0.1:{server.server_port}/1", sent
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def finished(home: Path) -> dict[tuple[str, str], tuple[str, str]] | None:
    """Return operator and state of each task of all Dags, once all have ended."""
    runs = rows_of_database(home, "SELECT state FROM dag_run")
    if len(runs) < len(SERVICES) or any(state not in DONE for (state,) in runs):
        return None
    found = rows_of_database(home, "SELECT dag_id, task_id, operator, state FROM task_instance")
    return {(dag, task): (operator, state) for dag, task, operator, state in found}


def test_no_task_leaves_a_secret_or_a_customer_anywhere(tmp_path: Path, capsys: Any) -> None:
    dags, rows = tmp_path / "dags", tmp_path / "rows"
    dags.mkdir()
    rows.mkdir()
    shutil.copy(Path(__file__).with_name("every_operator.py"), dags)
    (rows / "rows.jsonl").write_text("".join(json.dumps({"email": one}) + "\n" for one in CUSTOMERS))
    (rows / "profiles.csv").write_text("email,tier\n" + "".join(f"{one},gold\n" for one in CUSTOMERS))
    deadline = time.monotonic() + 800

    with ExitStack() as stack:
        dsn, events = stack.enter_context(crash_reporter())
        emulators = {}
        for name, rule in SERVICES.items():
            emulators[name] = stack.enter_context(running_emulator(batch_polls=1, batch_seconds=0.0))
            emulators[name].ims.add_credential("emulator-client", SECRET)
            if rule is not None:
                emulators[name].faults.add(**rule)
        emulators["works"].audience_manager.add_group(HOSTILE)
        limits = {"max_attempts": 2, "total_timeout": 20}
        connections = {
            name: connection_to(one.url, **limits) | {"password": SECRET} for name, one in emulators.items()
        }
        env = {
            "AIRFLOW__CORE__PARALLELISM": "3",
            "AIRFLOW__LOGGING__LOGGING_LEVEL": "DEBUG",
            "AIRFLOW__LOGGING__NAMESPACE_LEVELS": "supervisor=INFO",  # it logs the Variables that tasks set
            "AIRFLOW__SENTRY__SENTRY_ON": "True",
            "AIRFLOW__SENTRY__SENTRY_DSN": dsn,
            "AIRFLOW__SENTRY__SEND_DEFAULT_PII": "True",
            "AIRFLOW__SENTRY__ATTACH_STACKTRACE": "True",
            "AIRFLOW__SENTRY__MAX_VALUE_LENGTH": "1000000",
            "AIRFLOW_VAR_PROFILE_TOKEN_THAT_NOBODY_ACCEPTS": "00000000-1111-2222-3333-444444444444",
            "DEV": "1",  # Airflow's own logs show tracebacks with local variables then
            "LEAKS_HOSTS": json.dumps({name: one.url for name, one in emulators.items()}),
            "LEAKS_FOLDER": str(rows),
        }
        home = stack.enter_context(any_airflow(dags, connections=connections, env=env))
        while (tasks := finished(home)) is None:
            assert time.monotonic() < deadline, (
                rows_of_database(home, "SELECT dag_id, task_id, state FROM task_instance"),
                rows_of_database(home, "SELECT * FROM import_error"),
            )
            time.sleep(0.5)

        tokens = [
            token
            for one in emulators.values()
            for token in (*one.ims.tokens, *(made.value for made in one.target.issued["profile_api"]))
        ]
        hunt = leaks.Hunt([SECRET, "00000000-1111-2222-3333-444444444444", *CUSTOMERS, *tokens])
        hunt.files(home)
        hunt.database(home / "airflow.db")
        for number, event in enumerate(events):
            hunt.look("events of the crash reporter", f"event {number}", event)
        issued = leaks.Hunt(tokens)
        issued.processes()
        logs = {str(file): file.read_text(errors="replace") for file in home.rglob("logs/**/*.log")}

    with capsys.disabled():
        print(f"\n{len(tasks)} tasks; {hunt}; {issued}")
    said = "".join(logs.values())
    wrong = {
        f"{dag} {task}": [
            state,
            *(
                f"{Path(name).name}: {ERRORS.findall(log) or log[-500:]}"
                for name, log in logs.items()
                if f"dag_id={dag}/" in name and f"={task}/" in name
            ),
        ]
        for (dag, task), (_, state) in tasks.items()
        if state != ("success" if dag == "over_works" else "failed") and task not in NOT_REFUSED_BY_ADOBE
    }
    assert wrong == {}, "\n".join(f"{name}: {what}" for name, what in wrong.items())
    assert {operator for operator, _ in tasks.values()} == set(dialect.tasks())
    assert hunt.found == []
    assert issued.found == []
    steering = [
        (name, found[0]) for name, log in logs.items() if "dag_id=" in name and (found := STEERS.search(log))
    ]
    assert steering == []
    assert "DEBUG" in said or '"level":"debug"' in said
    assert sum(b'"exception"' in event for event in events) >= len(SERVICES) - 1
