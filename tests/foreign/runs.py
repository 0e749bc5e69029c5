# SPDX-License-Identifier: Apache-2.0
"""Runs software that nobody here wrote against the emulator, and makes the table in ``docs/emulator.md``.

``python -m tests.foreign.runs`` writes the table; ``make foreign`` installs the clients and runs the tests.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from airflow_provider_adobe_audiences.emulator.server import running_emulator
from scripts.local_airflow import REPO

VENV = Path(os.environ.get("FOREIGN_VENV") or REPO / ".venv-foreign")
PYTHON = VENV / "bin" / "python"
SCHEMATHESIS = VENV / "bin" / "st"
NODE_MODULES = VENV / "node_modules"
CLIENTS = Path(__file__).parent / "clients"
DOCS = REPO / "docs" / "emulator.md"
MARKER = "<!-- foreign -->\n"
SWITCHES = {"batch_seconds": 0, "external_seconds": 0, "large_file_responses": "spec"}

WORKS = "works"
REFUSED = "refused as documented"
FAULT = "the client's own fault"

#: What does not work, with the reason. Everything else has to.
EXPECTED: Mapping[tuple[str, str], tuple[str, str]] = {
    ("aepp", "createBatch (Catalog)"): (
        REFUSED,
        "left out: batches are created by the ingestion API",
    ),
    ("aepp", "getResources"): (REFUSED, "left out: the list of Catalog's resources"),
    ("aepp", "getPreviewBatchDataset"): (FAULT, "takes `format`, which is required, and does not send it"),
    ("aepp", "replayBatch"): (FAULT, "sends PATCH; a batch that replaces others is created by POST"),
    ("aepp", "getDataSets (pages)"): (FAULT, "its second page begins one dataset too late"),
    ("aepp", "getDataSetViews"): (FAULT, "Adobe's specification has no views"),
    ("aepp", "getDataSetView"): (FAULT, "Adobe's specification has no views"),
    ("aepp", "getDataSetViewFiles"): (FAULT, "Adobe's specification has no views"),
    ("aepp", "getDataSetExpiration"): (FAULT, "Adobe's Catalog specification has no `/ttl`"),
    ("aepp", "getParquetFilesToDataFrame"): (FAULT, "adds the lines of a file to a list of files"),
}


@dataclass(frozen=True)
class Result:
    """What came of one call of one client."""

    client: str
    call: str
    outcome: str
    reason: str


class MissingError(Exception):
    """The clients are not installed."""


def run_clients() -> list[Result]:
    """Run every client.

    :raises MissingError: when one of them is not installed.
    """
    node = shutil.which("node")
    if not PYTHON.exists() or node is None or not NODE_MODULES.is_dir():
        raise MissingError(f"the foreign clients are not installed in {VENV}: run make foreign")
    commands = {
        "aepp": [str(PYTHON), str(CLIENTS / "aepp_calls.py")],
        "umapi-client": [str(PYTHON), str(CLIENTS / "umapi_calls.py")],
        "@adobe/aio-lib-ims": [node, str(CLIENTS / "aio_lib_ims_calls.cjs")],
    }
    results = []
    for client, command in commands.items():
        with running_emulator(**SWITCHES) as emulator:
            results += _run(client, [*command, emulator.url, str(NODE_MODULES)])
    return results


def _run(client: str, command: list[str]) -> list[Result]:
    environment = {name: text for name, text in os.environ.items() if "proxy" not in name.lower()}
    done = subprocess.run(command, capture_output=True, text=True, timeout=150, env=environment, check=False)
    if done.returncode:
        raise RuntimeError(f"{client} broke off:\n{done.stdout[-1000:]}\n{done.stderr[-3000:]}")
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return [_judge(client, line) for line in lines]


def _judge(client: str, line: Mapping[str, object]) -> Result:
    call = str(line["call"])
    if line["right"]:
        return Result(client, call, WORKS, "")
    outcome, reason = EXPECTED.get((client, call), ("", str(line["problem"])))
    statuses = line["statuses"]
    if outcome == REFUSED and (not isinstance(statuses, list) or 501 not in statuses):
        outcome, reason = "", str(line["problem"])
    return Result(client, call, outcome or "fails", reason)


def table(results: Iterable[Result]) -> str:
    """Return the table for the documentation."""
    results = list(results)
    lines = [
        "| client | calls | work | refused as documented | the client's own fault |",
        "|---|---|---|---|---|",
    ]
    for client in dict.fromkeys(one.client for one in results):
        found = [one.outcome for one in results if one.client == client]
        counts = [found.count(outcome) for outcome in (WORKS, REFUSED, FAULT)]
        lines.append(f"| `{client}` | {len(found)} | " + " | ".join(map(str, counts)) + " |")
    lines += ["", "| client | call | outcome |", "|---|---|---|"]
    lines += [
        f"| `{one.client}` | `{one.call}` | {one.outcome}{': ' if one.reason else ''}{one.reason} |"
        for one in results
    ]
    return "\n".join(lines) + "\n"


def page(text: str, results: Iterable[Result]) -> str:
    """Return the page of the documentation with the table made anew."""
    before, _, after = text.split(MARKER)
    return f"{before}{MARKER}\n{table(results)}\n{MARKER}{after}"


if __name__ == "__main__":
    DOCS.write_text(page(DOCS.read_text(), run_clients()))
