# SPDX-License-Identifier: Apache-2.0
"""Checks entries of the emulator's journal against Adobe's OpenAPI files.

Stricter than OpenAPI: a property, a query parameter or a status that the file does not show is a problem too.
Where Adobe's documents contradict the file, :data:`AMENDMENTS` changes the file in one place, and says why.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import jsonschema
import yaml

from airflow_provider_adobe_audiences.emulator.journal import Entry

BASES = {
    "/data/foundation/import": "batch-ingestion",
    "/data/foundation/catalog": "catalog",
    "/data/foundation/export": "data-access",
    "/data/core/ups": "segmentation",
}
JSON = "application/json"
OCTETS = "application/octet-stream"


@dataclass(frozen=True)
class Amendment:
    """One change to one file.

    :param number: contradiction or section of the contract that forces it.
    :param file: name of the file without its ending.
    :param pointer: JSON pointer; a ``*`` as the last part appends to an array.
    :param value: what to put there; None removes it.
    """

    number: str
    file: str
    pointer: str
    value: Any
    reason: str


_FILES = "/paths/~1batches~1{batchId}~1datasets~1{datasetId}~1files~1{filePath}"
_AUDIENCE = "/paths/~1audiences~1{AUDIENCE_ID}"
_EXTERNAL = "/components/schemas/ExternallyGeneratedAudience/properties"
_INGEST = "/components/schemas/IngestBatch/properties"
_AUDIENCE_SCHEMA = "content/application~1json/schema/oneOf/*"
_DOWNLOAD = {OCTETS: {}}
_LISTING = {"$ref": "#/components/schemas/files"}
_EXTERNAL_REF = {"$ref": "#/components/schemas/ExternallyGeneratedAudience"}
_BODY_OPTIONAL = "x-body-optional"  # an extension of ours

#: All exceptions, each with the contradiction (C-nn), or the section of the contract where Adobe's pages and
#: files part.
AMENDMENTS = (
    Amendment(
        "C-17",
        "batch-ingestion",
        f"{_FILES}/post/responses/201",
        {"description": ""},
        "guides: INITIALIZE and COMPLETE answer 201",
    ),
    Amendment(
        "C-17",
        "batch-ingestion",
        f"{_FILES}/patch/responses/200/{_BODY_OPTIONAL}",
        True,
        "guides: a part is answered without body",
    ),
    Amendment(
        "C-18",
        "batch-ingestion",
        f"{_INGEST}/inputFormat/properties/format/enum",
        ["json", "parquet", "csv", "JSON", "Parquet", "CSV"],
        "case",
    ),
    Amendment(
        "C-21",
        "batch-ingestion",
        f"{_INGEST}/partialIngestionPercent",
        {"type": "integer"},
        "page on partial ingestion",
    ),
    Amendment(
        "C-26",
        "batch-ingestion",
        "/components/schemas/Batch/properties/status/enum/*",
        "loading",
        "create answers it",
    ),
    *(
        Amendment(
            "C-26",
            "batch-ingestion",
            "/components/schemas/Batch/properties/status/enum/*",
            status,
            "what became of a batch, in Catalog's words",
        )
        for status in ("aborted", "inactive")
    ),
    *(
        Amendment(
            "K13",
            "catalog",
            f"/components/schemas/{schema}/properties/sandboxId",
            {"type": "string"},
            "clients read it, and an example has it",
        )
        for schema in ("batchResponse", "lastBatchesResponse")
    ),
    Amendment(
        "4.1",
        "batch-ingestion",
        f"{_INGEST}/enableErrorDiagnostics",
        {"type": "boolean"},
        "page on partial ingestion",
    ),
    Amendment(
        "4.1",
        "batch-ingestion",
        "/components/schemas/Batch/properties/replay",
        {"type": "object"},
        "guides: create echoes it",
    ),
    Amendment(
        "4.1 ND",
        "batch-ingestion",
        "/paths/~1batches/post/responses/409",
        {"description": ""},
        "a used externalId: no page says",
    ),
    Amendment(
        "4.4",
        "batch-ingestion",
        f"{_FILES}/patch/requestBody/content",
        _DOWNLOAD,
        "guides, and its own header: bytes, no form",
    ),
    Amendment(
        "4.8",
        "batch-ingestion",
        f"/paths/~1batches~1{{batchId}}/post/responses/200/{_BODY_OPTIONAL}",
        True,
        "guides: empty",
    ),
    Amendment(
        "4.9",
        "catalog",
        "/components/schemas/errors/properties/recordCount",
        {"type": "integer"},
        "page on error diagnostics",
    ),
    Amendment(
        "A.1",
        "catalog",
        "/components/schemas/dataSetResponse/properties/classification",
        {"type": "object"},
        "the description of v2 PATCH has it, and clients read it",
    ),
    Amendment(
        "D.4",
        "data-access",
        "/components/schemas/row",
        {"type": "object", "additionalProperties": True},
        "a row has the columns of its dataset",
    ),
    Amendment(
        "4.10",
        "data-access",
        "/paths/~1batches~1{batchId}~1failed/get/responses/200/content/application~1octet-stream",
        {},
        "?path= downloads",
    ),
    Amendment(
        "4.10",
        "data-access",
        "/paths/~1batches~1{batchId}~1meta/get/responses/200/content/application~1octet-stream",
        {},
        "?path= downloads",
    ),
    Amendment(
        "4.10",
        "data-access",
        "/paths/~1batches~1{batchId}~1meta/get/responses/200/content/application~1json/schema",
        _LISTING,
        "a listing",
    ),
    Amendment(
        "4.10",
        "data-access",
        "/paths/~1files~1{dataSetFileId}/get/responses/200/content/application~1json/schema",
        _LISTING,
        "a listing",
    ),
    Amendment(
        "4.10",
        "data-access",
        "/paths/~1files~1{dataSetFileId}/get/responses/206/content",
        _DOWNLOAD,
        "its description says bytes",
    ),
    Amendment(
        "4.10 ND",
        "data-access",
        "/paths/~1batches~1{batchId}~1failed/get/responses/404",
        {"description": ""},
        "unknown batch",
    ),
    Amendment(
        "4.10 ND",
        "data-access",
        "/paths/~1batches~1{batchId}~1files/get/responses/404",
        {"description": ""},
        "unknown batch",
    ),
    *(
        Amendment(
            "C-02",
            "segmentation",
            f"{place}/responses/200",
            {"$ref": f"#{place}/responses/201"},
            "pages: 200",
        )
        for place in ("/paths/~1audiences/post", f"{_AUDIENCE}/put", f"{_AUDIENCE}/patch")
    ),
    Amendment("C-05", "segmentation", f"{_EXTERNAL}/type/enum/*", "ExternalSegment", "all samples"),
    Amendment("C-07", "segmentation", f"{_EXTERNAL}/namespace/enum", None, "samples show other namespaces"),
    Amendment(
        "2.2",
        "segmentation",
        f"{_AUDIENCE}/patch/requestBody/content/application~1json/schema/items/properties/value",
        {},
        "pages: texts as well, such as a new lifecycleState",
    ),
    Amendment(
        "2.2",
        "segmentation",
        "/components/schemas/PlatformGeneratedAudience/properties/saveSegmentMembership",
        {"type": "boolean"},
        "samples of bulk-get",
    ),
    Amendment("2.2", "segmentation", f"{_EXTERNAL}/_etag", {"type": "string"}, "samples"),
    Amendment("2.2", "segmentation", f"{_EXTERNAL}/saveSegmentMembership", {"type": "boolean"}, "samples"),
    *(
        Amendment(
            "2.2",
            "segmentation",
            f"{_AUDIENCE}/{place}/{_AUDIENCE_SCHEMA}",
            _EXTERNAL_REF,
            "pages: external audiences as well",
        )
        for place in ("get/responses/200", "put/responses/201", "patch/responses/201")
    ),
)


class Specification:
    """Adobe's files, amended.

    :param folder: holds the ``.yaml`` files.
    """

    def __init__(self, folder: Path, amendments: Sequence[Amendment] = AMENDMENTS) -> None:
        self._documents = {name: copy.deepcopy(_read(folder / f"{name}.yaml")) for name in BASES.values()}
        for amendment in amendments:
            _amend(self._documents[amendment.file], amendment)
        self._operations = [operation for base, name in BASES.items() for operation in self._read(base, name)]

    def _read(self, base: str, name: str) -> Iterator[_Operation]:
        document = self._documents[name]
        for template, item in document["paths"].items():
            for method in item.keys() & {"get", "head", "put", "post", "patch", "delete"}:
                pattern = re.sub(r"\\\{filePath\\\}", ".+", re.escape(base + template))
                yield _Operation(
                    document,
                    method.upper(),
                    re.compile(re.sub(r"\\\{\w+\\\}", "[^/]+", pattern)),
                    template,
                    item[method],
                )

    def find(self, entry: Entry | Mapping[str, Any]) -> _Operation | None:
        """Return the operation that a journal entry is about; None when no file describes its path."""
        fields = _fields(entry)
        path, method = fields["path"], fields["method"]
        found = [
            operation
            for operation in self._operations
            if operation.method == method and operation.pattern.fullmatch(path)
        ]
        found.sort(key=lambda operation: operation.template.count("{"))
        if not found and any(path.startswith(f"{base}/") for base in BASES):
            raise AssertionError(
                f"{method} {path}: the path belongs to a specified API, but there is no such operation"
            )
        return found[0] if found else None

    def validate_request(self, entry: Entry | Mapping[str, Any]) -> list[str]:
        """Return what is wrong with the request of a journal entry; nothing when no file describes it."""
        operation = self.find(entry)
        return (
            []
            if operation is None
            else [f"{operation}: request: {text}" for text in operation.request_problems(_fields(entry))]
        )

    def validate_answer(self, entry: Entry | Mapping[str, Any]) -> list[str]:
        """Return what is wrong with the answer of a journal entry; nothing when no file describes it."""
        operation = self.find(entry)
        return (
            []
            if operation is None
            else [f"{operation}: answer: {text}" for text in operation.answer_problems(_fields(entry))]
        )


@dataclass(frozen=True, eq=False)
class _Operation:
    document: dict[str, Any]
    method: str
    pattern: re.Pattern[str]
    template: str
    item: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.item['operationId']} ({self.method} {self.template})"

    def request_problems(self, entry: Mapping[str, Any]) -> Iterator[str]:
        known = [self._resolved(parameter) for parameter in self.item.get("parameters", [])]
        sent = {
            "header": {name.lower(): value for name, value in entry["headers"].items()},
            "query": dict(parse_qsl(entry["query"], keep_blank_values=True)),
        }
        for parameter in known:
            place, name = parameter["in"], parameter["name"]
            if place == "path":
                continue
            value = sent[place].get(name.lower() if place == "header" else name)
            if value is None:
                if parameter.get("required"):
                    yield f"{place} {name} is missing"
                continue
            yield from self._problems(
                _read_as(value, self._resolved(parameter["schema"])), parameter["schema"], f"{place} {name}"
            )
        names = {parameter["name"] for parameter in known if parameter["in"] == "query"}
        for name in sent["query"].keys() - names:
            yield f"query {name} is not documented"
        body = self.item.get("requestBody", {})
        if body.get("required") or (entry["request_bytes"] and body):
            yield from self._content_problems(
                body["content"],
                sent["header"].get("content-type"),
                entry["request_body"],
                entry["request_bytes"],
            )

    def answer_problems(self, entry: Mapping[str, Any]) -> Iterator[str]:
        status = entry["status"]
        if status is None:
            return
        documented = {str(code): answer for code, answer in self.item["responses"].items()}
        if str(status) not in documented:
            yield f"status {status} is not documented"
            return
        answer = self._resolved(documented[str(status)])
        if status == 204 or (not entry["response_bytes"] and answer.get(_BODY_OPTIONAL)):
            return
        if self.method != "HEAD" and answer.get("content"):
            yield from self._content_problems(
                answer["content"],
                entry["response_headers"].get("content-type"),
                entry["response_body"],
                entry["response_bytes"],
            )
        elif status < 400 and self.method != "HEAD" and entry["response_bytes"]:
            yield f"status {status} has a body, the file shows none"
        for name, header in answer.get("headers", {}).items():
            if name.lower() in entry["response_headers"]:
                value = _read_as(entry["response_headers"][name.lower()], header["schema"])
                yield from self._problems(value, header["schema"], f"header {name}")

    def _content_problems(
        self, content: Mapping[str, Any], media_type: str | None, text: str | None, size: int
    ) -> Iterator[str]:
        kind = (media_type or "").partition(";")[0]
        if not size and kind in {"", JSON}:
            yield "there is no body"
        elif kind not in content:
            yield f"media type {kind!r} is not documented, only {', '.join(content)}"
        elif kind == JSON and "schema" in content[kind]:
            if text is None or len(text.encode()) < size:
                raise ValueError(f"{self}: the journal has cut the body; raise the switch journal_bodies")
            yield from self._problems(json.loads(text), content[kind]["schema"], "body")

    def _problems(self, value: Any, schema: Mapping[str, Any], where: str) -> Iterator[str]:
        root = {**_strict(schema), "components": _strict_components(self.document)}
        for error in jsonschema.Draft4Validator(root).iter_errors(value):
            place = "/".join([where, *(str(part) for part in error.absolute_path)])
            inner = "".join(f"; {part.json_path}: {part.message}" for part in error.context or ())
            yield f"{place}: {error.message[:300]}{inner[:1500]}"

    def _resolved(self, node: dict[str, Any]) -> dict[str, Any]:
        if "$ref" not in node:
            return node
        target: Any = self.document
        for part in node["$ref"].removeprefix("#/").split("/"):
            target = _step(target, part)
        return dict(target)


@cache
def _read(path: Path) -> dict[str, Any]:
    return dict(yaml.load(path.read_text(), _Loader))


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """YAML without dates: examples in the files are texts."""


_Loader.yaml_implicit_resolvers = {
    first: [pair for pair in pairs if pair[0] != "tag:yaml.org,2002:timestamp"]
    for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
}

_STRICT: dict[int, Any] = {}


def _strict_components(document: dict[str, Any]) -> Any:
    """Return the components of a file, made strict once."""
    if id(document) not in _STRICT:
        _STRICT[id(document)] = (document, _strict(document.get("components", {}).get("schemas", {})))
    return {"schemas": _STRICT[id(document)][1]}


def _strict(node: Any) -> Any:
    """Return a schema in which what is not shown is not allowed; ``oneOf`` becomes ``anyOf``: the files'
    alternatives overlap.
    """
    if isinstance(node, list):
        return [_strict(part) for part in node]
    if not isinstance(node, dict):
        return node
    made = {
        ("anyOf" if name == "oneOf" else name): _strict(part)
        for name, part in node.items()
        if name not in {"example", "examples"}
    }
    if (
        isinstance(node.get("properties"), dict)
        and node["properties"]
        and "additionalProperties" not in node
        and node.get("type") in (None, "object")
    ):
        made["additionalProperties"] = False
    if isinstance(made.get("required"), bool):
        del made["required"]
    return made


def _read_as(text: str, schema: Mapping[str, Any]) -> Any:
    """Return the value of a parameter, of the type that its schema asks for where the text allows it."""
    if schema.get("type") == "integer" and re.fullmatch(r"-?\d+", text):
        return int(text)
    if schema.get("type") == "boolean" and text in {"true", "false"}:
        return text == "true"
    return text


def _amend(document: dict[str, Any], amendment: Amendment) -> None:
    *parents, last = amendment.pointer.removeprefix("/").split("/")
    node: Any = document
    for part in parents:
        node = _step(node, part)
    value = copy.deepcopy(amendment.value)
    if last == "*":
        node.append(value)
    elif value is None:
        del node[last]
    else:
        node[int(last) if last.isdigit() else last.replace("~1", "/")] = value


def _step(node: Any, part: str) -> Any:
    """Follow one part of a JSON pointer. YAML reads the keys of responses as numbers."""
    return node[int(part) if part.isdigit() else part.replace("~1", "/")]


def _fields(entry: Entry | Mapping[str, Any]) -> Mapping[str, Any]:
    return entry.as_dict() if isinstance(entry, Entry) else entry
