# SPDX-License-Identifier: Apache-2.0
"""Schemathesis, a fuzzer that nobody here wrote, on each of Adobe's OpenAPI files.

It never makes the emulator break (5xx). Where a response is none that the file shows, Adobe's pages say
otherwise: :data:`KNOWN` names the contradiction. A finding that is not in there fails.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from airflow_provider_adobe_audiences.emulator.server import running_emulator
from tests.foreign.runs import SCHEMATHESIS

pytestmark = [pytest.mark.foreign, pytest.mark.timeout(420)]

SEED = "20261125"
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"


@dataclass(frozen=True)
class File:
    """One of Adobe's files.

    :param base: where its paths are in the emulator.
    :param examples: maximum number of cases per operation, besides those that cover the schema.
    :param only: the operations that the emulator plays, as expressions for path and method.
    """

    base: str
    examples: int
    only: str = ""
    methods: str = ""


FILES = {
    "batch-ingestion.yaml": File("/data/foundation/import", 20),
    "data-access.yaml": File("/data/foundation/export", 20),
    "segmentation.yaml": File("/data/core/ups", 5, "^/audiences"),
    "target-admin-api.json": File("", 10, "/target/(authentication/token|clients/settings)$"),
    "catalog.yaml": File(
        "/data/foundation/catalog",
        5,
        r"^/(batches|batches/\{BATCH_ID\}|lastBatches|dataSets|(v2/)?dataSets/\{DATASET_ID\})$",
        "^(GET|PATCH|DELETE)$",
    ),
}


@dataclass(frozen=True)
class Known:
    """A finding with its reason.

    :param number: contradiction (C-nn), or section of the contract where Adobe's pages and files part.
    """

    number: str
    operation: str
    message: str
    reason: str


KNOWN = (
    Known("6", ".*", "Received: 403", "the gateway refuses a request without token or API key"),
    Known("6", "(GET|HEAD) .*", "Received: 400", "the gateway refuses a request without organisation"),
    Known("4.10 ND", "GET /batches/.*/(failed|files)", "Received: 404", "an unknown batch"),
    Known("4.1 ND", "POST /batches", "Received: 409", "a used externalId: no page says"),
    Known("C-26", "POST /batches", '"loading" is not one of', "create answers it, the file lacks it"),
    Known("C-17", "POST /batches/.*/files/.*", "Received: 201", "guides: INITIALIZE and COMPLETE: 201"),
    Known("C-17", "(POST|PATCH) /batches/.*/files/.*", "media types are documented", "guides: no body"),
    Known("C-17", "(POST|PATCH) /batches/.*/files/.*", "must be valid JSON", "guides: no body"),
    Known("4.8", r"POST /batches/\{batchId\}", "media types are documented", "guides: no body"),
    Known("4.8", r"POST /batches/\{batchId\}", "must be valid JSON", "guides: no body"),
    Known("C-02", "(POST|PUT|PATCH) /audiences.*", "Received: 200", "pages: 200; the file: 201"),
    Known("2.2", "DELETE /audiences/.*", "media types are documented", "204 has no body"),
    Known("2.2", "DELETE /audiences/.*", "must be valid JSON", "204 has no body"),
    Known("2.2", "GET /audiences", "more than one of the schemas", "the file's two schemas overlap"),
)


def run(spec: Path, file: File, report: Path) -> None:
    """Run Schemathesis on a file."""
    with running_emulator(batch_seconds=0, external_seconds=0) as emulator:
        headers = {
            "authorization": f"Bearer {emulator.ims.issue()}",
            "x-api-key": "emulator-client",
            "x-gw-ims-org-id": "0123456789ABCDEF01234567@AdobeOrg",
            "x-sandbox-name": "prod",
        }
        filters = ["--include-path-regex", file.only] if file.only else []
        filters += ["--include-method-regex", file.methods] if file.methods else []
        command = [
            *(str(SCHEMATHESIS), "run", str(spec), "--url", emulator.url + file.base, "--seed", SEED),
            *("--max-examples", str(file.examples), "--phases", "examples,coverage,fuzzing"),
            *("--checks", CHECKS, "--continue-on-failure", "--no-shrink"),
            *("--report", "ndjson", "--report-ndjson-path", str(report)),
            *(part for name, value in headers.items() for part in ("-H", f"{name}: {value}")),
            *filters,
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=400, check=False)
        # 1: something was found; the report says what.
        assert done.returncode in (0, 1), done.stdout[-3000:] + done.stderr[-3000:]


def findings(report: Path) -> tuple[int, set[tuple[str, str, str]]]:
    """Return the number of cases, and operation, check and message of each finding."""
    cases, found = 0, set()
    for line in report.read_text().splitlines():
        event = json.loads(line).get("ScenarioFinished")
        if event is None:
            continue
        recorder = event["recorder"]
        cases += len(recorder.get("cases", {}))
        for checks in recorder.get("checks", {}).values():
            for check in checks:
                if check.get("failure_info"):
                    message = check["failure_info"]["failure"].get("message") or ""
                    found.add((recorder["label"], check["name"], message))
    return cases, found


def is_known(operation: str, message: str) -> Known | None:
    for known in KNOWN:
        if re.fullmatch(known.operation, operation) and known.message in message:
            return known
    return None


@pytest.fixture(scope="module")
def used() -> set[Known]:
    return set()


@pytest.mark.parametrize("name", FILES)
def test_a_file(shared: Path, tmp_path: Path, used: set[Known], name: str) -> None:
    if not SCHEMATHESIS.exists():
        if os.environ.get("CI") == "true":
            pytest.fail(f"{SCHEMATHESIS} is not installed: run make foreign")
        pytest.skip(f"{SCHEMATHESIS} is not installed: run make foreign")
    report = tmp_path / "report.ndjson"
    run(shared / "specs" / name, FILES[name], report)
    cases, found = findings(report)
    used |= {known for operation, _, message in found if (known := is_known(operation, message))}
    assert cases >= 100
    assert [one for one in found if one[1] == "not_a_server_error"] == []
    unknown = {
        (operation, message[:200]) for operation, _, message in found if not is_known(operation, message)
    }
    assert unknown == set()


def test_every_known_finding_is_found(shared: Path, used: set[Known]) -> None:
    if not used:
        pytest.skip("no file was run")
    assert {known.number for known in KNOWN} == {known.number for known in used}
