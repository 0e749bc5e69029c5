# SPDX-License-Identifier: Apache-2.0
"""Every request that the client sends to batches, Catalog, Data Access and audiences is one that Adobe's
OpenAPI files describe.
"""

from __future__ import annotations

import inspect
import io
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_adobe_audiences.adobe import experience_platform as platform
from airflow_provider_adobe_audiences.adobe.client.call import Call, Content
from airflow_provider_adobe_audiences.adobe.client.session import AdobeSession
from airflow_provider_adobe_audiences.adobe.client.settings import AdobeSettings
from airflow_provider_adobe_audiences.audiences.ensure import (
    AudienceMetadata,
    ensure_audience_metadata,
)
from airflow_provider_adobe_audiences.batches.ingest import BatchIngestion, BatchRequest, SourceFile
from scripts.local_airflow import connection_to
from tests.conformance.spec import Specification

#: Not described by any of Adobe's files: only by the page "Create Audience API Endpoint".
UNSPECIFIED = {"create audience metadata"}


@pytest.fixture(scope="session")
def specification(shared: Path) -> Specification:
    return Specification(shared / "specs")


@pytest.fixture
def session(emulator: Any) -> Any:
    emulator.switches.update({"batch_seconds": 0.0, "journal_bodies": 1_000_000})
    connection = connection_to(emulator.url)
    fields = {
        **connection["extra"],
        "client_id": connection["login"],
        "client_secret": connection["password"],
    }
    with AdobeSession(AdobeSettings.of(fields)) as session:
        yield session


class Recorder:
    """A session that remembers the names of the calls that it sends."""

    def __init__(self, session: AdobeSession) -> None:
        self._session = session
        self.settings = session.settings
        self.names: Counter[str] = Counter()

    def send(self, call: Call[Any]) -> Any:
        self.names[call.name] += 1
        return self._session.send(call)

    def download(self, call: Call[Any], target: Any) -> int:
        self.names[call.name] += 1
        return self._session.download(call, target)


def use_everything(session: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Go through all that the client can ask of Experience Platform, with every optional argument once given
    and once not.
    """
    wanted = AudienceMetadata(
        name="n", namespace="agora", origin_name="o", audience_id="a", description="d", if_exists="update"
    )
    ensure_audience_metadata(session, wanted, is_ours=lambda audience: False)
    changed = wanted.model_copy(update={"name": "m", "description": "e"})
    ensure_audience_metadata(session, changed, is_ours=lambda audience: False)
    ensure_audience_metadata(
        session,
        AudienceMetadata(name="x", namespace="agora", origin_name="o"),
        is_ours=lambda audience: False,
    )
    session.send(platform.list_audiences(limit=1))

    def source(data: bytes) -> SourceFile:
        def open_at(offset: int) -> io.BytesIO:
            stream = io.BytesIO(data)
            stream.seek(offset)
            return stream

        return SourceFile(name="folder=1/rows.json", size=len(data), version="1", open_at=open_at)

    rows = b"".join(json.dumps({"n": n}).encode() + b"\n" for n in range(100)) + b"broken\n"
    full = BatchRequest(
        dataset_id="ds",
        external_id="one",
        tags={"mine": ["x"]},
        enable_error_diagnostics=True,
        partial_ingestion_percent=50,
    )
    batch = BatchIngestion(session, full).submit([source(rows)])
    session.send(platform.get_batch(batch.id))
    session.send(platform.get_batches([batch.id, "another"]))
    for file in session.send(platform.list_failed_files(batch.id)):
        session.download(platform.get_failed_file(batch.id, file.name), io.BytesIO())

    # The large-file protocol is the same for a small file; a part of 256 MB would only be slow.
    monkeypatch.setattr(platform, "MAX_WHOLE_FILE_BYTES", 100)
    plain = BatchRequest(dataset_id="ds", external_id="two", enable_error_diagnostics=False)
    BatchIngestion(session, plain, part_size=300).submit([source(rows)])
    array = BatchRequest(dataset_id="ds", external_id="three", is_multi_line_json=True)
    session.send(platform.abort_batch(BatchIngestion(session, array).find_or_create().id))
    for file_format in ("csv", "parquet"):
        BatchIngestion(
            session, BatchRequest(dataset_id="ds", external_id=file_format, file_format=file_format)
        ).find_or_create()


def test_every_request_is_described_by_adobe(
    session: Any, emulator: Any, specification: Specification, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = Recorder(session)
    use_everything(recorder, monkeypatch)
    entries = emulator.journal.entries
    described = [entry for entry in entries if specification.find(entry) is not None]
    problems = [problem for entry in described for problem in specification.validate_request(entry)]
    assert problems == []
    assert len(described) >= 30
    undescribed = {entry.path for entry in entries} - {entry.path for entry in described}
    assert undescribed == {"/ims/token/v3", "/data/core/ais/audiences"}


def test_no_call_of_the_client_is_left_out(
    session: Any, emulator: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = Recorder(session)
    use_everything(recorder, monkeypatch)
    text = Content(open=lambda: io.BytesIO(b""), length=1)
    example = {
        "content": text,
        "file_path": "f",
        "first_byte": 0,
        "input_format": "json",
        "limit": 1,
        "changes": {},
    }
    functions = [
        function
        for _, function in inspect.getmembers(platform, inspect.isfunction)
        if function.__module__.startswith(platform.__name__)
    ]
    calls = [function for function in functions if not function.__name__.startswith("_")]
    names = set()
    for function in calls:
        required = [
            name
            for name, parameter in inspect.signature(function).parameters.items()
            if parameter.default is inspect.Parameter.empty
        ]
        names.add(function(**{name: example.get(name, "x") for name in required}).name)
    assert set(recorder.names) == names
